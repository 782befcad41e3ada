"""Sets of curves and games on one table of judgements: who plays Alice, and who her providers are."""

from __future__ import annotations

import sys
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ..experiments import alignment_curves, game_curve, summarise, summarise_games
from .tables import rounded


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
    """A Level whose judges are the people of `poll` (`datasets.Judgements`) who judged every item."""
    table = poll.complete().utilities
    table = table[np.ptp(table, axis=1) > 0]  # somebody who gives all items the same has nothing to imitate
    return Level(meaning, table, len(table), **details)


def play_levels(
    levels, sizes, game_sizes, draws, seed, test_share, game, n_jobs=1, cache=None, progress=False
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Alignment curves of every level and games of those that play, as rounded summaries.

    Parameters
    ----------
    levels : dict of Level by name. sizes, game_sizes : numbers of providers of curves and of games; sizes above
        a level's `most_providers` are left out.
    draws : draws of every curve, and games of every game curve. seed : whole number.
    test_share : as in `experiments.alignment_curves`. game : keywords of `experiments.game_curve`.
    n_jobs, cache, progress : as there.

    Returns
    -------
    (curves, games) as `experiments.summarise` and `experiments.summarise_games` make them. The second is empty
    if no level plays.
    """
    run = {"seed": seed, "n_jobs": n_jobs, "cache": cache, "progress": progress}
    curves, games = [], []
    for name, level in levels.items():
        if progress:
            print(f"{name}: {level.meaning}", file=sys.stderr)
        who = {"groups": level.groups, "pool": level.pool, "remove_consensus": level.remove_consensus}
        fitting = [k for k in sizes if k <= level.most_providers]
        curve = alignment_curves(level.utilities, fitting, draws, test_share=test_share, **who, **run)
        curves.append(summarise(curve, name, level.noise_share))
        if level.games:
            games.append(
                summarise_games(game_curve(level.utilities, game_sizes, draws, **game, **who, **run), name)
            )
    return tuple(rounded(pd.concat(part, ignore_index=True)) if part else pd.DataFrame() for part in (curves, games))


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
