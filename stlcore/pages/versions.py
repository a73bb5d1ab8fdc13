"""Versions of a page for a class: for students, for teachers, and to be graded.

The rendered page with its solutions stays as it is, so there is one source to keep up. What
an exercise asks for and is worth stands in ``book/exercises.yml``. A few exercises have no
solution in the book: theirs lie apart, in ``book/instructor``, and are for teachers only.
"""

from __future__ import annotations

import ast
import builtins
import re
import symtable
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from stlcore.lazy import extra
from stlcore.pages import repository
from stlcore.pages.plain import DIRECTIVE, OPTION, glued, plain
from stlcore.pages.runner import NotebookPage

with extra("book"):
    import nbformat
    import yaml

__all__ = [
    "Exercise",
    "assignment",
    "exercises",
    "solutions_apart",
    "student_version",
    "teacher_version",
]

KINDS = ("proof", "calculation", "reasoning", "experiment", "code")

#: Sections that say what a student is to find.
TELLING = re.compile(r"Reading the figures?|Claims|What the paper leaves open, and what we found")

#: A cell that records claims. They test the authors' code, and lean on files of the repository.
CLAIMS = re.compile(r"\bclaims\.(check|test|effect|control|power)\(|\bpage\.(claims|finish)\b")

#: Cells that hold an answer, or what it is graded by.
ANSWERS = {"solution", "hidden-check"}

#: Cells that belong to the exercise above them.
OF_EXERCISES = {"numbers", "stub", "check", *ANSWERS}


@dataclass(frozen=True)
class Exercise:
    """What an exercise is; an entry of ``book/exercises.yml``.

    Attributes
    ----------
    kind : str
        ``proof``, ``calculation``, ``reasoning``, ``experiment`` or ``code``.
    level : int
        1 for a first reading, 2 for a course, 3 for a project.
    minutes, points : int
        Time that it takes, and what it is worth.
    goal : str
        What one can do afterwards.
    apart : bool
        Whether its solution is for teachers only, and not in the book
        (:func:`stlcore.pages.versions.solutions_apart`).
    """

    kind: str
    level: int
    minutes: int
    points: int
    goal: str
    apart: bool = False

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"the kind must be one of {', '.join(KINDS)}, not {self.kind!r}")
        if self.level not in (1, 2, 3):
            raise ValueError(f"the level must be 1, 2 or 3, not {self.level!r}")

    def __str__(self) -> str:
        points = f"{self.points} point{'s' if self.points > 1 else ''}"
        found = f"{self.kind.capitalize()}, level {self.level}, {self.minutes} minutes, {points}"
        return f"{found}, solution for teachers only" if self.apart else found


def exercises() -> dict[str, Exercise]:
    """Every exercise by its label; none where there is no repository."""
    return _exercises(repository.ROOT / "book" / "exercises.yml")


@cache
def _exercises(path: Path) -> dict[str, Exercise]:
    if not path.is_file():
        return {}
    entries = yaml.safe_load(path.read_text(encoding="utf-8"))
    return {label: Exercise(**entry) for label, entry in entries.items()}


def _headings() -> dict[str, str]:
    return {label: f"*{found}.*" for label, found in exercises().items()}


def solutions_apart(folder: Path | None = None) -> dict[str, str]:
    """Solutions that the book does not have, by the label of their exercise.

    Parameters
    ----------
    folder : Path, optional
        Where they are, one ``<label>.md`` each; ``book/instructor`` when left out. A copy of
        the repository that students can see should be without it.
    """
    folder = folder or repository.ROOT / "book" / "instructor"
    return {path.stem: path.read_text(encoding="utf-8") for path in sorted(folder.glob("ex-*.md"))}


def student_version(
    page: NotebookPage, chosen: Collection[str] | None = None
) -> nbformat.NotebookNode:
    """The page without its answers and outputs, for plain Jupyter.

    Solutions go, and so do the sections that say what is to be found (the reading of the
    figure, the claims, the summary) with all of their code that no other cell needs; a value
    that the text takes from the run is a blank. The notebook runs from top to bottom wherever
    the package is installed; a check of an answer that is still missing shows its error and
    lets the rest run.

    Parameters
    ----------
    page : NotebookPage
        The page.
    chosen : collection of str, optional
        Labels of the exercises to keep; all of them when left out.
    """
    cells = []
    for cell in _without_answers(_cells(page, chosen, _unsolved()), lambda *_: "*Your answer:*"):
        tags = cell.metadata.get("tags", [])
        if ANSWERS & set(tags):
            continue
        if "check" in tags:
            cell.metadata["tags"] = [*tags, "raises-exception"]
        cells.append(cell)
    return _made(page, cells)


