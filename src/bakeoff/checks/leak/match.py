"""Whether something visible holds something hidden: pure functions over both.

What a task hides and what it shows have much in common without a fault: a solution writes a file anew of which most stands there
already, tests copy an input to see that it is unchanged, an instruction dictates a line that tests look for, what is asked for
is part of what is given. A match is more than that; the numbers here are what kept whole datasets of sound tasks clean.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Literal

from msgspec import Struct

from bakeoff.checks.leak.lines import squeezed, unquoted
from bakeoff.checks.leak.secrets import Secret, names_in
from bakeoff.checks.leak.seen import Seen, lines_in
from bakeoff.trials.packet import looks_private

RUN = 4
"""Consecutive distinctive lines of a hidden script that stand so in a visible file."""
SHARE, SHARE_LINES = 0.4, 4
"""The part of a hidden script's distinctive lines, and how many there must be at least, that stand in a visible file."""
SAID, SAID_LINES = 0.5, 3
"""The same for what an instruction says: of the lines of a script that act or judge, data in it left out."""
WHOLE_LETTERS = 60
"""Characters that a script must have beside boilerplate for its lines, all of them in a visible file, to mean anything."""
MOST = 0.5
"""The part of a visible file that is a hidden file's whole content for it to be the same thing under a few more lines."""
_TOKEN = re.compile(r"(?=\S*\d)(?=\S*[A-Za-z])\S{12,}")
_SMALL_VALUE = 5
_JUDGES = re.compile(
    r"\bassert|\bexpect|[=!]=|\bcmp\b|\bdiff\b|\bgrep\b|\bfail|\breward|\[\s|\btest\s|\s-(?:eq|ne|gt|lt)\s|\bshould\b"
)
_DOCUMENT = re.compile(r"^(?:readme|notes?|todo|hints?)\b|\.(?:md|rst|adoc)$", re.IGNORECASE)
_COMPILED = re.compile(r"(\w+)\.(?:\w+-\d+\w*\.)?(?:opt-\d\.)?pyc")
How = Literal["same", "whole", "lines", "value", "compiled"]


class Match(Struct, frozen=True):
    """``seen`` holds what ``secret`` hides. ``sound``: most likely without fault, worth a note alone."""

    seen: Seen
    secret: Secret
    how: How
    sound: bool = False


