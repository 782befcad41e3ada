"""The selection game: closed forms, equilibria checked from outside, and every bad input."""

import numpy as np
import pytest
import reference
from scipy.optimize import linprog

from emergent_alignment import (
    InputError,
    Market,
    Scheme,
    align,
    best_response_dynamics,
    judge_and_prosecutor,
    optimal_scheme,
    sample_market,
)
from emergent_alignment.markets import KINDS
from emergent_alignment.persuasion import obedience_gap
from emergent_alignment.selection import deviation_gains, objection_margin

TOLERANCE = 1e-6


def twins():
    market = judge_and_prosecutor()
    return Market(market.prior, market.user, np.repeat(market.providers, 2, axis=0))


def prosecutor_and_defender():
    market = judge_and_prosecutor()
    return Market(market.prior, market.user, [[[1, 1], [0, 0]], [[0, 0], [1, 1]]])


def random_market(kind, seed):
    rng = np.random.default_rng(seed)
    k, actions, states = (int(n) for n in rng.integers((2, 2, 2), (6, 5, 6)))
    return sample_market(kind, rng, providers=k, actions=actions, states=states, noise=0.03)


# By hand ----------------------------------------------------------------------------------------------------


def test_a_single_provider_is_a_monopolist():
    for start in ("monopoly", "silent"):
        path = best_response_dynamics(judge_and_prosecutor(), start=start)
        assert path.converged and path.winner == 0
        assert path.user_value == pytest.approx(0.7, abs=1e-8)
        assert path.provider_values == pytest.approx([0.6], abs=1e-8)
        assert path.steps == (start == "silent")


@pytest.mark.parametrize("value", np.linspace(0.7, 1, 13))
def test_twins_can_sit_at_any_common_offer(value):
    market = twins()
    schemes = [optimal_scheme(market, i, value) for i in range(2)]
    for winner in range(2):
        for bid_step in (1e-3, 0.05):
            assert deviation_gains(market, schemes, winner, bid_step) == pytest.approx([0, 0], abs=1e-7)


def test_twins_who_offer_different_values_are_not_in_equilibrium():
    market = twins()
    schemes = [optimal_scheme(market, 0, 0.9), optimal_scheme(market, 1, 0.8)]
    # A prosecutor earns 1.3 less the winning offer. So the winner had better leave the judge to his twin; the
    # loser gains nothing by offering more than .9.
    assert deviation_gains(market, schemes, 0, bid_step=0.01) == pytest.approx([0.1, 0], abs=1e-7)


def test_a_winner_who_offers_more_than_he_must_lowers_his_offer():
    market = prosecutor_and_defender()
    schemes = [optimal_scheme(market, 0, 0.9), optimal_scheme(market, 1, 0.8)]
    # The prosecutor needs .81 only. The defender earns .7 with a prosecutor's scheme less its false convictions
    # (.1): instead of .6 he would have 1.7 - .91 with the best scheme worth .91.
    gains = deviation_gains(market, schemes, 0, bid_step=0.01)
    assert gains == pytest.approx([0.09, 0.79 - 0.6], abs=1e-7)


def test_twins_stay_at_the_monopoly_outcome_where_they_start():
    path = best_response_dynamics(twins())
    assert path.converged and path.steps == 0
    assert path.user_value == pytest.approx(0.7, abs=1e-8)
    assert path.provider_values == pytest.approx([0.6, 0.6], abs=1e-8)


@pytest.mark.parametrize("bid_step", [1e-3, 0.03, 0.07])
@pytest.mark.parametrize("start", ["monopoly", "silent"])
def test_prosecutor_and_defender_reveal_the_truth(bid_step, start):
    market = prosecutor_and_defender()
    assert align(market.user, market.providers, "cone", "state").error == pytest.approx(
        0.5
    )  # not by the theorem
    path = best_response_dynamics(market, bid_step=bid_step, start=start)
    assert path.converged
    assert path.user_value == pytest.approx(1, abs=1e-7)
    assert path.provider_values == pytest.approx([0.3, 0.7], abs=1e-7)
    assert path.schemes[path.winner].conditional == pytest.approx(np.eye(2)[::-1], abs=1e-6)


