r"""The response operator: how one fully synthetic round passes on a small change of its model.

For every learner of the protocol in :mod:`stlcore.learners.base`, the derivative K of the
mean parameters that come out by those that go in, and its spectral radius. A share alpha
of real data damps changes iff :math:`(1-\alpha)\rho(K)<1` (derived for this companion).

Whatever is compared runs from copies of one generator. That shares the numbers, and not
always the draws: a sampler that accepts and rejects may turn a small change of the law into a
large one of the sample, which the mean over repetitions has to average out.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stlcore.checks import check_count
from stlcore.cycles import Cycle, full_synthetic
from stlcore.learners.base import Learner
from stlcore.loop import First, run
from stlcore.metrics.distances import student_score
from stlcore.theory.recursive_stability import critical_share

__all__ = [
    "Response",
    "from_vector",
    "jackknife",
    "jackknife_score",
    "last_model",
    "learner_response",
    "response_operators",
    "response_radius",
    "spectral_radius",
    "stacked",
    "tiled",
    "to_vector",
]

BLOCKS = 20  # groups of repetitions that the jackknife leaves out in turn

Respond = Callable[[np.ndarray, np.random.Generator], np.ndarray]


# --- Models as vectors -----------------------------------------------------------------------


def to_vector(model: Any, learner: Any = None) -> np.ndarray:
    """The parameters of a model as an array of shape (repetitions, p).

    A model is an array of floats with a leading repetition axis, or a tuple of which
    the fields that are such arrays count and the others are left alone. A learner with
    other models offers the two methods ``to_vector(model)`` and
    ``from_vector(vector, template)`` itself.

    Raises
    ------
    TypeError
        If there is no array of floats in the model.
    """
    if hasattr(learner, "to_vector"):
        return learner.to_vector(model)
    fields = [np.asarray(field) for field in _fields(model) if _is_float(field)]
    if not fields:
        raise TypeError(f"no array of floats in a {type(model).__name__}, so it has no parameters")
    return np.concatenate([field.reshape(len(field), -1) for field in fields], axis=1)


def from_vector(vector: np.ndarray, template: Any, learner: Any = None) -> Any:
    """The model with the given parameters; all that is no parameter is as in ``template``.

    Parameters
    ----------
    vector : ndarray, shape (repetitions, p)
        As :func:`to_vector` gives them.
    template : model
        With a repetition axis of length 1 or ``repetitions``.
    """
    if hasattr(learner, "from_vector"):
        return learner.from_vector(vector, template)
    count, position, fields = len(vector), 0, []
    for field in _fields(template):
        if _is_float(field):
            shape = np.shape(field)[1:]
            width = int(np.prod(shape))
            fields.append(vector[:, position : position + width].reshape(count, *shape))
            position += width
        else:
            fields.append(tiled(field, count))
    if not isinstance(template, tuple):
        return fields[0]
    return type(template)(*fields) if hasattr(template, "_fields") else tuple(fields)


def _fields(model: Any) -> tuple:
    return model if isinstance(model, tuple) else (model,)


def _is_float(field: Any) -> bool:
    return isinstance(field, np.ndarray) and field.ndim > 0 and field.dtype.kind == "f"


def tiled(item: Any, count: int) -> Any:
    """A model or a sample of one repetition, the same for ``count`` of them."""
    if isinstance(item, tuple):
        fields = [tiled(field, count) for field in item]
        return type(item)(*fields) if hasattr(item, "_fields") else tuple(fields)
    if isinstance(item, np.ndarray) and item.ndim > 0 and len(item) == 1:
        return np.repeat(item, count, axis=0)
    if isinstance(item, list) and len(item) == 1:  # one thing for each repetition
        return item * count
    return item


def stacked(samples: Sequence[Any]) -> Any:
    """Samples of one repetition each as one with as many repetitions; undoes nothing else.

    Raises
    ------
    TypeError
        If a sample is made of something other than arrays, lists and tuples of them.
    """
    first = samples[0]
    if isinstance(first, tuple):
        fields = [stacked(part) for part in zip(*samples, strict=True)]
        return type(first)(*fields) if hasattr(first, "_fields") else tuple(fields)
    if isinstance(first, np.ndarray) and first.ndim > 0:
        return np.concatenate(samples)
    if isinstance(first, list):
        return [item for sample in samples for item in sample]
    if first is None or isinstance(first, np.generic | bool | int | float | str):
        return first
    raise TypeError(
        f"a sample must be made of arrays, lists and tuples of them, not a {type(first).__name__}"
    )


# --- The response operator -------------------------------------------------------------------


@dataclass(frozen=True)
class Response:
    """A measured mean response operator.

    Attributes
    ----------
    radius : float
        Its spectral radius.
    error : float
        Two standard errors, plus the bias, plus the step error.
    operator : ndarray, shape (p, p)
        Derivative of the mean parameters that come out by those that go in.
    standard_error : float
        Of the radius, by a jackknife over groups of repetitions.
    bias : float
        How much noise in the operator may inflate the radius: what the two halves of the
        repetitions give beyond all of them, times 2.4, as for a bias that falls like one
        over the square root of the repetitions (the slowest case, a multiple eigenvalue).
    step_error : float
        Difference to the radius at twice the step.
    """

    radius: float
    error: float
    operator: np.ndarray
    standard_error: float
    bias: float
    step_error: float

    @property
    def critical_share(self) -> float:
        r"""The real share above which small changes die out, :math:`\max(0,1-1/\rho)`."""
        return float(critical_share(self.radius))

    @property
    def critical_interval(self) -> tuple[float, float]:
        """The critical shares at both ends of the radius's error."""
        low, high = max(self.radius - self.error, 0.0), self.radius + self.error
        return float(critical_share(low)), float(critical_share(high))


