"""The numbers behind a figure: a table of what is drawn, read from the figure itself.

A long table with a row for every point, whatever the page computed it from, so no page has to
say twice what it shows. What a reader cannot take from a picture, which line is which and how
high it is, stands here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np
import pandas as pd

from stlcore.lazy import extra

with extra("book"):
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.collections import (
        FillBetweenPolyCollection,
        LineCollection,
        PathCollection,
        QuadMesh,
    )
    from matplotlib.colors import to_hex
    from matplotlib.container import BarContainer, ErrorbarContainer
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage
    from matplotlib.lines import Line2D
    from matplotlib.patches import Rectangle

__all__ = ["drawn"]

COLUMNS = ["panel", "series", "kind", "color", "x", "y", "low", "high", "value"]


def drawn(figure: Figure) -> pd.DataFrame:
    """Every point of a figure's lines, bands, points, bars, error bars and images.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        A figure that is still open.

    Returns
    -------
    pandas.DataFrame
        ``panel`` (its title, or the words at its vertical axis), ``series`` (the name in the
        legend; of what has none, what it was called with an underscore in front, or the name
        of the one entry with its colour, or a number), ``kind``, ``color``, and as far as the
        kind has them ``x``, ``y``, the ends ``low`` and ``high`` of a band or bar, and the
        ``value`` behind a colour. Text, arrows and colour bars are left out.
    """
    tables = []
    axes = [ax for ax in figure.axes if ax.get_label() != "<colorbar>" and ax.get_visible()]
    for ax, panel in zip(axes, _distinct([_title(ax) for ax in axes]), strict=True):
        known = _legend(figure, ax)
        found = list(_artists(ax))
        kinds = [kind for _, _, kind, _ in found]
        names = [_name(label, artist, known) for label, artist, _, _ in found]
        names = _distinct(names, kinds)
        for series, (_, artist, kind, columns) in zip(names, found, strict=True):
            columns = {k: np.ravel(v) for k, v in columns.items()}
            gone = [pd.isna(columns[c]) for c in ("x", "y", "value") if c in columns]
            there = ~np.logical_and.reduce(gone)
            head = {"panel": panel, "series": series, "kind": kind, "color": _color(artist)}
            tables.append((there.sum(), head | {k: v[there] for k, v in columns.items()}))
    if not tables:
        return pd.DataFrame(columns=COLUMNS)

    def of_all(column: str) -> np.ndarray:
        parts = ((count, table.get(column, np.nan)) for count, table in tables)
        return np.concatenate([np.broadcast_to(values, count) for count, values in parts])

    return pd.DataFrame({name: of_all(name) for name in COLUMNS}).dropna(axis=1, how="all")


def _title(ax: Axes) -> str:
    titles = [ax.get_title(loc) for loc in ("center", "left", "right")]
    return " ".join(next(filter(None, [*titles, ax.get_ylabel(), ax.get_xlabel()]), "").split())


def _distinct(names: list[str], kinds: list[str] | None = None) -> list[str]:
    """The names, with a number behind each that its kind has more than once, or empty.

    Bars and tiles of one name are one series.
    """
    pairs = list(zip(names, kinds or names, strict=True))
    often, seen = Counter(pairs), Counter()
    made = []
    for name, kind in pairs:
        seen[name, kind] += 1
        alone = name and (often[name, kind] == 1 or kind in ("bars", "tiles"))
        made.append(name if alone else f"{name} {seen[name, kind]}".strip())
    return made


def _color(artist: Artist) -> str:
    """The colour of an artist, "" if it has none or many."""
    if isinstance(artist, Line2D):
        hollow = artist.get_linestyle() == "None"
        color = artist.get_markerfacecolor() if hollow else artist.get_color()
        if isinstance(color, str) and color.lower() == "none":
            color = artist.get_markeredgecolor()
        return to_hex(color)
    if isinstance(artist, QuadMesh | AxesImage):
        return ""
    colors = artist.get_edgecolor() if isinstance(artist, LineCollection) else None
    colors = artist.get_facecolor() if colors is None else colors
    different = {to_hex(color) for color in np.atleast_2d(colors)}
    return different.pop() if len(different) == 1 else ""


def _legend(figure: Figure, ax: Axes) -> dict[str, str]:
    """Name by colour, of the legend's entries whose colour no other entry has.

    A panel without a legend shares that of the others.
    """
    own = [legend for legend in (ax.get_legend(), *figure.legends) if legend]
    entries = []
    for legend in own or filter(None, [other.get_legend() for other in figure.axes]):
        handles = zip(legend.legend_handles, legend.get_texts(), strict=True)
        entries += [
            (_color(handle), text.get_text())
            for handle, text in handles
            if hasattr(handle, "get_facecolor") or isinstance(handle, Line2D)
        ]
    names: dict[str, set[str]] = {}
    for color, name in entries:
        names.setdefault(color, set()).add(name)
    return {color: found.pop() for color, found in names.items() if len(found) == 1}


def _name(label: str, artist: Artist, known: dict[str, str]) -> str:
    if label and not label.startswith("_"):
        return " ".join(label.split())
    if label and not label.startswith(("_child", "_nolegend_", "_container")):
        return " ".join(label[1:].split())
    return " ".join(known.get(_color(artist), "").split())


def _artists(ax: Axes) -> Iterator[tuple[str, Artist, str, dict]]:
    """Label, artist, kind and columns of everything in a panel that stands for numbers."""
    parts: set[Artist] = set()
    for container in ax.containers:
        if isinstance(container, ErrorbarContainer):
            marks, caps, bars = container.lines
            parts |= {*caps, *bars, *([marks] if marks else [])}
            for axis, bar in zip(_directions(container), bars, strict=True):
                yield container.get_label(), marks or bar, *_error_bars(axis, bar, marks)
        elif isinstance(container, BarContainer):
            parts |= set(container.patches)
            yield container.get_label(), container.patches[0], *_bars(container)
    yield from _tiles([patch for patch in ax.patches if patch not in parts])
    for artist in (*ax.lines, *ax.collections, *ax.images):
        if artist in parts or not artist.get_visible():
            continue
        if isinstance(artist, Line2D):
            yield artist.get_label(), artist, *_line(ax, artist)
        elif isinstance(artist, FillBetweenPolyCollection):
            yield artist.get_label(), artist, "band", _band(artist)
        elif isinstance(artist, PathCollection):
            x, y = np.ma.filled(artist.get_offsets(), np.nan).T
            shade = {} if artist.get_array() is None else {"value": _filled(artist.get_array())}
            yield artist.get_label(), artist, "points", {"x": x, "y": y, **shade}
        elif isinstance(artist, LineCollection):
            x, y = np.concatenate([path.vertices for path in artist.get_paths()]).T
            yield artist.get_label(), artist, "segments", {"x": x, "y": y}
        elif isinstance(artist, QuadMesh):
            yield "", artist, "image", _mesh(artist)
        elif isinstance(artist, AxesImage):
            yield "", artist, "image", _image(artist)


def _tiles(patches: list[Artist]) -> Iterator[tuple[str, Artist, str, dict]]:
    """The middles of rectangles, those of one colour together."""
    groups: dict[str, list[Rectangle]] = {}
    for patch in patches:
        if isinstance(patch, Rectangle) and patch.get_visible():
            groups.setdefault(_color(patch), []).append(patch)
    for group in groups.values():
        x, y = np.array([patch.get_center() for patch in group]).T
        yield group[0].get_label(), group[0], "tiles", {"x": x, "y": y}


def _directions(container: ErrorbarContainer) -> list[str]:
    return ["x"] * container.has_xerr + ["y"] * container.has_yerr


def _error_bars(axis: str, bar: LineCollection, marks: Line2D | None) -> tuple[str, dict]:
    """Marks with the ends of their bars along one axis."""
    ends = np.array([path.vertices[[0, -1]] for path in bar.get_paths()]).reshape(-1, 2, 2)
    along = "xy".index(axis)
    across = ends[:, 0, 1 - along]
    centre = ends[:, :, along].mean(axis=1)
    if marks is not None and len(marks.get_xdata()) == len(ends):
        centre = marks.get_data(orig=False)[along]
    columns = {axis: centre, "yx"[along]: across}
    columns |= {"low": ends[:, 0, along], "high": ends[:, 1, along]}
    return f"error bars along {axis}", columns


def _bars(container: BarContainer) -> tuple[str, dict]:
    boxes = np.array([patch.get_bbox().get_points() for patch in container.patches])
    (left, low), (right, high) = boxes[:, 0].T, boxes[:, 1].T
    if container.orientation == "vertical":
        return "bars", {"x": (left + right) / 2, "low": low, "high": high}
    return "bars", {"y": (low + high) / 2, "low": left, "high": right}


def _line(ax: Axes, line: Line2D) -> tuple[str, dict]:
    """A line or marks; of a line across the whole panel, where it stands."""
    x, y = (np.atleast_1d(np.ma.filled(part, np.nan)) for part in line.get_data(orig=False))
    in_x, in_y = line.get_transform().contains_branch_seperately(ax.transData)
    if not in_x and in_y:
        return "line across", {"y": y[:1]}
    if not in_y and in_x:
        return "line across", {"x": x[:1]}
    return "points" if line.get_linestyle() == "None" else "line", {"x": x, "y": y}


def _band(band: FillBetweenPolyCollection) -> dict:
    """The ends of a band at every x: matplotlib walks along one side and back on the other."""
    x, low, high = [], [], []
    for path in band.get_paths():
        corners = path.vertices[:-1]
        there, back = corners[1 : len(corners) // 2], corners[len(corners) // 2 + 1 :][::-1]
        sides = np.sort([there[:, 1], back[:, 1]], axis=0)
        x, low, high = [*x, *there[:, 0]], [*low, *sides[0]], [*high, *sides[1]]
    return {"x": x, "low": low, "high": high}


def _mesh(mesh: QuadMesh) -> dict:
    """The middle of every cell and its value."""
    corners = mesh.get_coordinates()
    middle = (corners[:-1, :-1] + corners[1:, :-1] + corners[:-1, 1:] + corners[1:, 1:]) / 4
    return {"x": middle[..., 0], "y": middle[..., 1], "value": _filled(mesh.get_array())}


def _image(image: AxesImage) -> dict:
    """The middle of every picture element and its value, of a colour the mean of its channels."""
    value = _filled(image.get_array())
    value = value[..., :3].mean(axis=2) if value.ndim == 3 else value
    rows, columns = value.shape
    left, right, bottom, top = image.get_extent()
    if image.origin == "upper":
        bottom, top = top, bottom
    x = left + (np.arange(columns) + 0.5) * (right - left) / columns
    y = bottom + (np.arange(rows) + 0.5) * (top - bottom) / rows
    grid = np.meshgrid(x, y)
    return {"x": grid[0], "y": grid[1], "value": value}


def _filled(values) -> np.ndarray:
    """Numbers, missing where they are masked."""
    return np.ma.filled(np.ma.asarray(values, dtype=float), np.nan)
