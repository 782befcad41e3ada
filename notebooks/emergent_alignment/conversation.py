"""Games of talk: what Alice hears from several committed providers, and what she makes of it.

Three finite models, each computed exactly.

- `SignallingGame`: one round. The Bobs know the state, each commits to a signalling rule, Alice hears all of
  them (or the best one alone) and acts. Every profile of rules is evaluated, so every pure equilibrium and
  the worst coarse correlated one (a linear program) are known.
- `Setting` and `Conversation`: private information on both sides and several turns of talk.
- `exchange_expectations`: two people who tell each other, in turn, what they now expect (Aumann 1976).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import product
from math import prod

import highspy
import numpy as np

from ._validation import InputError, finite_array, one_of, probability_vector, real_number, whole_number
from .markets import Market
from .persuasion import TIE, check_market, first_maximiser, linear_program, solve_linear_program

MAX_WORK = 200_000_000  # numbers computed for all profiles of a game: about ten seconds
MAX_PROGRAM = 3_000_000  # entries of the linear program over profiles: a few seconds
MAX_TALK = 20_000_000  # numbers computed for all profiles of a conversation: about ten seconds
MAX_TRANSCRIPTS = 5_000_000  # numbers held for one profile of a conversation
MAX_RULES = 100_000  # rules listed one by one
BLOCK = 1 << 20  # numbers held at a time
HEARD = ("all", "best")
SPEAKERS = ("alice", "bobs")
KNOWS = ("nothing", "x_A", "x_B", "both")


@dataclass(frozen=True, eq=False)
class CorrelatedOutcome:
    """A coarse correlated equilibrium: a lottery over profiles that nobody would leave for one fixed rule.

    user_value : Alice's expected utility. provider_values : (providers,) theirs.
    distribution : (n_1, ..., n_k) probability of each profile of rules.
    law : (actions, states) the joint probabilities D(a, y) that it induces.
    """

    user_value: float
    provider_values: np.ndarray
    distribution: np.ndarray
    law: np.ndarray


class RuleGame:
    """A finite game between the Bobs: everybody picks one of his rules, Alice best-responds.

    payoffs : (providers, n_1, ..., n_k) each Bob's expected utility at each profile of rules.
    user_values : (n_1, ..., n_k) Alice's. Both are read-only.

    Built by `SignallingGame` and by `Conversation.game`.
    """

    def __init__(self, payoffs, user_values, providers, law):
        self.payoffs, self.user_values = payoffs, user_values
        payoffs.setflags(write=False)
        user_values.setflags(write=False)
        self._units = np.array([_unit(utility) for utility in providers])
        self._user_unit = _unit(user_values)
        self._law = law

    @property
    def n_profiles(self) -> int:
        """Number of profiles of rules."""
        return self.user_values.size

    def law(self, profile) -> np.ndarray:
        """(actions, states) joint law of what Alice does and what is true when Bob i uses rule `profile[i]`.

        InputError unless `profile` holds one index for each Bob.
        """
        return self._law(self._profile(profile))

    def pure_equilibria(self, tolerance: float = 1e-9) -> np.ndarray:
        """(equilibria, providers) every profile from which no Bob gains by changing his rule alone.

        tolerance : gains up to this share of a Bob's utility range count as none. InputError if it is negative.
        The array has no rows if there is no pure equilibrium.
        """
        slack = real_number(tolerance, "tolerance", 0) * self._units
        stable = np.ones(self.user_values.shape, dtype=bool)
        for i, payoff in enumerate(self.payoffs):
            stable &= payoff >= payoff.max(axis=i, keepdims=True) - slack[i]
        return np.argwhere(stable)

    def worst_pure(self) -> float:
        """Alice's value in the pure equilibrium that is worst for her; NaN if there is none."""
        found = self.pure_equilibria()
        return float(self.user_values[tuple(found.T)].min()) if len(found) else float("nan")

    def worst_coarse_correlated(self) -> CorrelatedOutcome:
        """The coarse correlated equilibrium that is worst for Alice, by one linear program in HiGHS.

        Minimise sum_C x(C) u_A(C) over lotteries x on profiles such that, for every Bob i and every rule r of
        his, sum_C x(C) [U_i(r, C_{-i}) - U_i(C)] <= 0 (Moulin and Vial 1978). One exists always, since mixed
        equilibria do. InputError, before the program is built, if it is too large.
        """
        return self._coarse_correlated(1.0)

    def best_coarse_correlated(self) -> CorrelatedOutcome:
        """The same as `worst_coarse_correlated`, but best for Alice."""
        return self._coarse_correlated(-1.0)

    def _coarse_correlated(self, sign):
        kept = [self._distinct_rules(i) for i in range(len(self.payoffs))]
        shape = tuple(map(len, kept))
        if prod(shape) * sum(shape) > MAX_PROGRAM:
            raise InputError(
                f"the game has {prod(shape)} profiles of distinct rules and {sum(shape)} rules to deviate to: "
                f"{prod(shape) * sum(shape):.2g} entries in the linear program; at most {MAX_PROGRAM:.2g} fit. "
                f"Give each Bob at most {_root(MAX_PROGRAM / len(shape), len(shape) + 1)} rules (a coarser grid)."
            )
        place = np.ix_(*kept)
        rows = []
        for i, payoff in enumerate(self.payoffs):
            unit = payoff[place] / self._units[i]
            rows.extend((np.take(unit, [r], axis=i) - unit).ravel() for r in range(shape[i]))
        value = self.user_values[place].ravel()
        rows = np.vstack([np.ones(value.size), *rows])
        rows[np.abs(rows) < 1e-12] = 0.0  # rounding, no gain
        upper = np.zeros(len(rows))
        lower = np.full(len(rows), -highspy.kHighsInf)
        upper[0] = lower[0] = 1.0
        solution = solve_linear_program(
            linear_program(sign * (value - value.min()) / self._user_unit, rows, lower, upper)
        )
        distribution = np.zeros(self.user_values.shape)
        distribution[place] = np.clip(solution, 0, None).reshape(shape)
        distribution /= distribution.sum()
        support = np.argwhere(distribution > 0)
        return CorrelatedOutcome(
            float((distribution * self.user_values).sum()),
            np.tensordot(self.payoffs, distribution, axes=len(shape)),
            distribution,
            sum(distribution[tuple(p)] * self._law(tuple(p)) for p in support),
        )

    def _distinct_rules(self, bob):
        """Indices of Bob's rules, one for each way to affect anybody: relabelled messages change nothing."""
        units = self._units.reshape((-1,) + (1,) * len(self.payoffs))
        everything = np.concatenate([self.payoffs / units, self.user_values[None] / self._user_unit])
        table = np.moveaxis(everything, bob + 1, 0).reshape(self.user_values.shape[bob], -1)
        return np.sort(np.unique(np.round(table, 9), axis=0, return_index=True)[1])

    def _profile(self, profile):
        try:
            indices = tuple(profile)
        except TypeError:
            indices = ()
        if len(indices) != len(self.payoffs):
            raise InputError(
                f"profile must hold one rule index for each of the {len(self.payoffs)} Bobs; got {profile!r}."
            )
        return tuple(
            whole_number(index, f"profile[{i}]", 0, n - 1)
            for i, (index, n) in enumerate(zip(indices, self.user_values.shape))
        )


