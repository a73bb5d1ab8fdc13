"""Provenance: where a number comes from, and how to make it again."""

from __future__ import annotations

import html
import math
import os
import platform
import shlex
import subprocess
import sys
import time
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from stlcore.lazy import extra
from stlcore.pages import repository

with extra("book"):
    import yaml

__all__ = [
    "MARK",
    "NUMBERS_MIME",
    "RECORD_MIME",
    "WORDS_MIME",
    "command",
    "commit",
    "device",
    "line",
    "versions",
]

MARK = '<details class="provenance">'
#: What a page hands to whoever runs it: the record of the run, and of every figure the words
#: of its caption and the numbers it draws, as CSV.
RECORD_MIME = "application/vnd.stlcore.record+json"
WORDS_MIME = "application/vnd.stlcore.words+json"
NUMBERS_MIME = "application/vnd.stlcore.numbers+csv"


def command(page: str, parameters: dict[str, Any]) -> str:
    """The papermill command that runs a page, ``c10`` say, again with these parameters."""
    found = sorted(repository.ROOT.glob(f"notebooks/*/{page}_*.ipynb"))
    notebook = found[0].relative_to(repository.ROOT).as_posix() if found else f"{page}.ipynb"
    chosen = [_option(name, value) for name, value in parameters.items()]
    return " ".join(["papermill", notebook, "out.ipynb", *chosen])


def _option(name: str, value: Any) -> str:
    """A parameter as papermill takes it: ``-p`` guesses a type, ``-r`` leaves a text alone."""
    if isinstance(value, list | tuple):
        # In YAML's own words, which read 1e-12 as a text and 1.0e-12 as a number.
        text = yaml.safe_dump({name: list(value)}, default_flow_style=True, width=math.inf)
        return f"-y {shlex.quote(text.strip())}"
    flag = "-r" if isinstance(value, str) else "-p"
    return f"{flag} {name} {shlex.quote(str(value))}"


def line(provenance: dict[str, Any]) -> str:
    """Provenance as HTML: one line, the rest behind it."""
    parameters = provenance["parameters"]
    settings = ", ".join(f"{name} = {value}" for name, value in parameters.items())
    packages = ", ".join(f"{name} {number}" for name, number in provenance["versions"].items())
    return (
        f"{MARK}<summary>"
        f"{provenance['page']} · {parameters.get('profile', 'quick')} profile"
        f" · seed {parameters.get('seed', 'none')} · {provenance['seconds']:.1f} s"
        f" · commit {provenance['commit']}</summary>"
        f"<p>Parameters: {html.escape(settings)}.</p><p>Ran on {provenance['device']},"
        f" finished {provenance['finished']}, with {packages}.</p>"
        "<p>Again, in the root of the repository with its environment active: "
        # The last digits depend on how many threads share a sum.
        f"<code>OMP_NUM_THREADS=1 {html.escape(provenance['command'])}</code></p></details>"
    )


@cache
def device() -> str:
    """The machine that runs the page, in words."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        return f"one {torch.cuda.get_device_name()} GPU, {os.cpu_count()} CPU cores"
    return f"CPU, {os.cpu_count()} cores, {platform.machine()}"


def versions() -> dict[str, str]:
    """Versions of Python and of the packages in use that decide about numbers."""
    found = {"python": platform.python_version()}
    for package in ("numpy", "scipy", "pandas", "matplotlib", "torch", "scikit-learn"):
        module = {"scikit-learn": "sklearn"}.get(package, package)
        if module in sys.modules:
            try:
                found[package] = version(package)
            except PackageNotFoundError:
                continue
    return found


def commit() -> str:
    """The commit of the code that runs, and whether files were changed since; or "unknown".

    It is that of the package's own repository only. A git that is missing, broken or slow
    costs a page no more than a second.
    """
    deadline = time.monotonic() + 1
    # Hooks and other tools point git to another repository by its variables. A git that may
    # lock the index and is then stopped leaves a lock behind that stops the reader's own git.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    environment["GIT_OPTIONAL_LOCKS"] = "0"

    def git(*arguments: str) -> list[str]:
        done = subprocess.run(
            ["git", *arguments],
            cwd=repository.ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
            timeout=max(deadline - time.monotonic(), 0.01),
        )
        return done.stdout.splitlines()

    try:
        top, found = git("rev-parse", "--show-toplevel", "--short=10", "HEAD")
    except (OSError, ValueError, subprocess.SubprocessError):
        return "unknown"
    if Path(top).resolve() != repository.ROOT.resolve():
        return "unknown"  # an installed package, or a copy inside somebody else's repository
    try:
        changed = git("status", "--porcelain", "--untracked-files=no", "notebooks", "stlcore")
    except (OSError, subprocess.SubprocessError):
        return f"{found}, changes unknown"
    return f"{found} with local changes" if changed else found
