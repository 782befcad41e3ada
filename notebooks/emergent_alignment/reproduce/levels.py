"""Sets of curves and games on one table of judgements: who plays Alice, and who her providers are."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from .._validation import whole_number
from ..experiments import alignment_curves, game_curve, summarise, summarise_games
from .tables import rounded


@dataclass(frozen=True)
class Plan:
    """How often and with how many providers every level of a data set is drawn and played.

    seed : of all draws. draws : of every curve, and games of every game curve. providers, game_providers : numbers k of providers of
    curves and of games. test_share : as in `experiments.alignment_curves`. slates, options, bid_step : as in
    `experiments.game_curve`.
    """

    seed: int
    game_providers: tuple[int, ...]
    draws: int = 500
    providers: tuple[int, ...] = (1, 2, 3, 5, 10, 20, 50, 100)
    test_share: float = 0.4
    slates: int = 10
    options: int = 3
    bid_step: float = 0.001

    def with_draws(self, draws) -> Plan:
        """The same plan with another number of draws, or itself if that is None; InputError if it is below 1."""
        return self if draws is None else replace(self, draws=whole_number(draws, "draws", 1))

    @property
    def game(self) -> dict:
        """Keywords of `experiments.game_curve`."""
        return {"slates": self.slates, "options": self.options, "bid_step": self.bid_step}

    def describe(self) -> dict:
        """What a provenance file says about the plan."""
        games = {"games": self.draws, **self.game, "providers": list(self.game_providers)}
        curves = {"seed": self.seed, "draws": self.draws, "providers": list(self.providers)}
        return {**curves, "test_share": self.test_share, "games": games}


@dataclass(frozen=True, eq=False)
class Level:
    """Who plays Alice and her providers in a set of curves and games.

    utilities : (judges, items). people : how many people stand behind them.
    fewest_answers : the fewest answers behind any utility. noise_share : see `datasets.Cells.noise_share`.
    most_providers : the largest k of the curves. games : whether games are played too.
    groups, pool, remove_consensus : as in `experiments.alignment_curves`.
    """

    meaning: str
    utilities: np.ndarray
    people: int
    fewest_answers: int = 1
    noise_share: float = float("nan")
    most_providers: int = 100
    games: bool = False
    groups: np.ndarray | None = None
    pool: str = "anyone"
    remove_consensus: bool = False


def level_of_cells(meaning, cells, **details) -> Level:
    """A Level whose judges are the groups of people in `cells` (`datasets.Cells`)."""
    details = {"noise_share": cells.noise_share(), **details}
    return Level(meaning, cells.utilities, int(cells.sizes.sum()), int(cells.answers.min()), **details)


def level_of_people(meaning, poll, **details) -> Level:
    """A Level whose judges are the people of `poll` (`datasets.Judgements`) who judged every item.

    groups, if among the details, has one label for each of them.
    """
    table = poll.complete().utilities
    varied = np.ptp(table, axis=1) > 0  # somebody who gives all items the same has nothing to imitate
    if details.get("groups") is not None:
        details["groups"] = details["groups"][varied]
    return Level(meaning, table[varied], int(varied.sum()), **details)


def play_levels(
    levels, plan: Plan, n_jobs=1, cache=None, progress=False
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Alignment curves of every level and games of those that play, as rounded summaries.

    Parameters
    ----------
    levels : dict of Level by name. plan : a Plan; numbers of providers above a level's `most_providers` are left
        out of its curves.
    n_jobs, cache, progress : as in `experiments.alignment_curves`.

    Returns
    -------
    (curves, games) as `experiments.summarise` and `experiments.summarise_games` make them. The second is empty
    if no level plays.
    """
    run = {"n_jobs": n_jobs, "cache": cache, "progress": progress}
    curves, games = [], []
    for name, level in levels.items():
        if progress:
            print(f"{name}: {level.meaning}", file=sys.stderr)
        who = {
            "seed": plan.seed,
            "groups": level.groups,
            "pool": level.pool,
            "remove_consensus": level.remove_consensus,
        }
        fitting = [k for k in plan.providers if k <= level.most_providers]
        curve = alignment_curves(
            level.utilities, fitting, plan.draws, test_share=plan.test_share, **who, **run
        )
        curves.append(summarise(curve, name, level.noise_share))
        if level.games:
            played = game_curve(level.utilities, plan.game_providers, plan.draws, **plan.game, **who, **run)
            games.append(summarise_games(played, name))
    return tuple(
        rounded(pd.concat(part, ignore_index=True)) if part else pd.DataFrame() for part in (curves, games)
    )


def describe_levels(levels) -> dict:
    """What a provenance file says about levels, by name."""
    return {
        name: {
            "meaning": level.meaning,
            "judges": len(level.utilities),
            "items": level.utilities.shape[1],
            "people": level.people,
            "fewest_answers_behind_any_value": level.fewest_answers,
        }
        for name, level in levels.items()
    }
