//! How long a peer is waited for that sends or takes something now and then. Knows no sockets.
//!
//! Who moves nothing is given up after a time. What is moved gives time back, by how much it is: so
//! a peer is waited for without end only if it keeps up a rate, on average over that time.

use std::time::Duration;

/// What is left of the time that a peer is waited for.
#[derive(Debug, Clone)]
pub struct Patience {
    max: Duration,
    left: Duration,
    /// Bytes a second that a peer has to keep up; none: each byte gives all the time back.
    rate_min: u64,
}

impl Patience {
    /// With `max` to wait for a peer that moves nothing.
    pub fn new(max: Duration, rate_min: u64) -> Patience {
        Patience {
            max,
            left: max,
            rate_min,
        }
    }

    /// How long the peer may be waited for now.
    pub fn left(&self) -> Duration {
        self.left
    }

    /// The peer was waited for, and then moved some bytes.
    pub fn moved(&mut self, waited: Duration, bytes: usize) {
        let given = match self.rate_min {
            0 => self.max,
            rate => Duration::from_secs_f64(bytes as f64 / rate as f64),
        };
        self.left = self.left.saturating_sub(waited).saturating_add(given);
        self.left = self.left.min(self.max);
    }

    /// Why a peer was given up that was to have `done` something.
    pub fn lost(&self, done: &str) -> String {
        let seconds = self.max.as_secs();
        match self.rate_min {
            0 => format!("nothing was {done} for {seconds} s"),
            rate => format!(
                "nothing was {done} for {seconds} s, or less than {} KiB a second",
                rate / 1024
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: Duration = Duration::from_secs(10);
    const SECOND: Duration = Duration::from_secs(1);

    /// How many seconds a peer is waited for that moves `bytes` each second, up to a day.
    fn endures(rate_min: u64, bytes: usize) -> u32 {
        let mut patience = Patience::new(MAX, rate_min);
        let mut seconds = 0;
        while patience.left() > SECOND && seconds < 86_400 {
            patience.moved(SECOND, bytes);
            seconds += 1;
        }
        seconds
    }

    #[test]
    fn who_keeps_up_the_rate_is_waited_for_and_others_are_not() {
        assert_eq!(endures(1024, 1024), 86_400);
        assert_eq!(endures(1024, 10_000), 86_400);
        assert!((10..=20).contains(&endures(1024, 512)), "half of it");
        assert!((9..=10).contains(&endures(1024, 1)), "a trickle");
        assert_eq!(endures(0, 1), 86_400, "no rate");
    }

    #[test]
    fn what_was_fast_once_is_no_credit_for_later() {
        let mut patience = Patience::new(MAX, 1024);
        patience.moved(Duration::ZERO, 1 << 30);
        assert_eq!(patience.left(), MAX);
        patience.moved(MAX * 2, 0);
        assert_eq!(patience.left(), Duration::ZERO);
    }
}
