"""Alignment error: hulls computed by hand, independent programs, certificates, and every bad input."""

import itertools

import numpy as np
import pytest
import reference

from emergent_alignment import InputError, align, hull, judge_and_prosecutor, sample_market, second_moments
from emergent_alignment.hull import SeparatingMeasure

WEIGHTS, OFFSETS, NORMS = ("simplex", "cone"), ("constant", "state", "none"), ("sup", "mse")
EVERY = list(itertools.product(WEIGHTS, OFFSETS, NORMS))
TRIANGLE = [[0, 0], [1, 0], [0, 1]]  # three providers, two items


def residual_error(result, user, providers):
    residual = result.predict(providers) - user
    return np.abs(residual).max() if result.norm == "sup" else (residual**2).mean()


# By hand ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "user, sup, mse",
    [
        ([0.25, 0.25], 0, 0),  # inside
        ([0.5, 0.5], 0, 0),  # on the long edge
        ([1, 0], 0, 0),  # a corner
        ([1, 1], 0.5, 0.25),  # both distances lead to (1/2, 1/2)
        ([2, 0], 1, 0.5),
        ([-1, -1], 1, 1),
        ([-1, 0.5], 1, 0.5),
        ([3, 2], 2, 4),  # to (1, 0) in both: max(2, 2), (4 + 4)/2
        ([1, 2], 1, 1),
        ([2, 1.5], 1.25, 1.5625),  # both to (3/4, 1/4)
        ([2, 3.5], 2.5, 5.125),  # past the end of the long edge: both to (0, 1), and (4 + 6.25)/2
    ],
)
def test_distances_to_a_triangle(user, sup, mse):
    for norm, wanted in (("sup", sup), ("mse", mse)):
        result = align(user, TRIANGLE, "simplex", "none", norm)
        assert result.error == pytest.approx(wanted, abs=1e-9)
        assert result.weights.sum() == pytest.approx(1) and result.weights.min() >= 0
        assert result.total_weight == pytest.approx(1)
        assert residual_error(result, np.array(user), TRIANGLE) == pytest.approx(wanted, abs=1e-9)
        assert result.offset == 0


@pytest.mark.parametrize(
    "user, sup, mse", [([4, 7], 0, 0), ([-1, 2], 1, 0.5), ([2, -3], 3, 4.5), ([-1, -2], 2, 2.5)]
)
def test_distances_to_a_quadrant(user, sup, mse):
    for norm, wanted in (("sup", sup), ("mse", mse)):
        assert align(user, TRIANGLE, "cone", "none", norm).error == pytest.approx(wanted, abs=1e-9)


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("offset", ["constant", "state"])
def test_prosecutor_and_defender_are_half_a_unit_away(weights, offset):
    judge = [[0, 1], [1, 0]]  # (actions convict and acquit, states innocent and guilty)
    market = [[[1, 1], [0, 0]], [[0, 0], [1, 1]]]
    result = align(judge, market, weights, offset)
    assert result.error == pytest.approx(0.5, abs=1e-9)
    assert result.certificate.lower_bound(judge, market) == pytest.approx(0.5, abs=1e-9)
    # Nothing the two say tells the states apart: the mean squared error is that of the best constant.
    assert align(judge, market, weights, offset, "mse").error == pytest.approx(0.25, abs=1e-9)


def test_judge_and_prosecutor():
    market = judge_and_prosecutor()
    # Residuals of u_A - w U_1: convict (-w, 1 - w), acquit (1, 0). They spread by 1 + w.
    assert align(market.user, market.providers, "simplex", "constant").error == pytest.approx(1, abs=1e-9)
    cone = align(market.user, market.providers, "cone", "constant")
    assert cone.error == pytest.approx(0.5, abs=1e-9) and cone.total_weight == pytest.approx(0, abs=1e-9)
    assert cone.offset == pytest.approx(0.5)


