"""Markets: their two reference values, their samplers, and every input they must refuse."""

from dataclasses import FrozenInstanceError

from fractions import Fraction

import numpy as np
import pytest

from emergent_alignment import InputError, Market, align, judge_and_prosecutor, sample_market, slate_market
from emergent_alignment.markets import KINDS, OWN_DRUG

PRIOR = [0.25, 0.75]
USER = [[1, 0], [0, 2], [0.5, 0.5]]  # (actions, states)
PROVIDERS = [[[1, 1], [0, 0], [0, 0]], [[0, 0], [3, 1], [0, -2]]]  # (providers, actions, states)


def test_reference_values_by_hand():
    market = Market(PRIOR, USER, PROVIDERS)
    assert (market.n_providers, market.n_actions, market.n_states) == (2, 3, 2)
    assert market.no_information_value == pytest.approx(1.5)  # action 2 on the prior: 0.75 * 2
    assert market.full_information_value == pytest.approx(1.75)  # 0.25 * 1 + 0.75 * 2
    assert market.actions == ("a1", "a2", "a3") and market.states == ("y1", "y2")


def test_states_of_probability_zero_do_not_count():
    market = Market([0.25, 0.75, 0], np.hstack([USER, [[99], [-99], [0]]]), np.zeros((1, 3, 3)))
    assert market.no_information_value == pytest.approx(1.5)
    assert market.full_information_value == pytest.approx(1.75)


def test_with_prior_keeps_the_rest():
    market = Market(PRIOR, USER, PROVIDERS, actions=["x", "y", "z"], states=["s", "t"])
    other = market.with_prior([1, 0])
    assert other.no_information_value == other.full_information_value == 1
    assert (other.actions, other.states) == (market.actions, market.states)
    assert np.array_equal(other.providers, market.providers)
    assert market.prior.tolist() == PRIOR


def test_judge_and_prosecutor():
    market = judge_and_prosecutor()
    assert market.prior.tolist() == pytest.approx([0.7, 0.3])
    assert market.no_information_value == pytest.approx(0.7)
    assert market.full_information_value == pytest.approx(1)
    assert market.user[market.actions.index("convict"), market.states.index("guilty")] == 1
    assert market.user[market.actions.index("acquit"), market.states.index("innocent")] == 1
    assert market.user.sum() == 2
    assert market.providers[0, market.actions.index("convict")].tolist() == [1, 1]
    for guilt in (0, 1):
        assert judge_and_prosecutor(guilt).no_information_value == 1


def test_arrays_are_copied_and_read_only():
    prior, user, providers = np.array(PRIOR), np.array(USER, dtype=float), np.array(PROVIDERS, dtype=float)
    given = [array.copy() for array in (prior, user, providers)]
    market = Market(prior, user, providers)
    for mine, before in zip((prior, user, providers), given):
        assert np.array_equal(mine, before) and mine.flags.writeable
    user[0, 0] = 17  # a later change of the caller's array must not reach the market
    assert market.user[0, 0] == 1
    for array in (market.prior, market.user, market.providers):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 0
    with pytest.raises(FrozenInstanceError):
        market.prior = PRIOR


def test_any_array_like_is_understood():
    wanted = Market(PRIOR, USER, PROVIDERS)
    frozen = np.array(USER)
    frozen.setflags(write=False)
    doubled = np.repeat(np.array(PROVIDERS), 2, axis=2)[:, :, ::2]  # not contiguous
    assert not doubled.flags.c_contiguous
    for market in (
        Market(tuple(PRIOR), frozen, doubled),
        Market(np.array(PRIOR, dtype=np.float32), np.asfortranarray(USER), np.asfortranarray(PROVIDERS)),
    ):
        assert np.array_equal(market.user, wanted.user) and np.array_equal(market.providers, wanted.providers)
        assert market.full_information_value == pytest.approx(1.75)
    assert Market([0, 1], [[1, 2]], [[[3, 4]]]).prior.dtype == float
    assert Market([True, False], [[True, False]], [[[False, True]]]).no_information_value == 1


def test_a_prior_that_sums_to_one_up_to_rounding_is_normalised():
    prior = np.full(7, 1 / 7) * (1 + 3e-9)
    assert Market(prior, np.zeros((1, 7)), np.zeros((1, 1, 7))).prior.sum() == pytest.approx(1, abs=1e-15)


def test_smallest_market():
    market = Market([1], [[0]], [[[0]]])
    assert market.no_information_value == market.full_information_value == 0


