"""What code in a sandbox tries, what stops it, and how it is shown that the attack is one. Data; the code is in ``inside``.

An attack counts as shown where it succeeds with its defences lifted, outside of any sandbox, or against a process of its
own (then its code raises ``Inert`` where it does not). ``test_attacks.py`` holds every line to that; the page
``docs/reference/sandboxes.md`` is made of the same lines.
"""

from __future__ import annotations

from collections.abc import Collection

from inside import kernel, kit, machine, mounts, privileges, sockets, tracing
from msgspec import Struct

MODULES = (kernel, machine, mounts, privileges, sockets, tracing)
"""Imported so that their attacks are known."""

EVERYWHERE = ("root", "other", "apart")
"""As root in the agent's world, as another user there, and as root apart from it."""


class Attack(Struct, frozen=True):
    """One attack.

    ``defences`` are the names of the protections that stop it, each on its own; with all of them lifted it succeeds, unless
    ``also`` names what stops it even then, or ``sysctl`` a setting of the machine with the value that lets it happen, or
    ``family`` says that the kernel may not have it at all. ``by`` is what stops it where there is nothing to lift.
    ``outside``: it succeeds outside of a sandbox for ``root``, unless that root lacks the ``capability`` of this number, or for
    ``anyone``. ``where``: who tries it.
    ``inherits``: it rests on new privileges, which the harness may be forbidden itself.
    ``scenario``: it takes two sides, and is a test of its own. ``outcome``: what comes of it.
    """

    name: str
    defences: tuple[str, ...] = ()
    by: str = ""
    also: str = ""
    sysctl: tuple[str, str] | None = None
    family: bool = False
    outside: str = ""
    capability: int = 0
    itself: bool = False
    inherits: bool = False
    where: tuple[str, ...] = EVERYWHERE
    scenario: str = ""
    outcome: str = "stopped"

    def is_free_without(self, names: Collection[str]) -> bool:
        """Whether it succeeds with these protections lifted."""
        return bool(self.defences) and set(self.defences) <= set(names) and not self.also

    @property
    def tries(self) -> str:
        """What it tries, in one phrase."""
        return self.scenario or (kit.ATTACKS[self.name].__doc__ or "").rstrip(".")


_NAMESPACE = "a namespace of its own"
_DUMPABLE = "a first process that is not dumpable"
_IDS = "ids that are nobody's on the machine"
_NOT_SHOWN = "nothing of it is shown inside"
_MACHINE = "the kernel asks for the capability over the machine"
_CAPS = "capabilities"

