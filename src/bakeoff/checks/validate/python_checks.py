"""Python tests that cannot fail, are hidden by others, or are never reached."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import cast

from bakeoff.checks.validate.python_code import called, dotted, own
from bakeoff.checks.validate.python_truth import always_true, cannot_fail, never_true
from bakeoff.checks.validate.reach import Reach
from bakeoff.checks.validate.sources import Fault, Source

Function = ast.FunctionDef | ast.AsyncFunctionDef
_CHECK = re.compile(r"(test|check|verify|validate|assert|expect|ensure)(_\w+|[A-Z]\w*)|test\w*")
_REMEMBERS = ast.Assign | ast.AugAssign | ast.AnnAssign | ast.Call
_LOOKUPS = re.compile(r"\b(globals|locals|vars|dir|getattr|getmembers|__dict__)\b")
_ENDING_CALLS = ("sys.exit", "os._exit", "exit", "quit", "pytest.skip", "pytest.fail", "self.fail", "self.skipTest")


def python_faults(tests: Mapping[str, Source], reached: Reach) -> Iterator[Fault]:
    """What is wrong with the Python files among the tests that are run."""
    words = {word for source in tests.values() if source.kind != "binary" for word in _used(source)}
    dynamic = any(_LOOKUPS.search(source.text) for source in tests.values() if source.kind == "python")
    for source in reached.run:
        nodes = source.python.nodes
        found: list[Found] = [
            *_empty_tests(nodes, reached),
            *_true_asserts(nodes),
            *_hidden(nodes),
            *_unreached(nodes),
            *_swallowed(nodes),
            *(() if dynamic else _uncalled(source, reached, words)),
        ]
        for node, message in sorted(found, key=lambda item: item[0].lineno):
            yield source.fault(node.lineno, message)


def syntax_faults(run: Iterable[Source]) -> Iterator[tuple[Fault, bool]]:
    """Files that are no Python; the second value is True where a later Python than this one may read them."""
    message = "not valid Python, so that nothing in this file is checked; wanted a file that Python can read"
    for source in run:
        if (broken := source.python.broken) is not None and not re.match(r"#!.*python2", source.text):
            yield source.fault(broken.line, message), broken.newer


Found = tuple[ast.stmt | ast.expr, str]


def _name(decorator: ast.expr) -> str:
    return dotted(decorator.func if isinstance(decorator, ast.Call) else decorator)


def _blocks(nodes: Sequence[ast.AST]) -> list[list[ast.stmt]]:
    """Every list of statements in a file."""
    blocks: list[list[ast.stmt]] = []
    for node in nodes:
        if isinstance(node, ast.expr):
            continue
        for name in ("body", "orelse", "finalbody"):
            block = getattr(node, name, None)
            if isinstance(block, list):
                blocks.append([item for item in cast("list[object]", block) if isinstance(item, ast.stmt)])
    return blocks


def _tests(nodes: Sequence[ast.AST]) -> Iterator[Function]:
    """Functions that a runner takes for tests: of the file itself, and of its classes."""
    for node in nodes:
        if isinstance(node, ast.Module | ast.ClassDef):
            for item in node.body:
                if isinstance(item, Function) and item.name.startswith("test"):
                    yield item


def _empty_tests(nodes: Sequence[ast.AST], reached: Reach) -> Iterator[Found]:
    for test in _tests(nodes):
        if reached.collects and any(
            _name(decorator) in ("pytest.mark.skip", "unittest.skip") for decorator in test.decorator_list
        ):
            yield test, f"the test {test.name} is always skipped; wanted a test that runs, or none"
            continue
        told = any(isinstance(item, ast.Assert) and _true_by_slip(item.test) for item in test.body)
        if all(cannot_fail(statement) for statement in test.body) and not told and not _fixtures(test):
            yield (
                test,
                f"the test {test.name} cannot fail: nothing in it checks; wanted an assertion, or the test removed",
            )


def _fixtures(test: Function) -> bool:
    """True where something that the test is given may check in its stead."""
    arguments = [argument.arg for argument in test.args.args]
    return bool(set(arguments) - {"self", "cls"})


def _true_asserts(nodes: Sequence[ast.AST]) -> Iterator[Found]:
    for node in nodes:
        if not isinstance(node, ast.Assert):
            continue
        if isinstance(node.test, ast.Tuple) and node.test.elts:
            yield (
                node,
                "a parenthesis makes this assert a pair, which is always true; wanted: assert CONDITION, MESSAGE",
            )
        elif _true_by_slip(node.test):
            yield node, "this assertion is always true; wanted a condition that a wrong result does not meet"


def _true_by_slip(test: ast.expr) -> bool:
    """True for conditions that always hold, but for the plain True that says so."""
    return always_true(test) and not (isinstance(test, ast.Constant) and test.value is True)


def _hidden(nodes: Sequence[ast.AST]) -> Iterator[Found]:
    for block in _blocks(nodes):
        seen: dict[str, int] = {}
        for index, item in enumerate(block):
            if not isinstance(item, Function | ast.ClassDef) or not _CHECK.fullmatch(item.name.lstrip("_").lower()):
                continue
            plain = all(_name(decorator).startswith("pytest.") for decorator in item.decorator_list)
            if not plain:
                continue
            first = seen.get(item.name)
            if first is not None and not _read(item.name, block[first + 1 : index]):
                line = block[first].lineno
                message = f"a second {item.name} in one scope: the one in line {line} is never run"
                yield item, f"{message}; wanted a name of its own for each"
            seen[item.name] = index


def _read(name: str, statements: Sequence[ast.stmt]) -> bool:
    return any(
        isinstance(node, ast.Name) and node.id == name for statement in statements for node in ast.walk(statement)
    )


def _unreached(nodes: Sequence[ast.AST]) -> Iterator[Found]:
    for block in _blocks(nodes):
        for statement, following in pairwise(block):
            word = _leaves(statement)
            if word and not _only_yields(following):
                message = f"never runs: it stands after the {word} in line {statement.lineno}"
                yield following, f"{message}; wanted it before that line, or removed"
                break
    for node in nodes:
        if isinstance(node, ast.If | ast.While) and never_true(node.test):
            inside = (inner for item in node.body for inner in ast.walk(item))
            if any(isinstance(inner, ast.Assert | ast.Raise | ast.Call) for inner in inside):
                yield node, "a check below a condition that never holds; wanted it to run, or removed"


def _leaves(statement: ast.stmt) -> str:
    match statement:
        case ast.Return() | ast.Raise() | ast.Continue() | ast.Break():
            return type(statement).__name__.lower()
        case ast.Expr(value=ast.Call(func=ast.Name() | ast.Attribute(value=ast.Name()) as func)):
            name = dotted(func)
            return name if name in _ENDING_CALLS else ""
        case _:
            return ""


def _only_yields(statement: ast.stmt) -> bool:
    """True for the ``yield`` that makes a function a generator, which no one expects to run."""
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Yield | ast.YieldFrom)


def _swallowed(nodes: Sequence[ast.AST]) -> Iterator[Found]:
    wanted = "wanted the assertion outside of it, or the exception named that is meant"
    for node in nodes:
        if isinstance(node, ast.Try) and not node.orelse and (check := _last_check(node.body)) is not None:
            for handler in node.handlers:
                names = _caught(handler)
                if not names & {"", "Exception", "BaseException", "AssertionError"}:
                    continue
                if all(cannot_fail(item) or isinstance(item, ast.Continue) for item in handler.body):
                    yield (
                        check,
                        f"what this assertion finds is dropped by the except in line {handler.lineno}; {wanted}",
                    )
                break
        elif isinstance(node, ast.With) and any(_suppresses(item.context_expr) for item in node.items):
            dropped = _last_check(node.body)
            if dropped is not None:
                yield dropped, f"what this assertion finds is dropped by the suppress in line {node.lineno}; {wanted}"


def _suppresses(context: ast.expr) -> bool:
    if not isinstance(context, ast.Call) or called(context) not in ("suppress", "contextlib.suppress"):
        return False
    return any(dotted(kind) in ("Exception", "BaseException", "AssertionError") for kind in context.args)


def _caught(handler: ast.ExceptHandler) -> set[str]:
    if handler.type is None:
        return {""}
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return {dotted(kind) for kind in kinds}


def _last_check(body: Sequence[ast.stmt]) -> ast.stmt | None:
    """An assertion in a block after which nothing remembers that it held."""
    found = [node for statement in body for node in (statement, *own(statement))]
    placed = [node for node in found if isinstance(node, ast.stmt | ast.expr)]
    placed.sort(key=lambda node: (node.lineno, node.col_offset))
    check: ast.Assert | None = None
    inside: set[int] = set()
    for node in placed:
        if isinstance(node, ast.Assert):
            check = node
            inside = {id(inner) for inner in ast.walk(node)}
        elif isinstance(node, ast.Return | ast.Break | ast.Continue) or (
            check is not None and id(node) not in inside and isinstance(node, _REMEMBERS)
        ):
            return None
    return check


def _used(source: Source) -> set[str]:
    """Every name that a file reads, and every word of its texts."""
    if source.kind != "python" or source.python.tree is None:
        return set(re.findall(r"\w+", source.text))
    used: set[str] = set()
    for node in source.python.nodes:
        match node:
            case ast.Name(id=name, ctx=ast.Load()):
                used.add(name)
            case ast.Attribute(attr=name):
                used.add(name)
            case ast.Constant(value=str() as text):
                used.update(re.findall(r"\w+", text))
            case ast.ImportFrom(names=names):
                used.update(name.name for name in names)
            case _:
                pass
    return used


def _uncalled(source: Source, reached: Reach, words: set[str]) -> Iterator[Found]:
    if source.python.tree is None:
        return
    for item in source.python.tree.body:
        if not isinstance(item, Function) or item.decorator_list or not _CHECK.fullmatch(item.name):
            continue
        if item.name in words or (reached.collects and item.name.startswith("test")) or item.name == "test":
            continue
        yield item, f"{item.name} looks like a check, and nothing calls it; wanted a call, or the function removed"
