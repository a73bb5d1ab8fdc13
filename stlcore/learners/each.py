"""Any model as a learner: one model at a time, from plain functions.

Slower than a learner whose repetitions are an array axis, and enough for a start with a
model of one's own.
"""

from __future__ import annotations

import copy
import hashlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from stlcore.learners.base import Diverged, Origin, Round, array_of, arrays_in, wants

__all__ = ["Each", "Items", "Sources"]

OPTIONAL = ("previous", "round", "sources")


class Sources(NamedTuple):
    """Who wrote the items of a training set, and when; arrays of shape (items,)."""

    generation: np.ndarray
    """0 for real items, k for those of the model of round k."""
    round: np.ndarray
    """The round in which the item was drawn; its age is the present round minus this."""


class Items(NamedTuple):
    """The sample of one repetition: items in an array, a list or a data frame."""

    values: Any
    sources: Sources


class Each:
    """A learner from functions that know one model and one data set.

    Parameters
    ----------
    truth : items or callable
        Real items, from which a round draws with replacement; or ``truth(count, rng)``.
    fit : callable
        ``fit(items)`` returns a model. Where it names them, it also gets ``previous``, a copy
        of the last round's model (None in round 1) that may be trained on;
        ``round``, a :class:`~stlcore.learners.base.Round` with a generator for this model
        alone; and ``sources``, the :class:`Sources` of the items.
    draw : callable
        ``draw(model, count, rng)`` returns ``count`` items that the model writes.
    score : callable, optional
        ``score(items)`` returns one number an item, higher for better ones, for cycles
        that select.
    track : callable, optional
        ``track(model)`` returns numbers to record by name, each a number or a vector. It may
        ask for ``round``, too.
    blank : callable, optional
        ``blank()`` returns a network that is not trained yet. Where models are networks of
        PyTorch, a checkpoint keeps their weights and puts them into one.

    Notes
    -----
    Items are an array with one item a row, a list, or a pandas data frame; no items are an
    empty one. Model: a list with one model for each repetition, None for one that has raised
    :class:`~stlcore.learners.base.Diverged`: its numbers are missing from then on, and the
    other repetitions go on.

    A checkpoint needs models that consist of arrays and numbers in dictionaries, lists and
    tuples, or networks with ``blank``, and items in an array or a list of texts. Its
    identity holds the source code of the functions and the real items, and not what the
    functions take from outside.
    The parameters that :mod:`stlcore.stability` changes are the floats of such a model.
    """

    def __init__(
        self,
        truth: Any,
        fit: Callable,
        draw: Callable,
        score: Callable | None = None,
        track: Callable | None = None,
        blank: Callable | None = None,
    ) -> None:
        functions = {"fit": fit, "draw": draw, "score": score, "track": track, "blank": blank}
        for name, function in functions.items():
            if not callable(function) and not (function is None and name not in ("fit", "draw")):
                raise TypeError(f"{name} must be a function, not {type(function).__name__}")
        if not callable(truth) and _length(truth) == 0:
            raise ValueError("there are no real items")
        self.truth, self._functions = truth, functions
        self._asked = [name for name in OPTIONAL if wants(fit, name)]
        self._tracks_rounds = wants(track, "round")
        if score is not None:
            self.best = self._best  # only with a score can anything be selected

    # --- Drawing and fitting -------------------------------------------------------------

    def sample(
        self,
        models: Sequence[Any],
        weights: np.ndarray,
        size: np.ndarray,
        rng: np.random.Generator,
        origins: Sequence[Origin] | None = None,
    ) -> list[Items]:
        """Items of the mixture of ``models``, for each repetition those of one model together."""
        counts = rng.multinomial(size, weights)
        # Without the loop nobody knows who wrote what: round 0 stands for that.
        origins = origins or [Origin(0, 0)] * len(models)
        return [
            _together(
                [
                    self._items(model if model is self.truth else model[r], int(count), origin, rng)
                    for model, count, origin in zip(models, counts[r], origins, strict=True)
                    if count
                ]
            )
            for r in range(len(size))
        ]

    def _items(self, model, count: int, origin: Origin, rng) -> Items:
        sources = Sources(*(np.full(count, number) for number in origin))
        if model is None:  # a lost repetition writes nothing of its own
            model = self.truth
        if model is not self.truth:
            values, name = self._functions["draw"](model, count, rng), "draw"
        elif callable(self.truth):
            values, name = self.truth(count, rng), "truth"
        else:
            values, name = _taken(self.truth, rng.integers(_length(self.truth), size=count)), ""
        if _length(values) != count:
            raise ValueError(f"{name} returned {_length(values)} items where {count} were due")
        return Items(values, sources)

    def fit(self, sample: list[Items], previous: list | None, round: Round) -> list:
        """One model for each repetition."""
        before = previous or [None] * len(sample)
        own = round.rng.spawn(len(sample))
        models = []
        for r, (items, old) in enumerate(zip(sample, before, strict=True)):
            if previous is not None and old is None:
                models.append(None)
                continue
            given = {
                "previous": lambda old=old: copy.deepcopy(old),
                "round": lambda r=r: Round(round.number, own[r]),
                "sources": lambda items=items: items.sources,
            }
            asked = {name: given[name]() for name in self._asked}
            try:
                model = self._functions["fit"](items.values, **asked)
            except Diverged:
                model = None
            else:
                if model is None:
                    raise ValueError("fit returned None: it must return a model")
            models.append(model)
        return models

    def lost(self, model: list) -> np.ndarray:
        """Whether a model has diverged."""
        return np.array([one is None for one in model])

    def track(self, model: list, round: Round) -> dict[str, np.ndarray]:
        """What ``track`` says of every model; missing for lost ones."""
        if self._functions["track"] is None:
            return {}
        asked = [{} for _ in model]
        if self._tracks_rounds:
            asked = [{"round": Round(round.number, own)} for own in round.rng.spawn(len(model))]
        found = [
            None if one is None else self._functions["track"](one, **extra)
            for one, extra in zip(model, asked, strict=True)
        ]
        shapes = [{name: np.shape(n[name]) for name in n} for n in found if n is not None]
        some = shapes[0] if shapes else {}
        other = next((shape for shape in shapes if shape != some), some)
        if other != some:
            raise ValueError(
                f"track must give the same numbers for every model, but gave the shapes {some} "
                f"for one and {other} for another"
            )
        missing = {name: np.full(shape, np.nan) for name, shape in some.items()}
        return {
            name: np.stack([np.asarray((missing if n is None else n)[name]) for n in found])
            for name in some
        }

    # --- Samples ---------------------------------------------------------------------------

    def given(self, items: Any, repetitions: int = 1) -> list[Items]:
        """Real items of one's own as a sample, the same ones in every repetition.

        For :class:`~stlcore.loop.First` and the collapse criterion (:mod:`stlcore.stability`).
        """
        count = _length(items)
        return [Items(items, Sources(np.zeros(count, int), np.ones(count, int)))] * repetitions

    def count(self, sample: list[Items]) -> np.ndarray:
        """Number of items of each repetition."""
        return np.array([_length(items.values) for items in sample])

    def pool(self, first: list[Items], second: list[Items]) -> list[Items]:
        """The items of both samples."""
        return [_together(pair) for pair in zip(first, second, strict=True)]

    def subset(self, sample: list[Items], size: int, rng: np.random.Generator) -> list[Items]:
        """``size`` items of every repetition, without replacement, in their order.

        Raises
        ------
        ValueError
            If the part is empty or larger than a sample.
        """
        least = int(self.count(sample).min())
        if not 1 <= size <= least:
            raise ValueError(f"cannot take {size} items from a sample of {least}")
        return [
            _chosen(items, np.sort(rng.permutation(_length(items.values))[:size]))
            for items in sample
        ]

    def _best(self, sample: list[Items], size: np.ndarray) -> list[Items]:
        """The items with the highest scores, in their order; the earlier one of equals."""
        best = []
        for items, count in zip(sample, size, strict=True):
            scores = np.asarray(self._functions["score"](items.values), dtype=float)
            if scores.shape != (_length(items.values),):
                raise ValueError(
                    f"score returned shape {scores.shape} for {_length(items.values)} items"
                )
            if np.isnan(scores).any():
                raise ValueError("a score is no number")
            best.append(_chosen(items, np.sort(np.argsort(-scores, kind="stable")[:count])))
        return best

    # --- Checkpoints ---------------------------------------------------------------------

    def identity(self) -> dict[str, Any]:
        """Checksums of the functions' source code and of the real items."""
        codes = {name: _code(function) for name, function in self._functions.items()}
        if callable(self.truth):
            return {**codes, "truth": _code(self.truth)}
        digest = hashlib.sha256()
        for name, array in _packed(self.truth, "truth").items():
            digest.update(f"{name} {array.dtype} {array.shape}".encode() + array.tobytes())
        return {**codes, "truth": digest.hexdigest()}

    def pack(self, value: list) -> dict[str, np.ndarray]:
        """Models or items as arrays."""
        arrays = {}
        for r, part in enumerate(value):
            if hasattr(part, "state_dict") and self._functions["blank"] is None:
                raise TypeError(
                    f"to keep a {type(part).__name__} in a checkpoint, Each needs blank=, a "
                    "function that makes an untrained one"
                )
            if isinstance(part, Items):
                part = (part.values, tuple(part.sources))
            arrays |= _packed(part, str(r))
        kind = np.array(isinstance(value[0], Items))
        return {"items": kind, "count": np.array(len(value)), **arrays}

    def unpack(self, arrays: Mapping[str, np.ndarray]) -> list:
        """Models or items as they were."""
        blank = self._functions["blank"]
        value = [_unpacked(arrays, str(r), blank) for r in range(int(arrays["count"]))]
        if not arrays["items"]:
            return value
        return [Items(values, Sources(*sources)) for values, sources in value]

    # --- Parameters ------------------------------------------------------------------------

    def to_vector(self, model: list) -> np.ndarray:
        """The floats of every model, shape (repetitions, p); missing for lost ones."""
        kept = [one for one in model if one is not None]
        rows = [[a.ravel() for _, a in arrays_in(one) if a.dtype.kind == "f"] for one in kept]
        if not rows or not rows[0]:
            raise TypeError(
                f"there are no floats in a {type(model[0]).__name__}, so it has no parameters"
            )
        found = np.stack([np.concatenate(row) for row in rows])
        vectors = np.full((len(model), found.shape[1]), np.nan)
        vectors[[one is not None for one in model]] = found
        return vectors

    def from_vector(self, vector: np.ndarray, template: list) -> list:
        """Models with the given floats; all else as in ``template``, one or as many models."""
        models = []
        for r, row in enumerate(vector):
            left = list(row)
            models.append(_filled(template[r if len(template) > 1 else 0], left))
        return models


