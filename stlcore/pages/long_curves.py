"""What is drawn of a curve of many rounds, on an axis that is logarithmic in the round."""

from __future__ import annotations

import numpy as np

__all__ = ["rounds_to_draw"]


def rounds_to_draw(last: int, per_decade: int = 60) -> np.ndarray:
    """Rounds that are evenly spaced to the eye: every one at first, then a few in each decade.

    A smooth curve through them looks like the curve through all rounds, and the numbers behind
    the figure stay small enough to be read.

    Parameters
    ----------
    last : int
        The last round, which is always among them.
    per_decade : int
        How many rounds from one power of ten to the next.

    Returns
    -------
    numpy.ndarray
        Rounds in increasing order, from 1; ``curve[rounds - 1]`` are their values.

    Raises
    ------
    ValueError
        If there is no round.
    """
    if last < 1:
        raise ValueError(f"the last round must be at least 1, not {last}")
    count = int(np.ceil(per_decade * np.log10(last))) + 1
    return np.unique(np.round(np.geomspace(1, last, count)).astype(int))