@pytest.mark.parametrize("value", [0.7, 0.8, 0.9, 0.98])
@pytest.mark.parametrize("winner", [0, 1])
def test_prosecutor_and_defender_agree_on_nothing_less(value, winner):
    market = prosecutor_and_defender()
    schemes = [optimal_scheme(market, i, value) for i in range(2)]
    gains = deviation_gains(market, schemes, winner, bid_step=0.01)
    assert gains[1 - winner] > 0.01  # the loser would rather outbid
    full = [optimal_scheme(market, i, 1.0) for i in range(2)]
    assert deviation_gains(market, full, winner, bid_step=0.01) == pytest.approx([0, 0], abs=1e-7)


def test_the_last_raise_may_be_shorter_than_the_bid_step():
    # At .98 each loser would gain by telling the whole truth although that is less than a step of .05 better.
    market = prosecutor_and_defender()
    schemes = [optimal_scheme(market, i, 0.98) for i in range(2)]
    assert deviation_gains(market, schemes, 0, bid_step=0.05)[1] == pytest.approx(0.02, abs=1e-7)


def test_where_nobody_cares_what_alice_does_nothing_happens():
    market = judge_and_prosecutor()
    for constant in (0.0, 0.1, 1 / 3, 1e6 + 0.1):
        path = best_response_dynamics(Market(market.prior, market.user, np.full((3, 2, 2), constant)))
        assert path.converged and path.steps == 0
        assert path.gains == pytest.approx(np.zeros(3), abs=1e-6)


# What a path must satisfy -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_paths_are_consistent(kind):
    for seed in range(6):
        market = random_market(kind, seed)
        path = best_response_dynamics(
            market, bid_step=0.01, seed=seed, start=("monopoly", "silent")[seed % 2]
        )
        assert path.converged and not path.cycled
        law = path.schemes[path.winner].conditional * market.prior
        assert path.user_value == pytest.approx((law * market.user).sum())
        assert path.provider_values == pytest.approx([(law * utility).sum() for utility in market.providers])
        assert path.offers == pytest.approx([s.user_value for s in path.schemes])
        assert path.user_value == pytest.approx(path.offers.max(), abs=1e-8)
        for scheme in path.schemes:
            assert obedience_gap(market, scheme) < 1e-8
            assert scheme.user_value > market.no_information_value - 1e-8
        assert path.gains == pytest.approx(deviation_gains(market, path.schemes, path.winner, 0.01), abs=1e-8)
        assert path.bid_step == 0.01

        assert path.steps == len(path.history) - 1 and path.history[0].mover is None
        assert path.history[-1].offers == tuple(path.offers) and path.history[-1].winner == path.winner
        for before, after in zip(path.history, path.history[1:]):
            others = [j for j in range(market.n_providers) if j != after.mover]
            assert [before.offers[j] for j in others] == [after.offers[j] for j in others]
            assert (
                after.user_value == after.offers[after.winner] == pytest.approx(max(after.offers), abs=1e-8)
            )
            if after.winner == after.mover:  # he has outbid the best rival by the step, or by all there is
                rival = (
                    before.winner
                    if before.winner != after.mover
                    else max(others, key=before.offers.__getitem__)
                )
                raised = min(before.offers[rival] + 0.01, market.full_information_value)
                assert after.user_value > raised - 1e-8


