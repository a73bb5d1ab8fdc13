"""Loops beyond the papers, against enumeration, the papers' own recurrences and long loops."""

from __future__ import annotations

import itertools
from collections import defaultdict

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.stats import multinomial, multivariate_hypergeom

from stlcore.cycles import coevolving, fresh_mixture
from stlcore.learners.averaged import Averaged
from stlcore.learners.categorical import Categorical
from stlcore.learners.community import Community
from stlcore.learners.curated import Curated
from stlcore.learners.gaussian import GaussianMean
from stlcore.loop import run
from stlcore.metrics.distances import deviation_test
from stlcore.pages.figures import as_array
from stlcore.streams import stream
from stlcore.theory.beyond import (
    best_gains,
    budget_risk,
    coevolution,
    community,
    curation_balance,
    estimated_share,
    gain_limit,
    gain_risk,
    mean_gain_risk,
    network,
    window_risk,
)
from stlcore.theory.contamination import risk
from stlcore.theory.enumeration import compositions

TRUTH = np.array([0.6, 0.4])
V = 1 - (TRUTH**2).sum()

share = st.floats(0, 1)
sizes_of_a_loop = st.lists(st.integers(1, 3), min_size=1, max_size=4)


# --- A listing of every outcome --------------------------------------------------------------


def listing(first, step, rounds: int, measure) -> np.ndarray:
    """Mean of ``measure(state)`` after each round.

    ``step(t, state)`` gives (chance, state) pairs; a state is a nested tuple of numbers.
    """
    states, found = {first: 1.0}, []
    for t in range(1, rounds + 1):
        after = defaultdict(float)
        for state, chance in states.items():
            for further, new in step(t, state):
                after[new] += chance * further
        states = after
        found.append(sum(chance * np.asarray(measure(s)) for s, chance in states.items()))
    return np.array(found)


def outcomes(law, size: int):
    """Every vector of counts and its chance."""
    law = np.clip(law, 0, None) / np.clip(law, 0, None).sum()
    for counts in compositions(size, len(law)):
        chance = multinomial.pmf(counts, size, law)
        if chance > 0:
            yield float(chance), counts


def rounded(*vectors) -> tuple:
    return tuple(tuple(np.round(v, 12)) for v in vectors)


def apart(one, other) -> float:
    return float((np.asarray(one) - TRUTH) @ (np.asarray(other) - TRUTH))


# --- Gains -----------------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(sizes=sizes_of_a_loop, data=st.data())
def test_gains_against_listing(sizes, data):
    shares = [1, *(data.draw(share) for _ in sizes[1:])]
    gains = [1, *(data.draw(share) for _ in sizes[1:])]

    def step(t, state):
        (model,) = state
        a, g, n = shares[t - 1], gains[t - 1], sizes[t - 1]
        for chance, counts in outcomes(a * TRUTH + (1 - a) * np.array(model), n):
            yield chance, rounded(np.array(model) + g * (counts / n - np.array(model)))

    by_listing = listing(rounded(TRUTH), step, len(sizes), lambda s: apart(s[0], s[0]))
    assert gain_risk(shares, sizes, V, gains) == pytest.approx(by_listing, abs=1e-9)


@given(
    st.lists(st.integers(1, 1000), min_size=1, max_size=30),
    st.data(),
)
def test_gain_one_is_the_paper_and_a_falling_gain_its_accumulation(sizes, data):
    shares = [1, *(data.draw(share) for _ in sizes[1:])]
    assert gain_risk(shares, sizes, V, np.ones(len(sizes))) == pytest.approx(risk(shares, sizes, V))
    gains = np.array(sizes) / np.cumsum(sizes)
    assert gain_risk(shares, sizes, V, gains) == pytest.approx(risk(shares, sizes, V, True))


