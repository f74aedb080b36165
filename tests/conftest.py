"""What all tests share."""

import gc
import os
import shutil
import subprocess
from collections.abc import Generator, Iterator

import pytest

from tests.browser import Browser, installed


def pytest_configure(config: pytest.Config) -> None:
    """Give each parallel worker a screen of its own: one window of a screen gets the keys."""
    parallel = "PYTEST_XDIST_WORKER" in os.environ and "DISPLAY" in os.environ
    if not parallel or shutil.which("Xvfb") is None:
        return
    read, write = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(write), "-screen", "0", "1280x1024x24", "-nolisten", "tcp"],
        pass_fds=[write],
        stderr=subprocess.DEVNULL,
    )
    config.add_cleanup(server.wait)
    config.add_cleanup(server.terminate)  # before the wait
    os.close(write)
    with os.fdopen(read) as number:
        screen = number.readline().strip()
    if screen:
        os.environ["DISPLAY"] = f":{screen}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files that take long first: one at the end would leave other processors idle."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


def pytest_collection_finish() -> None:
    """Take what was imported for ever out of the search for garbage, which takes a second here."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Escape what UTF-8 lacks in captured logs: pytest-xdist cannot send a lone surrogate."""
    report = yield
    report.sections = [
        (title, text.encode("utf-8", "backslashreplace").decode("utf-8"))
        for title, text in report.sections
    ]
    return report


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Chromium, where it is installed; started once."""
    if installed() is None:
        pytest.skip("no Chromium; see `make test`")
    with Browser(tmp_path_factory.mktemp("browser") / "profile") as started:
        yield started


@pytest.fixture
def browser(chromium: Browser) -> Iterator[Browser]:
    """An empty page on a light desktop screen."""
    chromium.screen(1440)
    yield chromium
    chromium.visit("about:blank")
