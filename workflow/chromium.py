"""The browser that prints the book and looks at it. As a script it says so if there is none."""

import shutil

#: The shell draws no window, so it takes a third less time to open a page.
NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
INSTALL = "on Debian: apt-get install chromium-headless-shell"


def find_chromium() -> str | None:
    """Where the browser is, or None."""
    return next(filter(None, map(shutil.which, NAMES)), None)


if __name__ == "__main__" and find_chromium() is None:
    print(f"No Chromium found: the browser tests are left out ({INSTALL}).")
