# SPDX-License-Identifier: BSD-3-Clause
"""The frames of the library's own channel, for tests that stand in for one of its ends."""

import select
import socket
import struct
import time

import eal_wire

(HELLO, WELCOME, REFUSED, SYNC, SYNC_END, SYNCED, REQUEST, REPLY, CALL, RESULT, CANCEL, PING, PONG,
 BYE) = range(1, 15)
MAGIC = b"RTHP"
VERSION = 1
MOST = 65536
HEADER = struct.Struct("<4sHHQQII")
LIMIT = 30


def frame(kind, instance=0, number=0, body=b"", magic=MAGIC, version=VERSION, length=None):
    """A frame; what is wrong with it is the caller's choice."""
    length = len(body) if length is None else length
    return HEADER.pack(magic, version, kind, instance, number, length, 0) + body


def text(value):
    return struct.pack("<I", len(value)) + value


def hello(embedded, pid=1, eal_socket=b""):
    return frame(HELLO, body=struct.pack("<QQ", pid, embedded) + text(eal_socket))


def request(step, name, devargs, lineage=(), count=None, bus=b"vdev", hurried=0):
    """The body of a request or a call."""
    count = len(lineage) if count is None else count
    short = eal_wire.request(step, devargs[:127])
    ids = struct.pack(f"<Q{len(lineage)}Q", count, *lineage)
    long = devargs if len(devargs) > 127 else b""
    return short + text(bus) + text(name) + ids + text(long) + struct.pack("<Q", hurried)


def reply(step, code, unchanged=0, message=b""):
    return eal_wire.request(step, b"", code) + struct.pack("<Q", unchanged) + text(message)


def sync(name, devargs, bus=b"vdev"):
    """devargs None: the device is not to be there."""
    there = devargs is not None
    return text(bus) + text(name) + struct.pack("<Q", there) + text(devargs or b"")


class Ended(Exception):
    """The other end has closed the connection."""


class End:
    """One end of a connection."""

    def __init__(self, connection):
        self.socket = connection
        self.instance = 0

    @classmethod
    def to(cls, path):
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        # Not Python's timeout: connect waits only on a blocking socket.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("@ll", LIMIT, 0))
        try:
            connection.connect(str(path))
        except OSError:
            connection.close()
            raise
        return cls(connection)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def raw(self, data):
        try:
            self.socket.send(data)
        except (BrokenPipeError, ConnectionResetError):
            raise Ended from None

    def send(self, kind, number=0, body=b"", **options):
        self.raw(frame(kind, options.pop("instance", self.instance), number, body, **options))

    def receive(self, limit=LIMIT):
        """The next frame: kind, number, body."""
        if not select.select([self.socket], [], [], limit)[0]:
            raise TimeoutError(f"nothing has come within {limit} s")
        try:
            data = self.socket.recv(MOST + 1)
        except ConnectionResetError:
            raise Ended from None
        if not data:
            raise Ended
        _, _, kind, self.last_instance, number, _, _ = HEADER.unpack_from(data)
        return kind, number, data[HEADER.size:]

    def wait_for(self, kind, limit=LIMIT):
        """The next frame of a kind; signs of life are given meanwhile."""
        end = time.monotonic() + limit
        while True:
            try:
                got, number, body = self.receive(max(end - time.monotonic(), 0))
            except TimeoutError:
                raise TimeoutError(f"no frame of kind {kind} within {limit} s") from None
            if got == kind:
                return number, body
            if got == PING:
                self.send(PONG)

    def is_closed(self, limit=LIMIT):
        """Waits until the other end closes."""
        try:
            while True:
                self.receive(limit)
        except Ended:
            return True

    def join(self, embedded, **options):
        """Becomes a member, as far as the primary can see."""
        self.raw(hello(embedded, **options))
        self.wait_for(WELCOME)
        self.instance = self.last_instance
        self.wait_for(SYNC_END)
        self.send(SYNCED, body=struct.pack("<Q", 0))
        return self
