"""The loop: every cycle with the categorical learner, held against exact risks.

Statistical tests use `follows` (false-alarm rate 1e-6 each, see conftest.py) or
name their own rate.
"""

from __future__ import annotations

import weakref

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom, chisquare

from stlcore.cycles import Cycle, balanced, fixed_real, fresh_mixture, full_synthetic, general
from stlcore.learners.categorical import Categorical
from stlcore.learners.gaussian import Gaussian, GaussianMean, Normal
from stlcore.loop import First, run, run_pair
from stlcore.pages.figures import as_array
from stlcore.schedules import Share, Size
from stlcore.streams import stream
from stlcore.theory.contamination import filtered_risk, risk
from stlcore.theory.enumeration import risk_by_enumeration

TRUTH = np.array([0.4, 0.3, 0.2, 0.1])
V = 1 - (TRUTH**2).sum()
GENERAL = general([0.5, 0.0, 0.2, 0.1], [[0.5], [0.3, 0.7], [0, 0.8, 0], [0.6, 0, 0.1, 0.2]])
CYCLES = {
    "fresh mixture": fresh_mixture(Share.power(0.5)),
    "full synthetic": full_synthetic(),
    "balanced": balanced(),
    "general": GENERAL,
    "fixed real": fixed_real(0.3),
    "accumulate": fresh_mixture(0.2).accumulated(),
    "accumulate balanced": balanced().accumulated(),
    "accumulate fixed real": fixed_real(0.3).accumulated(),
    "filter": fresh_mixture(0.2).filtered(0.1, 0.3),
    "filter balanced": balanced().filtered(0.1, 0.3),
    "filter general, accumulate": GENERAL.filtered(0.1, 0.3).accumulated(),
    "filter full synthetic": full_synthetic().filtered(0.1, 0.3),
}


def errors(cycle, sizes, rounds, repetitions=20_000, seed=1, truth=TRUTH):
    """Squared errors, one row a repetition."""
    result = run(Categorical(truth), cycle, sizes, rounds, repetitions, stream(seed, "loop"))
    return as_array(result, "squared_error").T


def risk_of_weights(cycle, sizes, V) -> np.ndarray:
    """Exact risks for any weights over {truth, generations}, from all covariances.

    Given the past, the fit has mean p_t = sum of the weighted laws and variance
    (1 - ||p_t||^2) / n_t; every fit is unbiased.
    """
    rounds = len(sizes)
    covariance = np.zeros((rounds, rounds))  # of the errors of generations j and k
    for t, size in enumerate(sizes):
        weights = cycle.weights(t + 1).generations
        cross = weights @ covariance[:t, :t]
        carried = cross @ weights
        covariance[t, :t] = covariance[:t, t] = cross
        covariance[t, t] = carried + (V - carried) / size
    return covariance.diagonal()


def risk_of_fixed_real(real: int, size: int, rounds: int, V: float) -> np.ndarray:
    """Exact risks when the same ``real`` of the first ``size`` items enter every round."""
    a = real / size
    risks, with_part = [V / size], V / size  # second: covariance of the fit with the part's mean
    for _ in range(1, rounds):
        old = risks[-1]
        risks.append(
            a**2 * V / real
            + 2 * a * (1 - a) * with_part
            + (1 - a) ** 2 * (old + (V - old) / (size - real))
        )
        with_part = a * V / real + (1 - a) * with_part
    return np.array(risks)


# --- What comes out --------------------------------------------------------------------------


@pytest.mark.parametrize("name", CYCLES)
def test_every_cycle_runs(name):
    result = run(Categorical(TRUTH), CYCLES[name], 20, 5, 7, stream(2, name))
    assert list(result.columns) == ["round", "repetition", "drawn", "trained", "squared_error"]
    assert result["round"].tolist() == np.repeat(np.arange(1, 6), 7).tolist()
    assert result["repetition"].tolist() == list(range(1, 8)) * 5
    assert result["squared_error"].between(0, 2).all()
    drawn, trained = as_array(result, "drawn"), as_array(result, "trained")
    assert np.all(drawn[0] == 20)
    if "filter" in name:
        assert np.all((drawn >= 1) & (drawn <= 20))
        assert drawn[1:].mean() < 19
        assert np.array_equal(trained, np.cumsum(drawn, axis=0) if "accumulate" in name else drawn)


