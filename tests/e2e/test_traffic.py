"""What goes between an agent and a provider: keys, waits, failures, budgets, and what is on record of it."""

from __future__ import annotations

import base64
import json
import stat
import urllib.parse
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from bakeoff.records.fixtures import read_fixture
from bakeoff.records.journal import read_results
from bakeoff.records.outcomes import Outcome
from calling import Said
from walking import (
    AGENT,
    SOLVE,
    WALKER,
    Asked,
    bodies,
    events,
    exchanges,
    message,
    recording,
    script,
    the_result,
    told,
    walker,
)

KEY = "made-up/key+of=the tests".replace(" ", "-") + '"&quoted\\'
VARIABLE = "BAKEOFF_MODEL_API_KEY"


def solves(asked: Asked) -> None:
    """Does the work in two turns."""
    results = sum(one["role"] == "tool" for one in asked.json["messages"])
    asked.answer(message("That is all.") if results else message("", SOLVE))


Live = Callable[..., Said]


@pytest.fixture
def live(call, make_task, served, monkeypatch) -> Live:
    """``live(*more)`` runs the walker on one task with the provider on loopback, under a key from the environment."""
    task = make_task()
    monkeypatch.setenv(VARIABLE, KEY)

    def run(*more: str | Path, agent: tuple[str | Path, ...] = AGENT, name: str = "job") -> Said:
        served.plays = served.plays or [solves]
        return call("run", "-t", task, *agent, "-m", "tiny-1", "--model-base-url", served.url, "--name", name, *more)

    return run


def forms(secret: str) -> set[bytes]:
    """A secret as it is and in every encoding in which it could be found again."""
    raw = secret.encode()
    return {
        raw,
        *(base64.b64encode(b" " * shift + raw)[4 * (shift > 0) : -4].rstrip(b"=") for shift in range(3)),
        base64.urlsafe_b64encode(raw)[:-4],
        raw.hex().encode(),
        raw.hex().upper().encode(),
        urllib.parse.quote(secret, safe="").encode(),
        urllib.parse.quote(secret).encode(),
        json.dumps(secret)[1:-1].encode(),
        json.dumps(json.dumps(secret))[3:-3].encode(),
    }


def leaks(place: Path, secret: str) -> list[str]:
    """The files below a folder that hold a secret, compressed ones unfolded."""
    found: list[str] = []
    for path in place.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            if path.suffix == ".zst":
                data += zstandard.ZstdDecompressor().decompressobj().decompress(data)
            found += [f"{path}: {form!r}" for form in forms(secret) if form in data]
    return found


def test_bytes_go_through_unchanged_and_are_recorded(live, served, tmp_path) -> None:
    said = live()
    assert said.code == 0, said.err + said.out
    result = the_result(tmp_path, "job")
    assert (result.reward, result.config.model, result.config.model_returned) == (1.0, "tiny-1", "tiny-1")
    assert (result.usage.requests, result.usage.input_tokens, result.usage.output_tokens) == (2, 200, 40)
    fixture = read_fixture(recording(tmp_path / "jobs" / "job"))
    assert [fixture.body(one, "request") for one in fixture.exchanges] == [asked.body for asked in served.asked]
    assert [fixture.body(one, "response") for one in fixture.exchanges] == [message("", SOLVE), message("That is all.")]
    assert {one.via for one in fixture.exchanges} == {"live"}
    assert call_kinds(tmp_path) == ["model_call", "model_result"] * 2


def call_kinds(tmp_path: Path) -> list[str]:
    lines = [json.loads(line) for line in told(tmp_path, "job", "trace.jsonl").splitlines()]
    return [line["event_type"] for line in lines if line["event_type"].startswith("model_")]


def test_a_recording_of_a_provider_replays_without_it(live, served, call, tmp_path, monkeypatch) -> None:
    assert live().code == 0
    monkeypatch.delenv(VARIABLE)
    count = len(served.asked)
    said = call("replay", "jobs/job", "--name", "again")
    assert said.code == 0, said.err + said.out
    assert len(served.asked) == count


