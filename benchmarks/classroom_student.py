"""One student of the class: a websocket and requests, as a browser tab has them."""

from __future__ import annotations

import asyncio
import io
import json
import random
import re
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.parse import urlencode, urlsplit

import websockets
from PIL import Image
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.Common_pb2 import FileURLs
from streamlit.proto.Element_pb2 import Element
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.proto.WidgetStates_pb2 import WidgetState

from benchmarks.classroom_recording import Event, Recording

PATIENCE = 120  # seconds
LARGEST = 2**28
KEY = re.compile(rb'"key":\s*"([A-Za-z0-9_-]{20,})"')


class Lost(RuntimeError):
    """The server broke the connection off, or did not answer."""


class Requests:
    """HTTP/1.1 over one connection that stays open, with cookies."""

    def __init__(self, address: str) -> None:
        parts = urlsplit(address)
        self.host, self.port = parts.hostname or "", parts.port or 80
        self.cookies: dict[str, str] = {}
        self._lock = asyncio.Lock()
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(
        self, method: str, path: str, headers: dict[str, str] | None = None, body: bytes = b""
    ) -> tuple[int, bytes, dict[str, str]]:
        """Ask once; return status, body and headers. Raises Lost."""
        async with self._lock:
            try:
                fresh = self._streams is None
                try:
                    return await asyncio.wait_for(
                        self._ask(method, path, headers or {}, body), PATIENCE
                    )
                except (OSError, EOFError, ValueError, IndexError):
                    self.close()
                    if fresh:
                        raise
                    return await asyncio.wait_for(
                        self._ask(method, path, headers or {}, body), PATIENCE
                    )
            except (OSError, EOFError, ValueError, IndexError) as error:
                self.close()
                raise Lost(f"{method} {path}: {error!r}") from error

    async def _ask(
        self, method: str, path: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, bytes, dict[str, str]]:
        if self._streams is None:
            self._streams = await asyncio.open_connection(self.host, self.port, limit=LARGEST)
        reader, writer = self._streams
        lines = {"Host": f"{self.host}:{self.port}", "Content-Length": str(len(body))} | headers
        if self.cookies:
            lines["Cookie"] = "; ".join(f"{k}={v}" for k, v in self.cookies.items())
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        writer.write(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + body)
        with suppress(ConnectionError):  # it may have answered before it read everything
            await writer.drain()
        status = int((await reader.readuntil(b"\r\n")).split()[1])
        answered: dict[str, str] = {}
        while (line := (await reader.readuntil(b"\r\n")).strip()) != b"":
            name, _, value = line.decode("latin-1").partition(":")
            answered[name.lower()] = value.strip()
            if name.lower() == "set-cookie":
                cookie, _, text = value.strip().partition(";")[0].partition("=")
                self.cookies[cookie] = text
        return status, await self._body(reader, status, answered), answered

    async def _body(
        self, reader: asyncio.StreamReader, status: int, headers: dict[str, str]
    ) -> bytes:
        if headers.get("transfer-encoding") == "chunked":
            parts = []
            while size := int((await reader.readuntil(b"\r\n")).strip(), 16):
                parts.append(await reader.readexactly(size))
                await reader.readexactly(2)
            await reader.readexactly(2)
            body = b"".join(parts)
        elif status in (204, 304):
            body = b""
        else:
            body = await reader.readexactly(int(headers["content-length"]))
        if headers.get("connection", "").lower() == "close":
            self.close()
        return body

    def close(self) -> None:
        """Close the connection."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


@dataclass
class Outcome:
    """What an action took; ``stayed``: the browser drew it without the server."""

    kind: str
    seconds: float
    bytes: int
    stayed: bool


@dataclass
class Student:
    """Somebody who has the app open in a tab."""

    address: str
    recording: Recording
    photo: bytes = b""
    requests: Requests = field(init=False)
    query: str = ""
    session: str = ""
    widgets: dict[str, WidgetState] = field(default_factory=dict)
    kept: set[str] = field(default_factory=set)
    key: str = ""
    explorer: dict = field(default_factory=dict)
    layers: set[int] = field(default_factory=set)
    received: int = 0
    widget_ids: dict[str, str] = field(default_factory=dict)
    on_blob: Callable[[bytes], None] = lambda blob: None
    """Called with each payload and each answer."""
    own_file: FileURLs | None = None

    def __post_init__(self) -> None:
        self.requests = Requests(self.address)
        self._socket: websockets.ClientConnection | None = None
        self._finished = 0
        self._changed = asyncio.Condition()
        self._urls: dict[str, ForwardMsg] = {}
        self._reader: asyncio.Task | None = None
        self._last: BackMsg | None = None

    # -- the tab ----------------------------------------------------------------------------------

    async def open(self, query: str = "") -> Outcome:
        """Open the page, as a browser that has the scripts and styles already."""
        began, received = time.monotonic(), self.received
        await self.requests.ask("GET", f"/{query}")
        await self.requests.ask("GET", "/_stcore/health")
        await self.requests.ask("GET", "/_stcore/host-config")
        await self.connect()
        await self.replay(self.recording.first, query.removeprefix("?"))
        return Outcome("open", time.monotonic() - began, self.received - received, False)

    async def leave(self) -> None:
        """Close the tab."""
        if self._reader is not None:
            self._reader.cancel()
        if self._socket is not None:
            await self._socket.close()
        self.requests.close()

    @property
    def is_cut_off(self) -> bool:
        """Whether the connection has ended."""
        return self._reader is None or self._reader.done()

    async def come_back(self) -> Outcome:
        """Connect anew after the server has gone, as Streamlit's page does: at the address."""
        await self.leave()
        self.widgets, self.kept, self.layers = {}, set(), set()
        return await self.open(f"?{self.query}" if self.query else "")

    async def act(self, kind: str, variant: int | None = None) -> Outcome:
        """Do something as the browser did it, and wait until it was answered. Raises Lost."""
        variants = self.recording.actions[kind]
        events = random.choice(variants) if variant is None else variants[variant]
        began, received = time.monotonic(), self.received
        stayed = not await self.replay(events)
        return Outcome(kind, time.monotonic() - began, self.received - received, stayed)

    # -- the wire ---------------------------------------------------------------------------------

    async def connect(self) -> None:
        """Open the websocket. Raises Lost."""
        cookies = "; ".join(f"{k}={v}" for k, v in self.requests.cookies.items())
        xsrf = self.requests.cookies.get("_streamlit_xsrf", "unset")
        try:
            self._socket = await websockets.connect(
                self.address.replace("http", "ws", 1) + "/_stcore/stream",
                subprotocols=[websockets.Subprotocol("streamlit"), websockets.Subprotocol(xsrf)],
                additional_headers={"Cookie": cookies} if cookies else {},
                origin=websockets.Origin(self.address),
                max_size=LARGEST,
                compression=None,
                open_timeout=PATIENCE,
                ping_interval=None,
            )
        except (OSError, websockets.WebSocketException) as error:
            raise Lost(f"no websocket: {error!r}") from error
        self._reader = asyncio.create_task(self._read(self._socket))

    async def _read(self, socket: websockets.ClientConnection) -> None:
        try:
            async for frame in socket:
                assert isinstance(frame, bytes)
                self.received += len(frame)
                await self._take(frame)
        except websockets.WebSocketException:
            pass
        async with self._changed:
            self._changed.notify_all()

    async def _take(self, frame: bytes) -> None:
        message = ForwardMsg()
        message.ParseFromString(frame)
        kind = message.WhichOneof("type")
        if kind == "new_session":
            self.session = message.new_session.initialize.session_id or self.session
        elif kind == "page_info_changed":  # as the app had it before its own history
            self.query = message.page_info_changed.query_string
        elif kind == "delta":
            self._take_delta(message)
        elif kind in ("script_finished", "file_urls_response"):
            async with self._changed:
                if kind == "script_finished":
                    self._finished += 1
                else:
                    self._urls[message.file_urls_response.response_id] = message
                self._changed.notify_all()

    def _take_delta(self, message: ForwardMsg) -> None:
        element = message.delta.new_element
        self._note_widget(element)
        if element.WhichOneof("type") != "bidi_component":
            return
        blob = element.bidi_component.bytes
        self.on_blob(blob)
        if element.bidi_component.component_name.endswith("saccade_address"):
            self.query = urlencode(header_of(blob).get("params", {}))
        if found := KEY.search(blob):
            self.key = found[1].decode()
        if not self.explorer or b'"revision"' in blob[:8192]:
            header = header_of(blob)
            if "revision" in header and "image" in header:
                if header["image"] != self.explorer.get("image"):
                    self.layers = set()
                self.explorer = header
                if "layer" in header:
                    self.layers.add(header["layer"])

    def _note_widget(self, element: Element) -> None:
        """Keep the id of a widget, by its key."""
        kind = element.WhichOneof("type")
        widget = getattr(getattr(element, kind or "", None), "id", "")
        if isinstance(widget, str) and widget.startswith("$$ID-"):
            self.widget_ids[widget.split("-", 2)[2]] = widget

    async def _wait(self, done: object) -> None:
        try:
            async with asyncio.timeout(PATIENCE), self._changed:
                while not done():  # type: ignore[operator]
                    if self._reader is None or self._reader.done():
                        raise Lost("the websocket was closed")
                    await self._changed.wait()
        except TimeoutError as error:
            raise Lost(f"no answer within {PATIENCE} s") from error

    async def _send(self, message: BackMsg) -> None:
        assert self._socket is not None
        try:
            await self._socket.send(message.SerializeToString())
        except websockets.WebSocketException as error:
            raise Lost(f"the websocket was closed: {error!r}") from error

    async def settle(self, quiet: float = 1.5) -> None:
        """Wait until no run of the script has ended for a while."""
        while True:
            before = self._finished
            await asyncio.sleep(quiet)
            if self._finished == before:
                return

    # -- replaying --------------------------------------------------------------------------------

    async def replay(self, events: list[Event], query: str | None = None) -> bool:
        """Send what the browser sent; return whether the picture had to wait for the server.

        A report of the view, which follows what is drawn already, is no such thing.
        """
        needed, awaited = False, self._finished
        for event in events:
            if event.kind == "finished":
                await self._wait(lambda awaited=awaited: self._finished >= awaited)
            elif event.kind == "message":
                assert event.message is not None
                needed = True
                if event.message.WhichOneof("type") == "file_urls_request":
                    await self.upload()
                else:
                    awaited = self._finished + 1
                    await self._send(self._own(event.message, query))
            elif "upload_file" not in event.path:
                needed = await self._request(event) or needed
        return needed

    async def _request(self, event: Event) -> bool:
        """Ask what the browser asked, unless it has the answer; say whether it waits for it."""
        if event.path in self.kept:
            return False
        headers = {"X-Saccade-Key": self.key} if self.key else {}
        status, body, answered = await self.requests.ask(
            event.method, event.path, headers, event.body
        )
        self.received += len(body)
        self.on_blob(body)
        if "immutable" in answered.get("cache-control", ""):
            self.kept.add(event.path)
        if status >= 500:
            raise Lost(f"{event.path}: {status}")
        return event.method == "GET"

    def _own(self, message: BackMsg, query: str | None) -> BackMsg:
        """Turn a recorded message into the same of this student: its widgets, its address."""
        own = BackMsg()
        own.CopyFrom(message)
        state = own.rerun_script
        last = self._last.rerun_script.widget_states.widgets if self._last else ()
        before = {widget.id: widget for widget in last}
        for widget in state.widget_states.widgets:
            if widget.id not in self.widgets or before.get(widget.id) != widget:
                self.widgets[widget.id] = WidgetState()
                self.widgets[widget.id].CopyFrom(widget)
        self._last = message
        del state.widget_states.widgets[:]
        state.widget_states.widgets.extend(map(self._patched, self.widgets.values()))
        state.query_string = self.query if query is None else query
        return own

    def _patched(self, widget: WidgetState) -> WidgetState:
        """Put the student's own uploads and picture into a widget's state."""
        if widget.HasField("file_uploader_state_value") and self.own_file is not None:
            files = widget.file_uploader_state_value.uploaded_file_info
            if len(files) and files[0].file_id != self.own_file.file_id:
                files[0].name, files[0].size = "photo.jpg", len(self.photo)
                files[0].file_id = self.own_file.file_id
                files[0].file_urls.CopyFrom(self.own_file)
        if widget.HasField("json_value") and '"revision"' in widget.json_value:
            value = json.loads(widget.json_value)
            view = value.get("view")
            if isinstance(view, dict) and "revision" in view:
                view["revision"] = self.explorer.get("revision", 0)
                if "has" in view:
                    image = self.explorer.get("image")
                    view["has"] = {"image": image, "layers": sorted(self.layers)}
                widget.json_value = json.dumps(value)
        return widget

    async def upload(self) -> None:
        """Ask where to upload, and do it."""
        request = BackMsg()
        request.file_urls_request.request_id = str(uuid.uuid4())
        request.file_urls_request.file_names.append("photo.jpg")
        request.file_urls_request.session_id = self.session
        await self._send(request)
        name = request.file_urls_request.request_id
        await self._wait(lambda: name in self._urls)
        self.own_file = self._urls.pop(name).file_urls_response.file_urls[0]
        status = await self.put(self.own_file.upload_url, self.photo)
        if status != 204:
            raise Lost(f"the upload was answered {status}")

    async def put(self, path: str, data: bytes) -> int:
        """Upload a file to a path; return the status."""
        border = uuid.uuid4().hex
        head = (
            f'--{border}\r\nContent-Disposition: form-data; name="file"; filename="photo.jpg"\r\n'
            "Content-Type: image/jpeg\r\n\r\n"
        )
        headers = {
            "Content-Type": f"multipart/form-data; boundary={border}",
            "X-Xsrftoken": self.requests.cookies.get("_streamlit_xsrf", ""),
        }
        body = head.encode() + data + f"\r\n--{border}--\r\n".encode()
        return (await self.requests.ask("PUT", path, headers, body))[0]


def photo_of(number: int, size: tuple[int, int] = (1600, 1200)) -> bytes:
    """Draw a photo that no other student has."""
    noise = Image.effect_noise((size[0] // 8, size[1] // 8), 60).resize(size)
    colour = Image.new("L", size, number * 37 % 256)
    file = io.BytesIO()
    Image.merge("RGB", (noise, colour, noise)).save(file, "JPEG", quality=85)
    return file.getvalue()


def header_of(blob: bytes) -> dict:
    """Read the JSON header of a component's payload; empty where it is none."""
    size = int.from_bytes(blob[:4], "little")
    try:
        return json.loads(blob[4 : 4 + size])
    except ValueError:
        return {}
