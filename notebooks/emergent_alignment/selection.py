"""The best-AI selection game: Alice evaluates every provider, then talks to the best one alone.

Bob i commits to a scheme worth V_i to Alice and she picks the largest V_i. A best response is a linear
program, so best-response dynamics is an auction in Alice's currency: to win, a provider must offer her the
best rival's value plus a bid step. Ties between her actions are broken in the speaker's favour.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import highspy
import numpy as np

from ._validation import InputError, one_of, real_number, whole_number
from .markets import Market
from .persuasion import (
    TIE,
    ProviderProgram,
    Scheme,
    check_market,
    first_maximiser,
    linear_program,
    obedience_gap,
    solve_linear_program,
)

STARTS = ("monopoly", "silent")
GAIN = 1e-6  # a provider moves only if he gains more than this share of his utility range


@dataclass(frozen=True)
class SelectionStep:
    """One move: who moved (None at the start), who wins after it, Alice's value, every offer V_i to her."""

    mover: int | None
    winner: int
    user_value: float
    offers: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class SelectionPath:
    """Where best-response dynamics led.

    converged : verified: no provider gains by outbidding the best rival by a bid step (or by what is left up to
        the full-information value, if that is less), or by withdrawing; so without bid steps none gains more
        than the bid step is worth to him.
    cycled : the path came back to an earlier profile and would repeat for ever.
    user_value : Alice's value at the last profile. winner : index of the provider she talks to.
    schemes : the standing scheme of every provider. offers : (providers,) their values V_i to Alice.
    provider_values : (providers,) what each provider gets under the winner's scheme, in his own unit.
    gains : (providers,) what each could still gain by one move, in his own unit.
    bid_step : the bid step. history : the start and then one SelectionStep for every move.
    """

    converged: bool
    cycled: bool
    user_value: float
    winner: int
    schemes: tuple[Scheme, ...]
    offers: np.ndarray
    provider_values: np.ndarray
    gains: np.ndarray
    bid_step: float
    history: tuple[SelectionStep, ...] = field(repr=False)

    @property
    def steps(self) -> int:
        """Number of moves made."""
        return len(self.history) - 1


def best_response_dynamics(
    market: Market, bid_step: float = 1e-3, max_steps: int = 10_000, seed: int = 0, start: str = "monopoly"
) -> SelectionPath:
    """Let providers best-respond in turn until nobody gains, a cycle closes, or `max_steps` moves are made.

    Providers move in an order drawn once from `seed`. The mover compares what he has with (i) winning with the
    best scheme that offers Alice at least the best rival's value plus `bid_step` (the full-information value if
    that is less), and (ii) falling silent and letting the best rival win. At equal offers the winner so far
    keeps Alice. By Theorem 3 a converged path is worth at least OPT - max(2 eps, bid_step) to her.

    Parameters
    ----------
    market : the Market. bid_step : smallest raise, in Alice's units, positive.
    max_steps : most moves to make. seed : of the order of moves.
    start : "monopoly" (everyone begins with what he would do alone) or "silent".

    Returns
    -------
    SelectionPath; read `converged` before `user_value`.

    Raises
    ------
    InputError if market is not a Market, bid_step or max_steps is not positive, or start is unknown.
    """
    check_market(market)
    bid_step = _bid_step(bid_step)
    max_steps = whole_number(max_steps, "max_steps", 1)
    seed = whole_number(seed, "seed", 0)
    one_of(start, "start", STARTS)
    game = _Game(market, bid_step)
    order = np.random.default_rng(seed).permutation(market.n_providers)
    schemes = [
        game.silence[i] if start == "silent" else game.reply(i, None) for i in range(market.n_providers)
    ]
    winner = int(np.argmax([s.user_value for s in schemes]))
    history = [game.record(None, winner, schemes)]
    visited, unmoved, turn, cycled = set(), 0, 0, False
    while unmoved < len(order) and len(history) <= max_steps and not cycled:
        mover = int(order[turn])
        gain, scheme, next_winner = game.best_move(mover, schemes, winner)
        if gain > game.tolerance[mover]:
            schemes[mover], winner, unmoved = scheme, next_winner, 0
            history.append(game.record(mover, winner, schemes))
            profile = (turn, winner, tuple(map(id, schemes)))
            cycled = profile in visited
            visited.add(profile)
        else:
            unmoved += 1
        turn = (turn + 1) % len(order)
    gains = game.gains(schemes, winner)
    return SelectionPath(
        converged=bool((gains <= game.tolerance).all()),
        cycled=cycled,
        user_value=schemes[winner].user_value,
        winner=winner,
        schemes=tuple(schemes),
        offers=np.array([s.user_value for s in schemes]),
        provider_values=game.values(schemes[winner]),
        gains=gains,
        bid_step=bid_step,
        history=tuple(history),
    )


