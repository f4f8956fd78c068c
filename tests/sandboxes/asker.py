"""Makes system calls, each in a process of its own, and says what the kernel answered: run by path, speaks JSON.

Input: ``source`` (where bakeoff is), ``program`` (a filter in hex, or ""), ``uid`` (to become first, or -1), ``namespace`` (own user,
mount and uts namespaces first), ``calls`` (architecture, number, arguments; "path" and "zeros" stand for addresses). Output: for each call
its result, or minus the error, or "signal N", or "not served" by this kernel; or one string that says why none could be made.
"""

import ctypes
import json
import mmap
import os
import struct
import sys

# push rbx; eax = edi, ebx = esi, ecx = edx and edx = ecx, esi = r8d, edi = r9d; int 0x80; pop rbx; ret
_INT_80 = bytes.fromhex("53 89f8 89f3 87d1 4489c6 4489cf cd80 5b c3")
_MAP_32BIT = 0x40
_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.mmap.restype = ctypes.c_void_p


def low_memory() -> dict[str, int]:
    """A path that nothing has, and zeros, where a program of 32 bits can point to."""
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | (_MAP_32BIT if os.uname().machine == "x86_64" else 0)
    place = _LIBC.mmap(None, ctypes.c_size_t(8192), mmap.PROT_READ | mmap.PROT_WRITE, flags, -1, ctypes.c_long(0))
    text = b"/nonexistent\0"
    ctypes.memmove(place, text, len(text))
    return {"path": place, "zeros": place + 4096}


def gate() -> tuple[object, object]:
    """A function that enters the kernel as a program of 32 bits does, and the page that it lies in."""
    page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(_INT_80)
    kind = ctypes.CFUNCTYPE(ctypes.c_int, *[ctypes.c_uint] * 6)
    return kind(ctypes.addressof(ctypes.c_char.from_buffer(page))), page


def make(i386, architecture, number, arguments) -> int:
    if architecture == "i386":
        return i386(*[value & 0xFFFFFFFF for value in [number, *arguments, 0, 0, 0, 0, 0][:6]])
    words = [ctypes.c_long(value if value < 1 << 63 else value - (1 << 64)) for value in [number, *arguments]]
    result = _LIBC.syscall(*words, *[ctypes.c_long(0)] * (7 - len(words)))
    return -ctypes.get_errno() if result == -1 else result


def alone(*call) -> object:
    reads, writes = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.setsid()
        try:
            result = make(*call)
            os.write(writes, struct.pack("q", result))
        finally:
            os._exit(0)
    os.close(writes)
    status = os.waitpid(pid, 0)[1]
    answer = os.read(reads, 8)
    os.close(reads)
    return struct.unpack("q", answer)[0] if answer else f"signal {os.WTERMSIG(status)}"


def main() -> object:
    wish = json.load(sys.stdin)
    sys.path.insert(0, wish["source"])
    from bakeoff.sandboxes.zygote import seccomp, syscalls

    places = low_memory()
    i386, _page = gate()
    if wish["uid"] >= 0:
        os.setgroups([])
        os.setresgid(*[wish["uid"]] * 3)
        os.setresuid(*[wish["uid"]] * 3)
    if wish["namespace"]:
        try:
            syscalls.unshare(syscalls.CLONE_NEWUSER | syscalls.CLONE_NEWNS | syscalls.CLONE_NEWUTS)
        except OSError as error:
            return f"user namespaces are not permitted: {error}"
    served = {architecture for architecture, _, _ in wish["calls"]}
    if "i386" in served and alone(i386, "i386", 199, []) != os.getuid():  # getuid32
        served.remove("i386")
    if wish["program"]:
        syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
        seccomp.install(bytes.fromhex(wish["program"]))
    return [
        alone(i386, architecture, number, [places.get(value, value) for value in arguments])
        if architecture in served
        else "not served"
        for architecture, number, arguments in wish["calls"]
    ]


print(json.dumps(main()))
