//! Who is banned, limited, and refused at the CDN.

use seawall_engine::gate::{LimitAction, LimitStatus};
use seawall_engine::units::counted;

use super::layout::bytes;
use crate::enforcement::edge::{EdgeState, EdgeStatus};
use crate::enforcement::{EnforcementStatus, KernelState};
use crate::show::standing::Standing;
use crate::show::text::escape;
use crate::show::time::time_of_day;

/// Limits of single clients shown: those that did most.
const LIMITS_MAX: usize = 3;

/// Requests of clients that the kernel drops of which it is said that they came: a few may have been on their way for long.
const UNDROPPED_MIN: u64 = 10;

/// The limits that have met anybody, those that did most first. Beside a server only the bans of one can be carried out.
pub(super) fn client_limits(limits: &[LimitStatus], standing: Standing) -> Option<String> {
    let mut busy: Vec<&LimitStatus> = limits.iter().filter(|limit| limit.offences + limit.refused > 0).collect();
    busy.sort_by_key(|limit| std::cmp::Reverse((limit.offences, limit.refused)));
    let word = |limit: &LimitStatus| match (limit.action, standing) {
        (LimitAction::Log, _) | (LimitAction::Limit | LimitAction::Refuse, Standing::Beside { .. }) => "would have met",
        (LimitAction::Limit | LimitAction::Refuse, Standing::InLine) => "met",
        (LimitAction::Ban, Standing::Beside { drops: false }) => "would have banned",
        (LimitAction::Ban, _) => "banned",
    };
    let shown = |limit: &&LimitStatus| {
        let LimitStatus { name, offences, refused, spared, .. } = limit;
        let spared = if *spared > 0 { format!(", spared {spared}") } else { String::new() };
        let refused = if standing.is_beside() { String::new() } else { format!(", refused {refused}") };
        format!("{} {} {offences}{refused}{spared}", escape(name.as_bytes()), word(limit))
    };
    let shown: Vec<String> = busy.iter().take(LIMITS_MAX).map(shown).collect();
    (!shown.is_empty()).then(|| format!("per client  {}", shown.join("; ")))
}

/// Who is banned, and how the kernel is.
pub(super) fn enforcement(status: &EnforcementStatus, standing: Standing) -> String {
    let kernel = &status.kernel;
    let reason = kernel.reason.as_deref().unwrap_or("unknown");
    if status.panicked && kernel.state == KernelState::Failing {
        return format!("rules and bans are out since `seawall panic`, BUT {reason}; it is tried again");
    }
    if status.panicked {
        return "nothing is in force since `seawall panic`; `seawall panic --over` goes on".to_owned();
    }
    let layer = match kernel.state {
        KernelState::Off => format!("the kernel drops nobody: {reason}"),
        KernelState::Ready => "the kernel drops nobody yet".to_owned(),
        KernelState::Active => {
            let (dropped, size) = (kernel.dropped.packets, bytes(kernel.dropped.bytes as f64));
            let repairs = match kernel.repairs {
                0 => String::new(),
                repairs => format!(", repaired {}", counted(repairs, "time")),
            };
            let (clients, networks) = (counted(kernel.clients, "client"), counted(kernel.networks, "network"));
            let packets = counted(dropped, "packet");
            let undropped = match status.undropped {
                ..UNDROPPED_MIN => String::new(),
                requests => format!(
                    "; BUT {} of whom it drops came all the same: through a proxy, or to a port that is not in [kernel] ports? \
                     docs/watch.md",
                    counted(requests, "request")
                ),
            };
            let stay = kernel.connections_stay.as_deref().map(|why| format!("; BUT what they have open stays: {why}"));
            let stay = stay.unwrap_or_default();
            format!("the kernel drops {clients} and {networks}; {packets} ({size}){repairs}{undropped}{stay}")
        }
        KernelState::Failing => format!("the kernel's table cannot be changed: {reason}"),
        KernelState::Panicked => "the kernel drops nobody".to_owned(),
    };
    match (standing, status.bans) {
        (Standing::Beside { drops: false }, 1..) => format!("{} that nothing carries out, {layer}", status.bans),
        (_, bans) => format!("{bans}, {layer}"),
    }
}

/// What is refused at the CDN, if there is one; in one line.
pub(super) fn edge(edge: &EdgeStatus) -> Option<String> {
    let provider = edge.provider.as_deref()?;
    let there = format!("{} of {} entries and {} rules", edge.entries, edge.entries_max, edge.rules);
    let reason = escape(edge.reason.as_deref().unwrap_or("unknown").as_bytes());
    let mut text = match edge.state {
        EdgeState::Off => return None,
        EdgeState::Starting => format!("{provider} has not been read yet"),
        EdgeState::Proposing => {
            format!("{provider} has {there}; {} changes are proposed, see `seawall edge plan`", edge.proposed)
        }
        EdgeState::Active => format!("{provider} refuses by {there}"),
        EdgeState::Failing => format!("{provider} cannot be brought into line: {reason}"),
        EdgeState::Panicked => format!("{provider} refuses nobody"),
    };
    if edge.repairs > 0 {
        text += &format!(", repaired {} times", edge.repairs);
    }
    let left_out = edge.left_out.len() as u64 + edge.left_out_more;
    if left_out > 0 {
        text += &format!("; {left_out} left out, see `seawall edge status`");
    }
    Some(text)
}

/// Everything about the edge.
pub fn edge_in_full(status: &EdgeStatus) -> String {
    let Some(line) = edge(status) else {
        return "This guard has no edge: name the CDN with `provider` in [edge] of its configuration.\n".to_owned();
    };
    let mut lines = vec![line];
    if let Some(at) = status.in_line_at {
        lines.push(format!("It was last found to be what is wanted at {}.", time_of_day(at)));
    }
    if let Some(at) = status.retry_at {
        lines.push(format!("It is tried again at {}; the guard refuses by itself meanwhile.", time_of_day(at)));
    }
    for left in &status.left_out {
        lines.push(format!("left out: {}, since {}", left.what, left.why));
    }
    if status.left_out_more > 0 {
        lines.push(format!("and {} more", status.left_out_more));
    }
    if let Some(repair) = &status.last_repair {
        lines.push(format!("The last time that somebody else changed what is the guard's: {repair}."));
    }
    lines.push(format!(
        "Changed {} times, {} attempts failed, {} requests to the API.",
        status.changes, status.failures, status.requests
    ));
    lines.join("\n") + "\n"
}
