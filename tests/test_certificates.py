"""Certificates against cvxpy, scipy, brute force, exact arithmetic and the games they speak about."""

import re
from fractions import Fraction
from itertools import combinations, product

import cvxpy as cp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from emergent_alignment import (
    InputError,
    Market,
    align,
    certificates,
    judge_and_prosecutor,
    sample_market,
    slate_market,
)
from emergent_alignment.certificates import (
    Certificate,
    argmax_weights,
    certify,
    certify_table,
    exact_simplex,
    proved_value,
    verify_exact,
)
from emergent_alignment.conversation import SignallingGame
from emergent_alignment.markets import KINDS

SIZES = ((1, 2, 2), (2, 3, 2), (3, 4, 3), (5, 2, 6), (4, 3, 1), (2, 1, 3))


def random_markets(count, seed=0, kinds=KINDS):
    rng = np.random.default_rng(seed)
    for i in range(count):
        k, actions, states = SIZES[i % len(SIZES)]
        yield sample_market(kinds[i % len(kinds)], rng, providers=k, actions=actions, states=states)


def courtroom(prior_guilt=0.3):
    """A prosecutor and a defender, who want opposite verdicts."""
    judge = judge_and_prosecutor(prior_guilt)
    return Market(
        judge.prior, judge.user, [judge.providers[0], 1 - judge.providers[0]], judge.actions, judge.states
    )


def reference(market, obedience, slack=0.0):
    """The guarantee by its definition, in cvxpy."""
    star = np.zeros(market.user.shape)
    star[market.user.argmax(axis=0), np.arange(market.n_states)] = market.prior
    law = cp.Variable(market.user.shape, nonneg=True)
    constraints = [cp.sum(law, axis=0) == market.prior]
    constraints += [
        cp.sum(cp.multiply(law, utility)) >= (utility * star).sum() - slack for utility in market.providers
    ]
    if obedience:
        values = law @ market.user.T
        constraints += [values[a, a] >= values[a, b] for a, b in product(range(market.n_actions), repeat=2)]
    problem = cp.Problem(cp.Minimize(cp.sum(cp.multiply(law, market.user))), constraints)
    return problem.solve(solver=cp.HIGHS)


def check_both_sides(certificate):
    """Primal and dual feasibility and the two values, without the library's help."""
    c, market = certificate, certificate.market
    scale = max(np.ptp(market.user), 1e-9)
    assert (c.outcome >= 0).all()
    np.testing.assert_allclose(c.outcome.sum(axis=0), market.prior, atol=1e-12)
    sizes = np.abs(market.providers).max(axis=(1, 2))
    assert ((c.outcome * market.providers).sum(axis=(1, 2)) >= c.floors - 1e-7 * sizes).all()
    assert (c.weights >= 0).all() and (c.obedience_prices >= 0).all()
    price = c.obedience_prices
    used = np.tensordot(c.weights, market.providers, axes=1) + c.offsets
    used = used + price.sum(axis=1)[:, None] * market.user - price @ market.user
    support = market.prior > 0
    assert (used <= market.user + 1e-9 * scale + 1e-12)[:, support].all()
    assert c.value == pytest.approx(c.weights @ c.floors + market.prior @ c.offsets, abs=1e-9 * scale)
    assert c.outcome_value == pytest.approx((c.outcome * market.user).sum(), abs=1e-9 * scale)
    assert abs(c.gap) < 1e-6 * scale
    if c.obedience:
        values = c.outcome @ market.user.T
        assert (values - np.diag(values)[:, None]).max() < 1e-7 * scale
    else:
        assert not price.any()


# The linear program ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("obedience", [False, True])
def test_the_guarantee_is_that_of_the_definition(obedience):
    for market in random_markets(24, seed=1):
        certificate = certify(market, obedience)
        check_both_sides(certificate)
        assert certificate.value == pytest.approx(reference(market, obedience), abs=1e-7)


@pytest.mark.parametrize("slack", [-0.1, [0.1], np.zeros((2, 0)), [[0.1, 0.1], [0.1]], "none", np.nan])
def test_slack_is_one_number_or_one_for_each_provider(slack):
    with pytest.raises(InputError, match="^slack must"):
        certify(
            sample_market("free", np.random.default_rng(0), providers=2, actions=2, states=2), slack=slack
        )


