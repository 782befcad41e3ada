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


def write_json(path: Path, content: dict):
    """Write a dict as JSON, whole or not at all."""
    write(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def write_tables(out: Path, tables: dict[str, pd.DataFrame]):
    """Write each table as out/<name>.csv."""
    for name, content in tables.items():
        write(out / f"{name}.csv", content.to_csv(index=False, lineterminator="\n"))


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
