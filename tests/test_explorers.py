"""Explorers: what reaches the page is what Python drew and computed, for every setting, without any request."""

import gzip
import io
import json
import re
from urllib.parse import unquote

import matplotlib.pyplot as plt
import numpy as np
import pytest
from emergent_alignment._validation import InputError
from emergent_alignment.explorers import Choice, FrameExplorer, PointExplorer, Slider
from emergent_alignment.plotting import LINES, probability_axis, use_style
from html_tags import tags_of
from matplotlib.figure import Figure

POINTS = np.array([[0.2, 0.2], [0.8, 0.3], [0.5, 0.85]])


def draw_split(prior):
    """A figure such as chapters draw."""
    with plt.rc_context():
        use_style()
        figure, ax = plt.subplots()
        x = np.linspace(0, 1, 101)
        ax.plot(x, np.maximum(x, 1 - x), **LINES["alice"])
        ax.plot([0, 0.5, 1], [0, 1, 1], **LINES["envelope"])
        ax.axvline(prior, **LINES["no_information"])
        probability_axis(ax, "x", "belief that the patient is ill")
        ax.set(title=f"Prior {prior:.3f}", ylabel="value")
    return figure


def draw_little(**settings):
    figure = Figure(figsize=(2, 1))
    figure.text(0.5, 0.5, str(sorted(settings.items())))
    return figure


def describe(**settings):
    return f"Shown: <{settings}> & more."


def little(title="A little explorer", controls=None, draw=draw_little):
    return FrameExplorer(draw, controls or Slider("k", "Number of Bobs", range(1, 5)), describe, title)


def nearest_on_the_mean(x, y):
    """Made-up results, enough to tell lattice points apart."""
    return {"error": abs(x - y), "weights": [x, y, 1 - x], "nearest": ((x + y) / 2, (x + y) / 2)}


def pointed(**changes):
    arguments = {"points": POINTS, "evaluate": nearest_on_the_mean, "x_range": (0, 1), "y_range": (0, 2)}
    return PointExplorer(**(arguments | {"title": "Drag Alice", "steps": 5} | changes))


def data_of(explorer):
    """The numbers that JavaScript looks up."""
    return json.loads(
        re.search(r'<script type="application/json">(.*?)</script>', explorer.html, re.DOTALL)[1]
    )


@pytest.fixture(scope="module")
def typical():
    slider = Slider("prior", "Prior probability of illness", np.linspace(0, 1, 41), 0.3, "{:.3f}")
    return FrameExplorer(
        draw_split, slider, lambda prior: f"At prior {prior:.3f} Alice waits.", "Posterior and value"
    )


# Controls


def test_slider_keeps_whole_numbers_whole_and_rounds_the_rest():
    assert Slider("k", "Bobs", range(1, 5)).values == (1, 2, 3, 4)
    assert all(isinstance(v, int) for v in Slider("k", "Bobs", np.arange(3)).values)
    assert Slider("p", "Prior", np.linspace(0, 1, 11)).values[3] == 0.3
    assert Slider("p", "Prior", np.linspace(0, 1, 11)).default == 0.5
    assert Slider("p", "Prior", [0, 0.5, 1], 1, "{:.0%}").texts == ("0%", "50%", "100%")


@pytest.mark.parametrize(
    "arguments",
    [
        ("not a name", "Label", [0, 1]),
        ("p", " ", [0, 1]),
        ("p", "Label", [0]),
        ("p", "Label", [0, 1, 1]),
        ("p", "Label", [0, np.nan]),
        ("p", "Label", [0, 1], 0.5),
        ("p", "Label", [0, 1], "0"),
        ("p", "Label", [0, 0.001], None, "{:.1f}"),
        ("p", "Label", [0, 1], None, "{:q}"),
        ("p", "Label", [0, 1], None, 3),
    ],
)
def test_slider_refuses(arguments):
    with pytest.raises(InputError):
        Slider(*arguments)


@pytest.mark.parametrize(
    "arguments", [("c", "C", "ab"), ("c", "C", ["a"]), ("c", "C", ["a", "a"]), ("c", "C", ["a", "b"], "d")]
)
def test_choice_refuses(arguments):
    with pytest.raises(InputError):
        Choice(*arguments)


# Frames


