"""Explorers: figures with controls, which work with a kernel and without one.

One object, two faces. On the built site, and wherever nobody answers, an explorer is self-contained
HTML: Python computed everything beforehand, native controls choose what is shown, nothing is
fetched. In Jupyter with a live kernel a `FrameExplorer` redraws at any setting between the frames.
All mathematics stays in Python; the few lines of JavaScript below only look results up.
"""

from __future__ import annotations

import io
import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from html import escape
from itertools import product
from math import prod

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from scipy.spatial import ConvexHull, QhullError

from ._validation import InputError, finite_array, names_tuple, real_number, whole_number
from .plotting import COLOURS

MAX_FRAMES = 150
MAX_STEPS = 61

_STYLE = """
.explorer{margin:1.2rem 0;padding:.8rem 1rem;max-width:46rem;border:1px solid var(--pst-color-border,var(--jp-border-color1,#b0b0b0));border-radius:.4rem;
color:var(--pst-color-text-base,var(--jp-content-font-color1,#1a1a1a));background:var(--pst-color-surface,var(--jp-layout-color1,#fff))}
.explorer p{margin:.5rem 0}.explorer .title{font-weight:600;margin-top:0}.explorer .says{min-height:3em}
.explorer label{display:flex;flex-wrap:wrap;align-items:center;gap:0 .75rem;min-height:44px;margin:0}
.explorer label:has(select){padding-block:.3rem}
.explorer input[type=range]{flex:1 1 10rem;min-width:0;height:44px;margin:0;accent-color:#0072b2;cursor:pointer}
.explorer select{min-height:44px;max-width:100%;padding:.25rem .5rem;font:inherit;color:inherit;border:1px solid currentColor;border-radius:.25rem;
background:var(--pst-color-background,var(--jp-layout-color0,#fff))}
.explorer output{min-width:3.5em;text-align:right;font-variant-numeric:tabular-nums;font-weight:600}
.explorer :focus-visible{outline:3px solid #d55e00;outline-offset:2px}
.explorer img{display:block;width:100%;height:auto;margin:.5rem 0;padding:0;background:#fff;border-radius:.25rem}
.explorer svg{display:block;width:100%;max-width:30rem;height:auto;margin:.5rem auto;background:#fff;border-radius:.25rem;cursor:crosshair}
.explorer svg .grip{cursor:grab}.explorer svg text{paint-order:stroke;stroke:#fff;stroke-width:4px;stroke-linejoin:round}
.explorer dl.weights{display:grid;grid-template-columns:auto 1fr;gap:.25rem .75rem;margin:.5rem 0}
.explorer .weights dt,.explorer .weights dd{float:none;width:auto;margin:0;font-weight:400}
.explorer .weights dd{display:flex;justify-content:space-between;align-items:center;gap:1rem;font-variant-numeric:tabular-nums}
.explorer .track{flex:1}.explorer .bar{display:block;height:.8em;min-width:1px;background:currentColor;opacity:.65;print-color-adjust:exact}
@media (max-width:480px){.explorer{padding:.5rem .3rem}.explorer input[type=range]{flex-basis:100%;order:1}.explorer output{margin-left:auto}}
@media print{.explorer input{display:none}.explorer{break-inside:avoid}}
@media (forced-colors:active){.explorer .bar{forced-color-adjust:none}}
"""

# Keys stay inside the explorer, or JupyterLab takes the arrow keys for itself.
_SCRIPT_HEAD = """
for (const box of document.querySelectorAll('.explorer[data-kind="%s"]:not([data-ready])')) {
  box.dataset.ready = "yes";
  box.addEventListener("keydown", e => { if (!e.ctrlKey && !e.metaKey) e.stopPropagation(); });
  const controls = [...box.querySelectorAll("input, select")];
  const data = JSON.parse(box.querySelector('script[type="application/json"]').textContent);
  const says = box.querySelector(".says");
  const name = (control, values) => {
    control.setAttribute("aria-valuetext", values[control.value]);
    control.closest("label").querySelector("output").textContent = values[control.value];
  };
  const say = text => { if (says.textContent !== text) says.textContent = text; };
"""

