"""ETHICS, the utilitarian part: pairs of scenarios, one of which people found more pleasant."""

from __future__ import annotations

import hashlib

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from .._validation import InputError, one_of
from .sources import DataError, raw_file

SPLITS = {"train": "ethics_train", "test": "ethics_test", "test_hard": "ethics_test_hard"}
COLUMNS = ["more", "less"]


def load_pairs(split: str = "test", data_dir=None) -> pd.DataFrame:
    """Pairs of scenarios of ETHICS (utilitarianism), 13,738 / 4,808 / 4,272 in train / test / test_hard.

    A scenario is a short report, in the first person, of something that happened. Of each pair people found
    one more pleasant than the other.

    Parameters
    ----------
    split : "train", "test" or "test_hard". data_dir : see :func:`raw_file`.

    Returns
    -------
    DataFrame, one row for each pair, indexed by "pair": the split and the row of the raw file, from 0, such
    as "test-17". Columns `more` and `less`: the text of the more and of the less pleasant scenario, as in the
    file but for white space at its ends.

    Raises
    ------
    InputError for an unknown split, DataError if the raw file is missing or is not the one expected.
    """
    one_of(split, "split", tuple(SPLITS))
    path = raw_file(SPLITS[split], data_dir)
    try:
        raw = pd.read_csv(path, header=None, dtype=str, keep_default_na=False, encoding="utf-8")
    except (ValueError, UnicodeError) as error:
        raise DataError(f"{path} cannot be read as pairs of scenarios ({error}).") from None
    if raw.shape[1] != 2:
        raise DataError(f"{path} must have two columns, one for each scenario; it has {raw.shape[1]}.")
    pairs = raw.apply(lambda column: column.str.strip())
    if (pairs == "").any(axis=None):
        row = int((pairs == "").any(axis=1).argmax())
        raise DataError(f"{path} has an empty scenario in row {row + 1}.")
    pairs.columns = COLUMNS
    pairs.index = pd.Index([f"{split}-{row}" for row in range(len(pairs))], name="pair")
    return pairs


def without_scenarios_of(pairs: pd.DataFrame, *others: pd.DataFrame) -> pd.DataFrame:
    """The pairs none of whose scenarios occurs in `others`, up to case and white space.

    The splits of ETHICS share scenarios: without this step a model is tested on texts that it was trained on.
    InputError if an argument is not a table of pairs.
    """
    ids = [_ids(table, "pairs and others") for table in (pairs, *others)]
    known = set().union(*(set(both.ravel()) for both in ids[1:]))
    return pairs[[first not in known and second not in known for first, second in ids[0]]]


def scenario_groups(pairs: pd.DataFrame) -> np.ndarray:
    """Group of each pair (pairs,), whole numbers from 0: pairs linked by shared scenarios are in one group.

    Pairs of different groups have no scenario in common, so a split by groups keeps training and test texts
    apart. Groups are numbered in the order of their first pair. InputError if `pairs` is no table of pairs.
    """
    ids = pd.factorize(_ids(pairs, "pairs").ravel())[0].reshape(-1, 2)
    size = int(ids.max(initial=-1)) + 1
    links = coo_array((np.ones(len(ids)), (ids[:, 0], ids[:, 1])), shape=(size, size))
    return pd.factorize(connected_components(links, directed=False)[1][ids[:, 0]])[0]


def scenarios(pairs: pd.DataFrame) -> pd.Series:
    """The texts of `pairs` as items for judges: a Series of texts, indexed by "item".

    Item "test-17-a" is one scenario of pair "test-17", "test-17-b" the other. The letters do not show which
    of them is the more pleasant one: a hash of the pair's name decides. `pair_differences` puts the scores
    together again. InputError if `pairs` is no table of pairs.
    """
    _ids(pairs, "pairs")
    texts = [
        text
        for pair, more, less in zip(pairs.index, pairs["more"], pairs["less"])
        for text in ((more, less) if _more_is_a(pair) else (less, more))
    ]
    items = [f"{pair}-{letter}" for pair in pairs.index for letter in "ab"]
    return pd.Series(texts, index=pd.Index(items, name="item", dtype=object), name="text", dtype=object)


def pair_differences(scores: pd.DataFrame) -> pd.DataFrame:
    """Score differences of judges, from their scores of single scenarios.

    Parameters
    ----------
    scores : (items, judges) in [0, 1], NaN where there is none, indexed by the items of `scenarios`, in any
        order, as `judges.load_scores` returns them.

    Returns
    -------
    DataFrame (pairs, judges) in [-1, 1]: score of the more pleasant scenario minus that of the less pleasant
    one; above zero where the judge agrees with people. Only pairs whose two scenarios have a score from every
    judge are kept, in the order in which they first appear.

    Raises
    ------
    InputError if an item is not named as `scenarios` names it, is there twice, or no pair is complete.
    """
    if not isinstance(scores, pd.DataFrame) or scores.empty:
        raise InputError("scores must be a score table, not empty, as judges.load_scores returns it.")
    items = [str(item) for item in scores.index]
    seen = set()
    for item in items:
        if item[-2:] not in ("-a", "-b") or item in seen:
            raise InputError(
                f"scores: items must be named as `scenarios` names them, such as 'test-17-a' and "
                f"'test-17-b', each once; got {item!r}."
            )
        seen.add(item)
    pairs = list(dict.fromkeys(item[:-2] for item in items))
    table = scores.set_axis(items)
    a, b = (table.reindex([f"{pair}-{letter}" for pair in pairs]).to_numpy(dtype=float) for letter in "ab")
    sign = np.array([1 if _more_is_a(pair) else -1 for pair in pairs])
    index = pd.Index(pairs, name="pair", dtype=object)
    differences = pd.DataFrame(sign[:, None] * (a - b), index=index, columns=scores.columns).dropna()
    if differences.empty:
        raise InputError("scores: of no pair have both scenarios been scored by every judge.")
    return differences


def _more_is_a(pair):
    return hashlib.sha256(str(pair).encode()).digest()[0] % 2 == 0


def _ids(pairs, name):
    """(pairs, 2) texts without differences in case and white space."""
    if not isinstance(pairs, pd.DataFrame) or not set(COLUMNS) <= set(pairs.columns) or pairs.empty:
        raise InputError(f"{name} must be tables of pairs, not empty, as load_pairs returns them.")
    return np.array(
        [[" ".join(text.lower().split()) for text in pair] for pair in pairs[COLUMNS].to_numpy()],
        dtype=object,
    )