class Fingerprint:
    """All that a task hides, ready to be looked for. ``visible`` is everything that will be looked at."""

    def __init__(self, secrets: Sequence[Secret], visible: Sequence[Seen]) -> None:
        self._secrets = tuple(secrets)
        self._by_digest: dict[str, list[Secret]] = {}
        self._by_line: dict[str, list[int]] = {}
        for number, secret in enumerate(self._secrets):
            for digest in secret.digests:
                self._by_digest.setdefault(digest, []).append(secret)
            for line in secret.strong:
                self._by_line.setdefault(line, []).append(number)
        self._known: list[set[str]] = [set() for _ in self._secrets]
        told: set[str] = set()
        for seen in visible:
            self._know(seen)
            if seen.prose and seen.text:
                told |= names_in(seen.text)
        self._inputs = {name for name in told if not looks_private(name) and not name.lower().startswith("test")}
        self._modules = {seen.place.name[:-3] for seen in visible if seen.place.name.endswith(".py")}
        self._order = [
            {line: at for at, line in enumerate(line for line in secret.lines if line in secret.strong)}
            for secret in self._secrets
        ]

    def _know(self, seen: Seen) -> None:
        """Take from what is distinctive of a secret what stands in a visible file that the secret itself is about.

        What archives and old commits hold takes nothing away: there it is not in the agent's way, but to be found.
        """
        name = seen.place.name
        about = [number for number, secret in enumerate(self._secrets) if name and _is_about(secret, name)]
        if about and not seen.prose and not seen.place.inner:
            lines = set(lines_in(seen))
            for number in about:
                if not self._holds_all(lines, self._secrets[number]):
                    self._known[number] |= lines & self._secrets[number].strong

    def matches(self, seen: Seen) -> list[Match]:
        """What of the hidden stands in ``seen``, one match at most for each hidden file."""
        found: dict[str, Match] = {}
        for digest in seen.digests:
            for secret in self._by_digest.get(digest, ()):
                if secret.size >= _SMALL_VALUE and not _trivial(secret, seen):
                    found.setdefault(secret.path, Match(seen, secret, "same", self._is_copy(seen, secret)))
        if compiled := _COMPILED.fullmatch(seen.place.name):
            for secret in self._secrets:
                if secret.path.endswith(f"/{compiled.group(1)}.py") and compiled.group(1) not in self._modules:
                    found.setdefault(secret.path, Match(seen, secret, "compiled"))
        if seen.text:
            if not seen.prose:
                for match in self._in_file(seen):
                    found.setdefault(match.secret.path, match)
            if seen.prose or _DOCUMENT.search(seen.place.name):
                for match in self._in_prose(seen):
                    found.setdefault(match.secret.path, match)
        return [match for match in found.values() if match.secret.last >= seen.step]

    def _in_file(self, seen: Seen) -> Iterable[Match]:
        lines = lines_in(seen)
        runs, hits = self._runs(lines)
        present = set(lines)
        for number, shared in hits.items():
            secret = self._secrets[number]
            if not secret.script or secret.kind == "setup":
                continue
            rare = len(secret.strong - self._known[number])
            if runs[number] >= RUN or (len(shared) >= SHARE_LINES and len(shared) >= SHARE * rare):
                sound = _only_data(seen, secret, shared) or self._is_input(seen, secret)
                yield Match(seen, secret, "lines", sound)
        text = ""
        for secret in self._secrets:
            if secret.script:
                if self._holds_all(present, secret):
                    yield Match(seen, secret, "whole", self._is_input(seen, secret))
            elif len(secret.whole) >= 2 * _SMALL_VALUE:
                text = text or squeezed(seen.text or "")
                if secret.whole in text and (match := self._content(seen, secret, text)):
                    yield match

    def _runs(self, lines: Sequence[str]) -> tuple[dict[int, int], dict[int, set[str]]]:
        """For each secret the longest run of its distinctive lines, one after the other, and which of them there are at all."""
        longest: dict[int, int] = {}
        hits: dict[int, set[str]] = {}
        last: dict[int, tuple[int, int]] = {}
        for line in lines:
            for number in self._by_line.get(line, ()):
                if line in self._known[number]:
                    continue
                at = self._order[number][line]
                before, length = last.get(number, (-2, 0))
                length = length + 1 if at == before + 1 else 1
                last[number] = (at, length)
                longest[number] = max(longest.get(number, 0), length)
                hits.setdefault(number, set()).add(line)
        return longest, hits

    def _in_prose(self, seen: Seen) -> Iterable[Match]:
        text = unquoted(seen.text or "")
        lines = set(lines_in(seen))
        for secret in self._secrets:
            if secret.kind == "setup":
                continue
            if not secret.script:
                if match := self._quoted(seen, secret, text):
                    yield match
                continue
            telling = [line for line in secret.said if secret.kind != "tests" or _JUDGES.search(line)]
            there = sum(line.replace("`", "") in text for line in telling)
            if there >= SAID_LINES and there >= SAID * len(telling):
                yield Match(seen, secret, "lines")
            elif self._holds_all(lines, secret):
                yield Match(seen, secret, "whole")

    def _content(self, seen: Seen, secret: Secret, text: str) -> Match | None:
        """The whole of a data file in a longer file. What is asked for is often a part of what is given."""
        if len(secret.whole) >= MOST * len(text) or looks_private(seen.place.name):
            return Match(seen, secret, "whole", self._is_copy(seen, secret))
        return Match(seen, secret, "whole", sound=True) if len(secret.lines) > 2 and _private(secret) else None

    def _quoted(self, seen: Seen, secret: Secret, text: str) -> Match | None:
        """A data file in prose: of several lines as a whole, of one line where that is more than a word that has to be named."""
        value = secret.whole.replace("`", "")
        if len(value) < _SMALL_VALUE or value not in text:
            return None
        if len(secret.lines) > 1 and len(value) >= 2 * _SMALL_VALUE:
            return Match(seen, secret, "whole", self._is_copy(seen, secret))
        if re.search(rf"(?<!\w){re.escape(value)}(?!\w)", text) is None or value.startswith("/"):
            return None
        if _TOKEN.fullmatch(value) or len(value.split(" ")) > 4:
            return Match(seen, secret, "whole", self._is_copy(seen, secret))
        return Match(seen, secret, "value", sound=True) if any(letter.isdigit() for letter in value) else None

    def _is_copy(self, seen: Seen, secret: Secret) -> bool:
        """Whether the same may stand in both places: an input that tests compare with, or that a wrong solution leaves as it is."""
        if secret.kind == "wrong":
            return secret.path.rpartition("/")[2] != "solve.sh"
        if secret.kind == "solution":
            return _is_kept(seen, secret)
        if secret.kind != "tests" or _private(secret) or looks_private(seen.place.name):
            return False
        return not secret.script or self._is_input(seen, secret)

    def _is_input(self, seen: Seen, secret: Secret) -> bool:
        """Whether a visible file with something of the tests in it is one that an instruction names, as what is worked on."""
        return secret.kind == "tests" and not seen.place.inner and seen.place.name in self._inputs

    @staticmethod
    def _holds_all(lines: set[str], secret: Secret) -> bool:
        """Whether every line of a script, boilerplate and comments aside, is among ``lines``."""
        return (
            bool(secret.strong)
            and sum(map(len, secret.lines)) >= WHOLE_LETTERS
            and all(line in lines for line in secret.lines)
        )


def _is_about(secret: Secret, name: str) -> bool:
    """Whether a hidden file deals with a visible one of this name: names it, or is another state of it."""
    return name in secret.names or name == secret.path.rpartition("/")[2]


def _trivial(secret: Secret, seen: Seen) -> bool:
    """Whether two small files can be the same by chance."""
    name = secret.path.rpartition("/")[2]
    small = not secret.strong if secret.script else secret.size < 16
    return small and (name != seen.place.name or name == "__init__.py")


def _is_kept(seen: Seen, secret: Secret) -> bool:
    """Whether a solution that brings a folder of files anew has this one in it as it was: the same path, of some length."""
    path = secret.path.rpartition("solution/")[2]
    return "/" in path and not seen.place.inner and (seen.place.path or seen.place.file).endswith(f"/{path}")


def _private(secret: Secret) -> bool:
    """Whether the hidden file's name says that it is for judging, wherever it lies."""
    return secret.kind == "solution" or looks_private(secret.path)


def _only_data(seen: Seen, secret: Secret, shared: set[str]) -> bool:
    """Whether tests have in common with a visible file only data, which they may have from there."""
    return secret.kind == "tests" and not shared & secret.said and not looks_private(seen.place.name)
