"""The engine, on synthetic tables whose answers are known."""

from functools import partial

import numpy as np
import pandas as pd
import pytest

from emergent_alignment import InputError, best_response_dynamics, experiments, second_moments
from emergent_alignment.experiments import alignment_curves, game_curve, summarise, summarise_games

RNG = np.random.default_rng(7)
TABLE = RNG.uniform(size=(12, 40))


def ratios(curves, method, part="test"):
    return curves.loc[curves["method"] == method, part].to_numpy()


# Alignment curves --------------------------------------------------------------------------------------------


def test_alice_in_the_hull_of_the_others_is_imitated_exactly():
    corners = RNG.uniform(size=(2, 30))
    shares = np.array([0, 0, 1, 1, 0.2, 0.5, 0.7])[:, None]  # whoever is Alice lies between the others
    curves = alignment_curves(shares * corners[0] + (1 - shares) * corners[1], [6], draws=30, seed=1)
    assert ratios(curves, "simplex").max() < 1e-9
    assert ratios(curves, "cone").max() < 1e-9
    assert ratios(curves, "plain average").max() > 0.01
    assert not curves["undetermined"].any()


def test_scale_and_shift_are_free_for_the_cone_and_what_is_rescaled_only():
    base = RNG.uniform(size=30)
    scales = np.array([0.2, 0.5, 1.0, 3.0])[:, None]
    curves = alignment_curves(scales * base + RNG.uniform(size=(4, 1)), [1, 3], draws=20, seed=2)
    for method in ("rescaled single", "rescaled average", "cone"):
        assert ratios(curves, method).max() < 1e-9
    assert ratios(curves, "best single").max() > 0.1 and ratios(curves, "plain average").max() > 0.1


def test_with_one_provider_methods_coincide():
    curves = alignment_curves(TABLE, 1, draws=20, seed=3)
    for method in ("plain average", "simplex"):
        np.testing.assert_allclose(ratios(curves, method), ratios(curves, "best single"), atol=1e-9)
    for method in ("cone", "rescaled average"):
        np.testing.assert_allclose(ratios(curves, method), ratios(curves, "rescaled single"), atol=1e-9)


def test_the_methods_against_a_search():
    user, providers, train = TABLE[0], TABLE[1:6], np.arange(24)
    (weights,) = experiments.method_weights(second_moments(user[train], providers[:, train]), [5]).values()
    rows = dict(zip(experiments.METHODS, weights))
    factors = np.linspace(0, 3, 3001)

    def errors(mixed):
        return np.var(user[train] - mixed[..., train], axis=-1)

    alone = errors(providers)
    assert rows["best single"].tolist() == np.eye(5)[alone.argmin()].tolist()
    stretched = errors(factors[:, None, None] * providers)
    assert errors(rows["rescaled single"] @ providers) == pytest.approx(stretched.min(), abs=1e-6)
    assert rows["plain average"].tolist() == [0.2] * 5
    average = errors(factors[:, None] * providers.mean(axis=0))
    np.testing.assert_allclose(rows["rescaled average"], factors[average.argmin()] / 5, atol=2e-4)
    made = experiments.imitations(user, providers, train, [5])
    for method, w in rows.items():
        mixed = w @ providers
        np.testing.assert_allclose(made[5, method], mixed + (user - mixed)[train].mean(), atol=1e-12)


def test_an_average_that_nearly_cancels_is_stretched():
    z, opposed = TABLE[1] - TABLE[1].mean(), 3e4
    providers = np.array([opposed * z + TABLE[0], -opposed * z + TABLE[0]])
    made = experiments.imitations(TABLE[0], providers, np.arange(40), [2])
    for method in ("plain average", "rescaled average"):
        np.testing.assert_allclose(made[2, method], TABLE[0], atol=1e-6)


@pytest.mark.parametrize("sizes", [[0], [3], [1.5], [-1]])
def test_methods_take_some_of_the_providers(sizes):
    with pytest.raises(InputError, match="^sizes must be"):
        experiments.method_weights(second_moments(TABLE[0], TABLE[1:3]), sizes)


@pytest.mark.parametrize("level", [0.1, 1 / 3, 0.5, 0])
def test_an_alice_who_judges_all_alike_has_no_ratio(level):
    user, train, test = np.full(20, float(level)), np.arange(12), np.arange(12, 20)
    for changed, part in ((test, "train"), (train, "test")):
        other = user.copy()
        other[changed] += np.linspace(0, 1, len(changed)) - 0.5 * (part == "test")
        if part == "test":  # the constant is fitted on the training items
            other[test] = other[train].mean()
        with pytest.raises(InputError, match="judges all training or all test items alike"):
            experiments.error_ratios(other, TABLE[1, :20], train, test)


