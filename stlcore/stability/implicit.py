r"""Leave-one-out through the generations: retraining, and the derivative that replaces it.

For a learner that minimises a smooth loss, generation by generation,

.. math::
    \theta_{i+1}=\arg\min_\theta\ \frac1n\Bigl[\sum_{j\le m}w_j\,\ell(\theta,z_j)
    +\sum_{k\le n-m}\ell\bigl(\theta,y(\theta_i,\varepsilon_k)\bigr)\Bigr]
    +\frac\lambda2\|\theta\|^2,

with m real points used again and synthetic points that are smooth functions of the last
model and of noise :math:`\varepsilon`. Leaving out example j means :math:`w_j=0`.
Three ways to follow it, all with the same noise by construction:

- :func:`leave_one_out` retrains every generation for every example;
- :func:`finite_differences` retrains with :math:`w_j=1\pm h` instead;
- :func:`implicit_differences` differentiates the minimum. With H the Hessian of
  generation i+1 and :math:`B=-\partial_{\theta_i}\nabla F`, all examples share one factorisation:
  :math:`\dot\theta_{i+1}=H^{-1}(\nabla\ell_j/n+B\,\dot\theta_i)` for unit decrease of
  :math:`w_j`. Its relative error is of order p/n, and it underestimates: it does not see
  the curvature that goes with the example.

Derived for this companion; paper A asks for the quantity, not for a way to compute it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from stlcore.lazy import extra

with extra("torch"):
    import torch
    from torch import Tensor
    from torch.func import grad, jacfwd, jacrev, vmap

__all__ = [
    "SmoothLoop",
    "finite_differences",
    "implicit_differences",
    "leave_one_out",
]

STEPS = 200  # most Newton steps; from a close start two or three are usual
CLOSE = 1e-10  # largest entry of the gradient at a minimum
CHUNK = 32  # retrainings at a time, so that the arrays stay in the cache


@dataclass(frozen=True)
class SmoothLoop:
    r"""A loop of a smooth learner, with its noise drawn beforehand.

    Attributes
    ----------
    loss : callable
        ``loss(theta, *item)``, a scalar: the loss of one item, in torch operations.
    generate : callable
        ``generate(theta, *noise)``: one synthetic item, a tuple like a real one.
    real : tuple of ndarray, each of shape (n, ...)
        The first real set :math:`S_0`.
    again : int
        How many of its points, the first ones, are used again in every generation.
    noise : tuple of ndarray, each of shape (I, n - again, ...)
        Noise of the synthetic points of the generations 1, ..., I.
    start : ndarray, shape (p,)
        Where the first minimisation starts.
    penalty : float
        :math:`\lambda\ge0`.

    Raises
    ------
    ValueError
        If the shapes do not fit together or the penalty is negative.
    """

    loss: Callable[..., Tensor]
    generate: Callable[..., tuple]
    real: tuple[np.ndarray, ...]
    again: int
    noise: tuple[np.ndarray, ...]
    start: np.ndarray
    penalty: float = 0.0

    def __post_init__(self) -> None:
        n = len(self.real[0])
        if any(len(part) != n for part in self.real):
            raise ValueError("every part of the real items must have the same length")
        if not 0 <= self.again <= n:
            raise ValueError(f"cannot use {self.again} of {n} real points again")
        if any(part.shape[:2] != (self.generations, n - self.again) for part in self.noise):
            raise ValueError(
                f"the noise must have shape (generations, {n - self.again}, ...), "
                f"for {n} points of which {self.again} are real"
            )
        if not self.penalty >= 0:
            raise ValueError(f"a penalty must not be negative, not {self.penalty!r}")

    @property
    def generations(self) -> int:
        """Generations after the first fit."""
        return len(self.noise[0])

    def trajectory(self) -> np.ndarray:
        """Parameters of every generation with all examples, shape (I + 1, p)."""
        return _run(self, torch.ones(1, 1, dtype=torch.float64), None, None)[:, 0].numpy()


def leave_one_out(
    loop: SmoothLoop, examples: Sequence[int], trajectory: np.ndarray | None = None
) -> np.ndarray:
    """Retrain every generation without one example.

    Parameters
    ----------
    loop : SmoothLoop
        The loop.
    examples : sequence of int
        Which real points are left out, one at a time.
    trajectory : ndarray, optional
        As :meth:`SmoothLoop.trajectory` gives it, if it is known; retraining starts there.

    Returns
    -------
    ndarray, shape (I + 1, len(examples), p)
        Parameters without the example minus parameters with it.

    Raises
    ------
    ValueError
        If an example is not among the real points.
    RuntimeError
        If a minimisation does not come to rest.
    """
    trajectory = loop.trajectory() if trajectory is None else trajectory
    return _retrained(loop, examples, trajectory, 0.0) - trajectory[:, None]


def finite_differences(
    loop: SmoothLoop,
    examples: Sequence[int],
    step: float = 1e-3,
    trajectory: np.ndarray | None = None,
) -> np.ndarray:
    """Change per unit decrease of an example's weight, by retraining at two weights.

    Parameters and errors as in :func:`leave_one_out`; ``step`` is the change of the weight.
    """
    if not step > 0:
        raise ValueError(f"the step must be positive, not {step!r}")
    trajectory = loop.trajectory() if trajectory is None else trajectory
    less, more = (_retrained(loop, examples, trajectory, 1 + sign * step) for sign in (-1, 1))
    return (less - more) / (2 * step)


def implicit_differences(
    loop: SmoothLoop, examples: Sequence[int], trajectory: np.ndarray | None = None
) -> np.ndarray:
    """Change per unit decrease of an example's weight, by the implicit function theorem.

    Parameters, result and errors as in :func:`leave_one_out`. A generation takes one
    Hessian, one mixed derivative and one factorisation, whatever the number of examples.
    """
    examples = checked_examples(loop, examples)
    trajectory = torch.as_tensor(loop.trajectory() if trajectory is None else trajectory)
    count = len(loop.real[0])
    left_out = tuple(part[examples] for part in tensors(loop.real))
    of_item = vmap(grad(loop.loss), in_dims=(None, *(0 for _ in left_out)))
    # An example outside the part used again acts on generation 0 only.
    acts = (examples < loop.again).to(torch.float64)[:, None]
    one, nobody = torch.ones((), dtype=torch.float64), torch.tensor(0)
    change = torch.zeros(len(examples), trajectory.shape[1], dtype=torch.float64)
    found = []
    for i, theta in enumerate(trajectory):
        objective = objective_of(loop, i)
        before = trajectory[max(i - 1, 0)]
        push = of_item(theta, *left_out) / count
        if i:
            mixed = jacfwd(grad(objective), argnums=1)(theta, before, nobody, one)
            push = acts * push - change @ mixed.T
        factor = torch.linalg.lu_factor(hessian(objective)(theta, before, nobody, one))
        change = torch.linalg.lu_solve(*factor, push.T).T
        found.append(change)
    return torch.stack(found).numpy()


# --- Shared with the way without matrices ----------------------------------------------------


def tensors(parts) -> tuple[Tensor, ...]:
    """Arrays as double-precision tensors."""
    return tuple(torch.as_tensor(np.asarray(part, dtype=np.float64)) for part in parts)


def checked_examples(loop: SmoothLoop, examples: Sequence[int]) -> Tensor:
    """The numbers of some real points; ValueError if there is no such point."""
    examples = np.asarray(examples)
    inside = (examples >= 0) & (examples < len(loop.real[0]))
    if examples.ndim != 1 or examples.size == 0 or not inside.all():
        raise ValueError(f"the examples must be numbers from 0 to {len(loop.real[0]) - 1}")
    return torch.as_tensor(examples)


def items_of(loop: SmoothLoop, generation: int, before: Tensor) -> tuple[Tensor, ...]:
    """The synthetic items that the model ``before`` makes for a generation from 1 up."""
    noise = tensors(part[generation - 1] for part in loop.noise)
    return vmap(loop.generate, in_dims=(None, *(0 for _ in noise)))(before, *noise)


def objective_of(
    loop: SmoothLoop, generation: int, made: tuple[Tensor, ...] | None = None
) -> Callable[..., Tensor]:
    """F(theta, before, example, weight): what a generation minimises.

    ``before`` is the last model, and the real point ``example`` has the given weight. Items
    that are ``made`` already are taken as they are, whatever the last model.
    """
    real = tensors(loop.real)
    count = len(real[0])
    used = real if generation == 0 else tuple(part[: loop.again] for part in real)
    places = torch.arange(len(used[0]))

    def objective(theta: Tensor, before: Tensor, example: Tensor, weight: Tensor) -> Tensor:
        of_items = vmap(loop.loss, in_dims=(None, *(0 for _ in used)))
        total = loop.penalty / 2 * count * (theta @ theta)
        if len(places):
            weights = torch.where(places == example, weight, 1.0)
            total = total + weights @ of_items(theta, *used)
        if generation and count > loop.again:
            items = items_of(loop, generation, before) if made is None else made
            total = total + of_items(theta, *items).sum()
        return total / count

    return objective


def hessian(objective: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Second derivatives in the first argument.

    Not by ``torch.func.hessian``, whose batched first derivative of a layer norm has a wrong
    derivative itself. Both times backwards, since torch has some forward derivatives in Python.
    """
    return jacrev(grad(objective))


