"""Chapter 11: random markets, the two statements about their equilibria, and the stored tables."""

import json

import numpy as np
import pandas as pd
import pytest
from emergent_alignment import Market, align, best_response_dynamics, optimal_scheme, sample_market
from emergent_alignment.conversation import SignallingGame
from emergent_alignment.datasets import data_folder, load_table
from emergent_alignment.reproduce import dynamics
from emergent_alignment.reproduce.dynamics import (
    KINDS,
    lowest_equilibrium,
    market_of,
    regrets,
)
from emergent_alignment.reproduce.tables import rounded
from emergent_alignment.selection import objection_margin

RIGHT = np.array([[0, 1], [1, 0]])  # (actions, states)
SELLS_A = np.array([[1, 1], [0, 0]])
PRIOR = [0.7, 0.3]


def error(market):
    return align(market.user, market.providers, "cone", "state").error


# Markets -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", KINDS)
def test_more_providers_join_those_who_are_there(name):
    kind = KINDS[name]
    for draw in range(4):
        everybody = market_of(kind, draw, 8)
        for k in (1, 3, 5):
            market = market_of(kind, draw, k)
            assert np.array_equal(market.providers, everybody.providers[:k])
            assert np.array_equal(market.prior, everybody.prior)
            assert np.array_equal(market.user, everybody.user) == kind.nested


def test_whose_hull_alice_is_in():
    inside = {(name, k): [] for name in KINDS for k in (2, 8)}
    for name, k in inside:
        inside[name, k] = [error(market_of(KINDS[name], draw, k)) < 1e-9 for draw in range(6)]
    assert all(inside["in_hull", 2]) and all(inside["in_hull", 8]) and all(inside["part_hull", 8])
    assert all(inside["own_drug", 8])
    for key in (
        ("near_hull", 2),
        ("part_hull", 2),
        ("free", 8),
        ("shared_bias", 8),
        ("own_drug", 2),
        ("stake", 8),
    ):
        assert not any(inside[key])


# Mistakes that somebody objects to -----------------------------------------------------------------------------


def test_if_somebody_objects_to_every_mistake_every_equilibrium_is_worth_opt():
    """Every pure equilibrium of games with 25 rules each; with two actions the deviations of the proof are rules."""
    rng, seen = np.random.default_rng(4), {True: 0, False: 0}
    losses = []
    for draw in range(60):
        kind = ("free", "shared_bias", "own_drug")[draw % 3]
        market = sample_market(kind, rng, providers=2, actions=2, states=2, share=0.5)
        game = SignallingGame.on_grid(market, heard="best")
        values = game.user_values[tuple(game.pure_equilibria().T)]
        objected = objection_margin(market) > 1e-7
        seen[objected] += 1
        if objected:
            assert values.min(initial=np.inf) > market.full_information_value - 1e-9
        else:
            losses.append(market.full_information_value - values.min(initial=np.inf))
    assert min(seen.values()) > 10 and max(losses) > 0.05  # without objections Alice may lose


def test_a_mistake_survives_only_if_nobody_gains_from_the_truth():
    mistakes = 0
    for name in ("free", "shared_bias", "stake", "part_hull"):
        for draw in range(12):
            market = market_of(KINDS[name], draw, 3)
            path = best_response_dynamics(market, bid_step=1e-3, start=("monopoly", "silent")[draw % 2])
            assert path.converged
            law = path.schemes[path.winner].conditional * market.prior
            cost = (law * (market.user.max(axis=0) - market.user)).sum(axis=1)  # (actions,)
            truth = np.take_along_axis(market.providers, market.user.argmax(axis=0)[None, None], axis=1)
            gain = (law * (truth - market.providers)).sum(axis=2)  # (providers, actions)
            assert (gain[:, cost > 1e-3] <= 1e-5).all()
            mistakes += (cost > 1e-3).sum()
            if objection_margin(market) > 1e-7:
                assert cost.sum() < 1e-3 * market.n_actions + 1e-6
    assert mistakes > 10


def test_two_rivals_with_different_drugs_are_enough():
    for draw in range(10):
        for share in (0.3, 0.9):
            rng = np.random.default_rng(draw)
            market = sample_market("own_drug", rng, providers=2, actions=4, states=5, share=share)
            assert objection_margin(market) > 1e-7 and error(market) > 1e-3  # outside the cone
            path = best_response_dynamics(market, bid_step=1e-3)
            assert path.converged
            assert path.user_value == pytest.approx(market.full_information_value, abs=2e-3)


# All equilibria ------------------------------------------------------------------------------------------------


