//! The hosted mode: a process comes with EAL's start and goes with its end.

use std::ffi::{CStr, c_int};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::channel::hub::Hub;
use crate::channel::link::Link;
use crate::error::{Error, Kind, Result};
use crate::group::{Role, Site};
use crate::hosted::apart::Mark;
use crate::hosted::host::{Host, MpAction};
use crate::hosted::mp::{self, Registered};
use crate::hosted::stock_peers::{Peers, SOCKET_PREFIX};
use crate::hosted::stock_primary::StockPrimary;
use crate::hosted::{Platform, eal_socket, threads, vdev};
use crate::ports::DeviceId;
use crate::process::{Mode, Process, process};
use crate::proto::eal::{EAL_REQUEST_SIZE, EalRequest};
use crate::proto::wire::Device;
use crate::sys::thread;

/// How far the hosted mode has come.
#[derive(Default)]
pub(super) enum Stage {
    /// EAL has not registered its handler, as far as we know.
    #[default]
    Unknown,
    /// EAL starts; requests of a stock primary wait.
    Starting(Vec<(EalRequest, PathBuf)>),
    /// The role says the rest.
    Running,
    /// EAL has no multi-process messages.
    Off,
    /// EAL ends.
    Stopping,
}

impl Process {
    /// EAL, or a library of it, registers a handler of multi-process messages.
    pub fn host_registers(
        &'static self,
        host: &'static Host,
        name: Option<&CStr>,
        action: Option<MpAction>,
        register: impl Fn(Option<MpAction>) -> c_int,
    ) -> Result<c_int> {
        let Some(Mode::Hosted(platform)) = self.host_mode() else { return Ok(register(action)) };
        if name == Some(vdev::ACTION) {
            return Ok(register(vdev::capture(&platform, action)));
        }
        if name != Some(mp::ACTION) {
            return Ok(register(action));
        }
        *self.membership.stock_action.lock() = action;
        if !platform.hosted.eal.is_primary() {
            // Before requests can come: a stock primary's have to wait.
            *self.membership.stage.lock() = Stage::Starting(vec![]);
            self.mark_apart(&platform);
        }
        let code = register(Some(mp::handler(self)));
        match mp::outcome(host, code) {
            Ok(registered) => self.host_registered(&platform, registered),
            // EAL reads the reason in rte_errno.
            Err(error) => {
                *self.membership.stage.lock() = Stage::Unknown;
                log::debug!("{error}");
            }
        }
        Ok(code)
    }

    /// EAL has started: a secondary joins now.
    pub(crate) fn join_group(&'static self, platform: &Platform) {
        if matches!(*self.membership.stage.lock(), Stage::Unknown) {
            self.take_over(platform);
        }
        if !matches!(*self.membership.stage.lock(), Stage::Starting(_)) {
            return;
        }
        let role = self.secondary_role(platform);
        self.group.enter(role.clone());
        // Under the lock that requests take: none overtakes those that wait.
        let mut stage = self.membership.stage.lock();
        let before = std::mem::replace(&mut *stage, Stage::Running);
        if let (Stage::Starting(waiting), Role::StockSecondary(stock)) = (before, role) {
            for (request, peer) in waiting {
                stock.requested(request, peer);
            }
        }
        drop(stage);
        self.membership.mark.lock().take();
    }

    /// Makes sure that the group is known: for a DPDK that was initialised behind our back.
    pub(crate) fn ensure_group(&'static self, platform: &Platform) {
        if !matches!(*self.membership.stage.lock(), Stage::Unknown) {
            return;
        }
        // One at a time: the handler is taken off and registered again.
        let _alone = self.membership.finding.lock();
        if matches!(*self.membership.stage.lock(), Stage::Unknown) {
            self.join_group(platform);
        }
    }

    /// The host's `rte_eal_init` has failed: what had begun is given up.
    pub(crate) fn abandon_group(&'static self) {
        self.leave_group();
        self.forget_group();
    }

    /// Whether EAL has not been seen to start.
    pub(crate) fn is_group_unknown(&self) -> bool {
        matches!(*self.membership.stage.lock(), Stage::Unknown)
    }

    /// Whether requests of other processes come here.
    pub(crate) fn is_in_group(&self) -> bool {
        matches!(*self.membership.stage.lock(), Stage::Running)
    }

    /// EAL ends, or cannot be worked with: from now on calls are for this process alone.
    pub(crate) fn leave_group(&'static self) {
        *self.membership.stage.lock() = Stage::Stopping;
        if let Some(Mode::Hosted(platform)) = self.host_mode() {
            if !platform.hosted.eal.is_primary() {
                self.mark_apart(&platform);
            }
        }
        self.group.leave();
        eal_socket::forget();
    }

    /// EAL has ended, and closed its socket.
    pub(crate) fn has_left_group(&'static self) {
        self.membership.mark.lock().take();
    }

    /// EAL starts again.
    pub(crate) fn forget_group(&'static self) {
        let mut stage = self.membership.stage.lock();
        if matches!(*stage, Stage::Stopping) {
            *stage = Stage::Unknown;
        }
    }

    /// Puts EAL's own handler back, and the bus's.
    pub(crate) fn give_back(&'static self, platform: &Platform) {
        vdev::give_back();
        self.leave_group();
        self.put_back(platform);
    }

    fn put_back(&'static self, platform: &Platform) {
        let hosted = platform.hosted;
        if let Some(action) = self.membership.stock_action.lock().take() {
            mp::put_back(hosted.host, hosted.eal, action);
        }
    }