# --- Retraining ------------------------------------------------------------------------------


def _retrained(loop, examples, trajectory, weight: float) -> np.ndarray:
    """Trajectories with the weight of one example changed, shape (I + 1, examples, p)."""
    parts = [
        _run(loop, torch.full((len(chunk), 1), weight, dtype=torch.float64), chunk, trajectory)
        for chunk in checked_examples(loop, examples).split(CHUNK)
    ]
    return torch.cat(parts, dim=1).numpy()


def _run(loop, weights: Tensor, examples: Tensor | None, trajectory) -> Tensor:
    """The loop for a batch of weights, started from a trajectory that is close."""
    examples = torch.zeros(len(weights), dtype=torch.long) if examples is None else examples
    found = []
    for i in range(loop.generations + 1):
        if trajectory is not None:
            start = torch.as_tensor(trajectory[i])
        else:
            start = found[-1][0] if found else torch.as_tensor(loop.start, dtype=torch.float64)
        start = start.expand(len(weights), -1)
        before = found[-1] if found else start
        found.append(_minimise(objective_of(loop, i), start, before, examples, weights[:, 0], i))
    return torch.stack(found)


def _minimise(objective, theta, before, examples, weights, generation: int) -> Tensor:
    """Newton's method for a batch; a step that does not go down is tried again, shortened.

    The damping is Levenberg and Marquardt's, of each problem by itself; a convex problem
    hardly ever needs it.
    """
    value, slope, curve = (vmap(f) for f in (objective, grad(objective), hessian(objective)))
    fixed = (before, examples, weights)
    damping = torch.zeros(len(theta), dtype=torch.float64)
    height, identity = value(theta, *fixed), torch.eye(theta.shape[1], dtype=torch.float64)
    for _ in range(STEPS):
        gradient = slope(theta, *fixed)
        if gradient.abs().max() <= CLOSE:
            return theta
        bend = curve(theta, *fixed)
        scale = bend.diagonal(dim1=1, dim2=2).abs().mean(dim=1)
        damped = bend + (damping * scale)[:, None, None] * identity
        tried = theta - torch.linalg.solve_ex(damped, gradient).result
        reached = value(tried, *fixed)
        down = reached <= height + 1e-12 * (1 + height.abs())
        theta = torch.where(down[:, None], tried, theta)
        height = torch.where(down, reached, height)
        eased = torch.where(damping > 1e-6, damping / 10, torch.zeros_like(damping))
        damping = torch.where(down, eased, torch.clamp(4 * damping, min=1e-2))
    raise RuntimeError(
        f"the fits of generation {generation} have not come to rest after {STEPS} steps"
    )
