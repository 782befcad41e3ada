"""Speed of `align`, each claim beside what it is measured against. Times are reported, results asserted.

`make benchmark` runs the sizes of the claims; in `make test` the same code runs small, as one more test.
"""

import numpy as np
import pytest
import reference

from emergent_alignment import align, second_moments


def table(providers, items, seed=0):
    """A user near the hull of her providers: (items,) and (providers, items)."""
    rng = np.random.default_rng(seed)
    utilities = rng.uniform(size=(providers, items))
    user = rng.dirichlet(np.ones(providers)) @ utilities
    user += 0.05 * rng.standard_normal(items)
    return user, utilities


def within(items, full_size):
    return items if full_size else 2000


@pytest.mark.benchmark(
    group="sup-1: align(sup), 100 providers, 100,000 items (claim: under 2 s on two cores)"
)
@pytest.mark.parametrize("weights", ["simplex", "cone"])
def test_align_sup(benchmark, full_size, weights):
    user, providers = table(100 if full_size else 10, within(100_000, full_size))
    result = benchmark.pedantic(
        align, (user, providers, weights), rounds=3 if full_size else 1, warmup_rounds=0
    )
    assert result.certificate.lower_bound(user, providers) == pytest.approx(result.error, abs=1e-7)


GROUP = "sup-2: 100 providers, 10,000 items, constraint generation and plain cvxpy (claim: 20x)"


@pytest.mark.benchmark(group=GROUP)
def test_constraint_generation(benchmark, full_size):
    user, providers = table(100 if full_size else 10, within(10_000, full_size))
    result = benchmark.pedantic(align, (user, providers), rounds=3 if full_size else 1)
    assert result.certificate.lower_bound(user, providers) == pytest.approx(result.error, abs=1e-7)
    if not full_size:  # at full size this takes long, and is what the other test measures
        assert reference.alignment_error(user, providers) == pytest.approx(result.error, abs=1e-6)


@pytest.mark.benchmark(group=GROUP)
def test_plain_cvxpy(benchmark, full_size):
    user, providers = table(100 if full_size else 10, within(10_000, full_size))
    optimum = benchmark.pedantic(reference.alignment_error, (user, providers), rounds=1)
    assert optimum == pytest.approx(align(user, providers).error, abs=1e-6)


GRAM = "mse-1: 100 providers, 1,000,000 items, align(mse) and numpy's Gram matrix (claim: 1.5x)"


@pytest.fixture(scope="module")
def large(request):
    full_size = not request.config.getoption("benchmark_disable")
    return table(100 if full_size else 10, within(1_000_000, full_size))


@pytest.mark.benchmark(group=GRAM)
def test_align_mse(benchmark, full_size, large):
    user, providers = large
    result = benchmark.pedantic(
        align, (user, providers, "simplex", "constant", "mse"), rounds=5 if full_size else 1
    )
    residual = result.predict(providers) - user
    assert (residual**2).mean() == pytest.approx(result.error) == pytest.approx(0.0025, rel=0.1)


@pytest.mark.benchmark(group=GRAM)
def test_numpy_gram_matrix(benchmark, full_size, large):
    _, providers = large
    gram = benchmark.pedantic(lambda: providers @ providers.T, rounds=5 if full_size else 1)
    moments = second_moments(*large, offset="none")
    assert moments.gram[:-1, :-1] == pytest.approx(gram / providers.shape[1])


@pytest.mark.benchmark(group="mse-2: 1,000 fits on random subsets of 100 providers (claim: seconds)")
@pytest.mark.parametrize("weights", ["simplex", "cone"])
def test_subset_fits(benchmark, full_size, large, weights):
    user, providers = large
    moments = second_moments(user, providers)
    rng = np.random.default_rng(1)
    k = len(providers)
    subsets = [
        rng.choice(k, size=rng.integers(1, k + 1), replace=False) for _ in range(1000 if full_size else 20)
    ]
    fits = benchmark.pedantic(
        lambda: [moments.align(s, weights) for s in subsets], rounds=3 if full_size else 1
    )
    everybody = moments.align(weights=weights).error
    assert min(fit.error for fit in fits) >= everybody - 1e-9
    for subset, fit in list(zip(subsets, fits))[:3]:
        residual = fit.weights @ providers[subset] + fit.offset - user
        assert (residual**2).mean() == pytest.approx(fit.error)
