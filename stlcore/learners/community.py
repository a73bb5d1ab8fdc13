"""Models that read each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from stlcore.learners.base import Learner

__all__ = ["Community"]


class Community:
    r"""M models of one kind, each of which reads the others by a mixing matrix.

    In every round each model draws a training set of its own. Where the cycle says "the last
    generation", model j draws from the last models of all, with the weights of row j.

    Parameters
    ----------
    learner : Learner
        What every one of them is.
    mixing : array_like, shape (M, M)
        Row j is the law by which model j reads the models.

    Raises
    ------
    ValueError
        If the matrix is not square or a row is no law.

    Notes
    -----
    Model: a tuple of M models of the learner. Tracks what the learner tracks, of every member:
    ``squared_error[0]`` to ``squared_error[M - 1]``, say. The exact risks of categorical
    communities are :func:`stlcore.theory.beyond.community` and
    :func:`stlcore.theory.beyond.network`.
    """

    def __init__(self, learner: Learner, mixing) -> None:
        self.mixing = np.asarray(mixing, dtype=float)
        if self.mixing.ndim != 2 or self.mixing.shape[0] != self.mixing.shape[1]:
            raise ValueError("the mixing matrix must have one row and one column for each model")
        if not np.all(self.mixing >= 0) or not np.allclose(self.mixing.sum(axis=1), 1, 0, 1e-9):
            raise ValueError("every row of the mixing matrix must be a law")
        self.learner = learner
        self.truth = (learner.truth,) * len(self.mixing)

    def sample(self, models: Sequence[tuple], weights, size, rng) -> tuple:
        """One training set for each member."""
        return tuple(
            self.learner.sample(*self._read(row, models, weights), size, rng) for row in self.mixing
        )

    def _read(self, row, models, weights) -> tuple[list[Any], np.ndarray]:
        """The laws that one member reads, and their weights; the truth is one law for all."""
        laws, shares = [], []
        for model, weight in zip(models, weights, strict=True):
            members = [(model[0], 1.0)] if model is self.truth else zip(model, row, strict=True)
            for law, part in members:
                if weight * part > 0:
                    laws.append(law)
                    shares.append(weight * part)
        return laws, np.array(shares) / sum(shares)

    def fit(self, sample: tuple, previous: tuple | None = None) -> tuple:
        """Every member's fit to its own training set."""
        before = (None,) * len(sample) if previous is None else previous
        return tuple(self.learner.fit(s, p) for s, p in zip(sample, before, strict=True))

    def track(self, model: tuple) -> dict[str, np.ndarray]:
        """What the learner tracks, one column for each member."""
        tracked = [self.learner.track(member) for member in model]
        return {name: np.stack([t[name] for t in tracked], axis=1) for name in tracked[0]}
