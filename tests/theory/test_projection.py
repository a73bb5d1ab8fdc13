"""KL projections: closed forms against independent optimisation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.optimize import minimize_scalar
from scipy.stats import norm

from stlcore.theory.projection import (
    GaussianShifts,
    allele_frequency,
    hardy_weinberg,
    kl,
    stuck_share,
)

INSIDE = st.floats(0.02, 0.98)


def test_kl_of_laws_with_empty_classes():
    assert kl([1, 0], [0.5, 0.5]) == pytest.approx(np.log(2))
    assert kl([0.5, 0.5], [1, 0]) == np.inf
    assert kl([[0.2, 0.8], [0.5, 0.5]], [0.5, 0.5]).shape == (2,)


@given(INSIDE, INSIDE)
def test_allele_frequency_is_the_projection(a, b):
    law = np.array([a * b, a * (1 - b), 1 - a])
    found = minimize_scalar(
        lambda p: kl(law, hardy_weinberg(p)), bounds=(1e-9, 1 - 1e-9), method="bounded"
    )
    assert kl(law, hardy_weinberg(allele_frequency(law))) <= found.fun + 1e-15
    assert allele_frequency(law) == pytest.approx(found.x, abs=1e-4)


@given(INSIDE)
def test_a_law_on_the_curve_is_its_own_projection(p):
    assert hardy_weinberg(p).sum() == pytest.approx(1)
    assert allele_frequency(hardy_weinberg(p)) == pytest.approx(p)


def test_frequencies_outside_the_range_are_refused():
    with pytest.raises(ValueError, match="allele frequency"):
        hardy_weinberg(1.2)


@given(st.floats(-2, 2), st.floats(-2, 2), st.floats(0, 1))
def test_gaussian_projection_is_the_mean(truth, first, share):
    family = GaussianShifts([0], [1], reach=3)
    law = family.mixture(share, truth, first)
    assert family.project(law) == pytest.approx(share * truth + (1 - share) * first, abs=1e-11)
    assert family.kl(truth, first) == pytest.approx((truth - first) ** 2 / 2, abs=1e-12)


def test_quadrature_against_scipy():
    family = GaussianShifts([0, 6], [0.9, 0.1], reach=9)

    def density(x, shift):
        return 0.9 * norm.pdf(x - shift) + 0.1 * norm.pdf(x - shift - 6)

    def integrand(x):
        return density(x, 0) * np.log(density(x, 0) / density(x, -2))

    assert family.kl(0, -2) == pytest.approx(quad(integrand, -12, 18, limit=200)[0], abs=1e-8)
    np.testing.assert_allclose(
        family.kl_curve(0.0)[::60], [family.kl(0, s) for s in family.shifts[::60]], atol=1e-12
    )


def test_slope_is_the_derivative():
    family = GaussianShifts([0, 6], [0.9, 0.1], reach=9)
    law = family.mixture(0.4, 0, -4)
    step = 1e-5
    numeric = (family.cross_entropy(law, 1 + step) - family.cross_entropy(law, 1 - step)) / (
        2 * step
    )
    assert family.slope(law, 1.0) == pytest.approx(numeric, abs=1e-8)


@pytest.mark.parametrize(("weight", "distance"), [(0.9, 6), (0.8, 8), (0.95, 7)])
def test_stuck_share_separates_staying_from_moving(weight, distance):
    family = GaussianShifts([0, distance], [weight, 1 - weight], reach=distance + 3)
    trap = family.minima(family.density(0))[0]
    share = stuck_share(family, 0, trap)
    assert trap < -1
    assert family.project(family.mixture(share - 1e-9, 0, trap)) == pytest.approx(trap, abs=1e-9)
    assert family.project(family.mixture(share + 1e-9, 0, trap)) > trap + 1


def test_a_shift_that_is_no_local_minimum_is_never_stuck():
    family = GaussianShifts([0], [1], reach=3)
    with pytest.raises(ValueError, match="no local minimum"):
        stuck_share(family, 0, 1)


@pytest.mark.parametrize(
    ("offsets", "weights", "reach", "message"),
    [
        ([0, 1], [1], 1, "one offset and one weight"),
        ([0, 1], [0.5, 0.6], 1, "sum to 1"),
        ([0], [1], 0, "reach"),
    ],
)
def test_families_that_make_no_sense(offsets, weights, reach, message):
    with pytest.raises(ValueError, match=message):
        GaussianShifts(offsets, weights, reach)
