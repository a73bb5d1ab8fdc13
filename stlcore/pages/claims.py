"""Claims: what a page asserts, what would refute it, and what came out.

A page collects its claims in a :class:`Claims`. Each compares a measured number
with an expected one, found in another way. A *negative control* repeats the very
check of a claim on a mutation of its statement and must be refuted; without one,
a check that can never fail would go unnoticed. :meth:`Claims.close` raises when a
verdict differs from the one the page expects.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from stlcore.pages.claim import MARKS, OPEN, REFUTED, REPRODUCED, Check, Claim, Mark, Relation
from stlcore.pages.claims_table import table
from stlcore.pages.sources import find_source

__all__ = ["Claim", "ClaimError", "Claims"]

#: Relative changes of the expected side that a comparison of numbers is tried on.
CHANGES = 10.0 ** np.arange(-12, 1)


class ClaimError(AssertionError):
    """A claim came out otherwise than its page expects."""


class Claims:
    """The claims of one page.

    Parameters
    ----------
    page : str
        The page's id, for example ``"C-02"``.
    """

    def __init__(self, page: str) -> None:
        self.page = page
        self.rows: list[Claim] = []
        self._checks: dict[str, Check] = {}

    def check(
        self,
        sentence: str,
        measured,
        relation: Relation,
        expected,
        *,
        mark: Mark,
        key: str | None = None,
        source: str = "",
        tolerance: float = 0.0,
        false_alarm: float = 0.0,
        expect: str = REPRODUCED,
    ) -> Claim:
        """Compare two numbers, or two arrays entry by entry, and record.

        Parameters
        ----------
        sentence : str
            The claim in words. A claim with the same words is replaced, so that a cell of a
            notebook can be run again.
        measured, expected : float or array_like
            Found in two ways. For arrays the entry that fits worst counts and is recorded.
        relation : {"==", "<=", ">="}
            How they should compare.
        mark : {"paper", "reconstructed", "derived", "choice", "observed"}
            Whose statement it is, see :class:`~stlcore.pages.claim.Claim`.
        key : str, optional
            The entry of ``book/sources.yml``; ``paper`` and ``reconstructed`` need one.
        source : str
            Where the statement stands, where there is no key.
        tolerance : float
            Slack of the comparison, of numerical origin or stated in the sentence.
        false_alarm : float
            Probability that chance refutes the claim although it is true; its derivation
            belongs beside the call.
        expect : str
            The verdict the page expects; "not reproduced" for a statement that
            the page shows to fail.

        Raises
        ------
        ValueError
            If nothing was measured, both sides are one array, a probability is outside [0, 1),
            or the mark does not go with the key.
        """
        if _same_array(measured, expected):
            raise ValueError("the two sides of a claim are the same array, so it cannot fail")
        check = Check(measured, relation, expected, float(tolerance))
        claim = self._record(
            check, sentence, mark, key, source, expect=expect, false_alarm=float(false_alarm)
        )
        if relation == "==" and check.holds and np.any(check.expected):
            claim = self.power(claim, {f"a change by {c:g}": _scaled(check, c) for c in CHANGES})
        return claim

    def test(
        self,
        sentence: str,
        p_value: Callable[[Any], Any],
        statement: Any,
        *,
        level: float,
        mark: Mark,
        key: str | None = None,
        source: str = "",
        expect: str = REPRODUCED,
    ) -> Claim:
        """Record that a statistical test does not refute a statement at ``level``.

        Parameters
        ----------
        p_value : callable
            Takes the statement, for example the exact means, to its p-value, or to a
            :class:`~stlcore.metrics.distances.Deviation`. The data, the resamples and their
            random stream belong to it, so that a control meets the same test.
        statement : Any
            What the sentence says.
        level : float
            The claim is refuted by a smaller p-value. It is the false-alarm rate too, unless
            the test says that it keeps its level only roughly.
        sentence, mark, key, source, expect
            As in :meth:`check`.
        """
        found = p_value(statement)
        check = Check(_p(found), ">=", level, p_value=p_value, statement=statement)
        rate = level * getattr(found, "inflation", 1.0)
        return self._record(
            check, sentence, mark, key, source, expect=expect, false_alarm=rate, kind="test"
        )

    def effect(
        self,
        sentence: str,
        z,
        *,
        level: float,
        mark: Mark,
        key: str | None = None,
        source: str = "",
        expect: str = REPRODUCED,
        decisive: bool = True,
    ) -> Claim:
        """Record an effect of the stated direction, tested two-sidedly.

        Parameters
        ----------
        z : float or array_like
            Standardised effects, positive in the direction of the sentence; of
            several, all must hold, so the smallest counts.
        level : float
            Probability, for each of them, that chance alone reaches the critical
            value on one side. The false-alarm rate is the level times their number.
        sentence, mark, key, source, expect
            As in :meth:`check`.
        decisive : bool
            Whether the page's own sizes should settle it; False where they may not.

        Notes
        -----
        Beyond the critical value the verdict is "reproduced", beyond it on the
        other side "not reproduced". In between the sample is too small to tell:
        "not testable here", which does not fail a page that a reader runs at
        smaller sizes.
        """
        from scipy.special import ndtri  # slow to import, and few pages need it

        check = Check(z, ">=", float(-ndtri(level)))
        rate = level * check.measured.size
        claim = self._record(
            check, sentence, mark, key, source, expect=expect, false_alarm=rate, kind="effect"
        )
        small = abs(claim.measured) < claim.expected
        return self._replace(
            claim,
            decisive=decisive,
            **({"verdict": OPEN, "surprising": False} if small else {}),
        )

    def control(
        self, claim: Claim, sentence: str, *, measured=None, expected=None, statement=None
    ) -> Claim:
        """Record a negative control: the check of a claim on a mutation of its statement.

        Relation, tolerance, level, data and resamples are those of the claim. The control is
        judged by its least wrong entry, among those that the mutation changes: all of them
        must be refuted, or the page fails.

        Parameters
        ----------
        claim : Claim
            What :meth:`check`, :meth:`test` or :meth:`effect` returned.
        sentence : str
            The wrong statement in words.
        measured, expected : float or array_like, optional
            The side that is wrong, in place of the claim's own.
        statement : Any, optional
            Of a statistical test, the wrong statement.

        Notes
        -----
        A mutation that coincides with the truth at a reader's parameters, a power of a share
        of 0 say, is left out, and the row says so.
        """
        check = self._checks[claim.id]
        if (statement is None) == (measured is None and expected is None):
            raise ValueError("a control needs the side that is wrong, or a test's wrong statement")
        if (statement is None) != (check.p_value is None):
            raise ValueError("a test's control has a statement, a comparison's one of its sides")
        wrong = self._mutated(check, measured, expected, statement)
        common = {"control_of": claim.id, "expect": REFUTED, "kind": claim.kind}
        if wrong is None:
            sentence = f"{sentence} (at these parameters this is no different, so it is left out)"
            return self._open(sentence, claim.mark, claim.key, claim.source, control_of=claim.id)
        return self._record(wrong, sentence, claim.mark, claim.key, claim.source, **common)

    def power(self, claim: Claim, mutations: Mapping[str, Any]) -> Claim:
        """Record the first of some mutations, from small to large, that a claim's check rejects.

        Parameters
        ----------
        claim : Claim
            What :meth:`check`, :meth:`test` or :meth:`effect` returned.
        mutations : mapping
            Words, such as ``"a factor of 1.1"``, and the expected side or the statement
            with that mutation.
        """
        check = self._checks[claim.id]
        side = "statement" if check.p_value else "expected"
        for words, mutation in mutations.items():
            wrong = self._mutated(check, **{side: mutation})
            if wrong is not None and not wrong.holds:
                return self._replace(claim, power=words)
        return self._replace(claim, power=f"none up to {[*mutations][-1]}")

    def not_testable(
        self, sentence: str, reason: str, *, mark: Mark, key: str | None = None, source: str = ""
    ) -> Claim:
        """Record a statement that this page cannot test, and why."""
        found = find_source(mark, key)
        return self._open(f"{sentence} ({reason})", mark, key, source or str(found or ""))

    def close(self) -> None:
        """Raise :class:`ClaimError` if a verdict surprises or no control is there."""
        surprises = [row for row in self.rows if row.surprising]
        if surprises:
            raise ClaimError(
                "; ".join(
                    f"{row.id} came out '{row.verdict}': {row.sentence} "
                    f"[measured {row.measured:.6g}, expected {row.relation} {row.expected:.6g}]"
                    for row in surprises
                )
            )
        if not any(row.control_of for row in self.rows):
            raise ClaimError(f"{self.page} has no negative control")

    def to_records(self) -> list[dict]:
        """The rows as dictionaries for JSON, infinite and missing numbers as None."""
        return [
            {
                name: None if isinstance(value, float) and not math.isfinite(value) else value
                for name, value in asdict(row).items()
            }
            for row in self.rows
        ]

    def _repr_html_(self) -> str:
        return table(self.to_records())

    def __repr__(self) -> str:
        return "\n".join(f"{row.id}  {row.verdict}: {row.sentence}" for row in self.rows)

    @staticmethod
    def _mutated(check: Check, measured=None, expected=None, statement=None) -> Check | None:
        """The check with a side or its statement replaced, where that makes a difference."""
        if check.p_value is not None:
            if _equal(statement, check.statement):
                return None
            wrong = _p(check.p_value(statement))
            return replace(check, measured=wrong, statement=statement)
        wrong = replace(
            check,
            measured=check.measured if measured is None else measured,
            expected=check.expected if expected is None else expected,
        )
        before = np.broadcast_shapes(check.measured.shape, check.expected.shape)
        if np.broadcast_shapes(wrong.measured.shape, wrong.expected.shape) != before:
            return wrong
        changed = _differ(wrong.measured, check.measured) | _differ(wrong.expected, check.expected)
        return wrong.where(np.broadcast_to(changed, before)) if changed.any() else None

    def _record(
        self,
        check,
        sentence,
        mark,
        key,
        source,
        *,
        expect,
        false_alarm=0.0,
        control_of=None,
        kind="check",
    ) -> Claim:
        """Compare, and put the row in place."""
        if mark not in MARKS:
            raise ValueError(f"the mark must be one of {', '.join(MARKS)}, not {mark!r}")
        if not 0 <= false_alarm < 1:
            raise ValueError(f"a false-alarm rate must lie in [0, 1), not {false_alarm!r}")
        found = find_source(mark, key)
        # A control must fail everywhere, so there the entry that fits best decides.
        measured, expected = check.entry(worst=control_of is None)
        decided = replace(check, measured=measured, expected=expected)
        verdict = REPRODUCED if decided.holds else REFUTED
        row = Claim(
            *self._place(sentence, control_of),
            mark,
            key,
            source or str(found or ""),
            sentence,
            measured,
            check.relation,
            expected,
            check.tolerance,
            false_alarm,
            verdict,
            control_of,
            # A check that yields no number has failed, even where a refutation is expected.
            surprising=verdict != expect or math.isnan(measured) or math.isnan(expected),
            kind=kind,
        )
        self._checks[row.id] = check
        return self._put(row)

    def _open(self, sentence, mark, key, source, control_of=None) -> Claim:
        """Put a row in place that compares nothing."""
        place = self._place(sentence, control_of)
        return self._put(
            Claim(*place, mark, key, source, sentence, None, "", None, 0.0, 0.0, OPEN, control_of)
        )

    def _place(self, sentence: str, control_of: str | None) -> tuple[str, str]:
        """The id and the page of a row: those of the row with the same words, or new ones."""
        for row in self.rows:
            if (row.sentence, row.control_of) == (sentence, control_of):
                return row.id, self.page
        return f"{self.page}.{len(self.rows) + 1}", self.page

    def _put(self, row: Claim) -> Claim:
        ids = [old.id for old in self.rows]
        if row.id in ids:
            self.rows[ids.index(row.id)] = row
        else:
            self.rows.append(row)
        return row

    def _replace(self, claim: Claim, **changes: Any) -> Claim:
        return self._put(replace(claim, **changes))


def _p(found) -> float:
    """The p-value itself, or that of a test's result."""
    return getattr(found, "p_value", found)


def _scaled(check: Check, change: float) -> np.ndarray:
    return check.expected * (1 + change)


def _same_array(one, two) -> bool:
    if isinstance(one, np.ndarray) and isinstance(two, np.ndarray):
        return bool(np.shares_memory(one, two))
    return one is two and isinstance(one, list | tuple)


def _differ(one: np.ndarray, two: np.ndarray) -> np.ndarray:
    """Where two sides differ by more than the rounding of their computation."""
    return ~np.isclose(one, two, rtol=1e-12, atol=0, equal_nan=True)


def _equal(one, two) -> bool:
    try:
        return np.array_equal(np.asarray(one, dtype=float), np.asarray(two, dtype=float))
    except (TypeError, ValueError):  # not numbers: a function, say
        return one is two
