"""MovieLens ml-latest-small: film ratings as utilities, dense blocks, low-rank completion and taste groups.

F. Maxwell Harper and Joseph A. Konstan (2015), The MovieLens Datasets: History and Context, ACM
Transactions on Interactive Intelligent Systems 5(4), article 19. The data are for research, not for
commercial use; whatever is made from them may be passed on only under the same conditions, which its
README.txt states in full.
"""

from __future__ import annotations

from dataclasses import dataclass
from string import ascii_uppercase

import numpy as np
import pandas as pd

from .._validation import InputError, real_number, whole_number
from .judgements import Judgements
from .sources import raw_file

FEWEST_STARS, MOST_STARS = 0.5, 5.0
STAR = 1 / (MOST_STARS - FEWEST_STARS)  # one star, in units of utility
ARTICLES = ("The", "A", "An")


def load_movies(data_dir=None, fewest_ratings: int = 50) -> Judgements:
    """The ratings of ml-latest-small: 610 people, 0.5 to 5 stars, as utilities over films.

    Utility is (stars - 0.5) / 4.5, that is 0 for half a star and 1 for five; a star is worth 2/9. Films
    that a person did not rate are NaN.

    Parameters
    ----------
    data_dir : see :func:`raw_file`.
    fewest_ratings : leave out films with fewer ratings than this (50 keeps 450 of the 9,724 rated films).

    Returns
    -------
    Judgements; `items` is indexed by the movieId of MovieLens and has columns title (without the year, its
    article in front), year, genres (separated by |) and ratings (their number). `people` are numbered and
    have one column, ratings: how many of these films they rated.

    Raises
    ------
    InputError if no film has so many ratings, DataError if a raw file is missing or is not the one expected.
    """
    fewest_ratings = whole_number(fewest_ratings, "fewest_ratings", 1)
    ratings = pd.read_csv(raw_file("movielens_ratings", data_dir))
    films = pd.read_csv(raw_file("movielens_movies", data_dir)).set_index("movieId")
    stars = ratings.pivot(index="userId", columns="movieId", values="rating")
    counts = stars.notna().sum()
    stars = stars.loc[:, counts >= fewest_ratings]
    if stars.shape[1] == 0:
        raise InputError(f"fewest_ratings must be at most {counts.max()}, the ratings of the film with most.")
    films = films.loc[stars.columns]
    parts = films["title"].str.strip().str.extract(r"^(?P<title>.*?)(?: \((?P<year>\d{4})\))?$")
    items = pd.DataFrame(
        {
            "title": [_article_in_front(title) for title in parts["title"]],
            "year": parts["year"].astype("Int64"),
            "genres": films["genres"],
            "ratings": counts[stars.columns],
        },
        index=pd.Index(stars.columns, name="movie"),
    )
    utilities = (stars.to_numpy() - FEWEST_STARS) * STAR
    return Judgements(utilities, items, pd.DataFrame({"ratings": (~np.isnan(utilities)).sum(axis=1)}))


def _article_in_front(title):
    """Turn "Matrix, The" into "The Matrix"; leave out what is in brackets, mostly a foreign title."""
    title = title.split(" (")[0]
    front, _, article = title.rpartition(", ")
    return f"{article} {front}" if article in ARTICLES else title


def most_rated(movies: Judgements, films: int) -> np.ndarray:
    """(items,) true for the films with most ratings; of equally many, the one listed first."""
    films = whole_number(films, "films", 1, movies.utilities.shape[1])
    counts = (~np.isnan(movies.utilities)).sum(axis=0)
    chosen = np.zeros(len(counts), dtype=bool)
    chosen[np.argsort(-counts, kind="stable")[:films]] = True
    return chosen


@dataclass(frozen=True, eq=False)
class Completion:
    """A table without gaps: for each person and film, level + person + film + a term of low rank.

    level : number.
    people : (people,) how generous each person is. films : (items,) how well each film is liked.
    person_factors : (people, rank), film_factors : (items, rank); their product is the low-rank term.
    shrinkage : of the singular values. damping : ratings "of nothing special" added to every mean.
    """

    level: float
    people: np.ndarray
    films: np.ndarray
    person_factors: np.ndarray
    film_factors: np.ndarray
    shrinkage: float
    damping: float

    @property
    def rank(self) -> int:
        """Rank of the low-rank term."""
        return self.film_factors.shape[1]

    @property
    def additive(self) -> np.ndarray:
        """(people, items) the fit without the low-rank term."""
        return self.level + self.people[:, None] + self.films

    @property
    def utilities(self) -> np.ndarray:
        """(people, items) the whole fit."""
        return self.additive + self.person_factors @ self.film_factors.T

    def predict(self, ratings) -> np.ndarray:
        """(items,) what the fit expects of somebody new with these ratings (items,), NaN where she gave none.

        Her generosity and her factors are fitted to her ratings with the same damping and shrinkage,
        everything about the films is kept. InputError if she rated nothing.
        """
        ratings = np.asarray(ratings, dtype=float)
        rated = ~np.isnan(ratings) if ratings.shape == self.films.shape else np.zeros(1, dtype=bool)
        if not rated.any():
            raise InputError(
                f"ratings must hold one entry for each of the {self.films.size} films, some not NaN."
            )
        rest = ratings[rated] - self.level - self.films[rated]
        person = rest.sum() / (rated.sum() + self.damping)
        seen = self.film_factors[rated]
        ridge = seen.T @ seen + self.shrinkage * np.eye(self.rank)
        factors = np.linalg.solve(ridge, seen.T @ (rest - person))
        return self.level + person + self.films + self.film_factors @ factors


