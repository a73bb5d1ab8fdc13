"""What the collapse criterion found, its verdict, and its warning."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from stlcore.stability.growth import Growth, another
from stlcore.stability.planned_rounds import banded
from stlcore.stability.response import to_vector
from stlcore.stability.scale import Scale

__all__ = ["Criterion"]

FAR = 3.0  # standard errors that the trajectory may reach without a warning
BEND = 0.25  # standard errors by which one standard error, to both sides, may shift the mean


@dataclass(frozen=True, eq=False)
class Criterion:
    r"""What the collapse criterion found; prints as a short report.

    Attributes
    ----------
    share : float
        Planned share of real data, fresh or used again.
    mean : Growth
        Spectral radius of :math:`\mathbb E J`, J the derivative of a planned round.
    mean_square : Growth
        Spectral radius of :math:`\mathbb E[J\otimes J]`, the growth of squares.
    later : Growth or None
        That of the mean again, where the loop is after the planned rounds: from the models of
        a rehearsal with resampled data. None if trainings fail there.
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
    scale : Scale
        The units.
    learner : Learner
        For :meth:`distance`.
    """

    share: float
    mean: Growth
    mean_square: Growth
    later: Growth | None
    curvature: float
    gamma: pd.DataFrame
    trajectory: np.ndarray
    band: np.ndarray
    scale: Scale
    learner: Any

    @classmethod
    def over(cls, found: list[Criterion]) -> Criterion:
        """One criterion from those of learners that differ by what they have drawn."""
        if len(found) == 1:
            return found[0]
        lines = np.array([[one.trajectory, *one.band] for one in found])[:, :, 1:]
        middle, low, high = np.log(lines).swapaxes(0, 1)
        trajectory, band = banded(
            middle.mean(axis=0), np.hypot((high - low).mean(axis=0) / 2, another(middle))
        )
        later = [one.later for one in found]
        return replace(
            found[0],
            later=None if None in later else Growth.over(later),
            mean=Growth.over([one.mean for one in found]),
            mean_square=Growth.over([one.mean_square for one in found]),
            curvature=float(np.mean([one.curvature for one in found])),
            gamma=sum(one.gamma for one in found) / len(found),
            trajectory=trajectory,
            band=band,
        )

    @property
    def holds_later(self) -> bool:
        """Whether the factor of the mean is on its side, if any, where the loop leads, too."""
        if self.later is None:
            return self.mean.side != "bounded"
        gap = abs(self.later.radius - self.mean.radius)
        by_chance = gap <= self.later.error + self.mean.error
        return by_chance or self.mean.side in ("critical", self.later.side)

    @property
    def linear(self) -> bool:
        """Whether two steps agree, both sides shift nothing in common, and later factors hold."""
        near = self.mean.linear and self.mean_square.linear and self.curvature <= BEND
        return near and self.holds_later

    @property
    def verdict(self) -> str:
        """What becomes of small changes; "bounded" only where their mean square may be.

        One of "bounded in mean square", "bounded in mean", "critical", "divergent" and "not
        linear enough to say".
        """
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
        if not self.holds_later:
            factor = f"it is {self.later.radius:.3g}" if self.later else "a training fails"
            return (
                f"the factor of the mean is {mean.radius:.3g} near the first model, and where the "
                f"loop leads in {len(self.trajectory) - 1} rounds {factor}"
            )
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
        if self.trajectory[-1] > FAR:
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