BAD_MARKETS = [
    ("prior", dict(prior=[[0.25, 0.75]])),
    ("prior", dict(prior=0.5)),
    ("prior", dict(prior=[0.5, 0.6])),
    ("prior", dict(prior=[0.2, 0.2])),
    ("prior", dict(prior=[1.5, -0.5])),
    ("prior", dict(prior=[np.nan, 1])),
    ("prior", dict(prior=[np.inf, 1])),
    ("prior", dict(prior=[])),
    ("prior", dict(prior=None)),
    ("prior", dict(prior="0.25, 0.75")),
    ("prior", dict(prior=["0.25", "0.75"])),
    ("prior", dict(prior=[0, 0])),
    ("prior", dict(prior=[0.2, 0.3, 0.5])),
    ("user", dict(prior=[0.2, 0.3, 0.5])),
    ("user", dict(user=[1, 2])),
    ("user", dict(user=np.zeros((0, 2)))),
    ("user", dict(user=np.zeros((3, 0)))),
    ("user", dict(user=[[1, 2], [3]])),
    ("user", dict(user=[[1, np.nan], [0, 0], [0, 0]])),
    ("user", dict(user=[[1, -np.inf], [0, 0], [0, 0]])),
    ("user", dict(user=[[1, None], [0, 0], [0, 0]])),
    ("user", dict(user=np.array(USER) + 1j)),
    ("user", dict(user=np.array(USER).astype(str).astype(object))),
    ("user", dict(user=np.transpose(USER))),
    ("providers", dict(providers=np.zeros((0, 3, 2)))),
    ("providers", dict(providers=[])),
    ("providers", dict(providers=PROVIDERS[0])),
    ("providers", dict(providers=np.zeros((2, 2, 3)))),
    ("providers", dict(providers=[[[1, 1], [0, 0]], [[0, 0], [3, 1], [0, 2]]])),
    ("providers", dict(providers=np.full((1, 3, 2), np.nan))),
    ("providers", dict(providers="two")),
    ("providers", dict(providers={1: 2})),
    ("actions", dict(actions=["one"])),
    ("actions", dict(actions="abc")),
    ("actions", dict(actions=3)),
    ("states", dict(states=["s", "t", "u"])),
]


@pytest.mark.parametrize("name, change", BAD_MARKETS)
def test_bad_market(name, change):
    with pytest.raises(InputError, match=rf"\b{name}\b"):
        Market(**(dict(prior=PRIOR, user=USER, providers=PROVIDERS) | change))


def test_errors_say_where():
    with pytest.raises(InputError, match=r"user .*entry \(1, 0\) is nan"):
        Market(PRIOR, [[0, 0], [np.nan, 0]], [[[0, 0], [0, 0]]])
    with pytest.raises(InputError, match=r"prior must sum to 1; it sums to 1\.1"):
        Market([0.5, 0.6], USER, PROVIDERS)
    assert issubclass(InputError, ValueError)


@pytest.mark.parametrize("bad", [-0.1, 1.1, np.nan, "half", None, True, [0.3]])
def test_bad_prior_of_guilt(bad):
    with pytest.raises(InputError, match="prior_guilt"):
        judge_and_prosecutor(bad)


def test_bad_new_prior():
    for prior in ([0.2, 0.3, 0.5], [0.5, 0.6], "half"):
        with pytest.raises(InputError, match="^prior must"):
            judge_and_prosecutor().with_prior(prior)


def test_any_kind_of_real_number_will_do():
    assert judge_and_prosecutor(Fraction(3, 10)).prior[1] == judge_and_prosecutor(np.float32(0.3)).prior[
        1
    ].round(7)
    for bad in (10**400, Fraction(10**400), True, None, "0.3", 1j, np.nan):
        with pytest.raises(InputError, match="^prior_guilt must be a finite number"):
            judge_and_prosecutor(bad)


# Samplers ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", (*KINDS, OWN_DRUG))
def test_samples_have_the_shape_asked_for_and_follow_the_generator(kind):
    def draw(seed):
        return sample_market(kind, np.random.default_rng(seed), providers=2, actions=5, states=3)

    market, again, other = draw(1), draw(1), draw(2)
    assert market.providers.shape == (2, 5, 3)
    assert np.array_equal(market.user, again.user) and np.array_equal(market.providers, again.providers)
    assert np.array_equal(market.prior, again.prior)
    assert not np.array_equal(market.user, other.user)
    assert 0 <= market.providers.min() and market.providers.max() <= 1


