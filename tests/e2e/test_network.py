"""What trials reach of the network, phase by phase, and how: through real sandboxes, real names and a real package repository."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import ipaddress
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from bakeoff.api import run
from bakeoff.gateway.egress.addresses import kind_of
from bakeoff.records.egress import EgressEntry, EgressRecord
from bakeoff.records.job import AgentRequest, RunRequest
from bakeoff.records.journal import read_results
from bakeoff.records.outcomes import Flag, Outcome
from bakeoff.records.results import TrialResult

FETCH = r"""
fetch() { python3 -I - "$1" <<'END'
import sys, urllib.error, urllib.request
try:
    print(urllib.request.urlopen(sys.argv[1], timeout=5).read().decode().strip())
except urllib.error.HTTPError as error:
    print(error.code, error.read().decode().strip())
except OSError as error:
    print("unreachable", error)
END
}
"""
"""A shell function that asks for a page, as every program that knows of proxies does."""


def reaches(url: str, out: str = "/logs/verifier/reward.txt") -> str:
    """A script that writes 1 where the page is reached, and 0 where it is not."""
    return f"#!/bin/sh\n{FETCH}fetch {url} | grep -qx hello && echo 1 > {out} || echo 0 > {out}\n"


class Page:
    """A server on an address of this machine that no sandbox may reach by itself."""

    def __init__(self, address: str, port: int) -> None:
        self.address = address
        self.port = port
        self.asked: list[str] = []

    @property
    def url(self) -> str:
        return f"http://{self.address}:{self.port}/"


def own_address() -> str:
    """An IPv4 address of this machine that only a literal allowlist lets through; empty where it has none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("9.9.9.9", 9))
        except OSError:
            return ""
        address: str = probe.getsockname()[0]
    return address if kind_of(ipaddress.ip_address(address)) in ("private", "public") else ""


@pytest.fixture
async def page(require: Callable[[str, bool, str], None]) -> AsyncIterator[Page]:
    address = own_address()
    require("own-address", bool(address), "this machine has no address but its loopback")
    made = Page(address, 0)

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        made.asked.append(head.split(b" ")[1].decode())
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello")
        writer.close()

    async with await asyncio.start_server(handle, address, 0) as server:
        made.port = server.sockets[0].getsockname()[1]
        yield made


async def trial(tmp_path: Path, *lines: str, network: str | None = None, verify: str | None = None) -> Ran:
    agents = tuple(AgentRequest(name=f"a{at}", command=FETCH + line) for at, line in enumerate(lines or ("true",)))
    request = RunRequest(datasets=(str(tmp_path / "tasks"),), agents=agents, network=network, verify=verify, retries=0)
    end = await run(request, out=tmp_path / "jobs")
    assert not end.failure
    result = list(read_results(end.path))[-1]
    return Ran(result, end.path / result.path)


class Ran:
    """A trial's line and its folder."""

    def __init__(self, result: TrialResult, folder: Path) -> None:
        self.result = result
        self.folder = folder

    @property
    def said(self) -> str:
        return (self.folder / "agent" / "stdout").read_text()

    @property
    def asked(self) -> list[tuple[str, str, str, str]]:
        """Phase, destination, decision and reason of all that the record has."""
        return [(entry.phase, f"{entry.host}:{entry.port}", entry.decision, entry.reason) for entry in self.entries]

    @property
    def entries(self) -> tuple[EgressEntry, ...]:
        return recorded(self.folder).entries


def recorded(folder: Path) -> EgressRecord:
    import msgspec

    return msgspec.json.decode((folder / "egress.json").read_bytes(), type=EgressRecord)


async def test_an_address_in_the_allowlist_is_reached_and_no_other(tmp_path, make_task, page) -> None:
    make_task()
    line = f"fetch {page.url}; fetch http://{page.address}:1/; fetch http://127.0.0.1:{page.port}/"
    ran = await trial(tmp_path, line, network=f"allowlist:{page.address}:{page.port}")
    said = ran.said.splitlines()
    assert said[0] == "hello"
    assert said[1].startswith("403 bakeoff's network proxy: ") and "is not in the allowlist" in said[1]
    assert said[2].startswith("unreachable")  # the sandbox's own loopback, where nobody listens
    assert page.asked == ["/"]
    assert ran.result.network == "allowlist" and Flag.NETWORK_APPROXIMATED in ran.result.flags
    where = f"{page.address}:{page.port}"
    assert ran.asked == [
        ("agent", where, "allowed", "allowed"),
        ("agent", f"{page.address}:1", "refused", "not_listed"),
    ]


