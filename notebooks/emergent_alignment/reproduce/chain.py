"""Chapter 15: the chain of guarantees, from OPT - 2 eps to the worst equilibrium, on random games.

No data are read. 10,000 small games with the worst coarse correlated equilibrium of each, larger games for the part
of the chain that needs no equilibrium, sweeps over the noise and over the shared bias, and small games in fractions,
without any tolerance.
"""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise, product
from pathlib import Path

import highspy
import numpy as np
import pandas as pd

from .._validation import InputError, whole_number
from ..certificates import certify, exact_simplex, proved_value, verify_exact
from ..conversation import SignallingGame
from ..datasets import data_folder
from ..experiments import draw_generator, run_draws
from ..hull import align
from ..markets import KINDS, Market, sample_market
from ..persuasion import linear_program, solve_linear_program
from .tables import provenance, rounded, write_results

SEED = 15
DRAWS = 2500  # games of each of the four kinds
SMALL = {"providers": 2, "actions": 3, "states": 2}
GRID = 5  # 25 rules for each Bob
LARGER = ({"providers": 4, "actions": 3, "states": 4}, {"providers": 8, "actions": 4, "states": 8})
SWEEPS = {  # kind, argument of `sample_market`, values
    "noise": ("near_hull", (0.0, 0.02, 0.04, 0.08, 0.12, 0.16, 0.24, 0.32, 0.4)),
    "share": ("shared_bias", (0.0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1.0)),
}
PART_OF_DRAWS = {"larger": 5, "sweep": 12, "exact": 25}  # one draw of these for so many of the small games
UNIT = 20  # in the exact games every number is a whole multiple of 1 / UNIT
STRICT = 1e-6  # an inequality counts as strict if its sides differ by more
TOLERANCE = 1e-8  # and as violated if it fails by more
LINKS = ("bound_hull", "bound_cone", "same_weights", "certificate", "obedient", "worst_cce", "opt")


