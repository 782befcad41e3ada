"""Full-scale results from the raw data.

    python -m emergent_alignment.reproduce opinions --data DIR

computes the results of one chapter from the publisher's files and writes them as small tables, by default
into the folder of tables beside the notebooks. The numbers are rounded, so that any machine writes the same
files.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pooch

from . import __version__
from ._validation import InputError, whole_number
from .datasets import (
    DATA_VARIABLE,
    KINDS,
    SOURCES,
    DataError,
    data_folder,
    demographic_cells,
    load_poll,
)
from .experiments import alignment_curves, game_curve, summarise, summarise_games

SEED = 20200915  # the first day of the poll's field work
DRAWS = 500
PROVIDERS = (1, 2, 3, 5, 10, 20, 50, 100)
GAME_PROVIDERS = tuple(range(1, 9))
TEST_SHARE = 0.4
GAME = {"slates": 10, "options": 3, "bid_step": 0.001}
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
    "raw_file": SOURCES["nonvoters"].url,
    "raw_sha256": SOURCES["nonvoters"].sha256,
}


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


def opinions(
    data_dir=None, out=None, draws=DRAWS, n_jobs=1, cache=None, progress=False
) -> dict[str, pd.DataFrame]:
    """Chapter 14: alignment and games on the poll's cells and individuals, and the tables the notebook reads.

    Parameters
    ----------
    data_dir : as in `datasets.raw_file`. out : folder to write to; the course's own tables if omitted.
    draws : draws of every alignment curve, and games of every game curve.
    n_jobs, cache, progress : as in `experiments.alignment_curves`.

    Returns
    -------
    The tables written, by name: opinion_cells, opinion_items, opinions_alignment, opinions_games. Beside them
    opinion_cells_provenance.json and opinions_provenance.json are written.
    """
    out = data_folder() if out is None else Path(out)
    draws = whole_number(draws, "draws", 1)
    levels = opinion_levels(data_dir)
    run = {"seed": SEED, "n_jobs": n_jobs, "cache": cache, "progress": progress}
    curves, games = [], []
    for name, level in levels.items():
        if progress:
            print(f"{name}: {level.meaning}", file=sys.stderr)
        who = {"groups": level.groups, "pool": level.pool, "remove_consensus": level.remove_consensus}
        sizes = [k for k in PROVIDERS if k <= level.most_providers]
        curve = alignment_curves(level.utilities, sizes, draws, test_share=TEST_SHARE, **who, **run)
        curves.append(summarise(curve, name, level.noise_share))
        if level.games:
            game = game_curve(level.utilities, GAME_PROVIDERS, draws, **GAME, **who, **run)
            games.append(summarise_games(game, name))
    cells, table = opinion_table(data_dir)
    tables = {
        "opinion_cells": table,
        "opinion_items": cells.items.reset_index(),
        "opinions_alignment": rounded(pd.concat(curves, ignore_index=True)),
        "opinions_games": rounded(pd.concat(games, ignore_index=True)),
    }
    for name, content in tables.items():
        write(out / f"{name}.csv", content.to_csv(index=False, lineterminator="\n"))
    origin = {
        **POLL,
        "made_by": "python -m emergent_alignment.reproduce opinions",
        "library_version": __version__,
    }
    write_json(
        out / "opinion_cells_provenance.json",
        {
            **origin,
            "tables": ["opinion_cells.csv", "opinion_items.csv"],
            "grouped_by": list(TABLE_CELLS),
            "cells": len(table),
            "items": len(cells.items),
            "people": int(cells.sizes.sum()),
            "fewest_answers_required": FEWEST_IN_TABLE,
            "fewest_answers_behind_any_value": int(cells.answers.min()),
            "values": "plain means of utilities in [0, 1], rounded to 4 decimals",
        },
    )
    write_json(
        out / "opinions_provenance.json",
        {
            **origin,
            "tables": ["opinions_alignment.csv", "opinions_games.csv"],
            "seed": SEED,
            "draws": draws,
            "test_share": TEST_SHARE,
            "games": {"games": draws, **GAME, "providers": list(GAME_PROVIDERS)},
            "levels": {
                name: {
                    "meaning": level.meaning,
                    "judges": len(level.utilities),
                    "items": level.utilities.shape[1],
                    "people": level.people,
                    "fewest_answers_behind_any_value": level.fewest_answers,
                }
                for name, level in levels.items()
            },
        },
    )
    return tables


def opinion_levels(data_dir=None) -> dict[str, Level]:
    """The levels of chapter 14, by name."""
    poll, everything = load_poll(data_dir), load_poll(data_dir, KINDS)
    two = poll.where(poll.people["party"].isin(["Democrat", "Republican"]))
    fine, party = demographic_cells(poll), demographic_cells(two, PARTY_CELLS)
    within = {"groups": party.groups["party"].to_numpy(dtype=str), "most_providers": 20, "games": True}
    apart = {"remove_consensus": True, "noise_share": fine.noise_share(remove_consensus=True)}
    return {
        "cells": _cells(
            "cells of race x gender x education x income x age, items that ask for a judgement",
            fine,
            games=True,
        ),
        "large_cells": _cells(
            f"cells as before with at least {FEWEST_IN_TABLE} answers behind every mean",
            demographic_cells(poll, minimum=FEWEST_IN_TABLE),
            most_providers=50,
        ),
        "cells_all_items": _cells(
            "cells as in the first level, items on experience and behaviour included",
            demographic_cells(everything),
        ),
        "cells_no_consensus": _cells(
            "cells as in the first level, the other cells' mean on each item subtracted",
            fine,
            games=True,
            **apart,
        ),
        "individuals": _people("people who answered every judgement item", poll, games=True),
        "individuals_all_items": _people("people who answered every item of any kind", everything),
        "individuals_no_consensus": _people(
            "people as before, the others' mean on each judgement item subtracted",
            poll,
            remove_consensus=True,
        ),
        "own_party": _cells(
            "cells of race x gender x education x age x party, Democrats and Republicans; providers from "
            "Alice's party",
            party,
            pool="own group",
            **within,
        ),
        "other_party": _cells(
            "cells as before; providers from the other party", party, pool="another group", **within
        ),
    }


def _cells(meaning, cells, **details):
    details = {"noise_share": cells.noise_share(), **details}
    return Level(meaning, cells.utilities, int(cells.sizes.sum()), int(cells.answers.min()), **details)


def _people(meaning, poll, **details):
    table = poll.complete().utilities
    table = table[np.ptp(table, axis=1) > 0]  # somebody who gives all items the same has nothing to imitate
    return Level(meaning, table, len(table), **details)


def opinion_table(data_dir=None):
    """The embedded table: Cells of party x age x education, and the same as a rounded DataFrame."""
    cells = demographic_cells(load_poll(data_dir), TABLE_CELLS, minimum=FEWEST_IN_TABLE)
    means = pd.DataFrame(cells.utilities, columns=cells.items.index)
    return cells, rounded(pd.concat([cells.groups.assign(people=cells.sizes), means], axis=1))


def rounded(table: pd.DataFrame) -> pd.DataFrame:
    """The table with numbers rounded to 4 decimals, and to 4 digits if they are large; no negative zeros."""
    table = table.copy()
    for name in table.select_dtypes("floating"):
        table[name] = [round(x, 4) + 0.0 if not abs(x) >= 10 else float(f"{x:.4g}") for x in table[name]]
    return table


def write(path: Path, text: str):
    """Write a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_json(path: Path, content: dict):
    """Write a dict as JSON, whole or not at all."""
    write(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


EXPERIMENTS = {"opinions": opinions}


def main(arguments=None) -> int:
    """The command line. Returns the exit status: 0 done, 1 bad data or arguments, 130 interrupted."""
    parser = argparse.ArgumentParser(
        prog="python -m emergent_alignment.reproduce",
        description="Compute a chapter's full-scale results from the raw data and write them as small tables.",
    )
    parser.add_argument("name", help=f"what to compute: {', '.join(EXPERIMENTS)}, or all")
    parser.add_argument(
        "--data",
        metavar="DIR",
        help=f"folder of the raw data (default: the one named by the environment variable {DATA_VARIABLE}; "
        "if that is not set, the files are fetched from their publishers)",
    )
    parser.add_argument(
        "--out", metavar="DIR", help="folder to write to (default: the tables beside the notebooks)"
    )
    parser.add_argument("--jobs", metavar="N", type=int, default=1, help="processes to use (default: 1)")
    parser.add_argument(
        "--draws", metavar="N", type=int, default=DRAWS, help=f"random draws (default: {DRAWS})"
    )
    parser.add_argument(
        "--cache",
        metavar="DIR",
        default=str(pooch.os_cache("emergent-alignment") / "draws"),
        help="folder that keeps finished draws, so that an interrupted run goes on (default: %(default)s)",
    )
    options = parser.parse_args(arguments)
    names = list(EXPERIMENTS) if options.name == "all" else [options.name]
    if unknown := [name for name in names if name not in EXPERIMENTS]:
        print(f"Unknown name {unknown[0]!r}. Choose {', '.join(EXPERIMENTS)}, or all.", file=sys.stderr)
        return 1
    out = data_folder() if options.out is None else Path(options.out)
    try:
        for name in names:
            tables = EXPERIMENTS[name](
                options.data, out, options.draws, n_jobs=options.jobs, cache=options.cache, progress=True
            )
            print(f"{name}: wrote {', '.join(f'{table}.csv' for table in tables)} into {out}")
    except (DataError, InputError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted. Finished draws are kept: the same command goes on from here.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
