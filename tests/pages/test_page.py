"""What a page needs around its experiment: parameters, provenance, results."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import time

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import papermill.cli
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

import stlcore.pages.page
import stlcore.pages.repository
from stlcore.pages import provenance
from stlcore.pages.claims import ClaimError
from stlcore.pages.figures import theme
from stlcore.pages.page import NUMBERS_MIME, RECORD_MIME, WORDS_MIME, Page, read_result
from stlcore.pages.parameters import (
    TYPES,
    AtLeast,
    Between,
    Count,
    Counts,
    Flag,
    Place,
    Positive,
    Probabilities,
    Probability,
    Profile,
    Seed,
    Text,
    Within,
    by_profile,
    check_value,
    find_type,
    read_value,
)
from stlcore.pages.provenance import line

# --- Types and ranges ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("type_", "values"),
    [
        (Count, [1, 5, np.int64(7), 10**400]),
        (Seed, [0, 1, 2**128]),
        (Probability, [0, 1, 0.5, 0.0, 1.0, np.float64(0.3), np.float32(0.5)]),
        (Positive, [1, 1e-300, 1e300, np.float64(2)]),
        (Counts, [[1], [3, 2, 1], (4, 5), [np.int64(2)]]),
        (Probabilities, [[0.5], [0, 1], (0.1, 0.2)]),
        (Flag, [True, False]),
        (Text, ["", "anything"]),
        (Place, ["", "a/b"]),
        (AtLeast[20], [20, 21]),
        (Between[0, 1], [1e-300, 0.5]),
        (Within[3, 10, 10], [0.3, 0.5, 1]),
        (Profile, ["quick", "paper"]),
    ],
)
def test_values_that_fit(type_, values):
    for value in values:
        check_value("it", type_, value)


@pytest.mark.parametrize(
    ("type_", "words", "values"),
    [
        (Count, "a whole number from 1 up", [0, -1, 1.0, "5", True, None, [1], np.nan]),
        (Seed, "a whole number from 0 up", [-1, 0.5, "x", False]),
        (Probability, "a number in [0, 1]", [-0.1, 1.1, "0.5", True, np.nan, None, [0.5]]),
        (Positive, "a number above 0", [0, 0.0, -1, np.inf, np.nan, "1", True]),
        (Counts, "a list of whole numbers from 1 up", [[], [0], [1.5], [True], 3, "12", None]),
        (Probabilities, "a list of numbers in [0, 1]", [[], [1.5], [np.nan], 0.5, "0.5"]),
        (Flag, "true or false", [0, 1, "true", None]),
        (Text, "a text", [1, None, ["a"], True]),
        (Place, "the path of a file or folder", [1, None]),
        (AtLeast[20], "a whole number from 20 up", [19, 20.0, True]),
        (Between[5, 100, 100], "a number between 0.05 and 1, neither of them", [0.05, 1]),
        (Between[0, 1], "a number between 0 and 1, neither of them", [0, 1, 1.5, np.nan, "0.5"]),
        (Within[3, 10, 10], "a number in [0.3, 1]", [0.29, 1.01, np.nan, "0.5"]),
        (Profile, "'quick' or 'paper'", ["slow", "", 1, None]),
    ],
)
def test_values_that_do_not_fit(type_, words, values):
    for value in values:
        with pytest.raises(ValueError, match=r"^it must be ") as caught:
            check_value("it", type_, value)
        assert str(caught.value) == f"it must be {words}, not {value!r}"


def test_every_type_can_be_imported_by_its_name():
    for name, annotation in TYPES.items():
        assert getattr(stlcore.pages, name) is annotation
        assert name in stlcore.pages.__all__


@pytest.mark.parametrize("text", ["int", "AtLeast", "Count[3]", "x.y", "AtLeast[k]", "Between[1]"])
def test_an_annotation_that_is_no_type(text):
    with pytest.raises((AttributeError, LookupError, TypeError, ValueError)):
        check_value("it", find_type(text), 1)


def test_a_path_means_what_it_means_to_the_caller(tmp_path, monkeypatch):
    root = tmp_path / "root"
    (root / "runs").mkdir(parents=True)
    monkeypatch.setattr(stlcore.pages.repository, "ROOT", root)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    default = by_profile("docstrings", "movie_plots")
    for word, value in {
        "": "",
        "docstrings": "docstrings",
        "movie_plots": "movie_plots",
        "mine.csv": str(tmp_path / "mine.csv"),
        "~/mine.csv": str(tmp_path / "mine.csv"),
        "/mine.csv": "/mine.csv",
        "root/runs/c13": "runs/c13",  # where a page stands, so the record names no folder of mine
    }.items():
        assert read_value("corpus", Place, word, default) == value
    monkeypatch.chdir(root / "runs")
    assert read_value("folder", Place, "c13", "") == "runs/c13"


# --- The start of a page ---------------------------------------------------------------------


def namespace(**changes):
    """The globals of a page after its parameters cell (and papermill's, if any)."""
    return {
        "__annotations__": {
            "profile": Profile,
            "seed": Seed,
            "rounds": Count,
            "share": Probability,
            "helper": int,  # no parameter
        },
        "profile": "quick",
        "seed": 7,
        "rounds": by_profile(50, 200),
        "share": 0.1,
        "helper": -5,
        **changes,
    }


def test_profiles_are_filled_in():
    for profile, rounds in (("quick", 50), ("paper", 200)):
        names = namespace(profile=profile)
        page = Page.start("C-02", names)
        assert names["rounds"] == rounds
        assert page.parameters == {"profile": profile, "seed": 7, "rounds": rounds, "share": 0.1}
        assert list(page.parameters) == ["profile", "seed", "rounds", "share"]


def test_a_given_value_beats_the_profile():
    names = namespace(profile="paper", rounds=3)
    assert Page.start("C-02", names).parameters["rounds"] == 3


def test_a_page_without_profiles_is_quick():
    names = {"__annotations__": {"rounds": Count}, "rounds": by_profile(1, 2)}
    assert Page.start("C-02", names).parameters == {"rounds": 1}
    assert Page.start("C-02", {}).parameters == {}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rounds": 0}, "rounds must be a whole number from 1 up, not 0"),
        ({"rounds": by_profile(1.5, 2)}, "rounds must be a whole number"),
        ({"share": 1.2}, r"share must be a number in \[0, 1\], not 1.2"),
        ({"profile": "slow"}, "profile must be 'quick' or 'paper', not 'slow'"),
        ({"profile": ["quick"]}, "profile must be 'quick' or 'paper'"),
    ],
)
def test_a_wrong_parameter_stops_the_page(changes, message):
    with pytest.raises(ValueError, match=message):
        Page.start("C-02", namespace(**changes))


