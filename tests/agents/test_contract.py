"""The environment an agent finds, and what may be written down of its command."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bakeoff.agents.base import Endpoint
from bakeoff.agents.contract import contract_env
from bakeoff.agents.redact import MASK, redact
from bakeoff.errors import InputError

NAMES = {
    *("TASK_ID", "CASE_ID", "RUN_ID", "STEP", "TASK_PACKET", "INSTRUCTION_FILE", "ARTIFACTS_DIR", "WORKDIR"),
    *("AGENT_CONFIG", "MODEL", "DIAGNOSTICS_FILE", "SKILLS_DIR"),
}


def env(**changes: object) -> dict[str, str]:
    values: dict[str, object] = {
        "task_id": "org/it",
        "case_id": "c1",
        "run_id": "r1",
        "packet": "/task_packet",
        "artifacts": "/logs/artifacts",
        "config": "me",
        "model": "openai/x",
        "workdir": "/app",
        "step": "two",
        "base": {"PATH": "/bin", "HOME": "/root"},
    }
    return contract_env(**{**values, **changes})  # pyright: ignore[reportArgumentType] (a table of values)


def test_every_place_is_named_under_both_prefixes_and_nothing_else_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    found = env()
    assert set(found) == {"PATH", "HOME", "LANG", "TERM"} | {
        prefix + name for prefix in ("BAKEOFF_", "AGENT_BENCH_") for name in NAMES
    }
    for name in NAMES:
        assert found[f"BAKEOFF_{name}"] == found[f"AGENT_BENCH_{name}"]
    assert found["BAKEOFF_INSTRUCTION_FILE"] == "/task_packet/prompt.md"
    assert found["BAKEOFF_TASK_ID"] == "org/it"
    assert found["BAKEOFF_CASE_ID"] == "c1"
    assert found["BAKEOFF_STEP"] == "two"
    assert env(case_id=None, model=None)["BAKEOFF_MODEL"] == ""


def test_a_variable_that_the_user_names_comes_through(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "v")
    assert env(passed_on=("MY_KEY",))["MY_KEY"] == "v"
    monkeypatch.delenv("MY_KEY")
    with pytest.raises(InputError, match="MY_KEY"):
        env(passed_on=("MY_KEY",))


def test_a_named_variable_does_not_replace_the_contract(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BAKEOFF_TASK_ID", "another")
    assert env(passed_on=("BAKEOFF_TASK_ID",))["BAKEOFF_TASK_ID"] == "org/it"


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("OPENAI_API_KEY=abc run", f"OPENAI_API_KEY={MASK} run"),
        ("agent --api-key abc --x 1", f"agent --api-key {MASK} --x 1"),
        ("agent --token='a b' go", f"agent --token={MASK} go"),
        ("curl -H 'Authorization: Bearer abcdefgh12345'", f"curl -H 'Authorization: Bearer {MASK}'"),
        ("git clone https://me:pw@host/x", f"git clone https://me:{MASK}@host/x"),  # pragma: allowlist secret
        ("run sk-abcdefghijklmnop1234", f"run {MASK}"),
    ],
)
def test_secrets_are_masked_and_nothing_else_is(line: str, shown: str) -> None:
    assert redact(line) == shown


@pytest.mark.parametrize(
    "line",
    [
        "count the token in the file",
        "agent --max-tokens 100 --tokenizer x",
        'agent --api-key "$KEY"',
        "agent --api-key $KEY --token --verbose",
        "OPENAI_API_KEY=$OPENAI_API_KEY agent",
        "password secret token key",
        "sk-short",
    ],
)
def test_the_word_for_a_secret_is_not_one(line: str) -> None:
    assert redact(line) == line


@settings(deadline=None)
@given(st.text(max_size=60))
def test_masking_twice_is_masking_once(line: str) -> None:
    assert redact(redact(line)) == redact(line)


def test_the_clients_of_every_api_find_their_model() -> None:
    bases = {"openai": "http://x/openai/v1", "anthropic": "http://x/openai", "gemini": "http://x/openai"}
    found = env(endpoint=Endpoint(bases=bases, key="for this trial", model="gpt"))
    assert found["OPENAI_BASE_URL"] == "http://x/openai/v1"
    assert found["ANTHROPIC_BASE_URL"] == found["GOOGLE_GEMINI_BASE_URL"] == "http://x/openai"
    assert {found[f"{name}_API_KEY"] for name in ("OPENAI", "ANTHROPIC", "GEMINI")} == {"for this trial"}
    assert found["BAKEOFF_MODEL"] == "gpt"


def test_without_a_model_no_client_is_led_anywhere() -> None:
    assert not [name for name in env() if name.endswith(("_BASE_URL", "_API_KEY"))]
