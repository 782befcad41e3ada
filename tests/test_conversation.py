"""Conversations: signalling games, talk with private information on both sides, and agreement."""

import itertools

import numpy as np
import pytest
from scipy.optimize import linprog

from emergent_alignment import InputError, Market, align, judge_and_prosecutor, sample_market
from emergent_alignment import conversation as module
from emergent_alignment.conversation import (
    KNOWS,
    Conversation,
    RuleGame,
    Setting,
    SignallingGame,
    additive_setting,
    exchange_expectations,
    grid_rules,
    index_setting,
    xor_setting,
)
from emergent_alignment.persuasion import respond

MONOPOLY = np.array([[3 / 7, 1], [4 / 7, 0]])  # (messages, states innocent and guilty)


def judge_with(providers):
    judge = judge_and_prosecutor()
    return Market(judge.prior, judge.user, providers, judge.actions, judge.states)


@pytest.fixture
def twins():
    return judge_with([[[1, 1], [0, 0]]] * 2)


def together(*rules):
    """One scheme that sends the messages of several independent rules at once."""
    joint = rules[0]
    for rule in rules[1:]:
        joint = (joint[:, None] * rule[None]).reshape(-1, joint.shape[1])
    return joint


def random_rules(rng, sizes, messages, states):
    return [list(rng.dirichlet(np.ones(messages), size=(n, states)).swapaxes(1, 2)) for n in sizes]


def degenerate_markets(rng):
    """Markets at the edges: one provider, one state, one action, a sure state, no stakes, large offsets."""
    plain = sample_market("free", rng, providers=2, actions=3, states=2)
    yield sample_market("free", rng, providers=1, actions=3, states=2)
    yield sample_market("free", rng, providers=2, actions=3, states=1)
    yield sample_market("free", rng, providers=2, actions=1, states=2)
    yield plain.with_prior([0, 1])
    yield Market(plain.prior, np.full((3, 2), 0.3), plain.providers)
    yield Market(plain.prior, plain.user, np.full((2, 3, 2), 0.3))
    yield Market(plain.prior, plain.user + 1e5, 1e-3 * plain.providers - 50)
    yield Market(plain.prior, plain.user, plain.providers[[0, 0]])


# Signalling games: values and laws


def test_grid_rules_hold_revelation_and_babbling():
    rules = grid_rules(2, 5)
    assert rules.shape == (25, 2, 2)
    assert np.array_equal(rules[4], np.eye(2))
    assert np.array_equal(rules[20], np.eye(2)[::-1])
    assert np.array_equal(rules[12], np.full((2, 2), 0.5))
    assert set(np.unique(rules)) == {0, 0.25, 0.5, 0.75, 1}
    three = grid_rules(3, 2)
    assert three.shape == (9, 3, 3)
    assert np.array_equal(three[-1], np.eye(3))
    for many in (rules, three, grid_rules(1, 3)):
        assert many.sum(axis=1) == pytest.approx(1)
        assert len(np.unique(many.round(9), axis=0)) == len(many)


@pytest.mark.parametrize("providers, states", [(1, 2), (2, 2), (2, 3), (3, 2)])
def test_hearing_all_is_hearing_one_combined_scheme(providers, states):
    rng = np.random.default_rng(providers + 10 * states)
    market = sample_market("free", rng, providers=providers, actions=3, states=states)
    rules = random_rules(rng, [3] * providers, 2, states)
    rules[0].append(np.eye(states)[:, rng.permutation(states)])  # a rule with another number of messages
    game = SignallingGame(market, rules)
    for profile in np.ndindex(game.user_values.shape):
        outcome = respond(market, together(*(rules[i][p] for i, p in enumerate(profile))))
        assert game.law(profile) == pytest.approx(outcome.law, abs=1e-12)
        assert game.user_values[profile] == pytest.approx(outcome.user_value)
        assert game.payoffs[(slice(None), *profile)] == pytest.approx(outcome.provider_values)


def test_hearing_the_best_is_hearing_one_scheme():
    rng = np.random.default_rng(5)
    for market in [sample_market("free", rng, 3, 3, 3), *degenerate_markets(rng)]:
        rules = random_rules(rng, [3] * market.n_providers, 2, market.n_states)
        game = SignallingGame(market, rules, heard="best")
        for profile in np.ndindex(game.user_values.shape):
            alone = [respond(market, rules[i][p]) for i, p in enumerate(profile)]
            offers = [a.user_value for a in alone]
            solo = [v[p] for v, p in zip(game.solo_values, profile)]
            assert solo == pytest.approx(offers)
            winner = next(i for i, v in enumerate(offers) if v >= max(offers) - 1e-9 * np.ptp(market.user))
            assert game.law(profile) == pytest.approx(alone[winner].law, abs=1e-12)
            assert game.payoffs[(slice(None), *profile)] == pytest.approx(alone[winner].provider_values)


def test_blocks_change_nothing(monkeypatch):
    market = sample_market("free", np.random.default_rng(0), 2, 3, 2)
    settings = xor_setting(2)
    whole, talk = SignallingGame.on_grid(market), Conversation(settings).game()
    opt = Conversation(index_setting(), ("alice", "bobs")).opt
    monkeypatch.setattr(module, "BLOCK", 50)
    assert np.array_equal(SignallingGame.on_grid(market).payoffs, whole.payoffs)
    assert np.array_equal(Conversation(settings).game().payoffs, talk.payoffs)
    assert Conversation(index_setting(), ("alice", "bobs")).opt == opt


def test_names_of_the_bobs_do_not_matter():
    market = sample_market("free", np.random.default_rng(3), 2, 3, 2)
    swapped = Market(market.prior, market.user, market.providers[::-1])
    one, other = SignallingGame.on_grid(market, 4), SignallingGame.on_grid(swapped, 4)
    assert other.payoffs == pytest.approx(one.payoffs[::-1].swapaxes(1, 2))
    assert other.user_values == pytest.approx(one.user_values.T)


