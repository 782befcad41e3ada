"""Tables: the items to rate, and the scores that the chapters take."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Mapping

import numpy as np
import pandas as pd

from .._validation import InputError, real_number


def load_items(path) -> dict[str, str]:
    """Read a CSV file with the columns item and text; returns item -> text. InputError if it is anything else."""
    table = _read(path)
    if not {"item", "text"} <= set(table.columns):
        raise InputError(f"path: {path} must have the columns item and text; it has {list(table.columns)}.")
    check_names(table.columns, f"path: the columns of {path}")
    return check_items(table.set_index("item")["text"])


def load_scores(path) -> pd.DataFrame:
    """Read a score table and check it.

    The file is CSV with a header: a first column `item`, then one column for each judge; values are numbers in
    [0, 1], empty where there is none. Returns a DataFrame (items, judges) whose index is named "item". InputError
    if the file is anything else.
    """
    table = _read(path)
    if table.columns[0] != "item" or len(table.columns) < 2:
        raise InputError(f"path: the header of {path} must be item, then a column for each judge.")
    check_names(table.columns, f"path: the judges in {path}")
    check_names(table["item"], f"path: the items in {path}")
    try:
        scores = table.set_index("item").replace("", "nan").astype(float)
        for (item, judge), score in scores.stack().dropna().items():
            real_number(score, f"{judge} on {item}", 0, 1)
    except ValueError as error:
        raise InputError(f"path: {path} must hold numbers in [0, 1] or nothing ({error}).") from None
    return scores


def utilities(scores: pd.DataFrame) -> tuple[np.ndarray, tuple[str, ...]]:
    """The array (judges, items) for `experiments.alignment_curves`, and the items dropped for a missing rating.

    scores : as `load_scores` or `score_items` gives them. InputError if no item has a rating from every judge.
    """
    if not isinstance(scores, pd.DataFrame) or scores.empty:
        raise InputError(
            "scores must be a table with items as rows and judges as columns; it holds no rating."
        )
    whole = scores.notna().all(axis=1)
    if not whole.any():
        worst = scores.isna().sum().idxmax()
        raise InputError(f"scores: no item has a rating from every judge. Leave out judge {worst!r} first.")
    return scores[whole].to_numpy(dtype=float).T.copy(), tuple(scores.index[~whole])


def check_items(items) -> dict[str, str]:
    """A dict or Series, item -> text, as a dict of texts."""
    if not isinstance(items, (Mapping, pd.Series)):
        raise InputError(f"items must be a dict or Series, item -> text; got {type(items).__name__}.")
    found = dict(zip(check_names(items.keys(), "items"), (text for _, text in items.items())))
    for item, text in found.items():
        if not isinstance(text, str) or not text.strip():
            raise InputError(f"items: {item!r} must have a text; got {text!r}.")
    return found


def check_names(values, what) -> list[str]:
    """The values as texts; InputError if there is none, one is empty, or two are the same."""
    names = [str(value) for value in values]
    odd = [name for name, times in Counter(map(str.strip, names)).items() if times > 1 or not name]
    if odd or not names:
        raise InputError(f"{what} must be one or more, each with a name of its own; got {odd[:1] or names}.")
    return names


def _read(path):
    """A CSV file as a table of texts."""
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            header, *rows = (row for row in csv.reader(file, strict=True) if row)
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(f"path: {path} cannot be read as a table ({error}).") from None
    for row in rows:
        if len(row) != len(header):
            raise InputError(f"path: {path} has {len(row)} values after {row[:1]}, the header {len(header)}.")
    return pd.DataFrame(rows, columns=header, dtype=object)
