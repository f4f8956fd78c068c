"""What a model may not be asked to do: search the web from the provider's side, past every wall of the sandbox."""

from __future__ import annotations

from typing import Any, cast

import msgspec
from msgspec import Struct

from bakeoff.gateway.apis import find_in
from bakeoff.gateway.splice import Found
from bakeoff.gateway.traffic import Refused, Request

KIND = "tool_refused"
LONGEST = 16 << 20

_TYPES = ("web_search", "web_fetch", "google_search", "url_context", "mcp")
_GEMINI = frozenset(
    {
        "google_search",
        "googleSearch",
        "google_search_retrieval",
        "googleSearchRetrieval",
        "url_context",
        "urlContext",
        "enterprise_web_search",
        "enterpriseWebSearch",
    }
)
_KEYS = ("tools", "web_search_options", "plugins", "mcp_servers", "model")
_SEARCHING = (":online", "-search-preview", "-search-api", "deep-research")
"""In the names of models that search by themselves."""


class Policy(Struct, frozen=True):
    """``web_search``: models may search and fetch by tools that run at the provider."""

    web_search: bool = True


async def check(policy: Policy, request: Request) -> None:
    """Raises Refused where a request asks for what the policy does not allow, or cannot be read."""
    if policy.web_search or not request.body.size or request.api in ("models", "openai-embeddings"):
        return
    found = await find_in(request.headers, request.body, _KEYS, LONGEST)
    if found is None or any(member.value is None for member in found.members):
        raise Refused(400, KIND, "Web search at the provider is not allowed here, and this request cannot be read.")
    name = searching(found)
    if name:
        raise Refused(400, KIND, f"Web search at the provider is not allowed here: {name}. Leave this tool out.")


def searching(found: Found) -> str:
    """The name of what would search the web in a request; empty where nothing would. Every repeat of a key counts."""
    for member in found.members:
        try:
            value = msgspec.json.decode(member.value or b"null")
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return "a value that cannot be read"
        name = _name(member.key, value)
        if name:
            return name
    return ""


def _name(key: str, value: object) -> str:
    if key == "web_search_options":
        return "" if value is None else key
    if key == "model":
        return "a model that searches" if isinstance(value, str) and any(part in value for part in _SEARCHING) else ""
    if not isinstance(value, list):
        return ""
    for item in cast("list[Any]", value):
        if not isinstance(item, dict):
            continue
        tool = cast("dict[str, Any]", item)
        kind = tool.get("type")
        if key == "tools" and isinstance(kind, str) and kind.startswith(_TYPES):
            return kind[:60]
        if key == "tools" and (named := _GEMINI & tool.keys()):
            return min(named)
        if key == "mcp_servers":
            return key
        if key == "plugins" and tool.get("id") == "web":
            return "the plugin web"
    return ""
