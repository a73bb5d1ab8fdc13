"""The way through the book, from ``book/paths.yml`` and the records of the pages.

``{part-pages}`` lists the pages of a part, ``{paper-map}`` the places of a paper with the pages
and verdicts of the claims that rest on them. Both take the letter of the paper.
``{course-plan}`` shows a plan of ``book/courses`` in short.
"""

import re
from collections import Counter
from functools import cache
from pathlib import Path

import yaml
from sphinx.util.docutils import SphinxDirective

from stlcore.pages.course import labels_of, read_plan
from stlcore.pages.runner import executed_records, find_page, pages
from stlcore.pages.sources import read_sources
from stlcore.pages.versions import exercises

WORDS_A_MINUTE = 150  # text with formulas, code and exercises


@cache
def read_paths():
    """What a reader learns, needs and may leave out, by page."""
    return yaml.safe_load(Path(__file__).parent.with_name("paths.yml").read_text(encoding="utf-8"))


def minutes(page):
    """How long a page takes to read, to five minutes."""
    prose = [cell.source for cell in page.notebook.cells if cell.cell_type == "markdown"]
    return max(5, 5 * round(len(re.findall(r"\w+", " ".join(prose))) / WORDS_A_MINUTE / 5))


def document(page):
    """The name of a page's document, from the root of the book."""
    return f"/notebooks/{page.path.parent.name}/{page.path.stem}"


def verdicts(rows):
    """How often each verdict stands among claims, controls left out."""
    counts = Counter(row["verdict"] for row in rows if not row["control_of"])
    return ", ".join(f"{count} {verdict}" for verdict, count in counts.most_common())


class PartPages(SphinxDirective):
    """The pages of a part with what they teach."""

    required_arguments = 1

    def run(self):
        """See the head of the file."""
        records = {record["page"]["id"]: record for record in executed_records()}
        paths = read_paths()
        lines = ["| page | you learn | needs | minutes | verdicts |", "|---|---|---|---|---|"]
        for page in pages():
            if page.id[0] != self.arguments[0] or page.id not in paths:
                continue
            way = paths[page.id]
            rows = records.get(page.id, {}).get("claims", [])
            optional = "" if way["level"] == "core" else "*optional:* "
            needs = ", ".join(way["needs"]) or "nothing"
            lines.append(
                f"| {{doc}}`{document(page)}` | {optional}{way['learn']} | {needs} "
                f"| {minutes(page)} | {verdicts(rows)} |"
            )
        return self.parse_text_to_nodes("\n".join(lines))


class PaperMap(SphinxDirective):
    """The places of a paper, the pages that treat them and what came out."""

    required_arguments = 1

    def run(self):
        """See the head of the file."""
        rows = [row for record in executed_records() for row in record["claims"]]
        texts = {page.id: page.path.read_text(encoding="utf-8") for page in pages()}
        lines = ["| place in the paper | pages | claims on it |", "|---|---|---|"]
        for key, source in read_sources().items():
            if source.paper != self.arguments[0]:
                continue
            named = rf"(?:\{{source\}}`|key=\"){re.escape(key)}[`\"]"
            ids = [name for name, text in texts.items() if re.search(named, text)]
            links = ", ".join(f"{{doc}}`{i} <{document(find_page(i))}>`" for i in ids)
            found = verdicts([row for row in rows if row["key"] == key]) or "none of its own"
            lines.append(f"| {{source}}`{key}` | {links} | {found} |")
        return self.parse_text_to_nodes("\n".join(lines))


class CoursePlan(SphinxDirective):
    """The lessons of a plan: pages, reading, and what the exercises take and are worth."""

    required_arguments = 1

    def run(self):
        """See the head of the file."""
        known = exercises()
        plan = read_plan(Path(__file__).parent.with_name("courses") / f"{self.arguments[0]}.yml")
        head = ["lesson", "pages", "in the paper", "minutes for the pages", "exercises"]
        head += ["minutes for them", "points"]
        rows, sums = [], [0, 0, 0, 0]
        for number, lesson in enumerate(plan["lessons"], 1):
            found = [find_page(name) for name in lesson["pages"]]
            chosen = lesson.get("exercises", known)
            asked = [known[x] for page in found for x in labels_of(page.name) if x in chosen]
            links = ", ".join(f"{{doc}}`{page.id} <{document(page)}>`" for page in found)
            read = sum(map(minutes, found))
            counts = [len(asked), sum(e.minutes for e in asked), sum(e.points for e in asked)]
            words = [f"{number}. {lesson['title']}", links, lesson.get("reading", "")]
            rows.append([*words, read, *counts])
            sums = [total + more for total, more in zip(sums, [read, *counts], strict=True)]
        rows = [head, ["---"] * len(head), *rows, ["in all", "", "", *sums]]
        lines = ["| " + " | ".join(map(str, row)) + " |" for row in rows]
        return self.parse_text_to_nodes("\n".join(lines))


def setup(app):
    """Register with Sphinx."""
    app.add_directive("part-pages", PartPages)
    app.add_directive("paper-map", PaperMap)
    app.add_directive("course-plan", CoursePlan)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
