# SPDX-License-Identifier: BSD-3-Clause
"""PCI functions that are directories, as far as the PCI bus reads them."""

import pathlib

# The function that the tests' drivers are for.
IDS = {"vendor": "0x1af4", "device": "0x10f0"}
FILES = {"subsystem_vendor": "0x1af4", "subsystem_device": "0x0001", "class": "0x020000",
         "numa_node": "-1",
         "resource": "0x0000000000000000 0x0000000000000000 0x0000000000000000\n" * 6}


def make_function(path, driver, **others):
    """Makes a function at this path, whose last part is its address."""
    path.mkdir()
    for name, text in {**IDS, **FILES, **others}.items():
        (path / name).write_text(text + "\n")
    (path / "driver").symlink_to(f"../../drivers/{driver}")


def free_huge_pages():
    return int(pathlib.Path("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages").read_text())
