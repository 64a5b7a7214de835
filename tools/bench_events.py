#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Compares the monitor of device events with DPDK's own: bursts, and the time until a callback.

usage: tools/bench_events.py [BUILD_DIR] [--quick]

BUILD_DIR is a meson build directory (default: build). It needs root, and a PCI function of which the
kernel can be made to tell events; nothing happens to it.
"""

import argparse
import pathlib
import queue
import statistics
import sys

TOOLS = pathlib.Path(__file__).resolve().parent
sys.path += [str(TOOLS.parent / "capi-tests/events"), str(TOOLS.parent / "capi-tests")]

from observer import Observer, announce, uevent_file  # noqa: E402

# Events, and how long a callback takes, in nanoseconds.
BURSTS = [(5_000, 1_000_000), (100_000, 10_000)]
# Nothing more is told for so long, in seconds: it is over.
SILENCE = 3


def start(build, mode):
    preload = build / "librte_hotplug.so.1" if mode == "ours" else None
    observer = Observer(build / "capi-tests/events/observer", preload=preload)
    if observer.ask("start") != "0":
        sys.exit(f"{mode}: the monitor does not start")
    return observer


def burst(build, mode, events, pause):
    """How many were told, and whether one more is told afterwards."""
    with start(build, mode) as observer:
        observer.do(f"pause {pause}")
        announce("add", events)
        told = settle(observer)
        announce("remove")
        lives = settle(observer) > told
        return told, lives


def settle(observer):
    """How many were told when nothing more comes."""
    told, quiet = sum(observer.told()), 0
    while quiet < SILENCE:
        try:
            observer.lines.get(timeout=1)
        except queue.Empty:
            pass
        now = sum(observer.told())
        quiet = 0 if now > told else quiet + 1
        told = now
    return told


def latency(build, mode, events):
    with start(build, mode) as observer:
        times = observer.ask(f"latency {events} {uevent_file()}").split()
        return statistics.median(int(time) for time in times) / 1000


def main():
    arguments = argparse.ArgumentParser(usage=__doc__)
    arguments.add_argument("build", nargs="?", default="build", type=pathlib.Path)
    arguments.add_argument("--quick", action="store_true")
    options = arguments.parse_args()
    build, rounds, events = options.build.resolve(), 2 if options.quick else 9, 1000
    print(f"{'burst':<34}{'stock':>16}{'ours':>16}")
    for sent, pause in BURSTS[:1] if options.quick else BURSTS:
        results = [burst(build, mode, sent, pause) for mode in ("stock", "ours")]
        shown = [f"{told:,}{'' if lives else ', dead'}" for told, lives in results]
        name = f"{sent:,} events, {pause // 1000:,} µs each"
        print(f"{name:<34}{shown[0]:>16}{shown[1]:>16}", flush=True)
    pairs = [[latency(build, mode, events) for mode in ("stock", "ours")] for _ in range(rounds)]
    stock, ours = (statistics.median(times) for times in zip(*pairs))
    ratio = statistics.median(own / other for other, own in pairs)
    print(f"{'event to callback':<34}{stock:>13.1f} µs{ours:>13.1f} µs  ours/stock {ratio:.2f}")


if __name__ == "__main__":
    main()
