"""Attacks with two sides, as a suite that every sandbox backend is run against: one lies in wait, the other does its work.

Each is a line of ``attacks.py`` with the name of its test. Fixtures as in ``attacking.py``.
"""

from __future__ import annotations

import asyncio
import errno
import os
import random
import socket
from collections.abc import Sequence
from pathlib import Path

import pytest
from attacking import CODE, Opener, code
from conformance import PATH, content, entry, finish, pack, sh

from bakeoff.errors import SandboxError
from bakeoff.sandboxes.base import Exit, Process, Sandbox, tar_bytes
from bakeoff.tasks.protections import LIFTABLE

ENV = {**PATH, "PYTHONDONTWRITEBYTECODE": "1"}
# So many folders to look the command up in that the process which enters takes a while to become it.
LONG = {"PATH": ":".join([f"/nowhere/{number}" for number in range(3000)] + [PATH["PATH"]])}
REWARD = "/logs/verifier/reward.txt"
WAYS = ("trace", "look", "memory", "root")
COVERED = ("/tests", "/logs/verifier")
SO_PEERPIDFD = 77
CLIENT = """
import os, socket, sys
secret = os.memfd_create("secret")
os.write(secret, b"secret")
assert secret == 3
with socket.socket(socket.AF_UNIX) as client:
    client.connect("/app/service")
    while client.recv(100):
        pass
sys.exit(7)
"""
JUDGE = """i=0
while [ $i -lt 60 ]; do
    echo honest > /logs/verifier/reward.txt || exit 3
    [ "$(cat /logs/verifier/reward.txt)" = honest ] || exit 4
    [ "$(ls /tests)" = test.sh ] || exit 5
    i=$((i+1))
done
exit 7
"""


async def lay(box: Sandbox) -> None:
    await box.put(tar_bytes(code()), CODE)


Judged = tuple[tuple[int | None, bytes, list[str]] | None, set[str]]
"""The judge's exit code, the reward and what is found in /tests; and what the process that haunts it says it did."""

HONEST = (7, b"honest\n", ["test.sh", str(len(JUDGE))])


