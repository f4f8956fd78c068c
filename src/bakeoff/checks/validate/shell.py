"""Shell scripts as a list of commands: enough of POSIX sh and bash to know what is run, where, and on which condition.

A reader for scripts that others wrote: it never fails. Where a script is not understood, ``whole`` is false, and what was read
until then stands. It is linear in the script's length, but for commands inside backquotes, which are read once a level.
"""

from __future__ import annotations

import re

from msgspec import Struct

from bakeoff.checks.validate.shell_words import BREAK, Document, Draft, Words

_REDIRECT = re.compile(r"\d*(<<<|<<-?|<>|<&|>&|>>|>\||&>>|&>|<|>)")
_ASSIGN = re.compile(r"([A-Za-z_]\w*)(?:\[[^\]\n]{0,80}\])?\+?=")
_NAME = re.compile(r"[ \t]*([\w.:-]+)[ \t]*(?:\([ \t]*\))?")
_OPERATOR = re.compile(r";;&|;;|;&|;|&&|&|\|\||\|&|\|")
_OPENING = frozenset(("if", "while", "until", "for", "select", "case", "{"))
_CLOSING = {"fi": ("if",), "done": ("while", "until", "for", "select"), "}": ("{",), "esac": ("case",)}
_NO_ARGUMENTS = re.compile(r"\([ \t]*\)")
_BETWEEN = frozenset(("then", "else", "elif", "do", "!", "time"))
_NESTING = 200


class Command(Struct, frozen=True):
    """One simple command. ``words`` have their quotes removed, and variables as they were written.

    ``depth`` counts the compound commands around it (0: top level), ``joined`` is the operator before it (``&&``, ``||``, ``|``,
    ``&`` or empty), ``then`` the one after; ``function`` names the function whose body it is in, ``nested`` says that it is in a
    substitution. ``reads`` and ``writes`` are files it is redirected from and to; ``fed`` is its here-document.
    """

    line: int
    words: tuple[str, ...]
    assigns: tuple[tuple[str, str], ...] = ()
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    depth: int = 0
    joined: str = ""
    then: str = ""
    function: str = ""
    nested: bool = False
    fed: str = ""

    @property
    def texts(self) -> tuple[str, ...]:
        """Everything that it says."""
        return (*self.words, *(value for _, value in self.assigns), *self.reads, *self.writes, self.fed)

    @property
    def always(self) -> bool:
        """True where it runs whenever the script gets there."""
        return not (self.depth or self.joined in ("&&", "||") or self.function or self.nested)


class Shell(Struct, frozen=True):
    commands: tuple[Command, ...] = ()
    functions: tuple[str, ...] = ()
    whole: bool = True


def parse_shell(text: str) -> Shell:
    """Every command in a script, those in substitutions after the one whose word they make."""
    reader = _Reader(text, 1, 0)
    reader.commands("")
    found = tuple(
        Command(
            draft.line,
            tuple(draft.words),
            tuple(draft.assigns),
            tuple(draft.reads),
            tuple(draft.writes),
            draft.depth,
            draft.joined,
            draft.then,
            draft.function,
            draft.nested,
            draft.fed,
        )
        for draft in reader.drafts
        if draft.words or draft.assigns or draft.reads or draft.writes
    )
    return Shell(found, tuple(reader.functions), reader.whole)


class _Reader(Words):
    def inner(self, text: str) -> Words:
        return _Reader(text, self.line, self.level + 1)

    def commands(self, until: str) -> None:
        """Read commands up to ``until`` (``)`` or the text's end) and step over it."""
        block = _Block(self, until)
        while self.at < self.end:
            if not block.step():
                return
        block.end("")
        if until or block.stack:
            self.whole = False


