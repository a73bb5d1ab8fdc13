r"""Schedules: the share of real data and the sample size of every round.

Both come from one family, :math:`c\,t^{p}\,\log(t+1)^{q}`, or from an explicit
sequence. Rounds count from 1. Round 1 sees real data only, so every share is 1
there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import reduce
from typing import NamedTuple, Self

import numpy as np

from stlcore.checks import check_count, check_number, check_share

__all__ = ["Growth", "Share", "Size", "as_share", "as_size"]


class Growth(NamedTuple):
    r"""Leading order of a schedule: :math:`c\,t^{p}\,(\log t)^{q}`."""

    scale: float
    power: float
    log_power: float

    def plus(self, other: Growth) -> Growth:
        """Leading order of the sum: the faster of the two, or both where they grow alike."""
        if self.scale == 0 or other.scale == 0:
            return other if self.scale == 0 else self
        if self[1:] == other[1:]:
            return Growth(self.scale + other.scale, *self[1:])
        return max(self, other, key=lambda growth: growth[1:])

    def over(self, other: Growth) -> Growth:
        """Leading order of the quotient."""
        return Growth(
            self.scale / other.scale,
            self.power - other.power,
            self.log_power - other.log_power,
        )


@dataclass(frozen=True)
class _Schedule:
    """``scale * t**power * log(t + 1)**log_power``, or ``sequence`` where given."""

    scale: float = 1.0
    power_: float = 0.0
    log_power: float = 0.0
    sequence: tuple[float, ...] | None = None

    def curve(self, rounds: int) -> np.ndarray:
        """The formula at t = 1, ..., rounds, before what makes a share or a size of it."""
        rounds = check_count("rounds", rounds)
        if self.sequence is not None:
            if rounds > len(self.sequence):
                raise ValueError(
                    f"the schedule gives {len(self.sequence)} rounds, but {rounds} are asked for"
                )
            return np.array(self.sequence[:rounds], dtype=float)
        t = np.arange(1, rounds + 1, dtype=float)
        # Too large or 0 times infinity: `values` says so in words.
        with np.errstate(over="ignore", invalid="ignore"):
            return self.scale * t**self.power_ * np.log(t + 1) ** self.log_power

    @property
    def growth(self) -> Growth:
        """Leading order as t grows; an explicit sequence has none (ValueError)."""
        if self.sequence is not None:
            raise ValueError("an explicit sequence ends, so it has no limit to speak of")
        return Growth(self.scale, self.power_, self.log_power)

    def _latex_value(self) -> str:
        if self.sequence is not None:
            head = ", ".join(f"{value:g}" for value in self.sequence[:4])
            return f"({head})" if len(self.sequence) <= 4 else rf"({head}, \ldots)"
        above = [_latex_factor("t", self.power_), _latex_factor(r"\log(t+1)", self.log_power)]
        below = [_latex_factor("t", -self.power_), _latex_factor(r"\log(t+1)", -self.log_power)]
        scale = f"{self.scale:g}"
        numerator = r"\,".join(filter(None, [scale if self.scale != 1 else "", *above])) or scale
        denominator = r"\,".join(filter(None, below))
        if all(below):
            denominator = f"({denominator})"
        return f"{numerator}/{denominator}" if denominator else numerator

    def _repr_latex_(self) -> str:
        return f"${self.latex}$"

    def __str__(self) -> str:
        return self.latex


def _latex_factor(base: str, power: float) -> str:
    """``base ** power`` for a positive power, an empty string otherwise."""
    if power <= 0:
        return ""
    if power == 0.5:
        return rf"\sqrt{{{base}}}"
    exponent = Fraction(power).limit_denominator(100)
    label = str(exponent) if math.isclose(exponent, power) else f"{power:g}"
    if power == 1:
        return base
    return f"{base}^{{{label}}}" if base == "t" else rf"(\log (t+1))^{{{label}}}"


@dataclass(frozen=True)
class Share(_Schedule):
    r"""Share :math:`\alpha_t` of fresh real data in round t; 1 in round 1.

    Make one by :meth:`fixed`, :meth:`power`, :meth:`log`, :meth:`of` or :meth:`explicit`.

    Examples
    --------
    >>> Share.power(0.5).values(4).round(3)
    array([1.   , 0.707, 0.577, 0.5  ])
    """

    def __post_init__(self) -> None:
        if self.sequence is not None:
            values = np.array(self.sequence)
            if len(values) and values[0] != 1:
                raise ValueError(
                    f"round 1 has real data only, so its share must be 1, not {values[0]:g}"
                )
            values = values[1:]
        elif self.power_ > 0 or (self.power_ == 0 and self.log_power > 0):
            raise ValueError("a share must not grow with the rounds")
        else:
            # Round 2 is the first that uses the formula; `values` checks the others.
            values = self.curve(2)[1:]
        check_share(values, "a share")

    @classmethod
    def fixed(cls, share: float) -> Self:
        r""":math:`\alpha_t=` ``share`` for every t from 2 on."""
        return cls(scale=check_number("the share", share))

    @classmethod
    def power(cls, exponent: float, scale: float = 1.0) -> Self:
        r""":math:`\alpha_t=` ``scale`` :math:`/\,t^{p}` with p the ``exponent``."""
        exponent = check_number("the exponent", exponent)
        return cls(scale=check_number("the scale", scale), power_=-exponent)

    @classmethod
    def log(cls, exponent: float = 1.0, power: float = 0.0, scale: float = 1.0) -> Self:
        r""":math:`\alpha_t=` ``scale`` :math:`/\,(t^{p}\log(t+1)^{q})`, q the ``exponent``."""
        exponent = check_number("the exponent", exponent)
        power = check_number("the power", power)
        return cls(scale=check_number("the scale", scale), power_=-power, log_power=-exponent)

    @classmethod
    def explicit(cls, shares: Sequence[float]) -> Self:
        r"""The sequence :math:`\alpha_1,\alpha_2,\ldots`; the first must be 1."""
        sequence = tuple(check_number("a share", share) for share in shares)
        if not sequence:
            raise ValueError("the sequence of shares is empty")
        return cls(sequence=sequence)

    @classmethod
    def of(cls, real: Size | int | None, synthetic: Size | int | None) -> Share:
        r"""Share :math:`r_t/(r_t+s_t)` of r_t real among s_t synthetic items; None for none.

        The round then has ``Size.total(real, synthetic)`` items.

        Examples
        --------
        >>> Share.of(50, Size.power(100, 1)).values(3).round(3)
        array([1.   , 0.2  , 0.143])
        """
        return _ShareOf(real=_optional_size(real), synthetic=_optional_size(synthetic))

    def bound(self, rounds: int) -> Growth:
        """A growth that the share does not exceed after that many rounds."""
        return self.growth

    def values(self, rounds: int) -> np.ndarray:
        r"""Shares :math:`\alpha_1,\ldots,\alpha_T` as floats, shape ``(rounds,)``."""
        shares = self.curve(rounds)
        shares[0] = 1.0
        check_share(shares, "a share")
        return shares

    @property
    def latex(self) -> str:
        """The schedule as maths, without the dollar signs."""
        return rf"\alpha_t = {self._latex_value()}"


@dataclass(frozen=True)
class Size(_Schedule):
    r"""Sample size :math:`n_t` of round t, a whole number from 1 up.

    Make one by :meth:`fixed`, :meth:`power`, :meth:`log`, :meth:`total` or :meth:`explicit`.
    Values that are not whole are rounded up.

    Examples
    --------
    >>> Size.power(100, 1).values(4)
    array([100, 200, 300, 400])
    """

    def __post_init__(self) -> None:
        values = np.array([self.scale] if self.sequence is None else self.sequence)
        bad = values[~(values >= 1)]
        if bad.size:
            raise ValueError(f"a sample size must be at least 1, not {bad[0]:g}")
        if self.sequence is None and (self.power_ < 0 or (self.power_ == 0 and self.log_power < 0)):
            raise ValueError("a sample size must not shrink to 0 with the rounds")

    @classmethod
    def fixed(cls, size: int) -> Self:
        """:math:`n_t=n` in every round."""
        return cls(scale=check_count("the sample size", size))

    @classmethod
    def power(cls, size: int, exponent: float) -> Self:
        r""":math:`n_t=\lceil n\,t^{p}\rceil`, p the ``exponent``."""
        size = check_count("the sample size", size)
        return cls(scale=size, power_=check_number("the exponent", exponent))

    @classmethod
    def log(cls, size: int, power: float = 1.0, exponent: float = 1.0) -> Self:
        r""":math:`n_t=\lceil n\,t^{p}\log(t+1)^{q}\rceil`, q the ``exponent``."""
        size = check_count("the sample size", size)
        power = check_number("the power", power)
        return cls(scale=size, power_=power, log_power=check_number("the exponent", exponent))

    @classmethod
    def explicit(cls, sizes: Sequence[int]) -> Self:
        r"""The sequence :math:`n_1,n_2,\ldots`."""
        sequence = tuple(float(check_count("a sample size", size)) for size in sizes)
        if not sequence:
            raise ValueError("the sequence of sample sizes is empty")
        return cls(sequence=sequence)

    @classmethod
    def total(cls, *parts: Size | int | None) -> Size:
        """The sum of several sizes, each of them rounded up; None for no items.

        Examples
        --------
        >>> Size.total(50, Size.power(100, 1)).values(3)
        array([150, 250, 350])
        """
        return _SizeTotal(parts=tuple(as_size(part) for part in parts if part is not None))

    def counts(self, rounds: int) -> np.ndarray:
        """The sizes as whole floats, also where they are too large to draw."""
        # The small shift keeps 29.000000000000004 at 29.
        return np.maximum(np.ceil(self.curve(rounds) * (1 - 1e-12)), 1)

    def values(self, rounds: int) -> np.ndarray:
        r"""Sizes :math:`n_1,\ldots,n_T` as integers, shape ``(rounds,)``."""
        sizes = self.counts(rounds)
        if not np.all(sizes <= 2**62):
            large = 1 + int(np.argmin(sizes <= 2**62))
            raise ValueError(f"the sample size of round {large} is too large to draw")
        return sizes.astype(np.int64)

    @property
    def latex(self) -> str:
        """The schedule as maths, without the dollar signs."""
        return f"n_t = {self._latex_value()}"


@dataclass(frozen=True)
class _SizeTotal(Size):
    parts: tuple[Size, ...] = ()

    def __post_init__(self) -> None:
        if not self.parts:
            raise ValueError("a total needs at least one size")

    def curve(self, rounds: int) -> np.ndarray:
        return np.sum([part.counts(rounds) for part in self.parts], axis=0)

    @property
    def growth(self) -> Growth:
        return reduce(Growth.plus, (part.growth for part in self.parts))

    def _latex_value(self) -> str:
        return " + ".join(part._latex_value() for part in self.parts)


@dataclass(frozen=True)
class _ShareOf(Share):
    real: Size | None = None
    synthetic: Size | None = None

    def __post_init__(self) -> None:
        Size.total(self.real, self.synthetic)  # there must be items

    def curve(self, rounds: int) -> np.ndarray:
        total = Size.total(self.real, self.synthetic).counts(rounds)
        return self.real.counts(rounds) / total if self.real else np.zeros(len(total))

    @property
    def growth(self) -> Growth:
        if self.real is None:
            return Growth(0.0, 0.0, 0.0)
        return self.real.growth.over(Size.total(self.real, self.synthetic).growth)

    def bound(self, rounds: int) -> Growth:
        # Rounding up makes of r at most r + 1 real items.
        slack = 1 + 1 / max(self.real.counts(rounds)[-1] - 1, 1) if self.real else 1
        return self.growth._replace(scale=self.growth.scale * slack)

    def _latex_value(self) -> str:
        if self.real is None or self.synthetic is None:
            return "1" if self.real else "0"
        real, synthetic = self.real._latex_value(), self.synthetic._latex_value()
        return f"{real}/({real} + {synthetic})"


def _optional_size(size: Size | int | None) -> Size | None:
    return None if size is None else as_size(size)


def as_share(share: Share | float) -> Share:
    """A :class:`Share` as it is; a number as a fixed one."""
    return share if isinstance(share, Share) else Share.fixed(share)


def as_size(size: Size | int) -> Size:
    """A :class:`Size` as it is; a whole number as a fixed one."""
    return size if isinstance(size, Size) else Size.fixed(size)
