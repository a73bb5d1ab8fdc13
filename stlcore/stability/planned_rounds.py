"""What planned rounds say of the next ones: factors of small changes, and how far the loop goes.

The rounds start from the first model, or a step to either side of it, along every axis of the
:class:`~stlcore.stability.scale.Scale`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from stlcore.stability.response import jackknife, spectral_radius

__all__ = ["STEPS", "Rounds", "banded", "common_share", "mean_radii"]

STEPS = (1.0, 0.5)  # in standard errors of the first fit


@dataclass(frozen=True, eq=False)
class Rounds:
    """Planned rounds, one for each repetition, in coordinates of the scale.

    Attributes
    ----------
    operators : ndarray, shape (2, repetitions, k, k)
        J by both steps, output a by input b.
    middles : ndarray, shape (2, repetitions, k, k)
        Output a, the mean of both sides of input b.
    moves : ndarray, shape (repetitions, k)
        Where the round leads from the first model.
    again : ndarray, shape (times, repetitions, k)
        The same, in the same worlds and with other random numbers.
    real : bool
        Whether a round has any real data, so that its world matters.
    """

    operators: np.ndarray
    middles: np.ndarray
    moves: np.ndarray
    again: np.ndarray
    real: bool

    def mean(self, chosen: np.ndarray) -> np.ndarray:
        """Spectral radius of E J, by both steps, from the chosen repetitions."""
        return mean_radii(self.operators[:, chosen])

    def square(self, chosen: np.ndarray) -> np.ndarray:
        """That of the growth of squares."""
        low, high = np.triu_indices(self.moves.shape[1])
        twice, found = np.where(low == high, 0.5, 1.0), []  # off the diagonal one stands for two
        for mean, spread in self._moments(chosen):
            whole = (np.einsum("ab,dc->adbc", mean, mean) + spread)[low, high]
            square = spectral_radius((whole[:, low, high] + whole[:, high, low]) * twice)
            found.append(max(square, spectral_radius(mean) ** 2))  # a mean square is no less
        return np.array(found)

    def _moments(self, chosen: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        r"""E J and the curvature of the covariance of a round, [a, d, b, c], by both steps.

        Where a step moves drawn labels, J varies more than the loop does, for its two sides do
        not share all their draws. Along one axis, with the sides f(h) and f(-h) and the middle
        m, the curvature is :math:`\operatorname{Cov}J+(\operatorname{Cov}m-\operatorname{Cov}
        f(0))/h^2`, whatever is shared; between two axes it is Cov J, extrapolated as if what is
        not shared fell like 1/h.
        """
        moves, operators = self.moves[chosen], self.operators[:, chosen]
        wider, closer = own = [_covariance(step, step) for step in operators]
        across, still = (2 * wider - closer).transpose(0, 2, 1, 3), _covariance(moves, moves)
        found = []
        for length, step, same, middles in zip(STEPS, operators, own, self.middles, strict=True):
            spread = across.copy()
            for b in range(moves.shape[1]):
                middle = middles[chosen, :, b]
                less = _covariance(middle, middle) - still
                spread[:, :, b, b] = same[:, b, :, b] + less / length**2
            found.append((step.mean(axis=0), spread))
        return found

    def prediction(self, rounds: int) -> tuple[np.ndarray, np.ndarray]:
        """Root mean square distance from the first model after 0 to ``rounds`` rounds.

        Returns
        -------
        trajectory : ndarray, shape (rounds + 1,)
        band : ndarray, shape (2, rounds + 1)
            The trajectory less and plus two standard errors and the difference of the steps.
        """
        (wider, closer), (error, _), _ = jackknife(
            partial(self._log_distance, rounds), len(self.moves)
        )
        return banded(wider, 2 * error + np.abs(wider - closer))

    def _log_distance(self, rounds: int, chosen: np.ndarray) -> np.ndarray:
        r"""Logarithm of the predicted distance in rounds 1 and on, by both steps.

        With :math:`\delta'=J\delta+b`: b has a part that stays (what the world of the
        repetition does to every round) and one that is new; the second moment of what stays is
        that of two different rounds of one world.
        """
        moves, again = self.moves[chosen], self.again[:, chosen]
        push, noise = again.mean(axis=(0, 1)), np.einsum("mra,mrb->ab", again, again)
        stays, times = np.outer(push, push), len(again)
        if self.real:  # two different rounds of one world
            total = again.sum(axis=0)
            stays = (total.T @ total - noise) / (len(moves) * times * (times - 1))
        noise = noise / (len(moves) * times)
        mixed = _covariance(self.operators[0, chosen], moves)  # ab, d
        found = []
        for operator, spread in self._moments(chosen):
            mean, second = np.zeros_like(push), np.zeros_like(noise)
            with_world, trace = np.zeros_like(noise), []  # E delta times the part that stays
            # An overflow means divergence; the clip below keeps the logarithm finite.
            with np.errstate(over="ignore", invalid="ignore"):
                for _ in range(rounds):
                    cross = operator @ with_world + np.einsum("abd,b->ad", mixed, mean)
                    second = (
                        operator @ second @ operator.T
                        + np.einsum("adbc,bc->ad", spread, second)
                        + noise
                        + cross
                        + cross.T
                    )
                    with_world = operator @ with_world + stays
                    mean = operator @ mean + push
                    trace.append(np.trace(second) / len(push))
            found.append(trace)
        return np.log(np.nan_to_num(found, nan=1e300).clip(1e-300, 1e300)) / 2

    @property
    def curvature(self) -> float:
        """Largest shift of the mean that a whole step to both sides causes in common.

        In standard errors of the first fit, less three standard errors of the estimate.
        """
        bends = self.middles[0] - self.moves[:, :, None]
        mean, variance = bends.mean(axis=0), bends.var(axis=0) / len(bends)
        lengths = np.linalg.norm(mean, axis=0) - 3 * np.sqrt(variance.sum(axis=0))
        return float(max(lengths.max(), 0.0))


def mean_radii(operators: np.ndarray) -> np.ndarray:
    """Spectral radii of mean operators, by one step or by several, (steps, repetitions, k, k)."""
    return np.array([spectral_radius(operator) for operator in operators.mean(axis=1)])


def common_share(one: np.ndarray, other: np.ndarray) -> float:
    """Share of the variance of operators that is the world's, from two rounds in every world."""
    one, other = _centred(one), _centred(other)
    whole = np.sqrt((one**2).sum() * (other**2).sum())
    return float(max((one * other).sum() / whole, 0.0)) if whole > 0 else 0.0


def banded(logarithm: np.ndarray, error: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A trajectory with the start 0 and its band, from logarithms of distances and their errors."""
    found = np.exp([logarithm, logarithm - error, np.minimum(logarithm + error, 600)])
    found = np.concatenate([np.zeros((3, 1)), found], axis=1)
    return found[0], found[1:]


def _covariance(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Of the entries of two matrices over their first axis."""
    found = _centred(one).T @ _centred(other) / len(one)
    return found.reshape(*one.shape[1:], *other.shape[1:])


def _centred(part: np.ndarray) -> np.ndarray:
    return part.reshape(len(part), -1) - part.mean(axis=0).ravel()