# --- Items of any type -------------------------------------------------------------------------


def _is_frame(items: Any) -> bool:
    return hasattr(items, "iloc")


def _length(items: Any) -> int:
    if (
        isinstance(items, list)
        or _is_frame(items)
        or (isinstance(items, np.ndarray) and items.ndim)
    ):
        return len(items)
    raise TypeError(
        f"items are an array with one item a row, a list or a data frame, "
        f"not {type(items).__name__}"
    )


def _taken(items: Any, places: np.ndarray) -> Any:
    if isinstance(items, list):
        return [items[k] for k in places]
    return items.iloc[places].reset_index(drop=True) if _is_frame(items) else items[places]


def _chosen(items: Items, places: np.ndarray) -> Items:
    return Items(_taken(items.values, places), Sources(*(array[places] for array in items.sources)))


def _together(parts: Sequence[Items]) -> Items:
    parts = [part for part in parts if _length(part.values)]
    if not parts:
        return Items([], Sources(*np.zeros((2, 0), dtype=np.int64)))
    if len(parts) == 1:
        return parts[0]
    values = [part.values for part in parts]
    sources = Sources(*map(np.concatenate, zip(*(part.sources for part in parts), strict=True)))
    if all(isinstance(part, list) for part in values):
        return Items([item for part in values for item in part], sources)
    if all(map(_is_frame, values)):
        import pandas as pd  # half the time of importing this module

        return Items(pd.concat(values, ignore_index=True), sources)
    if not all(isinstance(part, np.ndarray) for part in values):
        kinds = " and ".join(sorted({type(part).__name__ for part in values}))
        raise TypeError(f"truth and draw must return items of one kind, not {kinds}")
    return Items(np.concatenate(values), sources)


