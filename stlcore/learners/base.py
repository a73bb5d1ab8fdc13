"""The protocol between the loop and a learner.

A *model* is whatever a learner fits: an array, a tuple of arrays, a network.
A *sample* is whatever it trains on, as small as the learner allows (counts
instead of tokens, say). Both carry all repetitions at once; the loop never
looks inside.

Three methods may ask for more by naming a further parameter: ``fit`` and ``track`` for
``round`` (a :class:`Round`: which round it is, and a generator of their own), ``sample`` for
``origins`` (one :class:`Origin` for each model: who wrote the items, and when).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "CountsItems",
    "Couples",
    "Diverged",
    "FiniteTruth",
    "Learner",
    "LosesRepetitions",
    "Origin",
    "PoolsSamples",
    "Resumes",
    "ReusesSamples",
    "Round",
    "Selects",
    "array_copies",
    "array_of",
    "arrays_in",
    "gives_back",
    "same_array",
    "same_arrays",
    "split",
    "wants",
]


class Diverged(RuntimeError):
    """Raised by a learner whose fit is no longer finite.

    The loop names the round and adds ``frame``, the rounds finished before. A learner that
    can tell which repetitions are lost offers ``lost`` instead (:class:`LosesRepetitions`).
    """

    frame: pd.DataFrame | None = None


class Round(NamedTuple):
    """What ``fit`` and ``track`` may know of the round they are called in."""

    number: int
    """The round t, from 1."""
    rng: np.random.Generator
    """A generator of this round's own; the loop's other draws do not depend on its use."""


class Origin(NamedTuple):
    """Where the items that one model writes in one round come from."""

    generation: int
    """0 for the truth, k for the model of round k."""
    round: int
    """The round in which they are drawn, from 1."""


def split(weights: np.ndarray, size: int | np.ndarray) -> np.ndarray:
    """``size`` items shared out by ``weights`` (sum 1) as exactly as whole numbers allow.

    Of several sizes, one row for each.

    Examples
    --------
    >>> split(np.array([0.25, 0.75]), 8)
    array([2, 6])
    """
    ends = np.rint(np.cumsum(weights) * np.asarray(size)[..., None]).astype(np.int64)
    ends[..., -1] = size
    return np.diff(ends, prepend=0)


def wants(function: Callable, name: str) -> bool:
    """Whether a function has a parameter of that name."""
    try:
        return name in inspect.signature(function).parameters
    except (TypeError, ValueError):  # written in C, say
        return False


def asked(function: Callable, **given: Any) -> dict[str, Any]:
    """Those of the given arguments for which a function has a parameter."""
    return {name: value for name, value in given.items() if wants(function, name)}


def hand_on(outer: Any, inner: Any, abilities: Iterable[str]) -> None:
    """Give a learner that is made of another one those of its abilities that it has."""
    for name in abilities:
        if hasattr(inner, name):
            setattr(outer, name, getattr(inner, name))


def arrays_in(value: Any, place: str = "") -> Iterator[tuple[str, np.ndarray]]:
    """The arrays that make up a model or a sample, each with its place in it.

    Looks into mappings, sequences, networks (by ``state_dict``) and the attributes of other
    objects; numbers and texts count as arrays without axes, and what holds neither is left out.
    """
    ahead, seen = [(place, value)], set()
    while ahead:
        place, value = ahead.pop()
        if isinstance(value, np.ndarray | np.generic | bool | int | float | complex | str):
            yield place, np.asarray(value)
        elif hasattr(value, "detach") and hasattr(value, "cpu"):  # a tensor, without loading torch
            yield place, array_of(value)
        elif id(value) not in seen and not isinstance(value, type):
            seen.add(id(value))
            ahead += [(f"{place}.{key}", part) for key, part in _parts(value)][::-1]


def array_of(tensor: Any) -> np.ndarray:
    """What a tensor holds; types that NumPy lacks, bfloat16 say, exactly in single precision."""
    tensor = tensor.detach().cpu()
    try:
        return tensor.numpy()
    except TypeError:
        return tensor.float().numpy()


def array_copies(value: Any) -> dict[str, np.ndarray]:
    """Copies of the arrays in ``value``, by place, to see later whether they have changed."""
    return {place: array.copy() for place, array in arrays_in(value)}


def same_array(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether all entries are the same; missing numbers are equal."""
    # Without missing numbers, the usual case, in a fraction of the time.
    return np.array_equal(one, other) or (
        one.dtype.kind in "fc" and np.array_equal(one, other, equal_nan=True)
    )


