//! The machine, event by event.

use super::*;

const A: PeerId = PeerId(1);
const B: PeerId = PeerId(2);
const ZERO: Time = Time::ZERO;

fn commands(machine: &mut Coordinator) -> Vec<Command> {
    std::iter::from_fn(|| machine.next_command()).collect()
}

fn begun(step: Step, peers: &[PeerId]) -> Coordinator {
    let mut machine = Coordinator::new(step, Limits::default());
    peers.iter().for_each(|peer| machine.joined(*peer, PeerKind::Member, ZERO));
    machine.begin(ZERO);
    if step == Step::Attach {
        assert_eq!(commands(&mut machine), [Command::Local(Step::Attach)]);
    }
    machine
}

fn send(step: Step, peers: &[PeerId]) -> Vec<Command> {
    peers.iter().map(|peer| Command::Send(*peer, step)).collect()
}

fn failure(machine: &Coordinator) -> (Option<PeerId>, Cause) {
    let failure = machine.outcome().expect("finished").failure.clone().expect("failed");
    (failure.peer, failure.cause)
}

fn answer(step: Step, code: i32) -> Answer {
    Answer::from_code(step, code)
}

fn code(code: i32) -> Cause {
    Cause::Code(code, String::new())
}

#[test]
fn attach_in_all() {
    let mut machine = begun(Step::Attach, &[A, B]);
    machine.local_done(answer(Step::Attach, 0), ZERO);
    assert_eq!(commands(&mut machine), send(Step::Attach, &[A, B]));
    machine.replied(A, Step::Attach, answer(Step::Attach, 0), ZERO);
    assert_eq!(machine.outcome(), None);
    machine.replied(B, Step::Attach, answer(Step::Attach, -libc::EEXIST), ZERO);
    assert_eq!(machine.outcome(), Some(&Outcome::default()));
    assert_eq!(commands(&mut machine), []);
}

#[test]
fn attach_fails_here_and_nobody_is_asked() {
    let mut machine = begun(Step::Attach, &[A]);
    machine.local_done(answer(Step::Attach, -5), ZERO);
    assert_eq!(failure(&machine), (None, code(-5)));
    assert_eq!(commands(&mut machine), []);
}

#[test]
fn attach_fails_in_one_and_only_what_changed_is_undone() {
    for (here, undo_here) in [(0, true), (-libc::EEXIST, false)] {
        let c = PeerId(3);
        let mut machine = begun(Step::Attach, &[A, B, c]);
        machine.local_done(answer(Step::Attach, here), ZERO);
        commands(&mut machine);
        machine.replied(A, Step::Attach, answer(Step::Attach, -libc::EEXIST), ZERO);
        machine.replied(B, Step::Attach, answer(Step::Attach, -12), ZERO);
        assert_eq!(commands(&mut machine), [], "the last answer decides what to undo");
        machine.replied(c, Step::Attach, answer(Step::Attach, 0), ZERO);
        assert_eq!(commands(&mut machine), send(Step::AttachRollback, &[c]));
        machine.replied(c, Step::Attach, answer(Step::Attach, 0), ZERO);
        assert_eq!(machine.outcome(), None, "a late answer to the attach is not one to this");
        machine.replied(c, Step::AttachRollback, answer(Step::AttachRollback, 0), ZERO);
        if undo_here {
            assert_eq!(commands(&mut machine), [Command::Local(Step::AttachRollback)]);
            machine.local_done(answer(Step::Attach, 0), ZERO);
        }
        assert_eq!(failure(&machine), (Some(B), code(-12)));
        assert_eq!(machine.outcome().unwrap().out_of_step, []);
    }
}

#[test]
fn detach_in_all_and_here_last() {
    let mut machine = begun(Step::Detach, &[A, B]);
    assert_eq!(commands(&mut machine), send(Step::Detach, &[A, B]));
    machine.replied(A, Step::Detach, answer(Step::Detach, -libc::ENODEV), ZERO);
    machine.replied(B, Step::Detach, answer(Step::Detach, 0), ZERO);
    assert_eq!(commands(&mut machine), [Command::Local(Step::Detach)]);
    machine.local_done(answer(Step::Attach, 0), ZERO);
    assert_eq!(machine.outcome(), Some(&Outcome::default()));
}

