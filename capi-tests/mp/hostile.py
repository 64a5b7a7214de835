#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Processes that speak nonsense, or too much, or not at all: none may harm the others.

usage: hostile.py BUILD_DIR
"""

import array
import contextlib
import errno
import os
import pathlib
import random
import resource
import select
import signal
import socket
import struct
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import channel_wire as wire
import eal_wire
from channel_wire import End, Ended
from group import Group, Peer
from tap import Tap, check, same

BUILD = sys.argv[1] if len(sys.argv) > 1 else "build"
LIMIT = 30
NOBODY = 65534
DEVICE = "tdrv0"
TARGET = f"vdev:{DEVICE}".encode()
NONSENSE = "makes no sense"
# How many threads the library may run for others, and some that idle.
MOST_THREADS = 80
# The same every time.
RANDOM = random.Random(1)

tap = Tap()


def until(condition, what, limit=LIMIT):
    end = time.monotonic() + limit
    while not condition():
        check(time.monotonic() < end, f"not within {limit} s: {what}")
        time.sleep(0.01)


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
        for caller in (self.primary, self.secondary):
            same(caller(f"attach vdev:{DEVICE}"), "0", "attach")
            same(self.group.attached(), [[DEVICE], [DEVICE]], "attached")
            same(caller(f"detach {DEVICE}"), "0", "detach")
            same(self.group.attached(), [[], []], "attached")

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


def closes(world, data, joined=False):
    """These bytes cost their sender the connection, and nobody else anything."""
    world.log.mark()
    with world.counts(bad=1, departures=int(joined)):
        with (world.member() if joined else world.connect()) as end:
            # The instance is known only now.
            data = data(end.instance) if callable(data) else data
            end.raw(data)
            check(end.is_closed(), "the connection is closed")
        world.log.wait_for(NONSENSE)


GARBAGE = [
    b"x", b"RTHP", bytes(31), bytes(32), bytes(33), b"\xff" * 600, b"THRP" * 16384,
    RANDOM.randbytes(31), RANDOM.randbytes(32), RANDOM.randbytes(4000), RANDOM.randbytes(65536),
]


@hostile("garbage, a wrong magic")
def garbage(world):
    for data in GARBAGE:
        closes(world, data)
        closes(world, data, joined=True)
    closes(world, wire.frame(wire.PING, magic=b"PHTR"))


@hostile("an empty frame")
def empty(world):
    closes(world, b"")
    closes(world, b"", joined=True)


@hostile("frames that are cut off")
def truncated(world):
    whole = wire.hello(world.embedded, eal_socket=b"socket")
    for length in range(1, len(whole)):
        if length in (1, 8, 31, 32, 33, 47, 48, 51, 52) or length == len(whole) - 1:
            closes(world, whole[:length])
    call = wire.request(eal_wire.ATTACH, b"tdrv0", TARGET, lineage=(1, 2))
    for length in (1, 135, 136, 140, 144, 148, 160, len(call) - 1):
        closes(world, lambda i, n=length: wire.frame(wire.CALL, i, 1, call[:n]), joined=True)


@hostile("frames of more than 65536 bytes")
def oversized(world):
    for size in (65537 - wire.HEADER.size, 100000, 180000):
        body = bytes(size)
        closes(world, wire.frame(wire.HELLO, body=body))
        closes(world, lambda i, b=body: wire.frame(wire.PING, i, body=b), joined=True)
    closes(world, lambda i: wire.frame(wire.PING, i, body=bytes(65504)), joined=True)


@hostile("lengths and counts that lie")
def lies(world):
    for length in (1, 0x7FFFFFFF, 0xFFFFFFFF):
        closes(world, wire.frame(wire.PING, length=length))
        closes(world, lambda i, n=length: wire.frame(wire.PING, i, length=n), joined=True)
    huge = struct.pack("<QQI", 1, world.embedded, 0xFFFFFFFF)
    closes(world, wire.frame(wire.HELLO, body=huge))
    for count in (1, 2**32, 2**61, 2**64 - 1):
        call = wire.request(eal_wire.ATTACH, b"tdrv0", TARGET, count=count)
        closes(world, lambda i, c=call: wire.frame(wire.CALL, i, 1, c), joined=True)
    flag = struct.pack("<QQ", 1, 2) + wire.text(b"")
    closes(world, wire.frame(wire.HELLO, body=flag))


@hostile("devargs without a NUL, names with one, unknown steps")
def strings(world):
    for body in (
        struct.pack("=i128si", 0, b"x" * 128, 0) + wire.request(0, b"d", b"d")[136:],
        wire.request(eal_wire.ATTACH, b"td\0rv0", TARGET),
        wire.request(4, b"tdrv0", TARGET),
        wire.request(-1, b"tdrv0", TARGET),
        wire.request(eal_wire.ATTACH_ROLLBACK, b"tdrv0", TARGET),
        wire.request(eal_wire.DETACH_ROLLBACK, b"tdrv0", TARGET),
        wire.request(eal_wire.ATTACH, b"tdrv0", TARGET) + b"more",
    ):
        closes(world, lambda i, b=body: wire.frame(wire.CALL, i, 1, b), joined=True)


@hostile("another version is refused, and told why")
def version(world):
    for theirs in (0, 2, 65535):
        world.log.mark()
        with world.counts(refused=1), world.connect() as end:
            end.raw(wire.frame(wire.HELLO, version=theirs, body=b"what may be new in it"))
            _, why = end.wait_for(wire.REFUSED)
            check(f"version {theirs}".encode() in why, f"{why} names the version")
            check(end.is_closed(), "the connection is closed")
            world.log.wait_for(f"refused: it speaks version {theirs}")


@hostile("another kind of process is refused, and told why")
def kind(world):
    world.log.mark()
    with world.counts(refused=1), world.connect() as end:
        end.raw(wire.hello(not world.embedded))
        _, why = end.wait_for(wire.REFUSED)
        check(b"DPDK" in why, f"{why} says why")
        check(end.is_closed(), "the connection is closed")
        world.log.wait_for("a process was refused")


def bodies():
    call = wire.request(eal_wire.ATTACH, b"tdrv0", TARGET)
    answer = wire.reply(eal_wire.ATTACH, 0)
    return {
        wire.WELCOME: b"", wire.REFUSED: wire.text(b"no"), wire.SYNC: wire.sync(b"tdrv0", TARGET),
        wire.SYNC_END: b"", wire.SYNCED: struct.pack("<Q", 0), wire.REQUEST: call, wire.REPLY: answer,
        wire.CALL: call, wire.RESULT: answer, wire.CANCEL: b"", wire.PING: b"", wire.PONG: b"",
        wire.BYE: b"",
    }


@hostile("whatever comes before a hello")
def before_hello(world):
    for number, body in bodies().items():
        closes(world, wire.frame(number, body=body))


@hostile("a primary's frames to the primary, two hellos, unknown kinds")
def out_of_place(world):
    for number in (wire.WELCOME, wire.REFUSED, wire.SYNC, wire.SYNC_END, wire.REQUEST, wire.RESULT):
        body = bodies()[number]
        closes(world, lambda i, k=number, b=body: wire.frame(k, i, 1, b), joined=True)
    closes(world, lambda i: wire.hello(world.embedded), joined=True)
    for number in (0, 15, 65535):
        closes(world, lambda i, k=number: wire.frame(k, i), joined=True)


@hostile("another instance")
def instance(world):
    for number, body in bodies().items():
        closes(world, lambda i, k=number, b=body: wire.frame(k, i + 1, 1, b), joined=True)


def answered_with(world, end, *answers):
    """The primary's attach while this member answers so: what the caller is told."""
    world.primary(f"start-attach vdev:{DEVICE}")
    number, _ = end.wait_for(wire.REQUEST)
    for step, code, unchanged in answers:
        end.send(wire.REPLY, number, wire.reply(step, code, unchanged))
    return number