_FRAMES_SCRIPT = (
    _SCRIPT_HEAD % "frames"
    + """
  const img = box.querySelector("img");
  const show = () => {
    let place = 0;
    controls.forEach((control, i) => {
      place = place * data.texts[i].length + Number(control.value);
      if (control.type === "range") name(control, data.texts[i]);
    });
    const frame = data.frames[place];
    img.src = "data:image/svg+xml," + encodeURIComponent(frame.svg.map(i => data.parts[i]).join("><"));
    img.alt = frame.alt;
    say(frame.says);
  };
  controls.forEach(control => control.addEventListener("input", show));
  show();
}
"""
)

_POINT_SCRIPT = (
    _SCRIPT_HEAD % "point"
    + """
  const svg = box.querySelector("svg");
  const [across, up] = controls, n = data.x.length, k = data.names.length;
  const at = (selector, attributes) => {
    for (const [key, value] of Object.entries(attributes)) svg.querySelector(selector).setAttribute(key, value);
  };
  const show = () => {
    name(across, data.x);
    name(up, data.y);
    const row = data.rows[up.value * n + Number(across.value)].map(v => v / 1000);
    const px = data.px[across.value], py = data.py[up.value], qx = row[k + 1], qy = row[k + 2];
    at(".alice", {cx: px, cy: py});
    at(".grip", {cx: px, cy: py});
    at(".gap", {x1: px, y1: py, x2: qx, y2: qy});
    at(".nearest", {transform: `translate(${qx} ${qy})`});
    row.slice(1, k + 1).forEach((weight, i) => {
      box.querySelectorAll(".weight")[i].textContent = weight.toFixed(2);
      box.querySelectorAll(".bar")[i].style.width = 100 * weight / data.largest + "%";
    });
    const text = `${data.user} at (${data.x[across.value]}, ${data.y[up.value]}) is ` +
      `${data.verdicts[row[0] > 0 ? 1 : 0]}: ${data.error} ${row[0].toFixed(3)}` +
      (data.bound === null ? "." : `; ${data.bound} ${row[k + 3].toFixed(3)}.`);
    svg.setAttribute("aria-label", data.title + ". " + text);
    say(text);
  };
  const move = e => {
    const point = new DOMPoint(e.clientX, e.clientY).matrixTransform(svg.getScreenCTM().inverse());
    const closest = (list, value) => list.reduce((best, v, i) => Math.abs(v - value) < Math.abs(list[best] - value) ? i : best, 0);
    across.value = closest(data.px, point.x);
    up.value = closest(data.py, point.y);
    show();
  };
  let dragging = false;
  svg.addEventListener("pointerdown", e => {
    if (e.target.matches(".grip") || e.pointerType === "mouse") {
      dragging = true;
      svg.setPointerCapture(e.pointerId);
      e.preventDefault();
      move(e);
    }
  });
  // A finger on Alice moves her, a finger elsewhere scrolls the page.
  svg.addEventListener("touchstart", e => { if (e.target.matches(".grip")) e.preventDefault(); }, {passive: false});
  svg.addEventListener("pointermove", e => { if (dragging) move(e); });
  for (const end of ["pointerup", "pointercancel"]) svg.addEventListener(end, () => { dragging = false; });
  svg.addEventListener("click", move);
  controls.forEach(control => control.addEventListener("input", show));
  show();
}
"""
)


