"""One recorded request and response between an agent and a model, and what the answers of a trial came to."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from bakeoff.records.results import SCHEMA_VERSION, Usage

Api = Literal[
    "openai-chat",
    "openai-responses",
    "openai-embeddings",
    "anthropic-messages",
    "anthropic-count",
    "gemini",
    "models",
    "other",
]
"""The shapes of requests that are told apart. ``gemini`` is generateContent and its streaming form; ``other`` is passed on unread."""

End = Literal["complete", "cut", "error", "cancelled"]
"""How a response ended: whole; broken off by whoever answered; never begun; broken off by the agent."""

Via = Literal["live", "replayed", "scripted", "gateway"]
"""Who answered: a provider, a fixture, a script, or the gateway itself (a refusal)."""

Headers = tuple[tuple[str, str], ...]
"""Names as they were written, in order, repeats included."""


class Delta(Struct, frozen=True):
    """Bytes told by what they share with another blob of the fixture: its first ``prefix`` and last ``suffix`` bytes.

    What stands between them is the blob's own ``text``, ``base64`` or ``file``.
    """

    base: str
    prefix: int
    suffix: int


class Blob(Struct, frozen=True, omit_defaults=True):
    """Exact bytes: as text where they are UTF-8, as base64, or in a file of the fixture's folder ``blobs`` (relative to the fixture)."""

    sha256: str
    size: int
    text: str | None = None
    base64: str | None = None
    file: str | None = None
    delta: Delta | None = None


class Exchange(Struct, frozen=True, kw_only=True):
    """A line of ``exchanges.jsonl``.

    ``seq`` counts from 1 in the order in which requests came. ``conversation`` groups the requests of one thread of an agent
    (its first request's digest, shortened). ``path`` comes after the trial's address and the
    provider's prefix, and keeps its query. ``status`` is None
    when nothing came. ``chunks`` are pairs of microseconds since the request and the end offset in the response.
    ``model_sent`` differs from ``model_requested`` where a mapping asked for that. ``tries`` counts what was sent upstream.
    Secrets are already replaced in everything.
    """

    schema_version: str = SCHEMA_VERSION
    seq: int
    conversation: str = ""
    api: Api
    provider: str = ""
    via: Via = "live"
    method: str
    path: str
    started_at: str
    request_headers: Headers = ()
    request: Blob
    status: int | None = None
    response_headers: Headers = ()
    response: Blob
    chunks: tuple[tuple[int, int], ...] = ()
    end: End
    error: str = ""
    model_requested: str | None = None
    model_sent: str | None = None
    model_returned: str | None = None
    tries: int = 1
    usage: Usage = Usage()


class FixtureAgent(Struct, frozen=True):
    """The agent that was recorded, with what makes the same agent again. ``definition`` is its TOML file, where it was named by that."""

    name: str
    version: str = ""
    digest: str = ""
    command: str | None = None
    where: Literal["sandbox", "host"] = "sandbox"
    files: tuple[str, ...] = ()
    options: dict[str, str] = {}
    definition: str = ""


class Provenance(Struct, frozen=True, kw_only=True):
    """``provenance.json`` of a fixture: what it was recorded from, and what came out.

    ``sha256`` is that of the exchanges as they are read (see ``records.fixtures.digest``), so compression does not change it.
    ``redactions`` counts what was replaced, by kind. ``raw`` is False for imported fixtures, whose bytes were made from messages.
    ``prompt_sha256`` is of the instruction. ``roots`` are places and words that the agent saw and that differ from trial to trial, by
    name: workdir, home, packet, artifacts, run_id, the address of its model.
    """

    schema_version: str = SCHEMA_VERSION
    sha256: str
    dataset: str
    data_revision: str = ""
    task: str
    case: str | None = None
    task_digest: str
    verifier_digest: str = ""
    prompt_sha256: str = ""
    agent: FixtureAgent
    model: str | None
    model_options: dict[str, str] = {}
    provider: str = ""
    bakeoff: str
    image_digest: str = ""
    backend: str = ""
    network: str = ""
    verify: str = ""
    toggles: dict[str, str] = {}
    captured_at: str
    release: str = ""
    outcome: str
    reward: float | None = None
    exchanges: int
    redactions: dict[str, int] = {}
    raw: bool = True
    source: str = ""
    roots: dict[str, str] = {}
