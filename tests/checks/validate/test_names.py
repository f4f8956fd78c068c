"""What tests look at must be named in the instruction or be in the environment."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bakeoff.checks.base import Looked
from bakeoff.checks.validate.names import named

Look = Callable[..., Looked]
SH = "#!/bin/sh\n{}\ncmp /app/sorted.txt /tests/expected.txt && echo 1 >/logs/verifier/reward.txt\n"
IMAGE = {"task.toml": '[task]\nname = "sample"\n'}


def unnamed(looked: Looked) -> list[str]:
    return [finding.message.split(",")[0] for finding in looked.findings if "names" in finding.message]


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("cat /app/report.json", "looks at /app/report.json"),
        ("[ -f /app/out/report.json ] && echo yes", "looks at /app/out/report.json"),
        ("OUT=/app/out.csv\nwc -l < $OUT", "looks at /app/out.csv"),
        ("/app/bin/prog --check", "looks at /app/bin/prog"),
        ("python3 /app/main.py", "looks at /app/main.py"),
        ("cd /app\ncat result.txt", "looks at /app/result.txt"),
        ("grep -c x /etc/shop/shop.conf", "looks at /etc/shop/shop.conf"),
        ("curl -s http://localhost:8123/", "connects to port 8123"),
    ],
)
def test_a_name_that_nobody_is_told_is_found(look: Look, line: str, found: str) -> None:
    assert unnamed(look(IMAGE, sh=SH.format(line))) == [found]
    name = found.split()[-1].rpartition("/")[2]
    told = {**IMAGE, "instruction.md": f"Sort /app/words.txt into sorted.txt, and mind `{name}`.\n"}
    assert unnamed(look(told, sh=SH.format(line))) == []


@pytest.mark.parametrize(
    "line",
    [
        "cat /app/words.txt",
        "cat /etc/passwd /proc/1/status /tmp/x",
        "echo a > /app/input.txt; python3 /app/sorted.txt /app/input.txt; cat /app/input.txt",
        "mkdir -p /app/fresh; ls /app/fresh/x",
        "sed -n '/foo/p' /app/sorted.txt",
        "grep -q /app/other /app/sorted.txt",
        "awk '/x/ {print}' /app/sorted.txt",
        '[ "$(head -1 /app/sorted.txt)" = /app/other ]',
        "/app/sorted.txt --out /app/report.json; cat /app/report.json",
        "ls /app /etc",
        "curl -s http://localhost/",
        "python3 -m http.server 8123 & curl -s http://localhost:8123/",
    ],
)
def test_what_is_known_or_made_by_the_tests_is_not(look: Look, line: str) -> None:
    assert unnamed(look(IMAGE, sh=SH.format(line))) == []


@pytest.mark.parametrize(
    ("python", "found"),
    [
        ("assert open('/app/report.json').read()", ["looks at /app/report.json"]),
        ("P = Path('/app') / 'out' / 'r.csv'\nassert P.exists()", ["looks at /app/out/r.csv"]),
        ("assert os.path.isfile(os.path.join('/srv/data', 'x.db'))", ["looks at /srv/data/x.db"]),
        ("def load(p):\n    return open(p).read()\nassert load('/app/y.txt')", ["looks at /app/y.txt"]),
        ("assert subprocess.run(['/app/tool', '/app/in.txt']).returncode == 0", ["looks at /app/tool"]),
        ("assert urllib.request.urlopen('http://127.0.0.1:8123/x').status == 200", ["connects to port 8123"]),
        ("assert socket.create_connection(('localhost', 8123))", ["connects to port 8123"]),
        ("assert requests.get('http://localhost/api/users').json() == {'next': '/app/x/'}", []),
        ("Path('/app/new.txt').write_text('x')\nassert open('/app/new.txt').read()", []),
        ("assert open('/app/sorted.txt').read() != '/app/nothing', '/app/nothing is wrong'", []),
        ("for n in range(3):\n    assert open(f'/app/{n}.txt')", []),
        ("s = HTTPServer(('127.0.0.1', 8123), None)\nassert urllib.request.urlopen('http://127.0.0.1:8123/')", []),
    ],
)
def test_python_is_read_for_names_too(look: Look, python: str, found: list[str]) -> None:
    head = "import os, requests, socket, subprocess, urllib.request\nfrom pathlib import Path\nfrom http.server import HTTPServer\n"
    head = head.replace(
        "from http.server import HTTPServer\n",
        "" if "HTTPServer" not in python else "from http.server import HTTPServer\n",
    )
    assert unnamed(look(IMAGE, python=head + python + "\n")) == found


def test_where_the_image_may_hold_more_it_is_a_note(look: Look) -> None:
    sh = SH.format("cat /app/report.json")
    for changes in (
        {**IMAGE, "environment/Dockerfile": None},
        {**IMAGE, "environment/Dockerfile": "FROM debian\nRUN git clone https://example.org/a /app\n"},
        {**IMAGE, "environment/files/all.tar.gz": "x"},
    ):
        looked = look(changes, sh=sh)
        assert unnamed(looked) == []
        assert any("/app/report.json" in note.message for note in looked.notes)


def test_files_and_texts_of_the_environment_are_known(look: Look) -> None:
    sh = SH.format("cat /app/report.json")
    assert unnamed(look({**IMAGE, "environment/files/report.json": "{}"}, sh=sh)) == []
    assert unnamed(look({**IMAGE, "environment/files/conf.ini": "output = report.json\n"}, sh=sh)) == []
    assert unnamed(look({**IMAGE, "environment/Dockerfile": "FROM debian\nRUN touch /app/report.json\n"}, sh=sh)) == []


@pytest.mark.parametrize(
    ("path", "told", "expected"),
    [
        ("/app/out/x.txt", "into the folder `out`.", True),
        ("/app/out/x.txt", "write x.txt", True),
        ("/app/x.txt", "write x.txt.", True),
        ("/app/x.txt", "write x.txt.gz", False),
        ("/app/x.txt", "work in /app", False),
        ("/app/inventory.py", "a module inventory", True),
        ("/app/.git/HEAD", "a git repository in /app", True),
        ("/srv/data/x.db", "below /srv/data", True),
        ("/srv/data/x.db", "below /srv", False),
        ("/etc/nginx/nginx.conf", "set up Nginx", True),
    ],
)
def test_naming(path: str, told: str, expected: bool) -> None:
    assert named(path, "/app", told) is expected


def test_an_instruction_of_a_few_words_is_none(look: Look) -> None:
    assert [finding.file for finding in look({"instruction.md": "Make sorted.txt.\n"}).findings] == ["instruction.md"]
