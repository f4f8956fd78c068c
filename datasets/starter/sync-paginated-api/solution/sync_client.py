"""Requests to the records API, as patient as they have to be."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode, urlsplit

TRIES = 5
PAUSE = 0.05


class GaveUp(Exception):
    """A request failed too often."""


class Refused(Exception):
    """The credentials are wrong."""


class CursorGone(Exception):
    """The feed that the cursor belongs to is no more."""


class Client:
    """One run's conversation with the API."""

    def __init__(self, url: str, credentials: bytes) -> None:
        parts = urlsplit(url)
        self._host, self._port, self._base = parts.hostname or "", parts.port or 80, parts.path.rstrip("/")
        self._credentials = credentials
        self._token = ""

    def page(self, cursor: str | None) -> dict[str, Any]:
        """The page after a cursor."""
        query = {"limit": "100"} if cursor is None else {"cursor": cursor, "limit": "100"}
        while True:
            if not self._token:
                self._token = self._new_token()
            status, body = self._ask("GET", "/changes?" + urlencode(query), {"Authorization": f"Bearer {self._token}"})
            if status == 200:
                return body
            if status == 410:
                raise CursorGone
            if status != 401:
                raise GaveUp(f"/changes gives {status}")
            self._token = ""

    def _new_token(self) -> str:
        status, body = self._ask("POST", "/token", {"Content-Type": "application/json"}, self._credentials)
        if status == 403:
            raise Refused
        if status != 200:
            raise GaveUp(f"/token gives {status}")
        return body["token"]

    def _ask(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None = None) -> tuple[int, Any]:
        """Status and JSON of an answer that came through whole."""
        failures = 0
        while True:
            try:
                status, wait, text = self._once(method, path, headers, body)
                if status == 429:
                    time.sleep(wait)
                    continue
                if status < 500:
                    return status, json.loads(text)
                found = f"status {status}"
            except (OSError, http.client.HTTPException, ValueError) as error:
                found = repr(error)
            failures += 1
            if failures == TRIES:
                raise GaveUp(f"{method} {path}: {found}")
            time.sleep(PAUSE)

    def _once(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None) -> tuple[int, float, bytes]:
        connection = http.client.HTTPConnection(self._host, self._port, timeout=30)
        try:
            connection.request(method, self._base + path, body=body, headers=dict(headers))
            answer = connection.getresponse()
            return answer.status, retry_after(answer.headers.get("Retry-After")), answer.read()
        finally:
            connection.close()


def retry_after(text: str | None) -> float:
    """Seconds to wait."""
    return float(text) if text else 0.0