def test_in_hull_means_no_alignment_error_and_the_other_kinds_have_one():
    for seed in range(20):
        errors = {}
        for kind in KINDS:
            market = sample_market(kind, np.random.default_rng(seed))
            errors[kind] = align(market.user, market.providers, offset="none").error
        assert errors["in_hull"] < 1e-9
        assert 0.005 < errors["near_hull"] < 0.35
        assert min(errors["free"], errors["shared_bias"]) > 0.05


def test_noise_has_the_standard_deviation_asked_for():
    shape = dict(providers=3, actions=60, states=60)
    exact = sample_market("in_hull", np.random.default_rng(5), **shape)
    noisy = sample_market("near_hull", np.random.default_rng(5), noise=0.2, **shape)
    assert np.array_equal(exact.providers, noisy.providers)
    assert np.std(noisy.user - exact.user) == pytest.approx(0.2, rel=0.06)
    silent = sample_market("near_hull", np.random.default_rng(5), noise=0, **shape)
    assert np.array_equal(silent.user, exact.user)


def test_share_is_what_the_providers_have_in_common():
    def spread(share):
        market = sample_market("shared_bias", np.random.default_rng(3), actions=20, states=20, share=share)
        assert abs(np.corrcoef(market.user.ravel(), market.providers.mean(axis=0).ravel())[0, 1]) < 0.25
        return np.ptp(market.providers, axis=0).max()

    assert spread(1) == 0
    assert 0.15 < spread(0.8) <= 0.2
    assert 0.8 < spread(0) <= 1


def test_which_random_numbers_every_kind_uses():
    """More kinds may come; results computed with those there are must not change."""

    def begin():
        rng = np.random.default_rng(9)
        return rng, rng.dirichlet(np.ones(4)), rng.uniform(size=(2, 3, 4))

    def drawn(kind, **options):
        return sample_market(kind, np.random.default_rng(9), providers=2, **options)

    rng, prior, providers = begin()
    mixture = np.tensordot(rng.dirichlet(np.ones(2)), providers, axes=1)
    assert np.array_equal(drawn("in_hull").user, mixture)
    assert np.array_equal(drawn("near_hull").user, mixture + 0.08 * rng.standard_normal(size=(3, 4)))
    rng, prior, providers = begin()
    user, common = rng.uniform(size=(3, 4)), rng.uniform(size=(3, 4))
    assert np.array_equal(drawn("free").user, user) and np.array_equal(drawn("shared_bias").user, user)
    assert np.array_equal(drawn("shared_bias").providers, 0.8 * common + (1 - 0.8) * providers)
    for kind in KINDS:
        assert np.allclose(drawn(kind).prior, prior, atol=1e-15)
        assert kind == "shared_bias" or np.array_equal(drawn(kind).providers, providers)
    rng = np.random.default_rng(9)
    assert np.allclose(drawn(OWN_DRUG).prior, rng.dirichlet(np.ones(4)), atol=1e-15)
    assert np.array_equal(drawn(OWN_DRUG).user, rng.uniform(size=(3, 4)))


def own_drugs(providers, seed=2, **options):
    return sample_market(OWN_DRUG, np.random.default_rng(seed), providers=providers, **options)


def test_own_drugs_by_hand():
    market = own_drugs(5, share=0.25, stake=2)
    bonus = market.providers - 0.75 * market.user  # (providers, actions, states)
    assert np.allclose(bonus, bonus[:, :, :1])
    # Everybody's own drug, and twice as much for the last action.
    by_hand = [[1, 0, 2], [0, 1, 2], [0, 0, 3], [1, 0, 2], [0, 1, 2]]
    assert np.allclose(bonus[:, :, 0], 0.25 * np.array(by_hand))
    assert np.allclose(own_drugs(5, share=0, stake=2).providers, market.user)
    assert np.allclose(own_drugs(3, share=1).providers[:, :, 0], np.eye(3))
    few = own_drugs(2, share=0.25, stake=2)
    assert np.array_equal(few.user, market.user) and np.array_equal(few.providers, market.providers[:2])


def test_own_drugs_cancel_if_every_action_is_somebodys():
    """Chapter 11: Alice is in the cone exactly if every action has a champion; else the error is b / 2m at most."""
    for seed in range(5):
        for k in range(1, 10):
            market = own_drugs(k, seed, actions=4, share=0.5)
            error = align(market.user, market.providers, "cone", "state").error
            assert (error < 1e-9) == (k >= 4)
            assert error <= 1 / (2 * min(k, 4)) + 1e-9
        # A stake in the last action too: for as long as it is at most b / (A - 1).
        for stake, inside in ((0.3, True), (1 / 3, True), (0.4, False), (1, False)):
            market = own_drugs(4, seed, actions=4, share=0.5, stake=stake)
            assert (align(market.user, market.providers, "cone", "state").error < 1e-9) == inside


