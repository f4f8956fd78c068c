"""Who answers the requests of a job's trials: providers, scripts and fixtures, with all that they share."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec
from msgspec import Struct

from bakeoff.gateway import budgets
from bakeoff.gateway.budgets import Account
from bakeoff.gateway.forward import Client, Route
from bakeoff.gateway.keys import dotenv, find_key
from bakeoff.gateway.models import ModelRef, asked_name, parse_model
from bakeoff.gateway.prices import prices
from bakeoff.gateway.providers import providers
from bakeoff.gateway.replay.declared import volatile_for
from bakeoff.gateway.replay.roots import joined
from bakeoff.gateway.replay.source import Replay
from bakeoff.gateway.replay.until import Until
from bakeoff.gateway.scripted.source import Scripted
from bakeoff.gateway.secrets import Secrets, looks_secret, secret_values
from bakeoff.gateway.server import Gateway
from bakeoff.gateway.traffic import Answer, Request, Source
from bakeoff.gateway.upstream import Upstream
from bakeoff.gateway.waits import Waits
from bakeoff.records.exchanges import Provenance
from bakeoff.records.fixtures import Fixture, read_fixture
from bakeoff.records.job import RunRequest
from bakeoff.tasks.model import Task
from bakeoff.trials.models import model_settings, provider_of
from bakeoff.trials.replays import Recorded, notes_of
from bakeoff.trials.spec import TrialSpec


class Answering(Struct, frozen=True):
    """Who answers one trial, and as whom. ``replay`` is set where a fixture has a part in it.

    ``notes`` tell what about that is not as it was recorded.
    """

    source: Source
    provider: str
    model: str
    replay: Replay | Until | None = None
    fixture: Fixture | None = None
    notes: tuple[str, ...] = ()


class Sources:
    """Opened with the first trial that has a model. ``key_values`` are the real keys in use, which nothing may record."""

    def __init__(self, request: RunRequest, folder: Path | None = None) -> None:
        self._request = request
        self._folder = folder or Path.cwd()
        self._known = providers()
        self._routes: dict[str, Route] = {}
        self._stack = AsyncExitStack()
        self._opening = asyncio.Lock()
        self._gateway: Gateway | None = None
        self._client: Client | None = None
        self.settings = model_settings(request.model_options)
        self.budgets = budgets.parse(request.budgets)
        self.job_account = Account(self.budgets.job, "job")
        self.prices = prices()
        self._secrets: Secrets | None = None

    async def gateway(self) -> Gateway:
        async with self._opening:
            if self._gateway is None:
                self._client = await self._stack.enter_async_context(Client(self.route))
                self._gateway = await self._stack.enter_async_context(Gateway(self._known))
        return self._gateway

    async def close(self) -> None:
        await self._stack.aclose()

    def route(self, name: str) -> Route:
        """Where a provider is and the key that goes there. Raises InputError where there is no key."""
        if name not in self._routes:
            found = provider_of(name, self._known, self._request.model_base_url)
            self._routes[name] = Route(found, found.base_url, find_key(found, os.environ, self._folder))
            self._secrets = None
        return self._routes[name]

    @property
    def secrets(self) -> Secrets:
        """Everything that must not be written down: the keys in use, and what else in the environment looks like one."""
        if self._secrets is None:
            written = {name: value for name, value in dotenv(self._folder / ".env").items() if looks_secret(name)}
            keys = {f"{name}-key": route.key.value for name, route in self._routes.items() if route.key}
            self._secrets = Secrets({**secret_values(os.environ, self._request.env), **written, **keys})
        return self._secrets

    async def answering(self, spec: TrialSpec, task: Task, roots: Mapping[str, str], waits: Waits) -> Answering:
        """Who answers a trial that has a model or a fixture. Raises InputError where a fixture or script cannot be read."""
        await self.gateway()
        if spec.trial.fixture is not None:
            return await self._replaying(spec, task, Path(spec.trial.fixture), roots, waits)
        assert spec.config.model is not None  # there is no traffic without one
        ref = self._parse(spec.config.model)
        return Answering(self._source(ref, task, spec, waits), ref.provider, ref.name)

    def _parse(self, model: str) -> ModelRef:
        return parse_model(model, self._known, base_url=self._request.model_base_url)

    def _source(self, ref: ModelRef, task: Task, spec: TrialSpec, waits: Waits) -> Source:
        if ref.kind == "scripted":
            return Scripted.load(Path(ref.path), task=task.ref)
        return self._upstream(spec, waits, self.settings.names)

    def _upstream(self, spec: TrialSpec, waits: Waits, names: Mapping[str, str]) -> Upstream:
        assert self._client is not None
        return Upstream(self._client, spec.trial.run_id, models=names, options=self.settings.options, waits=waits)

    async def _replaying(
        self, spec: TrialSpec, task: Task, folder: Path, roots: Mapping[str, str], waits: Waits
    ) -> Answering:
        fixture = await asyncio.to_thread(lambda: read_fixture(folder, as_edited=True))
        provenance = fixture.provenance
        assert provenance is not None  # the plan has read it
        notes = notes_of(Recorded(str(folder), provenance), task, spec.config, self._request)
        secrets = self.secrets
        replay = await asyncio.to_thread(
            lambda: Replay.open(
                fixture,
                match=self._request.match,
                volatile=volatile_for(provenance.agent.name, provenance.agent.version),
                roots=joined(provenance.roots, roots),
                redact=lambda data: secrets.redact(data)[0],
                raw=provenance.raw,
                timed=self._request.timed,
            )
        )
        model = asked_name(provenance.model or "", provenance.provider)
        if self._request.until is None or spec.config.model is None:
            return Answering(replay, provenance.provider, model, replay, fixture, notes)
        live = self._live(spec, provenance, waits)
        until = Until(replay, live, self._request.until)
        return Answering(until, provenance.provider, model, until, fixture, notes)

    def _live(self, spec: TrialSpec, provenance: Provenance, waits: Waits) -> Source:
        """The model that goes on after a recording: the agent goes on asking the recorded one's provider for the recorded name."""
        assert spec.config.model is not None
        ref = self._parse(spec.config.model)
        if ref.kind == "scripted":
            return Scripted.load(Path(ref.path), task=spec.trial.task)
        return Elsewhere(self._upstream(spec, waits, {"*": ref.name}), ref.provider)


class Elsewhere:
    """A ``Source`` that asks another provider than the path of a request names."""

    def __init__(self, source: Source, provider: str) -> None:
        self._source = source
        self._provider = provider

    async def answer(self, request: Request) -> Answer:
        answer = await self._source.answer(msgspec.structs.replace(request, provider=self._provider))
        return msgspec.structs.replace(answer, provider=self._provider)

    async def close(self) -> None:
        await self._source.close()
