"""English that every installation has: the docstrings of scientific packages."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from stlcore.data.corpus import Corpus, MissingDataError, cached

__all__ = ["docstrings", "prose"]

#: Distribution: its module, and the licence of its docstrings. Python's own library is
#: left out, because the text would then change with the version of Python.
PACKAGES = {
    "matplotlib": ("matplotlib", "Matplotlib licence (PSF style)"),
    "numpy": ("numpy", "BSD-3-Clause"),
    "pandas": ("pandas", "BSD-3-Clause"),
    "scikit-learn": ("sklearn", "BSD-3-Clause"),
    "scipy": ("scipy", "BSD-3-Clause"),
}

#: Folders and files with tests, with code from elsewhere, or not there on every system.
SKIPPED = {
    *("test", "tests", "testing", "_testing", "_lib", "_vendored", "externals"),
    *("distutils", "_distributor_init.py", "_distributor_init_local.py"),
}

#: Raised whenever the rules below change, so that an old cache file is not taken for new.
RULES = 1


def docstrings(packages: Sequence[str] = tuple(PACKAGES)) -> Corpus:
    """English that every installation has: the docstrings of scientific packages.

    The source files are parsed, not imported. A document is the prose of one
    docstring (see :func:`prose`). A paragraph that occurs again is left out.

    Parameters
    ----------
    packages : sequence of str
        Names from ``PACKAGES``, in any order.

    Returns
    -------
    Corpus
        Fixed by the versions of the packages.

    Raises
    ------
    ValueError
        For an unknown package, or none at all.
    MissingDataError
        If a package is not installed, or is there without its source files.
    """
    packages = sorted(set(packages))
    unknown = [package for package in packages if package not in PACKAGES]
    if unknown or not packages:
        known, given = ", ".join(PACKAGES), ", ".join(unknown) or "an empty list"
        raise ValueError(f"the packages must be some of {known}, not {given}")
    versions = {package: _version(package) for package in packages}
    documents, checksum = cached(
        "docstrings",
        [RULES, versions],
        lambda: _documents(text for package in packages for text in _docstrings_of(package)),
    )
    return Corpus(
        name="docstrings",
        documents=documents,
        source="docstrings of " + ", ".join(f"{p} {number}" for p, number in versions.items()),
        licence="; ".join(f"{package}: {PACKAGES[package][1]}" for package in packages),
        sha256=checksum,
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        raise MissingDataError(
            f"the text comes from the docstrings of {package}, which is not installed "
            f"(pip install {package})"
        ) from None


def _docstrings_of(package: str) -> Iterator[str]:
    """All docstrings of a package, file by file in the order of the files' names."""
    files = _source_files(PACKAGES[package][0])
    if not files:
        raise MissingDataError(f"{package} is installed without its source files (*.py)")
    for file in files:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes in other people's strings
            tree = ast.parse(file.read_bytes())
        yield from _docstrings_in(tree)


def _source_files(module: str) -> list[Path]:
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        return []
    root = Path(spec.origin).parent
    names = sorted(path.relative_to(root).as_posix() for path in root.glob("**/*.py"))
    return [root / name for name in names if SKIPPED.isdisjoint(name.split("/"))]


def _docstrings_in(node: ast.AST) -> Iterator[str]:
    """Docstrings of a module, class or function and of what is defined inside, in order."""
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        yield from filter(None, [ast.get_docstring(node)])
    # Statements only: walking through every expression would take twice as long.
    for part in ("body", "handlers", "orelse", "finalbody"):
        for child in getattr(node, part, []):
            yield from _docstrings_in(child)


def _documents(texts: Iterable[str]) -> list[str]:
    """The prose of each text, without paragraphs that an earlier one had."""
    seen: set[str] = set()
    documents = []
    for text in texts:
        new = [p for p in dict.fromkeys(prose(text)) if p not in seen]
        seen.update(new)
        if new:
            documents.append("\n".join(new))
    return documents


def prose(docstring: str) -> list[str]:
    """The paragraphs of a docstring that are prose, each on one line.

    Prose starts with a letter, ends with a full stop (or ``!`` or ``?``), has all
    its lines at the left margin, none of the form ``name: text``, and no
    colon between spaces.
    Code examples, parameter tables, lists, formulas and directives fail one of
    these; titles go with their underlines. Inline markup is taken off.
    """
    untitled = re.sub(r"(?m)^.*\n([-=~^*#+])\1{2,}[ \t]*$", "", docstring)
    found = []
    for paragraph in re.split(r"\n(?:[ \t]*\n)+", untitled.strip("\n")):
        if not _NOT_PROSE.search(paragraph):
            line = " ".join(_without_markup(paragraph).split())
            if re.fullmatch(r"[A-Za-z].*[.!?]", line):
                found.append(line)
    return found


#: An indented line, ``name: text`` at the start of a line, or `` : `` anywhere.
_NOT_PROSE = re.compile(r"^[ \t]|^\S+:\s| : ", re.MULTILINE)


def _without_markup(text: str) -> str:
    """Take reST's roles, citations, back quotes and stars around words off."""
    text = re.sub(r":[a-z:+-]+:(?=`)|\[\w+\]_", "", text)
    return re.sub(r"`~?|(?<!\w)\*+(?=\w)|(?<=\w)\*+(?!\w)", "", text)
