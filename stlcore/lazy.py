"""What a folder hands on is imported when it is asked for, and what is missing says its name.

A folder such as :mod:`stlcore.learners` offers the names of all its modules, yet
importing it loads none of them, so that a loop over arrays does not wait for PyTorch.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any

__all__ = ["extra", "hand_on", "without"]


def hand_on(
    folder: str, homes: Mapping[str, Sequence[str]]
) -> tuple[Callable[[str], Any], list[str]]:
    """``__getattr__`` and ``__all__`` of a folder that hands on names of its modules.

    Parameters
    ----------
    folder : str
        ``__name__`` of the folder.
    homes : mapping
        The names that each module offers, a literal: the pipeline reads it to find which
        pages go through which module.
    """
    home = {name: module for module, names in homes.items() for name in names}

    def find(name: str) -> Any:
        if name not in home:
            raise AttributeError(f"module {folder!r} has no attribute {name!r}")
        found = getattr(import_module(f"{folder}.{home[name]}"), name)
        setattr(sys.modules[folder], name, found)  # the next time without this detour
        return found

    return find, sorted(home)


@contextmanager
def extra(name: str) -> Iterator[None]:
    """Imports that need an extra of the package: without it, one sentence says how to get it.

    Examples
    --------
    >>> with extra("torch"):
    ...     import torch

    Raises
    ------
    ModuleNotFoundError
        Instead of Python's own, naming the extra.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"this part of stlcore needs {error.name}: pip install 'stlcore[{name}]'",
            name=error.name,
        ) from None


@contextmanager
def without(*modules: str) -> Iterator[None]:
    """Imports that do without some modules, as if those were not installed.

    For what a package takes along if it can, and nobody here uses. Afterwards the modules can
    be imported as ever; those that were before stay.

    Examples
    --------
    >>> with without("xml.sax"):
    ...     import xml.sax
    Traceback (most recent call last):
    ModuleNotFoundError: import of xml.sax halted; None in sys.modules
    """
    absent = [name for name in modules if name not in sys.modules]
    sys.modules.update(dict.fromkeys(absent))
    try:
        yield
    finally:
        for name in absent:
            del sys.modules[name]
