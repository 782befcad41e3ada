"""Chapter 14's poll: what the command writes, and the committed numbers computed again from the raw file."""

import json

import numpy as np
import pandas as pd
import pytest

from emergent_alignment import __version__, datasets, reproduce
from emergent_alignment.datasets import data_folder, load_table
from emergent_alignment.experiments import METHODS, alignment_curves, game_curve, summarise, summarise_games
from emergent_alignment.reproduce import opinions, tables

RESULTS = ("opinions_alignment", "opinions_games")


@pytest.fixture(scope="module")
def levels(raw_data):
    return opinions.opinion_levels(raw_data)


@pytest.fixture
def origin():
    return json.loads((data_folder() / "opinions_provenance.json").read_text())


def test_a_small_run_writes_every_file_and_a_second_one_the_same_bytes(raw_data, tmp_path, monkeypatch):
    small = {name: level for name, level in opinions.opinion_levels(raw_data).items() if "party" in name}
    monkeypatch.setattr(opinions, "opinion_levels", lambda _: small)
    contents = []
    for out in (tmp_path / "a", tmp_path / "b"):
        options = ["--data", raw_data, "--out", str(out), "--draws", "3", "--cache", str(tmp_path / "cache")]
        assert reproduce.main(["opinions", *options]) == 0
        contents.append({path.name: path.read_bytes() for path in sorted(out.iterdir())})
    assert contents[0] == contents[1]
    assert sorted(contents[0]) == [
        "opinion_cells.csv",
        "opinion_cells_provenance.json",
        "opinion_items.csv",
        "opinions_alignment.csv",
        "opinions_games.csv",
        "opinions_provenance.json",
    ]
    assert json.loads(contents[0]["opinions_provenance.json"])["draws"] == 3


# The committed results ---------------------------------------------------------------------------------------


def test_the_results_say_where_they_come_from(origin):
    source = datasets.SOURCES["nonvoters"]
    assert origin["raw_files"] == {source.path: {"url": source.url, "sha256": source.sha256}}
    assert (origin["seed"], origin["draws"]) == (opinions.SEED, opinions.DRAWS)
    assert origin["draws"] >= 60 and origin["library_version"] == __version__
    assert "CC BY 4.0" in origin["licence"] and "FiveThirtyEight" in origin["attribution"]
    for name, level in origin["levels"].items():
        assert level["fewest_answers_behind_any_value"] >= 5 or name.startswith("individuals")
    curves, games = map(load_table, RESULTS)
    assert list(curves["level"].unique()) == list(origin["levels"])
    assert set(games["level"]) <= set(origin["levels"])
    assert (curves["draws"] == origin["draws"]).all() and (games["games"] == origin["draws"]).all()


def test_every_column_of_the_results_is_explained():
    explained = (data_folder() / "README.md").read_text()
    for name in RESULTS:
        for column in load_table(name).columns:
            assert f"`{column}`" in explained, (name, column)


def test_the_committed_results_are_consistent():
    curves, games = map(load_table, RESULTS)
    assert set(curves["method"]) == set(METHODS)
    bands = curves.dropna(subset="mean")
    assert ((bands["low"] <= bands["median"]) & (bands["median"] <= bands["high"])).all()
    assert (curves["mean"].isna() == (curves["undetermined"] > 0)).all()
    first = curves[curves["k"] == 1].pivot(index="level", columns="method", values="mean")
    np.testing.assert_allclose(first["simplex"], first["best single"], atol=2e-4)
    np.testing.assert_allclose(first["cone"], first["rescaled single"], atol=2e-4)
    assert (games["bound_hull"] <= games["bound_cone"] + 1e-4).all()
    assert (games["equilibrium"] <= games["opt"] + 1e-4).all()
    assert (games.loc[games["converged"] == 1, "bound_holds"] == 1).all()


def test_the_embedded_table_is_computed_from_the_raw_file(raw_data):
    cells, table = opinions.opinion_table(raw_data)
    pd.testing.assert_frame_equal(table, load_table("opinion_cells"), check_dtype=False, atol=1e-4, rtol=0)
    assert cells.answers.min() >= opinions.FEWEST_IN_TABLE
    items = cells.items.reset_index()
    pd.testing.assert_frame_equal(items, load_table("opinion_items"), check_dtype=False)


@pytest.mark.parametrize("name", ["cells", "individuals", "other_party"])
def test_a_slice_of_the_curves_is_computed_again_from_the_raw_file(levels, origin, name):
    level, sizes = levels[name], [1, 10]
    who = {"groups": level.groups, "pool": level.pool, "remove_consensus": level.remove_consensus}
    curves = alignment_curves(
        level.utilities, sizes, origin["draws"], origin["seed"], origin["test_share"], **who
    )
    again = tables.rounded(summarise(curves, name, level.noise_share))
    stored = load_table("opinions_alignment").query("level == @name and k in @sizes").reset_index(drop=True)
    pd.testing.assert_frame_equal(again, stored, check_dtype=False, atol=2e-4, rtol=1e-3)
    about = origin["levels"][name]
    assert (about["judges"], about["items"]) == level.utilities.shape and about["people"] == level.people


def test_a_slice_of_the_games_is_computed_again_from_the_raw_file(levels, origin):
    sizes = [1, 2]
    plan = {name: origin["games"][name] for name in ("slates", "options", "bid_step")}
    games = game_curve(levels["cells"].utilities, sizes, origin["games"]["games"], origin["seed"], **plan)
    again = tables.rounded(summarise_games(games, "cells"))
    stored = load_table("opinions_games").query("level == 'cells' and k in @sizes").reset_index(drop=True)
    # A linear program may have several solutions: other solvers or processors may end at slightly other values.
    pd.testing.assert_frame_equal(again, stored, check_dtype=False, atol=5e-3, rtol=0.05)
