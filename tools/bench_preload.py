#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Times programs that have nothing to do with DPDK, with and without LD_PRELOAD, in turns.

usage: tools/bench_preload.py [BUILD_DIR] [--rounds N]

BUILD_DIR is a meson build directory (default: build).
"""

import argparse
import os
import pathlib
import statistics
import subprocess
import sys
import time
from collections import defaultdict

STARTS = {"true": ["true"], "sh": ["sh", "-c", ":"], "python": [sys.executable, "-S", "-c", "pass"]}


def start(command, environment):
    """The nanoseconds from start to end."""
    begin = time.perf_counter_ns()
    os.waitpid(os.posix_spawnp(command[0], command, environment), 0)
    return time.perf_counter_ns() - begin


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("build", nargs="?", default="build", type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=300)
    arguments = parser.parse_args()
    library = (arguments.build / "librte_hotplug.so.1").resolve(strict=True)
    program = (arguments.build / "capi-tests/bench-process").resolve(strict=True)
    plain = {k: v for k, v in os.environ.items() if k != "LD_PRELOAD"}
    preloaded = plain | {"LD_PRELOAD": str(library)}
    times = defaultdict(lambda: ([], []))
    for turn in range(arguments.rounds):
        # Whoever comes first in one round comes last in the next.
        for which in ((0, 1), (1, 0))[turn % 2]:
            environment = (plain, preloaded)[which]
            for name, command in STARTS.items():
                times[f"start of {name}"][which].append(start(command, environment))
            if turn % 10 < 2:
                shown = subprocess.run([program], env=environment, capture_output=True, text=True,
                                       check=True).stdout
                for name, nanoseconds in map(str.split, shown.splitlines()):
                    times[name][which].append(int(nanoseconds))
    print(f"{'':16}{'without':>10}{'with':>10}{'ratio':>8}   (ms, medians)")
    for name, samples in times.items():
        without, loaded = map(statistics.median, samples)
        print(f"{name:16}{without / 1e6:10.3f}{loaded / 1e6:10.3f}{loaded / without:8.3f}")


if __name__ == "__main__":
    main()
