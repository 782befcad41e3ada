"""MovieLens: the loader, dense blocks, completion and taste groups, on made-up files and on the genuine ones."""

import hashlib

import numpy as np
import pandas as pd
import pytest
from emergent_alignment import InputError, datasets
from emergent_alignment.datasets import Judgements, demographic_cells, load_table, sources
from emergent_alignment.datasets.movies import (
    STAR,
    complete_table,
    load_movies,
    most_rated,
    split_by_taste,
)

FILMS = """movieId,title,genres
1,Toy Story (1995),Adventure|Animation
7,"Matrix, The (1999)",Action|Sci-Fi
9,"City of Lost Children, The (Cité des enfants perdus, La) (1995)",Adventure
11,"American President, The (1995)",Comedy
12,Untitled,(no genres listed)
"""
RATINGS = """userId,movieId,rating,timestamp
1,1,0.5,5
1,7,5.0,6
2,1,3.0,7
2,9,4.5,8
4,7,2.5,9
4,11,1.0,10
4,12,4.0,11
"""


@pytest.fixture
def made_up(tmp_path, monkeypatch):
    """A folder with small files in the source's format, accepted as if they were the genuine ones."""
    for name, text in (("movielens_ratings", RATINGS), ("movielens_movies", FILMS)):
        source = sources.SOURCES[name]
        path = tmp_path / source.path
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        digest = hashlib.sha256(text.encode()).hexdigest()
        monkeypatch.setitem(sources.SOURCES, name, sources.Source(source.path, source.url, digest))
    return tmp_path


@pytest.fixture(scope="module")
def movies(raw_data):
    return load_movies(raw_data)


def films_of(table, **columns):
    table = np.array(table, dtype=float)
    items = pd.DataFrame(columns, index=[f"film {i}" for i in range(table.shape[1])])
    return Judgements(table, items, pd.DataFrame({"ratings": (~np.isnan(table)).sum(axis=1)}))


# The loader --------------------------------------------------------------------------------------------------


def test_stars_become_utilities_and_the_unrated_stays_unknown(made_up):
    movies = load_movies(made_up, fewest_ratings=1)
    assert movies.items.index.tolist() == [1, 7, 9, 11, 12]
    nan = np.nan
    stars = [[0.5, 5, nan, nan, nan], [3, nan, 4.5, nan, nan], [nan, 2.5, nan, 1, 4]]
    np.testing.assert_allclose(movies.utilities, (np.array(stars) - 0.5) / 4.5)
    assert movies.people["ratings"].tolist() == [2, 2, 3] and list(movies.people) == ["ratings"]
    assert movies.items["ratings"].tolist() == [2, 2, 1, 1, 1]


def test_titles_are_short_and_years_apart(made_up):
    items = load_movies(made_up, fewest_ratings=1).items
    expected = ["Toy Story", "The Matrix", "The City of Lost Children", "The American President", "Untitled"]
    assert items["title"].tolist() == expected
    assert items["year"].tolist()[:4] == [1995, 1999, 1995, 1995] and pd.isna(items["year"].iloc[4])


def test_rarely_rated_films_are_left_out(made_up):
    assert load_movies(made_up, fewest_ratings=2).items.index.tolist() == [1, 7]
    with pytest.raises(InputError, match="fewest_ratings must be at most 2"):
        load_movies(made_up, fewest_ratings=3)
    for wrong in (0, 1.5, True):
        with pytest.raises(InputError, match="fewest_ratings"):
            load_movies(made_up, fewest_ratings=wrong)


def test_another_file_is_refused(made_up):
    path = made_up / sources.SOURCES["movielens_ratings"].path
    path.write_text(RATINGS[:-20])
    with pytest.raises(datasets.DataError, match="not the file expected"):
        load_movies(made_up)


def test_the_genuine_ratings(movies, raw_data):
    everything = load_movies(raw_data, fewest_ratings=1)
    assert everything.utilities.shape == (610, 9724)
    assert (~np.isnan(everything.utilities)).sum() == 100836
    assert movies.utilities.shape == (610, 450)
    assert np.nanmin(movies.utilities) == 0 and np.nanmax(movies.utilities) == 1
    steps = movies.utilities[~np.isnan(movies.utilities)] / STAR * 2
    np.testing.assert_allclose(steps, np.round(steps), atol=1e-9)  # half stars
    forrest_gump = movies.items.loc[356]
    assert (forrest_gump["title"], forrest_gump["year"], forrest_gump["ratings"]) == (
        "Forrest Gump",
        1994,
        329,
    )
    assert movies.items["ratings"].max() == 329 and movies.items["ratings"].min() >= 50
    assert not movies.items["title"].str.contains(r"\(\d{4}\)|, The$").any()


