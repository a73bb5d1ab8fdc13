"""What a student gets of a page: readable in plain Jupyter, without answers, and it runs."""

from __future__ import annotations

import ast
import builtins
import os
import re
import shutil
from functools import cache
from pathlib import Path
from unittest import mock

import nbformat
import numpy as np
import pytest
import yaml
from nbclient import NotebookClient

from stlcore.pages.course import build_course, read_plan
from stlcore.pages.exercise import agrees, numbers
from stlcore.pages.plain import BLANK, DIRECTIVE, OPTION, Target, find_target, plain
from stlcore.pages.repository import ROOT, UsageError
from stlcore.pages.runner import NotebookPage, find_page, pages
from stlcore.pages.versions import (
    assignment,
    exercises,
    names,
    solutions_apart,
    student_version,
    teacher_version,
)

PAGES = pages()


@pytest.fixture(params=PAGES, ids=lambda page: page.name)
def page(request):
    return request.param


@pytest.fixture
def student(page):
    return student_of(page)


@cache
def student_of(page):
    """What students get of a page, made once for all tests that only look at it."""
    return student_version(page)


def prose(notebook) -> str:
    return "\n\n".join(c.source for c in notebook.cells if c.cell_type == "markdown")


def directives(page, kind) -> list[tuple[str, str]]:
    """Argument and body of every directive of a kind."""
    text = prose(page.notebook)
    return [(argument, body) for _, name, argument, body in DIRECTIVE.findall(text) if name == kind]


def solutions(page) -> dict[str, str]:
    """Solutions by the label of their exercise."""
    return {argument: OPTION.sub("", body) for argument, body in directives(page, "solution")}


def asked(page) -> dict[str, str]:
    """What exercises ask for, by their labels."""
    return {dict(OPTION.findall(body))["label"]: body for _, body in directives(page, "exercise")}


# --- Plain Jupyter ---------------------------------------------------------------------------


@pytest.mark.parametrize("made", [student_of, lambda p: plain(p.notebook, p.id)])
def test_no_directive_and_no_role_is_left(page, made):
    notebook = made(page)
    nbformat.validate(notebook)
    text = prose(notebook)
    assert not re.findall(r"(?m)^(?:`{3,}|:{3,})\{.*", text)
    assert not re.findall(r"\{[\w:-]+\}`", text)
    assert not re.findall(
        r"(?m)^:[\w-]+:|^\([\w-]+\)=|\[\[\w+(?::[^\]]*)?\]\]", re.sub("`[^`]*`", "", text)
    )
    for cell in notebook.cells:
        assert "mystnb" not in cell.metadata


def test_what_the_book_folds_is_folded(student):
    for cell in student.cells:
        if "hide-input" in cell.metadata.get("tags", []):
            assert cell.metadata["jupyter"]["source_hidden"] is True


def test_every_statement_and_exercise_has_a_heading(page, student):
    for word in ("exercise", "prf:theorem", "prf:proposition"):
        count = page.path.read_text(encoding="utf-8").count(f"```{{{word}}}")
        heading = word.removeprefix("prf:").capitalize()
        assert len(re.findall(rf"(?m)^\*\*{heading} \d", prose(student))) == count


def test_values_stand_where_a_run_gives_them():
    page = find_page("c02")
    assert f"both say {BLANK} (`last`)" in prose(plain(page.notebook, page.id))
    text = prose(plain(page.notebook, page.id, {"last": 0.25, "gap": 1e-17, "ratio": 2}))
    assert "both say 0.2500000000; over all rounds they differ by at most 1.0e-17" in text
    assert BLANK not in text


def test_an_unknown_role_is_a_mistake():
    cell = nbformat.v4.new_markdown_cell("{magic}`x`")
    with pytest.raises(ValueError, match="the role 'magic' has no plain form"):
        plain(nbformat.v4.new_notebook(cells=[cell]), "C-02")


