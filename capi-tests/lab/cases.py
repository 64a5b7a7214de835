# SPDX-License-Identifier: BSD-3-Clause
"""The cases: what happens to a device, and what each subject has to make of it.

A case gets a bench. Where stock goes wrong that is asserted, too: it is why ours exists.
"""

import dataclasses
import errno
import typing

from bench import UIO, VFIO
from tap import check, same

SIGBUS_STATUS = 128 + 7
CYCLES = 15
# More uevents than stock's socket has room for.
BURST = 2000
# Faults of one access until a loop is one.
LOOP = 200

CASES = []


@dataclasses.dataclass
class Case:
    name: str
    run: typing.Callable
    subjects: tuple
    native: bool


def case(name, subjects=("stock", "preload", "app"), native=False):
    def add(function):
        CASES.append(Case(name, function, subjects, native))
        return function

    return add


def quits(subject):
    same(subject.quit(), 0, "exit status")


@case("orderly-detach")
def _(bench):
    """Detached first, removed then; and the next one works."""
    subject = bench.start()
    for _ in range(2):
        nic = bench.plug_and_attach()
        bench.flood(nic)
        subject.detach(nic.name)
        bench.pull(nic)
        bench.await_deleted(nic)
    same(subject.is_ours(), not bench.is_stock, "whether librte_hotplug is at work")
    quits(subject)


@case("vfio-pull")
def _(bench):
    """Pulled while it sends."""
    subject = bench.start()
    nic = bench.plug_and_attach(VFIO)
    bench.flood(nic)
    mark = subject.log.mark()
    bench.pull(nic)
    subject.let_go(nic.name, mark)
    bench.await_deleted(nic)
    quits(subject)
    same(subject.told_removed(nic.name, mark), 1, "removals told")


@case("uio-pull")
def _(bench):
    subject = bench.start()
    nic = bench.plug_and_attach(UIO)
    bench.flood(nic)
    mark = subject.log.mark()
    bench.pull(nic)
    bench.await_deleted(nic)
    subject.let_go(nic.name, mark)
    quits(subject)
    same(subject.told_removed(nic.name, mark), 1, "removals told")


@case("unattached-removal")
def _(bench):
    """A device that the application has not attached: stock tells of its coming only."""
    subject = bench.start(testpmd=False)
    nic = bench.plug(VFIO)
    mark = subject.log.mark()
    bench.pull(nic)
    bench.await_deleted(nic)
    if bench.is_stock:
        subject.log.wait(f"Cannot find device .{nic.name}. on bus", mark)
    else:
        subject.await_told(nic.name, mark)
    quits(subject)
    same(subject.told_removed(nic.name, mark), 0 if bench.is_stock else 1, "removals told")


@case("pull-unhandled")
def _(bench):
    """An application that asks for no events keeps the device until it gives it back."""
    subject = bench.start(handle=False)
    nic = bench.plug_and_attach(VFIO)
    bench.flood(nic)
    mark, console_mark = subject.log.mark(), bench.guest.console.mark()
    bench.pull(nic)
    bench.guest.console.wait("Relaying device request to user", console_mark)
    bench.wire(nic).await_frames(100)
    check(not bench.guest.monitor.deleted(nic.id), "the device went while it was in use")
    same(subject.told_removed(nic.name, mark), 0, "removals told")
    subject.detach(nic.name)
    bench.await_deleted(nic)
    quits(subject)


def fault_while_sending(bench, handle):
    """From here on every access to the registers is a SIGBUS."""
    subject = bench.start(handle)
    nic = bench.plug_and_attach(VFIO)
    bench.flood(nic)
    mark = subject.log.mark()
    bench.guest.output(f"lab-barfault {subject.pid}")
    return subject, nic, mark


