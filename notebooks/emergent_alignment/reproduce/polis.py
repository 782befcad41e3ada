"""Chapter 14: the Polis conversation of Bowling Green."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from ..datasets import data_folder
from ..datasets.polis import SIDES, load_polis
from ..datasets.taste import dense_block, groups_by_taste
from .levels import Level, Plan, describe_levels, level_of_cells, level_of_people, play_levels
from .tables import provenance, rounded, write_results

PLAN = Plan(seed=20180202, game_providers=(1, 2, 4))  # the day of the first statement
FEWER = {60: 0.8, 120: 0.6}  # statements to fit on, and the share left to test on
PEOPLE_BLOCK = (150, 300)  # people, statements: without a missing vote
GROUPS_BLOCK = (400, 200)  # larger, for averages over groups
FEWEST_IN_GROUP = 10
# Six statements that show what the town agreed on and what not, picked by us and in our words.
EXAMPLES = {
    86: "The city needs an ordinance that protects gay and transgender people from discrimination.",
    13: "Adults should be free to use marijuana.",
    26: "A city may offer sanctuary to immigrants.",
    16: "Universities are there to train people for jobs.",
    83: "Before anything new is built, look at what it does to traffic.",
    201: "Internet access here needs more competition.",
}
CONVERSATION = {
    "title": "Polis conversation of the American Assembly in Bowling Green, Kentucky",
    "publisher": "The Computational Democracy Project",
    "page": "https://compdemocracy.org/case-studies/2018-kentucky",
    "collected": "2018-02-02 to 2018-02-13",
    "licence": "CC BY 4.0, https://creativecommons.org/licenses/by/4.0/",
    "attribution": "Data was gathered using the Polis software (compdemocracy.org/polis) and is sub-licensed under "
    "CC BY 4.0 with Attribution to The Computational Democracy Project. The data and more information about how "
    "the data was collected can be found at the following link(s): "
    "https://compdemocracy.org/case-studies/2018-kentucky. Changed: votes mapped to [0, 1], the densest part used.",
}


def compute(
    data_dir=None, out=None, draws=None, n_jobs=1, cache=None, progress=False
) -> dict[str, pd.DataFrame]:
    """Chapter 14: alignment and games on the votes of a town, single people and groups that vote alike.

    Parameters
    ----------
    data_dir : as in `datasets.raw_file`. out : folder to write to; the course's own tables if omitted.
    draws : draws of every alignment curve, and games of every game curve; 500 if omitted.
    n_jobs, cache, progress : as in `experiments.alignment_curves`.

    Returns
    -------
    The tables written, by name: polis_alignment, polis_games, polis_examples. Beside them
    polis_provenance.json is written.
    """
    out = data_folder() if out is None else Path(out)
    plan, levels = PLAN.with_draws(draws), polis_levels(data_dir)
    run = {"n_jobs": n_jobs, "cache": cache, "progress": progress}
    curves, games = play_levels(levels, plan, **run)
    fewer = fewer_statements(levels["individuals"])
    parts = [curves]
    for (name, level), share in zip(fewer.items(), FEWER.values()):
        parts.append(play_levels({name: level}, replace(plan, test_share=share), **run)[0])
    tables = {
        "polis_alignment": pd.concat(parts, ignore_index=True),
        "polis_games": games,
        "polis_examples": polis_examples(data_dir),
    }
    origin = {**CONVERSATION, **provenance("polis", "polis_votes", "polis_comments")}
    about = {**plan.describe(), "levels": describe_levels({**levels, **fewer})}
    write_results(out, "polis", tables, origin, **about)
    return tables


def polis_levels(data_dir=None) -> dict[str, Level]:
    """The levels of the Polis conversation, by name."""
    polis = load_polis(data_dir)
    people = dense_block(polis, *PEOPLE_BLOCK).complete()
    groups = groups_by_taste(dense_block(polis, *GROUPS_BLOCK), FEWEST_IN_GROUP)
    sides = {"groups": people.people["side"].to_numpy(dtype=str), "most_providers": 50}
    few = {"most_providers": 20}
    return {
        "individuals": level_of_people(
            "people of a block of 150 people and 300 statements without a missing vote", people, games=True
        ),
        "individuals_no_consensus": level_of_people(
            "people as before, the others' mean on each statement subtracted", people, remove_consensus=True
        ),
        "groups": level_of_cells(
            "groups of ten people who vote alike, sorted by 100 statements and judging 100 others",
            groups,
            **few,
        ),
        "groups_no_consensus": level_of_cells(
            "groups as before, the other groups' mean on each statement subtracted",
            groups,
            remove_consensus=True,
            noise_share=groups.noise_share(remove_consensus=True),
            **few,
        ),
        "own_side": level_of_people(
            "people as in the first level; providers from Alice's side, by the opinion groups of Polis",
            people,
            pool="own group",
            **sides,
        ),
        "other_side": level_of_people(
            "people as in the first level; providers from the other side",
            people,
            pool="another group",
            games=True,
            **sides,
        ),
    }


def fewer_statements(individuals: Level) -> dict[str, Level]:
    """Levels like the one given, in which weights are fitted on fewer statements (and tested on more)."""
    return {
        f"individuals_{count}_statements": replace(
            individuals,
            meaning=f"people as in the first level; {count} statements to fit on instead of 180",
            games=False,
        )
        for count in FEWER
    }


def polis_examples(data_dir=None) -> pd.DataFrame:
    """How the two sides voted on a few statements: shares of those who voted, and how many those are."""
    polis = load_polis(data_dir)
    rows = []
    for item, words in EXAMPLES.items():
        votes = polis.utilities[:, polis.items.index.get_loc(item)]
        for side in SIDES.values():
            cast = votes[(polis.people["side"] == side).to_numpy() & ~np.isnan(votes)]
            shares = {"agree": cast == 1, "passed": cast == 0.5, "disagree": cast == 0}
            row = {name: mask.mean() for name, mask in shares.items()}
            rows.append({"item": item, "in_our_words": words, "side": side, **row, "voters": len(cast)})
    return rounded(pd.DataFrame(rows))
