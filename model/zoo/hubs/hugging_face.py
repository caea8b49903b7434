"""Models of the Hugging Face hub, by their names there."""

from __future__ import annotations

import re
from typing import Any

from model.bundle import Bundle
from model.errors import ModelNotFound, ModelRejected
from model.zoo.hubs.fetching import import_library, refuse_what_libraries_raise
from model.zoo.hubs.hugging_face_captioner import captioner_class, open_hub_captioner
from model.zoo.hubs.hugging_face_classifier import open_classifier
from model.zoo.hubs.hugging_face_repository import Repository


def open_hugging_face(name: str, trained: bool, size: tuple[int, int] | None = None) -> Bundle:
    """Open a model of the Hugging Face hub: a classifier, an image encoder or a captioner.

    Args:
        name: "ORG/NAME".
        trained: Whether to fetch the weights; else they are random, and only its config is needed.
        size: Height and width of the pictures, where others are wanted than the model's own.
    """
    return open_repository(repository_named(name), trained, size)


def repository_named(name: str) -> Repository:
    """Return the repository of a name, "ORG/NAME". Raises ModelNotFound for any other text."""
    import_library("transformers")
    named = re.fullmatch(r"[A-Za-z0-9][\w.-]{,95}/[A-Za-z0-9][\w.-]{,95}", name, re.A)
    if not named or len(name) > 96 or re.search(r"--|\.\.|[.-]/|[.-]$|\.git$", name):
        shown = "".join(c for c in name if c.isprintable())[:200]
        raise ModelNotFound(
            f"“hf/{shown}” is no model's name. Write it with its owner: hf/ORG/NAME, "
            "such as hf/facebook/dino-vits8."
        )
    return Repository(name)


def open_repository(
    repository: Repository,
    trained: bool,
    size: tuple[int, int] | None = None,
    head: bool = True,
) -> Bundle:
    """Open the model whose files a repository holds, as `open_hugging_face` does."""
    import_library("transformers")
    config = repository.config()
    with refuse_what_libraries_raise(repository.full_name):
        return _open_by_config(repository, config, trained, size, head)


def _open_by_config(
    repository: Repository,
    config: Any,
    trained: bool,
    size: tuple[int, int] | None,
    head: bool,
) -> Bundle:
    if kind := captioner_class(config):
        if size is not None:
            raise ModelRejected(f"{repository.full_name} is a captioner: it has one picture size.")
        return open_hub_captioner(repository, kind, config, trained)
    return open_classifier(repository, config, trained, size, head)
