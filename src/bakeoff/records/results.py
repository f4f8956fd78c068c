"""One line of ``results.jsonl``: all that report, compare, resume and viewer need to know of a finished trial."""

from __future__ import annotations

from msgspec import Struct

from bakeoff.records.outcomes import Flag, Outcome

SCHEMA_VERSION = "1.0"


class Config(Struct, frozen=True):
    """One agent with one model and their options. ``model_returned`` is the name the provider answered with."""

    agent: str
    agent_version: str = ""
    model: str | None = None
    model_returned: str | None = None
    options: dict[str, str] = {}
    skills: str | None = None
    slug: str = ""


class Usage(Struct, frozen=True):
    """Model traffic of a trial. None: not known, which is not zero."""

    requests: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    cost_usd: float | None = None


class Limits(Struct, frozen=True):
    """The limits that held, after every override and scale: times in seconds, sizes in MiB. None: nothing was limited.

    ``cpus`` counts processors, and ``processes`` counts threads too.
    """

    agent_timeout_sec: float | None = None
    verifier_timeout_sec: float | None = None
    cpus: float | None = None
    memory_mb: int | None = None
    storage_mb: int | None = None
    processes: int | None = None


class Resources(Struct, frozen=True):
    """What the agent's processes used, all together, as seen from outside the sandbox. None: it could not be read.

    ``exceeded`` names the limits that were hit: ``memory`` (something was killed for it), ``processes`` (a fork was refused),
    ``storage`` and ``inodes`` (everything was ended for what it held on the disk); ``machine_memory`` and ``machine_processes``
    where that was not for the sandbox's own limit but for one around it, as of the container that bakeoff runs in. Where no
    control groups can be made only ``storage`` and ``inodes`` are seen.
    """

    cpu_sec: float | None = None
    memory_peak_mb: float | None = None
    exceeded: tuple[str, ...] = ()


class Digests(Struct, frozen=True):
    task: str = ""
    verifier: str = ""
    image: str = ""
    agent: str = ""


class StepResult(Struct, frozen=True):
    """What one step of a multi-step task came to."""

    name: str
    outcome: Outcome
    reward: float | None = None
    rewards: dict[str, float] = {}
    detail: str = ""


class TrialResult(Struct, frozen=True, kw_only=True):
    """A finished trial. ``reward`` is None where no verdict was reached; ``passed`` is None where the trial is excluded.

    ``detail`` says in one line why the outcome is what it is, when it is not the verifier's plain word. ``phases`` has seconds by name.
    ``widened`` names the protections that the task had lifted.
    ``path`` is relative to the job's folder. ``agent`` and ``model`` repeat the config's, for flat readers.
    """

    schema_version: str = SCHEMA_VERSION
    run_id: str
    task: str
    case: str | None = None
    dataset: str = ""
    category: str = ""
    config: Config
    attempt: int
    tries: int = 1
    outcome: Outcome
    detail: str = ""
    reward: float | None = None
    rewards: dict[str, float] = {}
    passed: bool | None = None
    excluded: bool = False
    started_at: str = ""
    finished_at: str = ""
    phases: dict[str, float] = {}
    steps: tuple[StepResult, ...] = ()
    usage: Usage = Usage()
    backend: str = ""
    network: str = ""
    verify: str = ""
    limits: Limits = Limits()
    resources: Resources = Resources()
    widened: tuple[str, ...] = ()
    digests: Digests = Digests()
    flags: tuple[Flag, ...] = ()
    path: str = ""
    agent: str = ""
    model: str | None = None

    @property
    def ref(self) -> str:
        """The task as users name it: ``task`` or ``task@case``."""
        return f"{self.task}@{self.case}" if self.case else self.task

    @property
    def key(self) -> tuple[str, str, int]:
        """What makes a trial one of its kind in a job: task (with case), config slug, attempt."""
        return (self.ref, self.config.slug, self.attempt)