# --- Values as arrays ----------------------------------------------------------------------------


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _code(function: Callable | None) -> str:
    if function is None:
        return ""
    try:
        text = inspect.getsource(function)
    except (OSError, TypeError):  # not from a file: its name has to do
        text = getattr(function, "__qualname__", type(function).__name__)
    return hashlib.sha256(text.encode()).hexdigest()


def _packed(value: Any, place: str) -> dict[str, np.ndarray]:
    """Arrays by place; the kind of what is no array is part of the place."""
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        return {f"{place}/a": value}
    if isinstance(value, bool | int | float | np.generic):
        return {f"{place}/n": np.asarray(value)}
    if value is None:
        return {f"{place}/0": np.zeros(0)}
    if hasattr(value, "state_dict"):
        weights = {key: array_of(part) for key, part in value.state_dict().items()}
        return {f"{place}/w": np.array(value.training), **_packed(weights, f"{place}.w")}
    if isinstance(value, list) and value and all(map(_is_text, value)):
        coded = [text.encode("utf-8", "surrogatepass") for text in value]
        ends = np.cumsum([len(text) for text in coded])
        return {
            f"{place}/s": np.frombuffer(b"".join(coded), dtype=np.uint8),
            f"{place}/e": ends,
        }
    if type(value) in (list, tuple) or (type(value) is dict and all(map(_is_text, value))):
        # By number, not by name: a key may hold any character.
        keys, parts = (value, value.values()) if type(value) is dict else ([""] * len(value), value)
        arrays = {f"{place}/{type(value).__name__}": np.array(list(keys), dtype=str)}
        for k, part in enumerate(parts):
            arrays |= _packed(part, f"{place}.{k}")
        return arrays
    raise TypeError(
        f"a checkpoint holds arrays, numbers, texts and dictionaries, lists and tuples of them, "
        f"but Each was given a {type(value).__name__}"
    )


