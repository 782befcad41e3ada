"""Experiments on tables of judgements: alignment error against the number of providers, and the game.

A table of utilities (people, items) is all they need; the people may be individuals, groups of people or
models. Every draw has its own random numbers, derived from the seed and the draw's number alone. Results are
therefore the same for any number of jobs, and more draws extend a run without changing the ones already made.
With a cache folder each finished draw is kept there, so a run that was interrupted goes on where it stopped.
"""

from __future__ import annotations

import hashlib
import inspect
from dataclasses import replace
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
from tqdm import tqdm

from ._validation import InputError, finite_array, one_of, real_number, whole_number
from .hull import Moments, align, second_moments
from .markets import Market, slate_market
from .persuasion import optimal_scheme
from .selection import SelectionPath, best_response_dynamics

POOLS = ("anyone", "own group", "another group")
METHODS = ("best single", "rescaled single", "plain average", "rescaled average", "simplex", "cone")
SIMPLE = ("best single", "plain average", "rescaled average")  # what the others are compared with
EXACT = 1e-9  # training ratio below which a fit counts as exact
ROUNDING = 1e-13  # share of a provider's variance that an average of providers who cancel each other may have
CHUNK = 10  # draws computed, and kept in the cache, together


def alignment_curves(
    utilities,
    sizes,
    draws: int,
    seed: int = 0,
    test_share: float = 0.4,
    groups=None,
    pool: str = "anyone",
    remove_consensus: bool = False,
    n_jobs: int = 1,
    cache=None,
    progress: bool = False,
) -> pd.DataFrame:
    """How well k people imitate another one, on items they were not fitted on.

    In each draw one person is Alice, the others come in a random order and the first k of them are her
    providers (so a larger k adds providers to the same ones), and the items are split at random. Each method
    is fitted on the training items by least squares, always with a constant offset:

    - "best single": the one provider, with weight 1, whose training error is smallest;
    - "rescaled single": the same with a non-negative weight fitted for each provider;
    - "plain average": weight 1/k for everybody;
    - "rescaled average": the same with one non-negative factor fitted for all;
    - "simplex" and "cone": `hull.align` with norm "mse".

    Errors are mean squared residuals divided by those of the best constant, Alice's mean on the training
    items: 0 is perfect, 1 is no better than knowing only her average.

    Parameters
    ----------
    utilities : (people, items), finite, no row constant. sizes : numbers of providers k, below people.
    draws : number of draws. seed : whole number.
    test_share : share of the items kept for testing, between 0 and 1.
    groups, pool : with groups (people,), the providers can be limited to Alice's "own group" or to one other
        group, drawn at random ("another group"); by default they are "anyone".
    remove_consensus : subtract from every item the mean over all people but Alice, so that only what sets
        people apart from the average opinion has to be imitated.
    n_jobs : processes to use. cache : folder that keeps finished draws, or None. progress : show a bar.

    Returns
    -------
    DataFrame with one row for each draw, k and method: draw, k, method, train, test (ratios) and
    undetermined, true if the fit is exact on the training items with more unknowns than items: then other
    weights fit just as well, and the test error depends on which of them the solver happened to return.

    Raises
    ------
    InputError for arguments that do not fit, or a person whose utility does not vary.
    """
    utilities = _table(utilities)
    if (np.ptp(utilities, axis=1) == 0).any():
        person = int(np.argmin(np.ptp(utilities, axis=1)))
        raise InputError(
            f"utilities must vary in every row; person {person} gives all items the same. Leave it out."
        )
    sizes, groups = _sizes(sizes, len(utilities), groups, pool)
    test_share = real_number(test_share, "test_share", 0, 1)
    test_items = round(test_share * utilities.shape[1])
    if test_items < 2 or utilities.shape[1] - test_items < 2:
        raise InputError(
            f"test_share must leave 2 of the {utilities.shape[1]} items on either side; got {test_share:g}."
        )
    rows = run_draws(
        _alignment_draw,
        {
            "utilities": utilities,
            "sizes": sizes,
            "seed": whole_number(seed, "seed", 0),
            "test_items": test_items,
            "groups": groups,
            "pool": pool,
            "remove_consensus": bool(remove_consensus),
        },
        draws,
        n_jobs,
        cache,
        progress,
        "alignment",
    )
    return pd.DataFrame(rows, columns=["draw", "k", "method", "train", "test", "undetermined"])


