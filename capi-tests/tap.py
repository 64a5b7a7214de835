# SPDX-License-Identifier: BSD-3-Clause
"""A small TAP harness for the Python tests, and the checks that they share."""

import difflib
import os
import shutil
import signal
import sys
import traceback

CI = bool(os.environ.get("CI"))


class Skip(Exception):
    """The case cannot run here; the text says why."""


def missing(what):
    """What a test needs is not there: a failure in CI, a skip elsewhere."""
    if CI:
        raise AssertionError(f"{what}, and CI is set")
    raise Skip(what)


def check(condition, text):
    if not condition:
        raise AssertionError(text)


def same(actual, expected, what="value"):
    if isinstance(actual, list) and isinstance(expected, list):
        changes = difflib.unified_diff([str(e) for e in expected], [str(a) for a in actual],
                                       "expected", "actual", lineterm="", n=0)
        check(actual == expected, f"{what}:\n" + "\n".join(changes))
    check(actual == expected, f"{what} is {actual!r}, not {expected!r}")


def remove_runtime_directory(prefix):
    """EAL leaves the directory of its --file-prefix behind."""
    user = os.environ.get("XDG_RUNTIME_DIR", "/tmp")
    root = "/var/run" if os.geteuid() == 0 else user
    shutil.rmtree(f"{root}/dpdk/{prefix}", ignore_errors=True)


class Tap:
    def __init__(self):
        self.cases = []

    def case(self, name):
        def add(function):
            self.cases.append((name, function))
            return function

        return add

    def run(self):
        """Runs all cases; the result is the exit status."""
        # meson ends a test that takes too long like this: the cases still clean up.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
        failures = 0
        print(f"1..{len(self.cases)}", flush=True)
        for number, (name, function) in enumerate(self.cases, 1):
            result, reason = "ok", ""
            try:
                function()
            except Skip as skip:
                reason = f" # SKIP {skip}"
            except Exception:
                result = "not ok"
                failures += 1
                for line in traceback.format_exc().splitlines():
                    print(f"# {line}")
            print(f"{result} {number} - {name}{reason}", flush=True)
        return 1 if failures else 0
