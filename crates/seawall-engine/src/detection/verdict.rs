//! The verdict in a sentence, for people who look at a status page in the middle of the night.

use crate::decision::{CostKind, Finding, Verdict};
use crate::units::counted;

use super::seasonal::SAMPLE_SECONDS;
use super::trigger::Reading;

/// What is offered, what is normal, and what the difference is.
pub(crate) fn explanation(
    verdict: Verdict,
    cost: CostKind,
    readings: &[Reading],
    findings: &[&Finding],
    answered_share: f64,
    crowd: Option<&str>,
) -> String {
    let reading = readings.get(cost as usize).copied().unwrap_or_default();
    let mut text = format!(
        "{} where {} {} normal",
        amount(cost, reading.offered / SAMPLE_SECONDS as f64),
        number(cost, reading.normal.median / SAMPLE_SECONDS as f64),
        if cost == CostKind::Requests { "are" } else { "is" },
    );
    for finding in findings {
        let conditions: Vec<String> = finding.conditions.iter().map(ToString::to_string).collect();
        text += &format!(
            "; {:.0}% of the excess has {} ({})",
            finding.evidence.coverage * 100.0,
            conditions.join(" and "),
            counted(u64::from(finding.evidence.clients), "client"),
        );
    }
    if answered_share >= 0.05 {
        text += &format!(
            "; {:.0}% is for other hosts, over a limit or no whole request, and already answered",
            answered_share * 100.0
        );
    }
    text += match verdict {
        Verdict::Undecided => "; too early to say what it is",
        Verdict::Explained => "",
        Verdict::Partial => "; the rest has nothing in common that normal traffic has not",
        Verdict::NotSeparable => "; nothing tells it from wanted traffic, so no rule is made",
        Verdict::Crowd => "; a crowd, so nobody is banned",
        Verdict::External => "; the requests are as ever, so the cause is elsewhere, as in a slow backend",
    };
    if let (Verdict::Crowd, Some(reason)) = (verdict, crowd) {
        text += &format!(": {reason}");
    }
    text
}

fn amount(cost: CostKind, rate: f64) -> String {
    match cost {
        CostKind::Bytes => format!("{}/s", number(cost, rate)),
        _ => format!("{} {}", number(cost, rate), cost.unit()),
    }
}

fn number(cost: CostKind, rate: f64) -> String {
    match cost {
        CostKind::Bytes if rate >= 1e6 => format!("{:.1} MB", rate / 1e6),
        CostKind::Bytes if rate >= 1e3 => format!("{:.1} kB", rate / 1e3),
        CostKind::Bytes => format!("{rate:.0} B"),
        _ if rate >= 10.0 => format!("{rate:.0}"),
        _ => format!("{rate:.1}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decision::{Condition, Evidence};
    use crate::detection::seasonal::Normal;
    use crate::observation::attribute::Attribute;

    #[test]
    fn it_reads_as_a_sentence() {
        let normal = Normal { median: 60.0, ..Normal::default() };
        let readings = [Reading { offered: 480.0, normal, ..Reading::default() }];
        let finding = Finding {
            conditions: vec![Condition::new(Attribute::UserAgent, b"QQGameHall")],
            evidence: Evidence { coverage: 0.97, clients: 312, ..Evidence::default() },
            normal_rate: 0.0,
            of_left: 0.97,
            cleared: true,
            is_unanswered: false,
            has_foreign_mark: true,
            is_beside_crowd: false,
        };
        assert_eq!(
            explanation(Verdict::Explained, CostKind::Requests, &readings, &[&finding], 0.0, None),
            "48 requests/s where 6.0 are normal; 97% of the excess has user-agent = \"QQGameHall\" (312 clients)"
        );
    }
}
