"""Chapter 14: the poll's cells and individuals."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from ..datasets import KINDS, data_folder, demographic_cells, load_poll
from .levels import Level, Plan, describe_levels, level_of_cells, level_of_people, play_levels
from .tables import provenance, rounded, write_results

PLAN = Plan(seed=20200915, game_providers=tuple(range(1, 9)))  # the first day of the poll's field work
FEWEST_IN_TABLE = 20
PARTY_CELLS = ("race", "gender", "education", "age", "party")
TABLE_CELLS = ("party", "age", "education")
POLL = {
    "title": "FiveThirtyEight/Ipsos poll of voters and non-voters (Why Many Americans Don't Vote)",
    "publisher": "FiveThirtyEight; poll by Ipsos on its KnowledgePanel",
    "page": "https://github.com/fivethirtyeight/data/tree/master/non-voters",
    "collected": "2020-09-15 to 2020-09-25",
    "licence": "CC BY 4.0, https://creativecommons.org/licenses/by/4.0/",
    "attribution": "Data: FiveThirtyEight/Ipsos, Why Many Americans Don't Vote (2020), CC BY 4.0; changed: "
    "answers mapped to [0, 1] and averaged over groups of people.",
}


def compute(
    data_dir=None, out=None, draws=None, n_jobs=1, cache=None, progress=False
) -> dict[str, pd.DataFrame]:
    """Chapter 14: alignment and games on the poll's cells and individuals, and the tables the notebook reads.

    Parameters
    ----------
    data_dir : as in `datasets.raw_file`. out : folder to write to; the course's own tables if omitted.
    draws : draws of every alignment curve, and games of every game curve; 500 if omitted.
    n_jobs, cache, progress : as in `experiments.alignment_curves`.

    Returns
    -------
    The tables written, by name: opinion_cells, opinion_items, opinions_alignment, opinions_games. Beside them
    opinion_cells_provenance.json and opinions_provenance.json are written.
    """
    out = data_folder() if out is None else Path(out)
    plan, levels = PLAN.with_draws(draws), opinion_levels(data_dir)
    curves, games = play_levels(levels, plan, n_jobs, cache, progress)
    cells, table = opinion_table(data_dir)
    origin = {**POLL, **provenance("opinions", "nonvoters")}
    averages = {"opinion_cells": table, "opinion_items": cells.items.reset_index()}
    write_results(
        out,
        "opinion_cells",
        averages,
        origin,
        grouped_by=list(TABLE_CELLS),
        cells=len(table),
        items=len(cells.items),
        people=int(cells.sizes.sum()),
        fewest_answers_required=FEWEST_IN_TABLE,
        fewest_answers_behind_any_value=int(cells.answers.min()),
        values="plain means of utilities in [0, 1], rounded to 4 decimals",
    )
    results = {"opinions_alignment": curves, "opinions_games": games}
    write_results(out, "opinions", results, origin, **plan.describe(), levels=describe_levels(levels))
    return {**averages, **results}


def opinion_levels(data_dir=None) -> dict[str, Level]:
    """The levels of chapter 14, by name."""
    poll, everything = load_poll(data_dir), load_poll(data_dir, KINDS)
    two = poll.where(poll.people["party"].isin(["Democrat", "Republican"]))
    fine, party = demographic_cells(poll), demographic_cells(two, PARTY_CELLS)
    within = {"groups": party.groups["party"].to_numpy(dtype=str), "most_providers": 20, "games": True}
    apart = {"remove_consensus": True, "noise_share": fine.noise_share(remove_consensus=True)}
    return {
        "cells": level_of_cells(
            "cells of race x gender x education x income x age, items that ask for a judgement",
            fine,
            games=True,
        ),
        "large_cells": level_of_cells(
            f"cells as before with at least {FEWEST_IN_TABLE} answers behind every mean",
            demographic_cells(poll, minimum=FEWEST_IN_TABLE),
            most_providers=50,
        ),
        "cells_all_items": level_of_cells(
            "cells as in the first level, items on experience and behaviour included",
            demographic_cells(everything),
        ),
        "cells_no_consensus": level_of_cells(
            "cells as in the first level, the other cells' mean on each item subtracted",
            fine,
            games=True,
            **apart,
        ),
        "individuals": level_of_people("people who answered every judgement item", poll, games=True),
        "individuals_all_items": level_of_people("people who answered every item of any kind", everything),
        "individuals_no_consensus": level_of_people(
            "people as before, the others' mean on each judgement item subtracted",
            poll,
            remove_consensus=True,
        ),
        "own_party": level_of_cells(
            "cells of race x gender x education x age x party, Democrats and Republicans; providers from "
            "Alice's party",
            party,
            pool="own group",
            **within,
        ),
        "other_party": level_of_cells(
            "cells as before; providers from the other party", party, pool="another group", **within
        ),
    }


def opinion_table(data_dir=None):
    """The embedded table: Cells of party x age x education, and the same as a rounded DataFrame."""
    cells = demographic_cells(load_poll(data_dir), TABLE_CELLS, minimum=FEWEST_IN_TABLE)
    means = pd.DataFrame(cells.utilities, columns=cells.items.index)
    return cells, rounded(pd.concat([cells.groups.assign(people=cells.sizes), means], axis=1))