@hostile("an operation answered twice, and again when it is over")
def replayed(world):
    with world.counts(late=3, departures=1), world.member() as end:
        number = answered_with(world, end, (0, 0, 0), (0, -5, 0), (2, -5, 0))
        # Until it is over, what comes more is ignored; afterwards it is late.
        same(world.primary.finished()[1], 0, "attach")
        late = world.counters()["late"]
        for _ in range(3):
            end.send(wire.REPLY, number, wire.reply(eal_wire.ATTACH, -5))
        until(lambda: world.counters()["late"] >= late + 3, "late answers counted")
        same(world.group.attached(), [[DEVICE], [DEVICE]], "attached")
        end.send(wire.PING)
        end.wait_for(wire.PONG)
    same(world.primary(f"detach {DEVICE}"), "0", "detach")


@hostile("answers to operations that were never asked for")
def unasked(world):
    with world.counts(late=5, departures=1), world.member() as end:
        for number in (0, 1, 2**64 - 1, 7, 7):
            end.send(wire.REPLY, number, wire.reply(eal_wire.DETACH, -5))
        end.send(wire.CANCEL, 99)
        end.send(wire.SYNCED, body=struct.pack("<Q", 0))
        end.send(wire.PING)
        end.wait_for(wire.PONG)


@hostile("an answer to another step does not count")
def other_step(world):
    with world.member() as end:
        number = answered_with(world, end, (1, 0, 0), (2, 0, 0), (3, 0, 0), (3, -5, 0))
        end.send(wire.PING)
        end.wait_for(wire.PONG)
        end.send(wire.REPLY, number, wire.reply(eal_wire.ATTACH, -19))
        same(world.primary.finished()[1], -19, "attach")
        same(world.group.attached(), [[], []], "attached")


