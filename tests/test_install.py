"""The files that set a machine up agree with each other."""

import ast
import json
import re
import shutil
import subprocess
import sys
import tomllib
import venv
from importlib.metadata import distribution, packages_distributions
from pathlib import Path
from urllib.parse import unquote

import pytest
import yaml
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.tags import compatible_tags, cpython_tags, mac_platforms
from packaging.utils import parse_wheel_filename
from uv import find_uv_bin

from stlcore.pages.repository import ROOT

LOCKS = ["core", "torch", "course"]
PATHS = [f"locks/{lock}.txt" for lock in LOCKS]


def pinned(path):
    """Name and version of every package that a requirements file pins."""
    text = (ROOT / path).read_text(encoding="utf-8")
    return dict(re.findall(r"^([A-Za-z0-9_.-]+)==([^\s\\]+)", text, re.MULTILINE))


def test_environment_file_names_the_locked_versions():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    (pip,) = [entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict)]
    listed = dict(entry.split("==") for entry in pip if "==" in entry)
    core, torch, course = (pinned(f"locks/{lock}.txt") for lock in LOCKS)
    for other in (torch, course):
        both = core.keys() & other
        assert {name: core[name] for name in both} == {name: other[name] for name in both}, (
            "the locks must agree where they overlap"
        )
    locked = core | torch
    assert listed == {name: locked.get(name) for name in listed}
    assert f"TORCH=torch=={torch['torch']}\n" in (ROOT / ".ci/run").read_text(encoding="utf-8")
    asked = (ROOT / "locks" / "core.in").read_text(encoding="utf-8").split("# torch's pure")[0]
    named = {re.split("[<>=]", line)[0] for line in asked.splitlines() if not line.startswith("#")}
    assert named | {"torch"} == listed.keys()


@pytest.mark.parametrize("lock", LOCKS)
def test_lock_holds_every_direct_requirement_with_a_hash(lock):
    wanted = (ROOT / f"locks/{lock}.in").read_text(encoding="utf-8").splitlines()
    names = {re.split(r"[<>=]", line)[0] for line in wanted if line and not line.startswith("#")}
    text = (ROOT / f"locks/{lock}.txt").read_text(encoding="utf-8")
    # A marker may stand between: some packages are for one platform only.
    locked = re.findall(r"^([A-Za-z0-9_.-]+)==[^\n]+ \\\n    --hash=sha256:", text, re.MULTILINE)
    assert names <= set(locked)
    assert len(locked) == len(pinned(f"locks/{lock}.txt"))


#: What is to be had as source only: plain Python, which every machine can build.
SOURCES = {"connection-pool", "future"}
MANYLINUX = [*(f"manylinux_2_{minor}" for minor in range(28, 4, -1)), "manylinux2014", "manylinux1"]
PLATFORMS = {
    "Linux x86-64": ("linux", "x86_64", [f"{name}_x86_64" for name in MANYLINUX]),
    "Linux arm64": ("linux", "aarch64", [f"{name}_aarch64" for name in MANYLINUX]),
    "macOS 14 arm64": ("darwin", "arm64", list(mac_platforms((14, 0), "arm64"))),
    "macOS 13 arm64": ("darwin", "arm64", list(mac_platforms((13, 0), "arm64"))),
    "macOS 15 Intel": ("darwin", "x86_64", list(mac_platforms((15, 0), "x86_64"))),
}


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    """Each package that the locks lead to, with all files that the package index has of it.

    The resolver adds what a lock lacks and looks at no hash, so that it finds its way says little:
    what it found has still to be held against the locks.
    """
    found = tmp_path_factory.mktemp("index") / "pylock.toml"
    asked = ["--universal", "--python-version", "3.11", "--format", "pylock.toml", "-o", found]
    done = subprocess.run(
        [find_uv_bin(), "pip", "compile", "--quiet", *asked, *(ROOT / path for path in PATHS)],
        capture_output=True,
        text=True,
        check=False,
    )
    if re.search(r"dns error|error sending request|[Ff]ailed to fetch|timed out", done.stderr):
        pytest.skip("needs the package index")
    assert done.returncode == 0, done.stderr
    return tomllib.loads(found.read_text(encoding="utf-8"))["packages"]


