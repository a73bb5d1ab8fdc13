"""Real data: where it comes from, under which licence, and a checksum that pins it.

A loader returns the same data on every machine that has the same sources, and
raises :class:`MissingDataError`, with one sentence that says how to get what is
missing.
"""

from stlcore.data.corpus import Corpus, MissingDataError, divide, passages, sentences
from stlcore.data.images import Images, cifar10, digits, mnist
from stlcore.data.packages import docstrings, prose
from stlcore.data.plots import movie_plots

__all__ = [
    "Corpus",
    "Images",
    "MissingDataError",
    "cifar10",
    "digits",
    "divide",
    "docstrings",
    "mnist",
    "movie_plots",
    "passages",
    "prose",
    "sentences",
]
