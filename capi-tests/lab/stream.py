# SPDX-License-Identifier: BSD-3-Clause
"""Sockets to the guest that are read in the background, and whose readers wait for what comes."""

import contextlib
import json
import re
import socket
import threading
import time

# A driver whose registers read as zeros polls them until its own limits are over: half a minute.
SECONDS = 60


class GuestLost(Exception):
    """The guest has ended, or was ended as its case took too long."""


class Stream:
    """A terminal of the guest: all text so far, in which one waits for a pattern."""

    def __init__(self, connection, log):
        self.connection, self.log = connection, open(log, "w")
        self.text, self.closed, self.news = "", False, threading.Condition()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        with self.log:
            while data := receive(self.connection, 65536):
                self._take(data.decode("latin1").replace("\r", ""))
        with self.news:
            self.closed = True
            self.news.notify_all()

    def _take(self, text):
        self.log.write(text)
        self.log.flush()
        with self.news:
            self.text += text
            self.news.notify_all()

    def mark(self):
        """Where the text ends now; wait() and since() can begin there."""
        with self.news:
            return len(self.text)

    def since(self, mark):
        with self.news:
            return self.text[mark:]

    def write(self, text):
        try:
            self.connection.sendall(text.encode())
        except OSError as error:
            raise GuestLost(str(error)) from error

    def wait(self, pattern, mark=0, seconds=SECONDS):
        """The first match after the mark; ended by \n, as a line may still be coming in."""
        expression = re.compile(pattern, re.MULTILINE)
        end = time.monotonic() + seconds
        with self.news:
            while not (match := expression.search(self.text, mark)):
                left = end - time.monotonic()
                if self.closed:
                    raise GuestLost(f"the guest ended before {pattern!r}")
                if left <= 0:
                    raise TimeoutError(f"no {pattern!r} in: ...{self.text[mark:][-1500:]}")
                self.news.wait(left)
            return match

    def await_count(self, pattern, count, mark, seconds=SECONDS):
        """Until the pattern, which is within a line, has come that often."""
        for _ in range(count):
            mark = self.wait(pattern, mark, seconds).end()

    def count(self, pattern, mark):
        return len(re.findall(pattern, self.since(mark), re.MULTILINE))


class Monitor:
    """QEMU's machine protocol: one command at a time, events kept."""

    def __init__(self, connection):
        self.connection = connection
        self.events, self.answers, self.closed = [], [], False
        self.news = threading.Condition()
        threading.Thread(target=self._read, daemon=True).start()
        self("qmp_capabilities")

    def _read(self):
        with self.connection.makefile("r") as lines, contextlib.suppress(OSError):
            for line in lines:
                self._take(json.loads(line))
        with self.news:
            self.closed = True
            self.news.notify_all()

    def _take(self, message):
        with self.news:
            if "event" in message:
                self.events.append((message["event"], message.get("data", {})))
            elif "QMP" not in message:
                self.answers.append(message)
            self.news.notify_all()

    def _await(self, what, ready, seconds=SECONDS):
        with self.news:
            self.news.wait_for(lambda: ready() or self.closed, seconds)
            if not ready():
                raise (GuestLost if self.closed else TimeoutError)(what)

    def __call__(self, command, **arguments):
        request = {"execute": command, "arguments": arguments}
        try:
            self.connection.sendall(json.dumps(request).encode())
        except OSError as error:
            raise GuestLost(str(error)) from error
        self._await(command, lambda: self.answers)
        answer = self.answers.pop(0)
        if "error" in answer:
            raise RuntimeError(f"QEMU refused {command}: {answer['error']['desc']}")
        return answer["return"]

    def deleted(self, device):
        with self.news:
            return ("DEVICE_DELETED", device) in [(name, data.get("device"))
                                                  for name, data in self.events]

    def await_deleted(self, device, seconds=SECONDS):
        self._await(f"{device} was not deleted", lambda: self.deleted(device), seconds)


class Wire:
    """The other end of a NIC's cable: takes all frames, and can send."""

    def __init__(self, connection):
        self.connection, self.frames, self.last = connection, 0, b""
        self.news = threading.Condition()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        while frame := receive(self.connection, 2048):
            with self.news:
                self.frames, self.last = self.frames + 1, frame
                self.news.notify_all()

    def send(self, payload):
        frame = b"\xff" * 6 + b"\x02\0\0\0\0\x01" + b"\x88\xb5" + payload.ljust(46, b"\0")
        try:
            self.connection.send(frame, socket.MSG_DONTWAIT)
        except BlockingIOError:
            pass  # A cable loses what nobody takes.
        except OSError as error:
            raise GuestLost(str(error)) from error

    def await_frames(self, count, seconds=SECONDS):
        """Until that many more have come."""
        with self.news:
            goal = self.frames + count
            if not self.news.wait_for(lambda: self.frames >= goal, seconds):
                raise TimeoutError(f"{self.frames} frames on the wire, not {goal}")

    def await_payload(self, payload, send, seconds=SECONDS):
        """Until it comes out here; it is sent again and again, as cables lose frames."""
        end = time.monotonic() + seconds
        with self.news:
            while not self.news.wait_for(lambda: payload in self.last, 0.02):
                if time.monotonic() > end:
                    raise TimeoutError(f"{payload!r} did not come through")
                send(payload)


def receive(connection, size):
    """What came, or nothing at the end."""
    try:
        return connection.recv(size)
    except OSError:
        return b""