@pytest.mark.parametrize(
    "name, change",
    [
        ("kind", dict(kind="outside")),
        ("kind", dict(kind=None)),
        ("rng", dict(rng=0)),
        ("rng", dict(rng=None)),
        ("rng", dict(rng=np.random.RandomState(0))),
        ("providers", dict(providers=0)),
        ("providers", dict(providers=2.5)),
        ("providers", dict(providers=True)),
        ("actions", dict(actions=0)),
        ("actions", dict(actions="3")),
        ("states", dict(states=-1)),
        ("noise", dict(kind="near_hull", noise=-0.1)),
        ("noise", dict(kind="near_hull", noise=np.nan)),
        ("share", dict(kind="shared_bias", share=1.2)),
        ("share", dict(kind="shared_bias", share=-0.2)),
        ("share", dict(kind="own_drug", share=1.2)),
        ("stake", dict(kind="own_drug", stake=-1)),
        ("stake", dict(kind="own_drug", stake=np.inf)),
    ],
)
def test_bad_sampler_arguments(name, change):
    with pytest.raises(InputError, match=rf"^{name} "):
        sample_market(**(dict(kind="free", rng=np.random.default_rng(0)) | change))


# Slates -----------------------------------------------------------------------------------------------------

ITEMS = [0.0, 0.1, 0.2, 0.3]  # Alice
RATINGS = [[1.0, 2.0, 3.0, 4.0], [9.0, 8.0, 7.0, 6.0]]
SLATES = [[0, 3], [2, 1], [1, 1]]  # (states, actions)


def test_slates_by_hand():
    market = slate_market(ITEMS, RATINGS, SLATES)
    assert market.user.tolist() == [
        [0.0, 0.2, 0.1],
        [0.3, 0.1, 0.1],
    ]  # option a of slate s is item SLATES[s][a]
    assert market.providers[1].tolist() == [[9, 7, 8], [6, 8, 8]]
    assert market.prior.tolist() == pytest.approx([1 / 3] * 3)
    assert market.no_information_value == pytest.approx(0.5 / 3)
    assert market.full_information_value == pytest.approx(0.6 / 3)
    assert slate_market(ITEMS, RATINGS, SLATES, prior=[0, 1, 0]).full_information_value == pytest.approx(0.2)
    assert np.array_equal(slate_market(ITEMS, RATINGS, np.array(SLATES, dtype=float)).user, market.user)


def test_alignment_error_of_the_table_bounds_that_of_every_slate_market():
    rng = np.random.default_rng(0)
    smaller = 0
    for _ in range(30):
        user, providers = rng.uniform(size=12), rng.uniform(size=(3, 12))
        market = slate_market(user, providers, rng.integers(0, 12, size=(4, 3)))
        table, game = align(user, providers).error, align(market.user, market.providers).error
        assert game <= table + 1e-9
        smaller += game < table - 1e-3
    full = slate_market(user, providers, np.arange(12).reshape(4, 3))  # every item is on some slate
    assert align(full.user, full.providers).error == pytest.approx(table, abs=1e-9)
    assert smaller > 5


@pytest.mark.parametrize(
    "name, change",
    [
        ("user", dict(user=[ITEMS])),
        ("user", dict(user=[])),
        ("user", dict(user=[0, np.nan, 0, 0])),
        ("providers", dict(providers=ITEMS)),
        ("providers", dict(providers=np.zeros((0, 4)))),
        ("providers", dict(providers=[[1, 2, 3]])),
        ("providers", dict(providers=[[1, 2, 3, 4], [1, 2]])),
        ("slates", dict(slates=[[0, 4]])),
        ("slates", dict(slates=[[0, -1]])),
        ("slates", dict(slates=[[0, 1.5]])),
        ("slates", dict(slates=[[0, 1e30]])),
        ("slates", dict(slates=[[0, np.nan]])),
        ("slates", dict(slates=[0, 1])),
        ("slates", dict(slates=[[0, 1], [2]])),
        ("slates", dict(slates=np.zeros((0, 2)))),
        ("slates", dict(slates=np.zeros((2, 0)))),
        ("slates", dict(slates=[["a", "b"]])),
        ("prior", dict(prior=[0.5, 0.5])),
        ("prior", dict(prior=[0.5, 0.5, 0.5])),
        ("prior", dict(prior=[-1, 1, 1])),
    ],
)
def test_bad_slates(name, change):
    with pytest.raises(InputError, match=rf"^{name} "):
        slate_market(**(dict(user=ITEMS, providers=RATINGS, slates=SLATES) | change))
