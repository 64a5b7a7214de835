#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Devices that go while an application works with them, and every other SIGBUS: stock and ours.

usage: faults.py PROGRAM LIBRARY       (the program of faults.c)
"""

import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile

from observer import PATIENCE, announce, take_device, uevent_file
from pci_function import free_huge_pages, make_function
from tap import CI, remove_runtime_directory, show_defects

VFIO, UIO = "vfio-pci", "uio_pci_generic"
DIES = f"signal {signal.SIGBUS.value}"
CRASHES = f"signal {signal.SIGSEGV.value}"

# Case, the kernel's driver, what it is, stock's outcome, ours.
TABLE = [
    ("fault", VFIO, "S5: a fault under vfio", "told 100 times inside of the signal's handler",
     "recovered, told 2 times"),
    ("fault", UIO, "a fault under uio", "recovered, not told", "recovered, told 2 times"),
    ("twice-enabled", UIO, "S6: enabled twice, disabled once", DIES, "recovered"),
    ("fork", UIO, "a fault in a forked child, then in its parent", "recovered",
     "recovered, told, in the child too"),
    ("disabled", UIO, "a fault with the handling disabled", DIES, DIES),
    ("of-another", UIO, "S2: a fault of nobody's device, nothing installed before", "exit 1", DIES),
    ("previous-ignores", UIO, "S1: the signal was ignored before", CRASHES, "ignored"),
    ("previous-flags", UIO, "S3: a handler with SA_SIGINFO and other flags before",
     CRASHES, "called with all"),
    ("put-back", UIO, "what was installed before is put back", "put back", "put back"),
    ("early", UIO, "a fault, enabled before rte_eal_init", "recovered", "recovered"),
    ("vfio-asks", VFIO, "U7: the kernel asks for a device, then removes it",
     "told 2 times, with a lock held", "told 1 times"),
    ("vfio-asks-late", VFIO, "U7: the same, when its driver is shown no more",
     "told 2 times, with a lock held", "told 1 times"),
    ("states", VFIO, "states: PROBED, FAULT, gone, BOUND", "none", "4, 5, -19, 3"),
    ("kernel-removes", UIO, "memory under uio when the kernel removes the device", "reads 0",
     "reads 0"),
    ("kernel-removes", VFIO, "memory under vfio when the kernel removes the device", "reads 1",
     "reads 1"),
]


class Function:
    """A PCI function that is a directory, as far as the PCI bus reads it."""

    def __init__(self, driver):
        self.tree = pathlib.Path(tempfile.mkdtemp(prefix="hotplug_faults_"))
        # The kernel can be made to announce events of this name.
        self.path = self.tree / uevent_file().parent.name
        make_function(self.path, driver)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.tree)


def outcome(program, case, driver, preload):
    with Function(driver) as function:
        environment = dict(os.environ, SYSFS_PCI_DEVICES=str(function.tree), LANG="C")
        if preload:
            environment["LD_PRELOAD"] = str(preload)
        process = subprocess.Popen([program, case, function.path], env=environment, text=True,
                                   stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        try:
            return result_of(process)
        finally:
            process.kill()
            process.wait()
            remove_runtime_directory(f"hotplug_faults_{process.pid}")


def result_of(process):
    for line in process.stdout:
        if line == "ready\n":
            announce("remove")
            announce("add")
        elif line.startswith("result: "):
            return line[len("result: "):].rstrip()
    status = process.wait(PATIENCE)
    return f"signal {-status}" if status < 0 else f"exit {status}"


def main():
    if os.geteuid() != 0 or free_huge_pages() < 16:
        why = "the PCI bus wants physical addresses: run as root with 16 huge pages of 2 MB"
        print(f"Bail out! {why}" if CI else f"1..0 # SKIP {why}")
        return 1 if CI else 0
    take_device()
    program, library = (pathlib.Path(argument).resolve() for argument in sys.argv[1:3])
    rows = [(f"{what} ({driver})", stock, ours) for _, driver, what, stock, ours in TABLE]
    seen = ([outcome(program, case, driver, preload) for preload in (None, library)]
            for case, driver, *_ in TABLE)
    return show_defects(rows, seen)


if __name__ == "__main__":
    sys.exit(main())
