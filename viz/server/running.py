"""What the server does besides answering: before the first visitor comes, and all the while."""

import asyncio
import gc
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import streamlit as st
from starlette.middleware import Middleware

from model.errors import WorkRefused
from viz.server.class_mode import MODE
from viz.server.headers import SecurityHeaders
from viz.server.logs import OncePerMinute, log_event, start_log
from viz.server.queue import QUEUE
from viz.server.script_gate import guard_scripts
from viz.server.sessions import NewcomersWait, Sweeper, raise_descriptor_limit
from viz.server.uploads import UploadLimits, watched_uploads

MIDDLEWARE = [Middleware(SecurityHeaders), Middleware(NewcomersWait), Middleware(UploadLimits)]
"""What each request passes through, the outermost first."""


@asynccontextmanager
async def running(_: object) -> AsyncIterator[None]:
    """Prepare the process, and sweep until the server ends."""
    if MODE.name == "class":
        start_log()
    logging.getLogger("asyncio").addFilter(OncePerMinute())
    limit = raise_descriptor_limit()
    watched_uploads()
    guard_scripts()
    # What was imported lives for ever: no collection has to walk through it again.
    gc.collect()
    gc.freeze()
    log_event("server started", mode=MODE.name, workers=QUEUE.workers, descriptors=limit)
    sweeping = asyncio.create_task(Sweeper().sweep_for_ever())
    try:
        yield
    finally:
        sweeping.cancel()
        with suppress(asyncio.CancelledError):
            await sweeping


def explain_error(error: Exception) -> bool:
    """Show on the page why work was refused, wherever on the page it was asked for."""
    if not isinstance(error, WorkRefused):
        return False
    st.error(str(error), icon=":material/error:")
    return True
