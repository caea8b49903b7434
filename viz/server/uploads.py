"""Uploads: which are taken, how large they may be, and when their bytes are let go.

Streamlit hands out an address for each file that an upload field asks for, and takes what is sent
there. Here the file's size is checked by its field's limit before it is read, one session cannot
fill the server, a file that no field reads is dropped, and a field that has used a file's bytes
gives them back.
"""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from inspect import signature
from pathlib import PurePath
from typing import Any

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from streamlit import runtime
from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager
from streamlit.runtime.scriptrunner import get_script_run_ctx
from streamlit.runtime.uploaded_file_manager import UploadedFileRec

from model.images import ENDINGS
from model.video.limits import VIDEO_ENDINGS
from viz.server.budget import BUDGET
from viz.server.class_mode import MODE, Mode
from viz.server.logs import log_rarely

PATH = "/_stcore/upload_file/"
UNREAD_SECONDS = 60.0
"""A file that no field has read after this time is dropped."""
THROWN_AWAY_BYTES = 500_000_000
"""Of a refused file's body; the connection of a larger one is closed at once."""
FRAME_BYTES = 10_000
"""What the form around a file may add to the length of a request."""


@dataclass
class Issued:
    """An address that was handed out: for which ending, and when; whether a field read the file."""

    ending: str
    when: float = field(default_factory=time.monotonic)
    is_read: bool = False


class Uploads:
    """The addresses that were handed out, and the rules for what is sent there.

    Args:
        manager: Streamlit's store of uploaded files, which is watched.
        mode: has the sizes.
    """

    def __init__(self, manager: MemoryUploadedFileManager, mode: Mode = MODE) -> None:
        self.manager, self.mode = manager, mode
        self.refused: dict[str, int] = {}
        self._issued: dict[tuple[str, str], Issued] = {}
        self._lock = threading.Lock()
        # The one instance of this server, whose class others may use.
        self._watch("get_upload_urls", self._note_issued)
        self._watch("get_files", self._note_read)

    @property
    def nbytes(self) -> int:
        """Bytes of all files that are kept."""
        files = [list(files.values()) for files in list(self.manager.file_storage.values())]
        return sum(len(file.data) for of_session in files for file in of_session)

    def why_refused(self, session: str, file_id: str, count: int | None) -> tuple[int, str] | None:
        """Say why a file of so many bytes is not taken: a status and a sentence; None: it is."""
        with self._lock:
            issued = self._issued.get((session, file_id))
        if issued is None:
            return self._refuse("not asked for", 403, "No field of a page asked for this file.")
        if count is None:
            return self._refuse("no length", 411, "Send the length of the file.")
        most = self._most_megabytes(issued.ending)
        if count > most * 2**20 + FRAME_BYTES:
            sentence = f"The file is too large: this field takes files of up to {most} MB."
            return self._refuse("too large", 413, sentence)
        held = sum(len(file.data) for file in self._files(session))
        if held + count > self.mode.session_megabytes * 10**6:
            sentence = "You have too many files here. Remove some, or reload the page."
            return self._refuse("session full", 413, sentence)
        if count > BUDGET.free:
            return self._refuse("server full", 503, "The server is full. Try again in a minute.")
        return None

    def let_go(self, session: str, file_id: str) -> None:
        """Forget a file's bytes, whose field keeps showing its name."""
        for file in self._files(session):
            if file.file_id == file_id and file.data:
                self.manager.add_file(session, file._replace(data=b""))

    def drop_unread(self, sessions: Sequence[str], now: float | None = None) -> None:
        """Drop what no field reads, and whatever belongs to a session that is no more."""
        now = time.monotonic() if now is None else now
        with self._lock:
            unread = [
                place
                for place, issued in self._issued.items()
                if not issued.is_read and now - issued.when > UNREAD_SECONDS
            ]
            gone = [place for place in self._issued if place[0] not in sessions]
            for place in {*unread, *gone}:
                del self._issued[place]
        for session, file_id in unread:
            self.manager.remove_file(session, file_id)
        for session in [name for name in self.manager.file_storage if name not in sessions]:
            self.manager.remove_session_files(session)

    def _files(self, session: str) -> list[UploadedFileRec]:
        return list(self.manager.file_storage.get(session, {}).values())

    def _most_megabytes(self, ending: str) -> int:
        if ending in VIDEO_ENDINGS:
            return self.mode.video_megabytes if self.mode.video else self.mode.photo_megabytes
        pictures_only = ending in ENDINGS or not self.mode.own_weights
        return self.mode.photo_megabytes if pictures_only else self.mode.weights_megabytes

    def _refuse(self, reason: str, status: int, sentence: str) -> tuple[int, str]:
        self.refused[reason] = self.refused.get(reason, 0) + 1
        log_rarely("upload refused", reason=reason)
        return status, sentence

    def _watch(self, name: str, note: Callable[[str, Any, Any], None]) -> None:
        method = getattr(self.manager, name)
        names = list(signature(method).parameters)

        def watched(*args: Any, **kwargs: Any) -> Any:
            result = method(*args, **kwargs)
            session, asked = (dict(zip(names, args, strict=False)) | kwargs).values()
            note(session, asked, result)
            return result

        setattr(self.manager, name, watched)

    def _note_issued(self, session: str, names: Sequence[str], urls: Sequence[Any]) -> None:
        with self._lock:
            for name, url in zip(names, urls, strict=True):
                ending = PurePath(name).suffix.lower().removeprefix(".")
                self._issued[session, url.file_id] = Issued(ending)

    def _note_read(self, session: str, file_ids: Sequence[str], _: object) -> None:
        with self._lock:
            for file_id in file_ids:
                if issued := self._issued.get((session, file_id)):
                    issued.is_read = True


class UploadLimits:
    """ASGI middleware that refuses an upload before anything of its body is kept."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer why its file is not taken."""
        path = scope.get("path", "")
        if scope["type"] == "http" and scope["method"] == "PUT" and path.startswith(PATH):
            session, _, file_id = path.removeprefix(PATH).partition("/")
            length = _length(scope)
            why = watched_uploads().why_refused(session, file_id, length)
            if why is not None:
                status, sentence = why
                if length is not None and length <= THROWN_AWAY_BYTES:
                    await _throw_away(receive)  # a browser hears an answer only once it has sent
                headers = {"Connection": "close"}
                await JSONResponse({"error": sentence}, status, headers)(scope, receive, send)
                return
        await self.app(scope, receive, send)


async def _throw_away(receive: Receive) -> None:
    """Read a body and keep nothing of it."""
    more = True
    while more:
        message = await receive()
        more = message["type"] == "http.request" and message.get("more_body", False)


def _length(scope: Scope) -> int | None:
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            return int(value)
    return None


_watched: list[Uploads] = []


def watched_uploads() -> Uploads:
    """Return the uploads of the running server, and watch them from the first call on."""
    manager = runtime.get_instance().uploaded_file_mgr
    if not _watched or _watched[0].manager is not manager:
        assert isinstance(manager, MemoryUploadedFileManager), "Streamlit's only one"
        _watched[:] = [Uploads(manager)]
        BUDGET.count_also("uploads", lambda: _watched[0].nbytes)
    return _watched[0]


def let_go(file_id: str) -> None:
    """Forget the bytes of a file that this session's page has used; without a server, nothing."""
    context = get_script_run_ctx(suppress_warning=True)
    if context is not None and _watched:
        _watched[0].let_go(context.session_id, file_id)
