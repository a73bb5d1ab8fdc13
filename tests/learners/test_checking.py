"""Every learner passes the check, and each fault that it knows is found on its own."""

from __future__ import annotations

import copy
import re

import numpy as np
import pytest

from stlcore.laws import GAUSSIAN, NormalMixture
from stlcore.learners.base import arrays_in
from stlcore.learners.categorical import Categorical, NextToken
from stlcore.learners.checking import check_learner
from stlcore.learners.diffusion.learner import Diffusion
from stlcore.learners.diffusion.scores import LinearScore
from stlcore.learners.each import Each
from stlcore.learners.gaussian import Gaussian, GaussianMean
from stlcore.learners.gpt2.learner import GPT2, Config
from stlcore.learners.in_context.learner import BayesRidge, InContext
from stlcore.learners.kde import KernelDensity
from stlcore.learners.linear import LinearRegression
from stlcore.learners.logistic import Logistic
from stlcore.learners.mixture import GaussianMixture1D
from stlcore.streams import stream

TRUTH = np.array([0.4, 0.3, 0.2, 0.1])


def in_context():
    rng = stream(1, "tasks")
    return InContext(BayesRidge(0.5), rng.normal(size=(2, 3)), 0.5, rng.normal(size=(2, 4, 3)))


def gpt2():
    documents = [[1 + (k + j) % 8 for j in range(6)] for k in range(8)] + [
        [1 + (k * j) % 8 for j in range(1, 9)] for k in range(1, 40)
    ]
    config = Config(layers=1, heads=1, width=4, context=8, length=9, iterations=2, batch=2)
    return GPT2(documents, [[8, 8]], [1] * 9 + [0], 9, config, device="cpu")


def rows():
    return Each(
        lambda count, rng: rng.standard_normal((count, 2)),
        lambda items, previous, round: items.mean(axis=0) + 0 * round.rng.random(),
        lambda model, count, rng: model + rng.standard_normal((count, 2)),
        score=lambda items: items[:, 0],
        track=lambda model: {"mean": model},
    )


LEARNERS = {
    "categorical": lambda: Categorical(TRUTH),
    "next token": lambda: NextToken([[0.5, 0.5], [0.1, 0.9]], [0.4, 0.6]),
    "normal": lambda: Gaussian(0, 1),
    "mean": lambda: GaussianMean(0, 1),
    "mixture": lambda: GaussianMixture1D([0.5, 0.5], [-1, 1], [1, 1]),
    "least squares": lambda: LinearRegression([1.0, 2.0]),
    "logistic": lambda: Logistic([0.0, 1.0]),
    "kernel": lambda: KernelDensity(
        NormalMixture.standard(), GAUSSIAN, 0.3, np.linspace(-5, 5, 51)
    ),
    "diffusion": lambda: Diffusion(NormalMixture.standard(), LinearScore(), steps=3),
    "in context": in_context,
    "gpt2": gpt2,
    "each": rows,
}


@pytest.mark.parametrize("name", LEARNERS)
def test_every_learner_passes(name):
    assert check_learner(LEARNERS[name]()) == []


class InPlace(Categorical):
    def fit(self, sample, previous=None):
        model = super().fit(sample)
        if previous is not None:
            previous[...] = model
            return previous
        return model


class ChangesOnly(Categorical):
    def fit(self, sample, previous=None):
        if previous is not None:
            previous *= 0.5
        return super().fit(sample)


class EatsSample(Categorical):
    def fit(self, sample, previous=None):
        model = super().fit(sample)
        sample[:] = 0
        return model


class OwnNumbers(Categorical):
    def sample(self, models, weights, size, rng):
        return super().sample(models, weights, size, np.random.default_rng())


class OwnFit(Categorical):
    def fit(self, sample, previous=None):
        return super().fit(sample) * (1 + np.random.default_rng().random())

    def sample(self, models, weights, size, rng):
        return super().sample(
            [m / m.sum(axis=-1, keepdims=True) for m in models], weights, size, rng
        )


class TooFew(Categorical):
    def sample(self, models, weights, size, rng):
        return super().sample(models, weights, size - 1, rng)


class TooFewLater(Categorical):
    def sample(self, models, weights, size, rng):
        return super().sample(models, weights, size - (models[0] is not self.truth), rng)


