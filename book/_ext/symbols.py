"""The symbols of a page, and of the whole book, from one file: ``book/symbols.yml``.

A page shows those that stand in its formulas, folded below its title; one letter means one thing
on a page, though the papers share letters. ``{symbols} C N`` lists those of whole parts.
"""

import re
from functools import cache
from pathlib import Path

import yaml
from address import is_page
from docutils import nodes
from sphinx.util.docutils import SphinxDirective


@cache
def read_symbols():
    """All entries, in the order of the file."""
    path = Path(__file__).parent.with_name("symbols.yml")
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def used(entry, page, formulas):
    """Whether a page with these formulas uses a symbol."""
    return {page, page[0]} & set(entry["pages"]) and any(
        _stands(tex, formula) for tex in entry["tex"] for formula in formulas
    )


def _stands(tex, formula):
    """Whether a symbol stands in a formula: a letter not as a part of a command or a word."""
    if tex.isalpha():
        text = re.sub(r"\\[A-Za-z]+", " ", formula)
        return re.search(rf"(?<![A-Za-z]){tex}(?![A-Za-z])", text)
    end = r"(?![A-Za-z])" if tex[-1].isalpha() else ""
    return re.search(re.escape(tex) + end, formula)


def _row(words, kind=nodes.entry):
    row = nodes.row()
    for cell in words:
        paragraph = nodes.paragraph()
        for k, part in enumerate(re.split(r"\$([^$]+)\$|`([^`]+)`", cell)):
            if part:
                made = (nodes.Text, nodes.math, nodes.literal)[k % 3]
                paragraph += made(part) if made is nodes.Text else made(part, part)
        row += kind("", paragraph)
    return row


def table(entries, others):
    """The entries as a table; with a column for the papers' own names if asked."""
    heads = ["symbol", "meaning", "in the code", *(["papers A and B"] if others else [])]
    group = nodes.tgroup(cols=len(heads))
    group += [nodes.colspec(colwidth=1) for _ in heads]
    group += nodes.thead("", _row(heads))
    body = nodes.tbody()
    for entry in entries:
        words = [f"${entry['symbol']}$", entry["meaning"], f"`{entry['code']}`"]
        body += _row([*words, *([entry.get("others", "")] if others else [])])
    group += body
    return nodes.table("", group, classes=["symbols"])


def add(app, doctree):
    """Put the symbols of a page below the line that says where it comes from."""
    name = app.env.docname.split("/")[-1].split("_")[0]
    origin = next((p for p in doctree.findall(nodes.paragraph) if "origin" in p["classes"]), None)
    if not (is_page(app.env.docname) and origin):
        return
    formulas = [node.astext() for node in doctree.findall(nodes.math)]
    formulas += [node.astext() for node in doctree.findall(nodes.math_block)]
    page = f"{name[0].upper()}-{name[1:]}"
    entries = [entry for entry in read_symbols() if used(entry, page, formulas)]
    if entries:
        start, end = '<details class="symbols"><summary>Symbols</summary>', "</details>"
        parts = [nodes.raw("", start, format="html"), table(entries, others=False)]
        place = origin.parent.index(origin) + 1
        origin.parent[place:place] = [*parts, nodes.raw("", end, format="html")]


class Symbols(SphinxDirective):
    """The symbols of the parts with these letters."""

    required_arguments = 1
    final_argument_whitespace = True

    def run(self):
        """See the head of the file."""
        letters = set(self.arguments[0].split())
        entries = [e for e in read_symbols() if letters & {page[0] for page in e["pages"]}]
        return [table(entries, others="C" in letters)]


def setup(app):
    """Register with Sphinx."""
    app.add_directive("symbols", Symbols)
    app.connect("doctree-read", add, priority=700)  # after the line of its origin
    return {"parallel_read_safe": True, "parallel_write_safe": True}
