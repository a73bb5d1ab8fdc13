"""The loop. Every experiment of the three papers is this one function.

A round draws a training set as the data cycle says, fits the learner to it and
records what the learner tracks. The loop knows no learner by name.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from stlcore.cycles import Cycle
from stlcore.learners.base import Learner, PoolsSamples, ReusesSamples
from stlcore.schedules import Size, as_size, check_count

__all__ = ["run"]


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
        If the learner lacks what the cycle needs, or ``rng`` is no generator.
    ValueError
        If a schedule is shorter than the rounds, or a count is not positive.
    """
    rounds = check_count("rounds", rounds)
    repetitions = check_count("repetitions", repetitions)
    sizes = as_size(sizes).values(rounds)
    _check_fit(learner, cycle, rng)
    cycle.check_rounds(rounds)

    models: list[Any] = []
    pooled, first, trained = None, None, np.zeros(repetitions, dtype=np.int64)
    records = []
    for t in tqdm(range(1, rounds + 1), desc="rounds", disable=not progress, leave=False):
        size = _kept_size(int(sizes[t - 1]), cycle.kept(t), repetitions, rng)
        sample = _draw(learner, cycle.weights(t), size, models, first, rng)
        if t == 1 and cycle.reuses_first:
            first = _FirstSet(learner, sample, int(sizes[0]))
        trained = trained + size if cycle.pooled else size
        if cycle.pooled:
            pooled = sample = sample if pooled is None else learner.pool(pooled, sample)
        models.append(learner.fit(sample, models[-1] if models else None))
        if cycle.lookback is not None:
            # Keep the positions, free the memory: generation k stays at models[k - 1].
            for old in range(len(models) - cycle.lookback):
                models[old] = None
        records.append({"drawn": size, "trained": trained, **learner.track(models[-1])})
        if observe is not None:
            observe(t, models[-1])

    columns = {name: np.concatenate([record[name] for record in records]) for name in records[0]}
    return pd.DataFrame(
        {
            "round": np.repeat(np.arange(1, rounds + 1), repetitions),
            "repetition": np.tile(np.arange(1, repetitions + 1), rounds),
            **columns,
        }
    )


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


def _draw(learner, weights, size, models, first, rng):
    """The new items of one round."""
    share = np.concatenate([[weights.fresh], weights.generations])
    used = np.flatnonzero(share)
    laws = [learner.truth if k == 0 else models[k - 1] for k in used]
    count = int(np.rint(weights.first * size[0]))
    if count == 0:
        return learner.sample(laws, share[used] / share.sum(), size, rng)
    again = first.part(count, rng)
    if count == size[0]:
        return again
    return learner.pool(again, learner.sample(laws, share[used] / share.sum(), size - count, rng))
