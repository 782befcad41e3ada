"""Weighted alignment: how far Alice's utility is from the hull of her providers' utilities.

Items are the entries of a utility: (items,) or (actions, states) for Alice, with a leading axis of providers
for the market. A market's alignment error is the smallest eps for which weights w >= 0 and an offset c give
|sum_i w_i U_i + c - u_A| <= eps at every item ("sup"), or the smallest mean squared residual ("mse").
"""

from __future__ import annotations

from dataclasses import dataclass, field

import highspy
import numpy as np
from scipy.optimize import lsq_linear, nnls

from ._validation import InputError, finite_array, one_of, whole_number
from .persuasion import linear_program, solve_linear_program

WEIGHTS = ("simplex", "cone")
OFFSETS = ("constant", "state", "none")
NORMS = ("sup", "mse")
GAP = 1e-9  # constraint generation stops when upper and lower bound on eps are this close, as a share of the scale
# Penalty on squared weights, as a share of the squared size of utilities. It matters only where providers cancel each
# other to a millionth or less; the cone may then end above the error of the simplex.
RIDGE = 1e-12
SLOPE = (
    1e-8  # largest violation of the optimality conditions of a least-squares fit, in units of the utilities
)
PER_ROUND = 60  # items added on each side in a round of constraint generation
BLOCK = 1 << 19  # numbers centred at a time when moments are accumulated


@dataclass(frozen=True, eq=False)
class SeparatingMeasure:
    """The dual certificate of a sup-norm alignment: the direction in which the whole market errs.

    measure : a signed measure s on the items, shaped like Alice's utility, of total mass sum |s| at most 1
    and balanced against the offset (it sums to zero; with state offsets, in every state). For every choice
    of weights and offset, eps >= <s, u_A - sum_i w_i U_i>, so <s, u_A> - max_i <s, U_i> (simplex), or
    <s, u_A> when no <s, U_i> is positive (cone), bounds eps from below.
    """

    measure: np.ndarray
    weights: str
    offset: str

    def lower_bound(self, user, providers, tolerance: float = 1e-7) -> float:
        """The bound on eps that this measure proves, recomputed from the utilities without any solver.

        Parameters
        ----------
        user : (items,) or (actions, states). providers : the same with a leading axis of providers.
        tolerance : rounding allowed in mass, balance and sign, relative to the utilities' size.

        Raises
        ------
        InputError if the measure is not a certificate for these utilities: wrong shape, mass above one,
        not balanced, or (cone) a provider with <s, U_i> > 0.
        """
        user, providers = _utilities(user, providers, self.offset)
        s = self.measure
        if s.shape != user.shape:
            raise InputError(f"user must have the shape of the measure, {s.shape}; got {user.shape}.")
        if self.offset != "none":  # a balanced measure does not see offsets; without them no digits are lost
            axes = -2 if self.offset == "state" else tuple(range(-s.ndim, 0))
            user = user - user.mean(axis=axes, keepdims=True)
            providers = providers - providers.mean(axis=axes, keepdims=True)
        mass = np.abs(s).sum()
        total = {"none": 0.0, "constant": s.sum(), "state": s.sum(axis=0) if s.ndim == 2 else 0.0}[
            self.offset
        ]
        if not (mass <= 1 + tolerance and np.abs(total).max() <= tolerance):
            raise InputError("the measure is not a certificate: its mass exceeds one or it is not balanced.")
        against = np.tensordot(providers, s, axes=s.ndim)  # (providers,)
        size = np.abs(providers).max(axis=tuple(range(1, providers.ndim)))
        own = float((s * user).sum())
        if self.weights == "simplex":
            return own - float(against.max())
        if (against > tolerance * size).any():
            raise InputError(
                "the measure is not a certificate: it does not separate Alice from every provider."
            )
        return own


@dataclass(frozen=True, eq=False)
class Alignment:
    """The best weighting of the providers and how well it imitates Alice.

    weights : (providers,) non-negative; their sum W is 1 for the simplex.
    offset : a number, or (states,) with state offsets.
    error : the largest absolute residual ("sup") or the mean squared residual ("mse").
    norm : which of the two.
    certificate : for "sup", a SeparatingMeasure that proves that no weighting does better; else None.
    """

    weights: np.ndarray
    offset: float | np.ndarray
    error: float
    norm: str
    certificate: SeparatingMeasure | None = field(default=None, repr=False)

    @property
    def total_weight(self) -> float:
        """W, the sum of the weights."""
        return float(self.weights.sum())

    def predict(self, providers) -> np.ndarray:
        """sum_i w_i U_i + c at every item of `providers`; InputError if the shapes do not fit the weights."""
        items = "items" if np.ndim(self.offset) == 0 and _depth(providers) != 3 else "actions, states"
        providers = finite_array(
            providers, "providers", 2 + ("," in items), f"(providers, {items})", copy=False
        )
        if providers.shape[0] != self.weights.size:
            raise InputError(
                f"providers must have {self.weights.size} rows, one for each weight; got {providers.shape}."
            )
        if np.ndim(self.offset) and providers.shape[-1] != self.offset.size:
            raise InputError(
                f"providers must have {self.offset.size} states, one for each offset; got {providers.shape}."
            )
        return np.tensordot(self.weights, providers, axes=1) + self.offset


