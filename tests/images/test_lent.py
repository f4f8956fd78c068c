"""On a machine with no python3 in /usr the harness's own interpreter is there inside, and nothing else of where it lives."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bakeoff.images import host, lent
from bakeoff.images.root import DEFAULT_PATH
from bakeoff.sandboxes.bubblewrap import BubblewrapBackend
from bakeoff.tasks.model import Environment, Network, NetworkMode


@pytest.fixture
def interpreter(tmp_path: Path, require: Callable[[str, bool, str], None]) -> Path:
    """An interpreter with its library in a folder that nobody else may enter, with a file beside it that is nobody's business."""
    asked = "import os, sys; print(os.path.dirname(os.__file__), *sys.version_info[:2])"
    program = next(
        (path for path in ("/usr/bin/python3", "/usr/local/bin/python3") if os.path.exists(path)), sys.executable
    )
    said = subprocess.run([program, "-c", asked], capture_output=True, text=True, timeout=20, check=True).stdout.split()
    same = said[1:] == [str(part) for part in sys.version_info[:2]]
    require("python3", same, "the machine's is of another version than the tests'")
    library = Path(said[0])
    tmp_path.chmod(0o700)
    base = tmp_path / "home" / "pythons" / "own"
    (base / "bin").mkdir(parents=True)
    shutil.copy(os.path.realpath(program), base / "bin" / "python3.real")
    (base / "bin" / "python3").symlink_to("python3.real")
    left_out = shutil.ignore_patterns(
        "test", "tests", "site-packages", "dist-packages", "__pycache__", "idlelib", "config-*"
    )
    shutil.copytree(library, base / "lib" / library.name, ignore=left_out, symlinks=True)
    (base / "lib" / "answers").write_text("42")
    (base.parent / "secret").write_text("not yours")
    (tmp_path / "home").chmod(0o700)
    return base


@pytest.fixture
def caches() -> Iterator[None]:
    """What is remembered about the machine is forgotten, before and after."""
    cached = (lent.lent_interpreter, host.skeleton, host._digest, host._missing)
    for function in cached:
        function.cache_clear()
    yield
    for function in cached:
        function.cache_clear()


def test_only_a_folder_that_is_an_interpreters_alone_is_lent(interpreter: Path, tmp_path: Path) -> None:
    assert lent.can_be_lent(interpreter, (tmp_path, interpreter / "bin" / ".." / ".."))
    assert not lent.can_be_lent(interpreter, (interpreter / "share" / "user",))
    assert not lent.can_be_lent(interpreter, (interpreter,))
    assert not lent.can_be_lent(interpreter.parent, ())
    (interpreter / "bin" / "python3").unlink()
    assert not lent.can_be_lent(interpreter, ())
    (interpreter / "bin" / "python3").symlink_to("/usr/bin/env")
    assert not lent.can_be_lent(interpreter, ())


@pytest.mark.parametrize("base", ["/", "/opt", "/usr", "/usr/local"])
def test_a_folder_of_the_machine_is_not_lent(base: str) -> None:
    assert not lent.can_be_lent(Path(base), ())


def test_nothing_is_lent_where_usr_has_a_python3(caches: None, require: Callable[[str, bool, str], None]) -> None:
    found = os.path.realpath(shutil.which("python3", path=DEFAULT_PATH) or "/")
    require("python3", found.startswith("/usr/"), "this machine has none in /usr")
    assert lent.lent_interpreter() is None
    assert host.host_root().lent == ()
    assert lent.lent_env() == {}


async def test_a_lent_interpreter_can_be_read_and_neither_written_nor_looked_around(
    interpreter: Path, caches: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lent, "DEFAULT_PATH", "/usr/none")  # where no python3 is
    monkeypatch.setattr(sys, "base_prefix", str(interpreter))
    root = host.host_root()
    assert root.lent == (str(interpreter),)
    assert host.missing_needs(["python3>=3.9"]) == []
    (folder,) = interpreter.glob("lib/python*/ensurepip")
    answers = interpreter / "lib" / "answers"
    script = f"""
command -v python3
python3 -c 'import sys, sqlite3, ssl, json; print(sys.base_prefix)'
ls {interpreter.parent}; ls {folder}; cat {answers}; touch {interpreter}/mine || echo refused
"""
    path = {"PATH": f"/usr/none:{interpreter}/bin:/usr/bin:/bin"}
    assert root.env == {"PATH": f"/usr/none:{interpreter}/bin"}
    environment = Environment(root="host", network=Network(mode=NetworkMode.NONE), hide=(str(folder), str(answers)))
    backend = BubblewrapBackend()
    async with backend.open(environment, root, (), "job/run") as box:
        process = await box.start(["/bin/sh", "-c", script], env=path, cwd="/")
        await process.stdin.close()
        said = b"".join([piece async for piece in process.stdout]).decode()
        errors = b"".join([piece async for piece in process.stderr]).decode()
        await process.wait()
        assert said.split() == [f"{interpreter}/bin/python3", str(interpreter), "own", "refused"], errors
        await box.snapshot()
        process = await box.start(["python3", "-c", "print(1)"], env=path, cwd="/")
        await process.stdin.close()
        assert b"".join([piece async for piece in process.stdout]) == b"1\n"
    await backend.close()


SOLVE = "#!/bin/sh\npython3 -c 'import sys; print(sys.prefix)' > /app/answer.txt\n"
TEST = "#!/bin/sh\n[ \"$(cat /app/answer.txt)\" = {} ] && python3 -c 'print(1)' > /logs/verifier/reward.txt\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root covers the machine's programs")
def test_a_task_that_needs_python3_runs_where_usr_has_none(
    interpreter: Path, tmp_path: Path, make_task: Callable[..., Path]
) -> None:
    task = make_task(solve=SOLVE, test=TEST.format(interpreter))
    settings = (task / "task.toml").read_text().replace('needs = ["sh"]', 'needs = ["sh", "python3>=3.9"]')
    (task / "task.toml").write_text(settings)
    (tmp_path / "nothing").touch(mode=0o644)
    cover = 'for program in /usr/bin/python3* /usr/local/bin/python3*; do [ ! -f "$program" ] || mount --bind "$0" "$program"; done'
    packages = [path for path in sys.path if path.endswith("site-packages")]
    done = subprocess.run(
        [
            *("unshare", "-m", "sh", "-c", f'{cover}; exec "$@"', tmp_path / "nothing"),
            *(interpreter / "bin" / "python3", "-m", "bakeoff"),
            *("run", "-t", task, "-a", "oracle", "-q", "-o", tmp_path / "jobs"),
        ],
        env={
            **{name: value for name, value in os.environ.items() if not name.startswith("PYTHON")},
            "PYTHONPATH": ":".join([str(Path(host.__file__).parents[2]), *packages]),
            "HOME": str(tmp_path / "home"),
        },
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "100.0% passed" in done.stdout, done.stdout + done.stderr
