# SPDX-License-Identifier: BSD-3-Clause
"""Makes the guest's initramfs: busybox, kernel modules, DPDK and the programs under test.

The archive is written here, in the kernel's "newc" format, as root would be needed to collect
device nodes from a directory.
"""

import pathlib
import re
import shutil

from packages import Missing, busybox, one, output

HERE = pathlib.Path(__file__).resolve().parent
MODULES = ["vfio_pci", "vfio_iommu_type1", "uio_pci_generic"]
# All drivers would be 100 MB and seconds of start.
DRIVERS = ["bus_pci", "bus_vdev", "mempool_ring", "net_e1000"]
DIRECTORIES = ["proc", "sys", "dev", "tmp", "run", "var/run", "root", "usr/bin"]
# Where these are links, programs are asked for by either name.
MERGED = ["lib", "lib64"]
FILE, DIRECTORY, LINK, DEVICE = 0o100755, 0o040755, 0o120777, 0o020600


class Archive:
    """Adds each name once, after the directories above it."""

    def __init__(self, stream):
        self.stream, self.names = stream, set()

    def write(self, data):
        padding = b"\0" * (-len(data) % 4)
        self.stream.write(data + padding)

    def entry(self, name, mode, data=b"", device=(0, 0)):
        name = str(name).strip("/")
        if name in self.names:
            return
        if "/" in name:
            self.entry(name.rpartition("/")[0], DIRECTORY)
        self.names.add(name)
        fields = (len(self.names), mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(name) + 1, 0)
        self.write(b"070701" + b"".join(b"%08X" % field for field in fields)
                   + name.encode() + b"\0")
        self.write(data)

    def file(self, source, name):
        self.entry(name, FILE, source.read_bytes())

    def copy(self, source):
        """Puts it at the path that it has here, in whichever way that was spelt."""
        source = pathlib.Path(source)
        self.file(source, source.parent.resolve() / source.name)

    def end(self):
        self.entry("TRAILER!!!", 0)


def libraries(program):
    """What the loader would load for it, as full paths."""
    text = output(["ldd", program])
    if "not found" in text:
        lost = re.findall(r"(\S+) => not found", text)
        raise Missing(f"{', '.join(lost)}, which {program} needs")
    return re.findall(r"(/\S+) \(0x", text)


def add_program(archive, program):
    """A program or library, with what it loads."""
    archive.copy(program)
    for library in libraries(program):
        archive.copy(library)


def add_busybox(archive, packages):
    program = busybox(packages)
    archive.file(program, "bin/busybox")
    for applet in output([program, "--list"]).split():
        archive.entry(f"bin/{applet}", LINK, b"busybox")


def module_files(packages):
    """The modules in an order in which they load; what is not there is built in."""
    known = {path.name.split(".")[0].replace("-", "_"): path
             for path in packages.glob("**/lib/modules/*/kernel/**/*.ko")}
    order = []

    def add(name):
        path = known.get(name.replace("-", "_"))
        if path is None or path in order:
            return
        depends = re.search(rb"\0depends=([^\0]*)\0", path.read_bytes())
        for other in depends.group(1).decode().split(",") if depends else []:
            add(other)
        order.append(path)

    for name in MODULES:
        add(name)
    return order


def add_modules(archive, packages):
    for number, path in enumerate(module_files(packages)):
        archive.file(path, f"modules/{number:02}-{path.name}")


def add_driver(archive, plugin, libdir):
    """Where EAL looks for drivers; libraries get the same file, as two would be loaded both."""
    for directory in (libdir, plugin.parent):
        archive.entry(directory / plugin.stem, LINK, str(plugin).encode())
    add_program(archive, plugin)


def add_dpdk(archive):
    """testpmd and the drivers. Others that it is linked with are there, but not for EAL to find."""
    libdir = pathlib.Path(output(["pkg-config", "--variable=libdir", "libdpdk"]).strip())
    for driver in DRIVERS:
        add_driver(archive, one(libdir, f"dpdk/pmds-*/librte_{driver}.so.*.*"), libdir)
    add_program(archive, shutil.which("dpdk-testpmd"))
    # Ending a thread loads it, which ldd does not tell.
    archive.copy(one(libdir, "libgcc_s.so.1"))


def build(path, packages, programs, links):
    """Programs come with their libraries; links maps names in the guest to paths there."""
    with open(path, "wb") as stream:
        archive = Archive(stream)
        for directory in DIRECTORIES:
            archive.entry(directory, DIRECTORY)
        for directory in MERGED:
            if (target := pathlib.Path("/") / directory).is_symlink():
                archive.entry(directory, LINK, str(target.readlink()).encode())
        archive.entry("dev/console", DEVICE, device=(5, 1))
        archive.file(HERE / "guest/init", "init")
        add_busybox(archive, packages)
        add_modules(archive, packages)
        add_dpdk(archive)
        for program in programs:
            add_program(archive, program)
        for name, target in links.items():
            archive.entry(name, LINK, str(target).encode())
        archive.end()