def test_a_label_is_found_on_a_page_that_it_does_not_name(project):
    page = project / "notebooks" / "contamination" / "c92_other.md"
    page.write_text("# Title\n\n(here)=\n## There\n")
    assert find_target(project, "here") == Target("C-92", "“There”")
    assert find_target(project, "fig-c90") == Target("C-90", "Figure 1")
    assert find_target(project, "fig-c93") is None


# --- Student versions ------------------------------------------------------------------------


def test_student_version(project):
    page = find_page("c90")
    before = nbformat.writes(page.notebook)
    student = student_version(page)
    text = nbformat.writes(student)
    nbformat.validate(student)
    assert "secret" not in text
    assert "{solution}" not in text
    assert "How large is it?" in text
    assert "The end." in text
    assert "page.finish()" not in text
    assert not any(cell.get("outputs") for cell in student.cells)
    assert nbformat.writes(page.notebook) == before


def test_student_version_keeps_what_stands_around_a_solution(tmp_path):
    path = tmp_path / "c92_around.md"
    path.write_text(
        "# Title\n\nBefore.\n\n```{solution} one\n$1$\n```\n\nBetween.\n\n"
        "`````{solution} two\n````{note}\n```\ncode\n```\n````\n`````\n\nAfter.\n"
    )
    text = prose(student_version(NotebookPage(path)))
    assert [line for line in text.splitlines() if line] == [
        "# Title",
        "Before.",
        "*Your answer:*",
        "Between.",
        "*Your answer:*",
        "After.",
    ]


def test_no_claim_is_left_and_no_name_is_missing(student):
    """Nothing that is left out is needed by what is left; a function's names may come later."""
    code = [cell.source for cell in student.cells if cell.cell_type == "code"]
    assert not any("page.finish" in source or "claims." in source for source in code)
    bound = set(dir(builtins)).union(*(names(source)[0] for source in code))
    for source in code:
        assert not names(source)[1] - bound


def squeezed(text: str) -> str:
    """A text without what makes two formulas look different that are not."""
    text = re.sub(r"\\[,;!]|\\[bB]igg?[lr]?", "", text)
    text = re.sub(r"[\s{}]|(?<=\\)[td](?=frac)", "", text)
    return re.sub(r"(\w)/(?:(\w)|\(([^()]*)\))", r"\\frac\1\2\3", text)


def strings(value) -> list[str]:
    """All texts in a notebook: those of cells, of outputs and of what is said about them."""
    if isinstance(value, str):
        return [value]
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for part in parts for text in strings(part)]