def test_slack_lowers_the_floors():
    rng = np.random.default_rng(2)
    for market in random_markets(12, seed=2, kinds=("near_hull", "free")):
        slack = rng.uniform(0, 0.1, market.n_providers)
        for obedience in (False, True):
            exact, loose = certify(market, obedience), certify(market, obedience, slack=slack)
            check_both_sides(loose)
            np.testing.assert_allclose(loose.floors, exact.floors - slack, atol=1e-12)
            # The weights are the price of slack: they prove the guarantee less their share of it.
            prices = exact.obedience_prices
            by_price = proved_value(market, exact.weights, prices, slack=slack)
            assert by_price == pytest.approx(exact.value - exact.weights @ slack, abs=1e-9)
            assert by_price - 1e-7 <= loose.value <= exact.value + 1e-9
        assert certify(market, slack=0.05).value == pytest.approx(reference(market, True, 0.05), abs=1e-7)


def test_states_that_cannot_occur_do_not_count():
    rng = np.random.default_rng(3)
    for _ in range(10):
        small = sample_market("free", rng, providers=2, actions=3, states=2)
        extra = rng.normal(size=(3, 3, 1)) * 100
        user = np.concatenate([small.user, extra[0]], axis=1)
        providers = np.concatenate([small.providers, extra[1:]], axis=2)
        large = Market([*small.prior, 0], user, providers)
        for obedience in (False, True):
            one, two = certify(small, obedience), certify(large, obedience)
            assert two.value == pytest.approx(one.value, abs=1e-6)
            assert not two.outcome[:, 2].any() and two.bound == pytest.approx(one.bound, abs=1e-6)
        assert argmax_weights(small).found == argmax_weights(large).found


def test_units_and_state_offsets_change_nothing():
    rng = np.random.default_rng(4)
    for market in random_markets(12, seed=4, kinds=("near_hull", "free")):
        scales = 10.0 ** rng.integers(-3, 4, market.n_providers)
        shifts = rng.normal(size=(market.n_providers, 1, market.n_states))
        rescaled = Market(market.prior, market.user, scales[:, None, None] * (market.providers + shifts))
        other_alice = Market(market.prior, 7 * market.user + shifts[0], market.providers)
        for obedience in (False, True):
            one = certify(market, obedience)
            assert certify(rescaled, obedience).value == pytest.approx(one.value, abs=1e-6)
            moved = 7 * one.value + market.prior @ shifts[0, 0]
            assert certify(other_alice, obedience).value == pytest.approx(moved, abs=1e-5)
        assert argmax_weights(rescaled).found == argmax_weights(market).found


def test_any_weights_prove_something_and_none_prove_more():
    rng = np.random.default_rng(5)
    for market in random_markets(18, seed=5):
        plain, obedient = certify(market, False), certify(market)
        for _ in range(20):
            weights = rng.exponential(2, market.n_providers) * (rng.random(market.n_providers) < 0.7)
            prices = rng.exponential(0.5, (market.n_actions,) * 2)
            assert proved_value(market, weights) <= plain.value + 1e-9
            assert proved_value(market, weights, prices) <= obedient.value + 1e-9
        assert proved_value(market, plain.weights) == pytest.approx(plain.value, abs=1e-12)
        proved = proved_value(market, obedient.weights, obedient.obedience_prices)
        assert proved == pytest.approx(obedient.value, abs=1e-12)


def test_the_guarantee_in_closed_form():
    """OPT minus the least expected excess of Alice's loss over the providers' weighted losses."""
    for market in random_markets(12, seed=6, kinds=("near_hull", "free")):
        right, states = market.user.argmax(axis=0), np.arange(market.n_states)
        loss = market.user[right, states] - market.user
        losses = market.providers[:, right, states][:, None] - market.providers
        w, excess = cp.Variable(market.n_providers, nonneg=True), cp.Variable(market.n_states)
        mixed = sum(w[i] * losses[i] for i in range(market.n_providers))
        constraints = [excess[y] >= loss[a, y] - mixed[a, y] for a, y in np.ndindex(*loss.shape)]
        problem = cp.Problem(cp.Minimize(market.prior @ excess), constraints)
        least = problem.solve(solver=cp.HIGHS)
        assert certify(market, False).value == pytest.approx(market.full_information_value - least, abs=1e-7)


