"""The seccomp filter of every process in a sandbox, assembled from seccomp_table.py.

The verdict on a call without terms rests on its number and architecture alone: since Linux 5.11 the kernel works those out when
the filter is installed, and does not run it again for those that are allowed; a call with terms takes some 0.08 us longer. What
costs is the installing, once for each command, 0.5 us a line: so verdicts are shared, and numbers are searched by halves down to a
handful.
"""

import os
import struct
from errno import ENOSYS

from . import syscalls as sys_
from .seccomp_table import ALL_BITS, ARCHITECTURES, LAST, MACHINES, NONE, TABLE, X32, Term

GROUPS: dict[str, str] = {group: phrase for group, phrase, _ in TABLE}
"""The protections in order, each of which a task may lift, and what each stops."""

_LOAD, _AND, _JUMP, _EQUAL, _ABOVE, _AT_LEAST, _RETURN = 0x20, 0x54, 0x05, 0x15, 0x25, 0x35, 0x06
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data
_ALLOW, _ERRNO, _KILL_PROCESS = 0x7FFF0000, 0x00050000, 0x80000000
_X32_BIT = 0x40000000
_HANDFUL = 6

_Rule = tuple[int, tuple[Term, ...]]
_Verdict = tuple[_Rule, ...]  # () allows
_Run = tuple[int, int, _Verdict]  # the first and the last number, and what is said of all between
_Code = list[tuple[int, int, int, int]]
_Search = list[tuple[int, int | _Verdict, int | _Verdict, int]]  # where to go on: so many lines ahead, or at a verdict

_ALLOWED: _Verdict = ()
_UNKNOWN: _Verdict = ((ENOSYS, ()),)


def program(without: frozenset[str] | tuple[str, ...] = (), machine: str = "") -> bytes:
    """The filter for ``machine`` (this one's, as uname has it, when empty), less the groups in ``without``; takes 0.6 ms.

    A packed array of ``struct sock_filter``, as ``install`` and bubblewrap's ``--seccomp`` take it. Raises ValueError for a group
    that does not exist, and KeyError for a machine that there is no table for.
    """
    if unknown := sorted(set(without) - GROUPS.keys()):
        raise ValueError(f"no such protection: {', '.join(unknown)}")
    code: _Code = [(_LOAD, 0, 0, _ARCHITECTURE)]
    for column in MACHINES[machine or os.uname().machine]:
        rules = _assemble(_runs(column, frozenset(without)))
        code += [(_EQUAL, 1, 0, ARCHITECTURES[column]), (_JUMP, 0, 0, len(rules)), *rules]
    code.append((_RETURN, 0, 0, _KILL_PROCESS))
    return b"".join(struct.pack("=HBBI", *line) for line in code)


def install(program: bytes) -> None:
    """Install the program at once; see ``syscalls.Filter``, which a process that forks often keeps ready."""
    sys_.Filter(program).install()


def descriptor(program: bytes) -> int:
    """An open descriptor from which the program can be read, for bubblewrap's ``--seccomp``; for the caller to close."""
    fd = os.memfd_create("seccomp", os.MFD_CLOEXEC)
    os.write(fd, program)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def _runs(column: str, without: frozenset[str]) -> list[_Run]:
    """The numbers that are not simply allowed, in order."""
    place = 1 + list(ARCHITECTURES).index(column)
    verdicts: dict[int, _Verdict] = {}
    for group, _, rows in TABLE:
        for row in rows if group not in without else ():
            number = row[place]
            assert isinstance(number, int)
            verdicts[number] = (*verdicts.get(number, ()), (row[4], row[5]))
    runs: list[_Run] = []
    for number in sorted(verdicts.keys() - {NONE}):
        first = number
        if runs and runs[-1][1:] == (number - 1, verdicts[number]):
            first = runs.pop()[0]
        runs.append((first, number, verdicts[number]))
    # The last of all numbers, -1, is no call: a tracer writes it to skip one that it answers itself.
    if "kernel" not in without:
        runs.append((LAST + 1, ALL_BITS - 1, _UNKNOWN))
    elif column == "x86_64":
        runs += [(*X32, _UNKNOWN), (_X32_BIT, ALL_BITS - 1, _UNKNOWN)]
    return runs


def _assemble(runs: list[_Run]) -> _Code:
    """Load the number, search for its run, and go to the verdict; each of those stands once, behind the search."""
    search = _search(runs)
    places: dict[_Verdict, int] = {}
    verdicts: _Code = []
    for verdict in dict.fromkeys([_ALLOWED, *(run[2] for run in runs)]):
        places[verdict] = len(search) + len(verdicts)
        verdicts += _verdict(verdict)
    code: _Code = [(_LOAD, 0, 0, _NUMBER)]
    for index, (what, met, missed, number) in enumerate(search):
        ahead = [to if isinstance(to, int) else places[to] - index - 1 for to in (met, missed)]
        code.append((what, ahead[0], ahead[1], number))
    return code + verdicts


def _search(runs: list[_Run]) -> _Search:
    if len(runs) > _HANDFUL:
        middle = len(runs) // 2
        low = _search(runs[:middle])
        return [(_AT_LEAST, len(low), 0, runs[middle][0]), *low, *_search(runs[middle:])]
    code: _Search = []
    for first, last, verdict in runs:
        other = _ALLOWED if last == runs[-1][1] else 0
        if first == last:
            code.append((_EQUAL, verdict, other, first))
        else:
            code += [(_AT_LEAST, 0, _ALLOWED, first), (_ABOVE, other, verdict, last)]
    return code


def _verdict(rules: _Verdict) -> _Code:
    code: _Code = []
    for error, terms in rules:
        refuse: _Code = [(_RETURN, 0, 0, _ERRNO | error)]
        for term in reversed(terms):
            refuse = _when(term, len(refuse)) + refuse
        code += refuse
        if not terms:
            return code
    return [*code, (_RETURN, 0, 0, _ALLOW)]


def _when(term: Term, size: int) -> _Code:
    """Go on with the next ``size`` lines if the term holds, else jump over them."""
    argument, mask, among, values = term
    code: _Code = [(_LOAD, 0, 0, _ARGUMENTS + 8 * argument)]  # the low half: both architectures are little-endian
    if mask != ALL_BITS:
        code.append((_AND, 0, 0, mask))
    for left in reversed(range(len(values))):
        value = values[len(values) - 1 - left]
        if among:
            code.append((_EQUAL, left, 0 if left else size, value))
        else:
            code.append((_EQUAL, left + size, 0, value))
    return code
