"""Linear regression by least squares, through its sufficient statistics only.

Apart from ``logistic`` because it draws no point at all, and from ``regression`` because its
inputs are new in every round.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

__all__ = ["Line", "LinearRegression", "Products"]


class Line(NamedTuple):
    """Regression weights; shape (repetitions, d), the truth (d,)."""

    weights: np.ndarray
    training_error: np.ndarray | float = 0.0
    """Mean squared residual on the training set, shape (repetitions,)."""


class Products(NamedTuple):
    """What a sample tells about its law."""

    count: np.ndarray
    """Number of points, shape (repetitions,)."""
    products: np.ndarray
    """Sums of products of the inputs and the label, shape (repetitions, d + 1, d + 1)."""


class LinearRegression:
    r"""Least squares on independent standard normal inputs, with normal noise of known size.

    No point is ever drawn. Inputs and label are jointly normal, so their sums of
    products follow a Wishart law, and a round costs the same whatever its size.
    Synthetic labels carry the same noise as real ones.

    Parameters
    ----------
    weights : array_like, shape (d,)
        The true weights :math:`w^*`.
    noise : float
        Standard deviation :math:`\sigma` of the label around :math:`w^\top x`.

    Raises
    ------
    ValueError
        If the weights are no vector of finite numbers, or the noise is not positive.

    Notes
    -----
    Model: :class:`Line`. Tracks ``squared_error``, :math:`\|\hat w-w^*\|^2`, and ``gap``, the
    expected squared error on new real data minus that on the training set. The exact
    expected values are :func:`stlcore.theory.augmentation.ols_loop`.
    """

    parts_of_mixtures = False  # see `subset`

    def __init__(self, weights, noise: float = 1.0) -> None:
        weights = np.asarray(weights, dtype=float)
        if weights.ndim != 1 or weights.size == 0 or not np.isfinite(weights).all():
            raise ValueError("the true weights must be a vector of finite numbers")
        if not 0 < noise < np.inf:
            raise ValueError(f"the noise must be positive and finite, not {noise!r}")
        self.truth, self.noise = Line(weights), float(noise)

    def sample(
        self,
        models: Sequence[Line],
        weights: np.ndarray,
        size: np.ndarray,
        rng: np.random.Generator,
    ) -> Products:
        """Sums of products of ``size`` points from the mixture of ``models``."""
        counts = rng.multinomial(size, weights)
        products = np.zeros((len(size), *2 * (len(self.truth.weights) + 1,)))
        for model, count in zip(models, counts.T, strict=True):
            root = self._root(model) @ _wishart_root(count, products.shape[-1], rng)
            products += root @ root.swapaxes(1, 2)
        return Products(size, products)

    def fit(self, sample: Products, previous: Line | None = None) -> Line:
        """The least-squares fit; ValueError if a training set has fewer points than weights."""
        d = len(self.truth.weights)
        if sample.count.min() < d:
            raise ValueError(f"{d} weights need at least {d} points, not {sample.count.min()}")
        moment = sample.products[:, :d, d]
        weights = np.linalg.solve(sample.products[:, :d, :d], moment[..., None])[..., 0]
        residual = sample.products[:, d, d] - (weights * moment).sum(axis=1)
        return Line(weights, residual / sample.count)

    def count(self, sample: Products) -> np.ndarray:
        """Number of points."""
        return sample.count

    def pool(self, first: Products, second: Products) -> Products:
        """Sums over both samples."""
        return Products(first.count + second.count, first.products + second.products)

    def subset(self, sample: Products, size: int, rng: np.random.Generator) -> Products:
        """Sums over a random part of a sample of real points.

        Raises
        ------
        ValueError
            If the part is empty or larger than the sample, or the sample has no more
            points than weights.

        Notes
        -----
        Given the sums S of all points, those of a part are :math:`LBL^\top` with
        :math:`S=LL^\top` and B a matrix-beta variable. This is the exact law of one
        part, as with :meth:`stlcore.learners.gaussian.Gaussian.subset`.
        """
        width = sample.products.shape[-1]
        if not 1 <= size <= sample.count.min():
            raise ValueError(
                f"cannot take {size} points from a sample of {int(sample.count.min())}"
            )
        if sample.count.min() < width:
            raise ValueError(f"the sample needs at least {width} points to take a part of it")
        part = _wishart_root(np.full(len(sample.count), size), width, rng)
        rest = _wishart_root(sample.count - size, width, rng)
        whole = part @ part.swapaxes(1, 2) + rest @ rest.swapaxes(1, 2)
        part = np.linalg.cholesky(sample.products) @ np.linalg.solve(
            np.linalg.cholesky(whole), part
        )
        return Products(np.full(len(sample.count), size), part @ part.swapaxes(1, 2))

    def track(self, model: Line) -> dict[str, np.ndarray]:
        """Risk and generalisation gap of the fit."""
        error = ((model.weights - self.truth.weights) ** 2).sum(axis=-1)
        return {"squared_error": error, "gap": self.noise**2 + error - model.training_error}

    def to_vector(self, model: Line) -> np.ndarray:
        """The weights, shape (repetitions, d); the training error is no parameter."""
        return np.atleast_2d(model.weights)

    def from_vector(self, vector: np.ndarray, template: Line) -> Line:
        """Lines with the given weights; the training error is the template's."""
        return Line(vector, np.broadcast_to(template.training_error, len(vector)))

    def _root(self, model: Line) -> np.ndarray:
        """What turns d + 1 standard normals into the inputs and the label of a point."""
        d = model.weights.shape[-1]
        root = np.broadcast_to(np.eye(d + 1), (*model.weights.shape[:-1], d + 1, d + 1)).copy()
        root[..., d, :d], root[..., d, d] = model.weights, self.noise
        return root


def _wishart_root(count: np.ndarray, width: int, rng: np.random.Generator) -> np.ndarray:
    """Lower triangular roots of Wishart matrices (Bartlett), shape (repetitions, width, width).

    With fewer points than ``width`` the matrix is singular: the columns left over are 0.
    """
    places = np.arange(width)
    degrees = np.maximum(count[:, None] - places, 0)
    root = np.tril(rng.standard_normal((len(count), width, width)), -1)
    root *= (places < count[:, None])[:, None, :]
    root[:, places, places] = np.sqrt(2 * rng.standard_gamma(degrees / 2))
    return root
