"""Speed of `best_response_dynamics` beside the same dynamics with a cvxpy problem built at every step."""

import numpy as np
import pytest
import reference

from emergent_alignment import best_response_dynamics, sample_market

GROUP = "game: 4 providers, 3 actions, 4 states, one path (claim: 10x)"
SMALL = 1e-2  # the bid step of `make test`


@pytest.fixture
def market():
    return sample_market("free", np.random.default_rng(7))


@pytest.fixture
def bid_step(full_size):
    return 1e-3 if full_size else SMALL


def agree(path, with_cvxpy):
    winner, offers, moves = with_cvxpy
    assert path.converged and moves > 5
    assert (path.winner, path.steps) == (winner, moves) and path.offers == pytest.approx(offers, abs=1e-6)


@pytest.mark.benchmark(group=GROUP)
def test_best_response_dynamics(benchmark, full_size, market, bid_step):
    path = benchmark.pedantic(
        best_response_dynamics, (market,), {"bid_step": bid_step, "seed": 0}, rounds=10 if full_size else 1
    )
    assert path.converged
    # At full size cvxpy takes long, and is what the other test measures; here the two are compared at the small one.
    small = best_response_dynamics(market, bid_step=SMALL, seed=0) if full_size else path
    agree(small, reference.best_response_dynamics(market, SMALL, 0))


@pytest.mark.benchmark(group=GROUP)
def test_dynamics_with_cvxpy(benchmark, market, bid_step):
    with_cvxpy = benchmark.pedantic(reference.best_response_dynamics, (market, bid_step, 0), rounds=1)
    agree(best_response_dynamics(market, bid_step=bid_step, seed=0), with_cvxpy)