def deviation_gains(market: Market, schemes, winner: int, bid_step: float = 1e-3) -> np.ndarray:
    """What each provider could gain by one move from a profile of schemes: zero everywhere at an equilibrium.

    Parameters
    ----------
    market : the Market. schemes : one obedient Scheme for each provider.
    winner : index of the provider Alice talks to; his offer must be the largest.
    bid_step : by how much a deviation has to beat the best rival, in Alice's units.

    Returns
    -------
    (providers,) gains, each in the provider's own unit, never negative.

    Raises
    ------
    InputError for a wrong number of schemes, one that is not obedient, or a winner whose offer is not largest.
    """
    check_market(market)
    winner = whole_number(winner, "winner", 0, market.n_providers - 1)
    schemes = list(schemes) if isinstance(schemes, (list, tuple)) else []
    if len(schemes) != market.n_providers or not all(isinstance(s, Scheme) for s in schemes):
        raise InputError(f"schemes must hold one Scheme for each of the {market.n_providers} providers.")
    scale = np.ptp(market.user) or 1.0
    for i, scheme in enumerate(schemes):
        if obedience_gap(market, scheme) > 1e-6 * scale:
            raise InputError(f"schemes must be obedient; in scheme {i} Alice gains by disobeying.")
    game = _Game(market, _bid_step(bid_step))
    schemes = [game.scheme(i, s.conditional) for i, s in enumerate(schemes)]
    if max(s.user_value for s in schemes) > schemes[winner].user_value + TIE * scale:
        raise InputError(f"winner must make the largest offer; provider {winner} does not.")
    return game.gains(schemes, winner)


