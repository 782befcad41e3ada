"""The small tables kept beside the notebooks."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from .._validation import InputError


def data_folder() -> Path:
    """The folder of the course's own small tables: beside the notebooks, or inside the installed library."""
    here = Path(__file__).resolve().parents[1]
    installed = here / "data"
    return installed if installed.is_dir() else here.parent / "data"


def load_table(name: str) -> pd.DataFrame:
    """One of the course's small tables, for instance "opinion_cells".

    Returns a new DataFrame, as it stands in notebooks/data/<name>.csv; what it holds, where it comes from and
    under which licence is told in notebooks/data/README.md. InputError if there is no such table.
    """
    folder = data_folder()
    names = sorted(path.stem for path in folder.glob("*.csv"))
    if name not in names:
        known = ", ".join(map(repr, names)) or "none at all"
        raise InputError(f"name must be one of the tables in {folder}: {known}; got {name!r}.")
    return pd.read_csv(folder / f"{name}.csv")
