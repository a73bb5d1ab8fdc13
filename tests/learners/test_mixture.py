"""The mixture learner against scikit-learn's EM, raw draws and scipy's transport distance."""

import numpy as np
import pytest
from scipy.stats import chi2, kstest, norm, wasserstein_distance
from sklearn.mixture import GaussianMixture

from stlcore.cycles import balanced, fixed_real, fresh_mixture, full_synthetic, general
from stlcore.learners.base import PoolsSamples, ReusesSamples
from stlcore.learners.mixture import GaussianMixture1D, Mixture, Points, log_likelihood
from stlcore.loop import run
from stlcore.metrics.distances import wasserstein_atoms
from stlcore.schedules import Share, Size
from stlcore.streams import stream

LEVEL = 1e-5  # false alarm of one statistical test here
APART = ([0.3, 0.4, 0.3], [-3.0, 0.0, 3.0], [1.0, 0.5, 1.0])
OVERLAPPING = ([0.3, 0.4, 0.3], [-2.0, 0.0, 2.5], [1.0, 1.0, 1.0])


def real_data(learner, n, repetitions, *labels):
    size = np.full(repetitions, n)
    return learner.sample([learner.truth], np.ones(1), size, stream(1, *labels))


def by_scikit(values, start, tolerance, steps):
    """The peer: same start, same stopping rule, no regularisation."""
    weights, means, variances = start
    peer = GaussianMixture(
        len(weights),
        tol=tolerance,
        max_iter=steps,
        reg_covar=0,
        init_params="random",
        weights_init=weights,
        means_init=np.reshape(means, (-1, 1)),
        precisions_init=1 / np.reshape(variances, (-1, 1, 1)),
    )
    return peer.fit(values[:, None])


# --- EM ----------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(("tolerance", "steps"), [(1e-6, 1000), (1e-3, 100), (1e-9, 7)])
@pytest.mark.parametrize("truth", [APART, OVERLAPPING])
@pytest.mark.parametrize("n", [100, 700])
def test_em_equals_scikit_learn_step_by_step(truth, n, tolerance, steps):
    learner = GaussianMixture1D(*truth, tolerance=tolerance, steps=steps)
    sample = real_data(learner, n, 12, "peer", n)
    fit = learner.fit(sample)
    score = log_likelihood(sample, fit)
    for r, values in enumerate(sample.values):
        peer = by_scikit(values, truth, tolerance, steps)
        assert score[r] == pytest.approx(peer.score(values[:, None]), abs=1e-6)
        if not fit.lost[r].any():
            assert fit.steps[r] == peer.n_iter_
            assert fit.converged[r] == peer.converged_
            np.testing.assert_allclose(fit.weights[r], peer.weights_, atol=1e-6)
            np.testing.assert_allclose(fit.means[r], peer.means_[:, 0], atol=1e-5)
            np.testing.assert_allclose(fit.variances[r], peer.covariances_[:, 0, 0], atol=1e-5)


def test_a_later_round_starts_from_the_previous_fit():
    learner = GaussianMixture1D(*APART, tolerance=1e-5)
    sample = real_data(learner, 300, 3, "warm")
    start = ([0.2, 0.2, 0.6], [-1.0, 0.3, 1.0], [2.0, 0.4, 1.0])
    warm = Mixture(*(np.tile(part, (3, 1)) for part in start), lost=np.zeros((3, 3), bool))
    fit = learner.fit(sample, warm)
    for r, values in enumerate(sample.values):
        peer = by_scikit(values, start, 1e-5, 1000)
        assert fit.steps[r] == peer.n_iter_
        np.testing.assert_allclose(fit.means[r], peer.means_[:, 0], atol=1e-6)


def test_log_likelihood_equals_scipy():
    learner = GaussianMixture1D(*APART)
    sample = real_data(learner, 50, 2, "density")
    density = sum(w * norm.pdf(sample.values, m, v**0.5) for w, m, v in zip(*APART, strict=True))
    model = Mixture(*(np.tile(part, (2, 1)) for part in APART))
    np.testing.assert_allclose(
        log_likelihood(sample, model), np.log(density).mean(axis=1), rtol=1e-12
    )