# Films and groups --------------------------------------------------------------------------------------------


def test_the_most_rated_films():
    nan = np.nan
    table = films_of([[1, nan, 0, nan], [1, nan, nan, 1], [1, 1, nan, nan]])
    assert most_rated(table, 1).tolist() == [True, False, False, False]
    assert most_rated(table, 2).tolist() == [True, True, False, False]  # of equally many, the first


# Completion --------------------------------------------------------------------------------------------------


def low_rank_table(seed=1, people=40, films=30, rank=2, missing=0.3):
    rng = np.random.default_rng(seed)
    truth = 0.5 + 0.1 * rng.normal(size=(people, 1)) + 0.1 * rng.normal(size=films)
    truth = truth + rng.normal(size=(people, rank)) @ rng.normal(size=(rank, films)) * 0.2
    return truth, np.where(rng.random(truth.shape) < missing, np.nan, truth)


def test_a_low_rank_table_is_recovered_where_it_was_hidden():
    truth, known = low_rank_table(people=80, films=60, missing=0.2)
    model = complete_table(known, rank=2, shrinkage=0.01, damping=0.0)
    hidden = np.isnan(known)
    error = np.sqrt(np.mean((model.utilities - truth)[hidden] ** 2))
    additive = np.sqrt(np.mean((model.additive - truth)[hidden] ** 2))
    assert error < 0.15 * additive


def test_the_additive_part_is_the_least_squares_fit_of_film_and_person():
    _, known = low_rank_table(people=9, films=7)
    model = complete_table(known, rank=0, shrinkage=1.0, damping=0.0)
    rows, columns = np.nonzero(~np.isnan(known))
    design = np.zeros((len(rows), 16))
    design[np.arange(len(rows)), rows] = design[np.arange(len(rows)), 9 + columns] = 1
    fit = design @ np.linalg.lstsq(design, known[rows, columns], rcond=None)[0]
    np.testing.assert_allclose(model.additive[rows, columns], fit, atol=1e-6)
    np.testing.assert_allclose(model.utilities, model.additive)
    assert model.rank == 0


def test_soft_impute_solves_its_convex_problem():
    """With the rank left free: the residual is a subgradient of shrinkage times the nuclear norm."""
    _, known = low_rank_table(people=20, films=15)
    shrinkage = 0.8
    model = complete_table(known, rank=15, shrinkage=shrinkage, tolerance=1e-10)
    rest = np.where(np.isnan(known), 0.0, known - model.utilities)
    fit = model.utilities - model.additive
    left, size, right = np.linalg.svd(fit)
    used = size > 1e-8
    np.testing.assert_allclose(
        left[:, : used.sum()].T @ rest @ right[: used.sum()].T, shrinkage * np.eye(used.sum()), atol=1e-5
    )
    assert np.linalg.norm(rest, 2) <= shrinkage + 1e-5
    assert 0 < used.sum() < 15


def test_more_shrinkage_means_a_smaller_fit_and_enough_of_it_none():
    _, known = low_rank_table()
    sizes = [np.linalg.norm(complete_table(known, 5, s).person_factors) for s in (0.1, 0.5, 2.0, 100.0)]
    assert sizes == sorted(sizes, reverse=True) and sizes[-1] == 0


def test_somebody_new_is_treated_as_the_people_of_the_table_were():
    _, known = low_rank_table()
    model = complete_table(known, rank=2, shrinkage=0.3, tolerance=1e-9)
    for row in (0, 7):
        np.testing.assert_allclose(model.predict(known[row]), model.utilities[row], atol=1e-5)


def test_a_prediction_uses_nothing_but_what_is_given():
    _, known = low_rank_table()
    model = complete_table(known[1:], rank=2, shrinkage=0.3)
    given = np.where(np.arange(30) < 12, known[0], np.nan)
    truth = np.where(np.arange(30) < 12, known[0], 99.0)
    np.testing.assert_array_equal(model.predict(given), model.predict(np.where(truth == 99, np.nan, truth)))
    for wrong in (np.full(30, np.nan), known[0, :5]):
        with pytest.raises(InputError, match="ratings must hold one entry"):
            model.predict(wrong)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rank": -1}, "rank"),
        ({"rank": 1.5}, "rank"),
        ({"shrinkage": 0.0}, "shrinkage must be above zero"),
        ({"shrinkage": -1.0}, "shrinkage"),
        ({"damping": -1.0}, "damping"),
        ({"utilities": [[np.nan, np.nan], [1.0, 0.0]]}, "at least one rating in every row"),
        ({"utilities": [[np.nan, 1.0], [np.nan, 0.0]]}, "at least one rating in every row"),
        ({"utilities": [1.0, 0.0]}, "utilities must be"),
    ],
)
def test_bad_completions_are_refused(change, message):
    arguments = {"utilities": [[1.0, 0.0], [0.5, np.nan]], "rank": 1, "shrinkage": 0.1} | change
    with pytest.raises(InputError, match=message):
        complete_table(**arguments)


