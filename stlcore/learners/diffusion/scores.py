r"""Scores for diffusion models: linear, random features, and networks trained by Adam.

Data :math:`x_0` are noised by the Ornstein-Uhlenbeck process: at time t they are
:math:`x_t=e^{-t}x_0+\sigma_t\varepsilon` with :math:`\sigma_t^2=1-e^{-2t}`. Every score here
is trained by denoising score matching: it minimises, or starts to minimise, the mean of
:math:`|s(x_t,t)+\varepsilon/\sigma_t|^2` over the data, the noise, and times that are spread
evenly on a logarithmic scale. Repetitions are the leading axis of every array.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple, Protocol

import numpy as np

from stlcore.checks import check_count, check_positive
from stlcore.lazy import extra

with extra("torch"):
    import torch
    from torch import Tensor

__all__ = ["LinearScore", "Network", "RandomFeatures", "Score", "gradient_flow"]

#: Entries of the largest array of hidden units: about what a processor's cache holds.
BLOCK = 2**20


class Score(Protocol):
    """What the diffusion learner asks of a family of scores."""

    def fit(self, points: Tensor, span: tuple[float, float], rng: torch.Generator):
        """Parameters fitted to ``points`` (R, n, d) for times within ``span``."""

    def __call__(self, fitted, x: Tensor, t: float) -> Tensor:
        """The fitted score at ``x`` (R, n, d) and time t; the same shape."""


# --- the score of a normal law ---------------------------------------------------------


class NormalFit(NamedTuple):
    """Moments of the training data; the covariance by its spectrum."""

    mean: Tensor
    variances: Tensor
    axes: Tensor


class LinearScore:
    r"""The best score that is linear in x at every time, in closed form.

    It is the score of the normal law with the mean m and the covariance (divisor n) of the
    data: :math:`-(x-e^{-t}m)/S_t` with :math:`S_t=1+(S-1)e^{-2t}` along each principal axis.
    """

    def fit(self, points: Tensor, span: tuple[float, float], rng: torch.Generator) -> NormalFit:
        """Mean and spectrum of the covariance."""
        mean = points.mean(dim=1, keepdim=True)
        centred = points - mean
        variances, axes = torch.linalg.eigh(centred.mT @ centred / points.shape[1])
        return NormalFit(mean, variances.clamp(min=0)[:, None], axes)

    def __call__(self, fitted: NormalFit, x: Tensor, t: float) -> Tensor:
        """The score at ``x``."""
        mean, variances, axes = fitted
        decay = math.exp(-t)
        along = (x - decay * mean) @ axes
        return -(along / (1 + (variances - 1) * decay**2)) @ axes.mT


# --- random features, the outer layer trained by exact gradient flow ------------------------


class RandomFeatures:
    r"""One hidden layer of fixed random units: :math:`s(x,t)=\frac1mA\,\sigma(Wx+Ue_t)`.

    Only A is trained, from 0, by gradient flow on the loss of the module's head for the time
    ``flow_time``. The loss is quadratic in A, so the flow is solved by one
    eigendecomposition; see :func:`gradient_flow`.

    Parameters
    ----------
    dimension, width : int
        d and m.
    rng : numpy.random.Generator
        Draws W and U, once and for all.
    flow_time : float
        Training time :math:`\tau`.
    repetitions : int
        With 1 all repetitions of a loop share W and U; otherwise each has its own.
    scale : float
        W has variance ``scale**2 / d`` and U ``scale**2``. The time enters as
        :math:`e_t=(1,u)`, with u the logarithm of t mapped to [-1, 1].
    noises : int
        Noise draws for each point, one at each of as many times.

    Raises
    ------
    ValueError
        If a count is not a whole number from 1 up, or a number not positive and finite.

    Notes
    -----
    Setting of paper B: sigma is max(., 0), W and U are fixed at random. The laws of W and U,
    :math:`e_t`, the weight of the times and the start at 0 are choices.
    """

    def __init__(
        self,
        dimension: int,
        width: int,
        rng: np.random.Generator,
        *,
        flow_time: float,
        repetitions: int = 1,
        scale: float = 2.0,
        noises: int = 12,
    ) -> None:
        self.dimension, self.width = (
            check_count("dimension", dimension),
            check_count("width", width),
        )
        self.noises = check_count("noises", noises)
        self.flow_time = check_positive("the flow time", flow_time)
        shape = (check_count("repetitions", repetitions), dimension + 2, width)
        scales = check_positive("the scale", scale) * np.ones((dimension + 2, 1))
        scales[:dimension] /= math.sqrt(dimension)
        inner = torch.from_numpy(scales * rng.standard_normal(shape))
        self.inner, self.of_time = inner[:, :dimension], inner[:, dimension:]

    def features(self, x: Tensor, t: float, span: tuple[float, float]) -> Tensor:
        r""":math:`\sigma(Wx+Ue_t)` for points of shape (R, n, d); shape (R, n, m)."""
        size, on = (len(x), -1, -1), x.device
        offset, inner = embed(t, span).to(on) @ self.of_time.to(on), self.inner.to(on)
        if self.dimension == 1:  # no matrix product, for it takes twice as long
            return torch.addcmul(offset, x, inner).relu_()
        return torch.baddbmm(offset.expand(size), x, inner.expand(size)).relu_()

    def normal_equations(
        self, points: Tensor, span: tuple[float, float], rng: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        r"""Gram matrix G (R, m, m) and cross moments B (R, d, m) of the loss.

        The loss is :math:`\mathrm{tr}(AGA^\top)/m^2-2\,\mathrm{tr}(AB^\top)/m` and a constant.
        """
        repetitions, n, d = points.shape
        share = 1 / (n * self.noises)
        gram = points.new_zeros(repetitions, self.width, self.width)
        cross = points.new_zeros(repetitions, d, self.width)
        for t in np.geomspace(*span, self.noises):
            decay, sigma = math.exp(-t), math.sqrt(-math.expm1(-2 * t))
            for block in _blocks(points, self.width):
                noise = torch.randn(
                    block.shape, generator=rng, dtype=block.dtype, device=rng.device
                )
                phi = self.features(decay * block + sigma * noise, t, span)
                gram.baddbmm_(phi.mT, phi, alpha=share)
                cross.baddbmm_(noise.mT, phi, alpha=-share / sigma)
        return gram, cross

    def fit(self, points: Tensor, span: tuple[float, float], rng: torch.Generator):
        """The trained outer layer A / m, and the times it was trained for."""
        gram, cross = self.normal_equations(points, span, rng)
        return gradient_flow(gram, cross, self.flow_time) / self.width, span

    def __call__(self, fitted, x: Tensor, t: float) -> Tensor:
        """The score at ``x``."""
        outer, span = fitted
        return torch.cat(
            [self.features(block, t, span) @ outer.mT for block in _blocks(x, self.width)], dim=1
        )


def gradient_flow(gram: Tensor, cross: Tensor, time: float) -> Tensor:
    r"""The outer layer after gradient flow from 0 for a time, exactly.

    Parameters
    ----------
    gram : Tensor, shape (..., m, m)
        G, symmetric and without negative eigenvalues.
    cross : Tensor, shape (..., d, m)
        B.
    time : float
        :math:`\tau`, above 0; infinity gives the minimum with the smallest norm.

    Returns
    -------
    Tensor, shape (..., d, m)
        The solution A of :math:`\dot A=-2\,(AG/m-B)`, :math:`A(0)=0`: with
        :math:`G/m=Q\,\mathrm{diag}(\kappa)\,Q^\top` it is
        :math:`BQ\,\mathrm{diag}((1-e^{-2\kappa\tau})/\kappa)\,Q^\top`.

    Raises
    ------
    ValueError
        If the time is not above 0, or G or B has an entry that is not finite.

    Notes
    -----
    This is the gradient flow of :math:`L(A)=\mathrm{tr}(AGA^\top)/m^2-2\,\mathrm{tr}(AB^\top)/m`
    in the time scale of the function that is learned, :math:`\dot A=-m\nabla L`: the speed at
    which the score changes then does not depend on the width.
    """
    if not time > 0:
        raise ValueError(f"the flow time must be above 0, not {time!r}")
    if not (torch.isfinite(gram).all() and torch.isfinite(cross).all()):
        raise ValueError("the normal equations of the score must be finite numbers")
    kappa, axes = torch.linalg.eigh(gram / gram.shape[-1])
    # Below this, rounding decides; such a direction is flat for every finite time.
    flat = kappa <= kappa[..., -1:] * gram.shape[-1] * torch.finfo(gram.dtype).eps
    kappa = torch.where(flat, torch.ones_like(kappa), kappa)
    gain = torch.where(flat, torch.zeros_like(kappa), -torch.expm1(-2 * kappa * time) / kappa)
    return ((cross @ axes) * gain[..., None, :]) @ axes.mT


# --- networks with every layer trained -----------------------------------------------------


class Network:
    """A network of rectified units with all its layers trained by Adam, in single precision.

    It sees a point and :math:`e_t` as :class:`RandomFeatures` does, and learns from the same
    loss in small batches with fresh noise, its rate falling to 0 along a cosine.

    Parameters
    ----------
    hidden : sequence of int
        Units of each hidden layer.
    steps : int
        Steps of Adam.
    rate : float
        Its first learning rate.
    batch : int
        Points of each repetition in a step.

    Raises
    ------
    ValueError
        If there is no hidden layer, a count is not a whole number from 1 up, or the rate is
        not positive and finite.
    """

    def __init__(
        self, hidden: Sequence[int], *, steps: int, rate: float = 2e-3, batch: int = 256
    ) -> None:
        if len(hidden) == 0:
            raise ValueError("a network needs at least one hidden layer")
        self.hidden = [check_count("the units of a layer", units) for units in hidden]
        self.steps, self.batch = check_count("steps", steps), check_count("batch", batch)
        self.rate = check_positive("the learning rate", rate)

    def fit(self, points: Tensor, span: tuple[float, float], rng: torch.Generator):
        """The trained layers, and the times they were trained for."""
        points = points.float()
        layers = self._start(points, rng)
        adam = torch.optim.Adam([part for layer in layers for part in layer], lr=self.rate)
        falling = torch.optim.lr_scheduler.CosineAnnealingLR(adam, self.steps)
        for _ in range(self.steps):
            loss = self._loss(layers, points, span, rng)
            adam.zero_grad()
            loss.backward()
            adam.step()
            falling.step()
        return [tuple(part.detach() for part in layer) for layer in layers], span

    def __call__(self, fitted, x: Tensor, t: float) -> Tensor:
        """The score at ``x``."""
        layers, span = fitted
        time = embed(t, span).to(x).float()
        blocks = _blocks(x.float(), max(self.hidden))
        return torch.cat([_forward(layers, block, time) for block in blocks], dim=1).to(x)

    def _start(self, points: Tensor, rng: torch.Generator) -> list[tuple[Tensor, Tensor]]:
        """Weights and offsets, uniform with the variance that keeps a signal's size."""
        repetitions, _, d = points.shape
        sizes = [d + 2, *self.hidden, d]

        def uniform(*shape: int, bound: float) -> Tensor:
            draw = torch.rand(shape, generator=rng, device=points.device)
            return (bound * (2 * draw - 1)).requires_grad_()

        return [
            (
                uniform(repetitions, before, after, bound=math.sqrt(6 / before)),
                uniform(repetitions, 1, after, bound=1 / math.sqrt(before)),
            )
            for before, after in pairwise(sizes)
        ]

    def _loss(self, layers, points: Tensor, span: tuple[float, float], rng: torch.Generator):
        """Denoising loss of a batch, summed over the repetitions, which do not meet."""
        repetitions, n, d = points.shape
        on = {"generator": rng, "device": points.device}
        chosen = torch.randint(n, (repetitions, self.batch, 1), **on)
        low, high = math.log(span[0]), math.log(span[1])
        t = torch.exp(low + (high - low) * torch.rand(chosen.shape, **on))
        decay, sigma = torch.exp(-t), torch.sqrt(-torch.expm1(-2 * t))
        noise = torch.randn((repetitions, self.batch, d), **on)
        x = decay * points.gather(1, chosen.expand(-1, -1, d)) + sigma * noise
        residual = _forward(layers, x, embed(t, span)) + noise / sigma
        return residual.square().sum() / self.batch


def _forward(layers, x: Tensor, time: Tensor) -> Tensor:
    """A network of rectified units at points (R, n, d) and embedded times."""
    x = torch.cat([x, time.expand(*x.shape[:2], 2)], dim=-1)
    for weight, offset in layers[:-1]:
        x = torch.relu(torch.baddbmm(offset, x, weight))
    return torch.baddbmm(layers[-1][1], x, layers[-1][0])


def embed(t, span: tuple[float, float]) -> Tensor:
    """:math:`e_t` of a number, shape (1, 1, 2), or of times (R, n, 1), shape (R, n, 2)."""
    if not isinstance(t, Tensor):
        t = torch.full((1, 1, 1), float(t), dtype=torch.float64)
    low, high = math.log(span[0]), math.log(span[1])
    place = (2 * torch.log(t) - low - high) / (high - low)
    return torch.cat([torch.ones_like(place), place], dim=-1)


def _blocks(x: Tensor, width: int) -> Sequence[Tensor]:
    """The points cut so that their hidden units stay in the cache."""
    return x.split(max(1, BLOCK // (x.shape[0] * width)), dim=1)
