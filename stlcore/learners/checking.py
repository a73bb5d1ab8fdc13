"""Does a learner keep to the protocol? The checks that take seconds, in words."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np

from stlcore.checks import check_count
from stlcore.learners.base import (
    CountsItems,
    FiniteTruth,
    Learner,
    Origin,
    PoolsSamples,
    Resumes,
    ReusesSamples,
    Round,
    Selects,
    array_copies,
    gives_back,
    same_arrays,
    wants,
)
from stlcore.streams import stream

__all__ = ["check_learner"]


def check_learner(learner: Learner, size: int = 20, repetitions: int = 2) -> list[str]:
    """What is wrong with a learner, one sentence each; an empty list if nothing was found.

    Draws a small sample from the truth, fits a model, draws from that and fits another, and
    looks at shapes and counts, at whether equal generators give equal results, at whether
    ``fit`` leaves the last model and its data as they were, at ``pool``, ``subset`` and
    ``best``, and at whether ``unpack`` gives back what ``pack`` took (a pack that refuses by
    a TypeError is no fault; a run that asks for a checkpoint shows its sentence).

    Parameters
    ----------
    learner : Learner
        An instance.
    size : int
        Items in a sample, at least 2.
    repetitions : int
        Repetitions; a learner with a fixed number of them needs that one.

    Raises
    ------
    TypeError
        If it is no learner at all.
    Exception
        Whatever the learner raises when it is used as it should be.
    """
    if isinstance(learner, type):
        raise TypeError(f"{learner.__name__} is a class; check an instance, {learner.__name__}()")
    if not isinstance(learner, Learner):
        raise TypeError(
            f"{type(learner).__name__} is no learner: it needs truth, sample, fit and track"
        )
    if check_count("the sample size", size) < 2:
        raise ValueError("a check needs samples of at least 2 items")
    return list(_faults(learner, size, check_count("repetitions", repetitions)))


def _faults(learner: Any, size: int, repetitions: int) -> Iterator[str]:
    sizes = np.full(repetitions, size)

    def rng(name: str) -> np.random.Generator:
        return stream(0, "check_learner", name)

    def call(method: Callable, *arguments, t: int, numbers: np.random.Generator) -> Any:
        extra = {"round": Round(t, numbers)} if wants(method, "round") else {}
        return method(*arguments, **extra)

    def draw(model: Any, generation: int, numbers: np.random.Generator, count=sizes) -> Any:
        extra = {}
        if wants(learner.sample, "origins"):
            extra = {"origins": [Origin(generation, generation + 1)]}
        return learner.sample([model], np.ones(1), count, numbers, **extra)

    def truth() -> Any:
        if isinstance(learner, FiniteTruth):
            return learner.open_truth(2 * size, repetitions, rng("truth"))
        return learner.truth

    if truth() is None:
        yield "the truth is None, so there is nothing to draw real items from"
        return

    # Drawing.
    twice = [draw(truth(), 0, rng("sample")) for _ in range(2)]
    yield from _unequal("sample", *twice)
    sample = twice[0]
    yield from _wrong_count(learner, "sample", sample, size)

    # Fitting.
    before = array_copies(sample)
    model, again = (
        call(learner.fit, part, None, t=1, numbers=rng("fit")) for part in map(copy.deepcopy, twice)
    )
    yield from _unequal("fit", model, again)
    call(learner.fit, sample, None, t=1, numbers=rng("fit"))
    if not same_arrays(before, array_copies(sample)):
        yield "fit changes its sample, which an accumulating cycle uses again"
        sample = draw(truth(), 0, rng("sample"))
    twice = [draw(model, 1, rng("made")) for _ in range(2)]
    yield from _unequal("sample from a model", *twice)
    made = twice[0]
    yield from _wrong_count(learner, "sample from a model", made, size)
    before = array_copies(model)
    second = call(learner.fit, made, model, t=2, numbers=rng("second"))
    if second is model or not same_arrays(before, array_copies(model)):
        yield (
            "fit changes `previous` or returns it; later rounds may draw from it, so train a copy "
            "(copy.deepcopy)"
        )
    else:
        draw(model, 1, rng("again"))
        if not same_arrays(before, array_copies(model)):
            yield "sample changes the model that it draws from"

    yield from _tracked(
        partial(call, learner.track, t=2, numbers=rng("track")), second, repetitions
    )
    yield from _samples(learner, sample, made, size, repetitions, rng)
    if isinstance(learner, Resumes):
        yield from _packing(learner, {"model": second, "sample": made})


def _tracked(track: Callable, model: Any, repetitions: int) -> Iterator[str]:
    numbers = track(model)
    if not isinstance(numbers, Mapping):
        yield f"track must return a mapping of names to arrays, not {type(numbers).__name__}"
        return
    for name, values in numbers.items():
        shape = np.shape(values)
        if np.asarray(values).dtype.kind not in "biuf":
            yield f"track gives {name!r}, which is no number"
        if name in ("round", "repetition", "drawn", "trained"):
            yield f"track gives {name!r}, which is a column of the loop's own"
        if len(shape) not in (1, 2) or shape[0] != repetitions:
            yield (
                f"track gives {name!r} of shape {shape}, but it must be ({repetitions},) or "
                f"({repetitions}, m): one row a repetition"
            )


def _samples(
    learner: Any, sample: Any, made: Any, size: int, repetitions: int, rng: Callable
) -> Iterator[str]:
    """Pooling, parts and selections."""
    if isinstance(learner, PoolsSamples):
        before = array_copies(sample), array_copies(made)
        yield from _wrong_count(learner, "pool", learner.pool(sample, made), 2 * size)
        if not (
            same_arrays(before[0], array_copies(sample))
            and same_arrays(before[1], array_copies(made))
        ):
            yield "pool changes one of the samples that it is given"
    if isinstance(learner, ReusesSamples):
        half = size // 2
        twice = [learner.subset(sample, half, rng("subset")) for _ in range(2)]
        yield from _unequal("subset", *twice)
        yield from _wrong_count(learner, "subset", twice[0], half)
        if same_arrays(
            array_copies(twice[0]), array_copies(learner.subset(sample, half, rng("other")))
        ):
            yield "subset takes the same items whatever the generator, so they are not random"
    if isinstance(learner, Selects):
        best = learner.best(made, np.full(repetitions, size // 2))
        yield from _wrong_count(learner, "best", best, size // 2)


def _packing(learner: Any, values: Mapping[str, Any]) -> Iterator[str]:
    for name, value in values.items():
        try:
            packed = dict(learner.pack(value))
        except TypeError:  # it says that it cannot, as it would when a checkpoint is asked for
            continue
        wrong = [key for key, array in packed.items() if not _is_plain(array)]
        if wrong:
            yield f"pack of a {name} must give arrays of numbers, but {', '.join(wrong)} is none"
        elif not gives_back(learner, packed, value):
            yield f"unpack does not give back the {name} that pack took"


def _is_plain(array: Any) -> bool:
    return isinstance(array, np.ndarray | np.generic) and not array.dtype.hasobject


def _unequal(name: str, one: Any, other: Any) -> Iterator[str]:
    if not same_arrays(array_copies(one), array_copies(other)):
        yield f"{name} gives different results from equal generators: use the one it is given"


def _wrong_count(learner: Any, name: str, sample: Any, wanted: int) -> Iterator[str]:
    if isinstance(learner, CountsItems):
        found = np.asarray(learner.count(sample))
        if not np.all(found == wanted):
            yield f"{name} gives {found[found != wanted][0]} items where {wanted} were asked for"
