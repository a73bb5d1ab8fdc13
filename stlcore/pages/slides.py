"""Slides of a page: what a lesson shows of it, for reveal.js, without a network.

A deck has the question, the statements without their proofs, the plain words, the example and
every figure with its caption, all from the executed page. ``book/slides`` holds reveal.js and
the look of a deck; they are copied beside the decks, and so is MathJax.
"""

from __future__ import annotations

import base64
import html
import re
import shutil
from collections.abc import Iterator
from importlib.metadata import files
from pathlib import Path

from stlcore.lazy import extra
from stlcore.pages import repository
from stlcore.pages.plain import glued, plain
from stlcore.pages.repository import UsageError
from stlcore.pages.runner import NotebookPage

with extra("book"):
    import nbformat
    from markdown_it import MarkdownIt
    from mdit_py_plugins.dollarmath import dollarmath_plugin

__all__ = ["build_slides", "deck"]

#: Sections that a deck shows the words of; of the others it shows the figures.
SHOWN = re.compile(
    r"The statement|In plain words|A tiny example by hand|Reading the figures?|Break the assumption"
)

#: Characters that fit on a slide.
FULL = 700

MATHJAX = "tex-svg-full.js"

DECK = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>{title}</title>
<link rel="stylesheet" href="reset.css">
<link rel="stylesheet" href="reveal.css">
<link rel="stylesheet" href="slides.css">
<script>window.MathJax = {{svg: {{fontCache: "global"}}}};</script>
<script src="{mathjax}"></script>
<script src="reveal.js"></script>
</head>
<body>
<main class="reveal"><div class="slides">
{slides}
</div></main>
<script>
MathJax.startup.promise.then(() => Reveal.initialize({{
  hash: true, center: false, width: 1100, height: 700, transition: "none", slideNumber: true,
}}));
</script>
</body>
</html>
"""


def build_slides(chosen: list[NotebookPage], target: Path) -> list[Path]:
    """Write one deck for each page, with all it needs beside it.

    Parameters
    ----------
    chosen : list of NotebookPage
        Executed pages.
    target : Path
        A folder.

    Returns
    -------
    list of Path
        The decks.

    Raises
    ------
    UsageError
        If a page has not been run.
    """
    for page in chosen:
        if not page.executed.exists():
            raise UsageError(f"{page.id} has not been run: run 'make pages' first")
    target.mkdir(parents=True, exist_ok=True)
    for file in (repository.ROOT / "book" / "slides").iterdir():
        shutil.copy(file, target)
    (bundle,) = (path for path in files("sphinx-mathjax-offline") if path.name == MATHJAX)
    shutil.copy(bundle.locate(), target)
    decks = []
    for page in chosen:
        decks.append(target / f"{page.name}.html")
        decks[-1].write_text(deck(page), encoding="utf-8")
    return decks


def deck(page: NotebookPage) -> str:
    """A page as a deck, in HTML."""
    executed = nbformat.read(page.executed, as_version=4)
    cells = plain(executed, page.id, glued(page.executed)).cells
    title = re.search(r"(?m)^# (.+)$", cells[0].source)[1]
    slides = "\n".join(f"<section>\n{slide}</section>" for slide in _slides(cells))
    return DECK.format(title=html.escape(title), slides=slides, mathjax=MATHJAX)


def _slides(cells: list) -> Iterator[str]:
    """The slides, as HTML."""
    section, picture = "", ""
    for cell in cells:
        if cell.cell_type == "code":
            picture = _picture(cell) or picture
        elif picture and cell["id"].endswith("-caption"):
            name, _, caption = cell.source.partition("** ")
            described = _plain_words(f"{name.strip('*')} {caption}")
            head = _html(f"## {name.strip('*.')}")
            yield f'{head}<img alt="{described}" src="{picture}">\n{_html(caption)}'
            picture = ""
        else:
            for part in re.split(r"(?m)^(?=#{1,2} )", cell.source):
                if found := re.match(r"#{1,2} +(.+?) *$", part, re.MULTILINE):
                    section = found[1]
                    part = part[found.end() :]
                    if found[0].startswith("# "):
                        yield _html(f"# {section}\n\n{part}")
                if SHOWN.fullmatch(section):
                    yield from (_html(f"## {section}\n\n{text}") for text in _portions(part))


def _portions(text: str) -> Iterator[str]:
    """A section in pieces that fit on a slide, without proofs; a statement begins a new one."""
    text = re.sub(r"(?s)\*Proof\.\*.*?\$\\square\$", "", text)
    kept: list[str] = []
    for paragraph in re.split(r"\n{2,}", text.strip()):
        begins = re.match(r"\*\*(\w+ \d+|Answer)|### ", paragraph)
        if kept and (begins or len("".join(kept)) + len(paragraph) > FULL):
            yield "\n\n".join(kept)
            kept = []
        kept += [paragraph] if paragraph else []
    if kept:
        yield "\n\n".join(kept)


def _picture(cell) -> str:
    """The figure that a cell shows, as a data address; "" if it shows none."""
    for output in cell.get("outputs", []):
        if drawing := output.get("data", {}).get("image/svg+xml"):
            text = "".join(drawing).encode("utf-8")
            return "data:image/svg+xml;base64," + base64.b64encode(text).decode("ascii")
    return ""


def _plain_words(text: str) -> str:
    """A caption as an alternative text: on a slide it stands below in full."""
    return html.escape(re.sub(r"[*`$\\{}]", "", text), quote=True)


def _formula(content: str, how: dict) -> str:
    left, right = (r"\[", r"\]") if how["display_mode"] else (r"\(", r"\)")
    return left + html.escape(content) + right


def _html(text: str) -> str:
    """Markdown with formulas as HTML, the formulas for MathJax."""
    reader = MarkdownIt("commonmark").enable("table")
    return reader.use(dollarmath_plugin, renderer=_formula).render(text)
