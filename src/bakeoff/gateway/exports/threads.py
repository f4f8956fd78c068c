"""Which request continues which: the conversations of an agent, told from what its requests repeat.

An agent sends the whole conversation with every request. A request continues the answer that it repeats last; one that repeats
none begins a conversation. Answers that two requests continue are a fork. What is held is each message and each answer once,
never the requests: a trial's size in memory is that of what was said, not of what was sent.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import msgspec

from bakeoff.gateway.exports.facts import ended_at
from bakeoff.gateway.shapes.base import Ask, Call, Message, Tool, Turn
from bakeoff.records.exchanges import Exchange
from bakeoff.records.results import Usage


@dataclass(slots=True, eq=False)
class Node:
    """One answer, and what its request said that its conversation had not yet: ``before``, and the ``results`` of earlier calls.

    ``tree`` is shared by all that began with one request; ``depth`` counts answers from its beginning, from 1. ``next`` is the
    answer that continues this one, on the longest way where there are several; it stands when everything has been added.
    """

    exchange: Exchange
    turn: Turn
    ended_at: str
    tree: Tree
    parent: Node | None
    before: tuple[Message, ...]
    results: tuple[Message, ...]
    tools: tuple[Tool, ...]
    messages: int
    depth: int
    below: int = 1
    next: Node | None = None

    @property
    def seq(self) -> int:
        return self.exchange.seq

    @property
    def usage(self) -> Usage:
        """As the record has it, with its cost; where that has none, as the answer tells it."""
        return self.exchange.usage if self.exchange.usage != Usage() else self.turn.usage


@dataclass(slots=True, eq=False)
class Tree:
    """All that began with the request of number ``seq``.

    ``system`` is the print of its system texts, ``seen`` has those of all its messages, ``calls`` the ids of all tool calls in it.
    """

    seq: int
    system: int
    tool_names: tuple[str, ...]
    seen: set[int] = field(default_factory=set[int])
    calls: set[str] = field(default_factory=set[str])


@dataclass(slots=True)
class Conversation:
    """A way from a beginning or a fork to an end. ``fork`` is the answer that it left its main way after."""

    nodes: list[Node]
    fork: Node | None

    @property
    def first(self) -> Node:
        return self.nodes[0]

    @property
    def last(self) -> Node:
        return self.nodes[-1]


class Threads:
    """Takes the exchanges of a trial in their order, then tells its conversations."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self._answers: dict[int, list[Node]] = {}
        self._requests: dict[int, Node] = {}
        self._calls: dict[str, Node] = {}

    def add(self, exchange: Exchange, ask: Ask, turn: Turn) -> Node:
        """The node of one more answer, with its place in a conversation."""
        prints = [message_print(message) for message in ask.messages]
        parent, known = self._continued(ask.messages, prints)
        if parent is None:
            system = hash(tuple(m.text for m in ask.messages if m.role == "system"))
            tree = Tree(exchange.seq, system, tuple(sorted(tool.name for tool in ask.tools)))
        else:
            tree = parent.tree
        new = ask.messages[known:]
        node = Node(
            exchange=exchange,
            turn=turn,
            ended_at=ended_at(exchange),
            tree=tree,
            parent=parent,
            before=(*self._put_in(parent, ask.messages, prints, known), *(m for m in new if not _result(m, tree))),
            results=tuple(m for m in new if _result(m, tree)),
            tools=parent.tools if parent is not None and ask.tools == parent.tools else ask.tools,
            messages=len(prints),
            depth=parent.depth + 1 if parent else 1,
        )
        tree.seen.update(prints)
        tree.seen.add(message_print(Message("assistant", text=turn.text, calls=turn.calls)))
        if parent is not None:
            parent.next = node
        tree.calls.update(id_of(call) for call in turn.calls)
        self.nodes.append(node)
        self._answers.setdefault(answer_print(turn.text, turn.calls), []).append(node)
        self._requests[_joined(prints)[-1] if prints else 0] = node
        self._calls.update((call.id, node) for call in turn.calls if call.id)
        return node

    def conversations(self) -> list[Conversation]:
        """Every way from a beginning or a fork to an end, in the order of their first requests."""
        for node in self.nodes:
            node.below, node.next = 1, None
        for node in reversed(self.nodes):
            above = node.parent
            # Of two that are as long the later one: an agent goes on from what it asked last.
            if above is not None and (above.next is None or node.below > above.next.below):
                above.next, above.below = node, node.below + 1
        starts = [node for node in self.nodes if node.parent is None or node.parent.next is not node]
        return [Conversation(list(_way(start)), start.parent) for start in starts]

    def _continued(self, messages: Sequence[Message], prints: list[int]) -> tuple[Node | None, int]:
        """The answer that a request continues, and how many of its messages that covers."""
        said = [index for index, message in enumerate(messages) if message.role == "assistant"]
        shared: dict[int, int] = {}
        for asked, index in reversed([*enumerate(said, 1)]):
            found = self._best(messages[index], asked, prints, shared)
            if found is not None:
                return found, index + 1
        # An agent that answers a call by its id alone leaves the rest of the conversation to the provider.
        if messages and messages[0].role == "tool" and (node := self._calls.get(messages[0].call_id or "")):
            return node, 0
        # An agent may change what it was answered, or leave it out; what it asked it repeats. Once that has been continued, it
        # begins anew: after a summary, many do with the same first messages.
        joined = _joined(prints)
        for index in range(len(prints) - 1, 0, -1):
            node = self._requests.get(joined[index - 1])
            if node is not None and node.next is None and any(m.role == "user" for m in messages[:index]):
                return node, index + (messages[index].role == "assistant")
        return None, 0

    def _best(self, message: Message, asked: int, prints: list[int], shared: dict[int, int]) -> Node | None:
        """The recorded answer that ``message``, the one of number ``asked``, repeats. ``shared`` remembers what trees have in common."""
        ids = {call.id for call in message.calls if call.id}
        best: tuple[bool, bool, int, int] | None = None
        chosen: Node | None = None
        for node in self._answers.get(answer_print(message.text, message.calls), ()):
            same_ids = bool(ids) and ids == {call.id for call in node.turn.calls}
            tree = id(node.tree)
            if tree not in shared:
                shared[tree] = sum(each in node.tree.seen for each in prints)
            score = (same_ids, node.depth == asked, shared[tree], node.seq)
            if (same_ids or shared[tree]) and (best is None or score > best):
                best, chosen = score, node
        return chosen

    @staticmethod
    def _put_in(parent: Node | None, messages: Sequence[Message], prints: list[int], known: int) -> Iterator[Message]:
        """What stands before the answer that is continued, and was never said, where a conversation came back shorter.

        That is how an agent puts a summary in the place of what it was told. In one that came back whole nothing is new there
        but what agents change in every request: reminders, times.
        """
        if parent is None or known > parent.messages:
            return
        for message, each in zip(messages[:known], prints, strict=False):
            if message.role in ("system", "user") and each not in parent.tree.seen:
                yield message


