"""Python files as syntax trees, and what their expressions for paths and addresses come to. Nothing is executed."""

from __future__ import annotations

import ast
import posixpath
import re
import warnings
from collections.abc import Iterator
from functools import lru_cache

from msgspec import Struct

from bakeoff.checks.validate.texts import ANY

_DEPTH = 20
_LONGEST = 1024
_PATHS = ("Path", "PurePath", "PosixPath", "PurePosixPath")
_SAME = ("str", "fsdecode", "fspath", "abspath", "realpath", "normpath", "expanduser", "expandvars")
_SAME_PATH = ("resolve", "absolute", "expanduser", "as_posix", "strip", "rstrip", "__str__")
_NEWER = re.compile(r"\s*(type\s+\w|(async\s+)?(def|class)\s+\w+\s*\[|except\s+\w+\s*,)")


class Broken(Struct, frozen=True):
    """Why a file is no Python for this interpreter; ``newer`` where a later Python may well read it."""

    line: int
    newer: bool


class Python:
    """A file's tree (None where it has none, and then ``broken`` says why) and what its names stand for."""

    def __init__(self, tree: ast.Module | None, broken: Broken | None, place: str) -> None:
        self.tree = tree
        self.broken = broken
        self.place = place
        self.nodes: tuple[ast.AST, ...] = tuple(ast.walk(tree)) if tree is not None else ()
        self._values: dict[str, list[ast.expr]] = {}
        self._known: dict[str, str] = {}
        self._read_assignments()

    def _read_assignments(self) -> None:
        unknown: set[str] = set()
        for node in self.nodes:
            if isinstance(node, ast.Assign):
                for target in node.targets:
                    if isinstance(target, ast.Name):
                        self._values.setdefault(target.id, []).append(node.value)
                    else:
                        unknown.update(_names(target))
            elif isinstance(node, ast.AnnAssign | ast.NamedExpr) and isinstance(node.target, ast.Name):
                if node.value is not None:
                    self._values.setdefault(node.target.id, []).append(node.value)
            elif isinstance(node, ast.For | ast.AsyncFor | ast.comprehension | ast.AugAssign):
                unknown.update(_names(node.target))
            elif isinstance(node, ast.arg):
                unknown.add(node.arg)
            elif isinstance(node, ast.withitem) and node.optional_vars is not None:
                unknown.update(_names(node.optional_vars))
        for name in unknown:
            self._known[name] = ANY

    def value(self, node: ast.expr) -> str:
        """The text that an expression comes to, with ``*`` for what cannot be told."""
        return self._value(node, _DEPTH)

    def _value(self, node: ast.expr, depth: int) -> str:
        text = self._worked_out(node, depth - 1) if depth else ANY
        return text if len(text) <= _LONGEST else ANY

    def _worked_out(self, node: ast.expr, depth: int) -> str:
        match node:
            case ast.Constant(value=str() as text):
                return text
            case ast.Constant(value=bool()):
                return ANY
            case ast.Constant(value=int() as number):
                return str(number) if abs(number) < 1 << 64 else ANY
            case ast.JoinedStr(values=values):
                return _merged("".join(self._value(part, depth) for part in values))
            case ast.FormattedValue(value=value):
                return self._value(value, depth)
            case ast.Name(id=name):
                return self._name(name, depth)
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                return _merged(self._value(left, depth) + self._value(right, depth))
            case ast.BinOp(left=left, op=ast.Div(), right=right):
                return joined(self._value(left, depth), self._value(right, depth))
            case ast.BinOp(left=left, op=ast.Mod()):
                return _merged(re.sub(r"%[-+# 0-9.]*[a-z]", ANY, self._value(left, depth)))
            case ast.Attribute(value=value, attr="parent"):
                return _parent(self._value(value, depth))
            case ast.Call():
                return self._call(node, depth)
            case _:
                return ANY

    def _name(self, name: str, depth: int) -> str:
        if name == "__file__":
            return self.place
        if name not in self._known:
            # Names that are defined by themselves are unknown while they are worked out.
            self._known[name] = ANY
            values = {self._value(value, depth) for value in self._values.get(name, ())[:4]}
            self._known[name] = values.pop() if len(values) == 1 else ANY
        return self._known[name]

    def _call(self, node: ast.Call, depth: int) -> str:
        name = called(node)
        last = name.rpartition(".")[2]
        args = node.args
        if last in _PATHS or name.endswith("path.join"):
            return joined(*(self._value(arg, depth) for arg in args)) if args else ANY
        if last in _SAME and args:
            return self._value(args[0], depth)
        if last == "dirname" and args:
            return _parent(self._value(args[0], depth))
        if last == "getenv" or name.endswith("environ.get"):
            return self._value(args[1], depth) if len(args) > 1 else ANY
        if isinstance(node.func, ast.Attribute):
            inner = self._value(node.func.value, depth)
            if last in _SAME_PATH:
                return inner
            if last == "joinpath":
                return joined(inner, *(self._value(arg, depth) for arg in args))
            if last == "format":
                return _merged(re.sub(r"\{[^{}]*\}", ANY, inner))
        return ANY


@lru_cache(maxsize=16)
def parse_python(text: str, place: str) -> Python:
    """The tree of a Python file that stands at ``place`` in the sandbox. Never fails.

    The last few are kept: the tasks of a dataset often share their judge.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return Python(ast.parse(text), None, place)
    except SyntaxError as error:
        line = (error.text or "") if error.lineno else ""
        newer = error.msg.startswith("f-string") or bool(_NEWER.match(line))
        return Python(None, Broken(error.lineno or 1, newer), place)
    except ValueError:
        # A NUL, or a number that is too long.
        return Python(None, Broken(text.count("\n", 0, max(text.find("\0"), 0)) + 1, False), place)
    except (RecursionError, MemoryError):
        # Nested deeper than a compiler goes: nothing can be said of it.
        return Python(None, None, place)


def called(node: ast.Call) -> str:
    """The dotted name of what is called, without what stands before the last call or index in it (``.get`` of ``f().get``)."""
    return dotted(node.func)


def dotted(node: ast.expr) -> str:
    """``a.b.c`` for that expression, ``.c`` where something else than a name stands before it."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute) and len(parts) < 20:
        parts.append(node.attr)
        node = node.value
    parts.append(node.id if isinstance(node, ast.Name) else "")
    return ".".join(reversed(parts))


def docstrings(nodes: tuple[ast.AST, ...]) -> set[int]:
    """The ids of the constants that stand alone as statements: texts for readers."""
    return {id(node.value) for node in nodes if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)}


def own(node: ast.AST) -> Iterator[ast.AST]:
    """Everything below a node that runs with it: not what functions and classes inside it hold."""
    pending = list(ast.iter_child_nodes(node))
    while pending:
        here = pending.pop()
        yield here
        if not isinstance(here, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            pending.extend(ast.iter_child_nodes(here))


def joined(*parts: str) -> str:
    """Paths joined as the system does: an absolute part starts anew."""
    path = ""
    for part in parts:
        path = part if part.startswith("/") or not path else f"{path.rstrip('/')}/{part}"
    return path


def _parent(path: str) -> str:
    return ANY if ANY in posixpath.basename(path) else posixpath.dirname(path)


def _merged(text: str) -> str:
    return re.sub(r"\*{2,}", ANY, text)


def _names(target: ast.expr) -> set[str]:
    return {node.id for node in ast.walk(target) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
