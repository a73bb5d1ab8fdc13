"""Coursework made from the pages: what a student gets of a page.

The rendered page with its solutions stays as it is, so there is one source to keep up.
"""

from __future__ import annotations

import ast
import builtins
import re

from stlcore.lazy import extra
from stlcore.pages.plain import DIRECTIVE, plain
from stlcore.pages.runner import NotebookPage

with extra("book"):
    import nbformat

__all__ = ["student_version"]

#: Sections that say what a student is to find.
TELLING = re.compile(r"Reading the figures?|Claims|What the paper leaves open, and what we found")

#: A cell that records claims. They test the authors' code, and lean on files of the repository.
CLAIMS = re.compile(r"\bclaims\.(check|test|effect|control|power)\(|\bpage\.(claims|finish)\b")

#: Cells that hold an answer, or what it is graded by.
ANSWERS = {"solution", "hidden-check"}


def student_version(page: NotebookPage) -> nbformat.NotebookNode:
    """The page without its answers and outputs, for plain Jupyter.

    Solutions go, and so do the sections that say what is to be found (the reading of the
    figure, the claims, the summary) with all of their code that no other cell needs; a value
    that the text takes from the run is a blank. The notebook runs from top to bottom wherever
    the package is installed; a check of an answer that is still missing shows its error and
    lets the rest run.
    """
    notebook = nbformat.from_dict(page.notebook)
    cells, told = [], []
    section = ""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            parts = re.split(r"(?m)^(?=## )", cell.source)
            kept = []
            for part in parts:
                if found := re.match(r"## +(.+?) *$", part, re.MULTILINE):
                    section = found[1]
                if not TELLING.fullmatch(section):
                    kept.append(DIRECTIVE.sub(_without_solution, part))
            cell.source = "".join(kept)
            cells.append(cell)
        elif not (ANSWERS & set(cell.metadata.get("tags", [])) or CLAIMS.search(cell.source)):
            if "check" in cell.metadata.get("tags", []):  # fails until the stub is filled in
                cell.metadata["tags"] = [*cell.metadata["tags"], "raises-exception"]
            cells.append(cell)
            told += [cell] if TELLING.fullmatch(section) else []
    notebook.cells = _needed(cells, told)
    return plain(notebook, page.id)


def _without_solution(found: re.Match) -> str:
    return "" if found[2] == "solution" else found[0]


def _needed(cells: list, doubtful: list) -> list:
    """The cells without those doubtful ones that bind no name which a later cell needs."""
    wanted: set[str] = set()
    kept = []
    for cell in reversed(cells):
        if cell.cell_type == "code":
            bound, loaded = names(cell.source)
            if any(cell is other for other in doubtful):
                if not bound & wanted:
                    continue
                cell.metadata["tags"] = sorted({*cell.metadata.get("tags", []), "hide-input"})
            wanted = wanted - bound | loaded
        kept.append(cell)
    return kept[::-1]


def names(code: str) -> tuple[set[str], set[str]]:
    """The names that a cell binds for later cells, and those that it takes from elsewhere.

    A name that is bound anywhere in the cell counts as its own.
    """
    tree = ast.parse(code)
    bound = {
        (node.asname or node.name).split(".")[0] if isinstance(node, ast.alias) else node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.alias | ast.FunctionDef | ast.ClassDef)
    }
    bound |= {n.arg for n in ast.walk(tree) if isinstance(n, ast.arg)}
    used = [n for n in ast.walk(tree) if isinstance(n, ast.Name)]
    bound |= {n.id for n in used if isinstance(n.ctx, ast.Store)}
    loaded = {n.id for n in used if isinstance(n.ctx, ast.Load)}
    return bound, loaded - bound - set(dir(builtins))
