"""Random streams: reproducible, named, independent."""

from __future__ import annotations

import numpy as np
import pytest

from stlcore.streams import stream


def test_equal_names_give_equal_numbers():
    first = stream(5, "loop", 3).random(1000)
    again = stream(5, "loop", 3).random(1000)
    assert np.array_equal(first, again)


def test_numbers_stay_what_they_are():
    # Written down once: a change here changes every number of the book.
    values = stream(20260231, "truth").integers(0, 1000, 6)
    assert values.tolist() == [466, 14, 139, 462, 173, 522]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((1, "a"), (2, "a")),
        ((1, "a"), (1, "b")),
        ((1, "a", "b"), (1, "b", "a")),
        ((1, "a", "b"), (1, "ab")),
        ((1, 1), (1, "1")),
        ((1,), (1, "")),
        ((1, 2, 3), (1, 23)),
        ((0, "a"), (2**64, "a")),
    ],
)
def test_any_difference_gives_other_numbers(one, other):
    assert not np.array_equal(stream(*one).random(50), stream(*other).random(50))


def test_a_stream_does_not_depend_on_others():
    alone = stream(7, "b").random(20)
    stream(7, "a").random(1000)
    assert np.array_equal(stream(7, "b").random(20), alone)


def test_streams_are_uncorrelated():
    # 200 streams of 2000 numbers: 19900 correlations, each about N(0, 1/2000).
    # False-alarm rate: 19900 * P(|z| > 6.6) < 1e-6.
    values = np.stack([stream(3, "column", k).random(2000) for k in range(200)])
    correlation = np.corrcoef(values)[np.triu_indices(200, 1)]
    assert np.abs(correlation).max() * np.sqrt(2000) < 6.6


def test_neighbouring_seeds_are_uncorrelated():
    # 4950 correlations; false-alarm rate: 4950 * P(|z| > 6.4) < 1e-6.
    values = np.stack([stream(seed, "loop").random(2000) for seed in range(100)])
    correlation = np.corrcoef(values)[np.triu_indices(100, 1)]
    assert np.abs(correlation).max() * np.sqrt(2000) < 6.4


def test_numpy_labels_and_seeds_are_the_same_as_pythons():
    by_numpy = stream(np.int64(4), np.int64(3), np.str_("x")).random(5)
    assert np.array_equal(by_numpy, stream(4, 3, "x").random(5))


@pytest.mark.parametrize("seed", [-1, 1.5, "1", None, True, np.nan])
def test_a_seed_is_a_whole_number_from_zero_up(seed):
    with pytest.raises(ValueError, match="the seed must be a whole number from 0 up, not"):
        stream(seed, "a")