def test_repetitions_do_not_influence_each_other(monkeypatch):
    learner = GaussianMixture1D(*OVERLAPPING)
    sample = real_data(learner, 120, 9, "alone")
    together = learner.fit(sample)
    monkeypatch.setattr("stlcore.learners.mixture.BLOCK", 1)  # one repetition at a time
    alone = learner.fit(sample)
    np.testing.assert_array_equal(together.steps, alone.steps)
    for mine, theirs in zip(together[:3], alone[:3], strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-9)


def test_places_left_over_do_not_count():
    learner = GaussianMixture1D(*APART)
    sizes = np.array([40, 90, 61])
    ragged = learner.sample([learner.truth], np.ones(1), sizes, stream(2, "ragged"))
    np.testing.assert_array_equal(ragged.counted.sum(axis=1), sizes)
    fit = learner.fit(ragged)
    score = log_likelihood(ragged, fit)
    for r, n in enumerate(sizes):
        assert (ragged.counted[r, :n] == 1).all()
        only = Points(ragged.values[r : r + 1, :n])
        alone = learner.fit(only)
        assert fit.steps[r] == alone.steps[0]
        np.testing.assert_allclose(fit.means[r], alone.means[0], rtol=1e-9)
        assert score[r] == pytest.approx(log_likelihood(only, alone)[0], rel=1e-12)


def test_a_point_far_out_does_not_break_the_densities():
    learner = GaussianMixture1D(*APART)
    values = real_data(learner, 100, 2, "far").values.copy()
    values[0, 0] = 1e4
    fit = learner.fit(Points(values))
    far = fit.means[0].argmax()
    assert fit.means[0, far] == pytest.approx(1e4)
    assert fit.weights[0, far] == pytest.approx(0.01)
    assert fit.lost[0, far]  # a component on a single point ends at the floor
    assert not fit.lost[1].any()


# --- components that are lost ------------------------------------------------------------


def test_an_empty_component_keeps_its_place_and_is_counted():
    learner = GaussianMixture1D([0.5, 0.5], [0.0, 50.0], [1.0, 1.0])
    values = stream(3, "empty").normal(0, 1, (4, 200))
    fit = learner.fit(Points(values))
    np.testing.assert_array_equal(fit.lost, [[False, True]] * 4)
    np.testing.assert_allclose(fit.means[:, 1], 50)
    np.testing.assert_allclose(fit.variances[:, 1], 1)
    np.testing.assert_allclose(fit.weights[:, 1], 0, atol=1e-5)
    np.testing.assert_allclose(fit.means[:, 0], values.mean(axis=1), rtol=1e-9)
    np.testing.assert_array_equal(learner.track(fit)["lost"], 1)


def test_a_lost_component_comes_back_with_the_data():
    learner = GaussianMixture1D([0.5, 0.5], [0.0, 50.0], [1.0, 1.0])
    lost = learner.fit(Points(stream(3, "empty").normal(0, 1, (4, 200))))
    again = learner.fit(real_data(learner, 400, 4, "again"), lost)
    assert not again.lost.any()
    np.testing.assert_allclose(np.sort(again.means, axis=1), [[0, 50]] * 4, atol=0.5)


def test_a_lost_component_restarts_at_its_quantile():
    learner = GaussianMixture1D(*APART)
    sample = real_data(learner, 99, 3, "restart")
    lost = np.array([[False, True, False], [False, False, False], [True, True, True]])
    model = Mixture(*(np.tile(part, (3, 1)) for part in APART), lost=lost)
    start = learner._start(sample, model)
    np.testing.assert_allclose(start.weights, [[1 / 3] * 3, APART[0], [1 / 3] * 3])
    assert start.means[0, 1] == pytest.approx(np.median(sample.values[0]))
    assert start.variances[0, 1] == pytest.approx(sample.values[0].var())
    np.testing.assert_array_equal(start.means[1], APART[1])
    np.testing.assert_allclose(start.means[2], np.quantile(sample.values[2], [1 / 6, 0.5, 5 / 6]))


def test_equal_points_end_at_the_variance_floor():
    learner = GaussianMixture1D(*APART)
    fit = learner.fit(Points(np.full((2, 10), 0.7)))
    assert fit.lost.any(axis=1).all()
    assert np.isfinite(fit.variances).all()
    assert (fit.variances >= learner.floor).all()
    assert fit.weights.sum(axis=1) == pytest.approx(1)


