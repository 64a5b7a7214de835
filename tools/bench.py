#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Times attach and detach with this library and with DPDK's own hotplug, in turns.

usage: tools/bench.py [BUILD_DIR] [--quick] [--csv FILE] [--plot FILE]

BUILD_DIR is a meson build directory (default: build). Groups need huge pages, 64 MB for each run.
"""

import argparse
import csv
import errno
import os
import pathlib
import shutil
import signal
import statistics
import subprocess
import sys
from collections import defaultdict
from typing import NamedTuple

TOOLS = pathlib.Path(__file__).resolve().parent
sys.path += [str(TOOLS), str(TOOLS.parent / "capi-tests/mp")]

import plot  # noqa: E402
from group import Group  # noqa: E402

MODES = {"stock": "stock", "ours": "hosted"}
SIZES = (0, 1, 2, 4, 8, 16)
IDLE = {8: (0, 8, 24)}
DEVICE = "net_null0"
# An attach that takes longer is taken to be stuck: stock gives up after twice 5 s.
STUCK = 30
IN_A_ROW = 12

CYCLE = "attach + detach"
SINGLE = CYCLE + ", --no-huge"
STOPPED = "attach, one process stopped"
STOPPED_ROW = f"{IN_A_ROW} attaches, one process stopped"
KILLED = "attach, one killed in its probe"


class Case(NamedTuple):
    """What is timed."""
    name: str
    secondaries: int = 0
    idle: int = 0


class Effort(NamedTuple):
    """How often."""
    rounds: int
    cycles: int
    stock_cycles: int
    slow_rounds: int


FULL = Effort(rounds=7, cycles=300, stock_cycles=20, slow_rounds=2)
QUICK = Effort(rounds=2, cycles=50, stock_cycles=4, slow_rounds=1)
# Without a secondary a cycle is short, and the first ones meet a runtime directory that is so new
# that it may still change unseen.
ALONE_CYCLES, ALONE_WARM_UP = 3000, 5000


class Results:
    """The microseconds of each round, by case and mode; infinite for what never ended."""

    def __init__(self):
        self.times = defaultdict(list)
        self.codes = {}

    def add(self, case, mode, microseconds):
        self.times[case, mode].append(microseconds)

    def median(self, case, mode):
        return statistics.median(self.times[case, mode])

    def ratio(self, case, mode, over, over_mode):
        """Median of the rounds' ratios: what is compared ran at about the same time."""
        pairs = zip(self.times[case, mode], self.times[over, over_mode])
        return statistics.median(a / b for a, b in pairs)


def say(text):
    print(text, file=sys.stderr, flush=True)


def time_single_process(results, build, effort):
    """A process that shares nothing, with and without the library."""
    program = build / "capi-tests/bench-attach"
    for _ in range(effort.rounds):
        for mode in MODES:
            environment = dict(os.environ)
            if mode == "ours":
                environment["LD_PRELOAD"] = str(build / "librte_hotplug.so.1")
            results.add(Case(SINGLE), mode, median_of_run(program, environment))


