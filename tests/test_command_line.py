"""The command line: exit codes, one sentence for a mistake, and nothing half written."""

from __future__ import annotations

import errno
import io
import json
import os
import shutil
import socket
import subprocess
import sys
import time

import nbformat
import papermill
import psutil
import pytest

import stlcore
from stlcore.__main__ import main
from stlcore.pages.page import read_result
from stlcore.pages.repository import UsageError
from stlcore.pages.runner import (
    THREADS,
    _this_python,
    clear_workshops,
    find_page,
    read_parameters,
    read_record,
)


def call(capsys, *arguments):
    """Exit code, lines on stdout and lines on stderr."""
    code = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out.splitlines(), captured.err.splitlines()


@pytest.fixture
def with_runs(project, executed):
    """The project with one of its two pages executed."""
    shutil.copytree(executed[1], project / "book" / "notebooks" / "contamination")
    return project


# --- Mistakes --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "c80"], "stlcore: there is no page 'c80'; did you mean 'c90'?"),
        (
            ["run", "c90", "-p", "round", "3"],
            "stlcore: c90 has no parameter 'round'; did you mean 'rounds'?",
        ),
        (
            ["run", "c90", "-p", "rounds", "0"],
            "stlcore: c90: rounds must be a whole number from 1 up, not 0",
        ),
        (
            ["run", "c90", "-p", "rounds", "ten"],
            "stlcore: c90: rounds must be a whole number from 1 up, not 'ten'",
        ),
        (
            ["run", "c90", "-p", "rounds", "1e3"],
            "stlcore: c90: rounds must be a whole number from 1 up, not '1e3'",
        ),
        (
            ["run", "c90", "-p", "seed", "-1"],
            "stlcore: c90: seed must be a whole number from 0 up, not -1",
        ),
        (
            ["run", "c90", "-p", "seed", "-1e3"],
            "stlcore: c90: seed must be a whole number from 0 up, not '-1e3'",
        ),
        (
            ["run", "c90", "-p", "rate", "nan"],
            "stlcore: c90: rate must be a number above 0, not nan",
        ),
        (
            ["run", "c90", "-p", "sizes", "[1, 0]"],
            "stlcore: c90: sizes must be a list of whole numbers from 1 up, not [1, 0]",
        ),
        (
            ["run", "c90", "-p", "sizes", "[1, "],
            "stlcore: c90: sizes must be a list of whole numbers from 1 up, not '[1, '",
        ),
        (
            ["run", "c90", "-o", "out.html"],
            "stlcore: the output must be a notebook (.ipynb), not out.html",
        ),
        (["run", "c90", "-o", "file/x.ipynb"], "stlcore: cannot write to "),
        (
            ["student", "c90", "-o", "x.html"],
            "stlcore: the output must be a notebook (.ipynb), not x.html",
        ),
        (["student", "c99", "-o", "x.ipynb"], "stlcore: there is no page 'c99'"),
        (["student", "c90", "-o", "file/x.ipynb"], "stlcore: cannot write file/x.ipynb: Not a dir"),
        (["slides", "c90", "-o", "x"], "stlcore: C-90 has not been run: run 'make pages' first"),
        (["claims"], "stlcore: no page has been run yet; 'make book' runs them all"),
        (["claims", "--json"], "stlcore: no page has been run yet"),
    ],
)
def test_a_mistake_gets_one_line_and_writes_nothing(
    project, tree, monkeypatch, capsys, arguments, message
):
    monkeypatch.chdir(project)
    (project / "file").write_text("in the way")
    before = tree(project)
    code, out, err = call(capsys, *arguments)
    assert code == 2
    assert out == []
    assert len(err) == 1
    assert err[0].startswith(message)
    assert tree(project) == before


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["walk"],
        ["run"],
        ["run", "c90", "-p", "rounds"],
        ["run", "c90", "--profile", "fast"],
        ["claims", "--json", "--markdown", "x.md"],
        ["student", "c90"],
    ],
)
def test_a_command_that_is_none(project, capsys, arguments):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage: python -m stlcore" in capsys.readouterr().err


