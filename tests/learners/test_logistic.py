"""The logistic learner against scikit-learn, a linear programme and raw draws."""

import numpy as np
import pytest
from scipy.optimize import linprog, minimize
from scipy.special import expit
from scipy.stats import binom, kstest, norm
from sklearn.linear_model import LogisticRegression

from stlcore.cycles import balanced, fixed_real, fresh_mixture, full_synthetic, general
from stlcore.learners.base import PoolsSamples, ReusesSamples
from stlcore.learners.logistic import RIDGE, Classifier, Labelled, Logistic
from stlcore.loop import run
from stlcore.schedules import Share, Size
from stlcore.streams import stream

LEVEL = 1e-5  # false alarm of one statistical test here
TRUTH = [0.5, 1.0, -1.0, 0.5, 0.0, -0.5]


def real_data(n, repetitions, *labels, truth=TRUTH):
    learner = Logistic(truth)
    size = np.full(repetitions, n)
    return learner.sample([learner.truth], np.ones(1), size, stream(1, *labels))


def by_scikit(features, signs):
    peer = LogisticRegression(C=np.inf, tol=1e-10, max_iter=10_000)
    peer.fit(features.T, signs)
    return np.concatenate([peer.intercept_, peer.coef_[0]])


def is_separable(features, signs):
    """Whether some coefficients give every item a log-odds of at least 1 for its label."""
    design = signs * np.vstack([np.ones(len(signs)), features])
    found = linprog(
        np.zeros(len(design)),
        A_ub=-design.T,
        b_ub=-np.ones(len(signs)),
        bounds=[(None, None)] * len(design),
    )
    return found.status == 0


# --- the fit -----------------------------------------------------------------------------


@pytest.mark.parametrize("n", [60, 200, 1500])
def test_fit_equals_scikit_learn(n):
    sample = real_data(n, 15, "peer", n)
    fit = Logistic(TRUTH).fit(sample)
    assert not fit.separable.any()
    assert fit.converged.all()
    expected = [by_scikit(x, y) for x, y in zip(*sample, strict=True)]
    np.testing.assert_allclose(fit.coefficients, expected, atol=1e-5)


def test_gradient_of_the_likelihood_vanishes_at_the_fit():
    """Checked to rounding, far below what another solver's tolerance allows."""
    sample = real_data(300, 10, "gradient")
    beta = Logistic(TRUTH).fit(sample).coefficients
    odds = beta[:, :1] + np.einsum("rd,rdn->rn", beta[:, 1:], sample.features)
    surprise = (sample.signs > 0) - expit(odds)
    assert np.abs(surprise.sum(axis=1)).max() < 1e-7
    assert np.abs(np.einsum("rn,rdn->rd", surprise, sample.features)).max() < 1e-7


def test_intercept_alone_is_the_log_odds_of_the_labels():
    sample = real_data(50, 6, "intercept", truth=[0.4])
    ones = (sample.signs > 0).sum(axis=1)
    fit = Logistic([0.4]).fit(sample)
    np.testing.assert_allclose(fit.coefficients[:, 0], np.log(ones / (50 - ones)), rtol=1e-9)


def test_strong_effects_are_fitted_without_overshooting():
    truth = [3.0, 12.0, -9.0, 0.0, 4.0, -6.0]
    sample = real_data(2000, 10, "strong", truth=truth)
    fit = Logistic(truth).fit(sample)
    assert fit.converged.all()
    expected = [by_scikit(x, y) for x, y in zip(*sample, strict=True)]
    np.testing.assert_allclose(fit.coefficients, expected, rtol=1e-4)


def test_repetitions_do_not_influence_each_other(monkeypatch):
    sample = real_data(40, 30, "alone")
    together = Logistic(TRUTH).fit(sample)
    monkeypatch.setattr("stlcore.learners.logistic.BLOCK", 1)  # one repetition at a time
    alone = Logistic(TRUTH).fit(sample)
    np.testing.assert_array_equal(together.separable, alone.separable)
    np.testing.assert_allclose(together.coefficients, alone.coefficients, rtol=1e-6)


def test_places_left_over_do_not_count():
    learner, sizes = Logistic(TRUTH), np.array([50, 120, 3, 77])
    ragged = learner.sample([learner.truth], np.ones(1), sizes, stream(2, "ragged"))
    np.testing.assert_array_equal(np.abs(ragged.signs).sum(axis=1), sizes)
    fit = learner.fit(ragged)
    for r, n in enumerate(sizes):
        only = Labelled(ragged.features[r : r + 1, :, :n], ragged.signs[r : r + 1, :n])
        alone = learner.fit(only)
        assert fit.separable[r] == alone.separable[0]
        np.testing.assert_allclose(fit.coefficients[r], alone.coefficients[0], rtol=1e-6)


