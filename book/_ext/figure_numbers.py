"""Beside the provenance line of a figure: the numbers that it draws, as a table to download.

And, where the book has an address, the code of the page as it was.
"""

import re
import shutil
from pathlib import Path

from address import code_link
from docutils import nodes

from stlcore.pages.provenance import MARK
from stlcore.pages.runner import executed_records

FOLDER = "numbers"


def link(app, doctree):
    """Put a link in front of the provenance line of each figure."""
    up = "../" * app.env.docname.count("/")
    name = ""
    for node in doctree.findall():
        if isinstance(node, nodes.figure):
            name = (node.get("names") or [""])[0]
        elif isinstance(node, nodes.raw) and MARK in node.astext() and name:
            words = f'<a class="numbers" href="{up}{FOLDER}/{name}.csv" download>numbers (CSV)</a>'
            if commit := re.search(r" · commit ([^<]+)</summary>", node.astext()):
                words += code_link(app, commit[1])
            node.parent.insert(node.parent.index(node), nodes.raw("", words, format="html"))
            name = ""  # the next line is another figure's


def write(app, error):
    """Write the tables of all figures."""
    if error is None and app.builder.format == "html":
        folder = Path(app.outdir, FOLDER)
        shutil.rmtree(folder, ignore_errors=True)  # of an earlier build
        folder.mkdir()
        for record in executed_records():
            for name, numbers in record["figures"].items():
                (folder / f"{name}.csv").write_text(numbers, encoding="utf-8")


def setup(app):
    """Register with Sphinx."""
    app.connect("doctree-read", link)
    app.connect("build-finished", write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
