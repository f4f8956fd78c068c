"""Conditions and statements of Python whose result is known without running them."""

from __future__ import annotations

import ast

from bakeoff.checks.validate.python_code import called


def always_true(test: ast.expr) -> bool:
    """True for conditions that hold whatever the program did."""
    match test:
        case ast.Constant(value=value):
            return bool(value)
        case ast.Tuple(elts=elements) | ast.List(elts=elements):
            return bool(elements) and not any(isinstance(element, ast.Starred) for element in elements)
        case ast.JoinedStr(values=values):
            return any(isinstance(value, ast.Constant) and value.value for value in values)
        case ast.BoolOp(op=ast.Or(), values=values):
            return any(isinstance(value, ast.Constant) and bool(value.value) for value in values)
        case ast.Compare(left=ast.Call() as left, ops=[ast.GtE()], comparators=[ast.Constant(value=0)]):
            return called(left) == "len"
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return never_true(operand)
        case _:
            return False


def never_true(test: ast.expr) -> bool:
    """True for ``False``, ``0``, ``None``, ``""`` and what begins with one of them and an ``and``."""
    match test:
        case ast.Constant(value=value):
            return not value
        case ast.BoolOp(op=ast.And(), values=[first, *_]):
            return never_true(first) if isinstance(first, ast.Constant) else False
        case _:
            return False


def cannot_fail(statement: ast.stmt) -> bool:
    """True for statements that do nothing, and for assertions that always hold."""
    match statement:
        case ast.Pass() | ast.Expr(value=ast.Constant()) | ast.Return(value=None | ast.Constant()):
            return True
        case ast.Assert(test=test):
            return always_true(test)
        case ast.Assign(value=ast.Constant(), targets=targets):
            return all(isinstance(target, ast.Name) for target in targets)
        case ast.Expr(value=ast.Call(args=args, keywords=keywords) as call):
            plain = all(isinstance(arg, ast.Constant | ast.Name | ast.JoinedStr) for arg in args)
            return called(call) == "print" and plain and not keywords
        case _:
            return False
