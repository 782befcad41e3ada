"""Chapter 11: best-response dynamics of the selection game in random markets. No data are read."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import highspy
import numpy as np
import pandas as pd

from .._validation import whole_number
from ..datasets import data_folder
from ..experiments import draw_generator, game_outcome, run_draws, summarise_games
from ..markets import Market, sample_market
from ..persuasion import ProviderProgram, linear_program, solve_linear_program
from ..selection import STARTS, best_response_dynamics, objection_margin
from .tables import provenance, rounded, write_results

SEED = 11
DRAWS = 200
PROVIDERS = tuple(range(1, 9))
BID_STEP = 0.01
SIZE = (3, 4)  # actions, states
OTHER_SIZES = ((2, 2), (5, 10))
OTHER_PROVIDERS = (2, 4, 8)
BIASES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
STAKES = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 3.0)
SWEEP_PROVIDERS = {"share": (2, 4, 8), "stake": (3,)}
BID_STEPS = (0.1, 0.03, 0.01, 0.003, 0.001)
ORDERS = 4
CLOSE_UP = ("in_hull", "near_hull", "free", "shared_bias", "stake")  # kinds looked at more closely
CLOSE_UP_PROVIDERS = 4
LEVELS = 20  # steps between no information and OPT in the search for the lowest equilibrium
MATTERS = 0.05  # a difference in the share kept that counts as one
WORTH = 1e-9  # below this, information has no value
AGREED = 1e-6  # regret, in ranges of utility, up to which a scheme counts as everybody's best
OBJECTION = 1e-7  # an objection margin above this is no rounding
CENTILES = tuple(range(0, 101, 5))


@dataclass(frozen=True)
class Kind:
    """A kind of random market: `sampler` and `options` go to `markets.sample_market`.

    nested : the first k of eight providers compete, and Alice does not depend on k. Otherwise Alice's utility is made
    from the utilities of the k who compete (who are the first k of eight here too).
    """

    meaning: str
    sampler: str
    options: dict = field(default_factory=dict)
    nested: bool = True


KINDS = {
    "in_hull": Kind("Alice is a random mixture of the k providers who compete", "in_hull", nested=False),
    "near_hull": Kind("the same plus noise of standard deviation 0.08", "near_hull", nested=False),
    "part_hull": Kind("Alice is a random mixture of eight providers, of whom k compete", "in_hull"),
    "free": Kind("all utilities are independent", "free"),
    "shared_bias": Kind(
        "70 % of the providers' utility is common to them and unrelated to Alice's",
        "shared_bias",
        {"share": 0.7},
    ),
    "own_drug": Kind(
        "every provider wants what Alice wants, and as much again for his own drug",
        "own_drug",
        {"share": 0.5},
    ),
    "stake": Kind(
        "own drugs, and all providers earn 1.5 times that bonus from the last action",
        "own_drug",
        {"share": 0.5, "stake": 1.5},
    ),
}


def compute(
    data_dir=None, out=None, draws=None, n_jobs=1, cache=None, progress=False
) -> dict[str, pd.DataFrame]:
    """Chapter 11: what Alice has where best-response dynamics end, in random markets of seven kinds.

    Parameters
    ----------
    data_dir : not used. out : folder to write to; the course's own tables if omitted.
    draws : markets of each kind with 3 actions and 4 states, 200 if omitted; half as many in everything else.
    n_jobs, cache, progress : as in `experiments.run_draws`.

    Returns
    -------
    The tables written, by name: dynamics_games, dynamics_distribution, dynamics_sweeps, dynamics_sensitivity,
    dynamics_equilibria. dynamics_provenance.json is written beside them.
    """
    out = data_folder() if out is None else Path(out)
    draws = whole_number(DRAWS if draws is None else draws, "draws", 1)
    half = -(-draws // 2)
    run = {"n_jobs": n_jobs, "cache": cache, "progress": progress}
    games, distribution, sweeps = [], [], []
    for size in (SIZE, *OTHER_SIZES):
        for name, kind in KINDS.items():
            main = size == SIZE
            sizes, count = (PROVIDERS, draws) if main else (OTHER_PROVIDERS, half)
            frame = play(kind, size, sizes, count, title=f"{name}, {size[0]} x {size[1]}", **run)
            games.append(summarise(frame, {"kind": name, "actions": size[0], "states": size[1]}))
            if main:
                distribution.append(centiles(frame, name))
    for sweep, values in (("share", BIASES), ("stake", STAKES)):
        kind = KINDS["shared_bias" if sweep == "share" else "stake"]
        for value in values:
            varied = Kind(kind.meaning, kind.sampler, {**kind.options, sweep: value})
            frame = play(varied, SIZE, SWEEP_PROVIDERS[sweep], half, title=f"{sweep} {value:g}", **run)
            sweeps.append(summarise(frame, {"sweep": sweep, "value": value}))
    close = {"seed": SEED, "k": CLOSE_UP_PROVIDERS}
    paths, lowest = [], []
    for name in CLOSE_UP:
        rows = run_draws(
            sensitivity_draw, {"kind": KINDS[name], **close}, half, title=f"{name}, paths", **run
        )
        paths.append(pd.DataFrame(rows).assign(kind=name))
        rows = run_draws(
            equilibrium_draw, {"kind": KINDS[name], **close}, half, title=f"{name}, equilibria", **run
        )
        lowest.append(pd.DataFrame(rows).assign(kind=name))
    paths, lowest = pd.concat(paths, ignore_index=True), pd.concat(lowest, ignore_index=True)
    tables = {
        "dynamics_games": pd.concat(games, ignore_index=True),
        "dynamics_distribution": pd.concat(distribution, ignore_index=True),
        "dynamics_sweeps": pd.concat(sweeps, ignore_index=True),
        "dynamics_sensitivity": summarise_paths(paths),
        "dynamics_equilibria": summarise_equilibria(lowest, paths),
    }
    tables = {name: rounded(table) for name, table in tables.items()}
    write_results(
        out,
        "dynamics",
        tables,
        provenance("dynamics"),
        seed=SEED,
        bid_step=BID_STEP,
        kinds={name: {**vars(kind)} for name, kind in KINDS.items()},
        games={"actions": SIZE[0], "states": SIZE[1], "providers": list(PROVIDERS), "markets": draws},
        other_sizes={"sizes": list(OTHER_SIZES), "providers": list(OTHER_PROVIDERS), "markets": half},
        sweeps={
            "share": list(BIASES),
            "stake": list(STAKES),
            "providers": SWEEP_PROVIDERS,
            "markets": half,
        },
        sensitivity={
            "providers": CLOSE_UP_PROVIDERS,
            "bid_steps": list(BID_STEPS),
            "orders": ORDERS,
            "matters": MATTERS,
            "markets": half,
        },
        equilibria={"providers": CLOSE_UP_PROVIDERS, "levels": LEVELS, "markets": half},
    )
    return tables


def market_of(kind: Kind, draw: int, k: int, size=SIZE, seed: int = SEED) -> Market:
    """The market of one draw with k providers. More providers join those who are there."""
    rng = draw_generator(seed, draw)
    # Prior and providers are drawn first, so that k fresh providers are the first k of eight.
    providers = PROVIDERS[-1] if kind.nested else k
    market = sample_market(kind.sampler, rng, providers, size[0], size[1], **kind.options)
    return Market(market.prior, market.user, market.providers[:k])


# Games -------------------------------------------------------------------------------------------------------


def play(kind: Kind, size, sizes, draws, n_jobs=1, cache=None, progress=False, title="games") -> pd.DataFrame:
    """One row for each draw and each number of providers in `sizes`, as `game_draw` makes them."""
    arguments = {"kind": kind, "size": size, "sizes": sizes, "seed": SEED, "bid_step": BID_STEP}
    return pd.DataFrame(run_draws(game_draw, arguments, draws, n_jobs, cache, progress, title))


def game_draw(kind, size, sizes, seed, bid_step, draw):
    """One market with each number of providers: where the dynamics end, and what was promised."""
    rows = []
    for k in sizes:
        market = market_of(kind, draw, k, size, seed)
        path = best_response_dynamics(market, bid_step=bid_step, seed=draw)
        monopoly = path.history[0].offers  # everybody begins with what he would offer alone
        about = {
            "game": draw,
            "k": k,
            "bid_step": bid_step,
            "average_monopoly": float(np.mean(monopoly)),
            "best_monopoly": max(monopoly),
            "objected": objection_margin(market) > OBJECTION,
            "tied": bool((path.offers > path.user_value - 1e-9).sum() > 1),
        }
        rows.append(about | game_outcome(market, path))
    return rows


def share_kept(value, no_information, opt):
    """(value - no information) / (OPT - no information), NaN where information has no value. Arrays or numbers."""
    worth = np.asarray(opt, dtype=float) - no_information
    return (np.asarray(value, dtype=float) - no_information) / np.where(worth > WORTH, worth, np.nan)


def summarise(games: pd.DataFrame, about: dict) -> pd.DataFrame:
    """`experiments.summarise_games` and what it leaves out, one row for each k, led by the columns of `about`.

    Added: average_monopoly, the mean value under a provider drawn at random who has Alice to himself, and
    average_kept, the mean share kept under him; kept_median; objected, the share of games with a positive
    `objection_margin`; tied, in which two or more providers make the best offer at the end; idle, in which nobody
    ever moves; cycled; limit, which ended at the limit of steps; and steps_max. Shares are of all games.
    """
    alone = share_kept(games["average_monopoly"], games["no_information"], games["opt"])
    kept = share_kept(games["equilibrium"], games["no_information"], games["opt"])
    by_k = games.assign(
        average_kept=alone,
        kept_median=kept,
        idle=games["steps"] == 0,
        limit=~games["converged"] & ~games["cycled"],
        steps_max=games["steps"],
    ).groupby("k", as_index=False)
    how = {"average_monopoly": "mean", "average_kept": "mean", "kept_median": "median", "objected": "mean"}
    how |= {"tied": "mean", "idle": "mean", "cycled": "mean", "limit": "mean", "steps_max": "max"}
    table = summarise_games(games, "").drop(columns="level").merge(by_k.agg(how), on="k")
    for place, (name, value) in enumerate(about.items()):
        table.insert(place, name, value)
    return table


def centiles(games: pd.DataFrame, kind: str) -> pd.DataFrame:
    """The distribution of the share kept: one row for each k, a column p0, p5, ... for every fifth percentile."""
    kept = share_kept(games["equilibrium"], games["no_information"], games["opt"])
    rows = [
        {"kind": kind, "k": k, **{f"p{c}": kept[part.index].quantile(c / 100) for c in CENTILES}}
        for k, part in games.groupby("k")
    ]
    return pd.DataFrame(rows)


# The same market, played in other ways -------------------------------------------------------------------------


def sensitivity_draw(kind, seed, k, draw):
    """One market from both starts: in several orders of moves, and with several bid steps."""
    market = market_of(kind, draw, k, seed=seed)
    rows = []
    for start in STARTS:
        ways = [(BID_STEP, order) for order in range(ORDERS)] + [(b, 0) for b in BID_STEPS if b != BID_STEP]
        for bid_step, order in ways:
            path = best_response_dynamics(market, bid_step=bid_step, seed=order, start=start)
            kept = share_kept(path.user_value, market.no_information_value, market.full_information_value)
            rows.append(
                {
                    "game": draw,
                    "start": start,
                    "bid_step": bid_step,
                    "order": order,
                    "kept": float(kept),
                    "converged": path.converged,
                    "cycled": path.cycled,
                    "steps": path.steps,
                }
            )
    return rows


def summarise_paths(paths: pd.DataFrame) -> pd.DataFrame:
    """One row for each kind, start and bid step.

    Columns: kept, kept_low, kept_high (mean, 5th and 95th percentile of the share kept, first order); steps (median)
    and steps_max; converged and cycled, shares of all paths; spread and spread_high, the mean and 95th percentile,
    over the markets, of the largest minus the smallest share kept over the orders of moves, and order_matters, the
    share of markets in which it exceeds MATTERS (empty where only one order was played); above_monopoly and
    below_monopoly, the share of markets in which the path ends that much above or below the one from the monopoly
    offers (first order); markets, in which information has value.
    """
    keys = ["kind", "start", "bid_step"]
    orders = paths.groupby([*keys, "game"])["kept"]
    spread = (orders.max() - orders.min()).rename("spread").reset_index()
    first = paths[paths["order"] == 0]
    monopoly = first.loc[first["start"] == "monopoly", ["kind", "bid_step", "game", "kept"]]
    first = first.merge(monopoly.rename(columns={"kept": "reference"})).merge(spread)
    of_all = paths.groupby(keys)
    rows = []
    for key, part in first.groupby(keys, sort=False):
        moves, change = of_all.get_group(key), part["kept"] - part["reference"]
        spread = part["spread"].dropna() if moves["order"].nunique() > 1 else pd.Series(dtype=float)
        rows.append(
            {
                **dict(zip(keys, key)),
                "kept": part["kept"].mean(),
                "kept_low": part["kept"].quantile(0.05),
                "kept_high": part["kept"].quantile(0.95),
                "steps": moves["steps"].median(),
                "steps_max": moves["steps"].max(),
                "converged": moves["converged"].mean(),
                "cycled": moves["cycled"].mean(),
                "spread": spread.mean(),
                "spread_high": spread.quantile(0.95),
                "order_matters": (spread > MATTERS).mean(),
                "above_monopoly": (change[change.notna()] > MATTERS).mean(),
                "below_monopoly": (change[change.notna()] < -MATTERS).mean(),
                "markets": int(part["kept"].notna().sum()),
            }
        )
    return pd.DataFrame(rows)


# All equilibria ------------------------------------------------------------------------------------------------


def equilibrium_draw(kind, seed, k, draw):
    """One market: the share kept at its lowest equilibrium."""
    market = market_of(kind, draw, k, seed=seed)
    value = lowest_equilibrium(market)
    lowest = share_kept(value, market.no_information_value, market.full_information_value)
    return [{"game": draw, "lowest": float(lowest)}]


def lowest_equilibrium(market: Market, levels: int = LEVELS) -> float:
    """About the lowest value to Alice in any equilibrium of the selection game with two or more providers.

    Searched from no information upwards in `levels` steps: the first floor at which one scheme is best for every
    provider (`regrets`) gives the value returned, that of the scheme worst for Alice among those. Equilibria that
    appear between two floors and disappear again are missed.
    """
    nothing, opt = market.no_information_value, market.full_information_value
    floors = nothing + (opt - nothing) * np.arange(levels) / levels
    return next((value for regret, value in regrets(market, floors) if regret <= AGREED), opt)


def regrets(market: Market, floors):
    """How far the providers are from agreeing on one scheme worth at least a floor to Alice, for each floor in turn.

    An obedient scheme worth V < OPT is an equilibrium outcome of the selection game with two or more providers if
    and only if it is best for every one of them among the obedient schemes worth at least V (chapter 11). So a
    regret of zero means that there is an equilibrium at this floor, or above it if the scheme is worth more.

    Parameters
    ----------
    market : the Market. floors : (floors,) values to Alice, each at most OPT.

    Yields
    ------
    (regret, value) for each floor: the least, over obedient schemes worth the floor, of the largest loss of a
    provider against his own best such scheme, in ranges of his utility; and what that scheme is worth to Alice, the
    one worst for her if there are several.
    """
    programs = [ProviderProgram(market, i) for i in range(market.n_providers)]
    solver, span, floor_row = _regret_program(market)
    worth = (market.prior * market.user).ravel()
    for floor in floors:
        solver.changeRowBounds(floor_row, floor, highspy.kHighsInf)
        for i, program in enumerate(programs):
            best = program.solve(floor).provider_value / span[i]
            solver.changeRowBounds(floor_row + 1 + i, best, highspy.kHighsInf)
        solution = solve_linear_program(solver)
        yield float(solution[-1]), float(worth @ solution[:-1])


def _regret_program(market):
    """Minimise the largest regret of a provider over obedient schemes, then Alice's value; floors to be set.

    Columns: a scheme (actions x states) and the regret. Rows: states, obedience, Alice's floor, then one for each
    provider. Returns the program, the providers' utility ranges and the number of the floor's row.
    """
    prior, user, k = market.prior, market.user, market.n_providers
    n_actions, n_states = user.shape
    span = np.ptp(market.providers, axis=(1, 2))
    span = np.where(span > 0, span, 1)
    pairs = [(a, b) for a in range(n_actions) for b in range(n_actions) if a != b]
    obedience = np.zeros((len(pairs), n_actions, n_states))
    for row, (a, b) in enumerate(pairs):
        obedience[row, a] = prior * (user[a] - user[b])
    total = np.broadcast_to(np.eye(n_states)[:, None, :], (n_states, n_actions, n_states))
    utilities = prior * market.providers / span[:, None, None]
    rows = np.concatenate([total, obedience, (prior * user)[None], utilities]).reshape(-1, user.size)
    floor_row = n_states + len(pairs)
    regret = np.concatenate([np.zeros(floor_row + 1), np.ones(k)])
    lower = np.concatenate([np.ones(n_states), np.zeros(len(pairs) + 1 + k)])
    upper = np.concatenate([np.ones(n_states), np.full(len(pairs) + 1 + k, highspy.kHighsInf)])
    cost = np.append(AGREED / 10 * (prior * user).ravel() / (np.ptp(user) or 1.0), 1.0)
    return linear_program(cost, np.column_stack([rows, regret]), lower, upper), span, floor_row


def summarise_equilibria(lowest: pd.DataFrame, paths: pd.DataFrame) -> pd.DataFrame:
    """One row for each kind: its lowest equilibria, and where the dynamics end in the same markets.

    Columns: lowest, lowest_low, lowest_high, the mean, 5th and 95th percentile of the share kept at the lowest
    equilibrium; only_opt, the share of markets in which it is within MATTERS of OPT. For the paths from the
    monopoly offers, kept and short for the bid step of the games, kept_fine and short_fine for the finest one:
    the mean share kept, and the share of markets in which the path ends more than MATTERS below the lowest
    equilibrium. markets, in which information has value.
    """
    monopoly = paths[(paths["start"] == "monopoly") & (paths["order"] == 0)]
    ends = monopoly.pivot(index=["kind", "game"], columns="bid_step", values="kept")
    table = lowest.dropna().set_index(["kind", "game"]).join(ends[[BID_STEP, min(BID_STEPS)]])
    rows = []
    for kind, part in table.groupby("kind", sort=False):
        value, coarse, fine = part["lowest"], part[BID_STEP], part[min(BID_STEPS)]
        rows.append(
            {
                "kind": kind,
                "lowest": value.mean(),
                "lowest_low": value.quantile(0.05),
                "lowest_high": value.quantile(0.95),
                "only_opt": (value > 1 - MATTERS).mean(),
                "kept": coarse.mean(),
                "short": (coarse < value - MATTERS).mean(),
                "kept_fine": fine.mean(),
                "short_fine": (fine < value - MATTERS).mean(),
                "markets": len(part),
            }
        )
    return pd.DataFrame(rows)
