# SPDX-License-Identifier: BSD-3-Clause
"""Fetches what the lab needs beside DPDK: Debian packages, unpacked in a directory of their own.

Nothing is installed: QEMU's packages may exclude others that this machine has.
"""

import os
import shutil
import subprocess

KERNEL = "linux-image-cloud-amd64"
BUSYBOX = "busybox-static"
QEMU = "qemu-system-x86"
QEMU_PROGRAM = "qemu-system-x86_64"
# What is run on this machine -> the package that has it.
TOOLS = {"apt-get": "apt", "apt-cache": "apt", "dpkg": "dpkg", "ldd": "libc-bin",
         "pkg-config": "pkg-config", "dpdk-testpmd": "dpdk-dev"}


class Missing(Exception):
    """The lab cannot be built here; the text says what is missing."""


def output(command, cwd=None):
    done = subprocess.run(command, cwd=cwd, text=True, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if done.returncode:
        why = " ".join(done.stderr.split()) or f"status {done.returncode}"
        raise Missing(f"{' '.join(map(str, command))}: {why}")
    return done.stdout


def check_tools():
    machine = os.uname().machine
    if machine != "x86_64":
        raise Missing(f"the lab's guest is an x86_64 one, this machine is {machine}")
    for tool, package in TOOLS.items():
        if not shutil.which(tool):
            raise Missing(f"{tool} (package {package})")


def renew_lists():
    """Without package lists no name is known; only root may fetch them."""
    if not output(["apt-cache", "search", "--names-only", f"^{KERNEL}$"]) and os.geteuid() == 0:
        output(["apt-get", "update", "-q"])


def kernel_package():
    """The meta package has no files: the kernel is what it depends on."""
    for line in output(["apt-cache", "depends", KERNEL]).splitlines():
        if line.strip().startswith("Depends: "):
            return line.split()[-1]
    raise Missing(f"package {KERNEL} (is apt's list of packages empty? apt-get update)")


def qemu_packages():
    """QEMU and those of its libraries that are not installed here."""
    if shutil.which(QEMU_PROGRAM):
        return []
    plan = output(["apt-get", "-s", "install", "--no-install-recommends", QEMU])
    return [line.split()[1] for line in plan.splitlines() if line.startswith("Inst ")]


def unpack(names, directory):
    archives = directory.with_name(directory.name + ".archives")
    shutil.rmtree(archives, ignore_errors=True)
    archives.mkdir(parents=True)
    output(["apt-get", "download", "-q", *names], cwd=archives)
    for archive in sorted(archives.glob("*.deb")):
        output(["dpkg", "-x", archive, directory])
    shutil.rmtree(archives)


def tree(work):
    """The directory with all packages unpacked; made once, then reused."""
    check_tools()
    done, half = work / "packages", work / "packages.half"
    if not done.exists():
        shutil.rmtree(half, ignore_errors=True)
        half.mkdir(parents=True)
        renew_lists()
        unpack([kernel_package(), BUSYBOX, *qemu_packages()], half)
        half.rename(done)
    return done


def one(root, pattern):
    found = sorted(root.glob(pattern))
    if not found:
        raise Missing(f"{pattern} in the unpacked packages: remove {root} to fetch them again")
    return found[0]


def qemu_command(root):
    """The command that starts QEMU, and its environment."""
    installed = shutil.which(QEMU_PROGRAM)
    if installed:
        return [installed], dict(os.environ)
    libraries = {str(path.parent) for path in root.rglob("*.so.*")}
    data = [one(root, f"usr/{place}") for place in
            ("share/qemu", "share/seabios", "lib/ipxe/qemu")]
    command = [str(one(root, f"usr/bin/{QEMU_PROGRAM}"))]
    for directory in data:
        command += ["-L", str(directory)]
    return command, dict(os.environ, LD_LIBRARY_PATH=":".join(sorted(libraries)))


def kernel(root):
    return one(root, "boot/vmlinuz-*")


def busybox(root):
    return one(root, "**/bin/busybox")
