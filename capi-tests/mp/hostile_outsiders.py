# SPDX-License-Identifier: BSD-3-Clause
"""Who is no member: other users, and senders of EAL's datagrams."""

import contextlib
import errno
import os
import socket

import channel_wire as wire
import eal_wire
from channel_wire import End, Ended
from hostile_world import LIMIT, TARGET, hostile, start_as_nobody
from tap import check, same


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


@contextlib.contextmanager
def asker(world):
    """Asks in EAL's datagrams: the kind of the answer, and the result in it."""
    own = world.directory / f"test_{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.bind(str(own))
        end.settimeout(LIMIT)

        def ask(path, param):
            end.sendto(eal_wire.datagram(eal_wire.REQUEST, param), str(path))
            kind, _, _, _, answer = eal_wire.LAYOUT.unpack(end.recv(4096))
            return kind, eal_wire.REQUEST_LAYOUT.unpack_from(answer)[2]

        try:
            yield ask
        finally:
            own.unlink()


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
    with asker(world) as ask:
        for is_secondary, path in enumerate(eal_sockets(world)):
            for what, param in SENSELESS.items():
                with world.counts(bad=0 if is_secondary else 1):
                    same(ask(path, param), (eal_wire.REPLY, -errno.EINVAL), what)
                same(world.group.attached(), [[], []], f"attached after {what}")


@hostile("strange requests in EAL's datagrams are answered", modes=("hosted",))
def strange_datagrams(world):
    primary, secondary = eal_sockets(world)
    with asker(world) as ask:
        for path, step, devargs, good in (
            (primary, eal_wire.ATTACH_ROLLBACK, TARGET, False),
            (primary, eal_wire.DETACH_ROLLBACK, TARGET, False),
            (primary, eal_wire.ATTACH, b"nobus:x", False),
            (primary, eal_wire.DETACH, b"", False),
            # One with the library obeys its primary's own channel only.
            (secondary, eal_wire.ATTACH, TARGET, True),
        ):
            kind, result = ask(path, eal_wire.request(step, devargs))
            same(kind, eal_wire.REPLY, "kind of datagram")
            check(good == (result == 0) and result <= 0, f"{step} {devargs} is told {result}")
            same(world.group.attached(), [[], []], "attached")
