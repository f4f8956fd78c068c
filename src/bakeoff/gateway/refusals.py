"""Errors of the gateway's own, in the shape that a client of each API can show."""

from __future__ import annotations

import msgspec

from bakeoff.gateway.traffic import Refused
from bakeoff.records.exchanges import Api, Headers

_STATUS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ABORTED",
    410: "FAILED_PRECONDITION",
    429: "RESOURCE_EXHAUSTED",
    502: "UNAVAILABLE",
}


def shape_of(api: Api, provider: str) -> str:
    """Whose errors a client expects: ``openai``, ``anthropic`` or ``gemini``."""
    if api.startswith("anthropic"):
        return "anthropic"
    if api == "gemini":
        return "gemini"
    if api in ("models", "other"):
        return {"anthropic": "anthropic", "google": "gemini"}.get(provider, "openai")
    return "openai"


def refusal(refused: Refused, api: Api, provider: str) -> tuple[int, Headers, bytes]:
    """Status, headers and body. Clients are told not to try again: nothing would change."""
    shape = shape_of(api, provider)
    if shape == "anthropic":
        value: object = {"type": "error", "error": {"type": refused.kind, "message": refused.message}}
    elif shape == "gemini":
        status = _STATUS.get(refused.status, "UNKNOWN")
        text = f"{refused.kind}: {refused.message}"
        value = {"error": {"code": refused.status, "message": text, "status": status}}
    else:
        value = {"error": {"type": refused.kind, "message": refused.message, "code": refused.kind}}
    body = msgspec.json.encode(value)
    headers = (
        ("content-type", "application/json"),
        ("content-length", str(len(body))),
        ("x-should-retry", "false"),
    )
    return refused.status, headers, body
