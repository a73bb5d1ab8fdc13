"""The next-token learner: its law of counts, unseen contexts, and the exact recurrence."""

import numpy as np
import pytest
from scipy.special import gammaln
from scipy.stats import chisquare

from stlcore.cycles import fixed_real, fresh_mixture, full_synthetic
from stlcore.learners.base import Learner, PoolsSamples, ReusesSamples
from stlcore.learners.categorical import Categorical, NextToken
from stlcore.loop import run
from stlcore.pages.figures import as_array
from stlcore.schedules import Share, Size
from stlcore.streams import stream
from stlcore.theory.contamination import random_count_risk
from stlcore.theory.enumeration import compositions

TRUTH = np.array([[0.5, 0.3, 0.2], [0.1, 0.9, 0.0], [1 / 3, 1 / 3, 1 / 3], [0.0, 0.0, 1.0]])
CONTEXTS = np.array([0.6, 0.25, 0.1, 0.05])

LEVEL = 1e-6  # false alarm of one statistical test here


def table_chances(tables, joint):
    """Probability of every table of counts when its cells have the probabilities ``joint``."""
    counts = tables.reshape(len(tables), -1)
    size = counts[0].sum()
    ways = np.exp(gammaln(size + 1) - gammaln(counts + 1).sum(axis=1))
    return ways * (joint.ravel() ** counts).prod(axis=1)


def test_the_protocol():
    learner = NextToken(TRUTH, CONTEXTS)
    assert isinstance(learner, Learner)
    assert isinstance(learner, PoolsSamples)
    assert not isinstance(learner, ReusesSamples)


# --- the law of the counts ------------------------------------------------------------------


@pytest.mark.parametrize("weights", [[1.0], [0.3, 0.7]])
def test_the_law_of_the_counts(weights):
    """A chi-square test over all tables of three items."""
    truth, contexts = np.array([[0.7, 0.3], [0.2, 0.8]]), np.array([0.65, 0.35])
    other = np.array([[0.1, 0.9], [0.5, 0.5]])
    models = [truth, other][: len(weights)]
    repetitions = 40_000
    rng = stream(3, "counts", len(weights))
    drawn = NextToken(truth, contexts).sample(
        models, np.array(weights), np.full(repetitions, 3), rng
    )
    tables = compositions(3, 4)
    law = sum(w * m for w, m in zip(weights, models, strict=True))
    expected = repetitions * table_chances(tables, contexts[:, None] * law)
    place = {tuple(row): i for i, row in enumerate(tables)}
    observed = np.bincount([place[tuple(row)] for row in drawn.reshape(-1, 4)], minlength=20)
    assert chisquare(observed, expected).pvalue > LEVEL


def test_every_repetition_has_its_own_size_and_model():
    learner = NextToken(TRUTH, CONTEXTS)
    size = np.array([0, 1, 10, 10_000])
    models = np.zeros((4, 4, 3))
    models[np.arange(4), :, [0, 1, 2, 0]] = 1  # repetition r always says one token
    drawn = learner.sample([models], np.ones(1), size, stream(0, "sizes"))
    assert drawn.shape == (4, 4, 3)
    assert (drawn.sum(axis=(1, 2)) == size).all()
    assert (drawn.sum(axis=1)[np.arange(4), [0, 1, 2, 0]] == size).all()


def test_a_token_without_probability_is_never_drawn():
    drawn = NextToken(TRUTH, CONTEXTS).sample(
        [TRUTH], np.ones(1), np.full(200, 5000), stream(1, "zeros")
    )
    assert (drawn[:, TRUTH == 0] == 0).all()
    assert (drawn.sum(axis=0)[TRUTH > 0] > 0).all()


# --- the fit --------------------------------------------------------------------------------


def test_an_unseen_context_is_uniform_at_first_and_then_keeps_its_row():
    learner = NextToken(TRUTH, CONTEXTS)
    sample = np.array([[[2, 1, 1], [0, 0, 0], [0, 0, 5], [0, 0, 0]]])
    first = learner.fit(sample, None)
    third = [1 / 3] * 3
    np.testing.assert_array_equal(first, [[[0.5, 0.25, 0.25], third, [0, 0, 1], third]])
    following = np.array([[[0, 0, 0], [0, 3, 1], [0, 0, 0], [0, 0, 0]]])
    second = learner.fit(following, first)
    np.testing.assert_array_equal(second, [[[0.5, 0.25, 0.25], [0, 0.75, 0.25], [0, 0, 1], third]])
    np.testing.assert_array_equal(first[0, 1], third)  # the old model is left alone


def test_a_round_without_any_item_changes_nothing():
    learner = NextToken(TRUTH, CONTEXTS)
    model = np.tile(TRUTH, (2, 1, 1))
    np.testing.assert_array_equal(learner.fit(np.zeros((2, 4, 3), dtype=int), model), model)


def test_rows_stay_probability_vectors_over_many_rounds():
    found = []
    run(
        NextToken(TRUTH, CONTEXTS),
        fresh_mixture(0.1),
        7,
        40,
        30,
        stream(2, "rows"),
        observe=lambda t, model: found.append(model),
    )
    models = np.array(found)
    assert (models >= 0).all()
    np.testing.assert_allclose(models.sum(axis=-1), 1, atol=1e-12)


def test_the_tracked_error_is_the_weighted_mean_over_contexts():
    model = np.full((2, 4, 3), 1 / 3)
    by_context = ((1 / 3 - TRUTH) ** 2).sum(axis=1)
    np.testing.assert_allclose(
        NextToken(TRUTH, CONTEXTS).track(model)["squared_error"], [CONTEXTS @ by_context] * 2
    )


