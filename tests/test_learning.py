"""Learning: the algorithms against plain loops, regrets against enumeration, the guarantees against every play."""

import math
from itertools import product
from types import SimpleNamespace

import numpy as np
import pytest
from emergent_alignment import InputError, Market, align, sample_market
from emergent_alignment import learning as module
from emergent_alignment.conversation import Conversation, SignallingGame, grid_rules, xor_setting
from emergent_alignment.learning import (
    Exp3,
    Hedge,
    RepeatedPlay,
    Satisficer,
    Stubborn,
    cce_gap,
    exp3_bound,
    hedge_bound,
    hedge_step,
    play_repeatedly,
)
from emergent_alignment.quantal import QuantalGame, limited_rules
from hypothesis import given, settings
from hypothesis import strategies as st

KINDS = ("in_hull", "near_hull", "free", "shared_bias")
SILENT, TRUTH = 12, 4  # in grid_rules(2, 5)


def random_game(rng, shape, scale=1.0, shift=0.0):
    payoffs = shift + scale * rng.random((len(shape), *shape))
    return SimpleNamespace(payoffs=payoffs, user_values=rng.random(shape))


def two_makers(prior=(0.7, 0.3), conscience=(0.2, 0.2)):
    right, sells_a = np.array([[0.0, 1], [1, 0]]), np.array([[1.0, 1], [0, 0]])
    sales = (sells_a, 1 - sells_a)
    return Market(prior, right, [(1 - c) * s + c * right for c, s in zip(conscience, sales)])


class Erratic:
    """Plays anything and learns nothing: the theorem must not care."""

    sees = "all"

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)

    def start(self, rules):
        self.rules = rules
        return self

    def play(self, day):
        return self.rng.dirichlet(np.full(self.rules, 0.1))

    def learn(self, day, played, seen):
        assert np.all((seen >= -1e-12) & (seen <= 1 + 1e-12)) and np.shape(seen) == (self.rules,)


class Guesser(Erratic):
    """Plays every rule equally often for ever."""

    def play(self, day):
        return np.full(self.rules, 1 / self.rules)


def weighted_loss(play, weights, rules):
    """(days,) sum_i w_i Reg_i(T) / T against the given rules."""
    return play.regret_against(rules) @ weights / np.arange(1, play.days + 1)


# The algorithms


def plain_hedge(gains, step):
    """Hedge with exponentials of plain numbers, one rule after the other."""
    total, played = [0.0] * gains.shape[1], []
    for t, gain in enumerate(gains, start=1):
        beta = 2 * math.sqrt(math.log(len(total)) / t) if step is None else step
        weights = [math.exp(beta * g) for g in total]
        played.append([w / sum(weights) for w in weights])
        total = [g + more for g, more in zip(total, gain)]
    return np.array(played)


@pytest.mark.parametrize("step", [None, 0.2])
@pytest.mark.parametrize("seed", [None, 3])
def test_hedge_plays_multiplicative_weights(step, seed):
    game = random_game(np.random.default_rng(1), (3, 4), scale=5, shift=-2)
    play = play_repeatedly(game, [Hedge(step), Hedge(step)], 40, seed)
    for i in range(2):
        low, unit = game.payoffs[i].min(), np.ptp(game.payoffs[i])
        assert play.units[i] == pytest.approx(unit)
        assert play.strategies[i] == pytest.approx(plain_hedge((play.gains[i] - low) / unit, step))


def test_bandit_estimates_only_what_it_played():
    game = random_game(np.random.default_rng(2), (3, 4), scale=5, shift=-2)
    play = play_repeatedly(game, [Exp3(), Exp3(0.1)], 60, seed=4)
    for i, fixed in enumerate((None, 0.1)):
        n = play.gains[i].shape[1]
        losses = (game.payoffs[i].max() - play.gains[i]) / np.ptp(game.payoffs[i])
        total = np.zeros(n)
        for t in range(play.days):
            beta = math.sqrt(math.log(n) / (n * (t + 1))) if fixed is None else fixed
            weights = np.exp(-beta * total)
            assert play.strategies[i][t] == pytest.approx(weights / weights.sum())
            rule = play.drawn[t, i]
            total[rule] += losses[t, rule] / (play.strategies[i][t, rule] + beta / 2)


