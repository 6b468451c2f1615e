//! Whether a log says what a rule asks. A rule that asks for what is not recorded would match nothing, or with `!=` and
//! `none` everything, and say neither: such requests are not judged but counted.

use seawall_engine::decision::expression::{Evidence, Expression, Subject};
use seawall_engine::observation::attribute::{Attribute, each_value};

use crate::show::log::read::LogRequest;

const DURATION: Subject = Subject::Evidence(Evidence::Duration);

/// Beyond the bits of the attributes.
const DURATION_BIT: u64 = 1 << 63;

/// A set of attributes, and whether the time that a request took is in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::show) struct Attributes(u64);

impl Attributes {
    /// Those that an expression asks for.
    pub(in crate::show) fn asked_by(expression: &Expression) -> Self {
        let mut asked = Self::default();
        for condition in expression.conditions() {
            if let Subject::Attribute(attribute) = condition.subject() {
                asked.insert(attribute);
            }
        }
        let mut of_duration = expression.conditions();
        of_duration.retain(|condition| condition.subject() == DURATION);
        // Who asks for requests without it knows that there are some.
        if !of_duration.is_empty() && of_duration.iter().all(|condition| !condition.is_about_absence()) {
            asked.0 |= DURATION_BIT;
        }
        asked
    }

    fn insert(&mut self, attribute: Attribute) {
        self.0 |= 1 << attribute as u32;
    }

    pub(in crate::show) fn extend(&mut self, others: Self) {
        self.0 |= others.0;
    }

    pub(in crate::show) fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether any of them is known only to who looks up networks.
    pub(in crate::show) fn holds_networks(self) -> bool {
        self.contains(Attribute::Country) || self.contains(Attribute::Asn)
    }

    fn contains(self, attribute: Attribute) -> bool {
        self.0 & 1 << attribute as u32 != 0
    }

    /// Their names.
    pub(in crate::show) fn names(self) -> Vec<&'static str> {
        let contained = Attribute::ALL.into_iter().filter(|attribute| self.contains(*attribute));
        let duration = (self.0 & DURATION_BIT != 0).then_some(Evidence::Duration.name());
        contained.map(Attribute::name).chain(duration).collect()
    }
}

/// Those of `asked` that the log of this request does not record.
#[inline]
pub(in crate::show) fn unrecorded(asked: Attributes, request: &LogRequest<'_>) -> Attributes {
    if asked.is_empty() {
        return asked;
    }
    let mut unrecorded = Attributes::default();
    for attribute in Attribute::ALL.into_iter().filter(|attribute| asked.contains(*attribute)) {
        if !is_recorded(attribute, request) {
            unrecorded.insert(attribute);
        }
    }
    if asked.0 & DURATION_BIT != 0 && !request.is_timed {
        unrecorded.0 |= DURATION_BIT;
    }
    unrecorded
}

fn is_recorded(attribute: Attribute, log_request: &LogRequest<'_>) -> bool {
    let (observation, fields) = (&log_request.observation, log_request.fields);
    match attribute {
        // A target can name its host where the log has no field for it.
        Attribute::Host => fields.host || !observation.request.host.is_empty(),
        // The formats that have one of these headers have both.
        Attribute::UserAgent | Attribute::UserAgentWord | Attribute::RefererOrigin => fields.user_agent,
        // The request line says these, or that they are not there.
        Attribute::PathTemplate | Attribute::PathPrefix | Attribute::Extension | Attribute::QueryKeys => true,
        // They are looked up; a client of whom nothing is known has none.
        Attribute::Country | Attribute::Asn => observation.client.is_some(),
        // Of anything else a value is a record, and having none is not.
        other => {
            let mut has_value = false;
            each_value(other, &observation.request, observation.client, |value| has_value |= value.is_some());
            has_value
        }
    }
}
