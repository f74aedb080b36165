"""The browser of the tests finds what is wrong with a page."""

from pathlib import Path

from tests.browser import Browser

PAGE = """<!doctype html><html lang="en"><meta name="viewport" content="width=device-width">
<title>page</title><style>body { background: #fff } p { color: COLOUR }
@media (prefers-color-scheme: dark) { body, h1 { background: #111; color: #eee } }
button { width: SIZEpx; height: SIZEpx }</style>
<main><h1>Page</h1><p>text</p><button onclick="this.textContent = 'clicked'">go</button></main>"""


def test_faults_of_a_page_are_found(browser: Browser, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    for colour, size in (("#ccc", 500), ("#555", 60)):
        page.write_text(PAGE.replace("COLOUR", colour).replace("SIZE", str(size)))
        browser.visit(page.as_uri())
        browser.screen(390)
        good = size == 60
        faults = browser.accessibility_faults()
        assert [fault.partition(":")[0] for fault in faults] == ["color-contrast"] * (not good)
        assert browser.wide() == ["BUTTON#."] * (not good)
        assert browser.small_targets() == []
        assert browser.small_targets(61) == ["BUTTON#: 60 x 60 px"] * good
        browser.screen(1440, dark=True)
        assert [fault.partition(":")[0] for fault in browser.accessibility_faults()] == (
            ["color-contrast"] * good
        )
    browser.click("button")
    browser.wait("document.querySelector('button').textContent === 'clicked'")
    browser.screenshot(tmp_path / "page.png")
    assert (tmp_path / "page.png").read_bytes().startswith(b"\x89PNG")