def complete_table(
    utilities, rank: int, shrinkage: float, damping: float = 5.0, tolerance: float = 1e-4
) -> Completion:
    """Fill a table by additive effects and a low-rank term with shrunken singular values.

    The additive effects are means, each damped towards zero as by `damping` ratings of exactly zero. What
    they leave is fitted by soft-impute (Mazumder, Hastie and Tibshirani 2010) with a limit on the rank:
    fill the gaps with the current fit, take the singular value decomposition, subtract `shrinkage` from
    every singular value, keep the `rank` largest, repeat until the fit moves by less than `tolerance` of
    its size.

    Parameters
    ----------
    utilities : (people, items), NaN where missing; something in every row and column.
    rank : largest rank. shrinkage : positive, in units of utility. damping : number of ratings, zero or more.

    Raises
    ------
    InputError if a row or column is empty or an argument is out of range.
    """
    table = np.array(utilities, dtype=float)
    rated = ~np.isnan(table)
    if table.ndim != 2 or not rated.any(axis=0).all() or not rated.any(axis=1).all():
        raise InputError(
            "utilities must be (people, items) with at least one rating in every row and column."
        )
    rank = whole_number(rank, "rank", 0)
    shrinkage = real_number(shrinkage, "shrinkage", 0)
    damping = real_number(damping, "damping", 0)
    if shrinkage == 0:
        raise InputError("shrinkage must be above zero; without it the gaps are not determined.")
    level = table[rated].mean()
    rest = np.where(rated, table - level, 0.0)
    people, films = np.zeros(len(table)), np.zeros(table.shape[1])
    for _ in range(50):
        people = (rest - rated * films).sum(axis=1) / (rated.sum(axis=1) + damping)
        films = (rest - rated * people[:, None]).sum(axis=0) / (rated.sum(axis=0) + damping)
    rest = rest - rated * (people[:, None] + films)
    fit = np.zeros_like(rest)
    for _ in range(2000):
        left, size, right = np.linalg.svd(np.where(rated, rest, fit), full_matrices=False)
        size = np.maximum(size[:rank] - shrinkage, 0)
        new = (left[:, :rank] * size) @ right[:rank]
        moved = np.linalg.norm(new - fit)
        fit = new
        if moved <= tolerance * np.linalg.norm(fit):
            break
    used = int((size > 0).sum())
    root = np.sqrt(size[:used])
    return Completion(
        float(level), people, films, left[:, :used] * root, right[:used].T * root, shrinkage, damping
    )


def split_by_taste(movies: Judgements, splits: int = 3, dimensions: int = 5) -> np.ndarray:
    """Sort people into 2 ** splits groups of equal size (up to one) by what they like more than others do.

    From every rating the additive effects are taken away (`complete_table`); what remains, with zero where
    there is no rating, is reduced to its first `dimensions` singular directions, and each person's row to
    length one, so that only the direction of her taste counts. Then everybody is split in two halves at the
    median of the direction in which people differ most, each half again in its own direction, and so on.

    Parameters
    ----------
    movies : Judgements in which everybody rated something; use other films than those the groups will judge.
    splits, dimensions : whole numbers, at least one.

    Returns
    -------
    (people,) of letters "A", "B", ...; the group of the first person is "A", that of the next who is not in
    it "B".

    Raises
    ------
    InputError if somebody rated nothing, or there are fewer people than groups.
    """
    table = movies.utilities
    splits, dimensions = whole_number(splits, "splits", 1, 4), whole_number(dimensions, "dimensions", 1)
    if len(table) < 2**splits:
        raise InputError(f"splits={splits} makes {2**splits} groups; there are only {len(table)} people.")
    if np.isnan(table).all(axis=1).any():
        raise InputError(
            "movies must hold only people who rated something; leave out the others with where()."
        )
    table = table[:, ~np.isnan(table).all(axis=0)]
    additive = complete_table(table, rank=0, shrinkage=1.0).additive
    rest = np.where(np.isnan(table), 0.0, table - additive)
    left, size = np.linalg.svd(rest, full_matrices=False)[:2]
    taste = (left * size)[:, :dimensions]
    length = np.linalg.norm(taste, axis=1, keepdims=True)
    taste = taste / np.where(length > 0, length, 1)
    groups = [np.arange(len(table))]
    for _ in range(splits):
        groups = [half for group in groups for half in _halves(taste, group)]
    labels = np.empty(len(table), dtype="<U1")
    for letter, group in zip(ascii_uppercase, sorted(groups, key=min)):
        labels[group] = letter
    return labels


def _halves(taste, group):
    """A group split at the median along its own main direction."""
    rows = taste[group] - taste[group].mean(axis=0)
    direction = np.linalg.svd(rows, full_matrices=False)[2][0]
    direction = direction * np.sign(direction[np.abs(direction).argmax()])  # the sign is otherwise arbitrary
    order = np.argsort(rows @ direction, kind="stable")
    return group[order[: len(group) // 2]], group[order[len(group) // 2 :]]
