# SPDX-License-Identifier: BSD-3-Clause
"""Runs an observer, the application of observer.c, and makes device events for it."""

import fcntl
import functools
import os
import pathlib
import queue
import socket
import struct
import subprocess
import sys
import threading

sys.path.append(str(pathlib.Path(__file__).resolve().parent.parent))

from tap import check, missing, remove_runtime_directory  # noqa: E402

# So long what must happen is waited for, in seconds.
PATIENCE = 120
UUID = "6f2a1c9e-5b7d-4c55-9a38-3d2b9d2f7a10"
PCI_DEVICES = pathlib.Path("/sys/bus/pci/devices")
NETLINK_KOBJECT_UEVENT = 15


def uevent_file():
    """The file of a function of this machine by which the kernel is made to announce it."""
    for device in sorted(PCI_DEVICES.glob("*")):
        if os.access(device / "uevent", os.W_OK):
            return device / "uevent"
    return missing("no PCI function whose events can be made")


@functools.cache
def take_device():
    """What is announced reaches every process of this machine: one suite at a time, to its end."""
    descriptor = os.open("/sys/kernel/uevent_seqnum", os.O_RDONLY | os.O_CLOEXEC)
    fcntl.flock(descriptor, fcntl.LOCK_EX)


def announce(what, times=1):
    take_device()
    descriptor = os.open(uevent_file(), os.O_WRONLY | os.O_CLOEXEC)
    try:
        for _ in range(times):
            os.pwrite(descriptor, f"{what} {UUID}".encode(), 0)
    finally:
        os.close(descriptor)


class Observer:
    """An observer that runs. Its standard error is kept, as stock tells there what happens to it."""

    def __init__(self, program, preload=None, wrapper=(), environment=None, user=None):
        self.lines, self.errors = queue.Queue(), queue.Queue()
        self.prefix = f"hotplug_observer_{os.getpid()}_{id(self)}"
        environment = dict(os.environ, **(environment or {}))
        if preload:
            environment["LD_PRELOAD"] = str(preload)
        command = [*wrapper, str(program), "--no-huge", "-m", "64", "--no-pci", "--no-shconf",
                   "--file-prefix", self.prefix]
        self.process = subprocess.Popen(command, env=environment, user=user, text=True, bufsize=1,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE)
        for stream, to in ((self.process.stdout, self.lines), (self.process.stderr, self.errors)):
            threading.Thread(target=self._collect, args=(stream, to), daemon=True).start()
        self.answer("ready")

    @staticmethod
    def _collect(stream, to):
        for line in stream:
            to.put(line.rstrip("\n"))
        to.put(None)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        remove_runtime_directory(self.prefix)

    def ask(self, command, patience=PATIENCE):
        """The answer to a command, without its first word."""
        self.process.stdin.write(command + "\n")
        return self.answer(command.split()[0], patience)

    def answer(self, word, patience=PATIENCE):
        word = "told" if word == "wait" else word
        while True:
            line = self.lines.get(timeout=patience)
            check(line is not None, f"the observer has ended, waiting for {word!r}")
            if line.split()[0] == word:
                return line[len(word) + 1:]

    def do(self, command):
        """A command without an answer: another one's comes after it."""
        self.process.stdin.write(command + "\n")

    def told(self):
        """How many additions and removals were told."""
        return tuple(int(number) for number in self.ask("told").split())

    def wait(self, times):
        return tuple(int(number) for number in self.ask(f"wait {times}").split())

    def wait_for_error(self, text):
        """Waits for a line on its standard error."""
        while True:
            line = self.errors.get(timeout=PATIENCE)
            check(line is not None, f"the observer has ended, waiting for {text!r}")
            if text in line:
                return line

    def events(self, times):
        """The next events, when it is verbose."""
        return [self.answer("event") for _ in range(times)]

    def statistics(self):
        pairs = (pair.split("=") for pair in self.ask("statistics").split())
        return {name: int(value) for name, value in pairs}


def forged(action="remove", device="0000:02:00.0"):
    """A message as the kernel would make it."""
    path = f"/devices/pci0000:00/{device}"
    strings = [f"{action}@{path}", f"ACTION={action}", f"DEVPATH={path}", "SUBSYSTEM=pci",
               f"PCI_SLOT_NAME={device}", "SEQNUM=1"]
    return b"".join(string.encode() + b"\0" for string in strings)


def send_forged(message, group=1, port=0, credentials=None):
    """Sends it as somebody who may do so in this network namespace."""
    control = []
    if credentials is not None:
        control = [(socket.SOL_SOCKET, socket.SCM_CREDENTIALS, struct.pack("3i", *credentials))]
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_KOBJECT_UEVENT) as sender:
        sender.bind((0, 0))
        sender.sendmsg([message], control, 0, (port, group))