class _Block:
    """One list of commands being read: the compound commands that are open in it, and the command at hand."""

    def __init__(self, reader: _Reader, until: str) -> None:
        self.reader, self.until = reader, until
        self.stack: list[str] = []
        self.bodies: list[tuple[int, str]] = []
        self.function = ""
        self.draft: Draft | None = None
        self.joined = ""
        self.patterns = False

    def step(self) -> bool:
        """Take one token; False where the list has ended."""
        reader = self.reader
        char = reader.text[reader.at]
        if self._in_test():
            self._test(char)
        elif char == "\n":
            self.end("")
            reader.newline()
        elif char in " \t\r":
            reader.at += 1
        elif char == "\\" and reader.text.startswith("\\\n", reader.at):
            reader.at += 2
            reader.line += 1
        elif char == "#":
            stop = reader.text.find("\n", reader.at)
            reader.at = reader.end if stop < 0 else stop
        elif self.patterns:
            self._pattern()
        elif char == ")":
            reader.at += 1
            return self._close()
        elif char == "(":
            self._open()
        elif match := _REDIRECT.match(reader.text, reader.at):
            if char in "<>" and reader.text.startswith("(", reader.at + 1):
                self._word()
            else:
                self._redirect(match[1], match.end())
        elif match := _OPERATOR.match(reader.text, reader.at):
            reader.at = match.end()
            self.end(match[0])
        else:
            self._word()
        return True

    def end(self, operator: str) -> None:
        """The command at hand is complete."""
        if self.draft is not None:
            self.draft.then = operator
            self.draft = None
            self.joined = ""
        if operator:
            self.joined = {"|&": "|"}.get(operator, operator) if operator in ("&&", "||", "|", "|&") else ""
        if operator in (";;", ";&", ";;&") and self.stack and self.stack[-1] == "case":
            self.patterns = True

    def _start(self) -> Draft:
        if self.draft is None:
            reader = self.reader
            nested = reader.level > 0
            self.draft = Draft(
                reader.line, depth=len(self.stack), joined=self.joined, function=self.function, nested=nested
            )
            reader.drafts.append(self.draft)
        return self.draft

    # ---- compound commands ----

    def _push(self, kind: str) -> None:
        self.stack.append(kind)
        self.joined = ""
        if len(self.stack) > _NESTING:
            self.reader.whole, self.reader.at = False, self.reader.end

    def _pop(self, kinds: tuple[str, ...]) -> None:
        if not self.stack or self.stack[-1] not in kinds:
            self.reader.whole = False
            return
        self.stack.pop()
        if self.bodies and self.bodies[-1][0] == len(self.stack):
            self.function = self.bodies.pop()[1]
        # Redirections and operators after the closing word belong to a command without words.
        self.draft = None
        self._start()

    def _open(self) -> None:
        reader = self.reader
        named = self.draft is not None and len(self.draft.words) == 1 and not self.draft.reads
        if self.draft is not None and named and (match := _NO_ARGUMENTS.match(reader.text, reader.at)):
            reader.at = match.end()
            self._define(self.draft.words.pop())
            self.draft = None
            return
        reader.at += 1
        if self.draft is None or not self.draft.words:
            if reader.text.startswith("(", reader.at):
                self._start().words.append("((")
                reader.arithmetic(reader.at + 1)
            else:
                self._push("(")
        else:
            reader.whole = False

    def _define(self, name: str) -> None:
        self.reader.functions.append(name)
        self.bodies.append((len(self.stack), self.function))
        self.function = name

    def _close(self) -> bool:
        self.end("")
        if self.stack and self.stack[-1] == "(":
            self._pop(("(",))
            return True
        if self.until and not self.stack:
            return False
        # A parenthesis that no open command explains: what was read is unsure, but a substitution ends here.
        self.reader.whole = False
        return not self.until

    def _pattern(self) -> None:
        """Step over the pattern of a case, up to its parenthesis, or over the ``esac``."""
        reader = self.reader
        if reader.text[reader.at] in "(|":
            reader.at += 1
        elif reader.text[reader.at] == ")":
            reader.at += 1
            self.patterns = False
        elif reader.text[reader.at] in BREAK:
            reader.at += 1
            reader.whole = False
        elif reader.word() == "esac":
            self.patterns = False
            self._pop(("case",))

    # ---- words ----

    def _word(self) -> None:
        reader = self.reader
        start = reader.at
        if self.draft is None or not (self.draft.words or self.draft.assigns):
            raw = _NAME.match(reader.text, start)
            if self._reserved(raw[0].strip() if raw else reader.text[start : start + 1]):
                return
        draft = self._start()
        match = _ASSIGN.match(reader.text, start)
        if match and not draft.words:
            self._assignment(match)
            return
        draft.words.append(reader.word())
        if reader.at == start:
            # Nothing that a word can begin with: step over it, so that every step moves on.
            reader.at += 1
        elif match and reader.text.startswith("(", reader.at):
            self._array()

    def _in_test(self) -> bool:
        words = self.draft.words if self.draft is not None else ()
        return bool(words) and words[0] == "[[" and words[-1] != "]]"

    def _test(self, char: str) -> None:
        """Take one word of ``[[ … ]]``, where operators of the shell are operators of the test."""
        reader = self.reader
        if char == "\n":
            reader.newline()
        elif char in " \t\r":
            reader.at += 1
        elif char in BREAK:
            reader.at += 1
            self._start().words.append(char)
        else:
            self._start().words.append(reader.word())

    def _assignment(self, match: re.Match[str]) -> None:
        reader = self.reader
        draft = self._start()
        reader.at = match.end()
        if reader.text.startswith("(", reader.at):
            for value in self._array():
                draft.assigns.append((match[1], value))
        else:
            draft.assigns.append((match[1], reader.word()))

    def _array(self) -> list[str]:
        reader = self.reader
        reader.at += 1
        values: list[str] = []
        while reader.at < reader.end:
            char = reader.text[reader.at]
            if char == ")":
                reader.at += 1
                return values
            if char == "\n":
                reader.newline()
            elif char == "#":
                stop = reader.text.find("\n", reader.at)
                reader.at = reader.end if stop < 0 else stop
            elif char in BREAK:
                reader.at += 1
            else:
                values.append(reader.word())
        reader.whole = False
        return values

    def _reserved(self, bare: str) -> bool:
        """Take a reserved word, if one stands here."""
        reader = self.reader
        after = reader.at + len(bare)
        if after < reader.end and reader.text[after] not in BREAK:
            return False
        if bare in _BETWEEN:
            reader.at = after
            if bare not in ("!", "time"):
                self.draft, self.joined = None, ""
        elif bare in _CLOSING:
            reader.at = after
            self.draft = None
            self._pop(_CLOSING[bare])
        elif bare == "function":
            match = _NAME.match(reader.text, after)
            reader.at = match.end() if match else after
            self._define(match[1] if match else "")
        elif bare in _OPENING:
            self._compound(bare, after)
        else:
            return False
        return True

    def _compound(self, kind: str, after: int) -> None:
        reader = self.reader
        joined = self.joined
        reader.at = after
        if kind == "case":
            self._skip_blanks()
            reader.word()
            self._skip_blanks()
            if reader.text.startswith("in", reader.at):
                reader.at += 2
            self._push(kind)
            self.patterns = True
        else:
            self._push(kind)
            if kind in ("for", "select"):
                self.joined = joined
                self._start().words.append(kind)
            elif kind == "{" and joined in ("&&", "||"):
                # What a brace holds is as conditional as the brace.
                self.joined = joined

    def _skip_blanks(self) -> None:
        reader = self.reader
        while reader.at < reader.end and reader.text[reader.at] in " \t\r\n":
            if reader.text[reader.at] == "\n":
                reader.newline()
            else:
                reader.at += 1

    def _redirect(self, operator: str, after: int) -> None:
        reader = self.reader
        draft = self._start()
        reader.at = after
        while reader.at < reader.end and reader.text[reader.at] in " \t":
            reader.at += 1
        target = reader.word()
        if operator in ("<<", "<<-"):
            reader.documents.append(Document(target, operator == "<<-", draft))
        elif operator == "<<<":
            draft.fed += target
        elif operator in ("<", "<>"):
            draft.reads.append(target)
        elif operator != "<&" and not target.isdigit() and target != "-":
            draft.writes.append(target)