def test_one_provider_who_wants_the_same_in_another_unit():
    user = np.array([0, 0.2, 0.7, 1])
    for norm in NORMS:
        result = align(user, [3 * user - 2], "cone", "constant", norm)
        assert result.error == pytest.approx(0, abs=1e-12)
        assert result.weights == pytest.approx([1 / 3], abs=1e-6)
        assert result.offset == pytest.approx(2 / 3, abs=1e-6)
    # Without rescaling u - (3 u - 2) = 2 - 2 u ranges over [0, 2]; at best half of that.
    assert align(user, [3 * user - 2]).error == pytest.approx(1, abs=1e-9)
    assert align(user, [3 * user - 2], norm="mse").error == pytest.approx(4 * user.var())
    # An opponent is useless to a cone, which leaves him out, and worse than that to a simplex.
    assert align(user, [-user], "cone").error == pytest.approx(0.5, abs=1e-9)
    assert align(user, [-user]).error == pytest.approx(1, abs=1e-9)


def test_state_offsets_remove_what_the_action_does_not_change():
    rng = np.random.default_rng(0)
    user = rng.uniform(size=(3, 5))
    mood = rng.normal(size=5)  # a provider's likes and dislikes of the states themselves
    exact = align(user, [user + mood], offset="state")
    assert exact.error == pytest.approx(0, abs=1e-9)
    assert exact.offset == pytest.approx(-mood)
    assert align(user, [user + mood], offset="state", norm="mse").offset == pytest.approx(-mood)
    assert align(user, [user + mood], offset="constant").error == pytest.approx(np.ptp(mood) / 2)
    assert align(user, [user + mood], offset="none").error == pytest.approx(np.abs(mood).max())


def test_two_providers_by_least_squares_closed_form():
    rng = np.random.default_rng(3)
    for _ in range(20):
        user, first, second = rng.normal(size=(3, 6))
        toward = first - second
        share = np.clip(toward @ (user - second) / (toward @ toward), 0, 1)
        result = align(user, [first, second], "simplex", "none", "mse")
        assert result.weights == pytest.approx([share, 1 - share], abs=1e-7)
        assert result.error == pytest.approx(((share * first + (1 - share) * second - user) ** 2).mean())


# Against independent programs -------------------------------------------------------------------------------


@pytest.mark.parametrize("weights, offset, norm", EVERY)
def test_same_optimum_as_an_independent_program(weights, offset, norm):
    inside = 0
    for seed in range(10):
        rng = np.random.default_rng(seed)
        k, actions, states = rng.integers(1, 7), rng.integers(2, 5), rng.integers(1, 6)
        user, providers = rng.normal(size=(actions, states)), rng.normal(size=(k, actions, states))
        if seed % 4 == 0:
            user = np.tensordot(rng.dirichlet(np.ones(k)), providers, axes=1)
        if seed % 3 == 0:
            providers[0] = 0.1  # one who does not care
        result = align(user, providers, weights, offset, norm)
        wanted = reference.alignment_error(user, providers, weights, offset, norm)
        assert result.error == pytest.approx(wanted, abs=1e-7)
        assert residual_error(result, user, providers) == pytest.approx(result.error, abs=1e-9)
        assert np.shape(result.offset) == ((states,) if offset == "state" else ())
        assert result.norm == norm and (result.certificate is None) == (norm == "mse")
        inside += result.error < 1e-6
    assert inside < 8


@pytest.mark.parametrize("offset", OFFSETS)
def test_least_squares_where_the_active_set_method_stops_short(offset, monkeypatch):
    monkeypatch.setattr(hull, "nnls", lambda matrix, target, maxiter: (np.zeros(matrix.shape[1]), 0.0))
    for seed in range(5):
        rng = np.random.default_rng(seed)
        providers = rng.normal(size=(3, 4, 3))
        user = np.tensordot([0.5, 0.0, 2.0], providers, axes=1) + 0.3 * rng.normal(size=(4, 3))
        result = align(user, providers, "cone", offset, "mse")
        wanted = reference.alignment_error(user, providers, "cone", offset, "mse")
        assert result.error == pytest.approx(wanted, abs=1e-9) and result.total_weight > 1
        assert residual_error(result, user, providers) == pytest.approx(wanted, abs=1e-9)


