"""Coursework made from the pages: student and teacher notebooks, and assignments to grade.

The rendered page with its solutions stays as it is, so there is one source to keep up. What
an exercise asks for and is worth stands in ``book/exercises.yml``.
"""

from __future__ import annotations

import ast
import builtins
import re
import shutil
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from stlcore.lazy import extra
from stlcore.pages import repository
from stlcore.pages.plain import DIRECTIVE, OPTION, glued, plain
from stlcore.pages.repository import UsageError
from stlcore.pages.runner import NotebookPage, find_page

with extra("book"):
    import nbformat
    import yaml

__all__ = [
    "Exercise",
    "assignment",
    "build_course",
    "exercises",
    "read_plan",
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
    """

    kind: str
    level: int
    minutes: int
    points: int
    goal: str

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"the kind must be one of {', '.join(KINDS)}, not {self.kind!r}")
        if self.level not in (1, 2, 3):
            raise ValueError(f"the level must be 1, 2 or 3, not {self.level!r}")

    def __str__(self) -> str:
        points = f"{self.points} point{'s' if self.points > 1 else ''}"
        return f"{self.kind.capitalize()}, level {self.level}, {self.minutes} minutes, {points}"


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


def student_version(page: NotebookPage) -> nbformat.NotebookNode:
    """The page without its answers and outputs, for plain Jupyter.

    Solutions go, and so do the sections that say what is to be found (the reading of the
    figure, the claims, the summary) with all of their code that no other cell needs; a value
    that the text takes from the run is a blank. The notebook runs from top to bottom wherever
    the package is installed; a check of an answer that is still missing shows its error and
    lets the rest run.
    """
    cells = []
    for cell in _without_answers(page, lambda label, words: "*Your answer:*"):
        tags = cell.metadata.get("tags", [])
        if ANSWERS & set(tags):
            continue
        if "check" in tags:
            cell.metadata["tags"] = [*tags, "raises-exception"]
        cells.append(cell)
    return _made(page, cells)


def teacher_version(page: NotebookPage) -> nbformat.NotebookNode:
    """The page with its solutions, for plain Jupyter; values as the book's run gave them."""
    values = glued(page.executed) if page.executed.exists() else {}
    return plain(page.notebook, page.id, values, _headings())


def assignment(page: NotebookPage) -> nbformat.NotebookNode:
    """The page as nbgrader's source version: the student version with all that grading needs.

    An exercise on code has a cell for the answer, with the solution between nbgrader's marks,
    and a locked one for the points, whose second half is a hidden test. An exercise in words
    has a cell that is graded by hand. Identifiers are the exercises' labels.
    """
    coded = _coded(page)
    cells = _without_answers(page, lambda label, words: words)
    kept, stub = [], ""
    for cell in cells:
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
            kept[-1].source += f"\n### BEGIN HIDDEN TESTS\n{cell.source}\n### END HIDDEN TESTS"
            continue
        kept.append(cell)
    return _made(page, kept)


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


def _coded(page: NotebookPage) -> list[str]:
    """Labels of the exercises on code."""
    cells = [c for c in page.notebook.cells if "numbers" in c.metadata.get("tags", [])]
    return [re.search(r'numbers\(\s*student,\s*"([\w-]+)"', cell.source)[1] for cell in cells]


def _made(page: NotebookPage, cells: list) -> nbformat.NotebookNode:
    """A plain notebook of these cells."""
    notebook = nbformat.from_dict({**page.notebook, "cells": []})
    notebook.cells = cells
    return plain(notebook, page.id, headings=_headings())


def _without_answers(page: NotebookPage, answer) -> list:
    """The page's cells without what tells an answer, and with a cell for each one in words.

    ``answer(label, words)`` gives that cell's text.
    """
    coded = _coded(page)
    cells, told = [], []
    section = ""
    for cell in nbformat.from_dict(page.notebook).cells:
        if cell.cell_type == "code":
            if not CLAIMS.search(cell.source):
                cells.append(cell)
                told += [cell] if TELLING.fullmatch(section) else []
            continue
        for part in re.split(r"(?m)^(?=## )", cell.source):
            if found := re.match(r"## +(.+?) *$", part, re.MULTILINE):
                section = found[1]
            if not TELLING.fullmatch(section):
                cells += _with_places(part, cell["id"], coded, answer)
    return _needed([cell for cell in cells if cell.source.strip()], told)


def _with_places(text: str, name: str, coded: list[str], answer) -> list:
    """Markdown cells of a text, each solution in words replaced by a place for the answer."""
    made, end = [], 0
    for found in DIRECTIVE.finditer(text):
        if found[2] != "solution":
            continue
        made.append(nbformat.v4.new_markdown_cell(text[end : found.start()]))
        end, label = found.end(), found[3].strip()
        if label not in coded:
            words = answer(label, OPTION.sub("", found[4]).strip())
            place = nbformat.v4.new_markdown_cell(words, metadata={"exercise": label})
            place["id"] = label
            made.append(place)
    made.append(nbformat.v4.new_markdown_cell(text[end:]))
    for number, cell in enumerate(made):
        if "exercise" not in cell.metadata:
            cell["id"] = f"{name}-{len(text)}-{number}"
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


def read_plan(path: Path) -> dict[str, Any]:
    """A course from its file: ``title``, ``lessons`` and, for Colab, ``install``.

    A lesson has a ``title``, its ``pages`` and, if not all exercises are meant, the labels of
    its ``exercises``.

    Raises
    ------
    UsageError
        If the file cannot be read, a part is missing or unknown, a page or an exercise does
        not exist, or a page is in two lessons.
    """
    try:
        plan = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise UsageError(f"cannot read the plan {path}: {error}") from None
    if not isinstance(plan, dict) or not {"title", "lessons"} <= plan.keys():
        raise UsageError(f"the plan {path.name} needs a title and lessons")
    if unknown := plan.keys() - {"title", "lessons", "install"}:
        raise UsageError(f"the plan {path.name} has no use for '{min(unknown)}'")
    seen: set[str] = set()
    for lesson in plan["lessons"]:
        if unknown := lesson.keys() - {"title", "pages", "exercises", "reading"}:
            raise UsageError(f"a lesson of {path.name} has no use for '{min(unknown)}'")
        for name in lesson.get("pages", []):
            page = find_page(name)
            if page.name in seen:
                raise UsageError(f"the plan {path.name} has the page {page.name} twice")
            seen.add(page.name)
        if unknown := set(lesson.get("exercises", [])) - exercises().keys():
            raise UsageError(f"the plan {path.name} names no exercise with '{min(unknown)}'")
    return plan


def build_course(plan: Path, target: Path) -> list[Path]:
    """Write a course: notebooks for students and teachers, nbgrader's sources, a syllabus, zips.

    Parameters
    ----------
    plan : Path
        See :func:`stlcore.pages.course.read_plan`.
    target : Path
        A folder; an earlier course there is replaced, anything else is left alone.

    Returns
    -------
    list of Path
        What was written: the syllabus, the three folders and the two archives.
    """
    course = read_plan(plan)
    folders = {kind: target / kind for kind in ("student", "teacher", "nbgrader")}
    for folder in folders.values():
        if folder.exists() and not (folder / ".course").exists():
            raise UsageError(f"{folder} is there and no course: choose another folder")
    for folder in folders.values():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        (folder / ".course").touch()
    for lesson in course["lessons"]:
        for name in lesson["pages"]:
            page = find_page(name)
            made = {
                folders["student"] / f"{page.name}.ipynb": student_version(page),
                folders["teacher"] / f"{page.name}.ipynb": teacher_version(page),
                folders["nbgrader"] / "source" / page.name / f"{page.name}.ipynb": assignment(page),
            }
            for file, notebook in made.items():
                if install := course.get("install"):
                    notebook.cells.insert(0, nbformat.v4.new_code_cell(f"%{install}", id="install"))
                file.parent.mkdir(parents=True, exist_ok=True)
                nbformat.write(notebook, file)
    (folders["nbgrader"] / "nbgrader_config.py").write_text(
        "c = get_config()\nc.CourseDirectory.course_id = 'course'\nc.Execute.timeout = 600\n",
        encoding="utf-8",
    )
    syllabus = target / "syllabus.md"
    syllabus.write_text(_syllabus(course), encoding="utf-8")
    zips = [
        Path(shutil.make_archive(str(folders[kind]), "zip", folders[kind]))
        for kind in ("student", "teacher")
    ]
    return [syllabus, *folders.values(), *zips]


def _syllabus(course: dict[str, Any]) -> str:
    """Lessons with their pages, reading and exercises, minutes and points added up."""
    known = exercises()
    lines = [f"# {course['title']}", ""]
    total = [0, 0]
    for number, lesson in enumerate(course["lessons"], 1):
        lines += [f"## Lesson {number}: {lesson['title']}", ""]
        if reading := lesson.get("reading"):
            lines += [f"Reading: {reading}", ""]
        lines += ["| page | exercise | kind | level | minutes | points | goal |", "|" + "---|" * 7]
        for name in lesson["pages"]:
            page = find_page(name)
            chosen = lesson.get("exercises") or known
            for label in (x for x in known if x.split("-")[1] == page.name and x in chosen):
                e = known[label]
                lines.append(
                    f"| {page.id} {page.title} | {label} | {e.kind} | {e.level} | {e.minutes} "
                    f"| {e.points} | {e.goal} |"
                )
                total = [total[0] + e.minutes, total[1] + e.points]
        lines.append("")
    lines += [f"In all {total[0]} minutes of exercises, {total[1]} points.", ""]
    return "\n".join(lines)
