"""One page over a grid of parameters: the plan of its runs, and what came out of them all."""

from __future__ import annotations

import hashlib
import io
import json
import re
import shlex
from collections.abc import Iterable
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd

from stlcore.pages.repository import UsageError
from stlcore.pages.runner import NotebookPage, check_parameters

__all__ = ["count_surprises", "gather", "options", "plan", "write_plan"]


def plan(page: NotebookPage, words: Iterable[tuple[str, str]]) -> dict[str, dict[str, Any]]:
    """Every combination of the values, by a name that stays when the grid grows.

    Parameters
    ----------
    page : NotebookPage
        What to run.
    words : iterable of (str, str)
        A parameter's name and its values: a JSON list of them, or ``1:1000`` for the whole
        numbers from 1 to 1000.

    Raises
    ------
    UsageError
        If a name is unknown or a value does not fit, before anything runs.
    """
    values = {name: _values(page, name, word) for name, word in words}
    if not values:
        raise UsageError("a sweep needs values of a parameter: -p seed 1:100")
    runs = [dict(zip(values, chosen, strict=True)) for chosen in product(*values.values())]
    for run in runs:
        check_parameters(page, run)
    return {hashlib.sha256(json.dumps(run).encode()).hexdigest()[:12]: run for run in runs}


def _values(page: NotebookPage, name: str, word: str) -> list[Any]:
    if span := re.fullmatch(r"(\d+):(\d+)", word):
        found = list(range(int(span[1]), int(span[2]) + 1))
        if not found:
            raise UsageError(f"the range {word} of {name} is empty")
        return found
    try:
        found = json.loads(word)
    except ValueError:
        found = None
    if not isinstance(found, list) or not found:
        raise UsageError(
            f"the values of {name} must be a list, [0.1, 0.3] say, or a range, 1:100, not {word!r}"
        )
    return found


def write_plan(
    folder: Path, page: NotebookPage, runs: dict[str, dict[str, Any]]
) -> dict[str, dict[str, Any]]:
    """Put the plan where the workflow reads it; all runs of it, those of earlier calls too.

    Raises
    ------
    UsageError
        If the folder is another page's.
    """
    file = folder / "plan.json"
    if file.exists():
        there = json.loads(file.read_text(encoding="utf-8"))
        if there["page"] != page.name:
            raise UsageError(f"{folder} holds a sweep of {there['page']}: choose another folder")
        runs = there["runs"] | runs
    folder.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"page": page.name, "runs": runs}, indent=1), encoding="utf-8")
    return runs


def options(run: dict[str, Any]) -> str:
    """A run's parameters as options of ``python -m stlcore run``."""
    return " ".join(
        f"-p {name} {shlex.quote(value if isinstance(value, str) else json.dumps(value))}"
        for name, value in run.items()
    )


def gather(records: Iterable[Path], folder: Path) -> None:
    """Write ``claims.parquet``, a row for each run and claim; kept tables and figures likewise.

    Every table begins with the parameters of the run, resolved. A run whose claims came out
    otherwise than the page expects is in it, with ``surprising``. What each figure draws is in
    a table of the figure's name.
    """
    tables: dict[str, list[pd.DataFrame]] = {}
    for path in records:
        record = json.loads(Path(path).read_text(encoding="utf-8"))
        origin = {
            name: json.dumps(value) if isinstance(value, list) else value
            for name, value in record["provenance"]["parameters"].items()
        }
        texts = {**record.get("figures", {}), **record["results"]}
        found = {name: pd.read_csv(io.StringIO(text)) for name, text in texts.items() if text}
        for name, table in {**found, "claims": pd.DataFrame(record["claims"])}.items():
            # A column of the table may be called like a parameter, `rounds` say.
            rest = table.rename(columns={c: f"{c}_found" for c in table.columns if c in origin})
            head = pd.DataFrame([origin] * len(table), index=table.index)
            tables.setdefault(name, []).append(head.join(rest))
    for name, parts in tables.items():
        pd.concat(parts, ignore_index=True).to_parquet(folder / f"{name}.parquet")


def count_surprises(records: Iterable[dict[str, Any]]) -> pd.DataFrame:
    """How often each claim and control came out otherwise than its page expects.

    For a claim this is a false alarm, for a control a mutation that was not rejected.

    Parameters
    ----------
    records : iterable of dict
        Runs of one page that differ by their seed.

    Returns
    -------
    pandas.DataFrame
        ``id``, ``control_of``, ``false_alarm`` as the page states it, ``runs``, ``surprises``.
    """
    rows = pd.DataFrame([row for record in records for row in record["claims"]])
    rows["control_of"] = rows["control_of"].fillna("")
    by_claim = rows.groupby(["id", "control_of"], sort=False)
    counts = by_claim.agg(
        false_alarm=("false_alarm", "max"),
        runs=("surprising", "size"),
        surprises=("surprising", "sum"),
    )
    return counts.reset_index()
