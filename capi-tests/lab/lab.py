#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Real PCI hotplug in a QEMU guest, for one subject.

usage: lab.py DIRECTORY LIBRARY SUBJECT [CASE...]

DIRECTORY has the guest's programs, and gets what the lab is made of; LIBRARY is librte_hotplug.so.
SUBJECT is stock, preload, app or driver (see subjects.py). The CASEs are those of cases.py, all if none is
named. The logs of the last guest stay in DIRECTORY/logs.
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from bench import Bench
from cases import CASES
from guest import Builder
from packages import Missing
from tap import Tap, missing

PROGRAMS = ("lab-agent", "lab-barfault", "lab-app-linked", "lab-app-plain",
            "lab-driver")
CASE_SECONDS = 120


class Lab:
    """Keeps a guest from one case to the next, unless it needs another kind or a case failed."""

    def __init__(self, builder, kind, library):
        self.builder, self.kind, self.library = builder, kind, library
        self.guest = self.native = None

    def run(self, case):
        try:
            bench = Bench(self.booted(case.native), self.kind, self.library)
            with self.guest.deadline(CASE_SECONDS):
                case.run(bench)
                bench.clear()
        except BaseException:
            self.tell_why()
            self.close()
            raise

    def booted(self, native):
        if self.guest and self.native != native:
            self.close()
        if not self.guest:
            self.guest, self.native = self.builder.boot(native), native
        return self.guest

    def tell_why(self):
        for line in self.guest.tail() if self.guest else []:
            print(f"# {line}")

    def close(self):
        if self.guest:
            self.guest.close()
            self.guest = None


def chosen(kind, names):
    cases = [case for case in CASES if kind in case.subjects]
    unknown = set(names) - {case.name for case in cases}
    if unknown:
        sys.exit(f"no such case of {kind}: {', '.join(sorted(unknown))}")
    # By kind of guest: each boot is seconds.
    return sorted((case for case in cases if not names or case.name in names),
                  key=lambda case: case.native)


def build(work, library):
    """What the guests are made of, or why there are none."""
    programs = [work / name for name in PROGRAMS]
    try:
        return Builder(work, [*programs, library],
                       {f"usr/bin/{path.name}": path for path in programs}), None
    except Missing as error:
        return None, f"missing: {error}"


def main():
    work, library, kind = sys.argv[1:4]
    work, library = pathlib.Path(work).resolve(), pathlib.Path(library).resolve()
    cases = chosen(kind, sys.argv[4:])
    tap = Tap()
    builder, reason = build(work, library)
    if reason:
        tap.case(f"{kind}: the lab is built")(lambda: missing(reason))
        return tap.run()
    lab = Lab(builder, kind, library)
    for case in cases:
        tap.case(f"{kind} {case.name}")(lambda case=case: lab.run(case))
    try:
        return tap.run()
    finally:
        lab.close()


if __name__ == "__main__":
    sys.exit(main())
