#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Runs the suites inside each DPDK that Debian has, with one and the same library.

usage: tools/matrix.py [--all | --make] [VERSION...]     all, or some of 20.11 22.11 24.11 25.11

Each version runs in a Debian of its own, made by debootstrap the first time and kept in
$RTE_HOTPLUG_CACHE (default: ~/.cache/rte_hotplug); the library is built in the oldest, so that it needs no
newer C library than that has. The suites are built there, from these sources and with that DPDK's headers.
Needs root on a Debian, and cargo; what else is missing it installs. Huge pages (512 of 2 MB) are lent
meanwhile. At the end stands a table: version, suite, passed/failed.
"""

import argparse
import concurrent.futures
import contextlib
import dataclasses
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading

from results import ROOT, Results, add_meson_log, huge_pages, install


@dataclasses.dataclass(frozen=True)
class Release:
    """A Debian, and the DPDK in it."""
    name: str
    version: str


RELEASES = [Release("bullseye", "20.11"), Release("bookworm", "22.11"), Release("trixie", "24.11"),
            Release("forky", "25.11")]
# The library is built in it.
OLDEST = RELEASES[0]
PACKAGES = ["dpdk", "dpdk-dev", "libdpdk-dev", "gcc", "libc6-dev", "meson", "ninja-build", "pkg-config",
            "python3"]
# What the table calls it -> what meson calls it.
SUITES = {"differential": ["differential"],
          "testpmd": ["testpmd-session"],
          "multi-process": ["group-hosted", "group-mixes", "stock-peer"],
          "events": ["events", "monitor", "monitor_corners", "uevents"],
          "lifecycle": ["lifecycle-linked", "lifecycle-preloaded"],
          "attach": ["attach", "registry", "threads", "forks", "ethdev", "locks"],
          "linking": ["linking-hosted"]}
# They take as long again.
MORE = {"defects": ["stock-defects", "group-defects"],
        "hostile": ["group-hostile"],
        "faults": ["faults", "scans"]}
# What is run here -> the Debian package that has it.
TOOLS = {"debootstrap": "debootstrap", "meson": "meson", "readelf": "binutils"}
# What the build files need.
MESON = (1, 0)
EVENTS = threading.Lock()
# More than meson gives all tests of a suite together.
SECONDS = 1500


class Failure(Exception):
    """The text says what could not be done, and why."""


def cache() -> pathlib.Path:
    own = os.environ.get("RTE_HOTPLUG_CACHE")
    return pathlib.Path(own) if own else pathlib.Path.home() / ".cache/rte_hotplug"


def run(*command, seconds: int, **options) -> str:
    try:
        done = subprocess.run(list(map(str, command)), text=True, check=False, timeout=seconds,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, errors="replace",
                              stderr=subprocess.STDOUT, **options)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Failure(f"{' '.join(map(str, command))}: {error}") from error
    if done.returncode:
        raise Failure(f"{' '.join(map(str, command))}: status {done.returncode}\n{done.stdout}")
    return done.stdout


class System:
    """A Debian in a directory. What runs in it sees the sources, and one directory to write in."""

    def __init__(self, release: Release, scratch: pathlib.Path):
        self.release, self.scratch = release, scratch
        self.root = cache() / release.name

    def make(self) -> None:
        """Makes it, unless it is there: whole, as it is moved there last."""
        wanted = " ".join(PACKAGES)
        made = self.root / "packages-of-the-matrix"
        if made.exists() and made.read_text(encoding="utf-8") == wanted:
            return
        new = self.root.with_suffix(".new")
        for old in (self.root, new):
            shutil.rmtree(old, ignore_errors=True)
        new.parent.mkdir(parents=True, exist_ok=True)
        print(f"making a Debian {self.release.name}", flush=True)
        # One script does for all Debians; an older debootstrap does not know of the newest.
        run("unshare", "--mount", "debootstrap", "--variant=minbase",
            f"--include={','.join(PACKAGES)}", self.release.name, new, mirror(),
            "/usr/share/debootstrap/scripts/sid", seconds=SECONDS)
        shutil.rmtree(new / "var/cache/apt", ignore_errors=True)
        found = run("chroot", new, "pkg-config", "--modversion", "libdpdk", seconds=60).strip()
        if not found.startswith(self.release.version):
            raise Failure(f"Debian {self.release.name} has DPDK {found} now, not {self.release.version}")
        (new / made.name).write_text(wanted, encoding="utf-8")
        new.rename(self.root)

    def inside(self, *command, seconds: int, binds=(), **variables) -> str:
        """What a command prints that runs in it, with mounts and processes of its own: they end with it."""
        places = [(ROOT, "/mnt/sources"), (self.scratch, "/mnt/scratch"), *binds]
        # Not chroot: who is in one cannot make a user namespace, as a test does.
        script = f'set -e; cd "{self.root}"; mount --bind . .; cd "{self.root}"\n' + "".join(
            f'mkdir -p ".{there}"; mount --rbind "{here}" ".{there}"\n'
            for here, there in [*places, ("/dev", "/dev"), ("/sys", "/sys")])
        script += 'mount -o remount,bind,ro mnt/sources\n'
        script += 'mount -t proc proc proc; pivot_root . .; umount -l .; exec "$@"\n'
        # CI: what cannot run there is a failure.
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LC_ALL": "C.UTF-8",
                       "CI": "true"}
        return run("unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", script, "sh",
                   *command, seconds=seconds, env=environment | variables)


def mirror() -> str:
    """The Debian mirror that this machine uses."""
    indexes = run("apt-get", "indextargets", "--format", "$(LABEL) $(REPO_URI)", seconds=60)
    found = re.search(r"^Debian (\S+)", indexes, re.MULTILINE)
    if found is None:
        raise Failure("apt knows no mirror of Debian")
    return found.group(1)


def build_library(system: System) -> pathlib.Path:
    """Builds the library with this machine's Rust and that system's C library."""
    sysroot = run("rustc", "--print", "sysroot", seconds=60).strip()
    home = os.environ.get("CARGO_HOME", str(pathlib.Path.home() / ".cargo"))
    (system.scratch / "library").mkdir()
    run("cargo", "fetch", "--locked", cwd=ROOT, seconds=SECONDS)
    print(f"building the library on {system.release.name}", flush=True)
    system.inside("python3", "/mnt/sources/tools/cargo_build.py", "--cargo", "/mnt/rust/bin/cargo",
                  "--profile", "release", "--manifest", "/mnt/sources/Cargo.toml",
                  "--target-dir", "/mnt/scratch/target", "--depfile", "/mnt/scratch/library.d",
                  *(f"/mnt/scratch/library/{name}"
                    for name in ("librte_hotplug.so.1", "librte_hotplug.so", "librte_hotplug.a")),
                  binds=[(sysroot, "/mnt/rust"), (home, "/mnt/cargo")], seconds=SECONDS,
                  CARGO_HOME="/mnt/cargo", CARGO_NET_OFFLINE="true", RUSTC="/mnt/rust/bin/rustc")
    return system.scratch / "library/librte_hotplug.so.1"


def newest_glibc(library: pathlib.Path) -> str:
    symbols = run("readelf", "-V", "-W", library, seconds=60)
    versions = {tuple(map(int, v.split("."))) for v in re.findall(r"GLIBC_([\d.]+)", symbols)}
    return ".".join(map(str, max(versions)))


def meson(system: System, *arguments: str) -> str:
    """The system's own meson, or this machine's where that is too old."""
    own = system.inside("meson", "--version", seconds=60).strip()
    if tuple(map(int, own.split("."))) >= MESON:
        return system.inside("meson", *arguments, seconds=SECONDS)
    # Of Debian's package, which other Pythons do not know.
    package = run("/usr/bin/python3", "-c", "import mesonbuild; print(mesonbuild.__path__[0])", seconds=60)
    return system.inside("python3", "-m", "mesonbuild.mesonmain", *arguments, seconds=SECONDS,
                         binds=[(pathlib.Path(package.strip()).parent, "/mnt/meson")],
                         PYTHONPATH="/mnt/meson")


def try_version(release: Release, scratch: pathlib.Path,
                suites: dict[str, list[str]]) -> tuple[Results, dict[str, str]]:
    """All suites of one version; what could not be run is missing in the second."""
    results, cells = Results(), {}
    try:
        system = System(release, scratch)
        system.make()
        build_suites(system)
        for name, tests in suites.items():
            # All see the kernel's events.
            with EVENTS if name == "events" else contextlib.nullcontext():
                cells[name] = test_suite(system, results, name, tests)
    except Failure as failure:
        results.add(f"{release.version} on {release.name}", False, str(failure))
    return results, cells


def build_suites(system: System) -> None:
    build = f"/mnt/scratch/build-{system.release.name}"
    print(f"building the suites on {system.release.name}", flush=True)
    meson(system, "setup", build, "/mnt/sources", "-Dprebuilt=/mnt/scratch/library",
          "-Dhosted_tests=enabled", "-Dgroup_tests=enabled", "-Dvalgrind=disabled",
          "-Dlab_tests=disabled")
    meson(system, "compile", "-C", build)


def test_suite(system: System, results: Results, name: str, tests: list[str]) -> str:
    version, build = system.release.version, f"build-{system.release.name}"
    (system.scratch / build / "meson-logs/testlog.json").unlink(missing_ok=True)
    with contextlib.suppress(Failure):  # meson's status: its log tells more
        meson(system, "test", "-C", f"/mnt/scratch/{build}", "--no-rebuild", "--suite", "hosted", *tests)
    before = results.passed, results.failed + results.skipped
    if add_meson_log(results, version, system.scratch / build) != len(tests):
        results.add(f"{version} {name}: not all of {', '.join(tests)} ran", False)
    return f"{results.passed - before[0]}/{results.failed + results.skipped - before[1]}"


def table(cells: dict[str, dict[str, str]], suites: dict[str, list[str]]) -> str:
    rows = [["DPDK", *suites]]
    rows += [[version, *(row.get(suite, "-") for suite in suites)] for version, row in cells.items()]
    widths = [max(map(len, column)) for column in zip(*rows)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def matrix(results: Results, scratch: pathlib.Path, releases: list[Release],
           suites: dict[str, list[str]]) -> None:
    """Runs all that is asked for, and prints the table."""
    cells: dict[str, dict[str, str]] = {}
    try:
        oldest = System(OLDEST, scratch)
        oldest.make()
        library = build_library(oldest)
        print(f"the library needs glibc {newest_glibc(library)}", flush=True)
    except Failure as failure:
        results.add("a library for all versions", False, str(failure))
        return
    # Two at a time: they wait more than they work.
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        tried = pool.map(lambda release: try_version(release, scratch, suites), releases)
        for release, (own, cells[release.version]) in zip(releases, tried):
            results.take(own)
    print(table(cells, suites), flush=True)


def make(releases: list[Release]) -> int:
    try:
        for release in {OLDEST: None, **dict.fromkeys(releases)}:
            System(release, pathlib.Path()).make()
    except Failure as failure:
        sys.exit(str(failure))
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    extent = parser.add_mutually_exclusive_group()
    extent.add_argument("--all", action="store_true", help="run more suites")
    extent.add_argument("--make", action="store_true", help="make the Debians, and run nothing")
    parser.add_argument("versions", nargs="*", metavar="VERSION")
    options = parser.parse_args()
    wanted = set(options.versions)
    unknown = wanted - {release.version for release in RELEASES}
    if unknown:
        parser.error(f"Debian has no DPDK {', '.join(sorted(unknown))}")
    if os.geteuid():
        sys.exit("tools/matrix.py needs root: it makes systems and mounts")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
    results = Results()
    install(results, TOOLS, {})
    releases = [release for release in RELEASES if not wanted or release.version in wanted]
    if options.make:
        return make(releases)
    with tempfile.TemporaryDirectory(prefix="rte_hotplug_matrix_") as scratch, huge_pages(results):
        matrix(results, pathlib.Path(scratch), releases, SUITES | MORE if options.all else SUITES)
    return results.close()


if __name__ == "__main__":
    sys.exit(main())
