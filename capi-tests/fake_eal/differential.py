#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Compares the hotplug of the fake EAL, by the rules of DPDK 26.07, with ours, call by call.

usage: differential.py STOCK OURS [--print]      (calls.c with the fake alone, and with ours in front)

As differential/compare.py: every call must end alike, but for those of differences.md. Once a process that is alone, and once where there could be others.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "differential"))
from compare import ROW, Tap, compare, print_rows  # noqa: E402

TABLE = Path(__file__).with_name("differences.md")
TIMEOUT = 60


class Run:
    """One run of a program: what each call did."""

    def __init__(self, program: str, directory: str | None):
        environment = dict(os.environ)
        where = "alone: "
        if directory:
            environment["FAKE_DIRECTORY"] = directory
            where = "with others: "
        done = subprocess.run([program], env=environment, timeout=TIMEOUT, stdin=subprocess.DEVNULL,
                              capture_output=True, text=True)
        self.end, self.log = f"exit {done.returncode}", done.stderr
        parts = [line.partition("\t") for line in done.stdout.splitlines()]
        self.results = [(where + call, result) for call, _, result in parts]


def read_table() -> dict[str, tuple[str, str]]:
    """The intended differences, by call."""
    rows = [ROW.match(line) for line in TABLE.read_text().splitlines() if line.startswith("| `")]
    if not all(rows) or len({row["call"] for row in rows}) != len(rows):
        sys.exit(f"{TABLE}: not rows of call, stock, ours, reason; or repeated")
    return {row["call"]: (row["stock"], row["ours"]) for row in rows}


def main() -> int:
    stock, ours = sys.argv[1:3]
    pairs = [(Run(stock, None), Run(ours, None))]
    with tempfile.TemporaryDirectory(prefix="hotplug_calls_") as directory:
        pairs.append((Run(stock, directory), Run(ours, directory)))
    if "--print" in sys.argv:
        print_rows(pairs)
        return 0
    tap, table = Tap(), read_table()
    for pair in pairs:
        calls = [call for call, _ in pair[0].results]
        tap.test(len(calls) > 50 and len(calls) == len(set(calls)), "every call has its own name")
        for run, has_ours in zip(pair, (False, True)):
            tap.test(run.end == "exit 0" and ("HOTPLUG: " in run.log) == has_ours,
                     f"a run {'with' if has_ours else 'without'} ours ended well", run.end, run.log)
        compare(tap, table, *pair)
    tap.test(not table, "every difference of the table occurred", *table)
    return tap.end()


if __name__ == "__main__":
    sys.exit(main())
