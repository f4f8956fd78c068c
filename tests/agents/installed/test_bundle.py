"""Bundles: made once, whole or not at all, whoever makes them at the same time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from bakeoff.agents.installed import bundle
from bakeoff.agents.installed.elf import loader
from bakeoff.agents.installed.load import parse
from bakeoff.agents.installed.model import Definition
from bakeoff.agents.installed.runtimes import lay_python
from bakeoff.errors import InputError

FORM = """[agent]
name = "mine"
version = "1.0"
runtime = "binary"
protocol = "openai-chat"
[install]
steps = [{steps}]
{more}
[run]
command = ["{{bundle}}/bin/mine"]
"""


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BAKEOFF_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def defined(*steps: str, more: str = "") -> Definition:
    return parse(FORM.format(steps=", ".join(f"'{step}'" for step in steps), more=more).encode(), "mine.toml")


def entries(home: Path) -> list[str]:
    return sorted(path.name for path in (home / "bundles").iterdir() if not path.name.endswith(".lock"))


def quiet(_: str) -> None:
    pass


def test_a_bundle_is_made_once_and_then_only_read(own_home: Path, tmp_path: Path) -> None:
    definition = defined(f"echo x >> {tmp_path}/ran; echo {{version}} > file")
    notes: list[str] = []
    first = bundle.prepare(definition, "1.0", notes.append)
    second = bundle.prepare(definition, "1.0", notes.append)
    assert first == second
    assert first.stamp is not None
    assert (first.path / "file").read_text() == "1.0\n"
    assert (tmp_path / "ran").read_text() == "x\n"
    assert len(notes) == 1
    assert entries(own_home) == [first.path.name]


def test_other_versions_and_other_definitions_have_bundles_of_their_own(own_home: Path) -> None:
    bundle.prepare(defined("echo a > file"), "1.0", quiet)
    bundle.prepare(defined("echo a > file"), "1.1", quiet)
    bundle.prepare(defined("echo b > file"), "1.0", quiet)
    assert len(entries(own_home)) == 3


def test_the_same_made_twice_has_the_same_content(own_home: Path) -> None:
    definition = defined("mkdir bin; echo a > bin/file; chmod +x bin/file; ln -s bin/file link")
    first = bundle.prepare(definition, "1.0", quiet).stamp
    subprocess.run(["rm", "-rf", str(own_home)], check=True)
    second = bundle.prepare(definition, "1.0", quiet).stamp
    assert first is not None
    assert second is not None
    assert first.content == second.content


def test_what_fails_leaves_nothing_and_says_what_failed(own_home: Path) -> None:
    with pytest.raises(InputError, match=r"mine 1.0: .*exit code 3: too bad"):
        bundle.prepare(defined("echo part > file", "echo too bad >&2; exit 3"), "1.0", quiet)
    assert entries(own_home) == []


def test_a_missing_client_is_named_with_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    definition = parse(FORM.format(steps="", more='npm = ["x@1"]').encode(), "mine.toml")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match=r"npm is not on this machine .*apt-get install npm"):
        bundle.prepare(definition, "1.0", quiet)


def test_what_a_killed_builder_left_is_swept_and_made_anew(own_home: Path) -> None:
    program = (
        "import sys, os; from bakeoff.agents.installed import bundle; from bakeoff.agents.installed.load import parse\n"
        "bundle.prepare(parse(sys.stdin.buffer.read(), 'm'), '1.0', lambda _: None)"
    )
    text = FORM.format(steps="'echo part > file; kill -9 $PPID; sleep 9'", more="")
    ended = subprocess.run([sys.executable, "-c", program], input=text.encode(), check=False, timeout=60)
    assert ended.returncode == -9
    (left,) = entries(own_home)
    assert left.startswith(".new-")
    definition = parse(text.replace("kill -9 $PPID; sleep 9", "true").encode(), "m")
    other = bundle.bundle_state(definition, "1.0").path
    os.rename(own_home / "bundles" / left, own_home / "bundles" / f".new-{other.name}-left")
    made = bundle.prepare(definition, "1.0", quiet)
    assert made.stamp is not None
    assert entries(own_home) == [made.path.name]


def test_two_builders_make_one_bundle(tmp_path: Path) -> None:
    definition = defined(f"echo x >> {tmp_path}/ran; sleep 0.3")
    threads = [threading.Thread(target=bundle.prepare, args=(definition, "1.0", quiet)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / "ran").read_text() == "x\n"


def test_a_stamp_that_was_tampered_with_is_none(own_home: Path) -> None:
    definition = defined("echo a > file")
    made = bundle.prepare(definition, "1.0", quiet)
    (made.path / bundle.STAMP).write_text("{}")
    assert bundle.bundle_state(definition, "1.0").stamp is None
    assert bundle.prepare(definition, "1.0", quiet).stamp == bundle.bundle_state(definition, "1.0").stamp is not None


def test_everybody_can_read_a_bundle_and_nobody_else_write_it() -> None:
    definition = defined("umask 077; mkdir -p a; echo x > a/secret; chmod 4777 a; echo y > a/run; chmod 4700 a/run")
    path = bundle.prepare(definition, "1.0", quiet).path
    modes = {name: oct((path / name).stat().st_mode & 0o7777) for name in ("a", "a/secret", "a/run")}
    assert modes == {"a": "0o755", "a/secret": "0o644", "a/run": "0o755"}


def test_what_is_not_needed_is_dropped_and_a_program_is_chosen_by_its_loader() -> None:
    more = 'drop = ["big", "none"]\n[install.programs]\nmine = ["foreign", "real"]'
    definition = defined(
        f"cp {sys.executable} foreign; sed -i s#/lib64/ld-linux#/lib64/no-linux# foreign; cp /bin/sh real; mkdir big",
        more=more,
    )
    made = bundle.prepare(definition, "1.0", quiet)
    assert made.stamp is not None
    assert not (made.path / "big").exists()
    (loaders,) = made.stamp.loaders
    assert loaders == (loader(made.path / "foreign"), loader(made.path / "real"))
    assert not Path(loaders[0]).exists()
    said = subprocess.run(
        [made.path / "bin" / "mine", "-c", "echo $0 $1", "a", "b c"], capture_output=True, text=True, check=True
    )
    assert said.stdout == "a b c\n"


def test_a_program_that_did_not_come_is_an_input_error() -> None:
    with pytest.raises(InputError, match=r"install\.programs\.mine"):
        bundle.prepare(defined("true", more='[install.programs]\nmine = ["nowhere"]'), "1.0", quiet)


def test_the_bundles_python_is_apart_from_the_machines_and_from_where_it_is_run(tmp_path: Path) -> None:
    place = tmp_path / "moved" / "here"
    place.mkdir(parents=True)
    lay_python(place)
    (tmp_path / "json.py").write_text("raise SystemExit('shadowed')")
    code = "import json, ssl, sqlite3, ctypes, sys; print(json.dumps([sys.executable, sys.prefix, sys.path]))"
    ran = subprocess.run(
        [place / "bin" / "python3", "-c", code],
        env={"PYTHONPATH": str(tmp_path), "PATH": "/nowhere", "PYTHONHOME": "/nowhere"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    executable, prefix, path = json.loads(ran.stdout)
    assert Path(executable) == place / "bin" / "python3"
    assert Path(prefix).resolve() == place
    assert all(Path(entry).resolve().is_relative_to(place) for entry in path)