def test_a_benchmark_of_ones_own():
    rng = np.random.default_rng(7)
    for _ in range(10):
        market = sample_market("near_hull", rng, providers=3, actions=3, states=4)
        # The providers can only tell whether the state is one of the first two.
        law = np.zeros(market.user.shape)
        for pool in ([0, 1], [2, 3]):
            law[(market.user[:, pool] @ market.prior[pool]).argmax(), pool] = market.prior[pool]
        certificate = certify(market, benchmark=law)
        check_both_sides(certificate)
        assert certificate.opt == pytest.approx((law * market.user).sum())
        assert certificate.value <= certificate.opt + 1e-9
        np.testing.assert_allclose(certificate.floors, (market.providers * law).sum(axis=(1, 2)), atol=1e-12)
        prices = certificate.obedience_prices
        proved = proved_value(market, certificate.weights, prices, benchmark=law)
        assert proved == pytest.approx(certificate.value, abs=1e-12)
        # Reading the two pools as the states gives the same guarantee at most: the states say more than that.
        joint = np.concatenate([market.user[None], market.providers]) * market.prior
        mass = np.array([market.prior[:2].sum(), market.prior[2:].sum()])
        pooled = np.stack([joint[..., :2].sum(axis=-1), joint[..., 2:].sum(axis=-1)], axis=-1) / mass
        coarse = Market(mass, pooled[0], pooled[1:])
        assert certificate.value <= certify(coarse).value + 1e-7


def test_errors():
    market = courtroom()
    with pytest.raises(InputError, match="market must be a Market"):
        certify([1, 2])
    with pytest.raises(InputError, match="slack must be one non-negative number"):
        certify(market, slack=-0.1)
    with pytest.raises(InputError, match="each of the 2 providers"):
        certify(market, slack=[0.1, 0.1, 0.1])
    with pytest.raises(InputError, match="benchmark must have shape"):
        certify(market, benchmark=np.ones((3, 2)) / 3)
    with pytest.raises(InputError, match="summing to the market's prior"):
        certify(market, benchmark=[[0.5, 0.3], [0.5, 0]])
    wrong = [[0.7, 0.0], [0.0, 0.3]]  # convict the innocent
    with pytest.raises(InputError, match="must be obedient"):
        certify(market, benchmark=wrong)
    certificate = certify(market, obedience=False, benchmark=wrong)
    assert certificate.value <= 1e-9
    proved = proved_value(market, certificate.weights, benchmark=wrong)
    assert proved == pytest.approx(certificate.value, abs=1e-12)
    with pytest.raises(InputError, match="must be obedient"):
        proved_value(market, certificate.weights, np.ones((2, 2)), benchmark=wrong)
    with pytest.raises(InputError, match="weights must hold non-negative"):
        proved_value(market, [1, -1])
    with pytest.raises(InputError, match="obedience_prices must hold"):
        proved_value(market, [1, 1], np.ones((3, 3)))
    with pytest.raises(InputError, match="names must hold 2 names"):
        certify(market).report(["one"])


def test_a_solution_whose_two_sides_differ_is_refused(monkeypatch):
    solve = certificates._solve

    def without_weights(market, *arguments):
        weights, prices, outcome = solve(market, *arguments)
        return 0 * weights, prices, outcome

    monkeypatch.setattr(certificates, "_solve", without_weights)
    with pytest.raises(RuntimeError, match="^primal and dual value differ: 0.4 and 0"):
        certify(courtroom(), obedience=False)


# The order of the guarantees ---------------------------------------------------------------------------------


def test_the_chain_up_to_the_worst_equilibrium():
    rng = np.random.default_rng(8)
    for i in range(40):
        market = sample_market(KINDS[i % 4], rng, providers=2, actions=3, states=2)
        plain, obedient = certify(market, False), certify(market)
        hull = align(market.user, market.providers)
        cone = align(market.user, market.providers, "cone", "state")
        chain = [plain.opt - 2 * hull.error, plain.bound, proved_value(market, cone.weights), plain.value]
        for heard in ("all", "best"):
            worst = SignallingGame.on_grid(market, 5, heard).worst_coarse_correlated().user_value
            links = [*chain, obedient.value, worst, plain.opt]
            assert (np.diff(links) >= -1e-8).all(), links
        assert obedient.value >= market.no_information_value - 1e-9
        if KINDS[i % 4] == "in_hull":
            np.testing.assert_allclose(links, plain.opt, atol=1e-8)


def test_pure_equilibria_of_the_selection_game_need_no_unique_best_action():
    rng = np.random.default_rng(9)
    tied = 0
    for _ in range(60):
        user, providers = rng.integers(3, size=(3, 2)) / 2, rng.integers(5, size=(2, 3, 2)) / 4
        market = Market([0.4, 0.6], user, providers)
        certificate = certify(market)
        tied += bool(certificate.tied_states)
        worst = SignallingGame.on_grid(market, 3, "best").worst_pure()
        assert np.isnan(worst) or worst >= certificate.value - 1e-8
        together = SignallingGame.on_grid(market, 3, "all").worst_coarse_correlated().user_value
        assert together >= certificate.value - 1e-8
    assert tied > 20


