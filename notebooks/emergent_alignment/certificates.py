"""Certificates: what a market guarantees to Alice in every equilibrium, and the proof of it (this course's own).

Let D* be the law in which Alice knows the state and takes the first of her best actions. If every provider could
bring D* about by himself (he reveals the state), then in every equilibrium, from Nash to coarse correlated, the law
D of what she does and what is true has these properties:

(a) the states have their prior probabilities;
(b) E_D[U_i] >= E_{D*}[U_i] for every provider i: nobody would gain by revealing everything;
(c) sum_y D(a, y) (u_A(a, y) - u_A(b, y)) >= 0 for all actions a, b, if Alice best-responds: obedience.

So the smallest E_D[u_A] under (a), (b) and, with `obedience`, (c) is a guarantee. It is a linear program, and every
feasible point of its dual is a proof of a guarantee: weights w >= 0, offsets c(y) and prices rho >= 0 with

    sum_i w_i U_i(a, y) + c(y) + sum_b rho(a, b) (u_A(a, y) - u_A(b, y)) <= u_A(a, y)   for all a, y

prove sum_i w_i E_{D*}[U_i] + E[c(y)]. Weighted alignment is such a point. Obedience (c) is the constraint of the
Bayes correlated equilibria of Bergemann and Morris (2016).

One program serves both ways of listening. If Alice hears everybody, whoever reveals the state brings about D*
whatever the others say (Theorem 1), because ties between her actions are broken in a fixed order. In the selection
game, where she talks to the best provider alone, either the winner is already worth OPT to her, and there is nothing
to prove, or whoever reveals the state is chosen, and (b) holds again (Theorem 3). This covers every pure
equilibrium; it covers coarse correlated ones if her best action is unique in every state that can occur.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from numbers import Real
from typing import NamedTuple

import highspy
import numpy as np

from ._validation import InputError, finite_array, names_tuple, whole_number
from .hull import align
from .markets import Market
from .persuasion import TIE, check_market, first_maximiser, linear_program, solve_linear_program

GAP = 1e-6  # largest distance between primal and dual value, as a share of the utility range
ZERO = 1e-7  # differences below this share of the utility range count as none, and are not reported
MARGIN = 1e-8  # a lead above this, in ranges of the utilities, puts the right action first
PER_ROUND = 60  # pairs of items added in a round of constraint generation
LINES = 5  # mistakes listed in a report


class Mistake(NamedTuple):
    """In `state` Alice takes `taken` in place of `right`: indices, the joint probability, and what it costs her."""

    state: int
    taken: int
    right: int
    probability: float
    cost: float


@dataclass(frozen=True, eq=False)
class Certificate:
    """A guarantee to Alice and its proof.

    market, obedience : what was certified. slack : (providers,) what each may leave on the table, in his own unit.
    value : the guarantee, as proved by weights, offsets and obedience prices.
    outcome : (actions, states) the law worst for Alice among those allowed. outcome_value : its worth to her.
        It equals `value` up to rounding, so no better guarantee follows from (a), (b) and (c) alone.
    weights : (providers,) w >= 0, what a unit of provider i's utility is worth to the proof, in Alice's unit.
    offsets : (states,) c(y).
    obedience_prices : (actions, actions) rho(a, b) >= 0; zero without obedience.
    benchmark : (actions, states) the law D*. opt : its worth to Alice. floors : (providers,) E_{D*}[U_i], less the
        slack: what each provider gets at least.
    no_information : Alice's value when she acts on the prior alone.
    alignment_error : eps, with weights in the cone and state offsets. bound : opt - 2 eps, the simple guarantee.
    tied_states : indices of the states that can occur in which several actions are best for Alice.
    """

    market: Market
    obedience: bool
    slack: np.ndarray
    value: float
    outcome: np.ndarray
    outcome_value: float
    weights: np.ndarray
    offsets: np.ndarray
    obedience_prices: np.ndarray
    benchmark: np.ndarray
    opt: float
    floors: np.ndarray
    no_information: float
    alignment_error: float
    bound: float
    tied_states: tuple[int, ...] = field(default=())

    @property
    def gap(self) -> float:
        """Distance between the two sides of duality; rounding only."""
        return self.outcome_value - self.value

    @property
    def share(self) -> float:
        """Share of the value of information that is guaranteed; NaN if information has no value."""
        worth = self.opt - self.no_information
        if worth <= self._zero:
            return float("nan")
        return (self.value - self.no_information) / worth

    @property
    def mistakes(self) -> tuple[Mistake, ...]:
        """What goes wrong in the worst outcome: every mistake in it, the costliest first."""
        return _mistakes(self.market, self.outcome)

    def without(self) -> np.ndarray:
        """(providers,) the guarantee that would be left without each provider (the others staying)."""
        market, left = self.market, np.full(self.weights.size, self.value)
        for i in np.flatnonzero(self.weights > 0):  # without weight in the proof nothing is lost
            kept = np.delete(np.arange(self.weights.size), i)
            utilities = market.providers[kept]
            w, prices, _ = _solve(market, utilities, self.benchmark, self.slack[kept], self.obedience)
            left[i] = _proved(market, utilities, self.benchmark, self.slack[kept], w, prices)[0]
        return left

    def report(self, names=None) -> str:
        """The verdict in words. names : optional names of the providers, one for each."""
        names = names_tuple(names, "names", self.weights.size, "Bob ")
        return "\n".join(_verdict(self, names))

    def __str__(self):
        return self.report()

    @property
    def _zero(self):
        return ZERO * (np.ptp(self.market.user) or 1.0)


def certify(market: Market, obedience: bool = True, benchmark=None, slack=0.0) -> Certificate:
    """The best guarantee that follows from what every provider could bring about by himself.

    Solves min E_D[u_A] over laws D with (a), (b) and, with `obedience`, (c) of this module's head, by HiGHS, and
    checks the solution against its dual. The value returned is recomputed from the dual point alone.

    Parameters
    ----------
    market : the Market. Leave out providers who could not bring the benchmark about. If the providers' observation
        is not the state, let the states of the market be the observations and the utilities their posterior means.
    obedience : use that Alice best-responds. Leave it out for an Alice who does not (a quantal response, say).
    benchmark : (actions, states) the law D* that every provider could bring about; by default Alice knows the
        state and takes the first of her best actions, and D* is worth OPT. The guarantee holds only if ties
        between actions are broken in that fixed order, or her best action is unique.
    slack : what each provider may leave on the table, one number or (providers,), each in his own unit: his
        regret per round against D*, or what an approximate equilibrium allows. It lowers his floor in (b).

    Returns
    -------
    Certificate. Print it for a verdict in words.

    Raises
    ------
    InputError if market is not a Market, slack is negative, or the benchmark is no law with the market's prior, or
        (with obedience) not one that a best-responding Alice would follow.
    RuntimeError if primal and dual disagree by more than rounding.
    """
    check_market(market)
    obedience, user = bool(obedience), market.user
    support = market.prior > 0
    scale = np.ptp(user) or 1.0
    star = _full_information_law(market) if benchmark is None else _checked_law(market, benchmark, obedience)
    slack = _checked_slack(market, slack)
    weights, prices, outcome = _solve(market, market.providers, star, slack, obedience)
    value, offsets = _proved(market, market.providers, star, slack, weights, prices)
    outcome_value = float((outcome * user).sum())
    if abs(outcome_value - value) > GAP * scale:
        raise RuntimeError(f"primal and dual value differ: {outcome_value:.9g} and {value:.9g}.")
    opt = float((star * user).sum())
    error = align(user[:, support], market.providers[:, :, support], "cone", "state").error
    tied = (user >= user.max(axis=0) - TIE * scale).sum(axis=0) > 1
    arrays = {"outcome": outcome, "weights": weights, "offsets": offsets, "obedience_prices": prices}
    arrays |= {"slack": slack, "benchmark": star}
    arrays["floors"] = np.tensordot(market.providers, star, axes=2) - slack
    for array in arrays.values():
        array.setflags(write=False)
    return Certificate(
        market=market,
        obedience=obedience,
        value=value,
        outcome_value=outcome_value,
        opt=opt,
        no_information=market.no_information_value,
        alignment_error=float(error),
        bound=opt - 2 * float(error),
        tied_states=tuple(np.flatnonzero(tied & support).tolist()) if benchmark is None else (),
        **arrays,
    )


def proved_value(market: Market, weights, obedience_prices=None, benchmark=None, slack=0.0) -> float:
    """The guarantee that given weights prove, whoever found them: no solver is involved.

    With the best offsets for these weights and prices, c(y) = min_a of what the constraint leaves, the value is
    sum_i w_i (E_{D*}[U_i] - slack_i) + sum_y P(y) c(y). It never exceeds `certify(...).value`, and weights found on
    one market prove something on any other with as many providers.

    Parameters
    ----------
    market : the Market. weights : (providers,) non-negative.
    obedience_prices : (actions, actions) non-negative; zero, that is no use of obedience, if omitted.
    benchmark, slack : as in `certify`.

    Raises
    ------
    InputError if a shape does not fit or an entry is negative.
    """
    check_market(market)
    weights = finite_array(weights, "weights", 1, "(providers,)")
    prices = np.zeros((market.n_actions,) * 2) if obedience_prices is None else obedience_prices
    prices = finite_array(prices, "obedience_prices", 2, "(actions, actions)")
    for array, name, shape in (
        (weights, "weights", (market.n_providers,)),
        (prices, "obedience_prices", (market.n_actions,) * 2),
    ):
        if array.shape != shape or (array < 0).any():
            raise InputError(f"{name} must hold non-negative numbers of shape {shape}; got {array.tolist()}.")
    star = _full_information_law(market)
    if benchmark is not None:
        star = _checked_law(market, benchmark, bool(prices.any()))
    return _proved(market, market.providers, star, _checked_slack(market, slack), weights, prices)[0]


# Putting the right action first ------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class ArgmaxTest:
    """Whether some weighting of the providers puts Alice's best action first in every state.

    found : whether there is one; then every equilibrium gives Alice exactly OPT.
    weights : (providers,) the weighting, scaled so that sum_i w_i range(U_i) = 1; zeros if there is none.
    margin : by how much the right action leads at least, on that scale; 0 if there is no such weighting.
    blocking : (actions, states) if there is none, shares kappa(a, y) >= 0 of sum one: the mistakes "a in state y"
        that stand in the way. Made in these proportions they cost no provider anything, and they cost Alice.
        None of those that cost her can be left out. The proportions are those with which the provider who gains
        least, in units of his range, gains most. Zeros if a weighting was found.
    provider_gains : (providers,) what the mistakes in `blocking` bring each provider, in his own unit; never
        negative beyond rounding.
    """

    market: Market
    found: bool
    weights: np.ndarray
    margin: float
    blocking: np.ndarray
    provider_gains: np.ndarray

    @property
    def mistakes(self) -> tuple[Mistake, ...]:
        """The mistakes that stand in the way, as `Mistake`s; `probability` is the share of each, `cost` Alice's."""
        return _mistakes(self.market, self.blocking, free=True)

    def report(self, names=None) -> str:
        """The verdict in words. names : optional names of the providers."""
        names = names_tuple(names, "names", self.weights.size, "Bob ")
        if self.found:
            parts = [f"{self.weights[i]:.3g} x {names[i]}" for i in np.flatnonzero(self.weights > ZERO)]
            if not parts:
                return "Alice cannot go wrong: no action is worse than another in any state."
            return (
                f"A weighting puts Alice's best action first in every state: {' + '.join(parts)}. It leads by at "
                f"least {self.margin:.3g} (the weighted ranges sum to one). So every equilibrium gives her OPT."
            )
        lines = [
            "No weighting puts Alice's best action first in every state. These mistakes stand in the way:"
        ]
        lines += [f"  {_phrase(self.market, m)}, share {m.probability:.2f}" for m in self.mistakes]
        return "\n".join([*lines, "In these proportions no provider minds them."])

    def __str__(self):
        return self.report()


