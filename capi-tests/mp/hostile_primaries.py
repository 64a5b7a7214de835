# SPDX-License-Identifier: BSD-3-Clause
"""Primaries that refuse, speak nonsense or are another user's; secondaries join none of them."""

import contextlib
import os
import pathlib
import select
import signal
import socket
import threading

import channel_wire as wire
import eal_wire
from channel_wire import End, Ended
from group import Group, Peer
from hostile_world import BUILD, DEVICE, LIMIT, TARGET, Log, start_as_nobody, tap, works
from tap import check, same


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


def cannot_join(directory, message):
    """rte_eal_init fails, and says why."""
    log = Log()
    peer = embedded_secondary(directory, log)
    try:
        same(peer.answer(), "init failed", "answer")
        same(peer.process.wait(LIMIT), 1, "exit status")
        check(message in log.new(), f"{message!r} in {log.new()!r}")
    finally:
        peer.kill()


def joins_embedded(behave, message):
    with runtime_directory("fake") as directory, FakePrimary(directory / "hotplug", behave):
        cannot_join(directory, message)


def joins_hosted(behave, message):
    """A DPDK secondary goes on as with a primary that does not have the library."""
    log = Log()
    with Group(BUILD, "stock", log=log.file) as group:
        directory = pathlib.Path("/var/run/dpdk") / group.prefix
        with FakePrimary(directory / "hotplug", behave):
            secondary = group.start(stock=False)
            check(message in log.new(), f"{message!r} in {log.new()!r}")
            works(group, (group.primary, secondary))


for _what, _behave, _message in BAD_PRIMARIES:
    for _mode, _join in (("embedded", joins_embedded), ("hosted", joins_hosted)):
        tap.case(f"{_mode}: a primary that {_what}")(
            lambda join=_join, behave=_behave, message=_message: join(behave, message))


@contextlib.contextmanager
def joined(name, work):
    """A secondary that has joined a fake primary, which then does the work; and its log."""
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

    log = Log()
    with runtime_directory(name) as directory, FakePrimary(directory / "hotplug", behave):
        peer = embedded_secondary(directory, log)
        try:
            same(peer.answer(), "ready", "answer")
            check(done.wait(2 * LIMIT), "the fake primary has done its work")
            check(not failures, f"{failures}")
            yield peer, log
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

    with joined("sync", work) as (peer, log):
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

    with joined("requests", work) as (peer, _):
        same(peer.attached(), [DEVICE], "attached")
        words = peer("statistics").split()
        check("late=4" in words and "bad=0" in words, f"counters: {words}")


@tap.case("embedded: a secondary does not obey another user's primary")
def other_users_primary():
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
        try:
            same(os.read(ready, 1), b"x", "it listens")
            cannot_join(directory, "it is another user's process")
        finally:
            os.close(ready)
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
