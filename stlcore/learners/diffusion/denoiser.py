r"""A denoiser with residual blocks, trained the way image models are.

Data noised by the Ornstein-Uhlenbeck process are, up to a factor, data with white noise of
deviation :math:`\sigma=\sqrt{e^{2t}-1}` on top: :math:`e^tx_t=x_0+\sigma\varepsilon`. The network
learns to take the noise off again, and the score follows from the clean image it guesses,
:math:`s(x,t)=(e^{-t}D(e^tx;\sigma)-x)/(1-e^{-2t})`.
"""

from __future__ import annotations

import math

import numpy as np

from stlcore.checks import check_count, check_positive
from stlcore.lazy import extra
from stlcore.learners.devices import fast_products

with extra("torch"):
    import torch
    import torch.nn.functional as F
    from torch import Tensor

__all__ = ["Denoiser"]

FREQUENCIES = 16  # sines and as many cosines that tell the network the noise level
BLOCK = 2**22  # hidden units computed at once when a model is asked


class Denoiser:
    r"""A residual network that guesses the clean point; a score for the diffusion learner.

    Parameters
    ----------
    width, blocks : int
        Units of a layer, and residual blocks of two layers each.
    steps : int
        Steps of Adam.
    batch : int
        Points of each repetition in a step.
    rate : float
        Adam's learning rate; it rises over the first 100 steps and falls to 0 along a cosine.
    average : float
        Decay of the exponential average of the weights that is kept in the end.

    Raises
    ------
    ValueError
        If a count is not a whole number from 1 up, the rate is not positive and finite, or the
        decay is not in [0, 1).

    Notes
    -----
    Preconditioning, weights of the loss and the law of the noise levels are those of Karras,
    Aittala, Aila and Laine (2022), Table 1 (EDM): with v the variance of the training points,
    :math:`D(y;\sigma)=\frac{v}{v+\sigma^2}y+\frac{\sigma\sqrt v}{\sqrt{v+\sigma^2}}
    F\bigl(\frac{y}{\sqrt{v+\sigma^2}},\ln\sigma\bigr)`, and
    :math:`\ln(\sigma/(2\sqrt v))\sim N(-1.2,1.2^2)`, since their data have deviation 1/2.

    All repetitions are trained at once, each on its own points with its own weights and noise.
    Single precision.
    """

    def __init__(
        self,
        width: int = 192,
        blocks: int = 3,
        *,
        steps: int = 5000,
        batch: int = 128,
        rate: float = 1e-3,
        average: float = 0.999,
    ) -> None:
        self.width, self.blocks = check_count("the width", width), check_count("blocks", blocks)
        self.steps, self.batch = check_count("steps", steps), check_count("batch", batch)
        self.rate = check_positive("the learning rate", rate)
        if not 0 <= average < 1:
            raise ValueError(f"the decay of the average must be in [0, 1), not {average!r}")
        self.average = float(average)
        self.units = self.width  # hidden units of a point in one layer

    def fit(self, points: Tensor, span: tuple[float, float], rng: torch.Generator):
        """Averaged weights, and the variance of the points that scales the input."""
        points = points.float()
        variance = points.var(dim=(1, 2), keepdim=True, correction=0).clamp(min=1e-6)
        weights = self._start(points, rng)
        kept = [weight.detach().clone() for weight in weights]
        adam = torch.optim.Adam(weights, lr=self.rate, betas=(0.9, 0.99))
        for step in range(self.steps):
            rising = min(1, (step + 1) / 100)
            adam.param_groups[0]["lr"] = (
                self.rate * rising * (1 + math.cos(math.pi * step / self.steps)) / 2
            )
            with fast_products(points.device, rounded=True):
                loss = self._loss(weights, points, variance, rng)
                adam.zero_grad()
                loss.backward()
            adam.step()
            with torch.no_grad():
                # A short average first, or the start would stay in it.
                decay = min(self.average, (step + 1) / (step + 10))
                torch._foreach_lerp_(kept, weights, 1 - decay)
        return kept, variance

    def __call__(self, fitted, x: Tensor, t: float) -> Tensor:
        """The score at ``x``."""
        weights, variance = fitted
        sigma = torch.full_like(variance, math.sqrt(math.expm1(2 * t)))
        size = max(1, BLOCK // (len(x) * self.units))
        with torch.no_grad(), fast_products(x.device, rounded=False):
            clean = [
                self.denoise(weights, variance, math.exp(t) * part.float(), sigma)
                for part in x.split(size, dim=1)
            ]
        return (math.exp(-t) * torch.cat(clean, dim=1).to(x) - x) / -math.expm1(-2 * t)

    def denoise(self, weights, variance: Tensor, noisy: Tensor, sigma: Tensor) -> Tensor:
        """The clean points (R, n, d) guessed from noisy ones; ``sigma`` is (R, 1 or n, 1)."""
        total = variance + sigma.square()
        guess = self._network(weights, noisy / total.sqrt(), torch.log(sigma))
        return variance / total * noisy + sigma * (variance / total).sqrt() * guess

    def _loss(self, weights, points: Tensor, variance: Tensor, rng: torch.Generator) -> Tensor:
        """Weighted error of a batch, summed over the repetitions, which do not meet."""
        repetitions, n, d = points.shape
        on = {"generator": rng, "device": points.device}
        chosen = torch.randint(n, (repetitions, self.batch, 1), **on)
        clean = points.gather(1, chosen.expand(-1, -1, d))
        level = -1.2 + 1.2 * torch.randn(chosen.shape, **on)
        sigma = 2 * variance.sqrt() * torch.exp(level)
        noisy = clean + sigma * torch.randn(clean.shape, **on)
        total = variance + sigma.square()
        guess = self._network(weights, noisy / total.sqrt(), torch.log(sigma))
        wanted = (clean - variance / total * noisy) / (sigma * (variance / total).sqrt())
        return (guess - wanted).square().sum() / (self.batch * d)

    def _network(self, weights, x: Tensor, level: Tensor) -> Tensor:
        told = F.silu(_affine(waves(level), *weights[2:4]))
        x = _affine(x, *weights[0:2])
        for k in range(self.blocks):
            first = weights[4 + 5 * k : 9 + 5 * k]
            hidden = _affine(_even(x), *first[0:2]) + told @ first[2]
            x = x + _affine(F.silu(hidden), *first[3:5])
        return _affine(_even(x), *weights[-2:])

    def _start(self, points: Tensor, rng: torch.Generator) -> list[Tensor]:
        """Weights and offsets; what ends a block or the network starts at 0."""
        repetitions, _, d = points.shape
        width, on = self.width, {"device": points.device}
        weights = []

        def layer(before: int, after: int, size: float = 1.0) -> None:
            draw = torch.randn(repetitions, before, after, generator=rng, **on)
            weights.append(size / math.sqrt(before) * draw)

        def offset(after: int) -> None:
            weights.append(torch.zeros(repetitions, 1, after, **on))

        for before in (d, 2 * FREQUENCIES):
            layer(before, width)
            offset(width)
        for _ in range(self.blocks):
            layer(width, width)
            offset(width)
            layer(width, width)  # of the noise level
            layer(width, width, 0.0)
            offset(width)
        layer(width, d, 0.0)
        offset(d)
        return [weight.requires_grad_() for weight in weights]


def waves(level: Tensor) -> Tensor:
    """The logarithm of the noise level, (..., 1), as sines and cosines."""
    waves = level * torch.from_numpy(np.geomspace(0.25, 8, FREQUENCIES)).to(level)
    return torch.cat([waves.sin(), waves.cos()], dim=-1)


def _affine(x: Tensor, weight: Tensor, offset: Tensor) -> Tensor:
    return torch.baddbmm(offset, x, weight)


def _even(x: Tensor) -> Tensor:
    """Every point's units with mean 0 and variance 1."""
    return F.layer_norm(x, x.shape[-1:])