def argmax_weights(market: Market) -> ArgmaxTest:
    """Look for weights w >= 0 under which Alice's best action is first in every state that can occur.

    First means: no worse under the mixture sum_i w_i U_i than an action that is as good for Alice, and strictly
    better than any that is worse for her. The linear program maximises the least lead, with the providers'
    utilities in units of their ranges and total weight at most one. If its value is zero, its dual is a basket of
    mistakes that no provider minds (a theorem of the alternative; see Boyd and Vandenberghe 2004, section 5.8).
    It is found exactly when `certify(market, obedience=False)` guarantees OPT.

    Returns an ArgmaxTest; print it for a verdict. InputError if market is not a Market.
    """
    check_market(market)
    loss, provider_loss, places = _losses(market)
    scale = np.ptp(market.user) or 1.0
    strict = loss > TIE * scale
    ranges = np.ptp(market.providers[:, :, market.prior > 0], axis=(1, 2))
    unit = np.where(ranges > 0, ranges, 1.0)
    lead = provider_loss / unit  # (mistakes, providers): what each mistake costs each provider, in ranges
    zeros, none = np.zeros(market.n_providers), np.zeros(market.user.shape)
    if not strict.any():
        return ArgmaxTest(market, True, zeros, float("inf"), none, zeros)
    weights, margin = _largest_lead(lead, strict)
    kept = np.flatnonzero(strict)
    share = None if margin > MARGIN else _basket(lead, strict, kept)
    if share is None:
        return ArgmaxTest(market, True, weights / unit, margin, none, zeros)
    kept = kept[share[kept] > MARGIN]
    for mistake in kept.copy():  # leave out what can be left out
        rest = kept[kept != mistake]
        if rest.size and (smaller := _basket(lead, strict, rest)) is not None:
            share, kept = smaller, rest[smaller[rest] > MARGIN]
    blocking = none.copy()
    blocking[places] = share
    return ArgmaxTest(market, False, zeros, 0.0, blocking, -share @ provider_loss)