def test_more_talk_never_hurts_and_truth_is_worth_opt():
    rng = np.random.default_rng(1)
    for market in [*degenerate_markets(rng), sample_market("free", rng, 2, 3, 3)]:
        game = SignallingGame.on_grid(market, 3)
        scale = np.ptp(market.user) or 1
        assert game.user_values.min() >= market.no_information_value - 1e-9 * scale
        assert game.user_values.max() == pytest.approx(market.full_information_value)
        for i, solo in enumerate(game.solo_values):
            others = tuple(j for j in range(market.n_providers) if j != i)
            assert (game.user_values.min(axis=others) >= solo - 1e-8 * scale).all()


# Signalling games: equilibria


def pure_by_hand(game):
    found = []
    for profile in np.ndindex(game.user_values.shape):
        stays = True
        for i, n in enumerate(game.user_values.shape):
            for r in range(n):
                deviation = profile[:i] + (r,) + profile[i + 1 :]
                stays &= game.payoffs[(i, *deviation)] <= game.payoffs[(i, *profile)] + 1e-9
        if stays:
            found.append(profile)
    return found


@pytest.mark.parametrize("heard", ["all", "best"])
def test_pure_equilibria_by_hand(heard):
    rng = np.random.default_rng(8)
    for kind in ("free", "shared_bias"):
        for providers in (1, 2, 3):
            market = sample_market(kind, rng, providers, 3, 2)
            game = SignallingGame.on_grid(market, 3, heard)
            by_hand = pure_by_hand(game)
            assert [tuple(p) for p in game.pure_equilibria()] == by_hand
            if by_hand:
                assert game.worst_pure() == min(game.user_values[p] for p in by_hand)


def coarse_by_scipy(game, sign):
    size = game.n_profiles
    gains = []
    for i, payoff in enumerate(game.payoffs):
        for r in range(payoff.shape[i]):
            gains.append((np.take(payoff, [r] * payoff.shape[i], axis=i) - payoff).ravel())
    answer = linprog(
        sign * game.user_values.ravel(),
        A_ub=np.array(gains),
        b_ub=np.zeros(len(gains)),
        A_eq=np.ones((1, size)),
        b_eq=[1],
        method="highs",
    )
    return sign * answer.fun


def check_outcome(game, outcome, market):
    """A lottery over profiles that nobody would leave, with its values and law."""
    weights = outcome.distribution
    assert weights.shape == game.user_values.shape
    assert weights.min() >= 0
    assert weights.sum() == pytest.approx(1)
    scale = np.ptp(market.providers, axis=(1, 2)) + 1e-3 * np.abs(market.providers).max(axis=(1, 2))
    for i, payoff in enumerate(game.payoffs):
        rivals = weights.sum(axis=i, keepdims=True)
        others = tuple(j for j in range(weights.ndim) if j != i)
        deviations = (payoff * rivals).sum(axis=others)
        assert deviations.max() <= outcome.provider_values[i] + 1e-7 * scale[i]
    assert outcome.law.sum(axis=0) == pytest.approx(market.prior, abs=1e-9)
    assert (outcome.law * market.user).sum() == pytest.approx(outcome.user_value)
    values = np.tensordot(market.providers, outcome.law, axes=2)
    assert values == pytest.approx(outcome.provider_values)


@pytest.mark.parametrize("heard", ["all", "best"])
def test_coarse_correlated_equilibria_against_scipy(heard):
    rng = np.random.default_rng(2)
    markets = [sample_market("free", rng, k, 3, 2) for k in (1, 2, 2, 2, 3)]
    for market in [*markets, *degenerate_markets(rng)]:
        game = SignallingGame.on_grid(market, 3, heard)
        scale = np.ptp(market.user) or 1
        worst, best = game.worst_coarse_correlated(), game.best_coarse_correlated()
        check_outcome(game, worst, market)
        check_outcome(game, best, market)
        assert worst.user_value == pytest.approx(coarse_by_scipy(game, 1), abs=1e-6 * scale)
        assert best.user_value == pytest.approx(coarse_by_scipy(game, -1), abs=1e-6 * scale)
        for profile in game.pure_equilibria():
            value = game.user_values[tuple(profile)]
            assert worst.user_value - 1e-7 * scale <= value <= best.user_value + 1e-7 * scale


def test_matching_pennies_has_no_pure_equilibrium():
    even = np.array([[1.0, 0.0], [0.0, 1.0]])
    game = RuleGame(np.stack([even, 1 - even]), even.copy(), np.array([[[0, 1]], [[0, 1]]]), lambda p: even)
    assert game.pure_equilibria().shape == (0, 2)
    assert np.isnan(game.worst_pure())
    assert game.worst_coarse_correlated().user_value == pytest.approx(0.5)
    assert game.best_coarse_correlated().distribution == pytest.approx(np.full((2, 2), 0.25))


def test_rules_that_differ_in_name_alone_are_merged():
    """61 of the 125 rules for three states affect anybody differently, also where Alice learns nothing of use."""
    rng = np.random.default_rng(0)
    rules = grid_rules(3, 5)[:-1, :2]
    useless = 0
    for _ in range(15):
        market = sample_market("in_hull", rng, 2, 3, 3)
        game = SignallingGame(market, [rules] * 2)
        useless += np.ptp(game.user_values) < 1e-12
        assert max(len(game._distinct_rules(i)) for i in range(2)) <= 65  # or a few more, by rounding
    assert useless > 0