@pytest.mark.parametrize("kind", KINDS)
def test_converged_is_true_when_checked_from_outside(kind):
    """No provider gains more than the bid step is worth to him; nothing of the dynamics is used here."""
    binding = 0
    for seed in range(25):
        market = random_market(kind, seed)
        bid_step = (1e-3, 1e-2)[seed % 2]
        path = best_response_dynamics(market, bid_step=bid_step, seed=seed)
        assert path.converged
        opt = market.full_information_value
        law = path.schemes[path.winner].conditional * market.prior
        for i in range(market.n_providers):
            now = (law * market.providers[i]).sum()
            rival = max(
                (j for j in range(market.n_providers) if j != i), key=lambda j: path.schemes[j].user_value
            )
            floor = path.schemes[rival].user_value
            at_par = optimal_scheme(market, i, floor).provider_value
            outbid = optimal_scheme(market, i, min(floor + bid_step, opt)).provider_value
            # With all there is on offer already, everybody's scheme leads to the same outcome.
            assert at_par - now <= at_par - outbid + TOLERANCE
            binding += now - outbid < 1e-3 and opt - floor > 1e-3
            if i == path.winner:
                left = (path.schemes[rival].conditional * market.prior * market.providers[i]).sum()
                assert left - now <= TOLERANCE  # he does not gain by leaving Alice to the best rival
    assert kind == "in_hull" or binding > 5  # a provider for whom the comparison is close: the check can fail


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_path_as_dynamics_with_cvxpy(kind):
    for seed in range(2):
        market = sample_market(kind, np.random.default_rng(seed), providers=3, actions=3, states=3)
        path = best_response_dynamics(market, bid_step=0.02, seed=seed)
        winner, offers, moves = reference.best_response_dynamics(market, 0.02, seed)
        assert (path.winner, path.steps) == (winner, moves)
        assert path.offers == pytest.approx(offers, abs=1e-6)


def test_monopoly_is_not_an_equilibrium_where_competition_bites():
    gains = []
    for seed in range(20):
        market = sample_market("in_hull", np.random.default_rng(seed), providers=3, actions=4, states=6)
        alone = [optimal_scheme(market, i) for i in range(market.n_providers)]
        winner = int(np.argmax([s.user_value for s in alone]))
        gains.append(deviation_gains(market, alone, winner).max())
    assert np.mean(np.array(gains) > 0.003) > 0.4


@pytest.mark.parametrize("start", ["monopoly", "silent"])
def test_in_the_hull_alice_gets_everything(start):
    below = 0
    for seed in range(40):
        market = sample_market("in_hull", np.random.default_rng(seed), providers=3, actions=4, states=6)
        opt = market.full_information_value
        for bid_step in (1e-3, 0.02):
            path = best_response_dynamics(market, bid_step=bid_step, seed=seed, start=start)
            assert path.converged and path.user_value >= opt - bid_step - TOLERANCE
            assert (
                path.user_value >= opt - TOLERANCE
            )  # the last raise may be short, so not even a step is lost
        below += path.history[0].user_value < opt - 0.003
    assert below > 15  # where the path began, she did not


def test_the_same_seed_gives_the_same_path_and_another_seed_another_order():
    market = sample_market("free", np.random.default_rng(3), providers=5)
    paths = [best_response_dynamics(market, seed=seed) for seed in (0, 0, 1, 2, 3)]
    assert paths[0].history == paths[1].history
    for one, other in zip(paths[0].schemes, paths[1].schemes):
        assert np.array_equal(one.conditional, other.conditional)
    assert len({path.history for path in paths}) > 1
    assert len({path.history[0].offers for path in paths}) == 1  # the start does not depend on the order


def test_a_path_that_is_cut_short_says_so():
    market = prosecutor_and_defender()
    whole = best_response_dynamics(market, bid_step=0.01)
    assert whole.steps > 10
    for max_steps in (1, 5):
        path = best_response_dynamics(market, bid_step=0.01, max_steps=max_steps)
        assert not path.converged and not path.cycled and path.steps == max_steps
        assert path.gains.max() > 0.005
        assert path.history == whole.history[: max_steps + 1]
    assert best_response_dynamics(market, bid_step=0.01, max_steps=whole.steps).converged


def test_a_larger_step_needs_fewer_moves():
    market = prosecutor_and_defender()
    steps = [best_response_dynamics(market, bid_step=step).steps for step in (0.1, 0.01, 0.001)]
    assert steps[0] < steps[1] < steps[2]


