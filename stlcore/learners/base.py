"""The protocol between the loop and a learner.

A *model* is whatever a learner fits: an array, a tuple of arrays, a network.
A *sample* is whatever it trains on, as small as the learner allows (counts
instead of tokens, say). Both carry all repetitions at once; the loop never
looks inside.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "Diverged",
    "FiniteTruth",
    "Learner",
    "PoolsSamples",
    "Resumes",
    "ReusesSamples",
    "split",
]


class Diverged(RuntimeError):
    """Raised by a learner whose fit is no longer finite.

    The loop names the round and adds ``frame``, the rounds finished before.
    """

    frame: pd.DataFrame | None = None


def split(weights: np.ndarray, size: int) -> np.ndarray:
    """``size`` items shared out by ``weights`` (sum 1) as exactly as whole numbers allow.

    Examples
    --------
    >>> split(np.array([0.25, 0.75]), 8)
    array([2, 6])
    """
    ends = np.rint(np.cumsum(weights) * size).astype(np.int64)
    ends[-1] = size
    return np.diff(ends, prepend=0)


@runtime_checkable
class Learner(Protocol):
    """What every learner offers."""

    truth: Any
    """The model of the true law; broadcasts over the repetitions."""

    def sample(
        self,
        models: Sequence[Any],
        weights: np.ndarray,
        size: np.ndarray,
        rng: np.random.Generator,
    ) -> Any:
        """Draw ``size[r]`` items for repetition r, i.i.d. from the mixture of ``models``.

        ``weights`` has one entry per model and sums to 1; ``size`` has shape
        ``(repetitions,)``.
        """

    def fit(self, sample: Any, previous: Any | None) -> Any:
        """Fit a model; ``previous`` is the last round's model, None in round 1."""

    def track(self, model: Any) -> Mapping[str, np.ndarray]:
        """Numbers to record, each of shape ``(repetitions,)``."""


@runtime_checkable
class PoolsSamples(Protocol):
    """A learner that can train on accumulated data."""

    def pool(self, first: Any, second: Any) -> Any:
        """The sample that holds both."""


@runtime_checkable
class ReusesSamples(Protocol):
    """A learner that can train on a part of an earlier sample again."""

    def subset(self, sample: Any, size: int, rng: np.random.Generator) -> Any:
        """``size`` items of ``sample`` chosen at random without replacement."""

    def pool(self, first: Any, second: Any) -> Any:
        """The sample that holds both."""


@runtime_checkable
class FiniteTruth(Protocol):
    """A learner whose truth is a pool of real items, each used at most once in a run.

    Such a learner shares out a round by :func:`split` instead of at random, so
    that the number of real items is known before the first round.
    """

    def open_truth(self, items: int, repetitions: int, rng: np.random.Generator) -> Any:
        """The truth of one run, in place of ``truth``: ``items`` fresh ones a repetition.

        Raises ValueError, with the number needed, if the pool has fewer.
        """


@runtime_checkable
class Resumes(Protocol):
    """A learner whose run can be taken up again from a checkpoint.

    All that it remembers from round to round must be in models, samples and
    the opened truth.
    """

    def identity(self) -> Mapping[str, Any]:
        """Settings and checksums, as JSON: equal for learners that do the same."""

    def pack(self, value: Any) -> Mapping[str, np.ndarray]:
        """A model, a sample or an opened truth as named arrays."""

    def unpack(self, arrays: Mapping[str, np.ndarray]) -> Any:
        """The same value back, bit for bit."""
