"""The app under load: one process, or several behind HAProxy, and what they take.

`python -m benchmarks.classroom_server --replicas 3` runs the topology of `deploy/` on the loopback
address, from this checkout, until it is interrupted.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

HAPROXY = shutil.which("haproxy", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
SECONDS_TO_START = 90


@dataclass
class App:
    """One process of the app."""

    address: str
    process: subprocess.Popen[bytes]

    @property
    def mebibytes(self) -> float:
        """Memory that it has in RAM."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
        return int(line.split()[1]) / 1024

    @property
    def descriptors(self) -> int:
        """Files and connections that it has open."""
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    @property
    def processor_seconds(self) -> float:
        """Time that all its threads have computed, to a hundredth of a second."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def kill(self) -> None:
        """End it at once, as a crash does."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


def free_port() -> int:
    """Find a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def serve(root: Path, port: int | None = None, mode: str = "class") -> Iterator[App]:
    """Run the app of a checkout with `streamlit run`, on the loopback address."""
    port = port or free_port()
    command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.headless", "true"]
    command += ["--server.port", str(port), "--server.address", "127.0.0.1"]
    environment = {**os.environ, "SACCADE_MODE": mode}
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            command, cwd=root, env=environment, stdout=log, stderr=subprocess.STDOUT
        )
        app = App(f"http://127.0.0.1:{port}", process)
        try:
            wait_for(app.address + "/_stcore/health", process)
            yield app
        finally:
            process.kill()
            process.wait()


def wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    """Wait until an address answers."""
    end = time.monotonic() + SECONDS_TO_START
    while time.monotonic() < end:
        if process.poll() is not None:
            raise RuntimeError(f"The process that serves {url} ended while it started.")
        try:
            with urllib.request.urlopen(url, timeout=1):
                return
        except OSError:
            time.sleep(0.1)
    raise TimeoutError(f"{url} did not answer within {SECONDS_TO_START} seconds.")


@contextmanager
def serve_replicas(root: Path, count: int, config: Path) -> Iterator[tuple[str, list[App]]]:
    """Run several processes of the app behind HAProxy; yield its address and the processes."""
    if HAPROXY is None:
        raise RuntimeError("There is no HAProxy on this machine: apt install haproxy.")
    with ExitStack() as stack:
        apps = [stack.enter_context(serve(root)) for _ in range(count)]
        address, process = stack.enter_context(proxy(config, [app.address for app in apps]))
        wait_for(f"{address}/_stcore/health", process)
        yield address, apps


@contextmanager
def proxy(config: Path, apps: list[str]) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Run HAProxy with the deployment's own file, its servers and its port replaced."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "haproxy.cfg"
        path.write_text(localised(config.read_text(encoding="utf-8"), port, apps))
        process = subprocess.Popen(
            [str(HAPROXY), "-f", str(path), "-db"],
            env={**os.environ, "COOKIE_KEY": "measured"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            yield f"http://127.0.0.1:{port}", process
        finally:
            process.kill()
            process.wait()


def localised(config: str, port: int, apps: list[str]) -> str:
    """Put this machine's port and addresses into a HAProxy file, and change nothing else."""
    lines, servers = [], 0
    for line in config.splitlines():
        words = line.split()
        if words[:1] == ["bind"]:
            line = f"    bind 127.0.0.1:{port}"
        elif words[:1] == ["server-template"]:
            rest = line.partition(words[3])[2].partition(" resolvers ")[0]
            for number, app in enumerate(apps, 1):
                lines.append(f"    server {words[1]}{number} {app.removeprefix('http://')}{rest}")
            servers += 1
            continue
        lines.append(line)
    assert servers == 1, "the file has one server-template"
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run the processes and the proxy, and say where they are."""
    parser = argparse.ArgumentParser(description="Run several processes of the app behind HAProxy.")
    parser.add_argument("--replicas", type=int, default=3)
    root = Path(__file__).parents[1]
    given = parser.parse_args()
    with serve_replicas(root, given.replicas, root / "deploy/haproxy.cfg") as (address, apps):
        print(f"The proxy: {address}", *(f"A process: {app.address}" for app in apps), sep="\n")
        signal.sigwait({signal.SIGINT, signal.SIGTERM})


if __name__ == "__main__":
    main()