    fn take_over(&'static self, platform: &Platform) {
        let hosted = platform.hosted;
        match mp::take_over(hosted.host, hosted.eal, self) {
            Ok(registered) => self.host_registered(platform, registered),
            Err(error) => log::error!("{error}"),
        }
    }

    fn host_registered(&'static self, platform: &Platform, registered: Registered) {
        let stage = match registered {
            Registered::NotYet => return,
            Registered::Off => Stage::Off,
            Registered::Ours => {
                if let Some(processors) = threads::control_affinity(platform.hosted.eal) {
                    thread::use_affinity(processors);
                }
                if !platform.hosted.eal.is_primary() {
                    self.await_start();
                    self.mark_apart(platform);
                    return;
                }
                match self.hosted_hub(platform) {
                    Ok(hub) => {
                        self.group.enter(Role::Primary(hub));
                        Stage::Running
                    }
                    Err(error) => {
                        // The application works on, for itself and with DPDK's own answers to others.
                        log::error!("{error}; other processes get DPDK's own hotplug");
                        self.put_back(platform);
                        Stage::Off
                    }
                }
            }
        };
        *self.membership.stage.lock() = stage;
    }

    fn mark_apart(&'static self, platform: &Platform) {
        // Its socket is its parent's, which takes part.
        if self.eal_is_parents() {
            return;
        }
        let mut mark = self.membership.mark.lock();
        if let (None, Some(own)) = (&*mark, eal_socket::own(platform.hosted)) {
            let directory = platform.hosted.eal.runtime_directory();
            *mark = directory.and_then(|directory| Mark::set(directory, own.name()));
        }
    }

    fn await_start(&'static self) {
        let mut stage = self.membership.stage.lock();
        if !matches!(*stage, Stage::Starting(_)) {
            *stage = Stage::Starting(vec![]);
        }
    }

    fn hosted_hub(&'static self, platform: &Platform) -> Result<Arc<Hub>> {
        let directory = runtime_directory(platform)?;
        let stock = Peers::of(&directory, platform.hosted.alignment());
        self.open_hub(&directory, false, Some(Box::new(stock)))
    }

    fn secondary_role(&'static self, platform: &Platform) -> Role {
        let directory = match runtime_directory(platform) {
            Ok(directory) => directory,
            Err(error) => {
                log::error!("{error}");
                return Role::Alone;
            }
        };
        let socket = eal_socket::own(platform.hosted).map(|own| own.name().clone());
        let socket = socket.unwrap_or_default();
        match Link::join(&directory, self.link_options(false, socket)) {
            Ok(Some(link)) => return Role::Secondary(link),
            Ok(None) => log::debug!("the primary process does not have librte_hotplug"),
            Err(error) => log::warn!("{error}: working with it as with a process without it"),
        }
        let hosted = platform.hosted;
        Role::StockSecondary(StockPrimary::new(&directory, hosted, &self.group.timeouts, self))
    }
}

impl mp::Server for Process {
    fn requested(&'static self, request: EalRequest, peer: PathBuf) {
        let Some(Mode::Hosted(platform)) = self.host_mode() else { return };
        let hosted = platform.hosted;
        if let Stage::Starting(waiting) = &mut *self.membership.stage.lock() {
            if !is_from_us(&peer) {
                return waiting.push((request, peer));
            }
        }
        match self.group.role() {
            Role::Primary(hub) => hub.workers().run(false, move || {
                if let Some(result) = process().serve_stock(request.step, &request.devargs) {
                    mp::reply(hosted, &EalRequest { result, ..request }, &peer, mp::REPLY_LIMIT);
                }
            }),
            Role::StockSecondary(stock) => stock.requested(request, peer),
            // A primary that ends does nothing any more. To a secondary its primary speaks like this
            // only before it has joined, which settles it, or when it ends.
            Role::Secondary(_) | Role::Alone => {
                let result = if hosted.eal.is_primary() { -libc::ENOMSG } else { 0 };
                mp::reply(hosted, &EalRequest { result, ..request }, &peer, Duration::ZERO);
            }
        }
    }

    fn misunderstood(&'static self, param: [u8; EAL_REQUEST_SIZE], peer: PathBuf) {
        self.group.counters.bad_frames.add();
        if let Some(Mode::Hosted(platform)) = self.host_mode() {
            mp::refuse(platform.hosted, param, &peer);
        }
    }
}

impl Site for Platform {
    fn attached(&self, process: &'static Process, device: &Device, id: DeviceId) {
        process.ports.learn(self, id);
        process.publish_mappings(self, device, id);
    }

    fn detaching(&self, process: &Process, device: &Device, detaching: bool) {
        process.hold_mappings(device, detaching);
    }

    fn detached(&self, process: &'static Process, device: &Device, id: DeviceId) {
        process.ports.forget(id);
        process.withdraw_mappings(device);
    }

    fn is_private(&self, _process: &'static Process, device: &Device) -> bool {
        Platform::is_private(self, &device.bus, &device.name)
    }

    fn is_unwanted(&self, _process: &'static Process, device: &Device) -> bool {
        Platform::is_unwanted(self, &device.bus, &device.name)
    }

    fn is_common_bus(&self, bus: &CStr) -> bool {
        self.has_host_bus(bus)
    }
}

/// Whether a request came from a primary with this library.
fn is_from_us(peer: &Path) -> bool {
    peer.file_name().is_some_and(|n| n.as_encoded_bytes().starts_with(SOCKET_PREFIX.as_bytes()))
}

fn runtime_directory(platform: &Platform) -> Result<PathBuf> {
    platform.hosted.eal.runtime_directory().map(Path::to_owned).ok_or_else(|| {
        Error::new(Kind::NotSupported, "multi-process: DPDK has no runtime directory")
    })
}
