r"""Distances in standard errors of a first fit, whatever the units of the data."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["Scale"]


@dataclass(frozen=True, eq=False)
class Scale:
    r"""Parameters in standard errors of the first fit.

    The learner is fitted to bootstrap samples of the data. Every parameter is divided by its
    standard deviation over these fits; the correlations are shrunk towards none by the share
    :math:`p/(p+R)`, for p parameters and R fits, and taken out along their principal axes.
    Parameters that never change, and combinations that do not (probabilities sum to 1), have
    no direction. One that is nothing but rounding noise would have one: ``to_vector`` should
    leave it out.

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

    def parameters(self, coordinates: np.ndarray, at: np.ndarray | None = None) -> np.ndarray:
        """The other way round; coordinates count from the first model, or from ``at``."""
        return (self.at if at is None else at) + coordinates @ self.directions.T

    def distance(self, one: np.ndarray, other: np.ndarray | None = None) -> np.ndarray:
        """Distance of parameters from other ones, by default the first model's.

        In standard errors: its root mean square over bootstrap fits is about 1.
        """
        other = self.at if other is None else other
        return np.linalg.norm((one - other) @ self.inverse.T, axis=1) / np.sqrt(self.axes)
