"""Tests that need a network are found, whatever the task declares; loopback and addresses that are only data are not."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bakeoff.checks.base import Looked
from bakeoff.checks.validate.fetching import fetches
from bakeoff.checks.validate.hosts import outside

Look = Callable[..., Looked]
JUDGED = "cmp /app/sorted.txt /tests/expected.txt && echo 1 >/logs/verifier/reward.txt\n"
IMAGE = {"task.toml": '[task]\nname = "sample"\n[environment]\nallow_internet = true\n'}

FETCHING = [
    "pip install pytest==8.4.1",
    "sudo -E pip3 install -q requests > /dev/null 2>&1",
    "python3 -m pip install -r requirements.txt",
    "uv pip install pytest",
    "uvx -p 3.13 -w pytest pytest /tests",
    "uv run --with pytest pytest",
    "apt-get -qq update",
    "apt-get install -y curl",
    "DEBIAN_FRONTEND=noninteractive apt-get install -y jq",
    "apk add --no-cache bash",
    "npm ci",
    "cargo install ripgrep",
    "go install golang.org/x/tools@latest",
    "git clone https://example.org/a.git /tmp/a",
    "git clone git@example.org:a/b.git",
    "curl -LsSf https://astral.sh/uv/install.sh | sh",
    "timeout 5 wget -q -O /tmp/x http://93.184.216.34/x",
    "URL=https://example.org\ncurl -s \"$URL/x\"",
    "bash -c 'pip install x'",
    "ping -c 1 example.org",
    "scp -q a user@example.org:/tmp/a",
    "if ! command -v uvx; then curl https://astral.sh/install.sh; fi",
    "x=$(curl -s https://example.org)",
]  # fmt: skip
NOT_FETCHING = [
    "pip --version",
    "pip install --no-index --find-links /tests/wheels pytest",
    "pip install /tests/wheels/a.whl",
    "pip install -e . --no-build-isolation",
    "python3 -m pip list",
    "uvx --version",
    "uvx --offline pytest",
    "apt-get --version",
    "apt list",
    "dpkg -i /tests/a.deb",
    "apt-get install -y ./a.deb",
    "git clone /app/repo /tmp/c",
    "git clone user@localhost:/srv/git/a.git /tmp/c",
    "git -C /app log",
    "curl -s http://localhost:8080/x",
    "BASE=http://127.0.0.1:9\ncurl -s $BASE/x",
    'curl -s "$URL"',
    "curl -d https://example.org/a http://127.0.0.1:9/shorten",
    "curl -H 'Origin: https://example.org' http://[::1]:9/",
    "curl --resolve www.example.org:443:127.0.0.1 https://www.example.org/",
    "curl http://api:8000/x",
    "wget http://service.test/x",
    "echo curl https://example.org",
    "grep -q 'pip install' /app/sorted.txt",
    "# curl https://example.org",
    "cat > /tmp/x.sh <<'EOF'\ncurl https://example.org\nEOF",
]  # fmt: skip


def network(looked: Looked) -> list[tuple[str, str]]:
    words = ("while the tests run",)
    return [
        (finding.file, finding.field) for finding in looked.findings if any(word in finding.message for word in words)
    ]


@pytest.mark.parametrize("command", FETCHING)
def test_a_command_that_fetches_is_found_with_its_line(look: Look, command: str) -> None:
    found = network(look(IMAGE, sh=f"#!/bin/bash\n{command}\n{JUDGED}"))
    line = 3 if command.startswith("URL") else 2
    assert found == [("tests/test.sh", f"line {line}")]


@pytest.mark.parametrize("command", NOT_FETCHING)
def test_a_command_that_stays_at_home_is_not(look: Look, command: str) -> None:
    assert network(look(IMAGE, sh=f"#!/bin/bash\n{command}\n{JUDGED}")) == []


CALLS = [
    ("urllib.request.urlopen('https://example.org/x')", True),
    ("requests.get(f'{BASE}/x')", True),
    ("requests.post(LOCAL + '/x', json={'url': BASE})", False),
    ("socket.create_connection(('example.org', 80))", True),
    ("socket.create_connection(('127.0.0.1', 80))", False),
    ("http.client.HTTPSConnection('example.org')", True),
    ("subprocess.run(['curl', '-s', 'https://example.org'])", True),
    ("subprocess.run([sys.executable, '-m', 'pip', 'install', 'x'])", True),
    ("subprocess.run('cd /app && pip install x', shell=True)", True),
    ("subprocess.run(['curl', '-s', LOCAL])", False),
    ("print({'link': 'https://example.org'}.get('https://example.org'))", False),
    ("sys.stdout.write('curl https://example.org')", False),
]


@pytest.mark.parametrize(("call", "found"), CALLS)
def test_python_that_reaches_outside_is_found(look: Look, call: str, found: bool) -> None:
    head = "import http.client, requests, socket, subprocess, sys, urllib.request\n"
    head += "BASE = 'https://example.org'\nLOCAL = 'http://localhost:80'\n"
    assert network(look(IMAGE, python=f"{head}{call}\nassert open('/app/sorted.txt')\n")) == (
        [("tests/check.py", "line 4")] if found else []
    )


def test_showing_that_there_is_no_way_out_needs_no_network(look: Look) -> None:
    python = "import urllib.request, pytest\ndef test_a():\n    with pytest.raises(OSError):\n"
    python += "        urllib.request.urlopen('https://example.org')\n"
    assert network(look(IMAGE, pytest_file=python)) == []


def test_hosts_outside_are_told_from_those_inside() -> None:
    assert all(outside(host) for host in ("example.org", "8.8.8.8", "EXAMPLE.ORG.", "a.b-c.io"))
    inside = (
        "localhost",
        "127.0.0.1",
        "::1",
        "10.0.0.3",
        "api",
        "x.test",
        "git.local",
        "*",
        "",
        "[::1]",
        "*.org",
        "a..b",
    )
    assert not any(outside(host) for host in inside)


def test_an_empty_command_fetches_nothing() -> None:
    assert [fetches(said) for said in ([], [""], ["sudo"], ["env", "A=b"], ["python3", "-m"], ["git"])] == [""] * 6
