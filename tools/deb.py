#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Makes the Debian package: what `meson install` installs, stripped, with the documents Debian wants.

usage: tools/deb.py [OUTPUT_DIR]     prints the path of the package

Needs meson and dpkg-dev. One package, with the files for development: it is the file to preload as well
as the library to build with, and programs built with it depend on it below the next SONAME.
DEBFULLNAME and DEBEMAIL name the maintainer, CARGO_TARGET_DIR another place for cargo than target/,
SOURCE_DATE_EPOCH the date of all files instead of the last commit's.
"""

import email.utils
import gzip
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
PACKAGE = "librte-hotplug"
DOCUMENTS = f"usr/share/doc/{PACKAGE}"

CONTROL = """\
Package: {package}
Version: {version}
Architecture: {architecture}
Maintainer: {maintainer}
Installed-Size: {size}
Depends: {depends}
Enhances: dpdk
Section: libs
Priority: optional
Description: drop-in device hotplug for DPDK applications
 Takes the place of the hotplug functions of DPDK's EAL, by LD_PRELOAD or
 linked in front of DPDK: attach and detach in all processes of a group or in
 none, kernel events that are not lost, devices that may go while their
 drivers work. Without DPDK it is a small hotplug runtime of its own.
 .
 This package has the library, to be preloaded or linked, also into programs
 that have DPDK linked in, and its headers.
"""

COPYRIGHT = """\
librte_hotplug
==============

{license}

The library contains parts of the Rust standard library, copyright The Rust
Project Developers, under the Apache License 2.0 (see
/usr/share/common-licenses/Apache-2.0) or the MIT license below, and the
following crates, under the licenses below.
"""

CHANGELOG = """\
{package} ({version}) unstable; urgency=medium

  * Release {upstream}.

 -- {maintainer}  {date}