def same_arrays(one: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray]) -> bool:
    """Whether both hold the same arrays, of the same types, under the same names."""
    return one.keys() == other.keys() and all(
        a.dtype == other[name].dtype and same_array(a, other[name]) for name, a in one.items()
    )


def gives_back(learner: Resumes, packed: Mapping[str, np.ndarray], value: Any) -> bool:
    """Whether ``unpack`` makes of ``packed`` what ``pack`` took."""
    return same_arrays(dict(arrays_in(value)), dict(arrays_in(learner.unpack(packed))))


def _parts(value: Any) -> Iterable[tuple[Any, Any]]:
    if hasattr(value, "state_dict"):
        return value.state_dict().items()
    if isinstance(value, Mapping):
        return value.items()
    if isinstance(value, list | tuple):
        return enumerate(value)
    if hasattr(value, "to_numpy"):  # a data frame
        return [("values", value.to_numpy())]
    return () if callable(value) else getattr(value, "__dict__", {}).items()


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
        ``(repetitions,)``. For a cycle with exact counts the loop asks for the items of
        one model at a time and pools them. May ask for ``origins``.
        """

    def fit(self, sample: Any, previous: Any | None) -> Any:
        """Fit a new model; ``previous`` is the last round's model, None in round 1.

        ``previous`` must be left as it is, for later rounds may draw from it. May ask for
        ``round``.
        """

    def track(self, model: Any) -> Mapping[str, np.ndarray]:
        """Numbers to record, each of shape ``(repetitions,)``, or ``(repetitions, m)``.

        The latter become m columns, ``name[0]`` and so on. May ask for ``round``.
        """


@runtime_checkable
class PoolsSamples(Protocol):
    """A learner that can train on accumulated data."""

    def pool(self, first: Any, second: Any) -> Any:
        """The sample that holds both."""


@runtime_checkable
class ReusesSamples(Protocol):
    """A learner that can train on a part of an earlier sample again.

    One that keeps only sums, of which a part can be drawn for a sample from a single law but
    not for a mixture, says so by ``parts_of_mixtures = False``.
    """

    def subset(self, sample: Any, size: int, rng: np.random.Generator) -> Any:
        """``size`` items of ``sample`` chosen at random without replacement."""

    def pool(self, first: Any, second: Any) -> Any:
        """The sample that holds both."""


@runtime_checkable
class Selects(Protocol):
    """A learner that has a score for its items."""

    def best(self, sample: Any, size: np.ndarray) -> Any:
        """The ``size[r]`` items of repetition r with the highest scores."""


@runtime_checkable
class CountsItems(Protocol):
    """A learner that can say how many items a sample holds.

    The loop then checks the number in rounds 1, 2, 4, 8 and so on.
    """

    def count(self, sample: Any) -> np.ndarray:
        """Number of items, shape ``(repetitions,)``."""


@runtime_checkable
class Couples(Protocol):
    """A learner that can draw from two neighbouring laws as close to each other as they are."""

    def coupled(
        self,
        models: Sequence[Any],
        weights: np.ndarray,
        size: np.ndarray,
        rng: np.random.Generator,
    ) -> Any:
        """As ``sample``; from equal generators, every item of both comes from the same uniform
        number through the inverse distribution function."""


@runtime_checkable
class LosesRepetitions(Protocol):
    """A learner that can say which repetitions have diverged, so that the others go on."""

    def lost(self, model: Any) -> np.ndarray:
        """Whether each repetition's model is lost, shape ``(repetitions,)``."""


@runtime_checkable
class FiniteTruth(Protocol):
    """A learner whose truth is a pool of real items, each used at most once in a run.

    It needs a cycle with exact counts, so that the number of real items is known before
    the first round.
    """

    def open_truth(self, items: int, repetitions: int, rng: np.random.Generator) -> Any:
        """The truth of one run, in place of ``truth``, for ``items`` fresh ones a repetition.

        Which ones come first must not depend on ``items``, or a run cannot be extended.
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
