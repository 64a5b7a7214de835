//! `rte_hotplug_peers`, `rte_hotplug_timeouts_*`, `rte_hotplug_statistics_get`: the other processes of
//! the group.

use std::ffi::{c_char, c_int, c_uint};
use std::time::Duration;

use super::{is_null, returning_code, sized};
use crate::channel::{self, PeerState};
use crate::engine::coordinator::Limits;
use crate::error::{Error, Kind, Result};
use crate::process::{Mode, process};

/// The state of another process of the group.
#[repr(C)]
#[derive(Clone, Copy)]
pub enum rte_hotplug_peer_state {
    /// It takes part in every operation.
    RTE_HOTPLUG_PEER_MEMBER = 1,
    /// It has just come, or come back, and is being brought in line.
    RTE_HOTPLUG_PEER_JOINING = 2,
    /// It gives no sign of life; operations fail with -ENOMSG until it goes on or ends.
    RTE_HOTPLUG_PEER_STOPPED = 3,
    /// Undoing a failed operation failed there too: a device differs from what a caller was told. The
    /// next success on that device ends it.
    RTE_HOTPLUG_PEER_OUT_OF_STEP = 4,
    /// It has DPDK's own hotplug only, and takes part over DPDK's own messages.
    RTE_HOTPLUG_PEER_STOCK = 5,
}

/// Another process of the group.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct rte_hotplug_peer {
    /// Its process id; 0 when it is not visible here.
    pub pid: u32,
    /// Its state, an enum rte_hotplug_peer_state.
    pub state: u32,
    /// 1 for the primary, else 0.
    pub is_primary: u32,
    /// The file name of its DPDK socket, for a stock peer or a hosted member; empty otherwise.
    pub socket: [c_char; 64],
}

/// How long to wait for other processes, in milliseconds, each from 10 to 3600000.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct rte_hotplug_timeouts {
    /// sizeof(struct rte_hotplug_timeouts)
    pub size: usize,
    /// Without a sign of life for this long a process counts as stopped. Default 2000, or
    /// RTE_HOTPLUG_LIVENESS_MS in the environment.
    pub liveness_ms: u32,
    /// A driver in another process may take this long. Default 60000, or RTE_HOTPLUG_OPERATION_MS.
    pub operation_ms: u32,
    /// A process with DPDK's own hotplug has to answer within this time. Default 5000, or
    /// RTE_HOTPLUG_STOCK_PEER_MS.
    pub stock_peer_ms: u32,
}

/// What has happened in this process since it started.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct rte_hotplug_statistics {
    /// sizeof(struct rte_hotplug_statistics)
    pub size: usize,
    /// Operations that this primary carried out in every process.
    pub succeeded: u64,
    /// Operations of this primary that failed.
    pub failed: u64,
    /// Those of them after which a process was left out of step.
    pub out_of_step: u64,
    /// Calls of secondaries that this primary served.
    pub calls: u64,
    /// Steps that this secondary carried out for its primary.
    pub requests: u64,
    /// Secondaries that were brought in line with this primary.
    pub joins: u64,
    /// Processes that left or died.
    pub departures: u64,
    /// Processes that gave no sign of life in time.
    pub stopped: u64,
    /// Answers to operations that were over.
    pub late_replies: u64,
    /// Malformed, oversized, empty or unexpected frames; each ended its connection.
    pub bad_frames: u64,
    /// Processes refused: another user, another version, another kind of process.
    pub refused: u64,
}

/// Tells the other processes of the group: those that a primary has, or the primary of a secondary.
///
/// @param peers
///   Filled in; NULL to ask for the number only.
/// @param n
///   The number of elements of peers.
/// @return
///   How many there are, which may be more than n;
///   -EINVAL: peers is NULL and n is not 0; -EIO: a defect of this library.
///
/// May be called from any thread.
///
/// # Safety
/// `peers` is NULL or has room for `n` elements.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rte_hotplug_peers(peers: *mut rte_hotplug_peer, n: c_uint) -> c_int {
    returning_code("rte_hotplug_peers", || {
        if peers.is_null() && n > 0 {
            return Err(is_null("peers"));
        }
        know_group()?;
        let known = process().group.peers();
        for (at, peer) in known.iter().take(n as usize).enumerate() {
            // SAFETY: at < n.
            unsafe { peers.add(at).write(describe(peer)) };
        }
        Ok(c_int::try_from(known.len()).unwrap_or(c_int::MAX))
    })
}

