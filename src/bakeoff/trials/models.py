"""What a request says of models: their options, and whether every provider that will be asked has its key."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from pathlib import Path

import msgspec
from msgspec import Struct

from bakeoff.errors import InputError
from bakeoff.gateway import budgets, options
from bakeoff.gateway.keys import find_key
from bakeoff.gateway.models import CUSTOM, ModelRef, parse_model
from bakeoff.gateway.policy import Policy
from bakeoff.gateway.prices import prices
from bakeoff.gateway.providers import Provider, base_url, provider, providers
from bakeoff.gateway.scripted.source import check_scripts
from bakeoff.records.job import LockedConfig, RunRequest

MAP = "map."
"""Model options of this form send another name upstream than the agent asks for."""

WEB_SEARCH = "web_search"

PROVIDERS = "providers"
"""The model option that lets agents ask other providers too, with the user's keys for them."""


class ModelSettings(Struct, frozen=True):
    """``--model-option``, taken apart. ``names`` maps names that are asked for to names that are sent.

    ``also`` are providers that agents may ask beside the config's own.
    """

    options: options.Options
    policy: Policy
    names: dict[str, str]
    also: tuple[str, ...] = ()


def model_settings(given: Mapping[str, str]) -> ModelSettings:
    """Raises InputError for an option that models do not have."""
    own = {
        name: value for name, value in given.items() if name not in (WEB_SEARCH, PROVIDERS) and not name.startswith(MAP)
    }
    search = given.get(WEB_SEARCH, "on")
    if search not in ("on", "off"):
        raise InputError("wrong value", where="--model-option", field=WEB_SEARCH, found=search, wanted="on or off")
    names = {name.removeprefix(MAP): value for name, value in given.items() if name.startswith(MAP)}
    also = tuple(name.strip() for name in given.get(PROVIDERS, "").split(",") if name.strip())
    return ModelSettings(options.parse(own), Policy(web_search=search == "on"), names, also)


def check_settings(request: RunRequest, configs: Mapping[str, LockedConfig], tasks: Collection[str]) -> None:
    """What a request says of models holds together, and scripts have something for each of ``tasks`` (refs). Raises InputError.

    No key is looked for: see ``check_keys``.
    """
    model_settings(request.model_options)
    spending = budgets.parse(request.budgets)
    table = prices()
    for ref in _models(request, configs):
        if ref.kind == "scripted":
            check_scripts(Path(ref.path), tasks)
        else:
            budgets.check_price(spending, ref.provider, ref.name, table)


def check_keys(request: RunRequest, configs: Mapping[str, LockedConfig]) -> None:
    """Every provider that will be asked has its key. Raises InputError."""
    known = providers()
    own = [ref.provider for ref in _models(request, configs) if ref.kind == "provider"]
    for name in (*own, *model_settings(request.model_options).also):
        find_key(provider_of(name, known, request.model_base_url), os.environ, Path.cwd())


def _models(request: RunRequest, configs: Mapping[str, LockedConfig]) -> list[ModelRef]:
    models = sorted({config.model for config in configs.values() if config.model is not None})
    known = providers()
    return [parse_model(model, known, base_url=request.model_base_url) for model in models]


def provider_of(name: str, known: Mapping[str, Provider], given: str | None) -> Provider:
    """The provider of that name; ``given`` is the address of ``--model-base-url``. Raises InputError."""
    found = provider(name, known)
    return msgspec.structs.replace(found, base_url=base_url(given or "")) if name == CUSTOM else found
