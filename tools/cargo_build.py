#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Runs cargo for meson: builds the library, puts it where meson wants it, translates the depfile."""

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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cargo", required=True)
    parser.add_argument("--profile", required=True)
    parser.add_argument("--manifest", required=True)
    parser.add_argument("--target-dir", type=pathlib.Path, required=True)
    parser.add_argument("--depfile", type=pathlib.Path, required=True)
    parser.add_argument("outputs", nargs=3, type=pathlib.Path)
    options = parser.parse_args()
    manifest = pathlib.Path(options.manifest).resolve()
    build = subprocess.run(
        [options.cargo, "build", "--lib", "--quiet", "--locked", "--profile", options.profile,
         "--manifest-path", manifest, "--target-dir", options.target_dir],
        env=environment(manifest.parent))
    if build.returncode:
        return build.returncode

    made = options.target_dir / ("debug" if options.profile == "dev" else options.profile)
    soname, link, archive = options.outputs
    shutil.copy2(made / "librte_hotplug.so", soname)
    shutil.copy2(made / "librte_hotplug.so", link)
    shutil.copy2(made / "librte_hotplug.a", archive)

    # cargo's depfile names its own outputs; ninja wants meson's. Only the sources count.
    dependencies = (made / "librte_hotplug.d").read_text().split(":", 1)[1].strip()
    extra = [manifest, manifest.parent / "Cargo.lock", manifest.parent / "build.rs"]
    options.depfile.write_text(f"{soname}: {dependencies} {' '.join(map(str, extra))}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
