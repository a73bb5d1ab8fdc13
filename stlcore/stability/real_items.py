"""Where the real items of a planned round come from: the data or the user, not the sampler."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np

from stlcore.learners.base import CountsItems, Couples, LosesRepetitions, Selects, arrays_in, wants
from stlcore.stability.response import stacked

__all__ = ["Planned", "check_methods", "check_sample", "fresh_source", "name_of", "resampled"]

COPIES = 16  # of the data, out of which a bootstrap sample is taken: as with replacement
FEWER = 8  # of a world, out of which a round's fresh items are taken, a part of as many

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
        self.fit, self.pool, self.subset = learner.fit, learner.pool, learner.subset
        # Common uniforms where there are some: less noise in every difference.
        self._draw = learner.coupled if isinstance(learner, Couples) else learner.sample
        optional = {CountsItems: "count", LosesRepetitions: "lost", Selects: "best"}
        for protocol, method in optional.items():
            if isinstance(learner, protocol):
                setattr(self, method, getattr(learner, method))

    def sample(self, models, weights, size, rng, origins=None):
        (law,) = models  # one at a time, because the counts are exact
        if law is self.truth:
            return self._real(size, rng)
        extra = {"origins": origins} if origins and wants(self._draw, "origins") else {}
        return self._draw(models, weights, size, rng, **extra)

    def track(self, model):
        return {}


def fresh_source(learner: Any, worlds: Any, real: Any, repetitions: int, rng) -> Callable:
    """What draws fresh real items, called as ``real(size, rng)``."""
    if callable(real):
        return real
    if real is not None:
        if not isinstance(learner, CountsItems):
            raise TypeError(f"{name_of(learner)} lacks count, so the hold-out has no known size")
        check_sample(learner, real, "the hold-out")
        worlds = resampled(learner, real, int(learner.count(real)[0]), repetitions, rng)
    many = _copies(learner, worlds, FEWER)
    return lambda size, rng: learner.subset(many, int(size[0]), rng)


def resampled(learner: Any, sample: Any, count: int, repetitions: int, rng) -> Any:
    """A bootstrap sample for every repetition, each by a call of its own.

    Some learners take the same places in every repetition of one call.
    """
    many = _copies(learner, sample, COPIES)
    return stacked([learner.subset(many, count, rng) for _ in range(repetitions)])


def _copies(learner: Any, sample: Any, times: int) -> Any:
    """Each item so many times, a power of 2, that a part is as good as drawn with replacement."""
    doublings = range(times.bit_length() - 1)
    return reduce(lambda whole, _: learner.pool(whole, whole), doublings, sample)


# --- Mistakes --------------------------------------------------------------------------------


def name_of(learner: Any) -> str:
    """The name of a learner's class."""
    return type(learner).__name__


def check_methods(learner: Any) -> None:
    """Refuse a learner that lacks what a round needs."""
    if isinstance(learner, type):
        raise TypeError(f"{learner.__name__} is a class: give a learner, {learner.__name__}(...)")
    missing = [name for name in METHODS if not callable(getattr(learner, name, None))]
    if missing:
        raise TypeError(
            f"{name_of(learner)} lacks {' and '.join(missing)}, which the criterion needs: "
            + "; ".join(METHODS[name] for name in missing)
        )


def check_sample(learner: Any, data: Any, what: str, size: int | None = None) -> None:
    """Refuse what is no sample, one of several repetitions, or one of another size."""
    if isinstance(learner, CountsItems):
        try:
            counts = np.asarray(learner.count(data))
        except (AttributeError, IndexError, TypeError, ValueError):
            counts = np.zeros(())
        shapes = [(len(counts), int(counts[0]))] if counts.ndim == 1 else []
    else:
        shapes = [array.shape for _, array in arrays_in(data) if array.ndim]
    if not shapes:
        hint = "; given(items) makes one of items" if hasattr(learner, "given") else ""
        raise TypeError(
            f"{what} must be a sample as {name_of(learner)}.sample gives it, "
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