# --- Provenance ------------------------------------------------------------------------------


def test_provenance():
    page = Page.start("C-02", namespace())
    page.started -= 2.5
    found = page.provenance()
    assert found["page"] == "C-02"
    assert found["parameters"] == page.parameters
    assert found["seconds"] == pytest.approx(2.5, abs=0.5)
    assert found["versions"]["numpy"] == np.__version__
    assert found["versions"]["pandas"] == pd.__version__
    assert time.strptime(found["finished"], "%Y-%m-%d %H:%M UTC")
    assert found["commit"]
    assert "core" in found["device"]
    json.dumps(found)


def test_the_commit_is_that_of_the_start(monkeypatch):
    page = Page.start("C-02", namespace())
    monkeypatch.setattr("subprocess.run", lambda *_, **__: pytest.fail("asked again"))
    assert page.provenance()["commit"]


def test_the_command_gives_every_parameter():
    page = Page("C-02", {"seed": 7, "sizes": [1, 2], "note": "two words; $HOME", "on": True}, None)
    words = shlex.split(page.provenance()["command"])
    assert words[0] == "papermill"
    assert words[1].startswith("notebooks/contamination/c02_")
    assert words[2] == "out.ipynb"
    assert words[3:] == [
        *("-p", "seed", "7"),
        *("-y", "{sizes: [1, 2]}"),
        *("-r", "note", "two words; $HOME"),
        *("-p", "on", "True"),
    ]


