"""The library's optimisation problems once more, written for reading and solved through cvxpy.

Nothing here uses the library's solvers: the tests compare the two.
"""

import cvxpy as cp
import numpy as np


def alignment_error(user, providers, weights="simplex", offset="constant", norm="sup"):
    """The alignment error by the definition, one variable for each weight and each offset."""
    w = cp.Variable(len(providers), nonneg=True)
    table = np.reshape(providers, (len(providers), -1))
    residual = w @ table - np.ravel(user)
    if offset == "constant":
        residual = residual + cp.Variable() * np.ones(table.shape[1])
    if offset == "state":
        actions, states = np.shape(user)
        residual = residual + cp.Variable(states) @ np.tile(np.eye(states), actions)
    constraints = [cp.sum(w) == 1] if weights == "simplex" else []
    if norm == "mse":
        problem = cp.Problem(cp.Minimize(cp.sum_squares(residual) / table.shape[1]), constraints)
        return problem.solve(solver=cp.CLARABEL, tol_gap_abs=1e-11, tol_gap_rel=1e-11, tol_feas=1e-11)
    eps = cp.Variable()
    constraints += [residual <= eps, residual >= -eps]
    return cp.Problem(cp.Minimize(eps), constraints).solve(solver=cp.HIGHS)


def best_scheme(market, provider, user_floor=None):
    """(conditional, provider's value) of the provider's best obedient scheme with Alice's value above a floor."""
    scheme = cp.Variable(market.user.shape, nonneg=True)
    law = cp.multiply(scheme, np.broadcast_to(market.prior, market.user.shape))
    values = law @ market.user.T  # (recommended, taken)
    constraints = [cp.sum(scheme, axis=0) == 1]
    constraints += [
        values[a, a] >= values[a, b] for a in range(market.n_actions) for b in range(market.n_actions)
    ]
    if user_floor is not None:
        constraints.append(cp.sum(cp.multiply(law, market.user)) >= user_floor)
    problem = cp.Problem(cp.Maximize(cp.sum(cp.multiply(law, market.providers[provider]))), constraints)
    value = problem.solve(solver=cp.HIGHS)
    return scheme.value, value


def best_response_dynamics(market, bid_step, seed):
    """The auction of the selection game with a cvxpy problem built at every step: (winner, offers, moves)."""
    opt = market.full_information_value
    k = market.n_providers

    def offer(provider, floor):
        scheme, _ = best_scheme(market, provider, floor)
        law = scheme * market.prior
        return float((law * market.user).sum()), np.tensordot(market.providers, law, axes=2)

    silent_law = np.zeros(market.user.shape)
    silent_law[np.argmax(market.user @ market.prior)] = market.prior
    silence = float((silent_law * market.user).sum()), np.tensordot(market.providers, silent_law, axes=2)

    order = np.random.default_rng(seed).permutation(k)
    standing = [offer(i, None) for i in range(k)]  # (Alice's value, the providers' values) of every offer
    winner = int(np.argmax([value for value, _ in standing]))
    moves, unmoved, turn = 0, 0, 0
    while unmoved < k:
        mover, turn = int(order[turn]), (turn + 1) % k
        rival = (
            winner if winner != mover else max(set(range(k)) - {mover}, key=lambda j: (standing[j][0], -j))
        )
        options = [(standing[rival][1][mover], silence, rival)]
        if opt - standing[rival][0] > 1e-6:
            bid = offer(mover, min(standing[rival][0] + bid_step, opt))
            options.append((bid[1][mover], bid, mover))
        value, scheme, next_winner = max(options, key=lambda option: option[0])
        if value > standing[winner][1][mover] + 1e-6:
            standing[mover], winner = scheme, next_winner
            moves, unmoved = moves + 1, 0
        else:
            unmoved += 1
    return winner, np.array([value for value, _ in standing]), moves