@pytest.mark.parametrize("unit", [1e-6, 1e6])
@pytest.mark.parametrize("shift", [0, 1e4])
def test_units_do_not_matter(unit, shift):
    for seed in range(6):
        market = random_market(KINDS[seed % 4], seed)
        wanted = best_response_dynamics(market, bid_step=0.01, seed=seed)
        other = Market(market.prior, (market.user + shift) * unit, (market.providers - shift) / unit)
        path = best_response_dynamics(other, bid_step=0.01 * unit, seed=seed)
        assert path.converged and path.winner == wanted.winner
        assert path.user_value / unit - shift == pytest.approx(wanted.user_value, abs=1e-5)


@pytest.mark.parametrize("start", ["monopoly", "silent"])
@pytest.mark.parametrize(
    "prior, user, providers",
    [
        ([1], [[0]], [[[0]]] * 2),  # one action, one state
        ([0.5, 0.5], [[1, 2]], [[[1, 2]], [[3, 0]]]),  # one action
        ([1], [[0], [1]], [[[1], [0]], [[0], [1]]]),  # one state
        ([0, 1], [[0, 1], [1, 0]], [[[1, 0], [0, 1]], [[0, 1], [1, 0]]]),  # an impossible state
        ([0.5, 0.5], [[0.3, 0.3], [0.3, 0.3]], [[[1, 0], [0, 1]], [[0, 1], [1, 0]]]),  # Alice does not care
        ([0.5, 0.5], [[1, 0], [0, 1]], [[[1, 0], [0, 1]]] * 3),  # identical and aligned
        ([0.5, 0.5], [[1, 0], [1, 0], [0, 1]], [[[1, 0], [0, 1], [0, 0]], [[0, 1], [1, 0], [0, 0]]]),  # ties
        ([0.5, 0.5], [[1, 0], [0, 1]], [[[0.1, 0.1], [0.1, 0.1]], [[0, 1], [1, 0]]]),  # one does not care
    ],
)
def test_degenerate_markets(prior, user, providers, start):
    market = Market(prior, user, providers)
    path = best_response_dynamics(market, start=start)
    assert path.converged
    assert market.no_information_value - 1e-9 <= path.user_value <= market.full_information_value + 1e-9
    assert deviation_gains(market, path.schemes, path.winner) == pytest.approx(
        np.zeros(len(providers)), abs=1e-7
    )


# Bad input --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, change",
    [
        ("market", dict(market=None)),
        ("market", dict(market=np.eye(2))),
        ("bid_step", dict(bid_step=0)),
        ("bid_step", dict(bid_step=-1e-3)),
        ("bid_step", dict(bid_step=np.nan)),
        ("bid_step", dict(bid_step=np.inf)),
        ("bid_step", dict(bid_step="small")),
        ("bid_step", dict(bid_step=None)),
        ("max_steps", dict(max_steps=0)),
        ("max_steps", dict(max_steps=-3)),
        ("max_steps", dict(max_steps=10.0)),
        ("seed", dict(seed=-1)),
        ("seed", dict(seed=0.5)),
        ("seed", dict(seed=None)),
        ("seed", dict(seed=np.random.default_rng(0))),
        ("start", dict(start="loud")),
        ("start", dict(start=None)),
    ],
)
def test_bad_dynamics(name, change):
    with pytest.raises(InputError, match=rf"^{name} "):
        best_response_dynamics(**(dict(market=judge_and_prosecutor()) | change))


MONOPOLY = Scheme(np.array([[3 / 7, 1], [4 / 7, 0]]), 0.6, 0.7)
BETTER = Scheme(np.array([[1 / 7, 1], [6 / 7, 0]]), 0.4, 0.9)