def align(
    user, providers, weights: str = "simplex", offset: str = "constant", norm: str = "sup"
) -> Alignment:
    """Weights w >= 0 and offset c that bring sum_i w_i U_i + c closest to Alice's utility.

    Parameters
    ----------
    user : (items,) or (actions, states), any unit.
    providers : (providers, items) or (providers, actions, states), each in its own unit.
    weights : "simplex" (they sum to one: the convex hull) or "cone" (any w >= 0).
    offset : "constant" (one number c), "state" (a function c(y); needs (actions, states)) or "none".
    norm : "sup" minimises the largest absolute residual, a linear program solved by constraint generation
        in HiGHS; "mse" minimises the mean squared residual, a quadratic program in the Gram matrix.

    Returns
    -------
    Alignment. Leave out states of probability zero before the call: they do not count.

    Raises
    ------
    InputError for shapes that do not fit, entries that are not finite, no provider or item, an unknown
    option, or state offsets without a state axis.
    """
    one_of(weights, "weights", WEIGHTS)
    one_of(offset, "offset", OFFSETS)
    if one_of(norm, "norm", NORMS) == "mse":
        return second_moments(user, providers, offset).align(weights=weights)
    user, providers = _utilities(user, providers, offset)
    return _align_sup(user, providers, weights, offset)