@pytest.mark.parametrize("where", ["environment", ".env", "command"])
def test_the_real_key_reaches_the_provider_and_nothing_else(live, served, tmp_path, monkeypatch, where) -> None:
    if where != "environment":
        monkeypatch.delenv(VARIABLE)
    if where == ".env":
        (tmp_path / ".env").write_text(f"{VARIABLE}='{KEY}'\n")
    elif where == "command":
        helper = tmp_path / "helper"
        helper.write_text(f"#!/bin/sh\ncat <<'END'\n{KEY}\nEND\n")
        helper.chmod(helper.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("BAKEOFF_KEY_COMMAND_CUSTOM", str(helper))
    echo = message(f"Your key is {KEY}, or {base64.b64encode(KEY.encode()).decode()}.")  # a provider that tells it back
    served.plays = [
        lambda asked: asked.answer(message("", "env; cat /proc/*/environ; " + SOLVE)),
        lambda asked: asked.answer(echo),
    ]
    said = live()
    assert said.code == 0, said.err + said.out
    assert {asked.headers["authorization"] for asked in served.asked} == {f"Bearer {KEY}"}
    assert leaks(tmp_path / "jobs", KEY) == []
    assert not any(form in (said.out + said.err).encode() for form in forms(KEY))
    assert "OPENAI_API_KEY=bakeoff" in told(tmp_path, "job", "agent", "stdout")


def test_a_wait_for_the_provider_is_not_the_agents(live, served, tmp_path) -> None:
    served.plays = [lambda asked: asked.answer(b"{}", 429, Retry_After="3"), solves]
    said = live("--agent-timeout", "2.5")
    assert said.code == 0, said.err + said.out
    result = the_result(tmp_path, "job")
    assert (result.outcome, result.reward) == (Outcome.PASSED, 1.0)
    assert result.phases["agent"] > 3
    assert served.asked[1].at - served.asked[0].at >= 3
    first, second = exchanges(tmp_path / "jobs" / "job")
    assert (first.status, first.tries, second.tries) == (200, 2, 1)


def test_a_provider_that_fails_for_good_is_no_fault_of_the_agent(live, served, tmp_path) -> None:
    served.plays = [lambda asked: asked.answer(b'{"error": "down"}', 500, Retry_After="900")]
    said = live()
    assert said.code == 3
    result = the_result(tmp_path, "job")
    assert (result.outcome, result.excluded, result.tries) == (Outcome.MODEL_ERROR, True, 2)
    assert "answered with status 500" in result.detail
    folder = tmp_path / "jobs" / "job" / result.path
    assert exchanges(folder / "tries" / "1" / "fixture")[0].status == 500
    assert exchanges(folder / "fixture")[0].status == 500
    assert "refused: 500" in (folder / "tries" / "1" / "agent" / "stdout").read_text()


def test_a_try_that_failed_is_made_up_for_by_the_next(live, served, tmp_path) -> None:
    served.plays = [lambda asked: asked.answer(b"{}", 500, Retry_After="900"), solves]
    assert live().code == 0
    result = the_result(tmp_path, "job")
    assert (result.outcome, result.tries) == (Outcome.PASSED, 2)
    assert (tmp_path / "jobs" / "job" / result.path / "tries" / "1" / "run.json").exists()


def test_a_key_that_is_not_accepted_is_named_by_its_variable(live, served, tmp_path) -> None:
    served.plays = [lambda asked: asked.answer(json.dumps({"error": f"no such key: {KEY}"}).encode(), 401)]
    said = live("--retries", "0")
    assert said.code == 3
    result = the_result(tmp_path, "job")
    assert result.outcome is Outcome.MODEL_ERROR
    assert VARIABLE in result.detail
    assert VARIABLE in said.out
    assert leaks(tmp_path / "jobs", KEY) == []


def test_a_stream_that_is_cut_is_a_failure_of_the_provider(live, served, tmp_path) -> None:
    parts = events("Half of a ", "sentence")
    served.plays = [lambda asked: asked.chunks(*parts, whole=False)]
    assert live("--retries", "0", agent=walker("--stream")).code == 3
    result = the_result(tmp_path, "job")
    assert (result.outcome, "cut" in result.detail) == (Outcome.MODEL_ERROR, True)
    (exchange,) = exchanges(tmp_path / "jobs" / "job")
    assert (exchange.end, exchange.status) == ("cut", 200)
    fixture = read_fixture(recording(tmp_path / "jobs" / "job"))
    assert fixture.body(exchange, "response") == b"".join(parts)
    assert "broken:" in told(tmp_path, "job", "agent", "stdout")


def test_without_a_key_nothing_is_begun(call, make_task, tmp_path, monkeypatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    said = call("run", "-t", make_task(), *AGENT, "-m", "openai/gpt-5", "--name", "job")
    assert said.code == 2
    assert "OPENAI_API_KEY" in said.err
    assert not (tmp_path / "jobs").exists()


def test_over_its_budget_an_agent_is_refused_and_judged(live, served, tmp_path) -> None:
    served.plays = [lambda asked: asked.answer(message("", SOLVE))]  # it never ends
    said = live("--budget", "requests=2", agent=walker("--tries 10 --pause 9"))
    assert said.code == 0, said.err + said.out
    result = the_result(tmp_path, "job")
    assert (result.outcome, result.reward, result.passed) == (Outcome.BUDGET_EXCEEDED, 1.0, True)
    assert "requests 2 of 2" in result.detail
    assert len(served.asked) == 2
    assert [one.via for one in exchanges(tmp_path / "jobs" / "job")] == ["live", "live", "gateway"]
    refused = bodies(tmp_path / "jobs" / "job", "response")[2]["error"]
    assert (refused["type"], "2 of 2" in refused["message"]) == ("budget_exceeded", True)
    assert exchanges(tmp_path / "jobs" / "job")[2].status == 400


def test_a_jobs_budget_is_of_all_its_trials(live, served, tmp_path) -> None:
    assert live("--budget", "job.requests=3", "-k", "3", "-n", "1").code == 0
    outcomes = [result.outcome for result in read_results(tmp_path / "jobs" / "job")]
    assert outcomes == [Outcome.PASSED, Outcome.BUDGET_EXCEEDED, Outcome.BUDGET_EXCEEDED]
    assert len(served.asked) == 3


def test_a_cost_can_be_limited_where_the_price_is_known(live, served, own_file, tmp_path) -> None:
    unknown = live("--budget", "cost_usd=1")
    assert unknown.code == 2
    assert "prices.toml" in unknown.err
    assert not served.asked
    own_file(
        "prices.toml",
        '[[price]]\nprovider = "custom"\nmodel = "tiny-*"\ndate = "2026-01-01"\ninput = 10\noutput = 50\n',
    )
    served.plays = [lambda asked: asked.answer(message("", SOLVE))]
    assert live("--budget", "cost_usd=0.005").code == 0
    result = the_result(tmp_path, "job")
    assert (result.outcome, result.usage.cost_usd, result.usage.requests) == (Outcome.BUDGET_EXCEEDED, 0.006, 3)
    assert "cost_usd 0.006 of 0.005" in result.detail


def test_options_and_names_of_models_reach_the_provider(live, served, tmp_path) -> None:
    options = ("temperature=0.5", "max_tokens=77", 'body.top_k={"n": 3}', "map.tiny-1=other-9")
    assert live(*(part for option in options for part in ("--model-option", option))).code == 0
    sent = served.asked[0].json
    assert (sent["temperature"], sent["max_tokens"], sent["top_k"], sent["model"]) == (0.5, 77, {"n": 3}, "other-9")
    first = exchanges(tmp_path / "jobs" / "job")[0]
    assert (first.model_requested, first.model_sent, first.model_returned) == ("tiny-1", "other-9", "tiny-1")
    assert bodies(tmp_path / "jobs" / "job", "request")[0]["model"] == "tiny-1"  # what the agent asked
    provenance = json.loads((recording(tmp_path / "jobs" / "job") / "provenance.json").read_text())
    assert provenance["model_options"]["temperature"] == "0.5"


def test_search_at_the_provider_can_be_refused(live, served, tmp_path) -> None:
    live("--model-option", "web_search=off", agent=walker("--search"))
    assert not served.asked
    assert "tool_refused" in told(tmp_path, "job", "agent", "stdout")


def test_usage_is_in_the_report_and_in_its_json(live, call) -> None:
    said = live("--json")
    assert said.code == 0
    usage = json.loads(said.out)["usage"]
    assert (usage["requests"], usage["input_tokens"], usage["output_tokens"], usage["known_for"]) == (2, 200, 40, 1)
    assert "200" in next(line for line in call("report", "job").out.splitlines() if "input" in line.lower())


HOST = ("--agent-in", "host")


def test_a_host_agent_has_an_address_of_its_own(live, served, tmp_path) -> None:
    work = f"mkdir -p $BAKEOFF_ARTIFACTS_DIR; {SOLVE}; cp answer.txt $BAKEOFF_ARTIFACTS_DIR"
    served.plays = [
        lambda asked: asked.answer(message("", "echo $OPENAI_BASE_URL; " + work)),
        lambda asked: asked.answer(message("Done.")),
    ]
    probe = """
import os, urllib.request, urllib.error
base = os.environ["OPENAI_BASE_URL"]
token = os.environ["OPENAI_API_KEY"]
assert token in base, base
for url in (base.replace(token, token[:-1] + ("A" if token[-1] != "A" else "B")), base.replace("/t/" + token, "")):
    try:
        print("got", urllib.request.urlopen(url + "/models").status)
    except urllib.error.HTTPError as error:
        print("probe", error.code)
"""
    (tmp_path / "probe.py").write_text(probe)
    agent = (*walker(f"--then 'python3 {tmp_path}/probe.py'"), *HOST)
    said = live(agent=agent)
    assert said.code == 0, said.err + said.out
    assert the_result(tmp_path, "job").reward == 1.0
    stdout = told(tmp_path, "job", "agent", "stdout")
    assert stdout.count("probe 404") == 2
    assert "got" not in stdout
    assert {asked.headers["authorization"] for asked in served.asked} == {f"Bearer {KEY}"}
    assert len(served.asked) == 2


def test_the_address_of_another_trial_is_of_no_use(live, served, tmp_path) -> None:
    """Two host agents at once: each tries its own token at the other's port, and the other's port with a made-up one."""
    shared = tmp_path / "bases"
    shared.mkdir()
    probe = f"""
import os, pathlib, time, urllib.request, urllib.error
me, base, token = os.environ["BAKEOFF_RUN_ID"], os.environ["OPENAI_BASE_URL"], os.environ["OPENAI_API_KEY"]
pathlib.Path({str(shared)!r}, me).write_text(base.replace(token, "TOKEN"))
others = []
while len(others) < 1:
    others = [path for path in pathlib.Path({str(shared)!r}).iterdir() if path.name != me and path.read_text()]
    time.sleep(0.02)
try:
    print("got", urllib.request.urlopen(others[0].read_text().replace("TOKEN", token) + "/models").status)
except urllib.error.HTTPError as error:
    print("probe", error.code)
pathlib.Path({str(shared)!r}, "done " + me).write_text("")
while len([path for path in pathlib.Path({str(shared)!r}).iterdir() if path.name.startswith("done")]) < 2:
    time.sleep(0.02)
"""
    (tmp_path / "probe.py").write_text(probe)
    served.plays = [lambda asked: asked.answer(message("Nothing to do."))]
    assert live("-k", "2", "-n", "2", agent=("--agent-cmd", f"python3 {tmp_path}/probe.py", *HOST)).code == 0
    for result in read_results(tmp_path / "jobs" / "job"):
        stdout = (tmp_path / "jobs" / "job" / result.path / "agent" / "stdout").read_text()
        assert stdout == "probe 404\n"
    assert not served.asked


def test_who_asks_after_the_agent_has_ended_is_told_so(call, make_task, tmp_path) -> None:
    wait = "for i in $(seq 100); do [ -e /app/late ] && break; sleep 0.1; done"
    test = f"#!/bin/sh\n{wait}\ncat /app/late\necho 1 > /logs/verifier/reward.txt\n"
    task = make_task(bakeoff="live = true", test=test)
    late = """
import os, time, urllib.request, urllib.error
while os.path.exists(f"/proc/{os.environ['AGENT']}"):
    time.sleep(0.02)
time.sleep(0.5)
try:
    code = urllib.request.urlopen(os.environ["OPENAI_BASE_URL"] + "/chat/completions", data=b"{}").status
except urllib.error.HTTPError as error:
    code = f"{error.code} {error.read().decode()}"
open("/app/late.new", "w").write(str(code))
os.rename("/app/late.new", "/app/late")
"""
    (tmp_path / "late.py").write_text(late)
    line = 'AGENT=$$ setsid python3 "$BAKEOFF_AGENT_FILES/late.py" >/dev/null 2>&1 & python3 "$BAKEOFF_AGENT_FILES/walker.py"'
    agent = ("--agent-cmd", line, "--agent-files", WALKER, "--agent-files", tmp_path / "late.py")
    said = call("run", "-t", task, *agent, "-m", script(tmp_path / "s.toml", SOLVE), "--name", "job")
    assert said.code == 0, said.err + said.out
    heard = told(tmp_path, "job", "verifier", "stdout")
    assert heard.startswith("410 ")
    assert "trial_ended" in heard
    assert len(exchanges(tmp_path / "jobs" / "job")) == 2
    lines = [json.loads(one) for one in told(tmp_path, "job", "trace.jsonl").splitlines()]
    assert [one["metadata"]["kind"] for one in lines if one["event_type"] == "error"] == ["late_request"]


def test_a_trajectory_that_cannot_be_told_costs_neither_the_trial_nor_its_recording(
    make_task, call, tmp_path, monkeypatch
) -> None:
    def fails(*_: object) -> None:
        raise RecursionError("too deep")

    monkeypatch.setattr("bakeoff.gateway.exports.trajectory.trajectory", fails)
    said = call("run", "-t", make_task(), *AGENT, "-m", script(tmp_path / "solve.toml", SOLVE), "--name", "job")
    assert said.code == 0, said.err
    assert "RecursionError: too deep" in told(tmp_path, "job", "trace.jsonl")
    assert len(exchanges(tmp_path / "jobs" / "job")) == 2
    assert call("replay", tmp_path / "jobs" / "job", "--name", "again").code == 0
