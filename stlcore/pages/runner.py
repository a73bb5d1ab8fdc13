"""Running a page from outside: find it, check its parameters, execute it, keep the result.

The page's text is executed by papermill in a temporary folder next to its
destination and moved into place in one step, so a page that fails or is killed
leaves nothing half written.
"""

from __future__ import annotations

import ast
import copy
import difflib
import fcntl
import json
import logging
import os
import re
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

from stlcore.lazy import extra, without
from stlcore.pages import provenance, repository
from stlcore.pages.parameters import by_profile, check_value, find_type, read_value
from stlcore.pages.provenance import NUMBERS_MIME, RECORD_MIME, WORDS_MIME
from stlcore.pages.repository import UsageError

# Most who come here look for pages: what only a run needs is imported there, and jupytext does
# without its own part of a Jupyter server.
with extra("book"), without("jupytext.sync_contentsmanager", "jupytext.async_contentsmanager"):
    import jupytext
    import nbformat
    import psutil

__all__ = [
    "NotebookPage",
    "UsageError",
    "check_parameters",
    "clear_workshops",
    "complete_record",
    "executed_records",
    "find_page",
    "imports",
    "load_papermill",
    "pages",
    "pair",
    "read_parameters",
    "read_record",
    "run_page",
    "sources",
    "works_alone",
]

# Papermill says on stderr what it also raises: the messages a user should see are ours.
logging.getLogger("papermill").setLevel(logging.CRITICAL)


THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class NotebookPage:
    """A page of the book as it lies in ``notebooks/``."""

    path: Path

    @property
    def name(self) -> str:
        """Short name, ``c10``."""
        return self.path.stem.split("_")[0]

    @cached_property
    def notebook(self) -> nbformat.NotebookNode:
        """The page as a notebook without outputs."""
        text = self.path.read_text(encoding="utf-8")
        return copy.deepcopy(_parsed(text, self.path.suffix))

    @property
    def id(self) -> str:
        """``C-10``."""
        return f"{self.name[0].upper()}-{self.name[1:]}"

    @property
    def title(self) -> str:
        """The first heading, without the id that it begins with."""
        for cell in self.notebook.cells:
            if found := re.search(r"^# (?:[A-Z]-\d\d · )?(.+)$", cell.source, re.MULTILINE):
                return found.group(1)
        return self.path.stem

    @property
    def source(self) -> str:
        """Where in the papers it comes from."""
        return self.notebook.metadata.get("stlcore", {}).get("source", "")

    @property
    def executed(self) -> Path:
        """Where the book's run of it lies."""
        return _executed() / self.path.parent.name / f"{self.path.stem}.ipynb"

    @cached_property
    def parameters(self) -> dict[str, tuple[Any, Any]]:
        """Annotation and default of every parameter; a profile's default as ``by_profile``."""
        cells = [c for c in self.notebook.cells if "parameters" in c.metadata.get("tags", [])]
        if len(cells) != 1:
            raise UsageError(f"{self.path.name} must have exactly one cell tagged 'parameters'")
        found = {}
        for node in ast.parse(cells[0].source).body:
            try:
                annotation = find_type(ast.unparse(node.annotation))
            except (AttributeError, LookupError, TypeError, ValueError):
                raise UsageError(
                    f"{self.path.name}: every parameter needs a type of stlcore.pages"
                ) from None
            try:
                default = (
                    by_profile(*map(ast.literal_eval, node.value.args))
                    if isinstance(node.value, ast.Call)
                    else ast.literal_eval(node.value)
                )
            except (TypeError, ValueError):
                raise UsageError(
                    f"{self.path.name}: the default of '{node.target.id}' must be a plain value "
                    "or by_profile(quick, paper)"
                ) from None
            found[node.target.id] = (annotation, default)
        return found


@cache
def _parsed(text: str, ending: str) -> nbformat.NotebookNode:
    """A page's text as a notebook; many ask for the same page."""
    return _numbered(jupytext.reads(text, fmt={"extension": ending}))


def _executed() -> Path:
    """Where the book's runs of its pages lie."""
    return repository.ROOT / "book" / "notebooks"


