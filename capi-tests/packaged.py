#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Makes the Debian package and tries it: what is in it, building with it, installing and purging it.

    packaged.py SCRATCH_DIR
"""

import contextlib
import gzip
import hashlib
import os
import pathlib
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tarfile

from installed import APPLICATION
from tap import Tap, check, missing, same

ROOT = pathlib.Path(__file__).resolve().parent.parent
# What of a system an installation may change for good.
LOGS = {"/var/log/dpkg.log", "/var/log/alternatives.log", "/var/cache/ldconfig/aux-cache",
        "/var/lib/dpkg/status-old", "/var/lib/dpkg/triggers/Lock", "/var/lib/dpkg/lock",
        "/var/lib/dpkg/lock-frontend"}


def output(*command, **options) -> str:
    done = subprocess.run(list(map(str, command)), text=True, check=False, timeout=300,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options)
    check(done.returncode == 0,
          f"{shlex.join(map(str, command))}: {done.returncode}\n{done.stdout}")
    return done.stdout


def need(*tools: str) -> None:
    for tool in tools:
        if shutil.which(tool) is None:
            missing(f"{tool} is not installed")


def expected_files(libdir: str) -> dict[str, str]:
    """Path -> kind and mode."""
    documents = "./usr/share/doc/librte-hotplug"
    files = {path: "-0644" for path in [
        "./usr/include/rte_hotplug.h", "./usr/include/rte_hotplug_eal.h",
        f"./usr/{libdir}/librte_hotplug.a", f"./usr/{libdir}/librte_hotplug_static.a",
        f"./usr/{libdir}/librte_hotplug.so.1", f"./usr/{libdir}/pkgconfig/rte_hotplug.pc",
        f"./usr/{libdir}/pkgconfig/rte_hotplug_static.pc", f"{documents}/README.md.gz",
        f"{documents}/changelog.Debian.gz", f"{documents}/copyright",
        f"{documents}/examples/hotplug_demo.c", "./usr/share/man/man7/librte_hotplug.7.gz"]}
    return files | {f"./usr/{libdir}/librte_hotplug.so": "librte_hotplug.so.1"}


def contents(tap: Tap, package: str, unpacked: pathlib.Path, libdir: str) -> None:
    @tap.case("the package has the files that it should, of root")
    def _():
        archive = tarfile.open(fileobj=subprocess.Popen(
            ["dpkg-deb", "--fsys-tarfile", package], stdout=subprocess.PIPE).stdout, mode="r|")
        members = list(archive)
        found = {m.name: m.linkname if m.issym() else f"-{m.mode:04o}"
                 for m in members if not m.isdir()}
        same(sorted(found.items()), sorted(expected_files(libdir).items()), "files")
        same({f"{m.uid}:{m.gid}" for m in members}, {"0:0"}, "owners")
        same({m.mode for m in members if m.isdir()}, {0o755}, "modes of directories")

    @tap.case("nothing in it tells where it was built")
    def _():
        cargo = os.environ.get("CARGO_HOME", pathlib.Path.home() / ".cargo")
        places = [str(place).encode() for place in (ROOT, unpacked.parent, cargo)]
        output("dpkg-deb", "-e", package, unpacked.parent / "control")
        for directory in (unpacked, unpacked.parent / "control"):
            for path in (path for path in directory.rglob("*") if path.is_file()):
                data = path.read_bytes()
                data = gzip.decompress(data) if path.suffix == ".gz" else data
                same([place for place in places if place in data], [], f"places in {path}")

    @tap.case("it depends on the C library that its symbols need, and on nothing of DPDK")
    def _():
        symbols = output("readelf", "-V", "-W", unpacked / f"usr/{libdir}/librte_hotplug.so.1")
        newest = max((tuple(map(int, v.split("."))) for v in re.findall(r"GLIBC_([\d.]+)", symbols)))
        depends = output("dpkg-deb", "-f", package, "Depends").strip().split(", ")
        same(sorted(d.split()[0] for d in depends), ["libc6", "libgcc-s1"], "packages")
        check(f"libc6 (>= {'.'.join(map(str, newest))})" in depends, f"{depends}, not {newest}")

    @tap.case("lintian finds no error")
    def _():
        need("lintian")
        output("lintian", "--fail-on", "error", "--allow-root", package)

    @tap.case("the man page is clean")
    def _():
        need("mandoc")
        output("mandoc", "-T", "lint", "-W", "warning", ROOT / "docs/librte_hotplug.7")


def building(tap: Tap, unpacked: pathlib.Path, libdir: str) -> None:
    environment = dict(os.environ, PKG_CONFIG_SYSROOT_DIR=str(unpacked),
                       PKG_CONFIG_LIBDIR=str(unpacked / "usr" / libdir / "pkgconfig"))
    demo = unpacked / "usr/share/doc/librte-hotplug/examples/hotplug_demo.c"

    def build(program: str, source: str) -> None:
        output("sh", "-c", f"cc -std=c11 -Wall -Wextra -Wpedantic -Werror {source} -o {program} "
               "$(pkg-config --cflags --libs rte_hotplug)", cwd=unpacked.parent, env=environment)
        output(f"./{program}", cwd=unpacked.parent,
               env=dict(os.environ, LD_LIBRARY_PATH=str(unpacked / "usr" / libdir)))

    @tap.case("a program is built with pkg-config, and runs")
    def _():
        (unpacked.parent / "application.c").write_text(APPLICATION, encoding="utf-8")
        build("application", "application.c")

    @tap.case("so is the example that comes with it")
    def _():
        build("demo", shlex.quote(str(demo)))


def snapshot(root: pathlib.Path) -> dict[str, str]:
    """Path -> what is there."""
    found = {}
    for directory, directories, files in os.walk(root):
        for name in directories + files:
            path = pathlib.Path(directory, name)
            inside = "/" + str(path.relative_to(root))
            if inside in LOGS:
                continue
            if path.is_symlink():
                found[inside] = os.readlink(path)
            elif path.is_file():
                found[inside] = hashlib.sha256(path.read_bytes()).hexdigest()
            else:
                found[inside] = oct(path.stat().st_mode)
    return found


@contextlib.contextmanager
def bare_system(root: pathlib.Path):
    """One of this Debian's, made beside the other cases: it takes half of the time. None: it cannot be."""
    if shutil.which("debootstrap") is None or os.geteuid():
        yield None
        return
    release = pathlib.Path("/etc/os-release").read_text(encoding="utf-8")
    name = re.search(r"^VERSION_CODENAME=(\w+)", release, re.MULTILINE).group(1)
    log = root.with_suffix(".log")
    with log.open("w", encoding="utf-8") as told:
        # In a session of its own: its helpers end with it.
        making = subprocess.Popen(["debootstrap", "--variant=minbase", name, root], stdout=told,
                                  stderr=subprocess.STDOUT, start_new_session=True)
    try:
        yield making
    finally:
        if making.poll() is None:
            os.killpg(making.pid, signal.SIGTERM)
            making.wait()
        # What it unmounts itself when it is left alone.
        for point in filter(os.path.ismount, (root / "proc", root / "sys")):
            subprocess.run(["umount", point], check=False)
        shutil.rmtree(root, ignore_errors=True)


