"""One page over a grid of parameters: the plan of its runs, the runs, and what came of them all.

A run of a sweep does without the kernel and the imports that take longer than a small page:
one process imports what the page does, then each run is a process of its own that begins there.
It goes through the same cells in the same order as ``stlcore run`` and gives the same record;
figures are not rendered, the numbers in them are kept.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import multiprocessing
import os
import re
import sys
from collections.abc import Iterable
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stlcore.lazy import extra
from stlcore.pages import repository
from stlcore.pages.parameters import Place
from stlcore.pages.provenance import RECORD_MIME
from stlcore.pages.repository import UsageError
from stlcore.pages.runner import (
    NotebookPage,
    check_parameters,
    complete_record,
    find_page,
    read_parameters,
)

with extra("book"):
    from IPython.core.interactiveshell import InteractiveShell
    from IPython.utils.capture import capture_output
    from traitlets.config import Config

if TYPE_CHECKING:  # slow to import, and who only starts a sweep has no table
    import pandas as pd

__all__ = ["count_surprises", "gather", "plan", "run_cells", "run_chunk", "write_plan"]

#: Runs of one job, at most.
CHUNK = 25


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
    values = {}
    for name, word in words:
        if name in values:
            raise UsageError(f"{page.name}: {name} is given twice; a list holds all its values")
        values[name] = _values(page, name, word)
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
    if page.parameters.get(name, (None,))[0] is Place:  # it means what it means to the caller
        return [read_parameters(page, [(name, str(place))])[name] for place in found]
    return found


def write_plan(
    folder: Path, page: NotebookPage, runs: dict[str, dict[str, Any]], cores: int = 1
) -> dict[str, dict[str, Any]]:
    """Put the plan where the workflow reads it; all runs of it, those of earlier calls too.

    Runs that are new to it make chunks of their own, each of which is one job.

    Raises
    ------
    UsageError
        If the folder is another page's, or its plan cannot be read.
    """
    file = folder / "plan.json"
    known = {"page": page.name, "runs": {}, "chunks": {}}
    if file.exists():
        known = _read_plan(file)
        if known["page"] != page.name:
            raise UsageError(f"{folder} holds a sweep of {known['page']}: choose another folder")
    new = [name for name in runs if name not in known["runs"]]
    size = min(CHUNK, -(-len(new) // cores) or 1)
    known["chunks"] |= {new[k]: new[k : k + size] for k in range(0, len(new), size)}
    known["runs"] |= runs
    folder.mkdir(parents=True, exist_ok=True)
    draft = file.with_suffix(".draft")
    draft.write_text(json.dumps(known, indent=1), encoding="utf-8")
    os.replace(draft, file)
    for chunk, names in known["chunks"].items():  # one with a record missing is not done
        if not all((folder / "runs" / f"{name}.json").exists() for name in names):
            for undone in (chunk, "table"):
                (folder / "chunks" / f"{undone}.done").unlink(missing_ok=True)
    return known["runs"]


def _read_plan(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        _ = found["page"], found["runs"], found["chunks"]
    except (KeyError, TypeError, ValueError):
        raise UsageError(
            f"{file} is no plan of this version: remove it and call again, the runs beside it count"
        ) from None
    return found


def run_cells(
    page: NotebookPage, given: dict[str, Any]
) -> tuple[dict[str, Any] | None, BaseException | None, str]:
    """Run a page's cells in this process.

    Parameters
    ----------
    page : NotebookPage
        What to run.
    given : dict
        Values that differ from the page's defaults; checked by the page only.

    Returns
    -------
    record : dict or None
        What the page handed over at its end, with the numbers of its figures, as
        :func:`~stlcore.pages.runner.run_page` has it.
    error : exception or None
        What ended the run, and ...
    cell : str
        ... the text of the cell where it stopped.
    """
    InteractiveShell.clear_instance()
    shell = InteractiveShell.instance(config=Config({"HistoryManager": {"enabled": False}}))
    shell.display_formatter.active_types = ["text/plain"]  # nobody looks at the figures
    record, outputs = None, []
    for cell in page.notebook.cells:
        if cell.cell_type != "code":
            continue
        with capture_output() as shown:
            done = shell.run_cell(cell.source)
        for data in (output.data for output in shown.outputs):
            record = data.get(RECORD_MIME, record)
            outputs.append((cell, data))
        if error := done.error_in_exec or done.error_before_exec:
            break
        if "parameters" in cell.metadata.get("tags", []):
            shell.user_ns.update(given)
    if record:
        record = complete_record(page, record, outputs)
    return record, error, cell.source


def run_chunk(folder: Path, chunk: str) -> int:
    """Do the runs of a chunk that are missing; 1 if one failed, else 0.

    Of a run that fails, ``runs/<run>.log`` says why. One whose claims came out otherwise than
    the page expects is none of these: its record says so.
    """
    planned = json.loads((folder / "plan.json").read_text(encoding="utf-8"))
    page = find_page(planned["page"])
    # What is imported here is there for every run. Only Linux is sure to fork well afterwards.
    forks = sys.platform == "linux"
    if forks:
        _import_ahead(page)
    context = multiprocessing.get_context("fork" if forks else "spawn")
    caller, failed = os.getppid(), 0
    (folder / "runs").mkdir(exist_ok=True)
    for name in planned["chunks"][chunk]:
        record = folder / "runs" / f"{name}.json"
        if record.exists():
            continue
        log = record.with_suffix(".log")
        log.unlink(missing_ok=True)
        run = context.Process(target=_run, args=(page, planned["runs"][name], record))
        run.start()
        run.join()
        if run.exitcode != 0 and not log.exists():
            log.write_text(f"it ended with {run.exitcode}; is memory short?\n", encoding="utf-8")
        failed += run.exitcode != 0
        if os.getppid() != caller:  # nobody waits for the rest
            return 1
    return int(failed > 0)


def _import_ahead(page: NotebookPage) -> None:
    """Run the first cell, which imports; an error comes up again in every run, which tells it."""
    first = next(cell for cell in page.notebook.cells if cell.cell_type == "code")
    with contextlib.suppress(Exception):
        exec(first.source, {})


def _run(page: NotebookPage, given: dict[str, Any], target: Path) -> None:
    """One run of a chunk, in a process of its own."""
    os.chdir(repository.ROOT)
    record, error, _ = run_cells(page, given)
    if record is None or (error is not None and type(error).__name__ != "ClaimError"):
        options = " ".join(f"-p {name} {value!r}" for name, value in given.items())
        why = f"{type(error).__name__}: {error}" if error else "it did not call page.finish()"
        text = f"{page.name} {options} failed with {why}\n"
        target.with_suffix(".log").write_text(text, encoding="utf-8")
        sys.exit(1)
    draft = target.with_suffix(f".{os.getpid()}")  # one left by a killed sweep may be at it, too
    draft.write_text(json.dumps(record, indent=1), encoding="utf-8")
    os.replace(draft, target)


def gather(records: Iterable[Path], folder: Path) -> None:
    """Write ``claims.parquet``, a row for each run and claim; kept tables and figures likewise.

    Every table begins with the parameters of the run, resolved. A run whose claims came out
    otherwise than the page expects is in it, with ``surprising``. What each figure draws is in
    a table of the figure's name.
    """
    import pandas as pd

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
        draft = folder / f".{name}.draft"
        pd.concat(parts, ignore_index=True).to_parquet(draft)
        os.replace(draft, folder / f"{name}.parquet")


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
    import pandas as pd

    rows = pd.DataFrame([row for record in records for row in record["claims"]])
    rows["control_of"] = rows["control_of"].fillna("")
    by_claim = rows.groupby(["id", "control_of"], sort=False)
    counts = by_claim.agg(
        false_alarm=("false_alarm", "max"),
        runs=("surprising", "size"),
        surprises=("surprising", "sum"),
    )
    return counts.reset_index()


def main(words: list[str]) -> int:
    """Do a chunk of the plan in this folder; without the name of one, gather them all."""
    if words:
        return run_chunk(Path.cwd(), words[0])
    planned = json.loads(Path("plan.json").read_text(encoding="utf-8"))
    gather((Path("runs", f"{name}.json") for name in planned["runs"]), Path.cwd())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
