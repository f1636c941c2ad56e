"""Seals the calling process off, for good: from then on it can compute, and read Python's standard library.

Knows nothing of code, tests or verdicts. Two walls of the Linux kernel, both open to a user without rights: Landlock
takes the files away, seccomp the system calls. What is not on the list is refused, so a call that a later kernel
adds is refused too. Imports little, since every sealed process pays for it at its start.

The kernel's side: https://docs.kernel.org/userspace-api/landlock.html and seccomp_filter.html.
"""

import ctypes
import errno
import os
import resource
import sys

MEMORY = 2**30
"""Bytes of address space that a sealed process may use."""

# Allowed system calls: the number on x86_64 and on aarch64; -1 where the machine does not have the call.
# Nothing here makes a process or a thread, sends a signal, opens a socket, or changes a file or a limit.
# fmt: off
_ALLOWED = {
    "read": (0, 63), "readv": (19, 65), "pread64": (17, 67), "write": (1, 64), "close": (3, 57), "lseek": (8, 62),
    "stat": (4, -1), "fstat": (5, 80), "lstat": (6, -1), "newfstatat": (262, 79), "statx": (332, 291),
    "access": (21, -1), "faccessat": (269, 48), "faccessat2": (439, 439),
    "readlink": (89, -1), "readlinkat": (267, 78), "getdents64": (217, 61), "getcwd": (79, 17),
    "mmap": (9, 222), "mprotect": (10, 226), "munmap": (11, 215), "mremap": (25, 216), "madvise": (28, 233),
    "brk": (12, 214), "futex": (202, 98), "sched_yield": (24, 124), "sched_getaffinity": (204, 123),
    "rt_sigaction": (13, 134), "rt_sigprocmask": (14, 135), "rt_sigreturn": (15, 139), "sigaltstack": (131, 132),
    "restart_syscall": (219, 128), "nanosleep": (35, 101), "clock_nanosleep": (230, 115),
    "clock_gettime": (228, 113), "clock_getres": (229, 114), "gettimeofday": (96, 169), "time": (201, -1),
    "times": (100, 153), "getrusage": (98, 165), "getrandom": (318, 278), "uname": (63, 160), "sysinfo": (99, 179),
    "getpid": (39, 172), "getppid": (110, 173), "gettid": (186, 178), "getuid": (102, 174), "geteuid": (107, 175),
    "getgid": (104, 176), "getegid": (108, 177), "exit": (60, 93), "exit_group": (231, 94),
}
# fmt: on
_OPEN = {"open": (2, -1, 1), "openat": (257, 56, 2)}  # and which argument holds the flags
_CHANGES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_CLONE3 = 435  # "not there", for the C library then takes clone, which is refused
_ARCHITECTURES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}  # column above, the kernel's name

_READ_FILE, _READ_FOLDER = 1 << 2, 1 << 3
_FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 5: 16}  # Landlock's version → how many kinds of access it can refuse

_PR_SET_PDEATHSIG, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 1, 22, 38
_LANDLOCK_CREATE, _LANDLOCK_ADD, _LANDLOCK_RESTRICT = 444, 445, 446


class SealError(Exception):
    """The process could not be sealed off; the message says what this machine lacks."""


def seal(seconds: int) -> None:
    """Seals this process: `limit`, no new rights, Landlock and seccomp; then tries whether they hold.

    Raises:
        SealError: this machine lacks one of them; the process must then not run what it does not trust.
    """
    machine = os.uname().machine
    if sys.platform != "linux" or machine not in _ARCHITECTURES:
        raise SealError(f"only Linux on {' or '.join(_ARCHITECTURES)} can, and this is {sys.platform} on {machine}")
    limit(seconds)
    libc = ctypes.CDLL(None, use_errno=True)
    _control(libc, _PR_SET_NO_NEW_PRIVS, 1)
    _take_files_away(libc)
    _take_calls_away(libc, *_ARCHITECTURES[machine])
    _try_the_walls()


def limit(seconds: int) -> None:
    """Limits memory, processor time, file sizes, open files and processes, and makes the process end with its parent.

    This is all that protects the machine where `seal` cannot.
    """
    sizes = {"AS": MEMORY, "CPU": seconds + 1, "FSIZE": 2**20, "NOFILE": 64, "CORE": 0, "NPROC": 0}
    for name, size in sizes.items():
        kind = getattr(resource, f"RLIMIT_{name}")
        highest = resource.getrlimit(kind)[1]
        size = size if highest == resource.RLIM_INFINITY else min(size, highest)
        resource.setrlimit(kind, (size, size))
    if sys.platform == "linux":
        _control(ctypes.CDLL(None, use_errno=True), _PR_SET_PDEATHSIG, 9)
        _go_first()


def _go_first() -> None:
    """Short of memory, the kernel shall end this process and not the app; no wall, so it may fail."""
    try:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("1000")
    except OSError:
        pass


def _control(libc: ctypes.CDLL, *arguments: int) -> None:
    if libc.prctl(*(ctypes.c_ulong(value) for value in (*arguments, 0, 0, 0, 0)[:5])):
        raise SealError(f"the kernel refuses prctl {arguments[0]}: {os.strerror(ctypes.get_errno())}")


