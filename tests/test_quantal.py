"""Quantal response and Theorem 2: every inequality of the proof, brute force, all equilibria of small games."""

import itertools

import numpy as np
import pytest
from scipy.optimize import linprog, minimize_scalar
from scipy.special import lambertw, logsumexp, softmax

from emergent_alignment import InputError, Market, align, quantal, sample_market
from emergent_alignment.quantal import (
    QuantalGame,
    learning_error,
    limited_rules,
    lipschitz_bound,
    margin_bound,
    optimal_rationality,
    posterior_utilities,
    quantal_response,
    softmax_regret_bound,
    theorem2_bound,
)

TOLERANCE = 1e-9


def total_variation(p, q):
    return np.abs(np.asarray(p) - q).sum(axis=-1) / 2


def random_values(rng, actions):
    """Utilities with the degenerate cases among them: ties, constants, zeros, large and small scales."""
    values = rng.normal(size=actions) * 10.0 ** rng.integers(-3, 4)
    kind = rng.integers(5)
    if kind == 0:
        values = np.round(values)
    if kind == 1:
        values[:] = values[0]
    if kind == 2:
        values[rng.integers(actions)] += 50
    return values


def random_joint(rng, private, observations, states, degenerate):
    """P(x_A, x_B, y); if degenerate with impossible observations, states and combinations."""
    joint = rng.dirichlet(np.full(private * observations * states, 0.5)).reshape(
        private, observations, states
    )
    if degenerate:
        joint *= rng.uniform(size=joint.shape) < 0.5
        joint[:, rng.integers(observations)] *= rng.integers(2)
        joint[0, 0, 0] += 0.1
    return joint / joint.sum()


def random_rule(rng, messages, observations, degenerate):
    rule = rng.dirichlet(np.full(messages, 0.5), size=observations).T
    if degenerate:  # deterministic, with messages that are never sent
        rule = np.eye(messages)[rng.integers(max(1, messages - 1), size=observations)].T
    return rule


def random_game(rng, degenerate=False, rationality=None):
    k, actions, private, observations, states = rng.integers([1, 1, 1, 1, 1], [4, 5, 4, 5, 5])
    rules = [
        np.array(
            [
                random_rule(rng, messages, observations, degenerate or r == 0)
                for r in range(rng.integers(1, 4))
            ]
        )
        for messages in rng.integers(1, 4, size=k)
    ]
    return QuantalGame(
        random_joint(rng, private, observations, states, degenerate),
        rng.uniform(size=(actions, states)),
        rng.uniform(size=(k, actions, states)),
        rules,
        10 ** rng.uniform(-1, 2) if rationality is None else rationality,
    )


def some_profile(rng, game):
    return tuple(int(rng.integers(n)) for n in game.shape)


def clustered_market(rng, kind, scatter, providers=2, actions=3):
    """Four states in two clusters that differ by `scatter` only: two messages tell nearly everything."""
    small = sample_market(kind, rng, providers=providers, actions=actions, states=2)
    apart = scatter * rng.uniform(-1, 1, size=(providers, actions, 4))
    twice = small.providers.repeat(2, axis=2) + apart
    prior = small.prior.repeat(2) * rng.dirichlet([2, 2], size=2).ravel()
    user = small.user.repeat(2, axis=1) + (apart.mean(axis=0) if kind != "in_hull" else 0)
    if kind == "in_hull":
        user = np.tensordot(rng.dirichlet(np.ones(providers)), twice, axes=1)
    return Market(prior, user, twice)


def two_leaflets(gap, rationality, rules=None):
    """Two drugs for one disease, better than each other by a hair; one message tells the diagnosis or the hair.

    Alice is half Bob 1 and half Bob 2. If one of them reports the diagnosis, the other's leaflet sells his own drug.
    """
    ill, better = np.array([0, 0, 1, 1]), np.array([-1, 1, -1, 1])
    user = np.array([ill * (1 + gap * better / 2), ill * (1 - gap * better / 2), 1 - ill])
    sale = 1.3 * np.array([1, -1, 0])[:, None]
    report = np.array([1.0 - ill, ill])
    leaflets = [np.where(better == side, [[1.0]], [[0.9]]) for side in (1, -1)]
    leaflets = [np.concatenate([leaf, 1 - leaf]) for leaf in leaflets]
    if rules is None:
        rules = [np.array([leaf, report]) for leaf in leaflets]
    return QuantalGame(np.diag([0.3, 0.3, 0.2, 0.2]), user, [user + sale, user - sale], rules, rationality)


LEAFLET, REPORT = 0, 1


# The softmax ------------------------------------------------------------------------------------------------


def test_quantal_response_by_hand():
    assert quantal_response([0, 0, 0], 5) == pytest.approx([1 / 3] * 3)
    assert quantal_response([1, 0], 2) == pytest.approx([1 / (1 + np.exp(-2)), 1 / (1 + np.exp(2))])
    assert quantal_response([3, 1, 2], 0) == pytest.approx([1 / 3] * 3)
    assert quantal_response([7.0], 3) == pytest.approx([1])
    assert quantal_response([1, 3, 3], np.inf) == pytest.approx([0, 1, 0])  # a tie: the first
    assert quantal_response([[1, 2], [2, 1]], np.inf) == pytest.approx(np.eye(2)[::-1])


def test_quantal_response_is_a_law_that_shifts_do_not_change():
    rng = np.random.default_rng(0)
    for _ in range(200):
        values = random_values(rng, rng.integers(1, 7))
        rationality = 10 ** rng.uniform(-3, 3)
        response = quantal_response(values, rationality)
        assert response.min() >= 0 and response.sum() == pytest.approx(1)
        assert quantal_response(values + 3, rationality) == pytest.approx(response, abs=1e-9)
        assert quantal_response(values * 2, rationality / 2) == pytest.approx(response)
        assert (np.diff(response[np.argsort(values)]) >= -1e-15).all()  # better actions are not rarer
        assert (
            values @ quantal_response(values, 2 * rationality) >= values @ response - 1e-9 * abs(values).max()
        )
    assert quantal_response([1e300, -1e300], 1e300) == pytest.approx([1, 0])
    many = rng.normal(size=(2, 3, 4))
    assert quantal_response(many, 3)[1, 2] == pytest.approx(quantal_response(many[1, 2], 3))