def test_lowest_equilibrium_of_twins_and_of_opposed_interests():
    twins = Market(PRIOR, RIGHT, [SELLS_A, SELLS_A])
    assert lowest_equilibrium(twins) == pytest.approx(optimal_scheme(twins, 0).user_value, abs=1e-6)
    opposed = Market(PRIOR, RIGHT, [SELLS_A, 1 - SELLS_A])
    assert lowest_equilibrium(opposed) == pytest.approx(1)
    assert all(regret < 1e-6 for regret, _ in regrets(twins, [0.7, 0.8, 0.99, 1]))
    values = [value for _, value in regrets(twins, [0.7, 0.8, 0.99, 1])]
    assert values == pytest.approx([0.7, 0.8, 0.99, 1], abs=1e-6)
    assert next(regrets(opposed, [0.7]))[0] > 0.1


def test_lowest_equilibrium_of_the_clinic_with_a_scan():
    """Chapter 10: everybody who needs nothing is scanned, and neither maker minds: 0.875 of 0.975."""
    user = [[1.0, 0.2, 0.2, 0.0], [0.2, 1.0, 0.2, 0.0], [0.5, 0.5, 1.0, 0.5], [0.4, 0.4, 0.4, 0.9]]
    maker_a = [[1.0, 0.5, 0.5, 0.5], [0.0] * 4, [0.6] * 4, [0.1] * 4]
    maker_b = [[0.0] * 4, [0.5, 1.0, 0.5, 0.5], [0.6] * 4, [0.1] * 4]
    market = Market([0.3, 0.25, 0.2, 0.25], user, [maker_a, maker_b])
    assert lowest_equilibrium(market, levels=200) == pytest.approx(0.875, abs=0.003)


@pytest.mark.parametrize("name", ["shared_bias", "free"])
def test_nobody_gains_at_the_lowest_equilibrium(name):
    """Checked with the library's linear programs, each with a floor a little above."""
    below_opt = 0
    for draw in range(10):
        market = market_of(KINDS[name], draw, 3)
        nothing, opt = market.no_information_value, market.full_information_value
        if opt - nothing < 0.01:
            continue
        value = lowest_equilibrium(market)
        assert nothing - 1e-6 <= value <= opt + 1e-6
        if value > opt - 0.01:
            continue
        below_opt += 1
        floors = [value, min(value + 0.01, opt)]
        (regret, _), (above, _) = regrets(market, floors)
        assert regret < 1e-5 and above > -1e-9
        # One scheme gives every provider what he can have at most: their sum attains the sum of the best.
        total = Market(market.prior, market.user, [market.providers.sum(axis=0)])
        best = sum(optimal_scheme(market, i, value).provider_value for i in range(3))
        assert optimal_scheme(total, 0, value).provider_value == pytest.approx(best, abs=1e-4)
    assert name == "free" or below_opt >= 2


# Summaries -----------------------------------------------------------------------------------------------------


def test_share_kept_by_hand():
    kept = dynamics.share_kept([0.72, 0.5, 0.7], [0.6, 0.5, 0.7], [0.75, 0.5, 0.7 + 1e-12])
    assert kept[0] == pytest.approx(0.8) and np.isnan(kept[1:]).all()


def test_summary_by_hand():
    game = {
        "k": 2,
        "bid_step": 0.01,
        "no_information": 0.5,
        "average_monopoly": 0.6,
        "best_monopoly": 0.7,
        "equilibrium": 0.9,
        "opt": 1.0,
        "eps_hull": 0.3,
        "eps_cone": 0.1,
        "objected": True,
        "tied": False,
        "converged": True,
        "cycled": False,
        "steps": 4,
    }
    worthless = {
        **game,
        "no_information": 1.0,
        "equilibrium": 1.0,
        "best_monopoly": 1.0,
        "average_monopoly": 1.0,
    }
    cycling = {**game, "equilibrium": 0.6, "converged": False, "cycled": True, "objected": False, "steps": 9}
    endless = {**game, "converged": False, "tied": True, "steps": 10_000}
    table = dynamics.summarise(pd.DataFrame([game, worthless, cycling, endless]), {"kind": "a kind"})
    row = table.iloc[0]
    assert list(table.columns[:2]) == ["kind", "k"] and (row["kind"], row["k"]) == ("a kind", 2)
    assert row["games"] == 4 and row["informative"] == 3
    assert row["kept"] == pytest.approx((0.8 + 0.2 + 0.8) / 3) and row["kept_median"] == pytest.approx(0.8)
    assert row["average_kept"] == pytest.approx(0.2) and row["average_monopoly"] == pytest.approx(0.7)
    assert (row["converged"], row["cycled"], row["limit"]) == (0.5, 0.25, 0.25)
    assert (row["objected"], row["tied"], row["steps_max"]) == (0.75, 0.25, 10_000)


