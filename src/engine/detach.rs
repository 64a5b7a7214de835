//! Detach: the steps of the guide, "Attach and Detach", in order.

use std::ffi::CStr;

use super::Engine;
use super::attach::being_removed;
use super::order::{Phase, Turn};
use super::states::States;
use crate::error::{Error, Kind, Result};
use crate::ports::{Bus, DeviceId, Platform, label, unsupported};

impl Engine {
    /// Detaches the device at this address.
    pub fn detach<P: Platform>(&self, platform: &P, device: DeviceId) -> Result<()> {
        let (bus, name) = platform.locate(device).ok_or_else(unlisted)?;
        let turn = self.order.enter(&bus.bus_name(), &name)?;
        // Whoever had the turn before may have detached it, and another device may live there now.
        match platform.locate(device) {
            Some((b, n)) if n == name && b.bus_name() == bus.bus_name() => {}
            _ => return Err(unlisted()),
        }
        remove(&self.states, &bus, &name, device, turn)
    }

    /// Detaches the device of this name on this bus, and returns which it was.
    pub fn detach_named<P: Platform>(
        &self,
        platform: &P,
        bus: &CStr,
        name: &CStr,
    ) -> Result<DeviceId> {
        let found = platform.bus(bus).ok_or_else(|| no_such_bus(bus, name))?;
        let turn = self.order.enter(bus, name)?;
        let device = found.find(name).ok_or_else(|| no_such_device(bus, name))?;
        remove(&self.states, &found, name, device, turn).map(|()| device)
    }
}

fn remove<B: Bus>(
    states: &States,
    bus: &B,
    name: &CStr,
    device: DeviceId,
    mut turn: Turn<'_>,
) -> Result<()> {
    let bus_name = bus.bus_name();
    // 1. validate
    if matches!(turn.phase(), Some(Phase::Unplug | Phase::LockedUnplug)) {
        return Err(being_removed(&bus_name, name));
    }
    if !bus.is_probed(device) || turn.phase() == Some(Phase::Plug) {
        return Err(not_attached(&bus_name, name));
    }
    if !bus.can_unplug() {
        return Err(unsupported(&bus_name, name, "unplug"));
    }
    // 2. unplug, 3. remove the devargs
    let phase = if bus.locks_remove() { Phase::LockedUnplug } else { Phase::Unplug };
    turn.during(phase, || bus.unplug(device))?;
    states.left(&bus_name, name, "detached");
    Ok(())
}

/// The error for a device that no driver holds.
pub fn not_attached(bus: &CStr, name: &CStr) -> Error {
    Error::new(Kind::NotFound, format!("{}: not attached: no driver holds it", label(bus, name)))
}

/// The error for a bus that does not exist.
pub fn no_such_bus(bus: &CStr, name: &CStr) -> Error {
    Error::new(Kind::NotFound, format!("{}: there is no such bus", label(bus, name)))
}

/// The error for a name that the bus does not list.
pub fn no_such_device(bus: &CStr, name: &CStr) -> Error {
    Error::new(Kind::Invalid, format!("{}: the bus has no such device", label(bus, name)))
}

/// The error for an address that is no device.
pub fn unlisted() -> Error {
    Error::new(Kind::NoDevice, "detach: no bus lists this device: it is detached already")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::{Devargs, Plugged};
    use std::cell::Cell;
    use std::ffi::CString;
    use std::num::NonZeroUsize;

    #[derive(Clone)]
    struct FakeBus;

    impl Bus for FakeBus {
        fn bus_name(&self) -> CString {
            c"fake".into()
        }
        fn can_plug(&self) -> bool {
            true
        }
        fn can_unplug(&self) -> bool {
            true
        }
        fn locks_remove(&self) -> bool {
            false
        }
        fn scan(&self, _: &CStr) -> Result<()> {
            Ok(())
        }
        fn find(&self, _: &CStr) -> Option<DeviceId> {
            None
        }
        fn is_probed(&self, _: DeviceId) -> bool {
            true
        }
        fn arguments(&self, _: DeviceId) -> CString {
            c"".into()
        }
        fn plug(&self, _: DeviceId) -> Result<Plugged> {
            Ok(Plugged::Probed)
        }
        fn unplug(&self, _: DeviceId) -> Result<()> {
            Ok(())
        }
    }

    struct NoDevargs;

    impl Devargs for NoDevargs {
        type Bus = FakeBus;
        fn bus(&self) -> Option<FakeBus> {
            None
        }
        fn name(&self) -> &CStr {
            c""
        }
        fn insert(&mut self) -> Result<()> {
            Ok(())
        }
        fn withdraw(self) {}
    }

    /// An address at which another device stands each time one looks.
    struct Reused(Cell<u8>);

    impl Platform for Reused {
        type Bus = FakeBus;
        type Devargs = NoDevargs;
        fn parse(&self, _: &CStr) -> Result<NoDevargs> {
            Ok(NoDevargs)
        }
        fn bus(&self, _: &CStr) -> Option<FakeBus> {
            Some(FakeBus)
        }
        fn locate(&self, _: DeviceId) -> Option<(FakeBus, CString)> {
            self.0.set(self.0.get() + 1);
            Some((FakeBus, CString::new(vec![self.0.get()]).ok()?))
        }
    }

    #[test]
    fn an_address_that_was_reused_while_waiting_is_refused() {
        let device = DeviceId(NonZeroUsize::MIN);
        let refused = Engine::default().detach(&Reused(Cell::new(0)), device).unwrap_err();
        assert_eq!(refused.kind(), Kind::NoDevice);
    }
}