def test_a_tie_that_depends_on_the_speaker_breaks_the_guarantee():
    tablets = np.array([[0.0, 1.0], [0.0, 1.0], [1.0, 0.0]])
    liking = np.array([[1.3], [-1.3], [0.0]])
    market = Market([0.6, 0.4], tablets, [tablets + liking, tablets - liking])
    certificate = certify(market)
    assert certificate.value == pytest.approx(1) and certificate.tied_states == (1,)
    assert "takes the first of them" in certificate.report()
    against = SignallingGame.on_grid(market, 5, tie_orders=[[2, 1, 0], [2, 0, 1]])
    assert against.worst_coarse_correlated().user_value == pytest.approx(0.6)
    fixed = SignallingGame.on_grid(market, 5)
    assert fixed.worst_coarse_correlated().user_value == pytest.approx(1)


def test_prosecutor_and_defender():
    market = courtroom()
    plain, obedient = certify(market, False), certify(market)
    assert plain.alignment_error == pytest.approx(0.5) and plain.bound == pytest.approx(0)
    assert plain.value == pytest.approx(0.4) and obedient.value == pytest.approx(0.7)
    np.testing.assert_allclose(plain.outcome, [[0.3, 0], [0.4, 0.3]], atol=1e-9)
    assert SignallingGame.on_grid(market, 5).worst_coarse_correlated().user_value == pytest.approx(1)
    assert verify_exact(plain).value == Fraction(2, 5) and verify_exact(obedient).value == Fraction(7, 10)


def test_an_indifferent_provider_attains_the_simple_bound():
    for eps in (0.05, 0.2, 0.25):
        safe = 1 - 2 * eps
        alice = [[1, 0], [0, 1], [safe, safe]]
        bob = [[1 - eps, 0], [0, 1 - eps], [1 - eps, 1 - eps]]
        for copies in (1, 3):
            market = Market([0.5, 0.5], alice, [bob] * copies)
            for obedience in (False, True):
                certificate = certify(market, obedience)
                assert certificate.value == pytest.approx(certificate.bound) == pytest.approx(1 - 2 * eps)


def test_no_better_guarantee_holds_for_all_rules():
    """Two rules each, the worst outcome or everything: then the guarantee is attained."""
    rng, attained, tried = np.random.default_rng(10), 0, 0
    for kind in ("near_hull", "free", "shared_bias"):
        for _ in range(40):
            market = sample_market(kind, rng, providers=3, actions=3, states=3)
            c = certify(market)
            if c.opt - c.value < 1e-6:
                continue
            tried += 1
            # A grain of truth lets Alice follow strictly, where the action is right in some state.
            worst = ((1 - 1e-7) * c.outcome + 1e-7 * c.benchmark) / market.prior
            truth, silence = c.benchmark / market.prior, np.eye(3)[[0]].T * np.ones(3)
            choice = SignallingGame(market, [[worst, truth]] * 3, "best").worst_pure()
            together = SignallingGame(
                market, [[worst, truth], [silence, truth], [silence, truth]]
            ).worst_pure()
            assert min(choice, together) >= c.value - 1e-5
            attained += max(choice, together) < c.value + 1e-5
    assert tried > 50 and attained > 0.8 * tried


# Which action comes first ------------------------------------------------------------------------------------


def leads(market, weights):
    """(mistakes,) lead of the first best action over each other one, and what the mistake costs Alice."""
    mixture, right = np.tensordot(weights, market.providers, axes=1), market.user.argmax(axis=0)
    found = []
    for y in np.flatnonzero(market.prior > 0):
        for a in set(range(market.n_actions)) - {right[y]}:
            cost = market.user[right[y], y] - market.user[a, y]
            found.append((mixture[right[y], y] - mixture[a, y], cost, (a, y)))
    return found


def separable(market, mistakes):
    """Whether some weights make every mistake in the list cost at least its loss to Alice, by scipy."""
    if not mistakes:
        return True
    right = market.user.argmax(axis=0)
    rows = [-(market.providers[:, right[y], y] - market.providers[:, a, y]) for a, y in mistakes]
    costs = [-(market.user[right[y], y] - market.user[a, y]) for a, y in mistakes]
    return linprog(np.zeros(market.n_providers), rows, costs, bounds=(0, None)).status == 0