# Taste groups ------------------------------------------------------------------------------------------------


def two_tastes(seed=2, people=40, films=24):
    rng = np.random.default_rng(seed)
    kind = rng.permutation(np.repeat([1, -1], people // 2))
    liking = kind[:, None] * np.where(np.arange(films) < films // 2, 0.3, -0.3)
    table = 0.5 + liking + 0.02 * rng.normal(size=(people, films)) + 0.1 * rng.normal(size=(people, 1))
    table[rng.random(table.shape) < 0.3] = np.nan
    return kind, films_of(table)


def test_two_kinds_of_people_are_told_apart():
    kind, movies = two_tastes()
    labels = split_by_taste(movies, splits=1, dimensions=2)
    assert set(labels) == {"A", "B"} and labels[0] == "A"
    assert len(set(zip(kind, labels, strict=True))) == 2  # each group is of one kind


def test_groups_are_of_equal_size_and_named_by_their_first_member():
    _, movies = two_tastes(people=38)
    labels = split_by_taste(movies, splits=3)
    names, first, counts = np.unique(labels, return_index=True, return_counts=True)
    assert names.tolist() == list("ABCDEFGH") and counts.min() >= 4 and counts.max() <= 5
    assert first.tolist() == sorted(first)


def test_generosity_does_not_make_a_group():
    _, movies = two_tastes()
    generous = Judgements(movies.utilities + np.linspace(-0.3, 0.3, 40)[:, None], movies.items, movies.people)
    labels, shifted = (split_by_taste(m, splits=1, dimensions=1) for m in (movies, generous))
    assert (labels == shifted).mean() > 0.95


def test_groups_that_cannot_be_formed_are_refused():
    _, movies = two_tastes()
    empty = movies.utilities.copy()
    empty[3] = np.nan
    with pytest.raises(InputError, match="only people who rated something"):
        split_by_taste(films_of(empty))
    with pytest.raises(InputError, match="there are only 7 people"):
        split_by_taste(films_of(movies.utilities[:7]), splits=3)
    for wrong in ({"splits": 0}, {"splits": 5}, {"dimensions": 0}):
        with pytest.raises(InputError, match=next(iter(wrong))):
            split_by_taste(movies, **wrong)


# The embedded table ------------------------------------------------------------------------------------------


def test_the_embedded_groups_are_averages_of_at_least_five_people(movies):
    table = load_table("movies_groups")
    groups = table[list("ABCDEFGH")].to_numpy()
    assert groups.shape == (50, 8) and (0 <= groups).all() and (groups <= 1).all()
    assert table["movie"].is_unique and table["title"].str.len().max() < 60
    shown = most_rated(movies, 50)
    assert table["movie"].tolist() == movies.items.index[shown].tolist()
    able = (~np.isnan(movies.utilities[:, ~shown])).sum(axis=1) >= 5
    people = movies.where(able)
    labels = split_by_taste(Judgements(people.utilities[:, ~shown], movies.items[~shown], people.people))
    for place, name in enumerate("ABCDEFGH"):
        rows = people.utilities[labels == name][:, shown]
        assert (~np.isnan(rows)).sum(axis=0).min() >= 5
        np.testing.assert_allclose(groups[:, place], np.nanmean(rows, axis=0), atol=6e-5)


def test_nobody_can_be_read_off_the_embedded_groups(movies):
    table = load_table("movies_groups")
    rows = movies.utilities[:, most_rated(movies, 50)]
    complete = rows[(~np.isnan(rows)).sum(axis=1) >= 25]
    nearest = min(np.nanmax(np.abs(complete - table[name].to_numpy()), axis=1).min() for name in "ABCDEFGH")
    assert nearest > 0.1  # nobody's ratings are within half a star of a group's means on every film


def test_groups_of_the_library_and_of_cells_agree(movies):
    shown = most_rated(movies, 50)
    people = movies.where((~np.isnan(movies.utilities[:, ~shown])).sum(axis=1) >= 5)
    labels = split_by_taste(Judgements(people.utilities[:, ~shown], movies.items[~shown], people.people))
    own = Judgements(people.utilities[:, shown], movies.items[shown], people.people.assign(group=labels))
    cells = demographic_cells(own, by="group")
    assert cells.labels == tuple("ABCDEFGH") and cells.answers.min() >= 10