@hostile("strange results become errors")
def strange_results(world):
    for code in (1, 7, 2**31 - 1, -2**31, -4095, -100000):
        with world.member() as end:
            answered_with(world, end, (0, code, 0))
            result = world.primary.finished()[1]
            check(result < 0, f"a result of {code} is told as {result}")
            same(world.group.attached(), [[], []], "attached")


@hostile("calls for devices that cannot be")
def nonsense_calls(world):
    with world.counts(departures=1), world.member() as end:
        calls = [
            (eal_wire.ATTACH, b"", b""), (eal_wire.ATTACH, b"x", b"nobus:x"),
            (eal_wire.ATTACH, b"x", b"vdev:"), (eal_wire.ATTACH, b"x", b"\xff" * 100),
            (eal_wire.DETACH, b"", b""), (eal_wire.DETACH, b"y" * 10000, b""),
            (eal_wire.DETACH, b"tdrv7", b"vdev:tdrv7"),
        ]
        for number, (step, name, devargs) in enumerate(calls):
            end.send(wire.CALL, number, wire.request(step, name, devargs, lineage=(5, 6)))
            got, body = end.wait_for(wire.RESULT)
            _, _, code = eal_wire.REQUEST_LAYOUT.unpack_from(body)
            same(got, number, "call")
            check(code < 0, f"{step} {name[:20]} {devargs[:20]} is told {code}")


@hostile("descriptors that come along are closed")
def descriptors(world):
    ours, theirs = os.pipe()
    passed = array.array("i", [theirs] * 100)
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, passed)]
    with world.connect() as end:
        end.socket.sendmsg([wire.hello(world.embedded)], rights)
        end.wait_for(wire.WELCOME)
        end.instance = end.last_instance
        end.send(wire.SYNCED, body=struct.pack("<Q", 0))
        for _ in range(10):
            end.socket.sendmsg([wire.frame(wire.PING, end.instance)], rights)
            end.wait_for(wire.PONG)
        os.close(theirs)
        ready, _, _ = select.select([ours], [], [], LIMIT)
        check(ready and os.read(ours, 1) == b"", "nobody keeps the other end of the pipe")
    os.close(ours)


@hostile("500 connections that say nothing")
def silent(world):
    with contextlib.ExitStack() as stack:
        for _ in range(500):
            stack.enter_context(world.connect())
        with world.member():
            pass
        world.works()
        late = world.group.start()
        same(late("attach vdev:tdrv1"), "0", "attach by one that has just started")
        same(late("detach tdrv1"), "0", "detach")
        late("quit")
        late.process.wait(LIMIT)