def median_of_run(program, environment):
    process = subprocess.Popen([program, str(ALONE_CYCLES)], env=environment, text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        out, _ = process.communicate(timeout=120)
    finally:
        process.kill()
        process.wait()
        for directory in ("/var/run/dpdk", os.environ.get("XDG_RUNTIME_DIR", "/tmp") + "/dpdk"):
            shutil.rmtree(f"{directory}/hotplug_bench_{process.pid}", ignore_errors=True)
    if process.returncode:
        sys.exit(f"{program} failed with {process.returncode}")
    return statistics.median(int(line) for line in out.split()) / 1000


def time_groups(results, build, effort):
    """Groups of each size, started anew in every round."""
    for number in range(effort.rounds):
        say(f"groups: round {number + 1} of {effort.rounds}")
        for secondaries in SIZES:
            for mode, group_mode in MODES.items():
                with Group(build, group_mode, secondaries) as group:
                    time_group(results, group, mode, secondaries, effort)


def time_group(results, group, mode, secondaries, effort):
    cycles = effort.stock_cycles if mode == "stock" else effort.cycles
    warm_up = cycles // 4
    if secondaries == 0:
        cycles, warm_up = ALONE_CYCLES, ALONE_WARM_UP
    idle = [f"net_null{number}" for number in range(100, 100 + max(IDLE.get(secondaries, [0])))]
    attached = 0
    for count in IDLE.get(secondaries, (0,)):
        for device in idle[attached:count]:
            if group.primary(f"attach {device}") != "0":
                sys.exit(f"{mode}: {device} could not be attached")
        attached = count
        cycle(group, mode, warm_up)
        times = cycle(group, mode, cycles)
        results.add(Case(CYCLE, secondaries, count), mode, statistics.median(times))
        if any(devices != idle[:count] for devices in group.attached()):
            sys.exit(f"{mode}: the processes do not have the same devices")


def cycle(group, mode, count):
    """The microseconds of each of so many cycles in the primary."""
    failures, *times = group.primary(f"cycles {DEVICE} {count}").split()
    if failures != "0":
        sys.exit(f"{mode}: {failures} of {count} cycles failed")
    return [float(milliseconds) * 1000 for milliseconds in times]


def time_stopped(results, build, effort):
    """Attaches while one secondary does not run: the first, and a row of them."""
    for mode, group_mode in MODES.items():
        for number in range(effort.slow_rounds):
            say(f"one secondary stopped: {mode}, round {number + 1} of {effort.slow_rounds}")
            whole_row = number == 0
            times = attach_with_one_stopped(build, group_mode, IN_A_ROW if whole_row else 1)
            results.add(Case(STOPPED, 2), mode, times[0])
            if whole_row:
                results.add(Case(STOPPED_ROW, 2), mode, sum(times))
                ended = sum(time != float("inf") for time in times)
                results.codes[STOPPED_ROW, mode] = f"{ended} of {IN_A_ROW} end"


def attach_with_one_stopped(build, group_mode, count):
    """The time of each attach, up to the one that never ends."""
    times = []
    with Group(build, group_mode, 2) as group:
        stopped = group.secondaries[0]
        stopped.signal(signal.SIGSTOP)
        os.waitid(os.P_PID, stopped.pid, os.WSTOPPED)
        for _ in range(count):
            group.primary(f"start-attach {DEVICE}")
            try:
                _, code, milliseconds = group.primary.finished(STUCK)
            except TimeoutError:
                return times + [float("inf")]
            if code == 0:
                sys.exit(f"{group_mode}: an attach ended well without the stopped process")
            times.append(milliseconds * 1000)
    return times


def time_killed(results, build, effort):
    """An attach during which one secondary dies; the driver is that of the test process."""
    for number in range(effort.slow_rounds):
        say(f"one secondary killed: round {number + 1} of {effort.slow_rounds}")
        for mode, group_mode in MODES.items():
            with Group(build, group_mode, 2) as group:
                victim, other = group.secondaries
                victim("driver kill_probe=1")
                group.primary("start-attach tdrv0")
                _, code, milliseconds = group.primary.finished(STUCK)
                victim.process.wait(STUCK)
                if (code == 0) != (other.attached() == ["tdrv0"]):
                    sys.exit(f"{mode}: the attach returned {code}, and that is not true")
                results.add(Case(KILLED, 2), mode, milliseconds * 1000)
                results.codes[KILLED, mode] = "-" + errno.errorcode[-code] if code else "success"


class Row(NamedTuple):
    """A line of the table: label, the two cells, ratio, target, and whether that is met."""
    label: str
    stock: str = ""
    ours: str = ""
    ratio: str = ""
    target: str = ""
    met: bool | None = None

    def verdict(self):
        return {None: "", True: "met", False: "not met"}[self.met]


def rows(results):
    """The table of the speed targets."""
    yield faster(results, "single process, --no-huge", Case(SINGLE), 1)
    for count, at_least in zip(SIZES, (1, 15, None, None, 25, 40)):
        label = f"{count} secondar{'y' if count == 1 else 'ies'}"
        yield faster(results, label, Case(CYCLE, count), at_least)
    most, one = Case(CYCLE, SIZES[-1]), Case(CYCLE, 1)
    yield growth(results, f"{most.secondaries} secondaries over 1", most, one, 6)
    for idle in IDLE[8][1:]:
        case = Case(CYCLE, 8, idle)
        yield faster(results, f"8 secondaries, {idle} idle devices", case, None)
        yield growth(results, f"{idle} idle devices over none", case, Case(CYCLE, 8), 1.2)
    yield from hindered(results)


def faster(results, label, case, at_least):
    ratio = results.ratio(case, "stock", case, "ours")
    return Row(label, *cells(results, case), f"{ratio:.3g} x",
               f">= {at_least} x" if at_least else "",
               ratio >= at_least if at_least else None)


def growth(results, label, case, over, at_most):
    stock, ours = (results.ratio(case, mode, over, mode) for mode in MODES)
    return Row(label, f"{stock:.2f} x", f"{ours:.2f} x", "", f"<= {at_most} x",
               ours <= at_most)


def hindered(results):
    """What is left of the speed when a process does not answer."""
    case = Case(STOPPED, 2)
    yield Row(STOPPED, *cells(results, case), target="<= 2.5 s",
              met=results.median(case, "ours") <= 2.5e6)
    ends = [results.codes[STOPPED_ROW, mode] for mode in MODES]
    yield Row(STOPPED_ROW, *ends, target="all end", met=ends[1].startswith(f"{IN_A_ROW} "))
    case = Case(KILLED, 2)
    yield Row(KILLED, *cells(results, case), target="<= 100 ms",
              met=results.median(case, "ours") <= 1e5)
    codes = [results.codes[KILLED, mode] for mode in MODES]
    yield Row("  its result", *codes, target="success", met=codes[1] == "success")


def cells(results, case):
    return [plot.duration(results.median(case, mode)) for mode in MODES]


def show(table):
    titles = ("net_null attach + detach", "stock", "ours", "ratio", "target", "")
    lines = [titles] + [(*row[:5], row.verdict()) for row in table]
    widths = [max(len(line[column]) for line in lines) for column in range(len(titles))]
    for line in lines:
        left, *middle = (text.rjust(width) for text, width in zip(line, widths))
        print("  ".join([line[0].ljust(len(left)), *middle[:-2],
                         line[4].ljust(widths[4]), line[5]]).rstrip())


def write_csv(results, path):
    with open(path, "w", newline="", encoding="ascii") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow("name mode secondaries idle median_us min max rounds".split())
        for (case, mode), times in sorted(results.times.items()):
            numbers = (statistics.median(times), min(times), max(times))
            out.writerow([case.name, mode, case.secondaries, case.idle,
                          *(f"{number:.2f}" for number in numbers), len(times)])


def write_plot(results, path):
    lines = {mode: [results.median(Case(CYCLE, size), mode) for size in SIZES] for mode in MODES}
    title = "Attach + detach of net_null in all processes"
    pathlib.Path(path).write_text(plot.lines(title, "secondary processes", SIZES, lines),
                                  encoding="utf-8")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("build", nargs="?", default="build", help="a meson build directory")
    parser.add_argument("--quick", action="store_true", help="few rounds, for trying out")
    parser.add_argument("--csv", metavar="FILE", help="write all times")
    parser.add_argument("--plot", metavar="FILE", help="write an SVG: time by secondaries")
    return parser.parse_args()


def main():
    options = arguments()
    build = pathlib.Path(options.build).resolve()
    for program in ("bench-attach", "mp/peer-dpdk"):
        if not (build / "capi-tests" / program).exists():
            sys.exit(f"{program} is missing: build with DPDK (meson setup build && ninja -C build)")
    effort = QUICK if options.quick else FULL
    results = Results()
    for measure in (time_single_process, time_groups, time_stopped, time_killed):
        measure(results, build, effort)
    show(list(rows(results)))
    if options.csv:
        write_csv(results, options.csv)
    if options.plot:
        write_plot(results, options.plot)


if __name__ == "__main__":
    main()
