"""Questions to somebody at a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TypeVar

import click

from bakeoff.cli.messages import error
from bakeoff.errors import InputError

T = TypeVar("T")


def may_ask(no_input: bool = False) -> bool:
    """Whether there is somebody to answer: standard input and output are a terminal, and nobody forbade it."""
    return not no_input and sys.stdin.isatty() and sys.stdout.isatty()


def ask(question: str, default: str, take: Callable[[str], T]) -> T:
    """What ``take`` makes of the answer; of ``default`` where that is empty. Where ``take`` raises InputError, say so and ask again.

    Raises click.Abort at Ctrl-C and at the end of the input.
    """
    while True:
        answer: str = click.prompt(question, default=default, show_default=bool(default))
        try:
            return take(answer)
        except InputError as wrong:
            error(str(wrong))