@given(st.lists(st.integers(2, 1000), min_size=2, max_size=20), st.data())
def test_no_gain_of_the_last_round_is_better_than_the_best(sizes, data):
    shares = [1, *(data.draw(share) for _ in sizes[1:])]
    best = best_gains(shares, sizes, V)
    other = best.copy()
    other[-1] = data.draw(st.floats(0, 2))
    lowest = gain_risk(shares, sizes, V, best)
    assert lowest[-1] <= gain_risk(shares, sizes, V, other)[-1] * (1 + 1e-12)
    assert np.all(np.diff(lowest) <= 1e-15)


@given(st.lists(st.integers(2, 1000), min_size=2, max_size=20), st.data())
def test_information_adds_up(sizes, data):
    shares = np.array([1, *(data.draw(share) for _ in sizes[1:])])
    R = gain_risk(shares, sizes, V, best_gains(shares, sizes, V))
    gained = np.array(sizes[1:]) * shares[1:] ** 2 / (V - (1 - shares[1:]) ** 2 * R[:-1])
    assert 1 / R[1:] == pytest.approx(1 / R[:-1] + gained, rel=1e-9)


def test_best_gains_at_the_edges():
    assert best_gains([1, 0, 0], [5, 5, 5], V) == pytest.approx([1, 0, 0])  # do not retrain
    assert best_gains([1, 1], [5, 5], V) == pytest.approx([1, 1 / 2])  # average of two samples
    assert best_gains([1, 0], [1, 1], V) == pytest.approx([1, 0])
    assert best_gains([1, 0.5], [3, 3], 0.0) == pytest.approx([1, 0])  # one class


def test_looking_one_round_ahead_is_not_always_best_over_two():
    """A round may be worth spoiling: the mixture with a peaked model is less random."""
    shares, sizes = [1, 0.1, 0.1], [2, 1, 1000]
    ahead = gain_risk(shares, sizes, V, best_gains(shares, sizes, V))[-1]
    spoilt = best_gains([1, 0.1], [1, 1000], V)[-1]  # R_2 = V, as after a first round of one
    assert gain_risk(shares, sizes, V, [1, 1, spoilt])[-1] < ahead / 2


@given(st.floats(0.01, 1), st.integers(1, 500), st.floats(0.01, 1))
def test_a_fixed_gain_has_its_limit(alpha, size, gain):
    limit = gain_limit(alpha, size, V, gain)
    after = (1 - gain * alpha) ** 2 * limit
    after += gain**2 / size * (V - (1 - alpha) ** 2 * limit)
    assert after == pytest.approx(limit, rel=1e-9)


def test_a_small_gain_gets_below_the_first_risk():
    """Below 2 alpha / (1 + alpha^2), up to terms of order 1/n."""
    for alpha in (0.05, 0.3, 0.9):
        edge = 2 * alpha / (1 + alpha**2)
        n = 10**6
        assert gain_limit(alpha, n, V, edge * 0.999) < V / n < gain_limit(alpha, n, V, edge * 1.001)


@pytest.mark.parametrize("alpha", [0.2, 0.8])
def test_normal_mean_with_a_gain_against_the_loop(alpha):
    rounds, gains = 12, 1 / np.arange(1.0, 13)
    frame = run(
        Averaged(GaussianMean(1.0, 2.0), gains),
        fresh_mixture(alpha),
        5,
        rounds,
        1000,
        stream(3, "normal"),
    )
    errors = as_array(frame, "squared_error").T
    shares = np.r_[1, np.full(rounds - 1, alpha)]
    exact = mean_gain_risk(shares, np.full(rounds, 5), 2.0, gains)
    test = deviation_test(errors, stream(3, "test"))
    assert test(exact).p_value > 1e-4
    assert test(1.3 * exact).p_value < 1e-4


@pytest.mark.parametrize(
    ("gains", "message"),
    [([1], "one gain"), ([0.5, 1], "first gain"), ([1, -0.1], "not negative")],
)
def test_wrong_gains_are_refused(gains, message):
    with pytest.raises(ValueError, match=message):
        gain_risk([1, 0.5], [3, 3], V, gains)
    if len(gains) == 2 and gains[0] != 1:
        with pytest.raises(ValueError, match=message):
            Averaged(Categorical(TRUTH), gains)