#: What a solution repeats of its page, each looked at: a term of a statement that it starts
#: from, a number of the example that it changes, a symbol. None is what was asked for.
REPEATED = {
    "ex-a01-fresh": [r"(1-\alpha)^i/n"],
    "ex-a02-limit": ["0.05", r"(1-\alpha)^{i+1}"],
    "ex-a03-limit": [r"\mathrm{TV}(D_i,D_0)"],
    "ex-a03-reuse": [r"\alpha(1-\alpha)n\beta\gamma"],
    "ex-a04-code": ["u=1/(d+2)"],
    "ex-a04-forget": [r"\lVert w^*\rVert^2"],
    "ex-a06-limit": [r"\lambda\to\infty"],
    "ex-a06-one": [r"\alpha>\frac12"],
    "ex-b01-second": [r"e^{-2\kappa\tau}"],
    "ex-b02-second": ["0.565", "0.085"],
    "ex-b04-first": [r"a=\frac{i-1}i"],
    "ex-b05-code": [r"A_{i-1}=\frac1i"],
    "ex-b05-second": [r"1,\frac12,\frac13,\dots"],
    "ex-b06-first": [r"\lambda'(1)"],
    "ex-b06-second": [r"\frac\lambda{1+2\lambda}"],
    "ex-b07-code": [r"\mathbb E\hat p"],
    "ex-b07-steps": [r"\frac12\sqrt{\mu_2}"],
    "ex-b10-error": [r"\mathrm{err}_i"],
    "ex-c03-half": [r"(1-\alpha)^2", r"R_\infty/R_1"],
    "ex-c03-code": [r"(1-\alpha)^2"],
    "ex-c03-kinship": [r"(1-\alpha)^2"],
    "ex-c04-code": ["R_{t-1}/V"],
    "ex-c06-half": [r"(1-\tfrac1n)^t"],
    "ex-c07-urn": ["R_1=V/n_1", r"\dfrac{2V}{n_1+1}"],
    "ex-c08-first": ["n_2/n_1"],
    "ex-c08-known": [r"\mathbb E[\hat\theta_2\mid D_1]"],
    "ex-c09-rate": [
        r"\mathrm{KL}(P^*\|P_\theta)",
        r"\mathrm{KL}(P_{\theta_1}\|P_\theta)",
        r"N(\theta,1)",
    ],
    "ex-c11-effective": [r"N_t^2/n_t"],
    "ex-c11-one": ["n_t/N_t^2"],
    "ex-c13-half": [r"1-(1-\alpha)^2"],
    "ex-c14-monotone": [r"\varphi(x)^2x\le c", r"\varphi(x)^2x"],
    "ex-n03-one-step": [r"\alpha(1-\alpha)R"],
    "ex-n03-run": ["taken_for_real"],
    "ex-n05-normal": [r"\sigma^2/n"],
    "ex-n06-best": [r"\alpha\theta^*_k"],
}


#: Letters of a formula and of code from which on it tells something.
SHORT = 11


def telling(solution: str) -> list[str]:
    """What would give a solution away: formulas, code, values and runs of seven words."""
    formulas = re.findall(r"(?s)\$\$(.+?)\$\$|(?<!\$)\$([^$]+)\$", solution)
    whole = [a or b for a, b in formulas]
    sides = [side for text in whole for side in re.split(r"=|<|>|\\(?:to|approx|le|ge)\b", text)]
    found = [f for f in whole + sides if len(squeezed(f)) >= SHORT]
    words = re.sub(r"\$[^$]*\$|\{[\w:]+\}`[^`]*`", "\n", solution)
    found += [code for code in re.findall(r"`([^`]+)`", words) if len(code) >= SHORT]
    found += re.findall(r"(?<![\w.])\d+\.\d{2,}|\b\d{1,3}(?:,\d{3})+\b", solution)
    for sentence in re.split(r"[.!?:]\s|\n", words):
        run = sentence.split()
        found += [" ".join(run[k : k + 7]) for k in range(len(run) - 6)]
    return found


def leaks(notebook, solution: str, question: str) -> set[str]:
    """What a notebook tells of a solution, beyond what its exercise does."""
    left, known = squeezed("\n\n".join(strings(notebook))), squeezed(question)
    texts = {squeezed(text) for text in telling(solution)}
    return {text for text in texts if text in left and text not in known}


def test_nothing_gives_a_solution_away(page, student):
    """Phrases, formulas, code and values of a solution stand nowhere, but in its exercise."""
    known = asked(page)
    for label, solution in solutions(page).items():
        found = leaks(student, solution, known[label])
        assert found <= {squeezed(text) for text in REPEATED.get(label, [])}, label


@pytest.mark.parametrize(
    "leak",
    [
        r"So it is $ \dfrac{ V }{2 c n+1}$ in the end.",
        "A fresh item is worth twice what it seems to be.",
        "# title: about 0.626 of it\nplt.title('0.626')",
        "less than one for 14,641 of them",
        "x = classify(Share.power(2), 1)",
    ],
)
@pytest.mark.parametrize("place", ["text", "code", "output", "alt"])
def test_a_planted_answer_is_found(leak, place):
    solution = (
        r"The limit is $\tfrac V{2cn+1}$, and $0.626\,n$ of them. One costs 14,641 others. "
        "A fresh item is worth twice what it seems. Use `classify(Share.power(2), 1)`."
    )
    notebook = student_version(find_page("c03"))
    assert not leaks(notebook, solution, "")
    output = nbformat.v4.new_output("stream", text=leak)
    notebook.cells.append(
        {
            "text": nbformat.v4.new_markdown_cell(leak),
            "code": nbformat.v4.new_code_cell(leak),
            "output": nbformat.v4.new_code_cell("x", outputs=[output]),
            "alt": nbformat.v4.new_code_cell("x", metadata={"image": {"alt": leak}}),
        }[place]
    )
    assert leaks(notebook, solution, "")
    assert not leaks(notebook, solution, leak)


