"""What is drawn of a curve of many rounds."""

import numpy as np
import pytest

from stlcore.pages.long_curves import rounds_to_draw


@pytest.mark.parametrize("last", [1, 2, 9, 1000, 20_000])
def test_rounds_go_from_the_first_to_the_last_and_are_whole(last):
    rounds = rounds_to_draw(last)
    assert rounds[0] == 1
    assert rounds[-1] == last
    assert rounds.dtype.kind == "i"
    assert (np.diff(rounds) > 0).all()


def test_a_straight_line_between_two_rounds_hides_nothing_that_the_eye_could_see():
    """No gap on the axis is wider than two steps of the spacing; a smooth curve keeps its form."""
    rounds = rounds_to_draw(20_000)
    assert np.diff(np.log10(rounds[rounds > 30])).max() < 2 / 60
    assert (np.diff(rounds[rounds <= 20]) == 1).all()
    every = np.arange(1, 20_001)
    curve = np.cumsum(1 / every) / every
    seen = np.interp(np.log(every), np.log(rounds), np.log(curve[rounds - 1]))
    assert np.abs(seen - np.log(curve)).max() < 1e-3


def test_without_a_round_nothing_can_be_drawn():
    with pytest.raises(ValueError, match="at least 1"):
        rounds_to_draw(0)
