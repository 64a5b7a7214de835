//! How long an operation has waited for its peers: the time in which its thread listened.
//!
//! Whoever does not listen hears nothing. A thread that was stopped with its process, or that got no
//! processor, must not take that time for the silence of others. So only listening counts, and it
//! is done in short turns: of a standstill no more than one turn counts, and what has come meanwhile
//! is read in the next one.

use std::time::Duration;

use super::coordinator::Time;

/// How long a thread listens at a time.
const TURN: Duration = Duration::from_millis(20);

/// The clock of one operation. It begins at zero.
#[derive(Debug, Default)]
pub struct Patience {
    spent: Time,
}

impl Patience {
    /// The time for the operation's machine.
    pub fn time(&self) -> Time {
        self.spent
    }

    /// How long to listen now at most; without a deadline, as long as it takes.
    pub fn turn(&self, deadline: Option<Time>) -> Option<Duration> {
        deadline.map(|deadline| deadline.saturating_sub(self.spent).min(TURN))
    }

    /// The thread meant to listen for `turn`, and `took` so long. Without a turn it waited for
    /// nobody in particular, and no time has passed.
    pub fn listened(&mut self, turn: Option<Duration>, took: Duration) {
        self.spent += turn.map_or(Duration::ZERO, |turn| took.min(turn));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// Listens until the deadline, each time for as long as `took` says.
    fn listen_until(deadline: Time, took: impl Fn(Duration) -> Duration) -> Vec<Duration> {
        let (mut patience, mut turns) = (Patience::default(), vec![]);
        while patience.time() < deadline {
            let turn = patience.turn(Some(deadline)).expect("there is a deadline");
            patience.listened(Some(turn), took(turn));
            turns.push(turn);
        }
        assert_eq!(patience.time(), deadline);
        turns
    }

    #[test]
    fn counts_the_time_that_it_listened() {
        let turns = listen_until(MS * 50, |turn| turn);
        assert_eq!(turns, [MS * 20, MS * 20, MS * 10]);
        assert_eq!(listen_until(MS * 50, |turn| turn.min(MS * 5)).len(), 10, "events came");
    }

    #[test]
    fn a_standstill_counts_as_one_turn() {
        let turns = listen_until(MS * 300, |_| MS * 5_000);
        assert_eq!(turns.len(), 15);
    }

    #[test]
    fn without_a_deadline_no_time_passes() {
        let mut patience = Patience::default();
        assert_eq!(patience.turn(None), None);
        patience.listened(None, MS * 5_000);
        assert_eq!(patience.time(), Duration::ZERO);
    }
}
