//! Another kernel driver for a PCI function: `driver_override`, unbind, bind, and a look at what came of
//! it. After a failure the function has the driver that it had.

use std::ffi::{CStr, CString};
use std::time::Duration;

use nix::errno::Errno;

use super::tracker::is_user_driver;
use crate::error::{Error, Kind, Result};
use crate::ports::{GroupMember, KernelDrivers};

/// What a function is to be bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target<'a> {
    /// This driver.
    Driver(&'a CStr),
    /// No driver.
    Nothing,
    /// Whichever driver the kernel finds for it.
    KernelsOwn,
}

/// The kernel announces a function before it lets any driver have it: so often that is tried.
const TRIES: u32 = 10;
const FIRST_PAUSE: Duration = Duration::from_millis(1);

/// Kernel drivers whose functions do not keep others of their group from being used under VFIO, besides
/// those of VFIO itself.
const HARMLESS: [&CStr; 2] = [c"pci-stub", c"pcieport"];

/// Binds `device` as it is wanted.
pub fn bind<K: KernelDrivers>(kernel: &K, device: &CStr, target: Target<'_>) -> Result<()> {
    if !kernel.is_there(device) {
        let cause = "there is no such PCI function".into();
        return Err(failed(Kind::NoDevice, device, target, cause));
    }
    bind_there(kernel, device, target).map_err(|error| {
        // Whatever failed of one that has gone: that is why.
        match kernel.is_there(device) {
            true => error,
            false => failed(Kind::NoDevice, device, target, "it is gone".into()),
        }
    })
}

fn bind_there<K: KernelDrivers>(kernel: &K, device: &CStr, target: Target<'_>) -> Result<()> {
    let step = |name, errno| step_failed(device, target, name, errno);
    let before = Before {
        driver: kernel.driver(device),
        rule: kernel.driver_override(device).map_err(|e| step("read driver_override", e))?,
    };
    if before.is(target) {
        return Ok(());
    }
    let rule = match target {
        Target::Driver(driver) => {
            check_driver(kernel, device, driver)?;
            Some(driver)
        }
        Target::Nothing | Target::KernelsOwn => None,
    };
    kernel.set_driver_override(device, rule).map_err(|e| step("write driver_override", e))?;
    change(kernel, device, target).map_err(|error| before.restore(kernel, device, error))
}

/// What a function had.
struct Before {
    driver: Option<CString>,
    rule: Option<CString>,
}

fn check_driver<K: KernelDrivers>(kernel: &K, device: &CStr, driver: &CStr) -> Result<()> {
    let refuse = |kind, cause| Err(failed(kind, device, Target::Driver(driver), cause));
    if matches!(driver.to_bytes(), b"" | b"." | b"..") || driver.to_bytes().contains(&b'/') {
        return refuse(Kind::Invalid, "this is no name of a driver".into());
    }
    if !kernel.knows(driver) {
        let name = driver.to_string_lossy();
        return refuse(Kind::NotFound, format!("the kernel has no such driver: modprobe {name}"));
    }
    if !is_of_vfio(driver) {
        return Ok(());
    }
    match kernel.group(device) {
        Some(group) => {
            let others = group.iter().filter(|member| *member.name != *device);
            let in_the_way: Vec<_> = others.filter_map(in_the_way).collect();
            if in_the_way.is_empty() {
                return Ok(());
            }
            let cause = format!(
                "its IOMMU group would not be usable: bind {} to {} or to nothing first",
                in_the_way.join(" and "),
                driver.to_string_lossy()
            );
            refuse(Kind::Busy, cause)
        }
        None if kernel.needs_no_iommu() => Ok(()),
        None => {
            let cause = "it has no IOMMU group: switch the IOMMU on (intel_iommu=on, amd_iommu=on), or \
                         allow VFIO without one (enable_unsafe_noiommu_mode)";
            refuse(Kind::NotSupported, cause.into())
        }
    }
}

/// Takes the function from its driver and gives it to the other one.
fn change<K: KernelDrivers>(kernel: &K, device: &CStr, target: Target<'_>) -> Result<()> {
    let step = |name, errno| step_failed(device, target, name, errno);
    unbind(kernel, device).map_err(|e| step("unbind", e))?;
    match target {
        Target::Driver(driver) => bind_when_ready(kernel, device, driver),
        Target::Nothing => Ok(()),
        Target::KernelsOwn => kernel.probe(device).map_err(|e| step("write drivers_probe", e)),
    }
}

fn unbind<K: KernelDrivers>(kernel: &K, device: &CStr) -> std::result::Result<(), Errno> {
    match kernel.unbind(device) {
        // It has gone by itself.
        Err(_) if kernel.driver(device).is_none() => Ok(()),
        done => done,
    }
}