@pytest.mark.parametrize("heard", ["all", "best"])
def test_in_the_hull_every_equilibrium_is_worth_opt(heard):
    rng = np.random.default_rng(0)
    lost = []
    for _ in range(60):
        market = sample_market("in_hull", rng, 2, 3, 2)
        game = SignallingGame.on_grid(market, 5, heard)
        lost.append(market.full_information_value - game.worst_coarse_correlated().user_value)
        assert len(game.pure_equilibria())
        assert game.worst_pure() == pytest.approx(market.full_information_value, abs=1e-9)
    assert np.max(lost) < 1e-7


def test_shared_bias_destroys_most_of_the_value_of_information():
    rng = np.random.default_rng(0)
    kept = []
    for _ in range(400):
        market = sample_market("shared_bias", rng, 2, 3, 2)
        stake = market.full_information_value - market.no_information_value
        if stake > 1e-6:
            worst = SignallingGame.on_grid(market).worst_coarse_correlated().user_value
            kept.append((worst - market.no_information_value) / stake)
    kept = np.array(kept)
    assert len(kept) > 200
    assert kept.mean() == pytest.approx(0.39, abs=0.08)
    assert 0.3 < (kept < 1e-6).mean() < 0.5  # none at all
    assert 0.25 < (kept > 1 - 1e-6).mean() < 0.45  # all of it


@pytest.mark.parametrize("kind", ["in_hull", "near_hull", "free", "shared_bias"])
def test_the_guarantees_of_theorems_1_and_3(kind):
    rng = np.random.default_rng(7)
    for _ in range(15):
        market = sample_market(kind, rng, 2, 3, 2)
        eps = align(market.user, market.providers, weights="cone", offset="state").error
        floor = market.full_information_value - 2 * eps
        for heard in ("all", "best"):
            game = SignallingGame.on_grid(market, 4, heard)
            assert game.worst_pure() >= floor - 1e-7
            assert game.worst_coarse_correlated().user_value >= floor - 1e-6


def test_twin_prosecutors(twins):
    for heard in ("all", "best"):
        rules = [[*grid_rules(2, 5), MONOPOLY]] * 2
        game = SignallingGame(twins, rules, heard)
        equilibria = game.pure_equilibria()
        values = game.user_values[tuple(equilibria.T)]
        assert game.worst_pure() == pytest.approx(0.7)
        assert values.max() == pytest.approx(1)
        worst = equilibria[np.isclose(values, 0.7)]
        assert all(game.law(p)[0].sum() == pytest.approx(0.6) for p in worst)
        assert [4, 4] in equilibria.tolist()  # both reveal everything
        assert [25, 0] in equilibria.tolist()  # one persuades, one babbles
        assert game.worst_coarse_correlated().user_value == pytest.approx(0.7)
        both_persuade = [25, 25] in equilibria.tolist()
        if heard == "all":
            assert game.law((25, 25))[0].sum() == pytest.approx(0.3 + 0.7 * 9 / 49)
            assert game.user_values[25, 25] == pytest.approx(1 - 0.7 * 9 / 49)
            assert not both_persuade
        else:
            assert both_persuade


@pytest.mark.parametrize("heard", ["all", "best"])
@pytest.mark.parametrize("grid", [2, 5, 8])
def test_prosecutor_and_defender_reveal_everything(heard, grid):
    market = judge_with([[[1, 1], [0, 0]], [[0, 0], [1, 1]]])
    assert align(market.user, market.providers, weights="cone").error == pytest.approx(0.5)
    game = SignallingGame.on_grid(market, grid, heard)
    assert len(game.pure_equilibria())
    assert game.worst_pure() == pytest.approx(1)
    assert game.worst_coarse_correlated().user_value == pytest.approx(1)


def test_ties_broken_by_who_speaks():
    user = np.array([[0, 1], [0, 1], [1, 0.0]])  # a1, a2, b
    difference = np.array([[1.3], [-1.3], [0]])
    market = Market([0.6, 0.4], user, (np.stack([user + difference, user - difference]) + 1.3) / 3.6)
    assert align(market.user, market.providers, weights="cone").error == pytest.approx(0, abs=1e-9)
    spiteful = [[1, 0, 2], [0, 1, 2]]  # a2 first when talking to Bob 1, a1 first when talking to Bob 2
    broken = SignallingGame.on_grid(market, heard="best", tie_orders=spiteful)
    equilibria = broken.pure_equilibria()
    assert len(equilibria)
    assert broken.user_values[tuple(equilibria.T)] == pytest.approx(0.6)
    assert broken.best_coarse_correlated().user_value == pytest.approx(0.6)
    hearing_all = SignallingGame.on_grid(market, tie_orders=spiteful)
    assert hearing_all.best_coarse_correlated().user_value < 0.95
    for heard in ("all", "best"):
        for order in ([0, 1, 2], [1, 0, 2], [2, 1, 0]):
            fixed = SignallingGame.on_grid(market, heard=heard, tie_orders=[order] * 2)
            assert fixed.worst_coarse_correlated().user_value == pytest.approx(1)
    plain = SignallingGame.on_grid(market, heard="best")
    same = SignallingGame.on_grid(market, heard="best", tie_orders=[[0, 1, 2]] * 2)
    assert np.array_equal(plain.payoffs, same.payoffs)


# Conversations


def random_setting(rng, x_a, x_b, states, actions, providers=1, sparse=False):
    joint = rng.dirichlet(np.full(x_a * x_b * states, 0.2 if sparse else 1.0)).reshape(x_a, x_b, states)
    if sparse:
        joint[0] = 0  # an observation that never occurs
        joint /= joint.sum()
    return Setting(joint, rng.uniform(size=(actions, states)), rng.uniform(size=(providers, actions, states)))


def random_rule(rng, talk):
    n = talk.setting.joint.shape[1]
    return tuple(
        rng.dirichlet(np.ones(talk.messages), size=(n,) + (talk.messages,) * j)
        for j, speaker in enumerate(talk.turns)
        if speaker == "bobs"
    )


