r"""Three loops whose learners minimise a smooth loss, ready for :mod:`stlcore.stability.implicit`.

Features are standard normal and new in every generation. A synthetic label is a smooth
function of the last model and of noise, as derivatives through the generations need it:
for regression the prediction plus normal noise, for classification a probability
(a soft label, as in distillation) with normal noise on the log-odds. Our choices.
"""

from __future__ import annotations

import numpy as np

from stlcore.checks import check_count, check_share
from stlcore.lazy import extra
from stlcore.stability.implicit import SmoothLoop

with extra("torch"):
    import torch
    from torch.nn.functional import softplus

__all__ = ["logistic_loop", "network_loop", "ridge_loop"]

PENALTY = 1e-3


def ridge_loop(
    n: int, d: int, share: float, generations: int, rng: np.random.Generator, noise: float = 0.5
) -> SmoothLoop:
    """Linear regression with squared loss and a ridge penalty; p = d parameters.

    Parameters
    ----------
    n, d : int
        Items of every generation, and features.
    share : float
        Share of the first real set that is used again, rounded to whole items.
    generations : int
        Generations after the first fit.
    rng : numpy.random.Generator
        For the truth, the data and the noise.
    noise : float
        Standard deviation of the label noise, real and synthetic.
    """
    again, x, later = _features(n, d, share, generations, rng)
    y = x @ _direction(d, rng) + noise * rng.standard_normal(n)

    def loss(theta, x, y):
        return (y - x @ theta) ** 2 / 2

    def generate(theta, x, e):
        return x, x @ theta + noise * e

    return SmoothLoop(loss, generate, (x, y), again, later, np.zeros(d), PENALTY)


def logistic_loop(
    n: int, d: int, share: float, generations: int, rng: np.random.Generator, noise: float = 0.5
) -> SmoothLoop:
    """Logistic regression on hard real and soft synthetic labels; p = d parameters.

    Parameters as in :func:`ridge_loop`; ``noise`` is that of the synthetic log-odds.
    """
    again, x, later = _features(n, d, share, generations, rng)
    chance = 1 / (1 + np.exp(-1.5 * x @ _direction(d, rng)))
    y = (rng.random(n) < chance).astype(float)

    def loss(theta, x, y):
        return softplus(x @ theta) - y * (x @ theta)

    def generate(theta, x, e):
        return x, torch.sigmoid(x @ theta + noise * e)

    return SmoothLoop(loss, generate, (x, y), again, later, np.zeros(d), PENALTY)


def network_loop(
    n: int,
    d: int,
    share: float,
    generations: int,
    rng: np.random.Generator,
    noise: float = 0.5,
    width: int = 3,
) -> SmoothLoop:
    """Regression by a network with one hidden tanh layer; p = width (d + 2) parameters.

    Parameters as in :func:`ridge_loop`; the truth is a network of the same width. The loss is
    not convex; the loop follows the minimum that Newton's method finds first.
    """
    again, x, later = _features(n, d, share, generations, rng)
    truth = torch.as_tensor(2 * rng.standard_normal(width * (d + 2)) / np.sqrt(d))

    def predict(theta, x):
        inner, shift, outer = theta.split([width * d, width, width])
        return torch.tanh(inner.reshape(width, d) @ x + shift) @ outer

    def loss(theta, x, y):
        return (y - predict(theta, x)) ** 2 / 2

    def generate(theta, x, e):
        return x, predict(theta, x) + noise * e

    means = torch.vmap(predict, in_dims=(None, 0))(truth, torch.as_tensor(x)).numpy()
    y = means + noise * rng.standard_normal(n)
    return SmoothLoop(loss, generate, (x, y), again, later, truth.numpy(), PENALTY)


def _features(n, d, share, generations, rng):
    """Points used again, real features, and features with noise of the later generations."""
    n, d = check_count("the sample size", n), check_count("the number of features", d)
    generations = check_count("generations", generations)
    check_share(share, "a share")
    again = int(np.rint(share * n))
    shape = (generations, n - again)
    later = (rng.standard_normal((*shape, d)), rng.standard_normal(shape))
    return again, rng.standard_normal((n, d)), later


def _direction(d: int, rng: np.random.Generator) -> np.ndarray:
    direction = rng.standard_normal(d)
    return direction / np.linalg.norm(direction)
