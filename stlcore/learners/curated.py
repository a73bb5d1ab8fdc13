"""Curation: what a model writes is selected before the next one reads it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from stlcore.learners.base import Learner, Origin, Round, asked, hand_on

__all__ = ["Curated"]

#: Its models and samples are the learner's own. It keeps no checkpoint, for a tilt has no
#: identity that could be compared.
ABILITIES = (
    *("best", "between", "count", "lost", "open_truth", "parts_of_mixtures", "pool", "subset"),
)


class Curated:
    r"""A learner whose synthetic items pass through a selection; real ones do not.

    Parameters
    ----------
    learner : Learner
        What is fitted in each round.
    tilt : callable
        Takes a model to the model of the items that are kept. Keeping items in proportion to
        a weight makes of a law p the law :math:`pw/\int pw`: for proportions
        :math:`m\circ w/\langle m,w\rangle`, and for :math:`N(m,\sigma^2)` with the weight
        :math:`e^{bx}` the law :math:`N(m+b\sigma^2,\sigma^2)`. The best of k, or a verifier
        that errs, are maps of the law as well.

    Notes
    -----
    Items are counted after the selection, so a round trains on as many as the cycle says.
    Tracks what the learner tracks, and pools and selects where the learner does.
    """

    def __init__(self, learner: Learner, tilt: Callable[[Any], Any]) -> None:
        self.learner, self.tilt, self.truth = learner, tilt, learner.truth
        hand_on(self, learner, ABILITIES)

    def sample(self, models: Sequence[Any], weights, size, rng, origins: Sequence[Origin]) -> Any:
        """Items of the truth as they are, and of every model as selected."""
        read = [
            model if origin.generation == 0 else self.tilt(model)
            for model, origin in zip(models, origins, strict=True)
        ]
        extra = asked(self.learner.sample, origins=origins)
        return self.learner.sample(read, weights, size, rng, **extra)

    def fit(self, sample: Any, previous: Any | None = None, round: Round | None = None) -> Any:
        """The learner's fit."""
        return self.learner.fit(sample, previous, **asked(self.learner.fit, round=round))

    def track(self, model: Any, round: Round | None = None) -> Mapping[str, np.ndarray]:
        """What the learner tracks."""
        return self.learner.track(model, **asked(self.learner.track, round=round))
