"""`make pages` killed in the middle: nothing half written, and the next call finishes.

`make book` goes through the same rules, and then builds a book from what it finds.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import time
from contextlib import suppress

import nbformat
import psutil
import pytest

from stlcore.pages.repository import ROOT
from stlcore.pages.runner import find_page

LEFT_OUT = ("_build", "runs", ".venv", ".git", ".hypothesis", ".*_cache")
PARTS = ("contamination", "guide", "recursive_stability", "tv_bounds")  # one of five is enough


@pytest.fixture
def copy(tmp_path):
    """The project with the executed pages of one part, as a folder of its own."""
    project = tmp_path / "project"
    shutil.copytree(ROOT, project, ignore=shutil.ignore_patterns(*LEFT_OUT, *PARTS), symlinks=True)
    (project / ".venv").symlink_to(ROOT / ".venv")
    return project


def make_pages(project):
    environment = {**os.environ, "PYTHONPATH": str(project)}
    environment.pop("MAKEFLAGS", None)
    return subprocess.Popen(
        ["make", "pages"],
        cwd=project,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def kernels(process):
    """The kernels that a process has started, by others or itself."""
    found = []
    for child in psutil.Process(process).children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            found += [child] if "ipykernel_launcher" in child.cmdline() else []
    return found


def test_killed_in_the_middle_of_a_page(copy):
    if not (ROOT / ".venv" / ".done").exists():
        pytest.skip("needs the environment that 'make env' creates")
    page = find_page("n06")
    text = copy / page.path.relative_to(ROOT)
    source = text.read_text(encoding="utf-8")
    changed, times = re.subn(r"(?m)^(rounds: \S+ =) 60\b", r"\1 61", source)
    assert times == 1
    text.write_text(changed, encoding="utf-8")
    executed = copy / page.executed.relative_to(ROOT)

    first = make_pages(copy)
    deadline = time.monotonic() + 120
    try:
        while not (
            list(executed.parent.glob(f".{executed.stem}.*/source.ipynb")) and kernels(first.pid)
        ):
            assert first.poll() is None, first.stdout.read()
            assert time.monotonic() < deadline, "the page never started"
            time.sleep(0.05)
        time.sleep(0.5)  # its kernel is at work
    finally:
        os.killpg(first.pid, signal.SIGKILL)
        first.wait()
    if executed.exists():
        nbformat.validate(nbformat.read(executed, as_version=4))

    second = make_pages(copy)
    output, _ = second.communicate(timeout=300)
    assert second.returncode == 0, output
    record = json.loads(executed.with_suffix(".json").read_text(encoding="utf-8"))
    assert record["provenance"]["parameters"]["rounds"] == 61
    nbformat.validate(nbformat.read(executed, as_version=4))
    assert not list(executed.parent.glob(".n*")), "the killed run left its folder behind"
    # Only the page that changed was run again.
    others = [p for p in executed.parent.glob("*.json") if p.stem != executed.stem]
    for path in others:
        assert path.read_bytes() == (ROOT / path.relative_to(copy)).read_bytes()
