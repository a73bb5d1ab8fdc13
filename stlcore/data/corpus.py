"""What every source of text gives: documents with their origin, and a cache on disk.

What is slow to prepare is kept in a cache folder: ``$STLCORE_CACHE``, or
``~/.cache/stlcore``.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

__all__ = [
    "Corpus",
    "MissingDataError",
    "cache_folder",
    "cached",
    "divide",
    "passages",
    "sentences",
]


class MissingDataError(RuntimeError):
    """Data that a page needs is not on this machine; the message says how to get it."""


@dataclass(frozen=True)
class Corpus:
    """Text, and what a reader must know about it.

    Attributes
    ----------
    name : str
        Short name.
    documents : tuple of str
        The text; each paragraph of a document is one line.
    source : str
        Where it comes from, with versions.
    licence : str
        The licence of every part.
    sha256 : str
        Checksum of the documents (of their JSON form).
    """

    name: str
    documents: tuple[str, ...]
    source: str
    licence: str
    sha256: str


# --- words ----------------------------------------------------------------------------


def sentences(corpus: Corpus) -> list[list[str]]:
    """The words of every sentence, in lower case, without punctuation around them.

    A sentence ends with its paragraph, or at a full stop (or ``!`` or ``?``) that a
    space and a capital letter follow. A word has letters, with hyphens or
    apostrophes inside; anything else (numbers, names from code) stands as ``""``.
    """
    found = []
    for document in corpus.documents:
        for sentence in re.split(r"(?<=[.!?])\s+(?=[A-Z])|\n", document):
            pieces = (piece.strip(".,;:!?()[]{}\"'") for piece in sentence.lower().split())
            words = [p if _WORD.fullmatch(p) else "" for p in pieces if p]
            if words:
                found.append(words)
    return found


_WORD = re.compile(r"[a-z]+(?:['’-][a-z]+)*")


# --- documents of one length, and parts that share nothing -----------------------------


def passages(document: str, shortest: int, longest: int) -> list[str]:
    """Cut a long document into passages that follow each other.

    Parameters
    ----------
    document : str
        With at most ``longest`` words it stays whole.
    shortest, longest : int
        Words of a passage, at least and at most.

    Returns
    -------
    list of str
        As many passages as have ``shortest`` words, all equally long; the words
        left over at the end are dropped.

    Raises
    ------
    ValueError
        Unless ``1 <= shortest <= longest``.
    """
    if not 1 <= shortest <= longest:
        raise ValueError(
            f"a passage cannot have at least {shortest} and at most {longest} words: "
            "give two whole numbers from 1 up, the smaller one first"
        )
    words = list(re.finditer(r"\S+", document))
    if len(words) <= longest:
        return [document]
    count = len(words) // shortest
    size = min(longest, len(words) // count)
    first = range(0, count * size, size)
    return [document[words[k].start() : words[k + size - 1].end()] for k in first]


def divide(
    groups: Sequence[Sequence[str]], sizes: Sequence[int], rng: np.random.Generator
) -> list[list[str]]:
    """Divide documents at random into parts, so that no group is in two of them.

    Parameters
    ----------
    groups : sequence of sequences of str
        Documents that belong together, the passages of one text say.
    sizes : sequence of int
        Documents of each part but the last.
    rng : numpy.random.Generator
        Draws which groups go where.

    Returns
    -------
    list of lists of str
        Parts of the given sizes, with one document of each group that they
        take, drawn at random, and last all documents of the groups left. Others
        of a group that gave one to a part of given size are in no part.

    Raises
    ------
    ValueError
        If no group is left for the last part.
    """
    if sum(sizes) >= len(groups):
        raise ValueError(
            f"parts of {' and '.join(map(str, sizes))} documents, each from a text of its own, "
            f"leave nothing to train on: there are {len(groups)} texts"
        )
    order = rng.permutation(len(groups))
    ends = np.cumsum([0, *sizes])
    parts = [
        [groups[i][rng.integers(len(groups[i]))] for i in order[first:last]]
        for first, last in pairwise(ends)
    ]
    return [*parts, [document for i in order[ends[-1] :] for document in groups[i]]]


# --- the cache ------------------------------------------------------------------------


def cache_folder() -> Path:
    """``$STLCORE_CACHE``, or ``~/.cache/stlcore``; it need not exist yet."""
    return Path(os.environ.get("STLCORE_CACHE") or Path.home() / ".cache" / "stlcore")


def cached(name: str, key: object, build: Callable[[], Sequence[str]]):
    """Documents and their checksum, from the cache where it holds them undamaged."""
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
    folder = cache_folder()
    path = folder / f"{name}-{digest}.txt"
    with contextlib.suppress(OSError):
        checksum, _, body = path.read_bytes().partition(b"\n")
        if checksum.decode(errors="replace") == hashlib.sha256(body).hexdigest():
            return tuple(json.loads(body)), checksum.decode()
    body = json.dumps(list(build())).encode()
    checksum = hashlib.sha256(body).hexdigest()
    # Without a folder to write to there is no cache, but there is still the data.
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        _write(path, checksum.encode() + b"\n" + body)
    return tuple(json.loads(body)), checksum


def _write(path: Path, content: bytes) -> None:
    """Write in one step: a reader sees the old file or the new one, never a part."""
    handle, draft = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.replace(draft, path)
    except BaseException:
        os.unlink(draft)
        raise