def test_draw_is_called_once_at_every_setting():
    calls = []

    def draw(**settings):
        calls.append(settings)
        return draw_little(**settings)

    controls = [
        Slider("k", "Number of Bobs", range(1, 4)),
        Choice("kind", "Market", ["in hull", "free"], "free"),
    ]
    explorer = little(controls=controls, draw=draw)
    assert not calls  # nothing is drawn before it is shown
    assert explorer.html == explorer.html
    assert (
        calls
        == explorer.settings
        == [{"k": k, "kind": kind} for k in (1, 2, 3) for kind in ("in hull", "free")]
    )
    assert explorer.extremes() == [
        {"k": 2, "kind": "free"},
        {"k": 1, "kind": "in hull"},
        {"k": 3, "kind": "free"},
    ]
    assert repr(explorer) == "FrameExplorer('A little explorer': 6 frames)"


def test_page_holds_every_frame_as_drawn_with_its_own_words(typical):
    data = data_of(typical)
    assert len(data["frames"]) == len(typical.frames) == 41
    assert len({frame["alt"] for frame in data["frames"]}) == 41
    pictures = ["><".join(data["parts"][i] for i in frame["svg"]) for frame in data["frames"]]
    assert pictures == [frame.svg for frame in typical.frames]
    assert len(set(pictures)) == 41
    assert data["frames"][5]["says"] == "At prior 0.125 Alice waits."
    assert data["frames"][5]["alt"] == "Prior probability of illness 0.125: At prior 0.125 Alice waits."


def test_default_frame_is_there_without_javascript(typical):
    tags = tags_of(typical.html)
    image = next(attributes for tag, attributes in tags if tag == "img")
    default = typical.frames[12]
    assert default.settings == {"prior": 0.3}
    assert image["alt"] == default.alt
    assert unquote(image["src"].removeprefix("data:image/svg+xml,")) == default.svg
    slider = next(attributes for tag, attributes in tags if tag == "input")
    assert (slider["type"], slider["value"], slider["max"], slider["aria-valuetext"]) == (
        "range",
        "12",
        "40",
        "0.300",
    )
    assert f">{default.says}</p>" in typical.html


def test_typical_explorer_is_small(typical):
    assert len(gzip.compress(typical.html.encode())) < 40_000
    assert len(typical.html) < 300_000


def test_drawing_leaves_no_figure_open(typical):
    before = plt.get_fignums()
    typical.frames[0]
    explorer = FrameExplorer(
        draw_split, Slider("prior", "Prior", [0, 0.5, 1]), lambda prior: "Text.", "Fresh"
    )
    explorer.html  # noqa: B018
    assert plt.get_fignums() == before


def test_rounding_keeps_the_picture(typical):
    """A tenth of a point: the curve of the default frame lies where matplotlib puts it."""
    figure = draw_split(0.3)
    figure.canvas.draw()
    figure.savefig(io.BytesIO(), format="svg")
    ax = figure.axes[0]
    x, _ = ax.transData.transform([0.3, 0.0]) * 72 / figure.dpi
    plt.close(figure)
    verticals = [float(m) for m in re.findall(r"d='M ([\d.]+) [\d.]+ L \1 ", typical.frames[12].svg)]
    assert min(abs(v - x) for v in verticals) < 0.1


@pytest.mark.parametrize("make", [little, pointed], ids=["frames", "point"])
def test_html_is_deterministic_and_asks_nobody(make):
    html = make().html
    assert html == make().html
    for tag, attributes in tags_of(html):
        assert "id" not in attributes  # so that several explorers, or copies of one, never collide
        assert tag not in ("link", "iframe", "base")
        for name in ("src", "href", "data", "action", "srcset"):
            value = attributes.get(name) or "data:"
            assert value.startswith("data:"), (tag, name)
    code = re.sub(r"http://www\.w3\.org/\S+", "", unquote(html))  # names of the SVG language, never fetched
    assert not re.search(r"https?:|//\w|@import|url\((?!'?#)|\bfetch\b|XMLHttpRequest|\bimport\b", code)


@pytest.mark.parametrize("make", [little, pointed], ids=["frames", "point"])
def test_titles_and_texts_are_escaped(make):
    html = make(title='</script><b a="&">').html
    assert "<b a" not in html and "</script><b" not in html
    assert html.count("<script") == html.count("</script>") == 2
    assert "<" not in re.search(r'"application/json">(.*?)</script>', html, re.DOTALL)[1]