@pytest.mark.parametrize("weights, offset", [("simplex", "constant"), ("cone", "constant"), ("cone", "none")])
def test_constraint_generation_ends_at_the_optimum_of_all_items(weights, offset):
    rng = np.random.default_rng(7)
    providers = rng.normal(size=(15, 3000))
    user = rng.dirichlet(np.ones(15)) @ providers + 0.3 * rng.standard_t(2, size=3000)
    result = align(user, providers, weights, offset)
    assert result.error == pytest.approx(
        reference.alignment_error(user, providers, weights, offset), abs=1e-6
    )
    assert result.certificate.lower_bound(user, providers) == pytest.approx(result.error, abs=1e-7)
    assert np.count_nonzero(result.certificate.measure) <= 15 + 2  # few items bind


def test_constraint_generation_with_state_offsets_on_many_states():
    rng = np.random.default_rng(8)
    user, providers = rng.normal(size=(3, 700)), rng.normal(size=(6, 3, 700))
    result = align(user, providers, "cone", "state")
    assert result.error == pytest.approx(
        reference.alignment_error(user, providers, "cone", "state"), abs=1e-6
    )
    assert result.certificate.lower_bound(user, providers) == pytest.approx(result.error, abs=1e-7)


@pytest.mark.parametrize("offset", OFFSETS)
def test_moments_are_those_of_numpy_also_block_by_block(offset, monkeypatch):
    rng = np.random.default_rng(2)
    user, providers = rng.normal(size=(4, 50)) + 3, rng.normal(size=(5, 4, 50)) * 10 - 7
    table = np.concatenate([providers, user[None]])
    if offset != "none":
        table = table - table.mean(axis=1 if offset == "state" else (1, 2), keepdims=True)
    gram = np.einsum("ias,jas->ij", table, table) / user.size
    for block in (hull.BLOCK, 100, 30, 1):
        monkeypatch.setattr(hull, "BLOCK", block)
        moments = second_moments(user, providers, offset)
        assert moments.gram == pytest.approx(gram, rel=1e-10, abs=1e-10)
    if offset == "constant":
        assert moments.means[:, 0] == pytest.approx(providers.mean(axis=(1, 2)))
        assert moments.user_mean == pytest.approx([user.mean()])


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("offset", OFFSETS)
def test_fits_on_subsets_are_fits_of_those_providers_alone(weights, offset):
    rng = np.random.default_rng(6)
    user, providers = rng.normal(size=(3, 8)), rng.normal(size=(6, 3, 8))
    moments = second_moments(user, providers, offset)
    for subset in ([0], [4, 1], (5, 0, 2), np.array([3, 2]), range(6)):
        part, alone = (
            moments.align(subset, weights),
            align(user, providers[list(subset)], weights, offset, "mse"),
        )
        assert part.error == pytest.approx(alone.error)
        assert part.weights == pytest.approx(alone.weights)
        assert part.offset == pytest.approx(alone.offset)
    assert moments.align(weights=weights).error == pytest.approx(moments.align(range(6), weights).error)


@pytest.mark.parametrize("subset", [[6], [-1], [], [0.5], ["0"], 3, [True], np.array([[0, 1]])])
def test_bad_subset(subset):
    moments = second_moments(np.zeros(3), np.zeros((6, 3)))
    with pytest.raises(InputError, match="^subset "):
        moments.align(subset)