async def test_the_public_network_has_none_of_this_machine_and_its_networks(tmp_path, make_task, page) -> None:
    make_task()
    lines = [f"fetch {page.url}", "fetch http://169.254.169.254/latest", f"fetch http://[::ffff:{page.address}]/"]
    ran = await trial(tmp_path, "; ".join(lines), network="public")
    assert [line[:4] for line in ran.said.splitlines()] == ["403 "] * 3
    assert page.asked == []


@pytest.mark.parametrize("network", ["public", "none"])
async def test_without_the_proxy_there_is_no_way_out(tmp_path, make_task, page, network) -> None:
    make_task()
    named = " ".join(f"-u {name}" for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"))
    line = f"""env {named} python3 -I - <<'END'
import socket
for address in [("{page.address}", {page.port}), ("9.9.9.9", 443), ("10.255.255.53", 53)]:
    try:
        socket.create_connection(address, 2)
    except OSError as error:
        print(error.strerror)
try:
    socket.getaddrinfo("example.org", 80)
except OSError as error:
    print("no names")
END"""
    ran = await trial(tmp_path, line, network=network)
    assert ran.said.splitlines() == ["Network is unreachable"] * 3 + ["no names"]
    assert (ran.folder / "egress.json").exists() is (network == "public")
    assert page.asked == []


async def test_a_task_with_no_network_finds_no_trace_of_a_proxy(tmp_path, make_task) -> None:
    make_task()
    ran = await trial(tmp_path, "env | grep -i proxy; true")
    assert ran.said == "" and not (ran.folder / "egress.json").exists()
    assert Flag.NETWORK_APPROXIMATED not in ran.result.flags


@pytest.mark.parametrize("verify", ["shared", "frozen", "separate"])
async def test_each_phase_reaches_what_its_own_network_allows(tmp_path, make_task, page, verify) -> None:
    """Setup and agent may not, the verifier may; then the other way round."""
    (folder := make_task("verifier")).joinpath("tests", "test.sh").write_text(reaches(page.url))
    toml = (folder / "task.toml").read_text()
    mine = f'network_mode = "allowlist"\nallowed_hosts = ["{page.address}"]\n'
    (folder / "task.toml").write_text(toml.replace("[verifier]", f"[verifier]\n{mine}"))
    ran = await trial(tmp_path, f"fetch {page.url}; env | grep -ci proxy; true", verify=verify)
    assert ran.said.splitlines()[0].startswith("unreachable") and ran.said.splitlines()[1] == "0"
    assert (ran.result.outcome, ran.result.reward) == (Outcome.PASSED, 1.0)
    assert [phase for phase, *_ in ran.asked] == ["verify"]

    (folder / "task.toml").write_text(toml.replace("[agent]", f"[agent]\n{mine}"))
    ran = await trial(tmp_path, f"fetch {page.url}", verify=verify)
    assert ran.said == "hello\n"
    assert (ran.result.outcome, ran.result.reward) == (Outcome.FAILED, 0.0)
    assert [phase for phase, *_ in ran.asked] == ["agent"]


async def test_a_setup_script_has_the_environments_network_and_the_agent_its_own(tmp_path, make_task, page) -> None:
    extra = f'[environment]\nnetwork_mode = "allowlist"\nallowed_hosts = ["{page.address}"]\n'
    folder = make_task(bakeoff='setup = "environment/setup.sh"', extra=extra)
    (folder / "environment").mkdir()
    (folder / "environment" / "setup.sh").write_text(reaches(page.url, "/app/fetched"))
    toml = (folder / "task.toml").read_text()
    (folder / "task.toml").write_text(toml.replace("[agent]", '[agent]\nnetwork_mode = "no-network"'))
    # The agent calls the proxy, which is there, and may nothing.
    line = f"cat fetched; http_proxy=http://127.0.0.1:61080; export http_proxy; fetch {page.url}"
    ran = await trial(tmp_path, line)
    said = ran.said.splitlines()
    assert said[0] == "1" and said[1].startswith("403 ") and "this phase of the task has no network" in said[1]
    assert page.asked == ["/"]
    assert [(entry[0], entry[2]) for entry in ran.asked] == [("setup", "allowed"), ("agent", "refused")]


async def test_a_connection_of_the_agent_does_not_outlive_its_phase(tmp_path, make_task, page) -> None:
    """A service that the task keeps alive holds a tunnel open; the verifier's phase, with no network, ends it."""
    folder = make_task(
        bakeoff="live = true",
        test="""#!/bin/sh
for i in 1 2 3 4 5 6 7 8 9 10; do [ -e /app/ended ] && break; sleep 0.1; done
[ -e /app/ended ] && echo 1 > /logs/verifier/reward.txt || echo 0 > /logs/verifier/reward.txt
""",
    )
    toml = (folder / "task.toml").read_text()
    mine = f'network_mode = "allowlist"\nallowed_hosts = ["{page.address}"]\n'
    (folder / "task.toml").write_text(toml.replace("[agent]", f"[agent]\n{mine}"))
    line = f"""cat > keep.py <<'END'
import socket
tunnel = socket.create_connection(("127.0.0.1", 61080))
tunnel.sendall(b"CONNECT {page.address}:{page.port} HTTP/1.1\\r\\n\\r\\n")
print(tunnel.recv(100), file=open("/app/open", "w"), flush=True)
try:
    tunnel.recv(1)
finally:
    open("/app/ended", "w")
END
setsid python3 keep.py >/dev/null 2>&1 &
while ! [ -s open ]; do sleep 0.02; done; cat open; ls"""
    ran = await trial(tmp_path, line)
    assert "200" in ran.said and "ended" not in ran.said
    assert ran.result.reward == 1.0


async def test_every_step_has_its_network_even_after_a_snapshot(tmp_path, make_task, page) -> None:
    folder = tmp_path / "tasks" / "steps"
    for step in ("first", "second"):
        (folder / "steps" / step / "tests").mkdir(parents=True)
        (folder / "steps" / step / "instruction.md").write_text("Fetch it.\n")
        (folder / "steps" / step / "tests" / "test.sh").write_text(reaches(f"{page.url}{step}"))
    (folder / "task.toml").write_text(
        f"""schema_version = "1.4"
[task]
name = "steps"
[metadata.bakeoff]
root = "host"
[environment]
network_mode = "allowlist"
allowed_hosts = ["{page.address}"]
[[steps]]
name = "first"
[[steps]]
name = "second"
"""
    )
    ran = await trial(tmp_path, f"fetch {page.url}$BAKEOFF_STEP", verify="frozen")
    assert ran.result.outcome is Outcome.PASSED, ran.result.detail
    assert page.asked == ["/first", "/first", "/second", "/second"]
    assert [(entry.step, entry.phase) for entry in ran.entries] == [
        *(("first", "agent"), ("first", "verify"), ("second", "agent"), ("second", "verify"))
    ]


async def test_the_networks_of_the_command_line_are_for_every_phase(tmp_path, make_task, page) -> None:
    folder = make_task(test=reaches(page.url))
    toml = (folder / "task.toml").read_text()
    (folder / "task.toml").write_text(toml.replace("[verifier]", '[verifier]\nnetwork_mode = "public"'))
    ran = await trial(tmp_path, f"fetch {page.url}", network=f"allowlist:{page.address}")
    assert ran.said == "hello\n" and ran.result.reward == 1.0


def test_an_allowlist_that_cannot_be_read_is_named_before_any_trial(tmp_path, make_task) -> None:
    make_task()
    argv = [sys.executable, "-m", "bakeoff", "run", "-d", tmp_path / "tasks", "-a", "nop", "-o", tmp_path / "jobs"]
    ended = subprocess.run(
        [*argv, "--network", "allowlist:good.example,http://bad.example/"], capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 2 and "--network" in ended.stderr and "http://bad.example/" in ended.stderr
    assert not (tmp_path / "jobs").exists()


async def test_strict_limits_refuse_a_network_that_is_approximated(tmp_path, make_task) -> None:
    make_task()
    request = RunRequest(
        datasets=(str(tmp_path / "tasks"),), agents=(AgentRequest(name="nop"),), network="public", strict_limits=True
    )
    end = await run(request, out=tmp_path / "jobs")
    (result,) = read_results(end.path)
    assert result.outcome is Outcome.SKIPPED and "network_mode" in result.detail


async def test_an_ordinary_user_has_the_same_networks(tmp_path, ordinary_user, page, make_task) -> None:
    folder = ordinary_user.home / "network-task"
    shutil.copytree(make_task(), folder)
    argv = ["run", "-t", folder, "--agent-cmd", f"{FETCH}\nfetch {page.url}; fetch http://{page.address}:1/", "--json"]
    argv += [
        "--network",
        f"allowlist:{page.address}:{page.port}",
        "-o",
        ordinary_user.home / "network-jobs",
        "--name",
        "j",
    ]
    ended = await asyncio.to_thread(ordinary_user.bakeoff, *argv)
    said = next((ordinary_user.home / "network-jobs" / "j").glob("trials/*/*/agent/stdout")).read_text().splitlines()
    assert said[0] == "hello" and said[1].startswith("403 "), ended.stderr
    assert page.asked == ["/"]


# Names, through the machine's own resolver: a machine of the test's own, with an internet of one host.

REPOSITORY = "pkgs.example.org"
SERVER = r"""
import http.server, os, sys
os.chdir(sys.argv[1])
log = open("log", "a", buffering=1)
class Handler(http.server.SimpleHTTPRequestHandler):
    def do_GET(self):
        print(self.connection.getsockname()[0], self.headers["Host"], self.path, file=log)
        if self.path == "/redirect":
            self.send_response(302)
            self.send_header("Location", "http://169.254.169.254/secret")
            self.end_headers()
        elif self.path == "/hang":
            import time
            time.sleep(60)
        else:
            super().do_GET()
    def log_message(self, *_): pass
server = http.server.ThreadingHTTPServer(("", 80), Handler)
print("ready", flush=True)
server.serve_forever()
"""


class Internet:
    """Commands run on a machine with this file system, and a network with one other host: ``www`` is what that serves.

    It has a public address under the names ``pkgs.example.org`` and ``other.example.org``, a private one under
    ``inside.example.org``, and the address where clouds keep credentials.
    """

    def __init__(self, www: Path, machine: int) -> None:
        self.www = www
        self._enter = ["nsenter", f"--target={machine}", "--net", "--mount", "--"]

    def start(self, *argv: str | Path, cwd: Path) -> subprocess.Popen[str]:
        line = [*self._enter, "env", f"--chdir={cwd}", *map(str, argv)]
        return subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    @property
    def log(self) -> list[str]:
        return (self.www / "log").read_text().splitlines()


def sh(*argv: str) -> None:
    subprocess.run(argv, check=True, capture_output=True, text=True, timeout=20)


@pytest.fixture(scope="module")
def internet(require, tmp_path_factory) -> Iterator[Internet]:
    programs = [name for name in ("unshare", "nsenter", "ip", "mount") if shutil.which(name) is None]
    if os.geteuid() != 0:
        pytest.skip("only root makes networks for whole machines")
    require("root-network", not programs, f"this machine lacks {', '.join(programs)}")
    place = tmp_path_factory.mktemp("internet")
    place.chmod(0o755)
    (www := place / "www").mkdir()
    running: list[subprocess.Popen[str]] = []

    def start(*argv: str) -> subprocess.Popen[str]:
        running.append(subprocess.Popen(argv, stdout=subprocess.PIPE, text=True))
        return running[-1]

    def ready(process: subprocess.Popen[str]) -> int:
        assert process.stdout is not None and process.stdout.readline().strip() == "ready"
        return process.pid

    wait = "echo ready; exec sleep 600"
    try:
        machine = ready(start("unshare", "--net", "--mount", "--propagation", "private", "sh", "-c", wait))
        far = ready(start("unshare", "--net", "sh", "-c", wait))
        here = ("nsenter", f"--target={machine}", "--net", "--mount", "--")
        there = ("nsenter", f"--target={far}", "--net", "--")
        for command in (
            f"ip link add near0 type veth peer name far0 netns {far}",
            "ip address add 8.8.4.1/24 dev near0",
            "ip link set near0 up",
            "ip link set lo up",
            "ip route add 10.77.0.0/24 dev near0",
            "ip route add 169.254.169.254/32 dev near0",
        ):
            sh(*here, *command.split())
        for command in (
            *(f"ip address add {one} dev far0" for one in ("8.8.4.4/24", "10.77.0.1/24", "169.254.169.254/32")),
            "ip link set far0 up",
            "ip link set lo up",
        ):
            sh(*there, *command.split())
        names = {
            "hosts": "127.0.0.1 localhost\n8.8.4.4 pkgs.example.org other.example.org\n10.77.0.1 inside.example.org\n"
            "127.0.0.1 sneaky.example.org\n8.8.4.1 self.example.org\n",
            "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
        }
        for name, text in names.items():
            (place / name).write_text(text)
            sh(*here, "mount", "--bind", str(place / name), f"/etc/{name}")
        ready(start(*there, sys.executable, "-c", SERVER, str(www)))
        yield Internet(www, machine)
    finally:
        for process in reversed(running):
            process.kill()
            process.wait()


def bakeoff(internet: Internet, tmp_path: Path, line: str, *more: str | Path) -> list[str]:
    """What an agent said that ran in a trial on the machine with that internet."""
    argv = [sys.executable, "-m", "bakeoff", "run", "-d", tmp_path / "tasks", "--agent-cmd", FETCH + line, "--json"]
    process = internet.start(*argv, "-o", "jobs", "--name", "job", *more, cwd=tmp_path)
    _, err = process.communicate(timeout=60)
    assert process.returncode in (0, 3), err
    (stdout,) = (tmp_path / "jobs" / "job").glob("trials/*/*/agent/stdout")
    return stdout.read_text().splitlines()


def make_index(www: Path) -> None:
    """A simple repository of Python packages with one in it."""
    files = {
        "demo_package.py": b"print('installed and run')\n",
        "demo_package-1.0.dist-info/METADATA": b"Metadata-Version: 2.1\nName: demo-package\nVersion: 1.0\n",
        "demo_package-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    lines = [
        f"{name},sha256={base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b'=').decode()},{len(data)}"
        for name, data in files.items()
    ]
    files["demo_package-1.0.dist-info/RECORD"] = "\n".join([*lines, "demo_package-1.0.dist-info/RECORD,,", ""]).encode()
    folder = www / "simple" / "demo-package"
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / "demo_package-1.0-py3-none-any.whl", "w") as wheel:
        for name, data in files.items():
            wheel.writestr(name, data)
    (folder / "index.html").write_text(
        '<a href="demo_package-1.0-py3-none-any.whl">demo_package-1.0-py3-none-any.whl</a>'
    )


def pip(host: str) -> str:
    index = f"--index-url http://{host}/simple --trusted-host {host}"
    return f"/usr/bin/python3 -m pip --disable-pip-version-check install -q --no-input --retries 0 --target /app/{host} {index}"


def test_a_package_repository_in_the_allowlist_is_reached_by_its_name_and_no_other(
    internet, tmp_path, make_task, require
) -> None:
    found = subprocess.run(["/usr/bin/python3", "-m", "pip", "--version"], capture_output=True, check=False)
    require("pip", found.returncode == 0, "/usr/bin/python3 has no pip")
    make_task()
    make_index(internet.www)
    before = len(internet.log) if (internet.www / "log").exists() else 0
    line = f"""{pip(REPOSITORY)} demo-package && python3 {REPOSITORY}/demo_package.py
{pip("other.example.org")} demo-package >/dev/null 2>&1 || echo no other
env -u http_proxy -u HTTP_PROXY {pip(REPOSITORY)}-again demo-package >/dev/null 2>&1 || echo not without the proxy"""
    said = bakeoff(internet, tmp_path, line, "--network", f"allowlist:{REPOSITORY}")
    assert said == ["installed and run", "no other", "not without the proxy"]
    asked = internet.log[before:]
    assert asked and all(line.startswith(f"8.8.4.4 {REPOSITORY} /simple/demo-package/") for line in asked)


def test_names_are_judged_by_what_they_resolve_to(internet, tmp_path, make_task) -> None:
    make_task()
    (internet.www / "page").write_text("reached\n")
    told = {
        "other.example.org/page": "reached",
        "inside.example.org/page": "403 .* resolves to a private address",
        "sneaky.example.org/page": "403 .* resolves to a loopback address",
        "self.example.org/page": "403 .* an address of the machine that bakeoff runs on",
        "169.254.169.254/page": "403 .* is a metadata address",
        f"{REPOSITORY}/redirect": "403 .* is a metadata address",
        "nowhere.example.org/": "502 .* cannot resolve the name",
    }
    said = bakeoff(internet, tmp_path, "; ".join(f"fetch http://{url}" for url in told), "--network", "public")
    for got, words in zip(said, told.values(), strict=True):
        assert re.match(words, got), got
    assert not any(entry.startswith(("10.", "169.")) for entry in internet.log)


def test_a_private_repository_is_reached_by_a_name_where_its_address_is_listed_beside_it(
    internet, tmp_path, make_task
) -> None:
    make_task()
    (internet.www / "page").write_text("reached\n")
    line = "fetch http://inside.example.org/page; fetch http://10.77.0.1/page; fetch http://10.77.0.2/page"
    said = bakeoff(internet, tmp_path, line, "--network", "allowlist:*.example.org,10.77.0.1")
    assert said[:2] == ["reached", "reached"] and said[2].startswith("403 ")


def test_apt_installs_from_a_repository_in_the_allowlist(internet, tmp_path, make_task, debian_root) -> None:
    make_task()
    package = tmp_path / "package"
    (package / "DEBIAN").mkdir(parents=True)
    (package / "DEBIAN" / "control").write_text(
        "Package: demo\nVersion: 1.0\nArchitecture: all\nMaintainer: Nobody <nobody@example.org>\nDescription: demo\n"
    )
    (package / "usr" / "share").mkdir(parents=True)
    (package / "usr" / "share" / "demo").write_text("from apt\n")
    apt = internet.www / "apt"
    apt.mkdir(exist_ok=True)
    sh("dpkg-deb", "--root-owner-group", "--build", str(package), str(apt / "demo.deb"))
    data = (apt / "demo.deb").read_bytes()
    control = (package / "DEBIAN" / "control").read_text()
    (apt / "Packages").write_text(
        f"{control}Filename: ./demo.deb\nSize: {len(data)}\nSHA256: {hashlib.sha256(data).hexdigest()}\n\n"
    )
    line = f"""echo 'deb [trusted=yes] http://{REPOSITORY}/apt ./' > /etc/apt/sources.list
apt-get -qq update && apt-get -qq install -y demo >/dev/null && cat /usr/share/demo"""
    said = bakeoff(internet, tmp_path, line, "--network", f"allowlist:{REPOSITORY}", "--root", debian_root)
    assert said[-1] == "from apt"


def test_a_run_that_is_stopped_in_the_middle_of_a_transfer_ends_at_once(internet, tmp_path, make_task) -> None:
    make_task()
    argv = [sys.executable, "-m", "bakeoff", "run", "-d", tmp_path / "tasks", "-o", "jobs", "--name", "job", "--json"]
    line = f"{FETCH}\nfetch http://{REPOSITORY}/hang"
    before = len(internet.log) if (internet.www / "log").exists() else 0
    run = internet.start(*argv, "--agent-cmd", line, "--network", f"allowlist:{REPOSITORY}", cwd=tmp_path)
    try:
        deadline = time.monotonic() + 30
        while not (internet.www / "log").exists() or not any("/hang" in entry for entry in internet.log[before:]):
            assert time.monotonic() < deadline and run.poll() is None
            time.sleep(0.02)
        begun = time.monotonic()
        run.send_signal(signal.SIGINT)
        out, err = run.communicate(timeout=20)
        assert time.monotonic() - begun < 5
        assert run.returncode == 130, err
        assert json.loads(out)["complete"] is False
    finally:
        run.kill()
        run.wait()