def test_of_providers_who_tie_the_first_is_taken():
    shifted = TABLE[1] + np.array([[0.1], [0.7], [0.3]])  # the same but for rounding
    weights = experiments.method_weights(second_moments(TABLE[0], shifted), [1, 2, 3])
    for k, rows in weights.items():
        assert rows[0].tolist() == np.eye(k)[0].tolist() and (rows[1][1:] == 0).all()


def test_an_average_that_cancels_or_points_away_is_given_no_weight():
    opposed = np.array([TABLE[1], 1 - TABLE[1], 1 - TABLE[0]])
    weights = experiments.method_weights(second_moments(TABLE[0], opposed[:2]), [1, 2])
    average = experiments.METHODS.index("rescaled average")
    assert (weights[2][average] == 0).all()
    away = experiments.method_weights(second_moments(TABLE[0], opposed[2:]), [1])
    assert (away[1][average] == 0).all() and (away[1][experiments.METHODS.index("cone")] == 0).all()


def test_on_the_items_fitted_on_a_richer_method_is_never_worse():
    curves = alignment_curves(TABLE, [1, 4, 11], draws=20, seed=4)
    train = {method: ratios(curves, method, "train") for method in experiments.METHODS}
    for better, worse in (
        ("cone", "simplex"),
        ("simplex", "best single"),
        ("simplex", "plain average"),
        ("cone", "rescaled single"),
        ("rescaled single", "best single"),
        ("cone", "rescaled average"),
        ("rescaled average", "plain average"),
    ):
        assert (train[better] <= train[worse] + 1e-9).all(), (better, worse)
    assert (train["cone"] <= 1 + 1e-9).all()  # weight zero is the best constant


def test_the_ratio_is_measured_against_the_training_mean():
    rng = experiments.draw_generator(5, 0)
    people, items = rng.permutation(12), rng.permutation(40)
    test, train = items[:16], items[16:]
    user, other = TABLE[people[0]], TABLE[people[1]]
    offset = (user[train] - other[train]).mean()
    expected = np.mean((other[test] + offset - user[test]) ** 2) / np.mean(
        (user[train].mean() - user[test]) ** 2
    )
    assert ratios(alignment_curves(TABLE, 1, draws=1, seed=5), "best single")[0] == pytest.approx(expected)


def test_providers_can_be_limited_to_a_group():
    tastes = RNG.uniform(size=(2, 30))
    groups = np.repeat(["left", "right"], 5)
    table = np.repeat(tastes, 5, axis=0)
    own = alignment_curves(table, [1, 4], draws=10, seed=6, groups=groups, pool="own group")
    other = alignment_curves(table, [1, 5], draws=10, seed=6, groups=groups, pool="another group")
    assert own["test"].max() < 1e-9
    assert ratios(other, "simplex").min() > 0.5


def test_without_the_consensus_what_everybody_shares_does_not_matter():
    shared = 5 * RNG.uniform(size=40)
    plain = alignment_curves(TABLE, [3, 8], draws=10, seed=8, remove_consensus=True)
    lifted = alignment_curves(TABLE + shared, [3, 8], draws=10, seed=8, remove_consensus=True)
    np.testing.assert_allclose(plain["test"], lifted["test"], rtol=1e-6, atol=1e-9)
    assert (
        ratios(alignment_curves(TABLE + shared, 8, 10, 8), "simplex").mean()
        < ratios(lifted, "simplex").mean()
    )


def test_fits_that_the_training_items_do_not_determine_are_marked_and_not_averaged():
    table = RNG.standard_normal((61, 10))
    curves = alignment_curves(table, [2, 60], draws=12, seed=9)
    summary = summarise(curves, "noise").set_index(["k", "method"])
    assert summary.loc[(60, "cone"), "undetermined"] == 1
    assert summary.loc[(60, "cone"), ["mean", "median", "beats_best_single"]].isna().all()
    assert summary.loc[(60, "cone"), "train"] < 1e-9
    assert (summary.loc[2, "undetermined"] == 0).all() and summary.loc[2, "mean"].notna().all()