# The certificate --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("offset", OFFSETS)
def test_strong_duality(weights, offset):
    for seed in range(15):
        market = sample_market(("free", "shared_bias", "near_hull")[seed % 3], np.random.default_rng(seed))
        result = align(market.user, market.providers, weights, offset)
        measure = result.certificate.measure
        assert np.abs(measure).sum() == pytest.approx(1, abs=1e-7)
        if offset == "constant":
            assert measure.sum() == pytest.approx(0, abs=1e-7)
        if offset == "state":
            assert measure.sum(axis=0) == pytest.approx(np.zeros(market.n_states), abs=1e-7)
        against = np.tensordot(market.providers, measure, axes=2)
        own = (measure * market.user).sum()
        if weights == "cone":
            assert against.max() < 1e-7 and own == pytest.approx(result.error, abs=1e-7)
        else:
            assert own - against.max() == pytest.approx(result.error, abs=1e-7)
        assert result.certificate.lower_bound(market.user, market.providers) == pytest.approx(
            result.error, abs=1e-7
        )
        # Complementary slackness: the measure sits where the residual is largest, with the residual's sign.
        residual = market.user - result.predict(market.providers)
        on = np.abs(measure) > 1e-6
        assert residual[on] == pytest.approx(np.sign(measure[on]) * result.error, abs=1e-6)


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("offset", OFFSETS)
def test_weak_duality(weights, offset):
    # Any measure that passes the check bounds eps from below, however it was found.
    rng = np.random.default_rng(11)
    accepted = informative = 0
    for seed in range(60):
        market = sample_market("free", np.random.default_rng(seed), providers=1 + seed % 3)
        result = align(market.user, market.providers, weights, offset)
        measure = result.certificate.measure + 0.05 * rng.normal(size=market.user.shape)
        if offset != "none":
            measure -= measure.mean(axis=0 if offset == "state" else None, keepdims=True)
        measure /= np.abs(measure).sum()
        try:
            bound = SeparatingMeasure(measure, weights, offset).lower_bound(market.user, market.providers)
        except InputError:
            assert weights == "cone"  # the only condition that was not restored
            continue
        assert bound <= result.error + 1e-9
        accepted += 1
        informative += bound > 0
    assert accepted > 8 and informative > 4


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("offset", OFFSETS)
def test_a_tampered_measure_is_refused(weights, offset):
    market = sample_market("free", np.random.default_rng(1))
    result = align(market.user, market.providers, weights, offset)
    measure = result.certificate.measure

    def bound(changed):
        return SeparatingMeasure(changed, weights, offset).lower_bound(market.user, market.providers)

    assert bound(measure) == pytest.approx(result.error, abs=1e-7)
    moved = measure.copy()
    moved.flat[np.flatnonzero(measure)[0]] += 0.01
    nowhere = np.full(measure.shape, np.nan)
    tampered = [measure * 1.01, nowhere, measure + np.eye(*measure.shape)]
    if offset != "none":
        tampered += [moved * 0.9, np.abs(measure)]
    if weights == "cone":
        tampered.append(-measure)  # points from the market to Alice no longer, but the other way round
    for changed in tampered:
        with pytest.raises(InputError, match="certificate"):
            bound(changed)
    for shape in ((measure.size,), measure.shape[::-1]):
        with pytest.raises(InputError):
            bound(measure.reshape(shape))


def test_a_measure_certifies_nothing_about_another_market():
    market = sample_market("free", np.random.default_rng(1))
    result = align(market.user, market.providers, "cone")
    with pytest.raises(InputError, match="certificate"):  # Alice herself joins the market: eps is zero now
        result.certificate.lower_bound(market.user, [*market.providers, market.user])
    simplex = align(market.user, market.providers, "simplex")
    assert simplex.certificate.lower_bound(market.user, [*market.providers, market.user]) <= 1e-9
    with pytest.raises(InputError, match="user"):
        result.certificate.lower_bound(market.user[:, :2], market.providers[:, :, :2])


def test_the_certificate_is_sound_where_utilities_are_large_against_their_differences():
    rng = np.random.default_rng(4)
    for seed in range(10):
        user, providers = rng.integers(0, 2, size=(4, 3)), rng.integers(0, 3, size=(5, 4, 3)) * 1e-3
        providers = providers + 1e4 * np.arange(1, 6)[:, None, None]
        for weights, offset in itertools.product(WEIGHTS, ("constant", "state")):
            result = align(user, providers, weights, offset)
            bound = result.certificate.lower_bound(user, providers)
            assert bound == pytest.approx(result.error, abs=1e-7)