@hostile("no descriptors left")
def no_descriptors(world):
    pid = world.primary.pid
    limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    used = world.resources(world.primary)[0]
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (used + 8, limits[1]))
    refused = world.counters()["refused"]
    world.log.mark()
    try:
        with contextlib.ExitStack() as stack:
            ends = [stack.enter_context(world.connect()) for _ in range(60)]
            # One that stayed in the queue would keep the primary's thread busy.
            check(ends[-1].is_closed(), "the last one is turned away")
            until(lambda: world.counters()["refused"] > refused, "connections refused")
            world.log.wait_for("there are no descriptors left")
            world.works()
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)


@hostile("one that floods and never reads")
def flood(world):
    world.log.mark()
    with world.counts(departures=1), world.member() as end:
        before = world.resources(world.primary)[2]
        with contextlib.suppress(Ended):
            for _ in range(200000):
                end.send(wire.PING)
            check(False, "200000 pings, and no end")
        world.log.wait_for("a process does not read")
        pages = world.resources(world.primary)[2] - before
        check(pages < 8192, f"it costs {pages} pages")


@hostile("calls without end do not make threads without end")
def calls(world):
    with world.counts(departures=1), world.member() as end:
        # Nobody answers the first: the others wait for the device.
        for number in range(1000):
            body = wire.request(eal_wire.ATTACH, b"tdrv0", TARGET, lineage=(number + 1,))
            end.send(wire.CALL, number, body)
        end.wait_for(wire.REQUEST)
        threads = world.resources(world.primary)[1]
        end.socket.close()
        check(threads <= MOST_THREADS, f"{threads} threads")
    # The first call goes on, those that waited died with their caller.
    until(lambda: world.group.attached() == [[DEVICE], [DEVICE]], "attached in both")
    same(world.primary(f"detach {DEVICE}"), "0", "detach")
    same(world.group.attached(), [[], []], "attached")


@hostile("a member that does nothing is found out once")
def lazy(world):
    with world.counts(departures=1, stopped=1), world.member():
        for _ in range(3):
            same(world.primary(f"attach vdev:{DEVICE}"), "-42", "attach")
            same(world.group.attached(), [[], []], "attached")


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


def as_nobody(directory, work):
    """What work returns there: a small number."""
    child = start_as_nobody(directory, work)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def connect_errno(name):
    try:
        with End.to(name):
            return 0
    except OSError as error:
        return error.errno


def is_cut_off(name, embedded):
    with End.to(name) as end:
        with contextlib.suppress(Ended):
            end.raw(wire.hello(embedded))
        return 0 if end.is_closed() else 1


@hostile("another user is kept out by permissions, and else by credentials")
def other_user(world):
    same(oct(world.directory.stat().st_mode & 0o777), "0o700", "mode of the directory")
    same(oct(world.path.stat().st_mode & 0o777), "0o600", "mode of the socket")
    with world.counts():
        same(as_nobody(world.directory, lambda: connect_errno("hotplug")), errno.EACCES,
             "errno at the directory")
        world.directory.chmod(0o711)
        same(as_nobody(world.directory, lambda: connect_errno("hotplug")), errno.EACCES,
             "errno at the socket")
    world.log.mark()
    world.path.chmod(0o666)
    with world.counts(refused=1):
        same(as_nobody(world.directory, lambda: is_cut_off("hotplug", world.embedded)), 0,
             "refused")
        world.log.wait_for("a process of another user was refused")
    world.path.chmod(0o600)
    world.directory.chmod(0o700)


SENSELESS = {
    "an unknown step": eal_wire.request(99, b"vdev:tdrv0"),
    "a negative step": eal_wire.request(-1, b"vdev:tdrv0"),
    "no NUL": eal_wire.request(0, b"x" * 128),
}
WRONG_LENGTHS = (0, 4, 137, 256)


def eal_sockets(world):
    """Of the primary, and of the secondary."""
    secondary = world.directory.glob(f"mp_socket_{world.secondary.pid}_*")
    return world.directory / "mp_socket", next(secondary)


