"""The votes of a town: what the command writes, and the committed numbers computed again from the raw files."""

import json

import numpy as np
import pandas as pd
import pytest

from emergent_alignment import __version__
from emergent_alignment.datasets import SOURCES, data_folder, load_table
from emergent_alignment.datasets.polis import load_polis
from emergent_alignment.experiments import METHODS, alignment_curves, game_curve, summarise, summarise_games
from emergent_alignment.reproduce import polis, tables


@pytest.fixture(scope="module")
def levels(raw_data):
    return polis.polis_levels(raw_data)


@pytest.fixture
def origin():
    return json.loads((data_folder() / "polis_provenance.json").read_text())


def test_a_small_run_writes_every_file_and_another_with_two_jobs_the_same_bytes(
    levels, raw_data, tmp_path, monkeypatch
):
    small = {name: levels[name] for name in ("individuals", "groups")}
    monkeypatch.setattr(polis, "polis_levels", lambda _: small)
    contents = []
    for out, jobs in (("a", 1), ("b", 2)):
        polis.compute(raw_data, tmp_path / out, draws=3, n_jobs=jobs)
        contents.append({path.name: path.read_bytes() for path in sorted((tmp_path / out).iterdir())})
    assert contents[0] == contents[1]
    assert sorted(contents[0]) == [
        "polis_alignment.csv",
        "polis_examples.csv",
        "polis_games.csv",
        "polis_provenance.json",
    ]
    assert json.loads(contents[0]["polis_provenance.json"])["draws"] == 3


def test_the_levels_are_what_they_say(levels):
    people, groups = levels["individuals"], levels["groups"]
    assert people.utilities.shape == (150, 300) and groups.utilities.shape == (39, 100)
    assert groups.fewest_answers >= 5 and groups.people == 390
    for name in ("own_side", "other_side"):
        assert set(levels[name].groups) == {"A", "B"} and levels[name].utilities is not None
        np.testing.assert_array_equal(levels[name].utilities, people.utilities)
    assert 0 < groups.noise_share < levels["groups_no_consensus"].noise_share < 1


def test_the_results_say_where_they_come_from(origin):
    for name in ("polis_votes", "polis_comments"):
        assert origin["raw_files"][SOURCES[name].path]["sha256"] == SOURCES[name].sha256
    assert (origin["seed"], origin["draws"]) == (polis.SEED, polis.DRAWS)
    assert origin["library_version"] == __version__ and "CC BY 4.0" in origin["licence"]
    assert (
        "sub-licensed under CC BY 4.0 with Attribution to The Computational Democracy Project"
        in (origin["attribution"])
    )
    for name, level in origin["levels"].items():
        assert level["fewest_answers_behind_any_value"] >= 5 or not name.startswith("groups")
    curves, games = load_table("polis_alignment"), load_table("polis_games")
    assert list(curves["level"].unique()) == list(origin["levels"])
    assert set(games["level"]) <= set(origin["levels"])
    assert (curves["draws"] == origin["draws"]).all() and (games["games"] == origin["draws"]).all()


def test_the_committed_results_are_consistent():
    curves, games = load_table("polis_alignment"), load_table("polis_games")
    assert set(curves["method"]) == set(METHODS) and (curves["undetermined"] == 0).all()
    assert ((curves["low"] <= curves["median"]) & (curves["median"] <= curves["high"])).all()
    first = curves[curves["k"] == 1].pivot(index="level", columns="method", values="mean")
    np.testing.assert_allclose(first["simplex"], first["best single"], atol=2e-4)
    np.testing.assert_allclose(first["cone"], first["rescaled single"], atol=2e-4)
    assert (games["bound_hull"] <= games["bound_cone"] + 1e-4).all()
    assert (games.loc[games["converged"] == 1, "bound_holds"] == 1).all()


def test_the_examples_are_counts_of_many_people_in_our_words(raw_data):
    table, raw = load_table("polis_examples"), load_polis(raw_data)
    pd.testing.assert_frame_equal(polis.polis_examples(raw_data), table, check_dtype=False, atol=1e-4)
    assert table["voters"].min() >= 300
    np.testing.assert_allclose(table[["agree", "passed", "disagree"]].sum(axis=1), 1, atol=2e-4)
    for item, words in polis.EXAMPLES.items():
        said = raw.items.loc[item, "statement"].lower().split()
        ours = words.lower().split()
        runs = {" ".join(said[i : i + 5]) for i in range(len(said) - 4)}
        assert not runs & {" ".join(ours[i : i + 5]) for i in range(len(ours) - 4)}  # no five words in a row


@pytest.mark.parametrize("name", ["individuals", "groups_no_consensus", "other_side"])
def test_a_slice_of_the_curves_is_computed_again_from_the_raw_files(levels, origin, name):
    level, sizes = levels[name], [1, 10]
    who = {"groups": level.groups, "pool": level.pool, "remove_consensus": level.remove_consensus}
    curves = alignment_curves(
        level.utilities, sizes, origin["draws"], origin["seed"], origin["test_share"], **who
    )
    again = tables.rounded(summarise(curves, name, level.noise_share))
    stored = load_table("polis_alignment").query("level == @name and k in @sizes").reset_index(drop=True)
    pd.testing.assert_frame_equal(again, stored, check_dtype=False, atol=2e-4, rtol=1e-3)
    about = origin["levels"][name]
    assert (about["judges"], about["items"]) == level.utilities.shape and about["people"] == level.people


def test_fewer_statements_to_fit_on_are_as_many_as_the_name_says(levels, origin):
    fewer = polis.fewer_statements(levels["individuals"])
    assert list(fewer) == ["individuals_60_statements", "individuals_120_statements"]
    for (name, level), (count, share) in zip(fewer.items(), polis.FEWER.items()):
        assert round((1 - share) * level.utilities.shape[1]) == count and str(count) in level.meaning
        curves = alignment_curves(level.utilities, [5], origin["draws"], origin["seed"], share)
        stored = load_table("polis_alignment").query("level == @name and k == 5").reset_index(drop=True)
        again = tables.rounded(summarise(curves, name))
        pd.testing.assert_frame_equal(again, stored, check_dtype=False, atol=2e-4, rtol=1e-3)


def test_a_slice_of_the_games_is_computed_again_from_the_raw_files(levels, origin):
    plan = {name: origin["games"][name] for name in ("slates", "options", "bid_step")}
    games = game_curve(levels["individuals"].utilities, [1], origin["draws"], origin["seed"], **plan)
    again = tables.rounded(summarise_games(games, "individuals"))
    stored = load_table("polis_games").query("level == 'individuals' and k == 1").reset_index(drop=True)
    # Who plays does not depend on the largest k, so a run with one provider alone plays the same games.
    pd.testing.assert_frame_equal(again, stored, check_dtype=False, atol=5e-3, rtol=0.05)
