# SPDX-License-Identifier: BSD-3-Clause
"""The processes of the soak and their calls."""

import collections
import math
import os
import pathlib
import time
from dataclasses import dataclass, field

from group import Peer


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
    peer: Peer
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