def _alignment_draw(utilities, sizes, seed, test_items, groups, pool, remove_consensus, draw):
    rng = draw_generator(seed, draw)
    person, user, providers = _cast(rng, utilities, max(sizes), groups, pool, remove_consensus)
    items = rng.permutation(utilities.shape[1])
    test, train = np.sort(items[:test_items]), np.sort(items[test_items:])
    rows = []
    for (k, method), imitation in imitations(user, providers, train, sizes).items():
        train_error, test_error = error_ratios(user, imitation, train, test, f"person {person}")
        unknowns = {"simplex": k, "cone": k + 1}.get(method, 0)  # the offset is one of them
        exact = train_error < EXACT and unknowns > len(train)
        rows.append((draw, k, method, train_error, test_error, exact))
    return rows


def method_weights(moments: Moments, sizes) -> dict[int, np.ndarray]:
    """Weights of the methods of `alignment_curves` for the first k providers, for every k of `sizes`.

    moments : of the training items, from `hull.second_moments`. Returns k -> (methods, k), in the order of METHODS.
    InputError unless every k is a whole number, at most that of the providers.
    """
    sizes = [whole_number(k, "sizes", 1, len(moments.gram) - 1) for k in sizes]
    gram, product = moments.gram[:-1, :-1], moments.gram[:-1, -1]
    square = np.diag(gram)
    factors = np.maximum(product, 0) / np.where(square > 0, square, 1)
    as_is = square - 2 * product
    rescaled = factors**2 * square - 2 * factors * product
    slack = EXACT * moments.gram[-1, -1]
    weights = {}
    for k in sizes:
        alone, stretched = (np.eye(k)[_first_smallest(part[:k], slack)] for part in (as_is, rescaled))
        average = np.full(k, 1 / k)
        size = average @ gram[:k, :k] @ average
        speaks = size > ROUNDING * square[:k].max()  # providers may cancel each other but for rounding
        factor = max(average @ product[:k], 0) / size if speaks else 0
        hull = (moments.align(range(k), weights=kind).weights for kind in ("simplex", "cone"))
        weights[k] = np.stack([alone, factors[:k] * stretched, average, factor * average, *hull])
    return weights


def _first_smallest(values, slack):
    """Index of the first value within `slack` of the smallest: providers who tie do not hang on rounding."""
    return int(np.argmax(values <= values.min() + slack))


def imitations(user, providers, train, sizes) -> dict[tuple[int, str], np.ndarray]:
    """What every method of `alignment_curves` makes of the first k providers: (k, method) -> (items,).

    user : (items,), of which only the training items are used. providers : (providers, items). train : indices of
    the items on which weights and offset are fitted. sizes : numbers of providers k.
    """
    made = {}
    for k, weights in method_weights(second_moments(user[train], providers[:, train]), sizes).items():
        mixed = weights @ providers[:k]
        mixed += user[train].mean() - mixed[:, train].mean(axis=1, keepdims=True)
        made |= {(k, method): row for method, row in zip(METHODS, mixed)}
    return made


def error_ratios(user, imitation, train, test, name="user") -> tuple[float, float]:
    """Mean squared error of an imitation (items,) on the training and on the test items, as in `alignment_curves`.

    Each is divided by that of the best constant, the user's mean on the training items. InputError, about `name`, if
    that is 0 up to rounding.
    """
    constant = user[train].mean()
    if min(np.abs(user[part] - constant).max() for part in (train, test)) <= 1e-12 * np.abs(constant):
        raise InputError(
            f"utilities: {name} judges all training or all test items alike; choose a test_share that leaves more "
            "items, or leave them out."
        )
    return tuple(
        float(np.mean((imitation - user)[part] ** 2) / np.mean((constant - user)[part] ** 2))
        for part in (train, test)
    )


