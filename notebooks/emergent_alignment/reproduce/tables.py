"""Tables of results: rounded, so that any machine writes the same bytes, and written whole or not at all."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

import pandas as pd

from .. import __version__
from ..datasets import SOURCES
from ..experiments import code_sha256


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


def write_results(out: Path, name: str, tables: dict[str, pd.DataFrame], origin: dict, **details):
    """Write each table as out/<its name>.csv, and where they come from as out/<name>_provenance.json.

    That file holds `origin`, the names of the tables and `details`, in this order.
    """
    for table, content in tables.items():
        write(out / f"{table}.csv", content.to_csv(index=False, lineterminator="\n"))
    about = {**origin, "tables": [f"{table}.csv" for table in tables], **details}
    write(out / f"{name}_provenance.json", json.dumps(about, indent=2, ensure_ascii=False) + "\n")


def provenance(experiment: str, *sources: str) -> dict:
    """What every provenance file begins with: the command, the code's version and hash, the raw files' hashes.

    `sources` are keys of `datasets.SOURCES`. The code's hash is that of the library's modules, without the
    notebooks and their tables.
    """
    return {
        "made_by": f"python -m emergent_alignment.reproduce {experiment}",
        "library_version": __version__,
        "code_sha256": code_sha256(),
        "raw_files": {
            SOURCES[name].path: {"url": SOURCES[name].url, "sha256": SOURCES[name].sha256} for name in sources
        },
    }
