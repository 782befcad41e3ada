"""Bayesian persuasion: what one committed provider can do to Alice's beliefs and actions.

A signalling scheme is an array (messages, states) of conditionals pi(m | y) whose columns sum to one. In a
direct scheme the messages are recommended actions; it is obedient if following them is a best response.
The formulas follow Kamenica and Gentzkow (2011) and, for obedience, Bergemann and Morris (2016).
"""

from __future__ import annotations

from dataclasses import dataclass

import highspy
import numpy as np

from ._validation import (
    InfeasibleError,
    InputError,
    finite_array,
    probability_vector,
    real_number,
    whole_number,
)
from .markets import Market

FAVOUR = 1e-7  # weight on Alice's loss that settles which of several optimal schemes is returned
TIE = 1e-9  # two actions tie when their values differ by less than this share of the utility range


@dataclass(frozen=True, eq=False)
class Scheme:
    """A direct signalling scheme and what it is worth.

    conditional : (actions, states) probabilities pi(a | y) of recommending a in state y.
    provider_value, user_value : expected utilities of the provider and of Alice when she obeys.
    """

    conditional: np.ndarray
    provider_value: float
    user_value: float


@dataclass(frozen=True, eq=False)
class Outcome:
    """What follows when Alice best-responds to a scheme.

    law : (actions, states) joint probabilities D(a, y) of what she does and what is true.
    user_value : her expected utility. provider_values : (providers,) theirs.
    """

    law: np.ndarray
    user_value: float
    provider_values: np.ndarray


def optimal_scheme(market: Market, provider: int, user_floor: float | None = None) -> Scheme:
    """The provider's best obedient direct scheme, with Alice's value at least `user_floor`.

    Solves, by HiGHS, the linear program: maximise sum_{a,y} P(y) pi(a|y) U_i(a,y) over conditionals pi
    subject to sum_y P(y) pi(a|y) (u_A(a,y) - u_A(b,y)) >= 0 for all a, b, and E[u_A] >= user_floor.
    Ties between actions are thus broken in the provider's favour.

    Parameters
    ----------
    market : the Market. provider : index from 0 to k - 1.
    user_floor : lower bound on Alice's expected utility, in her units; none if omitted.

    Returns
    -------
    Scheme. Its `provider_value` is the optimum; where several schemes attain it, the one returned is the worst
    for Alice, so that nothing she is promised rests on a favour.
    In states of probability zero it recommends Alice's own best action.

    Raises
    ------
    InputError for a provider that does not exist or a floor that is not a finite number.
    InfeasibleError for a floor above the full-information value, which no scheme can reach.
    """
    check_market(market)
    provider = whole_number(provider, "provider", 0, market.n_providers - 1)
    if user_floor is not None:
        user_floor = real_number(user_floor, "user_floor")
    return ProviderProgram(market, provider).solve(user_floor)


class ProviderProgram:
    """The linear program of one provider, kept in HiGHS so that a new floor restarts from the last basis."""

    def __init__(self, market: Market, provider: int):
        self.market, self.provider = market, provider
        self.support = np.flatnonzero(market.prior > 0)
        prior, user = market.prior[self.support], market.user[:, self.support]
        offer = market.providers[provider][:, self.support]
        actions, states = user.shape
        self.user_scale = np.ptp(user) or 1.0
        user = (user - user.min()) / self.user_scale
        self.floor_shift = market.user[:, self.support].min()
        offer = (offer - offer.min()) / (np.ptp(offer) or 1.0)

        obedience = np.zeros((actions * (actions - 1), actions, states))
        pairs = [(a, b) for a in range(actions) for b in range(actions) if a != b]
        for row, (a, b) in enumerate(pairs):
            obedience[row, a] = prior * (user[a] - user[b])
        size = np.abs(obedience).max(axis=(1, 2), initial=0)
        obedience /= np.where(size > 0, size, 1)[:, None, None]
        total = np.broadcast_to(np.eye(states)[:, None, :], (states, actions, states))
        rows = np.concatenate([total, obedience, (prior * user)[None]]).reshape(-1, actions * states)
        lower = np.concatenate([np.ones(states), np.zeros(len(pairs)), [-highspy.kHighsInf]])
        upper = np.concatenate([np.ones(states), np.full(len(pairs) + 1, highspy.kHighsInf)])
        self.solver = linear_program(-(prior * (offer - FAVOUR * user)).ravel(), rows, lower, upper)
        self.floor_row = rows.shape[0] - 1
        self.highest_floor = float(user.max(axis=0) @ prior)  # in the program's own units, free of rounding

    def solve(self, user_floor: float | None = None) -> Scheme:
        """The best scheme with Alice's value at least `user_floor`; InfeasibleError above full information."""
        market = self.market
        best = market.full_information_value
        if user_floor is not None and user_floor > best + TIE * self.user_scale:
            raise InfeasibleError(
                f"user_floor is {user_floor:.6g}, above the full-information value {best:.6g} that no scheme can "
                f"exceed. Choose a floor of at most {best:.6g}."
            )
        floor = -highspy.kHighsInf
        if user_floor is not None:
            floor = min((user_floor - self.floor_shift) / self.user_scale, self.highest_floor)
        self.solver.changeRowBounds(self.floor_row, floor, highspy.kHighsInf)
        solution = solve_linear_program(self.solver)
        conditional = np.zeros(market.user.shape)
        conditional[market.user.argmax(axis=0), np.arange(market.n_states)] = 1
        active = np.clip(solution.reshape(market.n_actions, -1), 0, None)
        conditional[:, self.support] = active / active.sum(axis=0)
        law = conditional * market.prior
        return Scheme(
            conditional,
            float((law * market.providers[self.provider]).sum()),
            float((law * market.user).sum()),
        )


