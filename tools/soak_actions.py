# SPDX-License-Identifier: BSD-3-Clause
"""What is done to the group of the soak, by chance."""

import time

from soak_group import START_LIMIT

# At most so many calls at once: few of them leave little doubt about what has to be.
FLIGHTS = [2, 6, 24]


class Actions:
    """Random actions."""

    def __init__(self, group):
        self.group = group
        self.hosted = group.hosted
        self.random = group.random
        self.devices = group.devices
        self.flight = 1
        self.may_kill = True

    def behaviour(self):
        """What a driver does next, and the device that it nests, if any."""
        pick = self.random
        device = pick.choice(self.devices)
        only = f"only={device} " if pick.random() < 0.8 else ""
        other = pick.choice(self.devices)
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
        if member is self.group.primary and "kill" in words:
            if self.hosted or self.random.random() < 0.7:
                return
        if "kill" in words:
            self.group.counts["scripted kills"] += 1
            member.doomed = True
        if nested:
            self.group.nested.add(nested)
        self.group.note(f"{member.name} driver {words}")
        member.send(f"driver {words}")

    def act(self):
        """One random thing."""
        pick = self.random
        running = self.group.running()
        secondaries = [member for member in running if member is not self.group.primary]
        dice = pick.random()
        if dice < 0.10 and running:
            self.set_driver(pick.choice(running))
        elif dice < 0.105 and running:
            member = pick.choice(running)
            if member is not self.group.primary or pick.random() < 0.2:
                self.group.stop(member)
        elif dice < 0.123 and not self.hosted:
            self.kill_any()
        elif dice < 0.130 and secondaries:
            member = pick.choice(secondaries)
            # What a DPDK application has under way when it ends EAL is its own fault.
            if not (member.calls and self.hosted):
                self.group.leave(member)
        elif dice < 0.16 and len(self.group.members) <= self.group.options.processes:
            self.group.start()
        elif running and sum(len(m.calls) for m in self.group.members) < self.flight:
            self.group.call(pick.choice(running), pick.choice(self.devices),
                            pick.random() < 0.55)

    def kill_any(self):
        if not self.group.members:
            return
        member = self.random.choice(self.group.members)
        if member is not self.group.primary or self.random.random() < 0.1:
            self.group.kill(member)

    def window(self):
        """A few seconds of actions."""
        # Not with Ethernet devices, whose locks DPDK has in shared memory.
        self.may_kill = not self.hosted or self.random.random() < 0.5
        scripted = self.hosted and self.may_kill
        self.devices = [d for d in self.group.devices if not (scripted and "net" in d)]
        self.flight = self.random.choice(FLIGHTS)
        end = time.monotonic() + self.random.uniform(1.0, 4.0)
        while time.monotonic() < end:
            self.act()
            self.group.pump(self.random.expovariate(1 / 0.005))

    def start_stock(self):
        """At rest: stock misses what is attached or detached between its scan and its handler."""
        there = sum(member.stock for member in self.group.members)
        for _ in range(self.group.options.stock - there):
            self.group.start(stock=True)
        self.group.wait(self.group.at_rest, START_LIMIT,
                        "the start of processes without the library")

    def kill_at_rest(self):
        """A hosted secondary that is idle; calls come at once."""
        secondaries = self.group.secondaries()
        if self.hosted and secondaries and self.random.random() < 0.3:
            self.group.kill(self.random.choice(secondaries))
