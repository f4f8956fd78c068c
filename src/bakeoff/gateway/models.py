"""What ``-m`` names: a provider's model, a model behind a base URL, or a script."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path
from typing import Literal

from msgspec import Struct

from bakeoff.errors import InputError, nearest
from bakeoff.files.hashing import hash_tree

SCRIPTED = "scripted"
CUSTOM = "custom"
"""The provider behind ``--model-base-url``."""


class ModelRef(Struct, frozen=True):
    """``name`` is what agents ask for. ``label`` is how records call the model: no path of this machine is in it."""

    kind: Literal["provider", "scripted"]
    provider: str
    name: str
    label: str
    path: str = ""


def parse_model(text: str, providers: Collection[str], *, base_url: str | None = None) -> ModelRef:
    """Raises InputError for a name without a provider that is known, and for a script that is not there."""
    kind, found, rest = text.partition(":")
    if found and kind == SCRIPTED:
        path = Path(rest)
        if not rest or not path.exists():
            raise InputError("no such script", where="--model", found=repr(text), wanted="scripted:FILE or a folder")
        return ModelRef(
            kind="scripted",
            provider=SCRIPTED,
            name=asked_name(f"{SCRIPTED}:{path.name}", SCRIPTED),
            label=f"{SCRIPTED}:{path.name}",
            path=rest,
        )
    if base_url is not None and text:
        return ModelRef(kind="provider", provider=CUSTOM, name=text, label=text)
    provider, found, name = text.partition("/")
    if not found or not name or provider not in providers:
        raise InputError(
            "not a model that is known",
            where="--model",
            found=repr(text),
            wanted="PROVIDER/NAME, scripted:FILE, or any name with --model-base-url",
            nearest=_nearest(text, provider, providers),
        )
    return ModelRef(kind="provider", provider=provider, name=name, label=text)


def asked_name(label: str, provider: str) -> str:
    """What agents asked for where records call the model ``label``."""
    if provider == SCRIPTED:
        return f"{SCRIPTED}-{Path(label.partition(':')[2]).stem}"
    return label.removeprefix(f"{provider}/") if provider != CUSTOM else label


def absolute_model(text: str) -> str:
    """The same model, with the path of a script made absolute."""
    kind, found, rest = text.partition(":")
    return f"{kind}:{os.path.abspath(rest)}" if found and kind == SCRIPTED and rest else text


def _nearest(text: str, provider: str, providers: Collection[str]) -> str:
    close = nearest(provider, providers)
    return f"{close}/{text.partition('/')[2] or 'NAME'}" if close else ""


def script_digest(model: ModelRef) -> str:
    """Of all that a scripted model plays, so that a job notices where it changed; empty for models of providers."""
    return hash_tree(model.path) if model.kind == "scripted" else ""