@pytest.mark.parametrize("seed", range(5))
def test_free_energy_identity(seed):
    """lambda E_p u + H(p) = log sum exp(lambda u): the first step of the regret bound."""
    rng = np.random.default_rng(seed)
    for _ in range(50):
        values, rationality = random_values(rng, rng.integers(1, 7)) / 100, 10 ** rng.uniform(-2, 1)
        p = quantal_response(values, rationality)
        entropy = -(p * np.log(p, where=p > 0, out=np.zeros(p.size))).sum()
        assert rationality * p @ values + entropy == pytest.approx(logsumexp(rationality * values))
        assert -TOLERANCE <= entropy <= np.log(p.size) + TOLERANCE


@pytest.mark.parametrize("actions", [1, 2, 3, 5, 20])
def test_softmax_regret(actions):
    rng = np.random.default_rng(actions)
    plain, sharp = (softmax_regret_bound(actions, 1, sharp) for sharp in (False, True))
    assert sharp <= plain
    assert plain == pytest.approx(np.log(actions)) and sharp == pytest.approx(
        lambertw((actions - 1) / np.e).real
    )
    largest = 0
    for _ in range(500):
        values, rationality = random_values(rng, actions), 10 ** rng.uniform(-3, 3)
        regret = values.max() - values @ quantal_response(values, rationality)
        rounding = 1e-12 * np.abs(values).max()
        assert -rounding <= regret <= softmax_regret_bound(actions, rationality, sharp=True) + rounding
        largest = max(largest, regret * rationality)
    for rationality in (0.1, 1, 30):  # attained: all others are worse by (1 + W) / lambda
        values = np.append(0, np.full(actions - 1, -(1 + sharp) / rationality))
        regret = -values @ quantal_response(values, rationality)
        assert regret == pytest.approx(softmax_regret_bound(actions, rationality, sharp=True), abs=1e-12)
    assert actions == 1 or largest > 0.3 * sharp


@pytest.mark.parametrize("actions", [2, 3, 6])
def test_lambert_is_the_maximum_found_numerically(actions):
    def loss(gap):
        values = np.append(0, np.full(actions - 1, -gap))
        return values @ softmax(values)

    found = minimize_scalar(loss, bounds=(0, 10), method="bounded", options={"xatol": 1e-9})
    assert -found.fun == pytest.approx(softmax_regret_bound(actions, 1, sharp=True), abs=1e-9)
    rng = np.random.default_rng(actions)  # unequal gaps are never worse: climb from random places
    for _ in range(20):
        gaps = rng.uniform(0, 5, size=actions - 1)
        for _ in range(300):
            z = 1 + np.exp(-gaps).sum()
            gaps += ((1 - gaps) * z + (gaps * np.exp(-gaps)).sum()) * np.exp(-gaps) / z**2
        values = np.append(0, -gaps)
        assert -values @ softmax(values) <= softmax_regret_bound(actions, 1, sharp=True) + TOLERANCE


def test_no_rationality_is_needed_when_nothing_is_lost():
    assert softmax_regret_bound(3, np.inf) == softmax_regret_bound(3, np.inf, sharp=True) == 0
    assert softmax_regret_bound(1, 2) == 0


@pytest.mark.parametrize("seed", range(6))
def test_total_variation_is_lipschitz(seed):
    rng = np.random.default_rng(seed)
    for _ in range(150):
        actions = rng.integers(1, 7)
        values = random_values(rng, actions)
        others = values + random_values(rng, actions) * rng.choice([1e-3, 1])
        rationality = rng.choice([0, 10 ** rng.uniform(-3, 1)])
        distance = total_variation(
            quantal_response(values, rationality), quantal_response(others, rationality)
        )
        bounds = [
            lipschitz_bound(values, others, rationality, b) for b in ("tanh", "half_oscillation", "sup")
        ]
        assert distance <= bounds[0] + 1e-12
        assert bounds[0] <= bounds[1] + 1e-15 and bounds[1] <= bounds[2] * (1 + 1e-12)


def test_lipschitz_bounds_are_tight():
    for rationality in (0.5, 4):
        for size in (1e-4, 0.3, 2):  # the difference goes half up, half down, through the uniform law
            values = np.array([size, size, -size, -size]) / 2
            distance = total_variation(
                quantal_response(values, rationality), quantal_response(-values, rationality)
            )
            assert distance == pytest.approx(lipschitz_bound(values, -values, rationality, "tanh"))
        # small differences: the constant lambda / 2 cannot be improved
        values *= 1e-4 / size
        distance = total_variation(
            quantal_response(values, rationality), quantal_response(-values, rationality)
        )
        assert distance == pytest.approx(lipschitz_bound(values, -values, rationality), rel=1e-6)
    shifted = np.array([0.2, 0.5, 0.1])  # shifts change nothing, and the oscillation knows it
    assert lipschitz_bound(shifted, shifted + 7, 3, "half_oscillation") == pytest.approx(0)
    assert lipschitz_bound(shifted, shifted + 7, 3) == pytest.approx(10.5)


def test_derivative_of_the_softmax_is_a_mean_absolute_deviation():
    rng = np.random.default_rng(0)
    for _ in range(50):
        values, direction = rng.normal(size=(2, rng.integers(2, 6)))
        rationality, step = 2.5, 1e-6
        change = quantal_response(values + step * direction, rationality) - quantal_response(
            values, rationality
        )
        p = quantal_response(values, rationality)
        deviation = p @ np.abs(direction - p @ direction)
        assert np.abs(change).sum() / step == pytest.approx(rationality * deviation, rel=1e-4)
        assert deviation <= np.ptp(direction) / 2 + 1e-12 <= np.abs(direction).max() + 1e-11


