"""Every API through the same three functions."""

from __future__ import annotations

from bakeoff.gateway.shapes import chat, gemini, messages, others, responses, responses_out
from bakeoff.gateway.shapes.base import Ask, Rendered, Turn
from bakeoff.gateway.shapes.others import render_error
from bakeoff.gateway.shapes.reading import load_table, string
from bakeoff.records.exchanges import Api

__all__ = ["parse_answer", "parse_request", "render_answer", "render_error"]


def parse_request(api: Api, path: str, body: bytes) -> Ask:
    """What a request asks; ``body`` is without a content encoding. Of an API with no conversation there are model and size alone.

    Raises BadShape, which says what is wrong with the body.
    """
    if api == "openai-chat":
        return chat.parse_request(path, body)
    if api == "openai-responses":
        return responses.parse_request(path, body)
    if api in ("anthropic-messages", "anthropic-count"):
        return messages.parse_request(path, body, api)
    if api == "gemini":
        return gemini.parse_request(path, body)
    if api == "models":
        return others.parse_models(path, body)
    model = string(load_table(body).get("model")) if api == "openai-embeddings" else ""
    return Ask(api=api, model=model or None, path=path, size=len(body))


def parse_answer(api: Api, body: bytes, *, stream: bool) -> Turn:
    """What an answer says; ``body`` is without a content encoding, ``stream`` says that it is a stream.

    Of a stream that was cut there is what came; what is not known to mean anything is passed over. Raises BadShape where a whole
    answer is no JSON.
    """
    if api == "openai-chat":
        return chat.parse_answer(body, stream=stream)
    if api == "openai-responses":
        return responses.parse_answer(body, stream=stream)
    if api in ("anthropic-messages", "anthropic-count"):
        return messages.parse_answer(body, stream=stream)
    if api == "gemini":
        return gemini.parse_answer(body, stream=stream)
    if api == "openai-embeddings" and not stream:
        raw = load_table(body)
        return Turn(stop="end", model=string(raw.get("model")) or None, usage=chat.usage_of(raw))
    return Turn(stop="other")


def render_answer(api: Api, ask: Ask, turn: Turn, *, seq: int) -> Rendered:
    """``turn`` as the answer to ``ask``, as a stream if it asks for one. What has no id gets one that follows from ``seq``."""
    if api == "openai-chat":
        return chat.render_answer(ask, turn, seq=seq)
    if api == "openai-responses":
        return responses_out.render_answer(ask, turn, seq=seq)
    if api == "anthropic-messages":
        return messages.render_answer(ask, turn, seq=seq)
    if api == "gemini":
        return gemini.render_answer(ask, turn, seq=seq)
    if api == "anthropic-count":
        return messages.render_count(ask)
    if api == "models":
        return others.render_models(ask, ask.model or turn.model or "unknown")
    what = "embeddings are" if api == "openai-embeddings" else f"{ask.path or 'this path'} is"
    return render_error(api, 400 if api == "openai-embeddings" else 404, "unsupported", f"{what} not answered here")
