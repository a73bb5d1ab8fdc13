"""What the papers' texts at hand say, entry by entry: ``book/sources.yml``.

A statement that is booked for or against a paper refers to an entry by its key, so that a
reader can see the words it rests on.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from stlcore.lazy import extra
from stlcore.pages import repository

with extra("book"):
    import yaml

__all__ = ["Source", "find_source", "read_sources"]

FORMULAS = ("none", "shown", "confirmed", "lost")


@dataclass(frozen=True)
class Source:
    """One place in a paper.

    Attributes
    ----------
    paper, place : str
        ``"C"`` and, for example, ``"Theorem 3.1"``.
    says : str
        In our words, what the text at hand says there.
    formula : str
        ``none``: words say all of it; ``shown``: the text shows the formula; ``confirmed``:
        another public source shows it, named in ``says``; ``lost``: the formula did not reach
        us and is reconstructed.
    """

    paper: str
    place: str
    says: str
    formula: str

    def __post_init__(self) -> None:
        if self.formula not in FORMULAS:
            raise ValueError(f"formula must be one of {', '.join(FORMULAS)}, not {self.formula!r}")

    def __str__(self) -> str:
        return f"Paper {self.paper}, {self.place}"


def read_sources() -> dict[str, Source]:
    """All entries by key; none where there is no repository."""
    return _read(repository.ROOT / "book" / "sources.yml")


@cache
def _read(path: Path) -> dict[str, Source]:
    if not path.is_file():
        return {}
    entries = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    return {key: Source(**entry) for key, entry in entries.items()}


def find_source(mark: str, key: str | None) -> Source | None:
    """The entry that a mark rests on.

    Raises
    ------
    ValueError
        If ``paper`` or ``reconstructed`` has no key, the key is unknown, or the mark is not
        what the entry allows: ``paper`` needs words or a formula that can be seen,
        ``reconstructed`` one that is lost.
    """
    if key is None:
        if mark in ("paper", "reconstructed"):
            raise ValueError(f"the mark '{mark}' needs the key of an entry in book/sources.yml")
        return None
    known = read_sources()
    if key not in known:
        close = difflib.get_close_matches(key, known, 1)
        hint = f"; did you mean '{close[0]}'?" if close else ""
        raise ValueError(f"book/sources.yml has no entry '{key}'{hint}")
    found = known[key]
    if mark == "paper" and found.formula == "lost":
        raise ValueError(f"the formula of '{key}' is lost, so its mark is 'reconstructed'")
    if mark == "reconstructed" and found.formula != "lost":
        raise ValueError(f"nothing of '{key}' is lost, so its mark is not 'reconstructed'")
    return found
