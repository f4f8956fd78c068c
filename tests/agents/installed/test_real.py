"""Real agents, from their bundles, in sandboxes without a network: each does what a canned model says."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bakeoff.agents.base import AgentClaim, AgentContext, Endpoint
from bakeoff.agents.installed.agent import InstalledAgent
from bakeoff.agents.registry import make_agent
from bakeoff.errors import Unsupported
from bakeoff.files import tar
from bakeoff.records.job import AgentRequest
from bakeoff.sandboxes.base import Sandbox, tar_bytes
from bakeoff.sandboxes.logged import run_logged
from bakeoff.tasks.model import McpServer
from canned import Canned, served

Contexts = Callable[..., AgentContext]
RealAgent = Callable[[str], str]

pytestmark = pytest.mark.timeout(600)  # the first to come installs

SKILL = b"---\nname: count-birds\ndescription: How birds are counted here.\n---\nCount them twice.\n"

SERVER = """import json, sys
TOOL = {"name": "measure_pond", "description": "Measures it", "inputSchema": {"type": "object", "properties": {}}}
for line in sys.stdin:
    asked = json.loads(line)
    if "id" not in asked:
        continue
    if asked["method"] == "initialize":
        version = asked["params"]["protocolVersion"]
        info = {"name": "pond", "version": "1"}
        result = {"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": info}
    elif asked["method"] == "tools/list":
        result = {"tools": [TOOL]}
    else:
        result = {}
    print(json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": result}), flush=True)
"""


async def act(agent: InstalledAgent, sandbox: Sandbox, canned: Canned, given: AgentContext) -> AgentClaim:
    async with served(sandbox, canned) as base:
        bases = {"openai": f"{base}/v1", "anthropic": base, "gemini": base}
        endpoint = Endpoint(bases=bases, key="worth-nothing", model="some-model", provider="openai")
        return await agent.run(msgspec.structs.replace(given, endpoint=endpoint))


def made(name: str, **options: str) -> InstalledAgent:
    agent = make_agent(AgentRequest(name=name, options=options))
    assert isinstance(agent, InstalledAgent)
    return agent


async def look(sandbox: Sandbox, line: str, logs: Path) -> str:
    process = await sandbox.start(["/bin/sh", "-c", line], env={"PATH": "/usr/bin:/bin"}, cwd=sandbox.workdir)
    await run_logged(process, stdout=logs / "look", stderr=logs / "look.err", limit=1 << 20)
    return (logs / "look").read_text()


async def put(sandbox: Sandbox, path: str, data: bytes) -> None:
    folder, _, name = path.rpartition("/")
    await sandbox.put(tar_bytes(tar.build([(tar.Member(name=name.encode(), size=len(data)), data)])), folder)


def tools(body: dict[str, Any]) -> str:
    return json.dumps(body["tools"])


@pytest.mark.parametrize(
    ("name", "root", "user"),
    [
        ("codex", "bare", None),
        ("codex", "debian", "nobody"),
        ("claude-code", "debian", "nobody"),
        ("mini-swe-agent", "bare", None),
    ],
)
async def test_an_agent_does_what_its_model_says_and_needs_nothing_of_the_root(
    on_root: Any, context: Contexts, real_agent: RealAgent, name: str, root: str, user: str | None
) -> None:
    """And it knows of no skill and no server where the task has none."""
    agent = made(real_agent(name))
    canned = Canned("echo hello > /tmp/made.txt")
    async with on_root(agent.needs, root) as sandbox:
        given = context(sandbox, user=user, instruction="Make the file.\n")
        claim = await act(agent, sandbox, canned, given)
        assert (claim.error, claim.exit and claim.exit.code) == ("", 0)
        assert await look(sandbox, "cat /tmp/made.txt", given.logs) == "hello\n"
    assert len(canned.turns) == 2
    assert "Make the file." in json.dumps(canned.turns[0])
    assert "count-birds" not in json.dumps(canned.turns[0])
    assert "mcp" not in tools(canned.turns[0])
    assert {key.removeprefix("Bearer ") for key in canned.keys} == {"worth-nothing"}
    assert any((given.logs / "files").rglob("*.json*"))


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("codex", {"reasoning_effort": "high"}, '"effort": "high"'),
        ("claude-code", {"append_system_prompt": "Birds are shy."}, "Birds are shy."),
    ],
)
async def test_an_agent_is_shown_the_tasks_skills_its_mcp_servers_and_its_options(
    on_root: Any, context: Contexts, real_agent: RealAgent, name: str, options: dict[str, str], said: str
) -> None:
    agent = made(real_agent(name), **options)
    canned = Canned("true")
    server = McpServer(name="pond", transport="stdio", command="/usr/bin/python3", args=("/srv/server.py",))
    async with on_root(agent.needs, "host") as sandbox:
        await put(sandbox, "/app/skills/count-birds/SKILL.md", SKILL)
        await put(sandbox, "/srv/server.py", SERVER.encode())
        given = context(sandbox, skills="/app/skills", mcp_servers=(server,))
        assert (await act(agent, sandbox, canned, given)).error == ""
    assert "How birds are counted here." in json.dumps(canned.turns[0])
    assert "measure_pond" in tools(canned.turns[0])
    assert said in json.dumps(canned.turns[0])


async def test_a_refusal_that_ends_the_trial_is_not_asked_for_again(
    on_root: Any, context: Contexts, real_agent: RealAgent
) -> None:
    for name in ("codex", "claude-code"):
        agent = made(real_agent(name))
        canned = Canned("true")
        canned.refuse = 409
        async with on_root(agent.needs, "host") as sandbox:
            claim = await act(agent, sandbox, canned, context(sandbox))
        assert claim.error
        assert len(canned.asked) == 1, name


async def test_a_root_without_any_loader_is_not_the_agents_fault(
    on_root: Any, context: Contexts, real_agent: RealAgent
) -> None:
    agent = made(real_agent("claude-code"))
    async with on_root(agent.needs, "bare") as sandbox:
        with pytest.raises(Unsupported, match=r"ld-linux.*ld-musl"):
            await act(agent, sandbox, Canned("true"), context(sandbox))