class OwnNumbersLater(Categorical):
    """Real items are drawn as they should be, the model's by a generator of their own."""

    def sample(self, models, weights, size, rng):
        own = rng if models[0] is self.truth else np.random.default_rng()
        return super().sample(models, weights, size, own)


class PoolsHalf(Categorical):
    def pool(self, first, second):
        return second


class PoolsInPlace(Categorical):
    def pool(self, first, second):
        first += second
        return first


class TakesFirst(Categorical):
    def subset(self, sample, size, rng):
        return super().subset(sample, size, stream(1))


class TakesAll(Categorical):
    def subset(self, sample, size, rng):
        return sample


class Lossy(Categorical):
    def unpack(self, arrays):
        return arrays["value"].astype(np.float32)


class Objects(Categorical):
    def pack(self, value):
        return {"value": np.array([None])}


class OwnColumn(Categorical):
    def track(self, model):
        return {"trained": np.zeros(len(model))}


class Scalar(Categorical):
    def track(self, model):
        return {"error": 0.0}


class Words(Categorical):
    def track(self, model):
        return {"error": ["small", "large"]}


class NoMapping(Categorical):
    def track(self, model):
        return np.zeros(2)


class NoTruth(Categorical):
    def __init__(self, truth):
        super().__init__(truth)
        self.truth = None


class ChangesModel(Categorical):
    def sample(self, models, weights, size, rng):
        drawn = super().sample(models, weights, size, rng)
        if models[0] is not self.truth:
            models[0][:, ::2] += 1e-9
        return drawn


FAULTS = {
    InPlace: "fit changes `previous` or returns it",
    ChangesOnly: "fit changes `previous` or returns it",
    EatsSample: "fit changes its sample",
    OwnNumbers: "sample gives different results from equal generators",
    OwnFit: "fit gives different results from equal generators",
    OwnNumbersLater: "sample from a model gives different results from equal generators",
    TooFew: "sample gives 19 items where 20 were asked for",
    TooFewLater: "sample from a model gives 19 items where 20 were asked for",
    PoolsHalf: "pool gives 20 items where 40 were asked for",
    PoolsInPlace: "pool changes one of the samples",
    TakesFirst: "subset takes the same items whatever the generator",
    TakesAll: "subset gives 20 items where 10 were asked for",
    Lossy: "unpack does not give back the model that pack took",
    Objects: "pack of a model must give arrays of numbers, but value is none",
    OwnColumn: "track gives 'trained', which is a column of the loop's own",
    Scalar: r"track gives 'error' of shape \(\), but it must be \(2,\)",
    Words: "track gives 'error', which is no number",
    NoMapping: "track must return a mapping of names to arrays, not ndarray",
    NoTruth: "the truth is None",
    ChangesModel: "sample changes the model that it draws from",
}


@pytest.mark.parametrize("kind", FAULTS, ids=lambda kind: kind.__name__)
def test_a_fault_is_found_in_words(kind):
    found = check_learner(kind(TRUTH))
    assert found
    assert "\n" not in "".join(found)
    matching = [sentence for sentence in found if re.match(FAULTS[kind], sentence)]
    assert len(matching) == 1, found


def test_what_is_no_learner_at_all():
    with pytest.raises(TypeError, match=r"Categorical is a class; check an instance, Categ"):
        check_learner(Categorical)
    with pytest.raises(TypeError, match="int is no learner"):
        check_learner(3)
    with pytest.raises(ValueError, match="at least 2 items"):
        check_learner(Categorical(TRUTH), size=1)


def test_arrays_are_found_wherever_they_are():
    torch = pytest.importorskip("torch")

    class Model:
        def __init__(self):
            self.weights = np.ones(2)
            self.itself = self
            self.parts = [{"a": (1, 2.5)}, torch.zeros(3)]
            self.network = torch.nn.Linear(1, 1)

    found = dict(arrays_in(Model()))
    assert found[".weights"].tolist() == [1, 1]
    assert found[".parts.0.a.1"] == 2.5
    assert found[".parts.1"].tolist() == [0, 0, 0]
    assert found[".network.weight"].shape == (1, 1)
    assert dict(arrays_in(copy.deepcopy(found))).keys() == {f".{place}" for place in found}