# Degenerate but legal ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("weights, offset, norm", EVERY)
def test_degenerate_utilities(weights, offset, norm):
    def error(user, providers):
        result = align(user, providers, weights, offset, norm)
        assert residual_error(result, np.array(user, dtype=float), providers) == pytest.approx(
            result.error, abs=1e-12
        )
        if norm == "sup":
            assert result.certificate.lower_bound(user, providers) == pytest.approx(result.error, abs=1e-9)
        assert result.weights.min() >= 0 and np.isfinite(result.weights).all()
        return result.error

    def squared(value):
        return value if norm == "sup" else value**2

    free = offset != "none"
    user, same = [[0.0, 1.0], [0.5, 0.25]], [[[0.0, 1.0], [0.5, 0.25]]]
    assert error(user, same) == pytest.approx(0, abs=1e-9)
    assert error(user, same * 3) == pytest.approx(0, abs=1e-9)  # identical providers
    assert error([[1]], [[[3]]]) == pytest.approx(
        0 if free or weights == "cone" else squared(2)
    )  # a single item
    assert error([[0.3, 0.3]], [[[0.7, 0.7]]]) == pytest.approx(
        0 if free or weights == "cone" else squared(0.4)
    )
    assert error([[0, 0], [0, 0]], [[[0, 0], [0, 0]]]) == 0
    one_action = error([[0.0, 1.0]], [[[0.5, 0.5]]])  # nothing to choose
    assert one_action == pytest.approx(0 if offset == "state" else squared(0.5))
    assert error([[0.1, 0.1], [0.1, 0.1]], [[[0.1, 0.1], [0.1, 0.1]]]) == pytest.approx(0, abs=1e-15)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("constant", [0.0, 0.1, 1 / 3, -7.3, 1e6 + 0.1])
def test_a_constant_provider_neither_helps_nor_harms_a_cone_with_an_offset(norm, constant, monkeypatch):
    for seed in range(40):
        rng = np.random.default_rng(seed)
        shape = tuple(rng.integers(2, 8, size=2))
        user, providers = rng.uniform(size=shape), rng.uniform(size=(3, *shape))
        providers[1] = constant
        monkeypatch.setattr(hull, "BLOCK", (1 << 19, 20)[seed % 2])  # rounding differs with the blocks
        for offset in ("constant", "state"):
            result = align(user, providers, "cone", offset, norm)
            without = align(user, providers[[0, 2]], "cone", offset, norm)
            assert result.error == pytest.approx(without.error, abs=1e-9)
            assert residual_error(result, user, providers) == pytest.approx(result.error, abs=1e-7)
            assert result.weights[1] == 0


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("offset", ["constant", "state"])
def test_units_and_origins_of_the_providers_do_not_matter_to_a_cone(norm, offset):
    for seed in range(10):
        market = sample_market("near_hull", np.random.default_rng(seed))
        wanted = align(market.user, market.providers, "cone", offset, norm).error
        for unit, shift in ((1e-6, 0), (1e6, 0), (1e6, 1e6), (1e-3, 1e3)):
            other = market.providers * unit + shift
            assert align(market.user, other, "cone", offset, norm).error == pytest.approx(wanted, abs=1e-7)
            scaled = align(market.user * unit, market.providers, "cone", offset, norm).error
            assert scaled == pytest.approx(wanted * (unit if norm == "sup" else unit**2), rel=1e-6)


@pytest.mark.parametrize("weights, offset, norm", EVERY)
def test_array_likes_are_understood_and_never_changed(weights, offset, norm):
    rng = np.random.default_rng(9)
    user, providers = rng.integers(0, 5, size=(3, 4)), rng.integers(0, 5, size=(2, 3, 4))
    wanted = align(user.astype(float), providers.astype(float), weights, offset, norm).error
    frozen_user, frozen_providers = user.astype(float), providers.astype(float)
    for array in (frozen_user, frozen_providers):
        array.setflags(write=False)
    strided = np.repeat(providers.astype(float), 2, axis=2)[:, :, ::2]
    for one, other in (
        (user.tolist(), providers.tolist()),
        (frozen_user, frozen_providers),
        (np.asfortranarray(user), strided),
        (user.astype(np.int8), providers.astype(np.float32)),
    ):
        before = np.array(one), np.array(other)
        assert align(one, other, weights, offset, norm).error == pytest.approx(wanted, abs=1e-9)
        assert np.array_equal(one, before[0]) and np.array_equal(other, before[1])
    if offset != "state":
        flat = align(user.ravel(), providers.reshape(2, -1), weights, offset, norm)
        assert flat.error == pytest.approx(wanted, abs=1e-9)


