"""The figures of all pages: no legend covers what is drawn, and captions say what is not seen."""

import io
import re
from hashlib import sha256
from pathlib import Path

import nbformat
import numpy as np
import pytest
from matplotlib.figure import Figure

from stlcore.pages.runner import find_page, pages

#: What lies below a legend, and which points and bands leave their panel at the top or bottom.
PANELS = r"""() => {
    const svg = document.querySelector('svg'), covered = new Set(), leaves = new Set();
    const box = (e) => e.getBoundingClientRect();
    const entries = [...svg.querySelectorAll(
            '[id^=legend] :is([id^=text], [id^=line2d], [id^=PathCollection], [id^=patch])')]
        .map(box).filter(b => b.width < 200 && b.height < 40);  // without a legend's frame
    const drawn = ['line2d', 'FillBetween', 'PathCollection', 'LineCollection'];
    const groups = drawn.map(kind => `[id^=axes] > g[id^=${kind}]`).join();
    for (const group of svg.querySelectorAll(groups)) {
        for (const e of group.querySelectorAll('path, use')) {
            if (e.closest('defs')) continue;
            const used = e.tagName === 'use';
            const shape = used ? document.querySelector(e.getAttribute('xlink:href')) : e;
            const whole = box(e), mark = used && Math.max(whole.width, whole.height) < 25;
            let points = [[whole.x + whole.width / 2, whole.y + whole.height / 2]];
            if (!mark) {
                if (!shape.getAttribute('d')) continue;
                let at = e.getScreenCTM();
                if (used) at = at.translate(e.getAttribute('x') || 0, e.getAttribute('y') || 0);
                const length = shape.getTotalLength();
                const steps = Math.ceil(Math.min(400, length / 2)) || 1;
                points = Array.from({ length: steps + 1 }, (_, k) => {
                    const p = shape.getPointAtLength(length * k / steps).matrixTransform(at);
                    return [p.x, p.y];
                });
            }
            const clip = e.closest('[clip-path]')?.getAttribute('clip-path').slice(4, -1);
            const panel = clip && document.querySelector(`${clip} rect`);
            const edge = (y) => new DOMPoint(0, y).matrixTransform(svg.getScreenCTM()).y;
            const [top, bottom] = !panel ? [-Infinity, Infinity] : [
                edge(panel.y.baseVal.value),
                edge(panel.y.baseVal.value + panel.height.baseVal.value),
            ];
            for (const [x, y] of points) {
                const out = y < top - 1 || y > bottom + 1;
                if (out && (mark || group.id.startsWith('Fill'))) leaves.add(group.id);
                const below = (b) => Math.abs(2 * x - b.left - b.right) < b.width + 6
                    && Math.abs(2 * y - b.top - b.bottom) < b.height + 4;
                if (!out && entries.some(below)) covered.add(group.id);
            }
        }
    }
    return { covered: [...covered], leaves: [...leaves] };
}"""


@pytest.fixture(scope="module")
def sheet(browser):
    """A window that figures are laid into, one after the other."""
    page = browser.new_page(viewport={"width": 1000, "height": 900})

    def laid(svg):
        page.set_content(svg[svg.index("<svg") :])
        return page.evaluate(PANELS)

    yield laid
    page.close()


@pytest.mark.parametrize("name", [page.name for page in pages()])
def test_no_legend_covers_a_line_and_captions_say_what_leaves_a_panel(name, sheet, browser, once):
    """Figures that passed and have not changed are not looked at again."""
    figures = []
    for cell in nbformat.read(find_page(name).executed, 4).cells:
        drawn = [o["data"] for o in cell.get("outputs", []) if "image/svg+xml" in o.get("data", {})]
        caption = cell.metadata.get("mystnb", {}).get("figure", {}).get("caption", "")
        figures += [(caption, data["image/svg+xml"]) for data in drawn if caption]
    known = Path(__file__).read_text(encoding="utf-8"), browser.version, figures
    with once(f"legends/{name}", sha256(repr(known).encode()).hexdigest()):
        for caption, svg in figures:
            found = sheet(svg)
            assert found["covered"] == [], caption
            assert not found["leaves"] or re.search(r"\bleaves?\b", caption), caption


@pytest.mark.parametrize(
    ("top", "place", "found"),
    [
        (None, (0.0, 0.8), {"covered": 0, "leaves": 0}),
        (None, (0.3, 0.3), {"covered": 1, "leaves": 0}),
        (0.7, (0.0, 0.6), {"covered": 0, "leaves": 2}),  # of the points and the band
    ],
)
def test_what_a_legend_covers_and_what_leaves_a_panel_is_found(sheet, top, place, found):
    figure = Figure()
    ax, x = figure.subplots(), np.linspace(0, 1, 11)
    ax.plot(x, x, "o", label="points")
    ax.fill_between(x, x - 0.05, x + 0.05, alpha=0.2)
    ax.set_ylim(None, top)
    ax.legend(loc="lower left", bbox_to_anchor=place)
    file = io.StringIO()
    figure.savefig(file, format="svg")
    seen = {kind: len(groups) for kind, groups in sheet(file.getvalue()).items()}
    assert seen["leaves"] == found["leaves"]
    assert (seen["covered"] > 0) == (found["covered"] > 0)
