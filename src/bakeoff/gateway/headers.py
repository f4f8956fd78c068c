"""Headers and paths as they are stored: without keys."""

from __future__ import annotations

import re

from bakeoff.gateway.secrets import Secrets
from bakeoff.records.exchanges import Headers

KEYS = frozenset(
    (
        "authorization",
        "proxy-authorization",
        "x-api-key",
        "api-key",
        "x-goog-api-key",
        "x-amz-security-token",
        "cookie",
        "set-cookie",
    )
)
"""Headers that carry keys, whatever stands in them."""

_MARK = "[redacted:header]"
_QUERY = re.compile(r"([?&](?:key|api[-_]?key|access_token|token)=)[^&#]+", re.IGNORECASE)


def kept_headers(headers: Headers, secrets: Secrets | None) -> Headers:
    """Every header, in order; those that carry keys have lost their values.

    ``secrets``: what else must go; None where nothing is in there.
    """
    if secrets is None:
        return tuple([(name, _MARK) if name.lower() in KEYS else (name, value) for name, value in headers])
    return tuple([(name, _MARK if name.lower() in KEYS else secrets.text(value)) for name, value in headers])


def kept_path(path: str, secrets: Secrets | None) -> str:
    """The path without keys in its query."""
    if "?" in path:
        path = _QUERY.sub(r"\1[redacted:query]", path)
    return path if secrets is None else secrets.text(path)


def without_encoding(headers: Headers) -> Headers:
    """For a body that is stored unfolded."""
    return tuple(item for item in headers if item[0].lower() not in ("content-encoding", "content-length"))
