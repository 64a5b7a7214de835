//! What happens when the library is loaded: nothing, unless it stands where no call can reach it.

use crate::sys::dl;

// The linker runs the function when the library is loaded, in every process that has it.
#[used]
#[unsafe(link_section = ".init_array")]
static ON_LOAD: extern "C" fn() = on_load;

extern "C" fn on_load() {
    let Some(reached) = dl::default_address(c"rte_dev_probe") else { return };
    if dl::is_ours(reached.as_ptr()) {
        return;
    }
    // No logger yet: DPDK's constructors may come later than ours.
    let text = "HOTPLUG: ERR: librte_hotplug is loaded but not in front of librte_eal, so DPDK's own \
                hotplug is used: put -lrte_hotplug before -lrte_eal (with -Wl,--no-as-needed), or \
                set LD_PRELOAD\n";
    let _ = nix::unistd::write(std::io::stderr(), text.as_bytes());
}
