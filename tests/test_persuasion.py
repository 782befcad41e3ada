"""One provider: closed forms, concavification, an independent linear program, and every bad input."""

import itertools

import numpy as np
import pytest
import reference

from emergent_alignment import (
    InfeasibleError,
    InputError,
    Market,
    Scheme,
    concave_envelope,
    judge_and_prosecutor,
    optimal_scheme,
    posteriors,
    sample_market,
)
from emergent_alignment.persuasion import (
    linear_program,
    obedience_gap,
    respond,
    solve_linear_program,
    value_function,
)

CONVICT, ACQUIT = 0, 1
INNOCENT, GUILTY = 0, 1


def two_state_market(seed, actions=4):
    rng = np.random.default_rng(seed)
    return Market([0.5, 0.5], rng.uniform(size=(actions, 2)), rng.uniform(size=(1, actions, 2)))


def test_judge_and_prosecutor():
    market = judge_and_prosecutor(0.3)
    scheme = optimal_scheme(market, 0)
    assert scheme.provider_value == pytest.approx(0.6, abs=1e-9)
    assert scheme.user_value == pytest.approx(0.7, abs=1e-9)
    assert scheme.conditional == pytest.approx(np.array([[3 / 7, 1], [4 / 7, 0]]), abs=1e-8)
    probability, beliefs = posteriors(market.prior, scheme)
    assert probability == pytest.approx([0.6, 0.4], abs=1e-9)
    assert beliefs[:, GUILTY] == pytest.approx([0.5, 0], abs=1e-8)


@pytest.mark.parametrize("guilt", [0, 0.05, 0.25, 0.499, 0.5, 0.501, 0.8, 1])
def test_prosecutor_convicts_twice_as_often_as_the_prior(guilt):
    scheme = optimal_scheme(judge_and_prosecutor(guilt), 0)
    assert scheme.provider_value == pytest.approx(min(1, 2 * guilt), abs=1e-8)
    assert scheme.user_value == pytest.approx(max(guilt, 1 - guilt), abs=1e-8)


@pytest.mark.parametrize("floor, value", [(0, 0.6), (0.7, 0.6), (0.8, 0.5), (0.9, 0.4), (1, 0.3)])
def test_prosecutor_who_must_leave_the_judge_a_value(floor, value):
    # Each false conviction gives the prosecutor what it takes from the judge, so V_1 + V_A = 1.3.
    scheme = optimal_scheme(judge_and_prosecutor(), 0, user_floor=floor)
    assert scheme.provider_value == pytest.approx(value, abs=1e-8)
    assert scheme.user_value == pytest.approx(max(0.7, floor), abs=1e-8)


@pytest.mark.parametrize("seed", range(12))
def test_concavification_equals_the_linear_program_on_a_grid_of_priors(seed):
    market = two_state_market(seed)
    # The value function is piecewise linear; its kinks are where two actions tie for Alice.
    kinks = []
    for a, b in itertools.combinations(range(market.n_actions), 2):
        at_zero, at_one = market.user[a] - market.user[b]
        kinks.append(at_zero / (at_zero - at_one))
    kinks = [x for x in kinks if 1e-6 < x < 1 - 1e-6]
    grid = np.linspace(0, 1, 21)
    x = np.unique(np.concatenate([grid, kinks]))
    beliefs = np.stack([1 - x, x], axis=1)
    values = value_function(market, 0, beliefs)
    envelope = concave_envelope(x, values)
    at_kinks_only = concave_envelope(x, np.where(np.isin(x, [0, 1, *kinks]), values, values.min()))
    assert envelope == pytest.approx(at_kinks_only)  # so a finer grid would change nothing
    for p, wanted in zip(x, envelope):
        if p in grid:
            assert optimal_scheme(market.with_prior([1 - p, p]), 0).provider_value == pytest.approx(
                wanted, abs=1e-7
            )


def test_persuasion_pays_in_some_of_those_markets_and_not_in_others():
    gains = []
    for seed in range(12):
        market = two_state_market(seed)
        gains.append(
            optimal_scheme(market, 0).provider_value - value_function(market, 0, market.prior[None])[0]
        )
    assert min(gains) > -1e-9 and 3 <= np.sum(np.array(gains) > 0.01) < 12


@pytest.mark.parametrize("seed", range(8))
def test_same_optimum_as_an_independent_program(seed):
    market = sample_market("free", np.random.default_rng(seed), providers=2, actions=3 + seed % 2, states=4)
    none, full = market.no_information_value, market.full_information_value
    for provider, floor in [(0, None), (1, none), (0, (none + full) / 2), (1, full - 1e-3 * (full - none))]:
        scheme = optimal_scheme(market, provider, floor)
        assert scheme.provider_value == pytest.approx(
            reference.best_scheme(market, provider, floor)[1], abs=1e-7
        )
        law = scheme.conditional * market.prior
        assert scheme.provider_value == pytest.approx((law * market.providers[provider]).sum(), abs=1e-12)
        assert scheme.user_value == pytest.approx((law * market.user).sum(), abs=1e-12)


