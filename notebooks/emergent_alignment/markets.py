"""Markets: one user, several providers, a common prior on finitely many states.

Utilities are arrays (actions, states), stacked (providers, actions, states).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ._validation import (
    InputError,
    finite_array,
    generator,
    names_tuple,
    one_of,
    probability_vector,
    real_number,
    whole_number,
)

KINDS = ("in_hull", "near_hull", "shared_bias", "free")  # nothing in these ties a provider to an action
OWN_DRUG = "own_drug"


@dataclass(frozen=True, eq=False)
class Market:
    """A user, her providers and the states they know and she does not.

    Parameters
    ----------
    prior : (states,) probabilities P(y), non-negative, summing to one.
    user : (actions, states) utility u_A(a, y) of the user, in any unit.
    providers : (providers, actions, states) utilities U_i(a, y), each in its own unit.
    actions, states : optional names, one for each.

    The arrays are copied and made read-only. Ties between actions are broken by the order of the
    actions, never by who speaks.

    Raises
    ------
    InputError
        (a ValueError) if a shape does not fit, an entry is not finite, the prior is not a
        probability vector, or there is no provider, action or state.
    """

    prior: np.ndarray
    user: np.ndarray
    providers: np.ndarray
    actions: tuple[str, ...] | None = None
    states: tuple[str, ...] | None = None

    def __post_init__(self):
        prior = probability_vector(self.prior, "prior")
        user = finite_array(self.user, "user", 2, "(actions, states)")
        providers = finite_array(self.providers, "providers", 3, "(providers, actions, states)")
        if user.shape[1] != prior.size:
            raise InputError(
                f"user must have one column for each of the {prior.size} states of prior; got shape {user.shape}."
            )
        if providers.shape[1:] != user.shape:
            raise InputError(
                f"providers must have shape (providers, {user.shape[0]}, {user.shape[1]}) to match user; "
                f"got {providers.shape}."
            )
        for name, array in (("prior", prior), ("user", user), ("providers", providers)):
            array.setflags(write=False)
            object.__setattr__(self, name, array)
        object.__setattr__(self, "actions", names_tuple(self.actions, "actions", user.shape[0], "a"))
        object.__setattr__(self, "states", names_tuple(self.states, "states", user.shape[1], "y"))

    @property
    def n_providers(self) -> int:
        """Number of providers k."""
        return self.providers.shape[0]

    @property
    def n_actions(self) -> int:
        """Number of actions."""
        return self.user.shape[0]

    @property
    def n_states(self) -> int:
        """Number of states, those of probability zero included."""
        return self.user.shape[1]

    @property
    def no_information_value(self) -> float:
        """Alice's value when she acts on the prior alone: max_a E[u_A(a, y)]."""
        return float((self.user @ self.prior).max())

    @property
    def full_information_value(self) -> float:
        """Alice's value when she is told the state: E[max_a u_A(a, y)]. Here it equals OPT."""
        return float(self.user.max(axis=0) @ self.prior)

    def with_prior(self, prior) -> Market:
        """The same utilities under another prior (states,); InputError if it does not fit."""
        prior = probability_vector(prior, "prior")
        if prior.size != self.n_states:
            raise InputError(
                f"prior must hold one probability for each of the {self.n_states} states; got {prior.size}."
            )
        return replace(self, prior=prior)


def judge_and_prosecutor(prior_guilt: float = 0.3) -> Market:
    """The judge and the prosecutor of Kamenica and Gentzkow (2011), ties to convict.

    States innocent, guilty; actions convict, acquit. The judge wants to be right; the prosecutor
    wants a conviction. `prior_guilt` is a probability; InputError if it is not in [0, 1].
    """
    guilt = real_number(prior_guilt, "prior_guilt", 0, 1)
    return Market(
        prior=[1 - guilt, guilt],
        user=[[0, 1], [1, 0]],
        providers=[[[1, 1], [0, 0]]],
        actions=("convict", "acquit"),
        states=("innocent", "guilty"),
    )


