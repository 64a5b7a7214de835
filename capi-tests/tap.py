# SPDX-License-Identifier: BSD-3-Clause
"""TAP for the Python tests: cases are functions, run in order; a failed one does not stop the rest.

    tap = Tap()

    @tap.case("one and one is two")
    def _():
        same(1 + 1, 2)

    sys.exit(tap.run())
"""

import os
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
    check(actual == expected, f"{what} is {actual!r}, not {expected!r}")


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
        failures = 0
        print(f"1..{len(self.cases)}", flush=True)
        for number, (name, function) in enumerate(self.cases, 1):
            result, reason = "ok", ""
            try:
                function()
            except Skip as skip:
                reason = f" # SKIP {skip}"
            except Exception:  # pylint: disable=broad-except
                result = "not ok"
                failures += 1
                for line in traceback.format_exc().splitlines():
                    print(f"# {line}")
            print(f"{result} {number} - {name}{reason}", flush=True)
        return 1 if failures else 0
