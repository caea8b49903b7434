"""Libraries and files that a hub's model needs: from this machine, or over the network."""

from __future__ import annotations

import difflib
import http.client
import importlib
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import TypeVar

from model.errors import ModelNotFound, ModelRejected, NothingRecorded, NothingToShow
from model.nets import torchvision_cpu
from model.zoo.checkpoints import names

Loaded = TypeVar("Loaded")


def import_library(name: str) -> ModuleType:
    """Import a library that may be absent; ModelNotFound says how to install it."""
    torchvision_cpu.ensure_operators()
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ModelNotFound(
            f"This model needs the package {name}. Install it with: pip install {name}"
        ) from error


def fetch(get: Callable[..., Loaded], name: str, file: str, address: str) -> Loaded:
    """Call `get(local_files_only=...)`: for the cache, or else for the network if there is one.

    Asking first spares the libraries' long patience with a network that is not there.

    Args:
        get: The library's own loader.
        name: The model's name, for messages.
        file: The file's name, for messages.
        address: Whom to ask whether there is a network.

    Raises:
        ModelNotFound: The file is not here and cannot be fetched.
        ModelRejected: The library cannot use the file.
    """
    for local in (True, False):
        if not local and not is_reachable(address):
            raise ModelNotFound(not_fetched(name, file))
        try:
            return get(local_files_only=local)
        except (OSError, http.client.HTTPException) as error:
            if not local:
                raise ModelNotFound(
                    f"The file {file}, needed for {name}, could not be fetched. Check the model's "
                    "name; it may be private, or the connection may have broken."
                ) from error
        except Exception as error:
            raise ModelRejected(
                f"The file {file}, needed for {name}, cannot be used ({type(error).__name__}). "
                "It may be damaged, or too new for the installed library: update that first."
            ) from error
    raise AssertionError("the second round returns or raises")


@contextmanager
def refuse_what_libraries_raise(name: str) -> Iterator[None]:
    """Turn whatever a stranger's config leads to inside a library into ModelRejected.

    Args:
        name: The model's name, for the message.
    """
    try:
        yield
    except (ModelNotFound, ModelRejected, NothingRecorded, NothingToShow):
        raise
    except Exception as error:
        raise ModelRejected(
            f"{name} cannot be opened ({type(error).__name__}): a value in one of its .json files "
            "is of a kind that no model has. Fetch or save them again."
        ) from error


def is_reachable(address: str) -> bool:
    """Say whether a server answers, within seconds where the libraries try for minutes."""
    try:
        urllib.request.urlopen(urllib.request.Request(address, method="HEAD"), timeout=5).close()
    except urllib.error.HTTPError:
        return True  # it answered
    except (OSError, ValueError, http.client.HTTPException):
        return False
    return True


def not_fetched(name: str, file: str) -> str:
    """Say that a model's file is neither here nor fetched, and which models open all the same."""
    cures = ["Connect to the network once."]
    if names():
        cures.append(f"Embedded models need none: {', '.join(names())}.")
    if name.startswith("hf/"):
        cures.append("Random weights need no file of weights, but its config.json all the same.")
    else:
        cures.append("With random weights this one opens without a network.")
    return (
        f"The file {file}, needed for {name}, is not on this machine and could not be fetched. "
        + " ".join(cures)
    )


def no_such(hub: str, name: str, known: Iterable[str]) -> str:
    """Say that a hub has no such model, and which known name comes nearest."""
    name = "".join(c for c in name if c.isprintable())[:100]
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"{hub} has no model or weights “{name}”. " + (
        f"Did you mean “{near[0]}”?" if near else "Check the name."
    )
