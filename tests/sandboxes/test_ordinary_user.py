"""The same suites as somebody who is not root: no privilege, one id or subordinate ones, the same promises."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conftest import OrdinaryUser

HERE = Path(__file__).parent


COUNT = """
import asyncio
from bakeoff.sandboxes.bubblewrap import BubblewrapBackend
async def main():
    backend = BubblewrapBackend()
    await backend.check()
    print(backend.ids)
    await backend.close()
asyncio.run(main())
"""


def suites_as(user: OrdinaryUser, ids: str, names: Sequence[str], require: Callable[[str, bool, str], None]) -> None:
    """Run test modules as an ordinary user whose sandboxes have ``one`` id or ``many``."""
    # Without new privileges newuidmap's setuid bit means nothing, and one id is all there is.
    prefix = ["setpriv", "--no-new-privs"] if ids == "one" else []
    counted = user.run([*prefix, user.python, "-c", COUNT])
    require("subuids", ids == "one" or int(counted.stdout) > 1, "this user has no subordinate ids")
    assert ids == "many" or int(counted.stdout) == 1, counted.stderr
    suites = [HERE / f"test_{name}.py" for name in names]
    options = ["-q", "-p", "no:cacheprovider", "--timeout", "60", "-k", "not gigabyte"]
    done = user.run([*prefix, user.python, "-m", "pytest", *options, *suites], cwd=HERE.parent.parent, timeout=280)
    assert done.returncode == 0, done.stdout[-3000:]


@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user's run has the ids that this user has")
@pytest.mark.timeout(300)
def test_the_suites_hold_for_an_ordinary_user_with_one_id(
    ordinary_user: OrdinaryUser, require: Callable[[str, bool, str], None]
) -> None:
    names = ("bubblewrap", "isolation", "attacks", "files_attacked", "changes_and_snapshots")
    suites_as(ordinary_user, "one", names, require)


@pytest.mark.instead_of_a_users_run
@pytest.mark.timeout(300)
def test_the_suites_hold_for_an_ordinary_user_with_many(
    ordinary_user: OrdinaryUser, require: Callable[[str, bool, str], None]
) -> None:
    suites_as(ordinary_user, "many", ("bubblewrap", "attacks"), require)


CHECK = """
import asyncio
from bakeoff.errors import InputError
from bakeoff.sandboxes.bubblewrap import BubblewrapBackend
async def main():
    backend = BubblewrapBackend()
    try:
        await backend.check()
    except InputError as error:
        print(error)
    await backend.close()
asyncio.run(main())
"""


@pytest.mark.parametrize(
    "before",
    ["echo 0 > /proc/sys/user/max_user_namespaces;", "exec setpriv --bounding-set=-all --inh-caps=-all"],
    ids=["none are left", "no right to any"],
)
def test_a_machine_that_permits_no_namespaces_says_the_remedy(ordinary_user: OrdinaryUser, before: str) -> None:
    inside = f"echo 0 > /proc/sys/user/max_user_namespaces; {before} {ordinary_user.python} -c '{CHECK}'"
    done = ordinary_user.run(["unshare", "-Ur", "sh", "-c", inside])
    assert "does not let bakeoff make sandboxes" in done.stdout, done.stderr
    assert "user.max_user_namespaces=15000" in done.stdout
    assert list((ordinary_user.home / "bakeoff" / "sandboxes").iterdir()) == []


def test_doctor_sees_that_namespaces_are_refused_to_one_who_is_only_called_root(ordinary_user: OrdinaryUser) -> None:
    script = (
        "from bakeoff.sandboxes import probe; print({check.name: (check.ok, check.detail) for check in probe.checks()})"
    )
    inside = f'echo 0 > /proc/sys/user/max_user_namespaces; {ordinary_user.python} -c "{script}"'
    done = ordinary_user.run(["unshare", "-Ur", "sh", "-c", inside])
    assert "'namespaces': (False" in done.stdout, done.stderr
    assert "'user ids': (True, 'one id inside" in done.stdout
