#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Uses the library as other C projects do: installed, through pkg-config and make, alone, statically, in
front of DPDK, and with DPDK linked in; and as a meson subproject. Then uninstalls it.

usage: installed.py BUILD_DIR SCRATCH_DIR     (BUILD_DIR: set up with --prefix=SCRATCH_DIR/installed
                                               --libdir=lib -Dstatic_dpdk=true)
"""

import os
import pathlib
import subprocess
import sys

from tap import remove_runtime_directory

ROOT = pathlib.Path(__file__).resolve().parent.parent

APPLICATION = """
#include <rte_hotplug.h>

int main(void)
{
	return rte_dev_probe("hotplug_null0") == 0 && rte_eal_cleanup() == 0 ? 0 : 1;
}
"""

MAKEFILE = """
CFLAGS += -std=c11 -Wall -Wextra -Wpedantic -Werror $(shell pkg-config --cflags rte_hotplug)
LDLIBS += $(shell pkg-config --libs rte_hotplug)

application: application.c
"""

MESON_PROJECT = """
project('application', 'c', default_options: 'c_std=c11')
hotplug = dependency('rte_hotplug', fallback: ['rte_hotplug', 'rte_hotplug_dep'],
                     default_options: ['cargo_target_dir={target}'])
test('application', executable('application', 'application.c', dependencies: hotplug))
"""


def run(command: list, cwd: pathlib.Path, **environment: str) -> None:
    subprocess.run(command, cwd=cwd, check=True, timeout=900, env=dict(os.environ, **environment))


def check_installed(installed: pathlib.Path) -> None:
    for name in ("include/rte_hotplug.h", "include/rte_hotplug_eal.h", "lib/librte_hotplug.so",
                 "lib/librte_hotplug.so.1", "lib/librte_hotplug.a", "lib/pkgconfig/rte_hotplug.pc",
                 "lib/librte_hotplug_static.a", "lib/pkgconfig/rte_hotplug_static.pc",
                 "share/man/man7/librte_hotplug.7"):
        if not (installed / name).exists():
            sys.exit(f"{name} is not installed")


def check_demo(directory: pathlib.Path) -> None:
    """The example with all linked in is served by ours, inside DPDK."""
    prefix = f"hotplug_installed_{os.getpid()}"
    try:
        done = subprocess.run(["./hotplug_demo", "--no-huge", "-m", "64", "--no-pci", "--file-prefix",
                               prefix], cwd=directory, check=True, timeout=60, text=True,
                              stdout=subprocess.PIPE)
    finally:
        remove_runtime_directory(prefix)
    if "inside DPDK" not in done.stdout or "driver net_null" not in done.stdout:
        sys.exit(f"hotplug_demo with DPDK linked in says:\n{done.stdout}")


def main() -> None:
    build, scratch = (pathlib.Path(argument).resolve() for argument in sys.argv[1:3])
    installed = scratch / "installed"
    run(["meson", "install", "-C", build, "--no-rebuild"], ROOT)
    check_installed(installed)

    plain = scratch / "plain"
    plain.mkdir()
    (plain / "application.c").write_text(APPLICATION)
    (plain / "Makefile").write_text(MAKEFILE)
    run(["make", "application"], plain, PKG_CONFIG_PATH=str(installed / "lib/pkgconfig"))
    run(["./application"], plain, LD_LIBRARY_PATH=str(installed / "lib"))
    run(["sh", "-c", "cc -static application.c -o static "
         "$(pkg-config --static --cflags --libs rte_hotplug)"], plain,
        PKG_CONFIG_PATH=str(installed / "lib/pkgconfig"))
    run(["./static"], plain)

    if subprocess.run(["pkg-config", "--exists", "libdpdk"]).returncode == 0:
        # The guide's example: it fails unless our code serves it.
        command = (f"cc -D_GNU_SOURCE -DALLOW_EXPERIMENTAL_API {ROOT}/capi-tests/lifecycle.c "
                   f"{ROOT}/capi-tests/harness.c -o lifecycle $(pkg-config --cflags --libs rte_hotplug) "
                   "$(pkg-config --cflags --libs libdpdk)")
        run(["sh", "-c", command], plain, PKG_CONFIG_PATH=str(installed / "lib/pkgconfig"))
        run(["./lifecycle"], plain, LD_LIBRARY_PATH=str(installed / "lib"))
        # README's command, and the same example as tools/demo.sh shows.
        command = (f"cc -DALLOW_EXPERIMENTAL_API {ROOT}/examples/hotplug_demo.c -o hotplug_demo "
                   "$(pkg-config --cflags --libs rte_hotplug_static) "
                   "$(pkg-config --cflags --static --libs libdpdk)")
        run(["sh", "-c", command], plain, PKG_CONFIG_PATH=str(installed / "lib/pkgconfig"))
        check_demo(plain)
    elif os.environ.get("CI"):
        sys.exit("libdpdk is missing, and CI is set")

    project = scratch / "project"
    (project / "subprojects").mkdir(parents=True)
    (project / "subprojects/rte_hotplug").symlink_to(ROOT)
    (project / "application.c").write_text(APPLICATION)
    (project / "meson.build").write_text(MESON_PROJECT.format(target=ROOT / "target"))
    run(["meson", "setup", "build"], project)
    run(["meson", "test", "-C", "build", "--print-errorlogs"], project)

    run(["ninja", "-C", build, "uninstall"], ROOT)
    left = [str(path) for path in installed.rglob("*") if path.is_symlink() or not path.is_dir()]
    if left:
        sys.exit(f"uninstalling leaves {', '.join(left)}")


if __name__ == "__main__":
    main()
