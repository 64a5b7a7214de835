//! A secondary of a primary without this library: it asks and answers on EAL's wire.

use std::collections::HashMap;
use std::ffi::CStr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use crate::sys::lock::Mutex;

use super::stock_peers::ask_primary;
use super::{Hosted, mp};
use crate::channel::settings::Timeouts;
use crate::channel::workers::Workers;
use crate::channel::{Done, Peer, PeerState, no_answer, without_panic};
use crate::engine::answer::Answer;
use crate::engine::participant::{Effect, Participant, Task, is_rollback};
use crate::error::{Error, Kind, Result, describe_code};
use crate::proto::eal::{EAL_DEVARGS_SIZE, EalRequest};
use crate::proto::wire::{Device, Request, Step};
use crate::sys::peers::PRIMARY;

/// What a stock primary's requests need of the process.
pub trait Duties: Sync {
    /// The device that devargs name.
    fn device(&'static self, devargs: &CStr) -> Option<Device>;
    /// Carries out a request.
    fn carry_out(&'static self, request: &Request) -> Done;
}

/// This process's side of a stock primary.
pub struct StockPrimary {
    directory: PathBuf,
    hosted: &'static Hosted,
    timeouts: &'static Timeouts,
    duties: &'static dyn Duties,
    workers: Workers,
    participant: Mutex<Participant>,
    /// Where the answers go.
    askers: Mutex<HashMap<Device, PathBuf>>,
    this: Weak<Self>,
}

impl StockPrimary {
    /// Ready to ask and to be asked.
    pub fn new(
        directory: &Path,
        hosted: &'static Hosted,
        timeouts: &'static Timeouts,
        duties: &'static dyn Duties,
    ) -> Arc<Self> {
        Arc::new_cyclic(|this| Self {
            directory: directory.to_owned(),
            hosted,
            timeouts,
            duties,
            workers: Workers::default(),
            participant: Mutex::default(),
            askers: Mutex::default(),
            this: this.clone(),
        })
    }

    /// The primary, as the only peer that a secondary knows.
    pub fn peers(&self) -> Vec<Peer> {
        vec![Peer { pid: 0, state: PeerState::Stock, primary: true, socket: PRIMARY.to_owned() }]
    }

    /// Lets all processes attach or detach a device.
    pub fn ask(&self, step: Step, device: &Device, devargs: &CStr) -> Result<()> {
        let label = crate::ports::label(&device.bus, &device.name);
        if devargs.count_bytes() >= EAL_DEVARGS_SIZE {
            return Err(Error::new(
                Kind::TooBig,
                format!(
                    "{label}: the devargs have {} bytes, a primary without librte_hotplug takes at \
                     most {}",
                    devargs.count_bytes(),
                    EAL_DEVARGS_SIZE - 1
                ),
            ));
        }
        let request = EalRequest { step, devargs: devargs.to_owned(), result: 0 };
        let primary = self.directory.join(PRIMARY);
        let limit = self.timeouts.limits().stock;
        let alignment = self.hosted.alignment();
        match ask_primary(&self.directory, &primary, alignment, &request, limit) {
            Ok(0) => Ok(()),
            Ok(code) => Err(Error::new(
                Kind::Code(code),
                format!(
                    "{label}: {} failed: the primary says {}",
                    step.name(),
                    describe_code(code)
                ),
            )),
            Err(error) => Err(no_answer(device, step, &error.to_string())),
        }
    }

    /// The primary asks. Must not wait.
    pub fn requested(&self, request: EalRequest, peer: PathBuf) {
        let (step, devargs) = (request.step, request.devargs);
        let unknown = || Device { bus: c"".into(), name: devargs.clone() };
        let device = self.duties.device(&devargs).unwrap_or_else(unknown);
        self.askers.lock().insert(device.clone(), peer);
        // A rollback belongs to the last step on its device: EAL's requests have no number.
        let task =
            Task::Step(Request { id: 0, lineage: vec![], step, device, devargs, hurried: false });
        let effects = self.participant.lock().requested(task);
        self.perform(effects);
    }

    /// Leaves: requests that wait are not carried out.
    pub fn close(&self) {
        self.workers.stop();
    }

    fn perform(&self, effects: Vec<Effect>) {
        for effect in effects {
            let Some(this) = self.this.upgrade() else { return };
            match effect {
                // The primary has given it up, and would take the answer for one to its rollback.
                Effect::Answer(request, _) if !is_rollback(request.step) => {}
                Effect::Answer(request, answer) => {
                    self.workers.run(true, move || this.answer(&request, &answer));
                }
                Effect::Run(task) => self.workers.run(true, move || this.run(&task)),
            }
        }
    }

    fn run(&self, task: &Task) {
        let Task::Step(request) = task else { return };
        let done = without_panic(|| self.duties.carry_out(request))
            .unwrap_or_else(|error| Done::failed(&error));
        if let Answer::Failed(_, message) = &done.answer {
            log::error!("for the primary: {message}");
        }
        let effects = self.participant.lock().finished(task, &done.answer, done.devargs);
        self.answer(request, &done.answer);
        self.perform(effects);
    }

    fn answer(&self, request: &Request, answer: &Answer) {
        let asker = self.askers.lock().get(&request.device).cloned();
        let Some(asker) = asker else { return };
        let (step, devargs) = (request.step, request.devargs.clone());
        let reply = EalRequest { step, devargs, result: answer.code(step) };
        mp::reply(self.hosted, &reply, &asker, mp::REPLY_LIMIT);
    }
}