def test_a_weight_of_exactly_zero_is_no_trouble():
    learner = GaussianMixture1D(*APART)
    sample = real_data(learner, 80, 1, "zero")
    nothing = Mixture(np.array([[0.0, 0.5, 0.5]]), *(np.array([p]) for p in APART[1:]))
    fit = learner.fit(sample, nothing._replace(lost=np.zeros((1, 3), bool)))
    assert fit.weights[0, 0] == 0
    assert fit.lost[0, 0]
    assert np.isfinite(fit.means).all()


# --- draws -------------------------------------------------------------------------------


def test_points_have_the_law_of_the_mixture_of_models():
    learner, repetitions, n = GaussianMixture1D(*APART), 40, 500
    other = Mixture(
        *(np.tile(p, (repetitions, 1)) for p in ([0.1, 0.2, 0.7], [5, 6, 7], [1, 4, 9]))
    )
    shares = np.array([0.25, 0.75])
    size = np.full(repetitions, n)
    drawn = learner.sample([learner.truth, other], shares, size, stream(4, "law"))
    atoms = [
        (s * w, m, v**0.5)
        for s, law in zip(shares, (APART, [part[0] for part in other[:3]]), strict=True)
        for w, m, v in zip(*law, strict=True)
    ]

    def distribution(x):
        return sum(w * norm.cdf(x, m, s) for w, m, s in atoms)

    assert kstest(drawn.values.ravel(), distribution).pvalue > LEVEL
    # Sums over rows: the number of points from each law is free, not fixed.
    mean = sum(w * m for w, m, _ in atoms)
    variance = sum(w * (s**2 + m**2) for w, m, s in atoms) - mean**2
    squares = n * (drawn.values.mean(axis=1) - mean) ** 2 / variance
    total = squares.sum()
    assert chi2(repetitions).cdf(total) > LEVEL / 2
    assert chi2(repetitions).sf(total) > LEVEL / 2


def test_each_repetition_draws_from_its_own_model():
    learner = GaussianMixture1D([0.5, 0.5], [-1.0, 1.0], [0.01, 0.01])
    model = Mixture(
        np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([[-9, 1], [0, 9]]), np.full((2, 2), 0.01)
    )
    drawn = learner.sample([model], np.ones(1), np.array([30, 20]), stream(5))
    assert drawn.values[0].max() < -8
    assert drawn.values[1].min() > 8  # the places left over included


def test_pooled_fit_equals_the_fit_on_all_points():
    learner = GaussianMixture1D(*APART)
    a, b = real_data(learner, 60, 4, "a"), real_data(learner, 90, 4, "b")
    pooled = learner.fit(learner.pool(a, b))
    direct = learner.fit(Points(np.hstack([b.values, a.values])))
    for mine, theirs in zip(pooled[:3], direct[:3], strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-8)


def test_pooling_keeps_track_of_places_left_over():
    learner = GaussianMixture1D(*APART)
    even = real_data(learner, 5, 2, "even")
    ragged = learner.sample([learner.truth], np.ones(1), np.array([2, 4]), stream(6))
    for pooled in (learner.pool(even, ragged), learner.pool(ragged, even)):
        np.testing.assert_array_equal(pooled.counted.sum(axis=1), [7, 9])
    for r, n in enumerate([2, 4]):
        pooled = learner.pool(even, ragged)
        np.testing.assert_array_equal(
            pooled.values[r][pooled.counted[r] > 0],
            np.concatenate([even.values[r], ragged.values[r, :n]]),
        )


def test_a_part_is_a_random_part():
    learner = GaussianMixture1D(*APART)
    points = Points(np.tile(np.arange(6.0), (30_000, 1)))
    part = learner.subset(points, 2, stream(7)).values
    assert part.shape == (30_000, 2)
    assert (part[:, 0] != part[:, 1]).all()
    pairs = np.bincount((np.sort(part, axis=1) @ [6, 1]).astype(int))
    pairs = pairs[pairs > 0]
    assert len(pairs) == 15
    assert chi2(14).sf(((pairs - 2000) ** 2 / 2000).sum()) > LEVEL


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
    frame = run(GaussianMixture1D(*APART), cycle, size, 3, 4, stream(8))
    assert np.isfinite(frame.to_numpy(dtype=float)).all()
    assert set(frame) >= {"wasserstein", "lost", "steps", "unconverged"}