def test_a_fit_with_as_many_unknowns_as_items_is_determined():
    rng = np.random.default_rng(11)
    corners = rng.random((4, 10))
    table = np.vstack([corners, np.full(4, 0.25) @ corners])
    curves = alignment_curves(table, [4], draws=60, seed=1, test_share=0.6)  # four items to fit on
    exact = curves[(curves["method"] == "simplex") & (curves["train"] < 1e-9)]
    assert len(exact) and not exact["undetermined"].any()
    cone = curves[(curves["method"] == "cone") & (curves["train"] < 1e-9)]
    assert len(cone) and cone["undetermined"].all()


def test_summary_by_hand():
    rows = []
    for draw, (single, simplex) in enumerate([(1.0, 0.5), (0.8, 0.4), (0.6, 0.6), (0.4, 0.9)]):
        for method in experiments.METHODS:
            rows.append((draw, 2, method, 0.1, simplex if method == "simplex" else single, False))
    curves = pd.DataFrame(rows, columns=["draw", "k", "method", "train", "test", "undetermined"])
    row = summarise(curves, "hand", noise_share=0.25).set_index("method").loc["simplex"]
    assert row["mean"] == pytest.approx(0.6) and row["median"] == pytest.approx(0.55)
    assert row["low"] == pytest.approx(0.415) and row["high"] == pytest.approx(0.855)
    assert row["beats_best_single"] == row["beats_plain_average"] == 0.5  # the tie does not count
    assert row["draws"] == 4 and row["train"] == pytest.approx(0.1) and row["noise_share"] == 0.25


# Reproducibility ---------------------------------------------------------------------------------------------


def test_results_do_not_depend_on_the_number_of_jobs():
    one = alignment_curves(TABLE, [2, 5], draws=25, seed=10)
    two = alignment_curves(TABLE, [2, 5], draws=25, seed=10, n_jobs=2)
    pd.testing.assert_frame_equal(one, two, check_exact=True)
    games = [game_curve(TABLE, [2], games=12, seed=10, slates=4, n_jobs=jobs) for jobs in (1, 2)]
    pd.testing.assert_frame_equal(*games, check_exact=True)


def test_more_draws_or_other_sizes_leave_the_draws_already_made_unchanged():
    few = alignment_curves(TABLE, [2], draws=13, seed=11)
    many = alignment_curves(TABLE, [2, 9], draws=31, seed=11)
    again = many[(many["draw"] < 13) & (many["k"] == 2)].reset_index(drop=True)
    pd.testing.assert_frame_equal(few, again)
    assert not np.allclose(few["test"], alignment_curves(TABLE, [2], draws=13, seed=12)["test"])


def test_an_interrupted_run_goes_on_where_it_stopped(tmp_path, monkeypatch):
    whole = alignment_curves(TABLE, [3], draws=40, seed=13)
    calls, genuine = [], experiments.second_moments

    def interrupt_after_25(*arguments):
        calls.append(1)
        if len(calls) > 25:
            raise KeyboardInterrupt
        return genuine(*arguments)

    monkeypatch.setattr(experiments, "second_moments", interrupt_after_25)
    with pytest.raises(KeyboardInterrupt):
        alignment_curves(TABLE, [3], draws=40, seed=13, cache=tmp_path)
    calls.clear()
    monkeypatch.setattr(experiments, "second_moments", lambda *a: calls.append(1) or genuine(*a))
    resumed = alignment_curves(TABLE, [3], draws=40, seed=13, cache=tmp_path)
    pd.testing.assert_frame_equal(resumed, whole, check_exact=True)
    assert len(calls) == 20  # two chunks of ten had been kept
    calls.clear()
    alignment_curves(TABLE, [3], draws=40, seed=13, cache=tmp_path)
    assert not calls


def test_the_cache_is_not_used_for_other_data_or_other_code(tmp_path, monkeypatch):
    first = alignment_curves(TABLE, [3], draws=10, seed=14, cache=tmp_path)
    other = alignment_curves(1 - TABLE**2, [3], draws=10, seed=14, cache=tmp_path)
    assert not np.allclose(first["test"], other["test"])
    calls, genuine = [], experiments.second_moments
    monkeypatch.setattr(experiments, "second_moments", lambda *a: calls.append(1) or genuine(*a))
    monkeypatch.setattr(experiments, "code_sha256", lambda _: "changed")
    alignment_curves(TABLE, [3], draws=10, seed=14, cache=tmp_path)
    assert len(calls) == 10


# Games -------------------------------------------------------------------------------------------------------


