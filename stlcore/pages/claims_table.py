"""The claims as a table for people."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable

import pandas as pd

from stlcore.pages.claim import OPEN, REFUTED, REPRODUCED
from stlcore.pages.sources import read_sources

__all__ = ["PARTS", "claims_page", "table", "typeset"]

#: The parts of the book by the letter of their pages, in the order of the contents.
PARTS = {
    "C": "Contaminated sources (paper C)",
    "B": "Total variation (paper B)",
    "A": "Recursive stability (paper A)",
    "N": "Beyond the papers",
    "G": "Guide",
}
VERDICTS = (REPRODUCED, REFUTED, OPEN)
SIGNS = {"==": "=", "<=": "≤", ">=": "≥"}
HEAD = ("Claim", "Statement", "Measured", "Expected", "Verdict")

LEGEND = (
    "**Verdicts.** *Reproduced*: the check holds. *Not reproduced*: it fails, and the page expects "
    "it to. *Not testable here*: the sample is too small to tell, or the statement is beyond what "
    "the page computes.",
    "**Chance.** *Sure* means that chance cannot refute a true claim (an exact computation); "
    "otherwise *false alarm* is the probability that it does. *Rejects* names the smallest change "
    "of the statement, of those tried, that the check would have noticed.",
    "**Whose statement.** The **paper**'s, in the words at hand or with a formula that another "
    "public source shows; **reconstructed**, where the words are the paper's and the formula is "
    "ours; **derived**, proved here; our **choice** of a constant or a reading; or **observed** in "
    "a run and proved by nobody.",
    "**Negative controls** are mutations of a claim, wrong on purpose, put to the very check of "
    "their claim; each must be rejected.",
)

GREEK = {
    **{"alpha": "α", "beta": "β", "gamma": "γ", "epsilon": "ε", "zeta": "ζ", "eta": "η"},
    **{"theta": "θ", "kappa": "κ", "lambda": "λ", "nu": "ν", "pi": "π", "rho": "ρ"},
    **{"sigma": "σ", "tau": "τ"},
}


def typeset(sentence: str) -> str:
    """The formulas of a sentence as HTML: ``n_t^(1/2) >= pi`` with a subscript, a power and signs.

    An exponent without brackets is a number, a letter or a fraction ``1/k``; of ``pi^2/6`` it
    is the 2.
    """
    text = html.escape(sentence)
    text = text.replace("&lt;=", "≤").replace("&gt;=", "≥").replace(" - ", " − ")
    text = re.sub(r"\bsqrt\b ?", "√", text)
    text = re.sub(rf"(?<![A-Za-z])({'|'.join(GREEK)})(?![A-Za-z])", lambda m: GREEK[m[1]], text)
    text = re.sub(r"\bGamma(?=\()", "Γ", text)
    text = re.sub(
        r"(?<=[\w*)])_(?:\{([^{}]*)\}|(\w)(?![A-Za-z0-9]))",
        lambda m: f"<sub>{m[1] or m[2]}</sub>",
        text,
    )
    return re.sub(
        r"\^(?:\(([^()]*)\)|(-?1/\d+|-?\d+(?:\.\d+)?|[A-Za-z](?![A-Za-z])))",
        lambda m: f"<sup>{(m[1] or m[2]).replace('-', '−')}</sup>",
        text,
    )


def _number(value: float | None, digits: int = 3) -> str:
    if value is None:
        return ""
    if value == int(value) and 1000 <= abs(value) < 1e7:
        return f"{value:,.0f}"
    return f"{value:.{digits}g}"


def _sides(row: dict) -> tuple[str, str]:
    """What was measured and what was expected, in words and as few digits as tell them apart."""
    measured, expected = row["measured"], row["expected"]
    if measured is None or expected is None:  # one is infinite, or nothing was compared
        return _number(measured), _number(expected)
    fits = row["verdict"] == REPRODUCED
    digits = 3
    while not fits and measured != expected and digits < 15:
        if _number(measured, digits) != _number(expected, digits):
            break
        digits += 1
    left, right = _number(measured, digits), _number(expected, digits)
    if row["kind"] == "test":
        return f"p-value {left}", f"at least {right}"
    if row["kind"] == "effect":
        return f"{left} standard errors", f"at least {right}"
    if fits and expected == 0 and abs(measured) <= max(row["tolerance"], 1e-9):
        left = "0" if measured == 0 else "0 up to rounding"
    right = f"{SIGNS[row['relation']]} {right}"
    if 0 < row["tolerance"] < 1e-6:
        return left, f"{right}, exact"
    return left, right + (f" ± {_number(row['tolerance'])}" if row["tolerance"] else "")


def _outcome(row: dict) -> str:
    if row["control_of"]:
        return "rejected" if row["verdict"] == REFUTED else "NOT rejected"
    return row["verdict"]


def _origin(row: dict) -> str:
    """Source and mark; the words they rest on show when the pointer rests there."""
    words = " · ".join(filter(None, (row["source"], row["mark"])))
    entry = read_sources().get(row["key"])
    says = f' title="{html.escape(" ".join(entry.says.split()))}"' if entry else ""
    return f'<span class="source"{says}>{html.escape(words)}</span>'


def _controls(rows: list[dict]) -> str:
    """The negative controls of a claim, folded."""
    if not rows:
        return ""
    outcomes = sorted({_outcome(row) for row in rows if row["verdict"] != OPEN})
    name = "1 negative control" if len(rows) == 1 else f"{len(rows)} negative controls"
    items = []
    for row in rows:
        measured, expected = _sides(row)
        compared = f" {measured}, where the check asks for {expected}:" if measured else ""
        anchor = html.escape(row["id"])
        items.append(
            f'<li id="{anchor}" class="control"><b>{anchor}</b> {typeset(row["sentence"])}'
            f"{compared} {'left out' if row['verdict'] == OPEN else _outcome(row)}</li>"
        )
    summary = ", ".join([name, *outcomes])
    return f"<details><summary>{summary}</summary><ul>{''.join(items)}</ul></details>"


def table(rows: list[dict], links: dict[str, str] | None = None) -> str:
    """The claims as an HTML table, the negative controls folded under their claims.

    Parameters
    ----------
    rows : list of dict
        As :meth:`Claims.to_records` gives them.
    links : dict, optional
        Address of each page; the id of a claim then links to its place there.
    """
    body = []
    for row in rows:
        if row["control_of"]:
            continue
        name = anchor = html.escape(row["id"])
        if links and row["page"] in links:
            name = f'<a href="{html.escape(links[row["page"]])}#{anchor}">{name}</a>'
        measured, expected = _sides(row)
        if row["measured"] is not None:
            alarm = row["false_alarm"]
            notes = [f"false alarm {_number(alarm, 2)}" if alarm else "sure"]
            notes += [f"rejects {row['power']}"] if row["power"] else []
            expected += f'<br><span class="source">{html.escape("; ".join(notes))}</span>'
        controls = _controls([other for other in rows if other["control_of"] == row["id"]])
        statement = f"{typeset(row['sentence'])}<br>{_origin(row)}{controls}"
        labels = ("", "", *(f' data-label="{title}"' for title in HEAD[2:]))
        cells = (name, statement, measured, expected, _outcome(row))
        filled = (f"<td{label}>{cell}</td>" for label, cell in zip(labels, cells, strict=True))
        facts = {"page": row["page"], "verdict": row["verdict"], "mark": row["mark"]}
        data = "".join(f' data-{key}="{html.escape(value)}"' for key, value in facts.items())
        body.append(
            f'<tr id="{anchor}" class="{row["verdict"].split()[0]}"{data}>{"".join(filled)}</tr>'
        )
    return (
        '<div class="claims"><table><thead><tr>'
        + "".join(f"<th>{title}</th>" for title in HEAD)
        + "</tr></thead><tbody>"
        + "".join(body)
        + "</tbody></table></div>"
    )


def _in_order(pages: Iterable[str]) -> list[str]:
    """Pages in the order of the contents."""
    return sorted(pages, key=lambda page: ([*PARTS].index(page[0]), page))


def _summary(rows: list[dict], links: dict[str, str]) -> list[str]:
    """Counts by part and page, as a Markdown table."""

    def line(name: str, letter: str) -> str:
        own = [row for row in rows if row["page"].startswith(letter)]
        claims = [row for row in own if not row["control_of"]]
        counts = [sum(row["verdict"] == verdict for row in claims) for verdict in VERDICTS]
        cells = [name, *map(str, [*counts, len(own) - len(claims)])]
        return f"| {' | '.join(cells)} |"

    lines = ["| page | reproduced | not reproduced | not testable here | controls |"]
    lines += ["|---|---|---|---|---|"]
    for letter, part in PARTS.items():
        pages = _in_order(page for page in links if page[0] == letter)
        if pages:
            lines.append(line(f"**{part}**", letter))
        lines += [line(f"{{doc}}`{links[page].removesuffix('.html')}`", page) for page in pages]
    return lines


SEEDS = (
    "A stated false-alarm rate is a promise, and a promise can be looked at: these pages were run "
    "again with other seeds. Counted are the claims that came out otherwise, and the controls "
    "that were not rejected. So few runs do not measure rates as small as the stated ones; they "
    "would show one that is far larger, above the limit in the table with a probability of 95 "
    "percent. Each table with its origin: `book/results/`."
)


def _seeds(seeds: dict[str, pd.DataFrame], links: dict[str, str]) -> list[str]:
    """What became of the claims under other seeds, as a Markdown table with a line for a page."""
    if not seeds:
        return []
    from scipy.special import betaincinv  # slow to import, and no page needs it

    lines = ["## Under other seeds", "", SEEDS, ""]
    head = ("page", "seeds", "claims", "their stated rates, summed", "came out otherwise (runs)")
    head += ("limit of a claim's rate", "controls", "not rejected (runs)")
    lines += [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for page in _in_order(seeds):
        found = seeds[page]
        is_control = found["control_of"] != ""
        claims, controls = found[~is_control], found[is_control]
        runs = int(found["runs"].max())
        lost = [f"{row.id} ({row.surprises})" for row in claims.itertuples() if row.surprises]
        kept = [f"{row.id} ({row.surprises})" for row in controls.itertuples() if row.surprises]
        limit = betaincinv(claims["surprises"].max() + 1, runs - claims["surprises"].max(), 0.95)
        cells = [f"{{doc}}`{links[page].removesuffix('.html')}`", runs, len(claims)]
        cells += [_number(claims["false_alarm"].sum(), 2), ", ".join(lost) or "none"]
        cells += [_number(limit, 2), len(controls), ", ".join(kept) or "none"]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return [*lines, ""]


def claims_page(
    rows: list[dict], links: dict[str, str], seeds: dict[str, pd.DataFrame] | None = None
) -> str:
    """The book's page on all claims, as Markdown.

    Parameters
    ----------
    rows, links
        As for :func:`table`.
    seeds : dict, optional
        For each page that was run under other seeds what
        :func:`~stlcore.pages.sweep.count_surprises` counted.
    """
    rows = [row for page in _in_order(links) for row in rows if row["page"] == page]
    asserted = [row for row in rows if not row["control_of"]]
    count = {verdict: sum(row["verdict"] == verdict for row in asserted) for verdict in VERDICTS}
    first = {row["id"] for row in asserted if row["verdict"] != REPRODUCED}
    alarm = sum(row["false_alarm"] for row in rows)
    controls = len(rows) - len(asserted)

    def shown(wanted: bool) -> list[str]:
        some = [row for row in rows if ((row["control_of"] or row["id"]) in first) is wanted]
        return ["```{raw} html", table(some, links), "```", ""]

    return "\n".join(
        [
            "# Claims",
            "",
            f"The {len(links)} pages of this book make {len(asserted)} claims: "
            f"{count[REPRODUCED]} reproduced, {count[REFUTED]} not reproduced, "
            f"{count[OPEN]} not testable here.",
            f"{controls} negative controls, each a mutation of a claim that is wrong on purpose, "
            "were put to the check of their claim.",
            f"All claims together raise a false alarm with probability at most {alarm:.2g}.",
            "This page is written from the executed pages; nothing in it is typed by hand.",
            "The address of a claim is that of this page with its id, `claims.html#C-02.1`; "
            'all of them as data: <a href="claims.json">claims.json</a>.',
            "",
            "## Not reproduced, or open",
            "",
            *shown(True),
            "## By paper and page",
            "",
            *_summary(rows, links),
            "",
            *_seeds(seeds or {}, links),
            "## What the words mean",
            "",
            *(f"- {words}" for words in LEGEND),
            "",
            "## Reproduced",
            "",
            *shown(False),
        ]
    )
