"""Every page keeps to book/authoring.md. Nothing is executed here; see test_book.py for that."""

from __future__ import annotations

import ast
import re
from functools import cache

import nbformat
import papermill
import pytest
import yaml

from stlcore.pages.parameters import by_profile, check_value
from stlcore.pages.repository import ROOT
from stlcore.pages.runner import NotebookPage, pages, pair
from stlcore.pages.sources import find_source
from stlcore.pages.versions import solutions_apart

PAGES = pages()
HEADINGS = {  # of a page on a paper, and of a guide
    "paper": [
        r"The statement",
        r"In plain words",
        r"A tiny example by hand",
        r"The experiment",
        r"Reading the figures?",
        r"Claims",
        r"Exercises",
        r"What the paper leaves open, and what we found",
    ],
    "guide": [
        r"In plain words",
        r"The protocol",
        r"The experiment",
        r"Reading the figures?",
        r"Claims",
        r"Exercises",
        r"Where to go from here",
    ],
}
SOURCES = {"paper": r"Papers? [ABC]\b", "guide": r"Guide: stlcore\.\w"}
MARKS = {
    "primary": "paper",
    "success": "derived",
    "warning": "choice",
    "danger": "reconstructed",
    "info": "observed",
}
STATEMENTS = "theorem|lemma|definition|proposition|corollary|remark|algorithm|assumption|example"


@pytest.fixture(params=PAGES, ids=lambda page: page.name)
def page(request) -> NotebookPage:
    return request.param


def kind(page) -> str:
    return "guide" if page.path.parent.name == "guide" else "paper"


def code_cells(page):
    return [cell for cell in page.notebook.cells if cell.cell_type == "code"]


@cache
def prose(page) -> str:
    return "\n\n".join(c.source for c in page.notebook.cells if c.cell_type == "markdown")


def headings(page) -> list[str]:
    """Second-level headings; a line of code in a fence is none."""
    return re.findall(r"^## +(.+?) *$", re.sub(r"(?ms)^(`{3,}).*?^\1`*$", "", prose(page)), re.M)


def section(page, heading: str) -> str:
    """The prose below a heading, up to the next."""
    found = re.search(rf"(?ms)^## {heading} *$(.*?)(?=^## |\Z)", prose(page))
    return found.group(1) if found else ""


def directives(text: str, names: str) -> list[tuple[str, str]]:
    """Argument and body of every directive with one of these names."""
    pattern = rf"(?ms)^(`{{3,}}|:{{3,}})\{{(?:{names})\}} *([^\n]*)\n(.*?)^\1 *$"
    return [(argument.strip(), body) for _, argument, body in re.findall(pattern, text)]


def option(body: str, name: str) -> str | None:
    found = re.search(rf"^:{name}: *(.+?) *$", body, re.M)
    return found.group(1) if found else None


@cache
def trees(page) -> list[ast.Module]:
    """The code of every code cell, read once for all tests."""
    return [ast.parse(cell.source) for cell in code_cells(page)]


@cache
def all_calls(page) -> list[tuple[int, ast.Call, str]]:
    """Number of the code cell, node and full name of every call."""
    return [
        (number, node, ast.unparse(node.func))
        for number, tree in enumerate(trees(page))
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
    ]


def calls(page, name: str) -> list[tuple[int, ast.Call]]:
    """Number of the code cell and node of every call of ``name``, such as ``claims.check``."""
    pattern = re.compile(rf"(^|\.){name}$")
    return [(number, node) for number, node, full in all_calls(page) if pattern.search(full)]


def is_shown(cell) -> bool:
    return "hide-input" not in cell.metadata.get("tags", [])


# --- The collection --------------------------------------------------------------------------


def test_there_are_pages_and_no_two_have_one_name():
    assert PAGES
    names = [page.name for page in PAGES]
    assert len(set(names)) == len(names)


def test_no_source_is_unused():
    """The table of sources holds what a page or the errata rest on."""
    entries = yaml.safe_load((ROOT / "book/sources.yml").read_text(encoding="utf-8"))
    texts = [page.path.read_text(encoding="utf-8") for page in PAGES]
    texts += [(ROOT / "book/errata.md").read_text(encoding="utf-8")]
    named = set(re.findall(r"[\w.-]+", " ".join(texts)))
    assert [key for key in entries if key not in named] == []