@pytest.mark.parametrize(
    "name, change",
    [
        ("market", dict(market="twins")),
        ("schemes", dict(schemes=[])),
        ("schemes", dict(schemes=None)),
        ("schemes", dict(schemes=3)),
        ("schemes", dict(schemes=[MONOPOLY])),
        ("schemes", dict(schemes=[np.eye(2), np.eye(2)])),
        ("schemes", dict(schemes=[Scheme(np.eye(2), 0.0, 0.0)] * 2)),  # the worst lie
        ("scheme", dict(schemes=[Scheme(np.eye(3), 0.0, 0.0)] * 2)),
        ("scheme", dict(schemes=[Scheme(np.full((2, 2), np.nan), 0.0, 0.0)] * 2)),
        ("winner", dict(winner=2)),
        ("winner", dict(winner=-1)),
        ("winner", dict(winner=0.0)),
        ("winner", dict(schemes=[MONOPOLY, BETTER])),
        ("bid_step", dict(bid_step=0)),
        ("bid_step", dict(bid_step=np.nan)),
    ],
)
def test_bad_deviations(name, change):
    with pytest.raises(InputError, match=rf"^{name} "):
        deviation_gains(**(dict(market=twins(), schemes=[MONOPOLY] * 2, winner=0) | change))


def test_values_written_on_a_scheme_are_not_believed():
    market = prosecutor_and_defender()
    honest = [optimal_scheme(market, i, 0.8) for i in range(2)]
    boasting = [Scheme(s.conditional, 99.0, 99.0) for s in honest]
    gains = deviation_gains(market, honest, 0)
    assert gains[1] > 0.1
    assert deviation_gains(market, boasting, 0) == pytest.approx(gains)


# Mistakes that somebody objects to ----------------------------------------------------------------------------

PRIOR, RIGHT = [0.7, 0.3], np.array([[0, 1], [1, 0]])  # (actions, states)
SELLS_A = np.array([[1, 1], [0, 0]])


def objection_by_action(market):
    """The same with scipy, one program for each action."""
    best = market.user.argmax(axis=0)
    margins = [np.inf]
    for a in range(market.n_actions):
        wrong = [y for y in range(market.n_states) if best[y] != a and market.prior[y] > 0]
        if wrong:
            gain = np.array([[u[best[y], y] - u[a, y] for u in market.providers] for y in wrong])
            gain = gain / np.ptp(market.providers[:, :, market.prior > 0], axis=(1, 2))
            k = gain.shape[1]
            rows = np.column_stack([-gain, np.ones(len(wrong))])
            bounds = [(0, None)] * k + [(None, None)]
            program = linprog([0] * k + [-1], rows, np.zeros(len(wrong)), [[1] * k + [0]], [1], bounds=bounds)
            margins.append(-program.fun)
    return min(margins)


@pytest.mark.parametrize("name", KINDS)
def test_objection_margin_against_one_program_for_each_action(name):
    for draw in range(6):
        market = random_market(name, draw)
        assert objection_margin(market) == pytest.approx(objection_by_action(market), abs=1e-7)


def test_objection_margin_by_hand():
    prosecutor, defender = SELLS_A, 1 - SELLS_A
    assert objection_margin(Market(PRIOR, RIGHT, [prosecutor])) == pytest.approx(-1)
    assert objection_margin(Market(PRIOR, RIGHT, [prosecutor, defender])) == pytest.approx(1)
    assert objection_margin(Market(PRIOR, RIGHT, [prosecutor, prosecutor])) == pytest.approx(-1)
    assert objection_margin(Market(PRIOR, [[1, 1], [0, 0]], [prosecutor])) == pytest.approx(
        1
    )  # one wrong action
    assert objection_margin(Market(PRIOR, np.ones((2, 2)), [prosecutor])) == np.inf  # nothing can be wrong
    assert objection_margin(Market([0, 1], [[0, 5], [9, 4]], [defender])) == pytest.approx(
        -1
    )  # one state occurs


def test_scale_and_shift_do_not_change_the_objections():
    market = sample_market("free", np.random.default_rng(1), providers=3, actions=3, states=4)
    other = Market(
        market.prior,
        7 * market.user - 2,
        [3 * market.providers[0], market.providers[1] + 9, market.providers[2]],
    )
    assert objection_margin(other) == pytest.approx(objection_margin(market), abs=1e-8)


def test_objection_margin_of_something_else():
    with pytest.raises(InputError, match="^market must be a Market"):
        objection_margin(RIGHT)
