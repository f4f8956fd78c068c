"""Lines of text as they are compared: without layout, comments and what every script has."""

from __future__ import annotations

import codecs
import re

from msgspec import Struct

MAX_TEXT = 4 << 20
"""Bytes of one file whose text is compared; a longer one is compared as a whole file alone."""

_PRINTABLE = re.compile(rb"[\t\n\r\x20-\x7e]{8,}")
_SPACE = re.compile(r"\s+")
_PROSE_MARKS = re.compile(r"^(?:[>$*+-]\s+|\d+[.)]\s+)+")
_COMMENT = re.compile(r"^(?:#(?!\d)|//|--\s|/\*|\*/?(?:\s|$)|<!--|;;)")
_BOILERPLATE = re.compile(
    r"""^(?:
      set\s+[-+][a-z]+.*|IFS=.*|cd\s+\S+|exit(?:\s+\S+)?|export\s+\w+=\S*|\w+\(\)\s*\{|mkdir\s+(?:-p\s+)?\S+|trap\s.*|shift|local\s.*
    | (?:el)?if\s.{0,16}|else:?|fi|then|do|done|esac|case\s.{0,16}|in|while\s.{0,16}|for\s+\w+\s+in.{0,16}
    | import\s.*|from\s+\S+\s+import\s.*|def\s+(?:main|test|setup|run|check)\w{0,4}\(\).*|if\s+__name__\s*==.*|main\(\)|sys\.exit\(.*\)
    | raise\s+SystemExit\(.{0,12}\)|try:|finally:|except.*:|return(?:\s.{0,12})?|pass|continue|break|with\s+open\(.*\)\s+as\s+\w+:
    | echo\s+["']?[\d.]+["']?\s*>+\s*\S+|.*reward\.(?:txt|json).*|cat\s+>\S*\s.*|cat\s+>+\s*\S+\s*<<.*
    | class\s+\w+:?|[\w./-]+\s*=\s*.{0,4}|use\s+(?:strict|warnings);|\#include\s.*|package\s+\w+;?
    | https?://\S+|[\w~]*/[\w./~-]*
    )$""",
    re.VERBOSE,
)
_FRAME = re.compile(
    r"(?:set\s+[-+][a-z]+.*|cd\s+\S+|exit(?:\s+\S+)?|mkdir\s+(?:-p\s+)?\S+|cat\s+>+\s*\S+\s*<<.*|\w+\(\))$"
)
_HERE = re.compile(r"<<-?\s*(?:'([^']+)'|\"([^\"]+)\"|\\?([A-Za-z_]\w*))")
_LONG_ENOUGH = 14
_DIFFERENT_ENOUGH = 6


class Line(Struct, frozen=True):
    """``here``: it stands in a here-document of a shell script: what it says is written to a file or fed to a program."""

    text: str
    here: bool = False


def text_of(data: bytes) -> str | None:
    """The text in ``data``, of a database or a program what is printable in it; None for what is too long to be compared by lines."""
    if len(data) > MAX_TEXT:
        return None
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16", "replace")
    if b"\0" in data[:8192]:
        return b"\n".join(_PRINTABLE.findall(data)).decode()
    return data.decode("utf-8", "replace")


def squeezed(text: str) -> str:
    """The text with every run of white space as one space."""
    return _SPACE.sub(" ", text).strip()


def lines_of(text: str, *, shell: bool = False) -> tuple[Line, ...]:
    """The lines that say something, in order, white space squeezed: no empty ones, no comments."""
    out: list[Line] = []
    ends: list[str] = []
    for raw in text.splitlines():
        line = squeezed(raw)
        if ends:
            if line == ends[0]:
                ends.pop(0)
            elif line and not _COMMENT.match(line):
                out.append(Line(line, here=True))
            continue
        if shell:
            ends = [a or b or c for a, b, c in _HERE.findall(line)][:4]
        if line and not _COMMENT.match(line):
            out.append(Line(line))
    return tuple(out)


def is_boilerplate(line: str) -> bool:
    """Whether the line is one that stands in many scripts, or names nothing but a place."""
    return _BOILERPLATE.match(line) is not None


def is_frame(line: str) -> bool:
    """Whether the line only gives a script its form."""
    return _FRAME.match(line) is not None


def is_distinctive(line: str) -> bool:
    """Whether two texts hardly have the line by chance: long enough, of enough different characters, and no boilerplate."""
    return len(line) >= _LONG_ENOUGH and len(set(line)) > _DIFFERENT_ENOUGH and not is_boilerplate(line)


def unquoted(text: str) -> str:
    """Prose as one line: without the marks of lists, quotations and code at the beginning of its lines, nor back quotes."""
    lines = (_PROSE_MARKS.sub("", line.strip()) for line in text.splitlines())
    return squeezed(" ".join(lines).replace("`", ""))