CLASSES: dict[str, tuple[Attack, ...]] = {
    "Into other processes": (
        Attack("trace_first", (_CAPS,), by=_DUMPABLE),
        Attack("read_first", (_CAPS,), by=_DUMPABLE),
        Attack("read_first_memory", (_CAPS, "process-memory"), by=_DUMPABLE),
        Attack("enter_first", (_CAPS, "user-namespaces"), by=_DUMPABLE),
        Attack("kill_first", by="the kernel, for the first process of a namespace", itself=True),
        Attack("read_memory", ("process-memory",), outside="anyone"),
        Attack("take_descriptor", ("process-memory",), outside="anyone"),
        Attack("compare_kernel_objects", ("process-memory",)),
        Attack("find_descriptors", by="every other descriptor is closed before the command is executed", itself=True),
    ),
    "At whoever enters": (
        Attack(
            "a_process_that_enters_cannot_be_had",
            ("entering",),
            scenario="Trace, read or lead astray the process that enters",
        ),
        Attack(
            "a_command_that_is_held_up_while_it_enters_can_be_ended",
            by="nothing among equals; whoever starts a command ends it at its deadline, and what runs apart is out of reach",
            itself=True,
            scenario="Stop each process that enters",
            outcome="held up until its end",
        ),
        Attack(
            "a_command_that_is_held_up_by_a_tracer_can_be_ended",
            by="the end of the tracer, when the command is ended",
            itself=True,
            scenario="Trace a command and keep its end to oneself",
            outcome="held up until its end",
        ),
    ),
    "At the judge, from a process that was left behind": (
        Attack(
            "a_judge_is_neither_seen_nor_reached_nor_are_its_folders",
            ("world",),
            scenario="See, trace and reach the judge; write its tests and the reward; move its folders away",
        ),
        Attack(
            "a_judge_who_talks_to_a_service_is_not_reached_through_it",
            ("process-memory",),
            scenario="Take open files of the judge, or kill it, by what the kernel tells of who connects to a socket",
        ),
        Attack("killing_everything_does_not_reach_the_judge", ("world",), scenario="Kill all that can be killed"),
        Attack(
            "folders_that_are_moved_at_the_moment_of_covering_are_the_judges",
            ("world",),
            by="folders that are mount points in the agent's world",
            scenario="Exchange the judge's folders at the moment when they are covered",
        ),
        Attack(
            "nothing_lives_after_the_end_of_all_processes",
            by="one signal to the first process of the agent's world",
            itself=True,
            scenario="Outlive the end: daemons, deaf and stopped processes, forks without end, tracers, suspended parents",
        ),
    ),
    "At the machine and other sandboxes": (
        Attack("share_pid_namespace", by=_NAMESPACE, outside="anyone"),
        Attack("share_net_namespace", by=f"{_NAMESPACE}, unless the network is `host`", outside="anyone"),
        Attack("share_ipc_namespace", by=_NAMESPACE, outside="anyone"),
        Attack("share_uts_namespace", by=_NAMESPACE, outside="anyone"),
        Attack("share_mnt_namespace", by=_NAMESPACE, outside="anyone"),
        Attack("share_cgroup_namespace", by=_NAMESPACE, outside="anyone"),
        Attack("share_user_namespace", by=_NAMESPACE, outside="anyone"),
        Attack("be_the_machines_root", by=_IDS, outside="root"),
        Attack("see_the_machines_processes", by=_NAMESPACE, outside="anyone"),
        Attack("signal_the_machines_processes", by=_NAMESPACE, outside="anyone"),
        Attack("read_the_machines_files", by=_NOT_SHOWN, outside="anyone"),
        Attack("find_devices", by=_NOT_SHOWN, outside="anyone"),
        Attack("see_sysfs", by=_NOT_SHOWN, outside="anyone"),
        Attack("see_cgroups", by=_NAMESPACE, outside="anyone"),
        Attack("reach_the_machines_loopback", by=f"{_NAMESPACE}, unless the network is `host`", outside="anyone"),
        Attack("reach_abstract_sockets", by=f"{_NAMESPACE}, unless the network is `host`", outside="anyone"),
        Attack("reach_unix_sockets", by=_NOT_SHOWN, outside="anyone"),
        Attack("attach_shared_memory", by=_NAMESPACE, outside="anyone"),
        Attack("open_message_queues", by=_NAMESPACE, outside="anyone"),
        Attack("read_the_machines_terminal", by="a session of its own", itself=True),
    ),
    "Out of the root": (
        Attack("unshare_user", ("user-namespaces",), by="a limit of none", outside="anyone"),
        Attack("clone_user", ("user-namespaces",), by="a limit of none", outside="anyone"),
        Attack("clone3_user", ("user-namespaces",), by="a limit of none", outside="anyone"),
        Attack("unshare_mounts", (_CAPS, "user-namespaces"), where=("root", "other", "apart")),
        Attack("mount_a_file_system", (_CAPS, "user-namespaces")),
        Attack("mount_proc_again", (_CAPS, "user-namespaces")),
        Attack("mount_by_new_calls", (_CAPS, "user-namespaces")),
        Attack("copy_a_mount", (_CAPS, "user-namespaces")),
        Attack(
            "make_usr_writable",
            (_CAPS, "user-namespaces"),
            also="a mount that came from outside keeps its flags",
            itself=True,
        ),
        Attack("bind_elsewhere", (_CAPS, "user-namespaces")),
        Attack("unmount", (_CAPS, "user-namespaces")),
        Attack("unmount_settings", (_CAPS, "user-namespaces"), where=("root", "other")),
        Attack("pivot_root", (_CAPS, "user-namespaces")),
        Attack(
            "leave_by_chroot", by="a mount namespace whose root is the sandbox's", itself=True, where=("root", "apart")
        ),
        Attack("make_a_handle", ("kernel",), outside="anyone"),
        Attack("open_by_handle", (_CAPS, "kernel"), also=_MACHINE, outside="root"),
        Attack("make_a_device", (_CAPS,), also=_MACHINE, outside="root"),
        Attack("write_usr", by="a read-only mount", outside="root"),
        Attack("write_a_mount", by="a read-only mount", outside="root"),
        Attack("link_out_a_program", by="another mount", itself=True),
    ),
    "At the kernel": (
        Attack("unfiltered", by="a filter in every process", outside="anyone"),
        Attack("unfiltered_first", by="a filter in every process", outside="anyone"),
        Attack("io_uring", ("io-uring",), sysctl=("kernel.io_uring_disabled", "0")),
        Attack("keep_a_key", ("keyring",), outside="anyone"),
        Attack("find_the_machines_key", ("keyring",), outside="anyone"),
        Attack("undo_address_randomisation", ("personality",), outside="anyone"),
        Attack("load_bpf", ("kernel",), sysctl=("kernel.unprivileged_bpf_disabled", "0"), outside="root"),
        Attack("count_events", ("kernel",), sysctl=("kernel.perf_event_paranoid", "-1 0 1 2")),
        Attack("handle_page_faults", ("kernel",), outside="anyone"),
        Attack("watch_a_file_system", ("kernel",)),
        Attack("read_the_kernels_log", ("kernel",), sysctl=("kernel.dmesg_restrict", "0"), outside="root"),
        Attack("read_the_kernels_memory", by=_IDS, outside="root"),
        Attack("press_the_system_keys", by=_IDS, outside="root"),
        Attack("load_a_module", (_CAPS, "kernel"), also=_MACHINE, family=True, outside="root"),
        Attack("load_another_kernel", (_CAPS, "kernel"), also=_MACHINE, family=True, outside="root"),
        Attack("reboot", (_CAPS, "kernel")),
        Attack("set_the_clock", (_CAPS, "kernel"), also=_MACHINE, outside="root"),
        Attack("name_the_machine", (_CAPS, "kernel"), outside="root"),
        Attack("talk_to_devices", (_CAPS, "kernel"), also=_MACHINE, family=True, outside="root"),
        Attack("write_machine_settings", by=_IDS, outside="root"),
        Attack("write_own_settings", ("proc-sys",), where=("root", "other")),
        Attack("write_network_settings", (_CAPS, "proc-sys"), where=("root", "other")),
        Attack("permit_namespaces", (_CAPS, "proc-sys"), where=("root", "other")),
        Attack("run_before_others", (_CAPS,), also=_MACHINE, outside="root"),
        Attack("survive_the_others", (_CAPS,), also=_MACHINE, outside="root", capability=24),
    ),
    "Through sockets": (
        Attack("raw_socket", (_CAPS,), outside="root"),
        Attack("packet_socket", (_CAPS, "sockets"), outside="root"),
        Attack("old_packet_socket", (_CAPS, "sockets"), outside="root"),
        Attack("vsock", ("sockets",), family=True, outside="anyone"),
        Attack("kernel_events", ("sockets",), family=True, outside="anyone"),
        Attack("audit_messages", ("sockets",), family=True),
        Attack("kernel_ciphers", ("sockets",), family=True),
        Attack("change_addresses", (_CAPS,)),
    ),
    "To more privilege": (
        Attack("have_capabilities", (_CAPS,), outside="root"),
        Attack("permit_new_privileges", ("new-privileges",), outside="anyone", inherits=True),
        Attack("gain_by_setuid", ("new-privileges",), where=("other",), inherits=True),
        Attack(
            "gain_by_file_capabilities",
            ("new-privileges",),
            also="an empty bounding set",
            where=("other",),
            itself=True,
        ),
        Attack("type_into_a_terminal", ("terminal",), sysctl=("dev.tty.legacy_tiocsti", "1")),
        Attack("raise_limits", (_CAPS,), also=_MACHINE, outside="root", capability=24),
    ),
}

ATTACKS: dict[str, Attack] = {attack.name: attack for attacks in CLASSES.values() for attack in attacks}