def message_print(message: Message) -> int:
    """Equal for messages that say the same, whatever ids their calls have and however their arguments are laid out."""
    said = answer_print(message.text, message.calls) if message.role == "assistant" else hash(message.text.strip())
    return hash((message.role, said))


def answer_print(text: str, calls: Sequence[Call]) -> int:
    """Equal for answers with the same calls; without calls, of the same text."""
    if calls:
        return hash(tuple((call.name, _plain(call.arguments)) for call in calls))
    return hash(text.strip())


def id_of(call: Call) -> str:
    """What a call's result names it by: some APIs have no ids, and name the tool."""
    return call.id or call.name


def arguments_of(call: Call) -> dict[str, Any] | None:
    """A call's arguments; None where they are no JSON object."""
    made = _json(call.arguments or "{}")
    return cast("dict[str, Any]", made) if isinstance(made, dict) else None


def _plain(arguments: str) -> str:
    made = _json(arguments)
    return arguments.strip() if made is None else msgspec.json.encode(made, order="sorted").decode()


def _json(text: str) -> object:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None


def _joined(prints: list[int]) -> list[int]:
    """For every length from 1, a print of the messages up to there."""
    out: list[int] = []
    sofar = 0
    for each in prints:
        sofar = hash((sofar, each))
        out.append(sofar)
    return out


def _result(message: Message, tree: Tree) -> bool:
    return message.role == "tool" and (message.call_id or "") in tree.calls


def _way(node: Node | None) -> Iterator[Node]:
    while node is not None:
        yield node
        node = node.next
