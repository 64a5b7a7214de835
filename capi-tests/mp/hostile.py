#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Processes that speak nonsense, or too much, or not at all: none may harm the others.

usage: hostile.py BUILD_DIR
"""

import contextlib
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

# In the order of their cases.
import hostile_frames  # noqa: F401
import hostile_members  # noqa: F401
import hostile_outsiders  # noqa: F401
import hostile_primaries  # noqa: F401
from hostile_world import CASES, DEVICE, World, tap
from tap import until


def main():
    with contextlib.ExitStack() as stack:
        for mode in ("embedded", "hosted"):
            world = World(mode)
            stack.callback(world.group.close)
            add_cases(world)
        only = sys.argv[2:]
        tap.cases = [case for case in tap.cases if not only or any(o in case[0] for o in only)]
        return tap.run()


def add_cases(world):
    def attack(function):
        try:
            function(world)
        finally:
            # What a failed case left attached is not the next one's fault.
            world.primary(f"detach {DEVICE}")
        world.is_unharmed()

    for name, modes, function in CASES:
        if world.mode in modes:
            tap.case(f"{world.mode}: {name}")(lambda function=function: attack(function))

    @tap.case(f"{world.mode}: no thread is left over")
    def threads():
        for peer, before in zip(world.group.peers, world.threads):
            until(lambda peer=peer, before=before: world.resources(peer)[1] <= before,
                  f"{before} threads")


if __name__ == "__main__":
    sys.exit(main())