def test_the_provenance_line_escapes_what_it_shows():
    page = Page.start("C-02", namespace())
    page.parameters["note"] = "<b>bold</b> & more"
    shown = line(page.provenance())
    assert "<b>" not in shown
    assert "note = &lt;b&gt;bold&lt;/b&gt; &amp; more" in shown
    assert shown.count("<details") == shown.count("</details>") == 1
    assert "quick profile · seed 7" in shown


# --- The end of a page -----------------------------------------------------------------------


@pytest.fixture
def shown(monkeypatch):
    """What the page displays, in order."""
    outputs = []
    monkeypatch.setattr(stlcore.pages.page, "display", lambda what, raw=False: outputs.append(what))
    return outputs


def test_finish_hands_over_the_record(shown):
    page = Page.start("C-02", namespace())
    claim = page.claims.check("s", 1, "==", 1, mark="derived")
    page.claims.control(claim, "wrong", measured=2)
    page.keep("risks", pd.DataFrame({"round": [1, 2], "risk": [0.5, 0.25]}))
    page.finish()
    assert shown[0] is page.claims
    record = shown[1][RECORD_MIME]
    assert record["claims"] == page.claims.to_records()
    assert record["results"] == {"risks": "round,risk\n1,0.5\n2,0.25\n"}
    assert record["provenance"]["page"] == "C-02"
    json.dumps(record, allow_nan=False)


def test_finish_fails_on_a_surprise_but_shows_it_first(shown):
    page = Page.start("C-02", namespace())
    page.claims.check("s", 1, "==", 2, mark="derived")
    with pytest.raises(ClaimError, match=r"C-02.1 came out 'not reproduced'"):
        page.finish()
    assert shown[0] is page.claims
    page = Page.start("C-02", namespace())
    with pytest.raises(ClaimError, match="C-02 has no negative control"):
        page.finish()


def test_show_adds_the_provenance_line_and_closes_the_figure(shown):
    import matplotlib.pyplot as plt

    figure = plt.figure()
    Page.start("C-02", namespace()).show(figure)
    assert shown[0] is figure
    assert shown[1].data.startswith('<details class="provenance">')
    assert not plt.fignum_exists(figure.number)


def test_show_hands_over_the_numbers(shown):
    import matplotlib.pyplot as plt

    figure, ax = plt.subplots()
    ax.plot([1, 2], [0.5, 1 / 3], color="#1f77b4", label="risk")
    page = Page.start("C-02", namespace())
    page.show(figure, wide=np.float64(2.5))
    assert shown[2][WORDS_MIME] == {"wide": 2.5}
    assert shown[2][NUMBERS_MIME].splitlines() == [
        "panel,series,kind,color,x,y",
        "1,risk,line,#1f77b4,1,0.5",
        "1,risk,line,#1f77b4,2,0.3333333",
    ]
    page.show(plt.figure(), data=pd.DataFrame({"share": [0.25]}))
    assert shown[5][NUMBERS_MIME] == "share\n0.25\n"


def test_show_gives_a_kept_result_its_own_provenance(shown):
    import matplotlib.pyplot as plt

    page = Page.start("C-02", namespace())
    page.show(plt.figure(), {**page.provenance(), "commit": "0123abcdef"})
    assert "commit 0123abcdef" in shown[1].data


def test_a_page_works_without_the_repository(shown, tmp_path, monkeypatch):
    """As in a notebook of somebody who installed the package."""
    import matplotlib.pyplot as plt

    monkeypatch.setattr(stlcore.pages.repository, "ROOT", tmp_path)
    page = Page.start("X-01", namespace())
    claim = page.claims.check("s", 1, "==", 1, mark="derived")
    page.claims.control(claim, "wrong", measured=2)
    page.show(plt.figure())
    page.finish()
    assert page.kept("anything") is None
    assert "commit unknown" in shown[1].data
    assert "papermill x01.ipynb out.ipynb" in shown[1].data


