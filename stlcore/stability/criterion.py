r"""A collapse criterion that can be checked before the loop is run.

From a learner, one real data set and a planned cycle, :func:`collapse_criterion` measures how
a planned round, real data included, passes on a small change of the model it starts from: in
the mean, and in the mean square. Whether both die out is the verdict, and they predict how
far the loop will move. No true law is needed. Real points that a round uses again are points
of the data; fresh ones are drawn from a resample of them or by a function of the user's, and
never by the learner's own sampler, which may be the very thing that is wrong.

Paper A says that a constant real share suffices; which one is derived for this companion.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial, reduce
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd

from stlcore.checks import check_count
from stlcore.cycles import Cycle, fixed_real
from stlcore.learners.base import (
    CountsItems,
    Couples,
    LosesRepetitions,
    Selects,
    arrays_in,
    wants,
)
from stlcore.loop import First
from stlcore.stability.replaced_example import plan_of, recursive_stability, summary
from stlcore.stability.response import (
    from_vector,
    jackknife,
    last_model,
    response_operators,
    spectral_radius,
    stacked,
    to_vector,
)

__all__ = ["Criterion", "Growth", "Scale", "collapse_criterion"]

COPIES = 16  # of the data, out of which a bootstrap sample is taken: as with replacement
FEWER = 8  # of a world, out of which a round's fresh items are taken, a part of as many
AGAIN = 8  # planned rounds in every world, to tell what stays from what is new
APART = 0.1  # two steps disagree if their radii differ by more than this share, and significantly
BEND = 0.25  # standard errors by which one standard error, to both sides, may shift the mean

Side = Literal["bounded", "critical", "divergent"]
Verdict = Literal[
    "bounded in mean square",
    "bounded in mean",
    "critical",
    "divergent",
    "not linear enough to say",
]


@dataclass(frozen=True)
class Growth:
    """By how much a small change grows in one planned generation, with its errors.

    Attributes
    ----------
    radius : float
        Spectral radius, from steps of one standard error of the first fit.
    closer : float
        The same from steps of half a standard error.
    standard_error : float
        Of the radius, by a jackknife over groups of repetitions.
    bias : float
        How much noise in the operator may inflate the radius, from the halves of the
        repetitions; see :class:`stlcore.stability.response.Response`.
    noise : float
        By how much the two steps may differ by chance: three standard errors and the bias of
        the difference.
    """

    radius: float
    closer: float
    standard_error: float
    bias: float
    noise: float

    @property
    def error(self) -> float:
        """Two standard errors, plus the bias, plus the difference of the two steps."""
        return 2 * self.standard_error + self.bias + abs(self.radius - self.closer)

    @property
    def interval(self) -> tuple[float, float]:
        """The radius less and plus its error."""
        return max(self.radius - self.error, 0.0), self.radius + self.error

    @property
    def side(self) -> Side:
        """Whether the radius is below 1, above, or equal up to its error."""
        if abs(self.radius - 1) <= max(self.error, 1e-9):
            return "critical"
        return "bounded" if self.radius < 1 else "divergent"

    @property
    def linear(self) -> bool:
        """Whether both steps give the same, up to chance or up to a tenth."""
        gap = abs(self.radius - self.closer)
        return gap <= max(self.noise, APART * max(self.radius, self.closer))

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.radius:.3g} (from {low:.3g} to {high:.3g}; half the step: {self.closer:.3g})"


@dataclass(frozen=True, eq=False)
class Scale:
    r"""Parameters in standard errors of the first fit.

    The learner is fitted to bootstrap samples of the data, as a round of the loop would fit
    it. Every parameter is divided by its standard deviation over these fits; the correlations
    are shrunk towards none by the share :math:`p/(p+R)`, for p parameters and R fits, and
    taken out along their principal axes. Parameters that never change, and combinations that
    do not (probabilities sum to 1), have no direction. One that is nothing but rounding noise
    would have one: ``to_vector`` should leave it out. So neither a distance nor a step
    depends on the units of the data, nor on those of one coordinate.

    Attributes
    ----------
    at : ndarray, shape (p,)
        The first model.
    directions : ndarray, shape (p, k)
        What one standard error along each axis does to the parameters.
    inverse : ndarray, shape (k, p)
        Takes differences of parameters to coordinates.
    """

    at: np.ndarray
    directions: np.ndarray
    inverse: np.ndarray

    @classmethod
    def of(cls, at: np.ndarray, refits: np.ndarray) -> Scale:
        """From the first model, shape (p,), and bootstrap fits, shape (R, p)."""
        deviation = refits.std(axis=0)
        moves = deviation > 1e-9 * np.abs(refits).max(axis=0)
        if not moves.any():
            raise ValueError(
                "no parameter changes when the learner is fitted to a resample of the data, so "
                "there are no standard errors to measure in"
            )
        correlation = np.atleast_2d(np.corrcoef(refits[:, moves], rowvar=False))
        values, axes = np.linalg.eigh(correlation)
        free = values > 1e-6
        values, axes = values[free], axes[:, free]
        count, width = refits.shape[0], moves.sum()
        if 2 * len(values) > count:
            raise ValueError(
                f"{count} repetitions are too few for a model of {width} parameters: take more, "
                "or give the learner to_vector and from_vector with fewer parameters"
            )
        shrink = width / (width + count)
        root = np.sqrt((1 - shrink) * values + shrink)
        directions, inverse = np.zeros((len(at), len(root))), np.zeros((len(root), len(at)))
        directions[moves] = deviation[moves, None] * axes * root
        inverse[:, moves] = (axes / root).T / deviation[moves]
        return cls(at, directions, inverse)

    @property
    def axes(self) -> int:
        """Number of directions, k."""
        return self.directions.shape[1]

    def coordinates(self, vectors: np.ndarray) -> np.ndarray:
        """Parameters, shape (repetitions, p), in coordinates, shape (repetitions, k)."""
        return (vectors - self.at) @ self.inverse.T

    def parameters(self, coordinates: np.ndarray) -> np.ndarray:
        """The other way round."""
        return self.at + coordinates @ self.directions.T

    def distance(self, one: np.ndarray, other: np.ndarray | None = None) -> np.ndarray:
        """Distance of parameters from other ones, by default the first model's.

        In standard errors: its root mean square over bootstrap fits is about 1.
        """
        other = self.at if other is None else other
        return np.linalg.norm((one - other) @ self.inverse.T, axis=1) / np.sqrt(self.axes)


@dataclass(frozen=True, eq=False)
class Criterion:
    r"""What :func:`collapse_criterion` found; prints as a short report.

    Attributes
    ----------
    share : float
        Planned share of real data, fresh or used again.
    mean : Growth
        Spectral radius of :math:`\mathbb E J`, J the derivative of a planned round.
    mean_square : Growth
        Spectral radius of :math:`\mathbb E[J\otimes J]`, the growth of squares.
    curvature : float
        Largest shift of the mean, in standard errors, that a step of one standard error to
        both sides causes in common, less three standard errors of the estimate.
    gamma : pandas.DataFrame
        Recursive stability of every generation, in standard errors of the first fit, as
        :func:`~stlcore.stability.replaced_example.summary` gives it.
    trajectory : ndarray, shape (rounds + 1,)
        Predicted root mean square distance of every generation from the first model, whose
        own is 0, in standard errors of the first fit.
    band : ndarray, shape (2, rounds + 1)
        The trajectory less and plus its error: two standard errors of the trainings, and the
        difference of the two steps. The error of the data set itself is not in it.
    tolerance : float
        How many standard errors the trajectory may reach without a warning.
    scale : Scale
        The units.
    learner : Learner
        The learner, for :meth:`distance`.
    """

    share: float
    mean: Growth
    mean_square: Growth
    curvature: float
    gamma: pd.DataFrame
    trajectory: np.ndarray
    band: np.ndarray
    tolerance: float
    scale: Scale
    learner: Any

    @property
    def linear(self) -> bool:
        """Whether two steps agree and a step to either side shifts nothing in common."""
        return self.mean.linear and self.mean_square.linear and self.curvature <= BEND

    @property
    def verdict(self) -> Verdict:
        """What becomes of small changes; "bounded" only where their mean square may be."""
        if not self.linear:
            return "not linear enough to say"
        sides = self.mean.side, self.mean_square.side
        if "divergent" in sides:
            return "divergent"
        if self.mean.side == "critical":
            return "critical"
        return "bounded in mean square" if sides[1] == "bounded" else "bounded in mean"

    @property
    def warning(self) -> str | None:
        """One sentence if the plan is dangerous or the answer unsure, None otherwise."""
        mean, square, verdict = self.mean, self.mean_square, self.verdict
        if verdict == "not linear enough to say":
            return (
                "what a step of half a standard error does is no guide to one of a whole: the "
                f"factors are {mean.closer:.3g} and {mean.radius:.3g} in the mean, "
                f"{square.closer:.3g} and {square.radius:.3g} in the mean square, and both "
                f"sides shift by {self.curvature:.2g} standard errors in common"
            )
        if verdict == "divergent":
            kind, growth = ("mean", mean) if mean.side == "divergent" else ("mean square", square)
            return (
                f"the {kind} of small changes grows by a factor of {growth.radius:.3g} a "
                "generation: take a larger real share"
            )
        if verdict == "critical":
            return (
                "it is not settled that small changes die out, so errors may add up as long as "
                "the loop runs: take a larger real share"
            )
        if verdict == "bounded in mean":
            return (
                "small changes die out in the mean; whether their mean square does is not "
                f"settled, with a factor of {square.radius:.3g}"
            )
        if self.trajectory[-1] > self.tolerance:
            return (
                "small changes die out, yet the last model is predicted "
                f"{self.trajectory[-1]:.3g} standard errors away from the first"
            )
        return None

    def distance(self, model: Any) -> np.ndarray:
        """Distance of models from the first one, in the units of the trajectory."""
        return self.scale.distance(to_vector(model, self.learner))

    def __str__(self) -> str:
        first, last = self.gamma["mean"].iloc[0], self.gamma["mean"].iloc[-1]
        rounds = len(self.trajectory) - 1
        low, high = self.band[:, -1]
        far = (
            f"{self.trajectory[-1]:.3g} (from {low:.3g} to {high:.3g}) standard errors of the "
            "first fit"
        )
        return "\n".join(
            [
                f"planned real share     {self.share:.3g}",
                f"gamma                  {first:.3g} at first, {last:.3g} "
                f"± {self.gamma['standard_error'].iloc[-1]:.1g} after {rounds} generations",
                f"factor of the mean     {self.mean}",
                f"factor of the square   {self.mean_square}",
                f"distance at the end    {far if self.linear else 'not predicted'}",
                f"verdict                {self.verdict}",
                f"warning                {self.warning or 'none'}",
            ]
        )


def collapse_criterion(
    learner: Any,
    data: Any,
    cycle: Cycle,
    size: int,
    rounds: int,
    rng: np.random.Generator,
    *,
    real: Any = None,
    repetitions: int = 400,
    tolerance: float = 3.0,
) -> Criterion:
    r"""Measure whether a planned loop will hold, without running it.

    Parameters
    ----------
    learner : Learner
        With ``sample``, ``fit``, ``pool`` and ``subset``; neither ``truth`` nor ``track`` is
        asked for. Its models must have parameters, see
        :func:`~stlcore.stability.response.to_vector`.
    data : sample
        The real data, as the learner's ``sample`` gives them, repetition axis of length 1.
    cycle : Cycle
        The plan: ``fixed_real(share)``, ``fresh_mixture(share)`` or ``full_synthetic()``.
        Sources are taken to give their shares exactly.
    size : int
        Items in ``data`` and in every round.
    rounds : int
        Generations planned after the first fit.
    rng : numpy.random.Generator
        The only source of randomness.
    real : sample or callable, optional
        Where fresh real items come from: a hold-out, like ``data``, from which they are
        resampled, or ``real(size, rng)`` that returns a sample of ``size[r]`` items for
        repetition r. By default the data.
    repetitions : int
        Trainings that every mean is taken over, from 20 up.
    tolerance : float
        See :class:`Criterion`.

    Returns
    -------
    Criterion

    Raises
    ------
    TypeError
        If the learner lacks a method, its models have no parameters, or the data are no
        sample of it.
    ValueError
        If the data hold another number of items or more than one repetition, the cycle has no
        constant share, a number is out of range, or trainings fail near the first model.

    Notes
    -----
    Every repetition has a world of its own: a bootstrap sample of the data (or the hold-out)
    that fresh items come from, and a random part of the data to use again. So the prediction
    holds on average over what one data set leaves open about its law.

    The derivative :math:`J` of a planned round is measured by central differences with
    common random numbers, along every axis of :class:`Scale`, with steps of a half and of one
    standard error. Where a step moves drawn labels, J varies more than the loop does, for the
    two sides do not share all their draws. For squares the curvature of the covariance of a
    round is what counts: along one axis, with sides f(h) and f(-h) and their middle m,
    :math:`\operatorname{Cov}J+(\operatorname{Cov}m-\operatorname{Cov}f(0))/h^2`, whatever is
    shared; between two axes Cov J, extrapolated as if what is not shared fell like 1/h.

    The cost is that of about ``4 k + 2 rounds + 10`` rounds of the loop with ``repetitions``
    repetitions, k the number of axes.
    """
    _check_learner(learner)
    if not isinstance(rng, np.random.Generator):
        raise TypeError("rng must be a numpy.random.Generator, for example stream(1)")
    rounds, plan = check_count("rounds", rounds), plan_of(cycle, size)
    if not tolerance > 0:
        raise ValueError(f"the tolerance must be positive, not {tolerance!r}")
    if check_count("repetitions", repetitions) < 20:
        raise ValueError(f"the errors need at least 20 repetitions, not {repetitions}")
    _check_data(learner, data, "the data", size)
    cycle = cycle.exact()
    of_first, of_worlds, of_scale, of_round, of_again, of_gamma = rng.spawn(6)
    worlds = _resampled(learner, data, size, repetitions, of_worlds)
    planned = _Planned(learner, _source(learner, worlds, real, repetitions, of_worlds))
    model = last_model(planned, cycle, size, 1, 1, of_first, First(data))
    at = to_vector(model, learner)[0]
    parts = None
    if plan.again:
        take = [learner.subset(data, plan.again, of_worlds) for _ in range(repetitions)]
        parts = stacked(take)

    def trained(cycle, parameters, part, rng):
        """The parameters after one round that starts from given ones, (repetitions, p)."""
        before = from_vector(np.tile(parameters, (repetitions, 1)), model, learner)
        first = First(model=before, part=part)
        last = last_model(planned, cycle, size, 2, repetitions, rng, first)
        _check_lost(learner, last)
        found = to_vector(last, learner)
        if not np.isfinite(found).all():
            raise ValueError(f"a training of {_name(learner)} near the first model is not finite")
        return found

    scale = Scale.of(at, trained(fixed_real(1.0), at, worlds, of_scale))

    def respond(coordinates, rng):
        return scale.coordinates(trained(cycle, scale.parameters(coordinates), parts, rng))

    centre = np.zeros(scale.axes)
    moves = respond(centre, copy.deepcopy(of_round))
    again = np.array([respond(centre, one) for one in of_again.spawn(AGAIN)])
    try:
        wider, closer = (
            _Step(length, *response_operators(respond, centre, of_round, length))
            for length in (1.0, 0.5)
        )
    except ValueError as error:
        error.add_note(
            f"This was with a model of {_name(learner)} up to one standard error from the first. "
            "If some parameters may not take such values, give the learner to_vector and "
            "from_vector with others, the logarithm of a variance, say."
        )
        raise
    pairs = _Pairs(wider, closer, moves, again, plan.again > 0 or plan.fresh > 0)
    gamma = recursive_stability(
        planned, cycle, size, rounds, repetitions, of_gamma, _apart(planned, scale)
    )
    trajectory, band = _prediction(pairs, rounds)
    return Criterion(
        1 - plan.new * (1 - plan.fresh) / size,
        _growth(pairs.mean, repetitions),
        _growth(pairs.square, repetitions),
        _curvature(wider.middles - moves[:, :, None]),
        summary(gamma),
        trajectory,
        band,
        tolerance,
        scale,
        learner,
    )


# --- From trainings to numbers ---------------------------------------------------------------


class _Step(NamedTuple):
    """Rounds from both sides of the first model, along every axis."""

    length: float
    operators: np.ndarray  # J, output a by input b; (repetitions, k, k)
    middles: np.ndarray  # output a, mean of both sides of input b; (repetitions, k, k)


@dataclass(frozen=True, eq=False)
class _Pairs:
    """Planned rounds, one for each repetition, in coordinates of the scale."""

    wider: _Step
    closer: _Step
    moves: np.ndarray  # where the round leads from the first model, (repetitions, k)
    again: np.ndarray  # the same, same worlds and other random numbers, (AGAIN, repetitions, k)
    real: bool  # whether a round has any real data, so that its world matters

    def operators(self, chosen: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        """E J and the curvature of the covariance, [a, d, b, c], by either step."""
        steps = [
            step._replace(operators=step.operators[chosen]) for step in (self.wider, self.closer)
        ]
        wider, closer = (_covariance(step.operators, step.operators) for step in steps)
        # A drawn label that one step moves and the other does not is no part of the loop's law.
        across = (2 * wider - closer).transpose(0, 2, 1, 3)
        moves, found = self.moves[chosen], []
        for step, own in zip(steps, (wider, closer), strict=True):
            spread = across.copy()
            for b in range(moves.shape[1]):
                middle = step.middles[chosen, :, b]
                less = _covariance(middle, middle) - _covariance(moves, moves)
                spread[:, :, b, b] = own[:, b, :, b] + less / step.length**2
            found.append((step.operators.mean(axis=0), spread))
        return found

    def mean(self, chosen: np.ndarray) -> np.ndarray:
        """Radius of the mean by the large step, and its difference to that by the small one."""
        steps = (self.wider, self.closer)
        wider, closer = (spectral_radius(s.operators[chosen].mean(axis=0)) for s in steps)
        return np.array([wider, wider - closer])

    def square(self, chosen: np.ndarray) -> np.ndarray:
        """The same for the mean square."""
        low, high = np.triu_indices(self.moves.shape[1])
        twice = np.where(low == high, 0.5, 1.0)  # an entry off the diagonal stands for two

        def radius(mean, spread):
            whole = np.einsum("ab,dc->adbc", mean, mean) + spread
            whole = whole[low, high]
            square = spectral_radius((whole[:, low, high] + whole[:, high, low]) * twice)
            return max(square, spectral_radius(mean) ** 2)  # a mean square is no less

        wider, closer = (radius(*step) for step in self.operators(chosen))
        return np.array([wider, wider - closer])

    def distance(self, rounds: int, chosen: np.ndarray) -> np.ndarray:
        r"""Logarithm of the predicted distance in rounds 1 and on, by both steps.

        With :math:`\delta'=J\delta+b`: b has a part that stays (what the world of the
        repetition does to every round) and one that is new; the second moment of what stays is
        that of two different rounds of one world.
        """
        moves, again = self.moves[chosen], self.again[:, chosen]
        push, noise = again.mean(axis=(0, 1)), np.einsum("mra,mrb->ab", again, again)
        stays = np.outer(push, push)
        if self.real:  # two different rounds of one world
            total = again.sum(axis=0)
            stays = (total.T @ total - noise) / (len(total) * AGAIN * (AGAIN - 1))
        noise = noise / (len(moves) * AGAIN)
        mixed = _covariance(self.wider.operators[chosen], moves)  # ab, d
        found = []
        for operator, spread in self.operators(chosen):
            mean, second = np.zeros_like(push), np.zeros_like(noise)
            with_world, trace = np.zeros_like(noise), []  # E delta times the part that stays
            # An overflow means divergence; the clip below keeps the logarithm finite.
            with np.errstate(over="ignore", invalid="ignore"):
                for _ in range(rounds):
                    cross = operator @ with_world + np.einsum("abd,b->ad", mixed, mean)
                    second = (
                        operator @ second @ operator.T
                        + np.einsum("adbc,bc->ad", spread, second)
                        + noise
                        + cross
                        + cross.T
                    )
                    with_world = operator @ with_world + stays
                    mean = operator @ mean + push
                    trace.append(np.trace(second) / len(push))
            found.append(trace)
        return np.log(np.nan_to_num(found, nan=1e300).clip(1e-300, 1e300)) / 2


def _covariance(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Of the entries of two matrices over their first axis."""
    flat = [part.reshape(len(part), -1) - part.mean(axis=0).ravel() for part in (one, other)]
    return (flat[0].T @ flat[1] / len(one)).reshape(*one.shape[1:], *other.shape[1:])