@pytest.mark.parametrize("rounding", [None, 3])
def test_first_everywhere_exactly_when_everything_is_guaranteed(rounding):
    found, blocked = 0, 0
    for market in random_markets(120, seed=11):
        if rounding:  # many ties
            market = Market(
                market.prior, np.round(market.user * rounding), np.round(market.providers * rounding)
            )
        test, plain = argmax_weights(market), certify(market, False)
        assert test.found == (plain.opt - plain.value < 1e-7)
        table = leads(market, test.weights)
        if test.found:
            found += 1
            assert all(lead > 0 if cost > 0 else lead >= -1e-9 for lead, cost, _ in table)
            strict = [lead for lead, cost, _ in table if cost > 0]
            assert test.margin == pytest.approx(min(strict)) if strict else test.margin == np.inf
            assert not test.blocking.any() and "first in every state" in str(test) or not strict
            continue
        blocked += 1
        assert not test.weights.any() and test.margin == 0
        assert test.blocking.sum() == pytest.approx(1) and (test.blocking >= 0).all()
        right = market.user.argmax(axis=0), np.arange(market.n_states)
        assert not test.blocking[right].any()
        gains = [(test.blocking * (U - U[right])).sum() for U in market.providers]
        np.testing.assert_allclose(gains, test.provider_gains, atol=1e-9)
        assert min(gains) > -1e-6  # nobody minds
        assert (test.blocking * (market.user[right] - market.user)).sum() > 1e-7  # but Alice does
        # None of the mistakes that cost her can be spared, and all mistakes that cost nothing are allowed.
        costly = [place for _, cost, place in table if cost > 0 and test.blocking[place] > 0]
        free = [place for _, cost, place in table if cost == 0]
        assert not separable(market, costly + free)
        for left_out in costly:
            assert separable(market, [place for place in costly if place != left_out] + free)
        assert len(test.mistakes) == (test.blocking > 0).sum() and "stand in the way" in str(test)
    assert found > 20 and blocked > 20


def test_the_basket_is_the_one_the_least_lucky_provider_likes_best():
    user = [[1, 0.3, 0], [0.2, 1, 0], [0.4, 0.4, 0.8]]
    sells_a, sells_b = [[1, 0.5, 0.5], [0] * 3, [0.2] * 3], [[0] * 3, [0.5, 1, 0.5], [0.2] * 3]
    test = argmax_weights(Market([0.4, 0.3, 0.3], user, [sells_a, sells_b]))
    np.testing.assert_allclose(test.blocking, [[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]], atol=1e-9)
    np.testing.assert_allclose(test.provider_gains, 0.05, atol=1e-9)
    tried = 0
    for market in random_markets(300, seed=12, kinds=("free", "shared_bias")):
        test = argmax_weights(market)
        places = np.nonzero(test.blocking)
        if test.found or len(places[0]) < 2:
            continue
        tried += 1
        right = market.user.argmax(axis=0)[places[1]], places[1]
        gains = market.providers[:, *places] - market.providers[:, *right]  # (providers, mistakes)
        gains /= np.ptp(market.providers[:, :, market.prior > 0], axis=(1, 2))[:, None]
        # Unknowns: the shares of these mistakes, and the least gain.
        k, n = gains.shape
        best = linprog(
            np.append(np.zeros(n), -1),
            np.hstack([-gains, np.ones((k, 1))]),
            np.zeros(k),
            np.append(np.ones(n), 0)[None],
            [1],
            bounds=[(0, None)] * n + [(None, None)],
        )
        assert (gains @ test.blocking[places]).min() == pytest.approx(-best.fun, abs=1e-6)
    assert tried > 10


def test_first_everywhere_means_opt_in_every_equilibrium():
    rng, found = np.random.default_rng(12), 0
    for _ in range(40):
        market = sample_market("free", rng, providers=2, actions=3, states=2)
        if argmax_weights(market).found:
            found += 1
            opt = market.full_information_value
            for heard in ("all", "best"):
                worst = SignallingGame.on_grid(market, 5, heard).worst_coarse_correlated()
                assert worst.user_value == pytest.approx(opt, abs=1e-8)
    assert found >= 5


def test_all_or_nothing():
    premise = 0
    for market in random_markets(80, seed=13, kinds=("near_hull",)):
        if market.n_actions == 1:
            continue
        ranked = np.sort(market.user, axis=0)
        margin = (ranked[-1] - ranked[-2]).min()
        fit = align(market.user, market.providers, "cone", "state")
        if 2 * fit.error < margin:
            premise += 1
            assert argmax_weights(market).found
            assert proved_value(market, fit.weights * margin / (margin - 2 * fit.error) * 1.001) >= (
                certify(market).value - 1e-9
            )
    assert premise > 10


