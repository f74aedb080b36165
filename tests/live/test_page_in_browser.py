"""The page as people use it: in a real browser, with clicks and keys, on a desktop and a phone."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from fgaf.model.live import LiveFrame
from fgaf.model.live.message import LivePipette
from fgaf.model.live.page import About, Page
from tests.browser import PATIENCE_S, Browser
from tests.live.pursuit import Pursuit

Made = Callable[..., LiveFrame]
TABLE = (
    "[...document.querySelectorAll('#cells tr')]"
    ".map(row => [...row.children].map(cell => cell.textContent))"
)


def text(browser: Browser, name: str) -> str:
    """The text of an element that is seen."""
    found: str = browser.run("return document.getElementById(arguments[0]).innerText", name)
    return found


def shows(browser: Browser, name: str, words: str) -> None:
    browser.wait(f"document.getElementById({name!r}).innerText.includes({words!r})")


def seen(browser: Browser, page: Page, frame: LiveFrame) -> None:
    """Show a frame, and wait until the browser has it."""
    page.show(frame)
    shows(browser, "frame", str(frame.frame_id))


def asked(pursuit: Pursuit, wanted: list[int | str | None]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while pursuit.asked != wanted:
        assert time.monotonic() < deadline, pursuit.asked
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("width", "dark"),
    [
        pytest.param(390, False, id="phone-light"),
        pytest.param(1440, True, id="desktop-dark"),
        pytest.param(390, True, id="phone-dark", marks=pytest.mark.slow),
        pytest.param(1440, False, id="desktop-light", marks=pytest.mark.slow),
    ],
)
def test_every_state_is_readable_on_every_screen(
    width: int, dark: bool, browser: Browser, about: About, pursuit: Pursuit, result: Made
) -> None:
    browser.screen(width, dark=dark)

    def fits() -> None:
        assert browser.accessibility_faults() == []
        assert browser.wide() == []
        assert browser.small_targets(44 if width == 390 else 24) == []
        ground = browser.run("return getComputedStyle(document.body).backgroundColor")
        assert (int(ground.partition("(")[2].partition(",")[0]) < 60) == dark

    with Page(0, about, pursuit) as page:
        browser.visit(page.address)
        shows(browser, "awaits", "Waiting for the first frame.")
        fits()
        seen(browser, page, result(1, cells=()))
        shows(browser, "awaits", "No head found yet.")
        seen(browser, page, result(2, cells=(), unconfirmed=3))
        shows(browser, "awaits", "No cell yet: 3 may be")
        fits()
        seen(browser, page, result(3, target=1, at_limit=True))
        assert text(browser, "awaits") == ""
        shows(browser, "limit", "beyond the drive's limits")
        browser.click("summary")
        fits()
        page.end("stopped by Ctrl-C")
        shows(browser, "why", "stopped by Ctrl-C")
        fits()


def test_the_cells_are_marked_and_listed(browser: Browser, page: Page, result: Made) -> None:
    first, second = result().cells
    vague = replace(first, id=3, z_error_um=1.2)
    odd = replace(first, id=4, z_um=None, z_error_um=None, in_range=False)
    rim = replace(odd, id=5, depth_um=None, in_range=None)
    browser.visit(page.address)
    seen(browser, page, result(7, target=1, cells=(first, second, vague, odd, rim)))
    assert browser.run(f"return {TABLE}") == [
        ["1", "−0.40 ± 0.10", "+0.40", "22"],
        ["2", "not found", "–", "0"],
        ["3", "unknown", "+0.40", "22"],
        ["4", "out of range", "+0.40", "22"],
        ["5", "near border", "–", "22"],
    ]
    assert text(browser, "count") == "5"
    assert browser.run("return document.querySelector('tr.target').dataset.id") == "1"
    assert browser.run("return document.title") == "fgaf live: test"
    # The marks are drawn in colour on a grey picture.
    assert browser.run(
        "const c = document.getElementById('picture');"
        "const p = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;"
        "let n = 0; for (let i = 0; i < p.length; i += 4) n += Math.abs(p[i] - p[i + 2]) > 30;"
        "return n > 20"
    )


def test_the_stage_says_how_far_the_cell_is_from_its_place(
    browser: Browser, page: Page, result: Made
) -> None:
    browser.visit(page.address)
    seen(browser, page, result(1))
    assert text(browser, "place") == ""
    stage = {"stage_x_um": 120.0, "stage_y_um": -45.26}
    seen(browser, page, result(2, **stage))
    shows(browser, "place", "The x/y stage stands at x 120.0, y −45.3 µm.")
    goal = {"goal_x_px": 80.0, "goal_y_px": 64.0, "off_um": 1.26, "stage_at_limit": True}
    seen(browser, page, result(3, target=1, **stage, **goal))
    shows(browser, "place", "The x/y stage follows at x 120.0, y −45.3 µm: the cell is 1.3 µm from")
    shows(browser, "stage", "beyond the x/y stage's limits")


def test_the_rate_is_that_of_now(browser: Browser, page: Page, result: Made) -> None:
    browser.visit(page.address)
    seen(browser, page, result(1, rate_hz=29.4))
    shows(browser, "rate", "0.0")
    page.show(result(2, rate_hz=29.4))
    browser.wait("Number(document.getElementById('rate').innerText) > 0")
    browser.wait("Number(document.getElementById('rate').innerText) < 1")
    shows(browser, "state", "no new frame for")
    seen(browser, page, result(3))
    browser.wait("document.getElementById('state').innerText === ''")


def test_a_cell_is_chosen_and_followed_by_keys(
    browser: Browser, page: Page, pursuit: Pursuit, result: Made
) -> None:
    browser.visit(page.address)
    seen(browser, page, result(1, target=None))
    shows(browser, "name", "Cell 1")
    browser.press("Right")
    shows(browser, "name", "Cell 2")
    browser.press("Enter")
    asked(pursuit, [2])
    shows(browser, "follows", "The drive waits for cell 2.")
    seen(browser, page, result(2, target=2))
    shows(browser, "follows", "The drive follows cell 2.")
    browser.press("Right")
    shows(browser, "name", "Cell 1")
    browser.press("Left")
    shows(browser, "name", "Cell 2")
    browser.press("Escape")
    asked(pursuit, [2, "release"])
    shows(browser, "follows", "The drive stands still.")


@pytest.mark.parametrize("width", [390, 1440])
def test_a_cell_is_chosen_and_followed_by_clicks(
    width: int, browser: Browser, page: Page, pursuit: Pursuit, result: Made
) -> None:
    browser.screen(width)
    browser.visit(page.address)
    seen(browser, page, result(1))
    browser.click("#picture", at=(120 / 160, 30 / 128))
    shows(browser, "name", "Cell 2")
    browser.click("#cells tr:first-child button")
    shows(browser, "name", "Cell 1")
    seen(browser, page, result(2))
    assert text(browser, "name") == "Cell 1"
    assert pursuit.asked == []
    for button in ("next", "follow", "centre", "stop"):
        browser.click(f"#{button}")
    asked(pursuit, [2, None, "release"])


def test_the_chosen_cell_has_a_trace_of_ten_seconds(
    browser: Browser, page: Page, result: Made
) -> None:
    browser.visit(page.address)
    cell = result().cells[0]
    for second, z_um, error_um in ((0, 3.0, 0.1), (6, 1.0, 0.1), (7, 1.5, 0.1), (8, 9.0, 1.5)):
        here = (replace(cell, z_um=z_um, z_error_um=error_um),)
        seen(browser, page, result(second + 1, time_ns=second * 10**9, cells=here))
    label = "document.getElementById('trace').getAttribute('aria-label')"
    assert browser.wait(label) == (
        "z of cell 1 over the last ten seconds: now +1.5 µm, from +1.0 to +3.0 µm"
    )
    lines = "[...document.querySelectorAll('#trace .z')].map(e => e.points.numberOfItems)"
    assert browser.run(f"return {lines}") == [1, 2]
    late = replace(cell, z_um=2.0)
    seen(browser, page, result(18, time_ns=17 * 10**9, cells=(late,)))
    assert browser.wait(label) == (
        "z of cell 1 over the last ten seconds: now +2.0 µm, from +1.5 to +2.0 µm"
    )
    seen(browser, page, result(19, time_ns=18 * 10**9, cells=()))
    shows(browser, "reading", "It is no longer followed.")


def test_an_end_is_told_and_a_new_start_is_gone_on_with(
    browser: Browser, about: About, result: Made
) -> None:
    with Page(0, about) as page:
        browser.visit(page.address)
        seen(browser, page, result(7))
        page.end("error: the camera was unplugged")
    shows(browser, "why", "error: the camera was unplugged")
    assert text(browser, "command") == about.command
    assert about.record in text(browser, "recorded")
    assert text(browser, "rate") == "0.0"
    assert browser.run("return document.title") == "ended: fgaf live: test"
    with Page(page.port, about) as again:
        again.show(result(7))
        browser.wait("document.getElementById('ending').hidden")
        shows(browser, "state", "")


def test_a_page_that_is_killed_is_told_too(browser: Browser, page: Page, result: Made) -> None:
    browser.visit(page.address)
    seen(browser, page, result(7))
    browser.offline(True)
    try:
        shows(browser, "why", "it does not answer")
    finally:
        browser.offline(False)
    browser.wait("document.getElementById('ending').hidden")


def test_light_and_dark_are_switched_and_kept(browser: Browser, page: Page) -> None:
    scheme = "document.documentElement.dataset.scheme"
    browser.visit(page.address)
    assert browser.run(f"return {scheme}") == "light"
    browser.click("#scheme")
    assert browser.run(f"return {scheme}") == "dark"
    browser.visit(page.address)
    assert browser.run(f"return {scheme}") == "dark"
    browser.click("#scheme")
    assert browser.run(f"return {scheme}") == "light"


def test_the_token_is_kept_and_no_foreign_script_runs(
    browser: Browser, open_page: Page, pursuit: Pursuit
) -> None:
    plain = f"http://127.0.0.1:{open_page.port}/"
    browser.visit(plain)
    shows(browser, "follows", "with its token")
    assert browser.run("return document.getElementById('moves').hidden")
    browser.run("document.getElementById('centre').click()")
    shows(browser, "refused", "with its token")
    browser.visit(f"{plain}?token={open_page.token}")
    browser.wait("document.getElementById('moves').hidden === false")
    assert browser.run("return location.href") == plain
    browser.visit(plain)
    browser.wait("document.getElementById('moves').hidden === false")
    browser.click("#centre")
    asked(pursuit, [None])
    browser.run(
        "const s = document.createElement('script'); s.textContent = 'window.foreign = 1';"
        "document.body.append(s); document.body.insertAdjacentHTML("
        "'beforeend', '<img src=x onerror=\"window.foreign = 2\">')"
    )
    assert browser.run("return typeof window.foreign") == "undefined"


@pytest.mark.parametrize("width", [390, 1440])
def test_a_page_of_trials_shows_the_pipette_and_only_stops(
    width: int, browser: Browser, about: About, pursuit: Pursuit, result: Made
) -> None:
    browser.screen(width)
    pipette = LivePipette(64.0, 110.0, -0.25, 1.0, 2.0, 20.0, 1.2, "watch", 2, 5, "missed aside")
    with Page(0, replace(about, stop="Stop the trials"), pursuit) as page:
        browser.visit(page.address)
        seen(browser, page, result(1, target=1, pipette=pipette))
        shows(browser, "pipette", "Trial 2 of 5: watch. Tip (diamond) in focus at −0.25 µm")
        said = text(browser, "pipette")
        assert "cell 1 at −0.15 µm from it; the pump draws 1.20 nL/s." in said
        assert "Last trial: missed aside." in said
        hidden = "return document.getElementById('moves').hidden"
        assert browser.run(hidden)
        assert browser.accessibility_faults() == []
        assert browser.wide() == []
        assert browser.small_targets(44 if width == 390 else 24) == []
        browser.press("Enter")
        browser.click("#end")
        asked(pursuit, ["release"])
        seen(browser, page, result(2, pipette=replace(pipette, flow_nl_s=0.0, last="")))
        shows(browser, "pipette", "the pump stands.")
        page.end("stopped by Ctrl-C")
        shows(browser, "why", "stopped by Ctrl-C")
        assert text(browser, "pipette") == ""
