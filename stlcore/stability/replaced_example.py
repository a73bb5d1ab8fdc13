"""Recursive stability, measured: what becomes of one replaced example, round after round.

For every learner of the protocol in :mod:`stlcore.learners.base` that pools samples
(paper A; the reading "realisations under shared randomness" is ours). Both loops run in step
from copies of one generator (:func:`stlcore.loop.run_pair`). Copies share the numbers, and
what a learner makes of them is its own affair: draws that accept or reject, such as binomial
ones, may turn a small change of the law into a large one of the sample. A learner that draws
by common uniforms through the inverse distribution function
(:class:`~stlcore.learners.base.Couples`) has that coupling used.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from stlcore.checks import check_count
from stlcore.cycles import Cycle
from stlcore.learners.base import Couples, Learner, PoolsSamples
from stlcore.loop import First, run_pair
from stlcore.stability.response import to_vector

__all__ = ["Plan", "plan_of", "recursive_stability", "summary"]

COMMON, COPIES = "common uniforms", "copies of one generator"


class Plan(NamedTuple):
    """What every round from the second on eats, under a constant share."""

    again: int
    """Points of the first real set that are used again."""
    new: int
    """All other points."""
    fresh: float
    """Share of fresh real points among the other ones."""


def plan_of(cycle: Cycle, size: int) -> Plan:
    """The make-up of a round of ``size`` items.

    The number of points used again is the share times the size, rounded to the nearest
    whole number, ties to even, as in :func:`stlcore.loop.run`.

    Raises
    ------
    ValueError
        If the cycle accumulates, filters, looks further back than one generation, or its
        share changes within the first hundred rounds.
    """
    size = check_count("the sample size", size)
    if cycle.pooled or cycle.filter is not None or cycle.lookback != 1:
        raise ValueError("stability is measured for cycles of one generation, without a filter")
    weights = cycle.weights(2)
    if not np.allclose(weights[:2], cycle.weights(100)[:2], rtol=0, atol=1e-12):
        raise ValueError("stability is measured for a constant share of real data")
    again = int(np.rint(weights.first * size))
    fresh = weights.fresh / (1 - weights.first) if weights.first < 1 else 0.0
    return Plan(again, size - again, fresh)


def recursive_stability(
    learner: Learner,
    cycle: Cycle,
    size: int,
    generations: int,
    repetitions: int,
    rng: np.random.Generator,
    distance: Callable[[Any, Any], np.ndarray] | None = None,
    truth: Any = None,
) -> pd.DataFrame:
    """How far one replaced real example moves the model of every generation.

    In each repetition one example of the first real set is replaced by an independent one,
    and both loops run with the same random numbers. As examples are exchangeable, one
    example in many repetitions tells as much as many examples in one.
    If the cycle uses a part of the first set again, the changed example lies in that part.

    Parameters
    ----------
    learner : Learner
        With ``pool``.
    cycle : Cycle
        See :func:`plan_of`.
    size : int
        Items in every round.
    generations : int
        Generations after the first fit.
    repetitions : int
        Independent pairs of loops, at least 2.
    rng : numpy.random.Generator
        The only source of randomness.
    distance : callable, optional
        ``distance(model, other)`` of shape (repetitions,); by default the Euclidean distance
        of the parameters.
    truth : model, optional
        Law of the real items; by default the learner's.

    Returns
    -------
    pandas.DataFrame
        Columns ``generation`` (0 is the fit on the first real set), ``repetition`` (from 1),
        ``gamma``, and ``coupling``, the way in which the two loops shared their randomness:
        "common uniforms" or "copies of one generator". :func:`summary` gives means with
        error bars.

    Raises
    ------
    TypeError
        If the learner cannot pool samples.
    ValueError
        If a count is not positive or the cycle has no constant share.
    """
    if not (isinstance(learner, Learner) and isinstance(learner, PoolsSamples)):
        raise TypeError(f"{type(learner).__name__} cannot pool samples, so no item can be replaced")
    plan = plan_of(cycle, size)
    generations = check_count("generations", generations)
    if check_count("repetitions", repetitions) < 2:
        raise ValueError("an error bar needs at least 2 repetitions")
    truth = learner.truth if truth is None else truth
    distance = distance or (
        lambda one, two: np.linalg.norm(to_vector(one, learner) - to_vector(two, learner), axis=1)
    )

    def real(count):
        sizes = np.full(repetitions, count)
        return learner.sample([truth], np.ones(1), sizes, rng) if count else None

    def together(first, second):
        return learner.pool(first, second) if first is not None else second

    beside, outside = real(max(plan.again, 1) - 1), real(size - max(plan.again, 1))
    parts = [together(beside, example) for example in (real(1), real(1))]
    first = [First(together(outside, part), part) for part in parts]
    gamma = []
    run_pair(
        learner,
        cycle,
        size,
        generations + 1,
        repetitions,
        rng,
        tuple(first),
        truth=truth,
        observe=lambda t, *models: gamma.append(distance(*models)),
    )
    return pd.DataFrame(
        {
            "generation": np.repeat(np.arange(generations + 1), repetitions),
            "repetition": np.tile(np.arange(1, repetitions + 1), generations + 1),
            "gamma": np.concatenate(gamma),
            "coupling": COMMON if isinstance(learner, Couples) else COPIES,
        }
    )


def summary(frame: pd.DataFrame, column: str = "gamma") -> pd.DataFrame:
    """Mean, standard error, median and 95 % quantile of every generation.

    Parameters
    ----------
    frame : pandas.DataFrame
        As :func:`recursive_stability` gives it.
    column : str
        What is summarised.

    Returns
    -------
    pandas.DataFrame
        Indexed by generation.
    """
    groups = frame.groupby("generation")[column]
    return pd.DataFrame(
        {
            "mean": groups.mean(),
            "standard_error": groups.sem(),
            "median": groups.median(),
            "upper": groups.quantile(0.95),
        }
    )