@pytest.mark.parametrize("make", [little, pointed], ids=["frames", "point"])
def test_controls_have_labels_and_the_result_is_announced(make):
    html = make().html
    controls = re.findall(r"<label><span>([^<]+)</span> <(?:input|select)", html)
    assert len(controls) == len(re.findall(r"<(?:input|select) ?", html))
    assert html.count('aria-live="polite"') == 1
    assert "stopPropagation" in html


@pytest.mark.parametrize(
    "changes",
    [
        {"controls": ()},
        {"controls": (Slider("a", "A", [0, 1]), Slider("b", "B", [0, 1]), Slider("c", "C", [0, 1]))},
        {"controls": (Slider("a", "A", [0, 1]), Slider("a", "B", [0, 1]))},
        {"controls": ("a",)},
        {"controls": Slider("a", "A", range(151))},
        {"controls": (Slider("a", "A", range(13)), Slider("b", "B", range(12)))},
        {"draw": None},
        {"describe": "text"},
        {"title": ""},
    ],
)
def test_frame_explorer_refuses(changes):
    arguments = {
        "draw": draw_little,
        "controls": Slider("a", "A", [0, 1]),
        "describe": describe,
        "title": "T",
    }
    with pytest.raises(InputError):
        FrameExplorer(**(arguments | changes))


def test_functions_that_return_something_else_are_named():
    slider = Slider("a", "A", [0, 1])
    with pytest.raises(InputError, match="draw must return a matplotlib Figure"):
        FrameExplorer(lambda a: None, slider, describe, "T").html  # noqa: B018
    with pytest.raises(InputError, match="describe"):
        FrameExplorer(draw_little, slider, lambda a: None, "T").html  # noqa: B018


# The face with a kernel


def test_without_a_jupyter_server_there_is_no_widget(monkeypatch):
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    bundle = little()._repr_mimebundle_()
    assert set(bundle) == {"text/plain", "text/html"}


def test_with_a_jupyter_server_both_faces_are_there(monkeypatch):
    monkeypatch.setenv("JPY_SESSION_NAME", "chapter.ipynb")
    bundle = little()._repr_mimebundle_()
    assert set(bundle) == {"text/plain", "text/html", "application/vnd.jupyter.widget-view+json"}
    assert bundle["text/plain"] == repr(little())


def test_live_view_redraws_between_the_frames():
    seen = []

    def draw(**settings):
        seen.append(settings)
        return draw_little(**settings)

    controls = (Slider("p", "Prior", [0, 0.5, 1]), Choice("kind", "Market", ["in hull", "free"]))
    view = little(controls=controls, draw=draw).live()
    (number, slider), menu, picture = view.children[1].children, view.children[2], view.children[3]
    assert seen == [{"p": 0.5, "kind": "in hull"}]
    slider.value = 0.65
    menu.value = "free"
    assert seen[1:] == [{"p": 0.65, "kind": "in hull"}, {"p": 0.65, "kind": "free"}]
    assert number.value == 0.65 and number.description == "Prior"
    assert 'alt="Prior 0.65, Market free: Shown' in picture.value


def test_live_view_keeps_whole_and_uneven_sliders_on_their_values():
    whole = little(controls=Slider("k", "Bobs", range(2, 9, 2))).live().children[1].children[1]
    assert (whole.min, whole.max, whole.step, whole.value) == (2, 8, 2, 6)
    uneven = little(controls=Slider("b", "Bid step", [0.001, 0.01, 0.1])).live().children[1]
    assert [value for _, value in uneven.options] == [0.001, 0.01, 0.1]


# The point


def test_table_holds_what_evaluate_returns_at_every_lattice_point():
    explorer = pointed()
    xs, ys = explorer.lattice
    assert explorer.table.shape == (5, 5, 6)
    for j, y in enumerate(ys):
        for i, x in enumerate(xs):
            expected = nearest_on_the_mean(x, y)
            assert np.allclose(
                explorer.table[j, i],
                [expected["error"], *expected["nearest"], *expected["weights"]],
                atol=5e-4,
            )
    assert not np.signbit(explorer.table).any()


def test_page_holds_the_table_and_the_places_on_the_page():
    explorer = pointed()
    data = data_of(explorer)
    rows = np.array(data["rows"]) / 1000
    table = explorer.table.reshape(-1, 6)
    assert np.allclose(rows[:, 0], table[:, 0]) and np.allclose(rows[:, 1:4], table[:, 3:])
    # one unit is equally long both ways, y upwards
    scale = (data["px"][-1] - data["px"][0]) / 1
    assert np.isclose((data["py"][0] - data["py"][-1]) / 2, scale, atol=0.2)
    assert np.allclose(rows[:, 4], data["px"][0] + scale * table[:, 1], atol=0.3)
    assert np.allclose(rows[:, 5], data["py"][0] - scale * table[:, 2], atol=0.3)
    assert data["x"] == ["0.00", "0.25", "0.50", "0.75", "1.00"] and data["y"] == [
        "0.0",
        "0.5",
        "1.0",
        "1.5",
        "2.0",
    ]