# Bad input --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name, user, providers",
    [
        ("user", 1, [[1]]),
        ("user", [], [[]]),
        ("user", np.zeros((0, 2)), np.zeros((1, 0, 2))),
        ("user", np.zeros((2, 0)), np.zeros((1, 2, 0))),
        ("user", np.zeros((2, 2, 2)), np.zeros((1, 2, 2, 2))),
        ("user", [0, np.nan], [[0, 1]]),
        ("user", [0, np.inf], [[0, 1]]),
        ("user", [[0, 1], [2]], [[[0, 1], [2, 3]]]),
        ("user", "alice", [[0, 1]]),
        ("user", ["0", "1"], [[0, 1]]),
        ("user", [1j, 0], [[0, 1]]),
        ("user", None, [[0, 1]]),
        ("providers", [0, 1], [0, 1]),
        ("providers", [0, 1], np.zeros((0, 2))),
        ("providers", [0, 1], []),
        ("providers", [0, 1], [[0, 1, 2]]),
        ("providers", [0, 1], [[0, 1], [2]]),
        ("providers", [0, 1], [[0, np.nan]]),
        ("providers", [0, 1], [[0, -np.inf]]),
        ("providers", [0, 1], [["a", "b"]]),
        ("providers", [0, 1], None),
        ("providers", [[0, 1], [1, 0]], [[0, 1], [1, 0]]),
        ("providers", [[0, 1], [1, 0]], np.zeros((1, 2, 3))),
    ],
)
def test_bad_utilities(name, user, providers):
    for call in (
        lambda: align(user, providers),
        lambda: align(user, providers, norm="mse"),
        lambda: second_moments(user, providers),
        lambda: SeparatingMeasure(np.zeros(2), "cone", "none").lower_bound(user, providers),
    ):
        with pytest.raises(InputError, match=rf"^{name} "):
            call()


@pytest.mark.parametrize("name", ["weights", "offset", "norm"])
@pytest.mark.parametrize("option", ["", "Simplex", None, 1, ["simplex"]])
def test_unknown_option(name, option):
    for norm in NORMS:
        with pytest.raises(InputError, match=rf"^{name} must be one of "):
            align([0, 1], [[0, 1]], **({"norm": norm} | {name: option}))


def test_unknown_option_of_moments():
    with pytest.raises(InputError, match="^offset "):
        second_moments([0, 1], [[0, 1]], offset="free")
    with pytest.raises(InputError, match="^weights "):
        second_moments([0, 1], [[0, 1]]).align(weights="hull")


@pytest.mark.parametrize("norm", NORMS)
def test_state_offsets_need_states(norm):
    with pytest.raises(InputError, match="^offset 'state' needs"):
        align([0, 1], [[0, 1]], offset="state", norm=norm)


@pytest.mark.parametrize(
    "providers",
    [np.zeros((3, 2, 4)), np.zeros((2, 2, 5)), np.zeros((2, 8)), np.zeros(2), [[1], [2, 3]], "two", None],
)
def test_bad_prediction(providers):
    rng = np.random.default_rng(0)
    result = align(rng.normal(size=(2, 4)), rng.normal(size=(2, 2, 4)), offset="state")
    with pytest.raises(InputError, match="^providers "):
        result.predict(providers)


def test_predictions_for_new_items():
    result = align([0, 1, 2], [[0, 1, 2], [5, 5, 1]], "cone", norm="mse")
    assert result.predict([[7, -1], [0, 0]]) == pytest.approx([7, -1], abs=1e-6)


def test_providers_who_cancel_each_other_get_no_runaway_weights():
    """Rank-deficient providers with zero inside their cone: the reported error is that of the returned weights."""
    rng = np.random.default_rng(0)
    for _ in range(300):
        rank, k = rng.integers(1, 5), rng.integers(2, 14)
        user = rng.normal(size=50)
        providers = rng.normal(size=(k, rank)) @ rng.normal(size=(rank, 50))
        fit = align(user, providers, weights="cone", norm="mse")
        residual = user - fit.predict(providers)
        assert np.isclose(np.mean(residual**2), fit.error, atol=1e-9)
        assert fit.weights.max() < 1e4
        # Optimality: no provider's weight can be raised, or lowered if positive, to any gain.
        slope = -(providers - providers.mean(axis=1, keepdims=True)) @ residual / 50
        assert slope.min() > -1e-6 and abs(slope[fit.weights > 0]).max(initial=0) < 1e-6
