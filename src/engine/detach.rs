//! Detach: the steps of the guide, "Attach and Detach", in order.

use super::Engine;
use super::order::Phase;
use crate::error::{Error, Kind, Result};
use crate::ports::{Bus, DeviceId, Platform, label, unsupported};

impl Engine {
    /// Detaches the device at this address.
    pub fn detach<P: Platform>(&self, platform: &P, device: DeviceId) -> Result<()> {
        let (bus, name) = platform.locate(device).ok_or_else(unlisted)?;
        let bus_name = bus.bus_name();
        let mut turn = self.order.enter(&bus_name, &name)?;
        // Whoever had the turn before may have detached it.
        platform.locate(device).ok_or_else(unlisted)?;
        // 1. validate
        if !bus.is_probed(device) || turn.phase() == Some(Phase::Plug) {
            return Err(Error::new(
                Kind::NotFound,
                format!("{}: not attached: no driver holds it", label(&bus_name, &name)),
            ));
        }
        if turn.phase() == Some(Phase::Unplug) {
            return Err(Error::new(
                Kind::Busy,
                format!("{}: its driver is removing it now", label(&bus_name, &name)),
            ));
        }
        if !bus.can_unplug() {
            return Err(unsupported(&bus_name, &name, "unplug"));
        }
        // 2. unplug, 3. remove the devargs: they leave the list before and are freed after
        let devargs = self.discovery.enter(&self.order).map(|_alone| bus.unlist(device));
        let unplugged = turn.during(Phase::Unplug, || bus.unplug(device));
        match unplugged {
            Ok(()) => log::debug!("{}: detached", label(&bus_name, &name)),
            Err(_) => self.relist(&bus, devargs),
        }
        unplugged
    }

    fn relist<B: Bus>(&self, bus: &B, devargs: Option<B::Unlisted>) {
        let _alone = self.discovery.enter(&self.order);
        devargs.into_iter().for_each(|devargs| bus.relist(devargs));
    }
}

fn unlisted() -> Error {
    Error::new(Kind::NoDevice, "detach: no bus lists this device: it is detached already")
}