def play(talk, rules, says, decide):
    """Law (actions, states) by walking through every conversation, one message at a time."""
    setting, k = talk.setting, len(rules)
    law = np.zeros(setting.user.shape)

    def walk(x_a, x_b, said, probability):  # said: for each turn the messages to or from every Bob
        if len(said) == len(talk.turns):
            law[decide(x_a, said)] += probability * setting.joint[x_a, x_b]
        elif talk.turns[len(said)] == "alice":
            walk(x_a, x_b, said + (says(x_a, said),), probability)
        else:
            turn = talk.turns[: len(said)].count("bobs")
            for spoken in itertools.product(range(talk.messages), repeat=k):
                chance = probability
                for i in range(k):
                    chance *= rules[i][turn][(x_b, *(m[i] for m in said), spoken[i])]
                walk(x_a, x_b, said + (spoken,), chance)

    for x_a, x_b in np.ndindex(setting.joint.shape[:2]):
        walk(x_a, x_b, (), 1.0)
    return law


def joint_message(spoken, talk):
    return int(np.ravel_multi_index(spoken, (talk.messages,) * len(spoken)))


def best_by_hand(talk, rules):
    """Alice's best value over every deterministic conversation rule and decision rule."""
    setting, k = talk.setting, len(rules)
    alphabet = list(itertools.product(range(talk.messages), repeat=k))
    places = [
        (x_a, said)
        for j, speaker in enumerate(talk.turns)
        if speaker == "alice"
        for x_a in range(setting.joint.shape[0])
        for said in itertools.product(alphabet, repeat=j)
    ]
    best = -np.inf
    for words in itertools.product(alphabet, repeat=len(places)):
        table = dict(zip(places, words))
        worth = {}  # value of each action after each transcript

        ends = itertools.product(
            range(setting.joint.shape[0]), itertools.product(alphabet, repeat=len(talk.turns))
        )
        for x_a, said in ends:
            if all(table.get((x_a, said[:j]), said[j]) == said[j] for j in range(len(said))):
                worth[x_a, said] = np.zeros(setting.n_actions)
                for x_b in range(setting.joint.shape[1]):
                    chance, turn = 1.0, 0
                    for j, speaker in enumerate(talk.turns):
                        if speaker == "bobs":
                            for i in range(k):
                                chance *= rules[i][turn][(x_b, *(m[i] for m in said[: j + 1]))]
                            turn += 1
                    worth[x_a, said] += chance * setting.user @ setting.joint[x_a, x_b]
        best = max(best, sum(v.max() for v in worth.values()))
    return best


PROTOCOLS = [
    (("bobs",), 1, 3),
    (("bobs",), 2, 2),
    (("alice", "bobs"), 1, 2),
    (("alice", "bobs"), 2, 2),
    (("bobs", "alice"), 1, 2),
    (("bobs", "alice", "bobs"), 1, 2),
    (("alice",), 1, 2),
    (("bobs", "bobs"), 2, 2),
]


@pytest.mark.parametrize("turns, providers, messages", PROTOCOLS)
@pytest.mark.parametrize("sparse", [False, True])
def test_best_response_by_hand(turns, providers, messages, sparse):
    rng = np.random.default_rng(len(turns) + 10 * providers)
    talk = Conversation(random_setting(rng, 2, 3, 2, 3, providers, sparse), turns, messages)
    rules = [random_rule(rng, talk) for _ in range(providers)]
    response = talk.best_response(rules)
    assert response.user_value == pytest.approx(best_by_hand(talk, rules))

    def says(x_a, said):
        turn = turns[: len(said)].count("alice")
        number = response.says[turn][(x_a, *(joint_message(m, talk) for m in said))]
        return tuple(int(m) for m in np.unravel_index(number, (messages,) * providers))

    def decide(x_a, said):
        return response.decision[(x_a, *(joint_message(m, talk) for m in said))]

    assert response.law == pytest.approx(play(talk, rules, says, decide), abs=1e-12)
    setting = talk.setting
    assert (response.law * setting.user).sum() == pytest.approx(response.user_value)
    assert response.provider_values == pytest.approx(np.tensordot(setting.providers, response.law, axes=2))
    assert response.law.sum(axis=0) == pytest.approx(setting.joint.sum(axis=(0, 1)))
    heard = response.transcript_law.reshape(setting.joint.shape[:2] + (-1,)).sum(axis=2)
    assert heard == pytest.approx(setting.joint.sum(axis=2))