def compute(
    data_dir=None, out=None, draws=None, n_jobs=1, cache=None, progress=False
) -> dict[str, pd.DataFrame]:
    """Chapter 15: how the guarantees compare, in random games of four kinds (`markets.sample_market`).

    Parameters
    ----------
    data_dir : not used. out : folder to write to; the course's own tables if omitted.
    draws : small games of each kind, 2500 if omitted; a fifth as many larger ones of each kind and size, a twelfth
        for each point of a sweep, and a 25th in fractions.
    n_jobs, cache, progress : as in `experiments.run_draws`.

    Returns
    -------
    The tables written, by name: chain_games (averages), chain_links (each inequality: violations, share of games in
    which it is strict), chain_sweep (averages over the same games at every noise and share), chain_exact (in
    fractions). chain_provenance.json is written beside them.
    """
    out = data_folder() if out is None else Path(out)
    draws = whole_number(DRAWS if draws is None else draws, "draws", 1)
    run = {"n_jobs": n_jobs, "cache": cache, "progress": progress}
    part = {name: -(-draws // divisor) for name, divisor in PART_OF_DRAWS.items()}
    games = []
    for sizes in (SMALL, *LARGER):
        small = sizes is SMALL
        arguments = {"sizes": sizes, "grid": GRID if small else None, "seed": SEED}
        title = "{providers} Bobs, {actions} actions, {states} states".format(**sizes)
        rows = run_draws(chain_draw, arguments, draws if small else part["larger"], title=title, **run)
        games.append(pd.DataFrame(rows))
    common = {"seed": SEED}
    sweep = run_draws(sweep_draw, common, part["sweep"], title="noise and shared bias", **run)
    exact = run_draws(exact_draw, common, part["exact"], title="in fractions", **run)
    games = pd.concat(games, ignore_index=True)
    tables = {
        "chain_games": rounded(summarise_chain(games)),
        "chain_links": summarise_links(games),
        "chain_sweep": rounded(summarise_sweep(pd.DataFrame(sweep))),
        "chain_exact": rounded(summarise_exact(pd.DataFrame(exact))),
    }
    write_results(
        out,
        "chain",
        tables,
        provenance("chain"),
        seed=SEED,
        small_games_of_each_kind=draws,
        small={**SMALL, "rules_of_each_provider": GRID ** SMALL["states"]},
        larger_games_of_each_kind_and_size=part["larger"],
        larger=list(LARGER),
        games_at_each_point_of_a_sweep=part["sweep"],
        sweeps={name: {"kind": kind, "values": values} for name, (kind, values) in SWEEPS.items()},
        exact_games_of_each_kind=part["exact"],
        exact={**SMALL, "rules_of_each_provider": GRID ** SMALL["states"], "unit": f"1/{UNIT}"},
        violated_by_more_than=TOLERANCE,
        strict_by_more_than=STRICT,
    )
    return tables


def chain_draw(sizes, grid, seed, draw):
    """One game of each kind: a row with every link of the chain; no equilibria without `grid`."""
    rng = draw_generator(seed, draw)
    return [{"kind": kind, **sizes, **_links(sample_market(kind, rng, **sizes), grid)} for kind in KINDS]


def sweep_draw(seed, draw):
    """One game for every noise and every share, all made from the same random numbers."""
    rows = []
    for name, (kind, values) in SWEEPS.items():
        for value in values:
            rng = draw_generator(seed + 1, draw)
            market = sample_market(kind, rng, **SMALL, **{name: value})
            rows.append({"sweep": name, "value": value, **_links(market, GRID)})
    return rows


def _links(market, grid):
    """Every link of the chain in one market; no equilibria without `grid`."""
    plain, obedient = certify(market, obedience=False), certify(market)
    cone = align(market.user, market.providers, "cone", "state")
    hull = align(market.user, market.providers)
    row = {
        "no_information": market.no_information_value,
        "bound_hull": plain.opt - 2 * hull.error,
        "bound_cone": plain.opt - 2 * cone.error,
        "same_weights": proved_value(market, cone.weights),
        "certificate": plain.value,
        "obedient": obedient.value,
        "worst_cce": np.nan,
        "worst_cce_selection": np.nan,
        "opt": plain.opt,
        "gap": max(abs(plain.gap), abs(obedient.gap)),
    }
    if grid is not None:
        for name, heard in (("worst_cce", "all"), ("worst_cce_selection", "best")):
            game = SignallingGame.on_grid(market, grid, heard)
            row[name] = game.worst_coarse_correlated().user_value
    return row


def summarise_chain(games: pd.DataFrame) -> pd.DataFrame:
    """Averages, one row for each size and kind.

    Columns: providers, actions, states, kind; games; the means of no_information, every link of the chain and
    worst_cce_selection; informative, the number of games in which information has value; among these, the share
    in which OPT - 2 eps (cone) is above no information (bound_useful), in which the certificate with obedience is
    (certificate_useful), and in which the worst coarse correlated equilibrium is (equilibrium_useful); in which
    they are OPT (bound_all, certificate_all, equilibrium_all); and in which the certificate is exactly the worst
    coarse correlated equilibrium (tight).
    """
    rows = []
    for (*sizes, kind), part in games.groupby(["providers", "actions", "states", "kind"], sort=False):
        rows.append({**dict(zip(("providers", "actions", "states"), sizes)), "kind": kind, **_averages(part)})
    return pd.DataFrame(rows)


def summarise_sweep(games: pd.DataFrame) -> pd.DataFrame:
    """The averages of `summarise_chain`, one row for each noise and share: columns sweep, value, then as there."""
    rows = []
    for (sweep, value), part in games.groupby(["sweep", "value"], sort=False):
        rows.append({"sweep": sweep, "value": value, **_averages(part)})
    return pd.DataFrame(rows)


def _averages(part):
    some = part[part["opt"] - part["no_information"] > STRICT]
    row = {"games": len(part), **part[["no_information", *LINKS, "worst_cce_selection"]].mean()}
    row["informative"] = len(some)
    links = {"bound": "bound_cone", "certificate": "obedient", "equilibrium": "worst_cce"}
    for name, link in links.items():
        known = some[link].notna().any()
        row[f"{name}_useful"] = (some[link] > some["no_information"] + STRICT).mean() if known else np.nan
        row[f"{name}_all"] = (some[link] > some["opt"] - STRICT).mean() if known else np.nan
    known = some["worst_cce"].notna().any()
    row["tight"] = (some["worst_cce"] - some["obedient"] < STRICT).mean() if known else np.nan
    return row


def summarise_links(games: pd.DataFrame) -> pd.DataFrame:
    """Every inequality of the chain, one row for each size, inequality and kind.

    Columns: providers, actions, states, kind; smaller, larger (its two sides); games; violations, games in which
    it fails by more than 1e-8; strict, the share of games in which the sides differ by more than 1e-6. The last
    inequality of each size says that primal and dual value agree.
    """
    pairs = [
        *pairwise(LINKS),
        ("obedient", "worst_cce_selection"),
        ("no_information", "obedient"),
        ("gap", "zero"),
    ]
    rows = []
    for (*sizes, kind), part in games.assign(zero=0.0).groupby(
        ["providers", "actions", "states", "kind"], sort=False
    ):
        for smaller, larger in pairs:
            room = (part[larger] - part[smaller]).dropna()
            if room.empty:
                continue
            row = {**dict(zip(("providers", "actions", "states"), sizes)), "kind": kind}
            row |= {"smaller": smaller, "larger": larger, "games": len(room)}
            row |= {
                "violations": int((room < -TOLERANCE).sum()),
                "strict": round(float((room > STRICT).mean()), 4),
            }
            rows.append(row)
    return pd.DataFrame(rows)


# In fractions ------------------------------------------------------------------------------------------------


def exact_draw(seed, draw):
    """One small game of each kind, all numbers multiples of 1 / UNIT: every link of the chain as a fraction."""
    rng = draw_generator(seed + 2, draw)
    rows = []
    for kind in KINDS:
        market = exact_market(kind, rng)
        plain, obedient = certify(market, obedience=False), certify(market)
        checked = [verify_exact(c, UNIT) for c in (plain, obedient)]
        eps = exact_alignment_error(market)
        worst = exact_worst_coarse_correlated(market)
        chain = [checked[0].opt - 2 * eps, checked[0].value, checked[1].value, worst, checked[0].opt]
        row = {"kind": kind, "holds": all(x <= y for x, y in pairwise(chain))}
        row["floor_holds"] = checked[1].value >= checked[1].no_information
        for name, smaller, larger in zip(("bound", "certificate", "obedient", "cce"), chain, chain[1:]):
            row[f"{name}_strict"] = smaller < larger
        floats = (plain.bound, plain.value, obedient.value)
        row["difference"] = max(abs(float(x) - y) for x, y in zip(chain, floats))
        row["unproved"] = max(float(c.value - c.proved) for c in checked)
        rows.append(row)
    return rows


def summarise_exact(games: pd.DataFrame) -> pd.DataFrame:
    """The exact games, one row for each kind.

    Columns: kind, games; holds, games in which OPT - 2 eps <= certificate <= obedient <= worst coarse correlated
    equilibrium <= OPT without any tolerance; floor_holds, in which the obedient one is at least no information;
    the shares of games in which each inequality is strict; agree, games in which fractions and floating point
    differ by less than 1e-9, and proved, in which the floating-point weights, read as fractions, prove the exact
    value to 1e-5.
    """
    rows = []
    for kind, part in games.groupby("kind", sort=False):
        row = {"kind": kind, "games": len(part), "holds": int(part["holds"].sum())}
        row["floor_holds"] = int(part["floor_holds"].sum())
        row |= {name: float(part[name].mean()) for name in part.columns if name.endswith("_strict")}
        row["agree"] = int((part["difference"] < 1e-9).sum())
        row["proved"] = int((part["unproved"] < 1e-5).sum())
        rows.append(row)
    return pd.DataFrame(rows)


def exact_market(kind: str, rng) -> Market:
    """A small random market with prior and utilities rounded to multiples of 1 / UNIT, every state possible."""
    market = sample_market(kind, rng, **SMALL)
    first = int(np.clip(round(market.prior[0] * UNIT), 1, UNIT - 1))
    prior = np.array([first, UNIT - first]) / UNIT
    return Market(prior, np.round(market.user * UNIT) / UNIT, np.round(market.providers * UNIT) / UNIT)


def exact_alignment_error(market: Market) -> Fraction:
    """The alignment error (cone, state offsets) as a fraction: half the least spread of residuals in a state."""
    user, providers = _whole(market.user), _whole(market.providers)
    n_actions, n_states = user.shape
    triples = [(a, b, y) for a, b in product(range(n_actions), repeat=2) if a != b for y in range(n_states)]
    # spread + sum_i w_i (U_i(a) - U_i(b)) >= u(a) - u(b) in every state, for all ordered pairs of actions
    rows = [[*(providers[:, a, y] - providers[:, b, y]), Fraction(1)] for a, b, y in triples]
    lower = np.array([user[a, y] - user[b, y] for a, b, y in triples])
    surplus = -np.eye(len(rows), dtype=int).astype(object)
    matrix = np.hstack([np.array(rows), surplus])
    k = len(providers)
    cost = np.array([0] * k + [1] + [0] * len(rows), dtype=object)
    largest = max(range(len(lower)), key=lambda r: lower[r])
    basis = [
        k if r == largest else k + 1 + r for r in range(len(rows))
    ]  # weights zero, the spread of u itself
    x, _ = exact_simplex(cost, matrix, lower, basis)
    return x[k] / 2


def exact_worst_coarse_correlated(market: Market, grid: int = GRID) -> Fraction:
    """Alice's value in the worst coarse correlated equilibrium of two Bobs with grid rules, as a fraction.

    Written independently of `conversation`: two states, two messages, Alice takes the first best action.
    """
    payoffs, user_values = _exact_game(market, grid)
    n = len(user_values)
    rows = [np.full(n * n, Fraction(1))]
    for i in (0, 1):
        for rule in range(n):
            fixed = payoffs[i][[rule]] if i == 0 else payoffs[i][:, [rule]]
            rows.append((fixed - payoffs[i]).ravel())
    matrix = np.array(rows)
    slack = np.vstack([np.zeros((1, 2 * n), dtype=int), np.eye(2 * n, dtype=int)]).astype(object)
    cost = np.concatenate([user_values.ravel(), np.full(2 * n, Fraction(0))])
    rhs = np.array([Fraction(1)] + [Fraction(0)] * 2 * n)
    matrix = np.hstack([matrix, slack])
    try:  # from the solver's last basis it is a short way, if any
        x, y = exact_simplex(cost, matrix, rhs, _last_basis(cost, matrix, rhs))
    except InputError:
        # Both reveal everything: nobody gains by anything, so this profile and the slacks are a feasible basis.
        x, y = exact_simplex(cost, matrix, rhs, [n * n - 1, *range(n * n, n * n + 2 * n)])
    assert (x >= 0).all() and (matrix @ x == rhs).all() and (y @ matrix <= cost).all() and y @ rhs == cost @ x
    return cost @ x


def _last_basis(cost, matrix, rhs):
    """The columns of the basis with which HiGHS ends."""
    rows = matrix.astype(float)
    solver = linear_program(cost.astype(float), rows, rhs.astype(float), rhs.astype(float))
    solve_linear_program(solver)
    status = solver.getBasis().col_status
    basis = [j for j in range(rows.shape[1]) if status[j] == highspy.HighsBasisStatus.kBasic]
    if len(basis) != len(rows):
        raise InputError("a constraint is redundant: the basis holds too few columns.")
    return basis


def _exact_game(market, grid):
    """Payoffs (2, n, n) and Alice's values (n, n) at all profiles of distinct rules; the last rule reveals all."""
    prior, user, providers = _whole(market.prior), _whole(market.user), _whole(market.providers)
    values = [Fraction(j, grid - 1) for j in range(grid)]
    # Exchanging the two messages of a rule changes nothing, and all rules with p = q say nothing.
    rules = [(Fraction(0), Fraction(0)), *((p, q) for p, q in product(values, repeat=2) if p < q)]
    rules.sort(key=lambda rule: rule == (0, 1))
    n = len(rules)
    payoffs = np.full((2, n, n), Fraction(0))
    user_values = np.full((n, n), Fraction(0))
    for r, s in product(range(n), repeat=2):
        for one, two in product((0, 1), repeat=2):
            joint = prior.copy()
            for message, rule in ((one, rules[r]), (two, rules[s])):
                joint = joint * np.array(rule if message else [1 - rule[0], 1 - rule[1]])
            worth = user @ joint
            chosen = max(range(len(worth)), key=lambda a: worth[a])
            user_values[r, s] += worth[chosen]
            payoffs[:, r, s] += providers[:, chosen] @ joint
    return payoffs, user_values


def _whole(array):
    """The array as fractions with denominator UNIT."""
    return np.vectorize(lambda x: Fraction(round(x * UNIT), UNIT), otypes=[object])(array)
