# SPDX-License-Identifier: BSD-3-Clause
"""What a case works with: a guest, a subject in it, and NICs that come and go."""

import dataclasses
import itertools
import re

from subjects import EAL, App, Driver, Testpmd

VFIO, UIO = "vfio-pci", "uio_pci_generic"
MODELS = {VFIO: "e1000e", UIO: "e1000"}
# Where an e1000 shows the first half of its MAC address: it tells one device from the next.
MAC_REGISTER = 0x5400

# QEMU's events name a device: no two of a run have the same name.
numbers = itertools.count()


@dataclasses.dataclass
class Nic:
    id: str
    name: str
    driver: str
    port: int
    mac: bytes
    # Where the subject's log and the events stood when it came.
    mark: int
    event_mark: int


class Bench:
    def __init__(self, guest, kind, library):
        self.guest, self.kind, self.library = guest, kind, library
        self.subject, self.nics = None, []

    @property
    def is_stock(self):
        return self.kind == "stock"

    def start(self, handle=True, testpmd=True):
        """testpmd detaches what was removed; without it the case decides."""
        library = self.library if self.kind == "preload" else None
        if self.kind == "driver":
            self.subject = Driver(self.guest, handle)
        elif self.kind == "app":
            self.subject = App(self.guest, handle, f"lab-app-linked {EAL}")
        elif testpmd:
            self.subject = Testpmd(self.guest, handle, library)
        else:
            self.subject = App(self.guest, handle, f"lab-app-plain {EAL}", library)
        return self.subject

    def add(self, driver=VFIO, port=0):
        """A new NIC, which no driver of the guest's kernel takes."""
        number = next(numbers)
        mac = bytes([2, 0]) + number.to_bytes(2, "big") + bytes([0, port])
        mark, log_mark = self.guest.events.mark(), self.guest.subject.mark()
        self.guest.monitor("device_add", driver=MODELS[driver], id=f"nic{number}",
                           bus=f"port{port}", netdev=f"wire{port}",
                           mac=":".join(f"{byte:02x}" for byte in mac))
        name = self.guest.events.wait(r"^add pci (\S+)\n", mark).group(1)
        nic = Nic(f"nic{number}", name, driver, port, mac, log_mark, mark)
        self.nics.append(nic)
        return nic

    def bind(self, nic):
        """The kernel tells of a device before it binds any driver to it: probing may do nothing."""
        self.guest.output(f"echo {nic.driver} >/sys/bus/pci/devices/{nic.name}/driver_override && "
                          f"echo {nic.name} >/sys/bus/pci/drivers_probe")
        self.guest.events.wait(rf"^bind pci {nic.name}\n", nic.event_mark)

    def plug(self, driver=VFIO, port=0):
        nic = self.add(driver, port)
        self.bind(nic)
        return nic

    def plug_and_attach(self, driver=VFIO, port=0):
        nic = self.plug(driver, port)
        self.subject.attach(nic.name)
        return nic

    def pull(self, nic):
        """Asks the guest's kernel, which asks who holds the device."""
        self.guest.monitor("device_del", id=nic.id)

    def await_deleted(self, nic):
        self.guest.monitor.await_deleted(nic.id)
        self.nics.remove(nic)

    def wire(self, nic):
        return self.guest.wires[nic.port]

    def flood(self, nic):
        self.subject.traffic("flood")
        self.wire(nic).await_frames(100)

    def bar(self, nic):
        """Where the subject has the device's registers."""
        maps = self.guest.output(f"cat /proc/{self.subject.pid}/maps")
        found = re.search(rf"^([0-9a-f]+)-\S+ .*{nic.name}/resource0$", maps, re.MULTILINE)
        if not found:
            raise AssertionError(f"{nic.name} is not mapped")
        return int(found.group(1), 16)

    def read_mac(self, bar):
        """The half of the MAC address that one register holds."""
        return self.subject.read(bar + MAC_REGISTER).to_bytes(4, "little")

    def counts(self):
        """What must not grow: descriptors, threads, mappings, huge pages in use."""
        process = f"/proc/{self.subject.pid}"
        numbers = self.guest.output(
            f"ls {process}/fd | wc -l; ls {process}/task | wc -l; wc -l <{process}/maps; "
            "awk '/HugePages_Total/ {t = $2} /HugePages_Free/ {print t - $2}' /proc/meminfo")
        return dict(zip(("descriptors", "threads", "maps", "huge pages"),
                        map(int, numbers.split())))

    def clear(self):
        """Leaves the guest as it was, for the next case."""
        if self.subject:
            self.subject.end()
        for nic in list(self.nics):
            if not self.guest.monitor.deleted(nic.id):
                self.pull_again(nic)
            self.await_deleted(nic)

    def pull_again(self, nic):
        """A case may have pulled it without success, and QEMU then refuses."""
        try:
            self.pull(nic)
        except RuntimeError:
            pass