def _growth(statistic: Callable[[np.ndarray], np.ndarray], count: int) -> Growth:
    value, error, bias = jackknife(statistic, count)
    radius, gap = map(float, value)
    return Growth(
        radius, radius - gap, float(error[0]), float(bias[0]), float(3 * error[1] + bias[1])
    )


def _prediction(pairs: _Pairs, rounds: int) -> tuple[np.ndarray, np.ndarray]:
    """The trajectory with its start, and its band."""
    value, error, _ = jackknife(partial(pairs.distance, rounds), len(pairs.moves))
    wider, closer = value
    off = 2 * error[0] + np.abs(wider - closer)
    found = np.exp([wider, wider - off, np.minimum(wider + off, 600)])
    found = np.concatenate([np.zeros((3, 1)), found], axis=1)
    return found[0], found[1:]


def _curvature(bends: np.ndarray) -> float:
    """Largest length of a mean shift, less three standard errors; shape (repetitions, k, k)."""
    mean, variance = bends.mean(axis=0), bends.var(axis=0) / len(bends)
    lengths = np.linalg.norm(mean, axis=0) - 3 * np.sqrt(variance.sum(axis=0))
    return float(max(lengths.max(), 0.0))


# --- Where real items come from --------------------------------------------------------------


class _Planned:
    """The user's learner, with real items for its truth that it has not drawn itself."""

    def __init__(self, learner: Any, real: Callable) -> None:
        self.truth, self._learner, self._real = object(), learner, real
        self.fit, self.pool, self.subset = learner.fit, learner.pool, learner.subset
        # Common uniforms where there are some: less noise in every difference.
        self._draw = learner.coupled if isinstance(learner, Couples) else learner.sample
        for protocol, method in (
            (CountsItems, "count"),
            (LosesRepetitions, "lost"),
            (Selects, "best"),
        ):
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


