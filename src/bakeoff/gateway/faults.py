"""When a provider's failure is the provider's: an agent must not be able to have its trial left out of the pass rate."""

from __future__ import annotations

import re

from bakeoff.gateway.apis import GENERATING, gemini_model
from bakeoff.gateway.traffic import Answer, Request
from bakeoff.records.exchanges import End

STATUSES = frozenset({401, 402, 403, 404, 408, 429})
"""With 5xx, the answers of a provider that does not do its part: no key, no credit, no such model, too much."""

_PATHS = re.compile(
    r"(?:/v\d+[a-z0-9]*)?/(?:chat/completions|responses|embeddings|messages|models/[^/?]+:(?:streamG|g)enerateContent)/?(?:\?[^#]*)?"
)
_LONGEST_BODY = 32 << 20
_LONGEST_HEADERS = 16 << 10


class Faults:
    """``said`` is the last failure of the provider that no success has followed, empty otherwise.

    Only a request that every provider should answer is evidence: a generating one in its plain form and of usual size, for the config's
    own ``provider`` and ``model``. Anything else (another model, a path of the agent's own, a huge body or header) fails by the agent's
    choice. That a model is not there is believed until that model has answered once.
    """

    def __init__(self, provider: str, model: str | None) -> None:
        self.said = ""
        self._provider = provider
        self._model = model
        self._answered = False

    def broke(self, request: Request, said: str) -> None:
        """No connection, or it broke before an answer."""
        if self._plain(request):
            self.said = said

    def answered(self, request: Request, answer: Answer, end: End) -> None:
        """An answer has ended; one that the agent broke off says nothing."""
        status = answer.status
        if request.api not in GENERATING or end == "cancelled":
            return
        name = f"the provider {answer.provider or request.provider}"
        if end == "complete" and status < 400:
            self._answered = self._answered or self._plain(request)
            self.said = ""
        elif not self._plain(request):
            return
        elif end == "cut":
            self.said = f"{name} cut its answer"
        elif answer.via == "live" and (status in STATUSES or status >= 500) and not (status == 404 and self._answered):
            advice = f": {answer.advice}" if answer.advice else ""
            self.said = f"{name} answered with status {status}{advice}"

    def _plain(self, request: Request) -> bool:
        asked = request.model if request.api != "gemini" else gemini_model(request.path)
        return (
            request.api in GENERATING
            and request.provider == self._provider
            and (self._model is None or asked == self._model)
            and request.method == "POST"
            and _PATHS.fullmatch(request.path) is not None
            and request.body.size <= _LONGEST_BODY
            and sum(len(name) + len(value) for name, value in request.headers) <= _LONGEST_HEADERS
        )