def test_a_higher_floor_costs_the_provider_ever_more():
    market = sample_market("free", np.random.default_rng(4), actions=4, states=6)
    alone = optimal_scheme(market, 0)
    floors = np.linspace(alone.user_value, market.full_information_value, 15)
    values = [optimal_scheme(market, 0, floor).provider_value for floor in floors]
    assert values[0] == pytest.approx(alone.provider_value, abs=1e-8)
    assert np.diff(values).max() < 1e-9 and values[-1] < values[0] - 0.05  # falls
    assert np.diff(values, 2).max() < 1e-7  # and is concave


def test_full_information_can_be_demanded_but_no_more():
    for seed in range(10):
        market = sample_market("free", np.random.default_rng(seed))
        top = market.full_information_value
        scheme = optimal_scheme(market, 0, top)
        assert scheme.user_value == pytest.approx(top, abs=1e-8)
        with pytest.raises(InfeasibleError, match="user_floor"):
            optimal_scheme(market, 0, top + 1e-6)
    assert issubclass(InfeasibleError, ValueError)


def test_in_states_that_never_happen_the_scheme_recommends_alices_own_best_action():
    market = Market([0.7, 0, 0.3], [[0, 5, 1], [1, 4, 0]], [[[1, -9, 1], [0, 9, 0]]])
    scheme = optimal_scheme(market, 0)
    assert scheme.provider_value == pytest.approx(0.6, abs=1e-8)
    assert scheme.conditional[:, 1].tolist() == [1, 0]
    assert scheme.conditional.sum(axis=0) == pytest.approx([1, 1, 1])


@pytest.mark.parametrize("unit", [1e-6, 1, 1e6])
@pytest.mark.parametrize("shift", [0, 1e3])
def test_units_do_not_matter(unit, shift):
    for seed in range(5):
        market = sample_market("free", np.random.default_rng(seed), providers=1)
        floor = (market.no_information_value + market.full_information_value) / 2
        wanted = optimal_scheme(market, 0, floor).provider_value
        other = Market(
            market.prior, market.user * unit + shift * unit, market.providers / unit - shift / unit
        )
        got = optimal_scheme(other, 0, (floor + shift) * unit).provider_value
        assert got * unit + shift == pytest.approx(wanted, abs=1e-7)


@pytest.mark.parametrize(
    "prior, user, offer, value",
    [
        ([1], [[2]], [[3]], 3),  # one action, one state
        ([0.5, 0.5], [[2, 1]], [[3, 4]], 3.5),  # one action
        ([1], [[2], [1]], [[0], [9]], 0),  # one state: nothing to persuade with
        ([0, 1], [[2, 0], [1, 1]], [[9, 9], [0, 1]], 1),  # all but one state impossible
        ([0.5, 0.5], [[1, 1], [1, 1]], [[0, 4], [2, 0]], 3),  # Alice indifferent: his way in every state
        ([0.5, 0.5], [[1, 0], [0, 1]], [[7, 7], [7, 7]], 7),  # he is indifferent
        ([0.5, 0.5], [[0, 0], [0, 0]], [[0, 0], [0, 0]], 0),
        ([0.5, 0.5], [[1, 0], [1, 0]], [[0, 0], [1, 1]], 1),  # two actions alike for her, ties in his favour
    ],
)
def test_degenerate_markets(prior, user, offer, value):
    market = Market(prior, user, [offer])
    scheme = optimal_scheme(market, 0)
    assert scheme.provider_value == pytest.approx(value, abs=1e-9)
    assert obedience_gap(market, scheme) < 1e-9
    assert optimal_scheme(market, 0, market.full_information_value).user_value == pytest.approx(
        market.full_information_value
    )


def test_of_several_optimal_schemes_the_worst_for_alice_is_returned():
    # He wants a conviction of the guilty and does not care about the innocent. Convicting as many innocents as
    # she will believe costs him nothing and leaves her what she has without him.
    judge = judge_and_prosecutor()
    market = Market(judge.prior, judge.user, [[[0, 1], [0, 0]], [[0.1, 0.1], [0.1, 0.1]]])
    scheme = optimal_scheme(market, 0)
    assert (scheme.provider_value, scheme.user_value) == pytest.approx((0.3, 0.7), abs=1e-6)
    for provider in range(2):  # and one who cares for nothing
        for floor in (None, 0.8, 0.95):
            value = optimal_scheme(market, provider, floor).user_value
            assert value == pytest.approx(floor or 0.7, abs=1e-6)