#[test]
fn detach_fails_in_one_or_here() {
    for here in [false, true] {
        let mut machine = begun(Step::Detach, &[A, B]);
        commands(&mut machine);
        machine.replied(A, Step::Detach, answer(Step::Detach, 0), ZERO);
        machine.replied(
            B,
            Step::Detach,
            answer(Step::Detach, if here { -libc::ENOENT } else { -16 }),
            ZERO,
        );
        if here {
            assert_eq!(commands(&mut machine), [Command::Local(Step::Detach)]);
            machine.local_done(answer(Step::Attach, -16), ZERO);
        }
        assert_eq!(commands(&mut machine), send(Step::DetachRollback, &[A]));
        machine.replied(A, Step::DetachRollback, answer(Step::DetachRollback, -6), ZERO);
        assert_eq!(failure(&machine), ((!here).then_some(B), code(-16)));
        let lost = Failure { peer: Some(A), cause: code(-6) };
        assert_eq!(machine.outcome().unwrap().out_of_step, [lost], "and it is told");
    }
}

#[test]
fn the_dead_are_not_waited_for() {
    let mut machine = begun(Step::Attach, &[A, B]);
    machine.gone(B, ZERO);
    machine.local_done(answer(Step::Attach, 0), ZERO);
    assert_eq!(commands(&mut machine), send(Step::Attach, &[A]));
    machine.gone(A, ZERO);
    assert_eq!(machine.outcome(), Some(&Outcome::default()));

    let mut machine = begun(Step::Attach, &[A, B]);
    machine.local_done(answer(Step::Attach, 0), ZERO);
    machine.replied(A, Step::Attach, answer(Step::Attach, 0), ZERO);
    machine.replied(B, Step::Attach, answer(Step::Attach, -5), ZERO);
    commands(&mut machine);
    machine.gone(A, ZERO);
    assert_eq!(commands(&mut machine), [Command::Local(Step::AttachRollback)]);
}

#[test]
fn one_that_joins_before_the_end_takes_part() {
    let mut machine = begun(Step::Detach, &[]);
    assert_eq!(commands(&mut machine), [Command::Local(Step::Detach)]);
    machine.joined(A, PeerKind::Member, ZERO);
    machine.local_done(answer(Step::Attach, 0), ZERO);
    assert_eq!(commands(&mut machine), send(Step::Detach, &[A]));
    machine.replied(A, Step::Detach, answer(Step::Detach, 0), ZERO);
    assert_eq!(machine.outcome(), Some(&Outcome::default()));
    machine.joined(B, PeerKind::Member, ZERO);
    assert_eq!(machine.outcome(), None);
    assert_eq!(commands(&mut machine), send(Step::Detach, &[B]));
    machine.replied(B, Step::Detach, answer(Step::Detach, -16), ZERO);
    assert_eq!(commands(&mut machine), send(Step::DetachRollback, &[A]));
    machine.replied(A, Step::DetachRollback, answer(Step::DetachRollback, 0), ZERO);
    assert_eq!(commands(&mut machine), [Command::Local(Step::DetachRollback)]);
    machine.local_done(answer(Step::Attach, 0), ZERO);
    assert_eq!(failure(&machine), (Some(B), code(-16)));
}

#[test]
fn one_that_joins_a_failed_operation_is_left_alone() {
    let mut machine = begun(Step::Attach, &[A]);
    machine.local_done(answer(Step::Attach, 0), ZERO);
    machine.replied(A, Step::Attach, answer(Step::Attach, -5), ZERO);
    commands(&mut machine);
    machine.joined(B, PeerKind::Member, ZERO);
    machine.local_done(answer(Step::Attach, 0), ZERO);
    assert_eq!(commands(&mut machine), []);
    assert_eq!(failure(&machine), (Some(A), code(-5)));
}

#[test]
fn stopped_is_told_from_slow() {
    let limits = Limits::default();
    let mut machine = begun(Step::Attach, &[A, B]);
    machine.local_done(answer(Step::Attach, 0), ZERO);
    commands(&mut machine);
    let mut now = ZERO;
    let mut pings = [0, 0];
    while machine.outcome().is_none() && now < Duration::from_secs(10) {
        now = machine.deadline().expect("somebody is waited for").max(now);
        machine.tick(now);
        for command in commands(&mut machine) {
            match command {
                Command::Ping(A) => {
                    pings[0] += 1;
                    machine.heard(A, now);
                }
                Command::Ping(_) => pings[1] += 1,
                Command::Send(peer, step) => {
                    assert_eq!((peer, step), (B, Step::AttachRollback));
                    assert_eq!(now, limits.liveness);
                    // A was slow, and is done now.
                    machine.replied(A, Step::Attach, answer(Step::Attach, 0), now);
                    assert_eq!(commands(&mut machine), send(Step::AttachRollback, &[A]));
                    machine.replied(A, Step::AttachRollback, answer(Step::AttachRollback, 0), now);
                    machine.local_done(answer(Step::Attach, 0), now);
                }
                Command::Local(_) => {}
            }
        }
    }
    assert_eq!(failure(&machine), (Some(B), Cause::Stopped));
    assert_eq!(machine.outcome().unwrap().stopped, [B]);
    assert!(pings[0] >= 3 && pings[1] >= 3, "{pings:?}");
}