SMALL = {  # what every cycle draws anew in four rounds of 8, 4, 12 and 8 items
    "fresh mixture": (fresh_mixture(0.25), [8, 4, 12, 8]),
    "full synthetic": (full_synthetic(), [8, 4, 12, 8]),
    "balanced": (balanced(), [8, 4, 12, 8]),
    "general": (GENERAL, [8, 4, 12, 8]),
    "fixed real": (fixed_real(0.25), [8, 3, 9, 6]),
    "all real, fixed": (fixed_real(Share.explicit([1, 1, 0.5, 1])), [8, 0, 6, 0]),
}
AGAIN = {"fixed real": [0, 1, 3, 2], "all real, fixed": [0, 4, 6, 8]}  # of the first 8


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("name", SMALL)
def test_columns_count_what_they_say(name, exact):
    """New items of the round, and distinct items in its training set."""
    cycle, drawn = SMALL[name]
    cycle = cycle.exact() if exact else cycle
    again = np.array(AGAIN.get(name, [0, 0, 0, 0]))

    def columns(cycle):
        spy = Spy(TRUTH)
        frame = run(spy, cycle, Size.explicit([8, 4, 12, 8]), 4, 3, stream(2, name))
        found = [as_array(frame, column) for column in ("drawn", "trained")]
        in_sets = [sample.sum(axis=1).tolist() for sample in spy.trained]
        assert found[1].tolist() == in_sets, "what the learner was given"
        assert all(np.all(column == column[:, :1]) for column in found)
        return [column[:, 0].tolist() for column in found]

    assert columns(cycle) == [drawn, (again + drawn).tolist()]
    total = np.cumsum(drawn)
    assert columns(cycle.accumulated()) == [drawn, total.tolist()]
    assert columns(cycle.accumulated(budget=10)) == [drawn, np.minimum(total, 10).tolist()]
    last_two = np.add(drawn, [0, *drawn[:-1]])
    # Round 1 is in the window until round 2, and its items are counted once.
    assert columns(cycle.accumulated(window=2)) == [
        drawn,
        [*last_two[:2].tolist(), *(last_two + again)[2:].tolist()],
    ]
    assert columns(cycle.accumulated(window=4)) == [drawn, total.tolist()]


def test_sizes_follow_the_schedule():
    result = run(Categorical(TRUTH), balanced(), Size.power(3, 2), 4, 2, stream(2, "sizes"))
    assert as_array(result, "drawn").tolist() == [[3, 3], [12, 12], [27, 27], [48, 48]]


def test_one_round_and_one_repetition():
    result = run(Categorical(TRUTH), full_synthetic(), 10, 1, 1, stream(2, "one"))
    assert len(result) == 1
    assert isinstance(result, pd.DataFrame)


def test_observe_sees_every_model():
    seen = []
    result = run(
        Categorical(TRUTH),
        fresh_mixture(0.5),
        10,
        4,
        3,
        stream(2, "observe"),
        observe=lambda t, model: seen.append((t, model)),
    )
    assert [t for t, _ in seen] == [1, 2, 3, 4]
    for (_, model), tracked in zip(seen, as_array(result, "squared_error"), strict=True):
        assert model.shape == (3, 4)
        assert model.sum(axis=1) == pytest.approx(1)
        assert ((model - TRUTH) ** 2).sum(axis=1) == pytest.approx(tracked)
        assert (model * 10).round(9).tolist() == (model * 10).round().tolist()  # tenths


def test_progress_goes_to_stderr(capsys):
    arguments = (Categorical(TRUTH), full_synthetic(), 10, 3, 2)
    shown = run(*arguments, stream(2, "bar"), progress=True)
    assert "rounds" in capsys.readouterr().err
    hidden = run(*arguments, stream(2, "bar"))
    assert capsys.readouterr() == ("", "")
    assert shown.equals(hidden)


# --- Random numbers --------------------------------------------------------------------------


@pytest.mark.parametrize("name", CYCLES)
def test_the_same_seed_gives_the_same_numbers(name):
    first, again = (
        run(Categorical(TRUTH), CYCLES[name], 30, 5, 6, stream(3, "same")) for _ in range(2)
    )
    assert first.equals(again)  # bit for bit


def test_different_seeds_are_independent():
    # Correlation of 4000 pairs in each of 5 rounds, about N(0, 1/4000) without
    # dependence. False-alarm rate: 5 * P(|z| > 5.5) < 1e-6.
    first = errors(fresh_mixture(0.2), 20, 5, 4000, seed=4)
    second = errors(fresh_mixture(0.2), 20, 5, 4000, seed=5)
    assert not np.array_equal(first, second)
    for a, b in zip(first.T, second.T, strict=True):
        assert abs(np.corrcoef(a, b)[0, 1]) * np.sqrt(4000) < 5.5


