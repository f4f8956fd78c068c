"""``leak-check`` finds what is planted, in any encoding and compression, never says it, and lets through exact values alone."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from bakeoff.checks import leak_check as module
from bakeoff.checks.leak_check import leak_check
from bakeoff.errors import InputError

REPOSITORY = Path(__file__).resolve().parent.parent.parent
TOKEN = "ghp_" + "a1B2" * 9
VALUE = "correct-horse-battery"
ENV = {"MY_API_KEY": VALUE, "PATH": "/usr/bin:/bin", "SHORT_KEY": "abc"}


def found(path: Path, **options: object) -> list[tuple[str, int, str, str]]:
    report = leak_check(path, environment=ENV, **options)  # type: ignore[arg-type]  # of a test's own
    assert report.ok == (not report.findings)
    assert TOKEN not in repr(report) and VALUE not in repr(report)
    return [(leak.file, leak.line, leak.kind, leak.by) for leak in report.findings]


def test_secrets_are_found_by_value_and_by_shape_with_their_lines(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "b.txt").write_text(f"one\ntwo {TOKEN}\n\nfour {VALUE} and {TOKEN}\n")
    (tmp_path / "a.json").write_text(json.dumps({"x": base64.b64encode(f"user:{VALUE}".encode()).decode()}))
    (tmp_path / "clean.txt").write_text("sha256:" + hashlib.sha256(b"x").hexdigest() + " abc")
    os.symlink(f"https://user:{VALUE}@host", tmp_path / "link")
    assert found(tmp_path) == [
        ("a.json", 1, "MY_API_KEY", "value"),
        ("link", 1, "MY_API_KEY", "value"),
        ("deep/b.txt", 2, "github-token", "shape"),
        ("deep/b.txt", 4, "MY_API_KEY", "value"),
        ("deep/b.txt", 4, "github-token", "shape"),
    ]
    assert found(tmp_path / "deep" / "b.txt")[0] == ("b.txt", 2, "github-token", "shape")


def a_tar(text: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        entry = tarfile.TarInfo("inner.txt")
        entry.size = len(text)
        tar.addfile(entry, io.BytesIO(text))
    return out.getvalue()


@pytest.mark.parametrize("name", ["x.gz", "x.zst", "x.tgz", "x.tar", "x.jsonl.zst"])
def test_compressed_files_and_tars_are_looked_into(tmp_path: Path, name: str) -> None:
    data = b"line\n" * 5000 + TOKEN.encode() + b"\n"
    if "t" in name.partition(".")[2][:1]:
        data = a_tar(data)
    if name.endswith(".zst"):
        half = len(data) // 2
        data = b"".join(zstandard.ZstdCompressor().compress(part) for part in (data[:half], data[half:]))
    elif name.endswith("gz"):
        data = gzip.compress(data)
    (tmp_path / name).write_bytes(data)
    assert [(file, kind) for file, _, kind, _ in found(tmp_path)] == [(name, "github-token")]


@pytest.mark.parametrize("offset", range(0, 60, 7))
def test_windows_of_a_long_file_find_each_secret_once_and_count_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, offset: int
) -> None:
    monkeypatch.setattr(module, "_STEP", 10_000)
    lines = [f"{'x' * offset} {number} {VALUE if number % 97 == 0 else '-'}" for number in range(1, 3000)]
    (tmp_path / "long.txt").write_text("\n".join(lines))
    assert [line for _, line, _, _ in found(tmp_path)] == list(range(97, 3000, 97))


def test_what_is_not_looked_into_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "image.bin").write_bytes(b"\0\1\2" + TOKEN.encode())
    (tmp_path / "broken.gz").write_bytes(gzip.compress(b"x" * 9000)[:-12])
    (tmp_path / "broken.zst").write_bytes(b"no zstd")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "config").write_text(TOKEN)
    os.mkfifo(tmp_path / "pipe")
    monkeypatch.setattr(module, "MAX_FILE", 1 << 20)
    (tmp_path / "bomb.zst").write_bytes(zstandard.ZstdCompressor().compress(b"\n" * (64 << 20)))
    report = leak_check(tmp_path, environment=ENV)
    assert report.ok
    told = {note.file: note.message for note in report.notes}
    assert told["image.bin"] == "binary: not looked into"
    assert told["broken.gz"].startswith("damaged") and told["broken.zst"].startswith("damaged")
    assert told["bomb.zst"].startswith("longer than")
    assert told[".git"].startswith("not looked into")
    assert found(tmp_path / ".git") == [("config", 1, "github-token", "shape")]


def test_an_exact_rule_lets_its_value_through_and_no_other(tmp_path: Path) -> None:
    folder = tmp_path / "looked"
    folder.mkdir()
    (folder / "a.txt").write_text(f"{TOKEN}\n{TOKEN[:-1]}3\n")
    rules = tmp_path / "rules.toml"
    digest = hashlib.sha256(TOKEN.encode()).hexdigest()
    rules.write_text(f'[[allow]]\nsha256 = "{digest}"\nkind = "github-token"\nreason = "made up"\n')
    assert found(folder, allow=[rules]) == [("a.txt", 2, "github-token", "shape")]
    assert leak_check(folder, environment=ENV, allow=[rules]).allowed == 1
    assert [line for _, line, kind, by in leak_found_by_value(folder, rules)] == [1]


def leak_found_by_value(folder: Path, rules: Path) -> list[tuple[str, int, str, str]]:
    """A value of the environment is a secret, whatever a rule says of its shape."""
    report = leak_check(folder, environment={"GH_TOKEN": TOKEN}, allow=[rules])
    return [(leak.file, leak.line, leak.kind, leak.by) for leak in report.findings if leak.by == "value"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[allow]]\nsha256 = 'short'\nkind = 'k'\nreason = 'r'\n", "not a sha256"),
        (f"[[allow]]\nsha256 = '{'0' * 64}'\nkind = 'k'\nreason = ' '\n", "needs its reason"),
        ("[[allow]]\nfolder = 'tests'\n", "not a list of exact rules"),
        ("nonsense", "not a list of exact rules"),
    ],
)
def test_a_rule_that_is_not_exact_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "rules.toml").write_text(text)
    with pytest.raises(InputError, match=message):
        leak_check(tmp_path, allow=[tmp_path / "rules.toml"])


def test_public_examples_are_known(tmp_path: Path) -> None:
    (tmp_path / "docs.md").write_text(
        "aws_access_key_id = AKIA" + "IOSFODNN7EXAMPLE\n" + "-----BEGIN RSA PRIVATE KEY-----\n"
    )
    assert found(tmp_path) == []


def git(folder: Path, *args: str) -> None:
    call = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-c", "safe.directory=*", *args]
    subprocess.run(call, cwd=folder, check=True, capture_output=True)


def test_only_what_git_tracks_is_looked_at_when_asked_so(
    tmp_path: Path, require: Callable[[str, bool, str], None]
) -> None:
    require("git", shutil.which("git") is not None, "git lists files")
    git(tmp_path, "init", "-q")
    (tmp_path / "tracked é.txt").write_text(TOKEN)
    (tmp_path / "other.txt").write_text(TOKEN)
    git(tmp_path, "add", "tracked é.txt")
    assert found(tmp_path, tracked=True) == [("tracked é.txt", 1, "github-token", "shape")]
    (tmp_path / "plain").mkdir()
    with pytest.raises(InputError, match="no such file"):
        found(tmp_path / "missing")


def test_a_folder_without_git_is_named(tmp_path: Path, require: Callable[[str, bool, str], None]) -> None:
    require("git", shutil.which("git") is not None, "git lists files")
    with pytest.raises(InputError, match="git does not list this folder"):
        found(tmp_path, tracked=True)


def test_the_command_exits_with_4_and_masks(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(f"{VALUE}\n{TOKEN}\n")
    call = [sys.executable, "-m", "bakeoff", "leak-check", str(tmp_path)]
    env = {**os.environ, "MY_API_KEY": VALUE}
    ran = subprocess.run(call, capture_output=True, text=True, env=env, check=False, timeout=60)
    assert ran.returncode == 4
    assert "a.txt:1: MY_API_KEY (by its value)" in ran.stdout and "a.txt:2: github-token" in ran.stdout
    assert VALUE not in ran.stdout and TOKEN not in ran.stdout
    ran = subprocess.run([*call, "--format", "json"], capture_output=True, text=True, env=env, check=False, timeout=60)
    document = json.loads(ran.stdout)
    assert (ran.returncode, document["ok"], len(document["findings"])) == (4, False, 2)
    (tmp_path / "a.txt").write_text("nothing")
    ran = subprocess.run(call, capture_output=True, text=True, env=env, check=False, timeout=60)
    assert (ran.returncode, ran.stdout) == (0, "No secret in 1 file.\n")


def test_this_repository_tracks_no_secret(require: Callable[[str, bool, str], None]) -> None:
    require("git", shutil.which("git") is not None, "git lists files")
    require("checkout", (REPOSITORY / ".git").exists(), "this is a copy of the tree without its history")
    made_up = REPOSITORY / "tests" / "made-up-secrets.toml"
    report = leak_check(REPOSITORY, tracked=True, allow=[made_up], environment={})
    assert report.files > 500
    assert report.findings == (), "split what is made up for a test in two, so that it stands in no file as a whole"