#[test]
fn one_that_catches_up_before_the_end_is_not_out_of_step() {
    let limits = Limits::default();
    for undone in [0, -5] {
        let mut machine = begun(Step::Attach, &[A]);
        machine.local_done(answer(Step::Attach, 0), ZERO);
        machine.tick(limits.liveness);
        let at = limits.liveness;
        machine.replied(A, Step::Attach, answer(Step::Attach, 0), at);
        machine.replied(A, Step::AttachRollback, answer(Step::AttachRollback, undone), at);
        machine.local_done(answer(Step::AttachRollback, 0), at);
        let outcome = machine.outcome().unwrap();
        assert_eq!(failure(&machine), (Some(A), Cause::Stopped), "the caller learns why");
        assert_eq!((&outcome.stopped, &outcome.slow), (&vec![], &vec![]));
        let lost = Failure { peer: Some(A), cause: code(undone) };
        assert_eq!(outcome.out_of_step, if undone == 0 { vec![] } else { vec![lost] });
    }
}

#[test]
fn a_driver_that_takes_too_long_ends_the_operation() {
    let limits = Limits::default();
    let mut machine = begun(Step::Detach, &[A]);
    commands(&mut machine);
    machine.heard(A, limits.operation);
    machine.tick(limits.operation);
    assert_eq!(commands(&mut machine), send(Step::DetachRollback, &[A]));
    assert_eq!(failure(&machine), (Some(A), Cause::TooSlow));
}

#[test]
fn stock_peers_have_their_own_limit_and_no_pings() {
    let limits = Limits::default();
    let mut machine = begun(Step::Attach, &[]);
    machine.joined(A, PeerKind::Stock, ZERO);
    machine.local_done(answer(Step::Attach, 0), ZERO);
    commands(&mut machine);
    assert_eq!(machine.deadline(), Some(limits.stock));
    machine.tick(limits.stock - Duration::from_millis(1));
    assert_eq!((commands(&mut machine), machine.outcome()), (vec![], None));
    machine.tick(limits.stock);
    machine.local_done(answer(Step::Attach, 0), limits.stock);
    assert_eq!(failure(&machine), (Some(A), Cause::Stopped));
}

#[test]
fn a_stopped_peer_does_not_hold_up_the_undoing() {
    let limits = Limits::default();
    let mut machine = begun(Step::Attach, &[A, B]);
    machine.local_done(answer(Step::Attach, 0), ZERO);
    machine.replied(A, Step::Attach, answer(Step::Attach, 0), ZERO);
    machine.replied(B, Step::Attach, answer(Step::Attach, -5), ZERO);
    machine.tick(limits.liveness);
    machine.local_done(answer(Step::Attach, -7), limits.liveness);
    let outcome = machine.outcome().unwrap();
    assert_eq!(outcome.stopped, [A]);
    let lost =
        [Failure { peer: Some(A), cause: Cause::Stopped }, Failure { peer: None, cause: code(-7) }];
    assert_eq!(outcome.out_of_step, lost);
}

#[test]
fn one_cancelled_before_it_begins_does_nothing() {
    for step in [Step::Attach, Step::Detach] {
        let mut machine = Coordinator::new(step, Limits::default());
        machine.joined(A, PeerKind::Member, ZERO);
        machine.cancel(ZERO);
        machine.begin(ZERO);
        assert_eq!(commands(&mut machine), []);
        assert_eq!(failure(&machine), (None, Cause::Cancelled));
    }
}

#[test]
fn a_cancelled_operation_is_undone() {
    let mut machine = begun(Step::Attach, &[A]);
    machine.local_done(answer(Step::Attach, 0), ZERO);
    commands(&mut machine);
    machine.cancel(ZERO);
    machine.replied(A, Step::Attach, answer(Step::Attach, 0), ZERO);
    assert_eq!(commands(&mut machine), send(Step::AttachRollback, &[A]));
    machine.replied(A, Step::AttachRollback, answer(Step::AttachRollback, 0), ZERO);
    machine.local_done(answer(Step::Attach, 0), ZERO);
    assert_eq!(failure(&machine), (None, Cause::Cancelled));
}
