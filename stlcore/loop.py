"""The loop. Every experiment of the three papers is this one function.

A round draws a training set as the data cycle says, fits the learner to it and
records what the learner tracks. The loop knows no learner by name.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from stlcore.checkpoints import Checkpoint, generator_state
from stlcore.checks import check_count
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
from stlcore.schedules import Size, as_size

if TYPE_CHECKING:
    import pandas as pd

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

    state = _State(learner, np.zeros(repetitions, dtype=np.int64), learner.truth)
    store = None
    if checkpoint is not None:
        identity = _identity(learner, cycle, sizes, repetitions, rng)
        store = Checkpoint(checkpoint, identity, learner)
    if isinstance(learner, FiniteTruth):
        state.truth = learner.open_truth(fresh_items(cycle, sizes), repetitions, rng)
    if store is not None and (saved := store.load(rng)):
        state.restore(*saved)
    left = range(state.rounds + 1, rounds + 1)
    for t in tqdm(left, "rounds", rounds, initial=state.rounds, disable=not progress, leave=False):
        try:
            _train(state, cycle, sizes, t, rng)
        except Diverged as error:
            stop = Diverged(f"the learner diverged in round {t}: {error}")
            stop.frame = state.frame()
            raise stop from error
        if observe is not None:
            observe(t, state.models[-1])
        if store is not None:
            # Of a finished run the numbers are enough.
            store.save({} if t == rounds else state.values(), state.records, rng)
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

    learner: Learner
    trained: np.ndarray
    truth: Any
    models: list[Any] = field(default_factory=list)
    pooled: Any = None
    first: _FirstSet | None = None
    records: list[dict[str, np.ndarray]] = field(default_factory=list)

    @property
    def rounds(self) -> int:
        return len(self.records)

    def frame(self) -> pd.DataFrame:
        import pandas as pd  # half the time of importing this module, so only when it is needed

        repetitions = len(self.trained)
        names = self.records[0] if self.records else ()
        return pd.DataFrame(
            {
                "round": np.repeat(np.arange(1, self.rounds + 1), repetitions),
                "repetition": np.tile(np.arange(1, repetitions + 1), self.rounds),
                **{name: np.concatenate([r[name] for r in self.records]) for name in names},
            }
        )

    def values(self) -> dict[str, Any]:
        """All that later rounds need, by name; the learner knows how to pack each."""
        values = {f"model {k}": m for k, m in enumerate(self.models) if m is not None}
        if self.pooled is not None:
            values["pooled"] = self.pooled
        if self.first is not None:
            values["first"] = self.first.sample
            values |= {f"part {count}": part for count, part in self.first.parts.items()}
        if isinstance(self.learner, FiniteTruth):
            values["truth"] = self.truth
        return values

    def restore(self, values: dict[str, Any], records: list[dict[str, np.ndarray]]) -> None:
        """Bring the state to where ``values`` and ``records`` left it."""
        self.records, self.trained = records, records[-1]["trained"]
        self.models = [values.get(f"model {k}") for k in range(len(records))]
        self.pooled = values.get("pooled")
        self.truth = values.get("truth", self.truth)
        if "first" in values:
            parts = {int(n.split()[1]): part for n, part in values.items() if n[:5] == "part "}
            self.first = _FirstSet(
                self.learner, values["first"], int(records[0]["drawn"][0]), parts
            )


def _train(state, cycle, sizes, t, rng) -> None:
    """One round: draw, fit, record."""
    learner = state.learner
    size = _kept_size(int(sizes[t - 1]), cycle.kept(t), len(state.trained), rng)
    sample = _draw(state, cycle.weights(t), size, rng)
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


@dataclass
class _FirstSet:
    """The real data of round 1, of which later rounds use a part again."""

    learner: ReusesSamples
    sample: Any
    size: int
    parts: dict[int, Any] = field(default_factory=dict)

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


def _draw(state, weights, size, rng):
    """The new items of one round."""
    count = int(np.rint(weights.first * size[0]))
    again = state.first.part(count, rng) if count else None
    if count == size[0]:
        return again
    used, share = _laws(weights)
    laws = [state.truth if k == 0 else state.models[k - 1] for k in used]
    new = state.learner.sample(laws, share, size - count, rng)
    return new if again is None else state.learner.pool(again, new)


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
        "seed": generator_state(rng),
    }
