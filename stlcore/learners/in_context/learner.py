r"""Linear regression in context, in the loop.

Nothing is trained in the loop but the context: a generation is a frozen
predictor together with the n pairs (x, y) it has read. Generation 0 reads real
pairs. The next one reads pairs whose labels are partly made by the one before.

==================  =======================================================
protocol            here
==================  =======================================================
repetition          a task :math:`w^*`, with a loop of its own
sample              a context: n pairs (x, y)
``fit``             the predictor reads the context
model               the law :math:`N(f(x),\sigma^2)` of a label given x
first real set      the real context, of which ``fixed_real`` uses a part again
==================  =======================================================

A predictor has ``read(x, y)``, which gives whatever it keeps of a context, and
``answer(memory, x)``. Three are here: the transformers of
:mod:`stlcore.learners.in_context.network`, and two in closed form.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from scipy.special import erf

from stlcore.lazy import extra
from stlcore.learners.in_context.network import Architecture
from stlcore.learners.in_context.pretraining import Pretraining, pretrained

with extra("torch"):
    import torch
    from torch import Tensor

__all__ = [
    "Architecture",
    "BayesRidge",
    "Context",
    "InContext",
    "LinearAttention",
    "Predictor",
    "Pretraining",
    "Reader",
    "pretrained",
]

#: Labels are of order 1; beyond this a loop counts as diverged.
LIMIT = 1e6


class Predictor(Protocol):
    """What answers queries from a context; batched over the leading axes."""

    def read(self, x, y) -> Any:
        """What is kept of contexts (..., n, d) and (..., n)."""

    def answer(self, memory: Any, x) -> Tensor:
        """Predicted labels (..., m) of queries (..., m, d)."""

    def predict(self, context_x, context_y, query_x) -> Tensor:
        """Both at once; differentiable in every argument."""


class _LinearPredictor:
    """Keeps weights (..., d) of a context and predicts by them."""

    def answer(self, memory: Tensor, x) -> Tensor:
        return (_double(x) @ memory[..., None])[..., 0]

    def predict(self, context_x, context_y, query_x) -> Tensor:
        return self.answer(self.read(context_x, context_y), query_x)


class BayesRidge(_LinearPredictor):
    r"""Posterior mean under the prior :math:`w^*\sim N(0,I/d)`: the least mean squared error.

    Parameters
    ----------
    noise : float
        Standard deviation :math:`\sigma` of the labels.

    Raises
    ------
    ValueError
        If the noise is not positive.
    """

    def __init__(self, noise: float) -> None:
        self.noise = _positive(noise)

    def read(self, x, y) -> Tensor:
        r"""Weights :math:`(X^\top X+d\sigma^2I)^{-1}X^\top y`."""
        x, y = _double(x), _double(y)
        dimension = x.shape[-1]
        penalty = dimension * self.noise**2 * torch.eye(dimension, dtype=x.dtype)
        return torch.linalg.solve(x.mT @ x + penalty, (x.mT @ y[..., None])[..., 0])


class LinearAttention(_LinearPredictor):
    r"""One linear attention with fixed weights: :math:`f(x)=\frac\rho n\sum_j y_j\,x_j^\top x`.

    Parameters
    ----------
    gain : float
        The factor :math:`\rho`. A factor above 1 makes the loop without real data diverge.
    """

    def __init__(self, gain: float) -> None:
        self.gain = float(gain)

    def read(self, x, y) -> Tensor:
        r"""Weights :math:`\frac\rho n X^\top y`."""
        x, y = _double(x), _double(y)
        return self.gain * (x.mT @ y[..., None])[..., 0] / x.shape[-2]


class Context(NamedTuple):
    """Pairs that are read: arrays of shapes (repetitions, n, d) and (repetitions, n)."""

    x: np.ndarray
    y: np.ndarray


class Reader(NamedTuple):
    """A predictor that has read a context of every task."""

    predictor: Predictor
    memory: Any

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Mean labels, shape (repetitions, m), of inputs (repetitions, m, d)."""
        with torch.no_grad():
            return self.predictor.answer(self.memory, x).cpu().numpy().astype(float)