def _losses(market):
    """What each mistake costs: Alice (mistakes,), the providers (mistakes, providers), and where it is made."""
    support = np.flatnonzero(market.prior > 0)
    right = _first_best(market)[support]
    actions, columns = np.nonzero(np.arange(market.n_actions)[:, None] != right)
    states = support[columns]
    loss = market.user[right[columns], states] - market.user[actions, states]
    provider_loss = market.providers[:, right[columns], states] - market.providers[:, actions, states]
    return loss, provider_loss.T, (actions, states)


def _largest_lead(lead, strict):
    """Weights (k,), sum at most one, with the largest least lead over the strict mistakes, none behind at ties."""
    k = lead.shape[1]
    rows = np.vstack([np.hstack([lead, -strict[:, None].astype(float)]), np.append(np.ones(k), 0.0)])
    lower = np.append(np.zeros(len(lead)), -highspy.kHighsInf)
    upper = np.append(np.full(len(lead), highspy.kHighsInf), 1.0)
    x = solve_linear_program(linear_program(np.append(np.zeros(k), -1.0), rows, lower, upper))
    weights = np.clip(x[:k], 0, None)
    return weights, float((lead @ weights)[strict].min())


def _basket(lead, strict, kept):
    """Shares (mistakes,) that no provider minds, of the strict mistakes `kept` and of ties; None if there are none."""
    columns = np.concatenate([kept, np.flatnonzero(~strict)])
    k = lead.shape[1]
    # The extra column is one plus what the provider loses who loses most (or gains least). It is the least possible,
    # so that the shares do not depend on the solver where many would do; one range is the most that is asked for.
    costly = np.append(strict[columns], False)
    rows = np.vstack([np.hstack([lead[columns].T, -np.ones((k, 1))]), costly])
    lower = np.append(np.full(k, -highspy.kHighsInf), 1.0)
    upper = np.append(np.full(k, -1.0), 1.0)
    x = solve_linear_program(linear_program(np.append(np.zeros(columns.size), 1.0), rows, lower, upper))
    if x[-1] > 1 + MARGIN:
        return None
    share = np.zeros(strict.size)
    share[columns] = np.where(x[:-1] > ZERO, x[:-1], 0.0)
    return share / share.sum()