def test_a_fixed_conversation_rule():
    setting = index_setting()
    talk = Conversation(setting, ("alice", "bobs"))
    answer = talk.rule(lambda x_b, said: (x_b // 2, x_b % 2)[said[0]])
    assert talk.best_response([answer]).user_value == pytest.approx(1)
    assert talk.best_response([answer], says=(np.array([0, 1]),)).user_value == pytest.approx(1)
    assert talk.best_response([answer], says=(np.array([1, 0]),)).user_value == pytest.approx(0.5)
    silent = talk.best_response([answer], says=([0, 0],))
    assert silent.user_value == pytest.approx(0.75)
    assert np.array_equal(silent.says[0], [0, 0])


def test_index():
    setting = index_setting()
    assert [setting.value(k) for k in KNOWS] == pytest.approx([0.5, 0.5, 0.75, 1])
    assert Conversation(setting).opt == pytest.approx(0.75)
    two_rounds = Conversation(setting, ("alice", "bobs"))
    assert two_rounds.opt == pytest.approx(1)
    assert two_rounds.best_response([two_rounds.aligned.rule]).user_value == pytest.approx(1)
    assert Conversation(setting, ("bobs", "bobs")).opt == pytest.approx(1)
    assert Conversation(setting, messages=4).opt == pytest.approx(1)
    both = Conversation(index_setting(2))
    first, second = both.rule(lambda x_b, said: x_b // 2), both.rule(lambda x_b, said: x_b % 2)
    assert both.best_response([first, second]).user_value == pytest.approx(1)
    assert both.best_response([first, first]).user_value == pytest.approx(0.75)


def test_xor():
    setting = xor_setting()
    assert [setting.value(k) for k in KNOWS] == pytest.approx([0.5, 0.5, 0.5, 1])
    talk = Conversation(setting)
    guess = setting.best_actions("x_B")
    assert guess.shape == (1, 2)
    assert talk.best_response([talk.rule(lambda x_b, said: int(guess[0, x_b]))]).user_value == pytest.approx(
        0.5
    )
    assert talk.best_response([talk.rule(lambda x_b, said: x_b)]).user_value == pytest.approx(1)
    assert talk.opt == pytest.approx(1)


def test_additive():
    setting = additive_setting((0, 1, 2), (0, 10))
    assert setting.states == ("0", "1", "2", "10", "11", "12")
    assert setting.joint.sum() == pytest.approx(1)
    assert setting.opt_full == pytest.approx(1)
    for x_a, x_b in np.ndindex(3, 2):
        assert setting.joint[x_a, x_b].argmax() == 3 * x_b + x_a
    plain = additive_setting()
    assert plain.states == ("0", "1", "2")
    assert plain.joint.sum(axis=(0, 1)) == pytest.approx([0.25, 0.5, 0.25])
    assert plain.user[0] == pytest.approx([1, 0.75, 0])
    assert additive_setting([1], [2]).value("nothing") == pytest.approx(1)


def test_values_of_knowledge():
    rng = np.random.default_rng(4)
    for sparse in (False, True):
        for _ in range(10):
            setting = random_setting(rng, 3, 3, 2, 3, sparse=sparse)
            nothing, x_a, x_b, both = (setting.value(k) for k in KNOWS)
            assert nothing <= min(x_a, x_b) + 1e-12
            assert max(x_a, x_b) <= both + 1e-12
            pooled = [(setting.user @ setting.joint[p]).max() for p in np.ndindex(3, 3)]
            assert setting.opt_full == pytest.approx(sum(pooled))
            chosen = setting.best_actions()
            played = [setting.user[chosen[p]] @ setting.joint[p] for p in np.ndindex(3, 3)]
            assert sum(played) == pytest.approx(both)
            talk = Conversation(setting)
            assert x_a - 1e-12 <= talk.opt <= both + 1e-12
            assert Conversation(setting, messages=3).opt == pytest.approx(both)


@pytest.mark.parametrize("turns", [("bobs",), ("alice", "bobs"), ("bobs", "alice", "bobs")])
def test_opt_is_the_best_of_all_rules(turns):
    rng = np.random.default_rng(6)
    setting = random_setting(rng, 2, 2, 2, 2)
    talk = Conversation(setting, turns)
    rules = talk.deterministic_rules()
    values = [talk.best_response([rule]).user_value for rule in rules]
    assert talk.opt == pytest.approx(max(values))
    assert talk.best_response([talk.aligned.rule]).user_value == pytest.approx(talk.opt)
    random = [talk.best_response([random_rule(rng, talk)]).user_value for _ in range(50)]
    assert max(random) <= talk.opt + 1e-12
    flat = {tuple(np.concatenate([a.ravel() for a in rule])) for rule in rules}
    assert len(flat) == len(rules)


def test_game_is_best_response_at_every_profile():
    rng = np.random.default_rng(9)
    talk = Conversation(random_setting(rng, 2, 2, 2, 3, providers=2), ("alice", "bobs"))
    rules = [[random_rule(rng, talk) for _ in range(n)] for n in (2, 3)]
    game = talk.game(rules)
    assert game.payoffs.shape == (2, 2, 3)
    for i, j in np.ndindex(2, 3):
        response = talk.best_response([rules[0][i], rules[1][j]])
        assert game.user_values[i, j] == pytest.approx(response.user_value)
        assert game.payoffs[:, i, j] == pytest.approx(response.provider_values)
        assert game.law((i, j)) == pytest.approx(response.law)
    assert Conversation(xor_setting(2)).game().user_values.shape == (4, 4)


def test_a_conversation_without_x_a_is_a_signalling_game():
    rng = np.random.default_rng(11)
    market = sample_market("free", rng, 2, 3, 2)
    setting = Setting(np.diag(market.prior)[None], market.user, market.providers)
    rules = grid_rules(2, 3)
    signalling = SignallingGame(market, [rules] * 2)
    talk = Conversation(setting).game([[np.ascontiguousarray(r.T) for r in rules]] * 2)
    assert talk.payoffs == pytest.approx(signalling.payoffs)
    assert talk.pure_equilibria().tolist() == signalling.pure_equilibria().tolist()
    worst = talk.worst_coarse_correlated()
    check_outcome(talk, worst, market)
    assert worst.user_value == pytest.approx(signalling.worst_coarse_correlated().user_value, abs=1e-7)


def hull_setting(rng, joint):
    states = joint.shape[2]
    providers = rng.uniform(size=(2, 3, states))
    weight = rng.uniform(0.3, 0.7)
    return Setting(joint, weight * providers[0] + (1 - weight) * providers[1], providers)


def test_theorem_1_needs_enough_messages():
    """In the hull OPT is safe with as many messages as observations, not with two messages for four states."""
    rng = np.random.default_rng(0)
    below = 0
    for _ in range(60):
        joint = np.diag(rng.dirichlet(np.ones(4)))[None]
        talk = Conversation(hull_setting(rng, joint))
        below += talk.game().worst_coarse_correlated().user_value < talk.opt - 1e-3
    assert below > 0
    for _ in range(30):
        joint = rng.dirichlet(np.ones(8)).reshape(2, 2, 2)
        talk = Conversation(hull_setting(rng, joint))
        assert talk.opt == pytest.approx(talk.setting.opt_full)
        game = talk.game()
        assert game.worst_pure() == pytest.approx(talk.opt)
        assert game.worst_coarse_correlated().user_value == pytest.approx(talk.opt, abs=1e-7)


# Agreement


def test_geanakoplos_and_polemarchakis():
    """Their example: nine equally likely worlds, the event {3, 4}; in world 1 the talk is 1/3, 1/2, 1/3, 1/3."""
    talk = exchange_expectations(
        np.full(9, 1 / 9),
        [0, 0, 0, 1, 1, 1, 2, 2, 2],
        [0, 0, 0, 0, 1, 1, 1, 1, 2],
        [0, 0, 1, 1, 0, 0, 0, 0, 0],
        rounds=6,
    )
    assert talk.announcements.shape == (6, 9)
    assert talk.public.shape == (7, 9)
    assert talk.announcements[:4, 0] == pytest.approx([1 / 3, 1 / 2, 1 / 3, 1 / 3])
    assert talk.settled == 3
    assert talk.agreed
    assert len(np.unique(talk.public[0])) == 1
    assert talk.expectation_A == pytest.approx(talk.expectation_B)


def test_xor_agrees_at_once_and_learns_nothing():
    talk = xor_setting().exchange_expectations([0, 1])
    happens = xor_setting().joint > 0
    assert talk.settled == 0
    assert talk.agreed
    assert talk.announcements[:, happens] == pytest.approx(0.5)
    assert talk.expectation_A[happens] == pytest.approx(0.5)
    assert sorted(talk.pooled[happens]) == [0, 0, 1, 1]
    assert np.isnan(talk.pooled[~happens]).all()
    assert (talk.public[:, ~happens] == -1).all()


@pytest.mark.parametrize("values", [((0, 1), (0, 1)), ((0, 1, 5), (2, 2.5)), ((0, 0, 1), (0, 3))])
def test_additive_agreement_pools_everything(values):
    setting = additive_setting(*values)
    talk = setting.exchange_expectations([float(s) for s in setting.states])
    happens = setting.joint > 0
    assert talk.settled == 2
    assert talk.agreed
    assert talk.expectation_A[happens] == pytest.approx(talk.pooled[happens])
    assert talk.expectation_B[happens] == pytest.approx(talk.pooled[happens])


@pytest.mark.parametrize("grid", [None, 0.1, 0.5])
def test_agreement_on_random_partitions(grid):
    """Aumann's theorem, also for rounded announcements, and the laws of expectation on the way."""
    rng = np.random.default_rng(12)
    pooled_missed = 0
    for trial in range(60):
        worlds = int(rng.integers(1, 30))
        # With a generic prior every expectation gives its reason away; with equally likely worlds it need not.
        prior = rng.dirichlet(np.ones(worlds)) if trial % 2 else np.ones(worlds)
        prior = prior * (rng.uniform(size=worlds) < 0.8)
        prior = prior / prior.sum() if prior.sum() > 0 else np.eye(worlds)[0]
        cells = int(rng.integers(1, 6))
        signals = rng.integers(0, cells, size=(2, worlds))
        quantity = rng.integers(0, 2, size=worlds) * (1e6 if trial % 5 == 0 and grid is None else 1)
        if trial % 6 == 0:  # parity: each alone knows nothing
            prior, signals = np.full(16, 1 / 16), np.stack(np.divmod(np.arange(16), 4))
            cells, quantity = 4, signals.sum(axis=0) % 2
        talk = exchange_expectations(prior, *signals, quantity, rounds=30, grid=grid)
        happens = prior > 0
        mean = prior @ quantity
        assert talk.settled is not None
        assert talk.settled <= 2 * cells + 1
        assert talk.agreed
        for own, signal in ((talk.expectation_A, signals[0]), (talk.expectation_B, signals[1])):
            assert prior[happens] @ own[happens] == pytest.approx(mean, abs=1e-9)
            for cell in np.unique(talk.public[-1][happens]):
                here = happens & (talk.public[-1] == cell)
                average = prior[here] @ quantity[here] / prior[here].sum()
                if grid is None:
                    assert own[here] == pytest.approx(average)
                else:
                    assert (abs(own[here] - average) <= grid + 1e-9).all()
            for x in np.unique(signal[happens]):  # by Bayes' rule from what the person knows
                for cell in np.unique(talk.public[-1][happens]):
                    here = happens & (talk.public[-1] == cell) & (signal == x)
                    if here.any():
                        assert own[here] == pytest.approx(prior[here] @ quantity[here] / prior[here].sum())
        counts = [len(np.unique(p[happens])) for p in talk.public]
        assert counts == sorted(counts)
        assert len(set(counts[talk.settled :])) == 1
        if talk.settled:
            assert counts[talk.settled - 1] < counts[talk.settled]
        if grid is not None:
            assert talk.announcements[:, happens] / grid == pytest.approx(
                np.round(talk.announcements[:, happens] / grid)
            )
        pooled_missed += abs(talk.expectation_A - talk.pooled)[happens].max() > 1e-6
    assert pooled_missed > 0  # agreement need not be on what both know together


def test_too_few_rounds_to_settle():
    signals = [0, 0, 0, 1, 1, 1, 2, 2, 2], [0, 0, 0, 0, 1, 1, 1, 1, 2]
    talk = exchange_expectations(np.full(9, 1 / 9), *signals, [0, 0, 1, 1, 0, 0, 0, 0, 0], rounds=2)
    assert talk.settled is None
    assert not talk.agreed
    exact = exchange_expectations(np.full(9, 1 / 9), *signals, [0, 0, 1, 1, 0, 0, 0, 0, 0], rounds=3)
    assert exact.settled == 3


def test_exchange_broadcasts():
    setting = index_setting()
    x_a, x_b, y = np.ogrid[:2, :4, :2]
    direct = exchange_expectations(setting.joint, x_a, x_b, y)
    method = setting.exchange_expectations([0, 1])
    assert np.array_equal(direct.announcements, method.announcements, equal_nan=True)
    assert direct.announcements.shape == (20, 2, 4, 2)


# Inputs


@pytest.fixture
def market():
    return sample_market("free", np.random.default_rng(0), 2, 3, 2)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"market": 3}, "market must be a Market"),
        ({"rules": [[np.eye(2)]]}, "each of the 2 providers"),
        ({"rules": 7}, "each of the 2 providers"),
        ({"rules": [[np.eye(2)], []]}, r"rules\[1\] must hold at least one rule"),
        ({"rules": [[np.eye(2)], 3]}, r"rules\[1\] must hold at least one rule"),
        ({"rules": [[np.eye(3)], [np.eye(2)]]}, r"rules\[0\]\[0\] must have one column"),
        ({"rules": [np.ones((2, 2, 3)), [np.eye(2)]]}, r"rules\[0\] must have one column"),
        ({"rules": [[np.eye(2), np.ones((2, 2))], [np.eye(2)]]}, r"rules\[0\]\[1\] must hold non-negative"),
        ({"rules": [[np.eye(2)], [[[2, 0], [-1, 1]]]]}, r"rules\[1\]\[0\] must hold non-negative"),
        ({"rules": [[np.eye(2)], ["x"]]}, r"rules\[1\]\[0\] must be a rectangular array"),
        ({"rules": [[np.eye(2)], [np.full((2, 2), np.nan)]]}, r"rules\[1\]\[0\] must be finite"),
        ({"heard": "some"}, "heard must be one of"),
        ({"tie_orders": [[0, 1, 2]]}, "tie_orders must have 2 rows"),
        ({"tie_orders": [[0, 1, 2], [0, 1, 1]]}, "each an ordering of the actions"),
        ({"tie_orders": "abc"}, "tie_orders must be"),
    ],
)
def test_bad_signalling_games(market, change, message):
    arguments = {"market": market, "rules": [[np.eye(2)]] * 2} | change
    with pytest.raises(InputError, match=message):
        SignallingGame(**arguments)


