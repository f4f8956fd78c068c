"""Version-control history in a sandbox: every object of every repository, reachable or not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping

from bakeoff.checks.leak.archives import Budget
from bakeoff.checks.leak.inventory import Inventory
from bakeoff.checks.leak.repositories import GitError, History, ObjectStream, loose_name, loose_object
from bakeoff.checks.leak.seen import Place, Seen, look
from bakeoff.files import tar
from bakeoff.sandboxes.base import Sandbox, tar_bytes

_PLACE = "/tmp/bakeoff-look"
_CONFIG = b"[core]\n\trepositoryformatversion = %d\n\tbare = true\n%s"
_SHA256 = b"[extensions]\n\tobjectformat = sha256\n"
_SECONDS = 20.0
_LINE = f'git cat-file --batch-all-objects --batch --buffer </dev/null; code=$?; rm -rf {_PLACE}; exit "$code"'


async def read_history(
    sandbox: Sandbox, repository: str, found: Inventory, budget: Budget, env: Mapping[str, str]
) -> History:
    """Every object of the repository whose store is ``repository``/objects, as far as it can be read.

    Git itself reads it, inside the sandbox, with an empty repository of our own around the store: nothing that the repository
    configures, no hook and no filter, has a say. Where git is missing or fails, loose objects are read here.
    """
    history = History(repository)
    problem = await _by_git(sandbox, history, found, budget, env)
    if problem:
        packs = False
        for file in found.under(f"{repository}/objects"):
            packs |= file.path.endswith(".pack")
            named = loose_name(file.path)
            if named is None or named[0] != repository or named[1] in history.blobs:
                continue
            if (loose := loose_object(named[1], file.data)) is not None:
                history.add(loose, budget)
        if packs:
            budget.leave_out(history.what, f"{problem}; packs were not read")
    return history


async def _by_git(sandbox: Sandbox, history: History, found: Inventory, budget: Budget, env: Mapping[str, str]) -> str:
    """Fill ``history``; why it is not whole, or an empty string."""
    await sandbox.put(tar_bytes(_empty_repository(_is_sha256(history.path, found))), _PLACE, fresh=True)
    own = {
        "GIT_DIR": _PLACE,
        "GIT_OBJECT_DIRECTORY": f"{history.path}/objects",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_OPTIONAL_LOCKS": "0",
        "HOME": _PLACE,
        "LC_ALL": "C",
    }
    kept = {name: value for name, value in env.items() if not name.startswith("GIT_")}
    process = await sandbox.start(["/bin/sh", "-c", _LINE], env={**kept, **own}, cwd="/", apart=True)
    reading = asyncio.create_task(_read(process.stdout, history, budget))
    errors = asyncio.create_task(_drain(process.stderr))
    clock = asyncio.timeout(_SECONDS)
    try:
        async with clock:
            await process.stdin.close()
            await reading
            how = await process.wait()
            await errors
    except TimeoutError:
        if not clock.expired():
            raise
        return f"git did not end within {_SECONDS:g} s"
    except GitError as error:
        return f"git: {error}"
    finally:
        for task in (reading, errors):
            task.cancel()
        await process.kill()
    if how.code == 127:
        return "there is no git in the sandbox"
    return "" if how.code == 0 else "git cannot read the repository"


async def _read(stream: AsyncIterator[bytes], history: History, budget: Budget) -> None:
    objects = ObjectStream()
    async for piece in stream:
        for found in objects.feed(piece):
            history.add(found, budget)


async def _drain(stream: AsyncIterator[bytes]) -> None:
    async for _ in stream:
        pass


def _is_sha256(repository: str, found: Inventory) -> bool:
    config = found.files.get(f"{repository}/config")
    return config is not None and b"sha256" in config.data.lower()


def _empty_repository(sha256: bool) -> bytes:
    config = _CONFIG % (int(sha256), _SHA256 if sha256 else b"")
    folders = (b"objects/", b"refs/")
    return tar.build(
        [
            *((tar.Member(name=name, kind=tar.FOLDER, mode=0o755), b"") for name in folders),
            (tar.Member(name=b"HEAD"), b"ref: refs/heads/main\n"),
            (tar.Member(name=b"config"), config),
        ]
    )


def shown_by(history: History, budget: Budget, step: int) -> Iterator[Seen]:
    """What a repository shows: its blobs, and the messages of its commits and tags."""
    for name, data in history.blobs.items():
        yield from look(Place(path=history.path, inner=history.origin(name)), data, budget, step=step)
    for name, data in history.messages.items():
        yield from look(Place(path=history.path, inner=f"message {name[:12]}"), data, budget, prose=True, step=step)
