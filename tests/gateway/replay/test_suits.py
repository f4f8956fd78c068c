from __future__ import annotations

from typing import Any

import msgspec
import pytest

from bakeoff.errors import InputError
from bakeoff.gateway.replay.suits import Wanted, check_suits
from bakeoff.records.exchanges import FixtureAgent, Provenance

RECORDED = Provenance(
    sha256="0",
    dataset="starter",
    task="t",
    task_digest="td",
    prompt_sha256="ps",
    agent=FixtureAgent(name="codex", version="0.169.0", digest="ad"),
    model="gpt-5",
    bakeoff="0.1.0",
    toggles={"skills": "on"},
    captured_at="2026-01-01T00:00:00Z",
    outcome="passed",
    reward=1.0,
    exchanges=3,
)
SAME = Wanted(
    task="t",
    task_digest="td",
    prompt_sha256="ps",
    agent="codex",
    agent_version="0.169.0",
    agent_digest="ad",
    model="gpt-5",
    toggles={"skills": "on"},
)


def wanted(**fields: Any) -> Wanted:
    return msgspec.structs.replace(SAME, **fields)


def test_what_was_recorded_suits_without_a_word() -> None:
    assert check_suits("f", RECORDED, SAME) == ()


@pytest.mark.parametrize(
    ("kind", "fields", "told"),
    [
        ("task", {"task": "u"}, "task"),
        ("task", {"case": "c"}, "case"),
        ("task", {"task_digest": "x"}, "task digest"),
        ("prompt", {"prompt_sha256": "x"}, "prompt_sha256"),
        ("agent", {"agent": "claude-code"}, "agent"),
        ("agent", {"agent_version": "0.170.0"}, "agent version"),
        ("model", {"model": "gpt-6"}, "model"),
        ("model", {"model": None}, "model"),
        ("toggles", {"toggles": {"skills": "off"}}, "skills"),
        ("toggles", {"toggles": {}}, "skills"),
    ],
)
def test_what_differs_is_refused_or_told_where_it_was_asked_for(kind: str, fields: Any, told: str) -> None:
    with pytest.raises(InputError) as refusal:
        check_suits("fixtures/f", RECORDED, wanted(**fields))
    text = str(refusal.value)
    assert f"fixtures/f: {told}: " in text
    assert "record" in text
    (note,) = check_suits("fixtures/f", RECORDED, wanted(**fields), allow=(kind,))
    assert note.startswith(told)


def test_all_that_differs_is_told_at_once() -> None:
    with pytest.raises(InputError) as refusal:
        check_suits("f", RECORDED, wanted(model="x", prompt_sha256="y", agent_version="z"), allow=("agent",))
    assert len(str(refusal.value).splitlines()) == 2


def test_what_an_imported_fixture_does_not_say_is_a_note() -> None:
    imported = msgspec.structs.replace(RECORDED, raw=False, prompt_sha256="", agent=FixtureAgent(name="codex"))
    assert check_suits("f", imported, SAME) == (
        "the fixture does not say its prompt_sha256",
        "the fixture does not say its agent version",
    )
    with pytest.raises(InputError):
        check_suits("f", msgspec.structs.replace(imported, raw=True), SAME)


def test_an_agent_of_one_version_that_is_made_of_something_else_is_a_note() -> None:
    (note,) = check_suits("f", RECORDED, wanted(agent_digest="other"))
    assert "codex" in note


def test_only_known_things_may_differ() -> None:
    with pytest.raises(InputError, match="everything"):
        check_suits("f", RECORDED, SAME, allow=("everything",))
