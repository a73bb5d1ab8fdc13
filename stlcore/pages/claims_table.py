"""The claims as a table for people."""

from __future__ import annotations

import html

from stlcore.pages.claim import REFUTED
from stlcore.pages.sources import read_sources

__all__ = ["claims_page", "table"]


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


def _outcome(row: dict) -> str:
    if row["control_of"]:
        return "rejected, as it must be" if row["verdict"] == REFUTED else "NOT rejected"
    return row["verdict"]


def _origin(row: dict) -> str:
    """Source and mark; the words they rest on show when the pointer rests there."""
    words = " · ".join(filter(None, (row["source"], row["mark"])))
    entry = read_sources().get(row["key"])
    says = f' title="{html.escape(" ".join(entry.says.split()))}"' if entry else ""
    return f'<span class="source"{says}>{html.escape(words)}</span>'


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
        if row["measured"] is not None and not row["control_of"]:
            alarm = row["false_alarm"]
            notes = [f"false alarm {_number(alarm)}" if alarm else "sure"]
            notes += [f"rejects {row['power']}"] if row["power"] else []
            expected += f'<br><span class="source">{html.escape("; ".join(notes))}</span>'
        statement = f"{html.escape(row['sentence'])}<br>{_origin(row)}"
        if row["control_of"]:
            of = html.escape(row["control_of"])
            statement = f"<em>Negative control of {of}.</em> {statement}"
        cells = (
            name,
            statement,
            _number(row["measured"]),
            expected,
            _outcome(row),
        )
        kind = "control" if row["control_of"] else row["verdict"].split()[0]
        labels = ("", "", *(f' data-label="{title}"' for title in head[2:]))
        filled = (f"<td{label}>{cell}</td>" for label, cell in zip(labels, cells, strict=True))
        anchor = html.escape(row["id"])
        body.append(f'<tr id="{anchor}" class="{kind}">' + "".join(filled) + "</tr>")
    return (
        '<div class="claims"><table><thead><tr>'
        + "".join(f"<th>{title}</th>" for title in head)
        + "</tr></thead><tbody>"
        + "".join(body)
        + "</tbody></table></div>"
    )


def claims_page(rows: list[dict], links: dict[str, str]) -> str:
    """The book's page on all claims, as Markdown; rows and links as for :func:`table`."""
    asserted = [row for row in rows if not row["control_of"]]
    count = {
        verdict: sum(row["verdict"] == verdict for row in asserted)
        for verdict in ("reproduced", "not reproduced", "not testable here")
    }
    alarm = sum(row["false_alarm"] for row in rows)
    controls = len(rows) - len(asserted)
    return "\n".join(
        [
            "# Claims",
            "",
            f"The {len(links)} pages of this book make {len(asserted)} claims: "
            f"{count['reproduced']} reproduced, {count['not reproduced']} not reproduced, "
            f"{count['not testable here']} not testable here.",
            f"{controls} negative controls, each a mutation of a claim that is wrong on purpose, "
            "were put to the check of their claim.",
            "",
            "This table is written from the executed pages; nothing in it is typed by hand.",
            "*Sure* means that chance cannot refute a true claim (an exact computation); "
            "otherwise the column *Expected* gives the probability that it does.",
            f"All of them together raise a false alarm with probability at most {alarm:.2g}.",
            "*Rejects* names the smallest change of the statement, of those tried, that the check "
            "would have noticed.",
            "Each claim says whose statement it is: the **paper**'s, in the words at hand or with "
            "a formula that another public source shows; **reconstructed**, where the words are "
            "the paper's and the formula is ours; **derived**, proved here; our **choice** of a "
            "constant or a reading; or **observed** in a run and proved by nobody.",
            "",
            "```{raw} html",
            table(rows, links),
            "```",
            "",
        ]
    )
