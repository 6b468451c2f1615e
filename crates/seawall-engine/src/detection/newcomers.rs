//! The user agents with which most clients arrive at this moment, and among them those that ordinary visitors do not have.
//! A flood from many addresses that is small beside the ordinary traffic stands out here: on ordinary days an agent that
//! nobody has had before comes with one client or two.
//!
//! A table of fixed size, keyed by hash; of two agents in one place the one that comes more often stays.

use super::values::ValueHash;

/// How many agents are watched.
const AGENTS: usize = 4096;

/// In how many steps arrivals fade to a half: two seconds.
const FADE_STEPS: f32 = 8.0;

/// How long an agent that ordinary visitors have is not asked about again, in steps: an hour.
const KNOWN_STEPS: u32 = 4 * 3600;

#[derive(Clone, Copy, Debug, Default)]
struct Agent {
    hash: ValueHash,
    /// The step as of which arrivals are faded.
    step: u32,
    arrivals: f32,
    /// Until when it counts as known.
    known_until: u32,
}

/// Who arrives with which agent.
#[derive(Clone, Debug)]
pub(crate) struct Newcomers {
    agents: Vec<Agent>,
    /// The place of the one with most arrivals in the newest step, of those that may be new.
    foremost: usize,
    step: u32,
}

impl Newcomers {
    pub(crate) fn new() -> Self {
        Self { agents: vec![Agent::default(); AGENTS], foremost: 0, step: 0 }
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        size_of_val(self.agents.as_slice())
    }

    /// Counts the arrival of a client with this agent.
    pub(crate) fn arrive(&mut self, hash: ValueHash, step: u64, weight: f32) {
        let step = step as u32;
        let at = hash as usize % AGENTS;
        let agent = &mut self.agents[at];
        agent.fade(step);
        if agent.hash != hash {
            if agent.arrivals > weight {
                agent.arrivals -= weight;
                return;
            }
            *agent = Agent { hash, step, ..Agent::default() };
        }
        agent.arrivals += weight;
        let (arrivals, is_known) = (agent.arrivals, agent.is_known(step));
        let foremost = &mut self.agents[self.foremost];
        foremost.fade(step);
        if !is_known && (foremost.is_known(step) || foremost.arrivals < arrivals) {
            self.foremost = at;
        }
        self.step = step;
    }

    /// The agent with most arrivals of those that may be new, and how many, at this step.
    pub(crate) fn foremost(&self, step: u64) -> Option<(ValueHash, f64)> {
        let mut agent = self.agents[self.foremost];
        agent.fade(step as u32);
        (agent.hash != 0 && !agent.is_known(step as u32)).then(|| (agent.hash, f64::from(agent.arrivals)))
    }

    /// Notes that ordinary visitors have this agent.
    pub(crate) fn is_known(&mut self, hash: ValueHash) {
        let agent = &mut self.agents[hash as usize % AGENTS];
        if agent.hash == hash {
            agent.known_until = self.step.wrapping_add(KNOWN_STEPS);
        }
    }
}

impl Agent {
    fn fade(&mut self, step: u32) {
        let passed = step.wrapping_sub(self.step);
        if passed > 0 {
            self.arrivals *= (-(passed as f32) / FADE_STEPS).exp2();
            self.step = step;
        }
    }

    const fn is_known(&self, step: u32) -> bool {
        self.known_until > step
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_foremost_is_the_one_that_comes_most_and_is_not_known() {
        let mut newcomers = Newcomers::new();
        for step in 0..16 {
            (0..4).for_each(|_| newcomers.arrive(7, step, 1.0));
            (0..2).for_each(|_| newcomers.arrive(8, step, 1.0));
            newcomers.arrive(9 + step as u32, step, 1.0);
        }
        let (agent, arrivals) = newcomers.foremost(15).expect("there were some");
        assert_eq!(agent, 7);
        assert!((25.0..50.0).contains(&arrivals), "{arrivals}");
        newcomers.is_known(7);
        newcomers.arrive(8, 16, 1.0);
        assert_eq!(newcomers.foremost(16).map(|(agent, _)| agent), Some(8));
        assert!(newcomers.foremost(16 + 80).is_some_and(|(_, arrivals)| arrivals < 0.1));
    }

    #[test]
    fn random_agents_do_not_push_out_the_one_that_comes_often() {
        let mut newcomers = Newcomers::new();
        for step in 0..40_u64 {
            (0..5).for_each(|_| newcomers.arrive(7, step, 1.0));
            for number in 0..2000_u32 {
                newcomers.arrive((step as u32 * 2000 + number).wrapping_mul(0x9e37_79b1) | 1, step, 1.0);
            }
        }
        assert_eq!(newcomers.foremost(40).map(|(agent, _)| agent), Some(7));
    }
}