@case("sigbus")
def _(bench):
    subject, nic, mark = fault_while_sending(bench, handle=True)
    if bench.is_stock:
        subject.log.await_count("catch SIGBUS", LOOP, mark)
        check(subject.told_removed(nic.name, mark) >= LOOP // 2, "told once per fault")
        return
    subject.let_go(nic.name, mark)
    same(subject.told_removed(nic.name, mark), 1, "removals told")
    bench.pull(nic)
    bench.await_deleted(nic)
    quits(subject)


@case("sigbus-unhandled")
def _(bench):
    """It ends as it would without DPDK, whoever is loaded."""
    subject, _, _ = fault_while_sending(bench, handle=False)
    same(subject.exit_status(), SIGBUS_STATUS, "exit status")


def replace(bench, nic):
    """Another device in the same place; it answers at the same addresses."""
    other = bench.plug(nic.driver, nic.port)
    same(other.name, nic.name, "the new device's address")
    return other


def pulled_uio(bench, handle):
    """A device that is gone while its registers may still be mapped, and where they were."""
    subject = bench.start(handle, testpmd=False)
    nic = bench.plug_and_attach(UIO)
    bar = bench.bar(nic)
    same(bench.read_mac(bar), nic.mac[:4], "the MAC register")
    mark = subject.log.mark()
    bench.pull(nic)
    bench.await_deleted(nic)
    return nic, bar, mark


def reaches(bench, bar, other):
    same(bench.read_mac(bar), other.mac[:4], "the MAC register")


def is_safe(bench, bar):
    same(bench.read_mac(bar), bytes(4), "what is read of a device that is gone")


@case("stale-unhandled", subjects=("stock",))
def _(bench):
    """Why a removal has to be handled: the mapping reaches the next device."""
    nic, bar, _ = pulled_uio(bench, handle=False)
    reaches(bench, bar, replace(bench, nic))


@case("stale-mapping")
def _(bench):
    """The application has been told, and takes its time."""
    nic, bar, mark = pulled_uio(bench, handle=True)
    bench.subject.await_told(nic.name, mark)
    is_safe(bench, bar)
    replace(bench, nic)
    is_safe(bench, bar)
    same(bench.subject.told_removed(nic.name, mark), 1, "removals told")


@case("lost-removal")
def _(bench):
    """More events than fit wait for a stopped process; the removal is one of those lost."""
    subject = bench.start(testpmd=False)
    nic = bench.plug_and_attach(UIO)
    bar = bench.bar(nic)
    mark = subject.log.mark()
    bench.guest.output(f"kill -STOP {subject.pid}; i=0; while [ $i -lt {BURST} ]; do "
                       "echo add >/sys/bus/pci/devices/0000:00:10.0/uevent; i=$((i + 1)); done")
    bench.pull(nic)
    bench.await_deleted(nic)
    bench.guest.output(f"kill -CONT {subject.pid}")
    if bench.is_stock:
        subject.log.wait("uevent socket connection is broken", mark)
        reaches(bench, bar, replace(bench, nic))
        same(subject.told_removed(nic.name, mark), 0, "removals told")
        return
    subject.await_told(nic.name, mark)
    replace(bench, nic)
    is_safe(bench, bar)
    subject.let_go(nic.name, mark)
    quits(subject)


def synthetic_remove(bench, driver):
    """The kernel says that a device is removed which is there: `udevadm trigger` does that."""
    subject = bench.start()
    nic = bench.plug_and_attach(driver)
    bench.flood(nic)
    mark = subject.log.mark()
    bench.guest.output(f"echo remove >/sys/bus/pci/devices/{nic.name}/uevent")
    return subject, nic, mark


def attaches_again(bench, subject, nic, mark, told):
    subject.let_go(nic.name, mark)
    subject.attach(nic.name)
    bench.flood(nic)
    quits(subject)
    same(subject.told_removed(nic.name, mark), told, "removals told")


@case("synthetic-vfio")
def _(bench):
    """Stock tells it as the event, and once more as what became of it."""
    attaches_again(bench, *synthetic_remove(bench, VFIO), told=2 if bench.is_stock else 1)


@case("synthetic-uio")
def _(bench):
    attaches_again(bench, *synthetic_remove(bench, UIO), told=1)


@case("slot-power", native=True)
def _(bench):
    """An operator turns a slot off."""
    subject = bench.start()
    nic = bench.plug_and_attach(VFIO)
    bench.flood(nic)
    mark = subject.log.mark()
    bench.guest.output(f"echo 0 >/sys/bus/pci/slots/{nic.port + 1}/power &")
    subject.let_go(nic.name, mark)
    bench.await_deleted(nic)
    quits(subject)


@case("two-ports")
def _(bench):
    """One is pulled, the other forwards."""
    subject = bench.start()
    pulled = bench.plug_and_attach(VFIO, port=0)
    kept = bench.plug_and_attach(VFIO, port=1)
    subject.traffic("echo")
    mark = subject.log.mark()
    bench.pull(pulled)
    subject.let_go(pulled.name, mark)
    bench.await_deleted(pulled)
    wire = bench.wire(kept)
    wire.await_payload(b"after the pull", wire.send)
    same(subject.told_removed(kept.name, mark), 0, "removals told of the other")
    quits(subject)


def follows(bench, driver):
    """What the first cycle needs is all that is ever needed."""
    first = None
    for _ in range(CYCLES):
        nic = bench.add(driver)
        bench.subject.meet(bench, nic)
        bench.wire(nic).await_frames(100)
        mark = bench.subject.log.mark()
        bench.pull(nic)
        bench.subject.let_go(nic.name, mark)
        bench.await_deleted(nic)
        first = first or bench.counts()
    same(bench.counts(), first, f"what is in use after {CYCLES} cycles")
    quits(bench.subject)


@case("auto-recovery")
def _(bench):
    """Pulled and added again and again."""
    bench.start().follow()
    follows(bench, VFIO)


@case("auto-recovery-uio", subjects=("app",))
def _(bench):
    subject = bench.start()
    subject.command("flood", "traffic")
    subject.follow_with(UIO)
    follows(bench, UIO)


def recovers(bench, driver):
    """Registers are read all the time, and are those of the device that is there."""
    subject = bench.start()
    subject.follow_with(driver)
    subject.poll()
    first = None
    for _ in range(CYCLES):
        nic = bench.add(driver)
        subject.meet(bench, nic)
        same(bench.read_mac(subject.bar(nic.name)), nic.mac[:4], "the MAC register")
        mark = subject.log.mark()
        bench.pull(nic)
        subject.let_go(nic.name, mark)
        bench.await_deleted(nic)
        same(subject.told_removed(nic.name, mark), 1, "removals told")
        first = first or bench.counts()
    same(bench.counts(), first, f"what is in use after {CYCLES} cycles")
    quits(subject)


@case("driver-recovery-vfio", subjects=("driver",))
def _(bench):
    recovers(bench, VFIO)


@case("driver-recovery-uio", subjects=("driver",))
def _(bench):
    recovers(bench, UIO)


@case("driver-asked", subjects=("driver",))
def _(bench):
    """The kernel asks for a device under VFIO and waits for it."""
    subject = bench.start()
    nic = bench.plug_and_attach(VFIO)
    subject.poll()
    mark = subject.log.mark()
    bench.pull(nic)
    subject.await_told(nic.name, mark)
    check(not bench.guest.monitor.deleted(nic.id), "the device went while it was in use")
    same(bench.read_mac(subject.bar(nic.name)), nic.mac[:4], "the MAC register")
    subject.detach(nic.name)
    bench.await_deleted(nic)
    same(subject.told_removed(nic.name, mark), 1, "removals told")
    quits(subject)


@case("driver-sigbus", subjects=("driver",))
def _(bench):
    subject = bench.start()
    nic = bench.plug_and_attach(VFIO)
    subject.poll()
    mark = subject.log.mark()
    bench.guest.output(f"lab-barfault {subject.pid}")
    subject.await_told(nic.name, mark)
    is_safe(bench, subject.bar(nic.name))
    subject.detach(nic.name)
    same(subject.told_removed(nic.name, mark), 1, "removals told")
    bench.pull(nic)
    bench.await_deleted(nic)
    quits(subject)


@case("driver-stale", subjects=("driver",))
def _(bench):
    """Under uio the mapping of a device that is gone must not reach the next one."""
    subject = bench.start()
    nic = bench.plug_and_attach(UIO)
    bar = subject.bar(nic.name)
    same(bench.read_mac(bar), nic.mac[:4], "the MAC register")
    mark = subject.log.mark()
    bench.pull(nic)
    bench.await_deleted(nic)
    subject.await_told(nic.name, mark)
    is_safe(bench, bar)
    other = replace(bench, nic)
    is_safe(bench, bar)
    subject.detach(nic.name)
    subject.attach(other.name)
    same(bench.read_mac(subject.bar(other.name)), other.mac[:4], "the next one's MAC register")
    quits(subject)


@case("binding", subjects=("driver",))
def _(bench):
    """From one kernel driver to another, and back; what is refused leaves all as it was."""
    subject = bench.start()
    nic = bench.add(VFIO)

    def has(driver):
        link = f"/sys/bus/pci/devices/{nic.name}/driver"
        same(bench.guest.output(f"readlink {link} || true").strip().rpartition("/")[2], driver,
             "the kernel's driver")

    for driver in (VFIO, VFIO, UIO, VFIO):
        same(subject.bind(nic.name, driver), 0, f"bind to {driver}")
        has(driver)
    same(subject.bind(nic.name, "no_such_driver"), -errno.ENOENT, "an unknown driver")
    same(subject.bind("0000:7f:00.0", VFIO), -errno.ENODEV, "an unknown device")
    has(VFIO)
    subject.attach(nic.name)
    same(subject.bind(nic.name, UIO), -errno.EBUSY, "an attached device")
    has(VFIO)
    subject.detach(nic.name)
    same(subject.bind(nic.name, "pcieport"), -errno.ENODEV, "a driver that refuses it")
    has(VFIO)
    for driver in ("", None):
        same(subject.bind(nic.name, driver), 0, "bind to nothing, to the kernel's own")
        has("")
    bench.pull(nic)
    bench.await_deleted(nic)
    quits(subject)
