# SPDX-License-Identifier: BSD-3-Clause
"""Frames that make no sense, or not at this time."""

import random
import struct

import channel_wire as wire
import eal_wire
from hostile_world import TARGET, hostile
from tap import check

NONSENSE = "makes no sense"
# The same every time.
RANDOM = random.Random(1)


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
