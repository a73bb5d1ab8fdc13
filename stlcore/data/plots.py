"""Movie plots from Wikipedia, as Kaggle has them, or any file with titles and texts."""

from __future__ import annotations

import csv
import hashlib
import io
import itertools
import json
import lzma
import os
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from stlcore.data.corpus import Corpus, MissingDataError

__all__ = ["movie_plots"]

HANDLE = "jrobischon/wikipedia-movie-plots"
FILE = "wiki_movie_plots_deduped.csv"
LONGEST = 1_000_000  # characters of a plot; more means a quotation mark that nobody closes
END = "\0"  # a last line of its own, unless a quotation mark before it was never closed
LICENCE = "Wikipedia text, CC BY-SA 4.0"
HOW_TO_GET = (
    "get the movie plots (81 MB) on a machine with network access by "
    f"""python -c "import kagglehub; kagglehub.dataset_download('{HANDLE}')", """
    f"or give the path of Kaggle's {FILE}, of its folder, or of archive.zip with it"
)


def movie_plots(path: str | os.PathLike | None = None) -> Corpus:
    """Plots of films, one document each, in the order of the file.

    Parameters
    ----------
    path : path-like, optional
        Kaggle's ``wiki_movie_plots_deduped.csv``, the folder with it that kagglehub
        returns, or the ``.zip`` that Kaggle's site gives; or JSON lines (``.jsonl``, or
        ``.jsonl.xz``), each an object with ``title`` and ``text``. Without a path, the
        file in kagglehub's cache (``$KAGGLEHUB_CACHE``, or ``~/.cache/kagglehub``).
        Nothing is ever downloaded.

    Returns
    -------
    Corpus
        Without empty and repeated plots. Its ``source`` says how many rows were
        left out, and names the file without its folder.

    Raises
    ------
    MissingDataError
        If there is no such file; the message says how to get it.
    ValueError
        If the file is empty, damaged, not UTF-8, or has other columns.

    Warns
    -----
    UserWarning
        If rows are malformed; they are left out.
    """
    file = _cached_by_kaggle() if path is None else Path(path)
    if file.is_dir():
        file = file / FILE
    text = _text(file)
    rows = _json_rows(text, file.name) if ".jsonl" in file.name else _csv_rows(text, file.name)
    plots, malformed = [], []
    for line, plot in rows:
        plots.append(plot) if plot is not None else malformed.append(line)
    documents = tuple(dict.fromkeys(filter(None, map(_tidy, plots))))
    if not documents:
        raise ValueError(f"{file.name} holds no plot that can be read")
    notes = []
    if len(documents) < len(plots):
        notes.append(f"{len(plots) - len(documents):,} empty or repeated plots left out")
    if malformed:
        notes.append(f"{len(malformed):,} malformed rows left out, first on line {malformed[0]}")
        warnings.warn(f"{file.name}: {notes[-1]}", stacklevel=2)
    kaggles = file.name == FILE or file.suffix == ".zip"
    origin = f"Kaggle {HANDLE}" if kaggles else "movie plots"
    return Corpus(
        name="movie plots",
        documents=documents,
        source="; ".join([f"{origin}, {file.name}", *notes]),
        licence=LICENCE,
        sha256=hashlib.sha256(json.dumps(list(documents)).encode()).hexdigest(),
    )


def _cached_by_kaggle() -> Path:
    """The newest complete download in kagglehub's cache.

    The layout is read here, because asking kagglehub itself for the newest
    version would go to the network even where the cache has it.
    """
    root = Path(os.environ.get("KAGGLEHUB_CACHE") or Path.home() / ".cache" / "kagglehub")
    folder = root / "datasets" / HANDLE
    found = [
        (int(file.parent.name), file)
        for file in folder.glob(f"versions/*/{FILE}")
        if file.parent.name.isdigit() and (folder / f"{file.parent.name}.complete").exists()
    ]
    if not found:
        raise MissingDataError(f"Kaggle's cache holds no movie plots; {HOW_TO_GET}")
    return max(found)[1]


def _text(file: Path) -> str:
    """What the file says; one sentence of error if it cannot be read."""
    try:
        if file.suffix == ".zip":
            content = zipfile.Path(file, FILE).read_bytes()
        else:
            content = file.read_bytes()
        if file.suffix == ".xz":
            content = lzma.decompress(content)
        text = content.decode("utf-8-sig")
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        inside = f"{FILE} in " if file.exists() else ""
        raise MissingDataError(f"there is no file {inside}{file}; {HOW_TO_GET}") from None
    except (lzma.LZMAError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{file.name} is damaged: {error}") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"{file.name} is not UTF-8: see byte {error.start}") from None
    if not text.strip():
        raise ValueError(f"{file.name} is empty")
    return text


def _csv_rows(text: str, name: str) -> Iterator[tuple[int, str | None]]:
    """Line and plot of every row; None for the plot of a malformed one."""
    reader = csv.reader(itertools.chain(io.StringIO(text, newline=""), [END]))
    head = next(reader)
    missing = [column for column in ("Title", "Plot") if column not in head]
    if missing:
        raise ValueError(
            f"{name} has no column {' and no column '.join(missing)}; "
            f"its columns are {', '.join(head)[:200]}"
        )
    plot = head.index("Plot")
    for line, row in _parsed(reader):
        if row not in ([], [END]):  # a blank line, or all that was to be read
            whole = row is not None and len(row) == len(head) and not row[-1].endswith(END)
            yield line, row[plot] if whole else None


def _parsed(reader) -> Iterator[tuple[int, list[str] | None]]:
    """Rows with the line on which they begin; None where the reader gives up on one."""
    while True:
        line = reader.line_num + 1
        usual = csv.field_size_limit(LONGEST)  # the limit is the process's, not the reader's
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error:
            row = None
        finally:
            csv.field_size_limit(usual)
        yield line, row


def _json_rows(text: str, name: str) -> Iterator[tuple[int, str | None]]:
    """Line and plot of every row; None for the plot of a malformed one."""
    rows = [
        (line, _decoded(row)) for line, row in enumerate(text.split("\n"), start=1) if row.strip()
    ]
    fields = {field for _, row in rows for field in row}
    if fields and not {"title", "text"} <= fields:
        raise ValueError(
            f"{name} needs the fields title and text; its fields are "
            + ", ".join(sorted(fields))[:200]
        )
    for line, row in rows:
        plot = row.get("text")
        yield line, plot if isinstance(plot, str) and "title" in row else None


def _decoded(row: str) -> dict:
    try:
        value = json.loads(row)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _tidy(plot: str) -> str:
    """Each paragraph on one line, and single spaces."""
    return "\n".join(filter(None, (" ".join(line.split()) for line in plot.splitlines())))