def test_no_label_is_used_twice():
    labels = [label for page in PAGES for label in page_labels(page)]
    assert sorted(set(labels)) == sorted(labels)


# --- Files -----------------------------------------------------------------------------------


def test_text_is_in_normal_form_and_its_twin_agrees(page):
    for path, text in pair(page).items():
        assert path.exists(), f"{path.name} is missing: run 'make pairs'"
        assert path.read_text(encoding="utf-8") == text, f"{path.name}: run 'make pairs'"


def test_twin_holds_no_output(page):
    for cell in nbformat.read(page.path.with_suffix(".ipynb"), as_version=4).cells:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


def test_source_is_named(page):
    assert re.match(SOURCES[kind(page)], page.source)
    assert page.notebook.metadata["kernelspec"]["name"] == "python3"


# --- Parts -----------------------------------------------------------------------------------


def test_title_then_question(page):
    top = page.notebook.cells[0].source
    assert re.match(rf"# {page.id} · \S", top), "a page begins with its id and its title"
    assert len(re.findall(r"^# ", prose(page), re.M)) == 1
    before = prose(page).split("\n## ")[0]
    assert re.search(r"\*\*[^*]+\?\*\*", before), "the question, in bold, comes before any section"


def test_headings_are_there_in_order(page):
    found = headings(page)
    places = []
    for heading in HEADINGS[kind(page)]:
        matching = [k for k, text in enumerate(found) if re.fullmatch(heading, text)]
        assert len(matching) == 1, f"'## {heading}' occurs {len(matching)} times"
        places += matching
    assert places == sorted(places), found
    assert places[-1] == len(found) - 1


def test_an_assumption_is_broken(page):
    """Before the claims, where it makes some, or after them."""
    if kind(page) == "guide":
        pytest.skip("a guide proves nothing")
    found = headings(page)
    broken = found.index("Break the assumption")
    assert found.index("The experiment") < broken < found.index("Exercises")


def test_no_section_is_empty(page):
    for heading in headings(page):
        after = re.search(
            rf"(?ms)^## {re.escape(heading)} *$(.*?)(?=^## |\Z)", page.path.read_text("utf-8")
        )
        assert after.group(1).strip(), f"'## {heading}' is empty"


def test_statement_carries_a_mark(page):
    if kind(page) == "guide":
        pytest.skip("a guide states nothing of a paper")
    statement = section(page, "The statement")
    assert directives(statement, f"prf:(?:{STATEMENTS})"), "no prf: block in the statement"
    assert re.search(r"\{bdg-\w+\}`", statement)


def test_every_statement_begins_with_its_mark(page):
    for title, body in directives(prose(page), f"prf:(?:{STATEMENTS})"):
        lines = [line for line in body.splitlines() if line.strip() and not line.startswith(":")]
        assert re.match(r"\{bdg-\w+\}`\w+`", lines[0]), f"'{title}' does not begin with a mark"


def test_a_statement_of_a_paper_names_its_source(page):
    for title, body in directives(prose(page), f"prf:(?:{STATEMENTS})"):
        for mark, rest in re.findall(r"\{bdg-\w+\}`(paper|reconstructed)`([^\n]*)", body):
            keys = re.findall(r"\{source\}`([\w.-]+)`", rest)
            assert keys, f"'{title}' is marked {mark} without a {{source}} on the same line"
            for key in keys:
                find_source(mark, key)


def test_marks_have_their_colours(page):
    for colour, mark in re.findall(r"\{bdg-([\w-]+)\}`([^`]+)`", prose(page)):
        assert MARKS.get(colour) == mark


def test_exercises_have_folded_solutions(page):
    exercises = directives(section(page, "Exercises"), "exercise")
    labels = [option(body, "label") for _, body in exercises]
    assert len(labels) >= 2
    assert None not in labels
    solutions = directives(prose(page), "solution")
    public = [label for label in labels if label not in solutions_apart()]
    assert sorted(label for label, _ in solutions) == sorted(public)
    for label, body in solutions:
        assert option(body, "class") == "dropdown", f"the solution of {label} is not folded"
        assert len(re.sub(r"^:\w+:.*$", "", body, flags=re.M).strip()) > 20