def _numbered(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Cell ids by position, so that the same text gives the same file."""
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number:03d}"
    return notebook


def pages() -> list[NotebookPage]:
    """All pages, in the order of their names."""
    found = repository.ROOT.glob("notebooks/*/[abcgn][0-9][0-9]_*.md")
    return sorted(map(NotebookPage, found), key=lambda page: page.name)


def find_page(name: str) -> NotebookPage:
    """The page called ``c10``, ``C-10``, by its file's name or path; UsageError without one."""
    path = Path(name)
    wanted = (path.stem if path.suffix in (".md", ".ipynb") else name).replace("-", "").lower()
    wanted = re.sub(r"^([abcgn])(\d)$", r"\g<1>0\2", wanted)
    known = pages()
    for page in known:
        if wanted in (page.name, page.path.stem.lower()):
            return page
    names = [page.name for page in known]
    close = difflib.get_close_matches(wanted, names, 1)
    hint = f"did you mean '{close[0]}'?" if close else f"there are {', '.join(names)}"
    raise UsageError(f"there is no page '{name}'; {hint}")


def check_parameters(page: NotebookPage, given: dict[str, Any]) -> None:
    """Raise UsageError unless every name is known, every value fits and a GPU needed is there."""
    for name, value in given.items():
        annotation = _annotation(page, name)
        try:
            check_value(name, annotation, value)
        except ValueError as error:
            raise UsageError(f"{page.name}: {error}") from None
    needs_gpu = page.notebook.metadata.get("stlcore", {}).get("gpu", False)
    if needs_gpu and given.get("profile") == "paper" and not _has_gpu():
        raise UsageError(
            f"the paper profile of {page.name} needs a GPU, and PyTorch finds none here; "
            "the quick profile runs on the CPU"
        )


def read_parameters(page: NotebookPage, words: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Values from words of the command line, each as its parameter's type has it."""
    given = {}
    for name, word in words:
        if name in given:
            raise UsageError(f"{page.name}: {name} is given twice")
        annotation, default = _annotation(page, name), page.parameters[name][1]
        try:
            given[name] = read_value(name, annotation, word, default)
        except ValueError as error:
            raise UsageError(f"{page.name}: {error}") from None
    return given


def _annotation(page: NotebookPage, name: str) -> Any:
    """The type of a parameter; UsageError if the page has none of that name."""
    if name not in page.parameters:
        close = difflib.get_close_matches(name, page.parameters, 1)
        hint = f"did you mean '{close[0]}'?" if close else "it takes " + ", ".join(page.parameters)
        raise UsageError(f"{page.name} has no parameter '{name}'; {hint}")
    return page.parameters[name][0]


def _has_gpu() -> bool:
    import torch  # only the pages that ask need it

    return torch.cuda.is_available()


def load_papermill() -> ModuleType:
    """Papermill, which only a run needs, without what it has for notebooks in Hadoop."""
    with extra("book"), without("pyarrow.fs"):
        import papermill
    return papermill


def run_page(
    page: NotebookPage, output: Path, parameters: dict[str, Any], *, surprises: bool = False
) -> dict[str, Any]:
    """Execute a page and put the notebook and its record in place.

    Parameters
    ----------
    page : NotebookPage
        What to run.
    output : Path
        The executed notebook; its record goes beside it as ``.json``, over no file but
        an earlier record.
    parameters : dict
        Values that differ from the page's defaults; checked first.
    surprises : bool
        Whether a run counts, its record too, whose claims came out otherwise than the page
        expects; its ``surprising`` rows say which.

    Returns
    -------
    dict
        The record: provenance, claims, results, and as ``figures`` the numbers behind each.

    Raises
    ------
    UsageError
        Before anything runs: a wrong parameter, an output that cannot be written.
    papermill.exceptions.PapermillExecutionError
        If a cell fails; its note says where the notebook as far as it came is.
    """
    papermill = load_papermill()
    from nbclient.exceptions import DeadKernelError

    check_parameters(page, parameters)
    output = output.absolute()
    if output.suffix != ".ipynb":
        raise UsageError(f"the output must be a notebook (.ipynb), not {output.name}")
    if output.is_dir():
        raise UsageError(f"the output {output} is a folder")
    _check_beside(output.with_suffix(".json"))
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        owner = f"{socket.gethostname()}.{os.getpid()}"
        workshop = Path(tempfile.mkdtemp(prefix=f".{output.stem}.{owner}.", dir=output.parent))
    except OSError as error:
        raise UsageError(f"cannot write to {output.parent}: {error.strerror}") from None
    try:
        source, executed = workshop / "source.ipynb", workshop / "executed.ipynb"
        nbformat.write(page.notebook, source)
        try:
            papermill.execute_notebook(
                _literal(source),
                _literal(executed),
                parameters,
                cwd=str(repository.ROOT),
                progress_bar=False,
                request_save_on_cell_execute=False,  # of a run that is killed nothing is kept
                log_output=False,
                kernel_name="python3",
                kernel_manager_class=_this_python(workshop),
                shutdown_kernel="immediate",  # all outputs are here, and nothing else stays
                # Without the settings and start-up files of the reader's own IPython.
                extra_arguments=["--log-level=50", f"--ipython-dir={workshop}"],
            )
        except DeadKernelError:
            raise
        except RuntimeError as error:
            raise UsageError(f"the kernel of {sys.executable} does not start: {error}") from None
        except papermill.exceptions.PapermillExecutionError as error:
            if not (surprises and error.ename == "ClaimError"):
                error.add_note(_keep_failed(executed, output))
                raise
        record = complete_record(page, read_record(executed), _shown(executed))
        _tidy(executed)
        (workshop / "record.json").write_text(json.dumps(record, indent=1), encoding="utf-8")
        os.replace(executed, output)  # the record comes last: to the pipeline it says "done"
        os.replace(workshop / "record.json", output.with_suffix(".json"))
    finally:
        shutil.rmtree(workshop, ignore_errors=True)
    return record


def _this_python(scratch: Path) -> type:
    """Starts kernels of the Python that runs this, whatever kernels the reader has installed.

    Their temporary files go to ``scratch``, for a kernel that is stopped does not tidy up.
    """
    from ipykernel.kernelspec import get_kernel_dict
    from jupyter_client import AsyncKernelManager
    from jupyter_client.kernelspec import KernelSpec

    class ThisPython(AsyncKernelManager):
        @property
        def kernel_spec(self) -> KernelSpec:
            # The last digits depend on how many threads share a sum.
            threads = {name: os.environ.get(name, "1") for name in THREADS}
            return KernelSpec(**get_kernel_dict(), env=threads | {"TMPDIR": str(scratch)})

    return ThisPython


def works_alone(lock: Path) -> bool:
    """Whether no other process holds the lock; if so, this one does until it ends, however."""
    held = os.open(lock, os.O_CREAT | os.O_RDWR)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def clear_workshops(folder: Path) -> None:
    """Remove what killed runs left in a folder; those that go on, here or elsewhere, stay.

    A run's temporary folder carries its host and its process in its name. One of another
    host is taken for left behind when nothing in it has changed for a week.
    """
    for workshop in folder.glob(".*.*.*.*"):
        owner, process, _ = workshop.name.rsplit(".", 2)
        if not (workshop.is_dir() and process.isdigit()):
            continue
        if owner.endswith(f".{socket.gethostname()}"):
            left = not _alive(int(process))
        else:
            changed = max(path.stat().st_mtime for path in (workshop, *workshop.iterdir()))
            left = time.time() - changed > 7 * 24 * 3600
        if left:
            shutil.rmtree(workshop, ignore_errors=True)


def _alive(process: int) -> bool:
    try:
        return psutil.Process(process).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _check_beside(record: Path) -> None:
    """Refuse to write a record over a file that is none."""
    if record.exists():
        try:
            ours = "provenance" in json.loads(record.read_text(encoding="utf-8"))
        except (OSError, TypeError, ValueError):
            ours = False
        if not ours:
            raise UsageError(
                f"the record of the run would go to {record.name}, and that file is there and "
                "no record: choose another name for the output"
            )


def _literal(path: Path) -> str:
    """A path as papermill takes it, which would put parameters in place of names in braces."""
    return str(path).replace("{", "{{").replace("}", "}}")


def _keep_failed(executed: Path, output: Path) -> str:
    """Put a notebook that failed where it can be read; a sentence that says where.

    Below ``runs/failed`` it has the path that it would have had in the repository, or from
    the root of the file system, so that runs side by side do not overwrite each other's.
    """
    inside = output.is_relative_to(repository.ROOT)
    place = output.relative_to(repository.ROOT if inside else output.anchor)
    failed = repository.ROOT / "runs" / "failed" / place
    try:
        failed.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(executed, failed)
    except OSError as error:
        return f"the notebook as far as it came could not be kept: {error.strerror} ({failed})"
    return f"the notebook as far as it came is {failed}"


def _shown(notebook: Path) -> Iterator[tuple[nbformat.NotebookNode, dict[str, Any]]]:
    """Each cell of an executed notebook with each of its outputs, by MIME type."""
    for cell in nbformat.read(notebook, as_version=4).cells:
        for output in cell.get("outputs", []):
            yield cell, output.get("data", {})


def read_record(notebook: Path) -> dict[str, Any]:
    """The record that a page handed over at its end, from an executed notebook."""
    for _, data in _shown(notebook):
        if RECORD_MIME in data:
            return data[RECORD_MIME]
    raise UsageError(f"{notebook.name} holds no record: the page did not call page.finish()")


def complete_record(
    page: NotebookPage,
    record: dict[str, Any],
    shown: Iterable[tuple[nbformat.NotebookNode, dict[str, Any]]],
) -> dict[str, Any]:
    """What a page handed over, with what it cannot know: its title, and its figures' names.

    Parameters
    ----------
    page : NotebookPage
        What ran.
    record : dict
        What it handed over.
    shown : iterable of (cell, dict)
        Its cells, each with an output by MIME type.

    Returns
    -------
    dict
        The record with ``page``, and as ``figures`` the numbers behind each, as CSV.
    """
    figures = {
        cell.metadata["mystnb"]["figure"]["name"]: data[NUMBERS_MIME]
        for cell, data in shown
        if NUMBERS_MIME in data and "figure" in cell.metadata.get("mystnb", {})
    }
    origin = {"id": page.id, "title": page.title, "source": page.source}
    return {**record, "figures": figures, "page": origin}


def _tidy(notebook: Path) -> None:
    """Make of a run what a reader should see.

    The record and papermill's traces go, injected parameters are hidden, and a
    figure's provenance line moves to a cell of its own: the book turns every
    output of a cell with a caption into a numbered figure.
    """
    content = nbformat.read(notebook, as_version=4)
    content.metadata.pop("papermill", None)
    cells = []
    for cell in content.cells:
        cells.append(cell)
        cell.metadata.pop("papermill", None)
        if "injected-parameters" in cell.metadata.get("tags", []):
            cell.metadata["tags"] = [*cell.metadata["tags"], "remove-cell"]
            cell["id"] = "injected-parameters"  # papermill's is random
        if cell.cell_type != "code":
            continue
        _fill_in(cell)
        hidden = {RECORD_MIME, WORDS_MIME, NUMBERS_MIME}
        cell.outputs = [o for o in cell.outputs if not hidden & set(o.get("data", {}))]
        lines = [
            o for o in cell.outputs if provenance.MARK in o.get("data", {}).get("text/html", "")
        ]
        if lines:
            cell.outputs = [o for o in cell.outputs if o not in lines]
            below = nbformat.v4.new_code_cell(
                "# where the figure above comes from",  # an empty cell would be left out
                outputs=lines,
                execution_count=cell.execution_count,
                metadata={"tags": ["remove-input"]},
            )
            below["id"] = f"{cell['id']}-provenance"
            cells.append(below)
    content.cells = cells
    nbformat.write(content, notebook)


def _fill_in(cell: nbformat.NotebookNode) -> None:
    """Put the values of the run into the caption and the alt text of its figure."""
    words = [
        # Jupyter hands numbers that are not finite over as words.
        {k: float(v) if v in ("nan", "inf", "-inf") else v for k, v in o.data[WORDS_MIME].items()}
        for o in cell.outputs
        if WORDS_MIME in o.get("data", {})
    ]

    def value(found: re.Match) -> str:
        try:
            return ("{" + found[1] + "}").format(**words[0])
        except (IndexError, KeyError):
            raise UsageError(f"the page gives no value for {found[0]} to page.show") from None

    if "mystnb" in cell.metadata:
        for part, name in (("figure", "caption"), ("image", "alt")):
            texts = cell.metadata["mystnb"].get(part, {})
            if name in texts:
                texts[name] = re.sub(r"\[\[([^\[\]]+)\]\]", value, texts[name])


def keep_results(page: NotebookPage, record: dict[str, Any]) -> list[Path]:
    """Write a run's small tables and their provenance to ``book/results/``."""
    written = []
    folder = repository.ROOT / "book" / "results"
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in record["results"].items():
        table = folder / f"{page.name}.{name}.csv"
        for path, content in (
            (table, text),
            (table.with_suffix(".json"), json.dumps(record["provenance"], indent=1) + "\n"),
        ):
            draft = path.with_name(f".{path.name}.draft")
            draft.write_text(content, encoding="utf-8")
            os.replace(draft, path)
            written.append(path)
    return written


def executed_records() -> list[dict[str, Any]]:
    """Records of all executed pages, in the order of the pages."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in _executed().glob("*/*.json")]
    return sorted(found, key=lambda record: record["page"]["id"])


def imports(code: str) -> set[str]:
    """The stlcore modules that code imports, anywhere in it; a name in a module counts as one."""
    found, ahead = set(), [ast.parse(code)]
    while ahead:
        node = ahead.pop()
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif not isinstance(node, ast.expr):  # which are most of a text, and import nothing
            ahead += ast.iter_child_nodes(node)
    return {name for name in found if name.split(".")[0] == "stlcore"}


@cache
def _imported_by(path: Path) -> list[Path]:
    """The package's files that a file of the package imports directly."""
    names = imports(path.read_text(encoding="utf-8"))
    return [found for name in names for found in _files(name)]


@cache
def _files(name: str) -> list[Path]:
    """The files that importing a name reads: those of the folders around it, and its own."""
    parts = name.split(".")
    stems = [repository.ROOT.joinpath(*parts[:k]) for k in range(1, len(parts) + 1)]
    places = [place for stem in stems for place in (stem / "__init__.py", stem.with_suffix(".py"))]
    files = [place for place in places if place.is_file()]
    folder = ".".join(parts[:-1])
    home = _handed_on(stems[-2] / "__init__.py").get(parts[-1]) if folder else None
    return files + _files(f"{folder}.{home}.{parts[-1]}") if home else files


@cache
def _handed_on(init: Path) -> dict[str, str]:
    """The names that a folder hands on, and the module of each; see stlcore.lazy."""
    calls = ast.walk(ast.parse(init.read_text(encoding="utf-8") if init.is_file() else ""))
    homes = [
        ast.literal_eval(call.args[1])
        for call in calls
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "hand_on"
    ]
    return {name: module for found in homes for module, names in found.items() for name in names}


def sources(page: NotebookPage) -> list[Path]:
    """The package's files that running a page goes through.

    They are what its code imports, what that imports, and so on, with all that runs any
    page. A page has to run again if one of them has changed.
    """
    code = "\n".join(cell.source for cell in page.notebook.cells if cell.cell_type == "code")
    ahead = [file for name in {"stlcore.__main__", *imports(code)} for file in _files(name)]
    found = set()
    while ahead:
        if (file := ahead.pop()) not in found:
            found.add(file)
            ahead += _imported_by(file)
    return sorted(found)


def pair(page: NotebookPage) -> dict[Path, str]:
    """What the page's two files must hold: its text in jupytext's own form, and its twin."""
    text = jupytext.writes(page.notebook, fmt="md:myst")
    twin = nbformat.writes(_parsed(text, page.path.suffix)) + "\n"
    return {page.path: text, page.path.with_suffix(".ipynb"): twin}
