"""The reference page on installed agents: what each is, whether it was run for real, its options, and the form of their files."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any, get_args

from bakeoff.agents.installed import load, model
from bakeoff.agents.installed.catalog import shipped

Describe = Callable[[type[Any]], list[str]]

_FORM = (
    model.About,
    model.Install,
    model.Run,
    model.Option,
    model.Skills,
    model.Mcp,
    model.Logs,
    model.Models,
)


def page(generated: str, describe: Describe) -> str:
    agents = shipped()
    lines = [
        generated,
        "# Installed agents",
        "",
        "Agents that others wrote, each described by a file. `bakeoff run -a NAME -m PROVIDER/MODEL` installs one once, into a folder",
        "below `BAKEOFF_HOME` that every sandbox is shown read-only. [How to run them](../how-to/run-real-agents.md).",
        "",
        "*Run for real* is the day on which that version, through bakeoff, solved a task with a scripted model in a sandbox without a",
        "network, and did so again from its recording. `--agent-option version=X` runs another version, for which nobody vouches.",
        "",
        "| agent | version | runtime | speaks | run for real | skills | MCP servers |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        *map(_row, agents),
        "",
        "Without a place of its own for skills, an agent is told in its instruction where the task's are. A task with MCP servers is",
        "refused for an agent that cannot be told of them.",
    ]
    if reasons := [f"- {one.agent.name}: {one.agent.unverified}" for one in agents if not one.agent.verified]:
        lines += ["", "Not run for real:", "", *reasons]
    lines += ["", "## Options", "", "`--agent-option NAME=VALUE`, beside `version`, which all have."]
    lines += ["", "| agent | option | sets | values |", "| --- | --- | --- | --- |"]
    for one in agents:
        lines += [_option(one.agent.name, name, option) for name, option in one.options.items()]
    lines += ["", *_form(describe)]
    return "\n".join(lines) + "\n"


def _row(one: model.Definition) -> str:
    about = one.agent
    name = f"[{about.name}]({about.homepage}): {about.description}" if about.homepage else about.name
    verified = about.verified_on if about.verified else "no"
    skills = "its own folder" if one.skills else "told of"
    return f"| {name} | {about.version} | {about.runtime} | {about.protocol} | {verified} | {skills} | {'yes' if one.mcp else 'no'} |"


def _option(agent: str, name: str, option: model.Option) -> str:
    values = ", ".join(f"`{value}`" for value in option.values) or "any"
    default = f"; `{option.default}` unless given" if option.default is not None else ""
    return f"| {agent} | `{name}` | {option.description} | {values}{default} |"


def _form(describe: Describe) -> Iterable[str]:
    machine, trial = (", ".join(f"`{{{name}}}`" for name in names) for names in (load.MACHINE, load.TRIAL))
    yield from (
        "## The form of a file",
        "",
        "An agent of your own is a file `NAME.toml` in the folder `agents` of `BAKEOFF_HOME`, or any file: `-a ./mine.toml`. A name that",
        "bakeoff has too means yours. Unknown keys are errors, and all that is wrong with a file is said at once.",
        "",
        f"Texts have places that are filled in: {trial}; in `[install]` only {machine}. `{{base_url:json}}` is the value as a JSON string.",
        "",
        "A `Text` is not empty. "
        + " ".join(
            f"`{name}` is one of {', '.join(f'`{value}`' for value in get_args(kind))}."
            for name, kind in (("Runtime", model.Runtime), ("Protocol", model.Protocol), ("McpForm", model.McpForm))
        ),
    )
    for struct in _FORM:
        title, *rest = describe(struct)[1:]
        field = next(
            (name for name, kind in inspect.get_annotations(model.Definition).items() if struct.__name__ in str(kind)),
            "",
        )
        table = f"[{field}.NAME]" if struct is model.Option else f"[{field}]"
        yield from ("", f"### `{table}`" if field else title, *rest)