class InContext:
    r"""A frozen predictor that reads contexts; the tasks are the repetitions.

    Parameters
    ----------
    predictor : Predictor
        What reads and answers.
    tasks : array_like, shape (repetitions, d)
        True weights :math:`w^*`. The loop must have as many repetitions.
    noise : float
        Standard deviation :math:`\sigma` of a label, real or made by a model.
    queries : array_like, shape (repetitions, m, d)
        Inputs at which predictions are compared with the truth, the same in every generation.
        Queries that come as x and -x make ``offset`` free of the error in the slopes.

    Raises
    ------
    ValueError
        If the noise is not positive, or the shapes do not match.

    Notes
    -----
    Model: :class:`Reader`. New inputs are :math:`N(0,I)`, whoever labels them.

    Tracks, as means over the queries, ``squared_error`` :math:`(f(x)-w^{*\top}x)^2`,
    ``tv`` (total variation between the laws of a label, model against truth), and
    ``offset`` :math:`f(x)-w^{*\top}x`.
    """

    def __init__(self, predictor: Predictor, tasks, noise: float, queries) -> None:
        tasks, queries = np.asarray(tasks, dtype=float), np.asarray(queries, dtype=float)
        if tasks.ndim != 2 or queries.ndim != 3 or queries[:, 0].shape != tasks.shape:
            raise ValueError(
                "tasks of shape (repetitions, d) need queries of shape (repetitions, m, d), "
                f"not {tasks.shape} and {queries.shape}"
            )
        self.predictor, self.noise, self.queries = predictor, _positive(noise), queries
        self.truth = Reader(_LinearPredictor(), _double(tasks))
        self.target = self.truth(queries)
        self._answered: list[tuple[Reader, np.ndarray]] = []

    def answers(self, model: Reader) -> np.ndarray:
        """Mean labels at the queries, shape (repetitions, m).

        Those of the last two models are kept, because a round of the loop and whoever
        observes it all ask for them.
        """
        for seen, found in self._answered:
            if seen is model:
                return found
        found = model(self.queries)
        self._answered = [(model, found), *self._answered[:1]]
        return found

    def apart(self, model: Reader, other: Reader) -> np.ndarray:
        """Root mean square difference of two models' answers, shape (repetitions,)."""
        return np.sqrt(np.square(self.answers(model) - self.answers(other)).mean(axis=1))

    def sample(
        self,
        models: Sequence[Reader],
        weights: np.ndarray,
        size: np.ndarray,
        rng: np.random.Generator,
    ) -> Context:
        """``size`` new pairs a task, each labelled by one of the ``models``.

        Raises
        ------
        ValueError
            If there are more or fewer repetitions than tasks, or they differ in size.
        """
        repetitions, _, dimension = self.queries.shape
        if len(size) != repetitions:
            raise ValueError(
                f"the learner has {repetitions} tasks, so the loop must have as many "
                f"repetitions, not {len(size)}"
            )
        if np.ptp(size):
            raise ValueError("all tasks need contexts of one length, so a filter does not fit them")
        x = rng.standard_normal((repetitions, int(size[0]), dimension))
        source = np.searchsorted(np.cumsum(weights)[:-1], rng.random(x.shape[:2]), side="right")
        means = np.stack([model(x) for model in models])
        mean = np.take_along_axis(means, source[None], axis=0)[0]
        return Context(x, mean + self.noise * rng.standard_normal(mean.shape))

    def fit(self, sample: Context, previous: Reader | None = None) -> Reader:
        """Let the predictor read the sample."""
        with torch.no_grad():
            return Reader(self.predictor, self.predictor.read(sample.x, sample.y))

    def count(self, sample: Context) -> np.ndarray:
        """Length of the contexts."""
        return np.full(len(sample.y), sample.y.shape[1])

    def subset(self, sample: Context, size: int, rng: np.random.Generator) -> Context:
        """``size`` pairs at random, from the same places in every task.

        Raises
        ------
        ValueError
            If the part is empty or larger than the sample.
        """
        length = sample.y.shape[1]
        if not 1 <= size <= length:
            raise ValueError(f"cannot take {size} pairs from a context of {length}")
        places = rng.permutation(length)[:size]
        return Context(sample.x[:, places], sample.y[:, places])

    def pool(self, first: Context, second: Context) -> Context:
        """Both contexts, evenly interleaved, because a causal network reads in order."""
        where = [(np.arange(n) + 0.5) / n for n in (first.y.shape[1], second.y.shape[1])]
        order = np.argsort(np.concatenate(where), kind="stable")
        x = np.concatenate([first.x, second.x], axis=1)
        return Context(x[:, order], np.concatenate([first.y, second.y], axis=1)[:, order])

    def lost(self, model: Reader) -> np.ndarray:
        """Whether a prediction is beyond a million, or no number."""
        error = np.abs(self.answers(model) - self.target)
        return ~(error.max(axis=1) <= LIMIT)

    def track(self, model: Reader) -> dict[str, np.ndarray]:
        """Distances of the predictions to the truth."""
        error = self.answers(model) - self.target
        return {
            "squared_error": np.square(error).mean(axis=1),
            "tv": erf(np.abs(error) / (np.sqrt(8) * self.noise)).mean(axis=1),
            "offset": error.mean(axis=1),
        }


def _double(values) -> Tensor:
    return torch.as_tensor(values, dtype=torch.float64)


def _positive(noise: float) -> float:
    if not 0 < noise < np.inf:
        raise ValueError(f"the noise must be a finite positive number, not {noise!r}")
    return float(noise)
