# SPDX-License-Identifier: BSD-3-Clause
"""The applications under test, behind one set of verbs.

stock: testpmd as it is. preload: testpmd with LD_PRELOAD=librte_hotplug.so. app: lab-app, linked
with the library. driver: lab-driver, which has no DPDK. What testpmd does not do is done by lab-app in
the first two as well.
"""

import re

from tap import check, same

# Physical addresses suit uio and VFIO both, and the first device comes after EAL has chosen.
EAL = "-l 0-1 -m 64 --iova-mode=pa --log-level=lib.eal:debug --log-level=lib.hotplug:debug"


class Subject:
    """A process in the guest whose terminal we hold; `log` is what it has written."""

    def __init__(self, guest, command, library):
        self.guest, self.log = guest, guest.subject
        if library:
            command = f"LD_PRELOAD={library} {command}"
        mark = self.log.mark()
        guest.run(f"({command} </dev/ttyS2 >/dev/ttyS2 2>&1 & p=$!; echo LAUNCHED $p >/dev/ttyS2; "
                  "wait $p; echo EXITED $? >/dev/ttyS2) >/dev/null 2>&1 &")
        self.pid = int(self.log.wait(r"^LAUNCHED (\d+)\n", mark).group(1))
        self.start = mark

    def ask(self, command, answer):
        mark = self.log.mark()
        self.log.write(command + "\n")
        return self.log.wait(answer, mark)

    def exit_status(self):
        """As the shell tells it: 128 and the number of the signal that ended it."""
        return int(self.log.wait(r"EXITED (\d+)\n", self.start).group(1))

    def is_ours(self):
        """Whether librte_hotplug has logged anything."""
        return bool(self.log.count("^HOTPLUG: ", self.start))

    def running(self):
        return not self.log.count(r"EXITED \d+\n", self.start)

    def quit(self):
        self.log.write("quit\n")
        return self.exit_status()

    def end(self):
        if self.running():
            self.guest.run(f"kill -9 {self.pid}")
            self.exit_status()


class Testpmd(Subject):
    def __init__(self, guest, handle, library=None):
        options = "--hot-plug " if handle else ""
        super().__init__(
            guest, f"dpdk-testpmd {EAL} -- -i {options}--total-num-mbufs=4096", library)
        self.log.wait("testpmd> ", self.start)
        self.ports, self.forwarding = {}, False

    def attach(self, name):
        answer = self.ask(f"port attach {name}", r"Port (\d+) is attached|[Ff]ail\w* to attach.*")
        check(answer.group(1), f"port attach {name}: {answer.group(0)}")
        self.ports[name] = int(answer.group(1))
        self.ask(f"port start {self.ports[name]}", r"^Done\n")

    def traffic(self, kind):
        self.stop()
        mode = "txonly" if kind == "flood" else "io"
        self.ask(f"set fwd {mode}", f"Set {mode} packet forwarding mode")
        self.ask("start", "packets/burst=")
        self.forwarding = True

    def stop(self):
        self.ask("stop", r"^Done\.\n|not started")
        self.forwarding = False

    def told_removed(self, name, mark):
        """How often its callback heard of it."""
        return self.log.count(f"The device: {name} has been removed!", mark)

    def let_go(self, name, mark):
        """It detaches by itself what was removed."""
        self.log.wait(r"Device is detached\n(.*\n)*?Now total ports is", mark)
        del self.ports[name]

    def detach(self, name):
        self.stop()
        port = self.ports.pop(name)
        self.ask(f"port stop {port}", r"^Done\n")
        self.ask(f"port detach {port}", "^Now total ports is")

    def follow(self):
        """Nothing to prepare: meet() does what the event asks for."""

    def meet(self, bench, nic):
        """A device was added; testpmd leaves binding and attaching to its user."""
        self.log.wait(f"The device: {nic.name} has been added!", nic.mark)
        bench.bind(nic)
        self.attach(nic.name)
        self.traffic("flood")


class App(Subject):
    def __init__(self, guest, handle, program, library=None):
        super().__init__(guest, program, library)
        self.log.wait(r"^app: ready\n", self.start)
        self.automatic = False
        if handle:
            self.command("handle", "handle")

    def command(self, line, answer):
        result = self.ask(line, rf"^app: {re.escape(answer)}: (-?\d+)\n").group(1)
        same(result, "0", f"the answer to {line!r}")

    def attach(self, name):
        self.command(f"attach {name}", f"attach {name}")

    def read(self, address):
        """Four bytes, as a driver reads a register."""
        return int(self.ask(f"read {address:x}", r"^app: read: ([0-9a-f]+)\n").group(1), 16)

    def traffic(self, kind):
        self.command(kind, "traffic")

    def told_removed(self, name, mark):
        return self.log.count(rf"^app: event remove {name}\n", mark)

    def await_told(self, name, mark):
        self.log.wait(rf"^app: event remove {name}\n", mark)

    def let_go(self, name, mark):
        self.await_told(name, mark)
        if self.automatic:
            self.log.wait(rf"^app: detach {name}: 0\n", mark)
        else:
            self.detach(name)

    def detach(self, name):
        self.command(f"detach {name}", f"detach {name}")

    def follow(self):
        self.command("flood", "traffic")
        self.follow_with("vfio-pci")

    def follow_with(self, driver):
        self.command(f"auto {driver}", "auto")
        self.automatic = True

    def meet(self, _, nic):
        self.log.wait(rf"^app: attach {nic.name}: 0\n", nic.mark)


class Driver(App):
    """It has drivers of its own instead of ports, and reads registers for traffic."""

    def __init__(self, guest, handle):
        super().__init__(guest, handle, "lab-driver")

    def poll(self):
        self.command("poll", "poll")

    def bind(self, name, driver):
        """The result of binding a NIC; None: to the kernel's own driver, "": to none."""
        command = f"free {name}" if driver == "" else f"bind {name} {driver or ''}"
        return int(self.ask(command, r"^app: bind: (-?\d+)\n").group(1))

    def bar(self, name):
        return int(self.ask(f"bar {name}", r"^app: bar: ([0-9a-f]+)\n").group(1), 16)