@hostile("requests of the wrong length in EAL's datagrams", modes=("hosted",))
def wrong_lengths(world):
    param = eal_wire.request(0, b"vdev:tdrv0")
    for path in eal_sockets(world):
        for length in WRONG_LENGTHS:
            world.log.mark()
            with world.counts():
                eal_wire.send(path, eal_wire.datagram(eal_wire.REQUEST, param, length))
                world.log.wait_for("Fail to handle message: eal_dev_mp_request")
            same(world.group.attached(), [[], []], f"attached after length {length}")


@hostile("senseless requests in EAL's datagrams are refused", modes=("hosted",))
def senseless_datagrams(world):
    own = world.directory / f"test_{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as asker:
        asker.bind(str(own))
        asker.settimeout(LIMIT)
        for is_secondary, path in enumerate(eal_sockets(world)):
            for what, param in SENSELESS.items():
                with world.counts(bad=0 if is_secondary else 1):
                    asker.sendto(eal_wire.datagram(eal_wire.REQUEST, param), str(path))
                    kind, _, _, _, answer = eal_wire.LAYOUT.unpack(asker.recv(4096))
                    _, _, result = eal_wire.REQUEST_LAYOUT.unpack_from(answer)
                    same((kind, result), (eal_wire.REPLY, -errno.EINVAL), what)
                same(world.group.attached(), [[], []], f"attached after {what}")
    own.unlink()


