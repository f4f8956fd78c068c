"""What a conversation says, whichever API it goes through: a key that is equal for requests that ask the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256

import msgspec

from bakeoff.gateway.shapes.base import Ask, Message
from bakeoff.gateway.shapes.reading import BadShape, load


def neutral_key(ask: Ask, normal: Callable[[str], str] = str, *, system: bool = True) -> str:
    """The digest of a request's conversation, for matching requests to recordings that have no raw bytes.

    Equal for the same conversation through any API: ids of calls are named by their first appearance, arguments are compared as
    the JSON that they are, results stand in the order of their calls, texts of one speaker in a row are one text, and its ends have
    no spaces. Reasoning, tools and the model are left out: not every API sends them back, and not every exporter tells them.
    ``normal`` is applied to every text, system texts, arguments and results included. ``system``: whether system texts count;
    some exporters leave them out.
    """
    return sha256(msgspec.json.encode(neutral(ask.messages, normal, system=system))).hexdigest()


def neutral(
    messages: Sequence[Message], normal: Callable[[str], str] = str, *, system: bool = True
) -> list[tuple[str, str, list[tuple[str, str, str]]]]:
    """What ``neutral_key`` is the digest of: speaker (for a result, its call), text, and calls as (id, name, arguments).

    For showing in what two conversations differ.
    """
    named: dict[str, list[int]] = {}
    count = 0
    out: list[tuple[str, str, list[tuple[str, str, str]]]] = []
    for message in _in_order(messages):
        if message.role == "system" and not system:
            continue
        text = normal(message.text).strip()
        calls: list[tuple[str, str, str]] = []
        for call in message.calls:
            count += 1
            named.setdefault(call.id or call.name, []).append(count)
            calls.append((f"call {count}", call.name, _plain(normal(call.arguments))))
        role = f"result of {_answered(named, message.call_id or '')}" if message.role == "tool" else message.role
        if out and out[-1][0] == role and message.role != "tool":
            before = out[-1]
            out[-1] = (role, "\n".join(part for part in (before[1], text) if part), [*before[2], *calls])
        elif text or calls or message.role == "tool":
            out.append((role, text, calls))
    return out


def _answered(named: dict[str, list[int]], call_id: str) -> str:
    """The call that a result belongs to. Of several with one id (some APIs have names for ids) each gets one, the last the rest."""
    waiting = named.get(call_id, [])
    if not waiting:
        return "no call"
    return f"call {waiting.pop(0) if len(waiting) > 1 else waiting[0]}"


def _in_order(messages: Sequence[Message]) -> Iterator[Message]:
    """The messages, with the results of calls that stand together in the order of their calls."""
    order: dict[str, int] = {}
    waiting: list[Message] = []
    for message in messages:
        if message.role == "tool":
            waiting.append(message)
            continue
        yield from sorted(waiting, key=lambda each: order.get(each.call_id or "", -1))
        waiting = []
        order.update({call.id or call.name: len(order) + index for index, call in enumerate(message.calls)})
        yield message
    yield from sorted(waiting, key=lambda each: order.get(each.call_id or "", -1))


def _plain(arguments: str) -> str:
    try:
        return msgspec.json.encode(load((arguments or "{}").encode()), order="sorted").decode()
    except BadShape:
        return arguments.strip()
