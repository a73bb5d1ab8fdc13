"""Exercises that check themselves: numbers of one's own, and answers held against the exact ones.

An exercise on code has, in this order, a cell tagged ``numbers``, a stub tagged ``stub``, a
folded solution tagged ``solution``, a check tagged ``check`` and one tagged
``hidden-check``. The book runs them all; a student gets the numbers, the stub and the first
check (:mod:`stlcore.pages.versions`) ::

    student = "Ada Lovelace"
    mine = numbers(student, "ex-c02-code", shares=(0.0, 1.0, 5), V=(0.5, 1.0))

    agrees(my_risks([1, *mine.shares], sizes, mine.V), risk([1, *mine.shares], sizes, mine.V))

The exact answer is computed by :mod:`stlcore.theory` when the check runs: it stands in no file
of the student, and it differs from one student to the next.
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from stlcore.streams import stream

__all__ = ["agrees", "numbers"]


def numbers(student: str, exercise: str, **ranges: tuple) -> SimpleNamespace:
    """The numbers of an exercise that belong to one student.

    Parameters
    ----------
    student : str
        Any name; capitals and blanks do not matter.
    exercise : str
        The label of the exercise: another exercise has other numbers.
    **ranges : (low, high) or (low, high, count)
        Whole numbers from ``low`` to ``high``, both included, if both are whole (``int``), and
        numbers between them, with two decimals, if not; with ``count`` an array of them.

    Returns
    -------
    types.SimpleNamespace
        One attribute for every range.

    Raises
    ------
    ValueError
        If the name is empty, or a range is none.

    Examples
    --------
    >>> mine = numbers("Ada", "ex-c02-code", share=(0.1, 0.9), sizes=(10, 20, 3))
    >>> bool(0.1 <= mine.share <= 0.9), mine.sizes.shape
    (True, (3,))
    """
    name = " ".join(student.split()).casefold()
    if not name:
        raise ValueError("write your name, or any other, between the quotes of `student`")
    found = {}
    for key, (low, high, *count) in ranges.items():
        if not low < high:
            raise ValueError(f"the range of {key} must have two ends, the lower one first")
        rng = stream(0, exercise, name, key)
        if isinstance(low, int) and isinstance(high, int):
            drawn = rng.integers(low, high, *count, endpoint=True)
        else:
            drawn = np.round(rng.uniform(low, high, *count), 2)
        found[key] = drawn if count else np.asarray(drawn).item()
    return SimpleNamespace(**found)


def agrees(answer, exact, tolerance: float = 1e-9) -> None:
    """Say that an answer is right, or fail without giving the right one away.

    Parameters
    ----------
    answer, exact : array_like
        What a student's function returned, and what the theory says.
    tolerance : float
        Largest error allowed, as a part of the largest exact value.

    Raises
    ------
    AssertionError
        If the shapes differ, a value is no number, or an error is too large; the message names
        the first place that is off.
    """
    exact = np.asarray(exact, dtype=float)
    try:
        answer = np.asarray(answer, dtype=float)
    except (TypeError, ValueError):
        raise AssertionError("the answer is not made of numbers") from None
    if answer.shape != exact.shape:
        raise AssertionError(f"the answer has the shape {answer.shape}, not {exact.shape}")
    size = np.abs(exact).max(initial=0.0)
    off = ~(np.abs(answer - exact) <= tolerance * size)
    if off.any():
        first = f", the first at place {int(np.argmax(off.ravel()))}" if off.ndim else ""
        raise AssertionError(f"{int(off.sum())} of {off.size} values are off{first}")
    print(f"{off.size} value{'s agree' if off.size > 1 else ' agrees'}")
