"""The forms of ``task.toml``: Harbor's schema up to 1.4, its older spellings, and bakeoff's own table in it."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

Seconds = Annotated[float, Meta(gt=0)]
Delay = Annotated[float, Meta(ge=0)]
Text = Annotated[str, Meta(min_length=1)]
Positive = Annotated[int, Meta(gt=0)]
Count = Annotated[int, Meta(ge=0)]
NetworkName = Literal["public", "no-network", "allowlist"]
ModeName = Literal["shared", "frozen", "separate"]


class AuthorTable(Struct, frozen=True):
    name: str
    email: str | None = None


class TaskTable(Struct, frozen=True):
    """``[task]``: who the task is."""

    name: Text
    version: str = ""
    description: str = ""
    authors: tuple[AuthorTable | str, ...] = ()
    keywords: tuple[str, ...] = ()


class HealthcheckTable(Struct, frozen=True):
    command: Text
    interval_sec: Delay = 5.0
    timeout_sec: Seconds = 30.0
    start_period_sec: Delay = 0.0
    start_interval_sec: Delay = 5.0
    retries: Positive = 3


class McpTable(Struct, frozen=True):
    name: Text
    transport: Literal["sse", "streamable-http", "http", "stdio"] = "sse"
    url: str | None = None
    command: str | None = None
    args: tuple[str, ...] = ()
    env: dict[str, str] = {}


class AgentTable(Struct, frozen=True):
    """``[agent]`` and ``[steps.agent]``."""

    timeout_sec: Seconds | None = None
    user: str | int | None = None
    network_mode: NetworkName | None = None
    allowed_hosts: tuple[str, ...] = ()


class EnvironmentTable(Struct, frozen=True):
    """``[environment]`` and ``[verifier.environment]``. ``memory``, ``storage`` and ``allow_internet`` are older spellings."""

    network_mode: NetworkName | None = None
    allowed_hosts: tuple[str, ...] = ()
    build_timeout_sec: Seconds = 600.0
    docker_image: Text | None = None
    os: Literal["linux", "windows"] = "linux"
    cpus: Seconds | None = None
    memory_mb: Positive | None = None
    storage_mb: Positive | None = None
    gpus: Count | None = None
    gpu_types: tuple[str, ...] = ()
    tpu: dict[str, object] | None = None
    mcp_servers: tuple[McpTable, ...] = ()
    env: dict[str, str] = {}
    skills_dir: Text | None = None
    healthcheck: HealthcheckTable | None = None
    workdir: Text | None = None
    memory: str | None = None
    storage: str | None = None
    allow_internet: bool | None = None


class CollectTable(Struct, frozen=True):
    command: Text
    service: str | None = None
    timeout_sec: Seconds = 60.0
    user: str | int | None = None


class VerifierTable(Struct, frozen=True):
    """``[verifier]`` and ``[steps.verifier]``."""

    timeout_sec: Seconds | None = None
    env: dict[str, str] = {}
    user: str | int | None = None
    environment_mode: Literal["shared", "separate"] | None = None
    environment: EnvironmentTable | None = None
    collect: tuple[CollectTable, ...] = ()
    network_mode: NetworkName | None = None
    allowed_hosts: tuple[str, ...] = ()


class SolutionTable(Struct, frozen=True):
    env: dict[str, str] = {}


class ArtifactTable(Struct, frozen=True):
    source: Text
    destination: Text | None = None
    exclude: tuple[str, ...] = ()
    service: str | None = None


class StepTable(Struct, frozen=True):
    """One of ``[[steps]]``; its files are in ``steps/<name>/``."""

    name: Text
    agent: AgentTable = AgentTable()
    verifier: VerifierTable = VerifierTable()
    min_reward: float | dict[str, float] | None = None
    healthcheck: HealthcheckTable | None = None
    artifacts: tuple[str | ArtifactTable, ...] = ()


class BakeoffTable(Struct, frozen=True):
    """``[metadata.bakeoff]``: what Harbor has no field for. Unknown keys are refused here, unlike elsewhere in ``[metadata]``."""

    root: Literal["host", "image"] = "image"
    needs: tuple[Text, ...] = ()
    live: bool | tuple[Text, ...] = ()
    pass_threshold: float = 1.0
    verify_modes: tuple[ModeName, ...] = ()
    visible: tuple[Text, ...] = ()
    hidden: tuple[Text, ...] = ()
    meant: tuple[Text, ...] = ()
    widen: tuple[Text, ...] = ()
    files: Text | None = None
    setup: Text | None = None


class TaskToml(Struct, frozen=True):
    """The whole file. ``version`` is the older spelling of ``schema_version``; ``multi_step_reward_mode`` was dropped by Harbor in 1.3."""

    schema_version: str | None = None
    version: str | None = None
    task: TaskTable | None = None
    metadata: dict[str, object] = {}
    source: str | None = None
    artifacts: tuple[str | ArtifactTable, ...] = ()
    multi_step_reward_strategy: Literal["mean", "final"] = "mean"
    multi_step_reward_mode: str | None = None
    agent: AgentTable = AgentTable()
    verifier: VerifierTable = VerifierTable()
    environment: EnvironmentTable = EnvironmentTable()
    solution: SolutionTable = SolutionTable()
    steps: tuple[StepTable, ...] = ()
