"""Which files a text names: whole names, folders, and patterns of names that are put together while it runs."""

from __future__ import annotations

import ast
import re

from bakeoff.checks.validate.python_code import called, docstrings
from bakeoff.checks.validate.shell_values import program
from bakeoff.checks.validate.sources import Source
from bakeoff.checks.validate.texts import ANY, glob_matches, stands, words

_PROSE = 64 << 10
_SUFFIX = re.compile(r"\.[A-Za-z0-9_.]{1,20}")
_EVERYTHING = re.compile(r"(\.|\*|/tests)?/?(\.|\*+(/\*+)*)?")
_TAKES_NO_FILES = words("cd pushd mkdir export chmod chown echo printf test [ [[ rm python python3 pytest")
_LISTING = words("listdir scandir walk iterdir glob rglob iglob copytree make_archive")
_OF_AN_OBJECT = words("iterdir glob rglob walk")


class Mentions:
    """What one file's text names. ``everything`` is true where it takes whatever is in its folder."""

    def __init__(self, source: Source) -> None:
        self.everything = False
        self.modules: set[str] = set()
        self._texts: list[str] = []
        if source.kind == "shell" and source.whole:
            self._of_shell(source)
        elif source.kind == "python" and source.python.tree is not None:
            self._of_python(source)
        elif source.kind == "binary":
            # A compiled judge names its files too.
            self._texts.append(source.data.decode("latin-1"))
        else:
            self._texts.append(source.text[:_PROSE])
        self._exact = set(self._texts)
        self._blob = "\n".join(self._texts)
        self._patterns = tuple({_pattern(text) for text in self._texts if len(text) < 300 and set(text) & set("*?[")})
        self._endings = tuple({text for text in self._texts if _SUFFIX.fullmatch(text)})

    def _of_shell(self, source: Source) -> None:
        if not source.shell.whole:
            self._texts.append(source.text)
        for command in source.commands:
            self._texts += command.texts
            ran = program(command.words)
            takes = ran[0].rpartition("/")[2] not in _TAKES_NO_FILES if ran else False
            if takes and any(word and _EVERYTHING.fullmatch(word) for word in ran[1:]):
                self.everything = self.everything or not (ran[0] == "find" and "." not in ran and "/tests" not in ran)

    def _of_python(self, source: Source) -> None:
        python = source.python
        prose = docstrings(python.nodes)
        for node in python.nodes:
            match node:
                case ast.Constant(value=str() as text) if id(node) not in prose:
                    self._texts.append(text)
                case ast.JoinedStr() | ast.BinOp():
                    self._texts.append(python.value(node))
                case ast.Import(names=names):
                    self.modules.update(part for name in names for part in name.name.split("."))
                case ast.ImportFrom(module=module, names=names):
                    self.modules.update((module or "").split("."))
                    self.modules.update(name.name for name in names)
                case ast.Call():
                    self._texts.append(python.value(node))
                    self._listing(source, node)
                case _:
                    pass

    def _listing(self, source: Source, node: ast.Call) -> None:
        name = called(node).rpartition(".")[2]
        if name == "discover":
            self.everything = True
        if name not in _LISTING:
            return
        python = source.python
        base = "" if node.args else "."
        if (
            isinstance(node.func, ast.Attribute)
            and name in _OF_AN_OBJECT
            and called(node) not in ("os.walk", "glob.glob")
        ):
            base = python.value(node.func.value)
            given = python.value(node.args[0]) if node.args else ANY
            if base.startswith("/tests") and given != ANY and name != "walk":
                self._texts.append(given)
                return
        elif node.args:
            base = python.value(node.args[0])
        if base in (ANY, ".", "") or base.startswith(("/tests", ANY + "/")):
            self.everything = self.everything or base in (ANY, ".", "", "/tests", "/tests/", "/tests/*")
            self._texts.append(base)

    def names(self, place: str) -> bool:
        """True where this text names the file at ``place`` (a path relative to the folder both are in), or takes everything there."""
        return self.everything or self.says(place)

    def says(self, place: str) -> bool:
        """True where this text has the name of the file, a pattern that fits it, or the name of a folder that it is in."""
        *folders, name = place.split("/")
        stem = name.removesuffix(".py")
        if stem != name and (stem in self.modules or stem in self._exact):
            return True
        if any(stands(part, self._blob) for part in (name, *folders)):
            return True
        if any(name.endswith(ending) and name != ending for ending in self._endings):
            return True
        return any(_fits(pattern, place) for pattern in self._patterns)


def _pattern(text: str) -> str:
    """The last folder and name of a pattern, every wildcard as ``*``; empty where it says nothing of the name."""
    pattern = re.sub(r"\*+", ANY, re.sub(r"\?|\[[^\]]{0,60}\]", ANY, text))
    last = pattern.rstrip("/").rpartition("/")[2]
    return last if len(last.strip("*.")) > 0 else ""


def _fits(pattern: str, place: str) -> bool:
    return bool(pattern) and any(glob_matches(pattern, part) for part in place.split("/"))