# --- separable data ----------------------------------------------------------------------


@pytest.mark.parametrize("n", [3, 6, 7, 9, 12, 16, 24])
@pytest.mark.parametrize("truth", [TRUTH, [0.0, 30.0, 0.0, 0.0, 10.0, 0.0]])
def test_separable_data_are_found_by_the_fit_and_by_a_linear_programme(n, truth):
    sample = real_data(n, 60, "separable", n, truth=truth)
    fit = Logistic(truth).fit(sample)
    expected = [is_separable(x, y) for x, y in zip(*sample, strict=True)]
    np.testing.assert_array_equal(fit.separable, expected)
    assert fit.converged.all()
    np.testing.assert_array_equal(Logistic(truth).track(fit)["separable"], expected)


def test_separable_data_get_the_ridge_fit():
    sample = real_data(12, 30, "ridge", truth=[0.0, 30.0, 0.0])
    fit = Logistic([0.0, 30.0, 0.0]).fit(sample)
    assert fit.separable.sum() > 20

    def loss(beta, design):
        return np.logaddexp(0, -beta @ design).sum() + RIDGE / 2 * (beta @ beta)

    for r in np.flatnonzero(fit.separable):
        design = sample.signs[r] * np.vstack([np.ones(12), sample.features[r]])
        found = minimize(loss, np.zeros(3), design, method="BFGS", options={"gtol": 1e-8})
        np.testing.assert_allclose(fit.coefficients[r], found.x, atol=1e-4)


def test_labels_that_are_all_equal_are_separable():
    features = stream(3, "equal").standard_normal((2, 5, 50))
    fit = Logistic(TRUTH).fit(Labelled(features, np.stack([np.ones(50), -np.ones(50)])))
    assert fit.separable.all()
    assert fit.coefficients[0, 0] > 0 > fit.coefficients[1, 0]
    assert np.isfinite(fit.coefficients).all()


def test_enough_items_are_not_separable():
    assert not Logistic(TRUTH).fit(real_data(400, 200, "enough")).separable.any()


# --- draws -------------------------------------------------------------------------------


def test_features_are_independent_standard_normal():
    features = real_data(200, 50, "features").features
    assert kstest(features.ravel(), norm.cdf).pvalue > LEVEL
    flat = features.transpose(1, 0, 2).reshape(5, -1)
    correlation = np.corrcoef(flat)[np.triu_indices(5, 1)] * np.sqrt(flat.shape[1])
    assert np.abs(correlation).max() < norm.isf(LEVEL / 20)


def test_labels_come_from_the_mixture_of_models():
    learner, repetitions, n = Logistic(TRUTH), 30, 1000
    other = Classifier(np.tile([-2.0, 0.0, 0.0, 3.0, 1.0, 0.0], (repetitions, 1)))
    size = np.full(repetitions, n)
    drawn = learner.sample([learner.truth, other], np.array([0.3, 0.7]), size, stream(4))
    odds = [
        beta[0] + np.einsum("d,rdn->rn", beta[1:], drawn.features)
        for beta in (np.array(TRUTH), other.coefficients[0])
    ]
    chance = 0.3 * expit(odds[0]) + 0.7 * expit(odds[1])
    # In each tenth of the chances, as many labels 1 as expected.
    for tenth in np.array_split(np.argsort(chance, axis=None), 10):
        seen, p = (drawn.signs.ravel()[tenth] > 0).sum(), chance.ravel()[tenth]
        # Exact enough: the sum of unequal Bernoullis varies less than the binomial.
        assert binom(len(tenth), p.mean()).cdf(seen) > LEVEL / 20
        assert binom(len(tenth), p.mean()).sf(seen - 1) > LEVEL / 20


def test_each_repetition_draws_from_its_own_model():
    learner = Logistic([0.0, 1.0])
    model = Classifier(np.array([[50.0, 0.0], [-50.0, 0.0]]))
    drawn = learner.sample([model], np.ones(1), np.array([20, 20]), stream(5))
    np.testing.assert_array_equal(drawn.signs, [[1] * 20, [-1] * 20])


