# SPDX-License-Identifier: BSD-3-Clause
"""One guest with PCI hotplug: starts it, talks to it, always ends it."""

import contextlib
import ctypes
import pathlib
import re
import signal
import socket
import subprocess
import threading

import image
import packages
from stream import SECONDS, GuestLost, Monitor, Stream, Wire

PORTS = 2
HUGE_PAGES = 128
MEMORY = 768
BOOT_SECONDS = 90
# A machine whose KVM hangs or fails is told from one where it works.
KVM_SECONDS = 15
KERNEL_OPTIONS = ("console=ttyS0 quiet loglevel=6 panic=-1 nokaslr mitigations=off audit=0 "
                  "tsc=reliable no_timer_check intel_iommu=on iommu=pt "
                  f"lab.huge={HUGE_PAGES}")
# With a thread per CPU, QEMU 7.2 crashes at times: one maps a BAR while the other accesses one.
# A newer CPU has only extensions that cost TCG time.
ACCELERATORS = {"tcg": ["-accel", "tcg,thread=single", "-cpu", "Nehalem"],
                "kvm": ["-accel", "kvm", "-cpu", "host"]}
PR_SET_PDEATHSIG = 1


def die_with_parent():
    """QEMU ends with us, also when we are killed."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Builder:
    """What is made once per run: QEMU's command line and the guest's image."""

    def __init__(self, work, programs, links):
        self.work = pathlib.Path(work)
        self.logs = self.work / "logs"
        self.logs.mkdir(parents=True, exist_ok=True)
        tree = packages.tree(self.work)
        self.command, self.environment = packages.qemu_command(tree)
        self.kernel, self.initrd = packages.kernel(tree), self.work / "initrd"
        image.build(self.initrd, tree, programs, links)

    def boot(self, native=False):
        return Guest(self, self.accelerator(), native)

    def accelerator(self):
        """KVM if a guest boots with it; found out once per build directory."""
        known = self.work / "accelerator"
        if not known.exists():
            known.write_text("kvm" if self._kvm_works() else "tcg")
        return known.read_text()

    def _kvm_works(self):
        try:
            open("/dev/kvm", "r+b", buffering=0).close()
            Guest(self, "kvm", native=False, seconds=KVM_SECONDS).close()
        except (OSError, GuestLost, TimeoutError):
            return False
        return True


class Guest:
    """native: hotplug by the ports' own slot registers instead of ACPI."""

    def __init__(self, builder, accelerator, native, seconds=BOOT_SECONDS):
        self.sequence, self.ends = 0, {}
        machine = "q35,kernel-irqchip=split" if accelerator == "kvm" else "q35"
        command = [*builder.command, "-nodefaults", "-no-user-config", "-display", "none",
                   "-no-reboot", "-machine", machine, *ACCELERATORS[accelerator],
                   "-smp", "2", "-m", str(MEMORY), "-kernel", str(builder.kernel),
                   "-initrd", str(builder.initrd), "-append", KERNEL_OPTIONS,
                   *self._devices(native), *self._channels()]
        self.log = open(builder.logs / "qemu.log", "w")
        inherited = [theirs.fileno() for _, theirs in self.ends.values()]
        self.process = subprocess.Popen(
            command, env=builder.environment, pass_fds=inherited, stdin=subprocess.DEVNULL,
            stdout=self.log, stderr=subprocess.STDOUT, preexec_fn=die_with_parent)
        try:
            self._connect(builder.logs)
            self.commands.wait(r"^READY\n", seconds=seconds)
        except (GuestLost, TimeoutError) as error:
            self.close()
            said = (builder.logs / "qemu.log").read_text() + self.console.since(0)
            raise GuestLost(f"{error}: ...{said[-500:]}") from error
        except BaseException:
            self.close()
            raise

    def _devices(self, native):
        options = ["-device", "intel-iommu,intremap=on,caching-mode=on"]
        if native:
            options += ["-global", "ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off"]
        for port in range(PORTS):
            options += ["-device", f"pcie-root-port,id=port{port},chassis={port + 1},"
                                   f"slot={port + 1},addr={0x10 + port:#x}.0x0"]
        return options

    def _channel(self, name, kind):
        """QEMU inherits one end of a pair: no path, and nothing to wait for."""
        self.ends[name] = socket.socketpair(socket.AF_UNIX, kind)
        return self.ends[name][1].fileno()

    def _channels(self):
        options = []
        for name in ("console", "commands", "subject", "events"):
            descriptor = self._channel(name, socket.SOCK_STREAM)
            options += ["-chardev", f"socket,id={name},fd={descriptor}",
                        "-serial", f"chardev:{name}"]
        descriptor = self._channel("monitor", socket.SOCK_STREAM)
        options += ["-chardev", f"socket,id=monitor,fd={descriptor}",
                    "-mon", "chardev=monitor,mode=control"]
        for port in range(PORTS):
            descriptor = self._channel(f"wire{port}", socket.SOCK_DGRAM)
            options += ["-netdev",
                        f"dgram,id=wire{port},local.type=fd,local.str={descriptor}"]
        return options

    def _connect(self, logs):
        ours = {}
        for name, (mine, theirs) in self.ends.items():
            theirs.close()
            ours[name] = mine
        self.console, self.commands, self.subject, self.events = (
            Stream(ours[name], logs / f"{name}.log")
            for name in ("console", "commands", "subject", "events"))
        self.wires = [Wire(ours[f"wire{port}"]) for port in range(PORTS)]
        self.monitor = Monitor(ours["monitor"])

    def run(self, command, seconds=SECONDS):
        """A shell command's status and output."""
        self.sequence += 1
        mark = self.commands.mark()
        self.commands.write(f"{self.sequence} {command}\n")
        end = self.commands.wait(rf"@@{self.sequence}@@ (\d+)\n", mark, seconds)
        return int(end.group(1)), self.commands.since(mark)[:end.start() - mark]

    def output(self, command):
        status, text = self.run(command)
        if status:
            raise RuntimeError(f"{command!r} in the guest: status {status}, {text}")
        return text.strip()

    @contextlib.contextmanager
    def deadline(self, seconds):
        """Ends the guest, and with it every wait, when what is inside takes too long."""
        timer = threading.Timer(seconds, self.process.kill)
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            timer.join()

    def alive(self):
        return self.process.poll() is None

    def tail(self):
        """The end of each log, for who looks for the cause of a failure."""
        lines = []
        for name in ("console", "events", "subject"):
            text = re.sub(r"[^\x20-\x7e\n]", "", getattr(self, name).since(0))
            lines += [f"--- {name}", *text.splitlines()[-15:]]
        return lines

    def close(self):
        self.process.kill()
        self.process.wait()
        self.log.close()
        for mine, _ in self.ends.values():
            mine.close()