# Tables without states ---------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class TableCertificate:
    """What a table of judgements guarantees in every slate market that can be made from it.

    loss : in every equilibrium of every such market Alice gets at least OPT - loss, without using obedience.
    weights : (providers,) the weighting that proves it.
    pairs : (pairs, 2) items (better, worse) for Alice, and pair_prior : (pairs,) probabilities. The market whose
        slates are these pairs, with this prior, is one in which nothing better can be proved without obedience:
        the hardest market in the table. Empty if loss is zero.
    alignment_error : eps of the table, cone weights and one offset; loss never exceeds 2 eps.
    user_range : the range of Alice's utility.
    """

    loss: float
    weights: np.ndarray
    pairs: np.ndarray
    pair_prior: np.ndarray
    alignment_error: float
    user_range: float

    @property
    def in_order(self) -> bool:
        """Whether the weighting ranks the items as Alice does, so that every slate market gives her OPT."""
        return self.loss <= ZERO * self.user_range

    def report(self, names=None, items=None) -> str:
        """The verdict in words. names, items : optional names of the providers and of the items (a sequence)."""
        names = names_tuple(names, "names", self.weights.size, "Bob ")
        last = int(self.pairs.max(initial=-1))
        if items is not None and len(items) <= last:
            raise InputError(f"items must name every item, at least {last + 1} of them; got {len(items)}.")
        simple = f"the simple bound allows 2 eps = {2 * self.alignment_error:.3f}"
        if self.in_order:
            first = f"Whatever slates are made of these items, every equilibrium gives Alice OPT; {simple}."
        else:
            first = (
                f"Whatever slates are made of these items, every equilibrium gives Alice at least OPT - "
                f"{self.loss:.3f}, on a utility range of {self.user_range:.3f}; {simple}."
            )
        heavy = [i for i in np.argsort(-self.weights, kind="stable")[:LINES] if self.weights[i] > ZERO]
        lines = [first]
        if heavy:
            lines.append(
                "Largest weights: " + ", ".join(f"{self.weights[i]:.3f} {names[i]}" for i in heavy) + "."
            )
        if len(self.pairs):
            named = (lambda j: f"item {j + 1}") if items is None else (lambda j: str(items[j]))
            lines.append("Hardest choices (Alice prefers the first):")
            order = np.argsort(-self.pair_prior, kind="stable")[:LINES]
            lines += [f"  {named(j)} / {named(worse)}" for j, worse in self.pairs[order]]
        return "\n".join(lines)

    def __str__(self):
        return self.report()


