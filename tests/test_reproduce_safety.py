"""Safety ratings: what the command writes, and the committed numbers computed again from the raw files."""

from dataclasses import replace

import cvxpy as cp
import numpy as np
import pandas as pd
import pytest

from emergent_alignment.datasets import load_table
from emergent_alignment.datasets.dices import load_dices
from emergent_alignment.experiments import METHODS, draw_generator, game_curve, summarise, summarise_games
from emergent_alignment.reproduce import safety, tables
from emergent_alignment.reproduce.levels import Plan


@pytest.fixture(scope="module")
def dices(raw_data):
    return load_dices(raw_data)


@pytest.fixture(scope="module")
def levels(dices):
    return safety.safety_levels(dices)


@pytest.fixture
def panel():
    """A made-up panel of experts and twelve raters who see some of what the experts see."""
    rng = np.random.default_rng(7)
    truth = rng.random(60)
    expert = (truth > 0.5).astype(float)
    raters = np.round(2 * np.clip(truth + rng.normal(0, 0.4, (12, 60)), 0, 1)) / 2
    return expert, raters


# Who is used -------------------------------------------------------------------------------------------------


def test_raters_who_hardly_vary_are_left_out(dices):
    kept = safety.varied(dices).utilities
    most = np.array([max((row == u).sum() for u in (0, 0.5, 1)) for row in dices.utilities])
    assert len(kept) == 116 and (most > 0.95 * 350).sum() == 7
    np.testing.assert_array_equal(kept, dices.utilities[most <= 0.95 * 350])


def test_the_agreeing_raters_correlate_best_with_the_others(dices):
    kept = set(safety.agreeing(dices).people["rater"])
    table = dices.utilities
    with np.errstate(invalid="ignore", divide="ignore"):
        correlation = np.nan_to_num(
            [np.corrcoef(row, np.delete(table, i, axis=0).mean(axis=0))[0, 1] for i, row in enumerate(table)]
        )
    assert len(kept) == 104
    left_out = [i for i in range(len(table)) if i not in kept]
    assert correlation[left_out].max() <= correlation[list(kept)].min()


def test_the_levels_are_what_they_say(levels):
    assert levels["raters"].utilities.shape == (116, 350)
    groups = levels["groups"]
    assert groups.utilities.shape == (23, 175) and groups.fewest_answers >= 5 and groups.people == 116
    for name in ("own_half", "other_half"):
        assert levels[name].utilities.shape == (116, 175)
        assert sorted(np.unique(levels[name].groups, return_counts=True)[1]) == [58, 58]


# The experts as Alice ----------------------------------------------------------------------------------------


def general_solver(providers, target, sum_to_one):
    w = cp.Variable(len(providers), nonneg=True)
    constraints = [cp.sum(w) == 1] if sum_to_one else []
    cp.Problem(cp.Minimize(cp.sum_squares(providers.T @ w - target)), constraints).solve()
    return w.value


def test_one_draw_against_a_general_solver(panel):
    expert, raters = panel
    drawn = safety.expert_curves(expert, raters, Plan(3, (), draws=2, providers=(1, 4, 9)))
    rng = draw_generator(3, 1)
    order, items = rng.permutation(12)[:9], rng.permutation(60)
    test, train = items[:24], items[24:]
    for k in (1, 4, 9):
        providers = raters[order[:k]]
        own = providers - providers[:, train].mean(axis=1, keepdims=True)
        target = expert - expert[train].mean()

        errors = [((row - target)[train] ** 2).sum() for row in own]
        scale = [max(row[train] @ target[train], 0) / (row[train] @ row[train]) for row in own]
        scaled = [((s * row - target)[train] ** 2).sum() for s, row in zip(scale, own)]
        average = own[:, train].mean(axis=0, keepdims=True)
        weights = {
            "best single": np.eye(k)[np.argmin(errors)],
            "rescaled single": scale[np.argmin(scaled)] * np.eye(k)[np.argmin(scaled)],
            "plain average": np.full(k, 1 / k),
            "rescaled average": np.full(k, general_solver(average, target[train], sum_to_one=False)[0] / k),
            "simplex": general_solver(own[:, train], target[train], sum_to_one=True),
            "cone": general_solver(own[:, train], target[train], sum_to_one=False),
        }
        rows = drawn.query("draw == 1 and k == @k").set_index("method")
        for method in METHODS:
            imitation = weights[method] @ own
            for name, part in (("train", train), ("test", test)):
                ratio = ((imitation - target)[part] ** 2).mean() / (target[part] ** 2).mean()
                assert rows.loc[method, name] == pytest.approx(ratio, abs=2e-3), (method, name)
            verdicts = imitation[test] + expert[train].mean() > 0.5
            assert rows.loc[method, "agrees"] == pytest.approx((verdicts == expert[test]).mean(), abs=0.05)
        majority = (providers[:, test].mean(axis=0) > 0.5) == expert[test]
        assert rows.loc[safety.VOTE, "agrees"] == pytest.approx(majority.mean())


