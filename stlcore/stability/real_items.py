"""Where the real items of a planned round come from: the data or the user, not the sampler."""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np

from stlcore.learners.base import CountsItems, Couples, arrays_in, hand_on, wants
from stlcore.stability.response import stacked

__all__ = ["Planned", "check_methods", "check_sample", "fresh_source", "resampled"]

METHODS = {
    "sample": "sample(models, weights, size, rng) draws items",
    "fit": "fit(sample, previous) fits a model",
    "pool": "pool(first, second) joins two samples",
    "subset": "subset(sample, size, rng) takes some items at random",
}


class Planned:
    """The user's learner, with real items for its truth that it has not drawn itself."""

    def __init__(self, learner: Any, real: Callable) -> None:
        self.truth, self._real = object(), real
        hand_on(self, learner, ["fit", "pool", "subset", "count", "lost", "best"])
        # Common uniforms where there are some: less noise in every difference.
        self._draw = learner.coupled if isinstance(learner, Couples) else learner.sample

    def sample(self, models, weights, size, rng, origins=None):
        (law,) = models  # one at a time, because the counts are exact
        if law is self.truth:
            return self._real(size, rng)
        extra = {"origins": origins} if origins and wants(self._draw, "origins") else {}
        return self._draw(models, weights, size, rng, **extra)

    def track(self, model):
        return {}


def fresh_source(
    learner: Any, worlds: Any, real: Any, size: int, repetitions: int, rng
) -> Callable:
    """What draws fresh real items, called as ``real(size, rng)``."""
    if callable(real):
        found = real(np.array([size]), copy.deepcopy(rng))
        check_sample(learner, found, "what real(size, rng) returns", size)
        return real
    if real is not None:
        if not isinstance(learner, CountsItems):
            name = type(learner).__name__
            raise TypeError(f"{name} lacks count, so the hold-out has no known size")
        check_sample(learner, real, "the hold-out")
        worlds = resampled(learner, real, int(learner.count(real)[0]), repetitions, rng)
    many = _doubled(learner, worlds, 3)
    return lambda size, rng: learner.subset(many, int(size[0]), rng)


def resampled(learner: Any, sample: Any, count: int, repetitions: int, rng) -> Any:
    """A bootstrap sample for every repetition, each by a call of its own.

    Some learners take the same places in every repetition of one call.
    """
    many = _doubled(learner, sample, 4)
    return stacked([learner.subset(many, count, rng) for _ in range(repetitions)])


def _doubled(learner: Any, sample: Any, times: int) -> Any:
    """Each item so often that a part is as good as drawn with replacement."""
    for _ in range(times):
        sample = learner.pool(sample, sample)
    return sample


# --- Mistakes --------------------------------------------------------------------------------


def check_methods(learner: Any) -> None:
    """Refuse a learner that lacks what a round needs."""
    if isinstance(learner, type):
        raise TypeError(f"{learner.__name__} is a class: give a learner, {learner.__name__}(...)")
    missing = [name for name in METHODS if not callable(getattr(learner, name, None))]
    if missing:
        raise TypeError(
            f"{type(learner).__name__} lacks {' and '.join(missing)}, which the criterion needs: "
            + "; ".join(METHODS[name] for name in missing)
        )


def check_sample(learner: Any, data: Any, what: str, size: int | None = None) -> None:
    """Refuse what is no sample, one of several repetitions, or one of another size."""
    shapes: list[tuple[int, ...]] = []
    with suppress(AttributeError, IndexError, TypeError, ValueError):  # of a count of anything else
        if isinstance(learner, CountsItems):
            counts = np.asarray(learner.count(data))
            shapes = [(len(counts), int(counts[0]))]
        else:
            shapes = [array.shape for _, array in arrays_in(data) if array.ndim]
    if not shapes:
        hint = "; given(items) makes one of items" if hasattr(learner, "given") else ""
        raise TypeError(
            f"{what} must be a sample as {type(learner).__name__}.sample gives it, "
            f"not {type(data).__name__}{hint}"
        )
    found, *items = shapes[0]
    if found != 1:
        raise ValueError(
            f"{what} must hold one repetition, not {found}: an array of items needs an axis of "
            "length 1 in front, array[None]"
        )
    if size is not None and not any(size in shape[1:] for shape in shapes):
        raise ValueError(
            f"{what} must hold {size} items, the size of a round, but the axes behind that of "
            f"the repetitions have the lengths {items}"
        )
