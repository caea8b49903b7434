"""The headers of every answer, which tell the browser what the page may do."""

import re
from base64 import b64encode
from hashlib import sha256
from pathlib import Path

import streamlit
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from viz.server.class_mode import MODE


def inline_scripts(page: str) -> list[str]:
    """Write the hashes of a page's inline scripts, as a policy names them.

    >>> inline_scripts('<script src="main.js"></script><script>1 + 2</script>')
    ["'sha256-YhJwLHoNaPALiyO1rs/KYxqWwg0srXjNh0YRrIfNvOE='"]
    """
    texts = re.findall(r"<script(?![^>]*\bsrc=)[^>]*>(.*?)</script>", page, re.DOTALL)
    hashes = (b64encode(sha256(text.encode()).digest()).decode() for text in texts)
    return [f"'sha256-{each}'" for each in hashes]


_PAGE = Path(streamlit.__file__).parent / "static" / "index.html"
_OWN_SCRIPTS = inline_scripts(_PAGE.read_text(encoding="utf-8")) if _PAGE.is_file() else []

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'self'",
        # Components come as blobs. Compiling WebAssembly is Streamlit's own need, as are the
        # scripts inside its page, which are named one by one.
        " ".join(("script-src 'self' blob: 'wasm-unsafe-eval'", *_OWN_SCRIPTS)),
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "media-src 'self' blob:",
        "font-src 'self' data:",
        "connect-src 'self' blob: data:",
        "worker-src 'self' blob:",
        "object-src 'none'",
        "base-uri 'self'",
        "form-action 'self'",
        "frame-ancestors 'self'",
    )
)


def permissions_policy(camera: bool) -> str:
    """Write what a page may ask its user for: the camera, or nothing.

    >>> permissions_policy(camera=True)
    'camera=(self), microphone=(), geolocation=()'
    """
    return f"camera=({'self' if camera else ''}), microphone=(), geolocation=()"


HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
    "Referrer-Policy": "same-origin",
    "Permissions-Policy": permissions_policy(MODE.camera),
    "Cross-Origin-Opener-Policy": "same-origin",
}


class SecurityHeaders:
    """ASGI middleware that adds `HEADERS` to each answer which has not set its own."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and complete the headers of its answer."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self.app(scope, receive, send_with_headers)
