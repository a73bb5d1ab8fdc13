"""What a page needs around its experiment.

Typed parameters and profiles, the claims, the provenance of every figure, and
numeric results that outlive the run. A page begins with ::

    from stlcore.pages import Count, Page, Profile, Seed, by_profile

    profile: Profile = "quick"                       # the parameters cell
    rounds: Count = by_profile(50, 200)

    page = Page.start("C-02", globals())             # checks and fills them in

and ends with ``page.finish()``.
"""

from __future__ import annotations

import ast
import io
import json
import time
from dataclasses import dataclass, field
from typing import Annotated, Any, get_origin

import numpy as np
import pandas as pd

from stlcore.lazy import extra
from stlcore.pages import provenance, repository
from stlcore.pages.claims import Claims
from stlcore.pages.parameters import Profile, by_profile, check_value
from stlcore.pages.provenance import NUMBERS_MIME, RECORD_MIME, WORDS_MIME

with extra("book"):
    from IPython.display import HTML, display
    from myst_nb import glue

__all__ = ["Page", "read_result"]


@dataclass
class Page:
    """One run of a page: its parameters, claims and provenance.

    Attributes
    ----------
    id : str
        For example ``"C-10"``.
    parameters : dict
        Name and value of every parameter, profiles resolved.
    claims : Claims
        What the page asserts.
    """

    id: str
    parameters: dict[str, Any]
    claims: Claims
    results: dict[str, str] = field(default_factory=dict)
    started: float = field(default_factory=time.perf_counter)
    # Of the start, too: the files may change while a long page runs.
    commit: str = field(default_factory=provenance.commit)

    @classmethod
    def start(cls, id: str, namespace: dict[str, Any]) -> Page:
        """Check the annotated parameters in ``namespace`` and fill in the profile's.

        Parameters
        ----------
        id : str
            The page's id.
        namespace : dict
            ``globals()`` of the page.

        Raises
        ------
        ValueError
            If a parameter has the wrong type or is out of range, or if papermill was given
            one that the page does not have.
        """
        parameters = {
            name: namespace[name]
            for name, annotation in namespace.get("__annotations__", {}).items()
            if get_origin(annotation) is Annotated
        }
        for name in _injected(namespace.get("In", [])):
            if name not in parameters:
                raise ValueError(
                    f"{id} has no parameter '{name}'; it takes {', '.join(parameters)}"
                )
        profile = parameters.get("profile", "quick")
        check_value("profile", Profile, profile)
        for name, value in parameters.items():
            if isinstance(value, by_profile):
                value = getattr(value, profile)
            check_value(name, namespace["__annotations__"][name], value)
            parameters[name] = namespace[name] = value
        return cls(id, parameters, Claims(id))

    @property
    def name(self) -> str:
        """The id as the command line and file names write it, ``c10`` for example."""
        return self.id.replace("-", "").lower()

    def provenance(self) -> dict[str, Any]:
        """Where a number comes from: parameters, time, device, versions, commit, command."""
        return {
            "page": self.id,
            "parameters": self.parameters,
            "seconds": round(time.perf_counter() - self.started, 2),
            "finished": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
            "device": provenance.device(),
            "versions": provenance.versions(),
            "commit": self.commit,
            "command": provenance.command(self.name, self.parameters),
        }

    def show(
        self,
        figure,
        origin: dict[str, Any] | None = None,
        *,
        data: pd.DataFrame | None = None,
        **words: Any,
    ) -> None:
        """Display a figure with its provenance line below it, and close it.

        The numbers that it draws go along for whoever runs the page: the book offers them
        below the figure.

        Parameters
        ----------
        figure : matplotlib.figure.Figure
            What to show.
        origin : dict, optional
            The provenance of a kept result, if the figure shows one.
        data : pandas.DataFrame, optional
            The numbers behind the figure, where what it draws does not tell them
            (see :func:`stlcore.pages.drawn.drawn`).
        **words
            Values for the figure's caption and alt text, where ``[[name]]`` or
            ``[[name:.2f]]`` stands for each, so that both say what this run drew.
        """
        import matplotlib.pyplot as plt

        from stlcore.pages.drawn import drawn

        table = drawn(figure) if data is None else data
        display(figure)
        plt.close(figure)
        display(HTML(provenance.line(origin or self.provenance())))
        plain = {k: v.item() if isinstance(v, np.generic) else v for k, v in words.items()}
        numbers = table.to_csv(index=False, float_format="%.7g")
        display({WORDS_MIME: plain, NUMBERS_MIME: numbers, "text/plain": ""}, raw=True)

    def sliders(self, curves: str, **start: Any) -> None:
        """Curves of a theorem with sliders, for a reader of the book.

        Parameters
        ----------
        curves : str
            Their name in ``book/_static/sliders.js``, which computes and draws them.
        **start
            Where the sliders begin, and numbers that the curves need besides.
        """
        plain = {k: v.tolist() if hasattr(v, "tolist") else v for k, v in start.items()}
        display(
            HTML(
                f'<div class="sliders" data-curves="{curves}" '
                f"data-start='{json.dumps(plain)}'><p>In the book, sliders stand here that show "
                "these curves for other settings.</p></div>"
            )
        )

    def glue(self, **values: Any) -> None:
        """Make values available to the prose as ``{glue:text}`` under these names."""
        for name, value in values.items():
            glue(name, value.item() if isinstance(value, np.generic) else value, display=False)

    def keep(self, name: str, frame: pd.DataFrame) -> None:
        """Hand a small table of results to whoever runs the page.

        The ``paper`` profile run by ``python -m stlcore run --profile paper --keep``
        writes it to ``book/results/`` with its provenance.
        """
        text = frame.to_csv(index=False)
        if len(text) > 2_000_000:
            raise ValueError(f"the result '{name}' is too large to keep ({len(text) / 1e6:.1f} MB)")
        self.results[name] = text

    def kept(self, name: str) -> tuple[pd.DataFrame, dict[str, Any]] | None:
        """A committed result of this page and its provenance, or None without one."""
        return read_result(self.name, name)

    def finish(self) -> None:
        """Show the claims, hand over the record of the run, and fail on a surprise."""
        display(self.claims)
        record = {
            "provenance": self.provenance(),
            "claims": self.claims.to_records(),
            "results": self.results,
        }
        display({RECORD_MIME: record, "text/plain": ""}, raw=True)
        self.claims.close()


def _injected(cells: list[str]) -> list[str]:
    """Names that papermill's cell sets, among the cells that have run."""
    nodes = [
        node
        for cell in cells
        if cell.startswith("# Parameters\n")
        for node in ast.walk(ast.parse(cell))
    ]
    return [n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]


def read_result(page: str, name: str) -> tuple[pd.DataFrame, dict[str, Any]] | None:
    """A result from ``book/results/`` with its provenance, or None without one."""
    table = repository.ROOT / "book" / "results" / f"{page}.{name}.csv"
    if not table.exists():
        return None
    origin = json.loads(table.with_suffix(".json").read_text(encoding="utf-8"))
    return pd.read_csv(io.StringIO(table.read_text(encoding="utf-8"))), origin
