"""DICES-350: 123 people on the safety of 350 answers of a chatbot, and the verdicts of experts."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd

from .judgements import Judgements
from .sources import raw_file

SAFE = {"No": 1.0, "Unsure": 0.5, "Yes": 0.0}  # the publisher's "Yes" says: this is unsafe


def load_dices(data_dir=None) -> Judgements:
    """DICES-350 (Aroyo and others 2023) as utilities: how safe people find the last answer of a chatbot.

    A rater's utility for a conversation is 1 if she found its last answer safe, 0 if unsafe, 1/2 if she was
    unsure. Content warning: the raw files hold conversations that were made to provoke a chatbot and can
    offend. This loader does not return their texts.

    *Which way round.* The publisher asked for reasons why an answer would be unsafe, and "Yes" in the overall
    rating means that the rater saw one; in the experts' column "Yes" means unsafe too. The files read here
    are a later edition in another format (JUDGE-BENCH), which kept these answers but attached to them the
    question "Is the model response safe?". With that question every answer would be reversed. The content
    settles it: refusals to judge other people are answered with "No" by 90 % of the raters and more, a link
    to how a pipe bomb is made with "Yes" by 90 %. So "Yes" is unsafe, in both files.

    *Who.* The files do not say who a rater is, only the order of the 123 answers to each conversation. That
    the same place in this order belongs to the same rater is not written there, but it can be seen: a
    place's share of "Yes" in one half of the conversations predicts its share in the other half almost
    perfectly. Age, gender, race and education of the raters are in the publisher's edition only.

    *Quality.* The authors' papers keep 104 of the 123 raters. Which ones is in neither edition, so all are
    returned; one of them gives the same answer to everything.

    Parameters
    ----------
    data_dir : see :func:`raw_file`.

    Returns
    -------
    Judgements, complete. `items` is indexed by the publisher's number of the conversation and has the column
    `expert`, the experts' verdict as a utility (1 safe, 0 unsafe). `people` has the column `rater`, the place.

    Raises
    ------
    DataError if a raw file is missing or is not the one expected.
    """
    ratings, verdicts = _answers("dices_ratings", data_dir), _answers("dices_gold", data_dir)
    utilities = np.array([[SAFE[answer] for answer in ratings[item]] for item in ratings]).T
    expert = [SAFE[verdicts[item][0]] for item in ratings]
    items = pd.DataFrame({"expert": expert}, index=pd.Index(ratings, name="item"))
    return Judgements(utilities, items, pd.DataFrame({"rater": range(len(utilities))}))


def _answers(name, data_dir):
    """The answers to each conversation, by its number."""
    content = json.loads(raw_file(name, data_dir).read_text(encoding="utf-8"))
    return {
        row["id"]: row["annotations"]["safety"]["individual_human_scores"] for row in content["instances"]
    }
