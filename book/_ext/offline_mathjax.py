"""Serve MathJax from the book itself, so that the maths renders without a network."""

import shutil
from importlib.metadata import files
from pathlib import Path

BUNDLE = "tex-svg-full.js"


def copy_bundle(app, error):
    """Put the one file that is needed beside the pages that load it."""
    if error is None and app.builder.format == "html":
        (found,) = (path for path in files("sphinx-mathjax-offline") if path.name == BUNDLE)
        shutil.copy(found.locate(), Path(app.outdir) / "_static" / BUNDLE)


def setup(app):
    """Register with Sphinx."""
    app.connect("config-inited", lambda _app, config: setattr(config, "mathjax_path", BUNDLE))
    app.connect("build-finished", copy_bundle)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
