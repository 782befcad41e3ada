"""Providers that learn: repeated play of a finite game of rules, with regrets measured.

On every day each Bob draws one of his rules from a distribution of his choice, Alice sees the rules and
best-responds, and everybody learns from what happened. The game is any with `payoffs` and `user_values`: a
`SignallingGame` (hearing all, or the best one alone), a `Conversation.game()`, a `QuantalGame`; or one game for
each day, where utilities drift.

Sources: multiplicative weights, Freund and Schapire (1997); its bound with decreasing steps, Cesa-Bianchi and
Lugosi (2006); bandits, Auer, Cesa-Bianchi, Freund and Schapire (2002); implicit exploration, Neu (2015).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

import numpy as np

from ._validation import InputError, finite_array, probability_vector, real_number, whole_number

MAX_NUMBERS = 20_000_000  # kept for one play: days times rules of all Bobs
BLOCK = 1 << 20  # numbers held at a time
CONSTANT = 1e-12  # payoffs whose range is a smaller share of their size are taken for constant


@dataclass(frozen=True)
class Hedge:
    """Multiplicative weights with full information.

    Plays rule r with probability proportional to exp(step * G(r)), where G(r) is what r would have earned so far.
    He must see, day by day, what each of his rules would have earned.

    step : fixed and positive, for payoffs in [0, 1]; if omitted, 2 sqrt(log n / t) on day t with n rules, which
        needs no horizon. `hedge_step` gives the best fixed step for a known horizon. InputError unless positive.
    """

    step: float | None = None
    sees = "all"

    def __post_init__(self):
        _check_step(self.step)

    def start(self, rules: int):
        """The state of a learner with `rules` rules, before the first day."""
        return _Exponential(rules, self)

    def steps(self, rules: int, days):
        """The step on each of `days`, a number or an array."""
        return 2 * np.sqrt(np.log(rules) / days) if self.step is None else self.step + 0.0 * days


@dataclass(frozen=True)
class Exp3:
    """A bandit: he sees what the rule he played has earned, and nothing else (EXP3 with implicit exploration).

    The loss 1 - payoff of the rule played is divided by its probability plus step / 2, the other losses are
    estimated as zero, and rules are drawn with probabilities proportional to exp(-step * estimated total loss).

    step : fixed and positive, for payoffs in [0, 1]; if omitted, sqrt(log n / (n t)) on day t with n rules.
        InputError unless positive.
    """

    step: float | None = None
    sees = "own"

    def __post_init__(self):
        _check_step(self.step)

    def start(self, rules: int):
        """The state of a learner with `rules` rules, before the first day."""
        return _Bandit(rules, self)

    def steps(self, rules: int, days):
        """The step on each of `days`, a number or an array."""
        return np.sqrt(np.log(rules) / (rules * days)) if self.step is None else self.step + 0.0 * days


@dataclass(frozen=True)
class Stubborn:
    """Plays one rule for ever. rule : its index."""

    rule: int
    sees = "all"  # and minds none of it

    def start(self, rules: int):
        """The state of a learner with `rules` rules; InputError if `rule` is not among them."""
        return _Fixed(rules, self.rule)


@dataclass(frozen=True)
class Satisficer:
    """Content with what one rule would have earned, and careless otherwise (this course's own).

    While his regret against `rule` is at most sqrt(t) on day t, payoffs in [0, 1], he plays his habit; else he
    plays `rule`. So his regret against `rule` is never above sqrt(t) + 1. Against other rules it may be anything.

    rule : index of the rule he measures himself by.
    habit : index of the rule he plays when content; uniformly at random among all his rules if omitted.
    """

    rule: int
    habit: int | None = None
    sees = "all"  # of which he uses one number, what `rule` would have earned

    def start(self, rules: int):
        """The state of a learner with `rules` rules; InputError if `rule` or `habit` is not among them."""
        return _Content(rules, self.rule, self.habit)


@dataclass(frozen=True, eq=False)
class RepeatedPlay:
    """What happened on T days. Payoffs and regrets are in each Bob's own unit.

    user_values : (days,) Alice's value. payoffs : (days, providers) what each Bob got.
    gains : per Bob (days, rules), what each of his rules would have earned against what the others did.
    strategies : per Bob (days, rules), the distributions he played.
    drawn : (days, providers) the rules drawn; None if expectations over the draws were played.
    units : (providers,) the range of each Bob's payoffs, by which learners scale them; 1 if they are constant.
    """

    user_values: np.ndarray
    payoffs: np.ndarray
    gains: tuple[np.ndarray, ...] = field(repr=False)
    strategies: tuple[np.ndarray, ...] = field(repr=False)
    drawn: np.ndarray | None = field(repr=False)
    units: np.ndarray

    @property
    def days(self) -> int:
        """Number of days T."""
        return self.user_values.size

    @property
    def running_average(self) -> np.ndarray:
        """(days,) Alice's average value up to each day."""
        return np.cumsum(self.user_values) / np.arange(1, self.days + 1)

    @property
    def external_regret(self) -> np.ndarray:
        """(days, providers) total regret up to each day, against the rule that was best so far."""
        total = [np.cumsum(gain, axis=0).max(axis=1) for gain in self.gains]
        return np.stack(total, axis=1) - np.cumsum(self.payoffs, axis=0)

    def regret_against(self, rules) -> np.ndarray:
        """(days, providers) total regret up to each day against one fixed rule, `rules[i]` for Bob i.

        Negative where he did better than the rule would have done. InputError unless `rules` holds one index for
        each Bob.
        """
        chosen = _indices(rules, [gain.shape[1] for gain in self.gains])
        fixed = np.stack([gain[:, rule] for gain, rule in zip(self.gains, chosen)], axis=1)
        return np.cumsum(fixed - self.payoffs, axis=0)

    @property
    def distribution(self) -> np.ndarray:
        """(n_1, ..., n_k) the empirical joint distribution of play: the average over the days."""
        shape = tuple(played.shape[1] for played in self.strategies)
        if self.drawn is not None:
            counts = np.zeros(shape)
            np.add.at(counts, tuple(self.drawn.T), 1.0)
            return counts / self.days
        total, rest = np.zeros((shape[0], int(np.prod(shape[1:])))), max(1, int(np.prod(shape[1:])))
        for start in range(0, self.days, max(1, BLOCK // rest)):
            first, *others = (p[start : start + max(1, BLOCK // rest)] for p in self.strategies)
            joint = np.ones((len(first), 1))
            for other in others:
                joint = (joint[:, :, None] * other[:, None]).reshape(len(first), -1)
            total += first.T @ joint
        return total.reshape(shape) / self.days


def play_repeatedly(game, learners, days: int | None = None, seed: int | None = None) -> RepeatedPlay:
    """Let the Bobs play and learn, day after day.

    Parameters
    ----------
    game : an object with payoffs (providers, n_1, ..., n_k) and user_values (n_1, ..., n_k), the same every day;
        or a sequence of such objects, one for each day, with the same rules.
    learners : one for each Bob: `Hedge`, `Exp3`, `Stubborn`, `Satisficer`, or any object with `sees` ("all" or
        "own") and `start(rules)`; that returns an object with `play(day)`, a distribution (rules,), and
        `learn(day, played, seen)`. Days count from 1. `played` is the rule drawn (None if none is). `seen` is what
        each rule would have earned (rules,), or for "own" what the rule played has earned, a number; always in
        [0, 1]: the payoff minus the Bob's smallest, divided by the range of his payoffs in all games.
    days : how often to play; may be omitted if `game` is a sequence.
    seed : if given, rules are drawn independently every day, and everybody learns from the draws. If omitted,
        nothing is drawn: values are expectations over the draws, and `Hedge` learns from expected payoffs.
        Bandits need a seed.

    Returns
    -------
    RepeatedPlay.

    Raises
    ------
    InputError if a game lacks payoffs, games do not fit together, a learner is missing, a bandit has no seed, or
    there are too many days to keep.
    """
    games, which = _games(game, days)
    shape, count = games[0][1].shape, len(which)
    learners = _learners(learners, len(shape), seed)
    if count * sum(shape) > MAX_NUMBERS:
        raise InputError(
            f"days must be at most {MAX_NUMBERS // sum(shape)} with {sum(shape)} rules in all; got {count}."
        )
    axes = tuple(range(1, len(shape) + 1))
    low = np.min([payoff.min(axis=axes) for payoff, _ in games], axis=0)
    high = np.max([payoff.max(axis=axes) for payoff, _ in games], axis=0)
    units = high - low
    # Rounding must not look like payoffs.
    units[units <= CONSTANT * np.maximum(np.abs(high), np.abs(low))] = 1.0
    scaled = [  # what learners see
        [(own - least) / unit for own, least, unit in zip(payoff, low, units)] for payoff, _ in games
    ]
    states = [learner.start(n) for learner, n in zip(learners, shape)]
    gains = tuple(np.empty((count, n)) for n in shape)
    strategies = tuple(np.empty((count, n)) for n in shape)
    drawn = None if seed is None else np.empty((count, len(shape)), dtype=int)
    chance = None if seed is None else np.random.default_rng(seed).random((count, len(shape)))
    bobs = range(len(shape))
    for t in range(count):
        payoff = scaled[which[t]]
        for i in bobs:
            strategies[i][t] = states[i].play(t + 1)
        if drawn is None:
            mixed = [strategies[i][t] for i in bobs]
            for i in bobs:
                gains[i][t] = _expected_gains(payoff[i], mixed, i)
        else:
            rules = [_draw(strategies[i][t], chance[t, i]) for i in bobs]
            drawn[t] = rules
            for i in bobs:
                gains[i][t] = payoff[i][(*rules[:i], slice(None), *rules[i + 1 :])]
        for i in bobs:
            played = None if drawn is None else rules[i]
            seen = gains[i][t] if learners[i].sees == "all" else gains[i][t, played]
            states[i].learn(t + 1, played, seen)
    for gain, least, unit in zip(gains, low, units):
        gain *= unit
        gain += least
    if drawn is None:
        payoffs = np.stack([(p * g).sum(axis=1) for p, g in zip(strategies, gains)], axis=1)
        values = _expected_values(games, which, strategies)
    else:
        payoffs = np.stack([g[np.arange(count), drawn[:, i]] for i, g in enumerate(gains)], axis=1)
        values = np.stack([user for _, user in games])[(which, *drawn.T)]
    return RepeatedPlay(values, payoffs, gains, strategies, drawn, units)


def cce_gap(game, distribution) -> np.ndarray:
    """(providers,) the most each Bob gains, in his own unit, by committing to one fixed rule.

    A distribution over profiles is a coarse correlated equilibrium if and only if no gap is positive. For the
    empirical distribution of play in one game the gaps are the external regrets divided by the number of days.

    Parameters
    ----------
    game : an object with payoffs and user_values. distribution : (n_1, ..., n_k) probabilities of the profiles.

    Raises
    ------
    InputError if `distribution` is not a distribution over the game's profiles.
    """
    payoffs, user = _tables(game, "game")
    table = finite_array(distribution, "distribution", user.ndim, _axes(user.ndim))
    if table.shape != user.shape:
        raise InputError(f"distribution must have the shape of the game, {user.shape}; got {table.shape}.")
    table = probability_vector(table.ravel(), "distribution").reshape(table.shape)
    gaps = []
    for i, payoff in enumerate(payoffs):
        others = table.sum(axis=i, keepdims=True)
        fixed = (payoff * others).sum(axis=tuple(j for j in range(user.ndim) if j != i))
        gaps.append(fixed.max() - (payoff * table).sum())
    return np.array(gaps)


def hedge_step(rules: int, days: int) -> float:
    """The fixed step sqrt(8 log n / T) for which the bound on Hedge's regret is smallest, sqrt(T log(n) / 2)."""
    rules, days = whole_number(rules, "rules", 2), whole_number(days, "days", 1)
    return float(np.sqrt(8 * np.log(rules) / days))


def hedge_bound(rules: int, days: int, step: float | None = None) -> np.ndarray:
    """(days,) bound on Hedge's regret up to each day T, payoffs in [0, 1]: log(n) / step_T + sum_t step_t / 8.

    At most sqrt(T log n) for the default step. It holds for expected payoffs, and for every way the others play.
    """
    rules, days = whole_number(rules, "rules", 1), whole_number(days, "days", 1)
    steps = Hedge(step).steps(rules, np.arange(1, days + 1))
    return _first_term(np.log(rules), steps) + np.cumsum(steps) / 8


def exp3_bound(rules: int, days: int, failure: float, step: float | None = None) -> np.ndarray:
    """(days,) bound on the bandit's regret up to day T, payoffs in [0, 1], for each T with probability 1 - failure.

    (2 log n + l) / step_T + n sum_t step_t + l with l = log(2 / failure): the proof of Neu (2015), Theorem 1.

    InputError if `failure` is not strictly between 0 and 1.
    """
    rules, days = whole_number(rules, "rules", 1), whole_number(days, "days", 1)
    failure = real_number(failure, "failure", 0, 1)
    if failure in (0, 1):
        raise InputError(f"failure must be strictly between 0 and 1; got {failure:g}.")
    steps, rest = Exp3(step).steps(rules, np.arange(1, days + 1)), np.log(2 / failure)
    return _first_term(2 * np.log(rules) + rest, steps) + rules * np.cumsum(steps) + rest


class _Exponential:
    """Hedge: weights exp(step * total gain)."""

    def __init__(self, rules, learner):
        self.step, self.total = partial(learner.steps, rules), np.zeros(rules)

    def play(self, day):
        return _softmax(self.step(day) * self.total)

    def learn(self, day, played, seen):
        self.total += seen


class _Bandit:
    """EXP3-IX: weights exp(-step * estimated total loss)."""

    def __init__(self, rules, learner):
        self.step, self.total, self.now = partial(learner.steps, rules), np.zeros(rules), None

    def play(self, day):
        self.now = _softmax(-self.step(day) * self.total)
        return self.now

    def learn(self, day, played, seen):
        self.total[played] += (1 - seen) / (self.now[played] + self.step(day) / 2)


class _Fixed:
    def __init__(self, rules, rule):
        self.now = np.zeros(rules)
        self.now[whole_number(rule, "rule", 0, rules - 1)] = 1.0

    def play(self, day):
        return self.now

    def learn(self, day, played, seen):
        pass


class _Content:
    """Satisficer: the habit while his regret against the rule is at most sqrt(day), else the rule."""

    def __init__(self, rules, rule, habit):
        self.rule = whole_number(rule, "rule", 0, rules - 1)
        self.aim = _Fixed(rules, rule).now
        self.habit = np.full(rules, 1 / rules) if habit is None else _Fixed(rules, habit).now
        self.regret, self.now = 0.0, None

    def play(self, day):
        self.now = self.habit if self.regret <= np.sqrt(day) else self.aim
        return self.now

    def learn(self, day, played, seen):
        self.regret += seen[self.rule] - (self.now @ seen if played is None else seen[played])


def _softmax(values):
    weights = np.exp(values - values.max())
    return weights / weights.sum()


def _draw(distribution, chance):
    cumulative = np.cumsum(distribution)
    return int(min(np.searchsorted(cumulative, chance * cumulative[-1], side="right"), cumulative.size - 1))


def _first_term(log, steps):
    """log / step, and zero where there is but one rule, so that the default step is zero too."""
    return np.divide(log, steps, out=np.zeros_like(steps), where=steps > 0)


def _expected_gains(payoff, mixed, bob):
    """(rules,) what each of the Bob's rules earns on average when the others draw from `mixed`."""
    for j in reversed(range(len(mixed))):
        if j != bob:  # axes after j that remain belong to this Bob alone
            payoff = (
                np.tensordot(payoff, mixed[j], axes=(j, 0))
                if payoff.ndim > 2
                else (payoff @ mixed[j] if j == 1 else mixed[j] @ payoff)
            )
    return payoff


def _expected_values(games, which, strategies):
    values = np.empty(len(which))
    width = int(np.prod([p.shape[1] for p in strategies[1:]]))
    for number, (_, user) in enumerate(games):
        days = np.flatnonzero(which == number)
        for start in range(0, days.size, max(1, BLOCK // width)):
            block = days[start : start + max(1, BLOCK // width)]
            left = strategies[0][block] @ user.reshape(len(user), -1)
            for played in strategies[1:]:
                left = np.einsum("tn,tnr->tr", played[block], left.reshape(len(block), played.shape[1], -1))
            values[block] = left[:, 0]
    return values


def _games(game, days):
    """The different games, as pairs (payoffs, user_values), and for each day the number of its game."""
    if hasattr(game, "payoffs"):
        if days is None:
            raise InputError("days must say how often the game is played; it is missing.")
        return [_tables(game, "game")], np.zeros(whole_number(days, "days", 1), dtype=int)
    if not isinstance(game, (list, tuple)) or not game:
        raise InputError(
            f"game must be a game with payoffs and user_values, or a list of them, one for each day; got {game!r}."
        )
    if days is not None and whole_number(days, "days", 1) != len(game):
        raise InputError(
            f"days must be {len(game)}, the number of games in the list, or left out; got {days}."
        )
    numbers, tables = {}, []
    for day, one in enumerate(game):
        if id(one) not in numbers:
            numbers[id(one)] = len(tables)
            tables.append(_tables(one, f"game[{day}]"))
            if tables[-1][1].shape != tables[0][1].shape:
                raise InputError(
                    f"game[{day}] must have the rules of the first day, {tables[0][1].shape}; "
                    f"got {tables[-1][1].shape}."
                )
    return tables, np.array([numbers[id(one)] for one in game])


def _tables(game, name):
    try:
        payoffs, user = game.payoffs, game.user_values
    except AttributeError:
        raise InputError(f"{name} must have payoffs and user_values; got {type(game).__name__}.") from None
    ndim = max(1, np.ndim(user))
    user = finite_array(user, f"{name}.user_values", ndim, _axes(ndim), copy=False)
    payoffs = finite_array(payoffs, f"{name}.payoffs", ndim + 1, "(providers, " + _axes(ndim)[1:], copy=False)
    if payoffs.shape != (ndim, *user.shape):
        raise InputError(
            f"{name}.payoffs must have shape {(ndim, *user.shape)} to match user_values; got {payoffs.shape}."
        )
    return payoffs, user


def _axes(ndim):
    return "(" + ", ".join(f"n_{i + 1}" for i in range(ndim)) + ")"


def _learners(learners, providers, seed):
    learners = list(learners) if isinstance(learners, (list, tuple)) else []
    if len(learners) != providers:
        raise InputError(f"learners must be a list of {providers} learners, one for each Bob.")
    for i, learner in enumerate(learners):
        if getattr(learner, "sees", None) not in ("all", "own") or not callable(
            getattr(learner, "start", None)
        ):
            raise InputError(
                f"learners[{i}] must have sees ('all' or 'own') and start(rules); got {learner!r}."
            )
        if learner.sees == "own" and seed is None:
            raise InputError(f"seed must be given: learners[{i}] is a bandit and learns from what is drawn.")
    if seed is not None:
        whole_number(seed, "seed", 0)
    return learners


def _indices(rules, sizes):
    rules = list(rules) if isinstance(rules, (list, tuple, np.ndarray)) else []
    if len(rules) != len(sizes):
        raise InputError(f"rules must hold one rule index for each of the {len(sizes)} Bobs.")
    return [whole_number(r, f"rules[{i}]", 0, n - 1) for i, (r, n) in enumerate(zip(rules, sizes))]


def _check_step(step):
    if step is not None and real_number(step, "step") <= 0:
        raise InputError(f"step must be positive, or left out; got {step}.")
    return step