fn bind_when_ready<K: KernelDrivers>(kernel: &K, device: &CStr, driver: &CStr) -> Result<()> {
    let target = Target::Driver(driver);
    let mut pause = FIRST_PAUSE;
    let mut result = Err(Errno::ENODEV);
    for _ in 0..TRIES {
        result = kernel.bind(device, driver);
        match kernel.driver(device) {
            // Whoever has given it.
            Some(now) if *now == *driver => return Ok(()),
            Some(_) => {
                unbind(kernel, device).map_err(|e| step_failed(device, target, "unbind", e))?
            }
            None if !kernel.is_there(device) => {
                return Err(failed(Kind::NoDevice, device, target, "it is gone".into()));
            }
            None => {}
        }
        if !matches!(result, Ok(()) | Err(Errno::ENODEV | Errno::EBUSY)) {
            break;
        }
        kernel.pause(pause);
        pause *= 2;
    }
    match result {
        Err(errno) => Err(step_failed(device, target, "bind", errno)),
        Ok(()) => Err(failed(
            Kind::Code(-libc::EIO),
            device,
            target,
            "the kernel said that it was bound, and shows that it is not".into(),
        )),
    }
}

impl Before {
    /// Whether nothing is to be done.
    fn is(&self, target: Target<'_>) -> bool {
        let driver = self.driver.as_deref();
        match target {
            Target::Driver(wanted) => driver == Some(wanted),
            Target::Nothing => driver.is_none() && self.rule.is_none(),
            Target::KernelsOwn => self.rule.is_none() && driver.is_some_and(|d| !is_user_driver(d)),
        }
    }

    /// Gives the function back to what it had; the error tells if that fails as well.
    fn restore<K: KernelDrivers>(&self, kernel: &K, device: &CStr, error: Error) -> Error {
        if !kernel.is_there(device) {
            return error;
        }
        let restored = kernel.set_driver_override(device, self.rule.as_deref()).and_then(|()| {
            match &self.driver {
                Some(driver) if kernel.driver(device).as_ref() != Some(driver) => {
                    kernel.bind(device, driver)
                }
                _ => Ok(()),
            }
        });
        match restored {
            Ok(()) => error,
            Err(errno) => {
                let cause = format!("{error}; and it could not be given back: {}", errno.desc());
                Error::new(error.kind(), cause)
            }
        }
    }
}

fn is_of_vfio(driver: &CStr) -> bool {
    driver.to_string_lossy().contains("vfio")
}

/// How a function keeps its group from being used under VFIO, if it does.
fn in_the_way(member: &GroupMember) -> Option<String> {
    let driver = member.driver.as_ref().filter(|_| !member.is_bridge)?;
    let is_harmless = is_of_vfio(driver) || HARMLESS.contains(&driver.as_c_str());
    let text = || format!("{} ({})", member.name.to_string_lossy(), driver.to_string_lossy());
    (!is_harmless).then(text)
}

fn step_failed(device: &CStr, target: Target<'_>, step: &str, errno: Errno) -> Error {
    let cause = format!("{step}: {}{}", errno.desc(), hint(errno));
    failed(Kind::Code(-(errno as i32)), device, target, cause)
}

fn hint(errno: Errno) -> &'static str {
    match errno {
        Errno::EACCES | Errno::EPERM => ": it takes root",
        Errno::EINVAL => ": the driver refuses it, see the kernel's log",
        _ => "",
    }
}