def response_radius(
    respond: Respond, at: np.ndarray, rng: np.random.Generator, step: float = 0.05
) -> Response:
    """Spectral radius of the mean response, by central differences with shared randomness.

    Parameters
    ----------
    respond : callable
        ``respond(parameters, rng)`` trains one round on what a model with these parameters,
        shape (p,), writes, and gives the new parameters, shape (repetitions, p).
        See :func:`learner_response`.
    at : array_like, shape (p,)
        Where the response is linearised.
    rng : numpy.random.Generator
        Each of the 4p calls runs from a copy of it; it is not advanced itself.
    step : float
        Half the distance between the two parameters that are compared. Where small changes
        move discrete labels, a small step is noisy; ``error`` says what it comes to.

    Returns
    -------
    Response

    Raises
    ------
    ValueError
        If the step is not positive, there are under 20 repetitions, or a response is not finite.
    """
    at = np.asarray(at, dtype=float)
    operators, _ = response_operators(respond, at, rng, step)

    def radius(chosen):
        return np.array([spectral_radius(operators[chosen].mean(axis=0))])

    (found,), (standard_error,), (bias,) = jackknife(radius, len(operators))
    wider, _ = response_operators(respond, at, rng, 2 * step)
    step_error = abs(spectral_radius(wider.mean(axis=0)) - found)
    return Response(
        float(found),
        float(2 * standard_error + bias + step_error),
        operators.mean(axis=0),
        float(standard_error),
        float(bias),
        float(step_error),
    )


def spectral_radius(operator: np.ndarray) -> float:
    """Largest absolute value of an eigenvalue."""
    return float(np.abs(np.linalg.eigvals(operator)).max())