def page_labels(page) -> list[str]:
    in_prose = re.findall(r"^:(?:label|name): *(\S+)", prose(page), re.M)
    anchors = re.findall(r"^\(([\w-]+)\)= *$", prose(page), re.M)
    figures = [
        cell.metadata["mystnb"]["figure"].get("name", "")
        for cell in code_cells(page)
        if "figure" in cell.metadata.get("mystnb", {})
    ]
    return in_prose + anchors + figures


def test_labels_carry_the_page(page):
    for label in page_labels(page):
        assert re.match(rf"[a-z]+-{page.name}(-|$)", label), label


# --- Code ------------------------------------------------------------------------------------


def test_page_starts_with_its_own_id(page):
    ((_, start),) = calls(page, "Page.start")
    assert ast.unparse(start.args[0]) == repr(page.id)


def test_parameters_fit_and_say_what_they_are(page):
    assert "profile" in page.parameters
    for name, (annotation, default) in page.parameters.items():
        values = (default.quick, default.paper) if isinstance(default, by_profile) else (default,)
        for value in values:
            check_value(name, annotation, value)
    (cell,) = (c for c in code_cells(page) if "parameters" in c.metadata.get("tags", []))
    for node in ast.parse(cell.source).body:
        statement = "\n".join(cell.source.splitlines()[node.lineno - 1 : node.end_lineno])
        assert re.search(r"#.*\w", statement), f"no comment on '{node.target.id}'"


def test_papermill_knows_every_parameter(page):
    """Else it warns of right names as it does of wrong ones."""
    known = papermill.inspect_notebook(str(page.path.with_suffix(".ipynb")))
    assert known.keys() == page.parameters.keys()
    assert all(read["help"] for read in known.values())


def test_parameters_are_used(page):
    pairs = zip(code_cells(page), trees(page), strict=True)
    others = [tree for cell, tree in pairs if "parameters" not in cell.metadata.get("tags", [])]
    assert len(others) == len(trees(page)) - 1
    names = {n.id for tree in others for n in ast.walk(tree) if isinstance(n, ast.Name)}
    assert set(page.parameters) - {"profile"} <= names


def test_cells_that_are_shown_are_short(page):
    """Imports, plots and claims are folded; the rest is read, and has under 20 lines of code."""
    for cell in filter(is_shown, code_cells(page)):
        lines = [line for line in cell.source.splitlines() if line.strip()]
        assert len(lines) < 20, f"{len(lines)} lines: {lines[0]} ..."


def test_no_line_of_code_is_cut_off(page):
    """The book shows 100 characters beside both of its side bars."""
    for cell in code_cells(page):
        assert [line for line in cell.source.splitlines() if len(line) > 100] == []


def test_figures_have_words(page):
    figures = [cell for cell in code_cells(page) if "page.show(" in cell.source]
    assert figures, "no figure"
    for cell in figures:
        words = cell.metadata.get("mystnb", {})
        figure, image = words.get("figure", {}), words.get("image", {})
        assert figure.get("name", "").startswith(f"fig-{page.name}")
        assert len(figure.get("caption", "")) >= 40, "the caption explains every line and band"
        assert len(image.get("alt", "")) >= 40, "the alt text states the finding"
        assert not is_shown(cell), "a cell that plots is tagged hide-input"
        last = ast.parse(cell.source).body[-1].value
        assert ast.unparse(last.func) == "page.show", "a figure's cell ends with page.show(fig)"
        wanted = re.findall(r"\[\[(\w+)", figure["caption"] + image["alt"])
        given = [keyword.arg for keyword in last.keywords]
        if None not in given:  # page.show(fig, **values) is looked at when the page runs
            assert set(wanted) == set(given) - {"origin"}


def test_figures_are_read(page):
    assert re.search(r"^\*?\*?\(?a[.)]", section(page, "Reading the figures?"), re.M)


def test_claims_and_controls(page):
    assert calls(page, r"claims\.(check|test|effect)")
    assert calls(page, r"claims\.control")
    for _, call in calls(page, r"claims\.(test|effect)"):
        for level in (k.value for k in call.keywords if k.arg == "level"):
            if isinstance(level, ast.Constant):
                assert 0 < level.value <= 1e-3
                if level.value > 1e-4:  # only where the page says why
                    assert re.search(r"false.alarm", prose(page)), f"why a level of {level.value}?"