# Learning ---------------------------------------------------------------------------------------------------


def brute_force_vectors(joint, user, deviator, rest):
    """Every possible (x_A, x_B, t, t') with its probability, M1, M2, M3, computed by loops from the joint law."""
    cells = {}
    private, observations, states = joint.shape
    for x, b, t, s, y in itertools.product(
        range(private), range(observations), range(len(deviator)), range(len(rest)), range(states)
    ):
        p = joint[x, b, y] * deviator[t, x, b] * rest[s, x, b]
        if p > 0:
            cells[x, b, t, s, y] = p

    def conditional(key):
        mass, worth = {}, {}
        for (x, b, t, s, y), p in cells.items():
            k = key(x, b, t, s)
            mass[k] = mass.get(k, 0) + p
            worth[k] = worth.get(k, 0) + p * user[:, y]
        return mass, {k: worth[k] / mass[k] for k in mass}

    both = conditional(lambda x, b, t, s: (x, b, t, s))[0]
    m1 = conditional(lambda x, b, t, s: (x, t))[1]
    m2 = conditional(lambda x, b, t, s: (x, t, s))[1]
    m3 = conditional(lambda x, b, t, s: (x, b))[1]
    return [(p, m1[x, t], m2[x, t, s], m3[x, b]) for (x, b, t, s), p in both.items()]


def norms(vector):
    return np.array([np.abs(vector).max(), np.ptp(vector) / 2])


@pytest.mark.parametrize("seed", range(40))
def test_martingale_step(seed):
    """E||M2 - M1|| <= E||M3 - M1|| = eta and E||M3 - M2|| <= 2 eta, also where conversations depend on x_A."""
    rng = np.random.default_rng(seed)
    actions, private, observations, states = rng.integers([1, 1, 1, 1], [4, 4, 5, 4])
    degenerate = bool(seed % 2)
    joint = random_joint(rng, private, observations, states, degenerate)
    user = rng.uniform(size=(actions, states))
    deviator, rest = (
        np.stack([random_rule(rng, n, observations, degenerate) for _ in range(private)], axis=1)
        for n in rng.integers(1, 4, size=2)
    )
    cells = brute_force_vectors(joint, user, deviator, rest)
    first, second, third = (
        sum(p * norms(m[b] - m[a]) for p, *m in cells) for a, b in ((0, 1), (0, 2), (1, 2))
    )
    assert (first <= second + TOLERANCE).all()
    assert (third <= 2 * second + TOLERANCE).all()
    for eta, norm in zip(second, ("sup", "half_oscillation"), strict=True):
        assert learning_error(joint, user, deviator, norm) == pytest.approx(eta, abs=1e-12)
    both = np.einsum("txb,sxb->tsxb", deviator, rest).reshape(-1, private, observations)
    assert learning_error(joint, user, both) == pytest.approx(third[0], abs=1e-12)
    for p, m1, m2, m3 in cells:  # M1 is the mean of M2 and M2 of M3, situation by situation
        same = [(q, n2, n3) for q, n1, n2, n3 in cells if np.array_equal(n1, m1)]
        assert np.average([n2 for _, n2, _ in same], axis=0, weights=[q for q, *_ in same]) == pytest.approx(
            m1
        )
        same = [(q, n3) for q, _, n2, n3 in cells if np.array_equal(n2, m2)]
        assert np.average([n3 for _, n3 in same], axis=0, weights=[q for q, _ in same]) == pytest.approx(m2)


def rare_news(rare):
    """Mostly nothing matters (two kinds of patients); rarely action 1 is better or worse by one.

    Another provider sorts patients into two heaps, one with each kind of rare news.
    """
    prior = np.array([rare, 0.5 - rare, 0.5 - rare, rare])
    user = np.array([[1, 0.5, 0.5, 0], [0, 0.5, 0.5, 1]])
    heaps = np.array([[1.0, 1, 0, 0], [0, 0, 1, 1]])
    return np.diag(prior), user, heaps


@pytest.mark.parametrize("rare", [0.2, 0.05, 0.01, 1e-4])
def test_the_factor_two_is_tight(rare):
    joint, user, heaps = rare_news(rare)
    eta = learning_error(joint, user, np.ones((1, 4)))
    assert eta == pytest.approx(rare)
    assert learning_error(joint, user, heaps) == pytest.approx(2 * (1 - 2 * rare) * eta)
    # and so is lambda eta for the distance of the laws, when lambda is small
    game = QuantalGame(joint, user, [user, user], [np.ones((1, 1, 4)), heaps[None]], 0.01)
    distance = total_variation(game.law((0, 0)).ravel(), game.target_law.ravel())
    assert distance <= np.tanh(game.rationality * eta) + TOLERANCE
    assert distance == pytest.approx(game.rationality * eta * (1 - 2 * rare), rel=1e-3)


def test_in_mean_square_more_news_never_hurts():
    for rare in (0.2, 0.01):
        joint, user, heaps = rare_news(rare)
        square = [
            sum(p * ((m3 - m2) ** 2).sum() for p, _, m2, m3 in brute_force_vectors(joint[None], user, *rules))
            for rules in (
                (np.ones((1, 1, 4)), np.ones((1, 1, 4))),
                (np.ones((1, 1, 4)), heaps[:, None]),
            )
        ]
        assert square[1] < square[0]


