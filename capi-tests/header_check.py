#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Compiles our headers as C11 and C++17, alone and with DPDK's, with every warning an error.

    header_check.py INCLUDE_DIR
"""

import itertools
import os
import shlex
import shutil
import subprocess
import sys

from tap import Tap, check, same, missing



LANGUAGES = {"C11": ("CC", "cc", "c", "-std=c11"), "C++17": ("CXX", "c++", "c++", "-std=c++17")}
STRICT = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"]
OURS = ["rte_hotplug.h", "rte_hotplug_eal.h"]
DPDK = ["rte_dev.h", "rte_ethdev.h", "rte_eal.h"]

# Something of the header is used, so that a header that declares nothing fails.
USE = "int main(void) { return rte_dev_probe(\"x\") + (int)RTE_DEV_EVENT_MAX; }\n"
USE_ALL = ("int main(void) { uint16_t port = 0; return rte_hotplug_mode() + rte_dev_probe(\"x\")"
           " + rte_eth_dev_attach(\"x\", &port) + rte_eal_hotplug_remove(\"vdev\", \"x\")"
           " + (int)RTE_DEV_EVENT_MAX; }\n")


def dpdk_flags():
    """DPDK's flags, its directories as system ones; None when it is not installed."""
    if shutil.which("pkg-config") is None:
        return None
    found = subprocess.run(["pkg-config", "--cflags", "libdpdk"], capture_output=True, text=True,
                           check=False)
    if found.returncode != 0:
        return None
    flags = []
    for flag in shlex.split(found.stdout):
        flags += ["-isystem", flag[2:]] if flag.startswith("-I") else [flag]
    # pkg-config leaves out what the compiler searches anyway.
    return flags


def compile_text(language, flags, text):
    variable, default, kind, standard = LANGUAGES[language]
    command = shlex.split(os.environ.get(variable, default))
    command += ["-x", kind, standard, *STRICT, *flags, "-fsyntax-only", "-"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    check(done.returncode == 0, f"{shlex.join(command)}\n{text}\n{done.stderr}")
    same(done.stderr, "", "what the compiler says")


def includes(headers):
    return "".join(f"#include <{header}>\n" for header in headers)


def main():
    include = os.path.abspath(sys.argv[1])
    tap = Tap()
    flags = dpdk_flags()
    alone = ["-I", include]
    with_dpdk = alone + (flags or [])

    def add(name, language, options, text, needs_dpdk=False):
        @tap.case(f"{language}: {name}")
        def _():
            if needs_dpdk and flags is None:
                missing("libdpdk is not installed")
            compile_text(language, options, text)

    for language in LANGUAGES:
        for header in OURS:
            use = USE_ALL if header == OURS[0] else USE
            add(f"{header} alone", language, alone, includes([header]) + use)
            add(f"{header} twice", language, alone, includes([header, header]) + use)
        add("both headers", language, alone, includes(OURS) + USE_ALL)
        add("both headers, the other way round", language, alone, includes(OURS[::-1]) + USE_ALL)
        add("rte_hotplug.h alone, DPDK's headers at hand", language, with_dpdk,
            includes([OURS[0]]) + USE_ALL, True)
        for count in range(1, len(DPDK) + 1):
            for theirs in itertools.permutations(DPDK, count):
                for order in ([OURS[0], *theirs], [*theirs, OURS[0]]):
                    add(", ".join(order), language, with_dpdk, includes(order) + USE_ALL, True)
    return tap.run()


if __name__ == "__main__":
    sys.exit(main())