def teacher_version(
    page: NotebookPage,
    chosen: Collection[str] | None = None,
    apart: Mapping[str, str] | None = None,
) -> nbformat.NotebookNode:
    """The page with its solutions, for plain Jupyter; values as the book's run gave them.

    Parameters
    ----------
    page, chosen
        As in :func:`stlcore.pages.versions.student_version`.
    apart : mapping, optional
        Solutions that the book does not have, by the label of their exercise; none of them
        when left out.
    """
    values = glued(page.executed) if page.executed.exists() else {}
    return _made(page, _cells(page, chosen, apart or {}), values)


def assignment(
    page: NotebookPage,
    chosen: Collection[str] | None = None,
    apart: Mapping[str, str] | None = None,
) -> nbformat.NotebookNode:
    """The page as nbgrader's source version: the student version with all that grading needs.

    An exercise on code has a cell for the answer, with the solution between nbgrader's marks,
    and a locked one for the points, whose second half is a hidden test. What that needs from
    elsewhere it imports again, for an answer may have bound the name anew. An exercise in words
    has a cell that is graded by hand. Identifiers are the exercises' labels.

    Parameters
    ----------
    page, chosen, apart
        As in :func:`stlcore.pages.versions.teacher_version`.
    """
    cells = _cells(page, chosen, _unsolved() | dict(apart or {}))
    coded = _coded(cells)
    kept, stub, imports = [], "", []
    for cell in _without_answers(cells, lambda label, words: words):
        imports += _imports(cell.source) if cell.cell_type == "code" else []
        tags = set(cell.metadata.get("tags", []))
        label = cell.metadata.pop("exercise", None)
        if label:  # the answer in words
            cell.metadata["nbgrader"] = _graded(label, solution=True, points=_points(label))
        elif "numbers" in tags:
            label = next(name for name in coded if f'"{name}"' in cell.source)
            now = label
        elif "stub" in tags:
            stub = cell.source
            continue
        elif "solution" in tags:
            if not stub:
                continue  # the numbers of a solution in words
            cell.source, stub = _marked(stub, cell.source), ""
            cell.metadata = nbformat.from_dict({"nbgrader": _graded(now, solution=True)})
        elif "check" in tags:
            cell.metadata = nbformat.from_dict(
                {"nbgrader": _graded(f"{now}-check", points=_points(now))}
            )
        elif "hidden-check" in tags:
            needed = names(cell.source)[1]
            again = [line for line in imports if names(line)[0] & needed]
            hidden = "\n".join(
                ["### BEGIN HIDDEN TESTS", *again, cell.source, "### END HIDDEN TESTS"]
            )
            kept[-1].source += f"\n{hidden}"
            continue
        kept.append(cell)
    return _made(page, kept)


def _unsolved() -> dict[str, str]:
    """What stands for the solutions that the book does not have."""
    return {label: "*Kept apart.*" for label, found in exercises().items() if found.apart}


def _cells(page: NotebookPage, chosen: Collection[str] | None, apart: Mapping[str, str]) -> list:
    """The page's cells with the chosen exercises only, and with the solutions that lie apart."""
    current, cells = "", []

    def kept(found: re.Match) -> str:
        nonlocal current
        _, kind, argument, body = found.groups()
        if kind not in ("exercise", "solution"):
            return found[0]
        label = dict(OPTION.findall(body)).get("label", "")
        current = label if kind == "exercise" else argument.strip()
        if chosen is not None and current not in chosen:
            return ""
        if kind == "exercise" and current in apart:
            words = apart[current].strip()
            return f"{found[0]}\n`````{{solution}} {current}\n\n{words}\n`````\n"
        return found[0]

    for cell in nbformat.from_dict(page.notebook).cells:
        if cell.cell_type == "markdown":
            cell.source = DIRECTIVE.sub(kept, cell.source)
        elif OF_EXERCISES & set(cell.metadata.get("tags", [])) and not (
            chosen is None or current in chosen
        ):
            continue
        cells.append(cell)
    if chosen is not None and not any(f"ex-{page.name}-" in label for label in chosen):
        for cell in cells:
            cell.source = re.sub(r"(?m)^## Exercises *$\n*", "", cell.source)
    return cells