def test_summary_of_paths_by_hand():
    columns = ["kind", "game", "start", "bid_step", "order", "kept", "converged", "cycled", "steps"]
    rows = [
        ("x", 0, "monopoly", 0.01, 0, 0.2, True, False, 1),
        ("x", 0, "monopoly", 0.01, 1, 0.5, True, False, 3),
        ("x", 1, "monopoly", 0.01, 0, 0.8, True, False, 5),
        ("x", 1, "monopoly", 0.01, 1, 0.8, False, True, 9),
        ("x", 2, "monopoly", 0.01, 0, np.nan, True, False, 0),  # information has no value
        ("x", 2, "monopoly", 0.01, 1, np.nan, True, False, 0),
        ("x", 0, "silent", 0.01, 0, 0.9, True, False, 2),
        ("x", 1, "silent", 0.01, 0, 0.7, True, False, 2),
        ("x", 2, "silent", 0.01, 0, np.nan, True, False, 2),
    ]
    table = dynamics.summarise_paths(pd.DataFrame(rows, columns=columns)).set_index("start")
    monopoly, silent = table.loc["monopoly"], table.loc["silent"]
    assert monopoly["kept"] == pytest.approx(0.5) and silent["kept"] == pytest.approx(0.8)
    assert monopoly["markets"] == silent["markets"] == 2
    assert monopoly["spread"] == pytest.approx(0.15) and monopoly["order_matters"] == 0.5
    assert np.isnan(silent["spread"]) and np.isnan(silent["order_matters"])
    assert (silent["above_monopoly"], silent["below_monopoly"]) == (0.5, 0.5)
    assert (monopoly["above_monopoly"], monopoly["below_monopoly"]) == (0, 0)
    assert monopoly["converged"] == pytest.approx(5 / 6) and monopoly["cycled"] == pytest.approx(1 / 6)
    assert monopoly["steps_max"] == 9


def test_more_jobs_give_the_same_and_an_interrupted_run_goes_on(tmp_path):
    way = {"kind": KINDS["stake"], "size": (2, 3), "sizes": (1, 2), "draws": 3}
    once = dynamics.play(**way)
    pd.testing.assert_frame_equal(once, dynamics.play(**way, n_jobs=2, cache=tmp_path))
    pd.testing.assert_frame_equal(once, dynamics.play(**way, cache=tmp_path))
    more = dynamics.play(**{**way, "draws": 5})
    pd.testing.assert_frame_equal(once, more[more["game"] < 3])


# The stored tables ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def origin():
    return json.loads((data_folder() / "dynamics_provenance.json").read_text(encoding="utf-8"))


def test_the_tables_are_those_of_the_provenance_file(origin):
    assert origin["made_by"] == "python -m emergent_alignment.reproduce dynamics"
    assert origin["seed"] == dynamics.SEED and origin["games"]["markets"] == dynamics.DRAWS
    assert set(origin["kinds"]) == set(KINDS)
    for name in origin["tables"]:
        assert (data_folder() / name).stat().st_size < 40_000


def test_all_kinds_sizes_and_numbers_of_providers_are_there(origin):
    games = load_table("dynamics_games")
    main = games[(games["actions"] == 3) & (games["states"] == 4)]
    assert len(main) == len(KINDS) * 8 and (main["games"] == origin["games"]["markets"]).all()
    other = games[games["actions"] != 3]
    assert len(other) == len(KINDS) * 2 * 3 and (other["games"] == origin["other_sizes"]["markets"]).all()
    assert (games["converged"] + games["cycled"] + games["limit"] == 1).all()
    assert (games["bound_holds"] == 1).all()
    centiles = load_table("dynamics_distribution").merge(main, on=["kind", "k"])
    assert len(centiles) == len(main)
    assert np.allclose(centiles["p50"], centiles["kept_median"]) and np.allclose(
        centiles["p95"], centiles["kept_high"]
    )


