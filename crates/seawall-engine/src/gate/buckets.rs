//! Token buckets, of which a worker keeps one or two for each rule.

use crate::units::Timestamp;

/// Refills a bucket for the time passed, then takes a token if there is one. `rate` is in tokens a microsecond.
pub(super) fn take(tokens: &mut f32, last: &mut Timestamp, rate: f32, burst: f32, now: Timestamp) -> bool {
    let passed = now.since(*last).as_micros() as f32;
    *tokens = (*tokens + passed * rate).min(burst);
    *last = now.max(*last);
    let has_token = *tokens >= 1.0;
    if has_token {
        *tokens -= 1.0;
    }
    has_token
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_bucket_refills_with_time_and_not_when_time_steps_back() {
        let start = Timestamp::from_seconds(1_700_000_000);
        let (mut tokens, mut last) = (2.0, start);
        let mut take = |now| take(&mut tokens, &mut last, 2.0 / 1_000_000.0, 2.0, now);
        assert_eq!([take(start), take(start), take(start)], [true, true, false]);
        assert!(take(start + Duration::from_millis(500)));
        assert!(!take(start + Duration::from_millis(500)));
        assert!(!take(start - Duration::from_secs(9)));
    }
}
