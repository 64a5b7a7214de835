#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Shows each defect of stock's hotplug next to what ours does instead.

usage: stock_defects.py PROGRAM LIBRARY      (the program of stock_defects.c)
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

from tap import show_defects

CRASH = "crash"

# Case, what it is, what stock does (None: any outcome, as it is a race or depends on the release), what ours does.
TABLE = [
    # What is freed is used, also where nothing shows it (20.11).
    ("unregister-running", "U5: unregister frees a callback that runs", (CRASH, "unregister 1"),
     "unregister -11"),
    ("unregister-self", "U6: a callback cannot unregister itself", "unregister -11",
     "unregister 1"),
    # Repaired in 24.11 and in the newer stable releases.
    ("unregister-all-names", "a NULL name takes other functions' callbacks", None, "unregister 1"),
    ("threads", "threads on different vdevs fail or crash", None, "failures 0"),
    ("remove-twice", "D4: a stale device is used", None, "first 0, second -19"),
]


def outcome(program: str, case: str, preload: str | None) -> str:
    # Freed memory is overwritten, so that its use shows.
    environment = dict(os.environ, MALLOC_PERTURB_="165", LANG="C")
    if preload:
        environment["LD_PRELOAD"] = preload
    process = subprocess.Popen([program, case], env=environment, text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        out, _ = process.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        return "hang"
    finally:
        process.kill()
        process.wait()
        for directory in ("/var/run/dpdk", os.environ.get("XDG_RUNTIME_DIR", "/tmp") + "/dpdk"):
            shutil.rmtree(f"{directory}/hotplug_defect_{process.pid}", ignore_errors=True)
    if process.returncode < 0:
        return CRASH
    results = [line[8:] for line in out.splitlines() if line.startswith("result: ")]
    return results[0] if results else f"exit {process.returncode}"


def main() -> int:
    program, library = (os.path.abspath(argument) for argument in sys.argv[1:3])
    seen = ([outcome(program, case, preload) for preload in (None, library)]
            for case, *_ in TABLE)
    return show_defects([row for _, *row in TABLE], seen)


if __name__ == "__main__":
    sys.exit(main())