def summarise(
    curves: pd.DataFrame, level: str, noise_share: float = np.nan, methods=METHODS, against=SIMPLE
) -> pd.DataFrame:
    """Averages over the draws of `alignment_curves`, one row for each k and method.

    Columns: level, k, method; mean, low, high of the test ratio (low and high are the 5th and 95th percentile
    over the draws); median; train, the mean training ratio; beats_best_single, beats_plain_average and
    beats_rescaled_average, the share of draws in which the method's test error is below that of the other on the
    same draw (ties do not count); undetermined, the share of draws in which the fit was; draws; and the noise share
    as given (`datasets.Cells.noise_share`). If any fit of a row was undetermined, its test results are NaN.

    methods : those to report. against : those that the columns beats_... compare with.
    """
    rows = []
    for k, part in curves.groupby("k"):
        test, train, undetermined = (
            part.pivot(index="draw", columns="method", values=name)
            for name in ("test", "train", "undetermined")
        )
        for method in methods:
            ratio = test[method]
            results = {
                "mean": ratio.mean(),
                "low": ratio.quantile(0.05),
                "high": ratio.quantile(0.95),
                "median": ratio.median(),
                **{
                    f"beats_{other.replace(' ', '_')}": (ratio < test[other] - 1e-9).mean()
                    for other in against
                },
            }
            share = undetermined[method].mean()
            if share > 0:
                results = dict.fromkeys(results, np.nan)
            rows.append(
                {
                    "level": level,
                    "k": k,
                    "method": method,
                    **results,
                    "train": train[method].mean(),
                    "undetermined": share,
                    "draws": len(ratio),
                    "noise_share": noise_share,
                }
            )
    return pd.DataFrame(rows)


def game_curve(
    utilities,
    sizes,
    games: int,
    seed: int = 0,
    slates: int = 10,
    options: int = 3,
    bid_step: float = 1e-3,
    groups=None,
    pool: str = "anyone",
    remove_consensus: bool = False,
    n_jobs: int = 1,
    cache=None,
    progress: bool = False,
) -> pd.DataFrame:
    """The best-AI selection game on slate markets made from a table of judgements.

    In each game one person is Alice, the others come in a random order and the first k of them are her
    providers, and items are dealt at random, without repetition, into equally likely slates
    (`markets.slate_market`). The game is then played by `selection.best_response_dynamics`.

    Parameters
    ----------
    utilities : (people, items), finite. sizes : numbers of providers k, below people.
    games : number of games for each k. seed : whole number.
    slates, options : slates S and options A of each; S * A must not exceed the number of items.
    bid_step : as in `best_response_dynamics`, in units of utility.
    groups, pool, remove_consensus, n_jobs, cache, progress : as in `alignment_curves`.

    Returns
    -------
    DataFrame with one row for each game and k: game, k, bid_step; no_information, the value of acting on the
    prior; best_monopoly, the most Alice gets from any one of the k providers who has her to himself;
    equilibrium, her value where the dynamics end; opt, the full-information value; eps_hull (simplex,
    constant offset) and eps_cone (cone, state offsets), the sup-norm alignment errors; converged; cycled;
    steps. A game in which the dynamics do not converge is reported like any other, with the value at the last
    step.

    Raises
    ------
    InputError for arguments that do not fit.
    """
    utilities = _table(utilities)
    sizes, groups = _sizes(sizes, len(utilities), groups, pool)
    games = whole_number(games, "games", 1)
    slates, options = whole_number(slates, "slates", 1), whole_number(options, "options", 1)
    if slates * options > utilities.shape[1]:
        raise InputError(
            f"slates times options must not exceed the {utilities.shape[1]} items; got {slates} x {options}."
        )
    rows = run_draws(
        _game_draw,
        {
            "utilities": utilities,
            "sizes": sizes,
            "seed": whole_number(seed, "seed", 0),
            "slates": slates,
            "options": options,
            "bid_step": real_number(bid_step, "bid_step", 0),
            "groups": groups,
            "pool": pool,
            "remove_consensus": bool(remove_consensus),
        },
        games,
        n_jobs,
        cache,
        progress,
        "games",
    )
    return pd.DataFrame(rows)


def _game_draw(utilities, sizes, seed, slates, options, bid_step, groups, pool, remove_consensus, draw):
    rng = draw_generator(seed, draw)
    _, user, rivals = _cast(rng, utilities, max(sizes), groups, pool, remove_consensus)
    table = rng.permutation(utilities.shape[1])[: slates * options].reshape(slates, options)
    return play_first(slate_market(user, rivals, table), sizes, bid_step, draw)


