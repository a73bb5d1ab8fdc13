"""Batched ridge, lasso and logistic fits against scikit-learn and their optimality conditions."""

import numpy as np
import pytest
from scipy.special import expit

from stlcore.learners.regression import lasso, logistic, ridge

RNG = np.random.default_rng(20260231)
DESIGN = RNG.normal(size=(40, 5))
TRUTH = np.array([1.5, -1.0, 0.5, 0.0, 0.0])
RESPONSES = DESIGN @ TRUTH + RNG.normal(size=(6, 40))
LABELS = (RNG.random((6, 40)) < expit(DESIGN @ TRUTH)).astype(float)
GRAM = DESIGN.T @ DESIGN / 40


def test_ridge_matches_scikit_learn():
    sklearn = pytest.importorskip("sklearn.linear_model")
    reference = sklearn.Ridge(alpha=0.3 * 40, fit_intercept=False).fit(DESIGN, RESPONSES.T).coef_
    np.testing.assert_allclose(ridge(GRAM, RESPONSES @ DESIGN / 40, 0.3), reference, atol=1e-10)


def test_ridge_without_penalty_is_least_squares():
    reference = np.linalg.lstsq(DESIGN, RESPONSES.T)[0].T
    np.testing.assert_allclose(ridge(GRAM, RESPONSES @ DESIGN / 40, 0), reference, atol=1e-10)


def test_lasso_matches_scikit_learn():
    sklearn = pytest.importorskip("sklearn.linear_model")
    model = sklearn.Lasso(alpha=0.2, fit_intercept=False, tol=1e-12, max_iter=100_000)
    reference = [model.fit(DESIGN, y).coef_ for y in RESPONSES]
    np.testing.assert_allclose(lasso(GRAM, RESPONSES @ DESIGN / 40, 0.2), reference, atol=1e-7)


def test_lasso_optimality():
    moment = RESPONSES @ DESIGN / 40
    fit = lasso(GRAM, moment, 0.2)
    slope = moment - fit @ GRAM
    assert np.any(fit == 0)
    np.testing.assert_allclose(slope[fit != 0], 0.2 * np.sign(fit[fit != 0]), atol=1e-9)
    assert np.all(np.abs(slope) <= 0.2 + 1e-9)


def test_lasso_says_when_it_has_not_converged():
    with pytest.raises(RuntimeError, match="not converged"):
        lasso(GRAM, RESPONSES @ DESIGN / 40, 0.0, sweeps=2)


def test_logistic_matches_scikit_learn():
    sklearn = pytest.importorskip("sklearn.linear_model")
    model = sklearn.LogisticRegression(C=1 / (0.1 * 40), fit_intercept=False, tol=1e-10)
    reference = [model.fit(DESIGN, y).coef_[0] for y in LABELS]
    np.testing.assert_allclose(logistic(DESIGN, LABELS @ DESIGN / 40, 0.1), reference, atol=1e-5)


def test_logistic_copes_with_separable_data():
    labels = (DESIGN @ TRUTH > 0).astype(float)
    fit = logistic(DESIGN, labels @ DESIGN / 40, 1e-4)
    gradient = (labels - expit(fit @ DESIGN.T)) @ DESIGN / 40 - 1e-4 * fit
    assert np.abs(gradient).max() <= 1e-10
    assert np.all((fit @ DESIGN.T > 0) == (labels == 1))


def test_batch_axes_are_kept():
    moment = np.broadcast_to(LABELS @ DESIGN / 40, (2, 6, 5))
    for fits in (
        ridge(GRAM, moment, 0.1),
        lasso(GRAM, moment, 0.1),
        logistic(DESIGN, moment, 0.1),
    ):
        assert fits.shape == (2, 6, 5)
        np.testing.assert_array_equal(fits[0], fits[1])


@pytest.mark.parametrize("fit", [ridge, lasso, logistic])
def test_negative_penalties_are_refused(fit):
    with pytest.raises(ValueError, match="penalty"):
        fit(GRAM, np.zeros((3, 5)), -1.0)


def test_logistic_needs_a_penalty():
    with pytest.raises(ValueError, match="separable"):
        logistic(DESIGN, np.zeros(5), 0.0)