def test_learning_error_by_hand():
    prior, user = [0.7, 0.3], np.eye(2)
    assert learning_error(np.diag(prior), user, np.eye(2)) == pytest.approx(0)
    assert learning_error(np.diag(prior), user, [[1, 1]]) == pytest.approx(2 * 0.7 * 0.3)
    assert learning_error(np.diag(prior), user, [[0.5, 0.5], [0.5, 0.5]]) == pytest.approx(0.42)
    # exclusive or: y = x_A xor x_B; neither signal alone says anything, together they say all
    joint = np.zeros((2, 2, 2))
    for a, b in itertools.product(range(2), range(2)):
        joint[a, b, a ^ b] = 0.25
    assert learning_error(joint, user, np.eye(2)) == pytest.approx(0)
    assert learning_error(joint, user, np.ones((1, 2))) == pytest.approx(0.5)
    assert learning_error(joint.sum(axis=0)[None], user, np.eye(2)) == pytest.approx(
        0
    )  # x_B alone has no use
    # index: y = the bit of x_B that x_A points at; one bit for two leaves eta, an answer to the question does not
    joint = np.zeros((2, 4, 2))
    for a, b in itertools.product(range(2), range(4)):
        joint[a, b, (b >> a) & 1] = 1 / 8
    first_bit = np.array([[1.0, 0, 1, 0], [0, 1, 0, 1]])
    assert learning_error(joint, user, first_bit) == pytest.approx(0.25)
    answer = np.array([[[1.0 - ((b >> a) & 1) for b in range(4)] for a in range(2)]])
    assert learning_error(joint, user, np.concatenate([answer, 1 - answer])) == pytest.approx(0)


def test_half_the_oscillation_ignores_what_all_actions_share():
    rng = np.random.default_rng(1)
    user = rng.uniform(size=(3, 4))
    joint = np.diag(rng.dirichlet(np.ones(4)))
    rule = random_rule(rng, 2, 4, False)
    sup, half = (learning_error(joint, user, rule, norm) for norm in ("sup", "half_oscillation"))
    assert half < sup
    moved = user + np.array([0, 5, -3, 1])
    assert learning_error(joint, moved, rule, "half_oscillation") == pytest.approx(half)
    assert learning_error(joint, moved, rule) > sup


def test_posterior_utilities():
    probability, worth = posterior_utilities(
        np.diag([0.7, 0.3]), [[0, 1], [1, 0]], [[0.5, 1], [0.5, 0], [0, 0]]
    )
    assert probability == pytest.approx(np.array([[0.65], [0.35], [0]]))
    assert worth[:2, 0] == pytest.approx(np.array([[0.3 / 0.65, 0.35 / 0.65], [0, 1]]))
    assert np.isnan(worth[2]).all()


# The margin -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(30))
def test_margin_bound(seed):
    """A best-responding Alice loses at most eta, and misses the best action at most eta / margin of the time."""
    rng = np.random.default_rng(seed)
    states, actions = rng.integers(2, 6), rng.integers(2, 5)
    margin = rng.choice([0.05, 0.3, 1.0])
    user = rng.uniform(size=(actions, states))
    best = rng.integers(actions, size=states)
    second = np.where(np.arange(actions)[:, None] == best, -np.inf, user).max(axis=0)
    user[best, np.arange(states)] = second + margin
    prior = rng.dirichlet(np.ones(states))
    deviator = random_rule(rng, 3, states, bool(seed % 3))
    rest = random_rule(rng, 2, states, bool(seed % 2))
    eta = learning_error(np.diag(prior), user, deviator)
    cells = brute_force_vectors(np.diag(prior)[None], user, deviator[:, None], rest[:, None])
    for heard in (1, 2):  # the conversation alone, and with what the others say
        missed = sum(p for p, *m in cells if m[heard - 1].argmax() != m[2].argmax())
        loss = sum(p * (m[2].max() - m[2][m[heard - 1].argmax()]) for p, *m in cells)
        assert loss <= eta + TOLERANCE
        assert missed <= margin_bound(eta, margin) + TOLERANCE


def test_margin_bound_is_tight():
    user = np.array([[0.4, 0.6], [0.6, 0.4]])  # at a tie the first action, wrong half of the time
    eta = learning_error(np.diag([0.5, 0.5]), user, [[1, 1]])
    game = QuantalGame(np.diag([0.5, 0.5]), user, [user], np.ones((1, 1, 2)), np.inf)
    missed = game.law((0,))[0, 0]
    assert missed == pytest.approx(0.5) == margin_bound(eta, 0.2)
    assert margin_bound(3, 1) == 1 and margin_bound(0, 1) == 0


# The deviation lemma ----------------------------------------------------------------------------------------


def value(law, utility):
    return (law * utility).sum()


@pytest.mark.parametrize("seed", range(40))
def test_deviation_lemma(seed):
    """With 2 eps TV(D, D*), and with D the worst law for Alice under which nobody gains more than alpha."""
    rng = np.random.default_rng(seed)
    k, actions, states = rng.integers([1, 1, 1], [4, 5, 5])
    prior = rng.dirichlet(np.ones(states))
    if seed % 4 == 0:
        prior = np.eye(states)[0]
    providers = rng.uniform(size=(k, actions, states))
    weights = rng.exponential(size=k) * rng.integers(0, 2, size=k)
    heard = np.flatnonzero(weights)

    def law():
        sharp = rng.choice([0.05, 1.0])
        return rng.dirichlet(np.full(actions, sharp), size=states).T * prior

    for _ in range(8):
        residual = 0.05 * rng.uniform(-1, 1, size=(actions, states))
        if rng.integers(2):  # equally large everywhere
            residual = 0.05 * np.sign(residual)
        user = np.tensordot(weights, providers, axes=1) + rng.normal(size=states) - residual
        eps = np.abs(residual[:, prior > 0]).max()
        target, moved = law(), rng.choice([0, 0.03, 0.3])
        deviations = [(1 - moved) * target + moved * law() for _ in range(k)]
        delta = max((np.abs(deviations[i] - target).sum() / 2 for i in heard), default=0)
        # at least so large that D* itself is allowed
        alpha = max([0, *(value(deviations[i] - target, providers[i]) for i in heard)]) + rng.choice([0, 0.1])
        allowed = [(-providers[i].ravel(), alpha - value(deviations[i], providers[i])) for i in heard]
        rows, limits = zip(*allowed, strict=True) if allowed else (None, None)
        worst = linprog(user.ravel(), rows, limits, np.tile(np.eye(states), actions), prior)
        distance = total_variation(worst.x, target.ravel())
        loss = value(target, user) - worst.fun
        assert loss <= 2 * eps * distance + weights.sum() * (alpha + delta) + 1e-7


