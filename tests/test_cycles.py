"""Data cycles: the weights of every round's training law."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from stlcore.cycles import (
    Cycle,
    Filter,
    Selection,
    Weights,
    balanced,
    coevolving,
    filtered_share,
    fixed_real,
    fresh_mixture,
    full_synthetic,
    general,
)
from stlcore.schedules import Share

probability = st.floats(0, 1)


@st.composite
def general_weights(draw, generations=6):
    """Rows of random weights, some of them 0."""
    alpha, beta = [], []
    for i in range(1, draw(st.integers(1, generations)) + 1):
        row = draw(hnp.arrays(float, i + 1, elements=probability))
        assume(row.sum() > 1e-3)
        row = row / row.sum()
        alpha.append(row[0])
        beta.append(row[1:])
    return alpha, beta


@st.composite
def cycles(draw):
    """Every ready-made cycle with or without its modifiers, and a round it is defined for."""
    kind = draw(
        st.sampled_from(["fresh", "synthetic", "balanced", "general", "fixed real", "moving"])
    )
    t = draw(st.integers(1, 40))
    if kind == "general":
        alpha, beta = draw(general_weights())
        cycle, t = general(alpha, beta), draw(st.integers(1, len(alpha) + 1))
    elif kind == "balanced":
        cycle = balanced()
    elif kind == "synthetic":
        cycle = full_synthetic()
    elif kind == "moving":
        cycle = coevolving(draw(probability), draw(probability), draw(probability))
    else:
        share = draw(
            st.one_of(
                probability,
                st.builds(Share.power, st.floats(0, 4), st.floats(0, 1)),
                st.builds(Share.log, st.floats(0, 4), st.floats(0, 4), st.floats(0, 0.9)),
            )
        )
        cycle = (fresh_mixture if kind == "fresh" else fixed_real)(share)
    if draw(st.booleans()):
        cycle = cycle.accumulated()
    return cycle, t


def check_weights(weights, t):
    assert weights.generations.shape == (t - 1,)
    assert min(weights.fresh, weights.first) >= 0
    assert np.all(weights.generations >= 0)
    assert weights.fresh + weights.first + weights.generations.sum() == pytest.approx(1, abs=1e-12)


@given(cycles())
def test_weights_are_a_probability(case):
    cycle, t = case
    check_weights(cycle.weights(t), t)
    assert cycle.kept(t) == 1
    cycle.check_rounds(t)


@given(cycles(), probability, probability)
def test_filtered_weights_are_a_probability(case, type1, type2):
    cycle, t = case
    plain = cycle.weights(t)
    real = plain.fresh + plain.first
    assume(t == 1 or real * (1 - type1) + (1 - real) * type2 > 1e-300)
    assume(type1 < 1 or type2 > 0)
    filtered = cycle.filtered(type1, type2)
    weights = filtered.weights(t)
    check_weights(weights, t)
    assert 0 < filtered.kept(t) <= 1
    if t > 1:
        # What a filter does is to change the odds of real against synthetic...
        odds = real * (1 - type1), (1 - real) * type2
        assert weights.fresh + weights.first == pytest.approx(odds[0] / sum(odds), abs=1e-12)
        # ... and to leave the proportions among the synthetic generations alone.
        cross = np.outer(weights.generations, plain.generations)
        assert cross == pytest.approx(cross.T, abs=1e-12)
    else:
        assert weights.fresh == 1
        assert filtered.kept(1) == 1


@given(st.floats(0, 1), st.floats(0.01, 1))
def test_a_filter_that_cannot_tell_leaves_the_share_as_it_is(share, nu):
    """Paper C: a classifier with 1 - eta = nu only wastes data."""
    after, kept = filtered_share(share, 1 - nu, nu)
    assert after == pytest.approx(share, abs=1e-12)
    assert kept == pytest.approx(nu)


@given(st.floats(0.001, 0.999), st.floats(0, 0.99), probability)
def test_filtered_share_is_bayes_rule(share, type1, type2):
    after, kept = filtered_share(share, type1, type2)
    assert kept * after == pytest.approx(share * (1 - type1))
    assert kept * (1 - after) == pytest.approx((1 - share) * type2, abs=1e-15)
    # better than chance raises the share, worse lowers it
    if 1 - type1 > type2 * (1 + 1e-9):
        assert after > share
    elif 1 - type1 < type2 * (1 - 1e-9):
        assert after < share


def test_filtered_share_ends():
    assert filtered_share(0.3, 0, 0) == (1, 0.3)  # perfect classifier
    assert filtered_share(0.3, 1, 0.5) == (0, 0.35)  # keeps synthetic items only
    assert filtered_share(0.3, 0, 1) == (0.3, 1)  # no classifier
    share, kept = filtered_share([0.0, 0.5, 1.0], 0.2, 0.1)
    assert share == pytest.approx([0, 8 / 9, 1])
    assert kept == pytest.approx([0.1, 0.45, 0.8])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0.3, 1.1, 0.2), r"the type-I error rate must lie in \[0, 1\], not 1.1"),
        ((0.3, 0.1, -0.2), r"the type-II error rate must lie in \[0, 1\], not -0.2"),
        ((0.3, float("nan"), 0.2), r"the type-I error rate must lie in \[0, 1\], not nan"),
        ((0.3, 1, 0), "the filter keeps nothing"),
        ((1, 1, 0.5), "the filter keeps nothing"),
        ((1.5, 0.1, 0.1), r"a share must lie in \[0, 1\]"),
        ((float("nan"), 0.1, 0.1), r"a share must lie in \[0, 1\]"),
    ],
)
def test_filters_that_cannot_be(arguments, message):
    with pytest.raises(ValueError, match=message):
        filtered_share(*arguments)


def test_wrong_rates_are_refused_when_the_cycle_is_made():
    with pytest.raises(ValueError, match="the type-I error rate"):
        balanced().filtered(2, 0.5)
    with pytest.raises(ValueError, match="the filter keeps nothing"):
        balanced().filtered(1, 0)


def test_weights_of_each_cycle():
    assert fresh_mixture(0.3).weights(4)[:2] == (0.3, 0)
    assert fresh_mixture(0.3).weights(4).generations.tolist() == [0, 0, 0.7]
    assert full_synthetic().weights(3)[:2] == (0, 0)
    assert full_synthetic().weights(3).generations.tolist() == [0, 1]
    assert balanced().weights(4)[:2] == (0.25, 0)
    assert balanced().weights(4).generations.tolist() == [0.25, 0.25, 0.25]
    assert fixed_real(Share.power(1)).weights(4)[:2] == (0, 0.25)
    assert fixed_real(Share.power(1)).weights(4).generations.tolist() == [0, 0, 0.75]
    cycle = general([0.5, 0.2], [[0.5], [0.7, 0.1]])
    assert cycle.weights(2).generations.tolist() == [0.5]
    assert cycle.weights(3)[:2] == (0.2, 0)
    assert cycle.weights(3).generations.tolist() == [0.7, 0.1]


@given(cycles())
def test_round_1_is_real(case):
    weights = case[0].weights(1)
    assert weights[:2] == (1, 0)
    assert weights.generations.size == 0


def test_balanced_and_fresh_mixtures_are_general_cycles():
    by_hand = general([1 / t for t in range(2, 9)], [[1 / t] * (t - 1) for t in range(2, 9)])
    for t in range(1, 9):
        assert by_hand.weights(t).fresh == balanced().weights(t).fresh
        assert np.array_equal(by_hand.weights(t).generations, balanced().weights(t).generations)


def test_modifiers_leave_the_cycle_as_it_was():
    cycle = fresh_mixture(0.4)
    both = cycle.filtered(0.1, 0.2).accumulated()
    assert not cycle.pooled
    assert cycle.filter is None
    assert both.pooled
    assert both.filter == Filter(0.1, 0.2)
    assert both.share == cycle.share
    assert cycle == fresh_mixture(Share.fixed(0.4))


@pytest.mark.parametrize(
    ("alpha", "beta", "message"),
    [
        ([0.5], [], "alpha has 1 entries but beta has 0 rows"),
        ([0.5, 0.5], [[0.5], [0.5]], "row 2 of beta must have 2 entries, not 1"),
        ([0.5], [[0.4]], "the weights of generation 2 sum to 0.9, not 1"),
        ([1.5], [[-0.5]], "the weights of generation 2 must not be negative"),
        ([-0.5], [[1.5]], "the weights of generation 2 must not be negative"),
        ([0.5, 0.0], [[0.5], [0.0, float("nan")]], "generation 3"),
    ],
)
def test_general_weights_that_cannot_be(alpha, beta, message):
    with pytest.raises(ValueError, match=message):
        general(alpha, beta)


def test_a_cycle_that_ends_too_early():
    cycle = general([0.5], [[0.5]])
    cycle.check_rounds(2)
    with pytest.raises(ValueError, match="the cycle has weights for 2 rounds, but 3 are asked for"):
        cycle.check_rounds(3)
    with pytest.raises(ValueError, match="the schedule gives 2 rounds, but 3 are asked for"):
        fresh_mixture(Share.explicit([1, 0.5])).check_rounds(3)


@pytest.mark.parametrize("t", [0, -1, 1.5, True])
def test_rounds_count_from_one(t):
    with pytest.raises(ValueError, match="the round must be a whole number from 1 up, not"):
        balanced().weights(t)


@pytest.mark.parametrize("make", [fresh_mixture, fixed_real])
def test_a_share_above_one(make):
    with pytest.raises(ValueError, match=r"a share must lie in \[0, 1\], not 1.2"):
        make(1.2)


# --- Modifiers and cycles of one's own -----------------------------------------------------------


def test_modifiers_go_together():
    cycle = balanced().accumulated(budget=7, window=3).selected(0.2, "all").exact()
    assert (cycle.pooled, cycle.budget, cycle.window, cycle.shared_out) == (True, 7, 3, True)
    assert cycle.selection == Selection(0.2, "all")
    assert cycle.accumulated().budget is None
    assert balanced().selected(0.5).selection.among == "synthetic"


@given(cycles(), probability)
def test_what_is_kept_of_a_round_does_not_change_its_law(case, keep):
    cycle, t = case
    assume(keep > 0)
    other = cycle.exact().selected(keep).accumulated(budget=3, window=2)
    assert other.weights(t)[:2] == cycle.weights(t)[:2]
    assert np.array_equal(other.weights(t).generations, cycle.weights(t).generations)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda c: c.accumulated(budget=0), "the budget must be a whole number from 1 up, not 0"),
        (lambda c: c.accumulated(window=1.5), "the window must be a whole number from 1 up"),
        (lambda c: c.selected(0), "a selection must keep something"),
        (lambda c: c.selected(1.2), r"the share to keep must lie in \[0, 1\], not 1.2"),
        (lambda c: c.selected(float("nan")), r"the share to keep must lie in \[0, 1\], not nan"),
        (lambda c: c.selected(0.5, "real"), "among 'synthetic' or 'all', not 'real'"),
    ],
)
def test_modifiers_that_cannot_be(make, message):
    with pytest.raises(ValueError, match=message):
        make(balanced())


def own(weights, **attributes):
    return type("Own", (Cycle,), {"mixture": lambda self, t: Weights(*weights(t)), **attributes})()


def test_a_cycle_of_ones_own():
    def alternating(t):
        generations = np.zeros(t - 1)
        generations[t // 2 - 1] = 0.6
        return 0.4, 0.0, generations

    cycle = own(alternating, lookback=None)
    check_weights(cycle.weights(7), 7)
    assert cycle.filtered(0.5, 0.5).weights(7).fresh == pytest.approx(0.4)
    with pytest.raises(ValueError, match="draws from generation 3, but its lookback is 1: set loo"):
        own(alternating).check_rounds(7)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (lambda t: (0.5, 0.0, [0.0] * (t - 2) + [0.6]), "weights of round 3 of Own sum to 1.1, no"),
        (lambda t: (1.5, 0.0, [0.0] * (t - 2) + [-0.5]), "of Own must not be negative"),
        (lambda t: (0.5, 0.0, [0.5]), "weights of round 3 must name 2 generations, not 1"),
        (lambda t: (0.5, 0.5, [0.0] * (t - 1)), "it must set reuses_first = True"),
    ],
)
def test_weights_of_ones_own_that_are_no_law(weights, message):
    def arrays(t):
        fresh, first, generations = weights(t)
        return fresh, first, np.array(generations)

    with pytest.raises(ValueError, match=message):
        own(arrays, lookback=None).check_rounds(3)
