#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# Builds the library and examples/hotplug_demo.c, and runs it: on the embedded runtime, and, if DPDK
# is installed, the same binary inside DPDK. Installs what is missing on Debian; Rust has to be there.
set -eu
cd "$(dirname "$0")/.."

need() { # COMMAND PACKAGE
	command -v "$1" >/dev/null && return
	if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
		echo "$1 is missing: install the package $2, or run this as root on Debian" >&2
		exit 1
	fi
	apt-get update -q >/dev/null && DEBIAN_FRONTEND=noninteractive apt-get install -y -q "$2" >/dev/null
}

if ! command -v cargo >/dev/null; then
	echo "cargo is missing: install Rust 1.85 or later with rustup" >&2
	exit 1
fi
need gcc gcc

target=${CARGO_TARGET_DIR:-target}
cargo build --release --locked --quiet --target-dir "$target"
ln -sf librte_hotplug.so "$target/release/librte_hotplug.so.1"
gcc -std=c11 -Wall -Wextra -Wpedantic -Werror -O2 -Iinclude examples/hotplug_demo.c \
	-o "$target/hotplug_demo" -L"$target/release" -lrte_hotplug
library=$(cd "$target/release" && pwd)

echo "== without DPDK"
LD_LIBRARY_PATH=$library "$target/hotplug_demo"

# The first version of librte_eal.so.* that the dynamic linker knows.
eal=$(ldconfig -p 2>/dev/null | sed -n 's|.*\(librte_eal\.so\.[0-9]*\) .*|\1|p' | head -n 1)
if [ -z "$eal" ]; then
	echo "== DPDK is not installed (apt-get install dpdk): the second run is left out"
	exit 0
fi
echo "== the same binary inside DPDK ($eal)"
prefix=hotplug_demo_$$
trap 'rm -rf "/var/run/dpdk/$prefix" "${XDG_RUNTIME_DIR:-/tmp}/dpdk/$prefix"' EXIT
LD_LIBRARY_PATH=$library LD_PRELOAD="$library/librte_hotplug.so.1 $eal" \
	"$target/hotplug_demo" --no-huge -m 64 --no-pci --file-prefix "$prefix" --log-level=4
