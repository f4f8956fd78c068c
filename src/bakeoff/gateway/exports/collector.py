"""OTLP over HTTP: spans to a collector, as JSON."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit, urlunsplit

import msgspec

from bakeoff.errors import InputError

if TYPE_CHECKING:
    from http.client import HTTPResponse
    from urllib.error import HTTPError
    from urllib.request import OpenerDirector

LARGEST = 4 << 20
"""Bytes of a request: collectors refuse what is much longer."""

HEADERS = ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS")
"""Variables with headers for the collector, its key for instance: ``name=value`` with commas between."""

_AGAIN = (429, 502, 503, 504)
_PAUSES = (1.0, 2.0, 4.0)
_LONGEST = 30.0
_PATH = "/v1/traces"


class _Partial(msgspec.Struct, rename="camel"):
    rejected_spans: str | int = 0
    error_message: str = ""


class _Reply(msgspec.Struct, rename="camel"):
    partial_success: _Partial | None = None


class Collector:
    """Posts requests to ``endpoint``; without a path, to the usual one. Redirects are not followed: they might lead the key elsewhere.

    Raises InputError where the endpoint is no address.
    """

    def __init__(
        self,
        endpoint: str,
        environment: Mapping[str, str] = os.environ,
        *,
        pause: Callable[[float], object] = time.sleep,
    ) -> None:
        parts = urlsplit(endpoint)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.password:
            raise InputError(
                "not an address of a collector",
                where="--endpoint",
                found=f"{parts.scheme}://{parts.hostname or ''}",
                wanted="http://HOST:4318 or the like, with no user in it; keys go in " + HEADERS[-1],
            )
        path = parts.path if parts.path.strip("/") else _PATH
        self.url = urlunsplit((parts.scheme, parts.netloc, path, parts.query, ""))
        self._headers = {"Content-Type": "application/json", **_headers(environment)}
        self._pause = pause
        self._opener: OpenerDirector | None = None

    def post(self, body: bytes) -> None:
        """Send one request; again, after a pause, where the collector asks for that. Raises InputError where it takes not all of it."""
        from http.client import HTTPException
        from urllib.error import HTTPError, URLError
        from urllib.request import Request

        for number in range(len(_PAUSES) + 1):
            request = Request(self.url, data=body, headers=self._headers, method="POST")
            try:
                with self._open(request) as answer:
                    self._check(answer.read(1 << 20))
                return
            except HTTPError as error:
                if error.code not in _AGAIN or number == len(_PAUSES):
                    raise self._refused(error) from None
                self._pause(_asked_pause(error) or _PAUSES[number])
            except (URLError, HTTPException, OSError) as error:
                reason = getattr(error, "reason", None) or error
                raise InputError(f"the collector cannot be reached: {reason}", where=self._shown) from None

    def _open(self, request: Any) -> HTTPResponse:
        from urllib.request import HTTPRedirectHandler, build_opener

        class Stay(HTTPRedirectHandler):
            def redirect_request(self, *args: Any, **named: Any) -> None:
                return None

        if self._opener is None:
            self._opener = build_opener(Stay)
        return self._opener.open(request, timeout=30)

    def _check(self, answer: bytes) -> None:
        try:
            partial = msgspec.json.decode(answer, type=_Reply).partial_success if answer.strip() else None
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            return
        if partial is not None and str(partial.rejected_spans) not in ("0", ""):
            told = partial.error_message[:300] or "it does not say why"
            raise InputError(f"the collector refused {partial.rejected_spans} spans: {told}", where=self._shown)

    def _refused(self, error: HTTPError) -> InputError:
        told = error.read(300).decode("utf-8", "replace").strip()
        return InputError(f"the collector answered {error.code}: {told or error.reason}", where=self._shown)

    @property
    def _shown(self) -> str:
        return self.url.partition("?")[0]


def _headers(environment: Mapping[str, str]) -> dict[str, str]:
    variable = next((name for name in HEADERS if environment.get(name)), HEADERS[-1])
    pairs = (part.partition("=") for part in environment.get(variable, "").split(",") if part.strip())
    made = {unquote(name.strip()): unquote(value.strip()) for name, _, value in pairs}
    if not all(name and (name + value).isprintable() and (name + value).isascii() for name, value in made.items()):
        raise InputError("not headers", where=variable, wanted="name=value, with commas between them")
    return made


def _asked_pause(error: HTTPError) -> float | None:
    try:
        return min(max(float(error.headers.get("Retry-After", "")), 0.0), _LONGEST)
    except ValueError:
        return None
