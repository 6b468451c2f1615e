//! The sites that other servers answer for.

use crate::daemon::{SiteState, SiteStatus};
use crate::show::text::escape;
use crate::show::time::time_of_day;

/// The sites in one line, where other servers answer for them.
pub(super) fn sites(sites: &[SiteStatus]) -> Option<String> {
    if sites.iter().all(|site| site.state == SiteState::BuiltIn) {
        return None;
    }
    let states = [
        (SiteState::Answers, "answering"),
        (SiteState::Fails, "failing"),
        (SiteState::Unknown, "not asked yet"),
        (SiteState::BuiltIn, "built in"),
    ];
    let counts = states.into_iter().filter_map(|(state, text)| {
        let count = sites.iter().filter(|site| site.state == state).count();
        (count > 0).then(|| format!("{count} {text}"))
    });
    Some(format!("sites       {}", counts.collect::<Vec<_>>().join(", ")))
}

/// A site that does not answer.
pub(super) fn failing(site: &SiteStatus) -> String {
    let since = site.failing_since.map(time_of_day).unwrap_or_default();
    let error = site.error.as_deref().unwrap_or("unknown");
    let (name, origin) = (escape(site.name.as_bytes()), escape(site.origin.as_bytes()));
    format!("ALARM       {name}: {origin} has not answered since {since}: {}", escape(error.as_bytes()))
}
