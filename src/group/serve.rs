//! What other processes ask for: a call of a secondary, a step of the primary.

use std::ffi::{CStr, CString};
use std::time::Instant;

use super::{Role, Site};
use crate::channel::operation::CallToken;
use crate::channel::{Done, Local, without_panic};
use crate::engine::answer::Answer;
use crate::engine::operation::Operation;
use crate::engine::participant::Task;
use crate::error::{Error, Kind, Result};
use crate::hosted::stock_primary::Duties;
use crate::process::{Mode, Process};
use crate::proto::wire::{Device, Request, Step};

impl Local for Process {
    fn carry_out(&'static self, task: &Task) -> Done {
        let done = self.mode().and_then(|mode| match mode {
            Mode::Embedded(platform) => self.carry_out_on(&platform, task),
            Mode::Hosted(platform) => self.carry_out_on(&platform, task),
            Mode::Forwarding(_) => Err(not_here()),
        });
        done.unwrap_or_else(|error| Done::failed(&error))
    }

    fn serve(&'static self, call: &Request, token: &CallToken) -> Answer {
        let served = self.mode().and_then(|mode| match mode {
            Mode::Embedded(platform) => self.serve_on(&platform, call, Some(token)),
            Mode::Hosted(platform) => self.serve_on(&platform, call, Some(token)),
            Mode::Forwarding(_) => Err(not_here()),
        });
        match served {
            Ok(()) => Answer::Changed,
            Err(error) => Answer::Failed(error.code(), error.to_string()),
        }
    }

    fn devices_to_share(&'static self) -> Vec<(Device, CString)> {
        // Not by mode(), which may stop the embedded runtime: this runs in the channel's thread.
        self.embedded_devices()
    }

    fn primary_gone(&'static self) {
        self.look_for_another_primary();
    }
}

impl Duties for Process {
    fn device(&'static self, devargs: &CStr) -> Option<Device> {
        match self.mode() {
            Ok(Mode::Hosted(platform)) => self.device_of(&platform, devargs).ok(),
            _ => None,
        }
    }

    fn carry_out(&'static self, request: &Request) -> Done {
        Local::carry_out(self, &Task::Step(request.clone()))
    }
}

impl Process {
    /// Does a stock secondary's call in all processes: EAL's code, `None` when the secondary does not
    /// wait for it any longer.
    pub(crate) fn serve_stock(&'static self, step: Step, devargs: &CStr) -> Option<i32> {
        let limit = self.group.timeouts.limits().stock;
        let began = Instant::now();
        // Given up in time for the answer to be heard.
        let token = CallToken::until(began + limit * 4 / 5);
        let serve = || {
            let Mode::Hosted(platform) = self.mode()? else { return Err(not_here()) };
            let device = self.device_of(&platform, devargs)?;
            let devargs = devargs.to_owned();
            let call = Request { id: 0, lineage: vec![], step, device, devargs, hurried: false };
            self.serve_on(&platform, &call, Some(&token))
        };
        let result = match without_panic(serve).and_then(|served| served) {
            Ok(()) => 0,
            Err(error) => {
                log::error!("for another process: {error}");
                error.code()
            }
        };
        // A late answer would be taken for one to the next request.
        (began.elapsed() < limit).then_some(result)
    }

    /// Serves a call of a secondary: the primary's part of it.
    fn serve_on<S: Site>(
        &'static self,
        site: &S,
        call: &Request,
        token: Option<&CallToken>,
    ) -> Result<()> {
        let Role::Primary(hub) = self.group.role() else {
            return Err(Error::new(Kind::NoAnswer, "this process is not the primary any more"));
        };
        let operation = Operation { lineage: call.lineage.clone(), ..Operation::new(None) };
        let _inside = self.engine.order.adopt(&operation);
        match call.step {
            Step::Attach => self.attach_as_primary(site, &hub, &call.devargs, token, call.hurried),
            Step::Detach => {
                self.detach_as_primary(site, &hub, &call.device, None, token, call.hurried)
            }
            _ => Err(Error::new(Kind::NotSupported, "a secondary cannot ask for a rollback")),
        }
    }
}

fn not_here() -> Error {
    Error::new(Kind::NotSupported, "this process's DPDK is not one that can be worked with")
}
