"""Shares and sample sizes of every round."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from matplotlib.mathtext import MathTextParser

from stlcore.schedules import Growth, Share, Size, as_share, as_size, check_count

finite = st.floats(allow_nan=False, allow_infinity=False)
exponents = st.one_of(st.floats(0, 5), st.sampled_from([0.0, 0.5, 1.0, 1 / 3, 2.0, 1e-5]))
rounds = st.integers(1, 300)


@st.composite
def endless_sizes(draw):
    """A size given by a formula."""
    size = draw(st.integers(1, 10**6))
    kind = draw(st.sampled_from(["fixed", "power", "log"]))
    if kind == "fixed":
        return Size.fixed(size)
    if kind == "power":
        return Size.power(size, draw(exponents))
    power, exponent = draw(exponents), draw(st.floats(-3, 5))
    assume(power > 0 or exponent >= 0)
    return Size.log(size, power, exponent)


@st.composite
def shares(draw):
    """A share from every constructor, with parameters that may or may not be allowed."""
    kind = draw(st.sampled_from(["fixed", "power", "log", "of", "explicit"]))
    try:
        if kind == "fixed":
            return Share.fixed(draw(st.floats(0, 1)))
        if kind == "power":
            return Share.power(draw(exponents), draw(st.floats(0, 3)))
        if kind == "log":
            # A negative exponent of the logarithm is allowed where the power outweighs it.
            return Share.log(draw(st.floats(-3, 5)), draw(exponents), draw(st.floats(0, 3)))
        if kind == "of":
            part = st.one_of(st.none(), st.integers(1, 1000), endless_sizes())
            return Share.of(draw(part), draw(part))
        return Share.explicit([1, *draw(st.lists(st.floats(0, 1), max_size=20))])
    except ValueError:
        assume(False)


@st.composite
def sizes(draw):
    """A size from every constructor."""
    kind = draw(st.sampled_from(["formula", "total", "explicit"]))
    if kind == "formula":
        return draw(endless_sizes())
    if kind == "total":
        return Size.total(*draw(st.lists(endless_sizes(), min_size=1, max_size=3)))
    return Size.explicit(draw(st.lists(st.integers(1, 10**9), min_size=1, max_size=20)))


def length(schedule, wanted: int) -> int:
    return wanted if schedule.sequence is None else min(wanted, len(schedule.sequence))


@given(shares(), rounds)
def test_shares_are_shares(share, rounds):
    rounds = length(share, rounds)
    if share.log_power > 0 and share.curve(rounds)[1:].max(initial=0) > 1:
        # the logarithm lifts it above 1 in a later round, which only `values` can see
        with pytest.raises(ValueError, match=r"a share must lie in \[0, 1\]"):
            share.values(rounds)
        return
    values = share.values(rounds)
    assert values.shape == (rounds,)
    assert values[0] == 1
    assert np.all((values >= 0) & (values <= 1))


@given(sizes(), rounds)
def test_sizes_are_whole_numbers_from_one_up(size, rounds):
    rounds = length(size, rounds)
    values = size.values(rounds)
    assert values.shape == (rounds,)
    assert values.dtype == np.int64
    assert np.all(values >= 1)


@given(shares(), rounds)
def test_a_longer_run_begins_like_a_shorter_one(share, rounds):
    rounds = length(share, rounds)
    try:
        values = share.values(rounds)
    except ValueError:
        assume(False)
    assert np.array_equal(share.values(1 + rounds // 2)[: rounds // 2], values[: rounds // 2])


@given(st.one_of(shares(), sizes()))
def test_every_schedule_prints_as_maths(schedule):
    text = schedule._repr_latex_()
    assert text == f"${schedule.latex}$"
    MathTextParser("path").parse(text)


@given(st.one_of(shares(), sizes()), st.integers(2, 200))
def test_the_printed_formula_is_the_schedule(schedule, t):
    """Evaluate the LaTeX itself and compare (to the six digits that are printed)."""
    assume(type(schedule) in (Share, Size) and schedule.sequence is None)
    assume(abs(math.log(max(schedule.scale, 1e-300))) < 50)
    expected = schedule.curve(t)[-1]
    printed = _evaluate(schedule.latex.split("=")[1], t)
    # an exponent printed as a fraction or to 6 digits is off by 1e-5 of itself at the most
    slack = 1e-5 * (1 + abs(schedule.power_) + abs(schedule.log_power)) * (1 + math.log(t))
    assert printed == pytest.approx(expected, rel=slack)


def _evaluate(latex: str, t: int) -> float:
    python = (
        latex.replace(r"\log(t+1)", "L")
        .replace(r"\log (t+1)", "L")
        .replace(r"\sqrt{", "sqrt(")
        .replace("^{", "**(")
        .replace("}", ")")
        .replace(r"\,", "*")
    )
    return eval(python, {"t": t, "L": math.log(t + 1), "sqrt": math.sqrt})


@pytest.mark.parametrize(
    ("schedule", "latex"),
    [
        (Share.fixed(0.1), r"\alpha_t = 0.1"),
        (Share.power(0.5), r"\alpha_t = 1/\sqrt{t}"),
        (Share.power(1), r"\alpha_t = 1/t"),
        (Share.power(2, 0.5), r"\alpha_t = 0.5/t^{2}"),
        (Share.log(1, power=1), r"\alpha_t = 1/(t\,\log(t+1))"),
        (Share.explicit([1, 0.3, 0.1, 0.6]), r"\alpha_t = (1, 0.3, 0.1, 0.6)"),
        (Size.fixed(100), "n_t = 100"),
        (Size.power(100, 1), r"n_t = 100\,t"),
        (Size.power(1, 1.5), "n_t = t^{3/2}"),
        (Size.log(100), r"n_t = 100\,t\,\log(t+1)"),
        (Size.explicit([4, 3, 6, 5, 9]), r"n_t = (4, 3, 6, 5, \ldots)"),
    ],
)
def test_latex(schedule, latex):
    assert schedule.latex == latex
    assert str(schedule) == latex


def test_values():
    assert Share.fixed(0.1).values(3).tolist() == [1, 0.1, 0.1]
    assert Share.power(1, 2).values(4).tolist() == [1, 1, 2 / 3, 0.5]
    expected = [1, 1 / np.log(3), 1 / np.log(4)]
    # 1 / log 3 = 0.91 lies below 1
    assert Share.log().values(3) == pytest.approx(expected)
    assert Size.power(7, 2).values(4).tolist() == [7, 28, 63, 112]
    assert Size.log(100, power=0).values(2).tolist() == [70, 110]  # 69.3 and 109.9, rounded up
    assert Size.explicit([4, 3, 6]).values(2).tolist() == [4, 3]


def test_rounding_does_not_add_an_item():
    # In floats 8**(5/3) is 32.00000000000001 and 1024**1.1 is 2048.0000000000014.
    assert Size.power(1, 5 / 3).values(8)[-1] == 32
    assert Size.power(1, 1.1).values(1024)[-1] == 2048
    assert Size.power(1, 5 / 3).values(9)[-1] == math.ceil(9 ** (5 / 3))
    squares = np.arange(1, 60) ** 2
    assert np.array_equal(Size.power(29, 0.5).values(3600)[squares - 1], 29 * np.arange(1, 60))
    cubes = np.arange(1, 30) ** 3
    assert np.array_equal(Size.power(7, 1 / 3).values(27000)[cubes - 1], 7 * np.arange(1, 30))
    assert np.array_equal(Size.power(13, 3).values(2000), 13 * np.arange(1, 2001) ** 3)


def test_volumes_are_shares_and_totals():
    real, synthetic = Size.power(50, 0.5), Size.log(100)
    counts = real.values(30), synthetic.values(30)
    assert np.array_equal(Size.total(real, synthetic).values(30), sum(counts))
    shares = Share.of(real, synthetic).values(30)
    assert shares[0] == 1
    assert shares[1:] == pytest.approx((counts[0] / sum(counts))[1:])
    assert np.array_equal(Share.of(3, None).values(4), [1, 1, 1, 1])
    assert np.array_equal(Share.of(None, 3).values(4), [1, 0, 0, 0])
    assert Size.total(7, None).values(2).tolist() == [7, 7]
    assert Share.of(50, Size.power(100, 1)).latex == r"\alpha_t = 50/(50 + 100\,t)"
    assert Size.total(50, Size.power(100, 1)).latex == r"n_t = 50 + 100\,t"
    for nothing in (lambda: Size.total(None), lambda: Share.of(None, None)):
        with pytest.raises(ValueError, match="a total needs at least one size"):
            nothing()


powers = st.builds(Size.power, st.integers(10, 1000), st.sampled_from([0, 0.5, 1, 1.5, 2]))


@given(powers, powers)
@settings(max_examples=20)
def test_growth_of_volumes(real, synthetic):
    """The leading orders describe what the formulas do far out."""
    t = 10**6
    for schedule in (Size.total(real, synthetic), Share.of(real, synthetic)):
        scale, power, log_power = schedule.growth
        assert log_power == 0
        # what is left out is at least a factor 1000 / 100 smaller, or of the order of rounding
        assert schedule.curve(t)[-1] == pytest.approx(scale * t**power, rel=0.11)


@given(powers, powers)
def test_the_bound_of_a_share_is_one(real, synthetic):
    share = Share.of(real, synthetic)
    bound = share.bound(1000)
    t = np.arange(1000, 3001)
    limit = bound.scale * t**bound.power * np.log(t + 1.0) ** bound.log_power
    assert np.all(share.values(3000)[999:] <= limit * (1 + 1e-12))


def test_growth():
    assert Share.power(0.5, 0.3).growth == Growth(0.3, -0.5, 0)
    assert Share.log(2, power=1).growth == Growth(1, -1, -2)
    assert Size.log(100).growth == Growth(100, 1, 1)
    for schedule in (Share.explicit([1, 0.5]), Size.explicit([4, 3])):
        with pytest.raises(ValueError, match="an explicit sequence ends"):
            _ = schedule.growth


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Share.fixed(1.2), r"a share must lie in \[0, 1\], not 1.2"),
        (lambda: Share.fixed(-0.1), r"a share must lie in \[0, 1\], not -0.1"),
        (lambda: Share.fixed("0.1"), "the share must be a finite number, not '0.1'"),
        (lambda: Share.fixed(True), "the share must be a finite number, not True"),
        (lambda: Share.fixed(math.nan), "the share must be a finite number, not nan"),
        (lambda: Share.power(math.inf), "the exponent must be a finite number, not inf"),
        (lambda: Share.power(-1), "a share must not grow with the rounds"),
        (lambda: Share.log(-1), "a share must not grow with the rounds"),
        (lambda: Share.power(1, 3), r"a share must lie in \[0, 1\], not 1.5"),
        (lambda: Share.log(-1e5, power=1), r"a share must lie in \[0, 1\], not inf"),
        (lambda: Share.explicit([]), "the sequence of shares is empty"),
        (lambda: Share.explicit([0.5, 0.5]), "its share must be 1, not 0.5"),
        (lambda: Share.explicit([1, 2]), r"a share must lie in \[0, 1\], not 2"),
        (lambda: Size.fixed(0), "the sample size must be a whole number from 1 up, not 0"),
        (lambda: Size.fixed(-5), "the sample size must be a whole number from 1 up, not -5"),
        (lambda: Size.fixed(10.0), "the sample size must be a whole number from 1 up, not 10.0"),
        (lambda: Size.fixed(True), "the sample size must be a whole number from 1 up, not True"),
        (lambda: Size.power(10, -1), "a sample size must not shrink to 0"),
        (lambda: Size.log(10, 0, -1), "a sample size must not shrink to 0"),
        (lambda: Size.explicit([]), "the sequence of sample sizes is empty"),
        (lambda: Size.explicit([3, 0]), "a sample size must be a whole number from 1 up, not 0"),
    ],
)
def test_wrong_parameters(make, message):
    with pytest.raises(ValueError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_a_sequence_that_is_too_short():
    with pytest.raises(ValueError, match="the schedule gives 2 rounds, but 3 are asked for"):
        Share.explicit([1, 0.5]).values(3)
    with pytest.raises(ValueError, match="the schedule gives 1 rounds, but 5 are asked for"):
        Size.explicit([4]).values(5)


@pytest.mark.parametrize("rounds", [0, -3, 1.5, True, "4"])
def test_rounds_must_be_a_count(rounds):
    with pytest.raises(ValueError, match="rounds must be a whole number from 1 up, not"):
        Share.fixed(0.5).values(rounds)


@pytest.mark.parametrize(
    ("size", "at"),
    [
        (Size.power(1, 31), 5),  # 4**31 = 2**62 is the last
        (Size.power(1, 1000), 2),
        (Size.log(1, 1000, -1000), 1),  # (log 2)**-1000 in round 1, infinity times 0 later
        (Size.power(2**62, 0.1), 2),
    ],
)
def test_sizes_that_cannot_be_drawn(size, at):
    with pytest.raises(ValueError, match=f"the sample size of round {at} is too large to draw"):
        size.values(60)
    if at > 1:
        assert size.values(at - 1)[-1] <= 2**62


def test_schedules_are_values():
    assert Share.power(1) == Share.power(1.0)
    assert len({Size.fixed(3), Size.fixed(3), Size.fixed(4)}) == 2
    with pytest.raises(AttributeError):
        Share.fixed(0.5).scale = 0.1


def test_numbers_stand_for_fixed_schedules():
    share, size = Share.power(1), Size.power(3, 1)
    assert as_share(share) is share
    assert as_size(size) is size
    assert as_share(0.3) == Share.fixed(0.3)
    assert as_size(np.int64(3)) == Size.fixed(3)
    with pytest.raises(ValueError, match="the sample size must be a whole number"):
        as_size(2.5)


def test_check_count():
    assert check_count("n", np.int32(3)) == 3
    assert type(check_count("n", np.int32(3))) is int
    for wrong in (0, 2.0, None, True):
        with pytest.raises(ValueError, match="n must be a whole number from 1 up, not"):
            check_count("n", wrong)