@pytest.mark.parametrize("weight, eps, alpha, delta", [(1.5, 0.2, 0.1, 0.3), (1, 0, 0.2, 0), (2, 0.3, 0, 0)])
@pytest.mark.parametrize("distance", [0.4, 1])
def test_deviation_lemma_is_attained(weight, eps, alpha, delta, distance):
    """By one provider and one state: none of the terms can be dropped and no constant improved."""
    provider, residual = np.array([1.0, 1, 0]), eps * np.array([-1, 1, 1])
    user = weight * provider - residual
    target, deviation = np.array([1.0, 0, 0]), np.array([1 - delta, 0, delta])
    now = np.array([1 - distance, distance - alpha - delta, alpha + delta])
    assert total_variation(deviation, target) == pytest.approx(delta)
    assert total_variation(now, target) == pytest.approx(distance)
    assert value(deviation, provider) - value(now, provider) == pytest.approx(alpha)
    loss = value(target, user) - value(now, user)
    assert loss == pytest.approx(2 * eps * distance + weight * (alpha + delta))


# The theorem ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(60))
def test_every_step_on_games(seed):
    """TV(D_i, D*) <= tanh(lambda eta_i) <= lambda eta_i whatever the others do; D* loses at most the regret bound."""
    rng = np.random.default_rng(seed)
    game = random_game(rng, degenerate=bool(seed % 3 == 0))
    loss = game.full_information_value - (game.target_law * game.user).sum()
    assert -TOLERANCE <= loss <= softmax_regret_bound(game.user.shape[0], game.rationality, True) + TOLERANCE
    sup, half = game.eta, game.learning_errors("half_oscillation")
    for profile in itertools.product(*map(range, game.shape)):
        distance = np.abs(game.law(profile) - game.target_law).sum() / 2
        for i, r in enumerate(profile):
            assert half[i][r] <= sup[i][r] + TOLERANCE
            assert distance <= np.tanh(game.rationality * half[i][r]) + TOLERANCE


def weighted(market, weights):
    """Weights and eps on the states that can occur."""
    possible = market.prior > 0
    found = align(market.user[:, possible], market.providers[:, :, possible], weights, "state")
    return found.weights, found.error


def count_over_random_games(draw, games, rationalities):
    """How many equilibria, how many games without one, and for how many games the (sharp) bound says anything."""
    counts = {"equilibria": 0, "without": 0, "useful": 0, "useful sharp": 0, "binding": 0}
    for seed in range(games):
        rng = np.random.default_rng(seed)
        market, rules = draw(rng, seed)
        game = QuantalGame.from_market(market, rules, rationalities[seed % len(rationalities)])
        alignments = [weighted(market, kind) for kind in ("simplex", "cone")]
        plain, sharp = (max(game.guarantee(w, eps, s) for w, eps in alignments) for s in (False, True))
        assert plain <= sharp + TOLERANCE
        equilibria = game.pure_equilibria()
        for profile in equilibria:
            assert game.user_values[profile] >= sharp - 1e-8
        worst = game.worst_coarse_correlated()
        assert worst >= sharp - 1e-7
        assert worst <= min((game.user_values[p] for p in equilibria), default=np.inf) + 1e-7
        counts["equilibria"] += len(equilibria)
        counts["without"] += not equilibria
        counts["useful"] += plain > game.no_information_value
        counts["useful sharp"] += sharp > game.no_information_value
        counts["binding"] += game.user_values.min() < sharp - 1e-6  # some profile would violate the bound
    return counts


@pytest.mark.parametrize(
    "kind, useful, useful_sharp",
    [("in_hull", 25, 45), ("near_hull", 1, 3), ("shared_bias", 0, 0)],
)
def test_theorem_with_enough_messages(kind, useful, useful_sharp):
    def draw(rng, seed):
        states = 2 + seed % 2
        return sample_market(kind, rng, 2, 2 + seed % 3, states, noise=0.02), limited_rules(states, states)

    counts = count_over_random_games(draw, 120, (3.0, 10.0, 30.0, 100.0))
    assert counts["equilibria"] > 120
    assert counts["useful"] >= useful and counts["useful sharp"] >= useful_sharp
    assert (kind == "in_hull") <= (counts["binding"] >= 20)
    assert kind != "shared_bias" or counts["useful sharp"] == 0  # there it says nothing, and we say so


@pytest.mark.parametrize("kind, useful_sharp", [("in_hull", 10), ("near_hull", 0), ("shared_bias", 0)])
def test_theorem_with_limited_messages(kind, useful_sharp):
    """Two messages for four states, eta > 0."""

    def draw(rng, seed):
        market = clustered_market(rng, kind, 10 ** rng.uniform(-4, -1), 2, 2 + seed % 2)
        rules = limited_rules(4, 2)
        errors = [learning_error(np.diag(market.prior), market.user, rule) for rule in rules]
        assert min(errors) > 0
        return market, rules

    counts = count_over_random_games(draw, 120, (3.0, 10.0, 30.0, 100.0))
    assert counts["equilibria"] > 60
    assert counts["useful sharp"] >= useful_sharp and counts["useful"] <= counts["useful sharp"]


def test_theorem_with_a_private_signal_and_three_providers():
    useful = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        joint = random_joint(rng, 2, 3, 3, bool(seed % 2))
        providers = rng.uniform(size=(3, 2, 3))
        weights = rng.dirichlet(np.ones(3))
        user = np.tensordot(weights, providers, axes=1)
        game = QuantalGame(joint, user, providers, limited_rules(3, 2 + seed % 2), (10.0, 60.0)[seed % 2])
        bound = game.guarantee(weights, 0.0, sharp=True)
        for profile in game.pure_equilibria():
            assert game.user_values[profile] >= bound - 1e-8
        useful += bound > game.no_information_value
    assert useful >= 5


