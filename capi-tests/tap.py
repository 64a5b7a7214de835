# SPDX-License-Identifier: BSD-3-Clause
"""A small TAP harness for the Python tests, and the checks that they share."""

import difflib
import os
import re
import shutil
import signal
import sys
import time
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


def until(condition, what="what should come", limit=30):
    """Waits for something that no event tells of."""
    end = time.monotonic() + limit
    while not condition():
        check(time.monotonic() < end, f"not within {limit} s: {what}")
        time.sleep(0.01)


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


def is_outcome(seen, expected):
    """None: any outcome; a tuple: one of these; "...": what follows is only shown, as are the seconds
    at the end."""
    if isinstance(expected, tuple):
        return any(is_outcome(seen, one) for one in expected)
    seen = re.sub(r" \([0-9.]+ s\)$", "", seen)
    if expected is not None and expected.endswith("..."):
        return seen.startswith(expected[:-3])
    return expected in (None, seen)


def show_defects(rows, outcomes):
    """A case for each defect of stock: (what it is, stock's outcome, ours), and the pairs of outcomes
    seen. The result is the exit status."""
    failures = 0
    print(f"1..{len(rows)}", flush=True)
    for number, ((what, *expected), seen) in enumerate(zip(rows, outcomes), 1):
        ok = all(is_outcome(*pair) for pair in zip(seen, expected))
        failures += not ok
        print(f"{'ok' if ok else 'not ok'} {number} - {what}: stock '{seen[0]}', ours '{seen[1]}'",
              flush=True)
        if not ok:
            print(f"# expected: stock {expected[0]!r}, ours {expected[1]!r}")
    return 1 if failures else 0


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
