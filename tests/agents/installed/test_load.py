"""Agents' TOML files: what is right is read, and what is wrong is told with its file and field."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bakeoff.agents.installed import catalog
from bakeoff.agents.installed.load import load, parse
from bakeoff.agents.installed.template import fill, places
from bakeoff.agents.registry import agent_names, make_agent
from bakeoff.cli.main import main
from bakeoff.errors import InputError
from bakeoff.home import home
from bakeoff.records.job import AgentRequest

MINIMAL = """[agent]
name = "mine"
version = "1"
runtime = "binary"
protocol = "openai-chat"
[install]
steps = ["mkdir -p bin"]
[run]
command = ["{bundle}/bin/mine", "--model", "{model}", "{options}", "{instruction}"]
[options.speed]
values = ["slow", "fast"]
args = ["--speed={value}"]
"""


def changed(old: str, new: str) -> bytes:
    assert old in MINIMAL
    return MINIMAL.replace(old, new).encode()


def test_every_shipped_agent_is_whole_and_pins_its_version() -> None:
    found = {listed.name: listed for listed in catalog.listed()}
    assert {"codex", "claude-code", "mini-swe-agent"} <= set(found)
    assert [listed.problem for listed in found.values() if listed.problem] == []
    for listed in found.values():
        assert listed.definition is not None
        install = listed.definition.install
        assert listed.definition.agent.description
        assert all("@{version}" in package or package.rpartition("@")[2][0].isdigit() for package in install.npm)
        assert all("==" in package for package in install.pip)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"\xff", "no TOML"),
        (b"[agent", "no TOML"),
        (b"x = 1", "x: unknown key"),
        (changed('name = "mine"', 'name = "Mine/../x"'), "agent.name: not a name"),
        (changed('version = "1"', 'version = "$(x)"'), "agent.version: not a version"),
        (changed('version = "1"', "version = 1"), "agent.version: wrong value"),
        (changed('"binary"', '"ruby"'), "agent.runtime: wrong value"),
        (changed('"binary"', '"node"'), "install.node: wrong version"),
        (changed('"binary"', '"python"'), "install.pip: wrong packages"),
        (changed("openai-chat", "openai-chats"), "did you mean 'openai-chat'"),
        (changed("steps =", "stepps ="), "did you mean 'steps'"),
        (changed("{model}", "{modle}"), r"run.command\[2\]: unknown place .*did you mean 'model'"),
        (changed("{model}", "{mcp}"), r"run.command\[2\]: unknown place"),
        (changed("mkdir -p bin", "echo {model}"), r"install.steps\[0\]: unknown place"),
        (changed('command = ["', 'command = []\nenv = { A = "{value}" }\nx = ["'), "run.command: empty"),
        (changed('protocol = "openai-chat"', 'protocol = "openai-chat"\nverified = true'), "agent.verified_on: wrong day"),
        (changed('args = ["--speed={value}"]', ""), "options.speed: an option that does nothing"),
        (changed('args = ["-', 'default = "warp"\nargs = ["-'), "options.speed.default: wrong default"),
        (changed("[options.speed]", "[options.version]"), "options.version: not a name for an option"),
        (changed("[options.speed]", '[run.files]\n"/etc/passwd" = ""\n[options.speed]'), "not a file of the agent's home"),
        (changed("[options.speed]", '[run.files]\n"{home}/../x" = ""\n[options.speed]'), "not a file of the agent's home"),
        (changed("[options.speed]", '[install.programs]\nmine = ["../x"]\n[options.speed]'), "not a path in the bundle"),
        (changed("[options.speed]", '[logs]\npaths = ["x"]\n[options.speed]'), r"logs.paths\[0\]: not an absolute path"),
        (b"#" * (2 << 20), "too large"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_field(data: bytes, said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        parse(data, "mine.toml")
    assert "mine.toml" in str(caught.value)


def test_all_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(InputError) as caught:
        parse(changed('name = "mine"', 'name = "M"').replace(b"{model}", b"{modle}"), "mine.toml")
    assert "agent.name" in str(caught.value)
    assert "run.command" in str(caught.value)


@given(st.binary(max_size=200))
def test_any_bytes_are_an_agent_or_an_input_error(data: bytes) -> None:
    with pytest.raises(InputError):
        parse(data, "mine.toml")


_WORDS = (
    "agent",
    "name",
    "version",
    "runtime",
    "install",
    "npm",
    "programs",
    "run",
    "command",
    "env",
    "files",
    "options",
    "mcp",
)
_VALUES = st.recursive(
    st.one_of(
        st.text(max_size=8), st.integers(), st.booleans(), st.sampled_from(["{home}/x", "node", "{model}", ".."])
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_WORDS), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from(_WORDS), _VALUES, max_size=6))
def test_any_tables_are_an_agent_or_an_input_error(table: Mapping[str, object]) -> None:
    text = "".join(f"{json.dumps(key)} = {_toml(value)}\n" for key, value in table.items())
    with pytest.raises(InputError, match=r"mine\.toml"):
        parse(text.encode("utf-8", "surrogatepass"), "mine.toml")


def _toml(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {_toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value)


@given(st.text(), st.dictionaries(st.from_regex(r"[a-z_]{1,5}", fullmatch=True), st.text()))
def test_a_text_is_filled_where_its_places_are_known_and_nowhere_else(text: str, values: dict[str, str]) -> None:
    if all(name in values for name in places(text)):
        filled = fill(text, values)
        assert filled == text or places(text)
    else:
        with pytest.raises(KeyError):
            fill(text, values)


@given(st.text())
def test_what_is_filled_in_stays_as_it_is(value: str) -> None:
    assert fill("a {x} b", {"x": value}) == f"a {value} b"
    assert (
        json.loads(fill("{x:json}", {"x": value.encode(errors="replace").decode()}))
        == value.encode(errors="replace").decode()
    )


def test_an_agent_of_the_users_own_is_found_by_name_and_by_path(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = home() / "agents"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "mine.toml").write_text(MINIMAL)
    (folder / "broken.toml").write_text("[agent]")
    (tmp_path / "other.toml").write_text(MINIMAL)
    try:
        assert {"mine", "codex", "oracle"} <= set(agent_names())
        assert make_agent(AgentRequest(name="mine")).version == "1"
        assert make_agent(AgentRequest(name=str(tmp_path / "other.toml"))).name == "mine"
        with pytest.raises(InputError, match=r"broken\.toml"):
            make_agent(AgentRequest(name="broken"))
        with pytest.raises(InputError, match="did you mean 'mine'"):
            make_agent(AgentRequest(name="mien"))
        assert main(["list", "agents", "--json"]) == 0
        rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
        assert rows["mine"]["version"] == "1"
        assert rows["mine"]["verified"] == "unverified"
        assert rows["codex"]["verified"].startswith("verified 2")
        assert "broken.toml" in rows["broken"]["description"]
    finally:
        for name in ("mine", "broken"):
            (folder / f"{name}.toml").unlink()


def test_a_file_that_is_not_there_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        load(tmp_path / "none.toml")


def test_options_are_those_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(MINIMAL)

    def asked(**options: str) -> str:
        return make_agent(AgentRequest(name=str(path), options=options)).digest

    assert len({asked(), asked(speed="slow"), asked(speed="fast"), asked(version="2")}) == 4
    assert make_agent(AgentRequest(name=str(path), options={"version": "2"})).version == "2"
    with pytest.raises(InputError, match="did you mean 'speed'"):
        asked(sped="slow")
    with pytest.raises(InputError, match="did you mean 'fast'"):
        asked(speed="fest")
    with pytest.raises(InputError, match="not a version"):
        asked(version="1; rm")
    with pytest.raises(InputError, match="takes no files"):
        make_agent(AgentRequest(name=str(path), files=("/etc",)))
