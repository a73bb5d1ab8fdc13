"""The test that holds a simulation against an exact curve, and distances on grids."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom, kstest, norm, ttest_1samp
from scipy.stats import t as student

from stlcore.metrics.distances import (
    deviation_test,
    difference_score,
    mass_outside,
    mean_score,
    mean_square_test,
    student_score,
    total_variation,
    total_variation_with_tails,
)
from stlcore.streams import stream

DATA_SETS = 400


def p_values(shift: float, name: str, columns: int = 3, repetitions: int = 100) -> np.ndarray:
    """p-values for many sets of skewed, dependent columns whose means are off by ``shift``.

    Each column is a chi-square law with 4 degrees of freedom (skewness 1.4, as the squared
    error of a law on five classes), half of it shared by all columns.
    """
    rng, found = stream(11, name), []
    for _ in range(DATA_SETS):
        shared = rng.chisquare(2, (repetitions, 1))
        samples = shared + rng.chisquare(2, (repetitions, columns))
        found.append(deviation_test(samples, rng, 399)(np.full(columns, 4 - shift)).p_value)
    return np.array(found)


@pytest.fixture(scope="module")
def null():
    """p-values when every expected mean is right."""
    return p_values(0.0, "null")


@pytest.mark.parametrize("level", [0.05, 0.2])
def test_level_on_skewed_data(null, level):
    """The false-alarm rate is the level.

    The number of alarms in 400 data sets is binomial. The bounds leave out 1e-5 on each side
    under rates of 0.8 and 1.25 times the level: the bootstrap is not exact in 100 repetitions.
    False-alarm rate of this test: below 2e-5 for each level.
    """
    alarms = (null <= level).sum()
    assert binom.ppf(1e-5, DATA_SETS, 0.8 * level) <= alarms
    assert alarms <= binom.isf(1e-5, DATA_SETS, 1.25 * level)


def test_smallest_p_values_are_rare(null):
    """p <= 1/100, over three columns at once, in 400 data sets: 4 on average.

    15 or more have probability below 1e-4, even at a rate of 0.011 (measured in 20000 data sets).
    """
    assert (null <= 0.01).sum() < 15


def test_power():
    """A shift of half a standard deviation (five standard errors) is found every time but few.

    With 399 resamples the smallest p-value is 1/400. At five standard errors fewer than one
    data set in a hundred stays above 0.01; 20 or more of 400 have probability below 1e-6.
    """
    found = p_values(np.sqrt(8) / 2, "shifted")
    assert (found > 0.01).sum() < 20


def test_one_wrong_column_among_many_is_found():
    rng = stream(12, "columns")
    samples = rng.normal(size=(500, 40))
    expected = np.zeros(40)
    # All right: false-alarm rate 1e-4 (p below 1/10000 of 19999 resamples).
    test = deviation_test(samples, rng)
    assert test(expected).p_value > 1e-4
    expected[17] = 0.4  # nine standard errors
    assert test(expected).p_value == 1 / 20_000


@pytest.mark.parametrize("columns", [1, 5])
def test_p_value_of_a_large_normal_sample(columns):
    """With 400 normal rows the null law is nearly that of the largest of normal numbers.

    The sample is fixed up to deviate by two standard errors in its first column and not at
    all in the others, so only the resampling is random: 4999 resamples estimate the
    p-value with a standard error of 0.006 at the most. The bound leaves five of them.
    False-alarm rate: below 1e-6.
    """
    rng = stream(18, "normal", columns)
    samples = rng.normal(size=(400, columns))
    samples = (samples - samples.mean(axis=0)) / samples.std(axis=0, ddof=1)
    expected = np.zeros(columns)
    expected[0] = 2 / np.sqrt(400)
    result = deviation_test(samples, rng, 4999)(expected)
    assert result.statistic == pytest.approx(2)
    p_value = 1 - (1 - 2 * norm.sf(2)) ** columns
    assert result.p_value == pytest.approx(p_value, abs=5 * np.sqrt(p_value / 4999))


def test_statistic_is_the_largest_studentised_deviation():
    samples = stream(13, "statistic").normal([0, 5, 2], [1, 2, 3], size=(50, 3))
    expected = np.array([0.1, 5.0, 3.0])
    by_hand = [
        abs(column.mean() - mean) / np.sqrt(column.var(ddof=1) / 50)
        for column, mean in zip(samples.T, expected, strict=True)
    ]
    result = deviation_test(samples, stream(13, "resamples"), 99)(expected)
    assert result.statistic == pytest.approx(max(by_hand))


def test_a_deviation_whose_square_is_beyond_floats_is_a_deviation():
    samples = stream(12, "samples").normal(size=(25, 2))
    assert deviation_test(samples, stream(13, "resamples"), 99)(np.full(2, 1e200)).p_value == 0.01


def test_p_value_does_not_depend_on_units():
    rng = stream(14, "units")
    samples, expected = rng.exponential(size=(60, 4)), np.full(4, 1.1)
    scale = np.array([1e-9, 1, 1e3, 1e12])
    plain = deviation_test(samples, stream(14, "same"), 1999)(expected)
    scaled = deviation_test(samples * scale, stream(14, "same"), 1999)(expected * scale)
    assert scaled.statistic == pytest.approx(plain.statistic)
    assert scaled.p_value == pytest.approx(plain.p_value, abs=2e-3)


def test_same_generator_same_answer():
    samples = stream(15, "samples").exponential(size=(30, 2))
    first, again = (deviation_test(samples, stream(15, "again"), 999)(np.ones(2)) for _ in range(2))
    assert first == again


def test_one_resampling_serves_all_hypotheses():
    samples = stream(17, "samples").exponential(size=(40, 3))
    test = deviation_test(samples, stream(17, "resamples"), 1999)
    for expected in (np.ones(3), np.array([1.0, 1.2, 0.9])):
        alone = deviation_test(samples, stream(17, "resamples"), 1999)(expected)
        assert test(expected) == alone


def test_p_value_counts_resamples():
    # 1200 resamples are done in batches of 500; the p-value is a multiple of 1/1201.
    samples = stream(16, "samples").normal(size=(30, 2))
    test = deviation_test(samples, stream(16, "r"), 1200)
    assert test(samples.mean(axis=0)).p_value == 1  # nothing deviates less than not at all
    p_value = test(np.full(2, 0.2)).p_value
    assert 0 < p_value < 1
    assert p_value * 1201 == pytest.approx(round(p_value * 1201))


@pytest.mark.parametrize(
    ("samples", "expected", "message"),
    [
        (np.random.default_rng(1).normal(size=(19, 2)), [0, 0], "at least 20 repetitions, not 19"),
        (np.ones((30, 2)), [1, 1], "a quantity that never varies cannot be tested"),
        (np.full((30, 2), 0.1), [1, 1], "a quantity that never varies cannot be tested"),
        (
            np.column_stack([np.arange(30), np.ones(30)]),
            [15, 1],
            "a quantity that never varies cannot be tested",
        ),
        (np.full((30, 2), np.nan), [1, 1], "must be finite numbers"),
        (np.random.default_rng(1).normal(size=(30, 2)), [0, np.nan], "must be finite numbers"),
    ],
)
def test_what_cannot_be_tested(samples, expected, message):
    with pytest.raises(ValueError, match=message):
        deviation_test(samples, stream(17, "refused"))(expected)


TWO = ("one stream", "another")

# --- total variation ---------------------------------------------------------------------


def normal_distance(shift):
    """Total variation between normal laws of equal variance, that many deviations apart."""
    return 2 * norm.cdf(np.asarray(shift) / 2) - 1


def test_distance_of_normal_laws():
    x = np.linspace(-12, 12, 481)
    shift = np.array([0.01, 0.3, 1.0, 2.5, 6.0])
    got = total_variation(norm.pdf(x), norm.pdf(x - shift[:, None]), x)
    true = np.abs(got.value - normal_distance(shift))
    assert np.all(true <= got.error)
    assert np.all(got.error < 2e-3 * shift)
    # Two crossings.
    s = np.array([0.5, 3.0])[:, None]
    crossing = np.sqrt(2 * s**2 * np.log(s) / (s**2 - 1))
    expected = 2 * np.abs(norm.cdf(crossing) - norm.cdf(crossing / s))[:, 0]
    x = np.linspace(-30, 30, 1201)
    got = total_variation(norm.pdf(x), norm.pdf(x / s) / s, x)
    assert np.all(np.abs(got.value - expected) <= got.error)
    assert got.error.max() < 2e-3


def test_distance_converges_with_the_square_of_the_spacing():
    """Also when the crossing lies anywhere in its cell; the trapezoidal rule would jump."""
    for shift in (1.0, 1.013, 1.04):
        errors = []
        for size in (101, 201, 401):
            x = np.linspace(-10, 10, size)
            got = total_variation(norm.pdf(x), norm.pdf(x - shift), x)
            errors.append(abs(got.value - normal_distance(shift)))
            assert got.error == pytest.approx(3 * errors[-1], rel=0.15)
        assert errors[0] / errors[1] == pytest.approx(4, rel=0.1)
        assert errors[1] / errors[2] == pytest.approx(4, rel=0.1)


def test_distance_of_densities_with_jumps():
    """Two uniform laws on [0, 1] and [s, 1 + s]: the distance is s, the error of first order."""
    x = np.linspace(-1, 3, 4001)
    for s in (0.1003, 0.7507, 1.0):
        p, q = (np.where((x >= a) & (x < 1 + a), 1.0, 0.0) for a in (0, s))
        got = total_variation(p, q, x)
        assert abs(got.value - s) <= got.error + 1e-3
        assert got.error < 5e-3


def test_distance_in_the_plane_and_in_space():
    x, y = np.linspace(-9, 9, 121), np.linspace(-9, 9, 91)
    one = norm.pdf(x)[:, None] * norm.pdf(y)
    for a, b in ((1.0, 0.0), (0.0, 1.0), (0.6, -0.8), (1.7, 1.1)):
        other = norm.pdf(x - a)[:, None] * norm.pdf(y - b)
        got = total_variation(one, other, x, y)
        assert abs(got.value - normal_distance(np.hypot(a, b))) <= got.error
        assert got.error < 0.01
    z = np.linspace(-8, 8, 41)
    space = norm.pdf(z)[:, None, None] * norm.pdf(z)[:, None] * norm.pdf(z)
    shifted = norm.pdf(z - 1)[:, None, None] * norm.pdf(z)[:, None] * norm.pdf(z - 1)
    got = total_variation(space, shifted, z, z, z)
    assert abs(got.value - normal_distance(np.sqrt(2))) <= got.error < 0.05


def test_distance_knows_what_lies_outside():
    x = np.linspace(-12, 0, 241)
    got = total_variation(norm.pdf(x), norm.pdf(x - 1), x)
    # Of the distance, half the gap beyond 0 is missing; the error covers it.
    assert got.error > normal_distance(1) - got.value > 0.1


@pytest.mark.parametrize("reach", [0.5, 2.0])
def test_tails_are_one_more_cell(reach):
    """Exact where one law ends on the grid or the larger one is the same outside."""
    x = np.linspace(-reach, reach, 2001)
    wide, inside = norm.pdf(x), 1.25 * np.clip((0.4 - np.abs(x)) / 1e-9 + 0.5, 0, 1)
    assert mass_outside(np.array([wide, inside]), x) == pytest.approx(
        [2 * norm.sf(reach), 0], abs=1e-6
    )
    exact = 1 - np.diff(norm.cdf([-0.4, 0.4]))[0]  # where the uniform law is the larger one
    assert total_variation_with_tails(wide, inside, x) == pytest.approx(exact, abs=3e-3)
    assert total_variation_with_tails(inside, wide, x) == pytest.approx(exact, abs=3e-3)
    without = total_variation(wide, inside, x).value
    assert without == pytest.approx(exact - norm.sf(reach), abs=3e-3)


def test_distance_is_a_norm_on_any_grid():
    """Triangle inequality, symmetry and scaling, to rounding, on rough data and coarse grids."""
    rng = stream(19, "norm")
    for axes in ([np.arange(5.0)], [np.cumsum(rng.exponential(size=9)), np.arange(5.0)]):
        shape = tuple(axis.size for axis in axes)
        p, q, r = rng.normal(size=(3, 4000, *shape))
        pq, qr, pr = (total_variation(a, b, *axes).value for a, b in ((p, q), (q, r), (p, r)))
        assert np.all(pr <= pq + qr + 1e-12)
        np.testing.assert_allclose(total_variation(q, p, *axes).value, pq, rtol=1e-12)
        np.testing.assert_allclose(total_variation(3 * p, 3 * q, *axes).value, 3 * pq, rtol=1e-12)
        assert not total_variation(p, p, *axes).value.any()


def test_exact_for_broken_lines():
    """|p - q| is integrated exactly between the points, on any spacing."""
    x = np.array([0.0, 1.0, 3.0, 3.5, 7.0])
    gap = np.array([1.0, -3.0, 0.0, 2.0, -5.0])
    by_hand = (1 + 9) / 8 + 3 + 0.5 + 3.5 * (4 + 25) / 14
    assert total_variation(gap, 0 * gap, x).value == pytest.approx(by_hand / 2, rel=1e-14)


def test_distance_of_a_batch_broadcasts():
    x = np.linspace(-9, 9, 181)
    shift = np.array([[0.5], [1.0]])
    many = total_variation(norm.pdf(x - shift[..., None]), norm.pdf(x), x)
    assert many.value.shape == many.error.shape == (2, 1)
    one = total_variation(norm.pdf(x - 1), norm.pdf(x), x)
    assert many.value[1, 0] == one.value


@pytest.mark.parametrize(
    ("p", "axes", "message"),
    [
        (np.ones(5), [], "given on the grid"),
        (np.ones(7), [np.arange(5.0)], r"given on the grid, whose shape is \(5,\)"),
        (np.ones(6), [np.arange(6.0)], "an odd number of points, at least 5"),
        (np.ones(3), [np.arange(3.0)], "an odd number of points, at least 5"),
        (np.ones(5), [np.array([0, 1, 1, 2, 3.0])], "must be finite and increase"),
        (np.ones(5), [np.array([0, 1, 2, 3, np.nan])], "must be finite and increase"),
        (np.full(5, np.nan), [np.arange(5.0)], "densities must be finite"),
    ],
)
def test_distances_that_cannot_be_measured(p, axes, message):
    with pytest.raises(ValueError, match=message):
        total_variation(p, np.ones(5), *axes)


def test_mean_score_has_the_tail_of_students_t():
    values = stream(3, "score").normal(0.4, 1, size=9)
    p = ttest_1samp(values, 0, alternative="greater").pvalue
    assert norm.sf(mean_score(values)) == pytest.approx(p, rel=1e-9)
    assert mean_score(-values) == -mean_score(values)
    assert mean_score([-1.0, 1.0]) == 0


def test_scores_stay_finite_where_the_tail_vanishes():
    values = 1 + 1e-9 * np.random.default_rng(5).standard_normal(400)
    assert (
        mean_score(values)
        == difference_score(values, -values, streams=TWO)
        == pytest.approx(37.5, abs=0.1)
    )


def test_a_score_of_students_t_has_its_tail():
    for t, degrees in ((-4.0, 3), (0.0, 19), (1.5, 400)):
        assert norm.sf(student_score(t, degrees)) == pytest.approx(student.sf(t, degrees), rel=1e-9)


def test_values_that_never_vary_are_no_evidence():
    assert mean_score([0.5, 0.5]) == difference_score([1.0, 1.0], [2.0, 2.0], streams=TWO) == 0.0
    assert mean_score([0.1] * 3) == 0.0  # of which numpy's standard deviation is not 0


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1.0], "at least 2 finite numbers"),
        ([[1.0, 2.0]], "at least 2 finite numbers"),
        ([1.0, np.nan], "at least 2 finite numbers"),
    ],
)
def test_values_without_a_mean_score(values, message):
    with pytest.raises(ValueError, match=message):
        mean_score(values)


def test_mean_squares_of_one_quantity_have_uniform_p_values():
    draws = 3 * stream(4, "squares").standard_normal((2000, 5, 1))
    p_values = [mean_square_test(rows**2, [9.0]) for rows in draws]
    assert kstest(p_values, "uniform").pvalue > 1e-5


def test_mean_squares_that_are_wrong_are_found_among_others():
    squares = stream(5, "squares").standard_normal((500, 4)) ** 2
    assert mean_square_test(squares, np.ones(4)) > 1e-5
    assert mean_square_test(squares, [1, 1, 1.5, 1]) < 1e-5
    assert mean_square_test(squares, [1, 1, 1, 1 / 1.5]) < 1e-5


@pytest.mark.parametrize(
    ("squares", "expected", "message"),
    [
        ([1.0, 2.0], [1.0], "one row each repetition"),
        ([[-1.0]], [1.0], "from 0 up"),
        ([[np.nan]], [1.0], "must be finite"),
        ([[1.0]], [0.0], "must be positive"),
    ],
)
def test_mean_squares_that_cannot_be_tested(squares, expected, message):
    with pytest.raises(ValueError, match=message):
        mean_square_test(squares, expected)


def test_groups_of_one_stream_are_paired():
    with pytest.raises(ValueError, match="both groups come from the stream 'loop'"):
        difference_score([1, 2], [3, 5], streams=("loop", "loop"))


def test_difference_score_is_welchs_t():
    rng = stream(5, "welch")
    first, second = rng.normal(1, 1, 6), rng.normal(0, 3, 9)
    parts = [group.var(ddof=1) / group.size for group in (first, second)]
    degrees = sum(parts) ** 2 / (parts[0] ** 2 / 5 + parts[1] ** 2 / 8)
    ratio = (first.mean() - second.mean()) / np.sqrt(sum(parts))
    assert ratio > 0
    score = difference_score(first, second, streams=TWO)
    assert norm.sf(score) == pytest.approx(student.sf(ratio, degrees), rel=1e-9)
    assert difference_score(second, first, streams=TWO) == -score


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        (([1.0], [1.0, 2.0]), "two rows of at least 2"),
        (([1.0, np.nan], [1.0, 2.0]), "two rows of at least 2"),
        (([[1.0, 2.0]], [1.0, 2.0]), "two rows of at least 2"),
    ],
)
def test_groups_without_a_difference_score(groups, message):
    with pytest.raises(ValueError, match=message):
        difference_score(*groups, streams=TWO)