def _unpacked(arrays: Mapping[str, np.ndarray], place: str, blank: Callable | None) -> Any:
    if f"{place}/a" in arrays:
        return arrays[f"{place}/a"]
    if f"{place}/n" in arrays:
        return arrays[f"{place}/n"].item()
    if f"{place}/0" in arrays:
        return None
    if f"{place}/w" in arrays:
        network, weights = blank(), _unpacked(arrays, f"{place}.w", blank)
        like = network.state_dict()
        network.load_state_dict({key: like[key].new_tensor(w) for key, w in weights.items()})
        return network.train(bool(arrays[f"{place}/w"]))
    if f"{place}/s" in arrays:
        ends, body = arrays[f"{place}/e"].tolist(), arrays[f"{place}/s"].tobytes()
        starts = [0, *ends[:-1]]
        return [
            body[a:b].decode("utf-8", "surrogatepass") for a, b in zip(starts, ends, strict=True)
        ]
    for make in (list, tuple, dict):
        if (keys := arrays.get(f"{place}/{make.__name__}")) is not None:
            parts = [_unpacked(arrays, f"{place}.{k}", blank) for k in range(len(keys))]
            return dict(zip(keys.tolist(), parts, strict=True)) if make is dict else make(parts)
    raise KeyError(place)


def _filled(value: Any, left: list[float]) -> Any:
    """The value with its floats, in the order of `arrays_in`, taken from the front of ``left``."""
    if isinstance(value, np.ndarray | np.generic | float) and np.asarray(value).dtype.kind == "f":
        array = np.asarray(value)
        taken, left[: array.size] = np.array(left[: array.size], dtype=array.dtype), []
        return taken.reshape(array.shape) if isinstance(value, np.ndarray) else taken.item()
    if isinstance(value, dict):
        return {key: _filled(part, left) for key, part in value.items()}
    if isinstance(value, list | tuple):
        parts = [_filled(part, left) for part in value]
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    if any(array.dtype.kind == "f" for _, array in arrays_in(value)):
        raise TypeError(f"the parameters of a {type(value).__name__} cannot be set")
    return value