def test_when_nothing_can_go_wrong():
    market = Market([0.5, 0.5], np.ones((3, 2)), np.arange(12).reshape(2, 3, 2))
    test = argmax_weights(market)
    assert test.found and test.margin == np.inf and "cannot go wrong" in str(test)
    assert certify(market).value == pytest.approx(1)
    assert "worth nothing" in str(certify(market))
    with pytest.raises(InputError, match="market must be a Market"):
        argmax_weights(None)


# Tables ------------------------------------------------------------------------------------------------------


def table_reference(user, providers):
    pairs = [(j, i) for j, i in product(range(user.size), repeat=2) if user[j] >= user[i]]
    rows = [[*-(providers[:, j] - providers[:, i]), -1.0] for j, i in pairs]
    right = [-(user[j] - user[i]) for j, i in pairs]
    return linprog([0] * len(providers) + [1], rows, right, bounds=(0, None)).fun


def test_tables_by_brute_force():
    rng = np.random.default_rng(14)
    for n, k in ((2, 1), (8, 3), (30, 2), (15, 6)):
        for values in (rng.random(n), rng.integers(4, size=n) / 3):
            providers = rng.random((k, n)) * rng.uniform(0.1, 9, (k, 1))
            table = certify_table(values, providers)
            assert table.loss == pytest.approx(table_reference(values, providers), abs=1e-7)
            assert table.loss <= 2 * table.alignment_error + 1e-7
            mixture = table.weights @ providers
            worst = max(
                values[j] - values[i] - mixture[j] + mixture[i]
                for j, i in product(range(n), repeat=2)
                if values[j] >= values[i]
            )
            assert worst == pytest.approx(table.loss, abs=1e-7)


def test_the_hardest_market_of_a_table_attains_its_loss():
    rng = np.random.default_rng(15)
    for _ in range(10):
        user, providers = rng.random(12), rng.random((3, 12))
        table = certify_table(user, providers)
        hardest = certify(slate_market(user, providers, table.pairs, table.pair_prior), obedience=False)
        assert hardest.opt - hardest.value == pytest.approx(table.loss, abs=1e-7)
        for _ in range(10):
            slates = rng.integers(12, size=(6, rng.integers(1, 5)))
            some = certify(slate_market(user, providers, slates, rng.dirichlet(np.ones(6))), obedience=False)
            assert some.opt - some.value <= table.loss + 1e-7
            assert proved_value(some.market, table.weights) >= some.opt - table.loss - 1e-7


def test_a_report_needs_a_name_for_every_item():
    rng = np.random.default_rng(4)
    table = certify_table(rng.random(12), rng.random((2, 12)))
    assert table.pairs.size
    names = [f"item number {j}" for j in range(12)]
    assert "item number" in table.report(items=names)
    with pytest.raises(InputError, match="^items must name every item"):
        table.report(items=names[:1])


def test_a_table_in_order_guarantees_everything():
    rng = np.random.default_rng(16)
    tastes = np.sort(rng.random((2, 20)), axis=1)
    user = (0.5 * tastes.sum(axis=0)) ** 5  # another scale, the same order
    table = certify_table(user, tastes + 0.02 * np.array([[1.0], [-1.0]]) * rng.random(20))
    assert certify_table(user, tastes).in_order and "gives Alice OPT" in str(certify_table(user, tastes))
    assert not certify_table(user, tastes).pairs.size
    assert table.loss < 2 * table.alignment_error / 5
    assert certify_table(np.ones(5), rng.random((2, 5))).in_order


def test_a_large_table():
    rng = np.random.default_rng(17)
    providers = rng.random((20, 3000))
    user = rng.dirichlet(np.ones(20)) @ providers + 0.05 * rng.standard_normal(3000)
    table = certify_table(user, providers)
    assert 0 < table.loss <= 2 * table.alignment_error + 1e-8
    text = table.report([f"judge {i}" for i in range(20)], [f"film {j}" for j in range(3000)])
    assert "film" in text and "judge" in text and "Hardest choices" in text


def test_tables_that_do_not_fit():
    with pytest.raises(InputError, match="must have 3 columns"):
        certify_table([1, 2, 3], [[1, 2]])
    with pytest.raises(InputError, match="user must be finite"):
        certify_table([1, np.nan], [[1, 2]])


# Exact arithmetic --------------------------------------------------------------------------------------------


