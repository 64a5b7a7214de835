# SPDX-License-Identifier: BSD-3-Clause
"""EAL's multi-process datagrams, for tests that stand in for a process or speak nonsense."""

import contextlib
import os
import socket
import struct
import subprocess
import threading

MESSAGE, REQUEST, REPLY, IGNORE = range(4)
ATTACH, DETACH, ATTACH_ROLLBACK, DETACH_ROLLBACK = range(4)
ACTION = b"eal_dev_mp_request"
# DPDK's version, year and month.
VERSION = tuple(map(int, subprocess.run(["pkg-config", "--modversion", "libdpdk"], text=True, check=True,
                                        stdout=subprocess.PIPE).stdout.split(".")[:2]))
# int type; struct rte_mp_msg without descriptors: name, len_param, num_fds, param. Aligned since 25.11.
LAYOUT = struct.Struct("=i4x64sii256s4x" if VERSION >= (25, 11) else "=i64sii256s")
# struct eal_dev_mp_req: type, devargs, result.
REQUEST_LAYOUT = struct.Struct("=i128si")


def request(step, devargs, result=0):
    return REQUEST_LAYOUT.pack(step, devargs, result)


def datagram(kind, param, length=None, name=ACTION, descriptors=0):
    length = len(param) if length is None else length
    return LAYOUT.pack(kind, name, length, descriptors, param)


def send(path, data):
    """One datagram from a socket without a name."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.sendto(data, str(path))


def fill(path):
    """Fills the queue of a socket with answers that nobody waits for."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                sender.sendto(datagram(REPLY, b"", name=b"nothing"), str(path))


class StockSecondary:
    """Stands in for a secondary without the library: says yes, and keeps what it was asked."""

    def __init__(self, directory):
        self.asked = []
        self.path = directory / f"mp_socket_{os.getpid()}_{threading.get_ident():x}"
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(self.path))
        self.thread = threading.Thread(target=self._serve)
        self.thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        send(self.path, b"end")
        self.thread.join()
        self.path.unlink()
        self.socket.close()

    def _serve(self):
        while True:
            data, sender = self.socket.recvfrom(4096)
            if data == b"end":
                return
            kind, name, _, _, param = LAYOUT.unpack(data)
            name = name.rstrip(b"\0")
            if kind == REQUEST and name == ACTION:
                step, devargs, _ = REQUEST_LAYOUT.unpack_from(param)
                self.asked.append((step, devargs.split(b"\0")[0].decode()))
                self.socket.sendto(datagram(REPLY, param, REQUEST_LAYOUT.size), sender)
            elif kind == REQUEST:
                self.socket.sendto(datagram(IGNORE, b"", name=name), sender)
