"""Chapter 12's films: who plays, what a draw computes, and the committed numbers computed again."""

import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from emergent_alignment import __version__, align, datasets
from emergent_alignment.datasets import data_folder, load_table
from emergent_alignment.datasets.movies import STAR, complete_table, load_movies
from emergent_alignment.datasets.taste import dense_block
from emergent_alignment.experiments import METHODS, draw_generator, summarise_games
from emergent_alignment.reproduce import movies as films
from emergent_alignment.reproduce.movies import Level

TABLES = ("movies_groups", "movies_completion", "movies_alignment", "movies_games")


def block_with_gaps(people=40, items=24, missing=0.3, seed=3):
    rng = np.random.default_rng(seed)
    table = 0.5 + 0.15 * rng.normal(size=(people, 3)) @ rng.normal(size=(3, items))
    table += 0.1 * rng.normal(size=table.shape)
    table[rng.random(table.shape) < missing] = np.nan
    return table


@pytest.fixture(scope="module")
def movies(raw_data):
    return load_movies(raw_data)


@pytest.fixture(scope="module")
def levels(movies):
    return films.movie_levels(movies)


@pytest.fixture(scope="module")
def small():
    block = block_with_gaps()
    return block, {**films.people_levels(block), **films.circular_levels(block)}


@pytest.fixture
def origin():
    return json.loads((data_folder() / "movies_provenance.json").read_text())


# Who plays ---------------------------------------------------------------------------------------------------


def test_nothing_of_alice_is_in_the_providers_she_can_choose(small):
    block, levels = small
    alice = 5
    other = block.copy()
    other[alice] = np.where(np.isnan(block[alice]), np.nan, 1 - block[alice])  # the opposite of everything
    changed = films.people_levels(other)
    for name, level in changed.items():
        fold = level.table[alice]
        np.testing.assert_array_equal(level.judges[fold], levels[name].judges[fold])
        assert np.isnan(level.judges[fold, alice]).all()
        before, after = levels[name].models[fold].film_factors, level.models[fold].film_factors
        np.testing.assert_array_equal(before, after)
    assert not np.array_equal(films.circular_levels(other)["circular"].judges, levels["circular"].judges)


def test_providers_keep_their_own_ratings_unless_they_are_completed(small):
    block, levels = small
    rated = ~np.isnan(block)
    for fold in range(films.FOLDS):
        rows = (levels["raw"].table != fold)[:, None] & rated
        np.testing.assert_array_equal(levels["raw"].judges[fold][rows], block[rows])
        np.testing.assert_array_equal(levels["gaps_completed"].judges[fold][rows], block[rows])
        assert np.abs(levels["completed"].judges[fold][rows] - block[rows]).max() > 0.05
        gaps = (levels["raw"].table != fold)[:, None] & ~rated
        np.testing.assert_array_equal(
            levels["gaps_completed"].judges[fold][gaps], levels["completed"].judges[fold][gaps]
        )


def test_alice_is_tested_on_her_own_ratings_except_in_the_circle(small):
    block, levels = small
    for name in ("raw", "gaps_completed", "completed", "completed_with_alice"):
        np.testing.assert_array_equal(levels[name].users, block)
    np.testing.assert_array_equal(levels["circular"].users, levels["circular"].judges[0])
    full = complete_table(block, films.RANK, films.SHRINKAGE).utilities
    np.testing.assert_array_equal(levels["circular"].users, full)


