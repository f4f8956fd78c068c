"""A command inside a bubblewrap sandbox, as its caller sees it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable

from bakeoff.errors import SandboxError
from bakeoff.sandboxes.base import Exit
from bakeoff.sandboxes.streams import EmptyReader, PipeReader, PipeWriter


class Command:
    """See ``sandboxes.base.Process``. ``kill_tree`` ends the command and what it started."""

    def __init__(
        self,
        stdin: PipeWriter,
        stdout: PipeReader,
        stderr: PipeReader | EmptyReader,
        kill_tree: Callable[[], Awaitable[None]],
    ) -> None:
        self._stdin = stdin
        self._stdout = stdout
        self._stderr = stderr
        self._kill_tree = kill_tree
        self._limit: str | None = None
        self._exit: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()

    @property
    def stdin(self) -> PipeWriter:
        return self._stdin

    @property
    def stdout(self) -> PipeReader:
        return self._stdout

    @property
    def stderr(self) -> PipeReader | EmptyReader:
        return self._stderr

    async def wait(self) -> Exit:
        return await asyncio.shield(self._exit)

    async def kill(self) -> None:
        await self._kill_tree()

    def over(self, limit: str) -> None:
        """It is about to be killed for a limit of its sandbox."""
        self._limit = self._limit or limit

    def ended(self, code: int, cpu: float | None, rss: int | None, limit: str | None = None) -> None:
        """The zygote has seen its end; ``code`` is negative for a signal."""
        if not self._exit.done():
            self._exit.set_result(
                Exit(
                    code=code if code >= 0 else None,
                    signal=-code if code < 0 else None,
                    limit=self._limit if code < 0 and self._limit else limit,
                    cpu_seconds=cpu,
                    max_rss_bytes=rss,
                )
            )
        self._stdout.process_ended()
        self._stderr.process_ended()

    def failed(self, reason: str | OSError) -> None:
        """It never ran, or its sandbox is gone; whoever waits for it gets the error, or a SandboxError that says so."""
        if not self._exit.done():
            self._exit.set_exception(SandboxError(reason) if isinstance(reason, str) else reason)
            self._exit.exception()  # whoever does not wait need not be told
        self._stdout.process_ended()
        self._stderr.process_ended()

    def close(self) -> None:
        """Close its streams, read or not."""
        self._stdin.shut()
        self._stdout.close()
        self._stderr.close()


class Pipes:
    """The two ends of a command's streams: ours, and those that it gets."""

    def __init__(self) -> None:
        self.theirs: list[int] = []
        pairs: list[tuple[int, int]] = []
        try:
            for _ in range(3):
                pairs.append(os.pipe2(os.O_CLOEXEC))
        except OSError:
            for pair in pairs:
                os.close(pair[0])
                os.close(pair[1])
            raise
        (child_in, stdin), (stdout, child_out), (stderr, child_err) = pairs
        self.theirs = [child_in, child_out, child_err]
        self.ours = (stdin, stdout, stderr)

    def close_theirs(self) -> None:
        for fd in self.theirs:
            os.close(fd)
        self.theirs = []

    def close_ours(self) -> None:
        for fd in self.ours:
            os.close(fd)
