"""Options of a model that the gateway writes into each request: ``--model-option``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast

from msgspec import Struct

from bakeoff.errors import InputError, nearest
from bakeoff.gateway.apis import GENERATING
from bakeoff.gateway.splice import Found
from bakeoff.records.exchanges import Api

_NAMES = ("temperature", "top_p", "max_tokens", "extra_body")
_GEMINI = {"temperature": "temperature", "top_p": "topP", "max_tokens": "maxOutputTokens"}
_MEMBER = "body."
"""Before the name of any other member of the body."""

_CHAT_MAX = ("max_tokens", "max_completion_tokens")
GEMINI_CONFIG = "generationConfig"


class Options(Struct, frozen=True):
    """None: as the agent asks. ``extra_body`` has top-level members of the request's body, as JSON values."""

    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    extra_body: dict[str, Any] = {}

    @property
    def empty(self) -> bool:
        return self == Options()


def parse(texts: Mapping[str, str], where: str = "--model-option") -> Options:
    """Options from their texts. ``body.KEY`` is one member of the body, ``extra_body`` an object of several. Raises InputError."""
    for name in texts:
        if name not in _NAMES and not (name.startswith(_MEMBER) and name != _MEMBER):
            raise InputError(
                "no option of a model",
                where=where,
                found=name,
                wanted=f"one of {', '.join(_NAMES)}, or body.KEY for any other member of the request",
                nearest=nearest(name, _NAMES),
            )
    temperature, top_p, most = (_json(texts, name, where) for name in _NAMES[:3])
    for name, value in (("temperature", temperature), ("top_p", top_p)):
        if value is not None and (
            isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1000
        ):
            raise _wrong(name, texts, where, "a number of at least 0")
    if most is not None and (isinstance(most, bool) or not isinstance(most, int) or not 0 < most < 2**53):
        raise _wrong("max_tokens", texts, where, "a whole number above 0")
    extra = _json(texts, "extra_body", where)
    if extra is not None and not isinstance(extra, dict):
        raise _wrong("extra_body", texts, where, "a JSON object")
    members = {name.removeprefix(_MEMBER): _json(texts, name, where) for name in texts if name.startswith(_MEMBER)}
    return Options(
        cast("float | None", temperature),
        cast("float | None", top_p),
        most,
        {**cast("dict[str, Any]", extra or {}), **members},
    )


def _wrong(name: str, texts: Mapping[str, str], where: str, wanted: str) -> InputError:
    return InputError("not a value of this option", where=where, field=name, found=texts[name][:60], wanted=wanted)


def _json(texts: Mapping[str, str], name: str, where: str) -> object:
    if name not in texts:
        return None
    wanted = {"extra_body": "a JSON object"}.get(name, "JSON" if name.startswith(_MEMBER) else "a number")
    try:
        value: object = json.loads(texts[name], parse_constant=_refuse)
    except ValueError as error:
        raise _wrong(name, texts, where, wanted) from error
    if value is None:
        raise _wrong(name, texts, where, "a value")
    return value


def _refuse(text: str) -> object:
    raise ValueError(text)


def keys(options: Options, api: Api) -> tuple[str, ...]:
    """The members of the top level that ``members`` wants to see."""
    if api == "gemini":
        return (GEMINI_CONFIG, *options.extra_body)
    return ("temperature", "top_p", "max_output_tokens", *_CHAT_MAX, *options.extra_body)


def members(options: Options, api: Api, found: Found, max_tokens: str) -> dict[str, bytes]:
    """The top-level members to write, as JSON. ``max_tokens`` is the provider's name of that in chat completions."""
    if options.empty or api not in GENERATING or api == "openai-embeddings":
        return {}
    plain = {
        name: value
        for name, value in (
            ("temperature", options.temperature),
            ("top_p", options.top_p),
            ("max_tokens", options.max_tokens),
        )
        if value is not None
    }
    if api == "gemini":
        values: dict[str, Any] = dict(options.extra_body)
        if plain:
            config = values.get(GEMINI_CONFIG, _object(found.last(GEMINI_CONFIG)))
            values[GEMINI_CONFIG] = {**config, **{_GEMINI[name]: value for name, value in plain.items()}}
    else:
        most = plain.pop("max_tokens", None)
        values = {**plain, **options.extra_body}
        if most is not None:
            values = {_max_name(api, found, max_tokens): most, **values}
    return {name: json.dumps(value, ensure_ascii=False).encode() for name, value in values.items()}


def _max_name(api: Api, found: Found, max_tokens: str) -> str:
    if api == "openai-responses":
        return "max_output_tokens"
    if api == "anthropic-messages":
        return "max_tokens"
    present = [member.key for member in found.members if member.key in _CHAT_MAX]
    return present[-1] if present else max_tokens


def _object(text: bytes | None) -> dict[str, Any]:
    try:
        value: object = json.loads(text) if text else {}
    except ValueError:
        value = {}
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}
