//! Link arguments of the shared library: its SONAME, and `nodelete`.

fn main() {
    // The number is the ABI's: it changes when an exported function or struct changes incompatibly.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,librte_hotplug.so.1");
    // DPDK keeps pointers to our callbacks, and threads of ours may run: never unmap.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
    println!("cargo:rerun-if-changed=build.rs");
}
