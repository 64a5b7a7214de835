#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Shows each defect of stock's multi-process hotplug next to what ours does instead.

usage: defects.py BUILD_DIR

Both run the same scenario. "devices ++-" tells who has the device, the primary first.
"""

import concurrent.futures
import contextlib
import pathlib
import signal
import socket
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import eal_wire
from group import Group
from tap import check, show_defects, until

# Scenarios at once: they wait most of the time.
PARALLEL = 4
LIMIT = 30
# Longer than any of stock's own timeouts: who has not answered by then waits for ever.
STUCK = 20
# What the contract allows for a stopped process: the liveness time and a margin.
STOPPED = 2.5
# As long as stock's.
OPERATION_5_S = {"RTE_HOTPLUG_OPERATION_MS": "5000"}
DEVICE = "tdrv0"
# A peer's state in "peers".
MEMBER = 1
BUILD = None
GROUPS = []


def has(group, device=DEVICE):
    """Who has the device, one character for each living process."""
    return "devices " + "".join("+" if device in peer.attached() else "-"
                                for peer in group.living())


def told(peer, command, limit=LIMIT):
    return f"told {peer(command, limit)}"


def finished(peer, limit=LIMIT):
    """The next result of a start-attach or start-detach, and the seconds that it took."""
    _, code, ms = peer.finished(limit)
    return f"told {code}", ms / 1000


def runtime_directory(group):
    return pathlib.Path("/var/run/dpdk") / group.prefix


def secondary_socket(group, peer):
    return next(runtime_directory(group).glob(f"mp_socket_{peer.pid}_*"))


def failed_again(start):
    """M1: attached already, but not in one process, where it fails again."""
    with start(1) as group:
        first = told(group.primary, f"attach vdev:{DEVICE}")
        group.environment["PEER_DRIVER"] = f"only={DEVICE} probe=-5"
        group.start()
        before = has(group)
        again = told(group.primary, f"attach vdev:{DEVICE}")
        return f"{first}, {before}, {again}, {has(group)}"


def attach_after_silence(group, remove_ms, then):
    """Attaches twice: too slowly first, and while that is undone. What both callers were told."""
    secondary = group.secondaries[0]
    secondary(f"driver only={DEVICE} probe_ms=5500 remove_ms={remove_ms}")
    first = told(group.primary, f"attach vdev:{DEVICE}")
    secondary(f"driver only={DEVICE} {then} remove_ms={remove_ms}")
    return first, told(group.primary, f"attach vdev:{DEVICE}")


def late_reply(start):
    """M2: the answer to a rollback comes while the next attach is waited for."""
    with start(1, OPERATION_5_S) as group:
        first, second = attach_after_silence(group, 3000, "probe=-5")
        # Its attach runs after the rollback.
        until(lambda: int(group.secondaries[0]("counts").split()[0]) >= 2)
        return f"{first}, {second}, {has(group)}"


def late_success(start):
    """M2: the same, and the next attach succeeds."""
    with start(1, OPERATION_5_S) as group:
        secondary = group.secondaries[0]
        first, second = attach_after_silence(group, 2000, "probe_ms=2000")
        second = f"{second}, {has(group)}"
        # Whatever the secondary still has to do with the device comes before this.
        until(lambda: DEVICE in secondary.attached())
        third = f"{told(group.primary, f'attach vdev:{DEVICE}')}, {has(group)}"
        return f"{first}, {second}, {third}, removed {secondary('counts').split()[1]} times"


def shared_time(start):
    """M3: the primary's own part uses up the requester's time."""
    with start(1) as group:
        secondary = group.secondaries[0]
        for peer in group.peers:
            peer("driver probe_ms=3000")
        secondary(f"start-attach vdev:{DEVICE}")
        result, _ = finished(secondary)
        until(lambda: all(group.attached()))
        return f"{result}, {has(group)}"


def two_at_once(start):
    """M4: another device is attached while a secondary's driver works."""
    with start(1) as group:
        secondary = group.secondaries[0]
        secondary(f"driver only={DEVICE} gate=1")
        group.primary(f"start-attach vdev:{DEVICE}")
        secondary("reached")
        second = told(group.primary, "attach vdev:tdrv1")
        secondary("open")
        first, _ = finished(group.primary)
        return f"{second} meanwhile, {has(group, 'tdrv1')}; {first}, {has(group)}"


