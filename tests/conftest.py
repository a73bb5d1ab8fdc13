"""Settings and helpers that several test files share.

Every random number in these tests has a fixed seed, so a test gives the same
answer each time. What its seed could have done is stated where it is used: a
statistical test names its false-alarm rate, the probability that it fails
although the code is right. Over all tests of the folder these rates sum to less
than 1e-3.

Packages are imported where they are used: before its workers start, pytest reads this file by
itself, and the workers wait.
"""

from __future__ import annotations

import gc
import json
import sys
import threading
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

import stlcore.pages.repository

settings.register_profile(
    "stlcore",
    derandomize=True,  # the same examples in every run
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("stlcore")

#: Nominal level of `follows`; its true level is below ten times that.
LEVEL = 1e-7


def follows(samples, expected) -> bool:
    """Whether the means of the columns may be ``expected``, at a false-alarm rate of 1e-6.

    The largest studentised deviation is held against the normal quantile for
    1e-7, shared out over the columns. Skewness of the samples may raise that
    rate; with the thousands of rows that the tests use, by less than a factor
    of 10. (The bootstrap p-value of `deviation_test` cannot reach 1e-6 with
    fewer than a million resamples.)
    """
    import numpy as np
    from scipy.stats import norm

    from stlcore.metrics.distances import deviation_test
    from stlcore.streams import stream

    samples = np.asarray(samples, dtype=float)
    assert len(samples) >= 4000, "too few repetitions for the stated level"
    result = deviation_test(samples, stream(0, "unused"), resamples=1)(expected)
    return result.statistic < norm.isf(LEVEL / (2 * samples.shape[1]))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let what takes longest go first, so that two workers come to an end together."""
    longest = ("test_pipeline", "test_interruption", "test_grading", "test_digits_page")
    items.sort(key=lambda item: item.path.stem not in longest)


def pytest_collection_finish() -> None:
    """Thousands of tests stay in memory to the end: spare the garbage collection a look at them."""
    gc.collect()
    gc.freeze()


@pytest.fixture(name="follows", scope="session")
def follows_fixture():
    """The function `follows`."""
    return follows


#: A page with all that a page has to have, and a way to fail.
TINY = """---
kernelspec:
  display_name: Python 3
  language: python
  name: python3
stlcore:
  source: Paper C, Theorem 0
---

# A tiny page

**Does it run?**

```{code-cell} ipython3
import os

import pandas as pd

from stlcore.pages import Count, Counts, Page, Positive, Profile, Seed, Text, by_profile
from stlcore.streams import stream
```

```{code-cell} ipython3
:tags: [parameters]

profile: Profile = "quick"
seed: Seed = 5  # root of every random stream
rounds: Count = by_profile(4, 9)
sizes: Counts = [1, 2]
rate: Positive = 0.5
fail: Text = "no"  # or error, claim, death
```

```{code-cell} ipython3
page = Page.start("C-90", globals())
values = stream(seed, "values").random(rounds)
page.glue(mean=values.mean(), rate=rate)
page.keep("values", pd.DataFrame({"value": values}))
if fail == "error":
    raise RuntimeError("the tiny page was told to fail")
if fail == "death":
    os._exit(1)
```

```{code-cell} ipython3
---
mystnb:
  figure:
    caption: The values.
    name: fig-c90
---
import matplotlib.pyplot as plt

figure, ax = plt.subplots()
ax.plot(values, label="drawn")
page.show(figure)
```

```{code-cell} ipython3
claim = page.claims.check("The mean is small.", values.mean(), "<=", 1, mark="observed")
page.claims.control(claim, "The mean is negative.", expected=0)
if fail == "claim":
    page.claims.check("One is two.", 1, "==", 2, mark="observed")
page.finish()
```

```{exercise}
:label: ex-c90-first

How large is it?
```

````{solution} ex-c90-first
:class: dropdown

The secret answer, with a fence:

```python
secret = 1
```
````

```{code-cell} ipython3
:tags: [solution]

secret = 2
```

The end.
"""

#: A page that ends without page.finish().
SILENT = """---
kernelspec:
  display_name: Python 3
  language: python
  name: python3
stlcore:
  source: Paper C, Theorem 00
---

# A silent page

```{code-cell} ipython3
from stlcore.pages import Count
```

```{code-cell} ipython3
:tags: [parameters]

rounds: Count = 3
```

```{code-cell} ipython3
rounds
```
"""


def put_in(root: Path, patch: pytest.MonkeyPatch) -> Path:
    """Make ``root`` a tiny project: two pages, and nothing run yet."""
    folder = root / "notebooks" / "contamination"
    folder.mkdir(parents=True)
    (folder / "c90_tiny.md").write_text(TINY, encoding="utf-8")
    (folder / "c91_silent.md").write_text(SILENT, encoding="utf-8")
    patch.setattr(stlcore.pages.repository, "ROOT", root)
    return root


@pytest.fixture
def project(tmp_path, monkeypatch):
    """The root of a tiny project that `stlcore` takes for its own during the test."""
    return put_in(tmp_path / "project", monkeypatch)


@pytest.fixture(scope="session")
def executed(tmp_path_factory):
    """The tiny page, run once: its record and the folder with notebook and record."""
    from stlcore.pages.runner import find_page, run_page

    with pytest.MonkeyPatch.context() as patch:
        root = put_in(tmp_path_factory.mktemp("executed"), patch)
        folder = root / "book" / "notebooks" / "contamination"
        return run_page(find_page("c90"), folder / "c90_tiny.ipynb", {"rate": 0.25}), folder


@pytest.fixture(scope="session")
def ends():
    """How runs ended: text and parameters, and with them the notebook and what was raised."""
    return {}


@pytest.fixture
def remembered(ends, monkeypatch):
    """A run that was seen before is not run again, for a test of what is made of its end.

    Its kernel is the slow part: five seconds for a page that takes none.
    """
    import papermill

    execute = papermill.execute_notebook

    def recall(source, executed, parameters, **options):
        run = Path(source).read_text(encoding="utf-8"), json.dumps(parameters)
        if run not in ends:
            error = None
            try:
                execute(source, executed, parameters, **options)
            except papermill.PapermillExecutionError as raised:
                error = raised.args
            ends[run] = Path(executed).read_bytes(), error
        notebook, error = ends[run]
        Path(executed).write_bytes(notebook)
        if error:
            raise papermill.PapermillExecutionError(*error)

    monkeypatch.setattr(papermill, "execute_notebook", recall)


def tree(root: Path) -> dict[str, bytes]:
    """Every file below a folder with what it holds, and every folder."""
    return {
        str(path.relative_to(root)): path.read_bytes() if path.is_file() else b""
        for path in root.rglob("*")
    }


@pytest.fixture(name="tree", scope="session")
def tree_fixture():
    """The function `tree`."""
    return tree


@pytest.fixture(scope="session")
def browser():
    """Headless Chromium for all tests of this process, for there can be only one."""
    from playwright.sync_api import sync_playwright

    sys.path.append(str(stlcore.pages.repository.ROOT / "workflow"))
    from chromium import find_chromium

    if (chromium := find_chromium()) is None:
        pytest.skip("no Chromium on this machine")
    flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium, args=flags)
        yield running
        running.close()


@pytest.fixture
def once(request):
    """A context for a look that is not taken again while its state, a digest, is the same.

    It is remembered when the look has passed; ``pytest --cache-clear`` forgets.
    """

    @contextmanager
    def looking(place: str, state: str):
        if request.config.cache.get(place, None) == state:
            pytest.skip("looked at before, and nothing of it has changed")
        yield
        request.config.cache.set(place, state)

    return looking


class Quiet(SimpleHTTPRequestHandler):
    """A server of files that reports nothing."""

    def log_message(self, *_):
        """Do nothing."""


@contextmanager
def serve(folder: Path):
    """The address of a folder that is served below a path, as on a project's site."""
    handler = partial(Quiet, directory=folder.parent)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/{folder.name}"
        server.shutdown()


@pytest.fixture(name="serve", scope="session")
def serve_fixture():
    """The function `serve`."""
    return serve
