#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""For meson: has cargo build the library, puts it where meson wants it, translates the depfile."""

import argparse
import os
import pathlib
import shutil
import subprocess
import sys


def environment(root: pathlib.Path) -> dict[str, str]:
    """Panic messages and line tables have the paths of sources: not those of who builds it."""
    home = pathlib.Path.home()
    places = {root: "rte_hotplug",
              os.environ.get("CARGO_HOME", home / ".cargo"): "cargo",
              os.environ.get("RUSTUP_HOME", home / ".rustup"): "rustup"}
    flags = os.environ.get("RUSTFLAGS", "").split()
    flags += [f"--remap-path-prefix={place}={name}" for place, name in places.items()]
    # Unlike RUSTFLAGS it can hold paths with spaces.
    return dict(os.environ, CARGO_ENCODED_RUSTFLAGS="\x1f".join(flags))


# What cargo makes, and of it what meson gets.
SHARED = ["build"], ["librte_hotplug.so", "librte_hotplug.so", "librte_hotplug.a"]
STATIC_DPDK = ["rustc", "--crate-type", "staticlib", "--features", "static-dpdk"], ["librte_hotplug.a"]


def build(options: argparse.Namespace, manifest: pathlib.Path) -> pathlib.Path:
    """Where cargo has made it."""
    command = (STATIC_DPDK if options.static_dpdk else SHARED)[0]
    done = subprocess.run(
        [options.cargo, *command, "--lib", "--quiet", "--locked", "--profile", options.profile,
         "--manifest-path", manifest, "--target-dir", options.target_dir],
        env=environment(manifest.parent))
    if done.returncode:
        sys.exit(done.returncode)
    return options.target_dir / ("debug" if options.profile == "dev" else options.profile)


def sources(made: pathlib.Path, manifest: pathlib.Path) -> str:
    """What cargo says that it depends on: its depfile names its own outputs, ninja wants meson's."""
    dependencies = (made / "librte_hotplug.d").read_text().split(":", 1)[1].strip()
    return f"{dependencies} {manifest} {manifest.parent / 'Cargo.lock'} {manifest.parent / 'build.rs'}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    making = parser.add_mutually_exclusive_group(required=True)
    making.add_argument("--cargo")
    making.add_argument("--prebuilt", type=pathlib.Path)
    parser.add_argument("--profile", required=True)
    parser.add_argument("--manifest", required=True)
    parser.add_argument("--target-dir", type=pathlib.Path, required=True)
    parser.add_argument("--depfile", type=pathlib.Path, required=True)
    parser.add_argument("--static-dpdk", action="store_true",
                        help="the archive for programs with DPDK linked in, instead of the three")
    parser.add_argument("outputs", nargs="+", type=pathlib.Path)
    options = parser.parse_args()
    manifest = pathlib.Path(options.manifest).resolve()
    made = options.prebuilt or build(options, manifest)
    names = (STATIC_DPDK if options.static_dpdk else SHARED)[1]
    for name, output in zip(names, options.outputs):
        shutil.copy2(made / name, output)
    depends = made / names[0] if options.prebuilt else sources(made, manifest)
    options.depfile.write_text(f"{options.outputs[0]}: {depends}\n")


if __name__ == "__main__":
    main()
