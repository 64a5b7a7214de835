//! How this process comes into its group and leaves it: at EAL's start and end in the hosted mode, by
//! the command line in the embedded one.

mod embedded;
mod hosted;

use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;

use crate::sys::lock::{Condvar, Mutex, ReentrantMutex};

use crate::channel::hub::{Hub, HubOptions};
use crate::channel::link::LinkOptions;
use crate::channel::stock::StockPeers;
use crate::error::Result;
use crate::hosted::apart::Mark;
use crate::hosted::host::MpAction;
use crate::process::Process;
use embedded::Embedded;
use hosted::Stage;

/// What is known about membership besides the role.
#[derive(Default)]
pub struct Membership {
    stage: Mutex<Stage>,
    /// Set while a secondary starts or ends.
    mark: Mutex<Option<Mark>>,
    /// Held while the group is looked for behind EAL's back.
    finding: ReentrantMutex,
    /// EAL's own handler, to be put back when its host cannot be worked with.
    stock_action: Mutex<Option<MpAction>>,
    embedded: Mutex<Embedded>,
    changed: Condvar,
}

impl Process {
    fn open_hub(
        &'static self,
        directory: &Path,
        embedded: bool,
        stock: Option<Box<dyn StockPeers>>,
    ) -> Result<Arc<Hub>> {
        Hub::open(HubOptions {
            directory: directory.to_owned(),
            embedded,
            local: self,
            timeouts: &self.group.timeouts,
            counters: &self.group.counters,
            stock,
        })
    }

    fn link_options(&'static self, embedded: bool, eal_socket: OsString) -> LinkOptions {
        LinkOptions {
            embedded,
            eal_socket,
            local: self,
            timeouts: &self.group.timeouts,
            counters: &self.group.counters,
        }
    }
}