def test_pooled_fit_equals_the_fit_on_all_items():
    a, b = real_data(60, 5, "a"), real_data(90, 5, "b")
    learner = Logistic(TRUTH)
    pooled = learner.fit(learner.pool(a, b)).coefficients
    expected = [
        by_scikit(np.hstack([xa, xb]), np.hstack([ya, yb]))
        for xa, ya, xb, yb in zip(*a, *b, strict=True)
    ]
    np.testing.assert_allclose(pooled, expected, atol=1e-5)


def test_a_part_keeps_features_and_labels_together():
    features = np.arange(8.0) + np.array([[0.0], [100.0]]) + np.zeros((2000, 1, 1))
    signs = np.where(np.arange(8) % 2 == 0, 1.0, -1.0) * np.ones((2000, 1))
    part = Logistic([0.0, 1.0, 1.0]).subset(Labelled(features, signs), 3, stream(6))
    assert part.features.shape == (2000, 2, 3)
    np.testing.assert_array_equal(part.features[:, 0] + 100, part.features[:, 1])
    np.testing.assert_array_equal(part.signs, np.where(part.features[:, 0] % 2 == 0, 1, -1))
    assert all(len(set(row)) == 3 for row in part.features[:, 0])
    counts = np.bincount(part.features[:, 0].astype(int).ravel(), minlength=8)
    for count in counts:  # each item is in with probability 3/8
        assert binom(2000, 3 / 8).cdf(count) > LEVEL / 16
        assert binom(2000, 3 / 8).sf(count - 1) > LEVEL / 16


def test_a_part_never_holds_a_place_left_over():
    learner = Logistic(TRUTH)
    ragged = learner.sample([learner.truth], np.ones(1), np.array([4, 9]), stream(7))
    assert (learner.subset(ragged, 4, stream(8)).signs != 0).all()
    with pytest.raises(ValueError, match="cannot take"):
        learner.subset(ragged, 5, stream(8))


# --- the loop ----------------------------------------------------------------------------


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("size", [1, 2, 40])
@pytest.mark.parametrize(
    "cycle",
    [
        full_synthetic(),
        full_synthetic().accumulated(),
        fresh_mixture(Share.power(0.5)),
        fresh_mixture(0.3).filtered(0.2, 0.4),
        fresh_mixture(0.3).filtered(0.2, 0.4).accumulated(),
        balanced(),
        general([0.5, 0.2], [[0.5], [0.3, 0.5]]),
        fixed_real(0.5),
    ],
)
def test_every_cycle_runs_at_every_size(cycle, size):
    frame = run(Logistic(TRUTH), cycle, size, 3, 6, stream(9))
    assert np.isfinite(frame.to_numpy(dtype=float)).all()
    if size == 1 and not cycle.pooled:
        assert (frame["separable"] == 1).all()
    assert (frame["unconverged"] == 0).all()


def test_it_offers_what_every_cycle_needs():
    assert isinstance(Logistic(TRUTH), PoolsSamples)
    assert isinstance(Logistic(TRUTH), ReusesSamples)


def test_equal_streams_give_equal_runs():
    frames = [
        run(Logistic(TRUTH), fresh_mixture(0.2), Size.power(50, 1), 4, 6, stream(10))
        for _ in range(2)
    ]
    assert frames[0].equals(frames[1])


def test_error_of_large_samples_is_the_one_of_the_information_matrix():
    """n E|error|^2 tends to the trace of the inverse Fisher information."""
    n, repetitions = 4000, 400
    fit = Logistic(TRUTH).fit(real_data(n, repetitions, "information"))
    error = Logistic(TRUTH).track(fit)["squared_error"]
    design = np.vstack([np.ones(400_000), stream(11).standard_normal((5, 400_000))])
    chance = expit(TRUTH @ design)
    information = (design * (chance * (1 - chance))) @ design.T / design.shape[1]
    expected = np.trace(np.linalg.inv(information)) / n
    standard_error = error.std(ddof=1) / np.sqrt(repetitions)
    # The bias of order 1/n^2 is far below the tolerance.
    assert abs(error.mean() - expected) < norm.isf(LEVEL / 2) * standard_error + 0.01 * expected


# --- errors ------------------------------------------------------------------------------


@pytest.mark.parametrize("truth", [[], 1.0, [[1.0, 2.0]], [np.nan, 1.0], [np.inf]])
def test_bad_coefficients_are_refused(truth):
    with pytest.raises(ValueError, match="coefficient"):
        Logistic(truth)


def test_a_missing_feature_is_refused():
    with pytest.raises(ValueError, match="finite"):
        Logistic([0.0, 1.0]).fit(Labelled(np.full((1, 1, 3), np.nan), np.ones((1, 3))))