def test_repetitions_are_independent():
    # 190 pairs of repetitions over 1500 rounds of fresh data; 190 * P(|z| > 6) < 1e-6.
    values = errors(fresh_mixture(1.0), 50, 1500, 20, seed=6)
    correlation = np.corrcoef(values)[np.triu_indices(20, 1)]
    assert np.abs(correlation).max() * np.sqrt(1500) < 6


# --- Against exact risks ---------------------------------------------------------------------


@pytest.mark.parametrize("accumulate", [False, True])
@pytest.mark.parametrize(
    ("share", "size"),
    [
        (Share.fixed(0.2), Size.fixed(10)),
        (Share.power(1), Size.power(5, 1)),
        (Share.fixed(0), Size.fixed(8)),
        (Share.explicit([1, 0, 0.7, 1, 0.1, 0.4]), Size.explicit([12, 3, 1, 7, 30, 2])),
    ],
)
def test_mean_risk_is_exact(share, size, accumulate, follows):
    """Theorem 3.1 and its accumulating form."""
    cycle = fresh_mixture(share)
    samples = errors(cycle.accumulated() if accumulate else cycle, size, 6)
    exact = risk(share.values(6), size.values(6), V, accumulate)
    assert follows(samples, exact)
    # The same test has the power to see a risk that is off by a twentieth in one round.
    exact[3] *= 1.05
    assert not follows(samples, exact)


@pytest.mark.parametrize("accumulate", [False, True])
def test_mean_risk_with_a_filter_is_exact(accumulate, follows):
    truth, shares, sizes = [0.7, 0.3], [1, 0.4, 0.2, 0.5], [4, 3, 5, 2]
    cycle = fresh_mixture(Share.explicit(shares)).filtered(0.2, 0.35)
    samples = errors(
        cycle.accumulated() if accumulate else cycle, Size.explicit(sizes), 4, truth=truth
    )
    exact = risk_by_enumeration(truth, shares, sizes, accumulate=accumulate, filter=(0.2, 0.35))
    assert follows(samples, exact)
    unfiltered = risk_by_enumeration(truth, shares, sizes, accumulate=accumulate)
    assert not follows(samples, unfiltered)


def test_mean_risk_behind_a_strict_filter_is_exact(follows):
    # About one item in eight passes, so an empty set would be common: Theorem D.2 draws again.
    samples = errors(fresh_mixture(0.3).filtered(0.8, 0.1), 12, 5)
    shares = Share.fixed(0.3).values(5)
    assert follows(samples, filtered_risk(shares, [12] * 5, 0.8, 0.1, V))
    assert not follows(samples, filtered_risk(shares, [12] * 5, 0.8, 0.1, V, exact=False))


@pytest.mark.parametrize("name", ["balanced", "general", "fresh mixture"])
def test_mean_risk_of_a_general_cycle_is_exact(name, follows):
    sizes = Size.explicit([9, 5, 8, 4, 6])
    samples = errors(CYCLES[name], sizes, 5)
    exact = risk_of_weights(CYCLES[name], sizes.values(5), V)
    assert follows(samples, exact)
    assert not follows(samples, risk_of_weights(full_synthetic(), sizes.values(5), V))


def test_the_covariance_recursion_contains_theorem_31():
    share, sizes = Share.power(0.5), [9, 5, 8, 4, 6]
    assert risk_of_weights(fresh_mixture(share), sizes, V) == pytest.approx(
        risk(share.values(5), sizes, V)
    )


@pytest.mark.parametrize("real", [1, 4, 9])
def test_mean_risk_with_fixed_real_data_is_exact(real, follows):
    samples = errors(fixed_real(real / 10), 10, 8)
    assert follows(samples, risk_of_fixed_real(real, 10, 8, V))
    # Re-using real data is not the same as drawing new real data.
    fresh = risk(Share.fixed(real / 10).values(8), [10] * 8, V)
    assert not follows(samples, fresh)


@pytest.mark.parametrize(("size", "kept"), [(6, (0.7, 0.3)), (1, (0.9, 0.5)), (40, (0.9, 0.02))])
def test_number_kept_is_binomial_given_at_least_one(size, kept):
    # Chi-square test; false-alarm rate 1e-6 each.
    cycle = fresh_mixture(0.25).filtered(*kept)
    result = run(Categorical(TRUTH), cycle, size, 3, 20_000, stream(7, "kept"))
    passes = 0.25 * (1 - kept[0]) + 0.75 * kept[1]
    assert cycle.kept(2) == pytest.approx(passes)
    for drawn in as_array(result, "drawn")[1:]:
        numbers = np.arange(1, size + 1)
        expected = binom.pmf(numbers, size, passes) / (1 - (1 - passes) ** size) * 20_000
        observed = np.bincount(drawn, minlength=size + 1)
        assert observed[0] == 0
        last = max(int(np.searchsorted(-expected, -5)), 1)  # pool what is expected too rarely
        observed = np.append(observed[1:last], observed[last:].sum())
        expected = np.append(expected[: last - 1], expected[last - 1 :].sum())
        if len(observed) > 1:
            assert chisquare(observed, expected).pvalue > 0.5e-6