def slow_drivers(start):
    """M5: three secondaries whose drivers take 2 s."""
    with start(3) as group:
        for peer in group.secondaries:
            peer("driver probe_ms=2000")
        group.primary(f"start-attach vdev:{DEVICE}")
        result, seconds = finished(group.primary)
        return f"{result}, {has(group)} ({seconds:.1f} s)"


def lost_arguments(start):
    """M6: the primary cannot detach; a stock secondary is asked to attach again."""
    with start() as group, eal_wire.StockSecondary(runtime_directory(group)) as secondary:
        group.primary(f"attach vdev:{DEVICE},a=1")
        group.primary("driver remove=-5")
        result = told(group.primary, f"detach {DEVICE}")
        asked = [text for kind, text in secondary.asked if kind == eal_wire.DETACH_ROLLBACK]
        return f"{result}, to be attached again: {' '.join(asked)}"


def empty_datagram(start):
    """M7: one empty datagram, to each socket of the primary."""
    with start(1) as group:
        eal_wire.send(runtime_directory(group) / "mp_socket", b"")
        with contextlib.suppress(FileNotFoundError):
            with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as own:
                own.connect(str(runtime_directory(group) / "hotplug"))
                own.send(b"")
        results = [told(group.secondaries[0], f"attach vdev:tdrv{n}") for n in range(2)]
        return f"{', '.join(results)}, {has(group)}"


def stopped(start):
    """M8: a secondary does not run."""
    with start(2) as group:
        group.secondaries[0].signal(signal.SIGSTOP)
        group.primary(f"start-attach vdev:{DEVICE}")
        result, seconds = finished(group.primary)
        in_time = "in time" if seconds <= STOPPED else "late"
        group.secondaries[0].signal(signal.SIGCONT)
        # It may still attach before it undoes that.
        until(lambda: is_in_line(group) and not any(group.attached()))
        return f"{result} {in_time}, {has(group)} ({seconds:.1f} s)"


def is_in_line(group):
    """Whether all processes take part, as far as the primary knows of them."""
    _, *peers = group.primary("peers").split()
    return all(peer.split(":")[1] == str(MEMBER) for peer in peers)


def queue_full(start):
    """M8: the queue of a secondary that does not run is full."""
    with start(1) as group:
        secondary = group.secondaries[0]
        secondary.signal(signal.SIGSTOP)
        eal_wire.fill(secondary_socket(group, secondary))
        results, seconds = set(), []
        for _ in range(12):
            group.primary(f"start-attach vdev:{DEVICE}")
            try:
                result, took = finished(group.primary, STUCK)
            except TimeoutError:
                return "stuck"
            results.add(result)
            seconds.append(took)
        check(max(seconds) <= STOPPED, f"took {seconds} s")
        secondary.signal(signal.SIGCONT)
        until(lambda: group.primary("peers") == f"1 {secondary.pid}:{MEMBER}:0")
        after = told(group.primary, f"attach vdev:{DEVICE}")
        return f"{' '.join(results)} 12 times; when it goes on {after}, {has(group)}"


def killed(start):
    """M8: a secondary dies in its probe."""
    with start(2) as group:
        group.secondaries[0]("driver kill_probe=1")
        group.primary(f"start-attach vdev:{DEVICE}")
        result, seconds = finished(group.primary)
        group.secondaries[0].process.wait()
        return f"{result}, {has(group)} ({seconds:.1f} s)"


def gone_between(start):
    """M12: a socket's name is there, the socket is not."""
    with start(1) as group:
        (runtime_directory(group) / "mp_socket_1_1").symlink_to("nowhere")
        result = told(group.primary, f"attach vdev:{DEVICE}")
        return f"{result}, {has(group)}"


def long_devargs(start):
    """M14: devargs of more than 127 bytes, from a secondary."""
    with start(1) as group:
        arguments = "a=" + "x" * 300
        result = told(group.secondaries[0], f"attach vdev:{DEVICE},{arguments}")
        got = group.primary(f"arguments {DEVICE}")
        kept = "whole" if got == arguments else f"{len(got)} of {len(arguments)} bytes"
        return f"{result}, {has(group)}, arguments {kept}"


def not_in_primary(start):
    """M15: a secondary detaches a device that the primary does not have."""
    with start() as group:
        first, _ = group.start_many(2, arguments=["--vdev", DEVICE])
        before = has(group)
        result = told(first, f"detach {DEVICE}")
        return f"{before}, {result}, {has(group)}"


