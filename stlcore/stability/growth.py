"""How much a small change grows in one planned round, with its errors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import astuple, dataclass, replace
from typing import Literal

import numpy as np
from scipy.special import stdtrit

from stlcore.stability.response import jackknife

__all__ = ["Growth", "another"]

APART = 0.1  # two steps disagree if their radii differ by more than this share, and significantly


@dataclass(frozen=True)
class Growth:
    """By how much a small change grows in one planned generation, with its errors.

    Attributes
    ----------
    radius, closer : float
        Spectral radius, from steps of one and of half a standard error of the first fit.
    standard_error : float
        Of the radius, by a jackknife over groups of repetitions.
    bias : float
        How much noise may inflate the radius; see :class:`stlcore.stability.response.Response`.
    noise : float
        By how much the two steps may differ by chance: three standard errors and the bias of
        the difference.
    spread : float
        How far the radius of one more draw may lie from the mean of several, if the learner
        has been redrawn; see :func:`another`.
    data : float
        Standard deviation of the radius between data sets, where fresh items come from one.
    """

    radius: float
    closer: float
    standard_error: float
    bias: float
    noise: float
    spread: float = 0.0
    data: float = 0.0

    @classmethod
    def of(
        cls, statistic: Callable[[np.ndarray], np.ndarray], repetitions: int, common: float = 0.0
    ) -> Growth:
        """From ``statistic(chosen)``, the radii by one step or two from some repetitions.

        Every repetition has a resample of the data for its world; the share ``common`` of what
        differs between repetitions is the world's. One data set is as far from its law as
        one world is from the data.
        """

        def with_gap(chosen):
            radii = statistic(chosen)
            return np.array([radii[0], radii[0] - radii[-1]])

        (radius, gap), error, bias = jackknife(with_gap, repetitions)
        data = error[0] * np.sqrt(repetitions * common)
        noise = 3 * error[1] + bias[1]
        return cls(*map(float, (radius, radius - gap, error[0], bias[0], noise, 0, data)))

    @classmethod
    def over(cls, draws: list[Growth]) -> Growth:
        """The mean over learners that differ by what they have drawn, and how far they differ."""
        mean = cls(*np.mean([astuple(growth) for growth in draws], axis=0).tolist())
        return replace(mean, spread=float(another(np.array([g.radius for g in draws]))))

    @property
    def error(self) -> float:
        """Two standard errors, two of the data, the spread; the bias; and what the steps differ."""
        drawn = np.linalg.norm([2 * self.standard_error, 2 * self.data, self.spread])
        return float(drawn) + self.bias + abs(self.radius - self.closer)

    @property
    def interval(self) -> tuple[float, float]:
        """The radius less and plus its error."""
        return max(self.radius - self.error, 0.0), self.radius + self.error

    @property
    def side(self) -> Literal["bounded", "critical", "divergent"]:
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


def another(draws: np.ndarray) -> np.ndarray:
    """How far one more draw may lie from the mean of those of axis 0, with 95 % confidence.

    The interval of prediction of Student's t for normal draws.
    """
    count = len(draws)
    return stdtrit(count - 1, 0.975) * draws.std(axis=0, ddof=1) * np.sqrt(1 + 1 / count)