def not_to_be_had(packages, platform, python):
    """The packages without a pin, or without a file for this platform whose hash is locked."""
    system, machine, platforms = PLATFORMS[platform]
    minor = tuple(map(int, python.split(".")))
    tags = {
        *cpython_tags(minor, platforms=platforms),
        *compatible_tags(minor, f"cp{python.replace('.', '')}", platforms),
    }
    here = {
        "sys_platform": system,
        "platform_system": system.title(),
        "platform_machine": machine,
        "python_version": python,
        "python_full_version": f"{python}.0",
    }
    text = "\n".join((ROOT / path).read_text(encoding="utf-8") for path in PATHS)
    pins = set(re.findall(r"^(\S+==[^\s\\]+)", text, re.MULTILINE))
    hashes = set(re.findall(r"--hash=sha256:(\w+)", text))
    missing = set()
    for package in packages:
        if not Marker(package.get("marker", "python_version > '3'")).evaluate(here):
            continue
        files = [
            file
            for file in package.get("wheels", [])
            if tags & parse_wheel_filename(unquote(file["url"].rsplit("/", 1)[1]))[3]
        ]
        if package["name"] in SOURCES:
            files.append(package["sdist"])
        pinned = f"{package['name']}=={package['version']}" in pins
        if not pinned or not any(file["hashes"]["sha256"] in hashes for file in files):
            missing.add(package["name"])
    return missing


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
def test_locks_hold_for_every_platform_that_is_named(index, python):
    """As the README has it: for each platform a file of every package, with its hash."""
    for platform in ("Linux x86-64", "Linux arm64", "macOS 14 arm64"):
        assert not not_to_be_had(index, platform, python), platform
    for platform in ("macOS 13 arm64", "macOS 15 Intel"):
        assert "torch" in not_to_be_had(index, platform, python)


@pytest.mark.parametrize("lock", ["torch", "course"])
def test_lock_and_core_know_what_they_share(lock):
    """Else one was changed without the other, and what core lacks is found beside it only."""
    text = (ROOT / f"locks/{lock}.txt").read_text(encoding="utf-8")
    blocks = re.split(r"\n(?=\S)", text)
    shared = {block.split("==")[0] for block in blocks if "-c locks/core.txt" in block}
    assert shared == pinned(f"locks/{lock}.txt").keys() & pinned("locks/core.txt").keys()


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
    python = ["--offline", "--quiet", "--python", sys.executable]
    wheel = ["build", "--wheel", "--no-build-isolation", "--out-dir", folder, source]
    subprocess.run([find_uv_bin(), *wheel, *python], **quiet)
    venv.create(folder / "env", symlinks=True)
    (site,) = (folder / "env" / "lib").glob("python*/site-packages")
    for name in ("numpy", "scipy", "pandas", "tqdm"):
        put_in(site, name, set())
    (built,) = folder.glob("stlcore-*.whl")
    install = ["pip", "install", "--no-deps", "--target", site, built]
    subprocess.run([find_uv_bin(), *install, *python], **quiet)
    return folder / "env" / "bin" / "python", folder


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


#: Runs each code in a process of its own, which begins with what every one of them would load.
EACH = """import json, multiprocessing, sys
import numpy, pandas, scipy.special

def last_line(code, out):
    try:
        exec(code, {})
    except BaseException as error:
        out.send(f"{type(error).__name__}: {error}")
    else:
        out.send("nothing was raised")

context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
if __name__ == "__main__":
    for code in json.loads(sys.argv[1]):
        here, there = context.Pipe()
        process = context.Process(target=last_line, args=(code, there))
        process.start()
        print(here.recv())
        process.join()
"""


def test_a_missing_extra_is_one_sentence_that_names_it(light):
    extras = {
        "from stlcore.learners import GPT2": "torch",
        "from stlcore.stability import leave_one_out": "torch",
        "from stlcore.metrics import fidelity": "images",
        "from stlcore.data import digits; digits()": "images",
        "import stlcore.data.tokens": "text",
        "from stlcore.pages import Page": "book",
        "from stlcore.pages import theme": "book",
    }
    script = light[1] / "each.py"
    script.write_text(EACH, encoding="utf-8")
    done = call(light, script, json.dumps(list(extras)))
    assert done.returncode == 0, done.stderr
    for said, (code, extra) in zip(done.stdout.splitlines(), extras.items(), strict=True):
        assert said.startswith("ModuleNotFoundError: "), code
        assert said.endswith(f"pip install 'stlcore[{extra}]'"), code


@pytest.mark.parametrize("command", ["list", "run c02", "claims", "student c02 -o c02.ipynb"])
def test_without_the_repository_the_command_line_says_so(light, command):
    done = call(light, "-m", "stlcore", *command.split())
    assert done.returncode == 2
    assert done.stderr == (
        "stlcore: the pages are in the repository, not in the installed package: "
        "clone it and run this command there\n"
    )
    assert done.stdout == ""