# --- files ---------------------------------------------------------------------------------------------------


def _take_files_away(libc: ctypes.CDLL) -> None:
    """Landlock: no file can be opened but those that Python itself reads; no TCP, no signals and sockets outside."""
    version = libc.syscall(_LANDLOCK_CREATE, None, ctypes.c_size_t(0), ctypes.c_uint32(1))
    if version < 1:
        reason = os.strerror(ctypes.get_errno())
        raise SealError(f"this kernel has no Landlock ({reason}); it needs Linux 5.13 with lsm=landlock")
    kinds = _FILE_RIGHTS[max(known for known in _FILE_RIGHTS if known <= version)]
    handled = [(1 << kinds) - 1] + [0b11] * (version >= 4) + [0b11] * (version >= 6)  # files, TCP, scopes
    rules = (ctypes.c_uint64 * len(handled))(*handled)
    ruleset = libc.syscall(_LANDLOCK_CREATE, rules, ctypes.c_size_t(ctypes.sizeof(rules)), ctypes.c_uint32(0))
    if ruleset < 0:
        raise SealError(f"Landlock refuses its rules: {os.strerror(ctypes.get_errno())}")
    for path in readable():
        _allow_reading(libc, ruleset, path)
    if libc.syscall(_LANDLOCK_RESTRICT, ruleset, ctypes.c_uint32(0)):
        raise SealError(f"Landlock refuses to begin: {os.strerror(ctypes.get_errno())}")
    os.close(ruleset)


def readable() -> list[str]:
    """Paths that a sealed process may read, with all below: the standard library and the C libraries it loads."""
    prefixes = [f"{prefix}/{name}" for prefix in (sys.base_prefix, sys.base_exec_prefix) for name in ("lib", "lib64")]
    system = ["/lib", "/lib64", "/usr/lib", "/usr/lib64", "/etc/ld.so.cache", "/usr/share/zoneinfo"]
    return [path for path in {*prefixes, *system, os.path.dirname(os.__file__)} if os.path.exists(path)]


def _allow_reading(libc: ctypes.CDLL, ruleset: int, path: str) -> None:
    folder = os.open(path, os.O_PATH | os.O_CLOEXEC)
    rights = _READ_FILE | _READ_FOLDER if os.path.isdir(path) else _READ_FILE
    rule = rights.to_bytes(8, "little") + folder.to_bytes(4, "little")  # struct landlock_path_beneath_attr
    if libc.syscall(_LANDLOCK_ADD, ruleset, 1, rule, ctypes.c_uint32(0)):
        raise SealError(f"Landlock refuses {path}: {os.strerror(ctypes.get_errno())}")
    os.close(folder)


# --- system calls --------------------------------------------------------------------------------------------

_LOAD, _EQUAL, _ANY_BIT, _RETURN = 0x20, 0x15, 0x45, 0x06  # instructions of the kernel's packet filter
_ALLOW, _KILL, _FAIL = 0x7FFF0000, 0x80000000, 0x00050000  # what a filter can return; an error number is added


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p)]


def _take_calls_away(libc: ctypes.CDLL, column: int, architecture: int) -> None:
    """seccomp: every system call that is not on the list fails with "not permitted"."""
    code = _filter(column, architecture)
    program = _Program(len(code) // 8, code)
    _control(libc, _PR_SET_SECCOMP, 2, ctypes.addressof(program))


def _filter(column: int, architecture: int) -> bytes:
    """The packet filter over `struct seccomp_data`: call number at byte 0, architecture at 4, arguments from 16."""
    steps = [(_LOAD, 0, 0, 4), (_EQUAL, 1, 0, architecture), (_RETURN, 0, 0, _KILL), (_LOAD, 0, 0, 0)]
    for numbers in _ALLOWED.values():
        steps += [(_EQUAL, 0, 1, numbers[column]), (_RETURN, 0, 0, _ALLOW)] * (numbers[column] >= 0)
    for *found, flags in _OPEN.values():  # opening: to read only, which Landlock before version 3 does not see to
        if found[column] >= 0:
            steps += [(_EQUAL, 0, 4, found[column]), (_LOAD, 0, 0, 16 + 8 * flags), (_ANY_BIT, 0, 1, _CHANGES)]
            steps += [(_RETURN, 0, 0, _FAIL | errno.EACCES), (_RETURN, 0, 0, _ALLOW)]
    steps += [(_EQUAL, 0, 1, _CLONE3), (_RETURN, 0, 0, _FAIL | errno.ENOSYS), (_RETURN, 0, 0, _FAIL | errno.EPERM)]
    return b"".join(
        operation.to_bytes(2, "little") + bytes((yes, no)) + operand.to_bytes(4, "little")
        for operation, yes, no, operand in steps
    )


def _try_the_walls() -> None:
    """Believes what is tried: some kernels (emulators, containers) accept a wall and do not keep it up."""
    for name, attempt in (("Landlock", lambda: os.listdir("/")), ("seccomp", lambda: os.getpgid(0))):
        try:
            attempt()
        except PermissionError:
            continue
        raise SealError(f"this kernel accepts {name} and does not enforce it")
