//! What happens when the library is loaded: nothing, unless it stands where no call can reach it.

use crate::sys::dl;

// The linker runs the function when the library is loaded, in every process that has it.
#[used]
#[unsafe(link_section = ".init_array")]
#[cfg_attr(feature = "static-dpdk", unsafe(export_name = "rte_hotplug_on_load"))]
static ON_LOAD: extern "C" fn() = on_load;

extern "C" fn on_load() {
    let Some(complaint) = dl::complaint() else { return };
    // No logger yet: DPDK's constructors may come later than ours.
    let text = format!("HOTPLUG: ERR: {complaint}\n");
    let _ = nix::unistd::write(std::io::stderr(), text.as_bytes());
}