def _source(learner: Any, worlds: Any, real: Any, repetitions: int, rng) -> Callable:
    """What draws fresh real items, called as ``real(size, rng)``."""
    if callable(real):
        return real
    if real is not None:
        if not isinstance(learner, CountsItems):
            raise TypeError(f"{_name(learner)} lacks count, so the hold-out has no known size")
        _check_data(learner, real, "the hold-out")
        worlds = _resampled(learner, real, int(learner.count(real)[0]), repetitions, rng)
    many = _copies(learner, worlds, FEWER)
    return lambda size, rng: learner.subset(many, int(size[0]), rng)


def _copies(learner: Any, sample: Any, times: int) -> Any:
    """Each item so many times, a power of 2, that a part is as good as drawn with replacement."""
    doublings = range(times.bit_length() - 1)
    return reduce(lambda whole, _: learner.pool(whole, whole), doublings, sample)


def _resampled(learner: Any, sample: Any, count: int, repetitions: int, rng) -> Any:
    """A bootstrap sample for every repetition, each by a call of its own.

    Some learners take the same places in every repetition of one call.
    """
    many = _copies(learner, sample, COPIES)
    return stacked([learner.subset(many, count, rng) for _ in range(repetitions)])


def _apart(planned: _Planned, scale: Scale) -> Callable[[Any, Any], np.ndarray]:
    """Distance of two models in standard errors, missing where one is lost."""
    learner = planned._learner

    def distance(one, other):
        if not isinstance(learner, LosesRepetitions):
            return scale.distance(*(to_vector(model, learner) for model in (one, other)))
        gone = [np.asarray(learner.lost(model)) for model in (one, other)]
        vectors = []
        for model, lost in zip((one, other), gone, strict=True):
            if isinstance(model, list) and lost.any():  # one model each, and None for a lost one
                some = model[int(np.argmin(lost))]
                model = [some if away else kept for kept, away in zip(model, lost, strict=True)]
            vectors.append(to_vector(model, learner))
        return np.where(gone[0] | gone[1], np.nan, scale.distance(*vectors))

    return distance