def test_a_filter_that_lets_almost_nothing_pass_leaves_one_item():
    cycle = full_synthetic().filtered(1, 1e-17)
    result = run(Categorical(TRUTH), cycle, 50, 3, 100, stream(7, "strict"))
    assert np.all(as_array(result, "drawn")[1:] == 1)


# --- Fixed real data -------------------------------------------------------------------------


class Spy(Categorical):
    """Keeps what passes through it."""

    def __init__(self, truth):
        super().__init__(truth)
        self.drawn, self.trained, self.parts = [], [], []

    def sample(self, models, weights, size, rng):
        self.drawn.append(super().sample(models, weights, size, rng))
        return self.drawn[-1]

    def fit(self, sample, previous=None):
        self.trained.append(sample)
        return super().fit(sample, previous)

    def subset(self, sample, size, rng):
        self.parts.append(super().subset(sample, size, rng))
        return self.parts[-1]


def test_the_same_real_items_enter_every_round():
    spy = Spy(TRUTH)
    run(spy, fixed_real(0.3), 20, 6, 50, stream(8, "again"))
    (part,) = spy.parts  # chosen once
    assert np.all(part.sum(axis=1) == 6)  # exactly 0.3 * 20
    assert np.all(part <= spy.drawn[0])  # and from the first real set
    assert len(spy.drawn) == len(spy.trained) == 6
    for new, trained in zip(spy.drawn[1:], spy.trained[1:], strict=True):
        assert np.all(new.sum(axis=1) == 14)
        assert np.array_equal(trained, part + new)