class Watched:
    """A program inside that runs until it is ended, and what it has written so far."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.said = b""
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for piece in self.process.stdout:
            self.said += piece

    @classmethod
    async def start(cls, box: Sandbox, argv: Sequence[str], ready: bytes) -> Watched:
        """It is ready when it says so."""
        made = cls(await box.start(argv, env=ENV, cwd=CODE))
        await made.until(ready)
        made.said = b""
        return made

    async def until(self, word: bytes) -> None:
        async with asyncio.timeout(20):
            while word not in self.said:  # noqa: ASYNC110 - it is read a piece at a time
                await asyncio.sleep(0.005)

    async def end(self) -> None:
        await self.process.kill()
        await self.process.wait()
        await self._reading


class Entering:
    """Code inside against the process that enters to start a command."""

    async def had(self, box: Sandbox, commands: int, *ways: str) -> bytes:
        """What the attack says while so many commands are started; or till it says something."""
        attacker = await Watched.start(box, ["/usr/bin/python3", "-m", "inside.entering", *ways], b"waiting")
        for _ in range(commands):
            async with asyncio.timeout(10):
                await finish(await box.start(["true"], env=LONG, cwd="/"))
            if attacker.said:
                break
        await attacker.end()
        return attacker.said

    async def test_a_process_that_enters_cannot_be_had(self, opener: Opener) -> None:
        async with opener() as box:
            await lay(box)
            assert await self.had(box, 50, *WAYS) == b""

    @pytest.mark.parametrize("way", WAYS)
    async def test_a_process_that_enters_unprotected_is_had(self, opener: Opener, way: str) -> None:
        async with opener(without=frozenset({"entering"})) as box:
            await lay(box)
            assert b"was had" in await self.had(box, 400, way)

    async def test_a_command_that_is_held_up_while_it_enters_can_be_ended(self, opener: Opener) -> None:
        """Equals can always stop each other: so whoever starts a command has a deadline, and its end ends it."""
        async with opener() as box:
            await lay(box)
            attacker = await Watched.start(box, ["/usr/bin/python3", "-m", "inside.entering", "stop"], b"waiting")
            held = 0
            for _ in range(100):
                process = await box.start(["true"], env=LONG, cwd="/")
                try:
                    async with asyncio.timeout(0.3):
                        await process.wait()
                except TimeoutError:
                    held += 1
                    async with asyncio.timeout(5):
                        await process.kill()
                        assert (await process.wait()).signal == 9
                if held == 3:
                    break
            assert held == 3
            for _ in range(5):
                async with asyncio.timeout(10):
                    ended, _, _ = await finish(await box.start(["true"], env=LONG, cwd="/", apart=True))
                    assert ended.code == 0
            await attacker.end()

    async def test_a_command_that_is_held_up_by_a_tracer_can_be_ended(self, opener: Opener) -> None:
        """A process that is traced is not reaped before its tracer has seen its end."""
        async with opener() as box:
            await lay(box)
            tracer = await Watched.start(box, ["/usr/bin/python3", "-m", "inside.entering", "hold"], b"waiting")
            process = await box.start(
                ["sleep", "1"], env=PATH, cwd="/"
            )  # so long that a busy machine's tracer meets it
            await tracer.until(b"held")
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1.5):
                    await process.wait()
            async with asyncio.timeout(5):
                await process.kill()
                assert (await process.wait()).code == 0
                assert (await tracer.process.wait()).signal == 9


class Haunting:
    """A process that the agent left behind, and that is kept, against the judge who comes after."""

    async def judged(self, box: Sandbox, how: Sequence[str]) -> Judged:
        await lay(box)
        await sh(box, "ln -s /usr/bin/python3 /app/kept")
        ghost = await Watched.start(box, ["/app/kept", "-m", "inside.haunt", *how], b"there")
        await box.end_processes(keep=["kept"])
        try:
            await box.cover(COVERED)
            await box.put(pack(entry("test.sh", JUDGE.encode(), mode=0o755)), "/tests")
            argv = ["/bin/sh", "/tests/test.sh", "THE-JUDGE"]
            async with asyncio.timeout(30):
                ended, _, _ = await finish(await box.start(argv, env=PATH, cwd="/", apart=True))
            _, out, _ = await sh(box, "ls /tests; wc -c < /tests/test.sh", apart=True)
            judgement = (ended.code, await content(box, REWARD), out.decode().split())
        except (FileNotFoundError, SandboxError):
            judgement = None
        _, said, _ = await sh(box, "cat /app/haunted", apart=True)
        await box.uncover()
        await ghost.end()
        return judgement, set(said.decode().splitlines())

    @pytest.mark.parametrize("without", [frozenset[str](), frozenset(LIFTABLE)], ids=["all", "what tasks leave"])
    async def test_a_judge_is_neither_seen_nor_reached_nor_are_its_folders(
        self, opener: Opener, without: frozenset[str]
    ) -> None:
        async with opener(without=without) as box:
            found = await self.judged(box, ("look", "write", "move"))
        assert found == (HONEST, set())

    async def test_a_judge_is_seen_and_reached_where_the_agent_has_no_world_of_its_own(self, opener: Opener) -> None:
        async with opener(without=frozenset({"world"})) as box:
            _, said = await self.judged(box, ("look",))
        assert said == {"seen", "signalled", "traced", "its root is entered", "its descriptors are listed"}

    @pytest.mark.parametrize("how", ["write", "move"])
    async def test_a_judge_is_deceived_where_the_agent_has_no_world_of_its_own(self, opener: Opener, how: str) -> None:
        async with opener(without=frozenset({"world"})) as box:
            judgement, _ = await self.judged(box, (how,))
        assert judgement != HONEST

    async def talked(self, box: Sandbox) -> tuple[int | None, bytes]:
        """How the judge ended who talked to a service of the agent's over a unix socket, and what that says it did."""
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.getsockopt(socket.SOL_SOCKET, SO_PEERPIDFD)
            except OSError as error:
                if error.errno == errno.ENOPROTOOPT:
                    pytest.skip("this kernel tells nobody who is at the other end")
        await lay(box)
        service = await Watched.start(box, ["/usr/bin/python3", "-m", "inside.peer", "/app/service"], b"serving")
        argv = ["/usr/bin/python3", "-c", CLIENT]
        async with asyncio.timeout(20):
            ended, _, _ = await finish(await box.start(argv, env=PATH, cwd="/", apart=True))
        await service.end()
        return ended.code, service.said

    async def test_a_judge_who_talks_to_a_service_is_not_reached_through_it(self, opener: Opener) -> None:
        async with opener() as box:
            code, said = await self.talked(box)
        assert code == 7 and b"known" in said and b"not taken" in said and b"not killed" in said

    async def test_a_judge_who_talks_to_a_service_loses_files_where_that_may_look_into_it(self, opener: Opener) -> None:
        async with opener(without=frozenset({"process-memory"})) as box:
            code, said = await self.talked(box)
        assert code == 7 and b"took secret" in said

    async def test_killing_everything_does_not_reach_the_judge(self, opener: Opener) -> None:
        """Whoever kills all it can, by -1 or number by number, is alone with its own."""
        by_number = "i=2; while [ $i -lt 60 ]; do [ $i = $$ ] || kill -9 $i; i=$((i+1)); done"
        script = f"exec 2>/dev/null; trap '' TERM; while :; do kill -9 -1; {by_number}; done"
        async with opener() as box:
            await box.start(["/bin/sh", "-c", script], env=PATH, cwd="/")
            assert {out for _, out, _ in [await self.briefly(box) for _ in range(6)]} == {b"lives\n"}
        async with opener(without=frozenset({"world"})) as box:
            await box.start(["/bin/sh", "-c", script], env=PATH, cwd="/")
            for _ in range(100):
                ended, _, _ = await self.briefly(box)
                if ended.signal == 9:
                    return
            pytest.fail("the attack kills nobody even without a world")

    async def briefly(self, box: Sandbox) -> tuple[Exit, bytes, bytes]:
        return await sh(box, "sleep 0.05; echo lives", apart=True)

    async def test_folders_that_are_moved_at_the_moment_of_covering_are_the_judges(self, opener: Opener) -> None:
        async with opener() as box:
            await lay(box)
            await sh(box, "ln -s /usr/bin/python3 /app/kept")
            movers = [await Watched.start(box, ["/app/kept", "-m", "inside.haunt", "move"], b"there") for _ in range(2)]
            for turn in range(15):
                await box.cover(COVERED)
                await box.put(pack(entry("test.sh", b"%d" % turn)), "/tests")
                script = f"[ $(ls /tests) = test.sh ] && cat /tests/test.sh && echo honest{turn} > {REWARD}"
                ended, out, err = await sh(box, script, apart=True)
                assert (ended.code, out, err) == (0, b"%d" % turn, b"")
                assert await content(box, REWARD) == b"honest%d\n" % turn
                await box.uncover()
            for mover in movers:
                await mover.end()


