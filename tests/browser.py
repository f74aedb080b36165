"""A real headless Chromium for the tests of pages, driven by the WebDriver protocol."""

from __future__ import annotations

import base64
import http.client
import json
import shutil
import socket
import subprocess
import time
from importlib import resources
from pathlib import Path
from typing import Any, Final, Self

PATIENCE_S: Final = 60.0
KEYS: Final = {
    "Escape": "\ue00c",
    "Enter": "\ue007",
    "Tab": "\ue004",
    "Left": "\ue012",
    "Up": "\ue013",
    "Right": "\ue014",
    "Down": "\ue015",
}
_CHROMIUMS: Final = ("chromium", "chromium-browser", "google-chrome")


def installed() -> tuple[str, str] | None:
    """Programs of the driver and of the browser; None where one is missing."""
    driver = shutil.which("chromedriver")
    browser = next(filter(None, map(shutil.which, _CHROMIUMS)), None)
    return (driver, browser) if driver and browser else None


class Browser:
    """One window of Chromium.

    Parameters
    ----------
    folder
        Of its profile.
    """

    def __init__(self, folder: Path) -> None:
        programs = installed()
        assert programs is not None
        driver, binary = programs
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._port = free.getsockname()[1]
        self._process = subprocess.Popen(
            [driver, f"--port={self._port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        words = ["headless", "no-sandbox", "disable-gpu", "no-first-run", "hide-scrollbars"]
        words += ["disable-background-networking", f"user-data-dir={folder}"]
        options = {"binary": binary, "args": [f"--{word}" for word in words]}
        wanted = {"capabilities": {"alwaysMatch": {"goog:chromeOptions": options}}}
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                made = self._send("POST", "/session", wanted)
                break
            except ConnectionRefusedError:
                assert time.monotonic() < deadline
                time.sleep(0.05)
        self._session = f"/session/{made['sessionId']}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._send("DELETE", self._session)
        self._process.terminate()
        self._process.wait()

    def visit(self, address: str) -> None:
        """Open a page: an address, or `path.as_uri()` of a file."""
        self._of_session("/url", url=address)

    def run(self, script: str, *values: Any) -> Any:
        """Run the body of a function, and give what it returns; a promise is awaited."""
        return self._of_session("/execute/sync", script=script, args=list(values))

    def wait(self, expression: str) -> Any:
        """Wait until an expression is true, and give its value."""
        deadline = time.monotonic() + PATIENCE_S
        while not (value := self.run(f"return {expression}")):
            assert time.monotonic() < deadline, expression
            time.sleep(0.05)
        return value

    def screen(self, width: int, height: int = 900, *, dark: bool = False) -> None:
        """Be a screen of this many CSS pixels: one narrower than 600 is a phone, with touch."""
        phone = width < 600
        self._devtools(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=phone,
        )
        self._devtools("Emulation.setTouchEmulationEnabled", enabled=phone)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._devtools("Emulation.setEmulatedMedia", features=[scheme])

    def offline(self, cut: bool) -> None:
        """Cut the browser off the network, or connect it again."""
        conditions = {"offline": cut, "latency": 0, "throughput": -1}
        self._of_session("/chromium/network_conditions", network_conditions=conditions)

    def press(self, key: str) -> None:
        """Press and release a key: a character, or a name in `KEYS`."""
        value = KEYS.get(key, key)
        steps = [{"type": "keyDown", "value": value}, {"type": "keyUp", "value": value}]
        self._of_session("/actions", actions=[{"type": "key", "id": "keyboard", "actions": steps}])

    def click(self, selector: str, at: tuple[float, float] = (0.5, 0.5)) -> None:
        """Click an element at a share of its width and height."""
        x, y = self.run(
            "const e = document.querySelector(arguments[0]); e.scrollIntoView({block: 'center'});"
            "const b = e.getBoundingClientRect();"
            "return [b.left + arguments[1] * b.width, b.top + arguments[2] * b.height];",
            selector,
            *at,
        )
        steps = [
            {"type": "pointerMove", "x": round(x), "y": round(y), "duration": 0},
            {"type": "pointerDown", "button": 0},
            {"type": "pointerUp", "button": 0},
        ]
        mouse = {"type": "pointer", "id": "mouse", "actions": steps}
        self._of_session("/actions", actions=[mouse])

    def accessibility_faults(self) -> list[str]:
        """What axe-core finds wrong with the page as it is now, a line for each element.

        It takes the ground for white where the page gives no colour.
        """
        axe = resources.files("axe_core_python").joinpath("axe.min.js").read_text("utf-8")
        found = self.run(axe + ";return axe.run({resultTypes: ['violations']})")
        return [
            f"{fault['id']}: {fault['help']}: {node['target'][0]}: {node['failureSummary']}"
            for fault in found["violations"]
            for node in fault["nodes"]
        ]

    def wide(self) -> list[str]:
        """Elements beyond the right edge of the screen, but for what a `.scroll` scrolls.

        A drawing is one element: it cuts what lies outside of it.
        """
        found: list[str] = self.run(
            "const cut = e => e.ownerSVGElement || e.closest('.scroll') && !e.matches('.scroll');"
            "const edge = document.documentElement.clientWidth + 1;"
            "return [...document.querySelectorAll('body *')]"
            ".filter(e => !cut(e) && e.getBoundingClientRect().right > edge)"
            ".map(e => `${e.tagName}#${e.id}.${e.className}`)"
        )
        return found

    def small_targets(self, least_px: float = 44) -> list[str]:
        """Buttons, links, fields that are seen and are too small for a finger."""
        found: list[str] = self.run(
            "return [...document.querySelectorAll('button, select, input, summary, [role=button]')]"
            ".map(e => [e, e.getBoundingClientRect()])"
            ".filter(([e, b]) => b.width && (b.width < arguments[0] || b.height < arguments[0]))"
            ".map(([e, b]) => `${e.tagName}#${e.id}: ${b.width} x ${b.height} px`)",
            least_px,
        )
        return found

    def screenshot(self, path: Path) -> None:
        """Write what the screen shows as PNG."""
        path.write_bytes(base64.b64decode(self._of_session("/screenshot", method="GET")))

    def _devtools(self, command: str, **values: Any) -> Any:
        return self._of_session("/goog/cdp/execute", cmd=command, params=values)

    def _of_session(self, path: str, method: str = "POST", **body: Any) -> Any:
        return self._send(method, self._session + path, body if method == "POST" else None)

    def _send(self, method: str, path: str, body: Any = None) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE_S)
        try:
            connection.request(method, path, None if body is None else json.dumps(body))
            answer = connection.getresponse()
            value = json.loads(answer.read())["value"]
            assert answer.status == 200, value
            return value
        finally:
            connection.close()
