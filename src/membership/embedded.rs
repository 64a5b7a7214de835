//! The embedded mode: the command line says what a process is.

use std::ffi::{CStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::channel::link::Link;
use crate::embedded::options::{Options, ProcType};
use crate::embedded::runtime::{self, PrimaryLock};
use crate::embedded::{self, Platform};
use crate::error::{Error, Kind, Result};
use crate::group::{Role, Site};
use crate::ports::DeviceId;
use crate::process::Process;
use crate::proto::wire::Device;
use crate::sys::{fork, thread};

/// How long a secondary waits for a primary that is starting.
const START_LIMIT: Duration = Duration::from_secs(10);
/// How often a secondary looks for a primary.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// What an embedded process keeps.
#[derive(Default)]
pub(super) struct Embedded {
    lock: Option<PrimaryLock>,
    /// The command line.
    options: Option<Options>,
    directory: Option<PathBuf>,
    /// Looks for a new primary.
    search: Option<JoinHandle<()>>,
    /// The number of starts and ends: a search of an earlier one is over.
    generation: u64,
    /// The number of forks at which it started.
    forks: u32,
}

impl Process {
    /// Finds out what this process is in the embedded group that the command line names. It comes into
    /// it later, with [`Self::open_embedded_group`] or [`Self::join_embedded_group`].
    pub(crate) fn choose_embedded_group(&'static self, options: &Options) -> Result<()> {
        let mut kept = self.membership.embedded.lock();
        let (generation, forks) = (kept.generation + 1, fork::count());
        *kept = Embedded { generation, forks, ..Embedded::default() };
        kept.options = Some(options.clone());
        if options.no_shconf || options.in_memory {
            if options.proc_type == ProcType::Secondary {
                return Err(Error::new(
                    Kind::Invalid,
                    "--proc-type=secondary needs what --no-shconf or --in-memory switch off",
                ));
            }
            return Ok(());
        }
        let directory = runtime::directory(options.file_prefix.as_deref())?;
        kept.directory = Some(directory.clone());
        if options.proc_type != ProcType::Secondary {
            kept.lock = runtime::lock(&directory)?;
            if kept.lock.is_some() {
                return Ok(());
            }
            if options.proc_type == ProcType::Primary {
                return Err(Error::new(
                    Kind::Busy,
                    format!(
                        "another primary process uses {}: choose another --file-prefix, or \
                         --proc-type=secondary",
                        directory.display()
                    ),
                ));
            }
        }
        Ok(())
    }

    /// An embedded secondary has the devices that its buses found: it comes into the group.
    pub(crate) fn join_embedded_group(&'static self) -> Result<()> {
        let directory = {
            let kept = self.membership.embedded.lock();
            match (&kept.lock, &kept.directory) {
                (None, Some(directory)) => directory.clone(),
                _ => return Ok(()),
            }
        };
        let link = self.find_primary(&directory)?;
        self.group.enter(Role::Secondary(link));
        Ok(())
    }

    /// The embedded primary has its devices: secondaries may come.
    pub(crate) fn open_embedded_group(&'static self) -> Result<()> {
        let kept = self.membership.embedded.lock();
        let (Some(_), Some(directory)) = (&kept.lock, &kept.directory) else { return Ok(()) };
        let hub = self.open_hub(directory, true, None)?;
        self.group.enter(Role::Primary(hub));
        Ok(())
    }

    /// The embedded runtime ends.
    pub(crate) fn leave_embedded_group(&'static self) {
        let search = {
            let mut kept = self.membership.embedded.lock();
            let generation = kept.generation + 1;
            let before =
                std::mem::replace(&mut *kept, Embedded { generation, ..Embedded::default() });
            self.membership.changed.notify_all();
            if before.forks != fork::count() {
                // Its thread is not here, and its lock is its parent's.
                std::mem::forget(before);
                None
            } else {
                before.search
            }
        };
        if let Some(search) = search {
            // It does not panic, and ends soon.
            let _ = search.join();
        }
        self.group.leave();
    }

    /// The primary has gone. An embedded secondary joins the next one; DPDK's cannot outlive theirs.
    pub(crate) fn look_for_another_primary(&'static self) {
        let mut kept = self.membership.embedded.lock();
        let Some(directory) = kept.directory.clone() else { return };
        let generation = kept.generation;
        let search = thread::start("hotplug-rejoin", move || self.search(&directory, generation));
        match search {
            // The search before has found the primary that has gone now.
            Ok(search) => kept.search = Some(search),
            Err(error) => log::error!("multi-process: cannot look for a new primary: {error}"),
        }
    }

    fn search(&'static self, directory: &Path, generation: u64) {
        loop {
            {
                let mut kept = self.membership.embedded.lock();
                if kept.generation == generation {
                    self.membership.changed.wait_for(&mut kept, LOOK_INTERVAL);
                }
                if kept.generation != generation {
                    return;
                }
            }
            match Link::join(directory, self.link_options(true, OsString::new())) {
                Ok(Some(link)) => {
                    self.enter_again(link, generation);
                    return;
                }
                Ok(None) => {}
                Err(error) => log::debug!("{error}"),
            }
        }
    }

    /// A new primary was found, if it still matters.
    fn enter_again(&'static self, link: Arc<Link>, generation: u64) {
        let kept = self.membership.embedded.lock();
        if kept.generation != generation {
            drop(kept);
            return link.close();
        }
        let before = self.group.enter(Role::Secondary(link));
        drop(kept);
        if let Role::Secondary(before) = before {
            before.close();
        }
        log::debug!("joined a new primary process");
    }

    fn find_primary(&'static self, directory: &Path) -> Result<Arc<Link>> {
        let limit = Instant::now() + START_LIMIT;
        loop {
            let joined = Link::join(directory, self.link_options(true, OsString::new()))?;
            if let Some(link) = joined {
                return Ok(link);
            }
            // One that holds the lock without listening is starting.
            if !runtime::is_locked(directory) || Instant::now() >= limit {
                return Err(Error::new(
                    Kind::NotFound,
                    format!(
                        "no primary process in {}: start it first, with the same --file-prefix",
                        directory.display()
                    ),
                ));
            }
            std::thread::sleep(LOOK_INTERVAL);
        }
    }
}

impl Site for Platform {
    fn attached(&self, process: &'static Process, device: &Device, id: DeviceId) {
        process.publish_mappings(self, device, id);
    }

    fn detaching(&self, process: &Process, device: &Device, detaching: bool) {
        process.hold_mappings(device, detaching);
    }

    fn detached(&self, process: &'static Process, device: &Device, _id: DeviceId) {
        process.withdraw_mappings(device);
    }

    /// VFIO gives a function to one process.
    fn is_own_bus(&self, bus: &CStr) -> bool {
        bus == embedded::pci::NAME
    }

    fn is_private(&self, process: &'static Process, device: &Device) -> bool {
        self.is_own_bus(&device.bus) || process.group.is_private(device)
    }

    fn is_unwanted(&self, process: &'static Process, device: &Device) -> bool {
        let kept = process.membership.embedded.lock();
        kept.options.as_ref().is_some_and(|options| {
            embedded::is_unwanted(self.registry, options, &device.bus, &device.name)
        })
    }

    fn is_common_bus(&self, _bus: &CStr) -> bool {
        false
    }
}
