"""Models that read each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from stlcore.learners.base import Learner, Origin, Resumes, Round, asked

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
    ``squared_error[0]`` to ``squared_error[M - 1]``, say. Pools, selects and resumes where the
    learner does; a repetition is lost with its first member. The exact risks of categorical
    communities are :func:`stlcore.theory.beyond.community` and
    :func:`stlcore.theory.beyond.network`.
    """

    def __init__(self, learner: Learner, mixing) -> None:
        self.mixing = np.asarray(mixing, dtype=float)
        if self.mixing.ndim != 2 or self.mixing.shape[0] != self.mixing.shape[1]:
            raise ValueError("the mixing matrix must have one row and one column for each model")
        if not np.all(self.mixing >= 0) or not np.allclose(self.mixing.sum(axis=1), 1, 0, 1e-9):
            raise ValueError("every row of the mixing matrix must be a law")
        self.learner, self.truth = learner, learner.truth
        if hasattr(learner, "parts_of_mixtures"):
            self.parts_of_mixtures = learner.parts_of_mixtures
        for ability in ("best", "between", "count", "lost", "pool", "subset"):
            if hasattr(learner, ability):
                setattr(self, ability, getattr(self, f"_{ability}"))
        if isinstance(learner, Resumes):
            self.identity, self.pack, self.unpack = self._identity, self._pack, self._unpack

    def sample(
        self,
        models: Sequence[Any],
        weights: np.ndarray,
        size: np.ndarray,
        rng: np.random.Generator,
        origins: Sequence[Origin],
    ) -> tuple:
        """One training set for each member."""
        samples = []
        for row in self.mixing:
            laws, shares, written = self._read(row, models, weights, origins)
            extra = asked(self.learner.sample, origins=written)
            samples.append(self.learner.sample(laws, shares, size, rng, **extra))
        return tuple(samples)

    def _read(self, row, models, weights, origins) -> tuple[list[Any], np.ndarray, list[Origin]]:
        """The laws that one member reads, and their weights; the truth is one law for all."""
        read = []
        for model, weight, origin in zip(models, weights, origins, strict=True):
            real = origin.generation == 0
            members = [(model, 1.0)] if real else zip(model, row, strict=True)
            read += [(law, weight * part, origin) for law, part in members if weight * part > 0]
        laws, shares, written = zip(*read, strict=True)
        return list(laws), np.array(shares) / sum(shares), list(written)

    def fit(self, sample: tuple, previous: tuple | None = None, round: Round | None = None):
        """Every member's fit to its own training set."""
        before = (None,) * len(sample) if previous is None else previous
        return tuple(
            self.learner.fit(s, p, **asked(self.learner.fit, round=own))
            for s, p, own in zip(sample, before, self._rounds(round), strict=True)
        )

    def track(self, model: tuple, round: Round | None = None) -> dict[str, np.ndarray]:
        """What the learner tracks, of one member after the other."""
        tracked = [
            self.learner.track(member, **asked(self.learner.track, round=own))
            for member, own in zip(model, self._rounds(round), strict=True)
        ]
        return {
            name: np.stack([t[name] for t in tracked], axis=1).reshape(len(tracked[0][name]), -1)
            for name in tracked[0]
        }

    def _rounds(self, round: Round | None) -> list[Round | None]:
        """The round for every member, each with a generator of its own."""
        if round is None:
            return [None] * len(self.mixing)
        return [Round(round.number, own) for own in round.rng.spawn(len(self.mixing))]

    # --- What it can do where the learner can ------------------------------------------------

    def _best(self, sample: tuple, size: np.ndarray) -> tuple:
        return tuple(self.learner.best(own, size) for own in sample)

    def _between(self, model: tuple, other: tuple, gain: float) -> tuple:
        return tuple(self.learner.between(*pair, gain) for pair in zip(model, other, strict=True))

    def _count(self, sample: tuple) -> np.ndarray:
        return self.learner.count(sample[0])  # members draw equally many

    def _lost(self, model: tuple) -> np.ndarray:
        return np.any([self.learner.lost(member) for member in model], axis=0)

    def _pool(self, first: tuple, second: tuple) -> tuple:
        return tuple(self.learner.pool(*pair) for pair in zip(first, second, strict=True))

    def _subset(self, sample: tuple, size: int, rng: np.random.Generator) -> tuple:
        return tuple(self.learner.subset(own, size, rng) for own in sample)

    def _identity(self) -> dict[str, Any]:
        kind = type(self.learner).__name__
        return {"mixing": self.mixing.tolist(), "of": kind, **self.learner.identity()}

    def _pack(self, value: tuple) -> dict[str, np.ndarray]:
        packed = [self.learner.pack(member) for member in value]
        return {f"{k}.{name}": a for k, arrays in enumerate(packed) for name, a in arrays.items()}

    def _unpack(self, arrays: Mapping[str, np.ndarray]) -> tuple:
        of = [{} for _ in self.mixing]
        for name, array in arrays.items():
            k, own = name.split(".", 1)
            of[int(k)][own] = array
        return tuple(self.learner.unpack(own) for own in of)
