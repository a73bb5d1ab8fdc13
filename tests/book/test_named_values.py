"""Exercises that name parameter values: a reader can run the page with each of them.

That the values are legal is looked at in every run of the tests. The runs themselves take
some minutes, so they have to be asked for: ``STLCORE_SLOW=1`` in the environment.
"""

from __future__ import annotations

import os
import re

import pytest

from stlcore.pages.plain import DIRECTIVE
from stlcore.pages.runner import NotebookPage, pages, read_parameters, run_page


def named_values(page: NotebookPage) -> list[tuple[str, str]]:
    """Parameters that the page's exercises name with a value: "`share` 0", "`steps` [240, 960]"."""
    text = "\n\n".join(c.source for c in page.notebook.cells if c.cell_type == "markdown")
    asked = "\n".join(body for _, kind, _, body in DIRECTIVE.findall(text) if kind == "exercise")
    found = re.findall(r"`(\w+)` (-?\d[\d.]*\b|\[[^\]]*\])", asked)
    return [(name, value) for name, value in found if name in page.parameters]


NAMED = [(page, *named) for page in pages() for named in named_values(page)]
RUNS = pytest.mark.parametrize(
    ("page", "name", "value"), NAMED, ids=[f"{page.name}-{name}-{v}" for page, name, v in NAMED]
)


def test_the_named_values_are_found():
    found = {(page.name, name) for page, name, _ in NAMED}
    assert found >= {("a01", "mixings"), ("b09", "steps"), ("c02", "share"), ("c12", "share")}


@RUNS
def test_a_named_value_is_legal(page, name, value):
    assert read_parameters(page, [(name, value)])[name] is not None


@pytest.mark.skipif("STLCORE_SLOW" not in os.environ, reason="some minutes: STLCORE_SLOW=1")
@RUNS
def test_a_page_runs_with_a_named_value(page, name, value, tmp_path):
    """To the end: a claim that fails is an error of the run, unless it says "not reproduced"."""
    run_page(page, tmp_path / "page.ipynb", read_parameters(page, [(name, value)]))
