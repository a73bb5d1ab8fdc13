"""Moving part of the way: an average of models over the generations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from stlcore.learners.base import Learner, Origin, Resumes, Round, asked, hand_on

__all__ = ["Averaged"]

#: Its models and samples are the learner's own, so what the learner can do with them stays.
ABILITIES = (
    *("best", "between", "count", "coupled", "lost", "open_truth", "pack"),
    *("parts_of_mixtures", "pool", "subset", "unpack"),
)


class Averaged:
    r"""A learner whose model moves part of the way to the new fit.

    :math:`m_t=m_{t-1}+g_t(\mathrm{fit}_t-m_{t-1})`, where the learner says with ``between``
    what that means for its models. For categorical proportions it averages laws, for the mean
    of a normal law parameters.

    Parameters
    ----------
    learner : Learner
        What is fitted in each round; it has ``between(model, other, gain)``.
    gains : sequence of float
        :math:`g_1,\dots,g_T`; the first is 1, for round 1 has nothing to start from.

    Raises
    ------
    TypeError
        If the learner has no ``between``.
    ValueError
        If there is no gain, the first is not 1, or one is not finite.

    Notes
    -----
    Tracks what the learner tracks, and pools, selects and resumes where the learner does. The
    exact risks are
    :func:`stlcore.theory.beyond.gain_risk` and :func:`stlcore.theory.beyond.mean_gain_risk`.
    """

    def __init__(self, learner: Learner, gains: Sequence[float]) -> None:
        if not hasattr(learner, "between"):
            raise TypeError(
                f"{type(learner).__name__} cannot say what lies between two of its models, so "
                "they cannot be averaged"
            )
        self.gains = np.asarray(gains, dtype=float)
        if self.gains.ndim != 1 or not self.gains.size or not np.all(np.isfinite(self.gains)):
            raise ValueError("there must be a finite gain for each round")
        if self.gains[0] != 1:
            raise ValueError("the first gain must be 1: round 1 has no model to start from")
        self.learner, self.truth = learner, learner.truth
        hand_on(self, learner, ABILITIES)
        if isinstance(learner, Resumes):
            self.identity = self._identity

    def sample(self, models, weights, size, rng, origins: Sequence[Origin] | None = None):
        """As the learner samples."""
        extra = asked(self.learner.sample, origins=origins)
        return self.learner.sample(models, weights, size, rng, **extra)

    def fit(self, sample: Any, previous: Any | None, round: Round) -> Any:
        """The last model, moved by the round's gain towards the learner's fit.

        Raises
        ------
        ValueError
            If there is no gain for the round.
        """
        if round.number > len(self.gains):
            raise ValueError(
                f"there are gains for {len(self.gains)} rounds, but this is round {round.number}"
            )
        new = self.learner.fit(sample, previous, **asked(self.learner.fit, round=round))
        if previous is None:
            return new
        return self.learner.between(previous, new, self.gains[round.number - 1])

    def track(self, model: Any, round: Round | None = None) -> Mapping[str, np.ndarray]:
        """What the learner tracks."""
        return self.learner.track(model, **asked(self.learner.track, round=round))

    def _identity(self) -> dict[str, Any]:
        kind = type(self.learner).__name__
        return {"gains": self.gains.tolist(), "of": kind, **self.learner.identity()}
