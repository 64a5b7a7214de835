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
import collections
import errno
import math
import os
import pathlib
import random
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.dont_write_bytecode = True
sys.path.insert(0, str(ROOT / "capi-tests" / "mp"))

import group as groups  # noqa: E402

# Only a hang takes so long. Below the 60 s that a driver may take, so that the stacks show it.
CALL_LIMIT = 50
START_LIMIT = 60
AGREE_LIMIT = 30
# Above the liveness time (2 s) and the lifetime of an idle worker (5 s).
IDLE_LIMIT = 30
# What may be more than after the warm-up, besides what a member costs the primary.
WARM_UP_CHECKS = 4
FDS_PER_MEMBER = 2
RESIDENT_SLACK = 12 << 20
# At most so many calls at once: few of them leave little doubt about what has to be.
FLIGHTS = [2, 6, 24]
KEPT_ACTIONS = 100

PEER_MEMBER, PEER_OUT_OF_STEP, PEER_STOCK = 1, 4, 5
LOST_STEP = re.compile(r"vdev:(\w+): .*undoing it failed too|joining the primary: .*?vdev:(\w+)")


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


class Disagreement(Exception):
    """The group is not what it has to be."""


@dataclass(eq=False)
class Call:
    """An attach or a detach by one process; `end` is infinite while nobody knows when it is over."""

    number: int
    device: str
    attach: bool
    member: "Member"
    start: float
    end: float = math.inf
    code: int | None = None
    doubtful: bool = False


def overlapping(calls):
    """The calls in groups that overlap in time, in order."""
    result, end = [], -math.inf
    for call in sorted(calls, key=lambda c: c.start):
        if call.start >= end:
            result.append([])
        result[-1].append(call)
        end = max(end, call.end)
    return result


def outcome(before, calls):
    """Whether the device is attached after these calls: None where that cannot be told."""
    state = before
    for together in overlapping(calls):
        done = {call.attach for call in together if call.code == 0}
        if any(call.doubtful or call.code is None for call in together) or len(done) == 2:
            state = None
        elif done:
            state = done.pop()
    return state


@dataclass(eq=False)
class Member:
    """A process of the group."""

    name: str
    peer: groups.Peer
    log: pathlib.Path
    stock: bool = False
    state: str = "starting"  # running, stopped, leaving
    born: float = field(default_factory=time.monotonic)
    continue_at: float = 0.0
    calls: dict = field(default_factory=dict)
    answers: collections.deque = field(default_factory=collections.deque)
    checks: int = 0
    first: dict | None = None
    log_read: int = 0
    doomed: bool = False  # it may be killed at any time
    shaken: bool = False  # it was stopped or leaves: it may give up calls that go on

    def send(self, command, keep=False):
        """Sends a command; with `keep` its answer ends up in the list that is returned."""
        place = []
        self.answers.append(place if keep else None)
        try:
            self.peer.send(command)
        except OSError:
            pass  # it has died: its end is seen when it is read
        return place

    def new_log(self):
        """The lines of its log since the last time."""
        with open(self.log, errors="replace") as file:
            file.seek(self.log_read)
            text = file.read()
            self.log_read = file.tell()
        return text.splitlines()

    def resources(self):
        """Descriptors, threads of ours that are not permanent, other threads, bytes resident;
        nothing once it has ended."""
        try:
            return self.read_resources()
        except OSError:
            return None

    def read_resources(self):
        root = pathlib.Path(f"/proc/{self.peer.pid}")
        names = []
        for task in (root / "task").iterdir():
            try:
                names.append((task / "comm").read_text().strip())
            except OSError:
                pass  # it has just ended
        workers = sum(name.startswith("hotplug-worker") for name in names)
        pages = int((root / "statm").read_text().split()[1])
        return {"fds": len(list((root / "fd").iterdir())), "workers": workers,
                "threads": len(names) - workers, "resident": pages * os.sysconf("SC_PAGESIZE")}