def test_an_expert_among_the_raters_is_found(panel):
    expert, raters = panel
    drawn = safety.expert_curves(expert, np.vstack([raters, expert]), Plan(0, (), draws=3, providers=(13,)))
    rows = drawn[drawn["method"].isin(["best single", "rescaled single", "simplex", "cone"])]
    np.testing.assert_allclose(rows[["train", "test"]], 0, atol=1e-6)
    assert (rows["agrees"] == 1).all()


def test_games_look_like_those_of_the_library(panel):
    expert, raters = panel
    plan = {"slates": 8, "options": 3, "bid_step": 0.01}
    ours = safety.expert_games(expert, raters, Plan(1, (2, 3), draws=12, **plan))
    theirs = game_curve(np.vstack([expert, raters]), [2, 3], 1, seed=1, **plan)
    assert list(ours.columns) == list(theirs.columns)
    assert ours["converged"].all() and (ours["equilibrium"] <= ours["opt"] + 1e-6).all()
    assert (ours["equilibrium"] >= ours["opt"] - np.maximum(2 * ours["eps_cone"], 0.01) - 1e-6).all()
    by_k = ours.pivot(index="game", columns="k", values=["best_monopoly", "opt"])
    assert (
        by_k["best_monopoly"][3] >= by_k["best_monopoly"][2] - 1e-9
    ).all()  # one more rater to choose from
    assert (by_k["opt"][3] == by_k["opt"][2]).all()


def test_a_game_is_played_on_the_slates_that_were_dealt(panel):
    expert, raters = panel
    ours = safety.expert_games(expert, raters, Plan(5, (1,), 4, slates=6, options=2, bid_step=0.01))
    for draw in range(4):
        rng = draw_generator(5, draw)
        rng.permutation(12)
        slates = rng.permutation(60)[:12].reshape(6, 2)
        opt, prior = expert[slates].max(axis=1).mean(), expert[slates].mean(axis=0).max()
        assert ours.loc[draw, "opt"] == pytest.approx(opt)
        assert ours.loc[draw, "no_information"] == pytest.approx(prior)


# What is written ---------------------------------------------------------------------------------------------


def test_the_committed_agreement_is_consistent():
    agreement = load_table("safety_agreement")
    assert (agreement["low"] <= agreement["agrees"]).all()
    assert (agreement["agrees"] <= agreement["high"]).all()
    assert set(agreement["method"]) == {*METHODS, safety.VOTE}


def test_the_counts_are_those_of_the_conversations(dices):
    table = safety.votes(dices)
    pd.testing.assert_frame_equal(table, load_table("safety_votes"), check_dtype=False)
    assert table[["experts_safe", "experts_unsafe"]].to_numpy().sum() == 350
    share = (1 - dices.utilities).mean(axis=0)
    for row in table.itertuples():
        inside = (share > row.share_from + 1e-9) & (share <= row.share_to + 1e-9) | (
            share + row.share_from == 0
        )
        assert inside.sum() == row.experts_safe + row.experts_unsafe
        assert (dices.items["expert"].to_numpy()[inside] == 0).sum() == row.experts_unsafe


def test_a_slice_of_the_experts_is_computed_again_from_the_raw_files(dices):
    expert, raters = dices.items["expert"].to_numpy(), safety.varied(dices).utilities
    sizes = (1, 10)
    drawn = safety.expert_curves(expert, raters, replace(safety.PLAN, providers=sizes))
    stored = load_table("safety_alignment").query("level == 'experts' and k in @sizes").reset_index(drop=True)
    again = tables.rounded(summarise(drawn, "experts"))
    pd.testing.assert_frame_equal(again, stored, check_dtype=False, atol=2e-4, rtol=1e-3)
    stored = load_table("safety_agreement").query("k in @sizes").reset_index(drop=True)
    pd.testing.assert_frame_equal(
        tables.rounded(safety.agreement(drawn)), stored, check_dtype=False, atol=2e-3
    )


def test_a_slice_of_the_games_is_computed_again_from_the_raw_files(dices):
    expert, raters = dices.items["expert"].to_numpy(), safety.varied(dices).utilities
    games = safety.expert_games(expert, raters, replace(safety.PLAN, game_providers=(1,)))
    again = tables.rounded(summarise_games(games, "experts"))
    stored = load_table("safety_games").query("level == 'experts' and k == 1").reset_index(drop=True)
    pd.testing.assert_frame_equal(again, stored, check_dtype=False, atol=5e-3, rtol=0.05)