@pytest.mark.parametrize("provider", [1, -1, 0.0, "0", None, True])
def test_bad_provider(provider):
    for call in (
        lambda m: optimal_scheme(m, provider),
        lambda m: value_function(m, provider, [[0.5, 0.5]]),
    ):
        with pytest.raises(InputError, match="^provider "):
            call(judge_and_prosecutor())


@pytest.mark.parametrize("floor", [np.nan, np.inf, -np.inf, "high", [0.5], True])
def test_bad_floor(floor):
    with pytest.raises(InputError, match="^user_floor "):
        optimal_scheme(judge_and_prosecutor(), 0, floor)


@pytest.mark.parametrize("market", [None, "market", (0.5, 0.5), {}])
def test_not_a_market(market):
    for call in (
        lambda: optimal_scheme(market, 0),
        lambda: obedience_gap(market, np.eye(2)),
        lambda: respond(market, np.eye(2)),
        lambda: value_function(market, 0, [[1, 0]]),
    ):
        with pytest.raises(InputError, match="^market "):
            call()


# Beliefs ----------------------------------------------------------------------------------------------------


def test_posteriors_by_hand():
    probability, beliefs = posteriors([0.25, 0.75], [[0.5, 0.5], [0.5, 0], [0, 0.5], [0, 0]])
    assert probability == pytest.approx([0.5, 0.125, 0.375, 0])
    assert beliefs[:3] == pytest.approx(np.array([[0.25, 0.75], [1, 0], [0, 1]]))
    assert np.isnan(beliefs[3]).all()  # a message that is never sent teaches nothing


def test_a_scheme_and_its_conditional_are_the_same_to_posteriors():
    scheme = optimal_scheme(judge_and_prosecutor(), 0)
    for one, other in zip(posteriors([0.7, 0.3], scheme), posteriors([0.7, 0.3], scheme.conditional)):
        assert np.array_equal(one, other)


@pytest.mark.parametrize(
    "name, prior, scheme",
    [
        ("prior", [0.7, 0.7], np.eye(2)),
        ("prior", [[0.7, 0.3]], np.eye(2)),
        ("scheme", [0.7, 0.3], np.eye(3)),
        ("scheme", [0.7, 0.3], [[1, 1], [1, 0]]),
        ("scheme", [0.7, 0.3], [[1.5, 1], [-0.5, 0]]),
        ("scheme", [0.7, 0.3], [[np.nan, 1], [0, 0]]),
        ("scheme", [0.7, 0.3], [1, 0]),
        ("scheme", [0.7, 0.3], [[1, 0], [0]]),
        ("scheme", [0.7, 0.3], np.zeros((0, 2))),
        ("scheme", [0.7, 0.3], None),
    ],
)
def test_bad_posteriors(name, prior, scheme):
    with pytest.raises(InputError, match=rf"^{name} "):
        posteriors(prior, scheme)
    if name == "scheme":
        with pytest.raises(InputError, match="^scheme "):
            respond(judge_and_prosecutor(), scheme)
        with pytest.raises(InputError, match="^scheme "):
            obedience_gap(judge_and_prosecutor(), scheme)


# The value function and its envelope ------------------------------------------------------------------------


def test_value_function_of_the_prosecutor_is_a_step():
    guilt = np.array([0, 0.49, 0.5, 0.51, 1])
    values = value_function(judge_and_prosecutor(), 0, np.stack([1 - guilt, guilt], axis=1))
    assert values.tolist() == [0, 0, 1, 1, 1]  # at one half the judge is indifferent and convicts


def test_value_function_breaks_ties_for_the_speaker():
    market = Market([0.5, 0.5], [[1, 1], [1, 1]], [[[0, 1], [3, 0]]])
    assert value_function(market, 0, [[1, 0], [0, 1], [0.5, 0.5]]).tolist() == [3, 1, 1.5]


@pytest.mark.parametrize(
    "beliefs",
    [[0.5, 0.5], [[0.5, 0.6]], [[1.5, -0.5]], [[0.2, 0.3, 0.5]], [[np.nan, 1]], [], "half", [[1, 0], [1]]],
)
def test_bad_beliefs(beliefs):
    with pytest.raises(InputError, match="^beliefs "):
        value_function(judge_and_prosecutor(), 0, beliefs)


@pytest.mark.parametrize(
    "x, values, wanted",
    [
        ([0, 1, 2], [0, 0, 2], [0, 1, 2]),
        ([0, 1, 2], [0, 5, 2], [0, 5, 2]),
        ([0, 1, 4], [4, 0, 0], [4, 3, 0]),
        ([0, 1, 2, 3], [0, 1, 2, 3], [0, 1, 2, 3]),
        ([0, 1, 2, 3, 4], [0, 2, 0, 2, 0], [0, 2, 2, 2, 0]),
        ([-3], [7], [7]),
        ([0, 1], [1, -1], [1, -1]),
        ([0, 0.5, 1], [2, 2, 2], [2, 2, 2]),
    ],
)
def test_concave_envelope_by_hand(x, values, wanted):
    assert concave_envelope(x, values) == pytest.approx(wanted)