fn failed(kind: Kind, device: &CStr, target: Target<'_>, cause: String) -> Error {
    let target = match target {
        Target::Driver(driver) => format!("to {}", driver.to_string_lossy()),
        Target::Nothing => "to no driver".into(),
        Target::KernelsOwn => "to the kernel's own driver".into(),
    };
    Error::new(kind, format!("pci:{}: cannot bind it {target}: {cause}", device.to_string_lossy()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    const DEVICE: &CStr = c"0000:00:05.0";
    const OTHER: &CStr = c"0000:00:05.1";

    /// A kernel with one function, drivers, and an IOMMU group.
    #[derive(Clone)]
    struct Kernel {
        is_there: bool,
        driver: Option<CString>,
        rule: Option<CString>,
        /// So often a bind finds the function not ready.
        not_ready: u32,
        /// What binding to a driver comes to, if not to a success.
        bind_fails: Vec<(&'static CStr, Errno)>,
        unbind_fails: Option<Errno>,
        /// Another driver takes the function as soon as it is free.
        thief: Option<CString>,
        goes_when_unbound: bool,
        group: Option<Vec<GroupMember>>,
        waited: Duration,
    }

    impl Kernel {
        fn new(driver: Option<&CStr>) -> RefCell<Self> {
            RefCell::new(Self {
                is_there: true,
                driver: driver.map(CStr::to_owned),
                rule: None,
                not_ready: 0,
                bind_fails: vec![],
                unbind_fails: None,
                thief: None,
                goes_when_unbound: false,
                group: Some(vec![]),
                waited: Duration::ZERO,
            })
        }
    }

    impl KernelDrivers for RefCell<Kernel> {
        fn is_there(&self, device: &CStr) -> bool {
            device == DEVICE && self.borrow().is_there
        }
        fn knows(&self, driver: &CStr) -> bool {
            [c"vfio-pci", c"uio_pci_generic", c"e1000e"].contains(&driver)
        }
        fn driver(&self, _: &CStr) -> Option<CString> {
            self.borrow().driver.clone()
        }
        fn driver_override(&self, _: &CStr) -> std::result::Result<Option<CString>, Errno> {
            Ok(self.borrow().rule.clone())
        }
        fn set_driver_override(
            &self,
            _: &CStr,
            driver: Option<&CStr>,
        ) -> std::result::Result<(), Errno> {
            self.borrow_mut().rule = driver.map(CStr::to_owned);
            Ok(())
        }
        fn unbind(&self, _: &CStr) -> std::result::Result<(), Errno> {
            let mut kernel = self.borrow_mut();
            if let Some(errno) = kernel.unbind_fails {
                return Err(errno);
            }
            kernel.is_there &= !kernel.goes_when_unbound;
            let thief = kernel.thief.take();
            match std::mem::replace(&mut kernel.driver, thief) {
                Some(_) => Ok(()),
                None => Err(Errno::ENOENT),
            }
        }
        fn bind(&self, _: &CStr, driver: &CStr) -> std::result::Result<(), Errno> {
            let mut kernel = self.borrow_mut();
            if kernel.not_ready > 0 {
                kernel.not_ready -= 1;
                return Err(Errno::ENODEV);
            }
            if kernel.rule.as_deref().is_some_and(|rule| rule != driver) || !kernel.is_there {
                return Err(Errno::ENODEV);
            }
            if kernel.driver.is_some() {
                return Err(Errno::EBUSY);
            }
            if let Some((_, errno)) = kernel.bind_fails.iter().find(|(name, _)| *name == driver) {
                return Err(*errno);
            }
            kernel.driver = Some(driver.to_owned());
            Ok(())
        }
        fn probe(&self, _: &CStr) -> std::result::Result<(), Errno> {
            self.borrow_mut().driver = Some(c"e1000e".to_owned());
            Ok(())
        }
        fn group(&self, _: &CStr) -> Option<Vec<GroupMember>> {
            self.borrow().group.clone()
        }
        fn needs_no_iommu(&self) -> bool {
            false
        }
        fn pause(&self, time: Duration) {
            self.borrow_mut().waited += time;
        }
    }

    fn to(driver: &CStr) -> Target<'_> {
        Target::Driver(driver)
    }

    fn has(kernel: &RefCell<Kernel>, driver: Option<&CStr>, rule: Option<&CStr>) {
        assert_eq!(kernel.borrow().driver.as_deref(), driver);
        assert_eq!(kernel.borrow().rule.as_deref(), rule);
    }

    /// The code and the text of a failure, after which all is as it was.
    fn refused(kernel: &RefCell<Kernel>, target: Target<'_>) -> (i32, String) {
        let (driver, rule) = (kernel.borrow().driver.clone(), kernel.borrow().rule.clone());
        let error = bind(kernel, DEVICE, target).unwrap_err();
        has(kernel, driver.as_deref(), rule.as_deref());
        (error.code(), error.to_string())
    }

    #[test]
    fn from_one_driver_to_another_and_back() {
        let kernel = Kernel::new(Some(c"e1000e"));
        bind(&kernel, DEVICE, to(c"vfio-pci")).unwrap();
        has(&kernel, Some(c"vfio-pci"), Some(c"vfio-pci"));
        bind(&kernel, DEVICE, to(c"vfio-pci")).unwrap();
        bind(&kernel, DEVICE, to(c"uio_pci_generic")).unwrap();
        has(&kernel, Some(c"uio_pci_generic"), Some(c"uio_pci_generic"));
        bind(&kernel, DEVICE, Target::Nothing).unwrap();
        has(&kernel, None, None);
        bind(&kernel, DEVICE, Target::KernelsOwn).unwrap();
        has(&kernel, Some(c"e1000e"), None);
    }

    #[test]
    fn what_the_kernels_own_driver_has_is_left_to_it() {
        let kernel = Kernel::new(Some(c"e1000e"));
        kernel.borrow_mut().unbind_fails = Some(Errno::EIO);
        bind(&kernel, DEVICE, Target::KernelsOwn).unwrap();
        has(&kernel, Some(c"e1000e"), None);
    }

    #[test]
    fn one_that_is_not_ready_is_waited_for_but_not_for_ever() {
        let kernel = Kernel::new(None);
        kernel.borrow_mut().not_ready = 5;
        bind(&kernel, DEVICE, to(c"vfio-pci")).unwrap();
        assert_eq!(kernel.borrow().waited, Duration::from_millis(31));
        let kernel = Kernel::new(None);
        kernel.borrow_mut().not_ready = u32::MAX;
        let (code, text) = refused(&kernel, to(c"vfio-pci"));
        assert_eq!(code, -libc::ENODEV);
        assert!(text.contains("bind: No such device"), "{text}");
        assert_eq!(kernel.borrow().waited, Duration::from_millis((1 << TRIES) - 1));
    }

    #[test]
    fn a_driver_that_refuses_leaves_it_to_the_one_before() {
        let kernel = Kernel::new(Some(c"e1000e"));
        kernel.borrow_mut().bind_fails = vec![(c"vfio-pci", Errno::EINVAL)];
        let (code, text) = refused(&kernel, to(c"vfio-pci"));
        assert_eq!(code, -libc::EINVAL);
        assert!(text.contains("pci:0000:00:05.0") && text.contains("bind: Invalid"), "{text}");
        kernel.borrow_mut().bind_fails.push((c"e1000e", Errno::EIO));
        let text = bind(&kernel, DEVICE, to(c"vfio-pci")).unwrap_err().to_string();
        assert!(text.ends_with("it could not be given back: I/O error"), "{text}");
    }

    #[test]
    fn what_cannot_be_unbound_stays() {
        let kernel = Kernel::new(Some(c"e1000e"));
        kernel.borrow_mut().unbind_fails = Some(Errno::EACCES);
        let (code, text) = refused(&kernel, to(c"vfio-pci"));
        assert_eq!(code, -libc::EACCES);
        assert!(text.contains("unbind: Permission denied: it takes root"), "{text}");
    }

    #[test]
    fn one_who_takes_it_in_between_loses_it_again() {
        let kernel = Kernel::new(Some(c"e1000e"));
        kernel.borrow_mut().thief = Some(c"nvme".to_owned());
        bind(&kernel, DEVICE, to(c"vfio-pci")).unwrap();
        has(&kernel, Some(c"vfio-pci"), Some(c"vfio-pci"));
    }

    #[test]
    fn one_that_goes_meanwhile_is_no_device() {
        let kernel = Kernel::new(Some(c"e1000e"));
        kernel.borrow_mut().goes_when_unbound = true;
        let error = bind(&kernel, DEVICE, to(c"vfio-pci")).unwrap_err();
        assert_eq!(
            (error.kind(), error.to_string().contains("it is gone")),
            (Kind::NoDevice, true)
        );
        assert_eq!(refused(&kernel, to(c"vfio-pci")).0, -libc::ENODEV);
    }

    #[test]
    fn names_of_drivers_are_checked() {
        let kernel = Kernel::new(Some(c"e1000e"));
        assert_eq!(refused(&kernel, to(c"../../x")).0, -libc::EINVAL);
        let (code, text) = refused(&kernel, to(c"igb_uio"));
        assert_eq!(code, -libc::ENOENT);
        assert!(text.contains("modprobe igb_uio"), "{text}");
    }

    #[test]
    fn a_group_has_to_be_usable() {
        let kernel = Kernel::new(Some(c"e1000e"));
        let member = |name: &CStr, driver: Option<&CStr>, is_bridge| GroupMember {
            name: name.to_owned(),
            driver: driver.map(CStr::to_owned),
            is_bridge,
        };
        let own = member(DEVICE, Some(c"e1000e"), false);
        kernel.borrow_mut().group = Some(vec![own.clone(), member(OTHER, Some(c"nvme"), false)]);
        let (code, text) = refused(&kernel, to(c"vfio-pci"));
        assert_eq!(code, -libc::EBUSY);
        assert!(
            text.contains("bind 0000:00:05.1 (nvme) to vfio-pci or to nothing first"),
            "{text}"
        );
        // uio knows no groups.
        bind(&kernel, DEVICE, to(c"uio_pci_generic")).unwrap();
        for harmless in [
            member(OTHER, None, false),
            member(OTHER, Some(c"vfio-pci"), false),
            member(OTHER, Some(c"pci-stub"), false),
            member(OTHER, Some(c"pcieport"), false),
            member(OTHER, Some(c"shpchp"), true),
        ] {
            let kernel = Kernel::new(Some(c"e1000e"));
            kernel.borrow_mut().group = Some(vec![own.clone(), harmless]);
            bind(&kernel, DEVICE, to(c"vfio-pci")).unwrap();
        }
        let kernel = Kernel::new(Some(c"e1000e"));
        kernel.borrow_mut().group = None;
        assert_eq!(refused(&kernel, to(c"vfio-pci")).0, -libc::ENOTSUP);
    }
}