def test_casting():
    table = np.arange(12.0).reshape(4, 3)
    level = Level("x", table, table[None], np.zeros(4, int), np.arange(4))
    for draw in range(20):
        user, providers, crowd, model = level.cast(draw_generator(1, draw), 2)
        alice = int(user[0]) // 3
        others = [i for i in range(4) if i != alice]
        rows = [int(row[0]) // 3 for row in providers]
        assert len(rows) == 2 and set(rows) <= set(others) and len(set(rows)) == 2
        np.testing.assert_allclose(crowd, table[others].mean(axis=0))
        assert model is None
    more = level.cast(draw_generator(1, 0), 3)[1]
    np.testing.assert_array_equal(more[:2], level.cast(draw_generator(1, 0), 2)[1])
    assert level.most_providers == 3
    assert replace(level, own=np.full(4, -1)).most_providers == 4


def test_sponsors_change_the_providers_and_nothing_else():
    rng = np.random.default_rng(0)
    table, sponsors = rng.random((6, 5)), np.eye(5) * 10
    plain = Level("x", table, table[None], np.zeros(6, int), np.arange(6))
    user, providers, crowd, _ = plain.cast(draw_generator(1, 3), 4)
    for shared in (False, True):
        sponsored = replace(plain, sponsors=sponsors, shared=shared)
        same_user, paid, same_crowd, _ = sponsored.cast(draw_generator(1, 3), 4)
        np.testing.assert_array_equal(user, same_user)
        np.testing.assert_array_equal(crowd, same_crowd)
        bonus = (paid - providers).round(9)
        assert bonus.sum(axis=1).tolist() == [10] * 4
        assert len({row.argmax() for row in bonus}) == (1 if shared else 4)


def test_taste_groups_never_know_the_person_they_advise(movies, levels):
    level = levels["person_from_groups"]
    assert level.judges.shape == (10, 8, 50) and not np.isnan(level.judges).any()
    person = int(np.flatnonzero(level.table == 4)[0])
    rows = np.flatnonzero(
        (movies.utilities[:, films.most_rated(movies, 50)] == level.users[person]).sum(axis=1) > 30
    )
    changed = movies.utilities.copy()
    changed[rows] = np.where(np.isnan(changed[rows]), np.nan, 1 - changed[rows])
    fold = np.random.default_rng(films.SEED).permutation(610) % films.FOLDS
    assert rows.size == 1 and fold[rows[0]] == 4
    cells = films.taste_cells(replace(movies, utilities=changed), fold != 4)
    np.testing.assert_array_equal(cells.utilities, level.judges[4])


def test_genres_and_popularity(levels, movies):
    cells = films.taste_cells(movies)
    genres = films.genre_table(cells.items)
    assert genres.shape[1] == 50 and genres.shape[0] >= 7  # one for each of seven providers
    assert ((genres.mean(axis=1) >= 0.1) & (genres.mean(axis=1) <= 0.5)).all()
    comedies = cells.items["genres"].str.contains("Comedy").to_numpy(dtype=float)
    assert (genres == comedies).all(axis=1).sum() == 1
    popular = levels["groups_popular"].sponsors
    assert popular.shape == (1, 50) and popular.min() == 0 and popular.max() == pytest.approx(STAR)
    assert popular[0].argmax() == cells.items["ratings"].to_numpy().argmax()


# A draw ------------------------------------------------------------------------------------------------------


def test_a_draw_against_a_computation_of_its_own(small):
    level = small[1]["raw"]
    rows = pd.DataFrame(
        films._film_draw(level, [2, 5], 7, 11),
        columns=["draw", "k", "method", "train", "test", "undetermined"],
    ).set_index(["k", "method"])
    rng = draw_generator(7, 11)
    user, providers, crowd, model = level.cast(rng, 5)
    items = rng.permutation(np.flatnonzero(~np.isnan(user)))
    tests = round(0.4 * len(items))
    test, train = items[:tests], items[tests:]

    def ratio(prediction, part):
        offset = (user - prediction)[train].mean()
        return np.mean((user - prediction - offset)[part] ** 2) / np.mean(
            (user[part] - user[train].mean()) ** 2
        )

    known = np.full_like(user, np.nan)
    known[train] = user[train]
    expected = {"item mean": crowd, "low-rank model": model.predict(known)}
    for k in (2, 5):
        few = providers[:k]
        design = np.column_stack([few[:, train].T, np.ones(len(train))])
        free = np.linalg.lstsq(design, user[train], rcond=None)[0][:-1]
        expected |= {
            "plain average": few.mean(axis=0),
            "rescaled average": align(
                user[train], few[:, train].mean(axis=0, keepdims=True), "cone", norm="mse"
            ).weights
            @ few.mean(axis=0, keepdims=True),
            "any weights": free @ few,
            "best single": min(few, key=lambda p: ratio(p, train)),
            "simplex": align(user[train], few[:, train], "simplex", norm="mse").weights @ few,
            "cone": align(user[train], few[:, train], "cone", norm="mse").weights @ few,
        }
        for method, prediction in expected.items():
            assert rows.loc[(k, method), "train"] == pytest.approx(ratio(prediction, train), abs=1e-8)
            assert rows.loc[(k, method), "test"] == pytest.approx(ratio(prediction, test), abs=1e-8)
        scaled = min((ratio(w * p, train), w, i) for i, p in enumerate(few) for w in np.linspace(0, 3, 3001))
        assert rows.loc[(k, "rescaled single"), "train"] <= scaled[0] + 1e-12
        assert rows.loc[(k, "rescaled single"), "train"] == pytest.approx(scaled[0], abs=1e-5)


def test_order_in_training(small):
    curves = films.film_curves(small[1]["raw"], 6, seed=2)
    train = curves.pivot(index=["draw", "k"], columns="method", values="train")
    chain = ["any weights", "cone", "simplex", "best single"]
    for better, worse in pairwise(chain):
        assert (train[better] <= train[worse] + 1e-8).all()
    assert (train["cone"] <= train["rescaled single"] + 1e-8).all()
    assert (train["simplex"] <= train["plain average"] + 1e-8).all()


def test_in_the_circle_a_few_providers_span_everybody(small):
    """Film effect, rank and offset: rank + 1 providers and an offset reach every completed row exactly."""
    level = small[1]["circular"]
    rank = np.linalg.matrix_rank(level.users - level.users.mean(axis=1, keepdims=True))
    curves = films.film_curves(level, 5, seed=2)
    exact = curves[curves["method"] == "any weights"].set_index(["k", "draw"])["test"]
    for k in exact.index.unique("k"):
        if k > rank:
            assert (exact[k] < 1e-9).all() and not curves.loc[curves["k"] == k, "undetermined"].any()
        elif k < rank - 1:
            assert (exact[k] > 1e-6).all()


def test_more_weights_than_ratings_leave_the_test_error_open(small):
    curves = films.film_curves(small[1]["raw"], 4, seed=2)
    free = curves[curves["method"] == "any weights"].groupby("k")["undetermined"].all()
    assert not free[10] and free[20]
    summary = films.summarise_films(curves, "raw").set_index(["k", "method"])
    assert np.isnan(summary.loc[(20, "any weights"), "mean"])
    assert summary.loc[(20, "any weights"), "train"] < 1e-9
    assert np.isfinite(summary.loc[(20, "plain average"), "mean"])


def test_the_summary_of_a_curve(small):
    curves = films.film_curves(small[1]["completed"], 8, seed=5)
    table = films.summarise_films(curves, "name").set_index(["k", "method"])
    test = curves.pivot(index=["k", "draw"], columns="method", values="test").loc[5]
    row = table.loc[(5, "simplex")]
    assert row["mean"] == pytest.approx(test["simplex"].mean())
    assert row["beats_item_mean"] == (test["simplex"] < test["item mean"]).mean()
    for other in ("plain average", "rescaled average"):
        assert row[f"beats_{other.replace(' ', '_')}"] == (test["simplex"] < test[other]).mean()
    assert row["to_item_mean"] == pytest.approx((test["simplex"] / test["item mean"]).mean())
    assert table.loc[(5, "item mean"), "to_item_mean"] == 1 and row["draws"] == 8 and row["level"] == "name"


def test_games_are_played_on_films_that_alice_has_judged(small, monkeypatch):
    monkeypatch.setattr(films, "GAME", {"slates": 3, "options": 2, "bid_step": 0.01})
    level = small[1]["completed"]
    games = films.film_games(level, 5, seed=1)
    assert list(games["k"].unique()) == list(films.GAME_SIZES) and np.isfinite(
        games.drop(columns="converged")
    ).all(axis=None)
    for draw, opt in games.groupby("game")["opt"].first().items():
        rng = draw_generator(1, draw)
        user = level.cast(rng, 7)[0]
        dealt = rng.permutation(np.flatnonzero(~np.isnan(user)))[:6].reshape(3, 2)
        assert opt == pytest.approx(user[dealt].max(axis=1).mean())
    step = games["bid_step"] + 1e-9
    assert games["converged"].all() and (games["equilibrium"] <= games["opt"] + 1e-9).all()
    assert (games["equilibrium"] >= games["opt"] - np.maximum(2 * games["eps_cone"], step) - 1e-6).all()


# Completion --------------------------------------------------------------------------------------------------


def test_completion_errors_by_hand():
    block = block_with_gaps(12, 9, missing=0.2)
    table = films.completion_errors(block, ranks=(1,), shrinkages=(0.5,), folds=2, seed=1).set_index("method")
    assert len(table) == 5
    places = np.argwhere(~np.isnan(block))
    fold = np.random.default_rng(1).permutation(len(places)) % 2
    squares = {"mean of all": [], "film and person": [], "low rank": []}
    for f in (0, 1):
        hidden = tuple(places[fold == f].T)
        known = block.copy()
        known[hidden] = np.nan
        model = complete_table(known, 1, 0.5)
        for name, guess in (
            ("mean of all", np.full_like(block, np.nanmean(known))),
            ("film and person", model.additive),
            ("low rank", model.utilities),
        ):
            squares[name].append(np.mean((guess - block)[hidden] ** 2) * 4.5**2)
    for name, values in squares.items():
        assert table.loc[name, "stars"] == pytest.approx(np.sqrt(np.mean(values)))


def test_the_rank_is_the_smallest_that_is_nearly_the_best():
    table = load_table("movies_completion")
    assert films.chosen_completion(table) == (films.RANK, films.SHRINKAGE)
    fits = table[table["method"] == "low rank"]
    error = fits.set_index(["rank", "shrinkage"])["stars"]
    assert error[films.RANK, films.SHRINKAGE] <= 1.01 * error.min()
    assert (error[error.index.get_level_values("rank") < films.RANK] > 1.01 * error.min()).all()


# The committed results ---------------------------------------------------------------------------------------


def test_a_small_run_writes_every_file_and_a_second_one_the_same_bytes(
    raw_data, levels, tmp_path, monkeypatch
):
    few = {name: levels[name] for name in ("groups", "person_from_groups")}
    monkeypatch.setattr(films, "movie_levels", lambda _: few)
    monkeypatch.setattr(films, "game_levels", lambda _: [("groups", 0.0, few["groups"])])
    fast = films.completion_errors
    monkeypatch.setattr(
        films, "completion_errors", lambda block: fast(block[:30], ranks=(1,), shrinkages=(2.0,))
    )
    contents = []
    for out in (tmp_path / "a", tmp_path / "b"):
        films.compute(raw_data, out, draws=3, cache=tmp_path / "cache")
        contents.append({path.name: path.read_bytes() for path in sorted(out.iterdir())})
    assert contents[0] == contents[1]
    assert sorted(contents[0]) == sorted([*(f"{name}.csv" for name in TABLES), "movies_provenance.json"])
    assert json.loads(contents[0]["movies_provenance.json"])["draws"] == 3


def test_the_results_say_where_they_come_from(origin):
    sources = [datasets.SOURCES[name] for name in films.RAW]
    assert {path: raw["sha256"] for path, raw in origin["raw_files"].items()} == {
        source.path: source.sha256 for source in sources
    }
    assert (origin["seed"], origin["draws"], origin["library_version"]) == (
        films.SEED,
        films.DRAWS,
        __version__,
    )
    assert "redistribution" in origin["licence"] and "no commercial" in origin["licence"]
    assert "Harper" in origin["attribution"] and "10.1145/2827872" in origin["attribution"]
    assert origin["groups"]["fewest_ratings_behind_any_value"] >= 5
    curves, games = load_table("movies_alignment"), load_table("movies_games")
    assert list(curves["level"].unique()) == list(origin["levels"])
    assert set(games["level"]) <= set(origin["levels"])
    assert (curves["draws"] == films.DRAWS).all() and set(METHODS) <= set(curves["method"])
    assert (games[["bound_holds", "converged"]] == 1).all(axis=None)


@pytest.mark.parametrize("name", ["groups", "people_completed", "people_circular"])
def test_committed_curves_are_computed_again(levels, name, monkeypatch):
    monkeypatch.setattr(films, "SIZES", (5,))
    level = levels[name]
    # The same providers are dealt whatever the largest k, so one k can be computed alone.
    again = films.summarise_films(films.film_curves(level, films.DRAWS), name).set_index("method")
    kept = load_table("movies_alignment")
    kept = kept[(kept["level"] == name) & (kept["k"] == 5)].set_index("method").loc[again.index]
    columns = ["mean", "low", "high", "median", "train", "beats_plain_average", "to_item_mean"]
    np.testing.assert_allclose(again[columns], kept[columns], atol=6e-5)


@pytest.mark.parametrize("seed", [1, 2])
def test_random_groups_do_not_depend_on_the_shuffle(movies, monkeypatch, seed):
    """Chapter 12 shows one shuffle; in others an average is best and near 0.31, too."""
    monkeypatch.setattr(films, "SEED", seed)
    monkeypatch.setattr(films, "SIZES", (7,))
    level = films._one_table("shuffled", films.taste_cells(movies, shuffle=True).utilities)
    test = films.film_curves(level, 60).pivot(index="draw", columns="method", values="test")
    error = test[list(METHODS)].mean()
    assert error.idxmin() in ("plain average", "rescaled average") and 0.25 < error["plain average"] < 0.37
    assert (test["simplex"] < test["plain average"]).mean() < 0.5


def test_committed_games_are_computed_again(levels, monkeypatch):
    monkeypatch.setattr(films, "GAME_SIZES", (2,))
    kept = load_table("movies_games").set_index(["level", "bonus", "k"])
    for name, bonus in (("groups", 0.0), ("groups_one_genre", 2.0)):
        level = levels[name]
        if bonus:
            level = replace(level, sponsors=bonus * level.sponsors)
        again = summarise_games(films.film_games(level, films.DRAWS // 2), name).iloc[0]
        columns = ["no_information", "equilibrium", "opt", "kept", "monopoly_kept", "bound_cone"]
        np.testing.assert_allclose(
            again[columns].astype(float), kept.loc[(name, bonus, 2), columns].astype(float), atol=1e-3
        )


def test_committed_completion_is_computed_again(movies):
    block = dense_block(movies, *films.BLOCK, start="items").utilities
    again = films.completion_errors(block, ranks=(5,), shrinkages=(1.75,))
    kept = load_table("movies_completion")
    kept = kept[(kept["rank"] == 0) | ((kept["rank"] == 5) & (kept["shrinkage"] == 1.75))].reset_index(
        drop=True
    )
    assert again["method"].tolist() == kept["method"].tolist()
    np.testing.assert_allclose(again["stars"], kept["stars"], atol=6e-5)
