//! What more than half of a whole log has: one user agent, or one path. A flood that lasts for most of a log is no surge in it,
//! since the usual is the median; but on an ordinary site the commonest agent is on about a quarter of the visitors, and no page
//! has half of all requests.
//!
//! In the first reading a value that may have more than half is found (R. S. Boyer and J. S. Moore, "MJRTY: a fast majority vote
//! algorithm", 1991), in a second one it is counted.

use super::counted::{Counted, Counting};
use crate::decision::Condition;
use crate::observation::Observation;
use crate::observation::attribute::{Attribute, cut};
use crate::units::Timestamp;

/// What is prevalent has more than this share.
const SHARE_MIN: f64 = 0.5;

/// Fewer requests say nothing.
const REQUESTS_MIN: u64 = 50;

/// What is asked for a value that more than half have.
const ASKED: [Attribute; 2] = [Attribute::UserAgent, Attribute::Path];

fn value<'a>(attribute: Attribute, observation: &Observation<'a>) -> Option<&'a [u8]> {
    let request = &observation.request;
    if attribute == Attribute::Path { Some(cut(request.path)) } else { request.user_agent.map(cut) }
}

/// The only values that more than half of all requests may have.
#[derive(Clone, Debug, Default)]
pub struct Majority {
    candidates: [(Vec<u8>, u64); ASKED.len()],
}

impl Majority {
    /// Takes one observation of the first reading.
    pub fn add(&mut self, observation: &Observation<'_>) {
        for (attribute, (candidate, ahead)) in ASKED.into_iter().zip(&mut self.candidates) {
            let value = value(attribute, observation);
            if *ahead == 0 {
                candidate.clear();
                candidate.extend_from_slice(value.unwrap_or_default());
                *ahead = u64::from(value.is_some());
            } else if value == Some(candidate.as_slice()) {
                *ahead += 1;
            } else {
                *ahead -= 1;
            }
        }
    }

    /// To count them in another reading; `None` when there are none.
    pub fn count(self) -> Option<Prevalence> {
        let candidates = ASKED.into_iter().zip(self.candidates).filter(|(_, (_, ahead))| *ahead > 0);
        let of = |(attribute, (value, _)): (Attribute, (Vec<u8>, u64))| Candidate {
            condition: Condition::new(attribute, &value),
            counting: Counting::default(),
            span: None,
        };
        let candidates: Vec<Candidate> = candidates.map(of).collect();
        (!candidates.is_empty()).then_some(Prevalence { all: 0, candidates })
    }
}

/// Counts them.
#[derive(Debug)]
pub struct Prevalence {
    all: u64,
    candidates: Vec<Candidate>,
}

#[derive(Debug)]
struct Candidate {
    condition: Condition,
    counting: Counting,
    span: Option<(Timestamp, Timestamp)>,
}

/// A value that more than half of a log has.
#[derive(Clone, Debug)]
pub struct Prevalent {
    /// What it is.
    pub condition: Condition,
    /// The share of them that has it, 0 to 1.
    pub share: f64,
    /// How many that are.
    pub counted: Counted,
    /// The first of them, and the last.
    pub span: (Timestamp, Timestamp),
}

impl Prevalence {
    /// Takes one observation of another reading, of those that are asked about.
    pub fn observe(&mut self, observation: &Observation<'_>) {
        self.all += 1;
        for candidate in &mut self.candidates {
            if value(candidate.condition.attribute, observation) == candidate.condition.value() {
                candidate.counting.add(observation);
                let (first, last) = candidate.span.unwrap_or((observation.at, observation.at));
                candidate.span = Some((first.min(observation.at), last.max(observation.at)));
            }
        }
    }

    /// What more than half of them have.
    pub fn finish(self) -> Vec<Prevalent> {
        let all = self.all;
        let prevalent = |candidate: Candidate| {
            let counted = candidate.counting.counted();
            let share = counted.requests as f64 / all.max(1) as f64;
            let prevails = share > SHARE_MIN && counted.requests >= REQUESTS_MIN;
            let span = candidate.span.filter(|_| prevails)?;
            Some(Prevalent { condition: candidate.condition, share, counted, span })
        };
        self.candidates.into_iter().filter_map(prevalent).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::{ClientHistory, Cost, Outcome, Request};

    fn prevalent(requests: &[(&str, &str)]) -> Vec<(String, f64)> {
        let observation = |second: usize| {
            let (path, agent) = requests[second];
            Observation {
                at: Timestamp::from_seconds(second as u64),
                client: None,
                request: Request { path: path.as_bytes(), user_agent: Some(agent.as_bytes()), ..Request::default() },
                outcome: Outcome::Served { status: 200 },
                cost: Cost { requests: 1, ..Cost::default() },
                weight: 1.0,
                history: ClientHistory::default(),
            }
        };
        let mut majority = Majority::default();
        (0..requests.len()).for_each(|second| majority.add(&observation(second)));
        let Some(mut prevalence) = majority.count() else { return Vec::new() };
        (0..requests.len()).for_each(|second| prevalence.observe(&observation(second)));
        prevalence.finish().into_iter().map(|found| (found.condition.to_string(), found.share)).collect()
    }

    #[test]
    fn what_more_than_half_have_is_found_and_nothing_else() {
        let paths = ["/a", "/b", "/c", "/d", "/e"];
        let flood: Vec<_> =
            (0..1000).map(|n| (paths[n % 5], if n % 3 > 0 { "Evil/1" } else { paths[n % 5] })).collect();
        let found = prevalent(&flood);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].0, "user-agent = \"Evil/1\"");
        assert!((found[0].1 - 0.666).abs() < 0.01, "{found:?}");
        let even: Vec<_> = (0..1000).map(|n| (paths[n % 5], paths[n % 2])).collect();
        assert_eq!(prevalent(&even), Vec::new());
        assert_eq!(prevalent(&[("/a", "Evil/1"); 20]), Vec::new(), "too few to say anything");
    }
}