def test_help_names_every_command(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    assert caught.value.code == 0
    shown = capsys.readouterr().out
    for command in ("list", "run", "sweep", "compare", "claims", "pair", "student", "slides"):
        assert f"    {command} " in shown


def test_exit_code_of_the_process(tmp_path):
    """The real thing: a process of its own, run from any folder."""
    done = subprocess.run(
        [sys.executable, "-m", "stlcore", "run", "c00", "-o", tmp_path / "out.ipynb"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("stlcore: there is no page 'c00'")
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


# --- Runs ------------------------------------------------------------------------------------


def test_run_with_other_parameters_and_keep(project, capsys, caplog):
    arguments = ["run", "c90", "--profile", "paper", "-p", "rate", "1e-3", "-p", "sizes", "[4, 5]"]
    code, out, err = call(capsys, *arguments, "--keep")
    assert (code, err) == (0, [])
    assert [record for record in caplog.records if record.name.startswith("papermill")] == []
    output = project / "runs" / "c90_tiny.ipynb"
    assert out[0].startswith("C-90: 1 of 1 claims reproduced in ")
    assert out[0].endswith(f" s -> {output}")
    assert out[1:] == [
        "no verdicts kept, which the book shows of a page's own paper profile alone",
        "kept book/results/c90.values.csv",
        "kept book/results/c90.values.json",
    ]
    assert sorted(os.listdir(output.parent)) == ["c90_tiny.ipynb", "c90_tiny.json"]
    frame, provenance = read_result("c90", "values")
    assert len(frame) == 9  # the paper profile's rounds
    assert provenance["parameters"] == {
        "profile": "paper",
        "seed": 5,
        "rounds": 9,
        "sizes": [4, 5],
        "rate": 0.001,
        "fail": "no",
    }


def test_verdicts_are_kept_of_the_paper_profile_alone(project, executed, capsys, monkeypatch):
    monkeypatch.setattr(stlcore.pages.runner, "run_page", lambda *_, **__: executed[0])
    call(capsys, "run", "c90", "--keep")
    call(capsys, "run", "c90", "--profile", "paper", "-p", "rate", "0.25", "--keep")
    assert read_result("c90", "claims") is None
    code, out, _ = call(capsys, "run", "c90", "--profile", "paper", "--keep")
    assert code == 0
    assert out[-1] == "kept book/results/c90.claims.json"
    claims, origin = read_result("c90", "claims")
    assert claims["verdict"].tolist()[0] == "reproduced"
    assert origin == executed[0]["provenance"]


def test_a_page_that_fails(project, remembered, capsys):
    output = project / "out" / "out.ipynb"
    kept = project / "runs" / "failed" / "out" / "out.ipynb"  # of another folder, another place
    code, out, err = call(capsys, "run", "c90", "-p", "fail", "error", "-o", output)
    assert code == 1
    assert out == []
    assert err == [
        "stlcore: c90 failed with RuntimeError: the tiny page was told to fail",
        f"stlcore: the notebook as far as it came is {kept}",
    ]
    assert list(output.parent.iterdir()) == []
    assert kept.exists()


def test_a_page_that_fails_outside_the_project(project, remembered, tmp_path, capsys):
    output = tmp_path / "elsewhere" / "out.ipynb"
    assert call(capsys, "run", "c90", "-p", "fail", "error", "-o", output)[0] == 1
    kept = project / "runs" / "failed" / output.relative_to(output.anchor)
    assert kept.exists()


def test_a_page_that_surprises_has_an_exit_code_of_its_own(project, remembered, capsys):
    output = project / "out" / "out.ipynb"
    code, _, err = call(capsys, "run", "c90", "-p", "fail", "claim", "-o", output)
    assert code == 3
    assert err[0].startswith("stlcore: c90 failed with ClaimError: C-90.3 came out")
    assert list(output.parent.iterdir()) == []
    arguments = ["run", "c90", "-p", "fail", "claim", "-o", output]
    code, out, _ = call(capsys, *arguments, "--surprises")
    assert (code, out[1]) == (0, "otherwise than the page expects: C-90.3")
    assert output.exists()


def test_a_page_whose_kernel_dies(project, capsys, caplog):
    output = project / "out" / "out.ipynb"
    code, out, err = call(capsys, "run", "c90", "-p", "fail", "death", "-o", output)
    assert code == 1
    assert out == []
    assert len(err) == 1
    assert err[0].startswith("stlcore: c90 failed: its kernel died")
    assert [record for record in caplog.records if record.name.startswith("papermill")] == []
    assert list(output.parent.iterdir()) == []


def test_a_page_that_does_not_finish(project, capsys):
    output = project / "out" / "out.ipynb"
    code, _, err = call(capsys, "run", "c91", "-o", output)
    assert code == 2
    assert len(err) == 1
    assert err[0].endswith("holds no record: the page did not call page.finish()")
    assert list(output.parent.iterdir()) == []


# --- What is known about runs ----------------------------------------------------------------


def test_list(with_runs, capsys):
    code, out, err = call(capsys, "list")
    assert (code, err) == (0, [])
    assert out[0] == "C-90  A tiny page"
    assert out[1].startswith("      Paper C, Theorem 0 · 1/1 claims, ")
    assert out[2:] == ["C-91  A silent page", "      Paper C, Theorem 00 · never run"]


def test_list_before_any_run(project, capsys):
    assert call(capsys, "list")[1][1] == "      Paper C, Theorem 0 · never run"


def test_claims_as_text(with_runs, capsys):
    code, out, err = call(capsys, "claims")
    assert (code, err) == (0, [])
    assert out == [
        "C-90.1    reproduced: The mean is small.",
        "C-90.2    control of C-90.1 not reproduced: The mean is negative.",
    ]


def test_claims_as_json(with_runs, executed, capsys):
    assert main(["claims", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert rows == executed[0]["claims"]
    for row in rows:
        for key in ("id", "page", "mark", "key", "control_of", "power", "sentence", "measured"):
            assert key in row
        assert row["false_alarm"] == 0
        assert (row["control_of"] is not None) is (row["verdict"] == "not reproduced")


def test_claims_as_a_page(with_runs, capsys):
    target = with_runs / "book" / "claims.md"
    assert call(capsys, "claims", "--markdown", target) == (0, [], [])
    text = target.read_text()
    assert text.startswith("# Claims\n")
    assert "make 1 claims: 1 reproduced, 0 not reproduced, 0 not testable here." in text
    assert "1 negative controls" in text
    assert '<a href="notebooks/contamination/c90_tiny.html#C-90.1">C-90.1</a>' in text
    assert text.count("```") == 4
    data = json.loads(target.with_suffix(".json").read_text())
    assert [row["id"] for row in data] == ["C-90.1", "C-90.2"]


def test_claims_page_shows_what_a_sweep_over_seeds_counted(with_runs, capsys):
    results = with_runs / "book" / "results"
    results.mkdir()
    table = "id,control_of,false_alarm,runs,surprises\nC-90.1,,0.0,4,1\nC-90.2,C-90.1,0.0,4,0\n"
    (results / "c90.seeds.csv").write_text(table, encoding="utf-8")
    (results / "c90.seeds.json").write_text("{}", encoding="utf-8")
    target = with_runs / "book" / "claims.md"
    assert call(capsys, "claims", "--markdown", target)[0] == 0
    assert "| 4 | 1 | 0 | C-90.1 (1) | 0.75 | 1 | none |" in target.read_text()


def test_a_plan_for_a_cluster_is_written_and_nothing_run(project, capsys):
    sweep = ("sweep", "c90", "-p", "seed", "1:30", "-o", project / "a sweep")
    code, out, _ = call(capsys, *sweep, "--cores", "0")
    assert code == 0
    assert f"--directory '{project / 'a sweep'}' --executor slurm" in out[-1]
    assert [path.name for path in (project / "a sweep").iterdir()] == ["plan.json"]
    chunks = json.loads((project / "a sweep" / "plan.json").read_text())["chunks"]
    assert [len(chunk) for chunk in chunks.values()] == [25, 5]
    code, _, err = call(capsys, *sweep, "--cores", "-1")
    assert code == 2
    assert err == ["stlcore: cores must be a whole number from 0 up, not -1"]


def test_surprises_are_kept_of_sweeps_over_seeds_only(project, capsys):
    code, _, err = call(capsys, "sweep", "c90", "-p", "rate", "[1, 2]", "--keep")
    assert (code, err[0].split(":")[1]) == (2, " --keep counts surprises over seeds")


def test_claims_page_that_cannot_be_written(with_runs, tree, capsys):
    before = tree(with_runs)
    code, out, err = call(capsys, "claims", "--markdown", with_runs / "no" / "claims.md")
    assert (code, out, len(err)) == (2, [], 1)
    assert err[0].endswith("claims.md: No such file or directory")
    assert tree(with_runs) == before


# --- Pairs and student versions --------------------------------------------------------------


def test_pair_writes_what_has_changed(project, tree, capsys):
    folder = project / "notebooks" / "contamination"
    code, out, _ = call(capsys, "pair")
    assert code == 0
    assert {"wrote c90_tiny.md", "wrote c90_tiny.ipynb", "wrote c91_silent.ipynb"} <= set(out)
    before = tree(project)
    assert call(capsys, "pair") == (0, [], [])
    assert tree(project) == before
    (folder / "c90_tiny.ipynb").write_text("broken")
    assert call(capsys, "pair") == (0, ["wrote c90_tiny.ipynb"], [])
    assert tree(project) == before


def test_student(project, capsys):
    target = project / "student.ipynb"
    assert call(capsys, "student", "c90", "-o", target) == (0, [], [])
    text = target.read_text()
    nbformat.validate(nbformat.reads(text, as_version=4))
    assert "secret" not in text
    assert "How large is it?" in text


def test_version():
    assert stlcore.__version__.count(".") == 2


# --- What a reader's machine may bring along --------------------------------------------------


@pytest.mark.parametrize(
    ("words", "values"),
    [
        ({"seed": "010"}, {"seed": 10}),
        ({"fail": "2026"}, {"fail": "2026"}),
        ({"fail": "2026-11-25"}, {"fail": "2026-11-25"}),
        ({"fail": ""}, {"fail": ""}),
        ({"rate": "1e-3", "sizes": "[3, 4]"}, {"rate": 1e-3, "sizes": [3, 4]}),
    ],
)
def test_the_declared_type_reads_a_value(project, words, values):
    assert read_parameters(find_page("c90"), words.items()) == values


@pytest.mark.parametrize(
    ("name", "word", "message"),
    [
        ("seed", "1e3", "c90: seed must be a whole number from 0 up, not '1e3'"),
        ("seed", "12:30", "c90: seed must be a whole number from 0 up, not '12:30'"),
        ("rate", "one", "c90: rate must be a number above 0, not 'one'"),
        ("sizes", "3", "c90: sizes must be a list of whole numbers from 1 up, not 3"),
    ],
)
def test_a_word_that_is_no_such_value(project, name, word, message):
    with pytest.raises(UsageError) as caught:
        read_parameters(find_page("c90"), [(name, word)])
    assert str(caught.value) == message


def test_a_parameter_that_is_given_twice(project):
    with pytest.raises(UsageError, match="c90: seed is given twice"):
        read_parameters(find_page("c90"), [("seed", "1"), ("rounds", "3"), ("seed", "2")])


def test_a_file_of_the_readers_beside_the_output_is_not_lost(project, tree, capsys):
    own = project / "report.json"
    own.write_text('{"mine": 1}')
    before = tree(project)
    code, _, err = call(capsys, "run", "c90", "-o", str(project / "report.ipynb"))
    assert code == 2
    assert err[0].startswith("stlcore: the record of the run would go to report.json")
    assert tree(project) == before


def test_a_page_keeps_to_one_thread_unless_told_otherwise(tmp_path, monkeypatch):
    for name in THREADS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    given = _this_python(tmp_path)().kernel_spec.env
    threads = {name: given[name] for name in THREADS}
    assert threads == {**dict.fromkeys(THREADS, "1"), "OMP_NUM_THREADS": "3"}


def test_a_page_that_papermill_runs_refuses_a_name_that_it_does_not_know(project, tmp_path, caplog):
    """Papermill by itself only warns, and runs on the defaults; of a right name it says nothing."""
    caplog.set_level("WARNING", logger="papermill")
    source = tmp_path / "c90.ipynb"
    notebook = find_page("c90").notebook
    notebook.cells = [c for c in notebook.cells if "matplotlib" not in c.source]  # takes longest
    nbformat.write(notebook, source)
    out = tmp_path / "out.ipynb"
    with pytest.raises(papermill.PapermillExecutionError, match="C-90 has no parameter 'round'; i"):
        papermill.execute_notebook(source, out, {"round": 3}, progress_bar=False)
    assert "unknown parameter: round" in caplog.text
    caplog.clear()
    papermill.execute_notebook(source, out, {"rounds": 3}, progress_bar=False)
    assert caplog.text == ""
    assert read_record(out)["provenance"]["parameters"]["rounds"] == 3


def test_the_readers_own_jupyter_and_ipython_change_nothing(
    project, executed, monkeypatch, capsys, tmp_path
):
    """Neither a kernel python3 of another environment nor start-up files and settings."""

    def outputs(notebook):
        cells = nbformat.read(notebook, as_version=4).cells
        shown = [cell.outputs for cell in cells if cell.cell_type == "code"]
        return [[sorted(output.get("data", {})) for output in found] for found in shown]

    kernel = tmp_path / "jupyter" / "kernels" / "python3"
    kernel.mkdir(parents=True)
    spec = {"argv": ["/nowhere/python", "-f", "{connection_file}"], "language": "python"}
    (kernel / "kernel.json").write_text(json.dumps({**spec, "display_name": "Python 3"}))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    profile = tmp_path / "ipython" / "profile_default"
    (profile / "startup").mkdir(parents=True)
    (profile / "startup" / "first.py").write_text("print('my own start')")
    every = "c.InteractiveShell.ast_node_interactivity = 'all'"
    (profile / "ipython_kernel_config.py").write_text(every)
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    arguments = ["run", "c90", "-p", "rate", "0.25", "-o", tmp_path / "own.ipynb"]
    assert call(capsys, *arguments)[0::2] == (0, [])
    assert outputs(tmp_path / "own.ipynb") == outputs(executed[1] / "c90_tiny.ipynb")


def test_a_kernel_that_does_not_start(project, tree, monkeypatch, capfd, tmp_path):
    """Here because a file of the reader's stands where a module of the kernel should be."""
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "ipykernel_launcher.py").write_text("raise SystemExit(3)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "modules"))
    before = tree(project)
    assert main(["run", "c90", "-o", str(project / "x.ipynb")]) == 2
    (said,) = capfd.readouterr().err.splitlines()
    assert said.startswith(f"stlcore: the kernel of {sys.executable} does not start: ")
    assert tree(project) == before


def slow_run(project, *options):
    """Code that runs the tiny page, which sleeps."""
    page = project / "notebooks" / "contamination" / "c90_tiny.md"
    page.write_text(page.read_text().replace("import os\n", "import time\ntime.sleep(60)\n", 1))
    return (
        "import pathlib, sys; import stlcore.pages.repository as r; "
        f"r.ROOT = pathlib.Path({str(project)!r}); import stlcore.__main__ as m; "
        f"sys.exit(m.main(['run', 'c90', '-o', {str(project / 'x.ipynb')!r}, *{options!r}]))"
    )


def wait_for(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def workshops(project):
    return list(project.glob(".x.*"))


def kernels(project):
    """Processes of the machine that work in the project's root, where pages run."""
    return [p for p in psutil.process_iter() if _cwd(p) == str(project) and p.pid != os.getpid()]


def _cwd(process):
    try:
        return process.cwd()
    except psutil.Error:
        return None


def test_a_run_that_is_told_to_stop_leaves_nothing_behind(project, tree):
    code = slow_run(project)
    before = tree(project)
    running = subprocess.Popen([sys.executable, "-c", code])
    wait_for(lambda: kernels(project))
    running.terminate()
    assert running.wait(30) == 143
    wait_for(lambda: not kernels(project))
    assert tree(project) == before


def test_a_page_of_the_pipeline_ends_with_its_caller(project):
    code = slow_run(project, "--end-with-caller")
    calling = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {code!r}])"
    caller = subprocess.Popen([sys.executable, "-c", calling])
    wait_for(lambda: kernels(project))
    caller.kill()
    caller.wait()
    wait_for(lambda: not kernels(project), 20)
    (left,) = workshops(project)
    clear_workshops(project)
    assert not left.exists()
    assert not (project / "x.ipynb").exists()


def test_only_what_dead_runs_of_this_machine_left_is_cleared(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    host = socket.gethostname()
    names = {
        f".c01_x.{host}.{dead.pid}.abc": False,
        f".c01_x.{host}.{os.getpid()}.abc": True,  # at work beside this run
        f".c01_x.other{host}.{dead.pid}.abc": True,  # at work on another machine
        f".c02_x.other{host}.{dead.pid}.abc": False,  # its machine has been silent for long
        ".hidden.of.the.reader": True,
    }
    for name in names:
        (tmp_path / name).mkdir()
    week = time.time() - 8 * 24 * 3600
    os.utime(tmp_path / f".c02_x.other{host}.{dead.pid}.abc", (week, week))
    clear_workshops(tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {name for name, stays in names.items() if stays}


def test_a_failure_is_told_where_its_notebook_cannot_be_kept(project, remembered, capsys):
    (project / "runs").write_text("a file is in the way, as a read-only checkout would be")
    target = str(project / "out" / "x.ipynb")
    code, _, err = call(capsys, "run", "c90", "-p", "fail", "error", "-o", target)
    assert code == 1
    assert err[0].endswith("the tiny page was told to fail")
    assert err[1].startswith("stlcore: the notebook as far as it came could not be kept")


def test_a_full_disk_is_told_with_its_place(project, monkeypatch, capsys):
    """The system does not say in which file it had no room."""

    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(nbformat, "write", full)
    said = "stlcore: No space left on device"
    assert call(capsys, "run", "c90", "-o", "out/x.ipynb") == (1, [], [f"{said}: out/x.ipynb"])
    assert call(capsys, "run", "c90") == (1, [], [said])


def test_claims_are_listed_on_a_terminal_that_knows_few_letters(with_runs, monkeypatch):
    narrow = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", narrow)
    record = next((with_runs / "book" / "notebooks").glob("*/*.json"))
    text = record.read_text(encoding="utf-8").replace("The mean is small", "The mean is \u2264 1")
    record.write_text(text, encoding="utf-8")
    assert main(["claims"]) == 0
    narrow.flush()
    assert b"The mean is \\u2264 1" in narrow.buffer.getvalue()