def test_no_code_of_a_solution_is_left(page, student):
    """Longer lines of it, blanks apart; what a stub says of its arguments is for all."""
    cells = [c for c in page.notebook.cells if c.cell_type == "code"]
    tagged = [(set(c.metadata.get("tags", [])), c.source) for c in cells]
    given = "".join(source for tags, source in tagged if tags & {"numbers", "stub", "check"})
    lines = {
        re.sub(r"\s", "", line)
        for tags, source in tagged
        for line in source.splitlines()
        if "solution" in tags and not line.startswith(("from ", "import "))
    }
    left = re.sub(r"\s", "", "".join(c.source for c in student.cells))
    given = re.sub(r"\s", "", given)
    assert not [line for line in lines if len(line) >= 24 and line in left and line not in given]


def test_a_solution_for_teachers_is_in_no_page():
    """Nor in what students get; a teacher's notebook has it, and so has nbgrader's source."""
    for label, solution in solutions_apart().items():
        page = find_page(label.split("-")[1])
        last = solution.split("Points:")[1].strip()  # how it is graded
        public = (page.path.read_text("utf-8"), nbformat.writes(student_version(page)))
        for words in (text for text in telling(solution) if text.count(" ") >= 6):
            assert not any(squeezed(words) in squeezed(found) for found in public), words
        for version in (teacher_version, assignment):
            assert last in prose(version(page, apart=solutions_apart()))
            assert last not in prose(version(page))


#: Pages that show a kept result, which is not there outside the repository.
KEEPING = [page.name for page in PAGES if "page.kept(" in page.path.read_text("utf-8")]
SLOW = pytest.mark.skipif("STLCORE_SLOW" not in os.environ, reason="minutes: STLCORE_SLOW=1")