@dataclass(frozen=True)
class Slider:
    """A slider through `values`, increasing numbers, passed to ``draw`` under `name`.

    `label` is shown beside it; `default` is one of the values (the middle one if omitted);
    `format`, such as "{:.2f}" or "{:.0%}", writes each value so that no two look the same.
    Whole numbers stay whole. InputError if anything does not fit.
    """

    name: str
    label: str
    values: tuple[float, ...]
    default: float | None = None
    format: str = "{:g}"

    def __post_init__(self):
        _check_name_and_label(self)
        array = finite_array(self.values, "values", 1, "(values,)")
        if array.size < 2 or (np.diff(array) <= 0).any():
            raise InputError(f"values of slider {self.name!r} must be two or more increasing numbers.")
        whole = all(isinstance(v, (int, np.integer)) for v in self.values)
        values = tuple(int(v) if whole else float(np.round(v, 12)) for v in array)
        object.__setattr__(self, "values", values)
        try:
            texts = self.texts
        except (AttributeError, IndexError, KeyError, ValueError):
            raise InputError(
                f"format must be a format string such as '{{:.2f}}'; got {self.format!r}."
            ) from None
        if len(set(texts)) < len(texts):
            raise InputError(
                f"format {self.format!r} writes two values of slider {self.name!r} alike; show more digits."
            )
        object.__setattr__(self, "default", _default(self, values[len(values) // 2], np.isclose))

    @property
    def texts(self) -> tuple[str, ...]:
        """The values as they are shown."""
        return tuple(self.text(v) for v in self.values)

    def text(self, value) -> str:
        """A value as it is shown."""
        return self.format.format(value)

    def _html(self):
        i = self.values.index(self.default)
        return _range_input(self.label, self.texts, i)

    def _live(self, widgets):
        """The control for a live kernel, as (what to show, what to read)."""
        steps = np.diff(self.values)
        if not np.allclose(steps, steps[0], atol=0):  # for instance spaced by a constant factor
            options = list(zip(self.texts, self.values, strict=True))
            slider = widgets.SelectionSlider(options=options, value=self.default, description=self.label)
            slider.style.description_width = "initial"
            return slider, slider
        whole = isinstance(self.default, int)
        common = {"min": self.values[0], "max": self.values[-1], "value": self.default}
        common["step"] = int(steps[0]) if whole else float(np.round(steps[0] / 10, 12))
        # The slider of ipywidgets has no accessible name; the number box beside it has.
        slider = (widgets.IntSlider if whole else widgets.FloatSlider)(**common, readout=False)
        number = (widgets.BoundedIntText if whole else widgets.BoundedFloatText)(
            **common, description=self.label
        )
        number.style.description_width = "initial"
        widgets.link((slider, "value"), (number, "value"))
        return widgets.HBox([number, slider], layout={"flex_flow": "row wrap"}), slider


@dataclass(frozen=True)
class Choice:
    """A menu of `options`, strings, of which one is passed to ``draw`` under `name`.

    `default` is one of the options (the first if omitted). InputError if anything does not fit.
    """

    name: str
    label: str
    options: tuple[str, ...]
    default: str | None = None

    def __post_init__(self):
        _check_name_and_label(self)
        options = tuple(self.options) if not isinstance(self.options, str) else ()
        if (
            len(options) < 2
            or not all(isinstance(o, str) for o in options)
            or len(set(options)) < len(options)
        ):
            raise InputError(
                f"options of choice {self.name!r} must be two or more different strings; got {self.options!r}."
            )
        object.__setattr__(self, "options", options)
        object.__setattr__(self, "default", _default(self, options[0], lambda a, b: a == b))

    @property
    def values(self) -> tuple[str, ...]:
        """The options."""
        return self.options

    @property
    def texts(self) -> tuple[str, ...]:
        """The options as they are shown."""
        return self.options

    def text(self, value) -> str:
        """An option as it is shown."""
        return value

    def _html(self):
        options = "".join(
            f'<option value="{i}"{" selected" if o == self.default else ""}>{escape(o)}</option>'
            for i, o in enumerate(self.options)
        )
        return (
            f'<label><span>{escape(self.label)}</span> <select autocomplete="off">{options}</select></label>'
        )

    def _live(self, widgets):
        menu = widgets.Dropdown(options=self.options, value=self.default, description=self.label)
        menu.style.description_width = "initial"
        return menu, menu


@dataclass(frozen=True, eq=False)
class Frame:
    """What a `FrameExplorer` shows at one setting: the text beneath, the alt text, and the figure as an SVG."""

    settings: dict
    says: str
    alt: str
    inches: tuple[float, float]
    svg: str = field(repr=False)

    def _html(self):
        width, height = (round(110 * length) for length in self.inches)
        return (
            f'<img class="dark-light" alt="{escape(self.alt)}" width="{width}" height="{height}" src="{_data_uri(self.svg)}">\n'
            f'<p class="says" aria-live="polite">{escape(self.says)}</p>'
        )


@dataclass(frozen=True, eq=False, repr=False)
class FrameExplorer:
    """A figure with one or two controls.

    Parameters
    ----------
    draw : called as ``draw(name=value, ...)``, returns a matplotlib Figure. Give every frame the same
        size and axis limits. In a live kernel the values of an evenly spaced slider also lie
        between those of the frames. Avoid images such as ``imshow``: they make frames large.
    controls : one or two of `Slider` and `Choice`, or one alone. At most 150 frames in all.
    describe : called like ``draw``, returns a sentence or two, plain text: what this frame shows, with its numbers.
    title : the name of the explorer.

    Raises
    ------
    InputError if the arguments do not fit or a function returns something else than said above.
    """

    draw: Callable[..., Figure]
    controls: tuple[Slider | Choice, ...]
    describe: Callable[..., str]
    title: str

    def __post_init__(self):
        controls = (self.controls,) if isinstance(self.controls, (Slider, Choice)) else tuple(self.controls)
        if len(controls) not in (1, 2) or not all(isinstance(c, (Slider, Choice)) for c in controls):
            raise InputError(f"controls must be one or two of Slider and Choice; got {self.controls!r}.")
        if len({c.name for c in controls}) < len(controls):
            raise InputError(f"controls must have different names; both are called {controls[0].name!r}.")
        frames = prod(len(c.values) for c in controls)
        if frames > MAX_FRAMES:
            raise InputError(
                f"controls must ask for at most {MAX_FRAMES} frames; these make {frames}. Use fewer values."
            )
        for name in ("draw", "describe"):
            if not callable(getattr(self, name)):
                raise InputError(f"{name} must be a function of {', '.join(c.name for c in controls)}.")
        _check_text(self.title, "title")
        object.__setattr__(self, "controls", controls)

    def __repr__(self):
        return f"FrameExplorer({self.title!r}: {len(self.settings)} frames)"

    @property
    def settings(self) -> list[dict]:
        """The settings of every frame, the last control moving fastest."""
        names = [c.name for c in self.controls]
        return [
            dict(zip(names, values, strict=True)) for values in product(*(c.values for c in self.controls))
        ]

    def extremes(self) -> list[dict]:
        """Three settings worth testing: every control at its default, lowest (first) and highest (last) value."""
        return [
            {c.name: c.default for c in self.controls},
            {c.name: c.values[0] for c in self.controls},
            {c.name: c.values[-1] for c in self.controls},
        ]

    @cached_property
    def frames(self) -> tuple[Frame, ...]:
        """Every frame, in the order of `settings`, drawn once and kept."""
        return tuple(self._frame(settings) for settings in self.settings)

    @cached_property
    def html(self) -> str:
        """The face without a kernel."""
        # Frames have most of their elements in common: each element is stored once, a frame is a list of their numbers.
        parts: dict[str, int] = {}
        frames = [
            {
                "alt": f.alt,
                "says": f.says,
                "svg": [parts.setdefault(p, len(parts)) for p in f.svg.split("><")],
            }
            for f in self.frames
        ]
        data = {"texts": [c.texts for c in self.controls], "frames": frames, "parts": list(parts)}
        default = self.frames[self.settings.index(self.extremes()[0])]
        body = [*(c._html() for c in self.controls), default._html()]
        return _box("frames", self.title, "\n".join(body), data, _FRAMES_SCRIPT)

    def live(self):
        """The face with a kernel: an ipywidgets view that redraws at any setting."""
        import ipywidgets as widgets

        shown, read = zip(*(c._live(widgets) for c in self.controls), strict=True)
        picture = widgets.HTML()

        def update(_=None):
            settings = {c.name: widget.value for c, widget in zip(self.controls, read, strict=True)}
            picture.value = self._frame(settings)._html()

        for widget in read:
            widget.observe(update, "value")
        update()
        return widgets.VBox([widgets.HTML(f"<b>{escape(self.title)}</b>"), *shown, picture])

    def _frame(self, settings):
        says = self.describe(**settings)
        _check_text(says, f"the text that describe returns at {settings}")
        figure = self.draw(**settings)
        if not isinstance(figure, Figure):
            raise InputError(
                f"draw must return a matplotlib Figure; at {settings} it returned {type(figure).__name__}."
            )
        where = ", ".join(f"{c.label} {c.text(settings[c.name])}" for c in self.controls)
        return Frame(settings, says, f"{where}: {says}", figure.get_size_inches(), _svg(figure))

    def _repr_mimebundle_(self, include=None, exclude=None):
        bundle = {"text/plain": repr(self), "text/html": self.html}
        # Only a Jupyter server sets this name for its kernels. A book build or a test run has nobody to answer
        # the widgets, and their stored state would make the page fetch the widget manager from elsewhere.
        if os.environ.get("JPY_SESSION_NAME"):
            bundle = {**self.live()._repr_mimebundle_(), **bundle}
        return bundle


@dataclass(frozen=True, eq=False, repr=False)
class PointExplorer:
    """A point to drag in the plane of the providers' utilities, with what Python found there.

    Parameters
    ----------
    points : (providers, 2) where the providers are.
    evaluate : called as ``evaluate(x, y)`` at every point of a lattice; returns a mapping with
        ``error`` (a number, zero or more), ``weights`` (providers,) zero or more, and ``nearest`` (2,), the point that the
        weights reach. Only these rounded results (three decimals) go to the page; JavaScript looks them up.
    x_range, y_range : (low, high) of the plane; one unit is equally long both ways.
    title : the name of the explorer.
    names : of the providers; "Bob 1", "Bob 2", ... if omitted.
    labels : of the two axes.
    steps : lattice points along each axis, 2 to 61.
    default : (x, y) where the point starts, moved to the lattice; the middle if omitted.
    user, error_label, verdicts : words of the sentence "<user> at (x, y) is <verdict>: <error_label> 0.123.",
        with the first verdict where the error rounds to zero and the second elsewhere.
    bound_label : if given, ``evaluate`` also returns ``bound``, what follows from the error, zero or more, and the sentence
        ends in "; <bound_label> 0.246."

    Raises
    ------
    InputError if the arguments do not fit or ``evaluate`` returns something else.
    """

    points: np.ndarray
    evaluate: Callable[[float, float], Mapping]
    x_range: tuple[float, float]
    y_range: tuple[float, float]
    title: str
    names: tuple[str, ...] | None = None
    labels: tuple[str, str] = ("utility of action 1", "utility of action 2")
    steps: int = 41
    default: tuple[float, float] | None = None
    user: str = "Alice"
    error_label: str = "alignment error ε ="
    verdicts: tuple[str, str] = ("inside the hull", "outside the hull")
    bound_label: str | None = None
    lattice: tuple[np.ndarray, np.ndarray] = field(init=False)

    def __post_init__(self):
        points = finite_array(self.points, "points", 2, "(providers, coordinates)")
        if points.shape[1] != 2:
            raise InputError(f"points must have two columns, x and y; got shape {points.shape}.")
        if not callable(self.evaluate):
            raise InputError("evaluate must be a function of x and y.")
        steps = whole_number(self.steps, "steps", 2, MAX_STEPS)
        axes = []
        for name in ("x_range", "y_range"):
            low_high = finite_array(getattr(self, name), name, 1, "(low and high,)")
            if low_high.size != 2 or low_high[0] >= low_high[1]:
                raise InputError(f"{name} must be (low, high) with low < high; got {getattr(self, name)!r}.")
            axes.append(np.round(np.linspace(*low_high, steps), 12))
        default = self.default if self.default is not None else [axis[steps // 2] for axis in axes]
        default = finite_array(default, "default", 1, "(x and y,)")
        if default.size != 2:
            raise InputError(f"default must be a point (x, y); got {self.default!r}.")
        for name in (
            "title",
            "user",
            "error_label",
            *(["bound_label"] if self.bound_label is not None else []),
        ):
            _check_text(getattr(self, name), name)
        object.__setattr__(self, "points", points)
        object.__setattr__(self, "names", names_tuple(self.names, "names", len(points), "Bob "))
        for name in ("labels", "verdicts"):
            object.__setattr__(self, name, names_tuple(getattr(self, name), name, 2, ""))
        object.__setattr__(self, "lattice", tuple(axes))
        object.__setattr__(self, "default", tuple(float(default[i]) for i in range(2)))

    def __repr__(self):
        return f"PointExplorer({self.title!r}: {self.steps} x {self.steps} points)"

    def extremes(self) -> list[dict]:
        """Three places worth testing: the default, the lowest and the highest corner."""
        xs, ys = self.lattice
        places = [
            [int(np.abs(axis - v).argmin()) for axis, v in zip(self.lattice, self.default, strict=True)],
            [0, 0],
            [-1, -1],
        ]
        return [{"x": float(xs[i]), "y": float(ys[j])} for i, j in places]

    @cached_property
    def table(self) -> np.ndarray:
        """(rows, columns, 3 + providers): error, nearest x and y, and weights at every lattice point, rounded.

        Rows follow y and columns x; three decimals. With a `bound_label` there is one more column, the bound.
        """
        xs, ys = self.lattice
        k = len(self.points)
        wanted = {"error", "weights", "nearest"} | ({"bound"} if self.bound_label else set())
        table = np.empty((ys.size, xs.size, len(wanted) + k))
        for (j, y), (i, x) in product(enumerate(ys), enumerate(xs)):
            place = f"at ({x:g}, {y:g})"
            result = self.evaluate(float(x), float(y))
            if not isinstance(result, Mapping) or not wanted <= set(result):
                raise InputError(
                    f"evaluate must return a mapping with {', '.join(sorted(wanted))} {place}; got {result!r}."
                )
            bound = [real_number(float(result["bound"]), f"bound {place}")] if self.bound_label else []
            error = real_number(float(result["error"]), f"error {place}")
            weights = finite_array(result["weights"], f"weights {place}", 1, "(providers,)")
            nearest = finite_array(result["nearest"], f"nearest {place}", 1, "(coordinates,)")
            if weights.size != k or nearest.size != 2:
                raise InputError(f"evaluate must return {k} weights and a nearest point (x, y) {place}.")
            if min(error, weights.min(), *bound) < -1e-6:
                raise InputError(f"evaluate must return an error, bound and weights of zero or more {place}.")
            table[j, i] = [error, *nearest, *weights, *bound]
        return np.round(table, 3) + 0.0  # no -0.0

    @cached_property
    def html(self) -> str:
        """Self-contained HTML, the same with and without a kernel."""
        xs, ys = self.lattice
        k = len(self.points)
        start = self.extremes()[0]
        i, j = int(np.flatnonzero(xs == start["x"])[0]), int(np.flatnonzero(ys == start["y"])[0])
        place, size = _map_to_page(xs, ys)
        px, py = (np.round(v, 1) for v in place(xs, ys))
        rows = self.table.reshape(-1, self.table.shape[2])
        weights, bounds = rows[:, 3 : 3 + k], rows[:, 3 + k :]
        pixels = np.round(np.column_stack(place(rows[:, 1], rows[:, 2])), 1)
        texts = [_short(axis) for axis in (xs, ys)]
        largest = max(1.0, float(weights.max()))
        data = {
            "x": texts[0], "y": texts[1], "px": px.tolist(), "py": py.tolist(),
            "names": self.names, "user": self.user, "title": self.title, "error": self.error_label,
            "verdicts": self.verdicts, "largest": largest, "bound": self.bound_label,
            # thousandths: error, weights, where the nearest point is on the page, and the bound if there is one
            "rows": np.round(1000 * np.column_stack([rows[:, 0], weights, pixels, bounds])).astype(int).tolist(),
        }  # fmt: skip
        now = rows[j * xs.size + i]
        says = (
            f"{self.user} at ({texts[0][i]}, {texts[1][j]}) is {self.verdicts[int(now[0] > 0)]}: "
            f"{self.error_label} {now[0]:.3f}"
            + (f"; {self.bound_label} {now[-1]:.3f}." if self.bound_label else ".")
        )
        bars = "".join(
            f'<dt>{escape(name)}</dt><dd><span class="track"><span class="bar" style="width:{100 * w / largest:.3g}%"></span></span>'
            f'<span class="weight">{w:.2f}</span></dd>'
            for name, w in zip(self.names, now[3 : 3 + k], strict=True)
        )
        body = "\n".join(
            [
                _range_input(self.labels[0], texts[0], i),
                _range_input(self.labels[1], texts[1], j),
                self._picture(place, size, (px[i], py[j]), pixels[j * xs.size + i], f"{self.title}. {says}"),
                f'<p class="says" aria-live="polite">{escape(says)}</p>',
                f'<p>Weights of the nearest combination, the cross:</p><dl class="weights">{bars}</dl>',
            ]
        )
        return _box("point", self.title, body, data, _POINT_SCRIPT)

    def _picture(self, place, size, here, nearest, alt):
        ticks = [np.round(np.linspace(axis[0], axis[-1], 5), 12) for axis in self.lattice]
        left, bottom = place(self.lattice[0][0], self.lattice[1][0])
        right, top = place(self.lattice[0][-1], self.lattice[1][-1])
        lines, words = [], []
        for v in ticks[0]:
            x = place(v, 0)[0]
            lines.append(f"M{x:.1f} {bottom:.1f}V{top:.1f}")
            words.append(f'<text x="{x:.1f}" y="{bottom + 20:.1f}" text-anchor="middle">{v:g}</text>')
        for v in ticks[1]:
            y = place(0, v)[1]
            lines.append(f"M{left:.1f} {y:.1f}H{right:.1f}")
            words.append(f'<text x="{left - 8:.1f}" y="{y + 5:.1f}" text-anchor="end">{v:g}</text>')
        words.append(
            f'<text x="{(left + right) / 2:.1f}" y="{bottom + 42:.1f}" text-anchor="middle">{escape(self.labels[0])}</text>'
        )
        words.append(
            f'<text transform="translate(16 {(top + bottom) / 2:.1f}) rotate(-90)" text-anchor="middle">{escape(self.labels[1])}</text>'
        )
        hull = " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(*place(*_hull(self.points).T), strict=True))
        for name, x, y in zip(self.names, *place(*self.points.T), strict=True):
            lines_up = 22 if y < (top + bottom) / 2 and y - 12 < top + 12 else -12
            words.append(f'<path d="M{x - 6:.1f} {y - 6:.1f}h12v12h-12z" fill="{COLOURS["provider"][0]}"/>')
            anchor = "end" if x > right - 30 else "start" if x < left + 30 else "middle"
            words.append(
                f'<text x="{x:.1f}" y="{y + lines_up:.1f}" text-anchor="{anchor}">{escape(name)}</text>'
            )
        (px, py), (qx, qy) = here, nearest
        return (
            f'<svg viewBox="0 0 {size[0]:.0f} {size[1]:.0f}" role="img" aria-label="{escape(alt)}" font-size="15" fill="#1a1a1a">'
            f'<path d="{"".join(lines)}" stroke="#e4e4e4" fill="none"/>'
            f'<polygon points="{hull}" fill="{COLOURS["provider"][0]}" fill-opacity=".15" stroke="{COLOURS["provider"][0]}" stroke-width="1.5"/>'
            f"{''.join(words)}"
            f'<line class="gap" x1="{px}" y1="{py}" x2="{qx}" y2="{qy}" stroke="{COLOURS["bound"]}" stroke-width="2.5" stroke-dasharray="6 4"/>'
            f'<path class="nearest" transform="translate({qx} {qy})" d="M-6-6L6 6M-6 6L6-6" stroke="{COLOURS["bound"]}" stroke-width="2.5"/>'
            f'<circle class="alice" cx="{px}" cy="{py}" r="9" fill="{COLOURS["alice"]}" stroke="#fff" stroke-width="2"/>'
            f'<circle class="grip" cx="{px}" cy="{py}" r="37" fill-opacity="0"/></svg>'
        )

    def _repr_mimebundle_(self, include=None, exclude=None):
        return {"text/plain": repr(self), "text/html": self.html}


def _check_text(value, name):
    if not isinstance(value, str) or not value.strip():
        raise InputError(f"{name} must be a non-empty string; got {value!r}.")


def _check_name_and_label(control):
    _check_text(control.label, "label")
    if not isinstance(control.name, str) or not control.name.isidentifier():
        raise InputError(f"name must be the name of an argument of draw; got {control.name!r}.")


def _default(control, fallback, same):
    """The value of the control that is its default, or InputError."""
    if control.default is None:
        return fallback
    for value in control.values:
        if isinstance(control.default, str) == isinstance(value, str) and same(value, control.default):
            return value
    raise InputError(
        f"default of {control.name!r} must be one of its values, {', '.join(control.texts)}; got {control.default!r}."
    )


def _range_input(label, texts, i):
    # The value beside the slider is for the eye; aria-valuetext says it to a screen reader.
    return (
        f'<label><span>{escape(label)}</span> <input type="range" min="0" max="{len(texts) - 1}" step="1" value="{i}" '
        f'aria-valuetext="{escape(texts[i])}" autocomplete="off"> <output aria-hidden="true">{escape(texts[i])}</output></label>'
    )


def _box(kind, title, body, data, script):
    """An explorer without any id, so that two of them, even two copies of one, never collide on a page."""
    data = json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    return (
        f'<div class="explorer" data-kind="{kind}" role="group" aria-label="{escape(title)}">\n<style>{_STYLE}</style>\n'
        f'<p class="title">{escape(title)}</p>\n{body}\n'
        f"<noscript><p>Shown at its default setting; the controls need JavaScript.</p></noscript>\n"
        f'<script type="application/json">{data}</script>\n<script>{script}</script>\n</div>'
    )


def _svg(figure):
    """The figure as a compact, deterministic SVG; the figure is closed."""
    file = io.StringIO()
    # Text as outlines: an <img> cannot use the fonts of the page, and outlines look the same everywhere.
    with plt.rc_context({"svg.fonttype": "path", "svg.hashsalt": "emergent-alignment", "savefig.bbox": None}):
        try:
            figure.savefig(file, format="svg", metadata={"Date": None})
        finally:
            plt.close(figure)
    svg = file.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", svg, flags=re.DOTALL)
    svg = re.sub(r' (?:d|x|y)="[^"]*"|translate\([^)]*\)', _one_decimal, svg)
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)
    svg = re.sub(r"\s+", " ", svg).replace("> <", "><").strip()
    return svg.replace('"', "'")


def _data_uri(svg):
    for character in "%#<>&{}":  # % comes first
        svg = svg.replace(character, f"%{ord(character):02X}")
    return "data:image/svg+xml," + svg


def _one_decimal(match):
    # A tenth of a point is 0.15 pixels.
    return re.sub(
        r"-?\d+\.\d{2,}",
        lambda number: f"{float(number[0]) + 0.0:.1f}".replace("-0.0", "0").removesuffix(".0"),
        match[0],
    )


def _hull(points):
    """Corners (corners, 2) of the convex hull in order; the two ends if the points lie on a line."""
    try:
        return points[ConvexHull(points).vertices]
    except QhullError:
        order = np.lexsort(points.T)
        return points[order[[0, -1]]]


def _short(numbers):
    """The numbers as text, with as many decimals as they need, three at most."""
    decimals = next((d for d in (1, 2) if np.allclose(numbers, np.round(numbers, d))), 3)
    return [f"{np.round(v, decimals) + 0.0:.{decimals}f}" for v in numbers]


def _map_to_page(xs, ys):
    """A function from the plane to the page, and the page's size: one unit is equally long both ways."""
    left, right, above, below = 76, 20, 20, 56
    scale = min(400 / (xs[-1] - xs[0]), 400 / (ys[-1] - ys[0]))
    width, height = scale * (xs[-1] - xs[0]), scale * (ys[-1] - ys[0])

    def place(x, y):
        return left + scale * (np.asarray(x) - xs[0]), above + height - scale * (np.asarray(y) - ys[0])

    return place, (left + width + right, above + height + below)
