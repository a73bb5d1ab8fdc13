"""The pages of the book are written by several processes, and none of them is less strict."""

from __future__ import annotations

import io
import os
import sys

import pytest
from sphinx.application import Sphinx
from sphinx.util.docutils import docutils_namespace

from stlcore.pages.repository import ROOT

WARN = """\
import os
from sphinx.util import logging


def warn(app, docname, *_):
    if docname == "page7":
        logging.getLogger(__name__).warning("said while writing, by %s", os.getpid())


def setup(app):
    app.connect("html-page-context", warn)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Sphinx writes in one process there")
def test_a_warning_of_a_process_that_writes_fails_the_build(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "book" / "_ext")
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "warn_while_writing.py").write_text(WARN)
    (tmp_path / "conf.py").write_text('extensions = ["both_cores", "warn_while_writing"]\n')
    names = [f"page{k}" for k in range(8)]
    for name in names:
        (tmp_path / f"{name}.rst").write_text(f"{name}\n=====\n")
    (tmp_path / "index.rst").write_text("\n   ".join(["Top\n===\n\n.. toctree::\n", *names]) + "\n")
    said = io.StringIO()
    with docutils_namespace():
        folders = tmp_path, tmp_path, tmp_path / "out", tmp_path / "trees"
        strict = {"warningiserror": True, "keep_going": True}
        app = Sphinx(*folders, "html", status=None, warning=said, **strict)
        app.build(force_all=True)
    assert "said while writing" in said.getvalue()
    assert f"by {os.getpid()}" not in said.getvalue()
    assert app.statuscode == 1
    assert (tmp_path / "out" / "page7.html").exists()