def posteriors(prior, scheme) -> tuple[np.ndarray, np.ndarray]:
    """How often each message is sent, and what it makes Alice believe (Bayes' rule).

    Parameters
    ----------
    prior : (states,) probabilities. scheme : a Scheme or conditionals (messages, states).

    Returns
    -------
    probability : (messages,) of each message.
    beliefs : (messages, states) posteriors; a row of NaN for a message that is never sent.
        Bayes plausibility: the probability-weighted sum of the rows is the prior.

    Raises
    ------
    InputError if the prior or a column of the scheme is not a probability vector.
    """
    prior = probability_vector(prior, "prior")
    law = _conditional(scheme, prior.size) * prior
    probability = law.sum(axis=1)
    beliefs = np.full(law.shape, np.nan)
    sent = probability > 0
    beliefs[sent] = law[sent] / probability[sent, None]
    return probability, beliefs


def obedience_gap(market: Market, scheme) -> float:
    """The most Alice could gain, in expected utility, by disobeying one recommendation of a direct scheme.

    max over a, b of sum_y P(y) pi(a|y) (u_A(b,y) - u_A(a,y)); zero for an obedient scheme.
    Raises InputError if `scheme` is not (actions, states) with columns that sum to one.
    """
    check_market(market)
    law = _conditional(scheme, market.n_states, market.n_actions) * market.prior
    values = law @ market.user.T  # (recommended, taken)
    return float((values - np.diag(values)[:, None]).max())


def respond(market: Market, scheme) -> Outcome:
    """What happens when Alice hears a scheme with any messages and best-responds.

    Ties between her actions are broken by the order of the actions.

    Parameters
    ----------
    market : the Market. scheme : a Scheme or conditionals (messages, states).

    Returns
    -------
    Outcome with law (actions, states), user_value and provider_values (providers,).

    Raises
    ------
    InputError if a column of the scheme is not a probability vector over messages.
    """
    check_market(market)
    joint = _conditional(scheme, market.n_states) * market.prior  # (messages, states)
    chosen = first_maximiser(joint @ market.user.T, np.ptp(market.user))
    law = np.zeros(market.user.shape)
    np.add.at(law, chosen, joint)
    return Outcome(law, float((law * market.user).sum()), np.tensordot(market.providers, law, axes=2))


def value_function(market: Market, provider: int, beliefs) -> np.ndarray:
    """The provider's expected utility at given beliefs, when Alice best-responds to them.

    Ties between Alice's actions are broken in the provider's favour, as in Kamenica and Gentzkow (2011).

    Parameters
    ----------
    market : the Market. provider : index from 0 to k - 1.
    beliefs : (points, states) probability vectors.

    Returns
    -------
    (points,) values, in the provider's units. InputError if a belief is not a probability vector.
    """
    check_market(market)
    provider = whole_number(provider, "provider", 0, market.n_providers - 1)
    beliefs = finite_array(beliefs, "beliefs", 2, "(points, states)")
    if (
        beliefs.shape[1] != market.n_states
        or (beliefs < 0).any()
        or abs(beliefs.sum(axis=1) - 1).max() > 1e-8
    ):
        raise InputError(f"beliefs must be rows of {market.n_states} non-negative numbers that sum to 1.")
    user = beliefs @ market.user.T  # (points, actions)
    offer = beliefs @ market.providers[provider].T
    best = user >= user.max(axis=1, keepdims=True) - TIE * (np.ptp(market.user) or 1.0)
    return np.where(best, offer, -np.inf).max(axis=1)