def jackknife(
    statistic: Callable[[np.ndarray], np.ndarray], count: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A statistic of repetitions, its standard error, and what noise may have inflated it by.

    Parameters
    ----------
    statistic : callable
        ``statistic(chosen)`` of some repetitions, by number; an array.
    count : int
        How many repetitions there are, from 20 up.

    Returns
    -------
    value, standard_error, bias : ndarray
        The error leaves groups of repetitions out in turn; the bias is that described in
        :class:`Response`.
    """
    every = np.arange(count)
    value = statistic(every)
    blocks = np.array_split(every, BLOCKS)
    without = np.array([statistic(np.setdiff1d(every, block)) for block in blocks])
    halves = np.mean([statistic(every[::2]), statistic(every[1::2])], axis=0)
    error = np.sqrt((BLOCKS - 1) * without.var(axis=0))
    return value, error, np.abs(halves - value) / (np.sqrt(2) - 1)


def jackknife_score(gap: float, standard_error: float) -> float:
    """A gap in standard errors of :func:`jackknife`, for a comparison with normal numbers.

    Student's t, since the error comes from a few groups, as the normal number with the same
    tail probability.
    """
    return student_score(gap / standard_error, BLOCKS - 1)


def response_operators(
    respond: Respond, at: np.ndarray, rng: np.random.Generator, step: float
) -> tuple[np.ndarray, np.ndarray]:
    """Central differences of the response, one matrix for each repetition, and the means.

    Returns
    -------
    differences : ndarray, shape (repetitions, p, p)
        Entry (r, a, b): change of output a by input b. Only the mean is an estimate of the
        operator; see :func:`response_radius` for the arguments and errors.
    means : ndarray, shape (repetitions, p, p)
        Entry (r, a, b): output a, mean of the two steps of input b.
    """
    if not step > 0:
        raise ValueError(f"the step must be positive, not {step!r}")
    if at.ndim != 1 or at.size == 0:
        raise ValueError("the parameters must be a vector with at least one entry")

    def out(parameters):
        found = np.asarray(respond(parameters, copy.deepcopy(rng)), dtype=float)
        if found.ndim != 2 or found.shape[1] != at.size:
            raise ValueError(f"a response must have shape (repetitions, {at.size})")
        if len(found) < BLOCKS:
            raise ValueError(f"the error needs at least {BLOCKS} repetitions, not {len(found)}")
        if not np.isfinite(found).all():
            raise ValueError("a response is not finite; try a smaller step")
        return found

    moves = step * np.eye(at.size)
    pairs = [(out(at + move), out(at - move)) for move in moves]
    differences = [(up - down) / (2 * step) for up, down in pairs]
    means = [(up + down) / 2 for up, down in pairs]
    return np.stack(differences, axis=-1), np.stack(means, axis=-1)


def last_model(
    learner: Learner,
    cycle: Cycle,
    size: int,
    rounds: int,
    repetitions: int,
    rng: np.random.Generator,
    first: First,
    truth: Any = None,
) -> Any:
    """The model after some rounds of the loop; see :func:`stlcore.loop.run`."""
    last = []

    def keep(t, model):
        last[:] = [model]

    run(learner, cycle, size, rounds, repetitions, rng, first=first, truth=truth, observe=keep)
    return last[0]


def learner_response(
    learner: Learner, model: Any, size: int, repetitions: int
) -> tuple[Respond, np.ndarray]:
    """One fully synthetic round of a learner, as :func:`response_radius` wants it.

    Parameters
    ----------
    learner : Learner
        What trains.
    model : model
        One fitted model (repetition axis of length 1): where to linearise.
    size : int
        Synthetic items of the round.
    repetitions : int
        Independent trainings.

    Returns
    -------
    respond : callable
    at : ndarray, shape (p,)
        The parameters of ``model``.
    """
    check_count("repetitions", repetitions)
    check_count("the sample size", size)

    def respond(parameters, rng):
        vector = np.broadcast_to(parameters, (repetitions, len(parameters))).copy()
        first = First(model=from_vector(vector, model, learner))
        last = last_model(learner, full_synthetic(), size, 2, repetitions, rng, first)
        return to_vector(last, learner)

    at = to_vector(model, learner)
    if len(at) != 1:
        raise ValueError(f"the response is measured at one model, not at {len(at)}")
    return respond, at[0]
