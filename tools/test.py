#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Runs all tests, from nothing: installs what is missing, builds, tests, prints one closing line.

usage: tools/test.py [--keep]     (--keep: leave the build directories for a faster next run)

With CI set in the environment nothing may be missing or skipped. Otherwise the parts that need DPDK,
root or valgrind are skipped, and counted, where they cannot run.
"""

import contextlib
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile

import matrix
from results import CI, Results, add_meson_log, huge_pages, install, run, step

ROOT = pathlib.Path(__file__).resolve().parent.parent
# What is run -> the Debian package that has it.
TOOLS = {"gcc": "gcc", "g++": "g++", "meson": "meson", "ninja": "ninja-build",
         "pkg-config": "pkg-config", "valgrind": "valgrind", "nm": "binutils", "make": "make",
         "dpdk-testpmd": "dpdk-dev", "dpdk-devbind.py": "dpdk", "dpkg-shlibdeps": "dpkg-dev",
         "debootstrap": "debootstrap", "lintian": "lintian", "mandoc": "mandoc",
         "strace": "strace"}
# How long the soak runs in each mode, in seconds.
SOAK = 30
# How long each fuzz target runs with coverage, in seconds.
FUZZ = 3

# pkg-config module -> package. The second is for DPDK's static libraries.
MODULES = {"libdpdk": "libdpdk-dev", "libsystemd": "libsystemd-dev"}


def rust(results: Results) -> None:
    step(results, "cargo fmt", ["cargo", "fmt", "--all", "--check"])
    step(results, "cargo clippy",
         ["cargo", "clippy", "--locked", "--all-targets", "--", "-D", "warnings"])
    step(results, "cargo clippy, static-dpdk",
         ["cargo", "clippy", "--locked", "--all-targets", "--features", "static-dpdk", "--", "-D",
          "warnings"])
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
    if not add_meson_log(results, name, build):
        results.add(f"{name}: meson test ran nothing", False)
    return True


def c_tests(results: Results, scratch: pathlib.Path, build: pathlib.Path,
            sanitized: pathlib.Path, has_huge_pages: bool) -> None:
    required = "enabled" if CI else "auto"
    shared = f"-Dcargo_target_dir={ROOT / 'target'}"
    groups = "enabled" if has_huge_pages else "disabled"
    ready = c_suites(results, build, "C", [
        f"-Dhosted_tests={required}", f"-Dvalgrind={required}", f"-Dgroup_tests={groups}",
        f"-Dlab_tests={required}", "-Dstatic_dpdk=true", shared,
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


@contextlib.contextmanager
def debians():
    """Has those of the matrix made beside all else, as it mostly waits; None where they cannot be."""
    if os.geteuid() or not shutil.which("debootstrap"):
        yield None
        return
    # In a session of its own: what it starts ends with it.
    making = subprocess.Popen([ROOT / "tools/matrix.py", "--make"], text=True, start_new_session=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        yield making
    finally:
        if making.poll() is None:
            os.killpg(making.pid, signal.SIGTERM)
            making.communicate()


def versions(results: Results, making: subprocess.Popen | None, scratch: pathlib.Path) -> None:
    """Every DPDK that Debian has."""
    if making is None:
        results.skip("the matrix of versions", "not root, or no debootstrap")
        return
    said = making.communicate()[0]
    results.add("a Debian for each version", making.returncode == 0, said)
    if making.returncode == 0:
        scratch.mkdir()
        matrix.matrix(results, scratch, matrix.RELEASES, matrix.SUITES)


def main() -> int:
    keep = sys.argv[1:] == ["--keep"]
    # Who ends it finds things as they were, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
    results = Results()
    build = ROOT / "build-test"
    sanitized = ROOT / "build-test-sanitized"
    scratch = pathlib.Path(tempfile.mkdtemp(prefix="rte_hotplug_test_"))
    try:
        install(results, TOOLS, MODULES)
        if not shutil.which("cargo"):
            sys.exit("cargo is missing: install Rust 1.85 or later with rustup")
        with debians() as making:
            rust(results)
            fuzz(results)
            with huge_pages(results) as has_huge_pages:
                c_tests(results, scratch, build, sanitized, has_huge_pages)
                if has_huge_pages:
                    versions(results, making, scratch / "matrix")
        step(results, "README's first command", ["tools/demo.sh"])
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        if not keep:
            for directory in (build, sanitized):
                shutil.rmtree(directory, ignore_errors=True)
    return results.close()


if __name__ == "__main__":
    sys.exit(main())
