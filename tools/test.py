#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Runs all tests, from nothing: installs what is missing, builds, tests, prints one closing line.

usage: tools/test.py [--keep]     (--keep: leave the build directories for a faster next run)

With CI set in the environment nothing may be missing or skipped. Otherwise the parts that need DPDK,
root or valgrind are skipped, and counted, where they cannot run.
"""

import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
CI = bool(os.environ.get("CI"))

# What is run -> the Debian package that has it.
TOOLS = {"gcc": "gcc", "g++": "g++", "meson": "meson", "ninja": "ninja-build",
         "pkg-config": "pkg-config", "valgrind": "valgrind", "nm": "binutils", "make": "make",
         "dpdk-testpmd": "dpdk-dev", "dpdk-devbind.py": "dpdk", "dpkg-shlibdeps": "dpkg-dev",
         "debootstrap": "debootstrap", "lintian": "lintian", "mandoc": "mandoc"}
# Of 2 MB, for the DPDK groups of the tests.
HUGE_PAGES = 512
# How long the soak runs in each mode, in seconds.
SOAK = 30
# How long each fuzz target runs with coverage, in seconds.
FUZZ = 3

# pkg-config module -> package.
MODULES = {"libdpdk": "libdpdk-dev"}


class Results:
    """Counts, and prints what happens as it happens."""

    def __init__(self) -> None:
        self.passed = self.failed = self.skipped = 0
        self.failures: list[str] = []

    def add(self, name: str, ok: bool, detail: str = "") -> None:
        print(f"{'ok' if ok else 'FAILED'}: {name}", flush=True)
        if ok:
            self.passed += 1
        else:
            self.failed += 1
            self.failures.append(name)
            print(detail, flush=True)

    def skip(self, name: str, reason: str) -> None:
        if CI:
            self.add(name, False, f"may not be skipped in CI: {reason}")
        else:
            self.skipped += 1
            print(f"skipped: {name}: {reason}", flush=True)

    def close(self) -> int:
        for name in self.failures:
            print(f"failed: {name}")
        skipped = f", {self.skipped} skipped" if self.skipped else ""
        print(f"{self.passed} passed, {self.failed} failed{skipped}")
        return 1 if self.failed else 0


def run(command: list, timeout: int = 1200, **options) -> subprocess.CompletedProcess:
    print("+ " + " ".join(map(str, command)), flush=True)
    return subprocess.run(command, cwd=options.pop("cwd", ROOT), text=True, timeout=timeout,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, errors="replace",
                          stdin=subprocess.DEVNULL, **options)


def step(results: Results, name: str, command: list, **options) -> bool:
    done = run(command, **options)
    results.add(name, done.returncode == 0, done.stdout)
    return done.returncode == 0


def missing() -> list[str]:
    packages = [package for tool, package in TOOLS.items() if not shutil.which(tool)]
    if shutil.which("pkg-config"):
        packages += [package for module, package in MODULES.items()
                     if subprocess.run(["pkg-config", "--exists", module]).returncode]
    else:
        packages += MODULES.values()
    return packages


def install_missing(results: Results) -> None:
    packages = missing()
    if packages and os.geteuid() == 0 and shutil.which("apt-get"):
        environment = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
        run(["apt-get", "update", "-q"], env=environment)
        done = run(["apt-get", "install", "-y", "-q", *packages], env=environment)
        if done.returncode:
            print(done.stdout)
    for package in missing():
        results.skip(f"package {package}", "not installed: run as root on Debian, or install it")
    if not shutil.which("cargo"):
        sys.exit("cargo is missing: install Rust 1.85 or later with rustup")


@contextlib.contextmanager
def huge_pages(results: Results):
    """DPDK processes that share their devices need huge pages: lends some, and takes them back."""
    setting = pathlib.Path("/proc/sys/vm/nr_hugepages")
    before = setting.read_text()
    mounted = any(line.split()[2] == "hugetlbfs" for line in open("/proc/mounts"))
    point = pathlib.Path("/dev/hugepages")
    try:
        try:
            if int(before) < HUGE_PAGES:
                setting.write_text(str(HUGE_PAGES))
            if not mounted:
                point.mkdir(exist_ok=True)
                subprocess.run(["mount", "-t", "hugetlbfs", "none", point], check=True)
            lent = int(setting.read_text())
        except (OSError, subprocess.CalledProcessError) as error:
            results.skip("huge pages", f"cannot be set up: {error}: run as root")
            lent = 0
        else:
            if lent < HUGE_PAGES:
                results.skip("huge pages", f"only {lent} of {HUGE_PAGES}: is memory short?")
        yield lent >= HUGE_PAGES
    finally:
        if not mounted and os.path.ismount(point):
            subprocess.run(["umount", point])
        with contextlib.suppress(OSError):
            setting.write_text(before)


def rust(results: Results) -> None:
    step(results, "cargo fmt", ["cargo", "fmt", "--all", "--check"])
    step(results, "cargo clippy",
         ["cargo", "clippy", "--locked", "--all-targets", "--", "-D", "warnings"])
    step(results, "cargo doc", ["cargo", "doc", "--locked", "--no-deps"],
         env=dict(os.environ, RUSTDOCFLAGS="-D warnings"))
    done = run(["cargo", "test", "--locked", "--no-fail-fast"])
    tests = re.findall(r"^test (.+) \.\.\. (\w+)", done.stdout, re.MULTILINE)
    for name, outcome in tests:
        if outcome == "ignored":
            results.skip(name, "ignored")
        else:
            results.add(name, outcome == "ok")
    if done.returncode or not tests:
        results.add("cargo test", False, done.stdout)


def fuzz(results: Results) -> None:
    """The fuzz targets, built anew to count what they reach: one thread at a time."""
    environment = dict(os.environ, RUSTFLAGS="-C instrument-coverage --cfg fuzz_coverage",
                       CARGO_TARGET_DIR=str(ROOT / "target/coverage"),
                       LLVM_PROFILE_FILE=os.devnull, FUZZ_SECONDS=str(FUZZ))
    done = run(["cargo", "test", "--locked", "--test", "fuzz", "--", "--test-threads=1",
                "--nocapture"], env=environment)
    for line in re.findall(r"fuzz: .+ regions reached.*", done.stdout):
        print(line, flush=True)
    results.add("fuzz targets, with coverage", done.returncode == 0, done.stdout)


def c_suites(results: Results, build: pathlib.Path, name: str, setup: list, suites: list) -> bool:
    # A kept directory was set up for another scratch directory.
    again = ["--reconfigure"] if (build / "build.ninja").exists() else []
    done = run(["meson", "setup", *again, build, *setup])
    if done.returncode:
        results.add(f"{name}: meson setup", False, done.stdout)
        return False
    done = run(["meson", "compile", "-C", build])
    if done.returncode:
        results.add(f"{name}: meson compile", False, done.stdout)
        return False
    run(["meson", "test", "-C", build, "--no-rebuild", *suites], timeout=2400)
    log = build / "meson-logs/testlog.json"
    lines = log.read_text().splitlines() if log.exists() else []
    if not lines:
        results.add(f"{name}: meson test ran nothing", False)
    for line in lines:
        add_meson_test(results, name, json.loads(line))
    return True


def add_meson_test(results: Results, suite: str, test: dict) -> None:
    """A TAP test counts by its cases; what is not told by a case counts as one."""
    name = f"{suite}: {test['name']}"
    output = test.get("stdout", "")
    failed = False
    for ok, case in re.findall(r"^(not ok|ok) \d+ *-? *(.*)$", output, re.MULTILINE):
        if "# SKIP" in case.upper():
            results.skip(f"{name}: {case}", "by the test")
        else:
            failed |= ok != "ok"
            results.add(f"{name}: {case}", ok == "ok", output)
    if test["result"] == "SKIP" and not re.search("# SKIP", output, re.IGNORECASE):
        results.skip(name, "by meson")
    elif test["result"] not in ("OK", "SKIP") and not failed:
        results.add(f"{name}: {test['result']}", False, output + test.get("stderr", ""))


def c_tests(results: Results, scratch: pathlib.Path, build: pathlib.Path,
            sanitized: pathlib.Path, has_huge_pages: bool) -> None:
    required = "enabled" if CI else "auto"
    shared = f"-Dcargo_target_dir={ROOT / 'target'}"
    groups = "enabled" if has_huge_pages else "disabled"
    ready = c_suites(results, build, "C", [
        f"-Dhosted_tests={required}", f"-Dvalgrind={required}", f"-Dgroup_tests={groups}",
        f"-Dlab_tests={required}", shared,
        f"--prefix={scratch / 'installed'}", "--libdir=lib"], [])
    c_suites(results, sanitized, "sanitized", [
        "-Db_sanitize=address,undefined", "-Db_lundef=false", "-Dvalgrind=disabled",
        "-Dhosted_tests=disabled", shared], ["--suite", "embedded"])
    if ready:
        step(results, "an installed library, used by make and by a meson subproject",
             [sys.executable, "capi-tests/installed.py", build, scratch])
        step(results, "a Debian package, built with and installed into a bare system",
             [sys.executable, "capi-tests/packaged.py", scratch / "package"])
        for mode in ["embedded"] + (["hosted"] if has_huge_pages else []):
            step(results, f"soak, {mode}, {SOAK} s", [
                sys.executable, "tools/soak.py", build, "--mode", mode, "--seconds", str(SOAK)])


def main() -> int:
    keep = sys.argv[1:] == ["--keep"]
    # Who ends it finds things as they were, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
    results = Results()
    build = ROOT / "build-test"
    sanitized = ROOT / "build-test-sanitized"
    scratch = pathlib.Path(tempfile.mkdtemp(prefix="rte_hotplug_test_"))
    try:
        install_missing(results)
        rust(results)
        fuzz(results)
        with huge_pages(results) as has_huge_pages:
            c_tests(results, scratch, build, sanitized, has_huge_pages)
        step(results, "README's first command", ["tools/demo.sh"])
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        if not keep:
            for directory in (build, sanitized):
                shutil.rmtree(directory, ignore_errors=True)
    return results.close()


if __name__ == "__main__":
    sys.exit(main())
