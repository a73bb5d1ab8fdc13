r"""Diffusion models: noise the data, learn the score, and run the noising backwards.

The forward process is Ornstein-Uhlenbeck, :math:`dX=-X\,dt+\sqrt2\,dB`, from the data at
time 0 to the horizon T, where it is nearly :math:`N(0,I)`. A model is a score
:math:`s(x,t)`; see :mod:`stlcore.learners.diffusion.scores`. Sampling starts from :math:`N(0,I)`
at T and ends at a cutoff :math:`t_0>0`, before the score of the data becomes singular.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple, Protocol

import numpy as np

from stlcore.checks import check_count
from stlcore.lazy import extra
from stlcore.learners.base import Diverged, Round, arrays_in
from stlcore.learners.devices import pick_device
from stlcore.learners.diffusion.scores import Score

with extra("torch"):
    import torch
    from torch import Tensor

__all__ = ["Diffusion", "EmpiricalLaw", "Fitted"]


class Law(Protocol):
    """A true law, for example :class:`stlcore.laws.NormalMixture`."""

    dimension: int

    def sample(self, rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
        """I.i.d. draws, shape ``size`` and, for d > 1, another axis."""


class EmpiricalLaw:
    """The law of a point drawn from a data set, each with the same chance.

    Parameters
    ----------
    points : array_like, shape (N, d)
        The data set.

    Raises
    ------
    ValueError
        If it is empty, has the wrong shape, or an entry that is not finite.
    """

    def __init__(self, points) -> None:
        self.points = np.asarray(points, dtype=float)
        if self.points.ndim != 2 or self.points.size == 0:
            raise ValueError("a data set must be a table of at least one point and coordinate")
        if not np.all(np.isfinite(self.points)):
            raise ValueError("a data set must not contain NaN or infinite entries")
        self.dimension = self.points.shape[1]

    def sample(self, rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
        """Draws with replacement, shape ``(*size, d)``."""
        return self.points[rng.integers(len(self.points), size=size)]


class Fitted(NamedTuple):
    """A model: the parameters of its score, and the moments of what it was trained on."""

    score: Any
    mean: np.ndarray
    variance: np.ndarray


class Diffusion:
    r"""A diffusion model as a learner of the loop.

    Parameters
    ----------
    truth : Law
        The true law; a total variance near 1 in each coordinate suits the process.
    score : Score
        The family of scores, from :mod:`stlcore.learners.diffusion.scores`.
    horizon, cutoff : float
        The times T and :math:`t_0`.
    steps : int
        Steps of the sampler, their times evenly spaced on a logarithmic scale.
    sampler : {"sde", "flow"}
        The reverse equation with its noise, or the probability-flow ODE with the same
        marginal laws, by Heun's method.
    device : str
        "auto" takes a GPU where there is one; "cpu" and "cuda" insist.

    Raises
    ------
    ValueError
        If the times are not positive, finite and in order, a name is unknown, or a GPU is
        asked for where there is none.

    Notes
    -----
    Model: :class:`Fitted`. Sample: a tensor of shape (R, n, d). The noise of a fit comes from
    the round's own generator.

    Tracks ``mean`` and ``variance`` of the training sample, averaged over the coordinates.

    The reverse equation is :math:`dX=(X+2s)\,dt+\sqrt2\,dB` in reversed time. A step of length
    h is the ancestral one of Ho, Jain and Abbeel (2020): given x, the next point is normal with
    mean :math:`e^hx+2\sinh(h)\,s(x,t)` and variance :math:`1-e^{-2h}` in each coordinate. It is
    exact for standard normal data.
    """

    def __init__(
        self,
        truth: Law,
        score: Score,
        *,
        horizon: float = 3.0,
        cutoff: float = 0.01,
        steps: int = 50,
        sampler: str = "sde",
        device: str = "auto",
    ) -> None:
        if not 0 < cutoff < horizon < math.inf:
            raise ValueError(
                f"the times must obey 0 < cutoff < horizon < infinity, not {cutoff!r}, {horizon!r}"
            )
        if sampler not in ("sde", "flow"):
            raise ValueError(f"the sampler must be 'sde' or 'flow', not {sampler!r}")
        self.truth, self.score, self.sampler = truth, score, sampler
        self.span = (float(cutoff), float(horizon))
        self.times = np.geomspace(horizon, cutoff, check_count("steps", steps) + 1)
        self.device = pick_device(device)

    def sample(
        self,
        models: Sequence[Law | Fitted],
        weights: np.ndarray,
        size: np.ndarray,
        rng: np.random.Generator,
    ) -> Tensor:
        """Points from the mixture of ``models``, those of one model together.

        The weights may differ between repetitions, with shape (repetitions, models).

        Raises
        ------
        ValueError
            If the weights are negative or do not sum to 1, the sizes differ or are 0, or the
            truth gives a number that is not finite.
        """
        weights, size = np.asarray(weights, dtype=float), np.asarray(size)
        if not (np.all(weights >= 0) and np.all(abs(weights.sum(axis=-1) - 1) <= 1e-9)):
            raise ValueError("the weights of a mixture must not be negative and must sum to 1")
        if size.size == 0 or size[0] < 1 or np.any(size != size[0]):
            raise ValueError("every repetition must get the same number of points, at least 1")
        repetitions, n = len(size), int(size[0])
        counts = rng.multinomial(size, weights)
        shape = (repetitions, n, self.truth.dimension)
        points = torch.empty(shape, dtype=torch.float64, device=self.device)
        stop, place = counts.cumsum(axis=1), np.arange(n)
        for k in np.flatnonzero(counts.any(axis=0)):
            drawn = self._draw(models[k], int(counts[:, k].max()), repetitions, rng)
            end = stop[:, k, None]
            mine = (end - counts[:, k, None] <= place) & (place < end)
            kept = np.arange(drawn.shape[1]) < counts[:, k, None]
            points[torch.from_numpy(mine)] = drawn[torch.from_numpy(kept)]
        return points

    def fit(self, sample: Tensor, previous: Fitted | None, round: Round) -> Fitted:
        """Train the score from scratch on the sample.

        A repetition whose sample has left the range of finite numbers is lost: it trains on
        that of another one, and its moments are missing.
        """
        finite = torch.isfinite(sample).all(dim=(1, 2))
        if not finite.any():
            raise Diverged("the sampler left the range of finite numbers")
        if not finite.all():
            stand_in = sample[finite][:1]
            sample = torch.where(finite[:, None, None], sample, stand_in)
        noise = torch.Generator(self.device).manual_seed(int(round.rng.integers(2**63)))
        fitted = self.score.fit(sample, self.span, noise)
        mean = sample.mean(dim=1)
        variance = (sample - mean[:, None]).square().mean(dim=(1, 2))
        mean, variance = (
            torch.where(finite, moment, math.nan).cpu().numpy()
            for moment in (mean.mean(dim=1), variance)
        )
        return Fitted(fitted, mean, variance)

    def lost(self, model: Fitted) -> np.ndarray:
        """Whether a sample left the range of finite numbers."""
        return np.isnan(model.mean)

    def given(self, points, repetitions: int = 1) -> Tensor:
        """Points of one's own (n, d) as a sample, the same ones in every repetition."""
        points = torch.as_tensor(np.asarray(points, dtype=float), device=self.device)
        return points.expand(repetitions, -1, -1).clone()

    def count(self, sample: Tensor) -> np.ndarray:
        """Number of points."""
        return np.full(len(sample), sample.shape[1])

    def pool(self, first: Tensor, second: Tensor) -> Tensor:
        """Both samples together."""
        return torch.cat([first, second], dim=1)

    def subset(self, sample: Tensor, size: int, rng: np.random.Generator) -> Tensor:
        """``size`` points of each repetition, chosen without replacement.

        Raises
        ------
        ValueError
            If the part is empty or larger than the sample.
        """
        repetitions, n, d = sample.shape
        if not 1 <= size <= n:
            raise ValueError(f"cannot take {size} points from a sample of {n}")
        order = rng.permuted(np.tile(np.arange(n), (repetitions, 1)), axis=1)[:, :size]
        chosen = torch.from_numpy(order).to(self.device)[..., None].expand(-1, -1, d)
        return sample.gather(1, chosen)

    def track(self, model: Fitted) -> dict[str, np.ndarray]:
        """Moments of the training sample."""
        return {"mean": model.mean, "variance": model.variance}

    # --- checkpoints -----------------------------------------------------------------------

    def identity(self) -> dict[str, Any]:
        """Settings, and checksums of the score's and the truth's numbers."""
        digests = {}
        for name, part in {"truth": self.truth, "score": self.score}.items():
            digest = hashlib.sha256(type(part).__name__.encode())
            for place, array in arrays_in(vars(part)):  # a score is callable, so not looked into
                digest.update(f"{place} {array.dtype} {array.shape}".encode() + array.tobytes())
            digests[name] = digest.hexdigest()
        return {**digests, "times": list(self.times), "sampler": self.sampler}

    def pack(self, value: Fitted | Tensor) -> dict[str, np.ndarray]:
        """A model or a sample as arrays; the nesting of a model's parameters as a text."""
        if isinstance(value, Tensor):
            return {"points": value.cpu().numpy()}
        arrays: dict[str, np.ndarray] = {}

        def taken_apart(part):
            if isinstance(part, Tensor):
                arrays[str(len(arrays))] = part.cpu().numpy()
                return None
            if isinstance(part, list | tuple):
                return [taken_apart(inner) for inner in part]
            return float(part)

        nesting = json.dumps(taken_apart(value.score))
        return {"nesting": np.array(nesting), "mean": value.mean, "var": value.variance, **arrays}

    def unpack(self, arrays: Mapping[str, np.ndarray]) -> Fitted | Tensor:
        """The model or sample back; lists in place of tuples."""
        if "points" in arrays:
            return torch.from_numpy(arrays["points"]).to(self.device)
        tensors = (arrays[str(k)] for k in range(len(arrays) - 3))

        def together(part):
            if part is None:
                return torch.from_numpy(next(tensors)).to(self.device)
            return [together(inner) for inner in part] if isinstance(part, list) else part

        score = together(json.loads(str(arrays["nesting"])))
        return Fitted(score, arrays["mean"], arrays["var"])

    # --- what a model generates ----------------------------------------------------------

    def generate(self, model: Fitted, count: int, rng: np.random.Generator) -> np.ndarray:
        """``count`` points from the model of each repetition, shape (R, count, d).

        Raises
        ------
        Diverged
            If one of them is not finite.
        """
        count = check_count("count", count)
        points = self._draw(model, count, len(model.mean), rng).cpu().numpy()
        if not np.isfinite(points).all():
            raise Diverged("the sampler left the range of finite numbers")
        return points

    def _draw(self, law, count: int, repetitions: int, rng: np.random.Generator) -> Tensor:
        """Points of shape (R, count, d), from the truth or from a model."""
        shape = (repetitions, count, self.truth.dimension)
        if law is self.truth:
            points = torch.from_numpy(law.sample(rng, shape[:2]).reshape(shape)).to(self.device)
            if not torch.isfinite(points).all():
                raise ValueError("the data must not contain NaN or infinite entries")
            return points
        noise = torch.Generator(self.device).manual_seed(int(rng.integers(2**63)))

        def normal() -> Tensor:
            return torch.randn(shape, generator=noise, dtype=torch.float64, device=self.device)

        x = normal()
        for t, after in pairwise(self.times):
            if self.sampler == "sde":
                mean, deviation = self._reverse_step(law, x, t, after)
                x = mean + deviation * normal()
            else:
                x = self._flow_step(law, x, t, after)
        return x

    def _reverse_step(self, model: Fitted, x: Tensor, t: float, after: float):
        """Mean and deviation of the next point of the reverse equation."""
        h = t - after
        mean = math.exp(h) * x + 2 * math.sinh(h) * self.score(model.score, x, t)
        return mean, math.sqrt(-math.expm1(-2 * h))

    def _flow_step(self, model: Fitted, x: Tensor, t: float, after: float) -> Tensor:
        """One step of Heun's method for :math:`dx=-(x+s)\\,dt`."""

        def speed(x: Tensor, t: float) -> Tensor:
            return -x - self.score(model.score, x, t)

        h = after - t
        first = speed(x, t)
        return x + h / 2 * (first + speed(x + h * first, after))

    def density(self, model: Fitted, x) -> np.ndarray:
        r"""Density of what the reverse equation of a model on the line generates.

        Parameters
        ----------
        model : Fitted
            A model of one-dimensional data.
        x : array_like, shape (G,)
            Where; also the window outside which the law is taken to have no mass, if it
            goes beyond [-6, 6].

        Returns
        -------
        ndarray, shape (R, G)
            Density of the law that :meth:`generate` draws from: the steps' normal transition
            densities, integrated one after the other. Halving the grid changed it by 1e-4 in
            total variation for random features trained for a time of 1000.

        Raises
        ------
        ValueError
            If the data have more than one dimension, or the sampler is the flow.
        """
        if self.truth.dimension != 1 or self.sampler != "sde":
            raise ValueError("the density is known on the line, for the reverse equation, only")
        x = torch.as_tensor(np.asarray(x, dtype=float), device=self.device)
        ends = min(-6.0, float(x.min())), max(6.0, float(x.max()))
        grids = [_grid(ends, t, after).to(x) for t, after in pairwise(self.times)] + [x]
        mass = torch.exp(-(grids[0][:, None] ** 2) / 2)
        mass = (mass / mass.sum()).expand(len(model.mean), -1, -1)
        for (t, after), (start, target) in zip(pairwise(self.times), pairwise(grids), strict=True):
            points = start.expand(len(mass), -1)[..., None]
            mean, deviation = self._reverse_step(model, points, t, after)
            law = _smoothed(mass, mean, deviation, target)
            mass = law * (target[1] - target[0])
        return law[..., 0].cpu().numpy()


def _smoothed(mass: Tensor, mean: Tensor, deviation: float, target: Tensor) -> Tensor:
    """Density on ``target`` of normal laws with these masses and means, shape (R, G, 1)."""
    parts = []
    for some in target.split(32):
        # What lies nine deviations off is below rounding, and most of a fine grid does.
        reach = some[0] - 9 * deviation, some[-1] + 9 * deviation
        near = ((mean > reach[0]) & (mean < reach[1])).any(dim=0)[:, 0]
        kernel = (some[:, None] - mean[:, near].mT).div_(deviation).square_().div_(-2).exp_()
        parts.append(kernel @ mass[:, near])
    return torch.cat(parts, dim=1) / (deviation * math.sqrt(2 * math.pi))


def _grid(ends: tuple[float, float], t: float, after: float) -> Tensor:
    """A grid fine enough for the step from time t and for the kinks of a score."""
    spacing = min(0.05, 0.7 * math.sqrt(-math.expm1(-2 * (t - after))))
    count = 1 + math.ceil((ends[1] - ends[0]) / spacing)
    return torch.linspace(*ends, count, dtype=torch.float64)