@pytest.mark.parametrize("grid", [1, 0, -3, 2.5, "5", True])
def test_bad_grids(market, grid):
    with pytest.raises(InputError, match="grid"):
        SignallingGame.on_grid(market, grid)
    with pytest.raises(InputError, match="grid"):
        grid_rules(2, grid)


def test_bad_profiles_and_tolerances(market):
    game = SignallingGame.on_grid(market, 2)
    for profile in (3, (0,), (0, 0, 0), (0, 4), (-1, 0), (0, 0.5), "ab"):
        with pytest.raises(InputError, match="profile"):
            game.law(profile)
    assert np.array_equal(game.law(np.array([1, 2])), game.law((1, 2)))
    with pytest.raises(InputError, match="tolerance"):
        game.pure_equilibria(-1)
    with pytest.raises(ValueError):
        game.payoffs[0, 0, 0] = 1


def test_size_limits_say_what_would_fit(monkeypatch):
    rng = np.random.default_rng(0)
    market = sample_market("free", rng, 2, 3, 4)
    with pytest.raises(InputError, match="The largest that fits is 5"):
        SignallingGame.on_grid(market, 6)
    with pytest.raises(InputError, match="largest that fits"):
        SignallingGame.on_grid(market, 10**9)
    with pytest.raises(InputError, match="fewer providers or states"):
        SignallingGame.on_grid(sample_market("free", rng, 9, 2, 4))
    with pytest.raises(InputError, match="at most a million"):
        grid_rules(30, 5)
    with pytest.raises(InputError, match="Drop rules or messages"):
        SignallingGame(market, [grid_rules(4, 7)] * 2)
    small = SignallingGame.on_grid(sample_market("free", rng, 2, 3, 2), 5)
    monkeypatch.setattr(module, "MAX_PROGRAM", 2000)
    with pytest.raises(InputError, match="Give each Bob at most 10 rules"):
        small.worst_coarse_correlated()


