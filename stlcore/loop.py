"""The loop. Every experiment of the three papers is this one function.

A round draws a training set as the data cycle says, fits the learner to it and
records what the learner tracks. The loop knows no learner by name.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from stlcore.checkpoints import Checkpoint
from stlcore.cycles import Cycle
from stlcore.learners.base import (
    Diverged,
    FiniteTruth,
    Learner,
    PoolsSamples,
    Resumes,
    ReusesSamples,
    split,
)
from stlcore.schedules import Size, as_size, check_count

__all__ = ["fresh_items", "run"]


def run(
    learner: Learner,
    cycle: Cycle,
    sizes: Size | int,
    rounds: int,
    repetitions: int,
    rng: np.random.Generator,
    *,
    observe: Callable[[int, Any], None] | None = None,
    progress: bool = False,
    checkpoint: str | os.PathLike | None = None,
) -> pd.DataFrame:
    """Run a self-consuming training loop.

    Parameters
    ----------
    learner : Learner
        What trains; see :mod:`stlcore.learners.base`.
    cycle : Cycle
        What each round eats; see :mod:`stlcore.cycles`.
    sizes : Size or int
        Items drawn in each round, before any filter; a number means the same every round.
    rounds, repetitions : int
        Rounds of the loop, and independent runs of it (one array axis).
    rng : numpy.random.Generator
        The only source of randomness.
    observe : callable, optional
        Called as ``observe(t, model)`` after the fit of round t.
    progress : bool
        Show a progress bar over the rounds.
    checkpoint : path, optional
        A folder for this run alone. After every round the run is saved there,
        and the same call takes it up again with the same numbers to come;
        ``observe`` is not called again for the rounds that are done.

    Returns
    -------
    pandas.DataFrame
        One row per round and repetition: ``round`` and ``repetition`` (both
        from 1), ``drawn`` (items trained on that are new in this round),
        ``trained`` (all items trained on), and a column for each number the
        learner tracks. A tidy frame, because that is what seaborn draws and
        parquet stores; ``frame.pivot(index="round", columns="repetition",
        values=...)`` gives the array back.

    Raises
    ------
    TypeError
        If the learner lacks what the cycle or a checkpoint needs, or ``rng`` is no generator.
    ValueError
        If a schedule is shorter than the rounds, a count is not positive, real
        items run out, or the checkpoint is damaged or of another run.
    Diverged
        If a fit is no longer finite; ``frame`` holds the rounds before.
    """
    rounds = check_count("rounds", rounds)
    repetitions = check_count("repetitions", repetitions)
    sizes = as_size(sizes).values(rounds)
    _check_fit(learner, cycle, rng)
    cycle.check_rounds(rounds)

    state = _State(trained=np.zeros(repetitions, dtype=np.int64))
    store = None
    if checkpoint is not None:
        store = _Store(checkpoint, learner, _identity(learner, cycle, sizes, repetitions, rng))
    if isinstance(learner, FiniteTruth):
        state.truth = learner.open_truth(fresh_items(cycle, sizes), repetitions, rng)
    else:
        state.truth = learner.truth
    if store is not None:
        store.load(state, rng)
    left = range(state.rounds + 1, rounds + 1)
    for t in tqdm(left, "rounds", rounds, initial=state.rounds, disable=not progress, leave=False):
        try:
            _train(learner, cycle, sizes, t, state, rng)
        except Diverged as error:
            stop = Diverged(f"the learner diverged in round {t}: {error}")
            stop.frame = state.frame()
            raise stop from error
        if observe is not None:
            observe(t, state.models[-1])
        if store is not None:
            store.save(state, rng, finished=t == rounds)
    return state.frame()


def fresh_items(cycle: Cycle, sizes: Size | int | np.ndarray, rounds: int | None = None) -> int:
    """Real items that a run needs if it never uses one twice.

    Parameters
    ----------
    cycle : Cycle
        What each round eats.
    sizes : Size, int or ndarray
        Items drawn in each round; with a filter the number needed is at most what is returned.
    rounds : int, optional
        Rounds of the loop; ``len(sizes)`` for an array.

    Returns
    -------
    int
        The number for one repetition, items re-used by :func:`~stlcore.cycles.fixed_real` once.
    """
    if not isinstance(sizes, np.ndarray):
        sizes = as_size(sizes).values(rounds)
    total = 0
    for t, size in enumerate(sizes, start=1):
        weights = cycle.weights(t)
        again = int(np.rint(weights.first * size))
        used, share = _laws(weights)
        if again < size and used[0] == 0:
            total += int(split(share, int(size) - again)[0])
    return total


@dataclass
class _State:
    """What a run carries from one round to the next."""

    trained: np.ndarray
    truth: Any = None
    models: list[Any] = field(default_factory=list)
    pooled: Any = None
    first: _FirstSet | None = None
    records: list[dict[str, np.ndarray]] = field(default_factory=list)

    @property
    def rounds(self) -> int:
        return len(self.records)

    def frame(self) -> pd.DataFrame:
        repetitions = len(self.trained)
        names = self.records[0] if self.records else ()
        return pd.DataFrame(
            {
                "round": np.repeat(np.arange(1, self.rounds + 1), repetitions),
                "repetition": np.tile(np.arange(1, repetitions + 1), self.rounds),
                **{name: np.concatenate([r[name] for r in self.records]) for name in names},
            }
        )


def _train(learner, cycle, sizes, t, state, rng) -> None:
    """One round: draw, fit, record."""
    size = _kept_size(int(sizes[t - 1]), cycle.kept(t), len(state.trained), rng)
    sample = _draw(learner, cycle.weights(t), size, state, rng)
    if t == 1 and cycle.reuses_first:
        state.first = _FirstSet(learner, sample, int(sizes[0]))
    state.trained = state.trained + size if cycle.pooled else size
    if cycle.pooled:
        sample = sample if state.pooled is None else learner.pool(state.pooled, sample)
        state.pooled = sample
    models = state.models
    models.append(learner.fit(sample, models[-1] if models else None))
    if cycle.lookback is not None:
        # Keep the positions, free the memory: generation k stays at models[k - 1].
        for old in range(len(models) - cycle.lookback):
            models[old] = None
    tracked = learner.track(models[-1])
    state.records.append({"drawn": size, "trained": state.trained, **tracked})


def _check_fit(learner: Learner, cycle: Cycle, rng: np.random.Generator) -> None:
    if not isinstance(cycle, Cycle):
        raise TypeError(f"the cycle must come from stlcore.cycles, not {type(cycle).__name__}")
    name = type(learner).__name__
    if not isinstance(learner, Learner):
        raise TypeError(f"{name} is no learner: it needs truth, sample, fit and track")
    if cycle.pooled and not isinstance(learner, PoolsSamples):
        raise TypeError(f"{name} cannot pool samples, so an accumulating cycle does not fit it")
    if cycle.reuses_first and not isinstance(learner, ReusesSamples):
        raise TypeError(
            f"{name} cannot use a sample again, so a cycle with fixed real data does not fit it"
        )
    if cycle.reuses_first and cycle.filter is not None:
        raise TypeError(
            "a filter draws a random number of items, so it does not fit fixed real data"
        )
    if not isinstance(rng, np.random.Generator):
        raise TypeError(
            "rng must be a numpy.random.Generator, for example stlcore.streams.stream(1)"
        )


def _kept_size(size: int, kept: float, repetitions: int, rng: np.random.Generator) -> np.ndarray:
    """Items left after the filter: binomial given at least one, as in paper C, App. D."""
    if kept == 1:
        return np.full(repetitions, size, dtype=np.int64)
    # The place of the first item kept, given that there is one; the rest is plain binomial.
    some = -math.expm1(size * math.log1p(-kept))
    first = np.ceil(np.log1p(-some * rng.uniform(size=repetitions)) / math.log1p(-kept))
    return 1 + rng.binomial(size - np.clip(first, 1, size).astype(np.int64), kept)


class _FirstSet:
    """The real data of round 1, of which later rounds use a part again."""

    def __init__(self, learner, sample, size: int) -> None:
        self.learner, self.sample, self.size = learner, sample, size
        self.parts: dict[int, Any] = {}

    def part(self, count: int, rng: np.random.Generator) -> Any:
        """``count`` of its items, the same ones whenever the count is the same."""
        if count > self.size:
            raise ValueError(f"the cycle re-uses {count} real items, but round 1 had {self.size}")
        if count not in self.parts:
            self.parts[count] = self.learner.subset(self.sample, count, rng)
        return self.parts[count]


def _laws(weights) -> tuple[np.ndarray, np.ndarray]:
    """The laws drawn from anew, 0 for the truth and k for generation k, and their shares."""
    share = np.concatenate([[weights.fresh], weights.generations])
    used = np.flatnonzero(share)
    return used, share[used] / share.sum()


def _draw(learner, weights, size, state, rng):
    """The new items of one round."""
    count = int(np.rint(weights.first * size[0]))
    again = state.first.part(count, rng) if count else None
    if count == size[0]:
        return again
    used, share = _laws(weights)
    laws = [state.truth if k == 0 else state.models[k - 1] for k in used]
    new = learner.sample(laws, share, size - count, rng)
    return new if again is None else learner.pool(again, new)


class _Store:
    """The checkpoint of a run: its state, taken apart and put together by the learner."""

    def __init__(self, folder, learner, identity) -> None:
        self.learner, self.file = learner, Checkpoint(folder, identity)

    def save(self, state: _State, rng: np.random.Generator, *, finished: bool) -> None:
        """Save what later rounds need; of a finished run its records alone."""
        arrays = {f"records:{k}": np.stack([r[k] for r in state.records]) for k in state.records[0]}
        if not finished:
            for name, value in _values(self.learner, state).items():
                packed = self.learner.pack(value)
                arrays |= {f"{name}:{key}": array for key, array in packed.items()}
        columns = list(state.records[0])
        self.file.save(arrays, {"columns": columns, "rng": _json(rng.bit_generator.state)})

    def load(self, state: _State, rng: np.random.Generator) -> None:
        """Bring ``state`` and ``rng`` to where the checkpoint left them, if there is one."""
        loaded = self.file.load()
        if loaded is None:
            return
        arrays, head = loaded
        packed: dict[str, dict[str, np.ndarray]] = {}
        for name, array in arrays.items():
            group, _, key = name.partition(":")
            packed.setdefault(group, {})[key] = array
        records = packed.pop("records")
        rounds = len(records["trained"])
        state.records = [
            {name: records[name][t] for name in head["columns"]} for t in range(rounds)
        ]
        state.trained = state.records[-1]["trained"]
        state.models = [None] * rounds
        values = {name: self.learner.unpack(group) for name, group in packed.items()}
        if "first" in values:
            state.first = _FirstSet(self.learner, values.pop("first"), int(records["drawn"][0, 0]))
        for name, value in values.items():
            kind, _, index = name.partition("/")
            if kind == "models":
                state.models[int(index)] = value
            elif kind == "parts":
                state.first.parts[int(index)] = value
            else:
                setattr(state, kind, value)
        rng.bit_generator.state = head["rng"]


def _values(learner, state: _State) -> dict[str, Any]:
    """What later rounds need and the learner knows how to pack, by name."""
    values = {f"models/{k}": m for k, m in enumerate(state.models) if m is not None}
    if state.pooled is not None:
        values["pooled"] = state.pooled
    if state.first is not None:
        values["first"] = state.first.sample
        values |= {f"parts/{count}": part for count, part in state.first.parts.items()}
    if isinstance(learner, FiniteTruth):
        values["truth"] = state.truth
    return values


def _identity(learner, cycle, sizes, repetitions, rng) -> dict[str, Any]:
    if not isinstance(learner, Resumes):
        raise TypeError(
            f"{type(learner).__name__} has no identity, pack and unpack, so it keeps no checkpoint"
        )
    return {
        "learner": {"class": type(learner).__name__, **learner.identity()},
        "cycle": repr(cycle),
        "sizes": sizes.tolist(),
        "repetitions": repetitions,
        "seed": _json(rng.bit_generator.state),
    }


def _json(state: dict) -> dict:
    """The state of a generator with lists for its arrays, which JSON has not."""
    return json.loads(json.dumps(state, default=lambda array: array.tolist()))
