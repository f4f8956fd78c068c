"""``bakeoff leak-check``."""

from __future__ import annotations

import click

from bakeoff.cli.messages import GATE, Choice, print_json, say


@click.command("leak-check", short_help="Look for secrets in folders, and in what git tracks.")
@click.argument("path", default=".", metavar="PATH")
@click.option("--tracked", is_flag=True, help="Only what git tracks there.")
@click.option("--allow", multiple=True, metavar="FILE", help="A TOML of exact values that are no secrets, by sha256.")
@click.option("--format", "form", type=Choice(["table", "json"]), default="table", show_default=True)
def command(path: str, tracked: bool, allow: tuple[str, ...], form: str) -> int:
    """Look for secrets: the values of this environment's keys, tokens and passwords in any encoding, and what looks like one.

    Compressed files (.gz, .zst) and tars are looked into, other binary ones are not, which is told. No value is ever printed. Exits
    with 4 where something was found. What is public or made up goes into a file for --allow, each value by its own sha256 with a
    reason: no folder is ever exempt.

    \b
    bakeoff leak-check jobs/my-job
    bakeoff leak-check --tracked .
    """
    from pathlib import Path

    from bakeoff.checks.leak_check import BINARY, leak_check
    from bakeoff.reports.layout import counted, printable

    report = leak_check(Path(path), tracked=tracked, allow=[Path(file) for file in allow])
    if form == "json":
        print_json(report)
        return 0 if report.ok else GATE
    for leak in report.findings:
        say(printable(f"{leak.file}:{leak.line}: {leak.kind} (by its {leak.by}) {leak.masked}"))
    for note in report.notes:
        if note.message == BINARY and len(report.notes) > 5:
            continue
        say(printable(f"note: {note.file}: {note.message}"))
    binary = sum(note.message == BINARY for note in report.notes)
    looked = counted(report.files, "file") + (f" ({binary} of them binary, and not looked into)" if binary else "")
    passed = f"; {counted(report.allowed, 'known value')} let through by an exact rule" if report.allowed else ""
    say(f"{counted(len(report.findings), 'secret') if report.findings else 'No secret'} in {looked}{passed}.")
    return 0 if report.ok else GATE
