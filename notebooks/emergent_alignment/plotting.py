"""The look of the figures: one style sheet, and a palette whose colours keep their meaning.

The colours are told apart with any of the common colour-vision deficiencies and stand out from
white by 3:1 or more. Colour is never the only channel: each meaning has its own line style
and marker too. `LINES[...]` goes into ``ax.plot`` as it is, `MARKERS[...]` draws points without a line.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt

from ._validation import InputError, whole_number

STYLE_SHEET = Path(__file__).with_name("course.mplstyle")

# One colour, one meaning, in every chapter.
COLOURS = {
    "alice": "#0072B2",
    "provider": ("#D55E00", "#009E73", "#CC6FA5", "#6A4A00"),
    "opt": "#1A1A1A",
    "bound": "#8B1A4B",
    "envelope": "#332288",
    "no_information": "#6E6E6E",
}

LINES = {
    "alice": {"color": COLOURS["alice"], "linestyle": "-", "linewidth": 2.4},
    "opt": {"color": COLOURS["opt"], "linestyle": "-", "linewidth": 1.2},
    "bound": {"color": COLOURS["bound"], "linestyle": "--", "linewidth": 1.8},
    "envelope": {"color": COLOURS["envelope"], "linestyle": "-.", "linewidth": 2.2},
    "no_information": {"color": COLOURS["no_information"], "linestyle": ":", "linewidth": 2},
}

MARKERS = {
    "alice": {"color": COLOURS["alice"], "marker": "o", "linestyle": "none", "markersize": 9},
    "opt": {"color": COLOURS["opt"], "marker": "*", "linestyle": "none", "markersize": 10},
    "bound": {"color": COLOURS["bound"], "marker": "v", "linestyle": "none", "markersize": 7},
    "envelope": {"color": COLOURS["envelope"], "marker": "d", "linestyle": "none", "markersize": 7},
    "no_information": {
        "color": COLOURS["no_information"],
        "marker": "x",
        "linestyle": "none",
        "markersize": 7,
    },
}

# How to combine providers, in figures that draw no single provider: the hues are free to be used again.
METHODS = {
    "best single": {"color": "#D55E00", "linestyle": ":", "marker": "s"},
    "rescaled single": {"color": "#CC6FA5", "linestyle": "-.", "marker": "^"},
    "plain average": {"color": "#6A4A00", "linestyle": "--", "marker": "D"},
    "rescaled average": {"color": "#332288", "linestyle": (0, (5, 1.5, 1, 1.5, 1, 1.5)), "marker": "v"},
    "simplex": {"color": "#009E73", "linestyle": "-", "marker": "P"},
    "cone": {"color": "#0072B2", "linestyle": "-", "marker": "o"},
}

_DASHES = ("-", "--", "-.", (0, (5, 1.5, 1, 1.5, 1, 1.5)), (0, (1, 1)))
_SHAPES = ("s", "^", "D", "P", "v")


def use_style() -> None:
    """Load the course's style sheet for every figure drawn from here on."""
    plt.style.use(STYLE_SHEET)


def provider_line(i: int) -> dict:
    """Line style of provider i = 0, 1, ..., to be unpacked into ``ax.plot``; InputError if i is negative."""
    colour, turn = _provider(i)
    return {"color": colour, "linestyle": _DASHES[turn], "linewidth": 1.8}


def provider_marker(i: int) -> dict:
    """Marker of provider i = 0, 1, ..., to be unpacked into ``ax.plot``; InputError if i is negative."""
    colour, turn = _provider(i)
    return {"color": colour, "marker": _SHAPES[turn], "linestyle": "none", "markersize": 8}


def _provider(i):
    # Four hues against five shapes: the first twenty providers all differ, neighbours in both.
    i = whole_number(i, "i", 0)
    return COLOURS["provider"][i % len(COLOURS["provider"])], i % len(_SHAPES)


def direct_label(ax, x, y, text, color="#1A1A1A", offset=(6, 0), **text_options):
    """Write `text` beside the data point (x, y), in place of a legend.

    `offset` is in points, right and up; the text is aligned away from the point. Further options
    go to ``ax.annotate``. Returns the annotation. InputError if offset is not a pair.
    """
    try:
        right, up = offset
    except (TypeError, ValueError):
        raise InputError(f"offset must be a pair (right, up) in points; got {offset!r}.") from None
    options = {
        "ha": "left" if right > 0 else "right" if right < 0 else "center",
        "va": "bottom" if up > 0 else "top" if up < 0 else "center",
        "fontsize": 10,
        "bbox": {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1},
        **text_options,
    }
    return ax.annotate(text, (x, y), xytext=(right, up), textcoords="offset points", color=color, **options)


def probability_axis(ax, which="x", label=None) -> None:
    """Show the probabilities from 0 to 1 along one axis ("x" or "y"), with a little air at both ends."""
    if which not in ("x", "y"):
        raise InputError(f"which must be 'x' or 'y'; got {which!r}.")
    axis_options = {f"{which}lim": (-0.02, 1.02), f"{which}ticks": (0, 0.25, 0.5, 0.75, 1)}
    if label is not None:
        axis_options[f"{which}label"] = label
    ax.set(**axis_options)
