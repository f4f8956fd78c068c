"""Server-sent events: read from what came, and written as the clients of model APIs want them."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

_BOM = b"\xef\xbb\xbf"


class Event(Struct, frozen=True):
    """One event: its name (empty where it has none) and its data, whose lines are joined by line feeds."""

    name: str
    data: bytes


def parse(body: bytes) -> Iterator[Event]:
    """The events of a stream. One that is not ended by an empty line is given as far as it came: the stream was cut there."""
    name = ""
    data: list[bytes] = []
    for line in _lines(body.removeprefix(_BOM)):
        if line:
            field, _, value = line.partition(b":")
            value = value.removeprefix(b" ")
            if field == b"event":
                name = value.decode("utf-8", "replace")
            elif field == b"data":
                data.append(value)
        elif data:
            yield Event(name, b"\n".join(data))
            name, data = "", []
        else:
            name = ""
    if data:
        yield Event(name, b"\n".join(data))


def _lines(text: bytes) -> list[bytes]:
    """The lines between line feeds, carriage returns, or both."""
    return text.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")


def render(data: bytes, name: str = "") -> bytes:
    """One event. Each line of ``data`` has its own field; ``name`` must not hold a line end."""
    head = f"event: {name}\n".encode() if name else b""
    lines = b"".join(b"data: " + line + b"\n" for line in _lines(data))
    return head + lines + b"\n"