def test_gain_limit_needs_a_share_and_a_gain():
    for arguments in ((0, 5, V, 0.5), (0.5, 5, V, 0), (0.5, 0, V, 0.5)):
        with pytest.raises(ValueError, match="above 0"):
            gain_limit(*arguments)


# --- How much is real ------------------------------------------------------------------------


@given(share, st.floats(0, 0.49), st.floats(0, 0.49), st.integers(1, 40))
def test_the_estimated_share_is_unbiased_and_its_deviation_right(alpha, type1, type2, size):
    """Over every number of items that may be kept."""
    kept = alpha * (1 - type1) + (1 - alpha) * type2
    assume(0.01 < kept < 0.99)
    numbers = np.arange(size + 1)
    chance = multinomial.pmf(np.stack([numbers, size - numbers], axis=1), size, [kept, 1 - kept])
    estimates = estimated_share(numbers / size, size, type1, type2).share
    assert chance @ estimates == pytest.approx(alpha, abs=1e-9)
    deviation = np.sqrt(chance @ (estimates - alpha) ** 2)
    assert estimated_share(kept, size, type1, type2).deviation == pytest.approx(deviation, rel=1e-6)


def test_a_detector_no_better_than_chance_is_refused():
    with pytest.raises(ValueError, match="no better"):
        estimated_share(0.5, 10, 0.6, 0.4)


# --- A truth that moves ----------------------------------------------------------------------


@settings(max_examples=15, deadline=None)
@given(sizes_of_a_loop, share, share, share)
def test_coevolution_against_listing(sizes, alpha, kappa, archive):
    """The listing carries the truth along; nothing in it knows the weights of the cycle."""

    def step(t, state):
        truth, model = np.array(state[0]), np.array(state[1])
        law = truth
        if t > 1:
            truth = (1 - kappa) * truth + kappa * model
            law = archive * TRUTH + (1 - archive) * (alpha * truth + (1 - alpha) * model)
        for chance, counts in outcomes(law, sizes[t - 1]):
            yield chance, rounded(truth, counts / sizes[t - 1])

    def measure(state):
        return [[apart(a, b) for a in state] for b in state]

    by_listing = listing(rounded(TRUTH, TRUTH), step, len(sizes), measure)
    exact = coevolution(alpha, kappa, sizes, V, archive)
    assert exact == pytest.approx(by_listing, abs=1e-9)


@given(share, share, share, st.integers(2, 12))
def test_the_cycle_follows_the_moving_truth(alpha, kappa, archive, t):
    """The weights are those of the moving truth written out."""
    truth, laws = np.eye(t)[0], []  # entry 0: the first truth; k: generation k
    for k in range(1, t):
        laws.append(np.eye(t)[k])
        truth = (1 - kappa) * truth + kappa * laws[-1]
    wanted = archive * np.eye(t)[0] + (1 - archive) * (alpha * truth + (1 - alpha) * laws[-1])
    found = coevolving(alpha, kappa, archive).weights(t)
    assert np.r_[found.fresh, found.generations] == pytest.approx(wanted, abs=1e-12)


def test_coevolution_without_a_moving_truth_is_the_paper():
    sizes = [5, 3, 8, 2]
    exact = coevolution(0.3, 0.0, sizes, V)
    assert exact[:, 1, 1] == pytest.approx(risk([1, 0.3, 0.3, 0.3], sizes, V))
    assert not exact[:, 0].any()


def test_the_death_rate_of_diversity():
    alpha, kappa, n = 0.3, 0.05, 400
    left = V - coevolution(alpha, kappa, np.full(3000, n), V)[:, 0, 0]
    slope = -np.log(left[-1] / left[-2])
    pull = kappa / (kappa + alpha * (1 - kappa))
    assert slope == pytest.approx(pull**2 / n, rel=0.01)


