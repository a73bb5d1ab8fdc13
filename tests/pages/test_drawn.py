"""The numbers behind a figure, read from the figure."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest

from stlcore.pages.drawn import drawn
from stlcore.pages.figures import exact_curve, mean_band

X = np.arange(1.0, 5)


@pytest.fixture
def ax():
    """A panel, closed at the end."""
    figure, ax = plt.subplots()
    yield ax
    plt.close(figure)


def columns(table, *names):
    """Columns as tuples, without what is missing."""
    return [tuple(row) for row in table[[*names]].to_numpy()]


def test_nothing_drawn(ax):
    assert len(drawn(ax.figure)) == 0


def test_a_mean_its_band_and_the_exact_curve(ax):
    values = np.random.default_rng(1).random((4, 3))
    mean_band(ax, X, values, label="$R_t$\nsimulated")
    exact_curve(ax, X, X**2)
    ax.legend()
    table = drawn(ax.figure)
    mean, exact, band = (part for _, part in table.groupby(["kind", "series"], sort=False))
    assert set(mean["series"]) == set(band["series"]) == {"$R_t$ simulated"}
    assert set(exact["series"]) == {"exact, drawn after $R_t$ simulated"}
    np.testing.assert_allclose(mean["y"], values.mean(axis=1))
    np.testing.assert_allclose(exact["y"], X**2)
    np.testing.assert_allclose((band["low"] + band["high"]) / 2, values.mean(axis=1))
    np.testing.assert_array_equal(band["x"], X)
    half = 4.302653 * values.std(axis=1, ddof=1) / np.sqrt(3)  # Student's t, 2 degrees
    np.testing.assert_allclose(band["high"] - band["low"], 2 * half, rtol=1e-6)


def test_a_band_with_gaps(ax):
    ax.fill_between(X, X, np.where(X == 3, np.nan, 2 * X))
    table = drawn(ax.figure)
    assert columns(table, "x", "low", "high") == [(1, 1, 2), (2, 2, 4), (4, 4, 8)]


def test_bands_on_top_of_each_other(ax):
    ax.stackplot(X, X, 2 * X, labels=["one", "two"])
    table = drawn(ax.figure)
    assert columns(table[table["series"] == "two"], "x", "low", "high") == [
        (x, x, 3 * x) for x in X
    ]


def test_points_and_lines_across(ax):
    ax.plot(X, X, "o", mfc="none", mec="#ff7f0e", label="seen")
    ax.axhline(0.5)
    ax.axvline(2, label="here")
    table = drawn(ax.figure)
    assert set(table["kind"]) == {"points", "line across"}
    assert set(table.loc[table["series"] == "seen", "color"]) == {"#ff7f0e"}
    (_, _, _, _, low, here) = columns(table.fillna(-1), "series", "x", "y")
    assert low == ("1", -1, 0.5)
    assert here == ("here", 2, -1)


def test_error_bars_along_both_axes(ax):
    ax.errorbar(X, 10 * X, yerr=[0.5 * X, X], xerr=0.1, fmt="o", capsize=3, label="fit")
    table = drawn(ax.figure)
    along = table[table["kind"] == "error bars along y"]
    assert columns(along, "x", "y", "low", "high") == [(x, 10 * x, 9.5 * x, 11 * x) for x in X]
    along = table[table["kind"] == "error bars along x"]
    np.testing.assert_allclose(along["low"], X - 0.1)
    assert set(table["series"]) == {"fit"}
    assert len(table) == 8  # the caps and marks are not there twice


def test_missing_points_and_bars_are_left_out(ax):
    gap = np.where(X == 2, np.nan, X)
    ax.errorbar(X, gap, yerr=np.where(X == 3, np.nan, 0.5), label="fit")
    ax.scatter(X, gap, label="seen")
    ax.plot([], [], label="nothing")
    table = drawn(ax.figure)
    bars = table[table["kind"] == "error bars along y"]
    assert columns(bars.fillna(-1), "y", "low", "high") == [
        (1, 0.5, 1.5),
        (3, -1, -1),
        (4, 3.5, 4.5),
    ]
    assert len(table[table["series"] == "seen"]) == 3
    assert "nothing" not in set(table["series"])


def test_bars_are_one_series_and_their_error_bars_another_kind(ax):
    ax.bar(X, 2 * X, yerr=0.5, label="share")
    ax.barh([0, 1], [3, 4], left=1, label="flat")
    table = drawn(ax.figure)
    assert columns(table[table["series"] == "flat"], "y", "low", "high") == [(0, 1, 4), (1, 1, 5)]
    upright = table[(table["series"] == "share") & (table["kind"] == "bars")]
    assert columns(upright, "x", "low", "high") == [(x, 0, 2 * x) for x in X]
    bars = table[table["kind"] == "error bars along y"]
    assert columns(bars, "low", "high") == [(2 * x - 0.5, 2 * x + 0.5) for x in X]


def test_pictures(ax):
    values = np.arange(6.0).reshape(2, 3)
    ax.imshow(values)
    table = drawn(ax.figure)
    # The first row on top.
    assert columns(table, "x", "y", "value") == [(k % 3, k // 3, k) for k in range(6)]
    ax.images[0].remove()
    ax.imshow(np.full((1, 1, 4), [0.1, 0.2, 0.6, 1]))
    np.testing.assert_allclose(drawn(ax.figure)["value"], 0.3)


def test_maps_and_scattered_points_with_a_colour_bar(ax):
    mesh = ax.pcolormesh([0, 2, 4], [0, 1], [[5, 6]])
    ax.figure.colorbar(mesh)
    ax.scatter([1, 2], [3, 4], c=[7, 8])
    table = drawn(ax.figure)
    assert columns(table, "x", "y", "value") == [(1, 0.5, 5), (3, 0.5, 6), (1, 3, 7), (2, 4, 8)]


def test_tiles_and_segments(ax):
    ax.hlines([1, 2], [0, 1], [5, 6], label="reach")
    for x in X:
        ax.add_patch(plt.Rectangle((x, 0), 1, 2, color="C2"))
    ax.legend([plt.Rectangle((0, 0), 1, 1, color="C2")], ["real"])
    table = drawn(ax.figure)
    assert columns(table[table["series"] == "real"], "x", "y") == [(x + 0.5, 1) for x in X]
    assert columns(table[table["series"] == "reach"], "x", "y") == [(0, 1), (5, 1), (1, 2), (6, 2)]


def test_names_of_panels_and_of_what_has_no_label():
    figure, (left, right) = plt.subplots(1, 2)
    left.set(title="one")
    left.plot(X, X, color="C0", label="a")
    left.plot(X, X, ".", color="C0")
    left.legend()
    right.plot(X, X, color="C0")
    right.plot(X, X, color="C3")
    right.plot(X, X, color="C3")
    table = drawn(figure)
    plt.close(figure)
    found = table.groupby(["panel", "series", "kind"]).size().index.tolist()
    assert found == [
        ("1", "1", "line"),
        ("1", "2", "line"),
        ("1", "a", "line"),
        ("one", "a", "line"),
        ("one", "a", "points"),
    ]
