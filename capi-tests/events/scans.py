#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""What an attach of one PCI function does with all the others: stock's bus, and the embedded one.

usage: scans.py STOCK EMBEDDED         (the programs of scans.c)
"""

import os
import pathlib
import subprocess
import sys
import tempfile

from observer import PATIENCE
from pci_function import free_huge_pages, make_function
from tap import CI, remove_runtime_directory, show_defects

UIO = "uio_pci_generic"
FUNCTION = "0000:02:00.0"
OTHERS = 16

# Case, what it is, stock's outcome, ours.
TABLE = [
    ("others", "D1: the other functions in an attach", f"attach 0, reads {OTHERS} of {OTHERS} others",
     f"attach 0, reads 0 of {OTHERS} others"),
    ("dangling", "D2: an entry that has gone: a link to nowhere", "attach -1", "attach 0"),
    ("empty", "D2: an entry that has gone: no files any more", "attach -1", "attach 0"),
    ("sriov", "D3: sriov_numvfs in an attach", "attach 0, read", "attach 0, not read"),
]


def outcome(case, program):
    with tempfile.TemporaryDirectory(prefix="hotplug_scans_") as name:
        tree = pathlib.Path(name)
        make_function(tree / FUNCTION, UIO, sriov_numvfs="0")
        for number in range(OTHERS):
            make_function(tree / f"0000:03:{number:02x}.0", UIO, device="0x10f1")
        process = subprocess.Popen([program, case, tree, FUNCTION], text=True,
                                   env=dict(os.environ, SYSFS_PCI_DEVICES=name),
                                   stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        try:
            output, _ = process.communicate(timeout=PATIENCE)
        finally:
            process.kill()
            process.wait()
            remove_runtime_directory(f"hotplug_scans_{process.pid}")
    results = [line[len("result: "):] for line in output.splitlines() if line.startswith("result: ")]
    return results[0] if results else f"exit {process.returncode}"


def main():
    if os.geteuid() != 0 or free_huge_pages() < 16:
        why = "the PCI bus wants physical addresses: run as root with 16 huge pages of 2 MB"
        print(f"Bail out! {why}" if CI else f"1..0 # SKIP {why}")
        return 1 if CI else 0
    programs = [pathlib.Path(argument).resolve() for argument in sys.argv[1:3]]
    rows = [(what, stock, ours) for _, what, stock, ours in TABLE]
    return show_defects(rows, ([outcome(case, program) for program in programs]
                               for case, *_ in TABLE))


if __name__ == "__main__":
    sys.exit(main())