def test_a_bandit_is_told_one_number():
    class Watcher(Erratic):
        sees = "own"

        def learn(self, day, played, seen):
            assert np.ndim(seen) == 0 and 0 <= seen <= 1 and 0 <= played < self.rules

    play_repeatedly(random_game(np.random.default_rng(0), (2, 3)), [Watcher(1), Watcher(2)], 20, seed=1)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 12), st.sampled_from([None, 0.05, 0.7, 5.0]), st.booleans())
def test_bound_on_the_regret_of_hedge(seed, rules, step, hostile):
    """At every day, whatever the payoffs: drawn in advance, or chosen against what he is about to play."""
    rng = np.random.default_rng(seed)
    state, days = Hedge(step).start(rules), 150
    earned, total, regrets = 0.0, np.zeros(rules), []
    for day in range(1, days + 1):
        p = state.play(day)
        gain = rng.integers(2, size=rules) * rng.random()
        if hostile:  # pays the half that is less likely, strictly fewer than all even where p is uniform
            gain = np.zeros(rules)
            gain[np.argsort(p, kind="stable")[: rules // 2]] = 1.0
        earned, total = earned + p @ gain, total + gain
        regrets.append(total.max() - earned)
        state.learn(day, None, gain)
    assert (np.array(regrets) <= hedge_bound(rules, days, step) + 1e-9).all()


def test_a_hostile_opponent_takes_half_of_the_bound():
    """Half of the rules paid, half of the probability: Hoeffding's lemma is nearly an equality on every day."""
    for rules in (2, 6, 25):
        step, days = hedge_step(rules, 400), 400
        state, earned, total = Hedge(step).start(rules), 0.0, np.zeros(rules)
        for day in range(1, days + 1):
            p = state.play(day)
            gain = np.zeros(rules)
            gain[np.argsort(p, kind="stable")[: rules // 2]] = 1.0
            earned, total = earned + p @ gain, total + gain
            state.learn(day, None, gain)
        assert total.max() - earned == pytest.approx(0.5 * hedge_bound(rules, days, step)[-1], rel=0.1)


def test_the_bounds_in_closed_form():
    days = np.arange(1, 501)
    for n in (2, 25, 1000):
        assert (hedge_bound(n, 500) <= np.sqrt(days * np.log(n)) + 1e-9).all()
        assert hedge_bound(n, 500, hedge_step(n, 500))[-1] == pytest.approx(math.sqrt(500 * math.log(n) / 2))
        best = min(hedge_bound(n, 500, step)[-1] for step in np.geomspace(1e-3, 10, 400))
        assert hedge_bound(n, 500, hedge_step(n, 500))[-1] <= best
        rest = math.log(2 / 0.1)
        closed = 4 * np.sqrt(n * days * np.log(n)) + (1 + np.sqrt(n * days / np.log(n))) * rest
        assert (exp3_bound(n, 500, 0.1) <= closed + 1e-9).all()
    fixed = (2 * math.log(5) + math.log(40)) / 0.03 + 5 * 200 * 0.03 + math.log(40)
    assert exp3_bound(5, 200, 0.05, step=0.03)[-1] == pytest.approx(fixed)
    # With one rule there is nothing to regret.
    assert hedge_bound(1, 5) == pytest.approx(0) and exp3_bound(1, 5, 0.1) == pytest.approx(math.log(20))


def test_bound_on_the_regret_of_the_bandit():
    """The bound holds with probability .9 on each day; in 20 runs it is never even near."""
    rng, worst = np.random.default_rng(6), []
    for seed in range(20):
        n = int(rng.integers(2, 8))
        means = rng.random(n)
        games = [
            SimpleNamespace(
                payoffs=(rng.random(n) < (means if day < 150 else 1 - means))[None], user_values=np.zeros(n)
            )
            for day in range(300)
        ]
        play = play_repeatedly(games, [Exp3()], seed=seed)
        worst.append((play.external_regret[:, 0] / exp3_bound(n, 300, 0.1)).max())
    assert max(worst) < 0.3


def test_who_does_not_learn_exceeds_the_bound_of_the_bandit():
    """One rule earns 1 and the other 0 on all of 2000 days: long enough for a bound that asks for little."""
    game = SimpleNamespace(payoffs=np.array([[0.0, 1]]), user_values=np.zeros(2))
    bound = exp3_bound(2, 2000, 0.1)

    def shares(learner, seed):
        return play_repeatedly(game, [learner], 2000, seed).external_regret[:, 0] / bound

    for seed in range(5):
        assert shares(Exp3(), seed).max() < 0.3
        assert shares(Guesser(0), seed)[-1] > 2
    assert shares(Stubborn(0), 0)[-1] > 4


@pytest.mark.parametrize("seed", [None, 0])
@pytest.mark.parametrize("habit", [None, SILENT])
def test_the_satisficer_has_little_regret_against_one_rule_only(seed, habit):
    game = SignallingGame.on_grid(two_makers())
    play = play_repeatedly(game, [Satisficer(TRUTH, habit)] * 2, 900, seed)
    allowed = play.units * (np.sqrt(np.arange(1, 901)) + 1)[:, None]
    assert (play.regret_against((TRUTH, TRUTH)) <= allowed + 1e-9).all()
    assert play.external_regret[-1].max() > 2 * allowed[-1].max()
    assert (play.running_average >= 1 - 2.5 * allowed.sum(axis=1) / np.arange(1, 901) - 1e-9).all()


def test_the_stubborn_one_does_not_move():
    play = play_repeatedly(SignallingGame.on_grid(two_makers()), [Stubborn(7), Hedge()], 20, seed=0)
    assert (play.drawn[:, 0] == 7).all()


# What is measured


@pytest.mark.parametrize("shape", [(4,), (3, 4), (2, 3, 4), (2, 2, 3, 2), (1, 3)])
@pytest.mark.parametrize("seed", [None, 5])
def test_values_gains_and_regrets_by_enumeration(shape, seed):
    rng = np.random.default_rng(len(shape))
    game, days, k = random_game(rng, shape), 12, len(shape)
    play = play_repeatedly(game, [Hedge(1.0)] * k, days, seed)
    assert isinstance(play, RepeatedPlay) and play.days == days
    joint = np.zeros(shape)
    fixed = [np.zeros((days, n)) for n in shape]
    for t in range(days):
        table = np.zeros(shape)
        for profile in np.ndindex(shape):
            if seed is None:
                table[profile] = np.prod([play.strategies[i][t, r] for i, r in enumerate(profile)])
            else:
                table[profile] = profile == tuple(play.drawn[t])
        joint += table / days
        assert play.user_values[t] == pytest.approx((table * game.user_values).sum())
        for i in range(k):
            assert play.payoffs[t, i] == pytest.approx((table * game.payoffs[i]).sum())
            for profile in np.ndindex(shape):
                for r in range(shape[i]):
                    swapped = (*profile[:i], r, *profile[i + 1 :])
                    fixed[i][t, r] += table[profile] * game.payoffs[(i, *swapped)]
    assert play.distribution == pytest.approx(joint)
    assert play.running_average[-1] == pytest.approx((joint * game.user_values).sum())
    for i in range(k):
        assert play.gains[i] == pytest.approx(fixed[i])
        regret = np.cumsum(fixed[i] - play.payoffs[:, [i]], axis=0)
        assert play.external_regret[:, i] == pytest.approx(regret.max(axis=1), abs=1e-9)
        last = shape[i] - 1
        against = play.regret_against([n - 1 for n in shape])
        assert against[:, i] == pytest.approx(regret[:, last], abs=1e-9)
    assert cce_gap(game, play.distribution) == pytest.approx(play.external_regret[-1] / days, abs=1e-9)


def test_the_gap_is_zero_exactly_at_coarse_correlated_equilibria():
    rng = np.random.default_rng(3)
    for kind in KINDS:
        game = SignallingGame.on_grid(sample_market(kind, rng, 2, 3, 2), 4)
        for found in (game.worst_coarse_correlated(), game.best_coarse_correlated()):
            assert (cce_gap(game, found.distribution) <= 1e-7).all()
        for profile in product(range(0, 16, 3), repeat=2):
            sure = np.zeros(game.user_values.shape)
            sure[profile] = 1
            stable = list(profile) in game.pure_equilibria().tolist()
            assert stable == bool((cce_gap(game, sure) <= 1e-9).all())


BLIND = np.full((25, 25), 1 / 625)  # every profile equally often


def game_with_a_stake(kind, heard, rng):
    """Information is worth something to Alice, and blind play leaves some Bob with something to regret."""
    while True:
        market = sample_market(kind, rng, 2, 3, 2)
        if market.full_information_value - market.no_information_value > 0.1:
            game = SignallingGame.on_grid(market, heard=heard)
            if cce_gap(game, BLIND).max() > 0.02:
                return game


@pytest.mark.parametrize("heard", ["all", "best"])
@pytest.mark.parametrize("kind", KINDS)
def test_play_approaches_the_coarse_correlated_equilibria(kind, heard):
    rng = np.random.default_rng(4)
    for _ in range(2):
        game = game_with_a_stake(kind, heard, rng)
        play = play_repeatedly(game, [Hedge(), Hedge()], 800)
        bound = play.units[:, None] * hedge_bound(25, 800)
        assert (play.external_regret <= bound.T + 1e-9).all()
        assert cce_gap(game, play.distribution).max() < 0.1 * cce_gap(game, BLIND).max()
        low = game.worst_coarse_correlated().user_value
        high = game.best_coarse_correlated().user_value
        assert low - 0.03 <= play.running_average[-1] <= high + 0.03
        if kind == "in_hull":  # where blind play is worth less than any equilibrium
            assert (BLIND * game.user_values).sum() < low - 0.04


def test_same_seed_same_play_and_blocks_change_nothing(monkeypatch):
    game = random_game(np.random.default_rng(7), (3, 2, 4))
    learners = [Exp3(), Hedge(), Satisficer(1)]
    one, two = (play_repeatedly(game, learners, 50, seed=9) for _ in range(2))
    assert np.array_equal(one.drawn, two.drawn)
    assert not np.array_equal(one.drawn, play_repeatedly(game, learners, 50, seed=10).drawn)
    whole = play_repeatedly(game, [Hedge()] * 3, 50)
    table = whole.distribution
    monkeypatch.setattr(module, "BLOCK", 20)
    again = play_repeatedly(game, [Hedge()] * 3, 50)
    assert again.user_values == pytest.approx(whole.user_values)
    assert again.distribution == pytest.approx(table)


def test_units_of_the_bobs_do_not_matter():
    game = random_game(np.random.default_rng(8), (3, 4))
    scaled = SimpleNamespace(
        payoffs=game.payoffs * np.array([50.0, 0.01])[:, None, None] + 7, user_values=game.user_values
    )
    one, two = play_repeatedly(game, [Hedge()] * 2, 60), play_repeatedly(scaled, [Hedge()] * 2, 60)
    assert two.user_values == pytest.approx(one.user_values)
    assert two.external_regret == pytest.approx(one.external_regret * [50, 0.01])


def test_rules_are_drawn_as_often_as_they_should_be():
    class Fixed(Erratic):
        def play(self, day):
            return np.array([[0.5, 0.0, 0.2, 0.3], [0.0, 0.1, 0.9, 0.0]][self.seed])

        def __init__(self, seed):
            self.seed = seed

    game = random_game(np.random.default_rng(9), (4, 4))
    play = play_repeatedly(game, [Fixed(0), Fixed(1)], 4000, seed=2)
    expected = np.outer([0.5, 0, 0.2, 0.3], [0, 0.1, 0.9, 0])  # independent draws
    assert play.distribution == pytest.approx(expected, abs=0.03)
    assert (play.distribution[expected == 0] == 0).all()


def test_constant_payoffs():
    game = SimpleNamespace(payoffs=np.full((2, 3, 2), 0.4), user_values=np.ones((3, 2)))
    for seed in (None, 1):
        play = play_repeatedly(game, [Hedge()] * 2, 30, seed)
        assert play.external_regret == pytest.approx(0, abs=1e-12)
        assert play.strategies[0] == pytest.approx(1 / 3)


def test_rounding_is_not_taken_for_payoffs():
    """Payoffs that differ by rounding only are constant: scaled up, they would look like a game."""
    rng = np.random.default_rng(17)
    noise = 1e-16 * rng.integers(-2, 3, size=(2, 5, 5))
    game = SimpleNamespace(payoffs=0.7 + noise, user_values=np.ones((5, 5)))
    play = play_repeatedly(game, [Hedge()] * 2, 300)
    assert play.units == pytest.approx(1)
    assert np.abs(play.external_regret).max() < 1e-12
    # A small range on a large level is a game all the same.
    real = random_game(rng, (5, 5))
    lifted = SimpleNamespace(payoffs=1e5 + 1e-3 * real.payoffs, user_values=real.user_values)
    one, two = (play_repeatedly(g, [Hedge()] * 2, 50) for g in (real, lifted))
    assert two.user_values == pytest.approx(one.user_values, abs=1e-5)


# The guarantees


@pytest.mark.parametrize("heard", ["all", "best"])
@pytest.mark.parametrize("kind", KINDS)
def test_no_regret_is_enough_on_every_day_of_every_play(kind, heard):
    """The theorem is about any play, so erratic play must obey it as well as learners do."""
    rng = np.random.default_rng(11)
    for number in range(6):
        market = sample_market(kind, rng, 2, 3, 2)
        game = SignallingGame.on_grid(market, heard=heard)
        fit = align(market.user, market.providers, "cone", "state")
        opt = market.full_information_value
        for learners, seed in (
            ([Hedge(), Hedge(0.3)], None),
            ([Hedge(), Exp3()], number),
            ([Erratic(number), Erratic(number + 100)], None),
            ([Satisficer(TRUTH), Stubborn(SILENT)], number),
        ):
            play = play_repeatedly(game, learners, 150, seed)
            lost = weighted_loss(play, fit.weights, (TRUTH, TRUTH))
            assert (play.running_average >= opt - 2 * fit.error - lost - 1e-9).all()
            if kind == "in_hull":  # then the loss is the weighted regret, exactly
                assert opt - play.running_average == pytest.approx(lost, abs=1e-7)


def test_a_bob_without_weight_may_do_as_he_likes():
    market = sample_market("in_hull", np.random.default_rng(12), 2, 3, 2)
    three = Market(market.prior, market.user, [*market.providers, 1 - market.user])
    game = SignallingGame.on_grid(three, 3)
    truth = grid_rules(2, 3).tolist().index(np.eye(2).tolist())
    weights = align(market.user, market.providers, "cone").weights
    for third in (Stubborn(0), Erratic(1), Satisficer(4)):
        play = play_repeatedly(game, [Hedge(), Hedge(), third], 200)
        lost = weighted_loss(play, [*weights, 0], [truth] * 3)
        assert market.full_information_value - play.running_average == pytest.approx(lost, abs=1e-7)


def test_the_right_action_first_is_enough():
    """Mistakes are no more frequent than the weighted regret divided by the mixture's margin."""
    rng, cases, tightest = np.random.default_rng(13), 0, 0
    for number in range(400):
        market = sample_market("free", rng, 2, 3, 2)
        weights = rng.dirichlet(np.ones(2))
        mixture = np.tensordot(weights, market.providers, axes=1)
        ranked = np.sort(mixture, axis=0)
        margin = (ranked[-1] - ranked[-2]).min()
        stake = market.full_information_value - market.no_information_value
        best = market.user.argmax(axis=0)
        if (mixture.argmax(axis=0) != best).any() or margin < 1e-3 or stake < 0.05:
            continue
        cases += 1
        game = SignallingGame.on_grid(market)
        mistakes = np.array(
            [
                1 - game.law(profile)[best, np.arange(2)].sum()
                for profile in np.ndindex(game.user_values.shape)
            ]
        ).reshape(game.user_values.shape)
        for learners in (
            [Hedge(), Hedge()],
            [Stubborn(SILENT), Stubborn(SILENT)],
            [Erratic(number), Erratic(number + 1000)],
        ):
            play = play_repeatedly(game, learners, 100)
            rate = (play.distribution * mistakes).sum()
            bound = weighted_loss(play, weights, (TRUTH, TRUTH))[-1] / margin
            assert rate <= bound + 1e-9
            tightest = max(tightest, rate / bound)
    assert cases >= 5 and tightest > 0.9


def test_a_soft_alice_and_learning_bobs():
    """Theorem 2's guarantee minus the weighted regrets against the most informative rule."""
    rng, binding = np.random.default_rng(14), 0
    for kind, rationality, messages in (
        ("near_hull", 1000.0, 3),
        ("in_hull", 100.0, 3),
        ("in_hull", 100.0, 2),
    ):
        for _ in range(10):
            market = sample_market(kind, rng, 2, 3, 3, noise=0.02)
            game = QuantalGame.from_market(market, limited_rules(3, messages), rationality)
            fit = align(market.user, market.providers, "cone", "state")
            guarantee = game.guarantee(fit.weights, fit.error)
            most = [int(eta.argmin()) for eta in game.eta]
            for learners in ([Hedge(), Hedge()], [Stubborn(0), Stubborn(0)]):  # rule 0 is silence
                play = play_repeatedly(game, learners, 100)
                floor = guarantee - weighted_loss(play, fit.weights, most)
                assert (play.running_average >= floor - 1e-9).all()
                binding += (floor > game.user_values.min() + 1e-6).sum()
    assert binding > 200  # days on which some profile would have been worth too little


def test_conversations_can_be_learnt():
    """Two Bobs who want what Alice wants come to tell her all, and so does one whose partner never says a thing."""
    talk = Conversation(xor_setting(2), ("bobs",), messages=2).game()
    assert talk.user_values.max() == pytest.approx(1) and talk.user_values[0, 0] == pytest.approx(0.5)
    blind = cce_gap(talk, np.full(talk.user_values.shape, 1 / talk.user_values.size))
    assert talk.user_values.mean() == pytest.approx(0.875) and blind == pytest.approx(0.125)
    for learners in ([Hedge(), Exp3()], [Hedge(), Stubborn(0)], [Exp3(), Stubborn(0)]):
        play = play_repeatedly(talk, learners, 400, seed=1)
        assert play.running_average[-1] > 0.95
        assert (cce_gap(talk, play.distribution) < 0.05).all()


def test_drifting_utilities_with_common_weights():
    """The average of OPT_t - 2 eps_t, minus the weighted regrets against telling everything on every day."""
    rng = np.random.default_rng(21)
    weights, markets = np.array([0.7, 0.5]), []
    providers = rng.random((2, 3, 2))
    for _ in range(30):
        providers = providers + 0.05 * rng.standard_normal(providers.shape)
        user = np.tensordot(weights, providers, axes=1) + 0.02 * rng.standard_normal((3, 2))
        markets.append(Market(rng.dirichlet(np.ones(2)), user, providers))
    residuals = [np.tensordot(weights, m.providers, axes=1) - m.user for m in markets]
    eps = np.repeat([np.ptp(r, axis=0).max() / 2 for r in residuals], 5)
    opt = np.repeat([m.full_information_value for m in markets], 5)
    nothing = np.repeat([m.no_information_value for m in markets], 5)
    assert np.mean(opt - nothing) > 0.1  # else nothing that the Bobs do would matter
    games = [game for game in map(SignallingGame.on_grid, markets) for _ in range(5)]
    days = np.arange(1, len(games) + 1)
    for learners, seed in (
        ([Hedge()] * 2, None),
        ([Hedge(), Exp3()], 1),
        ([Erratic(1), Stubborn(3)], None),
        ([Stubborn(SILENT)] * 2, None),
    ):
        play = play_repeatedly(games, learners, seed=seed)
        floor = np.cumsum(opt - 2 * eps) / days - weighted_loss(play, weights, (TRUTH, TRUTH))
        assert (play.running_average >= floor - 1e-9).all()
        for t, game in enumerate(games):
            one, two = (p[t] for p in play.strategies)
            today = one @ game.user_values @ two if seed is None else game.user_values[tuple(play.drawn[t])]
            assert play.user_values[t] == pytest.approx(today)


def test_weights_that_change_with_the_day_are_not_enough():
    """On every day Alice's utility is that of one Bob, nobody regrets anything, and she gets no information."""
    right = np.array([[0.0, 1], [1, 0]])
    first, second = (
        SignallingGame.on_grid(Market([0.7, 0.3], right, pair))
        for pair in ([right, 1 - right], [1 - right, right])
    )
    play = play_repeatedly([first] * 50 + [second] * 50, [Stubborn(SILENT)] * 2)
    assert play.external_regret[-1] == pytest.approx(0, abs=1e-9)
    assert play.running_average[-1] == pytest.approx(0.7)


# Selection: what a Bob must not regret


def tie_market():
    """In state 1 two actions are right, so different rules worth OPT have different laws."""
    user = np.array([[0.0, 1, 0], [0, 1, 1], [1, 0, 0]])
    taste = np.array([[0.0, 3, 0], [-1, 0, 0], [0, 0, 0]])
    market = Market([0.4, 0.3, 0.3], user, [user + taste, user - taste])
    silent = np.array([[1.0, 1, 1], [0, 0, 0], [0, 0, 0]])
    pooled = np.array([[1.0, 0, 0], [0, 1, 1], [0, 0, 0]])
    return market, [silent, pooled, np.eye(3)]


def test_selection_a_common_rule_is_not_enough_where_optimal_laws_differ():
    market, rules = tie_market()
    assert align(market.user, market.providers).error == pytest.approx(0, abs=1e-9)
    game = SignallingGame(market, [rules] * 2, heard="best")  # at equal offers the first Bob is heard
    assert game.solo_values[0] == pytest.approx([0.6, 1, 1])

    class EverySecondDay(Erratic):
        def play(self, day):
            return np.eye(3)[2 if day % 2 else 0]

    play = play_repeatedly(game, [EverySecondDay(0), Stubborn(0)], 100)
    assert (play.regret_against((1, 1))[-1] <= 1e-9).all()  # against the pooled rule, worth OPT
    assert play.running_average[-1] == pytest.approx(0.8)  # and yet below OPT = 1 with eps = 0
    assert play.regret_against((2, 1))[-1, 0] > 40  # against the rule he likes best


@pytest.mark.parametrize("ties", ["first", "draw"])
def test_selection_with_each_bobs_favourite(ties):
    """OPT - 2 eps x share of days without an offer of OPT - weighted regrets against the favourite optimal rules."""
    rng, market_0, saved_by_the_term = np.random.default_rng(16), tie_market()[0], 0
    for _ in range(15):
        taste = rng.integers(2) * rng.integers(-3, 4, size=(3, 3)) / 2
        bias = rng.normal(size=(3, 3)) / 5  # of both makers: no weights cancel it, so eps > 0
        noise = rng.integers(2) * (bias + rng.normal(size=(2, 3, 3)) / 20)
        user = market_0.user
        market = Market(rng.dirichlet(np.ones(3)), user, [user + taste, user - taste] + noise)
        rules = [*tie_market()[1], *rng.dirichlet(np.ones(3), size=(2, 3)).swapaxes(1, 2)]
        game = SignallingGame(market, [rules] * 2, heard="best")
        payoffs = game.payoffs
        if ties == "draw":
            turned = SignallingGame(
                Market(market.prior, market.user, market.providers[::-1]), [rules] * 2, heard="best"
            )
            payoffs = (payoffs + turned.payoffs[::-1].swapaxes(1, 2)) / 2
        played = SimpleNamespace(payoffs=payoffs, user_values=game.user_values)
        optimal = np.flatnonzero(game.solo_values[0] > market.full_information_value - 1e-9)
        assert {1, 2} <= set(optimal.tolist())
        own = np.array([[game.payoffs[i, r, 0] for r in optimal] for i in range(2)])
        favourites = optimal[own.argmax(axis=1)]
        fit = align(market.user, market.providers, "cone", "state")
        offered = np.isin(np.arange(5), optimal)
        for learners in (
            [Hedge()] * 2,
            [Erratic(1), Erratic(2)],
            [Satisficer(int(f), 0) for f in favourites],
            [Stubborn(0)] * 2,  # nobody ever offers OPT
        ):
            play = play_repeatedly(played, learners, 120)
            nobody = play.distribution[np.ix_(~offered, ~offered)].sum()
            lost = weighted_loss(play, fit.weights, favourites)[-1]
            floor = market.full_information_value - 2 * fit.error * nobody - lost
            assert play.running_average[-1] >= floor - 1e-9
            saved_by_the_term += play.running_average[-1] < market.full_information_value - lost - 1e-3
    assert saved_by_the_term >= 2


def test_selection_with_ties_that_punish():
    """Three Bobs, eps = 0, and a coarse correlated equilibrium worth .6 of 1, because ties look at the profile."""
    laws = np.array([[0.5, 2, 0], [-1, -1, -1], [0.5, 0, 2]])  # (Bobs, silence or law A or law B)
    user = np.array([0.0, 1, 1])
    assert laws.sum(axis=0) == pytest.approx(user)
    payoffs, values = np.empty((3, 3, 3, 3)), np.empty((3, 3, 3))
    for one, two, three in product(range(3), repeat=3):
        offers = [rule for rule in (one, two, three) if rule]
        kept = offers[0] if offers else 0
        if two == 1 and three == 2:
            kept = 2 if one else 1
        if one == 1 and two == 2:
            kept = 1 if three else 2
        payoffs[:, one, two, three], values[one, two, three] = laws[:, kept], user[kept]
    game = SimpleNamespace(payoffs=payoffs, user_values=values)
    lottery = np.zeros((3, 3, 3))
    lottery[0, 0, 0], lottery[0, 1, 2], lottery[1, 2, 0] = 0.4, 0.3, 0.3
    assert (cce_gap(game, lottery) <= 1e-12).all()
    assert (lottery * values).sum() == pytest.approx(0.6)


# Errors


def test_errors():
    game = random_game(np.random.default_rng(0), (2, 3))
    other = random_game(np.random.default_rng(0), (3, 3))
    two = [Hedge(), Hedge()]
    cases = [
        (lambda: play_repeatedly(game, two), "days"),
        (lambda: play_repeatedly(game, two, 0), "days"),
        (lambda: play_repeatedly(game, two, 10**8), "days"),
        (lambda: play_repeatedly([game] * 3, two, 4), "days"),
        (lambda: play_repeatedly([], two), "game"),
        (lambda: play_repeatedly(5, two, 5), "game"),
        (lambda: play_repeatedly([game, 5], two), r"game\[1\]"),
        (lambda: play_repeatedly([game, other], two), r"game\[1\]"),
        (lambda: play_repeatedly(SimpleNamespace(payoffs=np.ones((2, 2)), user_values=np.ones((2, 3))), two, 5), "payoffs"),
        (lambda: play_repeatedly(SimpleNamespace(payoffs=np.ones((3, 2, 3)), user_values=np.ones((2, 3))), two, 5), "payoffs"),
        (lambda: play_repeatedly(SimpleNamespace(payoffs=[[np.nan]], user_values=[1]), two[:1], 5), "payoffs"),
        (lambda: play_repeatedly(game, [Hedge()], 5), "learners"),
        (lambda: play_repeatedly(game, Hedge(), 5), "learners"),
        (lambda: play_repeatedly(game, [Hedge(), "Hedge"], 5), r"learners\[1\]"),
        (lambda: play_repeatedly(game, [Hedge(), Exp3()], 5), "seed"),
        (lambda: play_repeatedly(game, two, 5, seed=-1), "seed"),
        (lambda: play_repeatedly(game, two, 5, seed=1.5), "seed"),
        (lambda: play_repeatedly(game, [Stubborn(2), Hedge()], 5), "rule"),
        (lambda: play_repeatedly(game, [Satisficer(2), Hedge()], 5), "rule"),
        (lambda: play_repeatedly(game, [Satisficer(1, 2), Hedge()], 5), "rule"),
        (lambda: play_repeatedly(game, two, 5).regret_against((0,)), "rules"),
        (lambda: play_repeatedly(game, two, 5).regret_against(0), "rules"),
        (lambda: play_repeatedly(game, two, 5).regret_against((0, 3)), r"rules\[1\]"),
        (lambda: Hedge(0), "step"),
        (lambda: Exp3(-1.0), "step"),
        (lambda: Hedge("big"), "step"),
        (lambda: hedge_step(1, 10), "rules"),
        (lambda: hedge_step(5, 0), "days"),
        (lambda: hedge_bound(0, 10), "rules"),
        (lambda: hedge_bound(5, 10, -1), "step"),
        (lambda: exp3_bound(5, 10, 0), "failure"),
        (lambda: exp3_bound(5, 10, 1.5), "failure"),
        (lambda: cce_gap(game, np.ones((2, 3))), "distribution"),
        (lambda: cce_gap(game, np.ones((3, 2)) / 6), "distribution"),
        (lambda: cce_gap("game", np.ones((2, 3)) / 6), "game"),
    ]  # fmt: skip
    for call, name in cases:
        with pytest.raises(InputError, match=name):
            call()
