"""The page as one HTML document, and the policy under which a browser runs it."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib import resources


def _part(ending: str) -> str:
    return resources.files("fgaf.model.live").joinpath(f"page.{ending}").read_text("utf-8")


@cache
def document() -> bytes:
    """The page with its style and its script inside."""
    page = _part("html").replace("<style></style>", f"<style>{_part('css')}</style>")
    return page.replace("<script></script>", f"<script>{_part('js')}</script>").encode()


@cache
def policy() -> str:
    """Content-Security-Policy: only the page's own script and style, known by their checksums."""

    def own(ending: str) -> str:
        digest = hashlib.sha256(_part(ending).encode()).digest()
        return f"'sha256-{base64.b64encode(digest).decode()}'"

    return "; ".join(
        [
            "default-src 'none'",
            f"script-src {own('js')}",
            f"style-src {own('css')}",
            "img-src data:",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        ]
    )
