"""What a rerun costs in which nothing changed: `python -m benchmarks.reruns` prints a table.

A real websocket opens each page once, and then lets it run again and again as it is. Whatever such
a run still computes, reads or sends is work for nothing; processor time tells it best, since other
programs on the machine do not change it much.

    python -m benchmarks.reruns
    python -m benchmarks.reruns --root OTHER_CHECKOUT --pages explore captions
    python -m benchmarks.reruns --kinds          # which elements are sent anew, and their bytes
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import websockets
from streamlit.proto.AppPage_pb2 import AppPage
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

from benchmarks.classroom_server import App, serve

ROOT = Path(__file__).parents[1]
LARGEST = 2**28
PATIENCE = 120  # seconds


@dataclass
class Run:
    """One run of a page's script: what it took and what it sent."""

    seconds: float
    processor: float
    bytes: int = 0
    kinds: Counter[str] = field(default_factory=Counter)


class Tab:
    """A websocket that keeps what a browser keeps: messages that it has, and the list of pages."""

    def __init__(self, app: App, socket: websockets.ClientConnection) -> None:
        self.app, self.socket = app, socket
        self.kept: dict[str, ForwardMsg] = {}
        self.pages: dict[str, AppPage] = {}

    async def run(self, page: str = "") -> Run:
        """Let a page run once; the first page is the one that the server chooses."""
        message = BackMsg()
        state = message.rerun_script
        if page in self.pages:
            state.page_script_hash = self.pages[page].page_script_hash
        state.cached_message_hashes.extend(self.kept)
        result = Run(-time.perf_counter(), -self.app.processor_seconds)
        await self.socket.send(message.SerializeToString())
        while not await asyncio.wait_for(self._take(result), PATIENCE):
            pass
        result.seconds += time.perf_counter()
        result.processor += self.app.processor_seconds
        return result

    async def _take(self, result: Run) -> bool:
        """Take one message; say whether it ends the run."""
        frame = await self.socket.recv()
        assert isinstance(frame, bytes)
        message = ForwardMsg()
        message.ParseFromString(frame)
        kind = message.WhichOneof("type") or ""
        if message.metadata.cacheable and kind != "ref_hash":
            self.kept[message.hash] = message
        if kind == "navigation":
            for page in message.navigation.app_pages:
                name = "explore" if page.is_default else page.url_pathname
                self.pages[name] = page
        if kind == "delta":
            kind = message.delta.new_element.WhichOneof("type") or "block"
        result.bytes += len(frame)
        result.kinds[kind] += len(frame)
        return kind == "script_finished"


async def open_tab(app: App) -> Tab:
    """Connect to a server and open its first page."""
    socket = await websockets.connect(
        app.address.replace("http", "ws", 1) + "/_stcore/stream",
        subprotocols=[websockets.Subprotocol("streamlit"), websockets.Subprotocol("unset")],
        origin=websockets.Origin(app.address),
        max_size=LARGEST,
        compression=None,
        ping_interval=None,
    )
    tab = Tab(app, socket)
    await tab.run()
    return tab


async def measure(app: App, pages: list[str], times: int) -> dict[str, list[Run]]:
    """Open each page, and let it run again so many times."""
    tab = await open_tab(app)
    found = {}
    for page in pages or list(tab.pages):
        for _ in range(3):  # opening it, and what settles after that
            await tab.run(page)
        await asyncio.sleep(0.5)
        found[page] = [await tab.run(page) for _ in range(times)]
    await tab.socket.close()
    return found


def main() -> None:
    """Measure each page and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--root", type=Path, default=ROOT, help="the checkout to measure")
    parser.add_argument("--pages", nargs="*", default=[], help="as their addresses name them")
    parser.add_argument("--times", type=int, default=20, help="runs of each page")
    parser.add_argument("--kinds", action="store_true", help="print what is sent, by element")
    given = parser.parse_args()
    load = os.getloadavg()[0]
    with serve(given.root) as app:
        found = asyncio.run(measure(app, given.pages, given.times))
    print(f"Load before: {load:.1f} on {os.cpu_count()} cores; {given.times} runs of each page.\n")
    print("| page | median | processor time | sent |\n|---|---|---|---|")
    for page, runs in found.items():
        wall = statistics.median(run.seconds for run in runs)
        processor = statistics.mean(run.processor for run in runs)
        size = statistics.median(run.bytes for run in runs)
        times = f"{1000 * wall:,.0f} ms | {1000 * processor:,.1f} ms"
        print(f"| {page} | {times} | {size / 1000:,.1f} KB |")
        if given.kinds:
            for kind, count in runs[-1].kinds.most_common(6):
                print(f"|   {kind} | | | {count / 1000:,.1f} KB |")


if __name__ == "__main__":
    main()