def test_sizes_of_conversations():
    one_word = Conversation(index_setting(), ("bobs",) * 12, 1)
    assert one_word.opt == pytest.approx(0.5)
    crowd = Setting(np.full((1, 80, 1), 1 / 80), [[1.0]], [[[1.0]]])  # more observations than numpy has axes
    assert Conversation(crowd, ("alice",)).game().user_values == pytest.approx([1])
    with pytest.raises(InputError, match="too many transcripts"):
        Conversation(index_setting(), ("bobs",) * 40, 1)
    with pytest.raises(InputError, match="At most 9 turns fit"):
        Conversation(index_setting(2), ("bobs",) * 11)
    with pytest.raises(InputError, match="too many transcripts"):
        Conversation(index_setting(), ("bobs",), 10**7)
    with pytest.raises(InputError, match="too many transcripts"):
        Conversation(index_setting(), ("bobs",) * 10**5)
    long = Conversation(index_setting(2), ("alice", "bobs", "alice", "bobs"))
    with pytest.raises(InputError, match=r"2\^24 deterministic rules"):
        print(long.aligned)
    with pytest.raises(InputError, match="at most 100000 fit"):
        long.deterministic_rules()
    with pytest.raises(InputError, match="at most 100000 fit"):
        long.game()
    with pytest.raises(InputError, match="rules for each Bob"):
        Conversation(index_setting(2), ("bobs", "bobs"), 3).game()


