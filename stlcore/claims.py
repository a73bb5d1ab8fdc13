"""Claims: what a page asserts, what would refute it, and what came out.

A page collects its claims in a :class:`Claims`. Each compares a measured number
with an expected one. A *negative control* runs the same comparison on something
deliberately wrong and must be refuted; without one, a check that can never fail
would go unnoticed. :meth:`Claims.close` raises when a verdict differs from the
one the page expects.
"""

from __future__ import annotations

import html
import math
from dataclasses import asdict, dataclass, replace
from typing import Literal

import numpy as np
from scipy.stats import norm

__all__ = ["Claim", "ClaimError", "Claims", "table"]

Relation = Literal["==", "<=", ">="]
Mark = Literal["paper", "derived", "choice", "reconstructed"]
REPRODUCED, REFUTED, OPEN = "reproduced", "not reproduced", "not testable here"


class ClaimError(AssertionError):
    """A claim came out otherwise than its page expects."""


@dataclass(frozen=True)
class Claim:
    """One row of the claims table.

    Attributes
    ----------
    id, page : str
        ``"C-02.1"`` and ``"C-02"``.
    source : str
        Where the statement stands, for example ``"Paper C, Theorem 3.1"``.
    mark : str
        Whose statement it is: paper, derived, choice or reconstructed.
    sentence : str
        The claim in words.
    measured, expected, tolerance : float or None
        The check is ``measured relation expected``, give or take the tolerance.
    relation : str
        ``"=="``, ``"<="`` or ``">="``.
    false_alarm : float
        Probability that chance alone refutes a true claim; 0 for a sure one.
    verdict : str
        ``"reproduced"``, ``"not reproduced"`` or ``"not testable here"``.
    control : bool
        Whether this row is a negative control, which must not be reproduced.
    surprising : bool
        Whether the verdict differs from the one the page expects, or nothing was measured.
    decisive : bool
        Whether the page as it stands in the book should settle it; a page says False where
        its quick sizes may be too small to tell.
    """

    id: str
    page: str
    source: str
    mark: str
    sentence: str
    measured: float | None
    relation: str
    expected: float | None
    tolerance: float
    false_alarm: float
    verdict: str
    control: bool
    surprising: bool
    decisive: bool = True


def _holds(measured: float, relation: Relation, expected: float, tolerance: float) -> bool:
    """The comparison; anything that is not a number refutes it."""
    if relation == "==":
        return abs(measured - expected) <= tolerance
    if relation == "<=":
        return measured <= expected + tolerance
    if relation == ">=":
        return measured >= expected - tolerance
    raise ValueError(f"the relation must be '==', '<=' or '>=', not {relation!r}")


