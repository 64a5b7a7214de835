//! A bus and a driver in safe Rust, on the embedded runtime.

use std::ffi::CStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rte_hotplug::error::{Error, Kind, Result};
use rte_hotplug::ports::DeviceState;
use rte_hotplug::process::process;
use rte_hotplug::registry::{Bus, BusOps, Device, DriverOps, Scan};

/// Finds the devices `lamp0` to `lamp2`.
struct Shelf;

impl BusOps for Shelf {
    fn accepts(&self, _bus: &Bus, device: &CStr) -> bool {
        device.to_bytes().starts_with(b"lamp")
    }

    fn scan(&self, scan: &Scan<'_>) -> Result<()> {
        let lamps = [c"lamp0", c"lamp1", c"lamp2"];
        let wanted = |lamp: &&&CStr| scan.wanted().is_none_or(|name| name == **lamp);
        lamps.iter().filter(wanted).try_for_each(|lamp| scan.found(lamp, 0))
    }
}

/// Counts the lamps that are lit; a broken one cannot be.
struct Lamp(Arc<AtomicUsize>);

impl DriverOps for Lamp {
    fn probe(&self, device: &Arc<Device>) -> Result<()> {
        if device.arguments().as_bytes() == b"broken" {
            return Err(Error::new(Kind::Code(-5), "the lamp is broken"));
        }
        self.0.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    fn remove(&self, _device: &Arc<Device>) -> Result<()> {
        self.0.fetch_sub(1, Ordering::SeqCst);
        Ok(())
    }
}

#[test]
fn a_bus_and_a_driver_in_rust() {
    let hotplug = process();
    let lit = Arc::new(AtomicUsize::new(0));
    let bus = hotplug.registry.register_bus(c"shelf", Box::new(Shelf)).unwrap();
    let driver = bus.register_driver(c"lamp", None, Box::new(Lamp(lit.clone()))).unwrap();

    hotplug.probe(c"shelf:lamp1").unwrap();
    hotplug.probe(c"lamp2,warm").unwrap();
    assert_eq!(lit.load(Ordering::SeqCst), 2);
    let device = bus.device_named(c"lamp2").unwrap();
    assert_eq!(device.label(), "shelf:lamp2");
    assert_eq!(device.arguments().as_c_str(), c"warm");
    assert_eq!(hotplug.state_of(device.id()).unwrap(), Some(DeviceState::Probed));

    let broken = hotplug.probe(c"lamp0,broken").unwrap_err();
    assert_eq!(broken.errno(), 5);
    assert_eq!(
        broken.to_string(),
        "shelf:lamp0: probe by driver lamp failed: -5 (Input/output error): the lamp is broken"
    );
    assert_eq!(hotplug.probe(c"shelf:lamp9").unwrap_err().kind(), Kind::NoDevice);

    assert_eq!(bus.unregister_driver(driver.clone()).unwrap_err().kind(), Kind::Busy);
    hotplug.remove(device.id()).unwrap();
    hotplug.hotplug_remove(c"shelf", c"lamp1").unwrap();
    assert_eq!(lit.load(Ordering::SeqCst), 0);
    bus.remove_device(c"lamp0").unwrap();
    bus.unregister_driver(driver).unwrap();
    hotplug.registry.unregister_bus(bus).unwrap();
}