/// Tells how long this process waits for others.
///
/// @param timeouts
///   Filled in; its size has to be set.
/// @return
///   0 on success; -EINVAL: timeouts is NULL or its size is wrong; -EIO: a defect of this library.
///
/// May be called from any thread.
///
/// # Safety
/// `timeouts` is NULL or a struct whose first member is set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rte_hotplug_timeouts_get(timeouts: *mut rte_hotplug_timeouts) -> c_int {
    returning_code("rte_hotplug_timeouts_get", || {
        // SAFETY: the caller's promise.
        let timeouts = unsafe { sized(timeouts, "timeouts", |t| t.size)? };
        let limits = process().group.timeouts.limits();
        timeouts.liveness_ms = milliseconds(limits.liveness);
        timeouts.operation_ms = milliseconds(limits.operation);
        timeouts.stock_peer_ms = milliseconds(limits.stock);
        Ok(0)
    })
}

/// Sets how long this process waits for others; for operations that begin after it.
///
/// @param timeouts
///   The timeouts, with its size; stays the caller's.
/// @return
///   0 on success; -EINVAL: timeouts is NULL, its size is wrong, or one is out of bounds: then none
///   is set; -EIO: a defect of this library.
///
/// May be called from any thread, also before rte_eal_init().
///
/// # Safety
/// `timeouts` is NULL or a whole struct.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rte_hotplug_timeouts_set(timeouts: *const rte_hotplug_timeouts) -> c_int {
    returning_code("rte_hotplug_timeouts_set", || {
        // SAFETY: the caller's promise; it is only read.
        let timeouts = unsafe { sized(timeouts.cast_mut(), "timeouts", |t| t.size)? };
        let limits = Limits {
            liveness: Duration::from_millis(timeouts.liveness_ms.into()),
            operation: Duration::from_millis(timeouts.operation_ms.into()),
            stock: Duration::from_millis(timeouts.stock_peer_ms.into()),
        };
        if !process().group.timeouts.set(&limits) {
            return Err(Error::new(Kind::Invalid, "a timeout is not from 10 ms to 3600000 ms"));
        }
        Ok(0)
    })
}

/// Tells what has happened between this process and others.
///
/// @param statistics
///   Filled in; its size has to be set.
/// @return
///   0 on success; -EINVAL: statistics is NULL or its size is wrong; -EIO: a defect of this library.
///
/// May be called from any thread.
///
/// # Safety
/// `statistics` is NULL or a struct whose first member is set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rte_hotplug_statistics_get(
    statistics: *mut rte_hotplug_statistics,
) -> c_int {
    returning_code("rte_hotplug_statistics_get", || {
        // SAFETY: the caller's promise.
        let statistics = unsafe { sized(statistics, "statistics", |s| s.size)? };
        let counts = process().group.counters.read();
        *statistics = rte_hotplug_statistics {
            size: statistics.size,
            succeeded: counts.succeeded,
            failed: counts.failed,
            out_of_step: counts.out_of_step,
            calls: counts.calls,
            requests: counts.requests,
            joins: counts.joins,
            departures: counts.departures,
            stopped: counts.stopped,
            late_replies: counts.late_replies,
            bad_frames: counts.bad_frames,
            refused: counts.refused,
        };
        Ok(0)
    })
}

/// A hosted process whose DPDK was initialised behind our back has to find its group first.
fn know_group() -> Result<()> {
    if let Some(Mode::Hosted(platform)) = process().host_mode() {
        process().ensure_group(&platform);
    }
    Ok(())
}

fn milliseconds(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX)
}

fn describe(peer: &channel::Peer) -> rte_hotplug_peer {
    use rte_hotplug_peer_state::{
        RTE_HOTPLUG_PEER_JOINING, RTE_HOTPLUG_PEER_MEMBER, RTE_HOTPLUG_PEER_OUT_OF_STEP,
        RTE_HOTPLUG_PEER_STOCK, RTE_HOTPLUG_PEER_STOPPED,
    };
    let state = match peer.state {
        PeerState::Member => RTE_HOTPLUG_PEER_MEMBER,
        PeerState::Joining => RTE_HOTPLUG_PEER_JOINING,
        PeerState::Stopped => RTE_HOTPLUG_PEER_STOPPED,
        PeerState::OutOfStep => RTE_HOTPLUG_PEER_OUT_OF_STEP,
        PeerState::Stock => RTE_HOTPLUG_PEER_STOCK,
    };
    let mut socket = [0; 64];
    for (to, from) in socket.iter_mut().zip(peer.socket.bytes().take(63)) {
        *to = from as c_char;
    }
    rte_hotplug_peer { pid: peer.pid, state: state as u32, is_primary: peer.primary.into(), socket }
}