def play_first(everybody: Market, sizes, bid_step: float, game: int) -> list[dict]:
    """The selection game among the first k providers of a market, for each k of `sizes`: rows of `game_curve`.

    Parameters
    ----------
    everybody : the Market of max(sizes) providers. sizes : numbers of providers k.
    bid_step : as in `best_response_dynamics`. game : the game's number, for the column of that name.
    """
    monopoly = [optimal_scheme(everybody, provider).user_value for provider in range(max(sizes))]
    rows = []
    for k in sizes:
        market = replace(everybody, providers=everybody.providers[:k])
        path = best_response_dynamics(market, bid_step=bid_step, seed=0)
        about = {"game": game, "k": k, "bid_step": bid_step, "best_monopoly": max(monopoly[:k])}
        rows.append(about | game_outcome(market, path))
    return rows


def game_outcome(market: Market, path: SelectionPath) -> dict:
    """What rows of `game_curve` say about a market and the path of `best_response_dynamics` in it."""
    return {
        "no_information": market.no_information_value,
        "equilibrium": path.user_value,
        "opt": market.full_information_value,
        "eps_hull": align(market.user, market.providers, "simplex", "constant").error,
        "eps_cone": align(market.user, market.providers, "cone", "state").error,
        "converged": bool(path.converged),
        "cycled": bool(path.cycled),
        "steps": path.steps,
    }


def summarise_games(games: pd.DataFrame, level: str) -> pd.DataFrame:
    """Averages over the games of `game_curve`, one row for each k.

    The share of the value of information that Alice keeps is (value - no information) / (OPT - no
    information). Columns: level, k; means of no_information, best_monopoly, equilibrium, opt, and of the
    bounds OPT - 2 eps, bound_hull and bound_cone; kept, kept_low, kept_high: mean, 5th and 95th percentile of
    the share kept where the dynamics end; monopoly_kept, the mean share kept under the best monopoly;
    reaches_opt and beats_monopoly, the shares of games in which she ends within a bid step of OPT, and more
    than a bid step above the best monopoly; bound_useful, in which OPT - 2 eps_cone is above no information;
    bound_holds, in which she gets OPT - max(2 eps_cone, bid step); converged, the share of games; steps,
    their median number; games. Games in which information has no value have no share kept but count in every
    other column; `informative` is the number of the others.
    """
    frame = games.assign(
        bound_hull=games["opt"] - 2 * games["eps_hull"], bound_cone=games["opt"] - 2 * games["eps_cone"]
    )
    worth = frame["opt"] - frame["no_information"]
    worth = worth.where(worth > 1e-9)
    frame["kept"] = (frame["equilibrium"] - frame["no_information"]) / worth
    frame["monopoly_kept"] = (frame["best_monopoly"] - frame["no_information"]) / worth
    rows = []
    for k, part in frame.groupby("k"):
        step = part["bid_step"] + 1e-9
        guarantee = part["opt"] - np.maximum(2 * part["eps_cone"], part["bid_step"])
        values = ["no_information", "best_monopoly", "equilibrium", "opt", "bound_hull", "bound_cone"]
        rows.append(
            {
                "level": level,
                "k": k,
                **part[values].mean(),
                "kept": part["kept"].mean(),
                "kept_low": part["kept"].quantile(0.05),
                "kept_high": part["kept"].quantile(0.95),
                "monopoly_kept": part["monopoly_kept"].mean(),
                "reaches_opt": (part["equilibrium"] >= part["opt"] - step).mean(),
                "beats_monopoly": (part["equilibrium"] > part["best_monopoly"] + step).mean(),
                "bound_useful": (part["bound_cone"] > part["no_information"] + 1e-9).mean(),
                "bound_holds": (part["equilibrium"] >= guarantee - 1e-6).mean(),
                "converged": part["converged"].mean(),
                "steps": part["steps"].median(),
                "informative": part["kept"].notna().sum(),
                "games": len(part),
            }
        )
    return pd.DataFrame(rows)


