"""Figures for people: one theme, bands that say what they are, alt text checked elsewhere.

Colours come from seaborn's colour-blind palette. Figures are drawn as SVG on a
white ground; the book's style sheet turns them for dark mode.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from stlcore.lazy import extra

with extra("book"):
    import matplotlib.pyplot as plt
    import seaborn as sns
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.ticker import LogLocator, NullLocator
    from matplotlib_inline.backend_inline import set_matplotlib_formats

__all__ = ["as_array", "exact_curve", "mean_band", "plain_ticks", "theme"]


def theme() -> None:
    """Set the look of every figure of the book, whatever a reader's own settings are."""
    plt.rcdefaults()
    sns.set_theme(context="notebook", style="ticks", palette="colorblind")
    plt.rcParams.update(
        {
            "axes.spines.right": False,
            "axes.spines.top": False,
            "axes.titlesize": "medium",
            "figure.figsize": (6.0, 3.8),
            "figure.constrained_layout.use": True,
            "legend.frameon": False,
            "svg.hashsalt": "stlcore",  # the same figure gives the same file
        }
    )
    set_matplotlib_formats("svg", metadata={"Date": None})


def as_array(frame: pd.DataFrame, column: str) -> np.ndarray:
    """A column of a loop's result as an array of shape (rounds, repetitions)."""
    return frame.pivot(index="round", columns="repetition", values=column).to_numpy()


def mean_band(ax: Axes, rounds, values: np.ndarray, *, level: float = 0.95, **style):
    """Draw the mean over repetitions with a pointwise confidence band for it.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where to draw.
    rounds : array_like, shape (T,)
        Horizontal positions.
    values : ndarray, shape (T, repetitions)
        One column for each repetition.
    level : float
        Pointwise level of the band, by Student's t: exact for normal values, and near the
        level for others unless repetitions are few or the values very skew.
    **style
        Passed to ``ax.plot``.

    Returns
    -------
    matplotlib.lines.Line2D
        The line of the mean.
    """
    mean = values.mean(axis=1)
    count = values.shape[1]
    half = stdtrit(count - 1, 0.5 + level / 2) * values.std(axis=1, ddof=1) / np.sqrt(count)
    (line,) = ax.plot(rounds, mean, **style)
    ax.fill_between(rounds, mean - half, mean + half, color=line.get_color(), alpha=0.25, lw=0)
    return line


def exact_curve(ax: Axes, rounds, values, **style):
    """Draw an exact curve: thin, dashed, dark, so that a simulated one shows beneath it.

    Without a label of its own it is called after the line before it, in the numbers of the
    figure and not in its legend.
    """
    before = " ".join(ax.lines[-1].get_label().split()) if ax.lines else ""
    after = f", drawn after {before}" if before and not before.startswith("_") else ""
    style = {"label": f"_exact{after}", **style}
    (line,) = ax.plot(rounds, values, **{"color": "0.15", "ls": "--", "lw": 1.1, **style})
    return line


def plain_ticks(axis: Axis) -> None:
    """Label 1, 2 and 5 of every decade of a logarithmic axis, as plain numbers.

    For an axis of a decade or two, where matplotlib names one power of ten or none.
    """
    axis.set(major_locator=LogLocator(10, (1, 2, 5)), major_formatter="{x:g}")
    axis.set_minor_locator(NullLocator())
