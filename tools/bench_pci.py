#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Times attach + detach of one PCI function against how many there are: stock's bus, and the embedded one.

usage: tools/bench_pci.py [BUILD_DIR] [--quick]

BUILD_DIR is a meson build directory (default: build). It needs root and 16 huge pages of 2 MB, for stock.
The functions are directories and files in /dev/shm.
"""

import argparse
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

TOOLS = pathlib.Path(__file__).resolve().parent
sys.path += [str(TOOLS.parent / "capi-tests/events"), str(TOOLS.parent / "capi-tests")]

from pci_function import make_function  # noqa: E402
from tap import remove_runtime_directory  # noqa: E402

COUNTS = [1, 16, 256, 1024, 4096]
FUNCTION = "0000:02:00.0"
# So many cycles for one median: stock needs longer for each where there are more functions.
CYCLES, STOCK_CYCLES = 2000, 4000
# Ours may grow by so much from one function to the most.
TARGET = 1.5


def grow(tree, functions):
    """Adds functions until there are so many."""
    for number in range(len(list(tree.iterdir())), functions):
        bus, device = 0x10 + number // 256, number % 256
        address = f"0000:{bus:02x}:{device // 8:02x}.{device % 8}"
        make_function(tree / (address if number else FUNCTION), "uio_pci_generic",
                      device="0x10f1" if number else "0x10f0")


def median(program, tree, cycles, *options):
    """The microseconds of a cycle."""
    process = subprocess.Popen([program, FUNCTION, str(cycles), *options], text=True,
                               env=dict(os.environ, SYSFS_PCI_DEVICES=str(tree)),
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    output, errors = process.communicate()
    remove_runtime_directory(f"hotplug_bench_{process.pid}")
    if process.returncode:
        sys.exit(f"{program}: exit {process.returncode}\n{output}{errors}")
    # DPDK tells about itself there, too.
    return statistics.median(int(line) for line in output.splitlines() if line.isdigit()) / 1000


def measure(build, tree, functions):
    """One round: stock, ours with only what is asked for on the bus, ours with all functions."""
    stock = build / "capi-tests/bench-pci"
    ours = build / "capi-tests/bench-pci-embedded"
    return (median(stock, tree, max(STOCK_CYCLES // functions, 10)),
            median(ours, tree, CYCLES, "--no-pci"), median(ours, tree, CYCLES))


def main():
    arguments = argparse.ArgumentParser(usage=__doc__)
    arguments.add_argument("build", nargs="?", default="build", type=pathlib.Path)
    arguments.add_argument("--quick", action="store_true")
    options = arguments.parse_args()
    build, rounds = options.build.resolve(), 3 if options.quick else 9
    seen = {functions: [] for functions in COUNTS}
    with tempfile.TemporaryDirectory(prefix="hotplug_bench_", dir="/dev/shm") as name:
        trees = {functions: pathlib.Path(name, str(functions)) for functions in COUNTS}
        for functions, tree in trees.items():
            tree.mkdir()
            grow(tree, functions)
        for _ in range(rounds):
            for functions, tree in trees.items():
                seen[functions].append(measure(build, tree, functions))
    show(seen)


def show(seen):
    columns = {functions: list(zip(*rounds)) for functions, rounds in seen.items()}
    medians = {functions: [statistics.median(times) for times in of]
               for functions, of in columns.items()}
    print(f"{'functions':<14}{'stock':>14}{'ours':>14}{'stock/ours':>14}{'ours, all found':>20}")
    for functions, (stock, ours, found) in medians.items():
        times, own, _ = columns[functions]
        ratio = statistics.median(a / b for a, b in zip(times, own))
        print(f"{functions:<14,}{stock:>11,.1f} µs{ours:>11,.1f} µs{ratio:>12,.1f} x"
              f"{found:>17,.1f} µs")
    first, last = medians[COUNTS[0]], medians[COUNTS[-1]]
    stock, ours, found = (most / one for one, most in zip(first, last))
    met = "met" if max(ours, found) <= TARGET else "MISSED"
    print(f"{f'{COUNTS[-1]:,} over 1':<14}{stock:>12,.1f} x{ours:>12.2f} x{'':>14}{found:>18.2f} x"
          f"  <= {TARGET} x  {met}")


if __name__ == "__main__":
    main()
