# SPDX-License-Identifier: BSD-3-Clause
"""Groups of real processes (peer.c) for the Python tests, the soak and the benches."""

import itertools
import os
import pathlib
import select
import shutil
import signal
import subprocess
import time

LIMIT = 60


class Peer:
    """One process. Calling it with a command returns its answer."""

    def __init__(self, command, environment, log=None):
        self.process = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=log or subprocess.DEVNULL)
        self.pid = self.process.pid
        self._bytes = b""
        self._lines = []

    def __call__(self, command, limit=LIMIT):
        self.send(command)
        return self.answer(limit)

    def send(self, command):
        self.process.stdin.write(command.encode() + b"\n")
        self.process.stdin.flush()

    def answer(self, limit=LIMIT):
        """The answer to the oldest command that has none."""
        return self._take("=", limit)

    def finished(self, limit=LIMIT):
        """The result of the next start-attach or start-detach that ends: device, code, ms."""
        _, device, code, ms = self._take("@", limit).split()
        return device, int(code), float(ms)

    def lines(self):
        """All lines that have come, for callers that wait for many processes at once; EOFError
        when it has ended and has said all."""
        while select.select([self.process.stdout], [], [], 0)[0]:
            data = os.read(self.process.stdout.fileno(), 1 << 16)
            if not data:
                if self._lines:
                    break
                raise EOFError(f"process {self.pid} has ended")
            *lines, self._bytes = (self._bytes + data).split(b"\n")
            self._lines += [line.decode(errors="replace") for line in lines]
        lines, self._lines = self._lines, []
        return lines

    def attached(self, limit=LIMIT):
        return sorted(self("list", limit).split())

    def signal(self, number):
        os.kill(self.pid, number)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def is_alive(self):
        return self.process.poll() is None

    def _take(self, mark, limit):
        end = time.monotonic() + limit
        while True:
            for line in self._lines:
                if line[:1] == mark:
                    self._lines.remove(line)
                    return line[1:]
            left = end - time.monotonic()
            ready, _, _ = select.select([self.process.stdout], [], [], max(left, 0))
            if not ready:
                raise TimeoutError(f"process {self.pid} has not answered within {limit} s")
            data = os.read(self.process.stdout.fileno(), 1 << 20)
            if not data:
                raise EOFError(f"process {self.pid} has ended: {self.process.wait()}")
            *lines, self._bytes = (self._bytes + data).split(b"\n")
            self._lines += [line.decode(errors="replace") for line in lines]


class Group:
    """Processes that share their devices; used in a with statement.

    build: the meson build directory. mode: "embedded", "hosted" (all have the library), "stock"
    (none has it). Hosted groups need huge pages.
    """

    numbers = itertools.count(1)

    def __init__(self, build, mode, secondaries=0, environment=None, log=None, arguments=()):
        self.build = pathlib.Path(build).resolve()
        self.mode = mode
        self.prefix = f"hotplug_group_{os.getpid()}_{next(Group.numbers)}"
        self.environment = dict(os.environ, **(environment or {}))
        self.log = log
        self.arguments = list(arguments)
        self.peers = []
        self.primary = self.start(primary=True)
        self.secondaries = self.start_many(secondaries)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def start(self, primary=False, stock=None, ready=True, arguments=()):
        """Starts a process; stock=True without the library (hosted groups only)."""
        stock = self.mode == "stock" if stock is None else stock
        embedded = self.mode == "embedded"
        name = "peer-embedded" if embedded else "peer-dpdk"
        program = self.build / "capi-tests" / "mp" / name
        command = [str(program), "--file-prefix", self.prefix, "--no-pci", "--proc-type",
                   "primary" if primary else "secondary", *self.arguments, *arguments]
        environment = dict(self.environment)
        if not embedded:
            command += ["-l", str(len(self.peers) % os.cpu_count())]
            command += ["-m", "64"] if primary else []
            if not stock:
                environment["LD_PRELOAD"] = str(self.build / "librte_hotplug.so.1")
        peer = Peer(command, environment, self.log)
        self.peers.append(peer)
        return self.wait_for(peer) if ready else peer

    def start_many(self, count, **options):
        """Starts secondaries at the same time."""
        started = [self.start(ready=False, **options) for _ in range(count)]
        return [self.wait_for(peer) for peer in started]

    def wait_for(self, peer):
        answer = peer.answer()
        if answer != "ready":
            raise RuntimeError(f"process {peer.pid} says {answer!r}")
        return peer

    def living(self):
        return [peer for peer in self.peers if peer.is_alive()]

    def attached(self):
        """What each living process has attached; the same everywhere if all is well."""
        return [peer.attached() for peer in self.living()]

    def close(self):
        for peer in reversed(self.peers):
            if peer.is_alive():
                peer.signal(signal.SIGCONT)
            try:
                peer("quit", 10)
                peer.process.wait(10)
            except (OSError, EOFError, TimeoutError, subprocess.TimeoutExpired, ValueError):
                pass
            finally:
                peer.kill()
        root = "/var/run" if os.geteuid() == 0 else os.environ.get("XDG_RUNTIME_DIR", "/tmp")
        shutil.rmtree(f"{root}/dpdk/{self.prefix}", ignore_errors=True)
        for page in pathlib.Path("/dev/hugepages").glob(f"{self.prefix}map_*"):
            page.unlink(missing_ok=True)