@pytest.mark.parametrize(
    "name", ["c02", "a01", *(pytest.param(name, marks=SLOW) for name in KEEPING)]
)
def test_a_student_version_runs_outside_the_repository(name, tmp_path):
    """With a copy of the package alone, as where it is installed."""
    shutil.copytree(ROOT / "stlcore", tmp_path / "stlcore")
    notebook = student_version(find_page(name))
    notebook.cells.append(nbformat.v4.new_code_cell("import stlcore; print(stlcore.__file__)"))
    place = {"metadata": {"path": str(tmp_path)}}
    runner = NotebookClient(notebook, kernel_name="python3", timeout=300, resources=place)
    env = {"PYTHONPATH": str(tmp_path), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    with mock.patch.dict(os.environ, {**env, "OMP_NUM_THREADS": "1"}, clear=True):
        runner.execute()
    (shown,) = notebook.cells[-1].outputs
    assert shown.text.startswith(str(tmp_path))


# --- Quick checks ----------------------------------------------------------------------------


def quick_checks(page) -> list[tuple[str, list[str], str]]:
    """Question, letters of the options and answer of each quick check."""
    text = prose(page.notebook).partition("### Quick check")[2]
    text = re.split(r"(?m)^## ", text)[0]
    found = DIRECTIVE.split(text)
    asked, answers = found[:-1:5], found[4::5]
    return [
        (question, re.findall(r"(?m)^- \((\w)\) ", question), OPTION.sub("", answer).strip())
        for question, answer in zip(asked, answers, strict=True)
    ]


def test_an_answer_says_why_the_others_are_wrong(page, student):
    text = prose(student)
    assert len(quick_checks(page)) >= 2
    for question, letters, answer in quick_checks(page):
        assert 2 <= len(letters) <= 4
        assert set(letters) == set(re.findall(r"\((\w)\)", answer))
        assert re.match(r"\(\w\)[:,.]", answer)  # the right one first
        assert re.search(r"\*\*\d\.\*\* (.+)", question)[1] in text
        assert not any(sentence in text for sentence in answer.splitlines())


# --- Exercises on code -----------------------------------------------------------------------

ORDER = ["numbers", "stub", "solution", "check", "hidden-check"]


def exercise_cells(page) -> list[tuple[str, str]]:
    """Kind and source of the cells of the page's exercises on code.

    A solution in words may have a cell, too, for its numbers; it follows no stub.
    """
    found: list[tuple[str, str]] = []
    for cell in page.notebook.cells:
        kinds = [kind for kind in ORDER if kind in cell.metadata.get("tags", [])]
        if kinds and not (kinds == ["solution"] and (not found or found[-1][0] != "stub")):
            found += [(kind, cell.source) for kind in kinds]
    return found


def signature(code: str) -> tuple[str, str]:
    (function,) = ast.parse(code).body
    assert isinstance(function, ast.FunctionDef)
    return function.name, ast.unparse(function.args)


def test_a_page_has_an_exercise_on_code_with_all_its_cells_in_order(page):
    found = exercise_cells(page)
    assert found
    assert [kind for kind, _ in found] == ORDER * (len(found) // len(ORDER))
    for k in range(0, len(found), len(ORDER)):
        stub, solution = found[k + 1][1], found[k + 2][1]
        assert signature(stub) == signature(solution)
        (function,) = ast.parse(stub).body
        assert ast.get_docstring(function)
        assert ast.unparse(function.body[-1]) == "raise NotImplementedError"


NEAR_MISSES = yaml.safe_load((Path(__file__).parent / "near_misses.yml").read_text("utf-8"))


def imports_for(sources: list[str], page) -> str:
    """Those imports of the page's first cell that these cells need."""
    first = next(c.source for c in page.notebook.cells if c.cell_type == "code")
    needed = set().union(*(names(source)[1] for source in sources))
    lines = [ast.unparse(statement) for statement in ast.parse(first).body]
    return "\n".join(line for line in lines if names(line)[0] & needed)


def test_its_checks_pass_the_solution_and_nothing_less(page, capsys):
    """The page's imports are all they need, so that an exercise can be done without a run."""
    near_misses = NEAR_MISSES[f"ex-{page.name}-code"]
    assert len(near_misses) >= 2
    space: dict = {}
    found = exercise_cells(page)
    exec(imports_for([source for _, source in found], page), space)
    for k in range(0, len(found), len(ORDER)):
        numbers, stub, solution, check, hidden = (source for _, source in found[k : k + 5])
        exec(numbers, space)
        exec(stub, space)
        for source in (check, hidden):
            with pytest.raises(NotImplementedError):
                exec(source, space)
        name = signature(stub)[0]
        exec(solution, space)
        exec(check, space)
        exec(hidden, space)
        right = space[name]
        space[name] = lambda *given, right=right: 1.001 * np.asarray(right(*given), dtype=float)
        for source in (check, hidden):  # one per mille off
            with pytest.raises(AssertionError):
                exec(source, space)
        for text, wrong in near_misses:
            assert text in solution
            exec(solution.replace(text, wrong), space)
            with pytest.raises((AssertionError, IndexError, TypeError, ValueError)):
                exec(f"{check}\n{hidden}", space)


def test_an_answer_cannot_grade_itself(page):
    """It may bind the names that checks use, by accident or not: the hidden one does not care."""
    cells = [c for c in assignment(page).cells if c.cell_type == "code"]
    sources = [c.source for c in cells]
    (numbers,) = [
        s for s in sources if "from stlcore.pages import agrees" in s and "BEGIN" not in s
    ]
    (answer,) = [s for s in sources if "### BEGIN SOLUTION" in s]
    (check,) = [s for s in sources if "### BEGIN HIDDEN TESTS" in s]
    space: dict = {}
    exec(imports_for([source for _, source in exercise_cells(page)], page), space)
    exec(numbers, space)
    exec(answer, space)
    exec(check, space)
    name = re.search(r"def (\w+)", answer)[1]
    exec(f"{name} = agrees = lambda *given, **more: 0.0", space)
    hidden = check[check.index("### BEGIN HIDDEN TESTS") :]
    visible = check[: check.index("### BEGIN HIDDEN TESTS")]
    helpers = [ast.unparse(n) for n in ast.parse(visible).body if isinstance(n, ast.FunctionDef)]
    exec("\n".join(helpers), space)
    with pytest.raises((AssertionError, TypeError, IndexError, ValueError)):
        exec(hidden, space)


def test_every_exercise_says_what_it_is_and_no_other_does():
    known = exercises()
    labels = [label for page in PAGES for label in asked(page)]
    assert sorted(known) == sorted(labels)
    solved = {label for page in PAGES for label in solutions(page)}
    assert solved == {label for label, found in known.items() if not found.apart}
    assert solutions_apart().keys() == known.keys() - solved
    for page in PAGES:
        own = {label for label, found in exercises().items() if found.kind == "code"}
        names = {label for label in own if f"-{page.name}-" in label}
        assert names == {f"ex-{page.name}-code"}
    assert sum(found.kind == "code" for found in exercises().values()) == len(PAGES)


def test_a_heading_says_what_an_exercise_is_worth():
    text = prose(student_version(find_page("c02")))
    assert "**Exercise 3.** *Code, level 1, 20 minutes, 4 points.*" in text


def test_numbers_belong_to_a_name():
    given = {"share": (0.0, 1.0), "sizes": (3, 5, 200), "shares": (0.5, 1, 4)}
    one, two = numbers("Ada", "ex", **given), numbers("Emmy", "ex", **given)
    assert vars(one).keys() == given.keys()
    assert one.share == numbers(" ADA ", "ex", share=(0.0, 1.0)).share != two.share
    assert one.share != numbers("Ada", "other", share=(0.0, 1.0)).share
    assert set(one.sizes) == {3, 4, 5}
    assert isinstance(one.share, float)
    assert np.all((one.shares >= 0.5) & (one.shares <= 1))
    for name, ranges in (("", {}), (" ", {}), ("Ada", {"share": (1, 1)})):
        with pytest.raises(ValueError, match=r"name|range"):
            numbers(name, "ex", **ranges)


def test_agrees_says_where_and_not_what(capsys):
    agrees([1, 2.0000000001], [1, 2])
    assert capsys.readouterr().out == "2 values agree\n"
    agrees(3, 3.0)
    for answer, words in (
        ([1, 2.5], "1 of 2 values are off, the first at place 1"),
        ([1, np.nan], "1 of 2 values are off, the first at place 1"),
        ([1], r"the answer has the shape \(1,\), not \(2,\)"),
        ("two", "the answer is not made of numbers"),
        (None, r"the answer has the shape \(\), not \(2,\)"),
    ):
        with pytest.raises(AssertionError, match=words):
            agrees(answer, [1, 2])


# --- Courses ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "plan", sorted((ROOT / "book/courses").glob("*.yml")), ids=lambda p: p.stem
)
def test_a_plan_of_the_book_can_be_read(plan):
    assert len(read_plan(plan)["lessons"]) == 6


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("title: One", "needs a title and lessons"),
        ("title: One\nlessons: []\nroom: 3", "has no use for 'room'"),
        ("title: One\nlessons: [{title: A, pages: [c99]}]", "there is no page 'c99'"),
        ("title: One\nlessons: [{title: A, pages: [c02, C-02]}]", "has the page c02 twice"),
        ("title: One\nlessons: [{title: A, pages: [c02], exercises: [ex]}]", "'A' has 'ex'"),
        (
            "title: One\nlessons: [{title: A, pages: [c02], exercises: [ex-c03-code]}]",
            "no page of the lesson 'A' has 'ex-c03-code'",
        ),
        ("title: [", "cannot read the plan"),
    ],
)
def test_a_wrong_plan_is_one_sentence(text, words, tmp_path):
    (tmp_path / "plan.yml").write_text(text)
    with pytest.raises(UsageError, match=words):
        build_course(tmp_path / "plan.yml", tmp_path / "made")
    assert not (tmp_path / "made").exists()


