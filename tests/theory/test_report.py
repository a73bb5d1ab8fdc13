"""The three papers on one loop: bounds hold, and hypotheses that are missing are named."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stlcore.cycles import balanced, fixed_real, fresh_mixture, full_synthetic
from stlcore.learners.categorical import Categorical
from stlcore.loop import run
from stlcore.metrics.distances import max_deviation_test
from stlcore.pages.figures import as_array
from stlcore.schedules import Share
from stlcore.streams import stream
from stlcore.theory.gaussian_loops import gaussian_mean_variance
from stlcore.theory.report import normal_report, report


@settings(max_examples=60, deadline=None)
@given(st.floats(0, 1), st.floats(0, 1), st.integers(1, 12), st.integers(1, 8), st.booleans())
def test_every_bound_that_applies_holds(truth, share, size, rounds, fresh):
    cycle = fresh_mixture(share) if fresh else fixed_real(share)
    for entry in report(truth, cycle, size, rounds):
        if entry.applies:
            assert np.all(entry.bound >= entry.exact - 1e-9), entry.paper
            assert np.all(entry.exact <= entry.trivial + 1e-9), entry.paper


@settings(max_examples=30, deadline=None)
@given(st.floats(0, 1), st.floats(0, 2), st.integers(1, 12), st.integers(1, 8))
def test_paper_c_is_an_equality(truth, power, size, rounds):
    *_, entry = report(truth, fresh_mixture(Share.power(power)), size, rounds)
    assert entry.bound == pytest.approx(entry.exact, abs=1e-9)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.floats(0.01, 1), min_size=1, max_size=5),
    st.floats(0, 1), st.integers(1, 8), st.integers(1, 6), st.booleans(),
)  # fmt: skip
def test_bounds_hold_for_more_classes(parts, share, size, rounds, fresh):
    truth = np.array(parts) / sum(parts)
    cycle = fresh_mixture(share) if fresh else fixed_real(share)
    a, b, c = report(truth, cycle, size, rounds)
    for entry in (a, b, c):
        assert np.all(entry.exact <= entry.trivial + 1e-9), entry.paper
        if entry.applies:
            assert np.all(entry.bound >= entry.exact - 1e-9), entry.paper
    if fresh:
        assert c.bound == pytest.approx(c.exact, abs=1e-9)


def test_a_coin_is_a_law_on_two_classes():
    for cycle in (fresh_mixture(0.3), fixed_real(0.3)):
        for one, other in zip(
            report(0.3, cycle, 6, 4), report([0.3, 0.7], cycle, 6, 4), strict=True
        ):
            assert one.bound == pytest.approx(other.bound, nan_ok=True)
            assert one.exact == pytest.approx(other.exact)
    with pytest.raises(ValueError, match="must be a law"):
        report([0.3, 0.3], fresh_mixture(0.3), 6, 4)


def test_the_distances_of_more_classes_are_those_of_the_loop(follows):
    truth, seen = np.array([0.5, 0.3, 0.2]), []

    def look(t, model):
        seen.append(np.abs(model - truth).sum(axis=-1) / 2)

    for cycle in (fresh_mixture(0.4), fixed_real(0.4)):  # the second re-uses two of five
        run(Categorical(truth), cycle, 5, 4, 20000, stream(8), observe=look)
        assert follows(np.stack(seen, axis=1), report(truth, cycle, 5, 4)[1].exact)
        seen.clear()


@pytest.mark.parametrize("share", [0, 0.25, 0.3, 1])
def test_the_normal_report(share):
    size, rounds = 20, 6
    for cycle in (fresh_mixture(share), fixed_real(share)):
        gap, tv, mean = normal_report(cycle, size, rounds)
        exact = gaussian_mean_variance(cycle, size, rounds, stratified=True)
        assert mean.exact == pytest.approx(exact)
        assert "a bounded loss" in gap.missing
        assert "proportions" in mean.missing
        assert np.all(gap.exact >= mean.exact * (1 - 1e-12))
        if tv.applies:
            assert np.all(tv.bound >= tv.exact * (1 - 1e-3))
            assert np.isnan(gap.bound).all()
        else:
            assert tv.missing == ("fresh real data",)


def test_errors_of_normal_fits():
    """Without real data a fit is 1/n away from the law it is trained on, in variance."""
    bound = normal_report(full_synthetic(), 20, 6)[1].bound
    each = 2 / np.pi * np.arctan(np.sqrt(1 / 20) / 2)
    assert bound == pytest.approx(each * np.arange(1, 7), rel=2e-4)


def test_a_hypothesis_that_is_switched_off_is_named():
    names = {e.paper: e.missing for e in report(0.3, fixed_real(0.5), 10, 5)}
    assert names == {"A": (), "B": ("fresh real data",), "C": ("fresh real data",)}
    for entry in report(0.3, fixed_real(0.5), 10, 5)[1:]:
        assert np.isnan(entry.bound).all()
        assert not entry.vacuous.any()
    assert all(e.applies for e in report(0.3, full_synthetic(), 10, 5))


def test_the_exact_values_are_those_of_the_loop():
    truth, size, rounds = 0.3, 10, 6
    for cycle in (fresh_mixture(0.3), fixed_real(0.3)):  # the second re-uses three of ten
        frame = run(Categorical([truth, 1 - truth]), cycle, size, rounds, 1000, stream(7))
        errors = as_array(frame, "squared_error").T
        exact = report(truth, cycle, size, rounds)[2].exact
        assert max_deviation_test(errors, exact, stream(7, "test")).p_value > 1e-4


def test_a_loop_whose_law_is_not_known_is_refused():
    with pytest.raises(ValueError, match="last generation only"):
        report(0.3, balanced(), 10, 5)
    with pytest.raises(ValueError, match="without modifiers"):
        report(0.3, fresh_mixture(0.5).accumulated(), 10, 5)
    with pytest.raises(ValueError, match="must not change"):
        report(0.3, fixed_real(Share.power(1)), 10, 5)