def certify_table(user, providers) -> TableCertificate:
    """The guarantee that holds in every slate market made from a table of judgements.

    A table of judgements is no game: nobody chooses and nothing is hidden. But it holds every slate market that can
    be dealt from it (`markets.slate_market`). With weights w the certificate of any of them loses at most
    max over pairs (j, j') with u(j) >= u(j') of [u(j) - u(j')] - sum_i w_i [U_i(j) - U_i(j')]. The smallest such
    number is a linear program with a constraint for each pair, solved by constraint generation. It is attained by
    a market with two options. For the sharper guarantee of one particular market use `certify(slate_market(...))`.

    Parameters
    ----------
    user : (items,) Alice's utilities, any unit. providers : (providers, items), each in its own unit.

    Returns
    -------
    TableCertificate. Print it for a verdict.

    Raises
    ------
    InputError if a shape does not fit or an entry is not finite.
    """
    user = finite_array(user, "user", 1, "(items,)")
    providers = finite_array(providers, "providers", 2, "(providers, items)")
    if providers.shape[1] != user.size:
        raise InputError(
            f"providers must have {user.size} columns, one for each item of user; got {providers.shape}."
        )
    k, width = len(providers), float(np.ptp(user))
    scale, ranges = width or 1.0, np.ptp(providers, axis=1)
    unit = np.where(ranges > 0, ranges, 1.0)
    own = (user - user.min()) / scale
    others = (providers - providers.min(axis=1, keepdims=True)) / unit[:, None]
    pairs = np.array([[user.argmax(), user.argmin()]])
    best, best_weights = np.inf, np.zeros(k)
    while True:
        rows, lower = _pair_rows(own, others, pairs)
        upper = np.full(lower.size, highspy.kHighsInf)
        solver = linear_program(np.append(np.zeros(k), 1.0), rows, lower, upper)
        x = solve_linear_program(solver)
        weights, bound = np.clip(x[:k], 0, None), x[-1]
        excess, worse = _hardest_pairs(own, weights @ others - own)
        if excess.max() < best:
            best, best_weights = float(excess.max()), weights
        fresh = np.argsort(-excess, kind="stable")[:PER_ROUND]
        added = np.column_stack([fresh, worse[fresh]])[excess[fresh] > bound + 2 * TIE]
        larger = np.unique(np.vstack([pairs, added]), axis=0)
        if len(larger) == len(pairs):
            break
        pairs = larger
    prices = np.clip(np.array(solver.getSolution().row_dual), 0, None)
    hard = prices > ZERO if best > ZERO else np.zeros(prices.size, dtype=bool)
    return TableCertificate(
        loss=max(best, 0.0) * width,
        weights=best_weights * scale / unit,
        pairs=pairs[hard],
        pair_prior=prices[hard] / (prices[hard].sum() or 1.0),
        alignment_error=float(align(user, providers, "cone", "constant").error),
        user_range=width,
    )


def _pair_rows(own, others, pairs):
    """Rows and right-hand sides of: loss + sum_i w_i (U_i(j) - U_i(j')) >= u(j) - u(j')."""
    better, worse = pairs.T
    rows = np.hstack([(others[:, better] - others[:, worse]).T, np.ones((len(pairs), 1))])
    return rows, own[better] - own[worse]


def _hardest_pairs(own, residual):
    """For each item the largest residual among items that Alice likes no better, less its own; and which it is."""
    order = np.lexsort((-residual, own))
    # Items she likes equally count for one another: look up to the last of them.
    running = np.maximum.accumulate(residual[order])
    holder = order[np.maximum.accumulate(np.where(residual[order] == running, np.arange(order.size), 0))]
    last = np.searchsorted(own[order], own, side="right") - 1
    return running[last] - residual, holder[last]


# Exact arithmetic --------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class ExactCertificate:
    """The same guarantee in fractions, proved without rounding. Arrays hold `fractions.Fraction`s.

    value : the exact optimum, attained by `outcome` (actions, states) and proved by `weights` (providers,),
        `offsets` (states,) and `obedience_prices` (actions, actions); every constraint was checked exactly.
    proved : what the floating-point certificate proves once its weights and prices are read as fractions and its
        offsets are recomputed exactly: at most `value`.
    opt, no_information : exactly.
    """

    value: Fraction
    outcome: np.ndarray
    weights: np.ndarray
    offsets: np.ndarray
    obedience_prices: np.ndarray
    proved: Fraction
    opt: Fraction
    no_information: Fraction


def verify_exact(certificate: Certificate, denominator: int = 10_000) -> ExactCertificate:
    """Confirm a certificate in exact arithmetic, for a small market whose numbers are fractions.

    Every number of the market is read as the nearest fraction with at most this denominator. Then the linear
    program is solved a second time, by the simplex method in fractions, starting from D*, and both solutions are
    checked against all constraints without any tolerance. Meant for a few states and actions.

    Parameters
    ----------
    certificate : from `certify` with its default benchmark.
    denominator : largest denominator of the market's numbers.

    Returns
    -------
    ExactCertificate.

    Raises
    ------
    InputError if the market's numbers are not such fractions (to 12 digits), the prior does not sum to one
        exactly, or the benchmark is another one.
    RuntimeError if any check fails.
    """
    if not isinstance(certificate, Certificate):
        raise InputError(
            f"certificate must be a Certificate; got {type(certificate).__name__}. Call certify first."
        )
    denominator = whole_number(denominator, "denominator", 1)
    market, obedience = certificate.market, certificate.obedience
    support = market.prior > 0
    prior = _fractions(market.prior[support], "prior", denominator)
    user = _fractions(market.user[:, support], "user", denominator)
    providers = _fractions(market.providers[:, :, support], "providers", denominator)
    slack = _fractions(certificate.slack, "slack", denominator)
    if prior.sum() != 1:
        raise InputError(f"prior must sum to one exactly; as fractions it sums to {prior.sum()}.")
    n_actions, n_states = user.shape
    right = [max(range(n_actions), key=lambda a: user[a, y]) for y in range(n_states)]  # the first maximiser
    star = np.full(user.shape, Fraction(0))
    star[right, range(n_states)] = prior
    if np.abs(star.astype(float) - certificate.benchmark[:, support]).max() > 1e-9:
        raise InputError("certificate must be for the default benchmark, full information.")

    floors = (providers * star).sum(axis=(1, 2)) - slack
    rows, lower = _constraints(prior, user, providers, floors, obedience)
    inequalities = len(rows) - n_states
    surplus = np.vstack([np.full((n_states, inequalities), Fraction(0)), -_identity(inequalities)])
    matrix = np.hstack([rows, surplus])
    cost = np.concatenate([user.ravel(), np.full(inequalities, Fraction(0))])
    start = [right[y] * n_states + y for y in range(n_states)] + list(range(user.size, matrix.shape[1]))
    solution, duals = exact_simplex(cost, matrix, lower, start)
    outcome = solution[: user.size].reshape(user.shape)
    k = len(providers)
    weights = duals[n_states : n_states + k]
    prices = np.full((n_actions, n_actions), Fraction(0))
    if obedience:
        prices[~np.eye(n_actions, dtype=bool)] = duals[n_states + k :]
    value, offsets = _exactly_proved(prior, user, providers, floors, weights, prices)
    checks = (
        (outcome >= 0).all(),
        (outcome.sum(axis=0) == prior).all(),
        (rows[n_states:] @ outcome.ravel() >= lower[n_states:]).all(),
        (weights >= 0).all() and (prices >= 0).all(),
        (outcome * user).sum() == value,  # the same number from both sides: nothing better, nothing worse
        abs(float(value) - certificate.value) <= GAP * (np.ptp(market.user) or 1.0),
    )
    read = _clipped_fractions(certificate.weights), _clipped_fractions(certificate.obedience_prices)
    proved = _exactly_proved(prior, user, providers, floors, *read)[0]
    if not all(checks) or proved > value:
        raise RuntimeError("the certificate was not confirmed in exact arithmetic.")
    full_offsets = np.full(market.n_states, Fraction(0))
    full_offsets[support] = offsets
    full_outcome = np.full(market.user.shape, Fraction(0))
    full_outcome[:, support] = outcome
    return ExactCertificate(
        value,
        full_outcome,
        weights,
        full_offsets,
        prices,
        proved,
        (star * user).sum(),
        max((user * prior).sum(axis=1)),
    )


