#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Times attach + detach of net_null: DPDK's own hotplug and ours, interleaved, medians and ratio.

usage: tools/bench.py [BUILD_DIR]      (a meson build directory; default: build)
"""

import os
import pathlib
import shutil
import statistics
import subprocess
import sys

RUNS = 11
CYCLES = 3000


def median_of_run(program: pathlib.Path, preload: pathlib.Path | None) -> float:
    environment = dict(os.environ)
    if preload:
        environment["LD_PRELOAD"] = str(preload)
    process = subprocess.Popen([program, str(CYCLES)], env=environment, text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        out, _ = process.communicate(timeout=120)
    finally:
        process.kill()
        for directory in ("/var/run/dpdk", os.environ.get("XDG_RUNTIME_DIR", "/tmp") + "/dpdk"):
            shutil.rmtree(f"{directory}/hotplug_bench_{process.pid}", ignore_errors=True)
    if process.returncode:
        sys.exit(f"{program} failed with {process.returncode}")
    return statistics.median(int(line) for line in out.split())


def main() -> None:
    build = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "build").resolve()
    program, library = build / "capi-tests/bench-attach", build / "librte_hotplug.so.1"
    if not program.exists():
        sys.exit(f"{program} is missing: build with DPDK first (meson setup build && ninja -C build)")
    stock, ours = [], []
    for _ in range(RUNS):
        stock.append(median_of_run(program, None))
        ours.append(median_of_run(program, library))
    ratios = [s / o for s, o in zip(stock, ours)]
    print(f"net_null attach + detach, --no-huge, {RUNS} interleaved runs of {CYCLES} cycles")
    print(f"  stock  {statistics.median(stock) / 1000:7.2f} us")
    print(f"  ours   {statistics.median(ours) / 1000:7.2f} us")
    print(f"  ratio  {statistics.median(ratios):7.2f} times as fast as stock "
          f"(from {min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    main()
