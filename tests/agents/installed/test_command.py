"""What an installed agent is started with: its command line, environment and files, and the MCP servers in its own form."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bakeoff.agents.base import AgentContext, Endpoint
from bakeoff.agents.installed import catalog
from bakeoff.agents.installed.command import HOMES_DIR, Rendered, render, trial_values
from bakeoff.agents.installed.load import parse
from bakeoff.agents.installed.mcp import with_servers
from bakeoff.agents.installed.model import Definition, McpForm
from bakeoff.agents.installed.template import fill
from bakeoff.errors import Unsupported
from bakeoff.tasks.model import McpServer

Contexts = Callable[..., AgentContext]

ENDPOINT = Endpoint(
    bases={"openai": "http://127.0.0.1:1/v1", "anthropic": "http://127.0.0.1:1", "gemini": "http://127.0.0.1:1"},
    key="worth-nothing",
    model="some-model",
    provider="openai",
)
LOCAL = McpServer(name="pond", transport="stdio", command="/srv/pond", args=("-a", 'b "c"'), env={"DEPTH": "3\\"})
HTTP = McpServer(name="lake", transport="streamable-http", url="https://example.org/mcp")
SSE = McpServer(name="sea", transport="sse", url="https://example.org/sse")

AGENT = """[agent]
name = "mine"
version = "1"
runtime = "binary"
protocol = "openai-chat"
[install]
steps = ["true"]
[run]
command = ["{bundle}/bin/mine", "--model={model}", "{options}", "{mcp}", "{instruction}"]
stdin = "{instruction}\\n"
env = { BASE = "{base_url}", LITERAL = "{NOT} {a-place}" }
files = { "{home}/a/config.json" = '{"model": {model:json}}' }
[options.speed]
args = ["--speed", "{value}"]
env = { SPEED = "{value}{value}" }
[options.depth]
default = "2"
args = ["--depth={value}"]
[mcp]
form = "claude"
file = "{home}/a/config.json"
args = ["--servers", "{home}/a/config.json"]
"""


def rendered(
    definition: Definition, context: AgentContext, options: dict[str, str], instruction: str = "Do it."
) -> Rendered:
    values = trial_values(definition, "1", context, instruction)
    return render(definition, values, context, options)


def mine() -> Definition:
    return parse(AGENT.encode(), "mine.toml")


def test_options_stand_where_they_were_asked_for_and_defaults_where_not(context: Contexts) -> None:
    plain = rendered(mine(), context(endpoint=ENDPOINT), {})
    assert plain.argv == ["/opt/bakeoff/agents/mine/bin/mine", "--model=some-model", "--depth=2", "Do it."]
    assert "SPEED" not in plain.env
    asked = rendered(mine(), context(endpoint=ENDPOINT), {"speed": "7", "depth": "5"})
    assert asked.argv[2:5] == ["--speed", "7", "--depth=5"]
    assert asked.env["SPEED"] == "77"


def test_what_only_looks_like_a_place_stays_and_the_tasks_environment_is_kept(context: Contexts) -> None:
    given_env = {"PATH": "/bin", "BASE": "of the task"}
    made = rendered(mine(), context(endpoint=ENDPOINT, env=given_env), {})
    assert made.env == {"PATH": "/bin", "BASE": "http://127.0.0.1:1/v1", "LITERAL": "{NOT} {a-place}"}


@given(st.text().filter(lambda text: "\0" not in text))
def test_an_instruction_is_one_argument_and_nothing_in_it_is_filled_in(instruction: str) -> None:
    context = msgspec.structs.replace(_BARE, endpoint=ENDPOINT)
    made = rendered(mine(), context, {}, instruction=f"{instruction}{{key}} {{options}}")
    assert made.argv[-1] == f"{instruction}{{key}} {{options}}"
    assert made.stdin == f"{instruction}{{key}} {{options}}\n"


def test_another_user_than_root_has_its_home_where_it_may_write(context: Contexts) -> None:
    assert "HOME" not in rendered(mine(), context(endpoint=ENDPOINT, env={}), {}).env
    assert rendered(mine(), context(endpoint=ENDPOINT, env={}, user="nobody"), {}).env["HOME"] == f"{HOMES_DIR}/mine"


def test_the_models_address_is_asked_of_no_proxy(context: Contexts) -> None:
    env = {"https_proxy": "http://127.0.0.1:9", "no_proxy": "example.org"}
    made = rendered(mine(), context(endpoint=ENDPOINT, env=env), {})
    assert made.env["no_proxy"] == made.env["NO_PROXY"] == "example.org,127.0.0.1,localhost"


def test_servers_join_what_the_file_says_already_and_their_arguments_come_with_them(context: Contexts) -> None:
    made = rendered(mine(), context(endpoint=ENDPOINT, mcp_servers=(LOCAL,)), {})
    path = f"{HOMES_DIR}/mine/a/config.json"
    assert ["--servers", path] == made.argv[3:5]
    pond = {"command": "/srv/pond", "args": ["-a", 'b "c"'], "env": {"DEPTH": "3\\"}}
    assert json.loads(made.files[path]) == {"model": "some-model", "mcpServers": {"pond": pond}}


def test_without_a_model_or_with_one_that_speaks_otherwise_nothing_is_started(context: Contexts) -> None:
    with pytest.raises(Unsupported, match="mine needs a model: -m"):
        rendered(mine(), context(), {})
    with pytest.raises(Unsupported, match=r"mine speaks openai-chat.*for gemini"):
        rendered(mine(), context(endpoint=msgspec.structs.replace(ENDPOINT, bases={"gemini": "x"})), {})


def test_an_agent_that_cannot_be_told_of_servers_is_not_run_without_them(context: Contexts) -> None:
    silent = msgspec.structs.replace(mine(), mcp=None)
    with pytest.raises(Unsupported, match=r"mine cannot be told of the task's MCP servers \(pond\)"):
        rendered(silent, context(endpoint=ENDPOINT, mcp_servers=(LOCAL,)), {})


@pytest.mark.parametrize("definition", catalog.shipped(), ids=lambda one: one.agent.name)
def test_every_shipped_agent_is_told_of_its_model_and_of_nothing_else_that_is_secret(
    context: Contexts, definition: Definition
) -> None:
    made = rendered(definition, context(endpoint=ENDPOINT, env={}), {}, instruction="Make the file.")
    everything = "\n".join([*made.argv, *made.env.values(), *made.files.values()])
    assert "some-model" in everything
    assert "http://127.0.0.1:1" in everything
    assert "worth-nothing" in everything
    assert "worth-nothing" not in made.argv
    assert "Make the file." in (made.stdin, made.argv[-1]) or "/task_packet/prompt.md" in made.argv
    assert all(path.startswith(f"{HOMES_DIR}/{definition.agent.name}/") for path in made.files)
    for path, text in made.files.items():
        tomllib.loads(text) if path.endswith(".toml") else json.loads(text)


def read(form: McpForm, servers: Sequence[McpServer], before: str = "") -> dict[str, Any]:
    """The servers as the agent will read them."""
    text = with_servers(form, before, servers)
    key = {"codex": "mcp_servers", "opencode": "mcp", "goose": "extensions"}.get(form, "mcpServers")
    return (tomllib.loads(text) if form == "codex" else json.loads(text))[key]


@pytest.mark.parametrize(
    ("form", "local", "remote"),
    [
        ("codex", {"command": "/srv/pond", "args": ["-a", 'b "c"'], "env": {"DEPTH": "3\\"}}, {"url": HTTP.url}),
        (
            "claude",
            {"command": "/srv/pond", "args": ["-a", 'b "c"'], "env": {"DEPTH": "3\\"}},
            {"type": "http", "url": HTTP.url},
        ),
        (
            "gemini",
            {"command": "/srv/pond", "args": ["-a", 'b "c"'], "env": {"DEPTH": "3\\"}, "trust": True},
            {"httpUrl": HTTP.url, "trust": True},
        ),
        (
            "openhands",
            {"command": "/srv/pond", "args": ["-a", 'b "c"'], "env": {"DEPTH": "3\\"}, "transport": "stdio"},
            {"transport": "http", "url": HTTP.url},
        ),
        (
            "opencode",
            {
                "type": "local",
                "command": ["/srv/pond", "-a", 'b "c"'],
                "environment": {"DEPTH": "3\\"},
                "enabled": True,
            },
            {"type": "remote", "url": HTTP.url, "enabled": True},
        ),
    ],
)
def test_a_server_has_the_form_that_the_agent_reads(
    form: McpForm, local: dict[str, Any], remote: dict[str, Any]
) -> None:
    assert read(form, [LOCAL, HTTP]) == {"pond": local, "lake": remote}


def test_goose_reads_a_server_as_an_extension_beside_its_own() -> None:
    found = read("goose", [LOCAL, HTTP, SSE], '{"extensions": {"developer": {"enabled": true}}}')
    assert list(found) == ["developer", "pond", "lake", "sea"]
    assert [found[name]["type"] for name in ("pond", "lake", "sea")] == ["stdio", "streamable_http", "sse"]
    assert found["pond"]["cmd"] == "/srv/pond"
    assert found["lake"]["uri"] == HTTP.url


@pytest.mark.parametrize("form", ["codex", "claude", "gemini", "openhands", "opencode", "goose"])
def test_a_transport_that_an_agent_does_not_know_is_refused_by_name(form: McpForm) -> None:
    with pytest.raises(Unsupported, match=r"'pigeon'.*'carrier'"):
        with_servers(form, "", [McpServer(name="pigeon", transport="carrier", url="coop:1")])


def test_codex_is_not_told_of_a_server_that_it_cannot_reach() -> None:
    with pytest.raises(Unsupported, match="codex cannot reach the MCP server 'sea'"):
        with_servers("codex", "", [SSE])


@given(
    st.sampled_from(("codex", "claude", "gemini", "openhands", "opencode", "goose")),
    st.text(min_size=1),
    st.text(),
    st.lists(st.text(), max_size=3),
    st.dictionaries(st.text(min_size=1), st.text(), max_size=3),
)
@example("codex", "a.b\x7f", '"\x7f\\', ["\x00\x1f\u2028"], {"A=\x7f": "\n'"})
def test_whatever_a_server_is_called_and_given_arrives_as_it_is(
    form: McpForm, name: str, command: str, args: list[str], env: dict[str, str]
) -> None:
    server = McpServer(name=name, transport="stdio", command=command, args=tuple(args), env=env)
    found = read(form, [server])
    assert list(found) == [name]
    told = json.dumps(found[name])
    for text in (command, *args, *env, *env.values()):
        assert json.dumps(text) in told
    assert tomllib.loads(fill("x = {x:json}", {"x": command})) == {"x": command}


_BARE = AgentContext(
    instruction="",
    step="",
    packet="/task_packet",
    artifacts="/logs/artifacts",
    workdir="/app",
    user=None,
    env={},
    sandbox=None,  # pyright: ignore[reportArgumentType] - rendering starts nothing
    logs=None,  # pyright: ignore[reportArgumentType] - and writes nothing
    output_limit=1,
    emit=lambda _kind, _metadata: None,
)
