"""Which sandboxes are measured and which are ended: decided from numbers, without a disk."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bakeoff.sandboxes.disk_limits import (
    RESERVE_BYTES,
    Room,
    Shortage,
    Space,
    Usage,
    Watched,
    amount,
    decide,
    earliest,
    exceeds,
    fell,
    kept,
    plus,
    raised,
)

GIB = 1 << 30
numbers = st.integers(0, 10_000)
spaces = st.builds(Space, numbers, numbers)
watched = st.builds(Watched, limits=spaces, used=st.builds(Usage, spaces, st.booleans()), seen=spaces)
several = st.dictionaries(st.text(max_size=3), watched, max_size=5)
shortages = st.builds(
    Shortage, what=st.sampled_from(["storage", "inodes"]), free=numbers, kept=numbers, since=numbers, lost=numbers
)
writes = st.lists(
    st.dictionaries(st.sampled_from("abc"), st.builds(Space, st.integers(0, 40), st.integers(0, 40))), max_size=30
)


def fresh(limit: int = 100, used: int = 0, seen: int = 0) -> Watched:
    return Watched(Space(limit, limit), Usage(Space(used, 0)), Space(seen, seen))


@given(writes, st.integers(0, 300))
def test_whoever_is_over_a_limit_is_found_at_once_and_nobody_else_is_ended(
    steps: list[dict[str, Space]], limit: int
) -> None:
    held = dict.fromkeys("abc", Space())
    seen_by_us = {key: Watched(Space(limit, limit), Usage(Space()), Space()) for key in held}
    free, fallen = Space(100_000, 100_000), Space()
    for step in steps:
        before = free
        for key, more in step.items():
            held[key] = plus(held[key], more)
            free = Space(free.bytes - more.bytes, free.inodes - more.inodes)
        fallen = plus(fallen, fell(before, free))
        first = decide(seen_by_us, fallen)
        over = {key for key, space in held.items() if exceeds(space, Space(limit, limit))}
        assert over <= {*first.look, *(excess.key for excess in first.over)}
        for key in first.look:
            seen_by_us[key] = Watched(Space(limit, limit), Usage(held[key]), fallen)
        assert {excess.key for excess in decide(seen_by_us, fallen).over} == over


@given(several, spaces)
def test_nothing_is_measured_that_cannot_be_over(ones: dict[str, Watched], fallen: Space) -> None:
    for key in decide(ones, fallen).look:
        assert exceeds(plus(ones[key].used.space, fell(fallen, ones[key].seen)), ones[key].limits)


@given(several, spaces)
def test_as_long_as_the_earliest_level_is_not_passed_there_is_nothing_to_decide(
    ones: dict[str, Watched], fallen: Space
) -> None:
    level = earliest(ones.values())
    if level is None or not exceeds(fallen, level):
        assert decide(ones, fallen).look == ()


@given(several, spaces, shortages)
def test_a_shortage_ends_at_most_one_and_only_once_all_were_measured(
    ones: dict[str, Watched], fallen: Space, short: Shortage
) -> None:
    decision = decide(ones, fallen, short)
    for_the_machine = [excess for excess in decision.over if excess.machine]
    assert len(for_the_machine) <= 1
    assert not (decision.over and decision.unexplained)
    if for_the_machine:
        assert all(one.seen.of(short.what) >= short.since for one in ones.values())
        assert for_the_machine[0].measured == max(one.used.space.of(short.what) for one in ones.values())
    if ones and not decision.look:
        assert decision.over or decision.unexplained


def test_in_a_shortage_whoever_holds_most_ends_unless_all_together_hold_too_little() -> None:
    ones = {"small": fresh(1000, 10), "large": fresh(1000, 90)}
    (culprit,) = decide(ones, Space(), Shortage("storage", 5, 10, 0, 200)).over
    assert (culprit.key, culprit.machine) == ("large", True)
    assert "more than any other sandbox" in str(culprit)
    decision = decide(ones, Space(), Shortage("storage", 5, 10, 0, 201))
    assert not decision.over
    assert "not the sandboxes' files" in decision.unexplained


def test_what_was_told_is_told_again_only_after_it_has_grown_by_a_quarter() -> None:
    one = raised(fresh(100, 130))
    assert one.limits == Space(155, 100)
    assert not decide({"a": one}, Space(25, 0)).look
    assert decide({"a": one}, Space(26, 0)).look == ("a",)


def test_what_rises_between_two_falls_does_not_hide_them() -> None:
    falls = [fell(Space(before), Space(after)).bytes for before, after in ((10, 4), (4, 9), (9, 2))]
    assert falls == [6, 0, 7]


@given(st.builds(Room, free=spaces, total=spaces))
def test_the_reserve_is_never_more_than_what_is_free(found: Room) -> None:
    assert kept(found).bytes <= found.free.bytes
    assert kept(found).inodes <= found.free.inodes


def test_the_reserve_of_a_disk_that_is_full_already_is_half_of_what_is_left() -> None:
    assert kept(Room(Space(80 * GIB, 1000), Space(100 * GIB, 1000))) == Space(2 * GIB, 20)
    assert kept(Room(Space(9 * GIB, 1000), Space(10 * GIB, 1000))).bytes == RESERVE_BYTES
    assert kept(Room(Space(1 * GIB, 10), Space(100 * GIB, 1000))) == Space(GIB // 2, 5)


def test_amounts_are_readable() -> None:
    assert [amount("storage", size) for size in (0, 1023, 1024, 8 << 20, 10 << 30, 5000 << 30)] == [
        "0 bytes",
        "1023 bytes",
        "1.0 KiB",
        "8.0 MiB",
        "10.0 GiB",
        "5000.0 GiB",
    ]
    assert amount("inodes", 5) == "5 files"
