"""The files that set a machine up agree with each other."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
import venv
from importlib.metadata import distribution, packages_distributions
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

from stlcore.pages.repository import ROOT

LOCKS = ["core", "torch"]


def pinned(path):
    """Name and version of every package that a requirements file pins."""
    text = (ROOT / path).read_text(encoding="utf-8")
    return dict(re.findall(r"^([A-Za-z0-9_.-]+)==([^\s\\]+)", text, re.MULTILINE))


def test_environment_file_names_the_locked_versions():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    (pip,) = [entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict)]
    listed = dict(entry.split("==") for entry in pip if "==" in entry)
    core, torch = pinned("locks/core.txt"), pinned("locks/torch.txt")
    assert {name: core[name] for name in core.keys() & torch} == {
        name: torch[name] for name in core.keys() & torch
    }, "the two locks must agree where they overlap"
    locked = core | torch
    assert listed == {name: locked.get(name) for name in listed}
    assert f"TORCH=torch=={torch['torch']}\n" in (ROOT / ".ci/run").read_text(encoding="utf-8")
    assert {"jupyter-book", "jupytext", "numpy", "scipy", "seaborn", "torch", "papermill"} <= set(
        listed
    )


@pytest.mark.parametrize("lock", LOCKS)
def test_lock_holds_every_direct_requirement_with_a_hash(lock):
    wanted = (ROOT / f"locks/{lock}.in").read_text(encoding="utf-8").splitlines()
    names = {re.split(r"[<>=]", line)[0] for line in wanted if line and not line.startswith("#")}
    text = (ROOT / f"locks/{lock}.txt").read_text(encoding="utf-8")
    # A marker may stand between: some packages are for one platform only.
    locked = re.findall(r"^([A-Za-z0-9_.-]+)==[^\n]+ \\\n    --hash=sha256:", text, re.MULTILINE)
    assert names <= set(locked)
    assert len(locked) == len(pinned(f"locks/{lock}.txt"))


@pytest.mark.parametrize("lock", LOCKS)
@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
@pytest.mark.parametrize(
    "platform", ["x86_64-manylinux_2_28", "aarch64-manylinux_2_28", "aarch64-apple-darwin"]
)
def test_lock_resolves_for_every_platform_that_is_named(platform, python, lock, tmp_path):
    """The platforms of the README, with hashes: nothing is installed."""
    if (uv := shutil.which("uv")) is None:
        pytest.skip("needs uv, which makes the lock")
    asked = ["--target", tmp_path, "--python-platform", platform, "--python-version", python]
    locked = ["--require-hashes", "--no-deps", "-r", ROOT / "locks" / f"{lock}.txt"]
    done = subprocess.run(
        [uv, "pip", "install", "--dry-run", "--python", sys.executable, *asked, *locked],
        env={**os.environ, "MACOSX_DEPLOYMENT_TARGET": "14.0"},
        capture_output=True,
        text=True,
        check=False,
    )
    if re.search(r"dns error|error sending request|[Ff]ailed to fetch|timed out", done.stderr):
        pytest.skip("needs the package index")
    assert done.returncode == 0, done.stderr
    assert "Would install" in done.stderr


def test_lock_names_no_package_host():
    for path in (ROOT / "locks").iterdir():
        assert "://" not in path.read_text(encoding="utf-8")


def third_party(path):
    """Packages from elsewhere that a file imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            found.add(node.module)
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {name.split(".")[0] for name in found} - sys.stdlib_module_names - {"stlcore"}


#: Modules that only an installed extra brings, by the rooms that may import them.
EXTRAS = {
    "metrics": {"images"},
    "data": {"images", "text"},
    "pages": {"book"},
    "__main__": {"book"},
}


def test_package_requires_what_it_imports():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    providers = packages_distributions()
    for path in (ROOT / "stlcore").rglob("*.py"):
        room = path.relative_to(ROOT / "stlcore").with_suffix("").parts[0]
        listed = set(project["dependencies"])
        for name in EXTRAS.get(room, {"torch"}) | ({"torch"} if room == "pages" else set()):
            listed |= {re.split(r"[<>=]", d)[0] for d in project["optional-dependencies"][name]}
        for name in third_party(path):
            found = {d.lower().replace("_", "-") for d in providers[name]}
            assert found & listed, f"{path.name} imports {name}"


