"""Chapter 12: film ratings of MovieLens, raw, completed and averaged over taste groups."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from .._validation import whole_number
from ..datasets import Judgements, data_folder, demographic_cells
from ..datasets.movies import (
    STAR,
    Completion,
    complete_table,
    load_movies,
    most_rated,
    split_by_taste,
)
from ..datasets.taste import dense_block
from ..experiments import (
    EXACT,
    METHODS,
    SIMPLE,
    draw_generator,
    error_ratios,
    imitations,
    play_first,
    run_draws,
    summarise,
    summarise_games,
)
from ..markets import slate_market
from .tables import provenance, rounded, write_results

SEED = 20180926  # the day ml-latest-small was made
DRAWS = 400
SIZES = (1, 2, 3, 5, 7, 10, 20, 50, 100)
GAME_SIZES = (1, 2, 3, 4, 7)
TEST_SHARE = 0.4
GAME = {"slates": 10, "options": 3, "bid_step": 0.002}
BONUSES = (1.0, 2.0)  # stars
BLOCK, DENSE_BLOCK = (120, 150), (60, 150)  # people, films
FOLDS = 10
RANKS, SHRINKAGES = (1, 2, 3, 5, 8, 20), (1.0, 1.75, 2.5)
RANK, SHRINKAGE = 5, 1.75  # chosen by `chosen_completion` from the table that `completion_errors` makes
GROUP_FILMS, FEWEST_OTHER, FEWEST_OWN = 50, 5, 35
RAW = ("movielens_ratings", "movielens_movies")
REFERENCES = ("any weights", "item mean", "low-rank model")
MOVIELENS = {
    "title": "MovieLens ml-latest-small (September 2018)",
    "publisher": "GroupLens Research, University of Minnesota",
    "page": "https://grouplens.org/datasets/movielens/latest/",
    "collected": "1996-03-29 to 2018-09-24",
    "licence": "GroupLens conditions of use: for research; no endorsement by the University of Minnesota "
    "or GroupLens may be stated or implied; acknowledge the data set; redistribution, including "
    "transformations, only under these same conditions; no commercial or revenue-bearing use without "
    "permission of a GroupLens faculty member; no warranty of any kind.",
    "attribution": "F. Maxwell Harper and Joseph A. Konstan (2015), The MovieLens Datasets: History and "
    "Context, ACM Transactions on Interactive Intelligent Systems 5(4), 19:1-19:19, "
    "https://doi.org/10.1145/2827872; changed: stars mapped to [0, 1] and averaged over groups of people, "
    "and results computed from them.",
}


@dataclass(frozen=True, eq=False)
class Level:
    """Who plays Alice, who her providers, and which of her judgements are used.

    users : (users, items), NaN where Alice has no judgement. judges : (tables, judges, items) for her to
    choose from, a row of NaN for somebody who is not in the table. table : (users,) the table made for this
    user.
    own : (users,) the user's own row among the judges, or -1. models : one `Completion` for each table, or
    none.
    sponsors : (sponsors, items) what a sponsor pays for a film, in units of utility; added to the judges'
    utilities, one sponsor for each provider or, if `shared`, one for all of them.
    """

    meaning: str
    users: np.ndarray
    judges: np.ndarray
    table: np.ndarray
    own: np.ndarray
    models: tuple[Completion, ...] = ()
    sponsors: np.ndarray | None = None
    shared: bool = False

    def cast(self, rng, size):
        """Alice's utility (items,), that of `size` providers (all there are, if fewer), the mean utility of
        everybody she could choose, and the model."""
        # Streams of their own, so that draws of different levels have as much in common as the levels have.
        for_alice, for_providers, for_sponsors = rng.spawn(3)
        alice = for_alice.integers(len(self.users))
        table = self.judges[self.table[alice]]
        present = ~np.isnan(table).any(axis=1)
        if self.own[alice] >= 0:
            present[self.own[alice]] = False
        everybody = table[for_providers.permutation(np.flatnonzero(present))]
        hired = everybody[:size]
        if self.sponsors is not None:
            paid = for_sponsors.permutation(len(self.sponsors))
            hired = hired + self.sponsors[paid[0] if self.shared else paid[: len(hired)]]
        model = self.models[self.table[alice]] if self.models else None
        return self.users[alice], hired, everybody.mean(axis=0), model

    @property
    def most_providers(self) -> int:
        """The largest number of providers that every user can have."""
        present = ~np.isnan(self.judges).any(axis=2)
        return int((present.sum(axis=1)[self.table] - (self.own >= 0)).min())


def compute(
    data_dir=None, out=None, draws=None, n_jobs=1, cache=None, progress=False
) -> dict[str, pd.DataFrame]:
    """Chapter 12: alignment and games on film ratings, and the tables the notebook reads.

    Parameters
    ----------
    data_dir : as in `datasets.raw_file`. out : folder to write to; the course's own tables if omitted.
    draws : draws of every alignment curve, twice as many as games of every game curve; 400 if omitted.
    n_jobs, cache, progress : as in `experiments.run_draws`.

    Returns
    -------
    The tables written, by name: movies_groups, movies_completion, movies_alignment, movies_games. Beside them
    movies_provenance.json is written.
    """
    out = data_folder() if out is None else Path(out)
    draws = whole_number(DRAWS if draws is None else draws, "draws", 1)
    movies = load_movies(data_dir)
    levels = movie_levels(movies)
    run = {"n_jobs": n_jobs, "cache": cache, "progress": progress}
    curves, games = [], []
    for name, level in levels.items():
        if progress:
            print(f"{name}: {level.meaning}", file=sys.stderr)
        curves.append(summarise_films(film_curves(level, draws, **run), name))
    for name, bonus, level in game_levels(levels):
        if progress:
            print(f"{name}, bonus of {bonus:g} stars", file=sys.stderr)
        table = summarise_games(film_games(level, (draws + 1) // 2, **run), name)
        table.insert(1, "bonus", bonus)
        games.append(table)
    cells = taste_cells(movies)
    tables = {
        "movies_groups": groups_table(cells),
        "movies_completion": rounded(completion_errors(dense_block(movies, *BLOCK, start="items").utilities)),
        "movies_alignment": rounded(pd.concat(curves, ignore_index=True)),
        "movies_games": rounded(pd.concat(games, ignore_index=True)),
    }
    write_results(
        out,
        "movies",
        tables,
        {**MOVIELENS, **provenance("movies", *RAW)},
        seed=SEED,
        draws=draws,
        test_share=TEST_SHARE,
        completion={"rank": RANK, "shrinkage": SHRINKAGE, "folds": FOLDS},
        games={
            "games": (draws + 1) // 2,
            **GAME,
            "providers": list(GAME_SIZES),
            "bonuses_in_stars": list(BONUSES),
        },
        groups={
            "groups": len(cells.sizes),
            "films": len(cells.items),
            "people": int(cells.sizes.sum()),
            "people_in_a_group": [int(cells.sizes.min()), int(cells.sizes.max())],
            "fewest_ratings_behind_any_value": int(cells.answers.min()),
            "noise_share": round(cells.noise_share(), 3),
            "noise_share_without_consensus": round(cells.noise_share(remove_consensus=True), 3),
            "values": "plain means of utilities in [0, 1], rounded to 4 decimals",
        },
        levels={
            name: {
                "meaning": level.meaning,
                "users": len(level.users),
                "films": level.users.shape[1],
                "share_rated": round(float((~np.isnan(level.users)).mean()), 3),
                "most_providers": level.most_providers,
            }
            for name, level in levels.items()
        },
    )
    return tables


# Who plays -----------------------------------------------------------------------------------------------


def movie_levels(movies: Judgements) -> dict[str, Level]:
    """The levels of chapter 12, by name."""
    block, dense = (
        dense_block(movies, *BLOCK, start="items").utilities,
        dense_block(movies, *DENSE_BLOCK, start="items").utilities,
    )
    cells = taste_cells(movies)
    groups = _one_table("a taste group; providers are the other groups", cells.utilities)
    popular = np.argsort(np.argsort(cells.items["ratings"].to_numpy(), kind="stable"))
    popular = popular[None] / (len(popular) - 1) * STAR
    genres = genre_table(cells.items) * STAR
    heavy = people_levels(dense)
    return {
        **{f"people_{name}": level for name, level in people_levels(block).items()},
        **{f"people_{name}": level for name, level in circular_levels(block).items()},
        "dense_raw": heavy["raw"],
        "dense_completed": heavy["completed"],
        "groups": groups,
        "random_groups": _one_table(
            "groups of the same sizes, put together at random", taste_cells(movies, shuffle=True).utilities
        ),
        "person_from_groups": person_from_groups(movies),
        "groups_popular": replace(
            groups,
            meaning="taste groups; every provider adds up to a star for how often a film was rated",
            sponsors=popular,
            shared=True,
        ),
        "groups_one_genre": replace(
            groups,
            meaning="taste groups; every provider adds a star for the films of one genre, the same for all",
            sponsors=genres,
            shared=True,
        ),
        "groups_own_genres": replace(
            groups,
            meaning="taste groups; every provider adds a star for the films of a genre of his own",
            sponsors=genres,
        ),
    }


def people_levels(block) -> dict[str, Level]:
    """Levels whose Alices and providers are people of one block (people, items) with gaps.

    The people are dealt into folds, and whatever fills the providers' gaps is fitted without Alice's whole
    fold, so that nothing of hers is in it. She is tested on her own ratings.
    """
    people = len(block)
    fold = np.random.default_rng(SEED).permutation(people) % FOLDS
    raw, gaps, completed = (np.full((FOLDS, *block.shape), np.nan) for _ in range(3))
    models = []
    for f in range(FOLDS):
        rows = fold != f
        models.append(complete_table(block[rows], RANK, SHRINKAGE))
        rated = ~np.isnan(block[rows])
        raw[f, rows] = np.where(rated, block[rows], models[f].additive)
        gaps[f, rows] = np.where(rated, block[rows], models[f].utilities)
        completed[f, rows] = models[f].utilities
    who = {"table": fold, "own": np.arange(people), "models": tuple(models)}
    size = f"people of a block of {block.shape[0]} x {block.shape[1]}"
    return {
        "raw": Level(
            f"{size}; a missing rating of a provider is what film and person lead one to expect",
            block,
            raw,
            **who,
        ),
        "gaps_completed": Level(
            f"{size}; a missing rating of a provider is what the low-rank model expects", block, gaps, **who
        ),
        "completed": Level(
            f"{size}; every rating of a provider is replaced by the low-rank model's", block, completed, **who
        ),
    }


def circular_levels(block) -> dict[str, Level]:
    """Levels that break the rule of `people_levels` on purpose: the completion has seen all of Alice."""
    everybody = complete_table(block, RANK, SHRINKAGE).utilities
    size = f"people of a block of {block.shape[0]} x {block.shape[1]}"
    model = "every rating of a provider is replaced by a low-rank model fitted to all of Alice's ratings too"
    circular = _one_table(f"{size}; {model}; she is tested on her completed ratings", everybody)
    return {
        "completed_with_alice": replace(
            circular, meaning=f"{size}; {model}; she is tested on her own ratings", users=block
        ),
        "circular": circular,
        "circular_rank_20": _one_table(
            f"as people_circular, with a model of rank {max(RANKS)}",
            complete_table(block, max(RANKS), SHRINKAGE).utilities,
        ),
    }


def _one_table(meaning, table):
    """A Level in which everybody of one complete table can be Alice, and all others her providers."""
    people = len(table)
    return Level(meaning, table, table[None], np.zeros(people, dtype=int), np.arange(people))


def taste_cells(movies: Judgements, keep=None, shuffle=False):
    """Cells of taste groups on the most rated films; the groups are formed on all other films.

    keep : (people,) true for those who may belong to a group. People with fewer than 5 ratings of other films
    belong to none. shuffle : deal the same people into groups of the same sizes at random instead.
    """
    shown = most_rated(movies, GROUP_FILMS)
    able = (~np.isnan(movies.utilities[:, ~shown])).sum(axis=1) >= FEWEST_OTHER
    people = movies.where(able if keep is None else able & keep)
    labels = split_by_taste(_films(people, ~shown))
    if shuffle:
        labels = np.random.default_rng(SEED).permutation(labels)
    grouped = replace(_films(people, shown), people=people.people.assign(group=labels))
    return demographic_cells(grouped, by="group")


def person_from_groups(movies: Judgements) -> Level:
    """A person as Alice, taste groups formed without her whole fold as providers."""
    shown = most_rated(movies, GROUP_FILMS)
    fold = np.random.default_rng(SEED).permutation(len(movies.utilities)) % FOLDS
    judges = np.array([taste_cells(movies, fold != f).utilities for f in range(FOLDS)])
    own = movies.utilities[:, shown]
    users = (~np.isnan(own)).sum(axis=1) >= FEWEST_OWN
    return Level(
        f"a person who rated {FEWEST_OWN} or more of the {GROUP_FILMS} films; providers are taste groups "
        "without her",
        own[users],
        judges,
        fold[users],
        np.full(users.sum(), -1),
    )


def _films(movies, keep):
    return replace(movies, utilities=movies.utilities[:, keep], items=movies.items[keep])


def genre_table(items: pd.DataFrame) -> np.ndarray:
    """(genres, items) one where a film is of a genre; genres of a tenth to half of the films, by name."""
    table = items["genres"].str.get_dummies("|")
    share = table.mean()
    return table.loc[:, (share >= 0.1) & (share <= 0.5)].T.to_numpy(dtype=float)


def groups_table(cells) -> pd.DataFrame:
    """The embedded table: one row for each film, one column for each taste group."""
    means = pd.DataFrame(cells.utilities.T, columns=cells.labels, index=cells.items.index)
    about = cells.items.rename(columns={"ratings": "ratings_in_all"})
    return rounded(pd.concat([about, means], axis=1).reset_index())


# How well they imitate her -------------------------------------------------------------------------------


def film_curves(level: Level, draws: int, seed=SEED, n_jobs=1, cache=None, progress=False) -> pd.DataFrame:
    """How well k providers imitate Alice on films of hers they were not fitted on.

    As `experiments.alignment_curves`, for users who have not judged everything: Alice's judgements, and
    only they, are split into those to fit on and those to test on. Beside the methods there are three
    yardsticks: "any weights", least squares with weights of any sign; "item mean", the average of everybody
    who could be a provider, with a fitted offset; and, for levels with models, "low-rank model", what
    `Completion.predict` expects from Alice's training judgements.

    Returns
    -------
    DataFrame with one row for each draw, k and method: draw, k, method, train, test, undetermined.
    """
    arguments = {"level": level, "sizes": [k for k in SIZES if k <= level.most_providers], "seed": seed}
    rows = run_draws(_film_draw, arguments, draws, n_jobs, cache, progress, "alignment")
    return pd.DataFrame(rows, columns=["draw", "k", "method", "train", "test", "undetermined"])


def _film_draw(level, sizes, seed, draw):
    rng = draw_generator(seed, draw)
    user, providers, crowd, model = level.cast(rng, max(sizes))
    items = rng.permutation(np.flatnonzero(~np.isnan(user)))
    tests = round(TEST_SHARE * len(items))
    test, train = np.sort(items[:tests]), np.sort(items[tests:])
    yardsticks = {"item mean": crowd}
    if model is not None:
        known = np.full(len(user), np.nan)
        known[train] = user[train]
        yardsticks["low-rank model"] = model.predict(known)
    made = imitations(user, providers, train, sizes)
    own, others = (part - part.mean(axis=-1, keepdims=True) for part in (user[train], providers[:, train]))
    for k in sizes:
        made[k, "any weights"] = np.linalg.lstsq(others[:k].T, own, rcond=EXACT)[0] @ providers[:k]
        made |= {(k, method): guess for method, guess in yardsticks.items()}
    free = {k: k >= len(train) and _free_directions(providers[:k], train) for k in sizes}
    rows = []
    for (k, method), guess in made.items():
        offset = np.mean(user[train] - guess[train])
        train_error, test_error = error_ratios(user, guess + offset, train, test)
        fitted = method in ("simplex", "cone", "any weights")
        rows.append((draw, k, method, train_error, test_error, fitted and free[k] and train_error < EXACT))
    return rows


def _free_directions(providers, train):
    """Whether weights can change that leave all training items as they are, and some other item not."""
    centred = providers - providers[:, train].mean(axis=1, keepdims=True)
    return _rank(centred[:, train]) < _rank(centred)


def _rank(matrix):
    size = np.linalg.svd(matrix, compute_uv=False)
    return int((size > EXACT * size.max()).sum())


def summarise_films(curves: pd.DataFrame, level: str) -> pd.DataFrame:
    """Averages over the draws of `film_curves`, one row for each k and method.

    Columns as in `experiments.summarise` (without the noise share), and two more: beats_item_mean, the
    share of draws in which the method's test error is below that of the item mean, and to_item_mean, the
    mean of their ratio. If any fit of a row was undetermined, its test results are NaN.
    """
    methods = [name for name in (*METHODS, *REFERENCES) if name in set(curves["method"])]
    table = summarise(curves, level, methods=methods, against=(*SIMPLE, "item mean"))
    test = curves.pivot(index=["draw", "k"], columns="method", values="test")
    ratio = test.div(test["item mean"], axis=0).groupby("k").mean().stack().rename("to_item_mean")
    table = table.drop(columns="noise_share").join(ratio, on=["k", "method"])
    return table.assign(to_item_mean=table["to_item_mean"].where(table["mean"].notna()))


# How good a completion is --------------------------------------------------------------------------------


def completion_errors(block, ranks=RANKS, shrinkages=SHRINKAGES, folds=5, seed=SEED) -> pd.DataFrame:
    """Root mean squared error, in stars, on ratings that were hidden from the method.

    The ratings of a block (people, items) are dealt into folds; each fold is predicted from the others.

    Returns
    -------
    DataFrame with columns method, rank, shrinkage, stars (the error over all ratings) and standard_error
    (of the error, from its spread over the folds). Methods: "mean of all", "person's mean", "film's mean",
    "film and person" (`Completion.additive`), and "low rank" for every rank and shrinkage.
    """
    places = np.argwhere(~np.isnan(block))
    fold = np.random.default_rng(seed).permutation(len(places)) % folds
    squares = {}
    for f in range(folds):
        hidden = tuple(places[fold == f].T)
        known = block.copy()
        known[hidden] = np.nan
        full = np.ones_like(block)
        guesses = {
            ("mean of all", 0, 0.0): np.nanmean(known) * full,
            ("person's mean", 0, 0.0): np.nanmean(known, axis=1, keepdims=True) * full,
            ("film's mean", 0, 0.0): np.nanmean(known, axis=0) * full,
        }
        for shrinkage in shrinkages:
            for rank in ranks:
                model = complete_table(known, rank, shrinkage)
                guesses["low rank", rank, shrinkage] = model.utilities
        guesses["film and person", 0, 0.0] = model.additive
        for key, guess in guesses.items():
            squares.setdefault(key, []).append(np.mean(((guess - block)[hidden] / STAR) ** 2))
    rows = [
        (*key, np.sqrt(np.mean(values)), np.std(np.sqrt(values), ddof=1) / np.sqrt(folds))
        for key, values in squares.items()
    ]
    table = pd.DataFrame(rows, columns=["method", "rank", "shrinkage", "stars", "standard_error"])
    order = ["mean of all", "person's mean", "film's mean", "film and person", "low rank"]
    return table.sort_values(
        "method", key=lambda names: names.map(order.index), kind="stable", ignore_index=True
    )


def chosen_completion(errors: pd.DataFrame) -> tuple[int, float]:
    """Rank and shrinkage: of the fits whose error is within 1 % of the best, that of smallest rank."""
    fits = errors[errors["method"] == "low rank"]
    good = fits[fits["stars"] <= 1.01 * fits["stars"].min()]
    row = good.sort_values(["rank", "stars"]).iloc[0]
    return int(row["rank"]), float(row["shrinkage"])


# The game ------------------------------------------------------------------------------------------------


def game_levels(levels):
    """(name, bonus in stars, Level) of every game curve: plain levels, and sponsored ones at every bonus."""
    for name in ("people_raw", "people_completed", "groups", "person_from_groups"):
        yield name, 0.0, levels[name]
    for name in ("groups_popular", "groups_one_genre", "groups_own_genres"):
        for bonus in BONUSES:
            yield name, bonus, replace(levels[name], sponsors=bonus * levels[name].sponsors)


def film_games(level: Level, games: int, seed=SEED, n_jobs=1, cache=None, progress=False) -> pd.DataFrame:
    """The best-AI selection game on slates of films that Alice has judged.

    As `experiments.game_curve`: ten slates of three films each, equally likely, dealt from Alice's own
    judgements, and the first k providers compete. Returns a DataFrame with the same columns.
    """
    arguments = {"level": level, "sizes": [k for k in GAME_SIZES if k <= level.most_providers], "seed": seed}
    return pd.DataFrame(run_draws(_film_game, arguments, games, n_jobs, cache, progress, "games"))


def _film_game(level, sizes, seed, draw):
    rng = draw_generator(seed, draw)
    user, providers, _, _ = level.cast(rng, max(sizes))
    slates, options, bid_step = GAME["slates"], GAME["options"], GAME["bid_step"]
    films = rng.permutation(np.flatnonzero(~np.isnan(user)))[: slates * options]
    user, providers = user[films], providers[:, films]
    table = np.arange(slates * options).reshape(slates, options)
    return play_first(slate_market(user, providers, table), sizes, bid_step, draw)