def test_counts_of_real_items_are_rounded():
    spy = Spy(TRUTH)
    share = Share.explicit([1, 0.25, 0.125, 0.01, 0.14, 1.0, 0.25])
    run(spy, fixed_real(share), 20, 7, 5, stream(8, "rounded"))
    # 5, 2.5 to the even 2, 0.2 to none, 2.8 to 3, all, and 5 again: the part that is there
    assert [part.sum() // 5 for part in spy.parts] == [5, 2, 3, 20]
    assert np.array_equal(spy.trained[5], spy.trained[0])  # the whole first set
    assert [new.sum() // 5 for new in spy.drawn] == [20, 15, 18, 20, 17, 15]
    assert np.array_equal(spy.trained[6], spy.parts[0] + spy.drawn[-1])


def test_more_real_items_than_the_first_round_had():
    with pytest.raises(ValueError, match="the cycle re-uses 10 real items, but round 1 had 5"):
        run(Categorical(TRUTH), fixed_real(1.0), Size.power(5, 1), 3, 2, stream(8, "many"))


# --- What a round may look at ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "alive"), [("full synthetic", [1, 1, 1, 1]), ("balanced", [1, 2, 3, 4])]
)
def test_old_models_are_freed_where_nothing_needs_them(name, alive):
    models, found = [], []

    def observe(t, model):
        models.append(weakref.ref(model))
        found.append(sum(model() is not None for model in models))

    run(Categorical(TRUTH), CYCLES[name], 5, 4, 2, stream(9, name), observe=observe)
    assert found == alive


def test_a_round_looks_only_at_what_its_weights_name():
    seen = {}

    class Watch(Categorical):
        def sample(self, models, weights, size, rng):
            seen.setdefault(name, []).append(len(models))
            return super().sample(models, weights, size, rng)

    for name in ("fresh mixture", "full synthetic", "balanced", "general"):
        run(Watch(TRUTH), CYCLES[name], 5, 5, 2, stream(9, name))
    assert seen["fresh mixture"] == [1, 2, 2, 2, 2]
    assert seen["full synthetic"] == [1, 1, 1, 1, 1]
    assert seen["balanced"] == [1, 2, 3, 4, 5]
    assert seen["general"] == [1, 2, 2, 2, 4]  # weights of 0 are left out


# --- Mistakes --------------------------------------------------------------------------------


class NoPool:
    """A learner without pool and subset."""

    truth = TRUTH
    sample = Categorical.sample
    fit = Categorical.fit
    track = Categorical.track


def call(**changes):
    arguments = {
        "learner": Categorical(TRUTH),
        "cycle": fresh_mixture(0.1),
        "sizes": 10,
        "rounds": 5,
        "repetitions": 2,
        "rng": stream(1, "mistakes"),
    }
    return run(**{**arguments, **changes})


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"rounds": -3}, ValueError, "rounds must be a whole number from 1 up, not -3"),
        ({"rounds": 2.0}, ValueError, "rounds must be a whole number from 1 up, not 2.0"),
        ({"repetitions": 0}, ValueError, "repetitions must be a whole number from 1 up, not 0"),
        ({"sizes": 0}, ValueError, "the sample size must be a whole number from 1 up, not 0"),
        ({"sizes": 1.5}, ValueError, "the sample size must be a whole number from 1 up, not 1.5"),
        (
            {"sizes": Size.explicit([3, 4])},
            ValueError,
            "the schedule gives 2 rounds, but 5 are asked for",
        ),
        (
            {"cycle": fresh_mixture(Share.explicit([1, 0.5]))},
            ValueError,
            "the schedule gives 2 rounds, but 5 are asked for",
        ),
        (
            {"cycle": general([0.5], [[0.5]])},
            ValueError,
            "the cycle has weights for 2 rounds, but 5 are asked for",
        ),
        (
            {"rng": np.random},
            TypeError,
            "rng must be a numpy.random.Generator, for example stlcore.streams.stream(1)",
        ),
        (
            {"rng": np.random.RandomState(1)},
            TypeError,
            "rng must be a numpy.random.Generator, for example stlcore.streams.stream(1)",
        ),
        ({"rng": 1}, TypeError, "rng must be a numpy.random.Generator"),
        ({"cycle": 0.1}, TypeError, "the cycle must come from stlcore.cycles, not float"),
        (
            {"learner": TRUTH},
            TypeError,
            "ndarray is no learner: it needs truth, sample, fit and track",
        ),
        (
            {"learner": NoPool(), "cycle": fresh_mixture(0.1).accumulated()},
            TypeError,
            "NoPool cannot pool samples, so an accumulating cycle does not fit it",
        ),
        (
            {"learner": NoPool(), "cycle": fixed_real(0.1)},
            TypeError,
            "NoPool cannot use a sample again, so a cycle with fixed real data does not fit it",
        ),
        (
            {"cycle": fixed_real(0.1).filtered(0.1, 0.1)},
            TypeError,
            "a filter draws a random number of items, so it does not fit fixed real data",
        ),
        (
            {"cycle": full_synthetic().filtered(0, 0)},
            ValueError,
            "the filter keeps nothing: no real item passes and no synthetic one",
        ),
    ],
)
def test_mistakes_get_one_sentence(changes, error, message):
    drawn = []

    def observe(t, model):
        drawn.append(t)

    with pytest.raises(error) as caught:
        call(**changes, observe=observe)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)
    assert drawn == []  # before anything is drawn


def test_a_share_above_one():
    with pytest.raises(ValueError, match=r"^a share must lie in \[0, 1\], not 1.2$"):
        call(cycle=fresh_mixture(1.2))


def test_a_learner_without_extras_still_runs():
    assert len(call(learner=NoPool())) == 10


# --- A given start, and two runs on the same numbers -------------------------------------------


def test_a_given_first_sample_is_what_round_1_trains_on():
    counts = np.array([[8, 0, 0, 2], [1, 2, 3, 4]])
    frame = run(Categorical(TRUTH), fixed_real(0.5), 10, 3, 2, stream(3), first=First(counts))
    expected = ((counts / 10 - TRUTH) ** 2).sum(axis=1)
    assert frame["squared_error"][:2].to_numpy() == pytest.approx(expected)
    assert frame["drawn"].tolist() == [10, 10, 5, 5, 5, 5]


def test_a_given_part_is_what_later_rounds_use_again():
    spy, counts = Spy(TRUTH), np.tile([4, 3, 2, 1], (3, 1))
    part = np.tile([2, 1, 1, 1], (3, 1))
    run(spy, fixed_real(0.5), 10, 4, 3, stream(3), first=First(counts, part))
    assert spy.parts == []
    for new, trained in zip(spy.drawn, spy.trained[1:], strict=True):
        assert np.array_equal(trained, part + new)
    with pytest.raises(ValueError, match="a sample of Spy has 5 items where 4 were asked for"):
        run(spy, fixed_real(0.4), 10, 2, 3, stream(3), first=First(counts, part))