@pytest.mark.parametrize("name, k", [("in_hull", 2), ("shared_bias", 2), ("own_drug", 3)])
def test_a_slice_of_the_games_is_computed_again(name, k, origin):
    frame = dynamics.play(KINDS[name], dynamics.SIZE, (k,), origin["games"]["markets"])
    again = rounded(dynamics.summarise(frame, {"kind": name, "actions": 3, "states": 4}))
    stored = (
        load_table("dynamics_games")
        .query("kind == @name and k == @k and actions == 3")
        .reset_index(drop=True)
    )
    # A linear program may have several solutions: other solvers or processors may end at slightly other values.
    pd.testing.assert_frame_equal(again, stored, check_dtype=False, atol=0.015, rtol=0.05)
    row = rounded(dynamics.centiles(frame, name))
    stored = load_table("dynamics_distribution").query("kind == @name and k == @k").reset_index(drop=True)
    pd.testing.assert_frame_equal(row, stored, check_dtype=False, atol=0.03)


def test_a_slice_of_the_other_tables_is_computed_again(origin):
    markets = origin["equilibria"]["markets"]
    kind = dynamics.Kind("", "own_drug", {"share": 0.5, "stake": 3.0})
    frame = dynamics.play(kind, dynamics.SIZE, (3,), markets)
    again = rounded(dynamics.summarise(frame, {"sweep": "stake", "value": 3.0}))
    stored = load_table("dynamics_sweeps").query("sweep == 'stake' and value == 3").reset_index(drop=True)
    pd.testing.assert_frame_equal(again, stored, check_dtype=False, atol=0.015, rtol=0.05)
    rows = [
        row
        for draw in range(markets)
        for row in dynamics.equilibrium_draw(KINDS["stake"], dynamics.SEED, 4, draw)
    ]
    lowest = pd.DataFrame(rows)["lowest"].dropna()
    stored = load_table("dynamics_equilibria").set_index("kind").loc["stake"]
    assert lowest.mean() == pytest.approx(stored["lowest"], abs=0.015)
    assert (lowest > 0.95).mean() == pytest.approx(stored["only_opt"], abs=0.015)
    assert len(lowest) == stored["markets"]


def test_the_first_paths_are_computed_again(origin):
    paths = []
    for name in ("in_hull", "stake"):
        rows = [
            row for draw in range(4) for row in dynamics.sensitivity_draw(KINDS[name], dynamics.SEED, 4, draw)
        ]
        paths.append(pd.DataFrame(rows).assign(kind=name))
    table = dynamics.summarise_paths(pd.concat(paths, ignore_index=True))
    stored = load_table("dynamics_sensitivity")
    keys = ["kind", "start", "bid_step"]
    assert set(map(tuple, table[keys].to_numpy())) <= set(map(tuple, stored[keys].to_numpy()))
    in_hull = table[table["kind"] == "in_hull"]
    assert np.allclose(in_hull["kept"], 1, atol=1e-5) and (table["converged"] == 1).all()


def test_what_the_chapter_says_of_the_tables():
    games = load_table("dynamics_games").set_index(["kind", "actions", "states", "k"])
    assert (games["converged"] == 1).all() and (games["cycled"] == 0).all()
    assert (load_table("dynamics_sensitivity")["converged"] == 1).all()
    kept = games["kept"].xs((3, 4), level=("actions", "states")).unstack("k")
    assert (kept.loc["in_hull"] > 0.9999).all() and (kept.loc["own_drug", 2:] > 0.999).all()
    assert kept.loc["free", 8] > 0.99 > kept.loc["shared_bias", 8] + 0.3
    assert (kept.loc["shared_bias"].diff().dropna() > 0).all()
    assert kept.loc["stake", 2:].max() - kept.loc["stake", 2:].min() < 0.02
    larger = games["kept"].xs((5, 10), level=("actions", "states")).unstack("k")
    assert (larger.loc["shared_bias"] > kept.loc["shared_bias", larger.columns] + 0.15).all()


def test_the_command_writes_what_it_returns(tmp_path, monkeypatch):
    for name, value in {
        "PROVIDERS": (1, 2),
        "OTHER_SIZES": ((2, 2),),
        "OTHER_PROVIDERS": (2,),
        "BIASES": (0.5,),
        "STAKES": (1.0,),
        "CLOSE_UP": ("in_hull",),
        "BID_STEPS": (0.01, 0.003),
    }.items():
        monkeypatch.setattr(dynamics, name, value)
    written = dynamics.compute(out=tmp_path, draws=2)
    origin = json.loads((tmp_path / "dynamics_provenance.json").read_text(encoding="utf-8"))
    assert origin["tables"] == [f"{name}.csv" for name in written] and origin["raw_files"] == {}
    for name, table in written.items():
        pd.testing.assert_frame_equal(pd.read_csv(tmp_path / f"{name}.csv"), table, check_dtype=False)
    assert set(written["dynamics_games"]["kind"]) == set(KINDS)
    assert written["dynamics_games"]["games"].tolist() == [2] * 14 + [1] * 7