def from_callback(start):
    """M16: a secondary attaches a device in the event callback of another."""
    with start(1) as group:
        secondary = group.secondaries[0]
        secondary("callback-attach vdev:net_null1")
        first = told(group.primary, "attach vdev:net_null0")
        nested = secondary("counts").split()[2]
        return f"{first}, in the callback {nested}, {has(group, 'net_null1')}"


def from_alarm(start):
    """M16: a secondary attaches a device in an alarm, on its interrupt thread."""
    with start(1) as group:
        secondary = group.secondaries[0]
        secondary(f"alarm-attach vdev:{DEVICE}")
        result, seconds = finished(secondary)
        return f"{result}, {has(group)} ({seconds:.1f} s)"


# Scenario, what it is, stock's outcome ("...": what follows is a race and only shown), ours.
TABLE = [
    (failed_again, "M1: a failed attach removes a device that was there before",
     "told 0, devices ++-, told -5, devices ---", "told 0, devices ++-, told -5, devices ++-"),
    (late_reply, "M2: a late answer is taken for another one's",
     "told -42, told 0, devices +-", "told -42, told -5, devices --"),
    (late_success, "M2: told that it is attached before it is",
     "told -42, told 0, devices +-, told 0, devices ++, removed 1 times",
     "told -42, told 0, devices ++, told 0, devices ++, removed 1 times"),
    (shared_time, "M3: told that it failed, but it did not",
     "told -42, devices ++", "told 0, devices ++"),
    (two_at_once, "M4: a second operation at once fails",
     "told -42 meanwhile, devices --; told 0, devices ++",
     "told 0 meanwhile, devices ++; told 0, devices ++"),
    (slow_drivers, "M5: secondaries are asked one after another within 5 s",
     "told -42...", "told 0, devices ++++"),
    (lost_arguments, "M6: attached again without its arguments",
     "told -5, to be attached again: vdev:tdrv0,",
     "told -5, to be attached again: vdev:tdrv0,a=1"),
    (empty_datagram, "M7: an empty datagram ends it", "told -42, told -42, devices --",
     "told 0, told 0, devices ++"),
    (stopped, "M8: a stopped process costs 10 s",
     "told -42 late...", "told -42 in time, devices ---"),
    (queue_full, "M8: a full queue blocks for ever", "stuck",
     "told -42 12 times; when it goes on told 0, devices ++"),
    (killed, "M8: a process that dies in its probe fails the others",
     "told -42, devices --", "told 0, devices ++"),
    (gone_between, "M12: a process that has just gone fails the others",
     "told -42, devices --", "told 0, devices ++"),
    (long_devargs, "M14: long devargs are cut off",
     # Refused since 25.11.
     ("told 0, devices ++, arguments 116 of 302 bytes", "told -7, devices --, arguments 0 of 302 bytes"),
     "told 0, devices ++, arguments whole"),
    (not_in_primary, "M15: detached elsewhere before it is looked for",
     "devices -++, told -2, devices ---", "devices -++, told 0, devices --+"),
    (from_callback, "M16: an attach in an event callback fails",
     "told 0, in the callback -42, devices --", "told 0, in the callback 0, devices ++"),
    (from_alarm, "M16: an attach in an alarm waits for its own thread", "told -42...",
     "told 0, devices ++"),
]


def run(scenario, mode):
    """What a scenario comes to; a text also when the group breaks down in it."""
    def start(secondaries=0, environment=None):
        GROUPS.append(Group(BUILD, mode, secondaries, environment))
        return GROUPS[-1]

    try:
        return scenario(start)
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def main():
    global BUILD
    BUILD = sys.argv[1]
    # meson ends a test that takes too long like this: the groups still clean up.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
    with concurrent.futures.ThreadPoolExecutor(PARALLEL) as pool:
        try:
            return show_all(pool)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for peer in [peer for group in GROUPS for peer in group.peers]:
                peer.process.kill()
            raise


def show_all(pool):
    futures = [[pool.submit(run, scenario, mode) for mode in ("stock", "hosted")]
               for scenario, *_ in TABLE]
    seen = ([future.result() for future in pair] for pair in futures)
    return show_defects([row for _, *row in TABLE], seen)


if __name__ == "__main__":
    sys.exit(main())
