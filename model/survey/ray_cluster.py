"""Measure blocks of pictures on a Ray cluster, or on a Ray of this machine.

Ray Data reads and decodes the blocks, and a pool of actors, each with the model, measures them.
Ray gives the work of a lost process to another one. The states come back in any order, and merge
into the same state as on one machine.
"""

from __future__ import annotations

import pickle
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from typing import Any, TypeVar

from model.errors import SurveyError
from model.survey.block_measure import BlockMeasure, BlockState

Block = TypeVar("Block")
Prepared = TypeVar("Prepared")
State = TypeVar("State", bound=BlockState)
Row = dict[str, Any]
DECODING_CPUS = 0.25
"""Cores that Ray sets aside for a task that decodes."""
START_RAY = (
    "Start Ray there with ray start --head, of the same version as here, and give the address that "
    "it prints."
)
GIVE_TOKEN = (
    "Set RAY_AUTH_MODE=token, and have the token in ~/.ray/auth_token or in RAY_AUTH_TOKEN, as on "
    "the machine where Ray was started."
)
OURS = re.compile(rf"^{SurveyError.__module__}\.\w+: (.*)", re.MULTILINE)
"""A sentence of the project in a traceback."""
CONNECTING, ANSWERING = 10.0, 60.0
"""Seconds to wait until an address takes a connection, and until a Ray answers there."""


class Measurer:
    """An actor: it holds the model, and measures the blocks that it is given.

    Args:
        measure: what to measure.
    """

    def __init__(self, measure: BlockMeasure[Any, Any, Any]) -> None:
        self._measure = measure.start_measuring()

    def __call__(self, row: Row) -> Row:
        # Only what `read_row` wrote, in this same run, is ever read here.
        return {"state": pickle.dumps(self._measure(pickle.loads(row["prepared"])))}


def run_on_ray(
    measure: BlockMeasure[Block, Prepared, State],
    read: Callable[[int], Block],
    todo: Sequence[int],
    workers: int,
    address: str,
) -> Iterator[State]:
    """Measure blocks on Ray, and yield the state of each as it comes, in no order.

    Args:
        measure: what to measure.
        read: makes what `measure` takes of a block's number. All machines call it, so what it
            reads, and the pictures, lie at the same path there.
        todo: the blocks' numbers.
        workers: how many actors.
        address: of a cluster, or "" for a Ray of this machine that ends with the work.

    Raises:
        SurveyError: Ray is not installed, the address does not answer, or a worker has another
            version.
    """
    ray = _start_ray(address, workers * measure.fingerprint.threads)
    try:
        check_cores(ray.cluster_resources().get("CPU", 0), workers, measure.fingerprint.threads)
        data = import_module("ray.data")
        data.DataContext.get_current().enable_progress_bars = False
        prepare = measure.start_preparing()

        def read_row(row: Row) -> Row:
            return {"prepared": pickle.dumps(prepare(read(todo[row["id"]])))}

        rows = (
            data.range(len(todo), override_num_blocks=max(1, len(todo)))
            .map(read_row, num_cpus=DECODING_CPUS)
            .map(
                Measurer,
                fn_constructor_args=(measure,),
                compute=data.ActorPoolStrategy(size=workers),
                num_cpus=measure.fingerprint.threads,
                num_gpus=1 if measure.device == "cuda" else 0,
            )
        )
        for row in rows.iter_rows():
            yield pickle.loads(row["state"])  # what a Measurer of this run wrote
    except ray.exceptions.RayError as error:
        raise SurveyError(_explain(error)) from None
    finally:
        ray.shutdown()


def check_cores(cores: float, workers: int, threads: int) -> None:
    """Raise SurveyError where actors would take all cores: none would be left to read pictures."""
    if (most := int((cores - 1) // threads)) < workers:
        raise SurveyError(
            f"Ray has {cores:.0f} cores, of which one reads pictures. With --threads {threads}, "
            f"there is room for {max(most, 0)} workers and not for {workers}: it would wait for "
            "ever. Give a smaller --workers, or add machines."
        )


def _start_ray(address: str, cores: int) -> Any:
    """Start a Ray of this machine, with one core more, or connect to a cluster."""
    try:
        ray = import_module("ray")
        import_module("ray.data")
    except ImportError:
        raise SurveyError(
            'Ray is not installed. Install it with pip install ".[ray]", or leave --ray out.'
        ) from None
    if address:
        _check_answer(address)
    quiet = {"log_to_driver": False, "logging_level": "ERROR"}
    local = {"num_cpus": cores + 1, "address": "local", "include_dashboard": False}
    where = {"address": address} if address else local
    try:
        ray.init(**where, **quiet)
    except Exception as error:  # Ray raises just that where its processes start too slowly
        raise SurveyError(
            f"Ray does not start or answer ({error}). Start it with ray start --head and give its "
            "address, or leave the address out for a Ray of this machine."
        ) from None
    return ray


def _check_answer(address: str) -> None:
    """Raise SurveyError where no Ray answers within a minute; Ray itself would try for longer."""
    client = address.startswith("ray://")
    if address != "auto":
        _connect(address)
    if client:
        return  # the Ray Client has a deadline of its own
    given = [] if address == "auto" else ["--address", address]
    command = [sys.executable, "-m", "ray.scripts.scripts", "health-check", *given]
    try:
        subprocess.run(command, check=True, timeout=ANSWERING, capture_output=True)
        return
    except subprocess.TimeoutExpired:
        reason = f"within {ANSWERING:.0f} seconds"
    except subprocess.CalledProcessError as error:
        reason = "as a Ray of this version does"
        if b"AuthenticationError" in error.stderr:
            raise SurveyError(f"The Ray at {address} wants its token. {GIVE_TOKEN}") from None
    raise SurveyError(f"What listens at {address} does not answer {reason}. {START_RAY}")


def _connect(address: str) -> None:
    """Raise SurveyError where nobody takes a connection at HOST:PORT."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=CONNECTING).close()
    except (OSError, ValueError, OverflowError) as error:
        raise SurveyError(
            f"Nobody answers at {address} ({error}). Give HOST:PORT as ray start --head printed "
            "it, and see that this machine may reach it."
        ) from None


def _explain(error: Exception) -> str:
    """Find our own sentence in what Ray reports of a worker."""
    cause: BaseException | None = error
    while cause is not None:
        if type(cause).__module__ == SurveyError.__module__:
            return str(cause)
        if named := OURS.findall(str(cause)):
            return named[-1]
        cause = getattr(cause, "cause", None) or cause.__cause__
    return f"Ray could not go on: {str(error).strip().splitlines()[-1]}"
