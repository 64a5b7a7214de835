# SPDX-License-Identifier: BSD-3-Clause
"""What the hostile cases share: groups under attack, and other users."""

import contextlib
import os
import pathlib
import sys
import tempfile

from channel_wire import End
from group import Group
from tap import Tap, same, until

BUILD = sys.argv[1] if len(sys.argv) > 1 else "build"
LIMIT = 30
NOBODY = 65534
DEVICE = "tdrv0"
TARGET = f"vdev:{DEVICE}".encode()

tap = Tap()


def works(group, callers):
    """The two of a group attach and detach, from each of these, and agree."""
    for caller in callers:
        same(caller(f"attach vdev:{DEVICE}"), "0", "attach")
        same(group.attached(), [[DEVICE], [DEVICE]], "attached")
        same(caller(f"detach {DEVICE}"), "0", "detach")
        same(group.attached(), [[], []], "attached")


class Log:
    """What the processes of a group write to standard error."""

    def __init__(self):
        # Every writer appends, whatever is read here.
        self.file = tempfile.NamedTemporaryFile("ab")
        self.seen = 0

    def new(self):
        with open(self.file.name, "rb") as file:
            file.seek(self.seen)
            return file.read().decode(errors="replace")

    def mark(self):
        self.seen = os.path.getsize(self.file.name)

    def wait_for(self, text):
        until(lambda: text in self.new(), f"{text!r} in the log, which has {self.new()!r}")


class World:
    """A group under attack: a primary and a secondary that must not notice."""

    def __init__(self, mode):
        self.mode = mode
        self.embedded = mode == "embedded"
        self.log = Log()
        self.group = Group(BUILD, mode, 1, log=self.log.file)
        self.primary, self.secondary = self.group.peers
        self.directory = pathlib.Path("/var/run/dpdk") / self.group.prefix
        self.path = self.directory / "hotplug"
        self.works()
        self.descriptors = [self.resources(peer)[0] for peer in self.group.peers]
        self.threads = [self.resources(peer)[1] for peer in self.group.peers]

    def resources(self, peer):
        return [int(word) for word in peer("resources").split()]

    def counters(self, peer=None):
        words = (peer or self.primary)("statistics").split()
        return {name: int(value) for name, value in (word.split("=") for word in words)}

    def connect(self):
        return End.to(self.path)

    @contextlib.contextmanager
    def member(self, **options):
        with self.connect() as end:
            joins = self.counters()["joins"]
            end.join(self.embedded, **options)
            until(lambda: self.counters()["joins"] > joins, "it joins")
            yield end

    @contextlib.contextmanager
    def counts(self, **changes):
        """What is done meanwhile changes these counters so much, and no others of this kind."""
        watched = ("bad", "refused", "late", "stopped", "out_of_step")
        before = self.counters()
        expected = {name: before[name] + changes.get(name, 0) for name in watched}
        yield
        now = self.counters
        until(lambda: now()["departures"] >= before["departures"] + changes.get("departures", 0),
              "departures counted")
        with contextlib.suppress(AssertionError):
            until(lambda: {name: now()[name] for name in watched} == expected, "", 5)
        same({name: now()[name] for name in watched}, expected, "counters")

    def works(self):
        """The group attaches and detaches, from both, and all agree."""
        works(self.group, (self.primary, self.secondary))

    def is_unharmed(self):
        self.works()
        for peer, before in zip(self.group.peers, self.descriptors):
            until(lambda peer=peer, before=before: self.resources(peer)[0] <= before,
                  f"{before} descriptors, not {self.resources(peer)[0]}")
        same(len(self.primary("peers").split()), 2, "peers")


CASES = []


def hostile(name, modes=("embedded", "hosted")):
    def add(function):
        CASES.append((name, modes, function))
        return function

    return add


def start_as_nobody(directory, work):
    """A child of another user in this directory, whoever may enter those above it."""
    child = os.fork()
    if child == 0:
        code = 99
        try:
            os.chdir(directory)
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            code = work()
        except BaseException as error:
            print(f"# {error!r}", flush=True)
        finally:
            os._exit(code)
    return child
