"""The Polis conversation of Bowling Green, Kentucky, February 2018."""

from __future__ import annotations

import pandas as pd

from .judgements import Judgements
from .sources import raw_file

SIDES = {0: "A", 1: "B"}


def load_polis(data_dir=None) -> Judgements:
    """The Polis conversation "American Assembly, Bowling Green", as utilities over its statements.

    Residents wrote short statements about their town, and voted on one another's. A participant's utility for
    a statement is 1 if she agreed with it, 0 if she disagreed, 1/2 if she passed, NaN if she did not vote on
    it. In the file of votes these are 1, -1, 0 and empty. That 1 means "agree" can be seen from the file of
    comments, whose own counts of agreements and disagreements follow those of 1 and -1 (they differ by
    13 votes at most, and mostly by none).

    Left out are the 289 of 896 statements that the moderators rejected (`moderated` -1 in the file of
    comments): hardly anybody could vote on them.

    Parameters
    ----------
    data_dir : see :func:`raw_file`.

    Returns
    -------
    Judgements of 2,031 people on 607 statements, 18 % filled: everybody voted on as many as she liked.
    `items` is indexed by the number of the statement and holds its text (`statement`, the words of a
    participant) and its time (`written`). `people` has the column `side`: "A" or "B", the opinion group that
    Polis had put the participant in from all her votes (group-id 0 or 1 in the export), missing for those
    with very few votes.

    Raises
    ------
    DataError if a raw file is missing or is not the one expected.
    """
    votes = pd.read_csv(raw_file("polis_votes", data_dir))
    comments = pd.read_csv(raw_file("polis_comments", data_dir), index_col="comment-id").sort_index()
    comments = comments[comments["moderated"] >= 0]
    items = pd.DataFrame(
        {
            "statement": comments["comment-body"],
            "written": pd.to_datetime(comments["timestamp"], unit="ms", utc=True),
        }
    ).rename_axis("item")
    utilities = (votes[items.index.astype(str)].to_numpy(dtype=float) + 1) / 2
    return Judgements(utilities, items, pd.DataFrame({"side": votes["group-id"].map(SIDES)}))