def test_it_offers_what_every_cycle_needs():
    assert isinstance(GaussianMixture1D(*APART), PoolsSamples)
    assert isinstance(GaussianMixture1D(*APART), ReusesSamples)


def test_equal_streams_give_equal_runs():
    frames = [
        run(GaussianMixture1D(*APART), fresh_mixture(0.2), Size.power(30, 1), 4, 6, stream(9))
        for _ in range(2)
    ]
    assert frames[0].equals(frames[1])


def test_large_real_samples_lead_to_the_truth():
    learner = GaussianMixture1D(*APART)
    sample = real_data(learner, 200_000, 2, "large")
    fit = learner.fit(sample)
    assert learner.track(fit)["wasserstein"].max() < 0.1
    np.testing.assert_allclose(fit.variances, [APART[2]] * 2, atol=0.1)


def test_without_converging_it_says_so():
    learner = GaussianMixture1D(*OVERLAPPING, steps=2)
    fit = learner.fit(real_data(learner, 100, 5, "short"))
    np.testing.assert_array_equal(learner.track(fit)["unconverged"], 1)
    np.testing.assert_array_equal(learner.track(fit)["steps"], 2)


# --- errors ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        ({"weights": [0.5, 0.6]}, "sum to 1"),
        ({"weights": [-0.5, 1.5]}, "negative"),
        ({"weights": [np.nan, 1.0]}, "missing"),
        ({"means": [0.0]}, "same length"),
        ({"means": [0.0, np.nan]}, "mean"),
        ({"variances": [1.0, 0.0]}, "variance"),
        ({"variances": [1.0, -1.0]}, "variance"),
        ({"variances": [1.0, np.inf]}, "variance"),
        ({"tolerance": 0.0}, "tolerance"),
        ({"steps": 0}, "steps"),
    ],
)
def test_bad_parameters_are_refused(changed, word):
    good = {"weights": [0.5, 0.5], "means": [0.0, 1.0], "variances": [1.0, 1.0]}
    with pytest.raises(ValueError, match=word):
        GaussianMixture1D(**{**good, **changed})


def test_a_missing_point_is_refused():
    with pytest.raises(ValueError, match="finite"):
        GaussianMixture1D(*APART).fit(Points(np.array([[0.0, np.nan]])))


def test_parts_that_do_not_exist_are_refused():
    learner = GaussianMixture1D(*APART)
    with pytest.raises(ValueError, match="cannot take"):
        learner.subset(Points(np.zeros((2, 3))), 4, stream(10))
    with pytest.raises(ValueError, match="as many points"):
        learner.subset(Points(np.zeros((2, 3)), np.eye(2, 3)), 1, stream(10))


# --- the distance ------------------------------------------------------------------------


def test_distance_of_atoms_equals_scipy():
    rng = stream(11, "atoms")
    for j, k in ((1, 1), (3, 3), (2, 5)):
        places, other = rng.normal(0, 3, (8, j)), rng.normal(1, 2, (8, k))
        weights, of_other = rng.dirichlet(np.ones(j), 8), rng.dirichlet(np.ones(k), 8)
        expected = [
            wasserstein_distance(*row) for row in zip(places, other, weights, of_other, strict=True)
        ]
        measured = wasserstein_atoms(places, weights, other, of_other)
        np.testing.assert_allclose(measured, expected, rtol=1e-12)


def test_distance_ignores_labels_ties_and_empty_atoms():
    assert wasserstein_atoms([0, 1, 2], [0.2, 0.3, 0.5], [2, 0, 1], [0.5, 0.2, 0.3]) == 0
    assert wasserstein_atoms([0, 0, 9], [0.5, 0.5, 0], [0], [1]) == 0
    assert wasserstein_atoms([0], [1], [3], [1]) == 3


def test_distance_broadcasts():
    places = np.arange(12.0).reshape(2, 3, 2)
    measured = wasserstein_atoms(places, [0.5, 0.5], [0.0], [1.0])
    np.testing.assert_allclose(measured, places.mean(axis=-1))


@pytest.mark.parametrize("weights", [[0.5, 0.6], [-0.5, 1.5], [np.nan, 1.0]])
def test_distance_refuses_bad_weights(weights):
    with pytest.raises(ValueError, match="sum to 1"):
        wasserstein_atoms([0, 1], weights, [0], [1])
