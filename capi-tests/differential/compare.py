#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Compares the hotplug of stock DPDK with ours, call by call.

usage: compare.py PROGRAM LIBRARY [--print]      (the program of calls.c)

Every call must end alike, except for those of differences.md, which must end as it says.
--print writes what differs as rows for differences.md instead.
"""

from __future__ import annotations

import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

TABLE = Path(__file__).with_name("differences.md")
MEASURED_ON = ("20.11", "22.11", "24.11", "25.11")
TIMEOUT = 60
EAL_OPTIONS = ["--no-huge", "-m", "64", "--no-pci", "--log-level=lib.hotplug:debug"]
# Freed memory is overwritten, so that its use shows.
SHOW_USE_AFTER_FREE = "glibc.malloc.tcache_count=0:glibc.malloc.perturb=165"
OUR_LINE = re.compile(r"^HOTPLUG: ", re.MULTILINE)
OUR_ATTACH = re.compile(r"^HOTPLUG: vdev:hp_drv_1: parsed, found, attached$", re.MULTILINE)
TITLE = re.compile(r"^## (?P<first>\d\d\.\d\d) (?P<range>and later|only)$")
ROW = re.compile(r"^\| `(?P<call>[^|]+)` \| `(?P<stock>[^|]+)` \| `(?P<ours>[^|]+)` \| \S.* \|$")


class Run:
    """One run of the program: what each call did, and what it logged."""

    def __init__(self, program: str, preload: str | None, number: str | None = None):
        environment = dict(os.environ, LANG="C")
        environment.pop("LD_PRELOAD", None)
        if preload:
            environment["LD_PRELOAD"] = preload
        if number:
            environment["GLIBC_TUNABLES"] = SHOW_USE_AFTER_FREE
        prefix = f"hotplug_diff_{os.getpid()}"
        with tempfile.TemporaryDirectory() as directory:
            output = Path(directory, "output")
            command = [program, *EAL_OPTIONS, "--file-prefix", prefix, "--", str(output)]
            if number:
                command.append(number)
            try:
                self.end, self.log = run(command, environment)
            finally:
                for base in ("/var/run", os.environ.get("XDG_RUNTIME_DIR", "/tmp")):
                    shutil.rmtree(Path(base, "dpdk", prefix), ignore_errors=True)
            text = output.read_text() if output.exists() else ""
        # The call in which the process ended has no result.
        parts = [line.partition("\t") for line in text.splitlines()]
        self.results = [(call, result or self.end) for call, _, result in parts]


def run(command: list[str], environment: dict[str, str]) -> tuple[str, str]:
    """How a command ended, and its output."""
    try:
        done = subprocess.run(command, env=environment, timeout=TIMEOUT, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    except subprocess.TimeoutExpired as hang:
        return "hang", (hang.stdout or b"").decode(errors="replace")
    code = done.returncode
    return f"signal {-code}" if code < 0 else f"exit {code}", done.stdout.decode(errors="replace")


class Tap:
    """Prints numbered results; the plan comes last, when their number is known."""

    def __init__(self):
        self.count = self.failed = 0

    def test(self, ok: bool, name: str, *details: str):
        self.count += 1
        self.failed += not ok
        print(f"{'ok' if ok else 'not ok'} {self.count} - {name.replace('#', '')}", flush=True)
        for detail in details if not ok else ():
            for line in detail.splitlines():
                print(f"# {line}")

    def end(self) -> int:
        print(f"1..{self.count}")
        return 1 if self.failed else 0


def read_tables(version: str) -> dict[str, tuple[str, str]]:
    """The intended differences in a version, by call."""
    rows: dict[str, tuple[str, str]] = {}
    applies = False
    for number, line in enumerate(TABLE.read_text().splitlines(), 1):
        if line.startswith("## "):
            title = TITLE.match(line)
            applies = title is not None and (
                title["first"] == version or (title["first"] < version and title["range"] != "only"))
        if not line.startswith("| `"):
            continue
        row = ROW.match(line)
        if row is None or (applies and row["call"] in rows):
            sys.exit(f"{TABLE}:{number}: not a row of call, stock, ours, reason; or repeated")
        if applies:
            rows[row["call"]] = (row["stock"], row["ours"])
    return rows


def compare(tap: Tap, table: dict, stock: Run, ours: Run):
    """One test for each call of a pair of runs."""
    tap.test([call for call, _ in stock.results] == [call for call, _ in ours.results],
             f"both runs made the same {len(stock.results)} calls",
             f"stock {stock.end}, ours {ours.end}", stock.log[-2000:], ours.log[-2000:])
    for (call, of_stock), (_, of_ours) in zip(stock.results, ours.results):
        expected = table.pop(call, None)
        seen = f"stock: {of_stock}\nours:  {of_ours}"
        if expected is None:
            tap.test(of_stock == of_ours, call, seen)
        else:
            tap.test((of_stock, of_ours) == expected, f"{call} (differs as intended)", seen,
                     "expected:\nstock: {}\nours:  {}".format(*expected))


def prove(tap: Tap, what: str, stock: Run, ours: Run):
    """Neither library must have run in the other's place."""
    tap.test(not OUR_LINE.search(stock.log), f"{what}: stock ran without our code",
             stock.log[-2000:])
    tap.test(bool(OUR_LINE.search(ours.log)), f"{what}: our code ran", ours.log[-2000:])


def print_rows(pairs: list[tuple[Run, Run]]):
    for stock, ours in pairs:
        for (call, of_stock), (_, of_ours) in zip(stock.results, ours.results):
            if of_stock != of_ours:
                print(f"| `{call}` | `{of_stock}` | `{of_ours}` | |")


def main() -> int:
    program, library = (os.path.abspath(argument) for argument in sys.argv[1:3])
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # meson ends a test that takes too long like this: clean up then too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
    end, listed = run([program, "--list"], dict(os.environ))
    title, *numbers = listed.split("\n")[:-1] or [end]
    version = title.removeprefix("DPDK ")[:5]
    if version not in MEASURED_ON and "--print" not in sys.argv:
        print(f"1..0 # SKIP differences.md is for {', '.join(MEASURED_ON)}, this is {title}")
        return 0
    all_calls = (Run(program, None), Run(program, library))
    alone = [(Run(program, None, number), Run(program, library, number)) for number in numbers]
    if "--print" in sys.argv:
        print_rows([all_calls, *alone])
        return 0
    tap, table = Tap(), read_tables(version)
    print(f"# {title}, {len(all_calls[0].results) + len(alone)} calls")
    calls = [call for stock, _ in (all_calls, *alone) for call, _ in stock.results]
    tap.test(len(calls) == len(set(calls)) and len(calls) > 200, "every call has a name of its own",
             *sorted({call for call in calls if calls.count(call) > 1}))
    prove(tap, "all calls", *all_calls)
    tap.test(bool(OUR_ATTACH.search(all_calls[1].log)), "our code attached the devices")
    for run_ in all_calls:
        tap.test(run_.end == "exit 0", "the program ended well", run_.end, run_.log[-2000:])
    compare(tap, table, *all_calls)
    for number, (stock, ours) in zip(numbers, alone):
        prove(tap, f"call {number}", stock, ours)
        tap.test(ours.end == "exit 0" and len(ours.results) == 1, f"call {number}: ours survived",
                 ours.end, ours.log[-2000:])
        compare(tap, table, stock, ours)
    tap.test(not table, "every difference of the table occurred", *table)
    return tap.end()


if __name__ == "__main__":
    sys.exit(main())
