"""A line of a LiteLLM log: one call with its messages and its answer (``StandardLoggingPayload``), as far as it is read here."""

from __future__ import annotations

from typing import Any

from msgspec import Struct


class LiteLLMError(Struct, frozen=True):
    error_code: str | int | None = None
    error_class: str | None = None
    error_message: str | None = None


class LiteLLMLine(Struct, frozen=True, kw_only=True):
    """One call. Times are seconds since 1970 or RFC 3339 text; ``status`` is ``success`` or ``failure``.

    ``messages`` and ``response`` have the form of the API that was called: for ``completion`` that of chat completions.
    Other fields that LiteLLM writes are passed over.
    """

    id: str | None = None
    trace_id: str | None = None
    call_type: str | None = None
    stream: bool | None = None
    status: str | None = None
    startTime: float | str | None = None
    endTime: float | str | None = None
    response_time: float | None = None
    model: str | None = None
    metadata: dict[str, Any] | None = None
    custom_llm_provider: str | None = None
    response_cost: float | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    api_base: str | None = None
    messages: str | list[Any] | dict[str, Any] | None = None
    response: str | list[Any] | dict[str, Any] | None = None
    model_parameters: dict[str, Any] | None = None
    hidden_params: dict[str, Any] | None = None
    error_str: str | None = None
    error_information: LiteLLMError | None = None
