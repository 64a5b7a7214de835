# SPDX-License-Identifier: BSD-3-Clause
"""Members that answer strangely, ask too much, or do nothing."""

import array
import contextlib
import os
import resource
import select
import socket
import struct

import channel_wire as wire
import eal_wire
from channel_wire import Ended
from hostile_world import DEVICE, LIMIT, TARGET, hostile
from tap import check, same, until

# How many threads the library may run for others, and some that idle.
MOST_THREADS = 80


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
        # It goes on until all answers have been read.
        world.secondary(f"driver only={DEVICE} gate=1")
        number = answered_with(world, end, (0, 0, 0), (0, -5, 0), (2, -5, 0))
        end.send(wire.PING)
        end.wait_for(wire.PONG)
        world.secondary("open")
        # Until it is over, what comes more is ignored; afterwards it is late.
        same(world.primary.finished()[1], 0, "attach")
        world.secondary("driver")
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
