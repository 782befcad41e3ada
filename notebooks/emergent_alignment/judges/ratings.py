"""A reader of ratings that refuses to guess."""

from __future__ import annotations

import json
import re
from typing import NamedTuple

LOWEST, HIGHEST = 0, 10  # the scale that judges are told to use
_BARE = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?")
_FENCE = re.compile(r"```(?:json)?[ \t]*\r?\n(.*?)\r?\n[ \t]*```", re.DOTALL)


class Rating(NamedTuple):
    """A number on the scale and "", or None and the reason."""

    value: float | None
    reason: str


def parse_rating(text: str) -> Rating:
    """Read one rating from 0 to 10, or say why there is none; nothing is guessed.

    Accepted is a bare decimal number, or a JSON object whose only member is "rating" with a number as value; the
    object may stand alone in a ``` block. Everything else is missing: words around the number, "7 or 8", "7/10",
    two numbers, a number in quotes, true, NaN, Infinity, a second member, a value off the scale, no text at all,
    more than 200 characters.
    """
    bare = text.strip(" \t\r\n")
    if not bare:
        return Rating(None, "empty")
    if len(text) > 200:
        return Rating(None, f"not one number but {len(text)} characters: {short(bare)}")
    try:
        fenced = _FENCE.fullmatch(bare)
        value = float(bare) if _BARE.fullmatch(bare) else _member(fenced[1] if fenced else bare)
    except ValueError:
        return Rating(None, f"not one number in the form asked for: {short(bare)}")
    if not LOWEST <= value <= HIGHEST:  # true for NaN, too
        return Rating(None, f"off the scale {LOWEST} to {HIGHEST}: {short(bare)}")
    return Rating(value + 0.0, "")  # no negative zero


def _member(text):
    """The value of {"rating": number}; ValueError for anything else."""
    # Objects arrive as tuples of pairs, so that a member given twice is seen.
    pairs = json.loads(text, object_pairs_hook=tuple)
    if not isinstance(pairs, tuple) or len(pairs) != 1 or pairs[0][0] != "rating":
        raise ValueError
    value = pairs[0][1]
    if type(value) not in (int, float):  # true and false are ints of another type
        raise ValueError
    return float(value)


def short(text: str, length: int = 60) -> str:
    """The text in quotes, in one line and not too long; half a surrogate pair could not be written to a file."""
    text = text if len(text) <= length else text[: length - 3] + "..."
    return repr(text.encode("utf-8", "replace").decode())
