"""Sessions: how many this process can hold, and what is freed when they have gone.

A session takes a connection and a few descriptors. Where the table of descriptors is nearly full, a
newcomer gets a sentence, and those who are there go on undisturbed.
"""

import asyncio
import ctypes
import gc
import os
import sys
import time

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from streamlit import runtime
from streamlit.runtime import Runtime

from viz.server.budget import BUDGET
from viz.server.logs import log_rarely
from viz.server.uploads import watched_uploads

if sys.platform != "win32":
    import resource

AWAY_SECONDS = 20.0
"""After this time without a connection a session is forgotten: the tab is closed for good."""
SWEEP_SECONDS = 5.0
UNUSED_SECONDS = 3600.0
"""After this time without use a result or a photo is let go; where nobody is here, at once."""
RESERVE = 100
"""Descriptors that newcomers leave free, for requests and files of those who are there."""
MOST_DESCRIPTORS = 65_536
FULL = "Everybody who fits into this server is here. Please try again in a minute.\n"


def raise_descriptor_limit() -> int:
    """Raise the limit of open files and connections as far as the system allows; return it."""
    if sys.platform == "win32":
        return 512
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MOST_DESCRIPTORS)
    if soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return max(soft, most)


def descriptor_limit() -> int:
    """Return the limit of open files and connections as it is."""
    if sys.platform == "win32":
        return 512
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def descriptors() -> int:
    """Count the open files and connections; 0 where the system does not tell."""
    for folder in ("/proc/self/fd", "/dev/fd"):
        try:
            return len(os.listdir(folder))
        except OSError:
            continue
    return 0


def session_ids(server: Runtime) -> tuple[set[str], set[str]]:
    """List the sessions that are connected, and those that are away."""
    connected = {each.session.id for each in server._session_mgr.list_active_sessions()}
    known = {each.session.id for each in server._session_mgr.list_sessions()}
    return connected, known - connected


class NewcomersWait:
    """ASGI middleware that answers a newcomer with a sentence while there is no place."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, unless it opens the page or a connection and there is no place."""
        newcomer = scope["type"] == "websocket" or scope.get("path") == "/"
        if not newcomer or descriptors() < descriptor_limit() - RESERVE:
            await self.app(scope, receive, send)
            return
        log_rarely("server full", limit=descriptor_limit())
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1013, "reason": FULL.strip()})
            return
        await PlainTextResponse(FULL, 503, {"Retry-After": "60"})(scope, receive, send)


class Sweeper:
    """Forgets sessions that stay away, what nobody uses any longer, and gives memory back."""

    def __init__(self, away_seconds: float = AWAY_SECONDS) -> None:
        self.away_seconds = away_seconds
        self._left: dict[str, float] = {}
        self._owes_memory = False

    async def sweep_for_ever(self) -> None:
        """Sweep every few seconds."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            self.sweep(runtime.get_instance(), time.monotonic())

    def sweep(self, server: Runtime, now: float) -> None:
        """Sweep once; in the thread of the server's loop."""
        connected, away = session_ids(server)
        self._left = {session: self._left.get(session, now) for session in away}
        gone = [session for session, left in self._left.items() if now - left > self.away_seconds]
        for session in gone:
            server.close_session(session)
            del self._left[session]
        watched_uploads().drop_unread([*connected, *self._left], now)
        somebody = connected or self._left
        if BUDGET.let_go_unused(UNUSED_SECONDS if somebody else 0) or gone:
            self._owes_memory = True
        elif self._owes_memory:
            self._owes_memory = False
            give_memory_back()


def give_memory_back() -> None:
    """Collect circles of objects, and let the system have what the allocator keeps for itself."""
    gc.collect()
    if sys.platform == "linux":
        try:
            ctypes.CDLL("libc.so.6").malloc_trim(0)
        except (OSError, AttributeError):  # another C library
            return
