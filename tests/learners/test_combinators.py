"""Learners made of learners: averages over generations, communities, curation."""

from __future__ import annotations

import numpy as np
import pytest

from stlcore.cycles import coevolving, fresh_mixture
from stlcore.laws import GAUSSIAN, NormalMixture
from stlcore.learners.averaged import Averaged
from stlcore.learners.categorical import Categorical
from stlcore.learners.community import Community
from stlcore.learners.curated import Curated
from stlcore.learners.gaussian import Gaussian, GaussianMean
from stlcore.learners.kde import KernelDensity
from stlcore.loop import run
from stlcore.streams import stream

TRUTH = [0.5, 0.3, 0.2]
KERNEL = KernelDensity(NormalMixture.standard(), GAUSSIAN, 0.4, np.linspace(-6, 6, 121))


def column(learner, name="squared_error", cycle=None, rounds=5, seed=1):
    cycle = fresh_mixture(0.3) if cycle is None else cycle
    return run(learner, cycle, 20, rounds, 30, stream(seed))[name].to_numpy()


@pytest.mark.parametrize("learner", [Categorical(TRUTH), GaussianMean(1, 2)])
def test_a_gain_of_one_changes_nothing_and_one_of_zero_stops_the_loop(learner):
    assert np.array_equal(column(Averaged(learner, np.ones(5))), column(learner))
    stopped = column(Averaged(learner, [1, 0, 0, 0, 0])).reshape(5, 30)
    assert np.array_equal(stopped, np.tile(stopped[0], (5, 1)))


def test_an_average_needs_to_know_what_lies_between_two_models():
    for learner in (KERNEL, Gaussian(0, 1)):
        with pytest.raises(TypeError, match="cannot say what lies between"):
            Averaged(learner, [1, 0.5])
    with pytest.raises(ValueError, match="gains for 2 rounds, but this is round 3"):
        column(Averaged(Categorical(TRUTH), [1, 0.5]))
    with pytest.raises(ValueError, match="finite gain"):
        Averaged(Categorical(TRUTH), [1, np.nan])


def test_a_community_of_one_is_its_member():
    for learner, name in ((Categorical(TRUTH), "squared_error"), (KERNEL, "tv")):
        alone = column(Community(learner, [[1]]), f"{name}[0]")
        assert np.array_equal(alone, column(learner, name))


@pytest.mark.parametrize("learner", [Categorical(TRUTH), GaussianMean(1, 2), KERNEL])
@pytest.mark.parametrize("cycle", [fresh_mixture(0.3), fresh_mixture(0), coevolving(0.3, 0.2)])
def test_communities_compose_with_learners_and_cycles(learner, cycle):
    mixing = np.array([[0.7, 0.3, 0], [0.1, 0.8, 0.1], [0, 0, 1]])
    frame = run(Community(learner, mixing), cycle, 20, 4, 25, stream(2))
    names = [c for c in frame if c.endswith("]")]
    assert len(names) % 3 == 0
    assert np.isfinite(frame[names].to_numpy()).all()


def test_a_member_that_reads_one_other_draws_from_that_one():
    """With mixing rows that name one model, and huge samples, models are copies."""
    seen = {}
    run(
        Community(Categorical(TRUTH), [[0, 1], [0, 1]]),
        fresh_mixture(0),
        10**8,
        3,
        20,
        stream(3),
        observe=lambda t, model: seen.update({t: model}),
    )
    assert seen[3][0] == pytest.approx(seen[2][1], abs=1e-3)


def test_wrong_mixing_is_refused():
    with pytest.raises(ValueError, match="one row and one column"):
        Community(Categorical(TRUTH), np.ones((2, 3)) / 3)
    with pytest.raises(ValueError, match="must be a law"):
        Community(Categorical(TRUTH), np.ones((2, 2)))


def test_curation_that_keeps_all_changes_nothing():
    for learner, name in ((Categorical(TRUTH), "squared_error"), (KERNEL, "tv")):
        assert np.array_equal(
            column(Curated(learner, lambda model: model), name), column(learner, name)
        )


def test_models_of_one_class_do_not_exceed_one_by_rounding():
    """Weights such as 0.7 and three times 0.1 can sum to more than 1."""
    weights = np.array([0.7, 0.1, 0.1, 0.1])
    models = [np.array([[0.0, 1.0]])] * 4
    counts = Categorical([0.5, 0.5]).sample(models, weights, np.array([9]), stream(1))
    assert counts.tolist() == [[0, 9]]