small_numbers = st.integers(0, 12)


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_certificates_in_fractions(data):
    k, actions, states = (data.draw(st.integers(1, high)) for high in (3, 3, 3))
    numbers = st.lists(small_numbers, min_size=actions * states, max_size=actions * states)
    user = np.reshape(data.draw(numbers), (actions, states)) / 12
    providers = np.array([np.reshape(data.draw(numbers), (actions, states)) / 12 for _ in range(k)])
    counts = np.array(data.draw(st.lists(st.integers(0, 5), min_size=states, max_size=states)))
    counts[0] += 1
    market = Market(counts / counts.sum(), user, providers)
    for obedience in (False, True):
        certificate = certify(market, obedience)
        exact = verify_exact(certificate)
        assert float(exact.value) == pytest.approx(certificate.value, abs=1e-9)
        assert exact.proved <= exact.value and float(exact.value - exact.proved) < 1e-4
        # Once more, by hand: both sides are feasible and worth the same.
        prior = [Fraction(int(n), int(counts.sum())) for n in counts]
        u = [[Fraction(round(12 * v), 12) for v in row] for row in user]
        U = [[[Fraction(round(12 * v), 12) for v in row] for row in table] for table in providers]
        right = [max(range(actions), key=lambda a: u[a][y]) for y in range(states)]
        floors = [sum(prior[y] * U[i][right[y]][y] for y in range(states)) for i in range(k)]
        places = list(product(range(actions), range(states)))
        law = exact.outcome
        assert all(law[p] >= 0 for p in places)
        assert all(sum(law[a, y] for a in range(actions)) == prior[y] for y in range(states))
        assert all(sum(law[a, y] * U[i][a][y] for a, y in places) >= floors[i] for i in range(k))
        assert sum(law[a, y] * u[a][y] for a, y in places) == exact.value
        rho = exact.obedience_prices
        for a, y in places:
            if prior[y] > 0:
                left = sum(exact.weights[i] * U[i][a][y] for i in range(k)) + exact.offsets[y]
                left += sum(rho[a, b] * (u[a][y] - u[b][y]) for b in range(actions))
                assert left <= u[a][y]
        bound = sum(exact.weights[i] * floors[i] for i in range(k))
        assert bound + sum(prior[y] * exact.offsets[y] for y in range(states)) == exact.value


def test_slack_in_fractions():
    market = courtroom()
    certificate = certify(market, obedience=False, slack=0.1)
    assert verify_exact(certificate).value == Fraction(3, 10) and certificate.value == pytest.approx(0.3)


def test_what_cannot_be_verified():
    market = courtroom()
    with pytest.raises(InputError, match="must be a Certificate"):
        verify_exact(market)
    irrational = Market(market.prior, market.user / np.sqrt(2), market.providers)
    with pytest.raises(InputError, match="user must hold fractions"):
        verify_exact(certify(irrational))
    thirds = Market([1 / 3, 2 / 3], market.user, market.providers)
    assert verify_exact(certify(thirds)).value == Fraction(2, 3)
    other = certify(market, benchmark=[[0, 0], [0.7, 0.3]])
    with pytest.raises(InputError, match="default benchmark"):
        verify_exact(other)
    no_fraction = Market([1 / np.pi, 1 - 1 / np.pi], market.user, market.providers)
    with pytest.raises(InputError, match="prior must sum to one exactly"):
        verify_exact(certify(no_fraction), 10**9)
    for denominator in (0, 1.5, True):
        with pytest.raises(InputError, match="^denominator must be"):
            verify_exact(certify(market), denominator)
    tampered = Certificate(**{**vars(certify(market)), "value": 0.8})
    with pytest.raises(RuntimeError, match="not confirmed"):
        verify_exact(tampered)


def test_simplex_in_fractions_against_scipy():
    rng, solved = np.random.default_rng(18), 0
    for _ in range(60):
        m, n = 4, 9
        matrix = np.hstack([rng.integers(-3, 4, (m, n - m)), np.eye(m, dtype=int)])
        rhs, cost = rng.integers(0, 4, m), rng.integers(-3, 6, n)
        found = linprog(cost, A_eq=matrix, b_eq=rhs)
        basis = list(range(n - m, n))
        if found.status == 3:
            with pytest.raises(InputError, match="unbounded"):
                exact_simplex(cost.astype(object), matrix.astype(object), rhs.astype(object), basis)
            continue
        solved += 1
        x, y = exact_simplex(cost.astype(object), matrix.astype(object), rhs.astype(object), basis)
        assert float(cost @ x) == pytest.approx(found.fun, abs=1e-9)
        assert (x >= 0).all() and (matrix @ x == rhs).all() and (y @ matrix <= cost).all()
        assert y @ rhs == cost @ x
    assert solved > 20


