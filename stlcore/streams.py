"""Random streams: one root seed, any number of independent generators.

A stream is named by labels instead of by a position, so adding an experiment
to a page leaves the numbers of all others as they were.
"""

from __future__ import annotations

import hashlib

import numpy as np

__all__ = ["stream"]


def stream(seed: int, *labels: str | int) -> np.random.Generator:
    """Return the generator that belongs to ``labels`` under the root ``seed``.

    Parameters
    ----------
    seed : int
        Root seed, non-negative.
    *labels : str or int
        The name of the stream, for example ``"figure", 3``.

    Returns
    -------
    numpy.random.Generator
        Equal seed and labels give the same stream; any difference gives an
        independent one (the labels are the spawn key of a ``SeedSequence``).

    Raises
    ------
    ValueError
        If the seed is negative or not a whole number.
    """
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise ValueError(f"the seed must be a whole number from 0 up, not {seed!r}")
    key = tuple(_number(label) for label in labels)
    return np.random.default_rng(np.random.SeedSequence(int(seed), spawn_key=key))


def _number(label: str | int) -> int:
    if isinstance(label, np.generic):
        label = label.item()  # numpy's 3 names the same stream as Python's
    # The type is part of what is hashed: stream(0, 1) and stream(0, "1") differ.
    digest = hashlib.sha256(f"{type(label).__name__}:{label}".encode()).digest()
    return int.from_bytes(digest[:16], "little")