# --- Mistakes --------------------------------------------------------------------------------

METHODS = {
    "sample": "sample(models, weights, size, rng) draws items",
    "fit": "fit(sample, previous) fits a model",
    "pool": "pool(first, second) joins two samples",
    "subset": "subset(sample, size, rng) takes some items at random",
}


def _name(learner: Any) -> str:
    return type(learner).__name__


def _check_learner(learner: Any) -> None:
    """Refuse a learner that lacks what a round needs."""
    if isinstance(learner, type):
        raise TypeError(f"{learner.__name__} is a class: give a learner, {learner.__name__}(...)")
    missing = [name for name in METHODS if not callable(getattr(learner, name, None))]
    if missing:
        raise TypeError(
            f"{_name(learner)} lacks {' and '.join(missing)}, which the criterion needs: "
            + "; ".join(METHODS[name] for name in missing)
        )


def _check_data(learner: Any, data: Any, what: str, size: int | None = None) -> None:
    """Refuse what is no sample, one of several repetitions, or one of another size."""
    hint = "; given(items) makes one of items" if hasattr(learner, "given") else ""
    wrong = TypeError(
        f"{what} must be a sample as {_name(learner)}.sample gives it, not {type(data).__name__}"
        + hint
    )
    if isinstance(learner, CountsItems):
        try:
            counts = np.asarray(learner.count(data))
        except (AttributeError, IndexError, TypeError, ValueError) as error:
            raise wrong from error
        found = len(counts) if counts.ndim == 1 else None
    else:
        arrays = [array for _, array in arrays_in(data) if array.ndim]
        if not arrays:
            raise wrong
        found = len(arrays[0])
    if found is None:
        raise wrong
    if found != 1:
        raise ValueError(
            f"{what} must hold one repetition, not {found}: an array of items needs an axis of "
            "length 1 in front, array[None]"
        )
    if size is None:
        return
    if isinstance(learner, CountsItems):
        if counts[0] != size:
            raise ValueError(f"{what} hold {counts[0]} items, but the size is {size}")
    elif not any(size in array.shape[1:] for array in arrays):
        raise ValueError(
            f"{what} have no axis of {size} items: their shape is {arrays[0].shape}, with the "
            "repetitions first"
        )


def _check_lost(learner: Any, model: Any) -> None:
    """Refuse a first round in which trainings are lost."""
    if isinstance(learner, LosesRepetitions) and (lost := np.asarray(learner.lost(model))).any():
        raise ValueError(
            f"{lost.sum()} of {lost.size} trainings of {_name(learner)} diverge within one round "
            "of the first model, so no response can be measured"
        )