def test_providers_who_want_what_alice_wants_tell_her_everything():
    table = np.repeat(TABLE[:1], 4, axis=0)
    games = game_curve(table, [1, 3], games=5, seed=1, slates=5)
    np.testing.assert_allclose(games["equilibrium"], games["opt"])
    assert games["eps_cone"].max() < 1e-9 and games["eps_hull"].max() < 1e-9 and games["converged"].all()
    summary = summarise_games(games, "same")
    assert (summary[["kept", "monopoly_kept", "reaches_opt", "bound_holds"]] > 1 - 1e-6).all(axis=None)


def test_identical_opponents_tell_her_nothing_however_many_they_are():
    table = np.vstack([np.repeat(TABLE[:1], 4, axis=0), np.repeat(1 - TABLE[:1], 4, axis=0)])
    groups = np.repeat(["for", "against"], 4)
    games = game_curve(table, [1, 4], games=6, seed=2, slates=5, groups=groups, pool="another group")
    np.testing.assert_allclose(games["equilibrium"], games["no_information"], atol=1e-7)
    assert (games["eps_cone"] > 0.01).all()
    assert (summarise_games(games, "twins")["kept"].abs() < 1e-5).all()


def test_values_and_bounds_are_in_order():
    games = game_curve(TABLE, [1, 2, 5], games=10, seed=3, slates=6)
    assert (games["eps_cone"] <= games["eps_hull"] + 1e-7).all()
    for low, high in (("no_information", "best_monopoly"), ("best_monopoly", "opt"), ("equilibrium", "opt")):
        assert (games[low] <= games[high] + 1e-7).all()
    alone = games[games["k"] == 1]
    np.testing.assert_allclose(alone["equilibrium"], alone["best_monopoly"], atol=1e-7)
    assert (games.pivot(index="game", columns="k", values="eps_cone").diff(axis=1).iloc[:, 1:] <= 1e-7).all(
        axis=None
    )
    guarantee = games["opt"] - np.maximum(2 * games["eps_cone"], games["bid_step"])
    assert (games["equilibrium"] >= guarantee - 1e-6)[games["converged"]].all()


def test_games_that_do_not_converge_are_reported(monkeypatch):
    monkeypatch.setattr(experiments, "best_response_dynamics", partial(best_response_dynamics, max_steps=1))
    games = game_curve(TABLE, [3], games=10, seed=4, slates=6)
    summary = summarise_games(games, "cut short")
    assert len(games) == 10 and summary["games"].item() == 10
    assert summary["converged"].item() == games["converged"].mean() < 1


def test_games_in_which_information_is_worthless_count_but_have_no_share():
    table = np.tile(np.linspace(0, 1, 12), (3, 1))
    games = game_curve(table, [2], games=4, seed=5, slates=1, options=3)  # one slate: nothing to learn
    summary = summarise_games(games, "one slate")
    assert summary["informative"].item() == 0 and summary["games"].item() == 4
    assert np.isnan(summary["kept"].item()) and summary["bound_holds"].item() == 1


# Bad input ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"utilities": np.where(TABLE > 0.99, np.nan, TABLE)}, "complete"),
        ({"utilities": TABLE[0]}, "utilities must have axes"),
        ({"utilities": np.vstack([TABLE, np.ones(40)])}, "person 12"),
        ({"sizes": []}, "sizes"),
        ({"sizes": [12]}, "at most 11"),
        ({"sizes": [0]}, "sizes"),
        ({"draws": 0}, "draws"),
        ({"seed": -1}, "seed"),
        ({"test_share": 0.0}, "test_share"),
        ({"test_share": 1.5}, "test_share"),
        ({"n_jobs": 0}, "n_jobs"),
        ({"pool": "friends"}, "pool"),
        ({"pool": "own group"}, "groups"),
        ({"pool": "another group", "groups": ["a"] * 12}, "two different"),
        ({"pool": "own group", "groups": ["a"] * 10 + ["b"] * 2, "sizes": [2]}, "at most 1"),
    ],
)
def test_bad_arguments_of_curves(change, message):
    arguments = {"utilities": TABLE, "sizes": [2], "draws": 2, **change}
    with pytest.raises(InputError, match=message):
        alignment_curves(**arguments)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"slates": 14}, "slates times options"),
        ({"slates": 0}, "slates"),
        ({"options": 2.5}, "options"),
        ({"bid_step": -1}, "bid_step"),
        ({"bid_step": 0}, "bid_step"),
        ({"games": 0}, "games"),
        ({"sizes": [12]}, "sizes"),
    ],
)
def test_bad_arguments_of_games(change, message):
    arguments = {"utilities": TABLE, "sizes": [2], "games": 1, **change}
    with pytest.raises(InputError, match=message):
        game_curve(**arguments)