@pytest.mark.parametrize(
    "change, message",
    [
        ({"joint": np.ones((2, 2))}, "joint must have axes"),
        ({"joint": np.ones((2, 2, 2))}, "joint must sum to 1"),
        ({"joint": np.array([[[2.0, -1.0]]])}, "joint must not be negative"),
        ({"joint": "x"}, "joint must be a rectangular"),
        ({"user": np.eye(3)}, "each of the 2 states of joint"),
        ({"user": [0, 1]}, "user must have axes"),
        ({"providers": np.eye(2)}, "providers must have axes"),
        ({"providers": np.ones((1, 3, 2))}, "to match user"),
        ({"actions": ["a"]}, "actions must hold 2 names"),
    ],
)
def test_bad_settings(change, message):
    arguments = {"joint": np.full((2, 2, 2), 1 / 8), "user": np.eye(2), "providers": np.eye(2)[None]} | change
    with pytest.raises(InputError, match=message):
        Setting(**arguments)


def test_other_bad_inputs():
    setting = xor_setting()
    with pytest.raises(InputError, match="knows"):
        setting.value("all")
    with pytest.raises(InputError, match="knows"):
        setting.best_actions(None)
    with pytest.raises(InputError, match="providers"):
        index_setting(0)
    with pytest.raises(InputError, match="providers"):
        xor_setting(1.5)
    with pytest.raises(InputError, match="a_values"):
        additive_setting([np.nan])
    with pytest.raises(InputError, match="b_values"):
        additive_setting(b_values=[])
    with pytest.raises(InputError, match="providers"):
        setting.with_providers(np.eye(2))
    with pytest.raises(ValueError):
        setting.joint[0, 0, 0] = 1
    assert setting.with_providers(np.zeros((3, 2, 2))).n_providers == 3


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((None,), "setting must be a Setting"),
        ((xor_setting(), ()), "turns must name who speaks"),
        ((xor_setting(), 3), "turns must name who speaks"),
        ((xor_setting(), ("carol",)), r"turns\[0\] must be one of"),
        ((xor_setting(), ("bobs",), 0), "messages must be at least 1"),
        ((xor_setting(), ("bobs",), 2.0), "messages must be a whole number"),
    ],
)
def test_bad_conversations(arguments, message):
    with pytest.raises(InputError, match=message):
        Conversation(*arguments)


def test_bad_rules_of_conversation():
    talk = Conversation(xor_setting(2), ("alice", "bobs"))
    good = talk.rule(lambda x_b, said: x_b)
    assert Conversation(xor_setting(), "bobs").turns == ("bobs",)
    for rules, message in [
        ([good], "rules must be a list of 2 rules"),
        (good[0], "rules must be a list of 2 rules"),
        ([good, ()], r"rules\[1\] must be a tuple of 1 arrays"),
        ([good, 3], r"rules\[1\] must be a tuple of 1 arrays"),
        ([good, np.eye(2)], r"rules\[1\] must have axes"),
        ([good, np.ones((3, 2, 2)) / 2], r"rules\[1\] must have shape \(2, 2, 2\)"),
        ([good, np.ones((2, 2, 2))], r"rules\[1\] must hold non-negative"),
        ([good, good[0] * np.nan], r"rules\[1\] must be finite"),
    ]:
        with pytest.raises(InputError, match=message):
            talk.best_response(rules)
    assert talk.best_response([good[0], good]).user_value == pytest.approx(1)
    for says in (3, (), (np.zeros((2, 2)),), ([0, 4],), ([0.5, 0],), ([-1, 0],)):
        with pytest.raises(InputError, match="says must"):
            talk.best_response([good, good], says)
    for speak in (None, lambda x_b, said: 2, lambda x_b, said: "a", lambda x_b, said: -1):
        with pytest.raises(InputError, match="speak"):
            talk.rule(speak)
    assert np.array_equal(talk.rule(lambda x_b, said: x_b == 1)[0], good[0])
    for rules in (3, [[good]], [[good], []], [[good], 3]):
        with pytest.raises(InputError, match="rules must hold a list"):
            talk.game(rules)
    with pytest.raises(InputError, match=r"rules\[1\]\[0\] must hold"):
        talk.game([[good], [np.ones((2, 2, 2))]])


@pytest.mark.parametrize(
    "change, message",
    [
        ({"joint": [0.5, 0.6]}, "joint must sum to 1"),
        ({"joint": 1.0}, "joint must have axes"),
        ({"joint": "x"}, "joint must be"),
        ({"joint": [[1], [0, 0]]}, "joint must be a rectangular"),
        ({"joint": np.zeros((2, 0))}, "joint must have at least one entry"),
        ({"signal_A": [0, 1, 2]}, r"signal_A must be an array that broadcasts"),
        ({"signal_B": [0.5, 1]}, "signal_B must hold whole-number labels"),
        ({"signal_B": ["u", "v"]}, "signal_B must be a rectangular"),
        ({"signal_A": 0}, "signal_A must have axes"),
        ({"quantity": [[1], [1, 2]]}, "quantity must be a rectangular"),
        ({"quantity": [np.inf, 1]}, "quantity must be finite"),
        ({"rounds": 0}, "rounds must be at least 1"),
        ({"rounds": 1.5}, "rounds must be a whole number"),
        ({"grid": 0}, "grid must be a positive step"),
        ({"grid": -0.1}, "grid must be a positive step"),
        ({"grid": "fine"}, "grid must be a finite number"),
    ],
)
def test_bad_exchanges(change, message):
    arguments = {"joint": [0.5, 0.5], "signal_A": [0, 1], "signal_B": [0, 0], "quantity": [0, 1]} | change
    with pytest.raises(InputError, match=message):
        exchange_expectations(**arguments)


def test_bad_exchange_of_a_setting():
    with pytest.raises(InputError, match="quantity must have 2 entries"):
        xor_setting().exchange_expectations([0, 1, 2])
