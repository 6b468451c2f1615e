//! Which requests of a log are looked at.

use seawall_engine::decision::expression::{Answer, Expression};

use super::read::LogRequest;
use super::recorded::{Attributes, unrecorded};

/// Lets through the requests that meet an expression.
pub struct Filter {
    expression: Expression,
    asked: Attributes,
}

/// What a filter says of a request.
pub(super) enum Judgement {
    Meets,
    Differs,
    /// Its log does not record these, which the filter asks for.
    Unrecorded(Attributes),
}

impl Filter {
    /// Lets through what meets `expression`.
    pub fn new(expression: Expression) -> Self {
        Self { asked: Attributes::asked_by(&expression), expression }
    }

    /// How it is written.
    pub(in crate::show) fn text(&self) -> String {
        self.expression.to_string()
    }

    pub(super) fn judge(&self, request: &LogRequest<'_>) -> Judgement {
        let unrecorded = unrecorded(self.asked, request);
        if !unrecorded.is_empty() {
            return Judgement::Unrecorded(unrecorded);
        }
        let observation = request.observation;
        let answer = Answer::of(observation, request.is_timed);
        if self.expression.matches(&observation.request, observation.client, answer) {
            Judgement::Meets
        } else {
            Judgement::Differs
        }
    }
}