def test_a_bound_follows_the_error_in_the_table_and_in_the_sentence():
    def evaluate(x, y):
        return nearest_on_the_mean(x, y) | {"bound": 2 * abs(x - y)}

    plain, explorer = pointed(), pointed(evaluate=evaluate, bound_label="loss at most", default=(0.25, 0.5))
    assert np.array_equal(explorer.table[..., :-1], plain.table)
    assert np.allclose(explorer.table[..., -1], 2 * explorer.table[..., 0])
    rows = np.array(data_of(explorer)["rows"])
    assert np.array_equal(rows[:, :-1], data_of(plain)["rows"]) and np.array_equal(rows[:, -1], 2 * rows[:, 0])
    assert "outside the hull: alignment error ε = 0.250; loss at most 0.500.</p>" in explorer.html
    assert re.findall(r'class="weight">([^<]+)<', explorer.html) == ["0.25", "0.50", "0.75"]


def test_default_point_is_there_without_javascript():
    explorer = pointed(default=(0.3, 0.6))
    assert explorer.extremes() == [{"x": 0.25, "y": 0.5}, {"x": 0.0, "y": 0.0}, {"x": 1.0, "y": 2.0}]
    assert "Alice at (0.25, 0.5) is outside the hull: alignment error ε = 0.250.</p>" in explorer.html
    assert "inside the hull: alignment error ε = 0.000.</p>" in pointed(default=(0.5, 0.5)).html
    assert re.findall(r'class="weight">([^<]+)<', explorer.html) == ["0.25", "0.50", "0.75"]
    assert repr(explorer) == "PointExplorer('Drag Alice': 5 x 5 points)"


@pytest.mark.parametrize("k", [1, 2, 3])
def test_few_or_collinear_providers_are_drawn_too(k):
    def evaluate(x, y):
        return {"error": 0.1, "weights": [1 / k] * k, "nearest": (x, y)}

    points = [[0.1 * i, 0.2 * i] for i in range(k)]
    explorer = pointed(points=points, evaluate=evaluate)
    assert explorer.html.count("<dt>") == k
    assert "nan" not in explorer.html


def test_full_size_point_explorer_is_small():
    explorer = pointed(steps=41)
    assert len(gzip.compress(explorer.html.encode())) < 60_000


@pytest.mark.parametrize(
    "changes",
    [
        {"points": [[0.1, 0.2, 0.3]]},
        {"points": [[0.1, np.inf]]},
        {"evaluate": None},
        {"x_range": (1, 0)},
        {"y_range": (0, 1, 2)},
        {"steps": 1},
        {"steps": 62},
        {"default": (1, 2, 3)},
        {"names": ["Bob 1"]},
        {"labels": ["x"]},
        {"verdicts": "inside"},
        {"title": ""},
        {"bound_label": " "},
    ],
)
def test_point_explorer_refuses(changes):
    with pytest.raises(InputError):
        pointed(**changes)


@pytest.mark.parametrize(
    "result",
    [
        None,
        {"error": 0.1, "weights": [1, 0, 0]},
        {"error": 0.1, "weights": [1, 0], "nearest": (0, 0)},
        {"error": 0.1, "weights": [1, 0, 0], "nearest": (0, 0, 0)},
        {"error": -0.1, "weights": [1, 0, 0], "nearest": (0, 0)},
        {"error": 0.1, "weights": [1, -0.2, 0], "nearest": (0, 0)},
        {"error": np.nan, "weights": [1, 0, 0], "nearest": (0, 0)},
    ],
)
def test_results_of_another_shape_are_named(result):
    with pytest.raises(InputError):
        pointed(evaluate=lambda x, y: result).html  # noqa: B018


@pytest.mark.parametrize("bound", [{}, {"bound": -0.1}, {"bound": np.nan}])
def test_a_bound_that_was_promised_must_come(bound):
    with pytest.raises(InputError):
        pointed(evaluate=lambda x, y: nearest_on_the_mean(x, y) | bound, bound_label="at most").html  # noqa: B018
