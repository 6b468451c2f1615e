//! What is said of bans.

use std::time::Duration;

use seawall_engine::decision::BanCause;
use seawall_engine::units::Timestamp;

use crate::config::quantity;
use crate::enforcement::{BanView, Unbanned, Within};
use crate::show::text::escape;

/// Who or what made a ban.
pub(super) fn cause(cause: BanCause) -> String {
    match cause {
        BanCause::Rule(rule) => format!("goes on with what {rule} matches"),
        BanCause::Limit | BanCause::ProxiedLimit => "beyond a limit".to_owned(),
        BanCause::Operator => "banned by an operator".to_owned(),
        BanCause::Import => "imported".to_owned(),
        BanCause::Merged(Some(rule)) => {
            format!("merged to make room, of clients that go on with what {rule} matches")
        }
        BanCause::Merged(None) => "merged to make room, of clients beyond a limit".to_owned(),
    }
}

/// Of whom there was no ban to take back, and with whom he is banned all the same; none when there were all.
pub(super) fn not_banned(unbanned: &Unbanned, now: Timestamp) -> Option<String> {
    let is_within = |name: &String| unbanned.within.iter().any(|within| within.name == *name);
    let nowhere: Vec<String> =
        unbanned.unknown.iter().filter(|name| !is_within(name)).map(|name| escape(name.as_bytes())).collect();
    let mut lines = Vec::new();
    if !nowhere.is_empty() {
        lines.push(format!(
            "there is no ban of {} (`seawall bans list` shows them all); who was dropped for going on after refusals is free",
            nowhere.join(", ")
        ));
    }
    for Within { name, around } in &unbanned.within {
        let left = |ban: &BanView| quantity::show_duration(Duration::from_secs(ban.expires.since(now).as_secs()));
        let ban = |ban: &BanView| format!("{} ({}, {} left)", ban.network, cause(ban.cause), left(ban));
        let bans: Vec<String> = around.iter().map(ban).collect();
        let networks: Vec<&str> = around.iter().map(|ban| ban.network.as_str()).collect();
        lines.push(format!(
            "there is no ban of {} alone, which is in {}; `seawall bans remove {}` frees all of it",
            escape(name.as_bytes()),
            bans.join(" and "),
            networks.join(" ")
        ));
    }
    if unbanned.left > 0 {
        lines.push(format!("{} more were not looked at: a panic or the end of the guard came first", unbanned.left));
    }
    (!lines.is_empty()).then(|| lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_whom_is_banned_with_others_it_is_said_what_frees_him() {
        let now = Timestamp::from_seconds(1_700_000_000);
        let merged = BanView {
            network: "network-9f03ab70/28".to_owned(),
            is_pseudonym: true,
            since: now,
            expires: now + Duration::from_secs(240),
            cause: BanCause::Merged(None),
            reason: None,
            country: None,
            confirm_until: None,
            unconfirmed_expires: None,
        };
        let within = vec![Within { name: "203.0.113.7".to_owned(), around: vec![merged] }];
        let unknown = vec!["203.0.113.7".to_owned(), "x\u{1b}".to_owned()];
        let said = not_banned(&Unbanned { unknown, within, left: 3, ..Unbanned::default() }, now);
        insta::assert_snapshot!(said.expect("something to say"), @r"
        there is no ban of x\x1b (`seawall bans list` shows them all); who was dropped for going on after refusals is free
        there is no ban of 203.0.113.7 alone, which is in network-9f03ab70/28 (merged to make room, of clients beyond a limit, 4m left); `seawall bans remove network-9f03ab70/28` frees all of it
        3 more were not looked at: a panic or the end of the guard came first
        ");
        assert_eq!(not_banned(&Unbanned { removed: 2, ..Unbanned::default() }, now), None);
    }
}
