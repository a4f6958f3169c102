"""Reaching out: files, processes, sockets, kernel interfaces. A program that manages any of it returns True, which is caught."""


def _try(body: str, imports: str = "import os, ctypes") -> str:
    """A program whose answer tells whether `body`, an expression, went through."""
    return (
        f"{imports}\nlibc = __import__('ctypes').CDLL(None)\ndef solve(a, b):\n    try: got = {body}\n"
        "    except (OSError, ValueError): return 'refused'\n"
        "    return 'refused' if got == -1 else 'managed'"
    )


def _mapped(body: str) -> str:
    """The same, tried on two of the output files as `fd` (what is written to the third is read as answers)."""
    return (
        "import mmap, os\npage = b'\\xb8\\x39\\x05\\x00\\x00\\xc3' + bytes(4090)\n"
        f"def attempt(fd):\n    try: return {body}\n    except (OSError, ValueError): return None\n"
        "def solve(a, b):\n    return 'refused' if attempt(1) is attempt(2) is None else 'managed'"
    )


_SOCKET = "import socket"
_CONNECT = "import socket\ndef solve(a, b):\n    s = socket.socket({family}, socket.{kind})\n    {act}\n    return 'managed'"

PROGRAMS = {
    "write_folder": _try("open('@FOLDER@/@TOKEN@', 'w')"),
    "write_tmp": _try("open('/tmp/@TOKEN@', 'w')"),
    "write_var_tmp": _try("open('/var/tmp/@TOKEN@', 'w')"),
    "write_shm": _try("open('/dev/shm/@TOKEN@', 'w')"),
    "write_here": _try("open('@TOKEN@', 'w')"),
    "write_home": _try("open(os.path.expanduser('~/@TOKEN@'), 'w')"),
    "write_library": _try("open(os.path.dirname(os.__file__) + '/@TOKEN@.py', 'w')"),
    "truncate_library": _try("os.open(os.__file__, os.O_RDONLY | os.O_TRUNC)"),
    "tempfile": _try("tempfile.NamedTemporaryFile(prefix='@TOKEN@', delete=False)", "import tempfile"),
    "unnamed_temporary": _try("os.open('/tmp', os.O_TMPFILE | os.O_RDWR)"),
    "make_directory": _try("os.mkdir('/tmp/@TOKEN@') or 1"),
    "make_fifo": _try("os.mkfifo('/tmp/@TOKEN@') or 1"),
    "make_device": _try("os.mknod('/tmp/@TOKEN@', 0o60600, os.makedev(8, 0)) or 1"),
    "symlink": _try("os.symlink('@SECRET@', '/tmp/@TOKEN@') or 1"),
    "hard_link": _try("os.link('@SECRET@', '/tmp/@TOKEN@') or 1"),
    "rename": _try("os.rename('@SECRET@', '@SECRET@.moved') or 1"),
    "unlink": _try("os.unlink('@SECRET@') or 1"),
    "chmod": _try("os.chmod('@SECRET@', 0o777) or 1"),
    "chown": _try("os.chown('@SECRET@', 1, 1) or 1"),
    "change_times": _try("os.utime('@SECRET@', (0, 0)) or 1"),
    "extended_attribute": _try("os.setxattr('@SECRET@', 'user.x', b'1') or 1"),
    "truncate": _try("os.truncate('@SECRET@', 0) or 1"),
    "read_secret": "def solve(a, b): return open('@SECRET@').read()",
    "read_passwd": _try("open('/etc/passwd').read()"),
    "read_shadow": _try("open('/etc/shadow').read()"),
    "read_environment": "import os\ndef solve(a, b): return dict(os.environ)",
    "read_home": _try("os.listdir(os.path.expanduser('~root'))"),
    "list_root": _try("os.listdir('/')"),
    "list_proc": _try("os.listdir('/proc')"),
    "read_init": _try("open('/proc/1/environ').read()"),
    "parent_memory": _try("open('/proc/%d/mem' % os.getppid(), 'rb')"),
    "own_memory_file": _try("open('/proc/self/mem', 'r+b')"),
    "kernel_memory": _try("open('/dev/mem', 'rb')"),
    "disk": _try("[os.open(p, os.O_RDONLY) for p in ('/dev/sda', '/dev/vda', '/dev/nvme0n1')]"),
    "terminal": _try("open('/dev/tty', 'w')"),
    "core_pattern": _try("open('/proc/sys/kernel/core_pattern', 'w')"),
    "cgroup": _try("open('/sys/fs/cgroup/cgroup.procs', 'w')"),
    "oom_score": _try("open('/proc/self/oom_score_adj', 'w').write('-1000')"),
    "user_customize": _try("open(os.path.expanduser('~/.local/lib/usercustomize.py'), 'w')"),
    "chroot": _try("os.chroot('/tmp') or 1"),
    "tcp_connect": _CONNECT.format(family="socket.AF_INET", kind="SOCK_STREAM", act="s.connect(('127.0.0.1', @PORT@))"),
    "tcp_listen": _CONNECT.format(family="socket.AF_INET", kind="SOCK_STREAM", act="s.bind(('', 0)); s.listen()"),
    "tcp6_connect": _CONNECT.format(family="socket.AF_INET6", kind="SOCK_STREAM", act="s.connect(('::1', @PORT@))"),
    "udp_send": _CONNECT.format(family="socket.AF_INET", kind="SOCK_DGRAM", act="s.sendto(b'x', ('127.0.0.1', @PORT@))"),
    "unix_connect": _CONNECT.format(family="socket.AF_UNIX", kind="SOCK_STREAM", act="s.connect('@FOLDER@/socket')"),
    "unix_abstract": _CONNECT.format(family="socket.AF_UNIX", kind="SOCK_STREAM", act="s.bind(chr(0) + '@TOKEN@')"),
    "unix_datagram_pair": (
        "import socket\ndef solve(a, b):\n    x, y = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)\n"
        "    x.sendto(b'x', '@FOLDER@/socket')\n    return 'managed'"
    ),
    "netlink": _CONNECT.format(family="16", kind="SOCK_RAW", act="pass"),
    "raw_socket": _CONNECT.format(family="socket.AF_INET", kind="SOCK_RAW", act="pass"),
    "vsock": _CONNECT.format(family="40", kind="SOCK_STREAM", act="pass"),
    "subprocess": _try("subprocess.run(['true'])", "import subprocess"),
    "system": _try("(lambda code: -1 if code else 0)(os.system('touch /tmp/@TOKEN@'))"),
    "popen": _try("os.popen('id').read() or -1"),
    "exec": _try("os.execv('/bin/true', ['true'])"),
    "exec_descriptor": _try("libc.syscall(322, os.open('/bin/true', os.O_PATH), b'', 0, 0, 0x1000)"),
    "posix_spawn": _try("os.posix_spawn('/bin/true', ['true'], {})"),
    "multiprocessing": _try("multiprocessing.Process(target=print).start() or 1", "import multiprocessing"),
    "ptrace_parent": _try("libc.ptrace(16, os.getppid(), 0, 0)"),
    "read_parent_vm": _try("libc.process_vm_readv(os.getppid(), None, 0, None, 0, 0)"),
    "kill_parent": _try("os.kill(os.getppid(), 9) or 1"),
    "kill_parent_thread": _try("libc.syscall(200, os.getppid(), 9)"),
    "kill_group": _try("os.killpg(os.getpgid(0), 9) or 1"),
    "kill_everything": _try("os.kill(-1, 9) or 1"),
    "kill_group_zero": _try("os.kill(0, 9) or 1"),
    "pidfd_kill": _try("signal.pidfd_send_signal(os.pidfd_open(os.getppid()), 9) or 1", "import os, signal"),
    "queue_signal": _try("libc.sigqueue(os.getppid(), 9, 0)"),
    "signal_by_owner": (
        "import os, fcntl\ndef solve(a, b):\n    r, w = os.pipe()\n    fcntl.fcntl(r, 10, 9)\n"
        "    fcntl.fcntl(r, 8, os.getppid())\n    fcntl.fcntl(r, 4, 0o20000)\n    os.write(w, b'x')\n    return 'managed'"
    ),
    "signal_by_ioctl": (
        "import os, fcntl, struct, socket\ndef solve(a, b):\n    x, y = socket.socketpair()\n"
        "    fcntl.ioctl(x, 0x8901, struct.pack('i', os.getppid()))\n    return 'managed'"
    ),
    "parent_priority": _try("os.setpriority(os.PRIO_PROCESS, os.getppid(), 19) or 1"),
    "own_priority": _try("os.nice(1)"),
    "parent_affinity": _try("os.sched_setaffinity(os.getppid(), {0}) or 1"),
    "parent_limit": _try("resource.prlimit(os.getppid(), resource.RLIMIT_NOFILE, (3, 3)) or 1", "import os, resource"),
    "raise_limit": _try("resource.setrlimit(resource.RLIMIT_AS, (-1, -1)) or 1", "import resource"),
    "scheduler": _try("os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0)) or 1"),
    "become_root": _try("os.setuid(0) or 1"),
    "change_group": _try("os.setgroups([]) or 1"),
    "new_session": _try("os.setsid()"),
    "user_namespace": _try("libc.unshare(0x10000000)"),
    "mount_namespace": _try("libc.unshare(0x20000)"),
    "enter_namespace": _try("libc.setns(3, 0)"),
    "mount": _try("libc.mount(b'none', b'/tmp', b'tmpfs', 0, None)"),
    "keyring": _try("libc.syscall(250, 0, -3, 1)"),
    "add_key": _try("libc.syscall(248, b'user', b'@TOKEN@', b'x', 1, -4)"),
    "bpf": _try("libc.syscall(321, 0, 0, 0)"),
    "perf": _try("libc.syscall(298, 0, 0, -1, -1, 0)"),
    "io_uring": _try("libc.syscall(425, 1, ctypes.create_string_buffer(120))"),
    "userfault": _try("libc.syscall(323, 1)"),
    "seccomp_listener": _try("libc.syscall(317, 1, 8, ctypes.create_string_buffer(16))"),
    "personality": _try("libc.personality(0x0040000)"),
    "sysv_shm": _try("libc.shmget(@KEY@, 4096, 0o1666)"),
    "sysv_semaphore": _try("libc.semget(@KEY@, 1, 0o1666)"),
    "sysv_queue": _try("libc.msgget(@KEY@, 0o1666)"),
    "posix_queue": _try("libc.syscall(240, b'@TOKEN@', 0o102, 0o600, None)"),
    "shared_memory": _try(
        "multiprocessing.shared_memory.SharedMemory('@TOKEN@', True, 64)", "import multiprocessing.shared_memory"
    ),
    "handle_open": _try("libc.syscall(304, -100, 0, 0)"),
    "hostname": _try("libc.sethostname(b'x', 1)"),
    "clock": _try("time.clock_settime(0, 0) or 1", "import time"),
    "machine_code": _try("mmap.mmap(-1, 4096, prot=7)", "import mmap"),
    "make_executable": _try("libc.mprotect(ctypes.c_void_p(id(libc) & ~4095), 4096, 7)"),
    "writable_library_code": _try("mmap.mmap(os.open(os.__file__, os.O_RDONLY), 0, mmap.MAP_PRIVATE, 7)", "import os, mmap"),
    "output_as_code": _mapped("os.pwrite(fd, page, 0) and mmap.mmap(fd, 4096, mmap.MAP_PRIVATE, 5)"),
    "shared_output_as_code": _mapped("os.pwrite(fd, page, 0) and mmap.mmap(fd, 4096, mmap.MAP_SHARED, 5)"),
    "output_opened_again": _mapped("os.open(f'/proc/self/fd/{fd}', os.O_RDWR)"),
    "output_opened_for_reading": _mapped("os.open(f'/proc/self/fd/{fd}', os.O_RDONLY)"),
    "output_made_readable": _mapped("os.chmod(f'/proc/self/fd/{fd}', 0o600) or 1"),
    "output_read_back": _mapped("os.pread(fd, 1, 0)"),
    "zeros_as_code": _try("mmap.mmap(os.open('/dev/zero', os.O_RDWR), 4096, mmap.MAP_SHARED, 5)", "import os, mmap"),
    "x32_calls": "import ctypes\ndef solve(a, b): return ctypes.CDLL(None).syscall(0x40000000 + 39)",
    "kernel_log": _try("libc.klogctl(3, ctypes.create_string_buffer(100), 100)"),
    "reboot": _try("libc.reboot(0x1234567)"),
    "new_call": _try("libc.syscall(460, 0, 0, 0)"),
    "check_write": "def solve(a, b):\n    open('/tmp/@TOKEN@', 'w')\n    return a + b",
    "stdio_read_secret": "print(open('@SECRET@').read())",
    "stdio_system": "import os\nos.system('echo 7')",
}
