r"""Four loops whose learners minimise a smooth loss, ready for :mod:`stlcore.stability.implicit`.

Features are standard normal and new in every generation. A synthetic label is a smooth
function of the last model and of noise, as derivatives through the generations need it:
for regression the prediction plus normal noise, for classification a probability
(a soft label, as in distillation) with normal noise on the log-odds. Our choices.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np

from stlcore.checks import check_count, check_share
from stlcore.lazy import extra
from stlcore.learners.in_context.network import Transformer
from stlcore.stability.implicit import SmoothLoop

with extra("torch"):
    import torch
    from torch import Tensor
    from torch.func import functional_call
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.nn.functional import softplus

__all__ = ["logistic_loop", "network_loop", "ridge_loop", "transformer_loop"]

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


def transformer_loop(
    network: Transformer,
    n: int,
    share: float,
    generations: int,
    rng: np.random.Generator,
    noise: float = 0.5,
    penalty: float = 1.0,
) -> tuple[SmoothLoop, Callable[[Tensor, Tensor, Tensor], Tensor]]:
    r"""A pretrained in-context transformer whose weights are trained on in every generation.

    An item is a sequence of pairs of one task, and its loss the mean of
    :math:`(\hat y_j-y_j)^2/2` over the labels, each predicted from the pairs before it. A
    generation makes the labels of a new sequence one after the other: its prediction from the
    pairs made so far, plus noise. The parameters are the changes of the weights, so that the
    penalty keeps every generation near the pretrained network.

    Parameters
    ----------
    network : Transformer
        Where every generation is pulled to; it is left as it is.
    n : int
        Sequences of every generation, with one pair more than the longest context.
    share : float
        Share of the first real set that is used again, rounded to whole sequences.
    generations : int
        Generations after the first fit.
    rng : numpy.random.Generator
        For the tasks, the data and the noise.
    noise : float
        Standard deviation of the label noise, real and synthetic.
    penalty : float
        Half of it times the squared change of the weights is added to the mean loss. It must
        be large enough for the Hessians at the minima to be positive definite.

    Returns
    -------
    loop : SmoothLoop
    predict : callable
        ``predict(theta, x, y)``: predictions, shape (..., length), of the labels of sequences
        (..., length, d) and (..., length).
    """
    network, shape = copy.deepcopy(network).double(), network.architecture
    length, d = shape.length + 1, shape.dimension
    centre = {name: weights.detach() for name, weights in network.named_parameters()}
    sizes = [weights.numel() for weights in centre.values()]

    class Reading(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.network = network

        def forward(self, x, y):
            memory = self.network.read(x[..., :-1, :], y[..., :-1])
            return self.network.answer(memory, x, causal=True)

    reading = Reading()

    def predict(theta, x, y):
        parts = zip(centre.items(), theta.split(sizes), strict=True)
        weights = {f"network.{k}": w + part.view(w.shape) for (k, w), part in parts}
        with sdpa_kernel(SDPBackend.MATH):  # the one that can be differentiated twice
            return functional_call(reading, weights, (x, y))

    def loss(theta, x, y):
        return (predict(theta, x, y) - y).square().mean() / 2

    def generate(theta, x, e):
        made: list[Tensor] = []
        for j in range(length):  # what is not made yet is not seen
            labels = torch.stack(made + [torch.zeros_like(e[0])] * (length - j))
            made.append(predict(theta, x, labels)[j] + noise * e[j])
        return x, torch.stack(made)

    again = int(np.rint(check_share(share, "a share") * check_count("the number of sequences", n)))
    later = (check_count("generations", generations), n - again, length)
    x, tasks = rng.standard_normal((n, length, d)), rng.standard_normal((n, d, 1)) / np.sqrt(d)
    y = (x @ tasks)[..., 0] + noise * rng.standard_normal((n, length))
    new = rng.standard_normal((*later, d)), rng.standard_normal(later)
    return SmoothLoop(loss, generate, (x, y), again, new, np.zeros(sum(sizes)), penalty), predict


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