class SignallingGame(RuleGame):
    """One round of talk: every Bob commits to a signalling rule, then Alice acts.

    The Bobs know the state. Their messages are independent given the state. Alice knows all the rules,
    updates by Bayes' rule and best-responds; ties between actions are broken by the fixed order of the
    actions.

    Parameters
    ----------
    market : the Market, k providers.
    rules : for each Bob a sequence of rules, arrays (messages, states) of conditionals pi(m | y), columns
        summing to one. Numbers of messages may differ.
    heard : "all" (Alice hears every Bob) or "best" (the selection game of Theorem 3: she talks only to the
        Bob whose rule alone is worth most to her; the lowest index if several are).
    tie_orders : optional (providers, actions), row i an ordering of the actions, used to break ties between
        actions when Bob i is the one whose rule alone is worth most. This lets ties depend on who speaks,
        which the theorems forbid; leave it out otherwise.

    Attributes
    ----------
    payoffs (providers, n_1, ..., n_k), user_values (n_1, ..., n_k); rules : per Bob an array (n_i, messages,
    states), padded by messages that are never sent; solo_values : per Bob the values V_i (n_i,) to Alice of
    each rule heard alone; heard.

    Raises
    ------
    InputError if a rule is not made of conditionals, a tie order is no ordering, or the game is too large.
    """

    def __init__(self, market: Market, rules, heard: str = "all", tie_orders=None):
        check_market(market)
        one_of(heard, "heard", HEARD)
        orders = _tie_orders(tie_orders, market)
        tables = _rule_tables(rules, market)
        work = _signalling_work([t.shape[:2] for t in tables], market, heard)
        if work > MAX_WORK:
            raise InputError(
                f"rules make a game of {work:.2g} numbers; at most {MAX_WORK:.2g} fit. "
                f"Drop rules or messages: the work is the product of both over {market.n_providers} Bobs."
            )
        self.market, self.rules, self.heard = market, tables, heard
        self._orders = orders
        utilities = np.concatenate([market.user[None], market.providers])
        self._table = utilities.reshape(-1, market.n_states).T  # (states, (1 + providers) * actions)
        self._scale = np.ptp(market.user) or 1.0
        alone = [self._evaluate([table], np.full(len(table), i)) for i, table in enumerate(tables)]
        self.solo_values = tuple(values[:, 0] for values in alone)
        shape = tuple(map(len, tables))
        outcome = np.empty((prod(shape), market.n_providers + 1))
        messages = prod(t.shape[1] for t in tables) if heard == "all" else 1
        step = max(1, BLOCK // (messages * self._table.size))
        for start in range(0, len(outcome), step):
            profiles = np.unravel_index(np.arange(start, min(start + step, len(outcome))), shape)
            best = self._best(profiles)
            if heard == "all":
                values = self._evaluate([t[p] for t, p in zip(tables, profiles)], best)
            else:
                values = np.stack([a[p] for a, p in zip(alone, profiles)])[best, np.arange(best.size)]
            outcome[start : start + step] = values
        super().__init__(
            np.ascontiguousarray(outcome.T[1:]).reshape(-1, *shape),
            outcome[:, 0].reshape(shape),
            market.providers,
            self._law_at,
        )

    @classmethod
    def on_grid(cls, market: Market, grid: int = 5, heard: str = "all", tie_orders=None) -> SignallingGame:
        """The game in which every Bob has the rules of `grid_rules(states, grid)`.

        grid : number of values, 0 and 1 included, for Pr(message 1 | y) in each state; at least 2. With two
            states and grid 5 every Bob has 25 rules.
        InputError says which grid would fit if this one does not.
        """
        check_market(market)
        grid = whole_number(grid, "grid", 2)
        one_of(heard, "heard", HEARD)

        def fits(size):
            shape = (size**market.n_states + (market.n_states > 2), max(2, market.n_states))
            return _signalling_work([shape] * market.n_providers, market, heard) <= MAX_WORK

        if not fits(grid):
            size = next((g for g in range(min(grid, 1000) - 1, 1, -1) if fits(g)), None)
            cure = f"The largest that fits is {size}." if size else "Use fewer providers or states."
            raise InputError(
                f"grid {grid} is too fine for {market.n_providers} Bobs and {market.n_states} states. {cure}"
            )
        return cls(market, [grid_rules(market.n_states, grid)] * market.n_providers, heard, tie_orders)

    def _best(self, profiles):
        """Index of the Bob whose rule alone is worth most, at each profile."""
        offers = np.stack([v[p] for v, p in zip(self.solo_values, profiles)], axis=1)
        return first_maximiser(offers, self._scale)

    def _evaluate(self, conditionals, leaders):
        """(profiles, 1 + providers) Alice's and the Bobs' values when she hears `conditionals` together."""
        _, values, chosen = self._hear(conditionals, leaders)
        picked = np.take_along_axis(values, chosen[:, None, None], axis=2)[:, :, 0]
        return picked.reshape(len(leaders), -1, values.shape[1]).sum(axis=1)

    def _hear(self, conditionals, leaders):
        joint = np.broadcast_to(self.market.prior, (len(leaders), 1, self.market.n_states))
        for conditional in conditionals:  # (profiles, messages, states)
            joint = (joint[:, :, None] * conditional[:, None]).reshape(len(leaders), -1, self.market.n_states)
        values = (joint.reshape(-1, self.market.n_states) @ self._table).reshape(
            -1, self.market.n_providers + 1, self.market.n_actions
        )
        if self._orders is None:
            return joint, values, first_maximiser(values[:, 0], self._scale)
        chosen = np.stack(
            [order[first_maximiser(values[:, 0, order], self._scale)] for order in self._orders]
        )
        speaker = np.repeat(leaders, joint.shape[1])
        return joint, values, chosen[speaker, np.arange(speaker.size)]

    def _law_at(self, profile):
        best = self._best([np.array([p]) for p in profile])
        heard = range(len(profile)) if self.heard == "all" else best
        joint, _, chosen = self._hear([self.rules[i][[profile[i]]] for i in heard], best)
        law = np.zeros(self.market.user.shape)
        np.add.at(law, chosen, joint[0])
        return law


def grid_rules(states: int, grid: int = 5) -> np.ndarray:
    """(rules, messages, states) binary signalling rules, Pr(message 1 | y) on an even grid of `grid` values.

    Every combination of values: grid ** states rules, in lexicographic order of Pr(message 1 | y); babbling
    is among them. With two states so is full revelation, sent as message = state by rule number grid - 1;
    with more states, where two messages cannot tell all, it is added as the last rule, with as many messages
    as states.

    InputError if `states` < 1, `grid` < 2 or there are more than a million rules.
    """
    states, grid = whole_number(states, "states", 1), whole_number(grid, "grid", 2)
    if states * np.log(grid) > np.log(1e6):
        raise InputError(
            f"grid {grid} gives {grid}^{states} rules; at most a million fit. Use a coarser grid."
        )
    levels = np.linspace(0, 1, grid)
    first = np.array(list(product(levels, repeat=states)))  # (rules, states)
    rules = np.zeros((len(first) + (states > 2), max(2, states), states))
    rules[: len(first), 0] = 1 - first
    rules[: len(first), 1] = first
    if states > 2:
        rules[-1] = np.eye(states)
    return rules


@dataclass(frozen=True, eq=False)
class Setting:
    """Who knows what: Alice sees x_A, every Bob sees x_B, nobody sees the state y.

    Parameters
    ----------
    joint : (X_A, X_B, states) probabilities P(x_A, x_B, y), summing to one.
    user : (actions, states) Alice's utility. providers : (providers, actions, states) the Bobs'.
    actions, states : optional names.

    Raises
    ------
    InputError if a shape does not fit, an entry is not finite, or `joint` is not a probability table.
    """

    joint: np.ndarray
    user: np.ndarray
    providers: np.ndarray
    actions: tuple[str, ...] | None = None
    states: tuple[str, ...] | None = None

    def __post_init__(self):
        joint = finite_array(self.joint, "joint", 3, "(X_A, X_B, states)")
        joint = probability_vector(joint.ravel(), "joint").reshape(joint.shape)
        user = finite_array(self.user, "user", 2, "(actions, states)")
        if user.shape[1] != joint.shape[2]:
            raise InputError(
                f"user must have one column for each of the {joint.shape[2]} states of joint; "
                f"got shape {user.shape}."
            )
        market = Market(joint.sum(axis=(0, 1)), user, self.providers, self.actions, self.states)
        joint.setflags(write=False)
        object.__setattr__(self, "joint", joint)
        for name in ("user", "providers", "actions", "states"):
            object.__setattr__(self, name, getattr(market, name))

    @property
    def n_providers(self) -> int:
        """Number of Bobs k."""
        return self.providers.shape[0]

    @property
    def n_actions(self) -> int:
        """Number of actions."""
        return self.user.shape[0]

    @property
    def opt_full(self) -> float:
        """OPT_full = E[max_a E[u_A(a, y) | x_A, x_B]], the value of knowing both observations."""
        return self.value("both")

    def value(self, knows: str = "both") -> float:
        """Alice's best expected utility if she knew "nothing", "x_A", "x_B" or "both", else InputError."""
        return float(self._worth(knows).max(axis=2).sum())

    def best_actions(self, knows: str = "both") -> np.ndarray:
        """(X_A, X_B) her best action on that knowledge, ties by the order of the actions.

        The axis of what is not known has length one: best_actions("x_B") has shape (1, X_B).
        """
        worth = self._worth(knows)
        chosen = first_maximiser(worth.reshape(-1, self.n_actions), np.ptp(self.user))
        return chosen.reshape(worth.shape[:2])

    def _worth(self, knows):
        """(X_A or 1, X_B or 1, actions) sum of P(x_A, x_B, y) u_A(a, y) over what is not known."""
        one_of(knows, "knows", KNOWS)
        worth = self.joint @ self.user.T
        unknown = {"nothing": (0, 1), "x_A": (1,), "x_B": (0,), "both": ()}[knows]
        return worth.sum(axis=unknown, keepdims=True)

    def with_providers(self, providers) -> Setting:
        """The same information and Alice with other Bobs, (providers, actions, states)."""
        return replace(self, providers=providers)

    def exchange_expectations(self, quantity, rounds: int = 20, grid: float | None = None) -> Exchange:
        """Alice and a Bob tell each other what they expect `quantity` (states,) to be; see the function."""
        quantity = finite_array(quantity, "quantity", 1, "(states,)")
        if quantity.size != self.joint.shape[2]:
            raise InputError(
                f"quantity must have {self.joint.shape[2]} entries, one for each state; got {quantity.size}."
            )
        x_a, x_b, _ = np.ogrid[tuple(map(slice, self.joint.shape))]
        return exchange_expectations(self.joint, x_a, x_b, quantity, rounds, grid)


def index_setting(providers: int = 1) -> Setting:
    """INDEX: x_A names one of two bits that only the Bobs hold, and the state is that bit.

    x_A in {0, 1}; x_B in {0, .., 3} holds the bits (x_B // 2, x_B % 2); y = bit number x_A of x_B; all
    uniform. Alice gets 1 for naming y, and so do `providers` Bobs (use `with_providers` for others).
    """
    joint = np.zeros((2, 4, 2))
    for x_a, x_b in np.ndindex(2, 4):
        joint[x_a, x_b, (x_b // 2, x_b % 2)[x_a]] = 1 / 8
    return _guessing(joint, np.eye(2), providers)


def xor_setting(providers: int = 1) -> Setting:
    """XOR: x_A and x_B are fair coins and y = x_A xor x_B; Alice (and the Bobs) get 1 for naming y."""
    joint = np.zeros((2, 2, 2))
    for x_a, x_b in np.ndindex(2, 2):
        joint[x_a, x_b, x_a ^ x_b] = 1 / 4
    return _guessing(joint, np.eye(2), providers)


def additive_setting(a_values=(0, 1), b_values=(0, 1), providers: int = 1) -> Setting:
    """Additive information: y = a_values[x_A] + b_values[x_B], both drawn uniformly and independently.

    The states are the distinct sums in increasing order, named by their values (`[float(s) for s in
    setting.states]`); an action names one of them and Alice (and the Bobs) get 1 - ((a - y) / range)^2.
    InputError if the values are not finite numbers.
    """
    a_values = finite_array(a_values, "a_values", 1, "(X_A,)")
    b_values = finite_array(b_values, "b_values", 1, "(X_B,)")
    sums, place = np.unique(np.round(np.add.outer(a_values, b_values), 12), return_inverse=True)
    place = place.reshape(a_values.size, b_values.size)
    joint = np.eye(sums.size)[place] / place.size
    utility = 1 - (np.subtract.outer(sums, sums) / (np.ptp(sums) or 1.0)) ** 2
    names = tuple(f"{s:.12g}" for s in sums)
    return _guessing(joint, utility, providers, names)


def _guessing(joint, utility, providers, names=None):
    providers = whole_number(providers, "providers", 1)
    return Setting(joint, utility, np.stack([utility] * providers), names, names)


@dataclass(frozen=True, eq=False)
class Response:
    """Alice's best response to the Bobs' conversation rules, and what follows.

    user_value : her expected utility. provider_values : (providers,) theirs.
    law : (actions, states) the induced distribution I(C) of (a, y).
    says : for each of Alice's turns, (X_A, m_1, ..., m_{j-1}) the joint message she sends after what was said
        before.
    decision : (X_A, m_1, ..., m_T) her action after each transcript.
    transcript_law : (X_A, X_B, m_1, ..., m_T) probability of each observation and transcript.

    A joint message m_j is one number for the messages of turn j to or from all k Bobs:
    `numpy.unravel_index(m_j, (messages,) * k)` gives them one by one; with one Bob it is his message.
    """

    user_value: float
    provider_values: np.ndarray
    law: np.ndarray
    says: tuple[np.ndarray, ...] = field(repr=False)
    decision: np.ndarray = field(repr=False)
    transcript_law: np.ndarray = field(repr=False)


@dataclass(frozen=True, eq=False)
class AlignedBob:
    """The benchmark OPT: the value to Alice of one Bob who wants what she wants, and a rule that attains it."""

    value: float
    rule: tuple[np.ndarray, ...]


@dataclass(frozen=True, eq=False)
class Conversation:
    """A protocol of talk between Alice and the Bobs of a setting: who speaks when, with how many messages.

    Parameters
    ----------
    setting : the Setting.
    turns : who speaks in each turn, a sequence of "alice" and "bobs". In a turn of "bobs" every Bob sends
        Alice one message at once; in a turn of "alice" she sends each Bob one, not necessarily the same.
        Conversations are private: a Bob knows x_B and what was said between Alice and him.
    messages : size of the alphabet.

    A *rule* of a Bob is a tuple with one array for each of his turns. The array for turn j has axes
    (x_B, m_1, ..., m_{j-1}, m_j): the probability of his message m_j given x_B and all earlier messages
    between Alice and him, hers and his. The last axis sums to one.

    Raises
    ------
    InputError for an unknown speaker, a protocol without turns, or one with too many transcripts.
    """

    setting: Setting
    turns: tuple[str, ...] = ("bobs",)
    messages: int = 2

    def __post_init__(self):
        if not isinstance(self.setting, Setting):
            raise InputError(
                f"setting must be a Setting; got {type(self.setting).__name__}. Try index_setting()."
            )
        turns = (self.turns,) if isinstance(self.turns, str) else self.turns
        try:
            turns = tuple(turns)
        except TypeError:
            turns = ()
        if not turns:
            raise InputError(
                f"turns must name who speaks in each turn, like ('alice', 'bobs'); got {self.turns!r}."
            )
        for j, speaker in enumerate(turns):
            one_of(speaker, f"turns[{j}]", SPEAKERS)
        object.__setattr__(self, "turns", turns)
        object.__setattr__(self, "messages", whole_number(self.messages, "messages", 1))
        if self._work(len(turns)) > MAX_TRANSCRIPTS:
            most = max((t for t in range(len(turns)) if self._work(t) <= MAX_TRANSCRIPTS), default=0)
            raise InputError(
                f"turns has {len(turns)} turns of {self.messages} messages to or from each of "
                f"{self.setting.n_providers} Bobs: too many transcripts. At most {most} turns fit, or use fewer "
                "messages."
            )

    def rule(self, speak) -> tuple[np.ndarray, ...]:
        """A deterministic rule from a function `speak(x_B, said) -> message`.

        `said` is the tuple of earlier messages between Alice and this Bob, in order. InputError if a message
        is not a whole number below `messages`.
        """
        if not callable(speak):
            raise InputError(f"speak must be a function of x_B and what was said; got {speak!r}.")
        arrays = []
        for j in self._bob_turns:
            array = np.zeros((self._n_b,) + (self.messages,) * (j + 1))
            for x_b, *said in np.ndindex(array.shape[:-1]):
                message = speak(x_b, tuple(said))
                message = int(message) if isinstance(message, (bool, np.bool_)) else message
                array[(x_b, *said, whole_number(message, "the message of speak", 0, self.messages - 1))] = 1
            arrays.append(array)
        return tuple(arrays)

    def best_response(self, rules, says=None) -> Response:
        """Alice's best conversation rule and decision rule against the Bobs' rules, by backward induction.

        Parameters
        ----------
        rules : one rule for each Bob of the setting (a single array will do for a rule with one turn).
        says : optional, Alice's conversation rule held fixed, as in `Response.says`; only her decision then
            best-responds.

        Ties, between messages and between actions, go to the first in order. InputError for a rule that does
        not fit the protocol.
        """
        checked = self._rules(rules)
        parts = [self._likelihood(rule)[None] for rule in checked]
        response = self._respond(self._join(parts), None if says is None else self._says(says))
        return Response(
            float(response["value"][0]),
            np.tensordot(self.setting.providers, response["law"][0], axes=2),
            response["law"][0],
            tuple(choice[0] for choice in response["says"]),
            response["decision"][0],
            response["transcripts"][0],
        )

    @property
    def opt(self) -> float:
        """OPT: the best value with one aligned Bob in this protocol, `aligned.value`."""
        return self.aligned.value

    @cached_property
    def aligned(self) -> AlignedBob:
        """The best rule of one aligned Bob and its value, by trying every deterministic rule.

        Randomising cannot help: against any fixed play of Alice the value is linear in the rule. InputError,
        before any work, if there are too many rules.
        """
        unit = self._work(len(self.turns), bobs=1)
        plans = self._plans(MAX_WORK // 2 // unit)
        likelihoods = np.stack([self._likelihood(tuple(a[None] for a in plan))[0] for plan in plans])
        best, best_rule = -np.inf, None
        for combos in self._combinations(len(plans), unit):
            value = self._value(likelihoods[combos])
            if value.max() > best + TIE * (np.ptp(self.setting.user) or 1.0):
                top = int(first_maximiser(value[None], np.ptp(self.setting.user))[0])
                best, best_rule = float(value[top]), combos[top]
        return AlignedBob(best, self._rule_of(plans, best_rule))

    def deterministic_rules(self) -> list[tuple[np.ndarray, ...]]:
        """Every deterministic rule of one Bob, a function of x_B and Alice's messages.

        InputError if there are too many.
        """
        plans = self._plans(MAX_RULES)
        return [
            self._rule_of(plans, combo) for combos in self._combinations(len(plans), 1) for combo in combos
        ]

    def game(self, rules=None) -> RuleGame:
        """The game between the Bobs, each choosing one of his rules, with Alice best-responding.

        rules : for each Bob a list of rules; all deterministic ones if omitted.
        Returns a RuleGame with payoffs (providers, n_1, ..., n_k). InputError, before any work, if there are too
        many profiles.
        """
        setting = self.setting
        k, unit = setting.n_providers, self._work(len(self.turns))
        if rules is None:
            self._check_game((len(self._plans(MAX_RULES)) ** self._n_b,) * k, unit)
            rules = [self.deterministic_rules()] * k
        try:
            rules = [list(r) for r in rules]
        except TypeError:
            rules = []
        if len(rules) != k or not all(rules):
            raise InputError(f"rules must hold a list of at least one rule for each of the {k} Bobs.")
        shape = tuple(map(len, rules))
        self._check_game(shape, unit)
        checked = [
            [self._rule(rule, f"rules[{i}][{j}]") for j, rule in enumerate(own)]
            for i, own in enumerate(rules)
        ]
        tables = [np.stack([self._likelihood(rule) for rule in own]) for own in checked]
        values, laws = [], []
        step = max(1, BLOCK // unit)
        for start in range(0, prod(shape), step):
            profiles = np.unravel_index(np.arange(start, min(start + step, prod(shape))), shape)
            response = self._respond(self._join([t[p] for t, p in zip(tables, profiles)]))
            values.append(response["value"])
            laws.append(response["law"])
        laws = np.concatenate(laws)
        payoffs = np.einsum("iay,nay->in", setting.providers, laws).reshape(k, *shape)
        laws = laws.reshape(shape + setting.user.shape)
        values = np.concatenate(values).reshape(shape)
        return RuleGame(payoffs, values, setting.providers, lambda profile: laws[profile].copy())

    @property
    def _n_b(self):
        return self.setting.joint.shape[1]

    @property
    def _bob_turns(self):
        return [j for j, speaker in enumerate(self.turns) if speaker == "bobs"]

    def _work(self, turns, bobs=None):
        """Numbers held for one profile of rules."""
        n_a, n_b, _ = self.setting.joint.shape
        bobs = self.setting.n_providers if bobs is None else bobs
        messages = max(2, self.messages)  # every turn is an axis, also of length one
        if turns * bobs * np.log(messages) > 60:  # beyond any limit; spare us the long integers
            return 10**18
        return messages ** (turns * bobs) * n_a * max(n_b, self.setting.n_actions)

    def _check_game(self, shape, unit):
        if prod(shape) * unit > MAX_TALK:
            raise InputError(
                f"the game has {' x '.join(map(str, shape))} profiles of {unit} numbers each; at most "
                f"{MAX_TALK:.2g} numbers fit, {_root(MAX_TALK / unit, len(shape))} rules for each Bob. "
                "Pass fewer rules."
            )

    def _likelihood(self, rule):
        """(X_B, m_1, ..., m_T) probability that Bob says his part of the transcript if Alice says hers."""
        total = len(self.turns)
        likelihood = np.ones((rule[0].shape[0] if rule else self._n_b,) + (self.messages,) * total)
        for j, array in zip(self._bob_turns, rule):
            likelihood = likelihood * array.reshape(array.shape + (1,) * (total - 1 - j))
        return likelihood

    def _join(self, parts):
        """Likelihoods (profiles, X_B, m_1, ..., m_T) of several Bobs, multiplied over joint messages."""
        joint = parts[0]
        for part in parts[1:]:
            lead, left, right = joint.shape[:2], joint.shape[2:], part.shape[2:]
            one = joint.reshape(lead + tuple(n for m in left for n in (m, 1)))
            other = part.reshape(lead + tuple(n for m in right for n in (1, m)))
            joint = (one * other).reshape(lead + tuple(m * n for m, n in zip(left, right)))
        return joint

    def _value(self, likelihood):
        """(profiles,) Alice's value alone, for a batch of likelihoods (profiles, X_B, m_1, ..., m_T)."""
        worth = self.setting.joint @ self.setting.user.T
        flat = likelihood.reshape(len(likelihood), self._n_b, -1)
        value = np.einsum("ibu,nbt->unit", worth, flat, optimize=True).max(axis=0)
        value = value.reshape(value.shape[:2] + likelihood.shape[2:])
        for speaker in reversed(self.turns):
            value = value.sum(axis=-1) if speaker == "bobs" else value.max(axis=-1)
        return value.sum(axis=1)

    def _respond(self, likelihood, fixed=None):
        """Backward induction for a batch of likelihoods (profiles, X_B, m_1, ..., m_T)."""
        setting, scale = self.setting, np.ptp(self.setting.user) or 1.0
        n, n_a, said = len(likelihood), setting.joint.shape[0], likelihood.shape[2:]
        worth = setting.joint @ setting.user.T  # (X_A, X_B, actions)
        flat = likelihood.reshape(n, self._n_b, -1)
        ends = np.einsum("ibu,nbt->nitu", worth, flat, optimize=True).reshape(n, n_a, *said, -1)
        decision = _first(ends, scale)
        value, says = _pick(ends, decision), []
        for j in reversed(range(len(self.turns))):
            if self.turns[j] == "bobs":
                value = value.sum(axis=-1)
                continue
            choice = _first(value, scale) if fixed is None else np.broadcast_to(fixed[j], value.shape[:-1])
            says.insert(0, choice)
            value = _pick(value, choice)
        reach, alice_turns = np.ones((n, n_a, *said)), [j for j, s in enumerate(self.turns) if s == "alice"]
        for j, choice in zip(alice_turns, says):
            sent = choice[..., None] == np.arange(said[j])
            reach = reach * sent.reshape(sent.shape + (1,) * (len(said) - 1 - j))
        both = reach.reshape(n, n_a, 1, -1) * flat[:, None]  # (profiles, X_A, X_B, transcripts)
        acts = decision.reshape(n, n_a, -1, 1) == np.arange(setting.n_actions)
        plays = np.einsum("nibt,nita->niba", both, acts.astype(float), optimize=True)
        return {
            "value": value.sum(axis=1),
            "law": np.einsum("niba,iby->nay", plays, setting.joint, optimize=True),
            "says": says,
            "decision": decision,
            "transcripts": (both * setting.joint.sum(axis=2)[..., None]).reshape(n, n_a, self._n_b, *said),
        }

    def _plans(self, limit):
        """What a Bob can do with one x_B: for each turn of his a message for every history of Alice's.

        The arrays have the axes of a rule without x_B; his own earlier messages make no difference.
        InputError if that makes more than `limit` rules.
        """
        m = self.messages
        heard = [self.turns[:j].count("alice") for j in self._bob_turns]
        digits = sum(m**h for h in heard)
        if digits * self._n_b * np.log(m) > np.log(limit) + 1e-9:
            raise InputError(
                f"there are {m}^{digits * self._n_b} deterministic rules in this protocol; at most {limit} "
                "fit. Use fewer turns, messages or observations x_B, or give the rules yourself."
            )
        plans = []
        for answers in product(range(m), repeat=digits):
            plan, used = [], 0
            for j, h in zip(self._bob_turns, heard):
                table = np.eye(m)[list(answers[used : used + m**h])]  # (histories of Alice, message)
                axes = [m if speaker == "alice" else 1 for speaker in self.turns[:j]]
                plan.append(np.broadcast_to(table.reshape(*axes, m), (m,) * (j + 1)))
                used += m**h
            plans.append(tuple(plan))
        return plans

    def _combinations(self, plans, unit):
        """Blocks (rules, X_B) of plan numbers: every way to give each x_B a plan."""
        count, step = plans**self._n_b, max(1, BLOCK // unit)
        place = plans ** np.arange(self._n_b)[::-1] if plans > 1 else np.ones(self._n_b, dtype=int)
        for start in range(0, count, step):
            numbers = np.arange(start, min(start + step, count))
            yield numbers[:, None] // place % plans

    def _rule_of(self, plans, combo):
        return tuple(np.stack([plans[p][t] for p in combo]) for t in range(len(self._bob_turns)))

    def _rules(self, rules):
        k = self.setting.n_providers
        if isinstance(rules, np.ndarray) or not isinstance(rules, (list, tuple)) or len(rules) != k:
            raise InputError(f"rules must be a list of {k} rules, one for each Bob of the setting.")
        return [self._rule(rule, f"rules[{i}]") for i, rule in enumerate(rules)]

    def _rule(self, rule, name):
        turns = self._bob_turns
        arrays = (rule,) if isinstance(rule, np.ndarray) else rule
        if not isinstance(arrays, (list, tuple)) or len(arrays) != len(turns):
            raise InputError(f"{name} must be a tuple of {len(turns)} arrays, one for each turn of the Bobs.")
        checked = []
        for j, array in zip(turns, arrays):
            axes = "(x_B, " + "".join(f"m_{t + 1}, " for t in range(j)) + "message)"
            array = finite_array(array, name, j + 2, axes)
            shape = (self._n_b,) + (self.messages,) * (j + 1)
            if array.shape != shape:
                raise InputError(
                    f"{name} must have shape {shape}, axes {axes}, at turn {j + 1}; got {array.shape}."
                )
            if (array < -1e-9).any() or abs(array.sum(axis=-1) - 1).max() > 1e-8:
                raise InputError(
                    f"{name} must hold non-negative conditionals that sum to 1 over the last axis."
                )
            checked.append(np.clip(array, 0, None))
        return tuple(checked)

    def _says(self, says):
        turns = [j for j, speaker in enumerate(self.turns) if speaker == "alice"]
        if not isinstance(says, (list, tuple)) or len(says) != len(turns):
            raise InputError(f"says must be a tuple of {len(turns)} arrays, one for each turn of Alice.")
        size, fixed = self.messages**self.setting.n_providers, {}
        for j, choice in zip(turns, says):
            shape = (self.setting.joint.shape[0],) + (size,) * j
            choice = finite_array(choice, "says", j + 1, f"(X_A{', m' * j})")
            if (
                choice.shape != shape
                or (choice != np.floor(choice)).any()
                or not 0 <= choice.min() <= choice.max() < size
            ):
                raise InputError(
                    f"says must hold joint messages 0 to {size - 1}, an array of shape {shape} at turn {j + 1}."
                )
            fixed[j] = choice.astype(int)
        return fixed


@dataclass(frozen=True, eq=False)
class Exchange:
    """How an exchange of expectations went, world by world. Worlds of probability zero hold NaN (label -1).

    announcements : (rounds, worlds) what was announced in each round; A speaks first, then in turn.
    public : (rounds + 1, worlds) labels of the public partition before the first and after each announcement:
        worlds with the same label sound the same to someone who only listened.
    expectation_A, expectation_B : (worlds,) what each expects at the end.
    pooled : (worlds,) what both would expect if each told the other everything.
    settled : number of announcements after which nobody has news; None if `rounds` were too few.
    agreed : whether at the end it is common knowledge what each expects (rounded), and both expect the same.

    `worlds` stands for the shape of `joint`.
    """

    announcements: np.ndarray
    public: np.ndarray
    expectation_A: np.ndarray
    expectation_B: np.ndarray
    pooled: np.ndarray
    settled: int | None
    agreed: bool


def exchange_expectations(
    joint, signal_A, signal_B, quantity, rounds: int = 20, grid: float | None = None
) -> Exchange:
    """Two people with a common prior tell each other, in turn, what they now expect a quantity to be.

    The listener works out in which worlds the speaker would have said this. On finite partitions the talk
    settles, and then both expect the same (Aumann 1976; Geanakoplos and Polemarchakis 1982). With `grid` only
    the nearest multiple of `grid` is announced (half up), in the spirit of Aaronson (2005); the rounded
    values then agree.

    Parameters
    ----------
    joint : probabilities of the worlds, an array of any shape, for instance (X_A, X_B, states), summing to one.
    signal_A, signal_B : what each observes: whole-number labels, arrays that broadcast to the shape of `joint`.
    quantity : the number in question, broadcasting likewise.
    rounds : announcements to make. grid : step of the announced numbers, positive; exact if omitted.

    Returns
    -------
    Exchange.

    Raises
    ------
    InputError if `joint` is not a probability table, another array does not broadcast to it, or rounds or
    grid is not positive.
    """
    shape = _shape(joint)
    prior = probability_vector(finite_array(joint, "joint", len(shape) or 1, _worlds(shape)).ravel(), "joint")
    rounds = whole_number(rounds, "rounds", 1)
    if grid is not None and real_number(grid, "grid") <= 0:
        raise InputError(
            f"grid must be a positive step, like 0.1; got {grid}. Leave it out for exact announcements."
        )
    live = prior > 0
    weight = prior[live]
    signals = [_spread(s, name, shape, live) for s, name in ((signal_A, "signal_A"), (signal_B, "signal_B"))]
    for labels, name in zip(signals, ("signal_A", "signal_B")):
        if (labels != np.floor(labels)).any():
            raise InputError(f"{name} must hold whole-number labels of what is observed.")
    quantity = _spread(quantity, "quantity", shape, live)
    close = 1e-9 * (np.ptp(quantity) + 1e-3 * np.abs(quantity).max())  # closer than this is the same number

    def expect(*knowledge):
        _, cell = np.unique(np.stack(knowledge), axis=1, return_inverse=True)
        cell = cell.reshape(-1)
        return (np.bincount(cell, weight * quantity) / np.bincount(cell, weight))[cell]

    def say(person):
        value = expect(signals[person], heard)
        return value if grid is None else grid * np.floor(value / grid + 0.5 + 1e-9)

    def refine(value):
        order = np.argsort(value, kind="stable")
        words = np.empty(value.size)
        words[order] = np.concatenate([[0], np.cumsum(np.diff(value[order]) > close)])
        return np.unique(np.stack([heard, words]), axis=1, return_inverse=True)[1].reshape(-1)

    heard, settled, path, public = np.zeros(weight.size), None, [], []
    for t in range(rounds + 1):
        public.append(heard)
        if settled is None and all(refine(say(person)).max() == heard.max() for person in (0, 1)):
            settled = t
        if t < rounds:
            path.append(say(t % 2))
            heard = refine(path[-1])
    final = [expect(s, heard) for s in signals]
    apart = np.abs(say(0) - say(1)).max()

    def full(value, blank):
        out = np.full(prior.size, blank, dtype=float if np.isnan(blank) else int)
        out[live] = value
        return out.reshape(shape)

    return Exchange(
        np.stack([full(p, np.nan) for p in path]),
        np.stack([full(p, -1) for p in public]),
        full(final[0], np.nan),
        full(final[1], np.nan),
        full(expect(*signals), np.nan),
        settled,
        bool(settled is not None and apart <= close),
    )


def _spread(value, name, shape, live):
    """`value` broadcast to the worlds of positive probability, a flat array."""
    array = finite_array(value, name, len(_shape(value)) or 1, _worlds(_shape(value)))
    try:
        return np.broadcast_to(array, shape).reshape(-1)[live]
    except ValueError:
        raise InputError(
            f"{name} must be an array that broadcasts to the shape {shape} of joint; got shape {array.shape}."
        ) from None


def _shape(value):
    try:
        return np.shape(value)
    except ValueError:  # ragged
        return ()


def _worlds(shape):
    return f"({', '.join(['worlds'] * (len(shape) or 1))})"


def _unit(utility):
    """The range of a utility, and a little of its level so that rounding never counts."""
    return float(np.ptp(utility) + 1e-3 * np.abs(utility).max()) or 1.0


def _first(values, scale):
    """Index of the first entry along the last axis within a tie of the maximum."""
    return first_maximiser(values.reshape(-1, values.shape[-1]), scale).reshape(values.shape[:-1])


def _pick(values, index):
    return np.take_along_axis(values, index[..., None], axis=-1)[..., 0]


def _signalling_work(shapes, market, heard):
    """Numbers computed for a game in which Bob i has shapes[i] = (rules, messages)."""
    width = market.n_states + (market.n_providers + 1) * market.n_actions
    profiles = prod(rules for rules, _ in shapes)
    if heard == "all":
        return profiles * prod(messages for _, messages in shapes) * width
    return profiles * (market.n_providers + 1) + sum(rules * messages for rules, messages in shapes) * width


def _root(limit, power):
    """The largest whole number, at least 1, whose power does not exceed `limit`."""
    root = max(1, round(limit ** (1 / power)))
    return root if root == 1 or root**power <= limit else root - 1


def _rule_tables(rules, market):
    """Per Bob an array (rules, messages, states), padded by messages that are never sent."""
    if not isinstance(rules, (list, tuple, np.ndarray)) or len(rules) != market.n_providers:
        raise InputError(
            f"rules must hold a sequence of rules for each of the {market.n_providers} providers."
        )
    tables = []
    for i, own in enumerate(rules):
        if not isinstance(own, (list, tuple, np.ndarray)) or len(own) == 0:
            raise InputError(
                f"rules[{i}] must hold at least one rule, an array (messages, {market.n_states})."
            )
        if isinstance(own, np.ndarray) and own.ndim == 3:
            table = finite_array(own, f"rules[{i}]", 3, "(rules, messages, states)")
        else:
            arrays = [finite_array(r, f"rules[{i}][{j}]", 2, "(messages, states)") for j, r in enumerate(own)]
            for j, array in enumerate(arrays):
                _check_states(array, f"rules[{i}][{j}]", market)
            table = np.zeros((len(arrays), max(map(len, arrays)), market.n_states))
            for row, array in zip(table, arrays):
                row[: len(array)] = array
        _check_states(table, f"rules[{i}]", market)
        wrong = (table < -1e-9).any(axis=(1, 2)) | (abs(table.sum(axis=1) - 1) > 1e-8).any(axis=1)
        if wrong.any():
            raise InputError(
                f"rules[{i}][{int(wrong.argmax())}] must hold non-negative conditionals whose columns sum to 1."
            )
        tables.append(np.clip(table, 0, None))
    return tables


def _check_states(array, name, market):
    if array.shape[-1] != market.n_states:
        raise InputError(
            f"{name} must have one column for each of the {market.n_states} states; got {array.shape}."
        )


def _tie_orders(value, market):
    if value is None:
        return None
    orders = finite_array(value, "tie_orders", 2, "(providers, actions)")
    wanted = np.broadcast_to(np.arange(market.n_actions), (market.n_providers, market.n_actions))
    if orders.shape != wanted.shape or (np.sort(orders, axis=1) != wanted).any():
        raise InputError(
            f"tie_orders must have {market.n_providers} rows, each an ordering of the actions 0 to "
            f"{market.n_actions - 1}; got {orders.tolist()}."
        )
    return orders.astype(int)
