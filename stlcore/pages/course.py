"""A course made from a plan: notebooks for all lessons, a syllabus, and what nbgrader needs.

A lesson has pages and, if not all of them are meant, exercises; only those are in its notebooks
(:mod:`stlcore.pages.versions`).
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from stlcore.lazy import extra
from stlcore.pages.repository import UsageError
from stlcore.pages.runner import find_page
from stlcore.pages.versions import (
    assignment,
    exercises,
    solutions_apart,
    student_version,
    teacher_version,
)

with extra("book"):
    import nbformat
    import yaml

__all__ = ["build_course", "read_plan"]


def read_plan(path: Path) -> dict[str, Any]:
    """A course from its file: ``title``, ``lessons`` and, if need be, ``install``, ``solutions``.

    A lesson has a ``title``, its ``pages`` and, if not all exercises are meant, the labels of
    its ``exercises``. ``install`` is the first cell of each notebook, for Colab; ``solutions``
    is the folder of those that the book does not have, seen from the plan.

    Raises
    ------
    UsageError
        If the file cannot be read, a part is missing or unknown, a page does not exist or is
        in two lessons, or an exercise is on no page of its lesson.
    """
    try:
        plan = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise UsageError(f"cannot read the plan {path}: {error}") from None
    if not isinstance(plan, dict) or not {"title", "lessons"} <= plan.keys():
        raise UsageError(f"the plan {path.name} needs a title and lessons")
    if unknown := plan.keys() - {"title", "lessons", "install", "solutions"}:
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
        labels = {x for name in lesson.get("pages", []) for x in labels_of(find_page(name).name)}
        if unknown := set(lesson.get("exercises", [])) - labels:
            raise UsageError(f"no page of the lesson {lesson['title']!r} has '{min(unknown)}'")
    return plan


def labels_of(page: str) -> list[str]:
    """The labels of a page's exercises."""
    return [label for label in exercises() if label.split("-")[1] == page]


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
    elsewhere = course.get("solutions")
    apart = solutions_apart(plan.parent / elsewhere if elsewhere else None)
    for lesson in course["lessons"]:
        chosen = lesson.get("exercises")
        for name in lesson["pages"]:
            page = find_page(name)
            source = folders["nbgrader"] / "source" / page.name / f"{page.name}.ipynb"
            made = {
                folders["student"] / f"{page.name}.ipynb": student_version(page, chosen),
                folders["teacher"] / f"{page.name}.ipynb": teacher_version(page, chosen, apart),
                source: assignment(page, chosen, apart),
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
            chosen = lesson.get("exercises", known)
            for label in (x for x in labels_of(page.name) if x in chosen):
                e = known[label]
                lines.append(
                    f"| {page.id} {page.title} | {label} | {e.kind} | {e.level} | {e.minutes} "
                    f"| {e.points} | {e.goal} |"
                )
                total = [total[0] + e.minutes, total[1] + e.points]
        lines.append("")
    lines += [f"In all {total[0]} minutes of exercises, {total[1]} points.", ""]
    return "\n".join(lines)
