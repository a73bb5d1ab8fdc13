r"""Implicit differentiation without a Hessian in memory, for networks of thousands of weights.

The same loops and derivatives as in :mod:`stlcore.stability.implicit`, where a Hessian of p
weights takes :math:`8p^2` bytes and p products. Here only products of the Hessian with vectors
are formed, by automatic differentiation, and the linear systems are solved by conjugate
gradients. A loss that is not convex is settled in two stages: L-BFGS, which comes near a minimum
from far away, and damped Newton steps, which make its gradient vanish.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy.optimize import minimize

from stlcore.lazy import extra
from stlcore.stability.implicit import SmoothLoop, checked_examples, items_of, objective_of, tensors

with extra("torch"):
    import torch
    from torch import Tensor
    from torch.func import grad, jvp, vjp, vmap

__all__ = ["conjugate_gradients", "implicit_by_products", "settled_trajectory"]

FAR = 400  # most steps of L-BFGS; where it stops is only a start for Newton's method
STEPS = 200  # most Newton steps
CLOSE = 1e-10  # largest entry of the gradient at a minimum
ITERATIONS = 5000  # most steps of conjugate gradients


def conjugate_gradients(
    product: Callable[[Tensor], Tensor],
    right: Tensor,
    relative: float = 1e-10,
    *,
    downhill: bool = False,
) -> Tensor:
    """Solve H x = b for several right sides at once, H symmetric and positive definite.

    Parameters
    ----------
    product : callable
        Takes vectors, shape (k, p), to H times each of them.
    right : Tensor, shape (k, p)
        The right sides b.
    relative : float
        Each residual is to be at most this part of its right side.
    downhill : bool
        Whether a direction of no positive curvature only ends the search: what is found so
        far, or the right side where that is nothing, is still a way down a hill with slope b.

    Raises
    ------
    RuntimeError
        If a direction of no positive curvature is met, or the residuals do not get that small.
    """
    found, residual = torch.zeros_like(right), right.clone()
    direction, square = residual, (residual**2).sum(dim=1)
    enough = relative**2 * square
    for _ in range(ITERATIONS):
        open_ = square > enough
        if not open_.any():
            return found
        bent = product(direction)
        curvature = (direction * bent).sum(dim=1)
        if (curvature[open_] <= 0).any():
            if downhill:
                return torch.where((found == 0).all(dim=1)[:, None], right, found)
            raise RuntimeError("a direction of no positive curvature: this is no minimum")
        step = torch.where(open_, square / curvature, 0.0)[:, None]
        found, residual = found + step * direction, residual - step * bent
        before, square = square, torch.where(open_, (residual**2).sum(dim=1), square)
        direction = residual + torch.where(open_, square / before, 0.0)[:, None] * direction
    raise RuntimeError(f"conjugate gradients have not come to rest after {ITERATIONS} steps")


def settled_trajectory(
    loop: SmoothLoop,
    example: int = 0,
    weight: float = 1.0,
    near: np.ndarray | None = None,
) -> np.ndarray:
    """Parameters of every generation, one real point having another weight.

    Parameters
    ----------
    loop : SmoothLoop
        The loop; its penalty must make the Hessians at the minima positive definite.
    example, weight : int, float
        The point, and its weight: 0 leaves it out.
    near : ndarray, shape (I + 1, p), optional
        A trajectory that is close, as of the weight 1: Newton's method starts there at once.
        Without it every generation starts at the one before, and generation 0 at the start.

    Returns
    -------
    ndarray, shape (I + 1, p)

    Raises
    ------
    RuntimeError
        If a minimisation does not come to rest.
    """
    (number,) = checked_examples(loop, [example])
    weight = torch.tensor(weight, dtype=torch.float64)
    found = []
    for i in range(loop.generations + 1):
        start = torch.as_tensor(loop.start if not found else found[-1], dtype=torch.float64)
        made = items_of(loop, i, start) if i and loop.again < len(loop.real[0]) else None
        objective = objective_of(loop, i, made)

        def height(theta, objective=objective, before=start):
            return objective(theta, before, number, weight)

        if near is None:
            start = _walk(height, start)
        found.append(_newton(height, start if near is None else torch.as_tensor(near[i]), i))
    return torch.stack(found).numpy()


def implicit_by_products(
    loop: SmoothLoop, examples: Sequence[int], trajectory: np.ndarray
) -> np.ndarray:
    """What :func:`~stlcore.stability.implicit.implicit_differences` gives, without matrices.

    Parameters
    ----------
    loop : SmoothLoop
        The loop.
    examples : sequence of int
        Which real points lose weight; all of them are followed at once.
    trajectory : ndarray, shape (I + 1, p)
        As :func:`settled_trajectory` gives it.

    Returns
    -------
    ndarray, shape (I + 1, len(examples), p)
        Change per unit decrease of the weight.

    Raises
    ------
    ValueError
        If an example is not among the real points.
    RuntimeError
        If a model of the trajectory is no minimum.
    """
    examples = checked_examples(loop, examples)
    trajectory = torch.as_tensor(trajectory)
    left_out = tuple(part[examples] for part in tensors(loop.real))
    of_item = vmap(grad(loop.loss), in_dims=(None, *(0 for _ in left_out)))
    # An example outside the part used again acts on generation 0 only.
    acts = (examples < loop.again).to(torch.float64)[:, None]
    one, nobody = torch.ones((), dtype=torch.float64), torch.tensor(0)
    found = []
    for i, theta in enumerate(trajectory):
        slope = grad(objective_of(loop, i))
        before = trajectory[max(i - 1, 0)]
        push = of_item(theta, *left_out) / len(loop.real[0])
        if i:

            def of_last(model, slope=slope, theta=theta):
                return slope(theta, model, nobody, one)

            def mixed(change, of_last=of_last, before=before):
                return jvp(of_last, (before,), (change,))[1]

            push = acts * push - vmap(mixed)(found[-1])
        found.append(
            conjugate_gradients(_products(lambda t: slope(t, before, nobody, one), theta), push)  # noqa: B023
        )
    return torch.stack(found).numpy()


# --- A minimum -------------------------------------------------------------------------------


def _products(slope, theta: Tensor):
    """H times vectors, shape (k, p); the Hessian is symmetric, so reverse mode will do."""
    _, pull = vjp(slope, theta)
    return vmap(lambda vector: pull(vector)[0])


def _walk(height, start: Tensor) -> Tensor:
    """L-BFGS, as far as it gets."""
    slope = grad(height)

    def both(theta):
        theta = torch.as_tensor(theta)
        return float(height(theta)), slope(theta).numpy()

    options = {"maxiter": FAR, "maxfun": 2 * FAR, "gtol": 1e-5, "ftol": 0.0, "maxcor": 30}
    found = minimize(both, start.numpy(), jac=True, method="L-BFGS-B", options=options)
    return torch.as_tensor(found.x)


def _newton(height, theta: Tensor, generation: int) -> Tensor:
    """Newton's method; a step that does not go down is tried again, shortened.

    Far from the minimum the search for the step ends early, so that it still goes down.
    """
    slope, low = grad(height), height(theta)
    for _ in range(STEPS):
        gradient = slope(theta)
        if gradient.abs().max() <= CLOSE:
            return theta
        products = _products(slope, theta)
        # The closer, the more exact: this keeps the convergence quadratic.
        relative = float(gradient.norm().clamp(1e-8, 1e-2))
        step = conjugate_gradients(products, gradient[None], relative, downhill=True)[0]
        for _ in range(30):
            tried = height(theta - step)
            if tried <= low + 1e-12 * (1 + abs(low)):
                break
            step = step / 2
        theta, low = theta - step, tried
    raise RuntimeError(f"the fit of generation {generation} has not come to rest")
