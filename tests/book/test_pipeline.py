"""The pipeline on a small checkout: any folder, one run at a time, killed runs, clusters."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import psutil
import pytest

from stlcore.pages.repository import ROOT
from stlcore.streams import stream

INHERITED = [os.environ["PYTHONPATH"]] if "PYTHONPATH" in os.environ else []
PAGE = """---
kernelspec:
  display_name: Python 3
  language: python
  name: python3
stlcore:
  source: Paper C, Theorem 0
---

# A small page

```{code-cell} ipython3
import time

from stlcore.pages import AtLeast, Page, Profile, Seed, by_profile
from stlcore.streams import stream
```

```{code-cell} ipython3
:tags: [parameters]

profile: Profile = "quick"
seed: Seed = 5
size: AtLeast[2] = by_profile(4, 9)
```

```{code-cell} ipython3
page = Page.start("NAME", globals())
time.sleep(0)
claim = page.claims.check(
    "The mean is small.", stream(seed, "values").random(size).mean(), "<=", 1, mark="observed"
)
page.claims.control(claim, "The mean is negative.", expected=0)
page.finish()
```
"""


def text_of(checkout: Path, name: str) -> Path:
    return checkout / "notebooks" / "contamination" / f"{name}_small.md"


def record_of(checkout: Path, name: str) -> Path:
    return checkout / "book" / "notebooks" / "contamination" / f"{name}_small.json"


@pytest.fixture
def checkout(tmp_path):
    """A repository with two small pages, in a folder that shells have to quote."""
    root = tmp_path / "Zoë's (2026) notes"
    for part in ("stlcore", "workflow", "locks"):
        shutil.copytree(ROOT / part, root / part)
    (root / "book").mkdir()
    (root / "book" / "numbers.json").write_text("{}", encoding="utf-8")
    for name in ("c90", "c91"):
        text = text_of(root, name)
        text.parent.mkdir(parents=True, exist_ok=True)
        text.write_text(PAGE.replace("NAME", f"C-{name[1:]}"), encoding="utf-8")
    return root


def start(checkout: Path, *arguments, folder: Path | None = None, **options) -> subprocess.Popen:
    """Snakemake on the checkout, from its root or from another folder."""
    command = [sys.executable, "-m", "snakemake", "-s", checkout / "workflow" / "Snakefile"]
    return subprocess.Popen(
        [*command, "--cores", "2", *arguments],
        cwd=folder or checkout,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(checkout), *INHERITED])},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        **options,
    )


def done(running: subprocess.Popen) -> tuple[int, str]:
    said, _ = running.communicate(timeout=300)
    return running.returncode, said


def wait_for(condition, seconds=90):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def make_slow(checkout: Path, name: str, seconds: int) -> None:
    text = text_of(checkout, name)
    text.write_text(text.read_text("utf-8").replace("sleep(0)", f"sleep({seconds})"), "utf-8")


def at_work(checkout: Path, name: str) -> list[Path]:
    return list(record_of(checkout, name).parent.glob(f".{name}_small.*/source.ipynb"))


def asks_for_a_gpu(checkout: Path, name: str) -> None:
    text = text_of(checkout, name)
    text.write_text(text.read_text("utf-8").replace("stlcore:", "stlcore:\n  gpu: true"), "utf-8")


def resources(said: str) -> list[str]:
    """What the jobs of the pages ask for."""
    return [line for line in said.splitlines() if "resources:" in line and "mem_mb=" in line]


def test_from_another_folder_into_a_place_with_odd_letters(checkout, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    asks_for_a_gpu(checkout, "c90")
    code, said = done(start(checkout, "book/claims.md", folder=elsewhere))
    assert code == 0, said
    for name in ("c90", "c91"):
        record = json.loads(record_of(checkout, name).read_text(encoding="utf-8"))
        assert record["provenance"]["parameters"]["size"] == 4
    assert len(resources(said)) == 2
    for line in resources(said):  # a GPU is for the paper's sizes alone
        assert "gpu=1" not in line
        assert "runtime=30" in line
    assert {path.name for path in elsewhere.iterdir()} <= {".snakemake"}  # its log
    assert "make 2 claims: 2 reproduced" in (checkout / "book" / "claims.md").read_text("utf-8")
    notebook = record_of(checkout, "c90").with_suffix(".ipynb")
    before = notebook.read_bytes()
    # Another profile asks for both again: pages have to run when it changes.
    code, said = done(start(checkout, "pages", "-n", "--config", "profile=paper"))
    assert code == 0, said
    assert len(resources(said)) == 2
    # A page that fails says why, and its older notebook stays.
    text = text_of(checkout, "c90")
    text.write_text(text.read_text("utf-8").replace('"<=", 1', '">=", 1'), encoding="utf-8")
    code, said = done(start(checkout, "pages"))
    assert code == 1
    assert "stlcore: c90_small failed with ClaimError: C-90.1 came out 'not rep" in said
    assert len(resources(said)) == 1, "the other page was run again"
    assert notebook.read_bytes() == before
    code, said = done(start(checkout, "pages", "-n"))  # and is not taken for the new one
    assert code == 0, said
    assert len(resources(said)) == 1


def test_the_paper_profile_goes_through_the_pipeline(checkout):
    """One page runs; what the other asks for, which needs a GPU, is only planned."""
    asks_for_a_gpu(checkout, "c91")
    paper = ("--config", "profile=paper")
    code, said = done(start(checkout, record_of(Path(), "c90"), *paper))
    assert code == 0, said
    record = json.loads(record_of(checkout, "c90").read_text(encoding="utf-8"))
    assert record["provenance"]["parameters"] == {"profile": "paper", "seed": 5, "size": 9}
    assert len(resources(said)) == 1
    assert "runtime=1440" in resources(said)[0]
    code, said = done(start(checkout, "pages", "-n", *paper))
    assert code == 0, said
    (asked,) = resources(said)
    assert "gpu=1" in asked
    assert "runtime=1440" in asked


def test_one_run_at_a_time_and_a_killed_one_is_taken_up(checkout):
    make_slow(checkout, "c90", 600)
    target = record_of(Path(), "c90")
    first = start(checkout, target, start_new_session=True)
    wait_for(lambda: at_work(checkout, "c90"))
    code, said = done(start(checkout, "pages"))
    assert code == 1
    assert "Another run of the pipeline is at work in this folder." in said
    assert at_work(checkout, "c90"), "the run beside it took the page's folder away"

    page = [p for p in psutil.Process(first.pid).children(recursive=True) if "run" in p.cmdline()]
    assert page
    first.kill()  # Snakemake alone: its pages have to notice
    first.wait()
    wait_for(lambda: not any(map(alive, page)), 20)
    text = text_of(checkout, "c90")
    text.write_text(text.read_text("utf-8").replace("sleep(600)", "sleep(0)"), encoding="utf-8")
    code, said = done(start(checkout, target))
    assert code == 0, said
    assert record_of(checkout, "c90").exists()
    assert not at_work(checkout, "c90")


def alive(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_sweep_is_one_table_with_the_runs_that_surprise(checkout, tmp_path):
    text = text_of(checkout, "c90")
    text.write_text(text.read_text("utf-8").replace('"<=", 1', '"<=", 0.5'), encoding="utf-8")
    folder = tmp_path / "sweep"

    def sweep(seeds, cores):
        command = [sys.executable, "-m", "stlcore", "sweep", "c90", "-o", folder]
        return subprocess.run(
            [*command, "--cores", cores, "-p", "seed", seeds, "-p", "size", "[2, 9]"],
            cwd=checkout,
            env={**os.environ, "PYTHONPATH": str(checkout)},
            capture_output=True,
            text=True,
            check=False,
        )

    first = sweep("1:2", "2")
    assert first.returncode == 0, first.stderr
    assert "4 runs of C-90" in first.stdout
    table = pd.read_parquet(folder / "claims.parquet")
    assert len(table) == 8  # a claim and its control, four times
    claims = table[table.id == "C-90.1"].set_index(["seed", "size"])
    for (seed, size), row in claims.iterrows():
        mean = stream(seed, "values").random(size).mean()
        assert row.measured == mean
        assert row.surprising == (mean > 0.5)
    assert {True, False} == set(claims.surprising)
    made = {path: path.stat().st_mtime_ns for path in (folder / "runs").glob("*.json")}
    text.write_text(
        text.read_text("utf-8").replace("time.sleep(0)", "assert (seed, size) != (3, 9)"), "utf-8"
    )
    second = sweep("2:3", "1")
    assert second.returncode == 1
    assert "the claims of 5 of 6 runs" in second.stdout, "one that fails costs the others"
    said = re.search(r"a run that failed says why in (.+\.log)", second.stdout)
    assert "failed with AssertionError" in Path(said[1]).read_text(encoding="utf-8")
    assert len(pd.read_parquet(folder / "claims.parquet")) == 10
    assert all(path.stat().st_mtime_ns == before for path, before in made.items())


#: Runs the script that it is given by itself, in another folder and a bare environment.
SBATCH = """#!{python}
import os, subprocess, sys
keep = {{key: os.environ[key] for key in ("PYTHONPATH", "PATH", "HOME") if key in os.environ}}
with open({log!r}, "a") as log:
    log.write(" ".join(sys.argv[1:]) + "\\n")
