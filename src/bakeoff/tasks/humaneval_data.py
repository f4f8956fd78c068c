"""Plain data as bytes, and back: what passes between the judge of a HumanEval solution and the process that runs it.

Lies beside the judge inside a sandbox, as ``/tests/humaneval_data.py``, for any Python from 3.8. What decodes it makes
builtins alone, whatever the bytes are.
"""

from __future__ import annotations

import struct

DEPTH_LIMIT = 60


def encode(value: object, depth: int = 0) -> bytes:
    """Plain data as bytes; TypeError for anything else. Of a subclass only the plain part is sent."""
    if depth > DEPTH_LIMIT:
        raise TypeError("nested too deeply")
    if value is None:
        return b"n"
    if isinstance(value, bool):
        return b"y" if value else b"z"
    if isinstance(value, int):
        number = int(value)
        return _sized(b"i", number.to_bytes(number.bit_length() // 8 + 1, "big", signed=True))
    if isinstance(value, float):
        return _sized(b"f", float(value).hex().encode())
    if isinstance(value, complex):
        return b"c" + encode(value.real) + encode(value.imag)
    if isinstance(value, str):
        return _sized(b"s", str(value).encode("utf-8", "surrogatepass"))
    if isinstance(value, (bytes, bytearray)):
        return _sized(b"b", bytes(value))
    if isinstance(value, dict):
        pairs = [part for key, item in value.items() for part in (key, item)]  # pyright: ignore[reportUnknownVariableType] - any dict
        return _many(b"d", pairs, depth)  # pyright: ignore[reportUnknownArgumentType]
    for tag, kind in ((b"l", list), (b"t", tuple), (b"e", set), (b"o", frozenset)):
        if isinstance(value, kind):
            return _many(tag, list(value), depth)  # pyright: ignore[reportUnknownArgumentType] - items of any type
    raise TypeError("not plain data")


def _sized(tag: bytes, data: bytes) -> bytes:
    return tag + struct.pack(">I", len(data)) + data


def _many(tag: bytes, items: list[object], depth: int) -> bytes:
    return tag + struct.pack(">I", len(items)) + b"".join(encode(item, depth + 1) for item in items)


class Decoder:
    """Reads one encoded value. Raises ValueError, TypeError or struct.error for whatever is not one; makes builtins alone."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def whole(self) -> object:
        value = self.value(0)
        if self.at != len(self.data):
            raise ValueError("something follows")
        return value

    def take(self, size: int) -> bytes:
        part = self.data[self.at : self.at + size]
        if len(part) != size:
            raise ValueError("cut off")
        self.at += size
        return part

    def count(self) -> int:
        size: int = struct.unpack(">I", self.take(4))[0]
        if size > len(self.data) - self.at:
            raise ValueError("cut off")
        return size

    def value(self, depth: int) -> object:
        if depth > DEPTH_LIMIT:
            raise ValueError("nested too deeply")
        tag = self.take(1)
        if tag in b"nyz":
            return {b"n": None, b"y": True, b"z": False}[tag]
        if tag == b"c":
            return complex(float(str(self.value(depth + 1))), float(str(self.value(depth + 1))))
        if tag == b"i":
            return int.from_bytes(self.take(self.count()), "big", signed=True)
        if tag == b"f":
            return float.fromhex(self.take(self.count()).decode())
        if tag == b"s":
            return self.take(self.count()).decode("utf-8", "surrogatepass")
        if tag == b"b":
            return self.take(self.count())
        items = [self.value(depth + 1) for _ in range(self.count())]
        if tag == b"d":
            return {items[at]: items[at + 1] for at in range(0, len(items) - 1, 2)}
        if tag == b"l":
            return items
        if tag == b"t":
            return tuple(items)
        if tag in b"eo":
            return set(items) if tag == b"e" else frozenset(items)
        raise ValueError("unknown tag")
