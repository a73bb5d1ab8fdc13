"""Theory of paper A, against enumeration, quadrature, linear algebra and simulation."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import chi2, norm

from stlcore.cycles import fixed_real, fresh_mixture
from stlcore.metrics.distances import wasserstein_atoms
from stlcore.schedules import Size
from stlcore.theory.augmentation import (
    augmented_gap,
    augmented_risk,
    best_augmentation,
    gap_threshold,
    ols_loop,
)
from stlcore.theory.gaussian_loops import gaussian_mean_variance
from stlcore.theory.linear_attention import best_gain, linear_attention_moments
from stlcore.theory.recursive_stability import (
    ancestry_survival,
    binomial_laws,
    critical_share,
    cumulative_shift,
    first_set_law,
    gain,
    gap_bound,
    location_scale_growth,
    paper_style_bound,
    real_count,
)
from stlcore.theory.tv_bounds import bound, cycle_beta


def total_variation(p, q):
    return np.abs(p - q).sum(axis=-1) / 2


def given(ones_again, ones, reused, n, mixings):
    """Laws of the fit when the first set is known."""
    start = np.zeros((reused + 1, n + 1))
    start[ones_again, ones] = 1
    return binomial_laws(start, mixings).sum(axis=1)


# --- Growth of a perturbation ----------------------------------------------------------------


def test_gain_is_the_geometric_sum_also_near_zero():
    for alpha in (0.0, 1e-12, 0.1, 0.5, 1.0):
        for i in (0, 1, 7):
            assert gain(alpha, i) == pytest.approx(
                sum((1 - alpha) ** k for k in range(i + 1)), rel=1e-11
            )
    np.testing.assert_allclose(gain([[0.0], [0.5]], [0, 1, 2]), [[1, 2, 3], [1, 1.5, 1.75]])


@pytest.mark.parametrize(
    ("alpha", "i"), [(-0.1, 1), (1.1, 1), (math.nan, 1), (0.5, -1), (0.5, 1.5)]
)
def test_gain_rejects(alpha, i):
    with pytest.raises(ValueError, match=r"share|whole numbers"):
        gain(alpha, i)


def test_real_count_rounds_as_the_loop():
    assert [real_count(a, n) for a, n in [(0.5, 5), (0.3, 5), (0.1, 25), (1, 7)]] == [2, 2, 2, 7]
    with pytest.raises(ValueError, match="share"):
        real_count(1.5, 4)


# --- The binomial loop -----------------------------------------------------------------------


def laws_by_listing(p, n, reused, mixings):
    """Law of the fit, every sequence of flips written out."""
    flips = {}
    for first in itertools.product((0, 1), repeat=n):
        chance = math.prod(p if z else 1 - p for z in first)
        flips[first] = flips.get(first, 0) + chance
    laws = []
    for t in range(mixings + 1):
        law = np.zeros(n + 1)
        for sample, chance in flips.items():
            law[sum(sample)] += chance
        laws.append(law)
        following = {}
        for sample, chance in flips.items() if t < mixings else ():
            q = sum(sample) / n
            for new in itertools.product((0, 1), repeat=n - reused):
                key = sample[:reused] + new
                step = math.prod(q if z else 1 - q for z in new)
                following[key] = following.get(key, 0) + chance * step
        flips = following
    return np.array(laws)


@pytest.mark.parametrize(("n", "reused"), [(4, 0), (4, 1), (5, 3), (3, 3), (1, 0)])
def test_binomial_laws_equal_a_listing_of_all_flips(n, reused):
    laws = binomial_laws(first_set_law(0.3, n, reused), 3)
    np.testing.assert_allclose(
        laws.sum(axis=1), laws_by_listing(0.3, n, reused, 3), rtol=0, atol=1e-13
    )


@pytest.mark.parametrize(("n", "reused"), [(20, 0), (20, 2), (20, 10), (12, 12)])
def test_wasserstein_distance_between_laws_is_the_gain(n, reused):
    places = np.arange(n + 1) / n
    alpha, i = reused / n, np.arange(31)
    one = given(reused // 2, n // 2, reused, n, 30)
    total = 0.0
    if reused:  # the changed example is re-used
        other = given(reused // 2 + 1, n // 2 + 1, reused, n, 30)
        again = wasserstein_atoms(places, one, places, other)
        np.testing.assert_allclose(again, gain(alpha, i) / n, rtol=0, atol=1e-12)
        total = total + reused * again
    if reused < n:
        other = given(reused // 2, n // 2 + 1, reused, n, 30)
        once = wasserstein_atoms(places, one, places, other)
        np.testing.assert_allclose(once, (1 - alpha) ** i / n, rtol=0, atol=1e-12)
        total = total + (n - reused) * once
    # Over all n examples the changes add up to one, in every generation.
    np.testing.assert_allclose(total, 1, rtol=0, atol=1e-11)


def test_laws_forget_the_first_set_unless_the_change_is_reused():
    n, mixings = 12, 400
    forgotten = total_variation(given(0, 6, 0, n, mixings), given(0, 7, 0, n, mixings))
    assert np.all(np.diff(forgotten) <= 1e-15)
    assert forgotten[0] == 1
    assert forgotten[-1] == pytest.approx(1 / n, abs=1e-10)  # the chances to end at one
    not_reused = total_variation(given(1, 6, 3, n, mixings), given(1, 7, 3, n, mixings))
    assert np.all(np.diff(not_reused) <= 1e-15)
    reused = total_variation(given(1, 6, 3, n, mixings), given(2, 7, 3, n, mixings))
    assert np.diff(reused[1:]).max() > 1e-3  # nothing forbids this one to grow


def test_binomial_input_is_checked():
    with pytest.raises(ValueError, match="re-used"):
        first_set_law(0.5, 3, 4)
    start = np.zeros((2, 4))
    start[1, 0] = 1  # a one among the re-used flips, none in all
    with pytest.raises(ValueError, match="possible"):
        binomial_laws(start, 1)
    with pytest.raises(ValueError, match="shape"):
        binomial_laws(np.ones((5, 2)), 1)
    with pytest.raises(ValueError, match="whole numbers"):
        binomial_laws(first_set_law(0.5, 3, 1), -1)


def test_survival_of_ancestry_is_the_limit_of_resampling():
    survival = ancestry_survival(100)
    np.testing.assert_allclose(
        survival[[0, 1, 5, 20, 100]], [1, 0.632, 0.268, 0.0876, 0.0194], atol=5e-4
    )
    assert survival[100] * 50 == pytest.approx(1, rel=0.04)
    errors = []
    for n in (100, 200):
        exact = 1 - given(0, 1, 0, n, 20)[:, 0]
        errors.append(np.abs(exact - survival[:21]).max())
    assert errors[0] < 1 / 100
    assert errors[1] / errors[0] == pytest.approx(0.5, abs=0.02)  # an error of order 1/n


# --- Location and scale ----------------------------------------------------------------------


@pytest.mark.parametrize("n", [3, 4, 10, 57])
def test_growth_of_a_standardised_shift_is_the_mean_of_an_inverse_chi(n):
    mean, _ = quad(lambda v: 2 * math.sqrt(n) * chi2.pdf(v * v, n - 1), 0, math.inf, epsabs=1e-13)
    assert location_scale_growth(n) == pytest.approx(mean, rel=1e-10)


def test_growth_is_as_expanded_and_needs_three_points():
    assert location_scale_growth(10**5) == pytest.approx(1 + 5 / (4 * 10**5), abs=1e-9)
    with pytest.raises(ValueError, match="3 points"):
        location_scale_growth(2)


def test_location_scale_loop_grows_that_fast():
    # Two loops on shared noise. A z-test: false-alarm rate 1e-5.
    rng, n, rounds, repetitions = np.random.default_rng(20260301), 12, 6, 40_000
    mean, scale = np.zeros((2, repetitions)), np.ones((2, repetitions))
    mean[1], scale[1] = 0.1, 1.05
    for _ in range(rounds):
        points = mean[..., None] + scale[..., None] * rng.standard_normal((repetitions, n))
        mean, scale = points.mean(axis=-1), points.std(axis=-1)
    growth = (mean[1] - mean[0]) / scale[0] / 0.1
    z = (growth.mean() - location_scale_growth(n) ** rounds) / growth.std() * repetitions**0.5
    assert abs(z) < norm.isf(5e-6)


# --- Bounds ----------------------------------------------------------------------------------


def gap_by_listing(p, n, reused, i):
    """Gap of the loop of coin flips with squared loss, and E TV, straight from definitions."""
    gap = shift = 0.0
    sets = list(itertools.product((0, 1), repeat=n))

    def follow(sample, mixings):
        if mixings == 0:
            yield sample, 1.0
            return
        for old, chance in follow(sample, mixings - 1):
            q = sum(old) / n
            for new in itertools.product((0, 1), repeat=n - reused):
                yield sample[:reused] + new, chance * math.prod(q if z else 1 - q for z in new)

    for first in sets:
        chance = math.prod(p if z else 1 - p for z in first)
        shift += chance * sum(c * abs(sum(s) / n - p) for s, c in follow(first, i - 1))
        for sample, c in follow(first, i):
            h = sum(sample) / n
            truth = p * (1 - h) ** 2 + (1 - p) * h**2
            gap += chance * c * (truth - sum((z - h) ** 2 for z in sample) / n)
    return gap, shift


@pytest.mark.parametrize(
    ("n", "reused", "i"), [(4, 2, 1), (4, 2, 2), (3, 0, 3), (4, 1, 2), (3, 3, 1)]
)
def test_gap_bound_holds_in_a_loop_of_coin_flips(n, reused, i):
    p, alpha = 0.3, reused / n
    gap, shift = gap_by_listing(p, n, reused, i)
    laws = binomial_laws(first_set_law(p, n, reused), i).sum(axis=1)
    fits = np.arange(n + 1) / n
    assert gap == pytest.approx(2 * laws[i] @ (fits - p) ** 2, abs=1e-13)
    assert shift == pytest.approx(laws[i - 1] @ np.abs(fits - p), abs=1e-13)
    gamma = 2 * p * (1 - p) * gain(alpha, i - 1) / n
    terms = gap_bound(alpha, n, (2 - 1 / n) / n, gamma, shift)
    assert abs(gap) <= terms.total + 1e-15
    assert terms.total < 3  # not vacuous by far, though n is tiny


def test_gap_bound_has_the_terms_of_the_theorem():
    alpha, n, beta, gamma, tv, top = 0.3, 50, 0.04, 0.02, 0.1, 2.0
    terms = gap_bound(alpha, n, beta, gamma, tv, top)
    expected = alpha * beta * (1 + (1 - alpha) * n * gamma) + (1 - alpha) * (beta + top * tv)
    assert terms.total == pytest.approx(expected, rel=1e-14)
    assert gap_bound(0.0, n, beta, gamma, tv).reuse == 0
    assert gap_bound(1.0, n, beta, gamma, tv).total == pytest.approx(beta)
    for wrong in ({"beta": -1}, {"gamma": -1}, {"tv": math.nan}, {"alpha": 2}, {"loss_range": 0}):
        arguments = {"alpha": 0.5, "n": 10, "beta": 0.1, "gamma": 0.1, "tv": 0.1} | wrong
        with pytest.raises(ValueError, match=r"negative|share|positive"):
            gap_bound(**arguments)


@pytest.mark.parametrize("alpha", [0.0, 0.2, 1.0])
def test_cumulative_shift_is_the_bound_of_paper_b(alpha):
    for i in (1, 2, 9):
        beta = cycle_beta(fresh_mixture(alpha), i - 1)
        assert cumulative_shift(0.05, alpha, i) == pytest.approx(
            bound(np.full(i, 0.05), beta, i - 1), abs=1e-14
        )


def test_paper_style_bound_adds_up():
    terms = paper_style_bound(0.5, 2, 100, 0.02, 0.1, delta=math.exp(-1), loss_range=3.0)
    assert terms.shift == pytest.approx(3 * 0.1 * 1.5)
    assert terms.sampling == pytest.approx(0.3)
    assert terms.stability == pytest.approx(0.02 * math.log(100))
    assert terms.total == pytest.approx(0.75 + 0.02 * math.log(100))
    with pytest.raises(ValueError, match="delta"):
        paper_style_bound(0.5, 2, 100, 0.02, 0.1, delta=0)


def test_critical_share_separates_bounded_from_growing_perturbations():
    response = np.random.default_rng(3).normal(size=(5, 5))
    response *= 1.31 / np.abs(np.linalg.eigvals(response)).max()
    critical = critical_share(1.31)
    assert critical == pytest.approx(1 - 1 / 1.31)
    for alpha, grows in ((critical - 0.02, True), (critical + 0.02, False)):
        delta, source, sizes = np.zeros(5), np.full(5, 0.01), []
        for _ in range(4000):
            delta = source + (1 - alpha) * response @ delta
            sizes.append(np.linalg.norm(delta))
        assert (sizes[-1] > 1e6) == grows
        if not grows:
            limit = np.linalg.solve(np.eye(5) - (1 - alpha) * response, source)
            np.testing.assert_allclose(delta, limit, atol=1e-9)
    np.testing.assert_array_equal(critical_share([0, 1, 2, math.inf]), [0, 0, 0.5, 1])
    with pytest.raises(ValueError, match="radius"):
        critical_share(-1)


# --- Linear attention ------------------------------------------------------------------------


def attention_by_quadrature(rho, n, real, noise, weights, mixings, fixed):
    """The same moments by Gauss-Hermite quadrature, exact for these polynomials."""
    d = len(weights)
    rounds = [list(range(n))]
    count = n
    for _ in range(mixings):
        again = list(range(real)) if fixed else list(range(count, count + real))
        count += 0 if fixed else real
        rounds.append(again + list(range(count, count + n - real)))
        count += n - real
    for_input, for_noise = np.polynomial.hermite_e.hermegauss(3), ([-1, 1], [0.5, 0.5])
    rules = [for_input] * (count * d) + [for_noise] * count
    grid = np.array(list(itertools.product(*[rule[0] for rule in rules])))
    chance = np.array(
        [math.prod(w) for w in itertools.product(*[np.array(r[1]) / sum(r[1]) for r in rules])]
    )
    x = grid[:, : count * d].reshape(-1, count, d)
    noises = noise * grid[:, count * d :]
    newest, moments = np.broadcast_to(weights, (len(grid), d)), []
    for t, points in enumerate(rounds):
        made = np.zeros((len(grid), d))
        for place, j in enumerate(points):
            label = weights if t == 0 or place < real else newest
            made = made + x[:, j] * ((x[:, j] * label).sum(axis=1) + noises[:, j])[:, None]
        newest = rho / n * made
        moments.append([chance @ (newest @ weights), chance @ (newest**2).sum(axis=1)])
    return np.array(moments).T


@pytest.mark.parametrize(
    ("weights", "real", "mixings", "fixed"),
    [
        ([1.5], 1, 2, False),
        ([1.5], 1, 2, True),
        ([1.5], 0, 2, True),
        ([1.5], 2, 1, True),
        ([0.8, -0.5], 1, 1, True),
    ],
)
def test_linear_attention_equals_quadrature(weights, real, mixings, fixed):
    weights, n, rho, noise = np.array(weights), 2, 0.7, 0.6
    signal = weights @ weights
    found = linear_attention_moments(
        rho, real / n, n, len(weights), noise, mixings, signal=signal, fixed=fixed
    )
    overlap, square = attention_by_quadrature(rho, n, real, noise, weights, mixings, fixed)
    np.testing.assert_allclose(found.overlap * signal, overlap, rtol=1e-12)
    np.testing.assert_allclose(found.square, square, rtol=1e-12)
    np.testing.assert_allclose(found.risk, square - 2 * overlap + signal, rtol=1e-11)


def test_linear_attention_limits():
    found = linear_attention_moments(0.8, 0.25, 40, 4, 0.5, 200)
    assert found.overlap[-1] == pytest.approx(0.25 * 0.8 / (1 - 0.75 * 0.8), abs=1e-12)
    np.testing.assert_allclose(
        linear_attention_moments(0.8, 0, 40, 4, 0.5, 9).overlap, 0.8 ** np.arange(1, 11)
    )


def test_best_gain_has_the_least_risk_on_a_real_prompt():
    best = best_gain(40, 4, 0.5, signal=2.0)
    risks = [
        linear_attention_moments(rho, 0.5, 40, 4, 0.5, 0, signal=2.0).risk[0]
        for rho in (best - 1e-3, best, best + 1e-3)
    ]
    assert risks[1] == min(risks)
    assert risks[0] == pytest.approx(risks[2], rel=1e-9)  # a parabola, met at its vertex


# --- How much synthetic data -----------------------------------------------------------------


def gap_by_points(n, real, synthetic, i, fixed):
    """Risk and gap of the mean, every point a vector in a basis of independent noise."""
    basis = iter(np.eye(n + i * (real + synthetic)))
    first = [next(basis) for _ in range(n)]
    points, mean = first, np.mean(first, axis=0)
    for _ in range(i):
        again = first[:real] if fixed else [next(basis) for _ in range(real)]
        points = again + [mean + next(basis) for _ in range(synthetic)]
        mean = np.mean(points, axis=0)
    within = np.mean([(x - mean) @ (x - mean) for x in points])
    return n * mean @ mean, n * (1 + mean @ mean - within)


@pytest.mark.parametrize("fixed", [False, True])
@pytest.mark.parametrize(
    ("n", "real", "synthetic", "i"), [(4, 3, 5, 1), (4, 4, 4, 3), (5, 2, 6, 2)]
)
def test_augmented_risk_and_gap_equal_linear_algebra(n, real, synthetic, i, fixed):
    alpha, lam = real / n, (real + synthetic) / n - 1
    risk, gap = gap_by_points(n, real, synthetic, i, fixed)
    assert augmented_risk(lam, alpha, i, fixed) == pytest.approx(risk, abs=1e-12)
    assert augmented_gap(lam, alpha, i, fixed) == pytest.approx(gap, abs=1e-12)
    cycle = (fixed_real if fixed else fresh_mixture)(alpha / (1 + lam))
    sizes = Size.explicit([n] + [real + synthetic] * i)
    variance = gaussian_mean_variance(cycle, sizes, i + 1, stratified=True)[-1]
    assert augmented_risk(lam, alpha, i, fixed) == pytest.approx(n * variance, abs=1e-12)


@pytest.mark.parametrize(("of", "curve"), [("risk", augmented_risk), ("gap", augmented_gap)])
def test_best_augmentation_is_the_best_on_a_grid(of, curve):
    grid = np.geomspace(1, 1e7, 40_001) - 1
    for i in (1, 2, 3, 10, 60):
        threshold = 0.5 if of == "risk" else gap_threshold(i)
        for alpha in (threshold + 0.01, 0.75, 1.0):
            best = best_augmentation(alpha, i, of=of)
            assert curve(best, alpha, i) <= curve(grid, alpha, i).min() + 1e-14
            assert curve(best, alpha, i) < 1
        for alpha in (threshold, threshold - 0.01, 0.2):
            assert best_augmentation(alpha, i, of=of) == math.inf
            assert curve(grid, alpha, i).min() >= 1 - 1e-13  # its value at infinity
        assert best_augmentation(threshold + 1e-6, i, of=of) > 1e3


def test_best_augmentation_closed_forms():
    for alpha in (0.7, 0.9, 1.0):
        risk, gap = 2 * alpha**2 / (2 * alpha - 1) - 1, 4 * alpha**2 / (3 * alpha - 2) - 1
        assert best_augmentation(alpha, 1) == pytest.approx(risk, rel=1e-10)
        assert best_augmentation(alpha, 1, of="gap") == pytest.approx(gap, rel=1e-9)


def test_with_fixed_real_data_more_never_beats_the_first_generation():
    grid = np.geomspace(1, 1e6, 2001) - 1
    for i in (1, 2, 5, 20):
        for alpha in (0.1, 0.5, 0.9, 1.0):
            assert augmented_risk(grid, alpha, i, fixed=True).min() >= 1 - 1e-12
        assert augmented_risk(math.inf, 0.5, i, fixed=True) == 1
        assert augmented_risk(0.0, 1.0, i, fixed=True) == pytest.approx(1, abs=1e-14)


def test_augmentation_input_is_checked():
    for call in (
        lambda: augmented_risk(-1, 0.5, 1),
        lambda: augmented_risk(1, 0, 1),
        lambda: augmented_gap(1, 0.5, 0),
        lambda: best_augmentation(1.2, 1),
        lambda: best_augmentation(0.9, 1, of="loss"),
        lambda: ols_loop(5, 20, 0.5, 4, 1),
        lambda: ols_loop(20, 20, 1.5, 4, 1),
        lambda: ols_loop(20, 21, 0.5, 4, 1, stratified=True),
    ):
        with pytest.raises(ValueError, match=r"must|need|whole"):
            call()


@pytest.mark.parametrize("stratified", [False, True])
def test_ols_loop_against_simulation(stratified):
    # Every point drawn. z-tests on 3 risks and 3 gaps: false-alarm rate 6e-6.
    rng, repetitions, d, share, first, size, noise = (
        np.random.default_rng(20260302), 40_000, 3, 0.5, 10, 8, 1.3,
    )  # fmt: skip
    exact = ols_loop(first, size, share, d, 2, noise, stratified)
    error = np.zeros((repetitions, d))
    for t in range(3):
        count = size if t else first
        synthetic = np.full(repetitions, size // 2) if stratified else rng.binomial(
            size, 1 - share, repetitions
        )  # fmt: skip
        made = (np.arange(count) < synthetic[:, None]) & (t > 0)
        x = rng.standard_normal((repetitions, count, d))
        y = (x @ error[..., None])[..., 0] * made
        y = y + noise * rng.standard_normal(y.shape)
        cross = x.swapaxes(1, 2)
        error = np.linalg.solve(cross @ x, cross @ y[..., None])[..., 0]
        risk = (error**2).sum(axis=1)
        gap = noise**2 + risk - ((y - (x @ error[..., None])[..., 0]) ** 2).mean(axis=1)
        for sample, expected in ((risk, exact.risk[t]), (gap, exact.gap[t])):
            z = (sample.mean() - expected) / sample.std() * repetitions**0.5
            assert abs(z) < norm.isf(5e-7)


def test_ols_loop_tends_to_the_mean_of_a_normal_law():
    n, alpha, lam, i = 10**7, 0.8, 1.5, 4
    exact = ols_loop(n, int(n * (1 + lam)), alpha / (1 + lam), 3, i)
    assert n / 3 * exact.risk[-1] == pytest.approx(augmented_risk(lam, alpha, i), rel=1e-5)
    assert n / 3 * exact.gap[-1] == pytest.approx(augmented_gap(lam, alpha, i), rel=1e-5)