script = sys.argv[-1]
subprocess.Popen(
    ["/bin/bash", script], cwd="/", env=keep, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
)
print(os.getpid())
"""


def test_as_jobs_of_a_cluster(checkout, tmp_path):
    """A stand-in for sbatch; beside the pages lies one that runs on another machine."""
    notebook = record_of(Path(), "c90").with_suffix(".ipynb")
    subprocess.run(
        [sys.executable, "-m", "stlcore", "run", "c90", "-o", notebook],
        cwd=checkout,
        env={**os.environ, "PYTHONPATH": str(checkout)},
        check=True,
    )
    alone = json.loads(record_of(checkout, "c90").read_text("utf-8"))
    older = record_of(checkout, "c90").with_suffix(".ipynb").read_bytes()
    record_of(checkout, "c90").unlink()
    record_of(checkout, "c91").with_suffix(".ipynb").write_bytes(older)
    text = text_of(checkout, "c91")  # and one page fails
    text.write_text(text.read_text("utf-8").replace('"<=", 1', '">=", 1'), encoding="utf-8")
    beside = record_of(checkout, "c90").parent / f".c90_small.other{socket.gethostname()}.1.abc"
    beside.mkdir()

    log, sbatch = tmp_path / "asked.txt", tmp_path / "sbatch"
    sbatch.write_text(SBATCH.format(python=sys.executable, log=str(log)))
    sbatch.chmod(0o755)
    submit = f"{sbatch} --mem={{resources.mem_mb}} --time={{resources.runtime}}"
    arguments = ["--executor", "cluster-generic", "--jobs", "2", "--keep-going"]
    arguments += ["--seconds-between-status-checks", "1"]
    code, said = done(start(checkout, "pages", *arguments, "--cluster-generic-submit-cmd", submit))
    assert code == 1
    assert "stlcore: c91_small failed with ClaimError: C-91.1 came out 'not rep" in said
    assert sorted(line.split()[0] for line in log.read_text().splitlines()) == ["--mem=3000"] * 2
    assert all("--time=30" in line for line in log.read_text().splitlines())
    found = json.loads(record_of(checkout, "c90").read_text(encoding="utf-8"))
    assert found["claims"] == alone["claims"]
    assert beside.exists()
    assert record_of(checkout, "c91").with_suffix(".ipynb").read_bytes() == older
    code, said = done(start(checkout, "pages", "-n"))
    assert code == 0, said
    assert len(resources(said)) == 1, "the page that failed has still to run, and no other"
