r"""A collapse criterion that can be checked before the loop is run.

From a learner, one real data set and a planned cycle, :func:`collapse_criterion` measures
how much a replaced example matters (recursive stability, gamma), how a round passes on
small changes (the mean response operator K), the real share above which they die out,
:math:`\alpha^*=\max(0,1-1/\rho(K))`, and predicts how far the loop will move. No true law
is needed: where one would be, the model fitted to the data stands in.

Paper A says that a constant real share suffices; which one is derived for this companion.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from stlcore.checks import check_count
from stlcore.cycles import Cycle
from stlcore.learners.base import CountsItems, Learner, ReusesSamples, arrays_in
from stlcore.loop import First
from stlcore.stability.replaced_example import plan_of, recursive_stability, summary
from stlcore.stability.response import (
    Response,
    from_vector,
    last_model,
    learner_response,
    response_operators,
    response_radius,
    tiled,
    to_vector,
)

__all__ = ["Criterion", "collapse_criterion", "predicted_distance"]


@dataclass(frozen=True, eq=False)
class Criterion:
    r"""What :func:`collapse_criterion` found; prints as a short report.

    Attributes
    ----------
    share : float
        Planned share of real data, fresh or used again.
    response : Response
        The mean response operator K and its radius.
    gamma : pandas.DataFrame
        Recursive stability of every generation, as
        :func:`~stlcore.stability.replaced_example.summary` gives it.
    trajectory : ndarray, shape (rounds + 1,)
        Predicted root mean square distance of every generation's parameters from the first
        model's, whose own distance is 0.
    spread : float
        Root mean square error of the first model itself.
    tolerance : float
        How many times the spread the trajectory may reach without a warning.
    part : sample or None
        The real items that the trajectory uses again; None for none.
    """

    share: float
    response: Response
    gamma: pd.DataFrame
    trajectory: np.ndarray
    spread: float
    tolerance: float
    part: Any

    @property
    def critical_share(self) -> float:
        r""":math:`\alpha^*`, the real share above which small changes die out."""
        return self.response.critical_share

    @property
    def verdict(self) -> Literal["bounded", "critical", "divergent"]:
        r"""Whether :math:`(1-\alpha)\rho(K)` is below 1, above, or equal up to its error."""
        factor, error = (1 - self.share) * self.response.radius, self.response.error
        if abs(factor - 1) <= max((1 - self.share) * error, 1e-9):
            return "critical"
        return "bounded" if factor < 1 else "divergent"

    @property
    def warning(self) -> str | None:
        """One sentence if the plan is dangerous, None if it is not."""
        factor = (1 - self.share) * self.response.radius
        if self.verdict == "divergent":
            return (
                f"small changes grow by a factor of {factor:.3g} a generation; "
                f"a real share above {self.critical_share:.3g} would stop them"
            )
        if self.verdict == "critical":
            return (
                "small changes do not die out, so errors add up as long as the loop runs; "
                f"take a real share well above {self.critical_share:.3g}"
            )
        ratio = self.trajectory[-1] / self.spread if self.spread else 0.0
        if ratio > self.tolerance:
            return (
                "small changes die out, yet the last model is predicted "
                f"{ratio:.3g} standard errors away from the first"
            )
        return None

    def __str__(self) -> str:
        first, last = self.gamma["mean"].iloc[0], self.gamma["mean"].iloc[-1]
        low, high = self.response.critical_interval
        rounds = len(self.trajectory) - 1
        return "\n".join(
            [
                f"planned real share          {self.share:.3g}",
                f"gamma                       {first:.3g} at first, {last:.3g} "
                f"± {self.gamma['standard_error'].iloc[-1]:.1g} after {rounds} generations",
                f"response radius rho(K)      {self.response.radius:.4g} "
                f"± {self.response.error:.1g}",
                f"critical share              {self.critical_share:.3g} "
                f"(between {low:.3g} and {high:.3g})",
                f"distance from first model   {self.trajectory[-1]:.3g} predicted after {rounds} "
                f"generations; its standard error is {self.spread:.3g}",
                f"verdict                     {self.verdict}",
                f"warning                     {self.warning or 'none'}",
            ]
        )


def collapse_criterion(
    learner: Learner,
    data: Any,
    cycle: Cycle,
    size: int,
    rounds: int,
    rng: np.random.Generator,
    *,
    step: float = 0.05,
    repetitions: int = 400,
    tolerance: float = 3.0,
) -> Criterion:
    r"""Measure whether a planned loop will hold, without running it.

    Parameters
    ----------
    learner : Learner
        What trains; its models must have parameters, see
        :func:`~stlcore.stability.response.to_vector`.
    data : sample
        The real data, as the learner's ``sample`` gives them, repetition axis of length 1.
    cycle : Cycle
        The plan: ``fixed_real(share)``, ``fresh_mixture(share)`` or ``full_synthetic()``.
    size : int
        Items in ``data`` and in every round.
    rounds : int
        Generations planned after the first fit.
    rng : numpy.random.Generator
        The only source of randomness.
    step : float
        See :func:`stlcore.stability.response.response_radius`.
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
        If the learner lacks ``pool`` or ``subset``, its models have no parameters, or the data
        are no sample of it.
    ValueError
        If the data hold more than one repetition, the cycle has no constant share, or a
        number is out of range.

    Notes
    -----
    The cost is that of about ``6 p + 2 rounds`` rounds of the loop with ``repetitions``
    repetitions, p the number of parameters.
    """
    if isinstance(learner, type):
        raise TypeError(f"{learner.__name__} is a class: give a learner, {learner.__name__}(...)")
    if not (isinstance(learner, Learner) and isinstance(learner, ReusesSamples)):
        raise TypeError(f"{type(learner).__name__} is no learner with pool and subset")
    rounds, plan = check_count("rounds", rounds), plan_of(cycle, size)
    if not tolerance > 0:
        raise ValueError(f"the tolerance must be positive, not {tolerance!r}")
    _check_one(learner, data)
    model = last_model(learner, cycle, size, 1, 1, rng, First(data))
    respond, at = learner_response(learner, model, size, repetitions)
    of_response, of_plan, of_gamma, of_part = rng.spawn(4)
    response = response_radius(respond, at, of_response, step)

    part = learner.subset(data, plan.again, of_part) if plan.again else None
    truth, parts = tiled(model, repetitions), tiled(part, repetitions)

    def planned(parameters, rng):
        before = from_vector(np.tile(parameters, (repetitions, 1)), model, learner)
        last = last_model(
            learner, cycle, size, 2, repetitions, rng, First(model=before, part=parts), truth
        )
        return to_vector(last, learner)

    operators = response_operators(planned, at, of_plan, step)
    moves = planned(at, copy.deepcopy(of_plan)) - at
    first = respond(at, of_response) - at
    gamma = recursive_stability(learner, cycle, size, rounds, repetitions, of_gamma, truth=truth)
    return Criterion(
        1 - plan.new * (1 - plan.fresh) / size,
        response,
        summary(gamma),
        predicted_distance(operators, moves, rounds),
        float(np.sqrt(first.var(axis=0).sum())),
        tolerance,
        part,
    )


def _check_one(learner: Learner, data: Any) -> None:
    """Refuse what is no sample, or one of several repetitions, where that can be seen."""
    if isinstance(learner, CountsItems):
        try:
            found = len(learner.count(data))
        except (AttributeError, TypeError) as error:
            hint = "; given(items) makes one of items" if hasattr(learner, "given") else ""
            raise TypeError(
                f"the data must be a sample as {type(learner).__name__}.sample gives it, not "
                f"{type(data).__name__}{hint}"
            ) from error
    else:
        found = next((len(array) for _, array in arrays_in(data) if array.ndim), 1)
    if found != 1:
        raise ValueError(f"the criterion looks at one data set, not at {found}")


def predicted_distance(operators: np.ndarray, moves: np.ndarray, rounds: int) -> np.ndarray:
    r"""Root mean square distance from the start under :math:`\delta'=b_r+J_r\delta`.

    In each generation r is a new one of the measured pairs, so mean and second moment
    obey a linear recursion. For learners that are linear given their random numbers
    (means, linear attention) this is the loop itself, up to the number of repetitions.

    Parameters
    ----------
    operators : ndarray, shape (repetitions, p, p)
        :math:`J_r`, the derivatives of a planned round.
    moves : ndarray, shape (repetitions, p)
        :math:`b_r`, where a planned round leads from the start.
    rounds : int
        Number of generations.

    Returns
    -------
    ndarray, shape (rounds + 1,)
        :math:`(E\|\delta_i\|^2)^{1/2}`, starting from 0.
    """
    count, width = moves.shape
    mean, second = np.zeros(width), np.zeros((width, width))
    noise = moves.T @ moves / count
    found = [0.0]
    for _ in range(rounds):
        cross = np.einsum("ra,rbc,c->ab", moves, operators, mean) / count
        # An overflow means divergence, and infinity says so.
        with np.errstate(over="ignore", invalid="ignore"):
            spread = np.einsum("rab,bc,rdc->ad", operators, second, operators, optimize=True)
            second = spread / count + noise + cross + cross.T
            mean = moves.mean(axis=0) + operators.mean(axis=0) @ mean
        found.append(float(np.sqrt(np.trace(second))))
    return np.array(found)