def exact_simplex(cost, matrix, rhs, basis):
    """Minimise cost @ x over x >= 0 with matrix @ x = rhs, in fractions, by the simplex method with Bland's rule.

    Parameters
    ----------
    cost : (columns,), matrix : (rows, columns), rhs : (rows,) Fractions or whole numbers.
    basis : one column for each row, whose basic solution is feasible.

    Returns
    -------
    x : (columns,) an optimal solution; y : (rows,) an optimal dual one (y @ matrix <= cost, y @ rhs = cost @ x).

    Raises
    ------
    InputError if the basis is singular or not feasible, or the program is unbounded.
    """
    m, n = matrix.shape
    matrix, cost, rhs = (np.asarray(array) + Fraction(0) for array in (matrix, cost, rhs))
    basis = list(basis)
    # The inverse of the basis, built by elimination beside it; then the two are kept up to date together.
    table = np.hstack([matrix[:, basis], _identity(m)])
    for row in range(m):
        pivot = next((r for r in range(row, m) if table[r, row] != 0), None)
        if pivot is None:
            raise InputError("basis must hold columns that are linearly independent.")
        table[[row, pivot]] = table[[pivot, row]]
        _pivot(table, row, table[:, row].copy())
    inverse = table[:, m:]
    while True:
        values = inverse @ rhs
        if (values < 0).any():
            raise InputError("basis must have a feasible basic solution.")
        y = cost[basis] @ inverse
        entering = next((j for j in range(n) if j not in basis and cost[j] < y @ matrix[:, j]), None)
        if entering is None:
            break
        direction = inverse @ matrix[:, entering]
        rows = [r for r in range(m) if direction[r] > 0]
        if not rows:
            raise InputError("the program is unbounded.")
        leaving = min(rows, key=lambda r: (values[r] / direction[r], basis[r]))
        _pivot(inverse, leaving, direction)
        basis[leaving] = entering
    x = np.full(n, Fraction(0))
    x[basis] = values
    return x, y


def _pivot(table, row, column):
    """Row operations that turn `column` into a unit vector with its one in `row`."""
    table[row] = table[row] / column[row]
    for other in np.flatnonzero(column):
        if other != row:
            table[other] = table[other] - column[other] * table[row]


def _identity(size):
    return np.eye(size, dtype=int).astype(object) * Fraction(1)


def _fractions(array, name, denominator):
    exact = np.vectorize(lambda x: Fraction(float(x)).limit_denominator(denominator), otypes=[object])(array)
    if np.abs(exact.astype(float) - array).max() > 1e-12 * max(1.0, np.abs(array).max()):
        raise InputError(
            f"{name} must hold fractions with denominators up to {denominator}; round the market or raise denominator."
        )
    return exact


def _clipped_fractions(array):
    read = np.vectorize(
        lambda x: max(Fraction(float(x)).limit_denominator(10**6), Fraction(0)), otypes=[object]
    )
    return read(array)


