"""Two runs of a page, held against each other: what is the same, what is chance, what is not."""

from __future__ import annotations

import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from stlcore.pages import repository
from stlcore.pages.repository import UsageError

__all__ = ["compare", "in_words", "load", "numbers", "write_numbers"]

SAME, CHANCE, SETTINGS, DIFFERENT = "same", "within chance", "other settings", "different"
#: Two machines may round differently; a number counts as moved beyond this share of it.
ROUNDING = 1e-9
#: Probability that two right runs have a kept table called different, by the two-sample tests.
TABLE_LEVEL = 1e-4
ORIGIN = ("page", "parameters", "versions")
KEPT = ("id", "sentence", "measured", "expected", "tolerance", "false_alarm", "verdict")


def load(path: Path) -> dict[str, Any]:
    """A record, from its ``.json`` or from the executed notebook that it belongs to.

    Raises
    ------
    UsageError
        If there is none.
    """
    from stlcore.pages.runner import read_record

    try:
        if path.suffix != ".ipynb":
            return _checked(json.loads(path.read_text(encoding="utf-8")), path)
        beside = path.with_suffix(".json")
        return load(beside) if beside.exists() else _checked(read_record(path), path)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    except UsageError:
        raise
    except ValueError as error:
        raise UsageError(f"{path} is no record of a run: {error}") from None


def _checked(record: Any, path: Path) -> dict[str, Any]:
    try:
        _ = [record["provenance"][part] for part in ORIGIN], record["claims"]
    except (KeyError, TypeError):
        raise UsageError(f"{path} is no record of a run") from None
    lacking = {name for row in record["claims"] for name in KEPT if name not in row}
    if lacking:
        words = ", ".join(sorted(lacking))
        raise UsageError(f"{path} is of another version, its claims have no {words}: run it again")
    return record


