# SPDX-License-Identifier: BSD-3-Clause
"""What the group of the soak has to be when it has come to rest."""

import collections
import re

from soak_member import Disagreement, outcome

# Only a hang takes so long. Below the 60 s that a driver may take, so that the stacks show it.
CALL_LIMIT = 50
AGREE_LIMIT = 30
# Above the liveness time (2 s) and the lifetime of an idle worker (5 s).
IDLE_LIMIT = 30
# What may be more than after the warm-up, besides what a member costs the primary.
WARM_UP_CHECKS = 4
FDS_PER_MEMBER = 2
RESIDENT_SLACK = 12 << 20

PEER_MEMBER, PEER_OUT_OF_STEP, PEER_STOCK = 1, 4, 5


class Checks:
    """Compares the processes with each other, and with what their callers were told."""

    def __init__(self, group):
        self.group = group
        self.attached = dict.fromkeys(group.devices, False)
        self.lost_steps = 0
        self.last_peers = ""

    def rest(self):
        for member in self.group.members:
            member.continue_at = 0.0
        while True:
            self.group.wait(self.group.at_rest, CALL_LIMIT, "the answers to all calls")
            answers = self.group.ask("driver")
            for member in answers:
                member.doomed = False
            # One may have been ended by its driver meanwhile.
            if self.group.at_rest():
                return

    def states(self):
        """What the primary says of the others, as soon as they are those that live."""
        def listed():
            answer = self.group.ask("peers", [self.group.primary]).get(self.group.primary, "")
            peers = dict(tuple(map(int, word.split(":")[:2])) for word in answer.split()[1:])
            others = {member.peer.pid for member in self.group.secondaries()}
            good = (PEER_MEMBER, PEER_OUT_OF_STEP, PEER_STOCK)
            if peers.keys() == others and all(state in good for state in peers.values()):
                return peers or True
            self.last_peers = answer
            return None

        try:
            return self.group.wait(listed, AGREE_LIMIT, "the primary sees all others as members")
        except Disagreement as error:
            raise Disagreement(f"{error}; it says {self.last_peers}") from None

    def lists(self):
        return {m: frozenset(text.split()) for m, text in self.group.ask("list").items()}

    def differing(self):
        """Devices that only some processes have attached."""
        lists = list(self.lists().values())
        return frozenset.union(*lists) - frozenset.intersection(*lists)

    def wait_for_agreement(self, excepted):
        try:
            self.group.wait(lambda: not self.differing() - excepted, AGREE_LIMIT, "")
        except Disagreement:
            lists = self.lists()
            lines = [f"{device}: attached only in "
                     f"{', '.join(m.name for m, devices in lists.items() if device in devices)}"
                     for device in sorted(self.differing() - excepted)]
            raise Disagreement("; ".join(lines)) from None

    def orphans(self):
        """The devices of calls that may still go on."""
        return {call.device for call in self.group.calls if call.doubtful}

    def compare(self):
        """All agree, but for devices that were reported to be out of step."""
        for member in self.group.members:
            self.group.read_log(member)
        statistics = self.group.ask("statistics", [self.group.primary])[self.group.primary]
        lost = int(re.search(r"out_of_step=(\d+)", statistics)[1])
        if lost > self.lost_steps:
            # Nobody was there to log it where the caller has died.
            self.group.suspects |= self.orphans() | self.group.nested
        self.lost_steps = lost
        if self.group.primary_replaced:
            self.group.suspects |= set(self.group.devices)
        self.wait_for_agreement(self.group.suspects)
        self.compare_with_answers()

    def compare_with_answers(self):
        there = self.lists()[self.group.primary]
        by_device = collections.defaultdict(list)
        for call in self.group.calls:
            by_device[call.device].append(call)
        unsure = self.group.nested | self.group.suspects
        for device in self.group.devices:
            expected = outcome(self.attached[device], by_device[device])
            if expected is None or device in unsure or self.group.primary_replaced:
                continue
            self.group.counts["answers compared"] += 1
            if expected != (device in there):
                raise Disagreement(f"the callers were told that {device} is "
                                   f"{'attached' if expected else 'detached'}, and it is not")

    def must(self, device, attach, codes=(0,)):
        call = self.group.call(self.group.primary, device, attach)
        self.group.wait(lambda: call.code is not None, CALL_LIMIT,
                        f"the answer to call {call.number}")
        if call.code not in codes:
            raise Disagreement(f"call {call.number} at rest failed: {call.code}")

    def heal(self):
        """A success ends the disagreement over a device; orphans come before it in its queue."""
        for device in sorted(self.group.suspects | self.orphans() | self.group.nested):
            self.must(device, attach=True)
            if self.group.random.random() < 0.5:
                self.must(device, attach=False)
        self.group.suspects = set()

    def compare_strictly(self):
        states = self.states()
        self.wait_for_agreement(set())
        there = self.lists()[self.group.primary]
        states = {} if states is True else self.states()
        if states and PEER_OUT_OF_STEP in states.values():
            raise Disagreement(f"one is out of step though all devices agree: {states}")
        self.attached = {device: device in there for device in self.group.devices}

    def check(self):
        self.group.note("check")
        self.rest()
        self.states()
        self.compare()
        self.heal()
        self.compare_strictly()
        self.check_resources()
        self.group.counts["checks"] += 1
        self.group.calls.clear()
        self.group.nested.clear()
        self.group.primary_disturbed = self.group.primary_replaced = False
        for member in self.group.members:
            member.shaken = False

    def check_resources(self, idle=False):
        for member in self.group.members:
            member.checks += 1
            if idle:
                self.group.wait(lambda m=member: not (m.resources() or {}).get("workers"),
                                IDLE_LIMIT, f"{member.name} has no idle workers")
            now = member.resources()
            if now is None:
                continue
            if member is self.group.primary:
                now["fds"] -= FDS_PER_MEMBER * (len(self.group.members) - 1)
            if member.checks <= WARM_UP_CHECKS or member.first is None:
                member.first = now
            self.compare_resources(member, now)

    def compare_resources(self, member, now):
        first = member.first
        if now["fds"] > first["fds"] or now["threads"] > first["threads"]:
            raise Disagreement(f"{member.name} has more than before: {first}, now {now}")
        if now["resident"] > first["resident"] + RESIDENT_SLACK:
            raise Disagreement(f"{member.name} grows: {first}, now {now}")
