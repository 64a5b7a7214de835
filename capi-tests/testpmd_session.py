#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Plays one testpmd session twice, with LD_PRELOAD=librte_hotplug.so and without.

    testpmd_session.py LIBRTE_HOTPLUG.SO

testpmd's own answers have to be the expected ones, and the same in both runs. The HOTPLUG lines
have to show that each attach and detach of the first run was ours, and none of the second.
"""

import os
import pty
import re
import select
import signal
import sys
import time

from tap import Tap, check, missing, remove_runtime_directory, same

PROMPT = b"testpmd> "
SECONDS = 30

# What differs from run to run, or says who did the work: not testpmd's own answer.
FOREIGN = re.compile(r"^(HOTPLUG|EAL|tap_nl_\w+|qdisc_\w+|eth_dev_tap_\w+|net_failsafe)\b.*:")
MAC = re.compile(r"\b(?:[0-9A-F]{2}:){5}[0-9A-F]{2}\b")


class Step:
    """A command, lines that testpmd answers, and the HOTPLUG lines of ours meanwhile."""

    def __init__(self, command, answers, log=()):
        self.command, self.answers, self.log = command, answers, list(log)


def script(with_tap):
    """The session. Port numbers follow from the order of the attaches."""
    removed = "Removing a device..."
    refused = "testpmd: Failed to detach device net_null0(vdev)"
    steps = [
        Step("port attach net_null0",
             ["Attaching a new port...", "Port 0 is attached. Now total ports is 1", "Done"],
             ["vdev:net_null0: parsed, found, attached"]),
        # testpmd finds no new port: it says no more.
        Step("port attach net_null0", ["Attaching a new port..."],
             ["vdev:net_null0: attached already"]),
        Step("port attach net_ring0",
             ["Port 1 is attached. Now total ports is 2", "Done"],
             ["vdev:net_ring0: parsed, found, attached"]),
        Step("port attach net_failsafe0,dev(net_null1)",
             ["Port 2 is attached. Now total ports is 3",
              "Port 3 is attached. Now total ports is 4", "Done"],
             ["vdev:net_null1: parsed, found, attached", "vdev:net_failsafe0: parsed, found, attached"]),
    ]
    # The failsafe owns port 3, so it is not counted.
    ports = ["0 MAC net_null0 net_null down 10 Gbps", "1 MAC net_ring0 net_ring down 10 Gbps",
             "2 MAC net_failsafe0 net_failsafe down 10 Gbps"]
    if with_tap:
        steps.append(Step("port attach net_tap0",
                          ["Port 4 is attached. Now total ports is 5", "Done"],
                          ["vdev:net_tap0: parsed, found, attached"]))
        ports.append("4 MAC net_tap0 net_tap down 10 Gbps")
    steps += [
        Step("show port summary all", [f"Number of available ports: {len(ports)}"] + ports),
        Step("port start all", ["Configuring Port 0 (socket 0)", "Done"]),
        Step("port attach no_such_driver0", ["testpmd: Failed to attach port no_such_driver0"],
             ["rte_dev_probe: \"no_such_driver0\": *"]),
        # As in the guide: stop, close, detach.
        Step("port stop 1", ["Stopping ports...", "Done"]),
        Step("port close 1", ["Closing ports...", "Port 1 is closed", "Done"]),
        Step("device detach net_ring0", [removed, "Device net_ring0 is detached", "Done"],
             ["vdev:net_ring0: detached"]),
        Step("port stop 0", ["Stopping ports...", "Done"]),
        Step("port detach 0", ["Port was not closed", "Port 0 is closed", "Device is detached",
                               "Done"],
             ["vdev:net_null0: detached"]),
        Step("device detach net_null0", [removed, refused],
             ["rte_eal_hotplug_remove: vdev:net_null0: *"]),
    ]
    if with_tap:
        steps += [
            Step("port stop 4", ["Stopping ports...", "Done"]),
            Step("port detach 4", ["Port 4 is closed", "Device is detached", "Done"],
                 ["vdev:net_tap0: detached"]),
        ]
    steps += [
        # The failsafe detaches its device when it is closed.
        Step("port stop 2", ["Stopping ports...", "Done"]),
        Step("port close 2", ["Port 2 is closed", "Done"], ["vdev:net_null1: detached"]),
        Step("device detach vdev:net_failsafe0",
             [removed, "Device vdev:net_failsafe0 is detached", "Done"],
             ["vdev:net_failsafe0: detached"]),
        Step("show port summary all", ["Number of available ports: 0"]),
        # A number that was free before is free again.
        Step("port attach net_null0", ["Port 0 is attached. Now total ports is 1", "Done"],
             ["vdev:net_null0: parsed, found, attached"]),
    ]
    return steps


class Testpmd:
    """testpmd on a terminal of its own: it buffers its output otherwise."""

    def __init__(self, library):
        self.prefix = f"hotplug_testpmd_{'ours' if library else 'stock'}_{os.getpid()}"
        argv = ["dpdk-testpmd", "--no-huge", "-m", "256", "--no-pci", "--file-prefix", self.prefix,
                "-l", "0-1", "--log-level=lib.hotplug:debug", "--", "-i", "--no-mlockall",
                "--total-num-mbufs=2048"]
        environment = {k: v for k, v in os.environ.items() if k != "LD_PRELOAD"}
        if library:
            environment["LD_PRELOAD"] = library
        self.status = None
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            try:
                os.execvpe(argv[0], argv, environment)
            finally:
                os._exit(127)

    def read(self, prompt=True):
        """The lines up to the next prompt, or to the end."""
        output, end = b"", time.monotonic() + SECONDS
        while not (prompt and output.endswith(PROMPT)):
            left = end - time.monotonic()
            check(left > 0, f"testpmd is silent after: {output.decode(errors='replace')}")
            if not select.select([self.terminal], [], [], left)[0]:
                continue
            try:
                data = os.read(self.terminal, 65536)
            except OSError:  # EIO: the other end is closed
                data = b""
            if not data:
                check(not prompt, f"testpmd ended: {output.decode(errors='replace')}")
                break
            output += data
        text = output.decode(errors="replace").replace("\r", "")
        return [line.strip() for line in text.splitlines() if line.strip()]

    def send(self, command):
        os.write(self.terminal, command.encode() + b"\r")

    def wait(self):
        """Its exit status; it is on its way out, or killed."""
        end = time.monotonic() + SECONDS
        while self.status is None and time.monotonic() < end:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = os.waitstatus_to_exitcode(status)
            else:
                select.select([], [], [], 0.01)
        return self.status

    def end(self):
        if self.status is None:
            os.kill(self.pid, signal.SIGKILL)
            self.wait()
        os.close(self.terminal)
        remove_runtime_directory(self.prefix)


def play(library, steps):
    """One session: for each step its lines, then those of the end, and the exit status."""
    testpmd = Testpmd(library)
    try:
        answers = [testpmd.read()]
        for step in steps:
            testpmd.send(step.command)
            answers.append([line for line in testpmd.read()
                            if line not in (step.command, PROMPT.decode().strip())])
        testpmd.send("quit")
        answers.append(testpmd.read(prompt=False))
        return answers, testpmd.wait()
    finally:
        testpmd.end()


def ours(lines):
    return [line.removeprefix("HOTPLUG: ") for line in lines if line.startswith("HOTPLUG: ")]


def own(lines):
    """testpmd's own answer; what is random in it is taken out."""
    return [" ".join(MAC.sub("MAC", line).split()) for line in lines if not FOREIGN.match(line)]


