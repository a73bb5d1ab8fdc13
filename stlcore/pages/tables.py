"""Tables of text in a page's output, for what a data frame shows badly."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from stlcore.lazy import extra

with extra("book"):
    from IPython.display import HTML, display

__all__ = ["show_table"]

LONG = 24  # letters of a word that a narrow screen may break


def show_table(rows: Iterable[Sequence]) -> None:
    """Show rows of cells as a table.

    Parameters
    ----------
    rows : iterable of sequences
        The first cell of a row is its heading. Cells may contain HTML, so text
        that comes from data must be escaped (``html.escape``).
    """
    body = "".join(
        "<tr>" + _cell("th", head) + "".join(_cell("td", cell) for cell in rest) + "</tr>"
        for head, *rest in rows
    )
    display(HTML(f"<table>{body}</table>"))


def _cell(tag: str, content) -> str:
    long = max(map(len, str(content).split()), default=0) > LONG
    style = "text-align: left; vertical-align: top" + "; overflow-wrap: anywhere" * long
    return f'<{tag} style="{style}">{content}</{tag}>'
