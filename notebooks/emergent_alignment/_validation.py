"""Checks at the public boundary: every error names the argument, what it got and the fix."""

from __future__ import annotations

from math import isfinite
from numbers import Integral, Real

import numpy as np


class InputError(ValueError):
    """An argument cannot be used; the message names it, what it got and how to mend it."""


class InfeasibleError(ValueError):
    """The problem as posed has no solution, for instance a floor above the full-information value."""


def finite_array(value, name, ndim, axes, copy=True):
    """Return `value` as a float array (a new one if `copy`) with `ndim` axes and only finite, real entries."""
    try:
        # Text and complex numbers would be converted without a word.
        given = np.asarray(value)
        if (
            given.dtype.kind not in "biufO"
            or given.dtype == object
            and any(isinstance(x, str | bytes) for x in given.flat)
        ):
            raise TypeError
        array = np.array(value, dtype=float) if copy else np.asarray(value, dtype=float)
    except (TypeError, ValueError):
        raise InputError(
            f"{name} must be a rectangular array of real numbers with axes {axes}; got {_describe(value)}."
        ) from None
    if array.ndim != ndim:
        raise InputError(f"{name} must have axes {axes}, that is {ndim} of them; got shape {array.shape}.")
    if 0 in array.shape:
        names = axes.strip("()").replace(" ", "").split(",")
        empty = names[min(array.shape.index(0), len(names) - 1)]
        raise InputError(
            f"{name} must have at least one entry along each axis; it has no {empty} (shape {array.shape})."
        )
    # A finite sum of squares rules out NaN and infinity in one fast pass; only else look entry by entry.
    flat = array.reshape(-1)
    if not np.isfinite(np.vdot(flat, flat)) and not np.isfinite(array).all():
        place = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise InputError(f"{name} must be finite; entry {place} is {array[place]}. Replace or drop it.")
    return array


def probability_vector(value, name):
    """Return `value` as a probability vector, exactly normalised."""
    array = finite_array(value, name, 1, "(states,)")
    if (array < 0).any():
        place = int(np.argmin(array))
        raise InputError(f"{name} must not be negative; entry {place} is {array[place]:g}.")
    total = array.sum()
    if abs(total - 1) > 1e-8:
        raise InputError(f"{name} must sum to 1; it sums to {total:.6g}. Divide it by its sum.")
    return array / total


def names_tuple(value, name, length, prefix):
    """Return `length` names: `value` as given, or prefix1, prefix2, ..."""
    if value is None:
        return tuple(f"{prefix}{i + 1}" for i in range(length))
    try:
        names = tuple(str(v) for v in value) if not isinstance(value, str) else (value,)
    except TypeError:
        raise InputError(f"{name} must hold {length} names, one for each; got {_describe(value)}.") from None
    if len(names) != length:
        raise InputError(f"{name} must hold {length} names, one for each; got {len(names)}: {names}.")
    return names


def one_of(value, name, options):
    """Return `value` if it is one of `options`."""
    if not isinstance(value, str) or value not in options:
        raise InputError(f"{name} must be one of {', '.join(map(repr, options))}; got {value!r}.")
    return value


def whole_number(value, name, low, high=None):
    """Return `value` as an int between `low` and `high` (inclusive)."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise InputError(f"{name} must be a whole number; got {value!r}.")
    if value < low or (high is not None and value > high):
        bound = f"at least {low}" if high is None else f"between {low} and {high}"
        raise InputError(f"{name} must be {bound}; got {value}.")
    return int(value)


def real_number(value, name, low=None, high=None):
    """Return `value` as a finite float between `low` and `high` (inclusive)."""
    try:
        if isinstance(value, bool) or not isinstance(value, Real) or not isfinite(number := float(value)):
            raise ValueError
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"{name} must be a finite number; got {_describe(value)}.") from None
    if (low is not None and number < low) or (high is not None and number > high):
        bound = f"lie between {low} and {high}"
        bound = f"be at least {low}" if high is None else f"be at most {high}" if low is None else bound
        raise InputError(f"{name} must {bound}; got {value}.")
    return number


def generator(value, name):
    """Return `value` if it is a numpy Generator."""
    if not isinstance(value, np.random.Generator):
        raise InputError(
            f"{name} must be a numpy Generator; got {_describe(value)}. Use numpy.random.default_rng(seed)."
        )
    return value


def _describe(value):
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) <= 60 else text[:57] + '...'}"
