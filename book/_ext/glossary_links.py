"""Link the first use of every term of the glossary on a page.

Nobody has to think of it when a page is written: the terms are looked up in its text. What is
folded, a heading, a formula, code, a caption, a table or a link already stays as it is.
"""

import re
from functools import cache
from pathlib import Path

from address import is_page
from docutils import nodes
from sphinx import addnodes

LEFT_OUT = (
    *(nodes.title, nodes.literal, nodes.literal_block, nodes.math, nodes.math_block, nodes.raw),
    *(nodes.reference, addnodes.pending_xref, nodes.abbreviation, nodes.caption, nodes.table),
)
#: Words of plain English too, which are terms only where the text sets them off.
SET_OFF = {"gain", "replace", "worth"}
#: Words that are terms on the pages of these parts only.
AT_HOME = {"accumulate": "cgn", "mixing": "ab"}


@cache
def read_terms():
    """The terms of the glossary, long ones first: of two in one place the longer is meant."""
    text = Path(__file__).parent.with_name("glossary.md").read_text(encoding="utf-8")
    return sorted(re.findall(r"(?m)^(\w.*)\n  \S", text), key=len, reverse=True)


@cache
def pattern():
    """What finds a term, in the plural or another form of a verb, in a group of its own."""
    words = (r"\s+".join(map(re.escape, term.split())) for term in read_terms())
    groups = "|".join(f"({word}(?:e?s|d)?)" for word in words)
    return re.compile(rf"(?<![\w-])(?:{groups})(?![\w-])", re.IGNORECASE)


def linked(text, wanted, set_off, docname):
    """The parts of a text, with links from the terms that are wanted, once each."""
    end = 0
    for use in pattern().finditer(text):
        term = read_terms()[use.lastindex - 1]
        if term in wanted and (set_off or term not in SET_OFF):
            wanted.remove(term)
            words = nodes.inline(use[0], use[0], classes=["xref", "std", "std-term"])
            options = {"refdomain": "std", "reftype": "term", "reftarget": term}
            yield nodes.Text(text[end : use.start()])
            yield addnodes.pending_xref("", words, refdoc=docname, refexplicit=True, **options)
            end = use.end()
    yield nodes.Text(text[end:])


def parents(node):
    """What a node stands in, from the inside out."""
    while node := node.parent:
        yield node


def add(app, doctree):
    """Link the terms of a page, or of the introduction to a part."""
    docname = app.env.docname
    if not (is_page(docname) or docname.startswith("parts/")):
        return
    letters = docname.split("/")[-1][0] if is_page(docname) else "abcgn"
    wanted = {term for term in read_terms() if set(letters) & set(AT_HOME.get(term, letters))}
    for text in list(doctree.findall(nodes.Text)):
        around = list(parents(text))
        folded = any({"dropdown", "origin"} & set(node.get("classes", [])) for node in around[:-1])
        if folded or any(isinstance(node, LEFT_OUT) for node in around):
            continue
        set_off = any(isinstance(node, nodes.emphasis) for node in around)
        text.parent.replace(text, list(linked(str(text), wanted, set_off, docname)))


def setup(app):
    """Register with Sphinx."""
    app.connect("doctree-read", add, priority=800)  # after the line of its origin is there
    return {"parallel_read_safe": True, "parallel_write_safe": True}