def _exactly_proved(prior, user, providers, floors, weights, prices):
    """As `_proved`, in fractions (every state can occur)."""
    left = user - (weights[:, None, None] * providers).sum(axis=0)
    left = left - prices.sum(axis=1)[:, None] * user + prices @ user
    offsets = np.array([min(column) for column in left.T], dtype=object)
    return (weights * floors).sum() + (prior * offsets).sum(), offsets


def _constraints(prior, user, providers, floors, obedience):
    """Rows (constraints, actions * states) and lower bounds in fractions: states (equalities), floors, obedience."""
    n_actions, n_states = user.shape
    zeros = np.full(user.shape, Fraction(0))
    rows, lower = [], [*prior, *floors]
    for y in range(n_states):
        row = zeros.copy()
        row[:, y] = Fraction(1)
        rows.append(row.ravel())
    rows += [utility.ravel() for utility in providers]
    for a, b in _pairs(n_actions) if obedience else []:
        row = zeros.copy()
        row[a] = user[a] - user[b]
        rows.append(row.ravel())
        lower.append(Fraction(0))
    return np.array(rows), np.array(lower)


# The linear program ------------------------------------------------------------------------------------------


def _first_best(market):
    """(states,) Alice's best action in each state, the first if several are."""
    return first_maximiser(market.user.T, np.ptp(market.user))


def _full_information_law(market):
    law = np.zeros(market.user.shape)
    law[_first_best(market), np.arange(market.n_states)] = market.prior
    return law


def _checked_law(market, benchmark, obedience):
    law = finite_array(benchmark, "benchmark", 2, "(actions, states)")
    if law.shape != market.user.shape:
        raise InputError(f"benchmark must have shape {market.user.shape}; got {law.shape}.")
    if (law < -1e-9).any() or abs(law.sum(axis=0) - market.prior).max() > 1e-8:
        raise InputError("benchmark must be a law: non-negative, its columns summing to the market's prior.")
    worth = law @ market.user.T  # (taken, alternative)
    if obedience and (worth - np.diag(worth)[:, None]).max() > 1e-7 * (np.ptp(market.user) or 1.0):
        raise InputError(
            "benchmark must be obedient: in it Alice gains by taking another action. Use obedience=False, or the "
            "law of what a best-responding Alice does."
        )
    law = np.clip(law, 0, None)
    total = law.sum(axis=0)
    return law * np.where(total > 0, market.prior / np.where(total > 0, total, 1), 0)


def _checked_slack(market, slack):
    """(providers,) non-negative slack."""
    slack = finite_array(slack, "slack", 0 if isinstance(slack, Real) else 1, "(providers,)")
    if slack.shape not in ((), (market.n_providers,)) or (slack < 0).any():
        raise InputError(
            f"slack must be one non-negative number, or one for each of the {market.n_providers} providers; "
            f"got {slack.tolist()}."
        )
    return np.array(np.broadcast_to(slack, market.n_providers))


def _solve(market, providers, star, slack, obedience):
    """Weights (k,), obedience prices (actions, actions) and the worst law (actions, states), from HiGHS.

    The unknowns are the conditionals D(a | y) of the states that can occur, all utilities have range one and
    rows of obedience have largest entry one, so that the solver's tolerances mean the same in every market.
    """
    support = np.flatnonzero(market.prior > 0)
    prior, user = market.prior[support], market.user[:, support]
    n_actions, n_states, k = *user.shape, len(providers)
    offer, target = providers[:, :, support], star[:, support]
    user_unit = np.ptp(user) or 1.0
    ranges = np.ptp(offer, axis=(1, 2))
    unit = np.where(ranges > 0, ranges, 1.0)
    user = (user - user.min()) / user_unit
    offer = (offer - offer.min(axis=(1, 2), keepdims=True)) / unit[:, None, None]
    floors = (offer * target).sum(axis=(1, 2)) - slack / unit

    pairs = _pairs(n_actions) if obedience else []
    # Entries of the constraint matrix, one block for the states, one for the floors, one for obedience.
    column = np.arange(n_actions * n_states).reshape(n_actions, n_states)
    blocks = [(np.tile(np.arange(n_states), (n_actions, 1)), column, np.ones(user.shape))]
    blocks += [(np.full(user.shape, n_states + i), column, prior * offer[i]) for i in range(k)]
    size = np.ones(len(pairs))
    for j, (a, b) in enumerate(pairs):
        gain = prior * (user[a] - user[b])
        size[j] = np.abs(gain).max() or 1.0
        blocks.append((np.full(n_states, n_states + k + j), column[a], gain / size[j]))
    solver = _sparse_program(
        (prior * user).ravel(),
        blocks,
        np.concatenate([np.ones(n_states), floors, np.zeros(len(pairs))]),
        np.concatenate([np.ones(n_states), np.full(k + len(pairs), highspy.kHighsInf)]),
    )
    solution = solve_linear_program(solver)
    duals = np.clip(np.array(solver.getSolution().row_dual)[n_states:], 0, None)
    weights = duals[:k] * user_unit / unit
    prices = np.zeros((n_actions, n_actions))
    for (a, b), price in zip(pairs, duals[k:] / size):
        prices[a, b] = price
    law = np.zeros(market.user.shape)
    conditional = np.clip(solution.reshape(n_actions, n_states), 0, None)
    law[:, support] = conditional / conditional.sum(axis=0) * prior
    return weights, prices, law