class _Game:
    """Best moves in one market; every linear program is kept and every answer remembered."""

    def __init__(self, market, bid_step):
        self.market, self.bid_step = market, bid_step
        self.programs = [ProviderProgram(market, i) for i in range(market.n_providers)]
        # Where a utility is nearly constant, differences are rounding and no reason to move.
        self.tolerance = np.array([_least_gain(utility) for utility in market.providers])
        self.shortest = _least_gain(market.user)
        self.answers = {}
        silent = np.zeros(market.user.shape)
        silent[first_maximiser((market.user @ market.prior)[None], np.ptp(market.user))[0]] = 1
        self.silence = [self.scheme(i, silent) for i in range(market.n_providers)]

    def scheme(self, provider, conditional):
        """A direct scheme with its values to the provider and to Alice."""
        law = conditional * self.market.prior
        return Scheme(
            conditional,
            float((law * self.market.providers[provider]).sum()),
            float((law * self.market.user).sum()),
        )

    def reply(self, provider, floor):
        """The provider's best scheme worth at least `floor` to Alice; None if no scheme is."""
        best = self.market.full_information_value
        if floor is not None and floor > best + TIE * (np.ptp(self.market.user) or 1.0):
            return None
        key = (provider, None if floor is None else round(floor, 12))
        if key not in self.answers:
            self.answers[key] = self.programs[provider].solve(floor)
        return self.answers[key]

    def values(self, scheme):
        """(providers,) expected utilities of all providers under one scheme."""
        return np.tensordot(self.market.providers, scheme.conditional * self.market.prior, axes=2)

    def best_move(self, mover, schemes, winner):
        """Gain of the best move, the scheme that makes it, and the winner after it."""
        rivals = [j for j in range(len(schemes)) if j != mover]
        now = self.values(schemes[winner])[mover]
        if not rivals:
            scheme = self.reply(mover, None)
            return scheme.provider_value - now, scheme, mover
        best_rival = winner if winner != mover else max(rivals, key=lambda j: (schemes[j].user_value, -j))
        moves = [(self.values(schemes[best_rival])[mover] - now, self.silence[mover], best_rival)]
        standing = schemes[best_rival].user_value
        floor, best = standing + self.bid_step, self.market.full_information_value
        if floor > best and best - standing > self.shortest:
            floor = best  # the last raise may be a short one: nobody can be offered more than everything
        offer = self.reply(mover, floor)
        if offer is not None:
            moves.append((offer.provider_value - now, offer, mover))
        return max(moves, key=lambda move: move[0])

    def gains(self, schemes, winner):
        moves = [self.best_move(i, schemes, winner)[0] for i in range(len(schemes))]
        return np.maximum(moves, 0.0)

    def record(self, mover, winner, schemes):
        offers = tuple(s.user_value for s in schemes)
        return SelectionStep(mover, winner, offers[winner], offers)


def _least_gain(utility):
    return GAIN * np.ptp(utility) + 1e-12 * np.abs(utility).max()


def _bid_step(value):
    value = real_number(value, "bid_step")
    if value <= 0:
        raise InputError(f"bid_step must be positive; got {value}. Without one only a supremum exists.")
    return value


def objection_margin(market: Market) -> float:
    """By how much, for every action, some mixture of the providers prefers the truth wherever that action is wrong.

    The largest m such that for every action a there are weights w >= 0 that sum to one with
    sum_i w_i (U_i(a*(y), y) - U_i(a, y)) >= m in every state y in which a is worse for Alice than her best action
    a*(y). The weights may differ between actions; utilities are in ranges of each provider's own. If m > 0, every
    equilibrium of the selection game gives Alice OPT (this course's own, proved in chapter 11). inf if she cannot be wrong. InputError if
    `market` is not a Market.
    """
    check_market(market)
    states = np.flatnonzero(market.prior > 0)
    user, providers = market.user[:, states], market.providers[:, :, states]
    span = np.ptp(providers, axis=(1, 2))
    best = user.argmax(axis=0)
    here = np.arange(states.size)
    # (providers, actions, states): what each would gain from the truth
    gain = (providers[:, best, here][:, None, :] - providers) / np.where(span > 0, span, 1)[:, None, None]
    wrong = user.max(axis=0) - user > TIE * (np.ptp(user) or 1.0)
    if not wrong.any():
        return float("inf")
    # Columns: weights (actions x providers), and m as the difference of two non-negative numbers.
    k, n_actions = market.n_providers, market.n_actions
    action, state = np.nonzero(wrong)
    rows = np.zeros((action.size + n_actions, n_actions * k + 2))
    for row, (a, y) in enumerate(zip(action, state)):
        rows[row, a * k : (a + 1) * k] = gain[:, a, y]
    rows[: action.size, -2:] = -1, 1
    for a in range(n_actions):
        rows[action.size + a, a * k : (a + 1) * k] = 1
    lower = np.concatenate([np.zeros(action.size), np.ones(n_actions)])
    upper = np.concatenate([np.full(action.size, highspy.kHighsInf), np.ones(n_actions)])
    solution = solve_linear_program(linear_program([0] * (n_actions * k) + [-1, 1], rows, lower, upper))
    return float(solution[-2] - solution[-1])