def test_concave_envelope_is_the_best_chord_through_each_point():
    rng = np.random.default_rng(1)
    for _ in range(30):
        x = np.sort(rng.uniform(size=9))
        values = rng.normal(size=9)
        chords = [
            max(
                np.interp(x[j], x[[i, k]], values[[i, k]]) if i < k else values[j]
                for i in range(j + 1)
                for k in range(j, 9)
            )
            for j in range(9)
        ]
        assert concave_envelope(x, values) == pytest.approx(chords)


@pytest.mark.parametrize(
    "name, x, values",
    [
        ("x", [0, 0, 1], [1, 2, 3]),
        ("x", [1, 0], [1, 2]),
        ("x", [], []),
        ("x", [[0, 1]], [0, 1]),
        ("x", [0, np.nan], [0, 1]),
        ("x", "01", [0, 1]),
        ("values", [0, 1], [0, 1, 2]),
        ("values", [0, 1], [0, np.inf]),
        ("values", [0, 1], [[0, 1]]),
    ],
)
def test_bad_envelope(name, x, values):
    with pytest.raises(InputError, match=rf"^{name} "):
        concave_envelope(x, values)


# Alice's response -------------------------------------------------------------------------------------------


def test_response_to_everything_and_to_nothing():
    for seed in range(10):
        market = sample_market("free", np.random.default_rng(seed))
        told = respond(market, np.eye(market.n_states))
        assert told.user_value == pytest.approx(market.full_information_value)
        untold = respond(market, np.ones((1, market.n_states)))
        assert untold.user_value == pytest.approx(market.no_information_value)
        for outcome in (told, untold):
            assert outcome.law.sum(axis=0) == pytest.approx(market.prior)
            assert outcome.provider_values == pytest.approx(
                [(outcome.law * utility).sum() for utility in market.providers]
            )


def test_two_independent_monopoly_schemes_heard_together():
    # The judge convicts only if both say so: .3 + .7 * (3/7)^2 = .43, and she is right with probability .87.
    market = judge_and_prosecutor()
    one = optimal_scheme(market, 0).conditional
    both = np.array([one[m] * one[n] for m in range(2) for n in range(2)])
    outcome = respond(market, both)
    assert outcome.law[CONVICT].sum() == pytest.approx(0.3 + 0.7 * 9 / 49, abs=1e-8)
    assert outcome.user_value == pytest.approx(0.3 + 0.7 * 40 / 49, abs=1e-8)


def test_ties_go_to_the_first_action():
    market = Market([0.5, 0.5], [[1, 1], [1, 1]], [[[0, 0], [1, 1]]])
    assert respond(market, np.eye(2)).law[1].sum() == 0


def test_obedience_gap_by_hand():
    market = judge_and_prosecutor()
    assert obedience_gap(market, [[0, 1], [1, 0]]) == 0
    assert obedience_gap(market, [[1, 1], [0, 0]]) == pytest.approx(0.4)  # always "convict": .7 against .3
    assert obedience_gap(market, [[1, 0], [0, 1]]) == pytest.approx(
        0.7
    )  # the worst lie: "convict" if innocent
    assert obedience_gap(market, optimal_scheme(market, 0)) < 1e-9


def test_disobeying_is_what_alice_does_with_a_scheme_that_is_not_obedient():
    market = judge_and_prosecutor()
    lie = np.array([[1.0, 0.0], [0.0, 1.0]])
    law = lie * market.prior
    assert (law * market.user).sum() == 0
    assert respond(market, Scheme(lie, 0.0, 0.0)).user_value == pytest.approx(1)


def test_obedience_needs_one_message_for_each_action():
    with pytest.raises(InputError, match="^scheme "):
        obedience_gap(judge_and_prosecutor(), [[0.5, 0.5], [0.5, 0], [0, 0.5]])


# The solver -------------------------------------------------------------------------------------------------


def test_a_linear_program_by_hand():
    # Least x + 2 y with 1 <= x + y <= 2 and x <= 1/2.
    solver = linear_program([1, 2], [[1, 1], [1, 0]], [1, -np.inf], [2, 0.5])
    assert solve_linear_program(solver) == pytest.approx([0.5, 0.5], abs=1e-9)


def test_a_program_without_an_optimum_says_how_the_solver_ended():
    with pytest.raises(RuntimeError, match="^HiGHS stopped with Infeasible"):
        solve_linear_program(linear_program([1], [[1]], [2], [1]))
    with pytest.raises(RuntimeError, match="^HiGHS stopped with .*[Uu]nbounded"):
        solve_linear_program(linear_program([-1], [[1]], [0], [np.inf]))
