"""What a page needs around its experiment.

Typed parameters and profiles, the claims, the provenance of every figure, and
numeric results that outlive the run. A page begins with ::

    from stlcore.page import Count, Page, Profile, Seed, by_profile

    profile: Profile = "quick"                       # the parameters cell
    rounds: Count = by_profile(quick=50, paper=200)

    page = Page.start("C-02", globals())             # checks and fills them in

and ends with ``page.finish()``.
"""

from __future__ import annotations

import html
import io
import json
import math
import os
import platform
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any, NamedTuple, get_args, get_origin

import numpy as np
import pandas as pd
from IPython.display import HTML, display
from myst_nb import glue

from stlcore.claims import Claims

__all__ = [
    "TYPES",
    "Count",
    "Counts",
    "Flag",
    "Page",
    "Positive",
    "Probabilities",
    "Probability",
    "Profile",
    "Seed",
    "Text",
    "by_profile",
    "check_value",
]

PROFILES = ("quick", "paper")
RECORD_MIME = "application/vnd.stlcore.record+json"
PROVENANCE = '<details class="provenance">'
ROOT = Path(__file__).resolve().parent.parent


class Rule(NamedTuple):
    """What a parameter's value must be: a Python type, a range, a sentence that says so."""

    kind: type
    low: float
    high: float
    words: str
    low_open: bool = False
    many: bool = False


Count = Annotated[int, Rule(int, 1, math.inf, "a whole number from 1 up")]
Seed = Annotated[int, Rule(int, 0, math.inf, "a whole number from 0 up")]
Probability = Annotated[float, Rule(float, 0, 1, "a number in [0, 1]")]
Positive = Annotated[float, Rule(float, 0, math.inf, "a number above 0", low_open=True)]
Counts = Annotated[list, Rule(int, 1, math.inf, "a list of whole numbers from 1 up", many=True)]
Probabilities = Annotated[list, Rule(float, 0, 1, "a list of numbers in [0, 1]", many=True)]
Flag = Annotated[bool, Rule(bool, 0, 1, "true or false")]
Text = Annotated[str, Rule(str, 0, 0, "a text")]
Profile = Annotated[str, Rule(str, 0, 0, "'quick' or 'paper'")]

#: The annotations a parameters cell may use, by name.
TYPES = {
    "Count": Count,
    "Counts": Counts,
    "Flag": Flag,
    "Positive": Positive,
    "Probabilities": Probabilities,
    "Probability": Probability,
    "Profile": Profile,
    "Seed": Seed,
    "Text": Text,
}


def _fits(value: Any, rule: Rule) -> bool:
    if rule.many:
        single = rule._replace(many=False)
        return (
            isinstance(value, list | tuple)
            and len(value) > 0
            and all(_fits(entry, single) for entry in value)
        )
    if rule.kind in (str, bool):
        return isinstance(value, rule.kind)
    accepted = (int, np.integer) if rule.kind is int else (int, float, np.number)
    if isinstance(value, bool) or not isinstance(value, accepted):
        return False
    above = value > rule.low if rule.low_open else value >= rule.low
    return bool(above and value <= rule.high and value < math.inf)


def check_value(name: str, annotation: Any, value: Any) -> None:
    """Raise ValueError, in one sentence, unless ``value`` fits the annotation."""
    rule = get_args(annotation)[1]
    fits = value in PROFILES if annotation is Profile else _fits(value, rule)
    if not fits:
        raise ValueError(f"{name} must be {rule.words}, not {value!r}")


@dataclass(frozen=True)
class by_profile:
    """A default that depends on the profile."""

    quick: Any
    paper: Any


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
    commit: str = field(default_factory=lambda: _commit())

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
            If a parameter has the wrong type or is out of range.
        """
        parameters = {
            name: namespace[name]
            for name, annotation in namespace.get("__annotations__", {}).items()
            if get_origin(annotation) is Annotated
        }
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
        """The id as the command line and file names write it: ``c10``."""
        return self.id.replace("-", "").lower()

    def provenance(self) -> dict[str, Any]:
        """Where a number comes from: parameters, time, device, versions, commit, command."""
        return {
            "page": self.id,
            "parameters": self.parameters,
            "seconds": round(time.perf_counter() - self.started, 2),
            "finished": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
            "device": _device(),
            "versions": _versions(),
            "commit": self.commit,
            "command": self._command(),
        }

    def show(self, figure, origin: dict[str, Any] | None = None) -> None:
        """Display a figure with its provenance line below it, and close it.

        ``origin`` is the provenance of a kept result, if the figure shows one.
        """
        import matplotlib.pyplot as plt

        display(figure)
        plt.close(figure)
        display(HTML(provenance_line(origin or self.provenance())))

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

    def _command(self) -> str:
        """The papermill command that makes this run again."""
        found = sorted(ROOT.glob(f"notebooks/*/{self.name}_*.ipynb"))
        notebook = found[0].relative_to(ROOT).as_posix() if found else f"{self.name}.ipynb"
        chosen = [
            f"-y {shlex.quote(json.dumps({name: value}))}"
            if isinstance(value, list | tuple)
            else f"-p {name} {shlex.quote(str(value))}"
            for name, value in self.parameters.items()
        ]
        return " ".join(["papermill", notebook, "out.ipynb", *chosen])


def read_result(page: str, name: str) -> tuple[pd.DataFrame, dict[str, Any]] | None:
    """A result from ``book/results/`` with its provenance, or None without one."""
    table = ROOT / "book" / "results" / f"{page}.{name}.csv"
    if not table.exists():
        return None
    provenance = json.loads(table.with_suffix(".json").read_text(encoding="utf-8"))
    return pd.read_csv(io.StringIO(table.read_text(encoding="utf-8"))), provenance


def provenance_line(provenance: dict[str, Any]) -> str:
    """Provenance as HTML: one line, the rest behind it."""
    parameters = provenance["parameters"]
    settings = ", ".join(f"{name} = {value}" for name, value in parameters.items())
    versions = ", ".join(f"{name} {number}" for name, number in provenance["versions"].items())
    return (
        f"{PROVENANCE}<summary>"
        f"{provenance['page']} · {parameters.get('profile', 'quick')} profile"
        f" · seed {parameters.get('seed', 'none')} · {provenance['seconds']:.1f} s"
        f" · commit {provenance['commit']}</summary>"
        f"<p>Parameters: {html.escape(settings)}.</p><p>Ran on {provenance['device']},"
        f" finished {provenance['finished']}, with {versions}.</p>"
        f"<p>Again: <code>{html.escape(provenance['command'])}</code></p></details>"
    )


@cache
def _device() -> str:
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        return f"one {torch.cuda.get_device_name()} GPU, {os.cpu_count()} CPU cores"
    return f"CPU, {os.cpu_count()} cores, {platform.machine()}"


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in ("numpy", "scipy", "pandas", "matplotlib", "torch", "scikit-learn"):
        module = {"scikit-learn": "sklearn"}.get(package, package)
        if module in sys.modules:
            try:
                found[package] = version(package)
            except PackageNotFoundError:
                continue
    return found


@cache
def _commit() -> str:
    def git(*args: str) -> str:
        done = subprocess.run(
            ["git", *args], cwd=ROOT, capture_output=True, text=True, check=False, timeout=30
        )
        return done.stdout.strip()

    try:
        commit = git("rev-parse", "--short=10", "HEAD")
        changed = git("status", "--porcelain", "--untracked-files=no", "notebooks", "stlcore")
    except OSError:
        return "unknown"
    if not commit:
        return "unknown"
    return f"{commit} with local changes" if changed else commit
