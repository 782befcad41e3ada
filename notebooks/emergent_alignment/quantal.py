"""Quantal response: Alice chooses better actions more often, not always, and small games in which she does.

She plays a ~ softmax(lambda * E[u_A(a, y) | x_A, transcript]), with rationality lambda in units of one over hers.
The inequalities behind Theorem 2 are functions here; `QuantalGame` is a finite game in which every one of them
can be computed exactly. Theorem 2 follows Collina, Goel, Roth, Ryu and Shi (2025), in this course's own statement.

A joint law of what is known and what is true has axes (observations, states), or (private, observations, states)
where Alice has a private signal x_A. All providers see the same observation x_B; y is the state.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import combinations_with_replacement, product
from math import comb, prod

import highspy
import numpy as np
from scipy.special import lambertw, softmax

from ._validation import InputError, finite_array, one_of, real_number, whole_number
from .markets import Market
from .persuasion import TIE, check_market, linear_program, solve_linear_program

NORMS = ("sup", "half_oscillation")
BOUNDS = ("sup", "half_oscillation", "tanh")
MOST_NUMBERS = (
    20_000_000  # size of a game: profiles x transcripts x private signals x (observations + actions)
)
MOST_RULES = 10_000
MOST_LP = 5_000_000  # entries of the linear program of a coarse correlated equilibrium
BLOCK = 1_000_000  # numbers held at a time


def quantal_response(values, rationality: float) -> np.ndarray:
    """Probabilities of the actions in proportion to exp(rationality * value): the logit response.

    Parameters
    ----------
    values : (..., actions) expected utilities. rationality : lambda >= 0; 0 chooses blindly, numpy.inf always takes
        the best action, the first one in the order of the actions if several tie.

    Returns
    -------
    (..., actions) probabilities. InputError if a value is not finite or rationality is negative.
    """
    values = _values(values, "values")
    return _respond(values, _rationality(rationality, zero=True, infinite=True), np.ptp(values))


def softmax_regret_bound(actions: int, rationality: float, sharp: bool = False) -> float:
    """The most a quantal response can lose against the best action: max_a u(a) - E[u] <= log|A| / lambda.

    With `sharp`, the largest loss over all u, W_0((|A| - 1) / e) / lambda with Lambert's W: it is attained when all
    actions but one are worse by (1 + W_0) / lambda (this course's own). `actions` is their number |A|.
    InputError unless rationality is positive (numpy.inf loses nothing).
    """
    actions = whole_number(actions, "actions", 1)
    return _regret_constant(actions, sharp) / _rationality(rationality, infinite=True)


def lipschitz_bound(values, others, rationality: float, bound: str = "sup") -> np.ndarray:
    """Bound on the total variation distance of the quantal responses to two vectors of values.

    With h = values - others: "sup" is (lambda/2) max_a |h(a)|; "half_oscillation" is (lambda/4) (max h - min h), never
    larger because shifting all values changes no choice; "tanh" is the hyperbolic tangent of that and attained (both
    this course's own).

    Parameters
    ----------
    values, others : (..., actions). rationality : lambda >= 0, finite.

    Returns
    -------
    (...,) bounds. InputError if the shapes differ, an entry is not finite, or the bound is unknown.
    """
    one_of(bound, "bound", BOUNDS)
    values, others = _values(values, "values"), _values(others, "others")
    if values.shape != others.shape:
        raise InputError(f"others must have the shape of values, {values.shape}; got {others.shape}.")
    rationality = _rationality(rationality, zero=True)
    exponent = rationality / 2 * _size(values - others, "sup" if bound == "sup" else "half_oscillation")
    return np.tanh(exponent) if bound == "tanh" else exponent


def margin_bound(eta: float, margin: float) -> float:
    """Bound on the probability that a best-responding Alice misses the best action: eta / margin, at most 1.

    `eta` is the learning error of a conversation (see `learning_error`) and `margin` > 0 is by how much the best
    action beats the second best, for Alice, whatever (x_A, x_B). The bound also holds if she hears more than that
    conversation. Her expected loss is at most eta, and every miss costs at least the margin (this course's own).
    """
    margin = real_number(margin, "margin", 0)
    if margin == 0:
        raise InputError(
            "margin must be positive; got 0. Without a margin approximate learning protects nobody."
        )
    return min(1.0, real_number(eta, "eta", 0) / margin)


def posterior_utilities(joint, user, conditional) -> tuple[np.ndarray, np.ndarray]:
    """How often Alice is in each situation (transcript, x_A), and what each action is then worth to her.

    Parameters
    ----------
    joint : (observations, states) or (private, observations, states) probabilities P(x_A, x_B, y).
    user : (actions, states).
    conditional : (transcripts, observations) or (transcripts, private, observations) probabilities of the transcript
        given (x_A, x_B); given these it does not depend on y.

    Returns
    -------
    probability : (transcripts, private). utilities : (transcripts, private, actions) E[u_A(a, y) | x_A, transcript],
        NaN where a situation never occurs. Without a private signal the private axis has length 1.

    Raises
    ------
    InputError if a shape does not fit or probabilities are negative or do not sum to one.
    """
    joint, user = _joint(joint), finite_array(user, "user", 2, "(actions, states)")
    _check_states(user, "user", joint)
    transcript = _transcript(conditional, joint)
    law = transcript * joint.sum(axis=2)  # (transcripts, private, observations)
    worth = np.einsum("txb,xby,ay->txa", transcript, joint, user)
    return law.sum(axis=2), _divide(worth, law.sum(axis=2))


def learning_error(joint, user, conditional, norm: str = "sup") -> float:
    """eta: how far from her full-information values a conversation leaves Alice, on average.

    E || E[u_A(., y) | x_A, t] - E[u_A(., y) | x_A, x_B] ||, exact on a finite instance.

    Theorem 2 asks for it at a transcript t† with the deviating provider alone, "whatever the others do". If Alice holds
    her conversations separately (what she says to one provider depends on x_A and on their own history), the law of t†
    given (x_A, x_B) does not depend on the others and this one number covers them all. If she passes on what
    another said, the law of t† depends on the others: take the largest value over their rules.

    Parameters
    ----------
    joint, user, conditional : as in `posterior_utilities`; `conditional` is the law of t† given (x_A, x_B).
    norm : "sup" or "half_oscillation" (half of largest minus smallest entry; never more, and enough for Theorem 2).

    Returns
    -------
    A number in Alice's units, zero if the transcript tells her all that matters. InputError as above.
    """
    one_of(norm, "norm", NORMS)
    _, told = posterior_utilities(joint, user, conditional)
    joint, user = _joint(joint), np.asarray(user, dtype=float)
    both = joint.sum(axis=2)  # (private, observations)
    full = _divide(joint @ user.T, both)  # (private, observations, actions)
    law = _transcript(conditional, joint) * both
    distance = _size(told[:, :, None] - full, norm)
    return float(np.where(law > 0, law * distance, 0).sum())


def theorem2_bound(
    opt_full: float,
    actions: int,
    rationality: float,
    total_weight: float,
    eta: float,
    eps: float,
    sharp: bool = False,
) -> float:
    """What Theorem 2 guarantees to Alice: OPT_full - log|A|/lambda - W lambda eta - 2 eps.

    Parameters
    ----------
    opt_full : the Bayes-optimal value E[max_a E[u_A | x_A, x_B]]. actions : their number |A|.
    rationality : lambda, positive and finite. total_weight : W = sum of the weights, for providers with utilities in [0, 1]
        (else sum_i w_i s_i, where s_i is the largest difference that Alice's action makes to provider i in a state).
    eta : the learning error. eps : the weighted-alignment error.
    sharp : put Lambert's W_0((|A|-1)/e) for log|A| and tanh(lambda eta) for lambda eta (this course's own); eta may
        then be measured by half the oscillation.

    Returns
    -------
    The bound, in Alice's units; it may lie below what she has without anybody. InputError for bad numbers.
    """
    opt_full = real_number(opt_full, "opt_full")
    actions = whole_number(actions, "actions", 1)
    rationality = _rationality(rationality)
    total_weight = real_number(total_weight, "total_weight", 0)
    eta = real_number(eta, "eta", 0)
    eps = real_number(eps, "eps", 0)
    distance = np.tanh(rationality * eta) if sharp else rationality * eta
    return float(
        opt_full - _regret_constant(actions, sharp) / rationality - total_weight * distance - 2 * eps
    )


def optimal_rationality(actions: int, total_weight: float, eta: float, sharp: bool = False) -> float:
    """The lambda that makes log|A|/lambda + W lambda eta least: sqrt(log|A| / (W eta)), where it is 2 sqrt(W eta log|A|).

    With `sharp`, Lambert's W_0((|A|-1)/e) stands for log|A|. Arguments as in `theorem2_bound`; `actions` >= 2.
    numpy.inf if W eta = 0: where learning is perfect, nothing speaks for softness.
    """
    constant = _regret_constant(whole_number(actions, "actions", 2), sharp)
    cost = real_number(total_weight, "total_weight", 0) * real_number(eta, "eta", 0)
    return float(np.sqrt(constant / cost)) if cost > 0 else np.inf


def limited_rules(observations: int, messages: int, levels: int = 1) -> np.ndarray:
    """Every rule with few messages whose probabilities are multiples of 1/levels; renamed messages count once.

    With `levels` = 1 these are the ways to sort the observations into at most `messages` heaps.

    Returns
    -------
    (rules, messages, observations) conditionals pi(m | x_B), the silent rule first. InputError for sizes below one, or
    for more than 10,000 rules before renamings are dropped.
    """
    observations = whole_number(observations, "observations", 1)
    messages = whole_number(messages, "messages", 1)
    levels = whole_number(levels, "levels", 1)
    columns = comb(messages + levels - 1, levels)
    if columns**observations > MOST_RULES:
        fits = max(n for n in range(15) if columns**n <= MOST_RULES)
        raise InputError(
            f"observations must be at most {fits} with {messages} messages and {levels} levels (at most {MOST_RULES} "
            f"rules are listed); got {observations}. Use fewer messages or levels, or write the rules yourself."
        )
    choices = [
        [heap.count(m) for m in range(messages)]
        for heap in combinations_with_replacement(range(messages), levels)
    ]
    rules = {}
    for columns_of_rule in product(choices, repeat=observations):
        rows = tuple(sorted(zip(*columns_of_rule, strict=True), reverse=True))
        rules.setdefault(rows)
    ordered = sorted(rules, reverse=True)
    return np.array(ordered, dtype=float) / levels


@dataclass(frozen=True, eq=False)
class QuantalGame:
    """A finite game between providers before an Alice who hears one message from each and responds softly.

    Every provider commits to one of finitely many rules and sees x_B; Alice sees x_A and all messages and plays
    softmax(rationality * E[u_A | x_A, messages]). She is not strategic.

    Parameters
    ----------
    joint : (observations, states) or (private, observations, states) probabilities P(x_A, x_B, y).
    user : (actions, states). providers : (providers, actions, states).
    rules : (rules, messages, observations) conditionals pi(m | x_B), the same choice for every provider, or a
        sequence with such an array for each provider.
    rationality : lambda >= 0, or numpy.inf for a hard argmax with ties to the first action.

    A profile is a tuple of rule indices, one for each provider. Size is checked before anything is computed.

    Raises
    ------
    InputError if a shape does not fit, probabilities are not such, or the game is too large (the message says what
    would fit).
    """

    joint: np.ndarray
    user: np.ndarray
    providers: np.ndarray
    rules: tuple[np.ndarray, ...]
    rationality: float

    def __post_init__(self):
        joint = _joint(self.joint)
        user = finite_array(self.user, "user", 2, "(actions, states)")
        providers = finite_array(self.providers, "providers", 3, "(providers, actions, states)")
        _check_states(user, "user", joint)
        if providers.shape[1:] != user.shape:
            raise InputError(
                f"providers must have shape (providers, {user.shape[0]}, {user.shape[1]}) to match user; "
                f"got {providers.shape}."
            )
        rules = _rules(self.rules, len(providers), joint.shape[1])
        rationality = _rationality(self.rationality, zero=True, infinite=True)
        _check_size(rules, joint.shape[0], joint.shape[1] + user.shape[0])
        for array in (joint, user, providers, *rules):
            array.setflags(write=False)
        for name, value in zip(
            ("joint", "user", "providers", "rules", "rationality"),
            (joint, user, providers, rules, rationality),
            strict=True,
        ):
            object.__setattr__(self, name, value)

    @classmethod
    def from_market(cls, market: Market, rules, rationality: float) -> QuantalGame:
        """The game in a Market: the providers know the state (x_B = y), Alice knows the prior alone."""
        check_market(market)
        return cls(np.diag(market.prior), market.user, market.providers, rules, rationality)

    def with_rationality(self, rationality: float) -> QuantalGame:
        """The same game with another lambda."""
        return QuantalGame(self.joint, self.user, self.providers, self.rules, rationality)

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of rules of each provider."""
        return tuple(len(rules) for rules in self.rules)

    @property
    def full_information_value(self) -> float:
        """OPT_full = E[max_a E[u_A(a, y) | x_A, x_B]], what an Alice who knew x_B and chose best would have."""
        return float((self.joint @ self.user.T).max(axis=2).sum())

    @property
    def no_information_value(self) -> float:
        """E[max_a E[u_A(a, y) | x_A]], what an Alice who chose best would have without any provider."""
        return float((self.joint.sum(axis=1) @ self.user.T).max(axis=1).sum())

    @property
    def eta(self) -> tuple[np.ndarray, ...]:
        """For each provider, the learning error (rules,) of each of his rules, in the sup norm."""
        return self.learning_errors("sup")

    def learning_errors(self, norm: str = "sup") -> tuple[np.ndarray, ...]:
        """For each provider, `learning_error` (rules,) of each of his rules in the given norm."""
        one_of(norm, "norm", NORMS)
        return tuple(
            np.array([learning_error(self.joint, self.user, rule, norm) for rule in rules])
            for rules in self.rules
        )

    @property
    def target_law(self) -> np.ndarray:
        """D* (actions, states): the outcome law of the quantal response to E[u_A | x_A, x_B]."""
        worth = self.joint @ self.user.T  # (private, observations, actions)
        response = self._response(worth, self.joint.sum(axis=2))
        return np.einsum("xba,xby->ay", response, self.joint)

    def law(self, profile) -> np.ndarray:
        """D (actions, states): the outcome law of a profile of rules, given by their indices."""
        transcript = self._transcripts(np.array([self._profile(profile)]))[0]  # (transcripts, observations)
        response = self._response(*self._situations(transcript))
        return np.einsum("txa,tb,xby->ay", response, transcript, self.joint)

    def transcript_rule(self, profile) -> np.ndarray:
        """(transcripts, observations) law of all messages together given x_B, for a profile of rules."""
        return self._transcripts(np.array([self._profile(profile)]))[0]

    @property
    def user_values(self) -> np.ndarray:
        """Alice's value at every profile, an array with one axis of rules for each provider."""
        return self._tables[0]

    @property
    def payoffs(self) -> np.ndarray:
        """(providers, *shape) value of every profile to every provider, each in his own unit."""
        return self._tables[1:]

    def pure_equilibria(self, tolerance: float = 1e-9) -> list[tuple[int, ...]]:
        """Every profile from which no provider gains more than `tolerance` (a share of his range) by another rule."""
        tolerance = real_number(tolerance, "tolerance", 0)
        stable = np.ones(self.shape, dtype=bool)
        for i, payoff in enumerate(self.payoffs):
            stable &= payoff >= payoff.max(axis=i, keepdims=True) - tolerance * _spread(self.providers[i])
        return [tuple(int(r) for r in profile) for profile in np.argwhere(stable)]

    def worst_coarse_correlated(self) -> float:
        """Alice's least value over all coarse correlated equilibria (mixed and correlated ones included).

        A linear program over distributions of profiles: no provider gains by one fixed rule instead of his part.
        InputError if the program is too large.
        """
        profiles, deviations = prod(self.shape), sum(self.shape)
        if profiles * deviations > MOST_LP:
            raise InputError(
                f"rules make {profiles} profiles and {deviations} deviations, a linear program with more than {MOST_LP} "
                "entries. Give the providers fewer rules."
            )
        rows = [np.ones(profiles)]
        for i, payoff in enumerate(self.payoffs):
            for r in range(self.shape[i]):
                gain = (payoff - np.take(payoff, [r], axis=i)).ravel() / _spread(self.providers[i])
                largest = np.abs(gain).max()
                # What is left of equal payoffs is rounding, and no linear program bears coefficients of all sizes.
                rows.append(
                    np.where(np.abs(gain) > 1e-8 * largest, gain / largest, 0)
                    if largest > 1e-12
                    else 0 * gain
                )
        lower = np.append(1.0, np.zeros(deviations))
        upper = np.append(1.0, np.full(deviations, highspy.kHighsInf))
        values = self.user_values.ravel()
        weights = solve_linear_program(linear_program(values - values.min(), rows, lower, upper))
        return float(values @ weights / weights.sum())

    def guarantee(self, weights, eps: float, sharp: bool = False) -> float:
        """`theorem2_bound` for this game: no pure or coarse correlated equilibrium is worth less to Alice.

        Parameters
        ----------
        weights : (providers,) non-negative w_i, and `eps`, with |sum_i w_i U_i + c(y) - u_A| <= eps wherever P(y) > 0;
            `hull.align` finds them. Each weight is multiplied by the largest difference that Alice's action makes
            to the provider in a state, so that no unit of utility matters; each provider deviates to the rule from which
            Alice learns most. sharp : as in `theorem2_bound`, with learning errors in half the oscillation.

        Raises
        ------
        InputError for weights that do not fit, a negative eps, or an infinite rationality.
        """
        weights = finite_array(weights, "weights", 1, "(providers,)")
        if weights.size != len(self.providers) or (weights < 0).any():
            raise InputError(
                f"weights must hold {len(self.providers)} numbers, none negative; got {weights}."
            )
        errors = self.learning_errors("half_oscillation" if sharp else "sup")
        eta = max((e.min() for w, e in zip(weights, errors, strict=True) if w > 0), default=0.0)
        possible = self.joint.sum(axis=(0, 1)) > 0
        weight = float(weights @ np.ptp(self.providers[:, :, possible], axis=1).max(axis=1))
        return theorem2_bound(
            self.full_information_value, self.user.shape[0], self.rationality, weight, float(eta), eps, sharp
        )

    @cached_property
    def _tables(self):
        """(1 + providers, *shape): expected utilities of Alice and of every provider at every profile."""
        utilities = np.concatenate([self.user[None], self.providers])
        worth = np.einsum(
            "xby,uay->uxba", self.joint, utilities
        )  # (utilities, private, observations, actions)
        situations = prod(rules.shape[1] for rules in self.rules) * self.joint.shape[0]
        step = max(1, BLOCK // (situations * (self.joint.shape[1] + self.user.shape[0])))
        profiles = np.indices(self.shape).reshape(len(self.rules), -1).T
        values = np.empty((len(utilities), len(profiles)))
        probability = self.joint.sum(axis=2)
        for start in range(0, len(profiles), step):
            transcript = self._transcripts(
                profiles[start : start + step]
            )  # (profiles, transcripts, observations)
            heard = np.einsum("ptb,xba->ptxa", transcript, worth[0])
            response = self._response(heard, np.einsum("ptb,xb->ptx", transcript, probability))
            for u, table in enumerate(worth):
                part = heard if u == 0 else np.einsum("ptb,xba->ptxa", transcript, table)
                values[u, start : start + step] = (response * part).sum(axis=(1, 2, 3))
        values = values.reshape(-1, *self.shape)
        values.setflags(write=False)
        return values

    def _transcripts(self, profiles):
        """(profiles, transcripts, observations): probability of all messages together given x_B."""
        together = np.ones((len(profiles), 1, self.joint.shape[1]))
        for i, rules in enumerate(self.rules):
            together = together[:, :, None] * rules[profiles[:, i]][:, None]
            together = together.reshape(len(profiles), -1, self.joint.shape[1])
        return together

    def _situations(self, transcript):
        """Alice's expected utilities (transcripts, private, actions) times, and the, probability of each situation."""
        worth = np.einsum("tb,xby,ay->txa", transcript, self.joint, self.user)
        return worth, np.einsum("tb,xby->tx", transcript, self.joint)

    def _response(self, worth, probability):
        """Quantal response to worth / probability; anything where a situation never occurs."""
        values = np.nan_to_num(_divide(worth, probability))
        return _respond(values, self.rationality, np.ptp(self.user))

    def _profile(self, profile):
        try:
            profile = tuple(profile)
        except TypeError:
            profile = (profile,)
        if len(profile) != len(self.rules):
            raise InputError(
                f"profile must hold {len(self.rules)} rule indices, one for each provider; got {profile}."
            )
        return [
            whole_number(r, f"profile entry {i}", 0, count - 1)
            for i, (r, count) in enumerate(zip(profile, self.shape, strict=True))
        ]


def _respond(values, rationality, scale):
    if np.isinf(rationality):
        ties = values >= values.max(axis=-1, keepdims=True) - TIE * (scale or 1.0)
        return np.eye(values.shape[-1])[ties.argmax(axis=-1)]
    # Differences to the best first: no product overflows to an undefined one.
    with np.errstate(over="ignore"):
        return softmax(rationality * (values - values.max(axis=-1, keepdims=True)), axis=-1)


def _regret_constant(actions, sharp):
    return float(lambertw((actions - 1) / np.e).real) if sharp else float(np.log(actions))


def _size(difference, norm):
    """Sup norm of the last axis, or half of its range."""
    if norm == "sup":
        return np.abs(difference).max(axis=-1)
    return (difference.max(axis=-1) - difference.min(axis=-1)) / 2


def _spread(utility):
    return np.ptp(utility) or 1.0


def _divide(worth, probability):
    probability = probability[..., None]
    return np.divide(worth, probability, out=np.full(worth.shape, np.nan), where=probability > 0)


def _rationality(value, zero=False, infinite=False):
    if infinite and isinstance(value, (float, np.floating)) and value == np.inf:
        return np.inf
    value = real_number(value, "rationality", 0)
    if value == 0 and not zero:
        raise InputError("rationality must be positive; got 0, at which Alice ignores all she knows.")
    return value


def _values(value, name):
    return finite_array(value, name, max(1, _depth(value)), "(..., actions)")


def _depth(value):
    try:
        return np.ndim(value)
    except ValueError:  # rows of different lengths: finite_array says so
        return -1


def _joint(value):
    """The joint law with axes (private, observations, states)."""
    if _depth(value) == 2:
        joint = finite_array(value, "joint", 2, "(observations, states)")[None]
    else:
        joint = finite_array(value, "joint", 3, "(private, observations, states)")
    total = joint.sum()
    if (joint < 0).any() or abs(total - 1) > 1e-8:
        raise InputError(
            f"joint must hold probabilities that sum to 1; smallest entry {joint.min():g}, sum {total:.6g}."
        )
    return joint / total


def _check_states(array, name, joint):
    if array.shape[-1] != joint.shape[2]:
        raise InputError(
            f"{name} must have one column for each of the {joint.shape[2]} states of joint; got shape {array.shape}."
        )


def _transcript(value, joint):
    """Conditional law of a transcript with axes (transcripts, private, observations)."""
    private, observations, _ = joint.shape
    if _depth(value) == 2:
        conditional = finite_array(value, "conditional", 2, "(transcripts, observations)")[:, None]
    else:
        conditional = finite_array(value, "conditional", 3, "(transcripts, private, observations)")
    if conditional.shape[2] != observations or conditional.shape[1] not in (1, private):
        raise InputError(
            f"conditional must have shape (transcripts, {observations}) or (transcripts, {private}, {observations}); "
            f"got {conditional.shape}."
        )
    _check_conditional(conditional, "conditional", 0)
    return np.clip(np.broadcast_to(conditional, (len(conditional), private, observations)), 0, None)


def _check_conditional(array, name, axis):
    if (array < -1e-9).any() or abs(array.sum(axis=axis) - 1).max() > 1e-8:
        raise InputError(
            f"{name} must hold probabilities that sum to 1 over the messages, for each observation."
        )


def _rules(value, providers, observations):
    """One (rules, messages, observations) array for each provider."""
    parts = isinstance(value, (list, tuple))
    depths = {_depth(part) for part in value} if parts else {_depth(value) - 1}
    shared = depths == {2}
    if not shared and depths != {3}:
        raise InputError(
            "rules must have axes (rules, messages, observations), or be a sequence of such arrays, one for each provider."
        )
    if not shared and len(value) != providers:
        raise InputError(
            f"rules must hold one array for each of the {providers} providers; got {len(value)}."
        )
    arrays = []
    for i, part in enumerate([value] if shared else value):
        array = finite_array(
            part, "rules" if shared else f"rules of provider {i}", 3, "(rules, messages, observations)"
        )
        if array.shape[2] != observations:
            raise InputError(
                f"rules must have one column for each of the {observations} observations; got shape {array.shape}."
            )
        _check_conditional(array, "rules", 1)
        arrays.append(np.clip(array, 0, None))
    return tuple(arrays * providers if shared else arrays)


def _check_size(rules, private, width):
    profiles = prod(len(r) for r in rules)
    transcripts = prod(r.shape[1] for r in rules)
    each = transcripts * private * width
    if profiles * each > MOST_NUMBERS:
        fits = int((MOST_NUMBERS / each) ** (1 / len(rules)) + 1e-9)
        advice = (
            f"With these messages up to {fits} rules for each of the {len(rules)} providers would fit."
            if fits
            else "Give the providers fewer messages or leave some of them out."
        )
        raise InputError(
            f"rules make {profiles} profiles with {transcripts} transcripts each, {profiles * each} numbers, more than "
            f"{MOST_NUMBERS}. {advice}"
        )
