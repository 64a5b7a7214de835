# SPDX-License-Identifier: BSD-3-Clause
"""What tools/test.py and tools/matrix.py count, and what both lend from the system."""

import contextlib
import json
import os
import pathlib
import re
import shutil
import subprocess

ROOT = pathlib.Path(__file__).resolve().parent.parent
CI = bool(os.environ.get("CI"))
# Of 2 MB, for the DPDK groups of the tests.
HUGE_PAGES = 512


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

    def take(self, other: "Results") -> None:
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped
        self.failures += other.failures

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


def install(results: Results, tools: dict[str, str], modules: dict[str, str]) -> None:
    """Installs what is missing, as root on Debian: a package for each tool and each pkg-config module."""
    packages = missing(tools, modules)
    if packages and os.geteuid() == 0 and shutil.which("apt-get"):
        environment = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
        run(["apt-get", "update", "-q"], env=environment)
        done = run(["apt-get", "install", "-y", "-q", *packages], env=environment)
        if done.returncode:
            print(done.stdout)
    for package in missing(tools, modules):
        results.skip(f"package {package}", "not installed: run as root on Debian, or install it")


def missing(tools: dict[str, str], modules: dict[str, str]) -> list[str]:
    packages = [package for tool, package in tools.items() if not shutil.which(tool)]
    has_pkg_config = shutil.which("pkg-config") is not None
    return packages + [package for module, package in modules.items() if not has_pkg_config
                       or subprocess.run(["pkg-config", "--exists", module]).returncode]


def add_meson_log(results: Results, suite: str, build: pathlib.Path) -> int:
    """What `meson test` has run last in this build directory; how many programs that were."""
    log = build / "meson-logs/testlog.json"
    lines = log.read_text().splitlines() if log.exists() else []
    for line in lines:
        add_meson_test(results, suite, json.loads(line))
    return len(lines)


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