def test_a_false_alarm_rate_typed_by_hand_is_derived(page):
    for number, call in calls(page, r"claims\.check"):
        if any(k.arg == "false_alarm" for k in call.keywords):
            source = code_cells(page)[number].source
            assert re.search(r"# .*false alarm", source), "a comment says where the rate is from"


def test_no_two_claims_have_the_same_words(page):
    said = [
        call.args[place].value
        for name, place in ((r"claims\.(check|test|effect)", 0), (r"claims\.control", 1))
        for _, call in calls(page, name)
        if isinstance(call.args[place], ast.Constant)
    ]
    assert sorted(set(said)) == sorted(said)


def called(expression: ast.AST, unpacked: dict[str, str]) -> set[str]:
    """The calls in an expression, and those that its names were unpacked from; not NumPy's."""
    own = {
        name.id
        for node in ast.walk(expression)
        if isinstance(node, ast.comprehension)
        for name in ast.walk(node.target)
        if isinstance(name, ast.Name)
    }
    found = set()
    for node in ast.walk(expression):
        if isinstance(node, ast.Call) and not ast.unparse(node.func).startswith(("np.", "[")):
            inside = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
            if node.args and not inside & own:
                found.add(ast.unparse(node))
        if isinstance(node, ast.Name) and node.id in unpacked and node.id not in own:
            found.add(unpacked[node.id])
    return found


def test_the_two_sides_of_a_claim_come_from_two_calls(page):
    unpacked = {
        name.id: ast.unparse(node.value)
        for tree in trees(page)
        for node in tree.body
        if isinstance(node, ast.Assign)
        and isinstance(node.value, ast.Call)
        and not ast.unparse(node.value.func).startswith("np.")
        for target in node.targets
        if isinstance(target, ast.Tuple)
        for name in target.elts
        if isinstance(name, ast.Name)
    }
    for _, call in calls(page, r"claims\.check"):
        measured, _, expected = call.args[1:4]
        same = called(measured, unpacked) & called(expected, unpacked)
        assert not same, f"{ast.unparse(call.args[0])}: both sides come from {same}"


def test_no_cell_is_empty(page):
    assert all(cell.source.strip() for cell in page.notebook.cells)


def test_nothing_is_claimed_after_the_end(page):
    ((end, _),) = calls(page, r"page\.finish")
    assert max(number for number, _ in calls(page, r"claims\.\w+")) <= end
    assert ast.unparse(trees(page)[end].body[-1]) == "page.finish()"


def test_random_numbers_come_from_named_streams(page):
    code = "\n".join(cell.source for cell in code_cells(page))
    assert not re.search(r"np\.random\.(?!Generator)|default_rng|\bimport random\b", code)
    for _, call in calls(page, "stream"):
        assert len(call.args) >= 2, f"{ast.unparse(call)} has no name"


def test_glued_values_exist_and_are_read(page):
    everywhere = "\n".join(prose(other) for other in PAGES)
    used = re.findall(r"\{glue:\w*\}`([\w.]+?)(?::[^`]*)?`", prose(page))
    from_elsewhere = re.findall(rf"{page.path.stem}\.ipynb::([\w.]+)", everywhere)
    glued, open_ended = set(), False
    for _, call in calls(page, r"page\.glue"):
        glued |= {keyword.arg for keyword in call.keywords if keyword.arg}
        open_ended |= any(keyword.arg is None for keyword in call.keywords)
    assert open_ended or set(used) <= glued, f"never glued: {sorted(set(used) - glued)}"
    unread = glued - set(used) - set(from_elsewhere)
    assert not unread, f"glued and never read: {sorted(unread)}"


def test_citations_exist(page):
    known = set(
        re.findall(r"^@\w+\{([^,]+),", (ROOT / "book" / "references.bib").read_text("utf-8"), re.M)
    )
    cited = {
        key.strip()
        for keys in re.findall(r"\{cite(?::\w+)?\}`([^`]+)`", prose(page))
        for key in keys.split(",")
    }
    assert cited <= known
    assert cited, "a page cites its paper"