class Soak:
    """The group, what is done to it, and what it has to be."""

    def __init__(self, options, scratch):
        self.options = options
        self.scratch = scratch
        self.hosted = options.mode == "hosted"
        self.random = random.Random(options.seed)
        self.begin = time.monotonic()
        self.counts = collections.Counter()
        self.failures = collections.Counter()
        self.actions = collections.deque(maxlen=KEPT_ACTIONS)
        self.trace = open(scratch / "actions", "w")
        self.members = []
        self.calls = []
        self.number = 0
        self.devices = [f"tdrv{n:02}" for n in range(10)]
        self.devices += ["net_null0", "net_null1"] if self.hosted else ["tdrv10", "tdrv11"]
        self.attached = dict.fromkeys(self.devices, False)
        self.nested = set()
        self.suspects = set()
        self.window_devices = self.devices
        self.flight = 1
        self.primary_disturbed = False
        self.primary_replaced = False
        self.may_kill = True
        self.lost_steps = 0
        with self.logging("primary") as log:
            self.group = groups.Group(options.build, options.mode, log=log)
        self.primary = Member("primary", self.group.primary, self.log_path("primary"))
        self.primary.state = "running"
        self.restart_at = None
        self.members.append(self.primary)

    # Processes.

    def log_path(self, name):
        return self.scratch / f"{name}.log"

    def logging(self, name):
        return open(self.log_path(name), "w")

    def note(self, text):
        line = f"{time.monotonic() - self.begin:9.3f} {text}"
        self.actions.append(line)
        print(line, file=self.trace)

    def start(self, primary=False, stock=False):
        self.number += 1
        name = f"{'primary' if primary else 'stock' if stock else 'secondary'}{self.number}"
        with self.logging(name) as log:
            self.group.log = log
            peer = self.group.start(primary=primary, stock=stock, ready=False)
        member = Member(name, peer, self.log_path(name), stock)
        self.members.append(member)
        self.note(f"start {name} (pid {peer.pid})")
        if primary:
            self.primary = member
        return member

    def ended(self, member):
        """A process has gone, for whatever reason."""
        member.peer.kill()
        status = member.peer.process.returncode
        self.note(f"{member.name} has ended: {status}")
        for call in member.calls.values():
            call.doubtful = True
        self.counts["lost calls"] += len(member.calls)
        self.members.remove(member)
        self.group.peers.remove(member.peer)
        for pipe in (member.peer.process.stdin, member.peer.process.stdout):
            try:
                pipe.close()
            except OSError:
                pass  # what could not be written any more
        self.read_log(member)
        self.expect_end(member, status)
        if member is self.primary:
            self.primary = None
            self.primary_disturbed = self.primary_replaced = True
            self.restart_at = time.monotonic() + self.random.uniform(0, 1.0)

    def expect_end(self, member, status):
        """Raises when there was no reason for a process to end."""
        wanted = status == 0 and member.state == "leaving"
        wanted |= member.state == "starting" and self.primary_disturbed
        if not (wanted or (member.doomed and status == -signal.SIGKILL)):
            log = "".join(f"\n  {line}" for line in
                          member.log.read_text(errors="replace").splitlines()[-15:])
            raise Disagreement(f"{member.name} has ended by itself: status {status}{log}")

    def kill(self, member):
        member.doomed = True
        self.counts["kills"] += 1
        self.note(f"kill {member.name}")
        member.peer.process.kill()

    def stop(self, member):
        longest = 0.3 if self.random.random() < 0.8 else 6.0
        member.state = "stopped"
        member.continue_at = time.monotonic() + self.random.uniform(0.01, longest)
        self.primary_disturbed |= member is self.primary
        member.shaken = True
        self.counts["stops"] += 1
        self.note(f"stop {member.name} for {member.continue_at - time.monotonic():.2f} s")
        member.peer.signal(signal.SIGSTOP)

    def go_on(self, member):
        self.note(f"continue {member.name}")
        member.state = "running"
        member.peer.signal(signal.SIGCONT)

    def leave(self, member):
        self.counts["quits"] += 1
        self.note(f"quit {member.name}")
        member.state = "leaving"
        member.shaken = True
        # DPDK detaches all devices without its lock: a remove may not detach others meanwhile.
        member.send("driver")
        member.send("quit")

    # What they say.

    def pump(self, seconds):
        """Takes what the processes say for a while, and does what is due."""
        end = time.monotonic() + seconds
        while True:
            self.do_what_is_due()
            by_pipe = {member.peer.process.stdout: member for member in self.members}
            left = max(end - time.monotonic(), 0)
            ready, _, _ = select.select(list(by_pipe), [], [], min(left, 0.1))
            for pipe in ready:
                self.listen(by_pipe[pipe])
            if time.monotonic() >= end:
                return

    def listen(self, member):
        try:
            lines = member.peer.lines()
        except EOFError:
            return self.ended(member)
        for line in lines:
            if line.startswith("@"):
                self.answered(member, *line[1:].split())
            elif member.state == "starting" and line == "=ready":
                self.joined(member)
            elif member.state == "starting":
                self.note(f"{member.name} says {line!r}")
            elif line.startswith("=") and member.answers:
                place = member.answers.popleft()
                if place is not None:
                    place.append(line[1:])

    def joined(self, member):
        member.state = "running"
        member.first = member.resources()
        self.counts["joins"] += 1
        self.note(f"{member.name} is ready")

    def answered(self, member, label, _device, code, _ms):
        call = member.calls.pop(int(label))
        call.end, call.code = time.monotonic(), int(code)
        shaken = member.shaken or self.primary_disturbed
        if call.code == -errno.ENOMSG and shaken or member.stock and call.code:
            # The caller did not learn it; the operation may even go on.
            call.doubtful, call.end = True, math.inf
        self.counts["successes" if call.code == 0 else "failures"] += 1
        if call.code:
            self.failures[errno.errorcode.get(-call.code, str(call.code))] += 1
        verb = "attach" if call.attach else "detach"
        self.note(f"{label}: {member.name} {verb} {call.device} -> {call.code}")

    def do_what_is_due(self):
        now = time.monotonic()
        for member in self.members:
            if member.state == "stopped" and now >= member.continue_at:
                self.go_on(member)
        if self.primary is None and now >= self.restart_at:
            self.start(primary=True)

    def wait(self, condition, limit, what):
        """Waits until `condition` gives something true, which it returns."""
        end = time.monotonic() + limit
        while not (result := condition()):
            if time.monotonic() > end:
                raise Disagreement(f"{what}: not within {limit} s")
            self.pump(0.01)
        return result

    def ask(self, command, members=None, limit=START_LIMIT):
        """The answers of processes that are there until the end of the question."""
        members = self.members if members is None else members
        asked = [(member, member.send(command, keep=True)) for member in members]

        def all_answered():
            return all(place or member not in self.members for member, place in asked)

        self.wait(all_answered, limit, f"the answers to {command!r}")
        return {member: place[0] for member, place in asked if place}

    def running(self):
        return [member for member in self.members if member.state == "running"]

    # Random actions.

    def call(self, member, device, attach):
        self.number += 1
        call = Call(self.number, device, attach, member, time.monotonic())
        self.calls.append(call)
        member.calls[call.number] = call
        words = f"attach vdev:{device}{self.devargs(device)}" if attach else f"unplug {device}"
        self.counts["operations"] += 1
        verb = "attach" if attach else "detach"
        self.note(f"{call.number}: {member.name} {verb} {device}")
        member.send(f"run {call.number} {words}")
        return call

    def devargs(self, device):
        if device.startswith("net"):
            return self.random.choice(["", ",size=128", ",copy=1"])
        length = self.random.choice([0, 0, 0, 20, 20, 100, 600, 4096])
        if self.options.stock:
            length = min(length, 100)
        return f",a={'x' * length}" if length else ""

    def behaviour(self):
        """What a driver does next, and the device that it nests, if any."""
        pick = self.random
        device = pick.choice(self.window_devices)
        only = f"only={device} " if pick.random() < 0.8 else ""
        other = pick.choice(self.window_devices)
        slow = pick.choice([5, 20, 100, 300, 800])
        slow = 2500 if pick.random() < 0.03 else slow
        choices = ["", "", "", only + f"probe=-{pick.choice([5, 12, 16, 19])}",
                   only + f"remove=-{pick.choice([5, 12, 16])}",
                   only + "probe=-5 remove=-5", only + f"probe_ms={slow}",
                   only + f"remove_ms={slow}", only + f"probe_ms={slow} probe=-5",
                   f"only={device} nest_probe=vdev:{other}", f"only={device} nest_remove={other}"]
        words = pick.choice(choices)
        if self.may_kill and pick.random() < 0.06:
            what = pick.choice(["kill_probe", "kill_remove"])
            words = f"only={device} {what}={pick.choice([1, 2])} probe_ms=10 remove_ms=10"
        return words, other if "nest" in words else None

    def set_driver(self, member):
        words, nested = self.behaviour()
        if member is self.primary and "kill" in words:
            if self.hosted or self.random.random() < 0.7:
                return
        if "kill" in words:
            self.counts["scripted kills"] += 1
            member.doomed = True
        if nested:
            self.nested.add(nested)
        self.note(f"{member.name} driver {words}")
        member.send(f"driver {words}")

    def act(self):
        """One random thing."""
        pick = self.random
        running = self.running()
        secondaries = [member for member in running if member is not self.primary]
        dice = pick.random()
        if dice < 0.10 and running:
            self.set_driver(pick.choice(running))
        elif dice < 0.105 and running:
            member = pick.choice(running)
            if member is not self.primary or pick.random() < 0.2:
                self.stop(member)
        elif dice < 0.123 and not self.hosted:
            self.kill_any()
        elif dice < 0.130 and secondaries:
            member = pick.choice(secondaries)
            # What a DPDK application has under way when it ends EAL is its own fault.
            if not (member.calls and self.hosted):
                self.leave(member)
        elif dice < 0.16 and len(self.members) <= self.options.processes:
            self.start()
        elif running and sum(len(m.calls) for m in self.members) < self.flight:
            self.call(pick.choice(running), pick.choice(self.window_devices),
                      pick.random() < 0.55)

    def kill_any(self):
        if not self.members:
            return
        member = self.random.choice(self.members)
        if member is not self.primary or self.random.random() < 0.1:
            self.kill(member)

    def window(self):
        """A few seconds of actions."""
        # Not with Ethernet devices, whose locks DPDK has in shared memory.
        self.may_kill = not self.hosted or self.random.random() < 0.5
        scripted = self.hosted and self.may_kill
        self.window_devices = [d for d in self.devices if not (scripted and "net" in d)]
        self.flight = self.random.choice(FLIGHTS)
        end = time.monotonic() + self.random.uniform(1.0, 4.0)
        while time.monotonic() < end:
            self.act()
            self.pump(self.random.expovariate(1 / 0.005))

    # Checks.

    def read_log(self, member):
        for line in member.new_log():
            found = LOST_STEP.search(line)
            if found:
                self.suspects.add(found[1] or found[2])

    def at_rest(self):
        return (self.primary is not None
                and all(m.state == "running" and not m.calls for m in self.members))

    def rest(self):
        for member in self.members:
            member.continue_at = 0.0
        while True:
            self.wait(self.at_rest, CALL_LIMIT, "the answers to all calls")
            answers = self.ask("driver")
            for member in answers:
                member.doomed = False
            # One may have been ended by its driver meanwhile.
            if self.at_rest():
                return

    def states(self):
        """What the primary says of the others, as soon as they are those that live."""
        def listed():
            answer = self.ask("peers", [self.primary]).get(self.primary, "")
            peers = dict(tuple(map(int, word.split(":")[:2])) for word in answer.split()[1:])
            others = {m.peer.pid for m in self.members if m is not self.primary}
            good = (PEER_MEMBER, PEER_OUT_OF_STEP, PEER_STOCK)
            if peers.keys() == others and all(state in good for state in peers.values()):
                return peers or True
            self.last_peers = answer
            return None

        try:
            return self.wait(listed, AGREE_LIMIT, "the primary sees all others as members")
        except Disagreement as error:
            raise Disagreement(f"{error}; it says {self.last_peers}") from None

    def lists(self):
        return {m: frozenset(text.split()) for m, text in self.ask("list").items()}

    def differing(self):
        """Devices that only some processes have attached."""
        lists = list(self.lists().values())
        return frozenset.union(*lists) - frozenset.intersection(*lists)

    def wait_for_agreement(self, excepted):
        try:
            self.wait(lambda: not self.differing() - excepted, AGREE_LIMIT, "")
        except Disagreement:
            lists = self.lists()
            lines = [f"{device}: attached only in "
                     f"{', '.join(m.name for m, devices in lists.items() if device in devices)}"
                     for device in sorted(self.differing() - excepted)]
            raise Disagreement("; ".join(lines)) from None

    def compare(self):
        """All agree, but for devices that were reported to be out of step."""
        for member in self.members:
            self.read_log(member)
        statistics = self.ask("statistics", [self.primary])[self.primary]
        lost = int(re.search(r"out_of_step=(\d+)", statistics)[1])
        if lost > self.lost_steps:
            # Nobody was there to log it where the caller has died.
            self.suspects |= {call.device for call in self.calls if call.doubtful} | self.nested
        self.lost_steps = lost
        if self.primary_replaced:
            self.suspects |= set(self.devices)
        self.wait_for_agreement(self.suspects)
        self.compare_with_answers()

    def compare_with_answers(self):
        there = self.lists()[self.primary]
        by_device = collections.defaultdict(list)
        for call in self.calls:
            by_device[call.device].append(call)
        for device in self.devices:
            expected = outcome(self.attached[device], by_device[device])
            unsure = device in self.nested or device in self.suspects or self.primary_replaced
            if expected is None or unsure:
                continue
            self.counts["answers compared"] += 1
            if expected != (device in there):
                raise Disagreement(f"the callers were told that {device} is "
                                   f"{'attached' if expected else 'detached'}, and it is not")

    def must(self, device, attach, codes=(0,)):
        call = self.call(self.primary, device, attach)
        self.wait(lambda: call.code is not None, CALL_LIMIT, f"the answer to call {call.number}")
        if call.code not in codes:
            raise Disagreement(f"call {call.number} at rest failed: {call.code}")

    def heal(self):
        """A success ends the disagreement over a device; orphans come before it in its queue."""
        orphans = {call.device for call in self.calls if call.doubtful}
        for device in sorted(self.suspects | orphans | self.nested):
            self.must(device, attach=True)
            if self.random.random() < 0.5:
                self.must(device, attach=False)
        self.suspects = set()

    def compare_strictly(self):
        states = self.states()
        self.wait_for_agreement(set())
        there = self.lists()[self.primary]
        states = {} if states is True else self.states()
        if states and PEER_OUT_OF_STEP in states.values():
            raise Disagreement(f"one is out of step though all devices agree: {states}")
        self.attached = {device: device in there for device in self.devices}

    def check(self):
        self.note("check")
        self.rest()
        self.states()
        self.compare()
        self.heal()
        self.compare_strictly()
        self.check_resources()
        self.counts["checks"] += 1
        self.calls.clear()
        self.nested.clear()
        self.primary_disturbed = self.primary_replaced = False
        for member in self.members:
            member.shaken = False

    def check_resources(self, idle=False):
        for member in self.members:
            member.checks += 1
            if idle:
                self.wait(lambda m=member: not (m.resources() or {}).get("workers"), IDLE_LIMIT,
                          f"{member.name} has no idle workers")
            now = member.resources()
            if now is None:
                continue
            if member is self.primary:
                now["fds"] -= FDS_PER_MEMBER * (len(self.members) - 1)
            if member.checks <= WARM_UP_CHECKS or member.first is None:
                member.first = now
            self.compare_resources(member, now)

    def compare_resources(self, member, now):
        first = member.first
        if now["fds"] > first["fds"] or now["threads"] > first["threads"]:
            raise Disagreement(f"{member.name} has more than before: {first}, now {now}")
        if now["resident"] > first["resident"] + RESIDENT_SLACK:
            raise Disagreement(f"{member.name} grows: {first}, now {now}")

    def start_stock(self):
        """At rest: stock misses what is attached or detached between its scan and its handler."""
        for _ in range(self.options.stock - sum(member.stock for member in self.members)):
            self.start(stock=True)
        self.wait(self.at_rest, START_LIMIT, "the start of processes without the library")

    def kill_at_rest(self):
        """A hosted secondary that is idle; calls come at once."""
        secondaries = [member for member in self.members if member is not self.primary]
        if self.hosted and secondaries and self.random.random() < 0.3:
            self.kill(self.random.choice(secondaries))

    def run(self):
        if self.hosted:
            # DPDK ends a secondary whose primary has an Ethernet device listed and never had one.
            self.must("net_null0", attach=True)
            self.must("net_null0", attach=False)
        while len(self.members) <= (self.options.processes - self.options.stock) // 2:
            self.start()
        while time.monotonic() < self.begin + self.options.seconds:
            self.start_stock()
            self.kill_at_rest()
            self.window()
            self.check()
        self.check_resources(idle=True)

    # What was.

    def summary(self):
        names = ["operations", "successes", "failures", "lost calls", "kills", "scripted kills",
                 "stops", "quits", "joins", "checks", "answers compared"]
        text = ", ".join(f"{name} {self.counts[name]}" for name in names)
        codes = ", ".join(f"{code} {n}" for code, n in self.failures.most_common())
        resources = filter(None, (member.resources() for member in self.members))
        resident = max((r["resident"] for r in resources), default=0) >> 20
        return f"{text}; failures by code: {codes or 'none'}; resident at most {resident} MiB"

    def explain(self):
        """Prints what led here."""
        print(f"the last {len(self.actions)} actions (all are in {self.scratch}/actions):")
        print("\n".join(self.actions))
        for member in list(self.members):
            print(f"--- {member.name} (pid {member.peer.pid}): {member.state}, waits for "
                  f"{sorted(member.calls)}")
            if member.calls or len(self.members) > 1 and not self.at_rest():
                self.print_stacks(member)
        for member in list(self.members):
            print(f"--- {member.name} (pid {member.peer.pid})")
            if member.state == "running":
                self.explain_member(member)
            print("\n".join(member.log.read_text(errors="replace").splitlines()[-15:]))

    def explain_member(self, member):
        for command in ("list", "peers", "statistics"):
            try:
                print(f"{command}:", self.ask(command, [member], 5).get(member))
            except Disagreement as error:
                print(f"{command}: {error}")
                return

    def print_stacks(self, member):
        if shutil.which("gdb"):
            command = ["gdb", "-p", str(member.peer.pid), "-batch", "-ex", "thread apply all bt 25"]
            done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
            print(shortened(done.stdout))

    def close(self):
        self.group.close()
        self.trace.close()


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
    soak = Soak(options, scratch)
    failed = True
    try:
        soak.run()
        failed = False
    except Disagreement as error:
        print(f"FAILED after {time.monotonic() - soak.begin:.1f} s: {error}", flush=True)
        soak.explain()
        print(f"FAILED: {error}")
    finally:
        print(soak.summary(), flush=True)
        soak.close()
        if not failed:
            shutil.rmtree(scratch, ignore_errors=True)
    print(f"seed {options.seed}: {'FAILED' if failed else 'ok'}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
