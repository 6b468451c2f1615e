//! Whether a log says what a rule asks. A rule that asks for what is not recorded would match nothing, or with `!=` and
//! `none` everything, and say neither: such requests are not judged but counted.

use seawall_engine::decision::expression::{Evidence, Expression, Subject};
use seawall_engine::observation::attribute::{Attribute, each_value};

use crate::show::log::read::LogRequest;

/// What the answer was like, each with a bit beyond those of the attributes.
const EVIDENCE: [(Evidence, u64); 3] =
    [(Evidence::Duration, 1 << 63), (Evidence::Bytes, 1 << 62), (Evidence::Status, 1 << 61)];

/// A set of attributes, and of what answers were like.
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
        for (evidence, bit) in EVIDENCE {
            let mut conditions = expression.conditions();
            conditions.retain(|condition| condition.subject() == Subject::Evidence(evidence));
            // Who asks for requests without the time that they took knows that there are some.
            let is_known =
                evidence == Evidence::Duration && conditions.iter().any(|condition| condition.is_about_absence());
            if !conditions.is_empty() && !is_known {
                asked.0 |= bit;
            }
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
        let evidence = EVIDENCE.into_iter().filter(|(_, bit)| self.0 & bit != 0).map(|(evidence, _)| evidence.name());
        contained.map(Attribute::name).chain(evidence).collect()
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
    for (evidence, bit) in EVIDENCE.into_iter().filter(|(_, bit)| asked.0 & bit != 0) {
        let is_recorded = match evidence {
            Evidence::Duration => request.is_timed,
            Evidence::Bytes => request.fields.bytes,
            Evidence::Status => request.fields.status,
            Evidence::Time => true,
        };
        unrecorded.0 |= if is_recorded { 0 } else { bit };
    }
    unrecorded
}

fn is_recorded(attribute: Attribute, log_request: &LogRequest<'_>) -> bool {
    let (observation, fields) = (log_request.observation, log_request.fields);
    match attribute {
        // A target can name its host where the log has no field for it.
        Attribute::Host => fields.host || !observation.request.host.is_empty(),
        Attribute::UserAgent | Attribute::UserAgentWord => fields.user_agent,
        Attribute::RefererOrigin => fields.referer,
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