def _points(label: str) -> int:
    known = exercises()
    return known[label].points if label in known else 1


def _graded(name: str, *, solution: bool = False, points: int | None = None) -> dict[str, Any]:
    """What nbgrader has to know of a cell; one without points is not graded."""
    found = {
        "schema_version": 3,
        "grade_id": name,
        "solution": solution,
        "grade": points is not None,
        "locked": not solution,
        "task": False,
    }
    return found | ({} if points is None else {"points": points})


def _marked(stub: str, solution: str) -> str:
    """The stub with the solution's body between nbgrader's marks, in place of its last line."""
    lines = stub.splitlines()
    assert lines[-1].strip() == "raise NotImplementedError"
    (function,) = ast.parse(solution).body
    body = solution.splitlines()[function.body[0].lineno - 1 :]
    return "\n".join([*lines[:-1], "    ### BEGIN SOLUTION", *body, "    ### END SOLUTION"])


def _imports(code: str) -> list[str]:
    """The imports of a cell, each on a line."""
    found = [node for node in ast.parse(code).body if isinstance(node, ast.Import | ast.ImportFrom)]
    return [ast.unparse(node) for node in found]


def _coded(cells: list) -> list[str]:
    """Labels of the exercises on code."""
    code = [cell.source for cell in cells if "numbers" in cell.metadata.get("tags", [])]
    return [re.search(r'numbers\(\s*student,\s*"([\w-]+)"', source)[1] for source in code]


def _made(
    page: NotebookPage, cells: list, values: Mapping[str, object] | None = None
) -> nbformat.NotebookNode:
    """A plain notebook of these cells."""
    notebook = nbformat.from_dict({**page.notebook, "cells": []})
    notebook.cells = [cell for cell in cells if cell.source.strip()]
    return plain(notebook, page.id, values, headings=_headings())


def _without_answers(given: list, answer) -> list:
    """Cells without what tells an answer, and with a cell for each answer in words.

    ``answer(label, words)`` gives that cell's text.
    """
    coded = _coded(given)
    cells, told = [], []
    section = ""
    for cell in given:
        if cell.cell_type == "code":
            if not CLAIMS.search(cell.source):
                cells.append(cell)
                told += [cell] if TELLING.fullmatch(section) else []
            continue
        for part in re.split(r"(?m)^(?=## )", cell.source):
            if found := re.match(r"## +(.+?) *$", part, re.MULTILINE):
                section = found[1]
            part = DIRECTIVE.sub(lambda found: "" if _answers(found) else found[0], part)
            if not TELLING.fullmatch(section):
                cells += _with_places(part, cell["id"], coded, answer)
    return _needed([cell for cell in cells if cell.source.strip()], told)


def _answers(found: re.Match) -> bool:
    """Whether a directive is the answer to a quick check."""
    return found[2] == "admonition" and found[3].strip() == "Answer"


def _with_places(text: str, name: str, coded: list[str], answer) -> list:
    """Markdown cells of a text, each solution in words replaced by a place for the answer."""
    made, end = [], 0

    def place(words: str, label: str = "") -> None:
        # Without nbformat's check of each cell: it is slow, and writing checks the notebook.
        cell = {"cell_type": "markdown", "source": words}
        cell["id"] = label or f"{name}-{len(text)}-{len(made)}"
        cell["metadata"] = {"exercise": label} if label else {}
        made.append(nbformat.from_dict(cell))

    for found in DIRECTIVE.finditer(text):
        if found[2] != "solution":
            continue
        place(text[end : found.start()])
        end, label = found.end(), found[3].strip()
        if label not in coded:
            place(answer(label, OPTION.sub("", found[4]).strip()), label)
    place(text[end:])
    return made


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


@cache
def names(code: str) -> tuple[frozenset[str], frozenset[str]]:
    """The names that a cell binds for later cells, and those that it takes from elsewhere.

    A name that is bound in the cell itself counts as its own, before it is bound, too.
    """
    top = symtable.symtable(code, "cell", "exec")
    bound = {s.get_name() for s in top.get_symbols() if s.is_assigned() or s.is_imported()}
    loaded = {s.get_name() for s in top.get_symbols() if s.is_referenced()}
    inner = list(top.get_children())  # of functions, classes and comprehensions
    while inner:
        table = inner.pop()
        loaded |= {s.get_name() for s in table.get_symbols() if s.is_global()}
        inner += table.get_children()
    return frozenset(bound), frozenset(loaded - bound - set(dir(builtins)))