def test_a_given_first_model_is_where_the_loop_starts():
    model, seen = np.tile([0.0, 0.0, 0.5, 0.5], (3, 1)), []
    frame = run(
        Categorical(TRUTH), full_synthetic(), 10, 3, 3, stream(3),
        first=First(model=model), observe=lambda t, m: seen.append((t, m)),
    )  # fmt: skip
    assert seen[0] == (1, model) or np.array_equal(seen[0][1], model)
    assert [t for t, _ in seen] == [1, 2, 3]
    assert all((m[:, :2] == 0).all() for _, m in seen), "what the model lacks stays lost"
    assert frame["drawn"].tolist() == [0, 0, 0] + [10] * 6
    with pytest.raises(ValueError, match="the given first round has no sample to take them from"):
        run(Categorical(TRUTH), fixed_real(0.5), 10, 2, 3, stream(3), first=First(model=model))


def test_another_truth():
    frame = run(
        Categorical(TRUTH), fresh_mixture(1.0), 10, 3, 2, stream(3), truth=np.array([1.0, 0, 0, 0])
    )
    assert frame["squared_error"].to_numpy() == pytest.approx(0.36 + 0.09 + 0.04 + 0.01)


def test_a_pair_from_equal_starts_stays_together_and_is_the_run_itself():
    first = First(np.tile([4, 3, 2, 1], (5, 1)))
    one, two = run_pair(
        GaussianMean(0, 1), fresh_mixture(0.3), 10, 6, 5, stream(4),
        (First(model=normal_at(0.0)), First(model=normal_at(0.0))),
    )  # fmt: skip
    assert one.equals(two)
    again, _ = run_pair(Categorical(TRUTH), fixed_real(0.3), 10, 6, 5, stream(4), (first, first))
    assert again["trained"].eq(10).all()


def normal_at(mean):
    return Normal(np.full(5, mean), 1.0)


def test_a_pair_shares_its_numbers_round_by_round():
    """A shift of the start is carried on unchanged by a learner of means, to the last digit."""
    gaps = []
    run_pair(
        GaussianMean(0, 1), full_synthetic(), 10, 6, 5, stream(4),
        (First(model=normal_at(0.0)), First(model=normal_at(0.25))),
        observe=lambda t, one, two: gaps.append(two.mean - one.mean),
    )  # fmt: skip
    assert np.array(gaps) == pytest.approx(np.full((6, 5), 0.25), abs=1e-12)


def test_a_pair_is_in_step_again_after_a_round_that_needed_more_numbers():
    class Uneven(GaussianMean):
        """Draws a number more for a model at 1, and always from the truth."""

        def sample(self, models, weights, size, rng):
            if np.all(models[0].mean == 1):
                rng.random()
            return super().sample([self.truth], np.ones(1), size, rng)

    gaps = []
    run_pair(
        Uneven(0, 1), full_synthetic(), 10, 4, 5, stream(4),
        (First(model=normal_at(1.0)), First(model=normal_at(-1.0))),
        observe=lambda t, one, two: gaps.append(two.mean - one.mean),
    )  # fmt: skip
    assert (gaps[1] != 0).all()
    assert np.array_equal(gaps[2:], np.zeros((2, 5)))


# --- What a learner is asked, and what it returns ------------------------------------------------


class Plain(Categorical):
    """A learner whose methods the tests below replace."""


def changed(**methods):
    return type("Plain", (Plain,), methods)(TRUTH)


def test_a_learner_may_ask_for_the_round_and_its_numbers_stay_the_same():
    seen = []

    def fit(self, sample, previous, round):
        seen.append((round.number, round.rng.random()))
        return Categorical.fit(self, sample, previous)

    def track(self, model, round):
        return {
            "squared_error": Categorical.track(self, model)["squared_error"],
            "t": [round.number] * 2,
        }

    frame = call(learner=changed(fit=fit, track=track))
    assert [t for t, _ in seen] == [1, 2, 3, 4, 5]
    assert len({number for _, number in seen}) == 5
    assert frame["t"].tolist() == frame["round"].tolist()
    assert frame["squared_error"].equals(call()["squared_error"]), "its generator is its own"


def test_two_runs_from_one_generator_have_rounds_of_their_own():
    numbers = []

    def fit(self, sample, previous, round):
        numbers.append(round.rng.random())
        return Categorical.fit(self, sample, previous)

    rng = stream(1, "mistakes")
    for _ in range(2):
        call(learner=changed(fit=fit), rng=rng)
    assert len(set(numbers)) == 10


def test_a_vector_becomes_columns():
    frame = call(learner=changed(track=lambda self, model: {"law": model, "first": model[:, 0]}))
    assert list(frame.columns[4:]) == ["law[0]", "law[1]", "law[2]", "law[3]", "first"]
    assert frame["law[0]"].equals(frame["first"].rename("law[0]"))
    assert frame.filter(like="law").sum(axis=1).to_numpy() == pytest.approx(1)


