#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The monitor of device events: what stock loses or believes, and what ours does instead.

usage: uevents.py OBSERVER EMBEDDED_OBSERVER LIBRARY
"""

import ctypes
import os
import pathlib
import pwd
import shutil
import signal
import sys
import tempfile
import traceback

from observer import Observer, announce, forged, send_forged, take_device, uevent_file
from tap import Tap, check, missing, same

STOCK_IS_DEAD = "uevent socket connection is broken"
BURST, SLOW = 5000, 1_000_000
OBSERVER, EMBEDDED, LIBRARY = (pathlib.Path(argument).resolve() for argument in sys.argv[1:4])

tap = Tap()


def root():
    if os.geteuid() != 0:
        missing("not root: the kernel's events cannot be made")
    take_device()


def stock():
    return Observer(OBSERVER)


def ours():
    return Observer(OBSERVER, preload=LIBRARY)


def embedded(**more):
    return Observer(EMBEDDED, **more)


@tap.case("U1: a burst of 5,000 with a slow callback: stock dies for good, ours tells all")
def burst():
    root()
    with stock() as observer:
        same(observer.ask("start"), "0")
        observer.do(f"pause {SLOW}")
        announce("add", BURST)
        observer.wait_for_error(STOCK_IS_DEAD)
        check(sum(observer.told()) < BURST, "stock told all")
        # It claims to start again.
        observer.ask("stop")
        same(observer.ask("start"), "0", "stock's start")
    for make in (ours, embedded):
        with make() as observer:
            same(observer.ask("start"), "0")
            observer.do(f"pause {SLOW}")
            announce("add", BURST)
            same(observer.wait(BURST), (BURST, 0))
            announce("remove")
            same(observer.wait(1), (BURST, 1), "after the burst")
            same(observer.statistics()["overruns"], 0, "overruns")


@tap.case("U3: a removal of a device that is on no bus, with the handling enabled")
def not_on_the_bus():
    root()
    with stock() as observer:
        same((observer.ask("enable"), observer.ask("start")), ("0", "0"))
        announce("remove")
        announce("add")
        same(observer.wait(1), (1, 0), "stock")
    with ours() as observer:
        same((observer.ask("enable"), observer.ask("start")), ("0", "0"))
        announce("remove")
        announce("add")
        same(observer.wait(2), (1, 1), "ours")


# What reaches a listener of the kernel's group: to the group, with and without credentials, and to
# its port alone.
FORGED = 3


def forge(observer):
    """Sends as the root of the observer's namespaces whatever can be sent there."""
    same(observer.ask("start"), "0")
    child = os.fork()
    if child == 0:
        status = 1
        try:
            enter_namespaces(observer.process.pid)
            port = int(port_of(observer.process.pid))
            send_forged(forged())
            send_forged(forged(), credentials=(os.getpid(), 0, 0))
            send_forged(forged(), group=0, port=port)
            send_forged(forged(), group=2)
            # The kernel's own credentials are the kernel's.
            check(is_refused(credentials=(0, 0, 0)), "the process 0 can be forged")
            status = 0
        except Exception:
            traceback.print_exc()
        finally:
            os._exit(status)
    same(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), 0, "the forger's status")


def is_refused(**how):
    try:
        send_forged(forged(), **how)
    except OSError:
        return True
    return False


def enter_namespaces(pid):
    libc = ctypes.CDLL(None, use_errno=True)
    for kind in ("user", "net"):
        descriptor = os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY)
        if libc.setns(descriptor, 0) != 0:
            raise OSError(ctypes.get_errno(), f"setns {kind}")
        os.close(descriptor)


def port_of(pid):
    """The netlink port of the observer's socket for events."""
    with open(f"/proc/{pid}/net/netlink") as table:
        for line in table:
            words = line.split()
            if words[1] == "15" and int(words[3], 16) & 1:
                return words[2]
    raise AssertionError("the observer has no socket for events")


PRIVATE = ("unshare", "-U", "-r", "-n")


@tap.case("U2: what others than the kernel send: stock tells it, ours counts it only")
def forgeries():
    if shutil.which("unshare") is None:
        missing("no unshare")
    with Observer(OBSERVER, wrapper=PRIVATE) as observer:
        forge(observer)
        # Stock listens to udev's group too.
        same(observer.wait(FORGED + 1), (0, FORGED + 1), "stock")
    for program, preload in ((OBSERVER, LIBRARY), (EMBEDDED, None)):
        with Observer(program, wrapper=PRIVATE, preload=preload) as observer:
            forge(observer)
            while observer.statistics()["foreign"] < FORGED:
                pass
            same(observer.told(), (0, 0), "told")
            same(observer.statistics()["delivered"], 0, "delivered")


class FakeTree:
    """PCI functions that are directories; each new one has an identity of its own."""

    def __init__(self, *functions):
        self.path = pathlib.Path(tempfile.mkdtemp(prefix="hotplug_pci_"))
        self.path.chmod(0o755)
        for function in functions:
            self.add(function)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.path)

    def add(self, function):
        (self.path / function).mkdir()

    def remove(self, function):
        (self.path / function).rmdir()

    def replace(self, function):
        # The old one keeps its inode until the new one has got another.
        (self.path / function).rename(self.path / "old")
        self.add(function)
        (self.path / "old").rmdir()


def more_than_everybody_may_keep():
    """So many events no socket has room for without rights: each takes 512 bytes at least."""
    with open("/proc/sys/net/core/rmem_max") as file:
        return 2 * int(file.read()) // 512


@tap.case("without rights for a large buffer: what an overrun loses is found out")
def overrun():
    root()
    real = uevent_file().parent.name
    functions = ["0000:aa:00.0", "0000:bb:00.0", "0000:cc:00.0"]
    try:
        user = pwd.getpwnam("nobody").pw_uid
    except KeyError:
        missing("there is no user nobody")
    with FakeTree(*functions, real) as tree, tempfile.TemporaryDirectory() as runtime:
        os.chown(runtime, user, -1)
        environment = {"SYSFS_PCI_DEVICES": str(tree.path), "OBSERVER_VERBOSE": "1",
                       "XDG_RUNTIME_DIR": runtime}
        # Its directories may be closed to others.
        program = shutil.copy(EMBEDDED, runtime)
        libraries = {"LD_LIBRARY_PATH": runtime}
        shutil.copy(LIBRARY, runtime)
        with Observer(program, environment={**environment, **libraries}, user=user) as observer:
            same(observer.ask("start"), "0")
            observer.process.send_signal(signal.SIGSTOP)
            try:
                tree.remove("0000:bb:00.0")
                tree.replace("0000:cc:00.0")
                tree.add("0000:dd:00.0")
                sent = more_than_everybody_may_keep()
                announce("change", sent)
            finally:
                observer.process.send_signal(signal.SIGCONT)
            same(sorted(observer.events(4)),
                 ["add 0000:cc:00.0", "add 0000:dd:00.0", "remove 0000:bb:00.0",
                  "remove 0000:cc:00.0"])
            announce("add")
            same(observer.events(1), [f"add {real}"], "after the overrun")
            counted = observer.statistics()
            check(counted["overruns"] >= 1 and counted["received"] < sent, counted)
            same(counted["recovered"], 4, "recovered")


if __name__ == "__main__":
    sys.exit(tap.run())
