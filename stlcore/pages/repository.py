"""Where the repository lies whose pages are run."""

from pathlib import Path

__all__ = ["ROOT", "UsageError", "check_here"]

#: The folder that holds ``notebooks/`` and ``book/``; around an installed package there are none.
ROOT = Path(__file__).resolve().parents[2]


class UsageError(ValueError):
    """Something the caller asked for cannot be; nothing has been written."""


def check_here() -> None:
    """Raise UsageError if the package runs without its repository, where the pages are."""
    if not (ROOT / "notebooks").is_dir():
        raise UsageError(
            "the pages are in the repository, not in the installed package: "
            "clone it and run this command there"
        )
