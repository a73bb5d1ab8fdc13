"""Fail the build on what Sphinx lets pass: a page with an error, a figure without words.

Sphinx builds a notebook that ends in a traceback without complaint, and a
figure without alt text too. Both become warnings here, which a strict build
turns into a failure.
"""

import json
from pathlib import Path

import nbformat
from sphinx.util import logging

logger = logging.getLogger(__name__)
IMAGES = {"image/png", "image/svg+xml", "image/jpeg"}


def faults(notebook):
    """Sentences on what is wrong with an executed notebook."""
    for number, cell in enumerate(notebook.cells):
        if cell.cell_type != "code":
            continue
        outputs = cell.get("outputs", [])
        if cell.execution_count is None and cell.source.strip():
            yield f"cell {number} was not executed"
        if any(output.output_type == "error" for output in outputs):
            yield f"cell {number} ended in an error"
        if any(IMAGES & set(output.get("data", {})) for output in outputs):
            words = cell.metadata.get("mystnb", {})
            if not words.get("image", {}).get("alt"):
                yield f"the figure of cell {number} has no alt text"
            if not words.get("figure", {}).get("caption"):
                yield f"the figure of cell {number} has no caption"


def check(app, name, content):
    """Warn of every fault of the notebook that is being read."""
    if Path(app.env.doc2path(name)).suffix == ".ipynb":
        for fault in faults(nbformat.from_dict(json.loads(content[0]))):
            logger.warning("%s", fault, location=name)


def setup(app):
    """Register with Sphinx."""
    app.connect("source-read", check)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
