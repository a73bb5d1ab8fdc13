"""What the runs of the pages needed, and what came out of longer ones.

``{page-status}`` has run time, memory, last run and verdicts of every page, and its versions;
``{paper-runs}`` the pages whose run in the profile ``paper`` was kept. Such a page says below
its claims what came out there.
"""

import csv
import re
from collections import defaultdict
from functools import cache
from pathlib import Path

from docutils import nodes
from sphinx.util.docutils import SphinxDirective
from ways import document, verdicts

from stlcore.pages import provenance
from stlcore.pages.claims_table import PARTS
from stlcore.pages.page import read_result
from stlcore.pages.runner import executed_records, find_page


def memory(page):
    """The most memory that the page's processes held, in MB, from Snakemake's benchmark."""
    path = page.executed.with_suffix(".benchmark.tsv")
    if not path.exists():
        return ""  # run by hand
    (row,) = csv.DictReader(path.read_text(encoding="utf-8").splitlines(), delimiter="\t")
    return row["max_rss"].split(".")[0].replace("NA", "")


class PageStatus(SphinxDirective):
    """The table, and what the runs had in common."""

    def run(self):
        """See the head of the file."""
        records = executed_records()
        records.sort(key=lambda r: ([*PARTS].index(r["page"]["id"][0]), r["page"]["id"]))
        heads = ["page", "profile", "seconds", "MB", "last run", "commit", "verdicts"]
        lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
        shared = defaultdict(list)
        for record in records:
            page, run = find_page(record["page"]["id"]), record["provenance"]
            cells = [
                f"{{doc}}`{page.id} <{document(page)}>`",
                run["parameters"].get("profile", "quick"),
                f"{run['seconds']:.0f}",
                memory(page),
                run["finished"],
                run["commit"],
                verdicts(record["claims"]),
            ]
            lines.append("| " + " | ".join(cells) + " |")
            packages = ", ".join(f"{name} {number}" for name, number in run["versions"].items())
            shared[f"{run['device']}; {packages}"].append(page.id)
        lines += ["", f"Altogether {sum(r['provenance']['seconds'] for r in records):.0f} seconds."]
        for where, names in shared.items():
            lines += ["", f"- {', '.join(names)}: {where}"]
        return self.parse_text_to_nodes("\n".join(lines))


@cache
def _records():
    """The runs that the book shows, by page; they do not change while it is built."""
    return {record["page"]["id"]: record for record in executed_records()}


def paper_run(record):
    """What a page came to in the profile ``paper``, beside the run that the book shows.

    The provenance of that run, its larger sizes and its verdicts, and where these are others,
    in words; None where none was kept.
    """
    page = find_page(record["page"]["id"])
    found = read_result(page.name, "claims")
    if found is None:
        return None
    claims, origin = found
    claims["control_of"] = claims["control_of"].fillna("")
    here = record["provenance"]["parameters"]
    other = {
        name: value
        for name, value in origin["parameters"].items()
        if value != here.get(name) and name not in ("profile", "checkpoints")
    }
    sizes = ", ".join(
        f"{name} {value:,}" if isinstance(value, int) else f"{name} {value}"
        for name, value in other.items()
    )
    # A sentence may name a size, or have changed since.
    rows = {row["sentence"]: row for row in record["claims"]}
    there = {row["sentence"]: row["verdict"] for row in claims.to_dict("records")}
    shared = [sentence for sentence in rows if sentence in there]
    moved = [
        f"{rows[sentence]['id']} is {there[sentence]}"
        for sentence in shared
        if there[sentence] != rows[sentence]["verdict"]
    ]
    words = [", ".join(moved) if moved else "all as in the shorter run"]
    if changed := len(rows) - len(shared):
        words.append(f"{changed} with other words there")
    return origin, sizes, verdicts(claims.to_dict("records")), "; ".join(words)


class PaperRuns(SphinxDirective):
    """The table of the runs in the profile ``paper`` that were kept."""

    def run(self):
        """See the head of the file."""
        heads = ["page", "sizes", "verdicts", "compared", "seconds", "run"]
        lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
        for record in _records().values():
            if found := paper_run(record):
                origin, sizes, outcome, moved = found
                page = find_page(record["page"]["id"])
                cells = [
                    f"{{doc}}`{page.id} <{document(page)}>`",
                    sizes,
                    outcome,
                    moved,
                    f"{origin['seconds']:,.0f}",
                    origin["finished"],
                ]
                lines.append("| " + " | ".join(cells) + " |")
        return self.parse_text_to_nodes("\n".join(lines))


def say_below_claims(app, doctree):
    """Put what came of the kept run of a page below its claims."""
    name = Path(app.env.docname).name
    if not re.fullmatch(r"[abcgn]\d\d_\w+", name):
        return
    record = _records().get(find_page(name).id)
    found = paper_run(record) if record else None
    sections = [
        section
        for section in doctree.findall(nodes.section)
        if isinstance(section[0], nodes.title) and section[0].astext() == "Claims"
    ]
    if found and sections:
        origin, sizes, outcome, moved = found
        words = f"A longer run of this page ({sizes}) was made beforehand: {outcome}; {moved}."
        sections[-1] += nodes.paragraph("", words, classes=["paper-run"])
        sections[-1] += nodes.raw("", provenance.line(origin), format="html")


def setup(app):
    """Register with Sphinx."""
    app.add_directive("page-status", PageStatus)
    app.add_directive("paper-runs", PaperRuns)
    app.connect("doctree-read", say_below_claims)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