def compare(mine: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Verdicts on two runs of one page, number by number.

    Parameters
    ----------
    mine, other : dict
        Records of the runs.

    Returns
    -------
    dict
        ``page``; ``parameters`` and ``versions`` that differ, each with both values; a list
        of ``claims`` and one of ``tables``, each with a ``verdict`` and what it rests on;
        ``false_alarm``, a bound for the probability that two right runs of equal sizes are
        called different by chance.

    Raises
    ------
    UsageError
        If the runs are of two pages.

    Notes
    -----
    *Same*: both numbers agree to the claim's own tolerance, or to rounding.
    *Within chance*: a statistical test that came to the same verdict. Where the statement is
    true, two runs differ with probability at most the sum of their false-alarm rates.
    *Other settings*: a number that is no test moved, and so did a parameter, the seed perhaps.
    *Different*: the verdict changed, or a number moved though no parameter did.
    A kept table with a column ``repetition`` is compared by Welch's test of its means over the
    repetitions, each column at its share of 1e-4.
    """
    pages = mine["provenance"]["page"], other["provenance"]["page"]
    if pages[0] != pages[1]:
        raise UsageError(f"these are runs of two pages, {pages[0]} and {pages[1]}")
    moved = {part: _moved(mine, other, part) for part in ("parameters", "versions")}
    settings = bool(moved["parameters"])
    ours, theirs = ({row["id"]: row for row in record["claims"]} for record in (mine, other))
    ids = sorted({*ours, *theirs}, key=_order)
    claims = [_claim(ours.get(id), theirs.get(id), settings) for id in ids]
    both = [name for name in mine.get("results", {}) if name in other.get("results", {})]
    tables = [
        {"name": name, **_table(mine["results"][name], other["results"][name], settings)}
        for name in both
    ]
    tested = [row["false_alarm"] for record in (mine, other) for row in record["claims"]]
    return {
        "page": pages[0],
        **moved,
        "claims": claims,
        "tables": tables,
        "false_alarm": sum(tested) + TABLE_LEVEL * len(tables),
    }


def in_words(receipt: dict[str, Any]) -> list[str]:
    """What a receipt says, for people: what differs first, then the count of each verdict."""
    lines = [
        f"{receipt['page']}: {name} is {_word(one)}, not {_word(two)}"
        for part in ("parameters", "versions")
        for name, (one, two) in receipt[part].items()
    ]
    for row in [*receipt["claims"], *receipt["tables"]]:
        if row["verdict"] == DIFFERENT:
            sides = row.get("measured")
            shown = f" [{sides[0]:.6g}, not {sides[1]:.6g}]" if sides and None not in sides else ""
            name = row.get("id") or f"the table {row['name']}"
            lines.append(f"{name} {DIFFERENT}: {row.get('because', 'its numbers moved')}{shown}")
    for part in ("claims", "tables"):
        counts = pd.Series([row["verdict"] for row in receipt[part]], dtype=str).value_counts()
        if len(counts):
            found = ", ".join(f"{n} {verdict}" for verdict, n in counts.items())
            lines.append(f"{receipt['page']}: {part} {found}")
    return lines


def _word(value: Any) -> str:
    return "absent" if value is None else str(value)


def _moved(mine, other, part: str) -> dict[str, list]:
    """The entries of provenance that differ, with both values; None where one has none."""
    one, two = mine["provenance"][part], other["provenance"][part]
    names = [*one, *(name for name in two if name not in one)]
    return {n: [one.get(n), two.get(n)] for n in names if one.get(n) != two.get(n)}


def _order(id: str) -> tuple[str, int]:
    page, _, number = id.rpartition(".")
    return page, int(number)


def _claim(mine, other, settings: bool) -> dict[str, Any]:
    if mine is None or other is None or mine["sentence"] != other["sentence"]:
        row = mine or other
        why = "the statements differ" if mine and other else "only one run makes this claim"
        return {"id": row["id"], "verdict": SETTINGS, "because": why}
    row = {"id": mine["id"], "measured": [mine["measured"], other["measured"]]}
    if mine["verdict"] != other["verdict"]:
        return {
            **row,
            "verdict": DIFFERENT,
            "because": f"{other['verdict']}, now {mine['verdict']}",
        }
    slack = max(mine["tolerance"], other["tolerance"])
    if all(_near(mine[side], other[side], slack) for side in ("measured", "expected")):
        return {**row, "verdict": SAME}
    if mine["false_alarm"] and other["false_alarm"]:
        return {**row, "verdict": CHANCE}
    return {**row, "verdict": SETTINGS if settings else DIFFERENT, "because": "the number moved"}


def _near(one: float | None, two: float | None, slack: float) -> bool:
    if one is None or two is None:
        return one is two
    return bool(np.isclose(one, two, rtol=ROUNDING, atol=slack, equal_nan=True))


def _table(mine: str, other: str, settings: bool) -> dict[str, Any]:
    one, two = (pd.read_csv(io.StringIO(text)) for text in (mine, other))
    try:
        pd.testing.assert_frame_equal(one, two, rtol=ROUNDING, atol=0)
    except AssertionError:
        pass
    else:
        return {"verdict": SAME}
    if list(one) == list(two) and "repetition" in one:
        from scipy.stats import ttest_ind  # slow to import, and seldom needed

        means = [frame.groupby("repetition").mean(numeric_only=True) for frame in (one, two)]
        columns = [c for c in means[0] if not means[0][c].equals(means[1][c])]
        if columns and min(map(len, means)) > 1:
            tests = [ttest_ind(*(m[c] for m in means), equal_var=False) for c in columns]
            p = np.min([test.pvalue for test in tests])
            good = p >= TABLE_LEVEL / len(columns)
            return {"verdict": CHANCE if good else DIFFERENT, "p_value": float(p)}
    return {"verdict": SETTINGS if settings else DIFFERENT}


def numbers(path: Path | None = None) -> dict[str, dict[str, Any]]:
    """The committed numbers of all claims in the quick profile: short records, by page."""
    path = path or repository.ROOT / "book" / "numbers.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def write_numbers(records: list[dict[str, Any]], path: Path | None = None) -> None:
    """Write the short records of these runs, a line for each claim."""
    path = path or repository.ROOT / "book" / "numbers.json"
    short = {}
    for record in records:
        origin = record["provenance"]
        short[origin["page"]] = {
            "provenance": {part: origin[part] for part in ORIGIN},
            "claims": [{k: _rounded(row[k]) for k in KEPT} for row in record["claims"]],
        }
    lines = []
    for page, record in short.items():
        head = json.dumps(record["provenance"], sort_keys=True)
        rows = ",\n".join("  " + json.dumps(row, ensure_ascii=False) for row in record["claims"])
        lines.append(f'"{page}": {{"provenance": {head}, "claims": [\n{rows}]}}')
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def _rounded(value: Any) -> Any:
    if isinstance(value, float) and math.isfinite(value):
        return float(f"{value:.12g}")
    return value
