"""Speed of `best_response_dynamics` beside the same dynamics with a cvxpy problem built at every step."""

import numpy as np
import pytest
import reference

from emergent_alignment import best_response_dynamics, sample_market

GROUP = "game: 4 providers, 3 actions, 4 states, one path (claim: 10x)"


@pytest.fixture
def market():
    return sample_market("free", np.random.default_rng(7))


@pytest.fixture
def bid_step(full_size):
    return 1e-3 if full_size else 1e-2


@pytest.fixture(scope="module")
def ends():
    """Where both ways ended, each checked against the other once both are there."""
    return []


def agree(ends, winner, offers, moves):
    ends.append((winner, offers, moves))
    assert moves > 5
    first = ends[0]
    assert (winner, moves) == (first[0], first[2]) and offers == pytest.approx(first[1], abs=1e-6)


@pytest.mark.benchmark(group=GROUP)
def test_best_response_dynamics(benchmark, full_size, market, bid_step, ends):
    path = benchmark.pedantic(
        best_response_dynamics, (market,), {"bid_step": bid_step, "seed": 0}, rounds=10 if full_size else 1
    )
    assert path.converged
    agree(ends, path.winner, path.offers, path.steps)


@pytest.mark.benchmark(group=GROUP)
def test_dynamics_with_cvxpy(benchmark, market, bid_step, ends):
    agree(ends, *benchmark.pedantic(reference.best_response_dynamics, (market, bid_step, 0), rounds=1))