@pytest.mark.parametrize(
    ("methods", "message"),
    [
        ({"track": lambda self, m: {"drawn": m[:, 0]}}, "Plain tracks 'drawn', but a name must be"),
        ({"track": lambda self, m: {3: m[:, 0]}}, "Plain tracks 3, but a name must be a text"),
        (
            {"track": lambda self, m: {"error": m[0, 0]}},
            r"Plain tracks 'error' of shape \(\), but it must be \(2,\) or \(2, m\)",
        ),
        (
            {"track": lambda self, m: {"error": ["small", "large"]}},
            "Plain tracks 'error', which is no number: .*small",
        ),
        ({"track": lambda self, m: m}, "Plain.track must return a mapping .* not ndarray"),
        ({"fit": lambda self, s, previous: None}, "Plain.fit returned None, not a model"),
        (
            {"sample": lambda self, m, w, n, rng: Categorical.sample(self, m, w, n - 1, rng)},
            "a sample of Plain has 9 items where 10 were asked for",
        ),
    ],
)
def test_the_first_round_is_looked_at(methods, message):
    rounds = []
    with pytest.raises(ValueError, match=message):
        run(
            changed(**methods), balanced(), 10, 5, 2, stream(1),
            observe=lambda t, model: rounds.append(t),
        )  # fmt: skip
    assert rounds == []


def test_items_that_go_missing_later_are_missed():
    """In every round whose number is a power of two."""

    def sample(self, models, weights, size, rng):
        return Categorical.sample(self, models, weights, size - (len(models) > 2), rng)

    with pytest.raises(ValueError, match="has 9 items where 10 were asked for") as caught:
        call(learner=changed(sample=sample), cycle=balanced())
    assert caught.value.frame["round"].max() == 3


def test_a_cycle_that_gives_no_weights():
    class Pairs(Cycle):
        def mixture(self, t):
            return 0.5, 0.5

    with pytest.raises(TypeError, match=r"Pairs.mixture must return Weights, not tuple"):
        call(cycle=Pairs())


def test_other_numbers_in_a_later_round():
    def track(self, model, round):
        return {"a" if round.number < 3 else "b": model[:, 0]}

    with pytest.raises(ValueError, match="same numbers in every round, but a, b differs"):
        call(learner=changed(track=track))


@pytest.mark.parametrize("first", [2, 3, 5])
@pytest.mark.parametrize("returned", [True, False])
def test_a_last_model_that_is_changed_in_place_is_refused(returned, first):
    """In whatever round it happens: a learner may warm up before it fine-tunes."""

    def fit(self, sample, previous, round):
        model = Categorical.fit(self, sample)
        if round.number < first:
            return model
        previous[...] = model
        return previous if returned else model

    with pytest.raises(ValueError, match=r"must return a new model and leave `previous`") as caught:
        call(learner=changed(fit=fit), cycle=balanced())
    assert caught.value.frame["round"].max() == first - 1


def test_a_last_model_that_is_shared_but_not_changed_is_fine():
    def fit(self, sample, previous):
        return previous.copy() if previous is not None else Categorical.fit(self, sample)

    assert len(call(learner=changed(fit=fit))) == 10


# --- What stops a loop ---------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [KeyboardInterrupt, MemoryError, ZeroDivisionError])
@pytest.mark.parametrize("where", ["fit", "observe"])
def test_whatever_stops_a_loop_carries_the_frame(kind, where):
    count = []

    def stops(*_):
        count.append(1)
        if len(count) == 3:
            raise kind("stopped")

    def fit(self, sample, previous):
        if where == "fit":
            stops()
        return Categorical.fit(self, sample)

    with pytest.raises(kind) as caught:
        run(
            changed(fit=fit), full_synthetic(), 10, 5, 2, stream(1),
            observe=stops if where == "observe" else None,
        )  # fmt: skip
    frame = caught.value.frame
    assert frame["round"].max() == (2 if where == "fit" else 3)
    whole = run(Categorical(TRUTH), full_synthetic(), 10, 5, 2, stream(1))
    assert frame.equals(whole[: len(frame)])
    assert "This was in round 3; `frame` of this exception holds the" in caught.value.__notes__[0]


def test_a_rule_ends_the_loop():
    def alone(t, columns):
        return bool((columns["squared_error"] > 0.15).any())

    rule = {"cycle": full_synthetic(), "rounds": 200}
    frame = run(Categorical(TRUTH), full_synthetic(), 10, 200, 2, stream(1), stop=alone)
    whole = call(**rule, rng=stream(1))
    assert frame.equals(whole[: len(frame)])
    over = whole.groupby("round")["squared_error"].max() > 0.15
    assert frame["round"].max() == over.idxmax() < 200


