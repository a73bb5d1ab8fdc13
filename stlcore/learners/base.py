"""The protocol between the loop and a learner.

A *model* is whatever a learner fits: an array, a tuple of arrays, a network.
A *sample* is whatever it trains on, as small as the learner allows (counts
instead of tokens, say). Both carry all repetitions at once; the loop never
looks inside.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

__all__ = ["Learner", "PoolsSamples", "ReusesSamples"]


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