def test_light_dependencies():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["dependencies"] == ["numpy", "scipy", "pandas", "tqdm"]


# --- The installed package -------------------------------------------------------------------


def put_in(site: Path, name: str, done: set[str]) -> None:
    """Link a distribution of this environment, and what it requires, into another one."""
    if name in done:
        return
    done.add(name)
    found = distribution(name)
    for top in {Path(file).parts[0] for file in found.files} - {"..", "__pycache__"}:
        if not (site / top).exists():
            (site / top).symlink_to(Path(found.locate_file(top)))
    for requirement in map(Requirement, found.requires or []):
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            put_in(site, requirement.name, done)


@pytest.fixture(scope="module")
def light(tmp_path_factory):
    """The Python of a fresh environment that holds the wheel and its plain dependencies."""
    folder = tmp_path_factory.mktemp("light")
    source = folder / "source"
    copied = ["stlcore", "pyproject.toml", "README.md"]
    for name in copied:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        source.mkdir(exist_ok=True)
        copy(ROOT / name, source / name)
    quiet = {"check": True, "capture_output": True}
    wheel = ["wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, source]
    subprocess.run([sys.executable, "-m", "pip", *wheel], **quiet)
    venv.create(folder / "env", symlinks=True)
    (site,) = (folder / "env" / "lib").glob("python*/site-packages")
    for name in ("numpy", "scipy", "pandas", "tqdm"):
        put_in(site, name, set())
    (built,) = folder.glob("stlcore-*.whl")
    python = folder / "env" / "bin" / "python"
    install = ["install", "--no-deps", "--no-index", "--target", site, built]
    subprocess.run([sys.executable, "-m", "pip", *install], **quiet)
    return python, folder


def call(light, *arguments):
    python, folder = light
    return subprocess.run(
        [python, "-I", *arguments], cwd=folder, capture_output=True, text=True, check=False
    )


def test_the_example_of_the_intro_runs_in_a_light_environment(light):
    text = (ROOT / "book" / "intro.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(from stlcore.*?)```", text, re.DOTALL)
    done = call(light, "-c", example + "\nimport stlcore; print(stlcore.__file__)")
    assert done.returncode == 0, done.stderr
    assert str(light[1]) in done.stdout


def test_a_light_environment_keeps_checkpoints(light):
    code = (
        "import tempfile\n"
        "from stlcore.cycles import full_synthetic\n"
        "from stlcore.learners import Categorical\n"
        "from stlcore.loop import run\n"
        "from stlcore.streams import stream\n"
        "folder = tempfile.mkdtemp()\n"
        "frames = [run(Categorical([0.5, 0.5]), full_synthetic(), 9, t, 2, stream(1),"
        " checkpoint=folder) for t in (3, 5)]\n"
        "print(len(frames[1]))"
    )
    done = call(light, "-c", code)
    assert done.stdout.split() == ["10"], done.stderr


@pytest.mark.parametrize(
    ("code", "extra"),
    [
        ("from stlcore.learners import GPT2", "torch"),
        ("from stlcore.stability import leave_one_out", "torch"),
        ("from stlcore.metrics import fidelity", "images"),
        ("from stlcore.data import digits; digits()", "images"),
        ("import stlcore.data.tokens", "text"),
        ("from stlcore.pages import Page", "book"),
        ("from stlcore.pages import theme", "book"),
    ],
)
def test_a_missing_extra_is_one_sentence_that_names_it(light, code, extra):
    done = call(light, "-c", code)
    last = done.stderr.strip().splitlines()[-1]
    assert last.endswith(f"pip install 'stlcore[{extra}]'")


@pytest.mark.parametrize("command", ["list", "run c02", "claims", "student c02 -o c02.ipynb"])
def test_without_the_repository_the_command_line_says_so(light, command):
    done = call(light, "-m", "stlcore", *command.split())
    assert done.returncode == 2
    assert done.stderr == (
        "stlcore: the pages are in the repository, not in the installed package: "
        "clone it and run this command there\n"
    )
    assert done.stdout == ""