def second_moments(user, providers, offset: str = "constant") -> Moments:
    """Means and Gram matrix of the residuals, from one pass over the items.

    Parameters as for `align`. Any number of least-squares fits, also on subsets of the providers, then cost
    time in the number of providers alone. Raises InputError as `align` does.
    """
    one_of(offset, "offset", OFFSETS)
    user, providers = _utilities(user, providers, offset)
    k, n = providers.shape[0], user.size
    gram = np.zeros((k + 1, k + 1))
    if offset == "state":
        means, user_mean = providers.mean(axis=1), user.mean(axis=0)
        for state in range(0, user.shape[1], step := max(1, BLOCK // user.shape[0] // (k + 1))):
            part = np.concatenate(
                [providers[:, :, state : state + step], user[None, :, state : state + step]]
            )
            part = (part - part.mean(axis=1, keepdims=True)).reshape(k + 1, -1)
            gram += part @ part.T
        return Moments(_without_rounding(gram / n, means, user_mean), means, user_mean, offset)
    flat, own = providers.reshape(k, n), user.reshape(n)
    step = max(1, BLOCK // (k + 1))
    start = np.append(flat[:, :step].mean(axis=1), own[:step].mean())  # near the mean: no digits cancel below
    shift = start * (offset == "constant")
    total = np.zeros(k + 1)
    block = np.empty((k + 1, min(step, n)))
    for item in range(0, n, step):
        part = block[:, : min(step, n - item)]
        np.subtract(flat[:, item : item + step], shift[:k, None], out=part[:k])
        np.subtract(own[item : item + step], shift[k], out=part[k])
        gram += part @ part.T
        total += part.sum(axis=1)
    gram /= n
    if offset == "constant":
        gram -= np.outer(total / n, total / n)
        shift = shift + total / n
    means, user_mean = shift[:k, None], shift[k:]
    return Moments(_without_rounding(gram, means, user_mean), means, user_mean, offset)


@dataclass(frozen=True, eq=False)
class Moments:
    """Second moments of a table of utilities: all that least-squares alignment needs to know.

    gram : (providers + 1, providers + 1) mean products of the centred utilities, Alice last.
    means : (providers, 1 or states) and user_mean (1 or states,) what was subtracted. offset : its kind.
    """

    gram: np.ndarray
    means: np.ndarray
    user_mean: np.ndarray
    offset: str

    def align(self, subset=None, weights: str = "simplex") -> Alignment:
        """Least-squares alignment with the providers in `subset` (indices; all if omitted).

        Returns an Alignment whose weights (len(subset),) are in the order of `subset`. The simplex problem
        is reduced to non-negative least squares (Lawson and Hanson 1974) as a nearest-point problem.
        Raises InputError for an unknown option or an index that does not exist.
        """
        one_of(weights, "weights", WEIGHTS)
        k = self.means.shape[0]
        chosen = np.arange(k) if subset is None else _subset(subset, k)
        index = np.append(chosen, k)
        gram = self.gram[np.ix_(index, index)]
        if weights == "cone":
            w = _nonnegative(gram)
        else:
            w = _nearest_in_hull(gram)
        residual = np.append(w, -1.0)
        error = max(float(residual @ gram @ residual), 0.0)
        offset = 0.0
        if self.offset != "none":
            offset = self.user_mean - w @ self.means[chosen]
            offset = float(offset[0]) if self.offset == "constant" else offset
        return Alignment(w, offset, error, "mse")


def _without_rounding(gram, means, user_mean):
    """The same Gram matrix with variance zero where a utility is constant up to rounding."""
    level = np.append(np.abs(means).max(axis=1), np.abs(user_mean).max())
    constant = np.diag(gram) <= (1e-14 * level) ** 2
    gram[constant], gram[:, constant] = 0.0, 0.0
    return gram


def _nonnegative(gram):
    """argmin over w >= 0 of |sum w_i v_i - v_k|^2 from the Gram matrix of v_0 .. v_k."""
    size = np.sqrt(np.diag(gram))
    unit = np.where(size > 0, size, 1.0)
    factor = _root(gram / np.outer(unit, unit)) * (size > 0)
    # Where providers cancel each other the weights could grow without bound; the ridge keeps the smallest ones.
    ridge = np.sqrt(RIDGE) * np.eye(len(gram) - 1)
    target = np.append(factor[:, -1], np.zeros(len(gram) - 1))
    matrix = np.vstack([factor[:, :-1], ridge])
    w, _ = nnls(matrix, target, maxiter=50 * len(gram))
    slope = matrix.T @ (matrix @ w - target)
    if slope.min() < -SLOPE or abs(slope[w > 0]).max(initial=0) > SLOPE:
        # Nearly dependent providers can mislead the active-set method; a bounded solver then ends at the optimum.
        w = lsq_linear(
            matrix, target, bounds=(0, np.inf), method="bvls", tol=1e-14, max_iter=50 * len(gram)
        ).x
    return w * unit[-1] / unit[:-1]


def _nearest_in_hull(gram):
    """argmin over the simplex of |sum w_i (v_i - v_k)|^2 from the Gram matrix of v_0 .. v_k.

    The nearest point of a hull to the origin is the normalised solution of min |V x|^2 + (sum x - 1)^2 over
    x >= 0: both have the same optimality conditions up to scale.
    """
    k = len(gram) - 1
    away = np.hstack([np.eye(k), -np.ones((k, 1))])
    differences = away @ gram @ away.T
    scale = differences.diagonal().max()
    factor = _root(differences / scale) if scale > 0 else np.zeros((k, k))
    x, _ = nnls(np.vstack([factor, np.ones(k)]), np.append(np.zeros(len(factor)), 1.0), maxiter=50 * (k + 1))
    return x / x.sum()


def _root(gram):
    """A square root R of a positive semidefinite matrix, R.T @ R = gram."""
    values, vectors = np.linalg.eigh(gram)
    return np.sqrt(np.clip(values, 0, None))[:, None] * vectors.T


def _align_sup(user, providers, weights, offset):
    """Constraint generation: solve with a few items, add those that err most, until none errs more."""
    k, shape = providers.shape[0], user.shape
    if offset == "state":  # a free offset in every state leaves only the differences between actions
        first, second = np.triu_indices(shape[0], 1)
        w, error, prices = _smallest_error(
            (user[first] - user[second]).ravel(),
            (providers[:, first] - providers[:, second]).reshape(k, -1),
            weights,
            free_offset=False,
        )
        measure = np.zeros(shape)
        np.add.at(measure, first, prices.reshape(first.size, shape[1]) / 2)
        np.add.at(measure, second, -prices.reshape(first.size, shape[1]) / 2)
        error = error / 2
    else:
        w, error, prices = _smallest_error(
            user.ravel(), providers.reshape(k, -1), weights, free_offset=offset == "constant"
        )
        measure = prices.reshape(shape)
    centre = 0.0
    if offset != "none":
        residual = user - np.tensordot(w, providers, axes=1)
        axis = 0 if offset == "state" else None
        centre = (residual.max(axis=axis) + residual.min(axis=axis)) / 2
        centre = float(centre) if offset == "constant" else centre
    return Alignment(w, centre, error, "sup", SeparatingMeasure(measure, weights, offset))


def _smallest_error(user, providers, weights, free_offset):
    """Weights (k,), smallest sup-norm error and dual measure (n,) for user (n,) and providers (k, n)."""
    k, n = providers.shape
    if n == 0:  # one action and a free offset in every state: nothing to imitate
        return np.eye(k)[0], 0.0, np.zeros(0)
    # Shifts and, in the cone, positive scales of the providers change nothing but the conditioning.
    low, high = providers.min(axis=1), providers.max(axis=1)
    shift = (low + high) / 2 if free_offset else np.zeros(k)
    unit = np.maximum(high - shift, shift - low)
    middle = (user.min() + user.max()) / 2 if free_offset else 0.0
    own = float(np.abs(user - middle).max())
    if weights == "simplex":
        own = max(own, float(unit.max()))
        unit = np.full(k, own)
    own, unit = own or 1.0, np.where(unit > 0, unit, 1.0)

    # Columns: k scaled weights, the offset as the difference of two non-negative numbers, eps.
    def rows(items, sign):
        signed = sign * (providers[:, items] - shift[:, None]).T / unit
        free = np.full((items.size, 1), float(sign)) if free_offset else np.zeros((items.size, 1))
        return np.hstack([-signed, -free, free, np.ones((items.size, 1))]), -sign * (
            user[items] - middle
        ) / own

    items = np.unique(
        np.concatenate(
            [np.linspace(0, n - 1, min(n, 2 * k + 50)).astype(int), [user.argmin(), user.argmax()]]
        )
    )
    inside = {+1: np.zeros(n, dtype=bool), -1: np.zeros(n, dtype=bool)}
    order = []  # (item, sign) of each row of the program
    hull_row = np.concatenate([np.ones(k), np.zeros(3)])[None][: int(weights == "simplex")].reshape(-1, k + 3)
    blocks = [rows(items, sign) for sign in (+1, -1)]
    for sign in (+1, -1):
        inside[sign][items] = True
        order += [(items, np.full(items.size, sign))]
    lower = np.concatenate([np.ones(len(hull_row)), blocks[0][1], blocks[1][1]])
    upper = np.concatenate([np.ones(len(hull_row)), np.full(2 * items.size, highspy.kHighsInf)])
    cost = np.append(np.zeros(k + 2), 1.0)
    solver = linear_program(cost, np.vstack([hull_row, blocks[0][0], blocks[1][0]]), lower, upper)

    best, best_w = np.inf, None
    while True:
        solution = solve_linear_program(solver)
        scaled = np.clip(solution[:k], 0, None)
        if weights == "simplex":
            scaled = scaled / scaled.sum()
        w = scaled * own / unit
        residual = w @ providers - user
        top, bottom = residual.max(), residual.min()
        error = (top - bottom) / 2 if free_offset else max(top, -bottom)
        if error < best:
            best, best_w = float(error), w
        bound = solution[-1] * own
        if best - bound <= GAP * own:
            break
        centre = (solution[k] - solution[k + 1]) * own - w @ shift + middle if free_offset else 0.0
        added = 0
        for sign in (+1, -1):
            excess = np.where(inside[sign], -np.inf, sign * (residual + centre))
            worst = np.argpartition(-excess, min(n, PER_ROUND) - 1)[:PER_ROUND]
            worst = worst[excess[worst] > bound + GAP * own / 2]
            matrix, low_end = rows(worst, sign)
            _add_rows(solver, matrix, low_end)
            inside[sign][worst] = True
            order += [(worst, np.full(worst.size, sign))]
            added += worst.size
        if added == 0:
            break
    prices = np.clip(np.array(solver.getSolution().row_dual)[len(hull_row) :], 0, None)
    measure = np.zeros(n)
    np.add.at(measure, np.concatenate([i for i, _ in order]), -prices * np.concatenate([s for _, s in order]))
    return best_w, best, measure


def _add_rows(solver, matrix, lower):
    rows, columns = matrix.shape
    solver.addRows(
        rows,
        lower,
        np.full(rows, highspy.kHighsInf),
        matrix.size,
        np.arange(0, matrix.size, columns, dtype=np.int32),
        np.tile(np.arange(columns, dtype=np.int32), rows),
        matrix.ravel(),
    )


def _utilities(user, providers, offset):
    ndim = 2 if _depth(user) == 2 else 1
    axes = ("(items,)", "(actions, states)")[ndim - 1]
    user = finite_array(user, "user", ndim, axes, copy=False)
    providers = finite_array(
        providers, "providers", ndim + 1, "(providers, " + axes.strip("(),") + ")", copy=False
    )
    if providers.shape[1:] != user.shape:
        raise InputError(
            f"providers must have shape (providers, *{user.shape}) to match user; got {providers.shape}."
        )
    if offset == "state" and ndim == 1:
        raise InputError(
            "offset 'state' needs utilities (actions, states); user has items only. Use 'constant'."
        )
    return user, providers


def _depth(value):
    """Number of axes, or 0 for what is no array at all; `finite_array` then says so."""
    try:
        return np.ndim(value)
    except ValueError:
        return 0


def _subset(subset, k):
    try:
        chosen = [whole_number(i, "subset", 0, k - 1) for i in subset]
    except TypeError:
        raise InputError(f"subset must be a sequence of provider indices; got {subset!r}.") from None
    if not chosen:
        raise InputError("subset must name at least one provider; it is empty.")
    return np.array(chosen)
