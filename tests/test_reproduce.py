"""The full-scale results: the command line, the files it writes, and the committed numbers computed again."""

import json

import numpy as np
import pandas as pd
import pytest

from emergent_alignment import __version__, datasets, reproduce
from emergent_alignment.datasets import data_folder, load_table
from emergent_alignment.experiments import METHODS, alignment_curves, game_curve, summarise, summarise_games

RESULTS = ("opinions_alignment", "opinions_games")


@pytest.fixture(scope="module")
def levels(raw_data):
    return reproduce.opinion_levels(raw_data)


@pytest.fixture
def origin():
    return json.loads((data_folder() / "opinions_provenance.json").read_text())


# The command line --------------------------------------------------------------------------------------------


def test_an_unknown_name_is_refused(capsys):
    assert reproduce.main(["opinion"]) == 1
    assert "Unknown name 'opinion'. Choose opinions, or all." in capsys.readouterr().err


def test_a_missing_folder_is_refused_and_nothing_is_written(tmp_path, capsys):
    assert (
        reproduce.main(["opinions", "--data", str(tmp_path / "nowhere"), "--out", str(tmp_path / "out")]) == 1
    )
    assert "does not exist" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_all_runs_everything_with_the_options_given(tmp_path, monkeypatch):
    seen = []
    for name in ("one", "two"):
        monkeypatch.setitem(
            reproduce.EXPERIMENTS, name, lambda *a, name=name, **b: seen.append((name, a, b["n_jobs"])) or {}
        )
    monkeypatch.delitem(reproduce.EXPERIMENTS, "opinions")
    options = ["--data", "d", "--out", str(tmp_path), "--draws", "7", "--jobs", "2", "--cache", str(tmp_path)]
    assert reproduce.main(["all", *options]) == 0
    assert seen == [("one", ("d", tmp_path, 7), 2), ("two", ("d", tmp_path, 7), 2)]


def test_an_interruption_is_reported_as_such(monkeypatch, capsys):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setitem(reproduce.EXPERIMENTS, "opinions", interrupt)
    assert reproduce.main(["opinions"]) == 130
    assert "goes on from here" in capsys.readouterr().err


def test_a_small_run_writes_every_file_and_a_second_one_the_same_bytes(raw_data, tmp_path, monkeypatch):
    small = {name: level for name, level in reproduce.opinion_levels(raw_data).items() if "party" in name}
    monkeypatch.setattr(reproduce, "opinion_levels", lambda _: small)
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


def test_a_file_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "table.csv"
    reproduce.write(path, "old")

    def fail(*_):
        raise OSError("disk full")

    with monkeypatch.context() as patch, pytest.raises(OSError, match="disk full"):
        patch.setattr(reproduce.os, "replace", fail)
        reproduce.write(path, "new")
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_rounding_leaves_no_solver_digits_and_no_negative_zero():
    table = pd.DataFrame({"x": [0.123456, -0.00001, 1234.5678, np.nan, np.inf], "n": range(5)})
    x = reproduce.rounded(table)["x"].tolist()
    assert x[:3] == [0.1235, 0.0, 1235.0] and not np.signbit(x[1])
    assert np.isnan(x[3]) and np.isinf(x[4]) and table["x"][0] == 0.123456


# The committed results ---------------------------------------------------------------------------------------


def test_the_results_say_where_they_come_from(origin):
    assert origin["raw_sha256"] == datasets.SOURCES["nonvoters"].sha256
    assert (origin["seed"], origin["draws"]) == (reproduce.SEED, reproduce.DRAWS)
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
    cells, table = reproduce.opinion_table(raw_data)
    pd.testing.assert_frame_equal(table, load_table("opinion_cells"), check_dtype=False, atol=1e-4, rtol=0)
    assert cells.answers.min() >= reproduce.FEWEST_IN_TABLE
    items = cells.items.reset_index()
    pd.testing.assert_frame_equal(items, load_table("opinion_items"), check_dtype=False)


@pytest.mark.parametrize("name", ["cells", "individuals", "other_party"])
def test_a_slice_of_the_curves_is_computed_again_from_the_raw_file(levels, origin, name):
    level, sizes = levels[name], [1, 10]
    who = {"groups": level.groups, "pool": level.pool, "remove_consensus": level.remove_consensus}
    curves = alignment_curves(
        level.utilities, sizes, origin["draws"], origin["seed"], origin["test_share"], **who
    )
    again = reproduce.rounded(summarise(curves, name, level.noise_share))
    stored = load_table("opinions_alignment").query("level == @name and k in @sizes").reset_index(drop=True)
    pd.testing.assert_frame_equal(again, stored, check_dtype=False, atol=2e-4, rtol=1e-3)
    about = origin["levels"][name]
    assert (about["judges"], about["items"]) == level.utilities.shape and about["people"] == level.people


def test_a_slice_of_the_games_is_computed_again_from_the_raw_file(levels, origin):
    sizes = [1, 2]
    plan = {name: origin["games"][name] for name in ("slates", "options", "bid_step")}
    games = game_curve(levels["cells"].utilities, sizes, origin["games"]["games"], origin["seed"], **plan)
    again = reproduce.rounded(summarise_games(games, "cells"))
    stored = load_table("opinions_games").query("level == 'cells' and k in @sizes").reset_index(drop=True)
    # A linear program may have several solutions: other solvers or processors may end at slightly other values.
    pd.testing.assert_frame_equal(again, stored, check_dtype=False, atol=5e-3, rtol=0.05)