def sample_market(
    kind: str,
    rng: np.random.Generator,
    providers: int = 4,
    actions: int = 3,
    states: int = 4,
    noise: float = 0.08,
    share: float = 0.8,
    stake: float = 0.0,
) -> Market:
    """Draw a random market of a given kind (this course's own test beds).

    The prior is uniform on the simplex, provider utilities are uniform on [0, 1]. Alice's utility is

    - ``"in_hull"``: a random convex combination of the providers' utilities;
    - ``"near_hull"``: the same plus Gaussian noise of standard deviation `noise`, independent for
      each action and state;
    - ``"free"``: uniform on [0, 1], independent of the providers.

    With ``"shared_bias"`` the providers share a component that Alice does not have: first everybody's
    own utility is drawn as in ``"free"``, then U_i = share * common + (1 - share) * own_i.

    With ``"own_drug"`` only the goals differ: Alice's utility is uniform on [0, 1], and every provider wants what
    she wants and a bonus whenever his own drug is taken, U_i(a, y) = (1 - share) u_A(a, y) + share 1[a = a_i].
    The drug of provider i = 0, 1, ... is action i modulo the number of actions. With a positive `stake` all
    of them earn from the last action too, whoever sells it: share * stake more. More providers do not change
    the market of the first ones.

    Returns
    -------
    Market with arrays (states,), (actions, states) and (providers, actions, states).

    Raises
    ------
    InputError for an unknown kind, sizes below one, a negative noise or stake, or a share outside [0, 1].
    """
    one_of(kind, "kind", (*KINDS, OWN_DRUG))
    generator(rng, "rng")
    shape = tuple(
        whole_number(value, name, 1)
        for value, name in ((providers, "providers"), (actions, "actions"), (states, "states"))
    )
    noise = real_number(noise, "noise", 0)
    share = real_number(share, "share", 0, 1)
    stake = real_number(stake, "stake", 0)
    prior = rng.dirichlet(np.ones(states))
    if kind == OWN_DRUG:
        user = rng.uniform(size=shape[1:])
        action = np.arange(actions)
        earns = (action == np.arange(providers)[:, None] % actions) + stake * (action == actions - 1)
        return Market(prior, user, (1 - share) * user + share * earns[:, :, None])
    provider_utilities = rng.uniform(size=shape)
    if kind == "free" or kind == "shared_bias":
        user = rng.uniform(size=shape[1:])
    else:
        weights = rng.dirichlet(np.ones(providers))
        user = np.tensordot(weights, provider_utilities, axes=1)
    if kind == "near_hull":
        user = user + noise * rng.standard_normal(size=user.shape)
    if kind == "shared_bias":
        provider_utilities = share * rng.uniform(size=shape[1:]) + (1 - share) * provider_utilities
    return Market(prior, user, provider_utilities)


def slate_market(user, providers, slates, prior=None) -> Market:
    """Turn a table of judgements about items into a market in which information has value.

    A state is a slate, that is an ordered list of options; action a means "take the a-th option". The
    providers know which slate is on the table, Alice knows only the prior over slates
    (this course's own construction).

    Parameters
    ----------
    user : (items,) Alice's utility of each item.
    providers : (providers, items) the providers' utilities of each item.
    slates : (states, actions) whole numbers, the index of the item behind each option of each slate.
    prior : (states,) probabilities of the slates; uniform if omitted.

    Returns
    -------
    Market with user (actions, states) and providers (providers, actions, states).

    Raises
    ------
    InputError if shapes do not fit, an entry is not finite, or a slate names an item that is not there.
    """
    user = finite_array(user, "user", 1, "(items,)")
    providers = finite_array(providers, "providers", 2, "(providers, items)")
    if providers.shape[1] != user.size:
        raise InputError(
            f"providers must have {user.size} columns, one for each item of user; got {providers.shape}."
        )
    table = finite_array(slates, "slates", 2, "(states, actions)")
    if (table != np.floor(table)).any() or table.min() < 0 or table.max() >= user.size:
        raise InputError(
            f"slates must hold item indices, whole numbers from 0 to {user.size - 1}; "
            f"got values from {table.min():g} to {table.max():g}."
        )
    items = table.astype(int)
    prior = np.full(len(items), 1 / len(items)) if prior is None else probability_vector(prior, "prior")
    if prior.size != len(items):
        raise InputError(f"prior must have one entry for each of the {len(items)} slates; got {prior.size}.")
    options = tuple(f"option {a + 1}" for a in range(items.shape[1]))
    slate_names = tuple(f"slate {s + 1}" for s in range(items.shape[0]))
    return Market(prior, user[items.T], providers[:, items.T], actions=options, states=slate_names)
