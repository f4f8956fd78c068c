"""The verifier of Harbor's tasks: a script that runs the tests and leaves a reward in a file."""

from __future__ import annotations

import asyncio
import hashlib

import msgspec

from bakeoff.errors import SandboxError
from bakeoff.files.streams import last_line
from bakeoff.files.tar import TarError
from bakeoff.files.tree import tar_of, unpack_stream
from bakeoff.sandboxes.base import Exit, Sandbox, tar_bytes
from bakeoff.sandboxes.logged import Logged, describe_exit, run_logged
from bakeoff.tasks.model import TESTS_DIR, VERIFIER_LOGS_DIR
from bakeoff.verifiers.base import Verdict, VerifyContext
from bakeoff.verifiers.reward import NAMES, read_reward

SCRIPT = "test.sh"
VERSION = "1"
LOGS_LIMIT = 64 << 20
"""Bytes of ``/logs/verifier`` that are taken out of the sandbox."""

_OWN = ("stdout", "stderr")
"""Names in the folder of logs that are for the script's output alone."""

_EMPTY = tar_of(())


class ScriptVerifier:
    """Runs ``/tests/test.sh`` and reads ``reward.json`` or ``reward.txt``. The exit code is never the verdict; a signal leaves none.

    ``metric`` names the reward that counts where there are several and none is called ``reward``.
    """

    def __init__(self, metric: str | None = None) -> None:
        self.metric = metric
        self.digest = "sha256:" + hashlib.sha256(msgspec.json.encode(("script", VERSION, metric))).hexdigest()

    async def verify(self, context: VerifyContext) -> Verdict:
        """Lay the tests, run them against their own clock, end every process, and only then read the reward."""
        tests = tar_of(context.tests, executable=(SCRIPT,))
        await context.sandbox.cover((TESTS_DIR, VERIFIER_LOGS_DIR))
        _, cwd = await asyncio.gather(
            context.sandbox.put(tar_bytes(tests), TESTS_DIR),
            _workdir(context.sandbox),
        )
        logged = await _run(context, cwd)
        await context.sandbox.end_processes(context.keep)
        problem = await _collect(context)
        if logged is None:
            return Verdict(fault="timeout", detail=f"the verifier did not end within {context.timeout_sec:g} s")
        if problem:
            return Verdict(fault="error", detail=problem, truncated=logged.truncated)
        if logged.exit.signal is not None:
            # A script that was stopped may have been stopped by what it judged, which has left a reward of its own.
            return Verdict(
                fault="error",
                detail=f"the tests did not end by themselves ({describe_exit(logged.exit)})",
                truncated=logged.truncated,
            )
        verdict = read_reward(context.logs, self.metric)
        detail = verdict.detail
        if verdict.fault and logged.exit.code != 0:
            detail = f"{detail} ({describe_exit(logged.exit)}{_said(context, logged.exit)})"
        return msgspec.structs.replace(verdict, truncated=logged.truncated, detail=detail)


async def _workdir(sandbox: Sandbox) -> str:
    """Where the script begins: the workdir, made anew if the agent removed it; ``/`` if something else has its name."""
    try:
        await sandbox.put(tar_bytes(_EMPTY), sandbox.workdir)
    except SandboxError:
        return "/"
    return sandbox.workdir


async def _run(context: VerifyContext, cwd: str) -> Logged | None:
    """Run the script; None where its time was up, and then it is dead."""
    clock = asyncio.timeout(context.timeout_sec)
    try:
        async with clock:
            process = await context.sandbox.start(
                [f"{TESTS_DIR}/{SCRIPT}"], env=context.env, cwd=cwd, user=context.user, apart=True
            )
            return await run_logged(
                process, stdout=context.logs / "stdout", stderr=context.logs / "stderr", limit=context.output_limit
            )
    except TimeoutError:
        if not clock.expired():
            raise
        return None


async def _collect(context: VerifyContext) -> str:
    """Bring ``/logs/verifier`` out; what is wrong with it, or an empty string. Raises SandboxError where the sandbox itself is broken."""

    def keep(path: str) -> bool:
        return path not in _OWN

    try:
        stream = context.sandbox.get(VERIFIER_LOGS_DIR, max_bytes=LOGS_LIMIT)
        left_out = await unpack_stream(stream, context.logs, strip=1, keep=keep)
    except FileNotFoundError:
        return f"no reward: the verifier removed {VERIFIER_LOGS_DIR}"
    except (SandboxError, TarError) as error:
        # Too much in there is the verifier's fault, and its fault alone; a sandbox that is gone fails here again.
        await context.sandbox.end_processes(context.keep)
        return f"{VERIFIER_LOGS_DIR} cannot be taken out: {error}"
    odd = next((name for name in NAMES if name in left_out), "")
    return f"{odd}: not a regular file" if odd else ""


def _said(context: VerifyContext, how: Exit) -> str:
    """Why the script could not be run at all, in its own words."""
    line = last_line(context.logs / "stderr") if how.code in (126, 127) else ""
    return f": {line}" if line else ""