def test_units_do_not_matter():
    rng = np.random.default_rng(5)
    market = clustered_market(rng, "in_hull", 0.01)
    rules = limited_rules(4, 2)
    game = QuantalGame.from_market(market, rules, 20.0)
    other = QuantalGame.from_market(
        Market(market.prior, market.user * 10 + 3, market.providers * [[[5.0]], [[0.1]]] - 7), rules, 2.0
    )
    assert other.user_values == pytest.approx(game.user_values * 10 + 3)
    assert other.pure_equilibria() == game.pure_equilibria()
    weights, eps = weighted(market, "simplex")
    again = other.guarantee(weights * 10 / [5, 0.1], eps * 10, sharp=True)
    assert again == pytest.approx(10 * game.guarantee(weights, eps, sharp=True) + 3)


# The bound and its optimum ----------------------------------------------------------------------------------


def test_theorem2_bound_by_hand():
    assert theorem2_bound(1, 3, 10, 2, 0.01, 0.05) == pytest.approx(1 - np.log(3) / 10 - 0.2 - 0.1)
    sharp = theorem2_bound(1, 3, 10, 2, 0.01, 0.05, sharp=True)
    assert sharp == pytest.approx(1 - lambertw(2 / np.e).real / 10 - 2 * np.tanh(0.1) - 0.1)
    assert theorem2_bound(0.7, 1, 1, 0, 0, 0) == 0.7


@pytest.mark.parametrize("sharp", [False, True])
@pytest.mark.parametrize("actions, weight, eta", [(2, 1, 0.01), (5, 2.5, 0.1), (3, 0.2, 1e-6)])
def test_the_optimal_rationality_is_optimal(actions, weight, eta, sharp):
    best = optimal_rationality(actions, weight, eta, sharp)
    constant = softmax_regret_bound(actions, 1, sharp)

    def loss(rationality):
        return constant / rationality + weight * rationality * eta

    assert loss(best) == pytest.approx(2 * np.sqrt(weight * eta * constant))
    assert all(loss(best) <= loss(best * factor) for factor in np.geomspace(0.01, 100, 41))
    if not sharp:
        assert 1 - theorem2_bound(1, actions, best, weight, eta, 0) == pytest.approx(loss(best))
    else:
        assert 1 - theorem2_bound(1, actions, best, weight, eta, 0, sharp=True) <= loss(best)


def test_where_learning_is_perfect_there_is_no_trade_off():
    assert optimal_rationality(3, 1, 0) == optimal_rationality(3, 0, 0.1) == np.inf


# The game ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(12))
def test_values_by_brute_force(seed):
    rng = np.random.default_rng(seed)
    game = random_game(rng, degenerate=bool(seed % 2), rationality=[2.0, 0.0, 50.0, np.inf][seed % 4])
    profile = some_profile(rng, game)
    rules = [game.rules[i][r] for i, r in enumerate(profile)]
    private, observations, states = game.joint.shape
    law = np.zeros(game.user.shape)
    for x in range(private):
        for messages in itertools.product(*(range(len(rule)) for rule in rules)):
            mass = np.zeros((observations, states))
            for b in range(observations):
                mass[b] = game.joint[x, b] * np.prod(
                    [rule[m, b] for rule, m in zip(rules, messages, strict=True)]
                )
            if mass.sum() > 0:
                worth = game.user @ mass.sum(axis=0) / mass.sum()
                law += quantal_response(worth, game.rationality)[:, None] * mass.sum(axis=0)
    assert game.law(profile) == pytest.approx(law, abs=1e-12)
    assert game.law(profile).sum(axis=0) == pytest.approx(game.joint.sum(axis=(0, 1)))
    assert game.user_values[profile] == pytest.approx((law * game.user).sum())
    assert game.payoffs[(slice(None), *profile)] == pytest.approx((law * game.providers).sum(axis=(1, 2)))
    assert game.payoffs.shape == (len(game.rules), *game.shape) and game.user_values.shape == game.shape
    assert game.no_information_value <= game.full_information_value + TOLERANCE
    assert game.transcript_rule(profile).sum(axis=0) == pytest.approx(np.ones(observations))


def test_values_do_not_depend_on_the_block(monkeypatch):
    game = random_game(np.random.default_rng(3))
    values = game.user_values
    monkeypatch.setattr(quantal, "BLOCK", 1)
    again = QuantalGame(game.joint, game.user, game.providers, game.rules, game.rationality)
    assert np.array_equal(again.user_values, values)


@pytest.mark.parametrize("seed", range(10))
def test_pure_equilibria_by_definition(seed):
    game = random_game(np.random.default_rng(seed + 100))
    found = game.pure_equilibria()
    for profile in itertools.product(*map(range, game.shape)):
        gains = [
            game.payoffs[(i, *profile[:i], r, *profile[i + 1 :])] - game.payoffs[(i, *profile)]
            for i in range(len(profile))
            for r in range(game.shape[i])
        ]
        if abs(max(gains) - 1e-9) > 1e-8 or max(gains) == 0:
            assert (profile in found) == (max(gains) <= 1e-9)


def test_from_market_with_full_revelation():
    market = sample_market("free", np.random.default_rng(0), providers=2)
    game = QuantalGame.from_market(market, np.eye(4)[None], 1e6)
    assert game.full_information_value == pytest.approx(market.full_information_value)
    assert game.no_information_value == pytest.approx(market.no_information_value)
    assert game.user_values[0, 0] == pytest.approx(market.full_information_value, abs=1e-4)
    assert game.eta[0] == pytest.approx([0])
    assert game.law((0, 0)) == pytest.approx(game.target_law)
    silent = QuantalGame.from_market(market, np.ones((1, 1, 4)), np.inf)
    assert silent.user_values[0, 0] == pytest.approx(market.no_information_value)