def test_shares_of_a_moving_truth_are_checked():
    for arguments in ((1.1, 0.1, 0), (0.5, -0.1, 0), (0.5, 0.1, 2)):
        with pytest.raises(ValueError, match="must lie in"):
            coevolving(*arguments)
        with pytest.raises(ValueError, match="must lie in"):
            coevolution(*arguments[:2], [3, 3], V, arguments[2])


# --- Models that read each other -------------------------------------------------------------


@settings(max_examples=10, deadline=None)
@given(st.lists(st.integers(1, 2), min_size=1, max_size=3), share, share, st.integers(1, 3))
def test_communities_against_listing(sizes, alpha, contact, members):
    contact = contact if members > 1 else 0.0
    mixing = equal_mixing(members, contact)

    def step(t, state):
        models, a = np.array(state), 1 if t == 1 else alpha
        n = sizes[t - 1]
        laws = a * TRUTH + (1 - a) * mixing @ models
        for draws in itertools.product(*(list(outcomes(law, n)) for law in laws)):
            chance = np.prod([d[0] for d in draws])
            yield chance, rounded(*(d[1] / n for d in draws))

    def measure(state):
        return [[apart(a, b) for a in state] for b in state]

    first = rounded(*[TRUTH] * members)
    by_listing = listing(first, step, len(sizes), measure)
    assert network(mixing, alpha, sizes, V) == pytest.approx(by_listing, abs=1e-9)
    both = community(members, alpha, contact, sizes, V)
    assert both[:, 0] == pytest.approx(by_listing[:, 0, 0], abs=1e-9)
    if members > 1:
        assert both[:, 1] == pytest.approx(by_listing[:, 0, 1], abs=1e-9)


def equal_mixing(members: int, contact: float) -> np.ndarray:
    if members == 1:
        return np.ones((1, 1))
    others = np.full((members, members), contact / (members - 1))
    np.fill_diagonal(others, 1 - contact)
    return others


@given(st.integers(2, 6), share, share, st.lists(st.integers(1, 50), min_size=1, max_size=20))
def test_two_numbers_are_enough_where_all_mix_alike(members, alpha, contact, sizes):
    whole = network(equal_mixing(members, contact), alpha, sizes, V)
    both = community(members, alpha, contact, sizes, V)
    assert both[:, 0] == pytest.approx(whole[:, 0, 0], abs=1e-12)
    assert both[:, 1] == pytest.approx(whole[:, 0, 1], abs=1e-12)


def test_a_hermit_is_the_paper():
    sizes = [4, 3, 6, 5]
    assert community(1, 0.2, 0.0, sizes, V)[:, 0] == pytest.approx(
        risk([1, 0.2, 0.2, 0.2], sizes, V)
    )
    assert community(3, 0.2, 0.0, sizes, V)[:, 0] == pytest.approx(
        risk([1, 0.2, 0.2, 0.2], sizes, V)
    )


def test_a_community_is_refused_where_it_makes_no_sense():
    with pytest.raises(ValueError, match="a model alone"):
        community(1, 0.2, 0.5, [3, 3], V)
    with pytest.raises(ValueError, match="one row and one column"):
        network(np.ones((2, 3)) / 3, 0.2, [3], V)
    with pytest.raises(ValueError, match="must be a law"):
        network(np.ones((2, 2)), 0.2, [3], V)
    with pytest.raises(ValueError, match="at least 1"):
        community(2, 0.2, 0.5, [3, 0], V)


# --- Curation --------------------------------------------------------------------------------


@given(
    st.lists(st.floats(0.01, 1), min_size=1, max_size=8),
    st.data(),
    st.floats(0.05, 1),
)
def test_the_balance_is_where_the_loop_ends(parts, data, alpha):
    truth = np.array(parts) / sum(parts)
    weights = np.array([data.draw(st.floats(0, 5)) for _ in parts])
    assume(weights.max() > 1e-3)
    model = truth
    for _ in range(3000):
        kept = model * weights
        if kept.sum() <= 0:
            return
        model = alpha * truth + (1 - alpha) * kept / kept.sum()
    assert curation_balance(truth, weights, alpha) == pytest.approx(model, abs=1e-6)


