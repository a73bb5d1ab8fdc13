"""Every page with its parameters at their ends: python tests/edges.py [PAGE ...]

One parameter at a time takes its least value, then a large one; the others keep their
defaults, but for numbers of loops, which are as small as their types allow. A page may run,
say that a claim came out otherwise, or refuse in the project's own words. What ends in the
words of NumPy or Python is a fault: the type of the parameter must ask for more, or the page
has to cope.

The runs skip the kernel (each is a fork of one process that has all the imports), so that
some 600 of them take an hour or two on one core. What was done is kept in
runs/edges/ and not done again while the page's text stays the same.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import resource
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

from stlcore.pages.parameters import by_profile
from stlcore.pages.repository import ROOT
from stlcore.pages.runner import NotebookPage, find_page, pages
from stlcore.pages.sweep import run_cells

FOLDER = ROOT / "runs" / "edges"
SECONDS = 40
MEMORY = 6 * 2**30
#: From here up a whole number is a number of independent loops that a test needs.
LOOPS = 20


def ends(annotation: Any, default: Any) -> tuple[Any, Any] | None:
    """The least value of a type and a large one; None for flags and texts."""
    rule = get_args(annotation)[1]
    usual = default.quick if isinstance(default, by_profile) else default
    if rule.kind in (str, bool):
        return None
    if rule.kind is int:
        top = max(usual) if rule.many else usual
        low, high = rule.low, 2**63 if rule.low == 0 else max(4 * top, 10)
    else:
        step = 1e-6 * (rule.high - rule.low) if rule.high < math.inf else 1e-6
        low = rule.low + step * rule.low_open
        high = rule.high - step * rule.high_open if rule.high < math.inf else 1e3 * usual
    return ([low], [high]) if rule.many else (low, high)


def settings(page: NotebookPage) -> Iterator[dict[str, Any]]:
    """The runs of a page."""
    few = {}
    for name, (annotation, _) in page.parameters.items():
        rule = get_args(annotation)[1]
        if rule.kind is int and (rule.low >= LOOPS or "repetitions" in name):
            few[name] = rule.low
    yield few
    for name, (annotation, default) in page.parameters.items():
        for value in ends(annotation, default) or ():
            if few.get(name) != value:
                yield few | {name: value}


def run(page: NotebookPage, given: dict[str, Any], report: Path) -> None:
    """Run the page's cells in this process and write what came of it."""
    _, error, cell = run_cells(page, given)
    outcome = {"outcome": "runs"} if error is None else judge(error, cell)
    report.write_text(json.dumps(outcome), encoding="utf-8")


def judge(error: BaseException, cell: str) -> dict[str, str]:
    """What an exception means: a surprise, a sentence of ours, or a fault."""
    trace = error.__traceback__
    while trace.tb_next is not None:
        trace = trace.tb_next
    place = trace.tb_frame.f_code.co_filename
    ours = str(ROOT / "stlcore") in place or "ipython-input" in place or "ipykernel" in place
    said = f"{type(error).__name__}: {error}"
    if type(error).__name__ == "ClaimError":
        return {"outcome": "surprises", "said": said}
    lines = cell.splitlines() if "ipython-input" in place else _lines(place)
    line = lines[trace.tb_lineno - 1] if trace.tb_lineno <= len(lines) else ""
    # A statement over several lines has the number of its first one.
    if ours and isinstance(error, ValueError) and re.search(r"\braise\b", line):
        return {"outcome": "refuses", "said": said}
    return {"outcome": "fault", "said": said, "at": f"{Path(place).name}: {line.strip()}"}


def _lines(place: str) -> list[str]:
    try:
        return Path(place).read_text(encoding="utf-8").splitlines()
    except OSError:
        return []


def in_a_fork(page: NotebookPage, given: dict[str, Any]) -> dict[str, Any]:
    """Run a page in a process of its own, with limits of time and memory."""
    report = FOLDER / f".{os.getpid()}"
    report.unlink(missing_ok=True)
    start = time.monotonic()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
            resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
            quiet = os.open(os.devnull, os.O_WRONLY)
            os.dup2(quiet, 1)
            os.dup2(quiet, 2)
            run(page, given, report)
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    if report.exists():
        outcome = json.loads(report.read_text(encoding="utf-8"))
        report.unlink()
    elif os.WIFSIGNALED(status) and os.WTERMSIG(status) in (signal.SIGXCPU, signal.SIGKILL):
        outcome = {"outcome": "slow"}
    else:
        outcome = {"outcome": "fault", "said": f"the process died, status {status}"}
    return {**outcome, "seconds": round(time.monotonic() - start, 1)}


def main(names: list[str]) -> int:
    """Run what is missing, print what is no plain run; 1 if there is a fault."""
    os.environ["MPLBACKEND"] = "agg"
    import scipy.optimize
    import scipy.stats  # noqa: F401  before the forks, so that each has them
    import seaborn  # noqa: F401

    import stlcore.pages.figures
    import stlcore.pages.page
    import stlcore.pages.tables  # noqa: F401

    FOLDER.mkdir(parents=True, exist_ok=True)
    faults = 0
    for page in map(find_page, names) if names else pages():
        code = "\n".join(c.source for c in page.notebook.cells if c.cell_type == "code")
        file = FOLDER / f"{page.name}.{hashlib.sha256(code.encode()).hexdigest()[:12]}.json"
        known = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
        for given in settings(page):
            words = " ".join(f"{name} {value}" for name, value in given.items())
            if words not in known:
                known[words] = in_a_fork(page, given)
                file.write_text(json.dumps(known, indent=1), encoding="utf-8")
            found = known[words]
            faults += found["outcome"] == "fault"
            print(page.name, words, *found.values(), sep=" | ", flush=True)
    return int(faults > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
