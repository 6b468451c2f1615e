//! The outcome of a drill as people read it.

use std::fmt::Write as _;

use super::tally::{Outcome, RuleFound, Share, Traffic};

/// The whole report, in lines.
pub(crate) fn render(outcome: &Outcome) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    _ = write_outcome(&mut text, outcome);
    text
}

fn write_outcome(text: &mut String, outcome: &Outcome) -> std::fmt::Result {
    let guard = if outcome.guarded { "" } else { ", without a guard" };
    writeln!(
        text,
        "drill {}, seed {}{guard}: {:.0} s, onset at {:.0} s\n",
        outcome.scenario, outcome.seed, outcome.duration_seconds, outcome.onset_seconds
    )?;
    writeln!(
        text,
        "{:<10}{:>9}{:>10}{:>9}{:>9}{:>9}{:>9}{:>10}{:>10}",
        "", "sent", "at origin", "served", "refused", "dropped", "failed", "p50", "p99"
    )?;
    write_traffic(text, "wanted", &outcome.wanted)?;
    write_traffic(text, "unwanted", &outcome.unwanted)?;
    writeln!(text)?;
    if outcome.guarded {
        match outcome.onset_to_rule_seconds {
            Some(seconds) => writeln!(text, "onset to rule      {seconds:.2} s")?,
            None => writeln!(text, "onset to rule      no rule was put in force")?,
        }
        if outcome.unwanted_after_rule.of > 0 {
            let after = outcome.unwanted_after_rule;
            writeln!(text, "after the rule     {} unwanted requests reached the origin", share(after))?;
        }
        for incident in &outcome.incidents {
            writeln!(text, "incident {:<9} {}", incident.id, incident.explanation)?;
        }
        for rule in &outcome.rules {
            write_rule(text, rule)?;
        }
        writeln!(
            text,
            "guard              {:.2} CPU seconds, {:.1} MiB resident at most",
            outcome.guard_cpu_seconds,
            outcome.guard_resident_bytes_peak as f64 / f64::from(1 << 20)
        )?;
    }
    if let Some(escalation) = outcome.escalation {
        writeln!(
            text,
            "kernel             drops {} clients, from {:.1} to {:.1} s after the rule; the guard took {:.0} ms of a processor in a second \
             before, {:.0} after",
            escalation.clients,
            escalation.begins_seconds,
            escalation.settled_seconds,
            escalation.cpu_before,
            escalation.cpu_after
        )?;
    }
    if let Some(streams) = outcome.streams {
        writeln!(
            text,
            "streams            {} watched, {} at once, {:.2} frames/s in the middle, {:.2} for 99 of 100",
            streams.count, streams.at_once_peak, streams.frames_per_second_p50, streams.frames_per_second_p01
        )?;
    }
    let generator = outcome.generator;
    writeln!(
        text,
        "load               {} visits, {:.1} ms behind schedule for 1 of 100, {:.1} ms at most, {:.2} CPU seconds",
        generator.visits, generator.lag_p99_milliseconds, generator.lag_max_milliseconds, generator.cpu_seconds
    )?;
    for remark in &outcome.remarks {
        writeln!(text, "                   {remark}")?;
    }
    if !outcome.targets.is_empty() {
        writeln!(text, "\ntargets")?;
    }
    for target in &outcome.targets {
        let met = if target.met { "met   " } else { "MISSED" };
        writeln!(text, "  {met}  {:<46}{:<12} {}", target.name, target.wanted, target.found)?;
    }
    Ok(())
}

fn write_traffic(text: &mut String, label: &str, traffic: &Traffic) -> std::fmt::Result {
    let milliseconds = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.1} ms"));
    writeln!(
        text,
        "{label:<10}{:>9}{:>10}{:>9}{:>9}{:>9}{:>9}{:>10}{:>10}",
        traffic.sent,
        traffic.reached_origin,
        traffic.served,
        traffic.refused,
        traffic.dropped,
        traffic.failed,
        milliseconds(traffic.p50_milliseconds),
        milliseconds(traffic.p99_milliseconds)
    )
}

fn write_rule(text: &mut String, rule: &RuleFound) -> std::fmt::Result {
    let status = &rule.status;
    writeln!(text, "rule {:<13} {} ({})", status.id.to_string(), status.text, status.reason)?;
    let evidence = &status.evidence;
    let percent = |share: f32| format!("{:.3}%", share * 100.0);
    write!(
        text,
        "                   collateral predicted {}, at most {}",
        percent(evidence.collateral),
        percent(evidence.collateral_upper)
    )?;
    match rule.enforced_after_onset_seconds {
        Some(seconds) => writeln!(
            text,
            "; actual {}\n                   in force {seconds:.2} s after the onset, refused {} unwanted",
            share(rule.wanted_refused),
            share(rule.unwanted_refused)
        ),
        None => writeln!(text),
    }
}

fn share(share: Share) -> String {
    match share.of {
        0 => format!("{} of 0", share.count),
        of => format!("{} of {of} ({:.3}%)", share.count, share.count as f64 / of as f64 * 100.0),
    }
}
