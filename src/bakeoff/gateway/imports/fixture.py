"""Imported turns as a fixture: without raw bytes, and it says so."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path

import msgspec
from msgspec import Struct

from bakeoff.errors import InputError
from bakeoff.gateway.blobs import Base
from bakeoff.gateway.conversations import conversation_of
from bakeoff.gateway.imports import chat, litellm, otel
from bakeoff.gateway.imports.found import Found, Imported
from bakeoff.gateway.keeping import Keeper
from bakeoff.gateway.secrets import Secrets, added, secret_values
from bakeoff.gateway.shapes.all import render_answer
from bakeoff.records.exchanges import Blob, Exchange, FixtureAgent, Provenance
from bakeoff.records.provenance import write_provenance
from bakeoff.records.times import stamp

READERS = {"litellm": litellm.read, "otel": otel.read}
"""The formats that can be imported."""

_NAMES = {"litellm": "LiteLLM log lines", "otel": "OpenTelemetry GenAI spans"}


class About(Struct, frozen=True, kw_only=True):
    """What whoever imports knows of a trial. What is empty is taken from the log, where that tells it."""

    dataset: str = ""
    data_revision: str = ""
    task: str = ""
    case: str | None = None
    task_digest: str = ""
    verifier_digest: str = ""
    prompt_sha256: str = ""
    agent: str = ""
    agent_version: str = ""
    model: str = ""
    reward: float | None = None
    outcome: str = ""


class Brought(Struct, frozen=True):
    """What an import came to: the fixture's folder, its provenance, and in words what was no turn."""

    folder: Path
    provenance: Provenance
    passed_over: dict[str, int]


def bring(
    file: Path, form: str, out: Path, about: About, *, trace: str = "", environment: Mapping[str, str] = os.environ
) -> Brought:
    """Read a log and write the fixture ``out``, whole or not at all. Secrets are replaced by their shape, and by value those of
    ``environment``.

    Raises InputError where the log cannot be read or holds no turn, where ``out`` is there already, and where a secret is left.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError("there is something already", where=str(out), wanted="a new folder, or an empty one")
    found = READERS[form](file, trace)
    if not found.turns:
        rest = ", ".join(f"{count} {what}" for what, count in found.passed_over.items())
        raise InputError(
            "no request with an answer in it",
            where=str(file),
            found=rest or "no line",
            wanted=f"{_NAMES[form]} of one trial",
        )
    above = out.absolute().parent
    staging = above / f".{out.name}.{secrets.token_hex(4)}"
    try:
        staging.mkdir(parents=True)
        provenance = _write(staging, found, about, Secrets(secret_values(environment)), f"{_NAMES[form]}: {file.name}")
        staging.rename(out)
    except OSError as error:
        raise InputError(f"the fixture cannot be written: {error.strerror}", where=str(out)) from None
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return Brought(out, provenance, found.passed_over)


def _write(folder: Path, found: Found, about: About, hidden: Secrets, source: str) -> Provenance:
    keeper = Keeper(folder, hidden)
    base: Base | None = None
    try:
        for seq, turn in enumerate(found.turns, 1):
            exchange, base, counts = _exchange(keeper, seq, turn, base, hidden)
            keeper.redactions = added(keeper.redactions, counts)
            keeper.ended(exchange, suspect=True, unended=())
        keeper.finish()
    finally:
        keeper.close()
    if keeper.refused:
        raise InputError(
            "there are secrets in it that are not replaced",
            where=source,
            found=", ".join(sorted(keeper.refused)),
            wanted="a log without them",
        )
    provenance = _provenance(found, about, keeper, source)
    write_provenance(folder, provenance)
    return provenance


def _exchange(
    keeper: Keeper, seq: int, turn: Imported, base: Base | None, hidden: Secrets
) -> tuple[Exchange, Base | None, dict[str, int]]:
    asked, counts = hidden.redact(chat.request(turn.ask))
    # The request's own API need not have been chat completions: the messages are what counts, in one form for all.
    ask = msgspec.structs.replace(turn.ask, api="openai-chat", stream=False)
    said, more = hidden.redact(render_answer("openai-chat", ask, turn.turn, seq=seq).body)
    digest = sha256(asked).hexdigest()
    request, depth = keeper.blobs.blob(asked, digest, seq, base)
    response, _ = keeper.blobs.blob(said, sha256(said).hexdigest(), seq)
    usage = msgspec.structs.replace(turn.turn.usage, requests=1, cost_usd=turn.cost_usd)
    exchange = Exchange(
        seq=seq,
        conversation=conversation_of("openai-chat", asked),
        api="openai-chat",
        provider=turn.provider,
        method="POST",
        path=chat.PATH,
        started_at=_stamp(turn.started),
        request_headers=(("Content-Type", "application/json"),),
        request=request,
        status=200,
        response_headers=(("Content-Type", "application/json"),),
        response=response,
        chunks=_chunks(turn, response),
        end="complete",
        model_requested=turn.ask.model,
        model_returned=turn.turn.model,
        usage=usage,
    )
    return exchange, Base(seq, digest, asked, depth, False), added(counts, more)


def _chunks(turn: Imported, response: Blob) -> tuple[tuple[int, int], ...]:
    """The whole answer at its end, where its times are known."""
    if turn.started is None or turn.ended is None or turn.ended < turn.started:
        return ()
    return (((turn.ended - turn.started) // 1000, response.size),)


def _provenance(found: Found, about: About, keeper: Keeper, source: str) -> Provenance:
    first = found.turns[0]
    reward = found.reward if about.reward is None else about.reward
    task, _, case = (about.task or found.task).partition("@")
    return Provenance(
        sha256=keeper.sha256.hexdigest(),
        dataset=about.dataset or found.dataset,
        data_revision=about.data_revision,
        task=task,
        case=about.case or case or None,
        task_digest=about.task_digest,
        verifier_digest=about.verifier_digest,
        prompt_sha256=about.prompt_sha256,
        agent=FixtureAgent(about.agent or found.agent, about.agent_version or found.agent_version),
        model=about.model or _model(first),
        provider=first.provider,
        bakeoff=version("bakeoff"),
        captured_at=_stamp(first.started),
        outcome=about.outcome or found.outcome,
        reward=reward,
        exchanges=keeper.exchanges,
        redactions=keeper.redactions,
        raw=False,
        source=source,
    )


def _model(turn: Imported) -> str | None:
    """The model as a run is asked for it."""
    return f"{turn.provider}/{turn.ask.model}" if turn.provider and turn.ask.model else turn.ask.model


def _stamp(nanoseconds: int | None) -> str:
    if nanoseconds is None:
        return ""
    try:
        return stamp(datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=nanoseconds // 1000))
    except OverflowError:
        return ""