def _pairs(n):
    """All ordered pairs of different actions."""
    return [(a, b) for a in range(n) for b in range(n) if a != b]


def _sparse_program(cost, blocks, lower, upper):
    """A HiGHS model: minimise cost @ x over x >= 0 with lower <= rows @ x <= upper, from (row, column, value)s."""
    row, column, value = (np.concatenate([np.ravel(block[i]) for block in blocks]) for i in range(3))
    place = np.flatnonzero(value)
    place = place[np.lexsort((column[place], row[place]))]
    solver = linear_program(cost, np.empty((0, cost.size)), [], [])
    starts = np.searchsorted(row[place], np.arange(lower.size)).astype(np.int32)
    solver.addRows(lower.size, lower, upper, place.size, starts, column[place].astype(np.int32), value[place])
    return solver


def _proved(market, providers, star, slack, weights, prices):
    """The value that weights and obedience prices prove, and their best offsets (states,)."""
    user = market.user
    left = user - np.tensordot(weights, providers, axes=1)
    left = left - prices.sum(axis=1)[:, None] * user + prices @ user
    offsets = left.min(axis=0)
    floors = (providers * star).sum(axis=(1, 2)) - slack
    return float(weights @ floors + market.prior @ offsets), offsets


# Words -------------------------------------------------------------------------------------------------------


def _mistakes(market, law, free=False):
    """The mistakes in a law (actions, states), the costliest first; with `free`, those that cost nothing too."""
    right = _first_best(market)
    found = []
    for a, y in np.argwhere(law > ZERO):
        loss = market.user[right[y], y] - market.user[a, y]
        if a != right[y] and (free or loss > ZERO * (np.ptp(market.user) or 1.0)):
            found.append(Mistake(int(y), int(a), int(right[y]), float(law[a, y]), float(law[a, y] * loss)))
    return tuple(sorted(found, key=lambda m: (-m.cost, m.state, m.taken)))


def _phrase(market, mistake):
    actions, states = market.actions, market.states
    return f"{states[mistake.state]}: {actions[mistake.taken]} in place of {actions[mistake.right]}"


def _verdict(certificate, names):
    c, zero = certificate, certificate._zero
    target = "OPT" if c.market.full_information_value - c.opt <= zero else "the benchmark"
    promised = c.value - c.no_information > zero
    nothing = f"no information: {c.no_information:.3f}"
    if c.opt - c.no_information <= zero:
        lines = [f"Information is worth nothing to Alice here: she gets {c.opt:.3f} whatever she is told."]
    elif c.opt - c.value <= zero:
        lines = [f"Every equilibrium gives Alice {target}, {c.opt:.3f} ({nothing})."]
    elif promised:
        share = f"{c.share:.0%} of the value of information ({nothing})"
        lines = [f"Every equilibrium gives Alice at least {c.value:.3f} of {c.opt:.3f}: {share}."]
    else:
        relation = "less than" if c.no_information - c.value > zero else "no more than"
        without = f"without information ({c.no_information:.3f}; {target} {c.opt:.3f})"
        lines = [f"Nothing is guaranteed: at least {c.value:.3f}, {relation} she has {without}."]
    simple = ": the same" if abs(c.bound - c.value) <= zero else ""
    simple = ": less than no information" if c.bound < c.no_information - zero else simple
    lines.append(f"{target} - 2 eps = {c.bound:.3f}{simple}.")
    if c.slack.any():
        lines.append("It allows every provider some slack (`slack`) below what telling all would give him.")
    left = c.without() if promised else np.full(len(names), c.value)
    carry = [i for i in np.argsort(left, kind="stable") if c.value - left[i] > zero]
    if carry:
        parts = ", ".join(f"{left[i]:.3f} without {names[i]}" for i in carry[:LINES])
        more = f" ({len(carry) - LINES} more matter)" if len(carry) > LINES else ""
        lines.append(f"The guarantee rests on {_listed([names[i] for i in carry])}: {parts}{more}.")
    elif promised:
        lines.append("No provider is indispensable: the guarantee stands without any single one of them.")
    mistakes = c.mistakes
    if mistakes and c.opt - c.value > zero:
        lines.append("The worst outcome that no provider would leave by telling all:")
        for m in mistakes[:LINES]:
            often = m.probability / c.market.prior[m.state]
            lines.append(f"  {_phrase(c.market, m)} in {often:.0%} of cases, cost {m.cost:.3f}")
        if len(mistakes) > LINES:
            rest = sum(m.cost for m in mistakes[LINES:])
            lines.append(f"  and {len(mistakes) - LINES} smaller ones, cost {rest:.3f}")
    if c.tied_states:
        states = _listed([c.market.states[y] for y in c.tied_states])
        lines.append(
            f"Several actions are best in {states}: this holds if Alice then takes the first of them."
        )
    return lines


def _listed(names):
    names = list(names) if len(names) <= LINES else [*names[:LINES], f"{len(names) - LINES} others"]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
