"""Chapter 14's data sets share a plan: what is written, and the committed numbers computed again from the raw files."""

import json

import numpy as np
import pandas as pd
import pytest

from emergent_alignment import InputError, __version__
from emergent_alignment.datasets import SOURCES, Judgements, data_folder, load_table
from emergent_alignment.datasets.dices import load_dices
from emergent_alignment.experiments import METHODS
from emergent_alignment.reproduce import opinions, polis, safety
from emergent_alignment.reproduce.levels import Plan, describe_levels, level_of_people, play_levels

MODULES = {"opinions": opinions, "polis": polis, "safety": safety}
RAW = {
    "opinions": ("nonvoters",),
    "polis": ("polis_votes", "polis_comments"),
    "safety": ("dices_ratings", "dices_gold"),
}
SMALL = {
    "opinions": ("own_party", "other_party"),
    "polis": ("individuals", "groups"),
    "safety": ("raters", "groups"),
}


@pytest.fixture(scope="module", params=MODULES)
def experiment(request):
    return request.param


@pytest.fixture(scope="module")
def origin(experiment):
    return json.loads((data_folder() / f"{experiment}_provenance.json").read_text())


@pytest.fixture(scope="module")
def results(experiment):
    return load_table(f"{experiment}_alignment"), load_table(f"{experiment}_games")


@pytest.fixture(scope="module")
def levels(experiment, raw_data):
    if experiment == "safety":
        return safety.safety_levels(load_dices(raw_data))
    return {"opinions": opinions.opinion_levels, "polis": polis.polis_levels}[experiment](raw_data)


def test_a_small_run_writes_every_file_and_another_with_two_jobs_the_same_bytes(
    experiment, levels, raw_data, tmp_path, monkeypatch
):
    maker = {"opinions": "opinion_levels"}.get(experiment, f"{experiment}_levels")
    few = {name: levels[name] for name in SMALL[experiment]}
    monkeypatch.setattr(MODULES[experiment], maker, lambda _: few)
    contents = []
    for out, jobs in (("a", 1), ("b", 2)):
        written = MODULES[experiment].compute(raw_data, tmp_path / out, draws=3, n_jobs=jobs)
        contents.append({path.name: path.read_bytes() for path in sorted((tmp_path / out).iterdir())})
    assert contents[0] == contents[1]
    files = {f"{name}.csv" for name in written} | {f"{experiment}_provenance.json"}
    assert set(contents[0]) == files | (
        {"opinion_cells_provenance.json"} if experiment == "opinions" else set()
    )
    assert {f"{experiment}_alignment", f"{experiment}_games"} <= set(written)
    assert json.loads(contents[0][f"{experiment}_provenance.json"])["draws"] == 3


def test_people_who_never_vary_leave_with_their_group():
    rng = np.random.default_rng(0)
    answers = rng.random((12, 6))
    answers[3] = 0.5
    people = pd.DataFrame({"side": list("aaaabbbbcccc")})
    judgements = Judgements(answers, pd.DataFrame(index=range(6)), people)
    level = level_of_people(
        "some people", judgements, groups=people["side"].to_numpy(dtype=str), pool="own group"
    )
    assert level.people == len(level.utilities) == 11 and "".join(level.groups) == "aaabbbbcccc"


def test_draws_must_be_a_whole_number():
    plan = Plan(seed=1, game_providers=(1,))
    assert plan.with_draws(None) is plan and plan.with_draws(7).draws == 7
    with pytest.raises(InputError, match="^draws must be"):
        plan.with_draws(0)


def test_the_results_say_where_they_come_from(experiment, origin, results):
    for name in RAW[experiment]:
        assert origin["raw_files"][SOURCES[name].path] == {
            "url": SOURCES[name].url,
            "sha256": SOURCES[name].sha256,
        }
    plan = MODULES[experiment].PLAN.describe()
    assert {name: origin[name] for name in plan} == plan
    assert origin["library_version"] == __version__ and "CC BY 4.0" in origin["licence"]
    for name, level in origin["levels"].items():
        assert level["fewest_answers_behind_any_value"] >= 5 or "groups" not in name and "cells" not in name
    curves, games = results
    assert list(curves["level"].unique()) == list(origin["levels"])
    assert set(games["level"]) <= set(origin["levels"])
    assert (curves["draws"] == plan["draws"]).all() and (games["games"] == plan["draws"]).all()


def test_every_column_of_the_results_is_explained(results):
    explained = (data_folder() / "README.md").read_text()
    for table in results:
        for column in table.columns:
            assert f"`{column}`" in explained, column


def test_the_committed_results_are_consistent(results):
    curves, games = results
    assert set(curves["method"]) == set(METHODS)
    bands = curves.dropna(subset="mean")
    assert ((bands["low"] <= bands["median"]) & (bands["median"] <= bands["high"])).all()
    assert (curves["mean"].isna() == (curves["undetermined"] > 0)).all()
    first = curves[curves["k"] == 1].pivot(index="level", columns="method", values="mean")
    for single in ("simplex", "plain average"):
        np.testing.assert_allclose(first[single], first["best single"], atol=2e-4)
    for stretched in ("cone", "rescaled average"):
        np.testing.assert_allclose(first[stretched], first["rescaled single"], atol=2e-4)
    train = curves.pivot(index=["level", "k"], columns="method", values="train")
    assert (train["cone"] <= train["rescaled average"] + 2e-4).all()
    assert (train["rescaled average"] <= train["plain average"] + 2e-4).all()
    for method in ("best single", "plain average", "rescaled average"):
        own = curves.loc[curves["method"] == method, f"beats_{method.replace(' ', '_')}"]
        assert (own.dropna() == 0).all()
    assert (games["bound_hull"] <= games["bound_cone"] + 1e-4).all()
    assert (games["equilibrium"] <= games["opt"] + 1e-4).all()
    assert (games.loc[games["converged"] == 1, "bound_holds"] == 1).all()


SLICES = {
    "opinions": ("cells", "individuals", "other_party"),
    "polis": ("individuals", "groups_no_consensus", "other_side"),
    "safety": ("raters", "groups", "other_half"),
}
PLAYED = {"opinions": "cells", "polis": "individuals", "safety": "raters"}


def test_slices_are_computed_again_from_the_raw_files(experiment, levels, origin, results):
    """Who plays does not depend on the largest k, so a run with fewer providers draws the same people and games."""
    some = {name: levels[name] for name in SLICES[experiment]}
    plan = MODULES[experiment].PLAN
    plan = Plan(plan.seed, plan.game_providers[:1], plan.draws, (1, 10), plan.test_share)
    curves, games = play_levels({name: level for name, level in some.items()}, plan)
    for again, stored in zip((curves, games), results):
        levels_and_sizes = again[["level", "k"]].drop_duplicates()
        stored = levels_and_sizes.merge(stored, on=["level", "k"], how="left")
        # A linear program may have several solutions: other solvers or processors may end at slightly other values.
        close = {"atol": 2e-4, "rtol": 1e-3} if again is curves else {"atol": 5e-3, "rtol": 0.05}
        pd.testing.assert_frame_equal(again, stored, check_dtype=False, **close)
    assert PLAYED[experiment] in set(games["level"])
    assert {name: origin["levels"][name] for name in some} == describe_levels(some)
