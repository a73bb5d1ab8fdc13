r"""Smoothing kernels and normal mixtures: what the theory of a KDE and its learner share.

A kernel K has unit scale; with a bandwidth h the estimate smooths with
:math:`K_h(x)=K(x/h)/h`, whose Fourier transform is :math:`\kappa(h\omega)`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

__all__ = [
    "FOURTH_ORDER",
    "GAUSSIAN",
    "KERNELS",
    "LAPLACE",
    "UNIFORM",
    "Kernel",
    "NormalMixture",
    "loop_bandwidth",
    "standard_bandwidth",
]


@dataclass(frozen=True)
class Kernel:
    r"""A symmetric kernel K on the real line, with :math:`\int K=1`.

    Attributes
    ----------
    name : str
        How a page calls it.
    order : int
        The order s: :math:`\int x^kK=0` for 0 < k < s, but not for k = s.
    moment : float
        :math:`\int x^sK`; the bias is about :math:`h^s\,p^{(s)}` times this over s!.
    roughness : float
        :math:`\int K^2`; the integrated variance is about this over nh.
    positive : float
        :math:`\int\max(K,0)`; 1 for a density, more for a kernel with negative values.
    transform : callable
        :math:`\kappa(u)=\int e^{iux}K(x)\,dx`, real, for arrays.
    density : callable
        K itself, for arrays.
    draw : callable
        ``draw(rng, size)``: exact draws from the positive part of K, scaled to a density.
        That is K itself for a kernel without negative values.
    """

    name: str
    order: int
    moment: float
    roughness: float
    positive: float
    transform: Callable[[np.ndarray], np.ndarray]
    density: Callable[[np.ndarray], np.ndarray]
    draw: Callable[[np.random.Generator, int | tuple[int, ...]], np.ndarray]

    def __repr__(self) -> str:
        return f"the {self.name} kernel"


def _normal_density(x):
    return np.exp(-np.square(x) / 2) / math.sqrt(2 * math.pi)


def _draw_fourth_order(rng: np.random.Generator, size: int | tuple[int, ...]) -> np.ndarray:
    """Rejection: a normal draw stays with probability 1 - x^2/3, which is 0 beyond root 3."""
    kept = np.empty(0)
    wanted = int(np.prod(size))
    while kept.size < wanted:
        x = rng.standard_normal(2 * (wanted - kept.size) + 16)
        kept = np.concatenate([kept, x[3 * rng.uniform(size=x.size) < 3 - x**2]])
    return kept[:wanted].reshape(size)


GAUSSIAN = Kernel(
    name="Gaussian",
    order=2,
    moment=1.0,
    roughness=0.5 / math.sqrt(math.pi),
    positive=1.0,
    transform=lambda u: np.exp(-np.square(u) / 2),
    density=_normal_density,
    draw=lambda rng, size: rng.standard_normal(size),
)
LAPLACE = Kernel(
    name="Laplace",
    order=2,
    moment=2.0,
    roughness=0.25,
    positive=1.0,
    transform=lambda u: 1 / (1 + np.square(u)),
    density=lambda x: np.exp(-np.abs(x)) / 2,
    draw=lambda rng, size: rng.laplace(size=size),
)
UNIFORM = Kernel(
    name="uniform",
    order=2,
    moment=1 / 3,
    roughness=0.5,
    positive=1.0,
    transform=lambda u: np.sinc(np.asarray(u) / math.pi),
    density=lambda x: np.where(np.abs(x) <= 1, 0.5, 0.0),
    draw=lambda rng, size: rng.uniform(-1, 1, size=size),
)
#: The Gaussian kernel times (3 - x^2)/2; negative beyond the root of 3.
FOURTH_ORDER = Kernel(
    name="fourth-order",
    order=4,
    moment=-3.0,
    roughness=27 / (32 * math.sqrt(math.pi)),
    positive=math.erf(math.sqrt(1.5)) + math.sqrt(3) * math.exp(-1.5) / math.sqrt(2 * math.pi),
    transform=lambda u: (1 + np.square(u) / 2) * np.exp(-np.square(u) / 2),
    density=lambda x: (3 - np.square(x)) / 2 * _normal_density(x),
    draw=_draw_fourth_order,
)
#: All four.
KERNELS = (GAUSSIAN, LAPLACE, UNIFORM, FOURTH_ORDER)


def standard_bandwidth(size, *, scale: float = 1.0, order: int = 2, dimension: int = 1):
    r"""The bandwidth :math:`c\,n^{-1/(2s+d)}` of a single estimate.

    Parameters
    ----------
    size : int or array_like
        Sample size n; an array gives an array, one bandwidth for each round of a loop.
    scale : float
        The constant c.
    order, dimension : int
        The kernel's order s and the dimension d.
    """
    return scale * np.asarray(size, dtype=float) ** (-1 / (2 * order + dimension))


def loop_bandwidth(size, rounds: int, *, scale: float = 1.0):
    r"""The bandwidth :math:`c\,n^{-1/5}T^{-3/10}` of a fully synthetic loop on the line.

    After T rounds with a Gaussian kernel the loop is one estimate with bandwidth
    :math:`h\sqrt T` and n/(2T) points (in the mean, :func:`stlcore.theory.kde.kde_equivalent`),
    so the best :math:`h\sqrt T` is of order :math:`(n/T)^{-1/5}`. Derived for this companion.

    Parameters
    ----------
    size : int or array_like
        Sample size n of every round.
    rounds : int
        The last round T.
    scale : float
        The constant c.
    """
    return standard_bandwidth(size, scale=scale) * rounds**-0.3


@dataclass(frozen=True)
class NormalMixture:
    r"""A mixture of normal laws :math:`\sum_kw_kN(\mu_k,\sigma_k^2I_d)`.

    Attributes
    ----------
    weights : sequence of float
        :math:`w_k`, from 0 up, of sum 1.
    means : sequence of float, or of d floats each
        :math:`\mu_k`.
    deviations : sequence of float
        :math:`\sigma_k>0`.

    Raises
    ------
    ValueError
        If the weights do not sum to 1, a number is not finite, a deviation is not positive,
        or the lengths differ.

    Examples
    --------
    >>> NormalMixture.standard().density(0.0).round(4)
    np.float64(0.3989)
    """

    weights: Sequence[float]
    means: Sequence[float] | Sequence[Sequence[float]]
    deviations: Sequence[float]

    def __post_init__(self) -> None:
        w, mu, sd = (np.array(v, dtype=float) for v in (self.weights, self.means, self.deviations))
        if w.ndim != 1 or w.size == 0 or sd.shape != w.shape or mu.shape[:1] != w.shape:
            raise ValueError("a mixture needs one weight, mean and deviation for every component")
        if mu.ndim > 2 or mu.size == 0:
            raise ValueError("the means must be numbers, or vectors of one length")
        if not (np.all(w >= 0) and abs(w.sum() - 1) <= 1e-12):
            raise ValueError("the weights of a mixture must not be negative and must sum to 1")
        if not np.all(np.isfinite(mu)):
            raise ValueError("the means of a mixture must be finite")
        if not np.all((sd > 0) & (sd < math.inf)):
            raise ValueError("the deviations of a mixture must be positive and finite")
        for name, value in (("weights", w), ("means", mu), ("deviations", sd)):
            value.setflags(write=False)
            object.__setattr__(self, name, value)

    @classmethod
    def standard(cls, dimension: int = 1) -> NormalMixture:
        """The standard normal law."""
        mean = 0.0 if dimension == 1 else np.zeros(dimension)
        return cls([1.0], [mean], [1.0])

    @property
    def dimension(self) -> int:
        """The dimension d."""
        return 1 if self.means.ndim == 1 else self.means.shape[1]

    def transform(self, omega) -> np.ndarray:
        r"""Characteristic function :math:`\int e^{i\omega x}p(x)\,dx`, in one dimension."""
        self._check_line()
        omega = np.asarray(omega, dtype=float)[..., None]
        return np.exp(1j * omega * self.means - (omega * self.deviations) ** 2 / 2) @ self.weights

    def density(self, x) -> np.ndarray:
        """Density at the points ``x``, whose last axis holds the coordinates for d > 1."""
        x = np.asarray(x, dtype=float)
        if self.means.ndim == 1:
            x = (x[..., None] - self.means) / self.deviations
            return _normal_density(x) @ (self.weights / self.deviations)
        if x.shape[-1:] != (self.dimension,):
            raise ValueError(f"the points must have {self.dimension} coordinates")
        x = (x[..., None, :] - self.means) / self.deviations[:, None]
        scale = self.deviations**-self.dimension
        return _normal_density(x).prod(axis=-1) @ (self.weights * scale)

    def sample(self, rng: np.random.Generator, size: int | tuple[int, ...]) -> np.ndarray:
        """I.i.d. draws, shape ``size``, and another axis for d > 1."""
        part = rng.choice(self.weights.size, size=size, p=self.weights)
        mean, deviation = self.means[part], self.deviations[part]
        if self.means.ndim == 2:
            deviation = deviation[..., None]
        return mean + deviation * rng.standard_normal(mean.shape)

    def _check_line(self) -> None:
        if self.means.ndim != 1:
            raise ValueError(
                f"this is for mixtures on the line, not in {self.dimension} dimensions"
            )
