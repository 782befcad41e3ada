"""Chapter 15's chain of guarantees: the command, the exact computations, and the committed tables."""

import json
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest

from emergent_alignment import __version__, align
from emergent_alignment.certificates import certify, verify_exact
from emergent_alignment.conversation import SignallingGame
from emergent_alignment.datasets import data_folder, load_table
from emergent_alignment.experiments import draw_generator, run_draws
from emergent_alignment.markets import KINDS, sample_market
from emergent_alignment.reproduce import chain
from emergent_alignment.reproduce.tables import rounded

TABLES = ("chain_games", "chain_links", "chain_sweep", "chain_exact")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A small run with one process and a cache, and the same with two processes and without."""
    folder = tmp_path_factory.mktemp("chain")
    written = chain.compute(out=folder / "one", draws=12, cache=folder / "cache")
    chain.compute(out=folder / "two", draws=12, n_jobs=2)
    return folder, written


def test_the_same_bytes_for_any_number_of_processes(runs):
    folder, written = runs
    names = sorted([*(f"{name}.csv" for name in TABLES), "chain_provenance.json"])
    for out in ("one", "two"):
        assert sorted(path.name for path in (folder / out).iterdir()) == names
    assert all((folder / "one" / n).read_bytes() == (folder / "two" / n).read_bytes() for n in names)
    assert tuple(written) == TABLES


def test_a_cached_run_goes_on_where_it_stopped(runs, monkeypatch):
    folder, _ = runs
    monkeypatch.setattr(chain, "sample_market", None)  # nothing may be drawn again
    chain.compute(out=folder / "three", draws=12, cache=folder / "cache")
    for name in TABLES:
        assert (folder / "three" / f"{name}.csv").read_bytes() == (
            folder / "one" / f"{name}.csv"
        ).read_bytes()


def test_the_averages_are_those_of_the_games(runs):
    _, written = runs
    games = written["chain_games"]
    assert len(games) == 12 and list(games["games"]) == [12] * 4 + [3] * 8
    rows = []
    for draw in range(12):
        rng = draw_generator(chain.SEED, draw)
        markets = [sample_market(kind, rng, providers=2, actions=3, states=2) for kind in KINDS]
        market = markets[KINDS.index("shared_bias")]
        worst = SignallingGame.on_grid(market, 5).worst_coarse_correlated().user_value
        rows.append((certify(market, False).value, certify(market).value, worst))
    row = games[(games["kind"] == "shared_bias") & (games["states"] == 2)].iloc[0]
    means = np.mean(rows, axis=0)
    np.testing.assert_allclose(row[["certificate", "obedient", "worst_cce"]].astype(float), means, atol=1e-4)
    assert row["tight"] <= 1 and games[games["states"] > 2]["worst_cce"].isna().all()
    assert (written["chain_links"]["violations"] == 0).all()


def test_a_violation_would_be_counted():
    games = pd.DataFrame(
        {
            **dict.fromkeys(("providers", "actions", "states"), [2, 2]),
            "kind": ["free", "free"],
            "no_information": [0.1, 0.1],
            **{name: [0.5, 0.5] for name in chain.LINKS},
            "worst_cce_selection": [0.5, np.nan],
            "gap": [0.0, 1e-3],
        }
    )
    games.loc[0, "obedient"] = 0.5 + 2e-8
    links = chain.summarise_links(games).set_index(["smaller", "larger"])
    assert links.loc[("obedient", "worst_cce"), "violations"] == 1
    assert links.loc[("obedient", "worst_cce_selection"), "games"] == 1
    assert links.loc[("certificate", "obedient"), "violations"] == 0
    assert links.loc[("gap", "zero"), "violations"] == 1
    assert links.loc[("no_information", "obedient"), "strict"] == 1


def test_exact_numbers_against_the_library():
    rng = np.random.default_rng(3)
    for kind in KINDS:
        market = chain.exact_market(kind, rng)
        np.testing.assert_allclose(market.user * 20, np.round(market.user * 20), atol=1e-12)
        eps = chain.exact_alignment_error(market)
        assert isinstance(eps, Fraction)
        cone = align(market.user, market.providers, "cone", "state").error
        assert float(eps) == pytest.approx(cone, abs=1e-9)
        worst = chain.exact_worst_coarse_correlated(market)
        library = SignallingGame.on_grid(market, 5).worst_coarse_correlated().user_value
        assert isinstance(worst, Fraction) and float(worst) == pytest.approx(library, abs=1e-9)
        assert verify_exact(certify(market), 20).value <= worst


def test_the_exact_worst_equilibrium_does_not_need_the_solver(monkeypatch):
    rng = np.random.default_rng(4)
    market = chain.exact_market("shared_bias", rng)
    with_hint = chain.exact_worst_coarse_correlated(market, grid=3)

    def none(*_):
        raise chain.InputError("no basis")

    monkeypatch.setattr(chain, "_last_basis", none)
    assert chain.exact_worst_coarse_correlated(market, grid=3) == with_hint


# The committed results ---------------------------------------------------------------------------------------


def test_the_results_say_where_they_come_from():
    origin = json.loads((data_folder() / "chain_provenance.json").read_text())
    assert origin["raw_files"] == {} and origin["library_version"] == __version__
    assert (origin["seed"], origin["small_games_of_each_kind"]) == (chain.SEED, chain.DRAWS)
    assert origin["tables"] == [f"{name}.csv" for name in TABLES]


def test_a_slice_is_computed_again():
    sizes = chain.LARGER[0]
    arguments = {"sizes": sizes, "grid": None, "seed": chain.SEED}
    rows = run_draws(chain.chain_draw, arguments, chain.DRAWS // chain.PART_OF_DRAWS["larger"])
    again = rounded(chain.summarise_chain(pd.DataFrame(rows)))
    stored = load_table("chain_games")
    stored = stored[(stored[list(sizes)] == pd.Series(sizes)).all(axis=1)].reset_index(drop=True)
    assert len(stored) == len(KINDS)
    pd.testing.assert_frame_equal(again, stored[again.columns], check_dtype=False, atol=2e-3, rtol=0)


def test_the_chain_holds_on_ten_thousand_games():
    games, links = load_table("chain_games"), load_table("chain_links")
    small = games[games["states"] == 2]
    assert small["games"].sum() == 10_000 and set(small["kind"]) == set(KINDS)
    assert (links["violations"] == 0).all()
    counted = links.groupby(["states", "kind", "smaller", "larger"])["games"].sum()
    assert (counted[2] == 2500).all() and (counted.drop(2, level="states") == 500).all()
    for smaller, larger in zip(chain.LINKS, chain.LINKS[1:]):
        known = games[[smaller, larger]].dropna()
        assert (known[smaller] <= known[larger] + 1e-4).all()
    inside = games[games["kind"] == "in_hull"]
    np.testing.assert_allclose(inside["bound_hull"], inside["opt"], atol=1e-4)
    shares = games.filter(regex="useful|_all|tight").stack().dropna()
    assert shares.between(0, 1).all()


def test_the_chain_holds_without_any_tolerance():
    exact = load_table("chain_exact")
    assert (exact["games"] == 100).all() and len(exact) == 4
    for column in ("holds", "floor_holds", "agree", "proved"):
        assert (exact[column] == exact["games"]).all(), column


def test_the_sweeps_start_where_the_theory_says():
    sweep = load_table("chain_sweep").set_index(["sweep", "value"])
    start = sweep.loc[("noise", 0.0)]  # in the hull
    np.testing.assert_allclose(
        start[["bound_cone", "certificate", "worst_cce"]].astype(float), start["opt"], atol=1e-4
    )
    assert (sweep["games"] == sweep["games"].iloc[0]).all()
    assert set(sweep.loc["share"].index) == set(chain.SWEEPS["share"][1])
