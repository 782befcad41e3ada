"""The palette keeps its meanings apart, on white and for colour-blind readers; the style sheet loads."""

from itertools import combinations

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from emergent_alignment._validation import InputError
from emergent_alignment.plotting import (
    COLOURS,
    LINES,
    MARKERS,
    METHODS,
    direct_label,
    probability_axis,
    provider_line,
    provider_marker,
    use_style,
)

# Colour-vision deficiency at full strength, on linear RGB (Machado, Oliveira and Fernandes 2009).
VISION = {
    "full": np.eye(3),
    "protan": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deutan": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritan": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}


def flat_palette():
    return [c for value in COLOURS.values() for c in (value if isinstance(value, tuple) else (value,))]


def linear_rgb(colour):
    value = np.array(mpl.colors.to_rgb(colour))
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def oklab(linear):
    """Coordinates in which distance is about what the eye sees (Ottosson 2020)."""
    cones = np.array(
        [
            [0.4122214708, 0.5363325363, 0.0514459929],
            [0.2119034982, 0.6806995451, 0.1073969566],
            [0.0883024619, 0.2817188376, 0.6299787005],
        ]
    )
    mix = np.array(
        [
            [0.2104542553, 0.7936177850, -0.0040720468],
            [1.9779984951, -2.4285922050, 0.4505937099],
            [0.0259040371, 0.7827717662, -0.8086757660],
        ]
    )
    return mix @ np.cbrt(cones @ np.clip(linear, 0, 1))


@pytest.fixture
def ax():
    with mpl.rc_context():
        use_style()
        figure, axes = plt.subplots()
        yield axes
        plt.close(figure)


METHOD_COLOURS = [method["color"] for method in METHODS.values()]


@pytest.mark.parametrize("colour", sorted({*flat_palette(), *METHOD_COLOURS}))
def test_every_colour_stands_out_from_white(colour):
    luminance = linear_rgb(colour) @ [0.2126, 0.7152, 0.0722]
    assert 1.05 / (luminance + 0.05) >= 3  # WCAG 1.4.11, graphical objects


@pytest.mark.parametrize("colours", [flat_palette(), METHOD_COLOURS], ids=["palette", "methods"])
@pytest.mark.parametrize("vision", VISION)
def test_colours_stay_apart_without_full_colour_vision(vision, colours):
    seen = [oklab(np.array(VISION[vision]) @ linear_rgb(c)) for c in colours]
    assert min(np.linalg.norm(a - b) for a, b in combinations(seen, 2)) > 0.05


def test_colour_is_never_the_only_channel():
    assert len({line["linestyle"] + str(line["linewidth"]) for line in LINES.values()}) == len(LINES)
    assert len({marker["marker"] for marker in MARKERS.values()}) == len(MARKERS)
    assert len({method["marker"] for method in METHODS.values()}) == len(METHODS)
    assert len({(p["color"], p["marker"]) for p in map(provider_marker, range(20))}) == 20
    for i in range(20):
        assert provider_line(i)["linestyle"] != provider_line(i + 1)["linestyle"]
        assert provider_marker(i)["marker"] != provider_marker(i + 1)["marker"]
        assert provider_line(i)["color"] == provider_marker(i)["color"] != provider_line(i + 1)["color"]


def test_the_same_meaning_has_the_same_colour_as_line_and_marker():
    for meaning, line in LINES.items():
        assert line["color"] == MARKERS[meaning]["color"] == COLOURS[meaning]


def test_style_sheet_loads_and_fits_the_text_column(ax):
    assert round(mpl.rcParams["figure.figsize"][0] * mpl.rcParams["figure.dpi"]) in range(690, 715)
    assert mpl.rcParams["svg.hashsalt"]
    assert mpl.rcParams["font.sans-serif"] == ["DejaVu Sans"]


def test_styles_unpack_into_plot(ax):
    drawn = [*LINES.values(), *MARKERS.values(), *METHODS.values(), provider_line(5), provider_marker(5)]
    for style in drawn:
        ax.plot([0, 1], [0, 1], **style)
    assert len(ax.lines) == len(drawn)


def test_direct_label_sits_beside_its_point(ax):
    ax.set(xlim=(0, 1), ylim=(0, 1))
    point = ax.transData.transform((0.5, 0.5))
    for offset, axis, sign in (((6, 0), 0, 1), ((-6, 0), 0, -1), ((0, 6), 1, 1), ((0, -6), 1, -1)):
        label = direct_label(ax, 0.5, 0.5, "Alice", offset=offset)
        ax.figure.canvas.draw()
        point = ax.transData.transform((0.5, 0.5))
        box = label.get_window_extent().get_points()
        assert (sign * (box[:, axis] - point[axis]) > 0).all()


def test_probability_axis_shows_zero_to_one(ax):
    probability_axis(ax, "y", "probability of illness")
    low, high = ax.get_ylim()
    assert low < 0 and high > 1
    assert list(ax.get_yticks()) == [0, 0.25, 0.5, 0.75, 1]
    assert ax.get_ylabel() == "probability of illness"


@pytest.mark.parametrize(
    "call",
    [
        lambda ax: provider_line(-1),
        lambda ax: provider_marker(1.5),
        lambda ax: direct_label(ax, 0, 0, "text", offset=6),
        lambda ax: probability_axis(ax, "z"),
    ],
)
def test_unusable_arguments_are_named(ax, call):
    with pytest.raises(InputError):
        call(ax)
