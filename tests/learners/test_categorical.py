"""The categorical learner: counts in, proportions out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare, multivariate_hypergeom

from stlcore.learners.base import Learner, PoolsSamples, ReusesSamples
from stlcore.learners.categorical import Categorical, check_law
from stlcore.streams import stream

TRUTH = np.array([0.5, 0.3, 0.2])


@pytest.fixture
def learner():
    return Categorical(TRUTH)


def test_it_offers_what_every_cycle_needs(learner):
    for protocol in (Learner, PoolsSamples, ReusesSamples):
        assert isinstance(learner, protocol)


def test_samples_are_counts(learner):
    sizes = np.array([1, 5, 1000, 10**9])
    counts = learner.sample([learner.truth], np.ones(1), sizes, stream(1, "counts"))
    assert counts.shape == (4, 3)
    assert counts.sum(axis=1).tolist() == sizes.tolist()


def test_samples_follow_the_mixture(learner):
    # Two models with a law for each repetition. Chi-square test, false-alarm rate 1e-6.
    reps, size = 500, 400
    first = np.tile([0.1, 0.2, 0.7], (reps, 1))
    first[::2] = [0.6, 0.4, 0]
    counts = learner.sample(
        [learner.truth, first], np.array([0.25, 0.75]), np.full(reps, size), stream(2, "mixture")
    )
    for start, law in ((0, [0.6, 0.4, 0]), (1, [0.1, 0.2, 0.7])):
        mixture = 0.25 * TRUTH + 0.75 * np.array(law)
        observed = counts[start::2].sum(axis=0)
        assert chisquare(observed, mixture * observed.sum()).pvalue > 0.5e-6


def test_fit_is_the_proportions(learner):
    fit = learner.fit(np.array([[1, 1, 2], [0, 0, 3]]))
    assert fit.tolist() == [[0.25, 0.25, 0.5], [0, 0, 1]]


def test_track_is_the_squared_distance(learner):
    errors = learner.track(np.array([[0.5, 0.3, 0.2], [1, 0, 0], [0.4, 0.3, 0.3]]))
    assert errors["squared_error"] == pytest.approx([0, 0.25 + 0.09 + 0.04, 0.02])


def test_pool_adds_counts(learner):
    assert learner.pool(np.array([[1, 2, 3]]), np.array([[4, 0, 1]])).tolist() == [[5, 2, 4]]


def test_subset_is_part_of_the_sample(learner):
    sample = stream(3, "sample").multinomial(40, TRUTH, size=200)
    part = learner.subset(sample, 15, stream(3, "part"))
    assert np.all(part.sum(axis=1) == 15)
    assert np.all((part >= 0) & (part <= sample))
    assert np.array_equal(learner.subset(sample, 40, stream(3, "all")), sample)


def test_subset_is_drawn_without_replacement(learner):
    # 6000 subsets of two of the same four items. Chi-square test, false-alarm rate 1e-6.
    parts = learner.subset(np.tile([2, 1, 1], (6000, 1)), 2, stream(4, "subset"))
    possible = np.array([[2, 0, 0], [1, 1, 0], [1, 0, 1], [0, 1, 1]])
    observed = [(parts == row).all(axis=1).sum() for row in possible]
    assert sum(observed) == 6000
    expected = 6000 * multivariate_hypergeom.pmf(possible, [2, 1, 1], 2)
    assert chisquare(observed, expected).pvalue > 1e-6


@pytest.mark.parametrize(
    ("law", "message"),
    [
        ([0.5, 0.4], "the true law must sum to 1, not 0.9"),
        ([1.5, -0.5], "the true law has a negative or missing probability"),
        ([0.5, np.nan], "the true law has a negative or missing probability"),
        ([], "the true law must have at least one class"),
        (1.0, "the true law must have at least one class"),
        ([[0.5, 0.5], [0.2, 0.8]], "the true law must be one vector of probabilities"),
    ],
)
def test_laws_that_cannot_be(law, message):
    with pytest.raises(ValueError, match=message):
        Categorical(law)


@pytest.mark.parametrize("classes", [2, 50, 5000])
def test_a_law_of_single_precision_is_normalised(classes):
    logits = np.random.default_rng(classes).normal(size=(3, classes))
    softmax = np.exp(logits).astype(np.float32)
    softmax /= softmax.sum(axis=-1, keepdims=True)
    law = check_law("the law", softmax)
    np.testing.assert_allclose(law.sum(axis=-1), 1, rtol=0, atol=1e-14)
    np.testing.assert_allclose(law, softmax, rtol=classes * 1.2e-7)
    with pytest.raises(ValueError, match=r"the law must sum to 1, not 1\.0[0-9]"):
        check_law("the law", softmax * np.float32(1.01))


def test_a_law_that_misses_one_by_little_is_told_by_how_much():
    with pytest.raises(ValueError, match=r"the true law must sum to 1, not 1\.00000002"):
        Categorical([0.5, 0.50000002])


def test_check_law_looks_at_every_row():
    law = [[0.5, 0.5], [0.3, 0.7]]
    assert check_law("the law", law).tolist() == law
    with pytest.raises(ValueError, match="the law must sum to 1"):
        check_law("the law", [[0.5, 0.5], [0.3, 0.6]])


# --- Common uniforms -----------------------------------------------------------------------------


@given(
    law=st.lists(st.floats(0.01, 1), min_size=2, max_size=6),
    size=st.lists(st.integers(1, 30), min_size=1, max_size=4),
)
def test_coupled_counts_are_the_classes_of_the_uniforms(law, size):
    law, size = np.array(law) / sum(law), np.array(size)
    counts = Categorical(law).coupled([law], np.ones(1), size, stream(5, "uniforms"))
    uniforms = stream(5, "uniforms").random((len(size), size.max()))
    for row, numbers, n in zip(counts, uniforms, size, strict=True):
        classes = np.minimum(np.searchsorted(law.cumsum(), numbers[:n], "right"), len(law) - 1)
        assert np.array_equal(row, np.bincount(classes, minlength=len(law)))


def test_coupled_counts_have_the_law_of_the_mixture(follows):
    one, two = np.array([0.5, 0.3, 0.2]), np.array([0.0, 0.1, 0.9])
    weights, size = np.array([0.25, 0.75]), np.full(20_000, 7)
    counts = Categorical(one).coupled([one, two], weights, size, stream(5, "law"))
    mean = 7 * (0.25 * one + 0.75 * two)
    assert follows(counts, mean)
    assert follows((counts - mean) ** 2, mean * (1 - mean / 7))
    assert not follows(counts, 7 * (0.3 * one + 0.7 * two))


def test_two_coupled_classes_differ_as_little_as_two_laws_can(follows):
    """The mean number of items that differ is the total variation distance times the size."""
    one, two, size = np.array([0.5, 0.5]), np.array([0.4, 0.6]), np.full(20_000, 200)
    learner = Categorical(one)
    first, second = (learner.coupled([p], np.ones(1), size, stream(5, "pair")) for p in (one, two))
    assert (first[:, 0] >= second[:, 0]).all()
    moved = (first - second)[:, :1]
    assert follows(moved, [20])
    assert follows((moved - 20) ** 2, [200 * 0.1 * 0.9])
    # Copies of one generator do not do it: large binomial counts are accepted or rejected.
    plain = [learner.sample([p], np.ones(1), size, stream(5, "pair")) for p in (one, two)]
    assert not follows(((plain[0] - plain[1])[:, :1] - 20) ** 2, [200 * 0.1 * 0.9])