LEFT = {
    "daemons": "(setsid sh -c 'sleep {} & sleep {} &' &) ; nohup setsid sleep {} >/dev/null 2>&1 &",
    "deaf": "trap '' HUP INT TERM QUIT USR1 USR2 TSTP CONT; (trap '' TERM; sleep {}) & exec sleep {}",
    "stopped": "sleep {} & kill -STOP $!",
    "storm": "hop() {{ sleep {} & hop & }}; hop >/dev/null 2>&1 & sleep 0.2; exit 0",
    "traced": '/usr/bin/python3 -c \'import ctypes,os,time; p=os.fork(); p or os.execv("/bin/sleep",["sleep","{}"]);'
    " time.sleep(.2); ctypes.CDLL(None).ptrace(16,p,0,0); time.sleep(900)' {} &",
    "suspended": "/usr/bin/python3 -c 'import ctypes,time; ctypes.CDLL(None).vfork() or time.sleep(900)' {} &",
}


class Leaving:
    """What outlives its end: nothing."""

    @pytest.mark.parametrize("kind", sorted(LEFT))
    async def test_nothing_lives_after_the_end_of_all_processes(self, opener: Opener, kind: str) -> None:
        mark = str(random.randrange(10**8, 10**9))
        async with opener() as box:
            script = LEFT[kind].replace("{{", "{").replace("}}", "}").replace("{}", mark)
            await box.start(["/bin/sh", "-c", f"ulimit -u 300; {script}"], env=PATH, cwd="/")
            async with asyncio.timeout(10):
                while not living(mark):  # noqa: ASYNC110 - another process brings it about
                    await asyncio.sleep(0.01)
            await asyncio.sleep(0.1)
            await box.end_processes()
            assert living(mark) == []
            assert await box.end_processes() == ()


def living(mark: str) -> list[str]:
    """The command lines, as they are seen from outside, that have the mark."""
    found: list[str] = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes()
        except OSError:
            continue
        if mark.encode() in line and int(path.parent.name) != os.getpid():
            found.append(line.decode())
    return found


class Scenarios(Entering, Haunting, Leaving):
    """All of it."""