def test_worst_coarse_correlated_of_matching_pennies():
    # Alice copies what Bob 1 says and he sees nothing of use; only mixing is stable, so no pure equilibrium.
    joint = np.full((2, 2), 0.25) @ np.eye(2)
    game = QuantalGame(joint, np.eye(2), [np.eye(2), 1 - np.eye(2)], limited_rules(2, 2), 1.0)
    assert game.worst_coarse_correlated() == pytest.approx(game.user_values.min())  # nobody can do anything
    alone = QuantalGame(np.diag([0.5, 0.5]), np.eye(2), [np.eye(2), -np.eye(2)], limited_rules(2, 2), 3.0)
    assert alone.worst_coarse_correlated() == pytest.approx(alone.user_values.max())  # Bob 1 tells all


def test_identical_conversations_with_a_private_signal():
    # A private signal that is pure noise changes nothing.
    rng = np.random.default_rng(8)
    joint = random_joint(rng, 1, 3, 3, False)
    user, providers = rng.uniform(size=(2, 3)), rng.uniform(size=(2, 2, 3))
    game = QuantalGame(joint[0], user, providers, limited_rules(3, 2), 4.0)
    noisy = QuantalGame(np.concatenate([0.3 * joint, 0.7 * joint]), user, providers, limited_rules(3, 2), 4.0)
    assert noisy.payoffs == pytest.approx(game.payoffs)
    assert noisy.eta[0] == pytest.approx(game.eta[0])


def test_limited_rules():
    assert [len(limited_rules(n, n)) for n in range(1, 6)] == [1, 2, 5, 15, 52]  # Bell numbers
    assert len(limited_rules(4, 2)) == 8 and limited_rules(4, 2).shape == (8, 2, 4)
    assert limited_rules(3, 2)[0] == pytest.approx(np.array([[1, 1, 1], [0, 0, 0]]))
    rules = limited_rules(2, 2, levels=4)
    assert rules.shape == (13, 2, 2) and rules.sum(axis=1) == pytest.approx(np.ones((13, 2)))
    assert len({tuple(sorted(map(tuple, rule))) for rule in rules}) == 13
    assert any(np.array_equal(rule, np.eye(2)) for rule in rules)


# Hard argmax with approximate learning ----------------------------------------------------------------------


@pytest.mark.parametrize("gap", [0.1, 0.01, 1e-4])
def test_a_hard_argmax_breaks_with_approximate_learning(gap):
    hard = two_leaflets(gap, np.inf)
    assert np.tensordot([0.5, 0.5], hard.providers, axes=1) == pytest.approx(
        hard.user
    )  # in the hull, eps = 0
    assert hard.eta[0][REPORT] == pytest.approx(0.2 * gap)  # as small as one likes
    assert hard.full_information_value == pytest.approx(1 + 0.2 * gap)
    assert hard.pure_equilibria() == [(LEAFLET, LEAFLET)]
    assert (
        hard.user_values[LEAFLET, LEAFLET] == pytest.approx(hard.no_information_value) == pytest.approx(0.6)
    )
    assert hard.worst_coarse_correlated() == pytest.approx(0.6)
    # although Alice herself would lose nothing to speak of if either of them reported
    assert hard.user_values[REPORT, LEAFLET] > 1 - gap
    # the outcome is far from the target: the leaflet alone decides between two drugs
    assert np.abs(hard.law((REPORT, LEAFLET)) - hard.target_law).sum() / 2 > 0.17
    assert margin_bound(0.2 * gap, gap) == pytest.approx(0.2)  # a margin as small as eta protects nobody


@pytest.mark.parametrize("gap", [0.1, 0.01, 1e-4])
def test_softness_mends_it(gap):
    soft = two_leaflets(gap, optimal_rationality(3, 3.6, 0.2 * gap, sharp=True))
    equilibria = soft.pure_equilibria()
    assert equilibria and (LEAFLET, LEAFLET) not in equilibria
    bound = soft.guarantee([0.5, 0.5], 0.0, sharp=True)
    for profile in equilibria:
        assert soft.user_values[profile] >= max(bound, 0.9)
    assert gap > 0.001 or bound > 0.9


