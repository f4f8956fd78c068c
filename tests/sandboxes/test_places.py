"""Where control groups can be made, as it is read from what the kernel says, and decided."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bakeoff.sandboxes.zygote import places
from bakeoff.sandboxes.zygote.places import Level

WANTED = frozenset(places.WANTED)
ALL = frozenset({"cpuset", "cpu", "io", "memory", "pids"})

SYSTEMD_1 = """\
25 31 0:23 / /sys/fs/cgroup ro,nosuid shared:4 - tmpfs tmpfs ro,mode=755
26 25 0:24 / /sys/fs/cgroup/unified rw,nosuid shared:5 - cgroup2 cgroup2 rw,nsdelegate
30 25 0:28 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:9 - cgroup cgroup rw,cpu,cpuacct
31 25 0:29 / /sys/fs/cgroup/memory rw,nosuid shared:10 - cgroup cgroup rw,memory
"""
DOCKER_1 = """\
700 699 0:29 /docker/abc /sys/fs/cgroup/memory ro,nosuid master:10 - cgroup cgroup rw,memory
"""
SYSTEMD_2 = "35 24 0:30 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot\n"

names = st.text(st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="/"), min_size=1, max_size=8).filter(
    lambda name: name not in (".", "..")
)
paths = st.lists(names, max_size=4).map(lambda parts: "/" + "/".join(parts))
odd = st.text(st.sampled_from("ab \t\n\\0:,/é"), min_size=1, max_size=6).map(lambda name: "/" + name.replace("/", ""))


def escaped(path: str) -> str:
    for character, code in (("\\", "\\134"), (" ", "\\040"), ("\t", "\\011"), ("\n", "\\012")):
        path = path.replace(character, code)
    return path


def folder(text: str, groups: str, controller: str) -> str:
    return places.own_folder(places.mounts(text), places.own_groups(groups), controller)[0]


@given(odd, odd, st.frozensets(st.sampled_from(["rw", "memory", "pids"]), min_size=1))
def test_a_mount_is_read_whatever_its_path_is_called(root: str, point: str, options: frozenset[str]) -> None:
    line = (
        f"36 35 0:32 {escaped(root)} {escaped(point)} rw,relatime shared:1 master:2 - cgroup none {','.join(options)}"
    )
    (mount,) = places.mounts(f"1 2 8:1 / / rw - ext4 /dev/vda rw\n{line}\n")
    assert (mount.root, mount.point, mount.options) == (root, point, options)


@settings(max_examples=50)
@given(st.text(max_size=60))
def test_nothing_that_stands_there_breaks_the_reader(text: str) -> None:
    for line in (text, f"1 2 0:1 {text} - cgroup a rw", f"1 2 0:1 / / rw - cgroup2 {text}", f"4:memory:{text}"):
        mounts, groups = places.mounts(line), places.own_groups(line)
        for controller in ("", "memory"):
            places.own_folder(mounts, groups, controller)


@given(st.dictionaries(st.sampled_from(["memory", "pids", "cpu", "name=systemd"]), paths), paths)
def test_the_own_groups_are_read_whatever_they_are_called(groups: dict[str, str], unified: str) -> None:
    lines = [f"{number}:{name}:{path}" for number, (name, path) in enumerate(groups.items(), 1)]
    assert places.own_groups("\n".join([*lines, f"0::{unified}", ""])) == {**groups, "": unified}


@given(paths, paths, paths)
def test_a_group_below_what_is_mounted_is_found_below_the_mount(root: str, below: str, point: str) -> None:
    mount = places.Mount(root, point, "cgroup", frozenset())
    inner = "" if below == "/" else below
    group = (root.rstrip("/") + inner) or "/"
    assert mount.path(group) == ((point.rstrip("/") + inner) or "/")


def test_controllers_that_are_mounted_together_share_a_folder() -> None:
    groups = "5:cpu,cpuacct:/user.slice\n4:memory:/user.slice/session-1.scope\n0::/x"
    assert (
        folder(SYSTEMD_1, groups, "cpu")
        == folder(SYSTEMD_1, groups, "cpuacct")
        == "/sys/fs/cgroup/cpu,cpuacct/user.slice"
    )
    assert folder(SYSTEMD_1, groups, "memory") == "/sys/fs/cgroup/memory/user.slice/session-1.scope"
    assert folder(SYSTEMD_1, groups, "pids") == ""
    assert folder(SYSTEMD_1, groups, "") == "/sys/fs/cgroup/unified/x"


@pytest.mark.parametrize(
    ("group", "wanted"),
    [
        ("/docker/abc", "/sys/fs/cgroup/memory"),
        ("/docker/abc/inner", "/sys/fs/cgroup/memory/inner"),
        ("/docker/abcd", ""),
        ("/", ""),
        ("/../other", ""),
    ],
)
def test_a_container_sees_its_own_part_alone(group: str, wanted: str) -> None:
    assert folder(DOCKER_1, f"4:memory:{group}", "memory") == wanted


def test_the_mount_on_top_counts() -> None:
    assert folder(SYSTEMD_2 + SYSTEMD_2.replace("/sys/fs/cgroup ", "/mnt "), "0::/a", "") == "/mnt/a"


def level(
    path: str,
    offers: frozenset[str] = frozenset(),
    could: frozenset[str] = ALL,
    *,
    writable: bool = True,
    tellable: bool = True,
    empty: bool = True,
    top: bool = False,
    real: bool = False,
    mine: bool = False,
) -> Level:
    return Level(path, offers, could, writable=writable, tellable=tellable, empty=empty, top=top, real=real, mine=mine)


def chosen(*found: Level) -> tuple[str, frozenset[str]]:
    best = places.choose(list(found), WANTED)
    return (best.path, best.usable(WANTED)) if best else ("", frozenset())


SOME = frozenset({"memory", "pids"})


def test_root_in_a_login_session_uses_the_slice_that_offers_all() -> None:
    session = level("/u/s", empty=False)
    assert chosen(session, level("/u", ALL), level("/", ALL, top=True, real=True)) == ("/u", WANTED)


def test_root_goes_up_to_the_first_group_when_only_there_all_can_be_had() -> None:
    session = level("/u/s", empty=False)
    first = level("/", SOME, top=True, real=True, empty=False)
    assert chosen(session, level("/u", SOME), first) == ("/", WANTED)


def test_slices_of_others_are_not_told_to_offer_more() -> None:
    first = level("/", SOME, frozenset(SOME), top=True, real=True)
    assert chosen(level("/u", frozenset({"pids"})), first) == ("/", SOME)


def test_a_user_in_a_scope_of_their_manager_uses_the_slice_around_it() -> None:
    scope = level("/m/app/run.scope", empty=False, mine=True)
    assert chosen(scope, level("/m/app", ALL, mine=True), level("/m", ALL, mine=True)) == ("/m/app", WANTED)


def test_a_delegated_group_without_processes_is_told_to_offer_them() -> None:
    own = level("/scope/sub", empty=False, mine=True)
    assert chosen(own, level("/scope", mine=True)) == ("/scope", WANTED)


def test_a_user_who_may_move_no_process_gets_nothing_and_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    found = [level("/u/session", empty=False, writable=False), level("/u", ALL, writable=False, top=True)]
    assert chosen(*found) == ("", frozenset())
    assert "systemd-run --user --scope -p Delegate=yes" in places.why_not(found, WANTED)


def test_a_container_whose_first_group_holds_processes_gets_nothing_and_the_remedy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    found = [level("/sys/fs/cgroup", empty=False, top=True)]
    assert chosen(*found) == ("", frozenset())
    assert "holds processes itself" in places.why_not(found, WANTED)


def test_a_read_only_tree_gets_nothing_and_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    found = [level("/sys/fs/cgroup", ALL, writable=False, tellable=False, top=True)]
    assert chosen(*found) == ("", frozenset())
    assert "read-only" in places.why_not(found, WANTED)


def test_a_container_that_has_made_room_is_used() -> None:
    assert chosen(level("/init", empty=False), level("/", top=True)) == ("/", WANTED)


def test_controllers_that_the_kernel_lacks_are_said_to_be_missing() -> None:
    assert "offers nothing" in places.why_not([level("/", could=frozenset({"hugetlb"}), top=True)], WANTED)


def fake(folder: Path, *, offers: str, could: str, procs: str = "", kind: str = "domain") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cgroup.subtree_control").write_text(offers)
    (folder / "cgroup.controllers").write_text(could)
    (folder / "cgroup.procs").write_text(procs)
    if kind:
        (folder / "cgroup.type").write_text(kind)
    return folder


def test_the_levels_are_read_from_the_tree(tmp_path: Path) -> None:
    top = fake(tmp_path, offers="memory pids\n", could="cpu memory pids\n", procs="1\n", kind="")
    fake(top / "system.slice", offers="pids\n", could="memory pids\n")
    own = fake(top / "system.slice" / "a.service", offers="", could="pids\n", procs="7\n8\n")
    service, slice_, first = places.levels(str(own), str(top))
    assert (service.offers, service.could, service.empty, service.top) == (frozenset(), {"pids"}, False, False)
    assert (slice_.offers, slice_.could, slice_.empty, slice_.real) == ({"pids"}, SOME, True, False)
    assert (first.offers, first.could, first.empty, first.top, first.real) == (SOME, WANTED, False, True, True)
    best = places.choose([service, slice_, first], WANTED)
    assert best is not None
    assert (best.path, best.usable(WANTED)) == (str(top), WANTED)


def test_the_first_group_of_a_namespace_is_not_the_machines(tmp_path: Path) -> None:
    (found,) = places.levels(str(fake(tmp_path, offers="", could="memory", procs="1\n")), str(tmp_path))
    assert (found.top, found.real) == (True, False)
    assert places.choose([found], WANTED) is None
