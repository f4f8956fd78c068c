"""A recorder that also tells the trial's trace of each call as it begins and ends."""

from __future__ import annotations

import time

from bakeoff.gateway.traffic import NOT_KNOWN, Entry, Request
from bakeoff.gateway.traffic import Recorder as Exchanges
from bakeoff.records.exchanges import End, Headers, Via
from bakeoff.records.results import Usage
from bakeoff.trials.recorder import Recorder


class Told:
    """``model_returned`` is the name that the last answer gave the model."""

    def __init__(self, exchanges: Exchanges, trace: Recorder) -> None:
        self._exchanges = exchanges
        self._trace = trace
        self.model_returned: str | None = None

    async def begin(self, request: Request) -> Entry:
        entry = await self._exchanges.begin(request)
        self._trace.emit(
            "model_call",
            {"seq": request.seq, "api": request.api, "model": request.model, "bytes": request.body.size},
            actor="gateway",
        )
        return _Entry(entry, request, self)

    def ended(self, request: Request, facts: dict[str, str | int | float | None], model: str | None) -> None:
        """For entries: one has its end."""
        self.model_returned = model or self.model_returned
        self._trace.emit("model_result", {"seq": request.seq, **facts}, actor="gateway")


class _Entry:
    def __init__(self, entry: Entry, request: Request, told: Told) -> None:
        self._entry = entry
        self._request = request
        self._told = told
        self._began = time.monotonic()
        self._status: int | None = None
        self._via: Via | None = None

    async def head(self, status: int, headers: Headers, *, via: Via, model_sent: str | None, tries: int) -> None:
        self._status, self._via = status, via
        await self._entry.head(status, headers, via=via, model_sent=model_sent, tries=tries)

    async def chunk(self, data: bytes) -> None:
        await self._entry.chunk(data)

    async def end(
        self, end: End, *, error: str = "", usage: Usage = NOT_KNOWN, model_returned: str | None = None
    ) -> None:
        await self._entry.end(end, error=error, usage=usage, model_returned=model_returned)
        facts: dict[str, str | int | float | None] = {
            "status": self._status,
            "via": self._via,
            "end": end,
            "seconds": round(time.monotonic() - self._began, 6),
            "input_tokens": usage.input_tokens,
            "output_tokens": usage.output_tokens,
        }
        self._told.ended(self._request, facts, model_returned)
