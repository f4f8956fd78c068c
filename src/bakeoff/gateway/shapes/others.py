"""Lists of models, and the errors of every API."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote, urlsplit

from bakeoff.gateway.shapes.base import Ask, Rendered
from bakeoff.gateway.shapes.parts import as_json
from bakeoff.records.exchanges import Api

_WORDS = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND", 409: "ABORTED"}
_LATER = {429: "RESOURCE_EXHAUSTED", 500: "INTERNAL", 503: "UNAVAILABLE", 504: "DEADLINE_EXCEEDED"}


def parse_models(path: str, body: bytes) -> Ask:
    """A request for the list of models, or for one of them, which then is the model asked for."""
    _, _, name = urlsplit(path).path.partition("/models/")
    return Ask(api="models", model=unquote(name).strip("/") or None, path=path, size=len(body))


def render_models(ask: Ask, model: str) -> Rendered:
    """A list of ``model`` alone, or just it where the request asks for one; OpenAI's and Anthropic's clients each find their fields."""
    one = ask.model is not None
    if urlsplit(ask.path).path.startswith("/v1beta/"):
        google = {"name": f"models/{model}", "displayName": model, "supportedGenerationMethods": ["generateContent"]}
        return as_json(google if one else {"models": [google]})
    entry: dict[str, Any] = {
        "id": model,
        "object": "model",
        "type": "model",
        "display_name": model,
        "created": 0,
        "created_at": "1970-01-01T00:00:00Z",
        "owned_by": "bakeoff",
    }
    listed = {"object": "list", "data": [entry], "has_more": False, "first_id": model, "last_id": model}
    return as_json(entry if one else listed)


def render_error(api: Api, status: int, kind: str, message: str) -> Rendered:
    """An error as the API's clients show it."""
    if api in ("anthropic-messages", "anthropic-count"):
        return as_json({"type": "error", "error": {"type": kind, "message": message}}, status)
    if api == "gemini":
        word = {**_WORDS, **_LATER}.get(status, "UNKNOWN")
        reason = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": kind}
        return as_json({"error": {"code": status, "message": message, "status": word, "details": [reason]}}, status)
    return as_json({"error": {"message": message, "type": kind, "param": None, "code": kind}}, status)
