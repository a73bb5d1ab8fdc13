"""What stands below the title of a page: its place in the papers, what it needs and teaches.

The index, and with it the search, finds a page by its id and by every statement and figure
that its source names, so that "Theorem 3.1" leads to C-02 first.
"""

import re
from pathlib import Path

from docutils import nodes
from sphinx import addnodes
from ways import minutes, read_paths

from stlcore.pages.runner import find_page

KINDS = "Theorem|Corollary|Proposition|Remark|Figure|Appendix|Section"


def places(source):
    """``Theorem 3.1`` and the like, one by one; of ``Theorems 3.1 and D.2`` both."""
    for kind, numbers in re.findall(
        rf"({KINDS})s? ((?:[A-Z]?[\d.]+|[A-Z])(?:(?:, | and )(?!{KINDS})[A-Z]?\.?[\d.]+)*)", source
    ):
        for number in re.split(r", | and ", numbers):
            yield f"{kind} {number.rstrip('.')}"


def add(app, doctree):
    """Put the line below the title, and its entries into the index."""
    name = Path(app.env.docname).name
    if not re.fullmatch(r"[abcgn]\d\d_\w+", name):
        return
    page = find_page(name)
    title = next(doctree.findall(nodes.title))
    words = [page.source, f"about {minutes(page)} minutes"]
    if way := read_paths().get(page.id):
        words += [f"needs {', '.join(way['needs'])}"] if way["needs"] else []
        words += ["optional"] if way["level"] == "optional" else []
        words += [f"you learn {way['learn']}"]
    line = nodes.paragraph("", " · ".join(words), classes=["origin"])
    entries = [page.id, *places(page.source)]
    entries = [("single", entry, "", "main", None) for entry in entries]
    # The search reads the nodes; the index collected them before this event, so it is told.
    app.env.get_domain("index").entries.setdefault(app.env.docname, []).extend(entries)
    place = title.parent.index(title) + 1
    title.parent.insert(place, [addnodes.index(entries=entries), line])


def setup(app):
    """Register with Sphinx."""
    app.connect("doctree-read", add)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
