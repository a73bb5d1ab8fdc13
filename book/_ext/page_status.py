"""``{page-status}``: run time, memory, last run and verdicts of every page, and its versions."""

import csv
from collections import defaultdict

from sphinx.util.docutils import SphinxDirective
from ways import document, verdicts

from stlcore.pages.claims_table import PARTS
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


def setup(app):
    """Register with Sphinx."""
    app.add_directive("page-status", PageStatus)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