def installing(tap: Tap, package: str, scratch: pathlib.Path, root: pathlib.Path,
               making: subprocess.Popen | None) -> None:
    def inside(*command) -> str:
        return output("chroot", root, "env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", *command)

    @tap.case("a bare system takes it, runs programs with it, and is as before after a purge")
    def _():
        if making is None:
            missing("not root, or no debootstrap")
        status = making.wait(timeout=300)
        same(status, 0, f"status of debootstrap, which says {root.with_suffix('.log').read_text()}")
        before = snapshot(root)
        shutil.copy(package, root / "package.deb")
        shutil.copy(scratch / "application", root)
        inside("dpkg", "-i", "/package.deb")
        check("librte_hotplug.so.1" in inside("ldconfig", "-p"), "the linker does not know it")
        inside("/application")
        preloaded = ("env", "LD_PRELOAD=librte_hotplug.so.1")
        same(inside(*preloaded, "true"), "", "what the linker says")
        check("librte_hotplug.so.1 => /" in inside(*preloaded, "ldd", "/bin/true"), "it is not preloaded")
        same(inside("dpkg", "--verify", "librte-hotplug"), "", "what dpkg finds changed")
        inside("dpkg", "-P", "librte-hotplug")
        for name in ("package.deb", "application"):
            (root / name).unlink()
        after = snapshot(root)
        same(sorted(after.items() - before.items()), [], "left behind")
        same(sorted(before.items() - after.items()), [], "taken away")


def main() -> int:
    # Tap sets it too late for what is made beside it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
    scratch = pathlib.Path(sys.argv[1]).resolve()
    scratch.mkdir(exist_ok=True)
    root = scratch / "chroot"
    with bare_system(root) as making:
        package = subprocess.run([sys.executable, ROOT / "tools/deb.py", scratch], check=True,
                                 text=True, stdout=subprocess.PIPE, timeout=600,
                                 env=dict(os.environ, TMPDIR=str(scratch))).stdout.strip()
        libdir = "lib/" + output("dpkg-architecture", "-qDEB_HOST_MULTIARCH").strip()
        unpacked = scratch / "unpacked"
        output("dpkg-deb", "-x", package, unpacked)
        tap = Tap()
        contents(tap, package, unpacked, libdir)
        building(tap, unpacked, libdir)
        installing(tap, package, scratch, root, making)
        return tap.run()


if __name__ == "__main__":
    sys.exit(main())
