"""A page for plain Jupyter: no directive, no role, nothing that only the book can show.

A page is written for Jupyter Book. Opened in JupyterLab or Colab as it is, its theorems
and exercises are boxes of raw text and ``hide-input`` hides nothing. :func:`plain` makes
of it a notebook that any Jupyter shows: a directive becomes a bold heading and its text, a
reference the name of what it refers to, a glued value the value of a run or a blank, and a
cell that the book folds is folded.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from stlcore.lazy import extra
from stlcore.pages import repository
from stlcore.pages.runner import NotebookPage
from stlcore.pages.sources import read_sources

with extra("book"):
    import nbformat

__all__ = ["BLANK", "DIRECTIVE", "Target", "find_target", "glued", "plain"]

#: Stands where a value is to be read off.
BLANK = "____"

#: The fence, the name, the argument and the body of a directive.
DIRECTIVE = re.compile(r"(?ms)^(`{3,}|:{3,})\{([\w:-]+)\} *([^\n]*)\n(.*?)^\1 *$\n?")

ROLE = re.compile(r"\{([a-zA-Z][\w:-]*)\}`([^`]*)`")
OPTION = re.compile(r"(?m)^:([\w-]+): *(.*?) *$\n?")
ANCHOR = re.compile(r"(?m)^\(([\w-]+)\)= *$\n?")
FOLDED = {"hide-input", "remove-input", "hide-cell", "remove-cell"}


@dataclass(frozen=True)
class Target:
    """What a reference can point to.

    Attributes
    ----------
    page : str
        Id of its page, ``"C-02"``.
    name : str
        How it is called there, ``"Theorem 1"``; numbers begin anew on each page.
    title : str
        Its title, or "".
    """

    page: str
    name: str
    title: str = ""

    def seen_from(self, page: str) -> str:
        """Its name in a sentence of a page."""
        if not self.name:
            return f"*{self.title}*"
        title = f" ({self.title})" if self.title else ""
        return f"{self.name}{title}" + (f" of {self.page}" if page != self.page else "")


def page_id(path: Path) -> str:
    """``C-02`` for the file ``c02_thm31_risk_recurrence.md``; "" for a file that is no page."""
    found = re.match(r"([a-z])(\d\d)_", path.name)
    return f"{found[1].upper()}-{found[2]}" if found else ""


@cache
def find_target(root: Path, label: str) -> Target | None:
    """What has a label, or is the document with this name; None if nothing is.

    Parameters
    ----------
    root : Path
        The repository.
    label : str
        A label, or the last part of a document's path.
    """
    document = root / "book" / f"{label}.md"
    if document.is_file():
        return Target("", "", _title(document.read_text(encoding="utf-8")))
    # A label names its page, so that most references need that page only, and not all.
    named = re.split(r"[-_]", label)
    for path in sorted(_pages(root), key=lambda path: path.stem.split("_")[0] not in named):
        if label in (known := _targets_of(path)):
            return known[label]
    return None


@cache
def _pages(root: Path) -> list[Path]:
    return sorted((root / "notebooks").glob("*/*.md"))


def _title(text: str) -> str:
    found = re.search(r"(?m)^# (.+)$", text)
    return found[1].strip() if found else ""


@cache
def _targets_of(path: Path) -> dict[str, Target]:
    notebook, page = NotebookPage(path).notebook, page_id(path)
    prose = "\n\n".join(c.source for c in notebook.cells if c.cell_type == "markdown")
    found = {path.stem: Target(page, "", _title(prose))}
    numbers: dict[str, int] = {}

    def number(word: str) -> str:
        numbers[word] = numbers.get(word, 0) + 1
        return f"{word} {numbers[word]}"

    for anchor in ANCHOR.finditer(prose):
        below = re.match(r"\s*#+ (.+)", prose[anchor.end() :])
        found[anchor[1]] = Target(page, f"“{below[1].strip()}”" if below else "the passage")
    for _, kind, argument, body in DIRECTIVE.findall(prose):
        word = kind.removeprefix("prf:").capitalize()
        if word not in ("Proof", "Solution", "Admonition"):
            name = number(word)
            if label := dict(OPTION.findall(body)).get("label"):
                found[label] = Target(page, name, argument.strip())
    for cell in notebook.cells:
        if figure := cell.metadata.get("mystnb", {}).get("figure"):
            found[figure["name"]] = Target(page, number("Figure"))
    return found


def glued(executed: Path) -> dict[str, object]:
    """The values that a run of a page made available to its prose."""
    values = {}
    for cell in nbformat.read(executed, as_version=4).cells:
        for output in cell.get("outputs", []):
            name = output.get("metadata", {}).get("scrapbook", {}).get("name")
            text = next((v for k, v in output.get("data", {}).items() if "text/plain" in k), None)
            if name and text is not None:
                try:
                    values[name] = ast.literal_eval(text)
                except (SyntaxError, ValueError):
                    values[name] = text
    return values


@cache
def _cited() -> dict[str, str]:
    """Author and year of every entry of the bibliography."""
    text = (repository.ROOT / "book" / "references.bib").read_text(encoding="utf-8")
    found = {}
    for key, body in re.findall(r"(?ms)^@\w+\{([\w-]+),(.*?)^\}", text):
        fields = dict(re.findall(r"(\w+) *= *\{(.*)\}", body))
        names = [name.split(",")[0].strip() for name in fields["author"].split(" and ")]
        who = " and ".join(names) if len(names) < 3 else f"{names[0]} et al."
        found[key] = f"{who} ({fields['year']})"
    return found


def plain(
    notebook: nbformat.NotebookNode,
    page: str,
    values: Mapping[str, object] | None = None,
    headings: Mapping[str, str] | None = None,
) -> nbformat.NotebookNode:
    """The notebook without directives and roles.

    Parameters
    ----------
    notebook : nbformat.NotebookNode
        A page as it is written, or as it was run.
    page : str
        Its id, ``"C-02"``.
    values : mapping, optional
        The glued values, see :func:`stlcore.pages.plain.glued`; where there is none, the text
        has a blank and the name of what to read off.
    headings : mapping, optional
        What to add to the heading of a labelled block, such as the points of an exercise.

    Returns
    -------
    nbformat.NotebookNode
        A new notebook; code and outputs are those given.

    Raises
    ------
    ValueError
        If the text holds a role or a directive that this module does not know.
    """
    made = nbformat.from_dict(notebook)
    text = _Text(page, values or {}, headings or {})
    cells = []
    for cell in made.cells:
        cells.append(cell)
        if cell.cell_type == "markdown":
            cell.source = text.render(cell.source).strip("\n")
        elif cell.cell_type == "code":
            if FOLDED & set(cell.metadata.get("tags", [])):
                cell.metadata["jupyter"] = {"source_hidden": True}
            if figure := cell.metadata.pop("mystnb", {}).get("figure"):
                name = text.refer(figure["name"])
                caption = text.render(" ".join(figure["caption"].split()))
                caption = re.sub(r"\[\[[^\[\]]+\]\]", BLANK, caption)
                below = nbformat.v4.new_markdown_cell(f"**{name}.** {caption}")
                below["id"] = f"{cell['id']}-caption"
                cells.append(below)
    made.cells = [cell for cell in cells if cell.source.strip()]
    return made


@dataclass(frozen=True)
class _Text:
    """What turns the words of one page into plain Markdown."""

    page: str
    values: Mapping[str, object]
    headings: Mapping[str, str]

    def render(self, text: str) -> str:
        """Markdown without directives, roles and anchors; what stands in a code fence stays."""
        text = DIRECTIVE.sub(self._directive, ANCHOR.sub("", text))
        parts = re.split(r"(?ms)(^`{3,}[^\n]*\n.*?^`{3,} *$)", text)
        return "".join(p if k % 2 else ROLE.sub(self._role, p) for k, p in enumerate(parts))

    def refer(self, label: str) -> str:
        """What a label is called here."""
        target = find_target(repository.ROOT, label)
        if target is None:
            raise ValueError(f"{self.page}: nothing has the label '{label}'")
        return target.seen_from(self.page)

    def _directive(self, found: re.Match) -> str:
        _, kind, argument, body = found.groups()
        options = dict(OPTION.findall(body))
        body = OPTION.sub("", body).strip()
        word = kind.removeprefix("prf:").capitalize()
        if kind == "prf:proof":
            gap = "\n\n" if body.endswith("$$") else " "  # a display ends its own paragraph
            return f"*Proof.* {body}{gap}$\\square$\n"
        if kind == "solution":
            return f"**Solution of {self.refer(argument.strip())}.**\n\n{body}\n"
        if kind == "admonition":
            return f"**{argument.strip()}.** {body}\n"
        if not (kind.startswith("prf:") or kind == "exercise"):
            raise ValueError(f"{self.page}: the directive '{kind}' has no plain form")
        label = options.get("label", "")
        name = self.refer(label) if label else word + (f" ({argument})" if argument else "")
        more = self.headings.get(label, "")
        return f"**{name}.** {more}\n\n{body}\n"

    def _role(self, found: re.Match) -> str:
        role, words = found.groups()
        explicit = re.fullmatch(r"(.+?) *<([^<>]+)>", words, re.DOTALL)
        title, target = explicit.groups() if explicit else ("", words)
        if role.startswith("bdg-"):
            return f"*{words}*"
        if role == "glue:text":
            return self._value(words)
        if role == "source":
            return f"[{read_sources()[words]}]"
        if role == "claim":
            return f"claim {words.split()[0]}"
        if role == "cite":
            return ", ".join(_cited()[key.strip()] for key in words.split(","))
        if role == "doc":
            return title or self.refer(target.split("/")[-1])
        if role in ("prf:ref", "numref", "ref"):
            return title or self.refer(target)
        if role in ("class", "func", "meth", "mod", "attr", "data"):
            return f"`{title or (target.split('.')[-1] if target[0] == '~' else target)}`"
        raise ValueError(f"{self.page}: the role '{role}' has no plain form")

    def _value(self, words: str) -> str:
        name, _, form = words.partition(":")
        if name not in self.values:
            return f"{BLANK} (`{name}`)"
        value = self.values[name]
        return format(value, form) if form else str(value)
