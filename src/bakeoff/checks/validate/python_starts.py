"""Commands that Python files start."""

from __future__ import annotations

import ast

from msgspec.structs import replace

from bakeoff.checks.validate.python_code import Python, called
from bakeoff.checks.validate.shell import Command, parse_shell
from bakeoff.checks.validate.shell_values import commands_in
from bakeoff.checks.validate.texts import words

_STARTING = words(
    "run Popen call check_call check_output system popen getoutput getstatusoutput create_subprocess_exec "
    "create_subprocess_shell"
)


def started(python: Python, node: ast.Call) -> tuple[Command, ...]:
    """The commands that a call starts, given as a list or as a line of shell; nothing where it surely starts none.

    Own helpers are often named like the functions that they wrap, so names count, whatever stands before them.
    """
    if called(node).rpartition(".")[2] not in _STARTING or not node.args:
        return ()
    first = node.args[0]
    if isinstance(first, ast.List | ast.Tuple):
        said = tuple("python3" if _is_python(item) else python.value(item) for item in first.elts)
        return commands_in([Command(node.lineno, said)])
    script = parse_shell(python.value(first)).commands
    return commands_in(replace(command, line=node.lineno) for command in script)


def _is_python(item: ast.expr) -> bool:
    """True for ``sys.executable``."""
    return isinstance(item, ast.Attribute) and item.attr == "executable"
