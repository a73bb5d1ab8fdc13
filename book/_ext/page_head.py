"""What stands below the title of a page: its place in the papers, what it needs and teaches, and
what its marks and verdicts mean.

The index, and with it the search, finds a page by its id and by every statement and figure
that its source names, so that "Theorem 3.1" leads to C-02 first.
"""

import re
from pathlib import Path

from docutils import nodes
from sphinx import addnodes
from ways import minutes, read_paths

from stlcore.pages.runner import find_page

LEGEND = """\
<details class="legend"><summary>Marks and verdicts</summary>
<p><b>paper</b>: the words at hand say it, or another public source shows the formula.
<b>reconstructed</b>: the words are the paper's, the formula is ours. <b>derived</b>: proved here.
<b>choice</b>: a constant or a reading of ours. <b>observed</b>: a run shows it, and nobody
proved it.</p>
<p>A claim is <b>reproduced</b>, <b>not reproduced</b>, or <b>not testable here</b>, where the
data are too few or the words at hand too vague to tell. <b>False alarm</b>: how often chance
alone would refute a true claim; of a <b>sure</b> one never, as nothing in it is drawn.
<b>Rejects</b>: the smallest change of the statement, of those tried, that the check notices.</p>
</details>
"""
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
    legend = nodes.raw("", LEGEND, format="html")
    title.parent.insert(place, [addnodes.index(entries=entries), line, legend])


def setup(app):
    """Register with Sphinx."""
    app.connect("doctree-read", add)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
