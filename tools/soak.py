#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Random attaches and detaches in a group of processes that fail, stop, die, leave and join.

usage: tools/soak.py BUILD_DIR [--mode embedded|hosted] [--seconds 600] [--seed N]
                     [--processes 8] [--stock N]

Every few seconds everything comes to rest; then all processes must have the same devices attached,
and where the answers leave no doubt, those that the callers were told. The processes may not collect
descriptors, threads or memory. The exit status is 1 for a disagreement, with what led to it.

Hosted processes end only at scripted points: one that dies with an EAL lock in shared memory hangs
DPDK itself. So while drivers end their process, no Ethernet device is used, and other secondaries are
killed at rest.
"""

import argparse
import pathlib
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.dont_write_bytecode = True
sys.path.insert(0, str(ROOT / "capi-tests" / "mp"))

from soak_actions import Actions  # noqa: E402
from soak_checks import Checks  # noqa: E402
from soak_group import SoakGroup  # noqa: E402
from soak_member import Disagreement  # noqa: E402


def shortened(stacks):
    """One line for each thread: its functions, innermost first, without those of libraries of Rust."""
    text = ""
    for line in stacks.splitlines():
        frame = re.match(r"#\d+ +(?:0x\w+ in )?([\w?:{}#]+).* (?:at|from) (?:.*/)?(\S+)$", line)
        if line.startswith("Thread"):
            text += f"\n{line}\n   "
        elif frame and not re.search(r"/registry/src/|/rustc/|library/|sysdeps|nptl", line):
            text += f" {frame[1]} ({frame[2]})"
    return text


class Soak:
    """Actions and checks in turns, and what came of them."""

    def __init__(self, group):
        self.group = group
        self.actions = Actions(group)
        self.checks = Checks(group)

    def run(self):
        if self.group.hosted:
            # DPDK ends a secondary whose primary has an Ethernet device listed and never had one.
            self.checks.must("net_null0", attach=True)
            self.checks.must("net_null0", attach=False)
        options = self.group.options
        while len(self.group.members) <= (options.processes - options.stock) // 2:
            self.group.start()
        while time.monotonic() < self.group.begin + options.seconds:
            self.actions.start_stock()
            self.actions.kill_at_rest()
            self.actions.window()
            self.checks.check()
        self.checks.check_resources(idle=True)

    def summary(self):
        names = ["operations", "successes", "failures", "lost calls", "kills", "scripted kills",
                 "stops", "quits", "joins", "checks", "answers compared"]
        text = ", ".join(f"{name} {self.group.counts[name]}" for name in names)
        codes = ", ".join(f"{code} {n}" for code, n in self.group.failures.most_common())
        resources = filter(None, (member.resources() for member in self.group.members))
        resident = max((r["resident"] for r in resources), default=0) >> 20
        return f"{text}; failures by code: {codes or 'none'}; resident at most {resident} MiB"

    def explain(self):
        """Prints what led here."""
        actions = self.group.actions
        print(f"the last {len(actions)} actions (all are in {self.group.scratch}/actions):")
        print("\n".join(actions))
        for member in list(self.group.members):
            print(f"--- {member.name} (pid {member.peer.pid}): {member.state}, waits for "
                  f"{sorted(member.calls)}")
            if member.calls or len(self.group.members) > 1 and not self.group.at_rest():
                self.print_stacks(member)
        for member in list(self.group.members):
            print(f"--- {member.name} (pid {member.peer.pid})")
            if member.state == "running":
                self.explain_member(member)
            print("\n".join(member.log.read_text(errors="replace").splitlines()[-15:]))

    def explain_member(self, member):
        for command in ("list", "peers", "statistics"):
            try:
                print(f"{command}:", self.group.ask(command, [member], 5).get(member))
            except Disagreement as error:
                print(f"{command}: {error}")
                return

    def print_stacks(self, member):
        if shutil.which("gdb"):
            command = ["gdb", "-p", str(member.peer.pid), "-batch", "-ex", "thread apply all bt 25"]
            done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
            print(shortened(done.stdout))


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("build", type=pathlib.Path, help="the meson build directory")
    parser.add_argument("--mode", choices=["embedded", "hosted"], default="embedded")
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--processes", type=int, default=8, help="at most so many secondaries")
    parser.add_argument("--stock", type=int, default=0, metavar="N",
                        help="so many of them without the library; hosted only")
    options = parser.parse_args()
    if options.stock and options.mode != "hosted":
        parser.error("--stock needs --mode hosted")
    return options


def main():
    options = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
    print(f"seed {options.seed}, {options.mode}, {options.seconds:.0f} s, "
          f"{options.processes} secondaries, {options.stock} of them stock", flush=True)
    scratch = pathlib.Path(tempfile.mkdtemp(prefix="rte_hotplug_soak_"))
    soak = Soak(SoakGroup(options, scratch))
    failed = True
    try:
        soak.run()
        failed = False
    except Disagreement as error:
        print(f"FAILED after {time.monotonic() - soak.group.begin:.1f} s: {error}", flush=True)
        soak.explain()
        print(f"FAILED: {error}")
    finally:
        print(soak.summary(), flush=True)
        soak.group.close()
        if not failed:
            shutil.rmtree(scratch, ignore_errors=True)
    print(f"seed {options.seed}: {'FAILED' if failed else 'ok'}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