"""


def output(*command, **options) -> str:
    return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE, **options).stdout


def run(*command, **options) -> None:
    """What a tool says is for those who wait; standard output is for the path of the package."""
    subprocess.run(command, check=True, stdout=sys.stderr, **options)


def write(path: pathlib.Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def compress(path: pathlib.Path) -> None:
    # Without name and time: the same each time.
    path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes(), 9, mtime=0))
    path.unlink()


def epoch() -> int:
    if "SOURCE_DATE_EPOCH" in os.environ:
        return int(os.environ["SOURCE_DATE_EPOCH"])
    git = subprocess.run(["git", "log", "-1", "--format=%ct"], cwd=ROOT, text=True, check=False,
                         stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return int(git.stdout) if git.returncode == 0 else int((ROOT / "Cargo.lock").stat().st_mtime)


def maintainer() -> str:
    return "{} <{}>".format(os.environ.get("DEBFULLNAME", "librte_hotplug authors"),
                            os.environ.get("DEBEMAIL", "librte-hotplug@example.org"))


def install(scratch: pathlib.Path, stage: pathlib.Path) -> pathlib.Path:
    """Installs into the stage; the result is the directory of the library, in the stage."""
    libdir = "lib/" + output("dpkg-architecture", "-qDEB_HOST_MULTIARCH").strip()
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve()
    build = scratch / "build"
    run("meson", "setup", build, ROOT, "--prefix=/usr", f"--libdir={libdir}", "-Dtests=false",
        "-Dstatic_dpdk=true", f"-Dcargo_target_dir={target}")
    run("meson", "compile", "-C", build)
    run("meson", "install", "-C", build, "--no-rebuild", f"--destdir={stage}")
    return stage / "usr" / libdir


def strip(libdir: pathlib.Path) -> None:
    run("strip", "--strip-unneeded", "--remove-section=.comment", "--remove-section=.note",
        libdir / "librte_hotplug.so.1")
    for archive in ("librte_hotplug.a", "librte_hotplug_static.a"):
        run("strip", "--strip-debug", "--enable-deterministic-archives", libdir / archive)
    (libdir / "librte_hotplug.so.1").chmod(0o644)


def crates() -> list[dict]:
    """The crates that are linked in, from cargo."""
    # One a line, as "NAME vVERSION ..."; those of macros run in the compiler only.
    tree = output("cargo", "tree", "--locked", "--edges", "normal,no-proc-macro", "--prefix", "none",
                  cwd=ROOT)
    linked = set(re.findall(r"^(\S+) v(\S+)", tree, re.MULTILINE))
    host = re.search(r"^host: (.*)$", output("rustc", "-vV"), re.MULTILINE).group(1)
    packages = json.loads(output("cargo", "metadata", "--locked", "--format-version=1",
                                 "--filter-platform", host, cwd=ROOT))["packages"]
    return [package for package in packages
            if (package["name"], package["version"]) in linked and package["source"]]


def copyright_text() -> str:
    texts = [COPYRIGHT.format(license=(ROOT / "LICENSE").read_text(encoding="utf-8").strip())]
    for crate in crates():
        title = f"{crate['name']} {crate['version']}: {crate['license']}"
        texts.append(f"{title}\n{'=' * len(title)}\n\n{license_text(crate)}\n")
    return "\n".join(texts)


def license_text(crate: dict) -> str:
    """The MIT license has to go along with its copyright; Debian has the Apache one."""
    directory = pathlib.Path(crate["manifest_path"]).parent
    files = sorted(directory.glob("LICENSE*")) + sorted(directory.glob("COPYING*"))
    chosen = [file for file in files if "MIT" in file.name] or files
    if not chosen:
        sys.exit(f"{crate['name']} has no license file")
    return chosen[0].read_text(encoding="utf-8").strip()


def documents(stage: pathlib.Path, version: str, upstream: str) -> None:
    place = stage / DOCUMENTS
    write(place / "copyright", copyright_text())
    write(place / "changelog.Debian", CHANGELOG.format(
        package=PACKAGE, version=version, upstream=upstream, maintainer=maintainer(),
        date=email.utils.formatdate(epoch())))
    shutil.copy(ROOT / "README.md", place)
    (place / "examples").mkdir()
    shutil.copy(ROOT / "examples/hotplug_demo.c", place / "examples")
    for path in (place / "changelog.Debian", place / "README.md",
                 *(stage / "usr/share/man").rglob("*.7")):
        compress(path)


def depends(scratch: pathlib.Path, library: pathlib.Path) -> str:
    """What has the symbols that the library needs, and since when."""
    # dpkg-shlibdeps wants to be in a source package.
    write(scratch / "debian/control", f"Source: {PACKAGE}\n\nPackage: {PACKAGE}\nArchitecture: any\n")
    found = output("dpkg-shlibdeps", "-O", library, cwd=scratch)
    return found.split("shlibs:Depends=", 1)[1].strip()


def control(scratch: pathlib.Path, stage: pathlib.Path, library: pathlib.Path, version: str,
            upstream: str) -> None:
    files = sorted(path for path in stage.rglob("*") if path.is_file() and not path.is_symlink())
    place = stage / "DEBIAN"
    place.mkdir()
    write(place / "control", CONTROL.format(
        package=PACKAGE, version=version, maintainer=maintainer(),
        architecture=output("dpkg", "--print-architecture").strip(),
        size=sum(file.stat().st_size for file in files) // 1024,
        depends=depends(scratch, library)))
    write(place / "md5sums", output("md5sum", *(file.relative_to(stage) for file in files), cwd=stage))
    write(place / "shlibs",
          f"librte_hotplug 1 {PACKAGE} (>= {upstream}), {PACKAGE} (<< 2)\n")
    write(place / "triggers", "activate-noawait ldconfig\n")


def package(scratch: pathlib.Path, target: pathlib.Path) -> pathlib.Path:
    stage = scratch / "stage"
    libdir = install(scratch, stage)
    upstream = re.search(r'^version = "(.*)"', (ROOT / "Cargo.toml").read_text(encoding="utf-8"),
                         re.MULTILINE).group(1)
    version = f"{upstream}-1"
    strip(libdir)
    documents(stage, version, upstream)
    control(scratch, stage, libdir / "librte_hotplug.so.1", version, upstream)
    target.mkdir(parents=True, exist_ok=True)
    built = output("dpkg-deb", "--root-owner-group", "--build", stage, target,
                   env=dict(os.environ, SOURCE_DATE_EPOCH=str(epoch())))
    return target / re.search(r"[^/']+\.deb", built).group()


def main() -> None:
    os.umask(0o022)
    with tempfile.TemporaryDirectory(prefix="hotplug_deb_") as scratch:
        print(package(pathlib.Path(scratch), pathlib.Path(*sys.argv[1:2]).resolve()))


if __name__ == "__main__":
    main()
