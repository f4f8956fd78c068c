"""Programs of other machines are told from our own before anything runs."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bakeoff.images import machines

OWN = Path("/proc/self/exe").read_bytes()[: machines.HEADER]
MAGIC = "7f454c460201010000000000000000000200b700"
MASK = "ffffffffffffff00fffffffffffffffffeffffff"
EMULATOR = f"enabled\ninterpreter /usr/libexec/qemu-binfmt/aarch64\nflags: POCF\noffset 0\nmagic {MAGIC}\nmask {MASK}\n"


def elf(number: int, *, big: bool = False) -> bytes:
    head = b"\x7fELF" + bytes((2, 2 if big else 1, 1)) + bytes(9)
    order = "big" if big else "little"
    return head + (2).to_bytes(2, order) + number.to_bytes(2, order) + bytes(44)


def test_this_machines_own_programs_run_here() -> None:
    assert machines.foreign(OWN) is None
    found = machines.elf_machine(OWN)
    assert found is not None
    assert found[1] == platform.machine()


@pytest.mark.parametrize(
    ("header", "name"),
    [(elf(183), "aarch64"), (elf(22, big=True), "s390x"), (elf(62), "x86_64"), (elf(999), "machine 999")],
)
def test_a_program_says_which_machine_it_is_for(header: bytes, name: str) -> None:
    found = machines.elf_machine(header)
    assert found is not None
    assert found[1] == name


def test_both_machines_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machines, "_own", lambda: elf(62))
    monkeypatch.setattr(machines, "_emulators", lambda: ["enabled\nmagic zz\n"])
    assert machines.foreign(elf(183)) == ("aarch64", "x86_64")
    assert machines.foreign(elf(3)) is None  # a 64-bit kernel runs these too
    monkeypatch.setattr(machines, "_emulators", lambda: [EMULATOR])
    assert machines.foreign(elf(183)) is None


@pytest.mark.parametrize(
    "entry",
    [EMULATOR.replace("enabled", "disabled"), EMULATOR.replace("POCF", "OC"), EMULATOR.replace(MAGIC, MAGIC[:-2])],
    ids=["switched off", "only where the root has it", "malformed"],
)
def test_an_emulator_that_would_not_run_it_is_none(entry: str) -> None:
    assert machines.matches(EMULATOR, elf(183))
    assert not machines.matches(entry, elf(183))
    assert not machines.matches(EMULATOR, elf(62))


@given(st.binary(max_size=80))
def test_whatever_a_file_begins_with_is_no_error(header: bytes) -> None:
    found = machines.elf_machine(header)
    assert found is None or header.startswith(b"\x7fELF")
    assert machines.foreign(header) is None or found is not None


@given(
    st.one_of(
        st.text(max_size=200),
        st.lists(
            st.sampled_from(
                ["enabled", "flags: F", "offset 0", "offset -1", "magic 7f45", "magic x", "mask ff", "mask ffff"]
            )
        ).map("\n".join),
    ),
    st.binary(max_size=70),
)
def test_whatever_the_kernel_says_of_an_emulator_is_no_error(entry: str, header: bytes) -> None:
    assert machines.matches(entry, header) in (True, False)
