"""Tables of judgements by people, and averages over groups of them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from .._validation import InputError, one_of, whole_number

FEWEST_PEOPLE = 5  # nothing computed from fewer people than this may stand behind a published average


@dataclass(frozen=True, eq=False)
class Judgements:
    """A table of judgements: what each person thinks of each item, as utilities.

    utilities : (people, items) in [0, 1], NaN where there is no answer.
    items : DataFrame, one row for each item, indexed by its id; says what utility 1 and utility 0 mean.
    people : DataFrame, one row for each person.
    """

    utilities: np.ndarray
    items: pd.DataFrame
    people: pd.DataFrame

    def where(self, keep) -> Judgements:
        """The people for whom `keep` (people,) is true."""
        keep = np.asarray(keep)
        if keep.dtype != bool or keep.shape != self.utilities.shape[:1]:
            raise InputError(f"keep must hold true or false for each of the {len(self.utilities)} people.")
        return replace(self, utilities=self.utilities[keep], people=self.people[keep].reset_index(drop=True))

    def complete(self) -> Judgements:
        """The people who gave an answer on every item."""
        return self.where(~np.isnan(self.utilities).any(axis=1))


@dataclass(frozen=True, eq=False)
class Cells:
    """Groups of people as judges: the plain mean utility of each group for each item.

    utilities : (cells, items) in [0, 1]. items : as in Judgements.
    groups : DataFrame, one row for each cell, one column for each grouping.
    sizes : (cells,) people in the cell. answers : (cells,) the fewest valid answers behind any of its means.
    errors : (cells, items) standard errors of the means, from the spread of the answers within the cell.
    """

    utilities: np.ndarray
    items: pd.DataFrame
    groups: pd.DataFrame
    sizes: np.ndarray
    answers: np.ndarray
    errors: np.ndarray

    @property
    def labels(self) -> tuple[str, ...]:
        """One readable name for each cell, such as "Democrat, 35-49, College"."""
        return tuple(", ".join(row) for row in self.groups.itertuples(index=False))

    def noise_share(self, remove_consensus: bool = False) -> float:
        """The share of a cell's variance over the items that is sampling error, on average over cells.

        Mean squared standard error divided by the variance over the items, of the means or, with
        `remove_consensus`, of their distance from the mean of all other cells. A yardstick for the error one must
        expect with cells so small, not a lower limit: the same people answer all items, so their chance deviations
        go together and part of them can be predicted. InputError if there is no other cell.
        """
        means = self.utilities
        if remove_consensus:
            if len(means) < 2:
                raise InputError(f"remove_consensus needs at least two cells; there is {len(means)}.")
            means = means - (means.sum(axis=0) - means) / (len(means) - 1)
        return float(((self.errors**2).mean(axis=1) / means.var(axis=1)).mean())


def demographic_cells(
    poll: Judgements, by=("race", "gender", "education", "income", "age"), minimum=5
) -> Cells:
    """Average the utilities over groups of people that are large enough.

    Parameters
    ----------
    poll : Judgements of people. by : columns of `poll.people` to group by.
    minimum : the fewest valid answers that may stand behind any mean, at least 5. A cell with fewer on any
        item is left out. People without a value in one of the columns belong to no cell.

    Returns
    -------
    Cells with plain means, not weighted by the survey weights: a cell stands for its own members. Cells are
    sorted by their labels.

    Raises
    ------
    InputError for an unknown column, a minimum below 5, or if no cell is large enough.
    """
    if not isinstance(poll, Judgements):
        raise InputError(f"poll must be Judgements, as load_poll returns them; got {type(poll).__name__}.")
    try:
        by = (by,) if isinstance(by, str) else tuple(dict.fromkeys(by))
    except TypeError:
        raise InputError(f"by must be a column of people, or several; got {by!r}.") from None
    if not by:
        raise InputError("by must name at least one column to group by; got none.")
    for name in by:
        one_of(name, "by", tuple(c for c in poll.people.columns if c != "weight"))
    minimum = whole_number(minimum, "minimum", FEWEST_PEOPLE)
    table = pd.DataFrame(poll.utilities, columns=poll.items.index)
    people = poll.people.reset_index(drop=True)
    grouped = table.groupby([people[name] for name in by], observed=True)
    answers = grouped.count().min(axis=1)
    keep = answers >= minimum
    if not keep.any():
        raise InputError(
            f"by={by} with minimum={minimum} leaves no cell: the largest has {answers.max() if len(answers) else 0} "
            "answers on each item. Group by fewer columns or lower minimum."
        )
    return Cells(
        utilities=grouped.mean()[keep].to_numpy(),
        items=poll.items,
        groups=keep.index[keep].to_frame(index=False).astype(str),
        sizes=grouped.size()[keep].to_numpy(),
        answers=answers[keep].to_numpy(),
        errors=grouped.sem()[keep].to_numpy(),
    )