def test_pooling_adds_the_counts():
    frame = run(
        NextToken(TRUTH, CONTEXTS), full_synthetic().accumulated(), 10, 4, 3, stream(4, "pool")
    )
    assert (as_array(frame, "trained") == np.array([[10], [20], [30], [40]])).all()
    learner = NextToken(TRUTH, CONTEXTS)
    one, two = np.ones((1, 4, 3), dtype=int), np.full((1, 4, 3), 2)
    np.testing.assert_array_equal(learner.pool(one, two), np.full((1, 4, 3), 3))


# --- the recurrence with random counts ------------------------------------------------------


def risks_by_listing(learner, shares, sizes):
    """Risk of every context in every round, over all tables of counts, by the learner's fit."""
    contexts, classes = learner.truth.shape
    states = {None: 1.0}
    risks = []
    for share, size in zip(shares, sizes, strict=True):
        tables = compositions(size, contexts * classes)
        following = {}
        for key, chance in states.items():
            model = None if key is None else np.reshape(key, (contexts, classes))
            law = learner.truth if key is None else share * learner.truth + (1 - share) * model
            chances = chance * table_chances(tables, learner.contexts[:, None] * law)
            fits = learner.fit(tables.reshape(-1, contexts, classes), model)
            for fit, p in zip(fits.round(12), chances, strict=True):
                if p > 0:
                    place = tuple(fit.ravel())
                    following[place] = following.get(place, 0.0) + p
        states = following
        errors = [
            ((np.reshape(key, (contexts, classes)) - learner.truth) ** 2).sum(axis=1)
            for key in states
        ]
        risks.append(np.array(list(states.values())) @ np.array(errors))
    return np.array(risks)


def test_the_recurrence_equals_the_sum_over_every_table_of_counts():
    learner = NextToken(np.array([[0.7, 0.3], [0.1, 0.9]]), np.array([0.8, 0.2]))
    shares, sizes = [1, 0.3, 0.0, 0.6], [2, 3, 1, 2]
    V = 1 - (learner.truth**2).sum(axis=1)
    recurrence = random_count_risk(shares, sizes, learner.contexts, V, classes=2)
    np.testing.assert_allclose(risks_by_listing(learner, shares, sizes), recurrence.T, atol=1e-10)
    # The check can fail: a share that is off by a hundredth is seen.
    wrong = random_count_risk([1, 0.31, 0.0, 0.6], sizes, learner.contexts, V, classes=2)
    assert np.abs(wrong - recurrence).max() > 1e-4


@pytest.mark.parametrize("share", [0.0, 0.2, 1.0])
def test_the_simulated_risk_of_every_context(follows, share):
    """Level 1e-6, from `follows`."""
    learner = NextToken(TRUTH, CONTEXTS)
    shares, sizes, rounds = Share.fixed(share), Size.power(6, 0.5), 6
    errors = []
    run(
        learner,
        fresh_mixture(shares),
        sizes,
        rounds,
        20_000,
        stream(5, "risk", str(share)),
        observe=lambda t, model: errors.append(((model - TRUTH) ** 2).sum(axis=-1)),
    )
    exact = random_count_risk(
        shares.values(rounds), sizes.values(rounds), CONTEXTS, 1 - (TRUTH**2).sum(axis=1), classes=3
    )
    measured = np.stack(errors, axis=-1)  # (repetitions, contexts, rounds)
    assert follows(measured.reshape(len(measured), -1), exact.ravel())
    assert not follows(measured[:, 0], exact[1])


def test_one_context_is_the_categorical_learner():
    """Bit for bit, because the same random numbers are drawn."""
    truth = TRUTH[0]
    arguments = (fresh_mixture(0.2), Size.power(10, 1), 8, 5)
    one = run(NextToken(truth[None, :], np.ones(1)), *arguments, stream(6, "one"))
    plain = run(Categorical(truth), *arguments, stream(6, "one"))
    np.testing.assert_allclose(one["squared_error"], plain["squared_error"], rtol=1e-12)


# --- determinism and errors -----------------------------------------------------------------


def test_the_same_seed_gives_the_same_run():
    def once(seed):
        return run(NextToken(TRUTH, CONTEXTS), fresh_mixture(0.1), 20, 5, 4, stream(seed, "run"))

    assert once(7).equals(once(7))
    assert not once(7).equals(once(8))


@pytest.mark.parametrize(
    ("truth", "contexts", "message"),
    [
        ([[0.5, 0.6]], [1.0], "the next-token law must sum to 1, not 1.1"),
        ([[1.5, -0.5]], [1.0], "the next-token law has a negative or missing probability"),
        ([[np.nan, 1.0]], [1.0], "the next-token law has a negative or missing probability"),
        ([[0.5, 0.5]], [0.9], "the law of the contexts must sum to 1, not 0.9"),
        ([[0.5, 0.5]], [0.5, 0.5], "one row for each context"),
        ([0.5, 0.5], [0.5, 0.5], "one row for each context"),
        (np.zeros((0, 2)), [], "at least one class"),
    ],
)
def test_what_is_no_law_is_refused(truth, contexts, message):
    with pytest.raises(ValueError, match=message):
        NextToken(truth, contexts)


def test_a_fixed_real_set_does_not_fit():
    with pytest.raises(TypeError, match="NextToken cannot use a sample again"):
        run(NextToken(TRUTH, CONTEXTS), fixed_real(0.5), 10, 2, 2, stream(0, "fixed"))
