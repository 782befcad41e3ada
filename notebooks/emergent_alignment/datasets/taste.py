"""Judges out of a table of votes: the part of it that is filled, and groups of people who vote alike."""

from __future__ import annotations

import numpy as np
import pandas as pd

from .._validation import InputError, finite_array, one_of, whole_number
from .judgements import FEWEST_PEOPLE, Cells, Judgements, demographic_cells


def dense_block(judgements: Judgements, people: int, items: int, start: str = "people") -> Judgements:
    """A part of the table with the given numbers of people and items, in which few answers are missing.

    Start with the people who gave most answers. Take the items that these people answered most, then the
    people who answered most of these items, and so on, as long as the number of answers in the block grows.
    With start="items", begin with the items that have most answers. Whoever comes first in the table wins a
    tie. People and items keep their order. The block need not be the densest there is; `Judgements.complete`
    leaves the people in it who answered everything.

    Raises InputError if the table is smaller than the block, or for another start.
    """
    one_of(start, "start", ("people", "items"))
    shape = judgements.utilities.shape
    people = whole_number(people, "people", 1, shape[0])
    items = whole_number(items, "items", 1, shape[1])
    answered = ~np.isnan(judgements.utilities)
    known = answered if start == "people" else answered[:, _most(answered.sum(axis=0), items)]
    rows, best = _most(known.sum(axis=1), people), (-1, None, None)
    while True:
        columns = _most(answered[rows].sum(axis=0), items)
        count = int(answered[np.ix_(rows, columns)].sum())
        if count <= best[0]:
            break
        best = (count, rows, columns)
        rows = _most(answered[:, columns].sum(axis=1), people)
    _, rows, columns = best
    return Judgements(
        judgements.utilities[np.ix_(rows, columns)],
        judgements.items.iloc[columns],
        judgements.people.iloc[rows].reset_index(drop=True),
    )


def taste_groups(utilities, fewest: int) -> np.ndarray:
    """Sort people into groups of about equal size who judge alike.

    The people are split in two along the first principal component of their utilities, each half is split
    again along its own, and so on: as many groups as can have at least `fewest` members, whose sizes differ
    by little. Nothing is drawn at random.

    Parameters
    ----------
    utilities : (people, items). fewest : the smallest size of a group, at least 5 and at most the number of
        people.

    Returns
    -------
    (people,) whole numbers, the group of each person. Neighbouring groups are alike.

    Raises
    ------
    InputError if a utility is missing or there are fewer people than `fewest`.
    """
    utilities = finite_array(utilities, "utilities", 2, "(people, items)")
    if len(utilities) < FEWEST_PEOPLE:
        raise InputError(f"utilities must hold at least {FEWEST_PEOPLE} people; got {len(utilities)}.")
    fewest = whole_number(fewest, "fewest", FEWEST_PEOPLE, len(utilities))
    groups = np.zeros(len(utilities), dtype=int)
    waiting, done = [(np.arange(len(utilities)), len(utilities) // fewest)], 0
    while waiting:
        members, parts = waiting.pop()
        if parts == 1:
            groups[members] = done
            done += 1
            continue
        order = members[np.argsort(_first_component(utilities[members]), kind="stable")]
        left = parts // 2
        cut = len(members) * left // parts
        waiting += [(order[cut:], parts - left), (order[:cut], left)]
    return groups


def groups_by_taste(judgements: Judgements, fewest: int = FEWEST_PEOPLE) -> Cells:
    """Groups of people who judge alike, as judges of items by which they were not sorted.

    The people are sorted by their utilities for every other item, from the first on, where a missing answer
    counts as the mean of the item; the cells hold their mean utilities for the items between. A group stands
    behind a mean only with at least five answers; one with fewer on any item is left out.

    Raises InputError for fewer people than `fewest`, or an item that nobody answered.
    """
    sorting = judgements.utilities[:, ::2]
    answers = (~np.isnan(sorting)).sum(axis=0)
    if (answers == 0).any():
        raise InputError(
            f"judgements: nobody answered item {judgements.items.index[::2][answers == 0][0]!r}."
        )
    filled = np.where(np.isnan(sorting), np.nanmean(sorting, axis=0), sorting)
    names = [f"group {group + 1:02d}" for group in taste_groups(filled, fewest)]
    judged = Judgements(
        judgements.utilities[:, 1::2], judgements.items.iloc[1::2], pd.DataFrame({"taste": names})
    )
    return demographic_cells(judged, "taste")


def _most(counts, size):
    """Indices of the `size` largest counts, the first ones at ties, in increasing order."""
    return np.sort(np.argsort(-counts, kind="stable")[:size])


def _first_component(table):
    """(people,) scores on the first principal component, its sign and its last digits settled."""
    centred = table - table.mean(axis=0)
    scores = np.linalg.eigh(centred @ centred.T)[1][:, -1]
    return np.round(scores * np.sign(scores[np.abs(scores).argmax()]), 9)