@given(st.lists(st.floats(0.01, 1), min_size=2, max_size=8), st.data(), st.floats(1e-6, 1))
def test_the_balance_is_a_fixed_point_and_scales(parts, data, alpha):
    truth = np.array(parts) / sum(parts)
    weights = np.array([data.draw(st.floats(0, 5)) for _ in parts])
    assume(weights.max() > 1e-3)
    found = curation_balance(truth, weights, alpha)
    kept = found * weights
    assert alpha * truth + (1 - alpha) * kept / kept.sum() == pytest.approx(found, abs=1e-9)
    assert curation_balance(truth, 7 * weights, alpha) == pytest.approx(found, abs=1e-9)


def test_the_balance_at_the_edges():
    truth = np.array([0.5, 0.3, 0.2, 0.0])
    assert curation_balance(truth, [1, 2, 2, 9], 0) == pytest.approx([0, 0.6, 0.4, 0])
    assert curation_balance(truth, [1, 2, 2, 9], 1) == pytest.approx(truth)
    assert curation_balance(truth, np.ones(4), 0.3) == pytest.approx(truth)
    assert curation_balance([1.0], [3.0], 0.3) == pytest.approx([1])
    with pytest.raises(ValueError, match="best weight"):
        curation_balance(truth, [0, 0, 0, 1], 0.3)
    with pytest.raises(ValueError, match="finite and not negative"):
        curation_balance(truth, [0, -1, 0, 1], 0.3)


# --- A budget and a window -------------------------------------------------------------------


@settings(max_examples=15, deadline=None)
@given(sizes_of_a_loop, st.data(), st.integers(1, 4))
def test_budget_against_listing(sizes, data, budget):
    """The listing keeps the whole pool and the part that is drawn from it."""
    shares = [1, *(data.draw(share) for _ in sizes[1:])]

    def step(t, state):
        pool, model = np.array(state[0]), np.array(state[1])
        a = shares[t - 1]
        for chance, counts in outcomes(a * TRUTH + (1 - a) * model, sizes[t - 1]):
            after = pool + counts
            total = int(after.sum())
            if total <= budget:
                yield chance, rounded(after, after / total)
                continue
            for part in compositions(budget, len(TRUTH)):
                if np.all(part <= after):
                    further = multivariate_hypergeom.pmf(part, after.astype(int), budget)
                    yield chance * float(further), rounded(after, part / budget)

    first = rounded(np.zeros(len(TRUTH)), TRUTH)
    by_listing = listing(first, step, len(sizes), lambda s: apart(s[1], s[1]))
    assert budget_risk(shares, sizes, V, budget) == pytest.approx(by_listing, abs=1e-9)


@settings(max_examples=15, deadline=None)
@given(sizes_of_a_loop, st.data(), st.integers(1, 4))
def test_window_against_listing(sizes, data, window):
    shares = [1, *(data.draw(share) for _ in sizes[1:])]

    def step(t, state):
        a = shares[t - 1]
        law = TRUTH
        if t > 1:
            law = a * TRUTH + (1 - a) * np.sum(state, axis=0) / np.sum(state)
        for chance, counts in outcomes(law, sizes[t - 1]):
            yield chance, (*state, tuple(counts))[-window:]

    def measure(state):
        model = np.sum(state, axis=0) / np.sum(state)
        return apart(model, model)

    by_listing = listing((), step, len(sizes), measure)
    assert window_risk(shares, sizes, V, window) == pytest.approx(by_listing, abs=1e-9)