@given(
    texts=st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0")), max_size=3),
    number=st.floats(allow_nan=False, allow_infinity=False) | st.integers(-9, 10**6),
    numbers=st.lists(st.floats(0, 1), min_size=1, max_size=3),
    flag=st.booleans(),
)
def test_the_command_makes_the_run_again_for_every_value(texts, number, numbers, flag):
    parameters = {f"text{k}": text for k, text in enumerate(texts)}
    parameters |= {"number": number, "numbers": numbers, "flag": flag}
    words = shlex.split(provenance.command("c02", parameters))[3:]
    read = {}
    while words:
        option = words.pop(0)
        if option == "-y":
            read |= yaml.safe_load(words.pop(0))
        else:
            name, word = words.pop(0), words.pop(0)
            read[name] = word if option == "-r" else papermill.cli._resolve_type(word)
    assert read == parameters
    assert {k: type(v) for k, v in read.items()} == {k: type(v) for k, v in parameters.items()}


@pytest.mark.parametrize("variable", ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"])
def test_the_commit_is_that_of_the_package_whatever_git_is_told(tmp_path, monkeypatch, variable):
    before = provenance.commit()
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    monkeypatch.setenv(variable, str(tmp_path / ".git"))
    assert provenance.commit() == before


@pytest.mark.parametrize("script", ["sleep 40", "exit 1", "echo nonsense"])
def test_a_git_that_is_slow_or_broken_fails_no_page(tmp_path, monkeypatch, script):
    git = tmp_path / "git"
    git.write_text(f"#!/bin/sh\n{script}\n")
    git.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    started = time.monotonic()
    assert provenance.commit() == "unknown"
    assert time.monotonic() - started < 10  # and not the forty seconds of the script


def test_a_readers_own_look_changes_no_figure():
    with plt.rc_context({"text.usetex": True, "lines.linewidth": 9, "figure.dpi": 20}):
        theme()
        for name in ("text.usetex", "figure.dpi"):
            assert plt.rcParams[name] == plt.rcParamsDefault[name]
        assert plt.rcParams["lines.linewidth"] < 9


def test_looking_for_changes_takes_no_lock(tmp_path, monkeypatch):
    """Git stopped while it holds one would leave the reader's repository locked."""
    (tmp_path / "stlcore").mkdir()
    (tmp_path / "stlcore" / "code.py").write_text("1\n")
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "x"]):
        subprocess.run([*git, *arguments], check=True)
    os.utime(tmp_path / "stlcore" / "code.py", (1, 1))  # git would note that nothing changed
    before = (tmp_path / ".git" / "index").read_bytes()
    monkeypatch.setattr(stlcore.pages.repository, "ROOT", tmp_path)
    assert re.fullmatch("[0-9a-f]{10}", provenance.commit())
    assert (tmp_path / ".git" / "index").read_bytes() == before


def test_a_copy_in_somebody_elses_repository_has_no_commit(tmp_path, monkeypatch):
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    copy = tmp_path / "copy"
    copy.mkdir()
    monkeypatch.setattr(stlcore.pages.repository, "ROOT", copy)
    assert Page.start("X-01", namespace()).commit == "unknown"


# --- Results that outlive the run ------------------------------------------------------------


def test_a_table_that_is_too_large_is_refused():
    page = Page.start("C-02", namespace())
    large = pd.DataFrame({"x": np.random.default_rng(1).random(200_000)})
    with pytest.raises(ValueError, match=r"the result 'all' is too large to keep \(\d\.\d MB\)"):
        page.keep("all", large)
    assert page.results == {}


def test_results_are_read_with_their_provenance(tmp_path, monkeypatch):
    monkeypatch.setattr(stlcore.pages.repository, "ROOT", tmp_path)
    assert read_result("c02", "risks") is None
    folder = tmp_path / "book" / "results"
    folder.mkdir(parents=True)
    (folder / "c02.risks.csv").write_text("round,risk\n1,0.5\n")
    (folder / "c02.risks.json").write_text('{"seconds": 3}')
    frame, provenance = Page.start("C-02", namespace()).kept("risks")
    assert frame.to_dict("list") == {"round": [1], "risk": [0.5]}
    assert provenance == {"seconds": 3}
    assert Page.start("C-03", namespace()).kept("risks") is None