@hostile("strange requests in EAL's datagrams are answered", modes=("hosted",))
def strange_datagrams(world):
    own = world.directory / f"test_{os.getpid()}"
    secondary = next(world.directory.glob(f"mp_socket_{world.secondary.pid}_*"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as asker:
        asker.bind(str(own))
        asker.settimeout(LIMIT)
        for path, step, devargs, good in (
            (world.directory / "mp_socket", eal_wire.ATTACH_ROLLBACK, TARGET, False),
            (world.directory / "mp_socket", eal_wire.DETACH_ROLLBACK, TARGET, False),
            (world.directory / "mp_socket", eal_wire.ATTACH, b"nobus:x", False),
            (world.directory / "mp_socket", eal_wire.DETACH, b"", False),
            # One with the library obeys its primary's own channel only.
            (secondary, eal_wire.ATTACH, TARGET, True),
        ):
            data = eal_wire.datagram(eal_wire.REQUEST, eal_wire.request(step, devargs))
            asker.sendto(data, str(path))
            kind, _, _, _, param = eal_wire.LAYOUT.unpack(asker.recv(4096))
            _, _, result = eal_wire.REQUEST_LAYOUT.unpack_from(param)
            same(kind, eal_wire.REPLY, "kind of datagram")
            check(good == (result == 0) and result <= 0, f"{step} {devargs} is told {result}")
            same(world.group.attached(), [[], []], "attached")
    own.unlink()


class FakePrimary:
    """Listens where a primary would, and does with each connection what it is told."""

    def __init__(self, path, behave):
        self.path = path
        self.behave = behave
        self.failure = None
        path.unlink(missing_ok=True)
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.listener.bind(str(path))
        self.listener.listen(16)
        self.ending = threading.Event()
        self.thread = threading.Thread(target=self._serve)
        self.thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.ending.set()
        self.thread.join()
        self.listener.close()
        self.path.unlink(missing_ok=True)

    def _serve(self):
        while not self.ending.is_set():
            if not select.select([self.listener], [], [], 0.05)[0]:
                continue
            with End(self.listener.accept()[0]) as end:
                try:
                    number_of_hello(end)
                    self.behave(end, self.ending)
                except Ended:
                    pass


def number_of_hello(end):
    kind, _, _ = end.receive()
    same(kind, wire.HELLO, "first frame")


def refuses(end, _):
    end.send(wire.REFUSED, body=wire.text(b"not you"))


def other_version(end, _):
    end.send(wire.WELCOME, version=9)
    end.is_closed()


def speaks_garbage(end, _):
    end.raw(b"\xff" * 100)
    end.is_closed()


def says_nothing(end, _):
    end.is_closed()


def dies_after_welcome(end, _):
    end.send(wire.WELCOME, instance=3)


def garbage_after_welcome(end, _):
    end.send(wire.WELCOME, instance=3)
    end.raw(b"x" * 100)
    end.is_closed()


def other_instance(end, _):
    end.send(wire.WELCOME, instance=3)
    end.send(wire.SYNC_END, instance=4)
    end.is_closed()


def requests_first(end, _):
    end.send(wire.REQUEST, 1, wire.request(eal_wire.ATTACH, b"tdrv0", TARGET))
    end.is_closed()


def says_nothing_large(end, _):
    end.send(wire.WELCOME, instance=3, body=bytes(70000))
    end.is_closed()


# What the fake primary does, what the secondary's log says.
BAD_PRIMARIES = [
    ("refuses", refuses, "cannot join the primary: not you"),
    ("has another version", other_version, "it speaks version 9 of the channel, this process 1"),
    ("speaks garbage", speaks_garbage, "a frame of the primary makes no sense"),
    ("sends too much", says_nothing_large, "a frame of the primary makes no sense"),
    ("begins with a request", requests_first, "a frame of the primary makes no sense"),
    ("says nothing", says_nothing, "no answer within 10 s"),
    ("dies after its welcome", dies_after_welcome, "it has gone"),
    ("speaks garbage after its welcome", garbage_after_welcome, "makes no sense"),
    ("changes its instance", other_instance, "makes no sense"),
]


def embedded_secondary(directory, log):
    command = [str(pathlib.Path(BUILD).resolve() / "capi-tests/mp/peer-embedded"),
               "--file-prefix", directory.name, "--proc-type", "secondary"]
    return Peer(command, dict(os.environ), log.file)


@contextlib.contextmanager
def runtime_directory(name):
    directory = pathlib.Path("/var/run/dpdk") / f"hotplug_hostile_{os.getpid()}_{name}"
    directory.mkdir(mode=0o700, parents=True)
    try:
        yield directory
    finally:
        for entry in directory.iterdir():
            entry.unlink()
        directory.rmdir()


def joins_embedded(behave, message):
    """rte_eal_init fails, and says why."""
    log = Log()
    with runtime_directory("fake") as directory, \
            FakePrimary(directory / "hotplug", behave):
        peer = embedded_secondary(directory, log)
        try:
            same(peer.answer(), "init failed", "answer")
            same(peer.process.wait(LIMIT), 1, "exit status")
            check(message in log.new(), f"{message!r} in {log.new()!r}")
        finally:
            peer.kill()


def joins_hosted(behave, message):
    """A DPDK secondary goes on as with a primary that does not have the library."""
    log = Log()
    with Group(BUILD, "stock", log=log.file) as group:
        directory = pathlib.Path("/var/run/dpdk") / group.prefix
        with FakePrimary(directory / "hotplug", behave):
            secondary = group.start(stock=False)
            check(message in log.new(), f"{message!r} in {log.new()!r}")
            for caller in (group.primary, secondary):
                same(caller(f"attach vdev:{DEVICE}"), "0", "attach")
                same(group.attached(), [[DEVICE], [DEVICE]], "attached")
                same(caller(f"detach {DEVICE}"), "0", "detach")


for _what, _behave, _message in BAD_PRIMARIES:
    for _mode, _join in (("embedded", joins_embedded), ("hosted", joins_hosted)):
        tap.case(f"{_mode}: a primary that {_what}")(
            lambda join=_join, behave=_behave, message=_message: join(behave, message))


def joined_by(directory, log, work, **options):
    """A secondary that has joined a fake primary, which then does the work."""
    done = threading.Event()
    failures = []

    def behave(end, ending):
        if done.is_set():
            return end.send(wire.REFUSED, body=wire.text(b"over"))
        try:
            end.send(wire.WELCOME, instance=3)
            end.instance = 3
            work(end)
        except Exception as error:
            failures.append(error)
        finally:
            done.set()
        ending.wait(LIMIT)

    with FakePrimary(directory / "hotplug", behave):
        peer = embedded_secondary(directory, log)
        try:
            same(peer.answer(), "ready", "answer")
            check(done.wait(2 * LIMIT), "the fake primary has done its work")
            check(not failures, f"{failures}")
            yield peer
        finally:
            peer.kill()


@tap.case("embedded: devices to be brought in line that cannot be do not keep a secondary out")
def bad_sync():
    def work(end):
        for name, devargs in ((b"", b""), (b"x", b"nobus:x"), (b"", None), (b"nothing0", None),
                              (b"tdrv0", b"vdev:tdrv0"), (b"y" * 5000, b"vdev:" + b"y" * 5000)):
            end.send(wire.SYNC, body=wire.sync(name, devargs))
        end.send(wire.SYNC_END)
        end.wait_for(wire.SYNCED)

    log = Log()
    with runtime_directory("sync") as directory:
        for peer in joined_by(directory, log, work):
            same(peer.attached(), [DEVICE], "attached")
            check("joining the primary: " in log.new(), f"the log has {log.new()!r}")


@tap.case("embedded: a secondary answers strange requests, and counts strange answers")
def strange_requests():
    def work(end):
        end.send(wire.SYNC_END)
        end.wait_for(wire.SYNCED)
        for number, (step, devargs, good) in enumerate((
            (eal_wire.ATTACH, b"nobus:x", False), (eal_wire.ATTACH, b"", False),
            (eal_wire.ATTACH_ROLLBACK, TARGET, True), (eal_wire.DETACH_ROLLBACK, TARGET, True),
            (eal_wire.ATTACH, TARGET, True),
        )):
            end.send(wire.REQUEST, number, wire.request(step, b"tdrv0", devargs, lineage=(9, 8)))
            got, body = end.wait_for(wire.REPLY)
            _, _, code = eal_wire.REQUEST_LAYOUT.unpack_from(body)
            same(got, number, "operation")
            check(good == (code == 0) and code <= 0, f"{step} {devargs} is answered {code}")
        for number in range(4):
            end.send(wire.RESULT, number + 100, wire.reply(eal_wire.ATTACH, 0))
        end.send(wire.PING)
        end.wait_for(wire.PONG)

    log = Log()
    with runtime_directory("requests") as directory:
        for peer in joined_by(directory, log, work):
            same(peer.attached(), [DEVICE], "attached")
            words = peer("statistics").split()
            check("late=4" in words and "bad=0" in words, f"counters: {words}")


@tap.case("embedded: a secondary does not obey another user's primary")
def other_users_primary():
    log = Log()
    with runtime_directory("user") as directory:
        directory.chmod(0o777)
        ready, told = os.pipe()

        def listen():
            listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            listener.bind("hotplug")
            listener.listen(4)
            os.write(told, b"x")
            with End(listener.accept()[0]) as end, contextlib.suppress(Ended):
                end.send(wire.WELCOME, instance=3)
                end.send(wire.SYNC, instance=3, body=wire.sync(b"tdrv0", TARGET))
                end.send(wire.SYNC_END, instance=3)
                end.is_closed()
            return 0

        child = start_as_nobody(directory, listen)
        os.close(told)
        peer = None
        try:
            same(os.read(ready, 1), b"x", "it listens")
            peer = embedded_secondary(directory, log)
            same(peer.answer(), "init failed", "answer")
            same(peer.process.wait(LIMIT), 1, "exit status")
            check("it is another user's process" in log.new(), f"the log has {log.new()!r}")
        finally:
            if peer is not None:
                peer.kill()
            os.close(ready)
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


def main():
    with contextlib.ExitStack() as stack:
        for mode in ("embedded", "hosted"):
            world = World(mode)
            stack.callback(world.group.close)
            add_cases(world)
        only = sys.argv[2:]
        tap.cases = [case for case in tap.cases if not only or any(o in case[0] for o in only)]
        return tap.run()


def add_cases(world):
    def attack(function):
        try:
            function(world)
        finally:
            # What a failed case left attached is not the next one's fault.
            world.primary(f"detach {DEVICE}")
        world.is_unharmed()

    for name, modes, function in CASES:
        if world.mode in modes:
            tap.case(f"{world.mode}: {name}")(lambda function=function: attack(function))

    @tap.case(f"{world.mode}: no thread is left over")
    def threads():
        for peer, before in zip(world.group.peers, world.threads):
            until(lambda peer=peer, before=before: world.resources(peer)[1] <= before,
                  f"{before} threads")


if __name__ == "__main__":
    sys.exit(main())