@given(st.lists(st.integers(1, 50), min_size=1, max_size=20), st.data())
def test_a_budget_and_a_window_end_in_accumulating_and_replacing(sizes, data):
    shares = [1, *(data.draw(share) for _ in sizes[1:])]
    everything = risk(shares, sizes, V, accumulate=True)
    assert budget_risk(shares, sizes, V, sum(sizes)) == pytest.approx(everything)
    assert window_risk(shares, sizes, V, len(sizes)) == pytest.approx(everything)
    assert window_risk(shares, sizes, V, 1) == pytest.approx(risk(shares, sizes, V))


@given(st.lists(st.integers(1, 50), min_size=1, max_size=20), st.data(), st.integers(1, 60))
def test_a_budget_never_beats_the_whole_pool(sizes, data, budget):
    shares = [1, *(data.draw(share) for _ in sizes[1:])]
    everything = risk(shares, sizes, V, accumulate=True)
    assert np.all(budget_risk(shares, sizes, V, budget) >= everything * (1 - 1e-12))


def test_a_budget_of_nothing_is_refused():
    with pytest.raises(ValueError, match="budget"):
        budget_risk([1, 0.5], [3, 3], V, 0)
    with pytest.raises(ValueError, match="window"):
        window_risk([1, 0.5], [3, 3], V, 0)


# --- The loops themselves --------------------------------------------------------------------

WIDE = np.array([0.4, 0.3, 0.2, 0.1])
ROUNDS = 10
SHARES, SIZES = np.r_[1, np.full(ROUNDS - 1, 0.3)], np.full(ROUNDS, 6)
W = 1 - (WIDE**2).sum()
LOOPS = {
    "gain": (
        Averaged(Categorical(WIDE), 1 / np.arange(1.0, ROUNDS + 1)),
        fresh_mixture(0.3),
        gain_risk(SHARES, SIZES, W, 1 / np.arange(1.0, ROUNDS + 1)),
    ),
    "moving truth": (
        Categorical(WIDE),
        coevolving(0.3, 0.2, 0.1),
        coevolution(0.3, 0.2, SIZES, W, 0.1)[:, 1, 1],
    ),
    "community": (
        Community(Categorical(WIDE), equal_mixing(3, 0.4)),
        fresh_mixture(0.3),
        community(3, 0.3, 0.4, SIZES, W)[:, 0],
    ),
    "budget": (
        Categorical(WIDE),
        fresh_mixture(0.3).accumulated(budget=8),
        budget_risk(SHARES, SIZES, W, 8),
    ),
    "window": (
        Categorical(WIDE),
        fresh_mixture(0.3).accumulated(window=3),
        window_risk(SHARES, SIZES, W, 3),
    ),
}


@pytest.mark.parametrize("name", LOOPS)
def test_the_loop_follows_the_recursion(name):
    learner, cycle, exact = LOOPS[name]
    frame = run(learner, cycle, 6, ROUNDS, 1000, stream(5, name))
    column = "squared_error[0]" if name == "community" else "squared_error"
    errors = as_array(frame, column).T
    test = deviation_test(errors, stream(5, "test"))
    assert test(exact).p_value > 1e-4
    assert test(1.3 * exact).p_value < 1e-4


def test_a_curated_loop_ends_in_the_balance():
    weights = np.array([1.0, 2.0, 3.0, 4.0])

    def tilt(model):
        kept = model * weights
        return kept / kept.sum(axis=-1, keepdims=True)

    seen = {}
    run(
        Curated(Categorical(WIDE), tilt),
        fresh_mixture(0.3),
        10**7,
        60,
        20,
        stream(6),
        observe=lambda t, model: seen.update({t: model}),
    )
    balance = curation_balance(WIDE, weights, 0.3)
    assert seen[60].mean(axis=0) == pytest.approx(balance, abs=1e-3)
    # Of the real items none is thrown away: with real data only nothing is tilted.
    run(
        Curated(Categorical(WIDE), tilt),
        fresh_mixture(1.0),
        10**7,
        2,
        20,
        stream(6),
        observe=lambda t, model: seen.update({t: model}),
    )
    assert seen[2].mean(axis=0) == pytest.approx(WIDE, abs=1e-3)