def test_a_course_replaces_a_course_and_nothing_else(tmp_path):
    plan = tmp_path / "plan.yml"
    plan.write_text("title: One\ninstall: pip install it\nlessons: [{title: A, pages: [c02]}]")
    (tmp_path / "made" / "student").mkdir(parents=True)
    with pytest.raises(UsageError, match="is there and no course"):
        build_course(plan, tmp_path / "made")
    (tmp_path / "made" / "student").rmdir()
    assert build_course(plan, tmp_path / "made") == build_course(plan, tmp_path / "made")
    for kind in ("student", "teacher"):
        notebook = nbformat.read(tmp_path / "made" / kind / "c02.ipynb", as_version=4)
        assert notebook.cells[0].source == "%pip install it"
        assert ("Solution of Exercise 1" in prose(notebook)) == (kind == "teacher")
    syllabus = (tmp_path / "made" / "syllabus.md").read_text()
    assert "| C-02 The risk recurrence, exactly | ex-c02-code | code | 1 | 20 | 4 |" in syllabus
    assert "In all 85 minutes of exercises, 14 points." in syllabus


def test_a_lesson_has_the_exercises_that_were_chosen(tmp_path):
    """In all three versions; those on code go with all of their cells."""
    (tmp_path / "private").mkdir()
    (tmp_path / "private" / "ex-c02-exam.md").write_text("For teachers. Points: all of them.")
    (tmp_path / "plan.yml").write_text(
        "title: One\nsolutions: private\nlessons:\n"
        "  - {title: A, pages: [c02, c03], exercises: [ex-c02-first, ex-c02-exam, ex-c03-code]}\n"
        "  - {title: B, pages: [c04], exercises: [ex-c04-fresh]}\n"
        "  - {title: C, pages: [c06], exercises: []}\n"
    )
    build_course(tmp_path / "plan.yml", tmp_path / "made")
    places = {kind: f"{kind}/{{0}}.ipynb" for kind in ("student", "teacher")}
    for kind, place in (places | {"nbgrader": "nbgrader/source/{0}/{0}.ipynb"}).items():
        made = {
            name: nbformat.read(tmp_path / "made" / place.format(name), as_version=4)
            for name in ("c02", "c03", "c04", "c06")
        }
        headings = {n: re.findall(r"(?m)^\*\*(Exercise \d)", prose(made[n])) for n in made}
        assert headings == {
            "c02": ["Exercise 1", "Exercise 4"],
            "c03": ["Exercise 4"],
            "c04": ["Exercise 1"],
            "c06": [],
        }
        assert "## Exercises" not in prose(made["c06"])
        code = {
            n: "\n".join(c.source for c in made[n].cells if c.cell_type == "code") for n in made
        }
        assert [n for n in made if "agrees(" in code[n]] == ["c03"]
        assert ("For teachers." in prose(made["c02"])) == (kind != "student")
    syllabus = (tmp_path / "made" / "syllabus.md").read_text()
    assert re.findall(r"\| (ex-[\w-]+) \|", syllabus) == [
        *("ex-c02-first", "ex-c02-exam", "ex-c03-code", "ex-c04-fresh")
    ]
