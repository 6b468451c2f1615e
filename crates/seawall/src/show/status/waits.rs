//! What ends by itself unless somebody confirms it.

use seawall_engine::decision::RuleStatus;
use seawall_engine::units::counted;

use crate::daemon::Snapshot;
use crate::show::time::time_of_day;

/// A line for the configuration, for bans, and for rules.
pub(super) fn waits(snapshot: &Snapshot) -> impl Iterator<Item = String> {
    let configuration = snapshot.confirm_until.map(|until| {
        let until = time_of_day(until);
        format!(
            "the configuration is to be confirmed until {until}: say `seawall confirm`, or that of before comes back"
        )
    });
    let bans = snapshot.enforcement.confirm_until.map(|until| {
        let (until, waiting) = (time_of_day(until), snapshot.enforcement.unconfirmed);
        let (changes, first) = match waiting {
            ..=1 => ("a change of bans is".to_owned(), ""),
            several => (format!("{} of bans are", counted(several, "change")), ", the first"),
        };
        format!("{changes} to be confirmed{first} until {until}: say `seawall confirm`, or what was before comes back")
    });
    let waiting: Vec<&RuleStatus> =
        snapshot.detection.rules.iter().filter(|rule| rule.confirm_until.is_some()).collect();
    let first = waiting.iter().filter_map(|rule| rule.confirm_until).min();
    let rules = first.map(|until| {
        let names: Vec<String> = waiting.iter().map(|rule| rule.id.to_string()).collect();
        let (is, first, ends) =
            if names.len() == 1 { ("is", "", "it ends") } else { ("are", ", the first", "they end") };
        let until = time_of_day(until);
        format!("{} {is} to be confirmed{first} until {until}: say `seawall confirm`, or {ends}", names.join(", "))
    });
    configuration.into_iter().chain(bans).chain(rules)
}

#[cfg(test)]
mod tests {
    use seawall_engine::decision::{Action, Status};
    use seawall_engine::units::Timestamp;

    use super::*;
    use crate::enforcement::EnforcementStatus;
    use crate::fixtures::rule_status;

    #[test]
    fn bans_and_rules_wait_as_a_configuration_does() {
        let until = Timestamp::from_seconds(1_767_000_000);
        let rule = |number| RuleStatus {
            incident: 0,
            action: Action::Drop,
            expires: Some(until),
            confirm_until: Some(until),
            ..rule_status(number)
        };
        let of = |numbers: &[u32], unconfirmed| {
            let rules = numbers.iter().map(|number| rule(*number)).collect();
            let confirm_until = (unconfirmed > 0).then_some(until);
            let enforcement = EnforcementStatus { unconfirmed, confirm_until, ..EnforcementStatus::default() };
            let detection = Status { rules, ..Status::default() };
            let lines: Vec<String> = waits(&Snapshot { enforcement, detection, ..Snapshot::default() }).collect();
            lines.join("\n").replace(&time_of_day(until), "TIME")
        };
        assert_eq!(of(&[], 0), "");
        insta::assert_snapshot!(of(&[10_001], 1), @r"
        a change of bans is to be confirmed until TIME: say `seawall confirm`, or what was before comes back
        R10001 is to be confirmed until TIME: say `seawall confirm`, or it ends
        ");
        insta::assert_snapshot!(of(&[10_001, 10_002], 3), @r"
        3 changes of bans are to be confirmed, the first until TIME: say `seawall confirm`, or what was before comes back
        R10001, R10002 are to be confirmed, the first until TIME: say `seawall confirm`, or they end
        ");
    }
}