# Bad input --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, call",
    [
        ("values", lambda: quantal_response([np.nan, 1], 1)),
        ("values", lambda: quantal_response([], 1)),
        ("values", lambda: quantal_response("high", 1)),
        ("values", lambda: quantal_response(3.0, 1)),
        ("values", lambda: quantal_response([[1, 2], [3]], 1)),
        ("rationality", lambda: quantal_response([1, 2], -1)),
        ("rationality", lambda: quantal_response([1, 2], np.nan)),
        ("rationality", lambda: quantal_response([1, 2], -np.inf)),
        ("rationality", lambda: quantal_response([1, 2], None)),
        ("rationality", lambda: quantal_response([1, 2], True)),
        ("actions", lambda: softmax_regret_bound(0, 1)),
        ("actions", lambda: softmax_regret_bound(2.0, 1)),
        ("rationality", lambda: softmax_regret_bound(2, 0)),
        ("others", lambda: lipschitz_bound([1, 2], [1, 2, 3], 1)),
        ("bound", lambda: lipschitz_bound([1, 2], [1, 2], 1, "euclid")),
        ("rationality", lambda: lipschitz_bound([1, 2], [1, 2], np.inf)),
        ("margin", lambda: margin_bound(0.1, 0)),
        ("margin", lambda: margin_bound(0.1, -1)),
        ("eta", lambda: margin_bound(-0.1, 1)),
        ("joint", lambda: learning_error([[0.5, 0.6]], [[1, 0]], [[1]])),
        ("joint", lambda: learning_error([[1.5, -0.5]], [[1, 0]], [[1]])),
        ("joint", lambda: learning_error([0.5, 0.5], [[1, 0]], [[1]])),
        ("joint", lambda: learning_error([[0.5], [0.2, 0.3]], [[1, 0]], [[1]])),
        ("user", lambda: learning_error([[0.5, 0.5]], [[1, 0, 1]], [[1]])),
        ("conditional", lambda: learning_error([[0.5, 0.5]], [[1, 0]], [[0.5]])),
        ("conditional", lambda: learning_error([[0.5, 0.5]], [[1, 0]], [[1.5], [-0.5]])),
        ("conditional", lambda: learning_error([[0.5, 0.5]], [[1, 0]], [[1, 1]])),
        ("conditional", lambda: learning_error([[0.5, 0.5]], [[1, 0]], np.ones((1, 2, 1)))),
        ("norm", lambda: learning_error([[0.5, 0.5]], [[1, 0]], [[1]], "mse")),
        ("opt_full", lambda: theorem2_bound(np.inf, 2, 1, 1, 0.1, 0)),
        ("actions", lambda: theorem2_bound(1, 0, 1, 1, 0.1, 0)),
        ("rationality", lambda: theorem2_bound(1, 2, np.inf, 1, 0.1, 0)),
        ("rationality", lambda: theorem2_bound(1, 2, 0, 1, 0.1, 0)),
        ("total_weight", lambda: theorem2_bound(1, 2, 1, -1, 0.1, 0)),
        ("eta", lambda: theorem2_bound(1, 2, 1, 1, -0.1, 0)),
        ("eps", lambda: theorem2_bound(1, 2, 1, 1, 0.1, -1)),
        ("actions", lambda: optimal_rationality(1, 1, 0.1)),
        ("eta", lambda: optimal_rationality(2, 1, np.nan)),
        ("observations", lambda: limited_rules(0, 2)),
        ("observations", lambda: limited_rules(14, 2)),
        ("messages", lambda: limited_rules(3, 0)),
        ("levels", lambda: limited_rules(3, 2, 0)),
    ],
)
def test_bad_arguments(name, call):
    with pytest.raises(InputError, match=rf"^{name} "):
        call()


@pytest.mark.parametrize(
    "name, change",
    [
        ("joint", dict(joint=np.eye(2))),
        ("joint", dict(joint="uniform")),
        ("user", dict(user=np.ones((2, 3)))),
        ("user", dict(user=None)),
        ("providers", dict(providers=np.ones((2, 2)))),
        ("providers", dict(providers=np.ones((2, 3, 2)))),
        ("rules", dict(rules=None)),
        ("rules", dict(rules=np.eye(2))),
        ("rules", dict(rules=[])),
        ("rules", dict(rules=[limited_rules(2, 2)] * 3)),
        ("rules", dict(rules=[limited_rules(2, 2), np.eye(2)])),
        ("rules", dict(rules=limited_rules(3, 2))),
        ("rules", dict(rules=limited_rules(2, 2) * 0.9)),
        ("rules", dict(rules=[[[1, 1], [0]]])),
        ("rules", dict(rules=[limited_rules(2, 2), np.full((1, 2, 2), np.nan)])),
        ("rules", dict(rules=np.repeat(limited_rules(2, 2), 2000, axis=0))),
        ("rationality", dict(rationality=-1)),
        ("rationality", dict(rationality="high")),
    ],
)
def test_bad_games(name, change):
    good = dict(
        joint=np.diag([0.5, 0.5]),
        user=np.eye(2),
        providers=np.ones((2, 2, 2)),
        rules=limited_rules(2, 2),
        rationality=1,
    )
    QuantalGame(**good)
    with pytest.raises(InputError, match=rf"^{name} "):
        QuantalGame(**(good | change))


def test_size_is_checked_before_work_and_the_error_says_what_fits():
    market = sample_market("free", np.random.default_rng(0), providers=3)
    with pytest.raises(InputError, match=r"1728000 profiles with 8 transcripts.*up to (\d+) rules") as error:
        QuantalGame.from_market(market, np.repeat(limited_rules(4, 2), 15, axis=0), 1.0)
    fits = int(str(error.value).split("up to ")[1].split()[0])
    assert 8 * 7 * fits**3 <= quantal.MOST_NUMBERS < 8 * 7 * (fits + 1) ** 3
    QuantalGame.from_market(market, np.repeat(limited_rules(4, 2), 15, axis=0)[:fits], 1.0)
    crowd = Market(market.prior, market.user, np.repeat(market.providers, 10, axis=0))
    with pytest.raises(InputError, match="fewer messages"):
        QuantalGame.from_market(crowd, np.eye(4)[None], 1.0)
    with pytest.raises(InputError, match="at most 13 with 2 messages"):
        limited_rules(20, 2)
    big = QuantalGame.from_market(market, np.repeat(limited_rules(4, 2), 5, axis=0), 1.0)
    with pytest.raises(InputError, match="64000 profiles"):
        big.worst_coarse_correlated()


def test_bad_questions_to_a_game():
    game = two_leaflets(0.1, 5.0)
    for profile in ((0,), (0, 2), (-1, 0), (0.0, 1), 3, None):
        with pytest.raises(InputError, match="^profile"):
            game.law(profile)
    for weights in ([1], [[1, 1]], [-1, 1], "equal"):
        with pytest.raises(InputError, match="^weights"):
            game.guarantee(weights, 0)
    with pytest.raises(InputError, match="^eps"):
        game.guarantee([0.5, 0.5], -1)
    with pytest.raises(InputError, match="^rationality"):
        game.with_rationality(np.inf).guarantee([0.5, 0.5], 0)
    with pytest.raises(InputError, match="^tolerance"):
        game.pure_equilibria(-1)
    with pytest.raises(InputError, match="^norm"):
        game.learning_errors("mse")
    with pytest.raises(InputError, match="^market"):
        QuantalGame.from_market(np.eye(2), limited_rules(2, 2), 1.0)
    with pytest.raises(ValueError):
        game.user_values[0, 0] = 1.0  # tables are read-only