def _worst(measured, relation: Relation, expected) -> tuple[float, float]:
    """The pair of entries that comes closest to refuting the claim, or does so most."""
    measured, expected = np.broadcast_arrays(
        np.asarray(measured, dtype=float), np.asarray(expected, dtype=float)
    )
    if measured.size == 0:
        raise ValueError("a claim needs at least one measured number")
    gap = measured - expected
    badness = {"==": np.abs(gap), "<=": gap, ">=": -gap}.get(relation, gap)
    worst = np.argmax(np.where(np.isnan(badness), np.inf, badness))
    return float(measured.flat[worst]), float(expected.flat[worst])


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

    def check(
        self,
        sentence: str,
        measured,
        relation: Relation,
        expected,
        *,
        source: str,
        mark: Mark = "paper",
        tolerance: float = 0.0,
        false_alarm: float = 0.0,
        expect: str = REPRODUCED,
    ) -> Claim:
        """Compare and record.

        Parameters
        ----------
        sentence : str
            The claim in words.
        measured, expected : float or array_like
            For arrays the entry that fits worst counts and is recorded.
        relation : {"==", "<=", ">="}
            How they should compare.
        source : str
            Where the statement stands.
        mark : {"paper", "derived", "choice", "reconstructed"}
            Whose statement it is.
        tolerance : float
            Slack of the comparison, of numerical origin or stated in the sentence.
        false_alarm : float
            Probability that chance refutes the claim although it is true.
        expect : str
            The verdict the page expects; "not reproduced" for a statement that
            the page shows to fail.

        Raises
        ------
        ValueError
            If nothing was measured, or a probability is outside [0, 1).
        """
        if not 0 <= false_alarm < 1:
            raise ValueError(f"a false-alarm rate must lie in [0, 1), not {false_alarm!r}")
        measured, expected = _worst(measured, relation, expected)
        verdict = REPRODUCED if _holds(measured, relation, expected, tolerance) else REFUTED
        claim = Claim(
            self._next_id(),
            self.page,
            source,
            mark,
            sentence,
            measured,
            relation,
            expected,
            float(tolerance),
            float(false_alarm),
            verdict,
            False,
            # A check that yields no number has failed, even where a refutation is expected.
            verdict != expect or math.isnan(measured) or math.isnan(expected),
        )
        self.rows.append(claim)
        return claim

    def test(
        self,
        sentence: str,
        p_value: float,
        *,
        level: float,
        source: str,
        mark: Mark = "paper",
        expect: str = REPRODUCED,
        false_alarm: float | None = None,
    ) -> Claim:
        """Record that a statistical test does not refute the sentence at ``level``.

        The false-alarm rate is the level itself, unless the test is known to keep
        its level only roughly; then ``false_alarm`` gives the rate it has.
        """
        return self.check(
            sentence,
            p_value,
            ">=",
            level,
            source=source,
            mark=mark,
            false_alarm=level if false_alarm is None else false_alarm,
            expect=expect,
        )

    def effect(
        self,
        sentence: str,
        z,
        *,
        level: float,
        source: str,
        mark: Mark = "paper",
        expect: str = REPRODUCED,
        decisive: bool = True,
    ) -> Claim:
        """Record an effect of the stated direction, tested two-sidedly.

        Parameters
        ----------
        sentence : str
            The claim in words.
        z : float or array_like
            Standardised effects, positive in the direction of the sentence; of
            several, all must hold, so the smallest counts.
        level : float
            Probability, for each of them, that chance alone reaches the critical
            value on one side. The false-alarm rate is the level times their number.
        source, mark, expect
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
        z = np.asarray(z, dtype=float)
        claim = self.check(
            sentence,
            z,
            ">=",
            float(norm.isf(level)),
            source=source,
            mark=mark,
            false_alarm=level * z.size,
            expect=expect,
        )
        if abs(claim.measured) < claim.expected:
            claim = replace(claim, verdict=OPEN, surprising=False)
        self.rows[-1] = claim = replace(claim, decisive=decisive)
        return claim

    def control(
        self, sentence: str, measured, relation: Relation, expected, *, tolerance: float = 0.0
    ) -> Claim:
        """Record a negative control: the same comparison on something wrong.

        It belongs to the claim before it, whose source and mark it takes, and
        the page fails unless the comparison is refuted. ValueError if there is no
        claim yet.
        """
        if not self.rows:
            raise ValueError("a negative control must follow the claim whose check it controls")
        last = self.rows[-1]
        claim = self.check(
            sentence,
            measured,
            relation,
            expected,
            source=last.source,
            mark=last.mark,
            tolerance=tolerance,
            expect=REFUTED,
        )
        self.rows[-1] = claim = replace(claim, control=True)
        return claim

    def not_testable(self, sentence: str, reason: str, *, source: str, mark: Mark = "paper"):
        """Record a statement that this page cannot test, and why."""
        self.rows.append(
            Claim(
                self._next_id(),
                self.page,
                source,
                mark,
                f"{sentence} ({reason})",
                None,
                "",
                None,
                0.0,
                0.0,
                OPEN,
                False,
                False,
            )
        )

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
        if not any(row.control for row in self.rows):
            raise ClaimError(f"{self.page} has no negative control")

    def to_records(self) -> list[dict]:
        """The rows as dictionaries for JSON, infinite and missing numbers as None."""
        return [
            {
                key: None if isinstance(value, float) and not math.isfinite(value) else value
                for key, value in asdict(row).items()
            }
            for row in self.rows
        ]

    def _repr_html_(self) -> str:
        return table(self.to_records())

    def __repr__(self) -> str:
        return "\n".join(f"{row.id}  {row.verdict}: {row.sentence}" for row in self.rows)

    def _next_id(self) -> str:
        return f"{self.page}.{len(self.rows) + 1}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


def _outcome(row: dict) -> str:
    if row["control"]:
        return "rejected, as it must be" if row["verdict"] == REFUTED else "NOT rejected"
    return row["verdict"]


def table(rows: list[dict], links: dict[str, str] | None = None) -> str:
    """The claims as an HTML table.

    Parameters
    ----------
    rows : list of dict
        As :meth:`Claims.to_records` gives them.
    links : dict, optional
        Address of each page; the id of a claim then links to it.
    """
    head = ("Claim", "Statement", "Measured", "Expected", "Verdict")
    body = []
    for row in rows:
        name = html.escape(row["id"])
        if links and row["page"] in links:
            name = f'<a href="{html.escape(links[row["page"]])}">{name}</a>'
        expected = html.escape(f"{row['relation']} {_number(row['expected'])}".strip())
        expected = expected.replace("==", "=")
        if row["tolerance"]:
            expected += f" ± {_number(row['tolerance'])}"
        if row["measured"] is not None and not row["control"]:
            alarm = row["false_alarm"]
            alarm = f"false alarm {_number(alarm)}" if alarm else "sure"
            expected += f'<br><span class="source">{alarm}</span>'
        statement = (
            f"{'<em>Negative control.</em> ' if row['control'] else ''}"
            f'{html.escape(row["sentence"])}<br><span class="source">'
            f"{html.escape(row['source'])} · {html.escape(row['mark'])}</span>"
        )
        cells = (
            name,
            statement,
            _number(row["measured"]),
            expected,
            _outcome(row),
        )
        kind = "control" if row["control"] else row["verdict"].split()[0]
        labels = ("", "", *(f' data-label="{title}"' for title in head[2:]))
        filled = (f"<td{label}>{cell}</td>" for label, cell in zip(labels, cells, strict=True))
        body.append(f'<tr class="{kind}">' + "".join(filled) + "</tr>")
    return (
        '<div class="claims"><table><thead><tr>'
        + "".join(f"<th>{title}</th>" for title in head)
        + "</tr></thead><tbody>"
        + "".join(body)
        + "</tbody></table></div>"
    )