def test_simplex_needs_a_feasible_basis():
    matrix = np.array([[1, 1, 1, 0], [1, 1, 0, 1]], dtype=object)
    with pytest.raises(InputError, match="linearly independent"):
        exact_simplex(np.zeros(4, dtype=object), matrix, np.array([1, 1], dtype=object), [0, 1])
    with pytest.raises(InputError, match="feasible"):
        exact_simplex(np.zeros(4, dtype=object), matrix, np.array([1, 2], dtype=object), [1, 2])


# Words -------------------------------------------------------------------------------------------------------


def test_the_reports_say_what_is_guaranteed():
    text = str(certify(courtroom(), obedience=False))
    assert "Nothing is guaranteed: at least 0.400, less than she has without information (0.700" in text
    assert "innocent: convict in place of acquit in 43% of cases, cost 0.300" in text
    assert "no more than she has without information" in str(certify(courtroom()))
    rng = np.random.default_rng(19)
    inside = sample_market("in_hull", rng, providers=3)
    assert f"Every equilibrium gives Alice OPT, {inside.full_information_value:.3f}" in str(certify(inside))
    partial = next(
        c
        for c in map(certify, random_markets(200, seed=20, kinds=("free",)))
        if 0.1 < c.share < 0.9 and c.tied_states == ()
    )
    text = partial.report([f"maker {i}" for i in range(partial.weights.size)])
    assert f"{partial.share:.0%} of the value of information" in text
    assert "The guarantee rests on maker" in text and "in place of" in text
    assert "less than no information" in text
    left = partial.without()
    for i, value in enumerate(left):
        kept = np.delete(partial.market.providers, i, axis=0)
        if len(kept):
            rest = Market(partial.market.prior, partial.market.user, kept)
            assert value == pytest.approx(certify(rest).value, abs=1e-7)
    lost = sum(m.cost for m in partial.mistakes)
    assert lost == pytest.approx(partial.opt - partial.outcome_value, abs=1e-6)
    for mistake in partial.mistakes:
        assert partial.outcome[mistake.taken, mistake.state] == mistake.probability


def test_a_report_adds_up_the_mistakes_that_it_does_not_list():
    market = sample_market("shared_bias", np.random.default_rng(24), providers=2, actions=3, states=9)
    certificate = certify(market)
    lines = certificate.report().splitlines()
    listed = [float(line.rsplit(" ", 1)[1]) for line in lines if " of cases, cost " in line]
    (rest,) = (
        re.fullmatch(r"  and (\d+) smaller ones, cost (0\.\d+)", line) for line in lines if "smaller" in line
    )
    assert len(listed) == 5 and listed == sorted(listed, reverse=True)
    assert int(rest[1]) == len(certificate.mistakes) - 5 > 1
    assert sum(listed) + float(rest[2]) == pytest.approx(
        certificate.opt - certificate.outcome_value, abs=0.004
    )


def test_reports_of_other_benchmarks_and_of_slack():
    market = courtroom()
    silence = certify(market, benchmark=[[0, 0], [0.7, 0.3]])
    assert "worth nothing" in str(silence) and "the benchmark - 2 eps" in str(silence)
    assert "some slack" in str(certify(market, slack=0.1)) and "slack" not in str(certify(market))


def test_without_the_only_provider_obedience_is_left():
    certificate = certify(sample_market("in_hull", np.random.default_rng(21), providers=1))
    assert certificate.without() == pytest.approx([certificate.no_information])
    assert np.isnan(certify(Market([1.0], [[1.0], [0.0]], [[[0.0], [1.0]]])).share)


def test_a_guarantee_that_nobody_is_needed_for():
    rng = np.random.default_rng(22)
    market = sample_market("in_hull", rng, providers=2)
    doubled = Market(market.prior, market.user, np.concatenate([market.providers, market.providers]))
    certificate = certify(doubled)
    np.testing.assert_allclose(certificate.without(), certificate.value, atol=1e-8)
    assert "No provider is indispensable" in str(certificate)


def test_certificates_cannot_be_changed_by_accident():
    certificate = certify(courtroom())
    for name in ("outcome", "weights", "offsets", "obedience_prices", "benchmark", "floors", "slack"):
        with pytest.raises(ValueError, match="read-only"):
            getattr(certificate, name)[...] = 0


def test_pairs_of_markets_from_a_coalition_of_providers():
    """More providers never lower the guarantee."""
    rng = np.random.default_rng(23)
    for _ in range(10):
        market = sample_market("free", rng, providers=3, actions=3, states=3)
        for pair in combinations(range(3), 2):
            fewer = Market(market.prior, market.user, market.providers[list(pair)])
            for obedience in (False, True):
                assert certify(fewer, obedience).value <= certify(market, obedience).value + 1e-8
