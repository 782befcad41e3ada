"""Full-scale results from the raw data.

    python -m emergent_alignment.reproduce NAME|all --data DIR --jobs N

computes the results of one chapter from the publisher's files and writes them as small tables, by default
into the folder of tables beside the notebooks. The numbers are rounded, so that any machine writes the same
files, whatever the number of jobs. An interrupted run goes on where it stopped.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import pooch

from .._validation import InputError
from ..datasets import DATA_VARIABLE, DataError, data_folder
from . import chain, dynamics, ethics, movies, opinions, polis, safety

# Called as experiment(data_dir, out, draws, n_jobs=, cache=, progress=); returns the tables written, by name.
EXPERIMENTS = {
    "chain": chain.compute,
    "dynamics": dynamics.compute,
    "movies": movies.compute,
    "ethics": ethics.compute,
    "opinions": opinions.compute,
    "polis": polis.compute,
    "safety": safety.compute,
}


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
        "--draws", metavar="N", type=int, help="random draws (default: as many as the stored tables rest on)"
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
    if out.exists() and not out.is_dir():
        print(f"--out: {out} is not a folder.", file=sys.stderr)
        return 1
    failed = []
    for name in names:
        try:
            tables = EXPERIMENTS[name](
                options.data, out, options.draws, n_jobs=options.jobs, cache=options.cache, progress=True
            )
        except (DataError, InputError, OSError) as error:  # the others may still be computed
            print(f"{name}: {error}", file=sys.stderr)
            failed.append(name)
        except KeyboardInterrupt:
            print(
                "Interrupted. Finished draws are kept: the same command goes on from here.", file=sys.stderr
            )
            return 130
        else:
            print(f"{name}: wrote {', '.join(f'{table}.csv' for table in tables)} into {out}")
    if failed:
        print(f"Not computed: {', '.join(failed)}.", file=sys.stderr)
    return 1 if failed else 0
