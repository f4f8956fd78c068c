"""Whole tasks on a Debian root: packages are installed, services run under their own users, and owners are what they say."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import pytest

from bakeoff.sandboxes.bubblewrap import BubblewrapBackend

MakeTask = Callable[..., Path]


class Somebody(Protocol):
    """Who runs bakeoff: ``home`` is a folder of theirs."""

    home: Path

    def bakeoff(self, *args: str | Path, timeout: float = 60) -> subprocess.CompletedProcess[str]: ...


class Myself:
    """Whoever runs the tests."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def bakeoff(self, *args: str | Path, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        line = [sys.executable, "-m", "bakeoff", *map(str, args)]
        return subprocess.run(line, cwd=self.home, capture_output=True, text=True, timeout=timeout, check=False)


async def many_ids() -> bool:
    backend = BubblewrapBackend()
    try:
        await backend.check()
        return backend.ids > 1
    finally:
        await backend.close()


@pytest.fixture
def somebody(tmp_path: Path) -> Somebody:
    """Whoever runs bakeoff and gets many ids in its sandboxes: here whoever runs the tests, where that is root or has subordinate ids."""
    if not asyncio.run(many_ids()):
        pytest.skip("only one id can be had here")
    return Myself(tmp_path)


def run_task(somebody: Somebody, task: Path, root: Path, agent: str) -> tuple[dict[str, object], str]:
    """The task's line of results, and what its verifier printed."""
    place = somebody.home / "work"
    shutil.copytree(task, place / "task")
    (place / "task" / "agent.sh").write_text(agent)
    done = somebody.bakeoff(
        *("run", "-t", place / "task", "--root", root, "-o", place / "jobs", "--name", "job", "-q"),
        *("--agent-files", place / "task" / "agent.sh", "--agent-cmd", "sh /agent/agent.sh"),
        timeout=110,
    )
    assert done.returncode == 0, done.stderr
    (line,) = (place / "jobs" / "job" / "results.jsonl").read_text().splitlines()
    result = json.loads(line)
    said = [place.joinpath("jobs", "job", result["path"], name) for name in ("agent/stderr", "verifier/stdout")]
    return result, "\n".join(path.read_text()[-3000:] for path in said if path.exists()) + str(result.get("detail"))


SERVICE = """set -ex
export DEBIAN_FRONTEND=noninteractive
apt-get update
apt-get install -y --no-install-recommends nginx-light
echo served > /var/www/html/index.html
chown www-data:www-data /var/www/html/index.html
chmod 600 /var/www/html/index.html
nginx
"""
CHECK_SERVICE = r"""
set -e
owner() { stat -c %U:%G "$1"; }
dpkg-query -W -f '${Status}\n' nginx-light | grep -x 'install ok installed'
owner /var/www/html/index.html | grep -x www-data:www-data
workers=0
masters=0
for process in /proc/[0-9]*; do
    case "$(tr '\0' ' ' < "$process/cmdline" 2> /dev/null || true)" in
        "nginx: worker"*) owner "$process" | grep -x www-data:www-data; workers=$((workers + 1)) ;;
        "nginx: master"*) owner "$process" | grep -x root:root; masters=$((masters + 1)) ;;
    esac
done
[ "$masters" = 1 ]
[ "$workers" -ge 1 ]
exec 3<> /dev/tcp/127.0.0.1/80
printf 'GET / HTTP/1.0\r\n\r\n' >&3
grep -x served <&3
"""
VERIFIER = """#!/bin/bash
echo 0 > /logs/verifier/reward.txt
bash /tests/check.sh && echo 1 > /logs/verifier/reward.txt
"""


def written(make_task: MakeTask, check: str, **settings: str) -> Path:
    task = make_task("service", test=VERIFIER, **settings)
    (task / "tests" / "check.sh").write_text(check)
    return task


def test_apt_installs_a_package_and_its_service_runs_under_a_user_of_its_own(
    make_task: MakeTask, somebody: Somebody, debian_root: Path
) -> None:
    task = written(make_task, CHECK_SERVICE, bakeoff='live = ["nginx"]')
    result, said = run_task(somebody, task, debian_root, SERVICE)
    assert result["outcome"] == "passed", said


SYSTEM = """set -ex
export DEBIAN_FRONTEND=noninteractive
useradd --create-home --shell /bin/bash alice
groupadd team
usermod --append --groups team alice
echo 'alice:secret' | chpasswd
su - alice -c 'id -un; id -Gn; touch ~/mine' > /opt/alice
install -d -o alice -g team -m 2775 /srv/shared
su alice -c 'mkdir /srv/shared/below; touch /srv/shared/below/file'
setpriv --reuid=www-data --regid=www-data --init-groups id -un > /opt/setpriv
runuser -u www-data -- id -gn > /opt/runuser
start-stop-daemon --start --background --make-pidfile --pidfile /run/idle.pid --chuid www-data --exec /bin/sleep -- 600
for package in sensible-utils libbsd0 cron-daemon-common cron; do dpkg --install /opt/packages/"$package"_*.deb; done
echo '* * * * * true' | crontab -
crontab -l > /opt/crontab
dpkg --purge cron
cp /bin/id /opt/id
chown www-data /opt/id
chgrp 65534 /opt/id
chmod 6755 /opt/id
su alice -c /opt/id > /opt/setuid
"""
CHECK_SYSTEM = r"""
set -ex
stat -c '%U:%G %a' /home/alice /home/alice/mine /srv/shared /srv/shared/below/file /etc/shadow /opt/id > /tmp/owners
cat > /tmp/wanted <<'END'
alice:alice 755
alice:alice 644
alice:team 2775
alice:team 644
root:shadow 640
www-data:nogroup 6755
END
diff /tmp/owners /tmp/wanted
grep -x alice /opt/alice
grep -x 'alice team' /opt/alice
grep -x www-data /opt/setpriv
grep -x www-data /opt/runuser
grep -F '* * * * * true' /opt/crontab
[ ! -e /usr/sbin/cron ]
grep alice /etc/shadow | grep -F '$y$'
# Nothing is gained by a program that belongs to another user: privileges are never new.
grep -F 'uid=1000(alice)' /opt/setuid
if grep -q euid /opt/setuid; then exit 1; fi
for process in /proc/[0-9]*; do
    if [ "$(cat "$process/comm" 2> /dev/null)" = sleep ]; then stat -c %U "$process"; fi
done | grep -x www-data
"""


def test_users_groups_packages_and_daemons_work_as_on_a_machine_of_ones_own(
    make_task: MakeTask, somebody: Somebody, debian_root: Path
) -> None:
    task = written(make_task, CHECK_SYSTEM, bakeoff='live = ["sleep"]')
    result, said = run_task(somebody, task, debian_root, SYSTEM)
    assert result["outcome"] == "passed", said