def run_draws(function, arguments, draws, n_jobs=1, cache=None, progress=False, title="draws") -> list:
    """Rows of ``function(**arguments, draw=draw)`` for every draw, in their order, from several processes.

    The random numbers of a draw should come from `draw_generator`, so that results do not depend on n_jobs.

    Parameters
    ----------
    function : of a module (not a lambda), returns the list of rows of one draw. arguments : its other arguments.
    draws : number of draws. n_jobs : processes to use; where a `joblib.parallel_config` is in force, for
        instance of a Dask cluster, the work goes there.
    cache : folder that keeps finished draws, by what they were computed from and by which code; or None.
    progress : show a bar, named `title`.

    Raises
    ------
    InputError if draws or n_jobs is not a positive whole number.
    """
    draws, n_jobs = whole_number(draws, "draws", 1), whole_number(n_jobs, "n_jobs", 1)
    compute = _chunk
    if cache is not None:
        # joblib writes a result to a temporary file and renames it: an interruption leaves no half result
        compute = joblib.Memory(Path(cache).expanduser(), verbose=0).cache(_chunk, ignore=["arguments"])
    code = code_sha256(inspect.getsourcefile(inspect.unwrap(function)))  # results of other code are not taken
    key = joblib.hash((sorted(arguments.items()), code))
    chunks = [(start, min(start + CHUNK, draws)) for start in range(0, draws, CHUNK)]
    work = joblib.Parallel(n_jobs=n_jobs, return_as="generator_unordered")(
        joblib.delayed(compute)(function, arguments, key, start, stop) for start, stop in chunks
    )
    done = {}
    with tqdm(total=draws, desc=title, unit="draw", disable=not progress) as bar:
        for start, rows in work:
            done[start] = rows
            bar.update(min(CHUNK, draws - start))
    return [row for start, _ in chunks for row in done[start]]


def _chunk(function, arguments, key, start, stop):
    return start, [row for draw in range(start, stop) for row in function(**arguments, draw=draw)]


def code_sha256(*others) -> str:
    """SHA-256 of all modules of the library, in the order of their paths, and of other files of code."""
    folder = Path(__file__).resolve().parent
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py"), key=lambda path: path.relative_to(folder).as_posix()):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes())
    for path in others:
        digest.update(Path(path).read_bytes())
    return digest.hexdigest()


def draw_generator(seed: int, draw: int) -> np.random.Generator:
    """The random numbers of one draw: those of SeedSequence(seed).spawn(n)[draw], for any n above draw."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(draw,)))


def _cast(rng, utilities, k, groups, pool, remove_consensus):
    """Alice's index and utility (items,), and the utilities (k, items) of her providers in a random order."""
    people = rng.permutation(len(utilities))
    user, others = people[0], people[1:]
    if pool == "own group":
        others = others[groups[others] == groups[user]]
    elif pool == "another group":
        names = np.unique(groups)
        others = others[groups[others] == rng.choice(names[names != groups[user]])]
    if remove_consensus:
        utilities = utilities - (utilities.sum(axis=0) - utilities[user]) / (len(utilities) - 1)
    return int(user), utilities[user], utilities[others[:k]]


def _table(utilities):
    try:
        return finite_array(utilities, "utilities", 2, "(people, items)")
    except InputError as error:
        if "finite" not in str(error):
            raise
        raise InputError(
            f"{error} For instance, keep the people who answered everything: poll.complete()."
        ) from None


def _sizes(sizes, people, groups, pool):
    """Sorted numbers of providers, and groups as an array; InputError if a pool is too small."""
    one_of(pool, "pool", POOLS)
    available = people - 1
    if pool != "anyone":
        groups = np.asarray(groups if groups is not None else [], dtype=str)
        if groups.shape != (people,):
            raise InputError(
                f"groups must hold one label for each of the {people} people when pool is {pool!r}."
            )
        counts = np.unique(groups, return_counts=True)[1]
        if pool == "another group" and len(counts) < 2:
            raise InputError("groups must hold at least two different labels when pool is 'another group'.")
        available = int(counts.min()) - (pool == "own group")
    else:
        groups = None
    sizes = [whole_number(k, "sizes", 1) for k in ([sizes] if np.ndim(sizes) == 0 else sizes)]
    if not sizes:
        raise InputError("sizes must hold at least one number of providers; it is empty.")
    if max(sizes) > available:
        raise InputError(
            f"sizes must be at most {available}, the number of providers to choose from; got {max(sizes)}."
        )
    return sorted(set(sizes)), groups
