"""Words of a shell script: quotes, substitutions and here-documents."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Final

DEPTH: Final = 30
BREAK: Final = " \t\r\n;&|<>()"
_PLAIN = re.compile(r"[^\s;&|<>()'\"\\$`]+")
_QUOTED = re.compile(r"[^\"\\$`]+")
SUBSTITUTED: Final = "$()"
"""What stands in a word where a command's output would."""
HERE: Final = "$(here)"
"""The same, where the command works out the folder that the script itself is in."""


@dataclass
class Draft:
    """A command that is being read; its parts are those of Command."""

    line: int
    words: list[str] = field(default_factory=list[str])
    assigns: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    reads: list[str] = field(default_factory=list[str])
    writes: list[str] = field(default_factory=list[str])
    depth: int = 0
    joined: str = ""
    then: str = ""
    function: str = ""
    nested: bool = False
    fed: str = ""


@dataclass
class Document:
    """A here-document that follows the line: the word that ends it, whether tabs before that do not count, whose it is."""

    word: str
    dash: bool
    draft: Draft


class Words(ABC):
    """A place in a script, and how a word is read from there. Commands of substitutions are read by ``commands``."""

    def __init__(self, text: str, line: int, level: int) -> None:
        self.text, self.end = text, len(text)
        self.at, self.line, self.level = 0, line, level
        self.drafts: list[Draft] = []
        self.functions: list[str] = []
        self.whole = True
        self.documents: list[Document] = []

    @abstractmethod
    def commands(self, until: str) -> None:
        """Read commands from here on, up to ``until`` or the end."""

    @abstractmethod
    def inner(self, text: str) -> Words:
        """A reader of the same kind for a text inside this one."""

    def newline(self) -> None:
        """Step over a line's end and the here-documents that follow it."""
        self.at += 1
        self.line += 1
        pending, self.documents = self.documents, []
        for document in pending:
            self._document(document)

    def _document(self, document: Document) -> None:
        start = self.at
        while self.at < self.end:
            stop = self.text.find("\n", self.at)
            stop = self.end if stop < 0 else stop
            here = self.text[self.at : stop]
            body = self.at
            self.at = min(stop + 1, self.end)
            self.line += 1
            if (here.lstrip("\t") if document.dash else here).rstrip("\r") == document.word:
                document.draft.fed += self.text[start:body]
                return
        self.whole = False

    def word(self) -> str:
        """The word that starts here, without its quotes."""
        parts: list[str] = []
        text = self.text
        while self.at < self.end:
            char = text[self.at]
            if char in BREAK:
                if char in "<>" and text.startswith("(", self.at + 1):
                    self.at += 2
                    parts.append(self._nested())
                    continue
                break
            if match := _PLAIN.match(text, self.at):
                parts.append(match[0])
                self.at = match.end()
            elif char == "'":
                parts.append(self._until("'", self.at + 1))
            elif char == '"':
                self.at += 1
                self._double(parts)
            elif char == "\\":
                if not text.startswith("\\\n", self.at):
                    parts.append(text[self.at + 1 : self.at + 2])
                else:
                    self.line += 1
                self.at += 2
            elif char == "`":
                parts.append(self._backquoted())
            else:
                self._dollar(parts, quoted=False)
        return "".join(parts)

    def _until(self, mark: str, start: int) -> str:
        stop = self.text.find(mark, start)
        if stop < 0:
            self.whole = False
            stop = self.end
        piece = self.text[start:stop]
        self.line += piece.count("\n")
        self.at = stop + 1
        return piece

    def _double(self, parts: list[str]) -> None:
        text = self.text
        while self.at < self.end:
            char = text[self.at]
            if match := _QUOTED.match(text, self.at):
                parts.append(match[0])
                self.line += match[0].count("\n")
                self.at = match.end()
            elif char == '"':
                self.at += 1
                return
            elif char == "\\":
                after = text[self.at + 1 : self.at + 2]
                parts.append("" if after == "\n" else after if after in '"\\$`' else char + after)
                self.line += after == "\n"
                self.at += 2
            elif char == "`":
                parts.append(self._backquoted())
            else:
                self._dollar(parts, quoted=True)
        self.whole = False

    def _dollar(self, parts: list[str], *, quoted: bool) -> None:
        text = self.text
        if text.startswith("$((", self.at):
            self.arithmetic(self.at + 3)
            parts.append(SUBSTITUTED)
        elif text.startswith("$(", self.at):
            self.at += 2
            parts.append(self._nested())
        elif text.startswith("${", self.at):
            start = self.at
            self._braces()
            parts.append(text[start : self.at])
        elif text.startswith("$'", self.at) and not quoted:
            start = self.at = self.at + 2
            while self.at < self.end and text[self.at] != "'":
                self.at += 2 if text[self.at] == "\\" else 1
            parts.append(text[start : self.at])
            self.line += text.count("\n", start, self.at)
            self.at += 1
        else:
            parts.append("$")
            self.at += 1

    def _braces(self) -> None:
        """Step over ``${…}``; quotes and inner braces are minded."""
        depth, quote = 0, ""
        while self.at < self.end:
            char = self.text[self.at]
            self.at += 1
            if char == "\n":
                self.line += 1
            if char == "\\":
                self.at += 1
            elif quote:
                quote = "" if char == quote else quote
            elif char == '"':
                quote = char
            elif char == "{":
                depth += 1
            elif char == "}":
                depth -= 1
                if depth == 0:
                    return
        self.whole = False

    def arithmetic(self, start: int) -> None:
        """Step over an arithmetic expression and its ``))``."""
        depth, self.at = 2, start
        while self.at < self.end and depth:
            char = self.text[self.at]
            depth += (char == "(") - (char == ")")
            self.line += char == "\n"
            self.at += 1
        if depth:
            self.whole = False

    def _nested(self) -> str:
        """Read the commands of a substitution whose opening was stepped over."""
        if self.level >= DEPTH:
            self.whole, self.at = False, self.end
            return SUBSTITUTED
        start = self.at
        self.level += 1
        self.commands(")")
        self.level -= 1
        return _standing(self.text[start : self.at])

    def _backquoted(self) -> str:
        start, at = self.at + 1, self.at + 1
        while at < self.end and self.text[at] != "`":
            at += 2 if self.text[at] == "\\" else 1
        if at >= self.end:
            self.whole = False
        inner = re.sub(r"\\([`\\$])", r"\1", self.text[start:at])
        if self.level < DEPTH:
            reader = self.inner(inner)
            reader.commands("")
            self.drafts.extend(reader.drafts)
            self.whole = self.whole and reader.whole
        else:
            self.whole = False
        self.line += inner.count("\n")
        self.at = at + 1
        return _standing(inner)


def _standing(commands: str) -> str:
    """What stands for the output of ``commands``: a script that looks for its own folder finds the one it is in."""
    return HERE if ("$0" in commands or "BASH_SOURCE" in commands) and "basename" not in commands else SUBSTITUTED
