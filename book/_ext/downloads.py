"""What a page's download button gives: a notebook that any Jupyter shows, and runs.

It is the page as it is written, without the directives that only the book can show
(:mod:`stlcore.pages.plain`), with the values of the book's run in its prose. Where the book has
an address, its first cell fetches the package, at the commit of that run, if it is not there.
"""

import re
import shutil
from pathlib import Path

import nbformat
from address import is_page

from stlcore.pages.course import teacher_version
from stlcore.pages.runner import executed_records, find_page

FOLDER = "plain"
INSTALL = """\
# Only where stlcore is not installed, as on Colab: fetch it as it was when this page ran.
import sys
from importlib.util import find_spec

if find_spec("stlcore") is None:
    !git clone --quiet {repository} stlcore-book
    !git -C stlcore-book checkout --quiet {commit}
    %pip install --quiet --editable "stlcore-book[book,images,text,torch]"
    sys.path.insert(0, "stlcore-book")
"""


def readers_version(page, repository="", commit=""):
    """The notebook that a reader downloads."""
    notebook = teacher_version(page)
    if repository:
        cell = nbformat.v4.new_code_cell(INSTALL.format(repository=repository, commit=commit))
        cell["id"] = "install"
        notebook.cells.insert(0, cell)
    return notebook


def write(app, error):
    """Write the notebooks of all pages of the book."""
    if error is None and app.builder.format == "html":
        folder = Path(app.outdir, FOLDER)
        shutil.rmtree(folder, ignore_errors=True)  # of an earlier build
        folder.mkdir()
        address = app.config.address
        runs = {record["page"]["id"]: record["provenance"] for record in executed_records()}
        for docname in filter(is_page, sorted(app.env.found_docs)):
            page = find_page(docname.split("/")[-1])
            number = re.match(r"[0-9a-f]{7,40}\b", runs.get(page.id, {}).get("commit", ""))
            commit = number[0] if number else address["branch"]
            notebook = readers_version(page, address["repository"], commit)
            nbformat.write(notebook, folder / f"{page.path.stem}.ipynb")


def offer(_app, docname, _template, context, _doctree):
    """Let the button of a page lead to its plain notebook."""
    if is_page(docname):
        for button in context["header_buttons"]:
            if button["label"] == "download-buttons":
                button["buttons"] = [
                    {
                        "type": "link",
                        "url": f"{context['pathto'](FOLDER, 1)}/{docname.split('/')[-1]}.ipynb",
                        "text": ".ipynb",
                        "icon": "fas fa-code",
                        "tooltip": "Download notebook file",
                        "label": "download-notebook-button",
                    },
                    *(b for b in button["buttons"] if b["type"] == "javascript"),
                ]


def setup(app):
    """Register with Sphinx."""
    app.connect("html-page-context", offer, priority=600)  # after the theme's own buttons
    app.connect("build-finished", write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