# --- Exact counts, budgets and windows -----------------------------------------------------------


def counts_from(cycle, rounds=4):
    """How many items every law gave in every round, by laws that are worlds apart."""
    asked = []

    class Apart(Categorical):
        def sample(self, models, weights, size, rng):
            asked.append((len(models), size[0]))
            return super().sample(models, weights, size, rng)

    run(Apart(TRUTH), cycle, 10, rounds, 3, stream(1))
    return asked


def test_exact_counts_are_shared_out():
    assert counts_from(fresh_mixture(0.3).exact()) == [(1, 10)] + [(1, 3), (1, 7)] * 3
    assert counts_from(balanced().exact(), 3) == [(1, 10), (1, 5), (1, 5), (1, 3), (1, 4), (1, 3)]
    assert counts_from(fixed_real(0.3).exact(), 2) == [(1, 10), (1, 7)]
    assert counts_from(fresh_mixture(0.3), 2) == [(1, 10), (2, 10)]


@pytest.mark.parametrize("exact", [False, True])
def test_exact_counts_take_the_share_of_the_truth_out_of_the_noise(exact, follows):
    """Variance of the number of real items is a(1 - a)n, or 0: seen in a law of two points."""
    cycle = fresh_mixture(0.5).exact() if exact else fresh_mixture(0.5)
    start = First(model=np.tile([0.0, 1.0], (6000, 1)))
    frame = run(
        Categorical([1.0, 0.0]),
        cycle,
        10,
        2,
        6000,
        stream(1),
        first=start,
        truth=np.array([1.0, 0]),
    )
    second = as_array(frame, "squared_error")[1]
    if exact:
        assert np.allclose(second, 2 * 0.5**2)
    else:
        expected = 2 * (0.25 + 0.25 / 10)
        assert follows(second[:, None], [expected])
        assert not follows(second[:, None], [0.5])


def test_a_budget_is_a_uniform_part_of_all_that_was_drawn(follows):
    """Given the pool, the fit is unbiased for it, with the variance without replacement."""
    start, model = np.tile([6, 2, 0, 2], (8000, 1)), None
    models = []
    run(
        Categorical(TRUTH), fresh_mixture(1.0).accumulated(budget=4), 10, 2, 8000, stream(1),
        first=First(start), truth=np.array([0, 0, 1.0, 0]),
        observe=lambda t, model: models.append(model),
    )  # fmt: skip
    model = models[1]  # 4 of 20 items: 6, 2, 10 and 2 of the classes
    pool = np.array([6, 2, 10, 2]) / 20
    assert follows(model, pool)
    assert not follows(model, np.array([6, 2, 9, 3]) / 20)
    assert follows((model - pool) ** 2, pool * (1 - pool) / 4 * 16 / 19)


# --- More mistakes -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"learner": Categorical}, r"Categorical is a class: the loop needs a learner, Categoric"),
        ({"cycle": Cycle}, "the cycle must come from stlcore.cycles, not the class Cycle"),
        (
            {"cycle": fresh_mixture(0.5).selected(0.5)},
            "Categorical has no score for its items, so nothing can be selected",
        ),
        (
            {"learner": Gaussian(0, 1), "cycle": full_synthetic().accumulated(budget=3)},
            "Gaussian cannot take a part of a sample from several laws, so a budget does not fit",
        ),
        (
            {"cycle": full_synthetic().filtered(0.1, 0.1).accumulated(budget=3)},
            "a budget needs equally many items in every repetition",
        ),
        (
            {"learner": NoPool(), "cycle": fresh_mixture(0.1).exact()},
            "NoPool cannot pool samples, so a cycle with exact counts does not fit it",
        ),
    ],
)
def test_more_mistakes_get_one_sentence(changes, message):
    with pytest.raises(TypeError, match=message):
        call(**changes)


def test_a_truth_that_is_none():
    learner = Categorical(TRUTH)
    learner.truth = None
    with pytest.raises(TypeError, match="the truth of Categorical is None, so there is nothing"):
        call(learner=learner)


@pytest.mark.parametrize(
    ("first", "error", "message"),
    [
        (np.ones((2, 4)), TypeError, r"a given first round is a First\(...\), not ndarray"),
        (First(), ValueError, "a given first round needs a sample or a model"),
    ],
)
def test_first_rounds_that_cannot_be(first, error, message):
    with pytest.raises(error, match=message):
        run(Categorical(TRUTH), full_synthetic(), 10, 2, 2, stream(1), first=first)
