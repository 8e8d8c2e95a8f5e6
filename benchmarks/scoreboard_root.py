"""A copy of this machine's root folder to install servers in: an overlay in memory, in a mount namespace of its own.

The machine stays as it is. The processes are in a PID namespace too: when the first of them ends, the kernel ends all.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

CLONE_NEWNET = 0x40000000
IFF_UP, SIOCSIFFLAGS = 1, 0x8914


def enter(program: Path, arguments: Sequence[str]) -> int:
    """Run *program* again in namespaces of its own, and return its exit status."""
    command = ["unshare", "--mount", "--pid", "--fork", "--kill-child", sys.executable, str(program), *arguments]
    return subprocess.run(command, check=False).returncode


def change_root(scratch: Path, *kept: Path) -> None:
    """Mount the overlay at *scratch* and make it the root; the folders *kept* are those of the machine."""
    run("mount", "--make-rprivate", "/")
    run("mount", "-t", "tmpfs", "-o", "size=3g", "tmpfs", str(scratch))
    for name in ("upper", "work", "root"):
        (scratch / name).mkdir()
    root = scratch / "root"
    options = f"lowerdir=/,upperdir={scratch}/upper,workdir={scratch}/work"
    run("mount", "-t", "overlay", "-o", options, "overlay", str(root))
    for folder in ("/dev", "/sys", *map(str, kept)):
        (root / folder.lstrip("/")).mkdir(parents=True, exist_ok=True)
        run("mount", "--rbind", folder, str(root / folder.lstrip("/")))
    run("mount", "-t", "proc", "proc", str(root / "proc"))
    run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", str(root / "run"))
    os.chroot(root)
    os.chdir("/")


def install(packages: Sequence[str]) -> None:
    """Install Debian's packages; none of their servers starts by itself."""
    policy = Path("/usr/sbin/policy-rc.d")
    policy.write_text("#!/bin/sh\nexit 101\n")
    policy.chmod(0o755)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    common = ["apt-get", "--quiet=2", "-o", "Dpkg::Use-Pty=0"]
    for command in (["update"], ["--yes", "--no-install-recommends", "install", *packages]):
        done = subprocess.run([*common, *command], env=environment, text=True, capture_output=True, check=False)
        if done.returncode:
            raise SystemExit(f"apt-get {command[0]}: {done.stderr}")


def leave_the_network() -> None:
    """Go into a network namespace that has loopback alone: all ports are free, and nothing else can be reached."""
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", IFF_UP))


def version(package: str) -> str:
    """Return the version of an installed package."""
    command = ["dpkg-query", "--show", "--showformat", "${Version}", package]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def run(*command: str, given: str | None = None) -> None:
    """Run a command that must succeed."""
    done = subprocess.run(command, input=given, text=True, capture_output=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}: {done.stderr.strip() or done.returncode}")
