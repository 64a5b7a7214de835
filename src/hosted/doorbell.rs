//! Work on EAL's interrupt thread, asked for by anybody. Unlike in an alarm, EAL can be ended inside of it:
//! `rte_eal_cleanup` waits for alarms.

use std::sync::Arc;

use nix::sys::eventfd::{EfdFlags, EventFd};

use super::host::Eal;
use super::interrupt::Interrupt;

/// A descriptor that asks for the work.
pub struct Doorbell {
    rung: Arc<EventFd>,
    _interrupt: Interrupt,
}

impl Doorbell {
    /// Lets EAL do the work whenever it is asked for; `true` asks for another turn. `None` where EAL
    /// cannot.
    pub fn hang(eal: &Eal, work: fn() -> bool) -> Option<Self> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        let rung = Arc::new(EventFd::from_flags(flags).ok()?);
        let bell = rung.clone();
        let interrupt = Interrupt::watch(eal, rung.clone(), move || {
            // Before the work: what comes while it is done needs another turn.
            let _ = bell.read();
            if work() {
                ring(&bell);
            }
        })?;
        Some(Self { rung, _interrupt: interrupt })
    }

    /// Lets the work be done soon.
    pub fn ring(&self) {
        ring(&self.rung);
    }
}

fn ring(bell: &EventFd) {
    // A full counter has rung.
    let _ = bell.write(1);
}