def concave_envelope(x, values) -> np.ndarray:
    """The smallest concave function above the points (x, values), evaluated at x.

    Parameters
    ----------
    x : (points,) strictly increasing, for instance beliefs in one of two states. values : (points,).

    Returns
    -------
    (points,) values of the envelope. InputError if the shapes differ or x does not increase.
    """
    x = finite_array(x, "x", 1, "(points,)")
    values = finite_array(values, "values", 1, "(points,)")
    if x.size != values.size:
        raise InputError(
            f"values must have one entry for each of the {x.size} points of x; got {values.size}."
        )
    if (np.diff(x) <= 0).any():
        raise InputError("x must be strictly increasing. Sort it and drop repeated points.")
    hull: list[int] = []
    for i in range(x.size):
        while len(hull) >= 2 and _below(x, values, hull[-2], hull[-1], i):
            hull.pop()
        hull.append(i)
    return np.interp(x, x[hull], values[hull])


def first_maximiser(values, scale) -> np.ndarray:
    """Index of the first entry of each row within a tie of the row's maximum."""
    return (values >= values.max(axis=1, keepdims=True) - TIE * (scale or 1.0)).argmax(axis=1)


def linear_program(cost, rows, lower, upper) -> highspy.Highs:
    """A HiGHS model: minimise cost @ x over x >= 0 with lower <= rows @ x <= upper."""
    matrix = np.asarray(rows, dtype=float)
    model = highspy.HighsLp()
    model.num_row_, model.num_col_ = matrix.shape
    model.col_cost_ = cost
    model.col_lower_ = np.zeros(model.num_col_)
    model.col_upper_ = np.full(model.num_col_, highspy.kHighsInf)
    model.row_lower_, model.row_upper_ = lower, upper
    place = matrix != 0
    model.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
    model.a_matrix_.start_ = np.concatenate([[0], place.sum(axis=1).cumsum()])
    model.a_matrix_.index_ = np.nonzero(place)[1]
    model.a_matrix_.value_ = matrix[place]
    solver = highspy.Highs()
    solver.setOptionValue("output_flag", False)
    solver.setOptionValue("threads", 1)
    solver.setOptionValue("primal_feasibility_tolerance", 1e-9)
    solver.setOptionValue("dual_feasibility_tolerance", 1e-9)
    solver.passModel(model)
    return solver


def solve_linear_program(solver: highspy.Highs) -> np.ndarray:
    """Run HiGHS and return the optimal x; RuntimeError if it ends in any other way."""
    solver.run()
    if solver.getModelStatus() != highspy.HighsModelStatus.kOptimal:
        solver.clearSolver()  # a stale basis can stall; once more from scratch
        solver.run()
    if solver.getModelStatus() != highspy.HighsModelStatus.kOptimal:
        raise RuntimeError(f"HiGHS stopped with {solver.modelStatusToString(solver.getModelStatus())}.")
    return np.array(solver.getSolution().col_value)


def _below(x, values, i, j, k):
    """Whether point j lies on or below the chord from i to k."""
    return (values[j] - values[i]) * (x[k] - x[i]) <= (values[k] - values[i]) * (x[j] - x[i])


def _conditional(scheme, states, messages=None):
    conditional = scheme.conditional if isinstance(scheme, Scheme) else scheme
    conditional = finite_array(conditional, "scheme", 2, "(messages, states)")
    if conditional.shape[1] != states or messages not in (None, conditional.shape[0]):
        wanted = f"({messages or 'messages'}, {states})"
        raise InputError(f"scheme must have shape {wanted}; got {conditional.shape}.")
    if (conditional < -1e-9).any() or abs(conditional.sum(axis=0) - 1).max() > 1e-8:
        raise InputError("scheme must hold non-negative conditionals whose columns each sum to 1.")
    return np.clip(conditional, 0, None)


def check_market(market):
    """Raise InputError unless `market` is a Market."""
    if not isinstance(market, Market):
        raise InputError(
            f"market must be a Market; got {type(market).__name__}. Build one with Market(prior, user, providers)."
        )
