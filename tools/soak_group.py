# SPDX-License-Identifier: BSD-3-Clause
"""The group of the soak: its processes, what they are told, and what they say."""

import collections
import errno
import math
import random
import re
import select
import signal
import time

import group as groups
from soak_member import Call, Disagreement, Member

START_LIMIT = 60
KEPT_ACTIONS = 100
LOST_STEP = re.compile(r"vdev:(\w+): .*undoing it failed too|joining the primary: .*?vdev:(\w+)")


class SoakGroup:
    """The group, and what is known of it."""

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
        self.nested = set()
        self.suspects = set()
        self.primary_disturbed = False
        self.primary_replaced = False
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

    # What they are told, and say.

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

    def secondaries(self):
        return [member for member in self.members if member is not self.primary]

    def running(self):
        return [member for member in self.members if member.state == "running"]

    def at_rest(self):
        return (self.primary is not None
                and all(m.state == "running" and not m.calls for m in self.members))

    def read_log(self, member):
        for line in member.new_log():
            found = LOST_STEP.search(line)
            if found:
                self.suspects.add(found[1] or found[2])

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

    def close(self):
        self.group.close()
        self.trace.close()