def is_log(lines, patterns):
    return len(lines) == len(patterns) and all(
        line.startswith(p[:-1]) if p.endswith("*") else line == p
        for line, p in zip(lines, patterns))


def main():
    library = os.path.abspath(sys.argv[1])
    tap = Tap()
    no_tap = None if os.path.exists("/dev/net/tun") and os.geteuid() == 0 else \
        "net_tap needs root and /dev/net/tun"
    steps = script(no_tap is None)
    runs = {}

    def session(name):
        check(name in runs, f"no {name} session")
        return runs[name]

    @tap.case("testpmd runs the session with librte_hotplug and exits with 0")
    def _():
        check(os.path.exists(library), f"there is no {library}")
        answers, status = play(library, steps)
        runs["preloaded"] = answers
        same(status, 0, "exit status")

    @tap.case("testpmd runs the session without it and exits with 0")
    def _():
        answers, status = play(None, steps)
        runs["stock"] = answers
        same(status, 0, "exit status")

    @tap.case("net_tap is part of the session")
    def _():
        if no_tap:
            missing(no_tap)

    for number, step in enumerate(steps, 1):
        @tap.case(step.command)
        def _(number=number, step=step):
            lines = session("preloaded")[number]
            answer = own(lines)
            for expected in step.answers:
                check(expected in answer, f"{expected!r} is not in {answer}")
            check(is_log(ours(lines), step.log), f"our lines are {ours(lines)}, not {step.log}")
            same(answer, own(session("stock")[number]), "the answer with librte_hotplug")

    @tap.case("testpmd starts and ends with the same answers")
    def _():
        for number in (0, -1):
            same(own(session("preloaded")[number]), own(session("stock")[number]), "the answer")

    @tap.case("stock is stock")
    def _():
        same([line for lines in session("stock") for line in ours(lines)], [], "HOTPLUG lines")

    return tap.run()


if __name__ == "__main__":
    sys.exit(main())
