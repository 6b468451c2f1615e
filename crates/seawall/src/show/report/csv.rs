//! A report as comma-separated values (RFC 4180), for spreadsheets: one line for each row of each panel.

use std::borrow::Cow;

use super::summary::{Amount, Content, Summary, Tally};
use crate::show::log::moment;

/// The names of the columns; units are in the names. A column that does not apply to a row is empty.
const COLUMNS: [&str; 11] = [
    "panel",
    "value",
    "detail",
    "hits",
    "hits_share",
    "bytes",
    "bytes_share",
    "mean_ms",
    "hits_error",
    "value_ms",
    "value_bytes",
];

/// The summary as text.
///
/// # Errors
/// Never, as long as memory can be written to; the library does not know that it is memory.
pub fn render(summary: &Summary) -> Result<String, ::csv::Error> {
    let mut writer = ::csv::Writer::from_writer(Vec::new());
    writer.write_record(COLUMNS)?;
    for panel in &summary.panels {
        let mut row = |value: &str, detail: &str, rest: [String; 8]| {
            let fields = [panel.name, &harmless(value), &harmless(detail)];
            writer.write_record(fields.into_iter().chain(rest.iter().map(String::as_str)))
        };
        match &panel.content {
            Content::Table(table) => {
                for one in &table.rows {
                    row(&one.value, one.detail.as_deref().unwrap_or_default(), tally(&one.tally, one.hits_error))?;
                }
                for (label, one) in [(table.absent_label, table.without_value), ("(not recorded)", table.not_recorded)]
                {
                    if one.hits > 0 {
                        row(label, "", tally(&one, 0))?;
                    }
                }
            }
            Content::Traffic(traffic) => {
                let from = traffic.from.as_ref().and_then(|from| from.parse::<jiff::Timestamp>().ok());
                let from = from.and_then(|from| u64::try_from(from.as_second()).ok()).unwrap_or(0);
                for outcome in &traffic.outcomes {
                    for (number, hits) in (0..).zip(&outcome.cells).filter(|(_, hits)| **hits > 0) {
                        let time = moment(from.saturating_add(traffic.cell_seconds.saturating_mul(number)));
                        row(&time.to_string(), outcome.outcome, only_hits(*hits))?;
                    }
                }
            }
            Content::Distribution(distribution) => {
                for quantile in &distribution.quantiles {
                    let mut rest = <[String; 8]>::default();
                    let [.., milliseconds, bytes] = &mut rest;
                    match quantile.amount {
                        Amount::Milliseconds(time) => *milliseconds = time.to_string(),
                        Amount::Bytes(count) => *bytes = count.to_string(),
                    }
                    row(&format!("quantile {}", quantile.quantile), "", rest)?;
                }
            }
            Content::Surges(surges) => {
                for surge in &surges.surges {
                    let rules: Vec<&str> = surge.rules.iter().map(|rule| rule.text.as_str()).collect();
                    let detail = if rules.is_empty() { surge.explanation.clone() } else { rules.join("; ") };
                    row(&format!("{} to {}", surge.from, surge.until), &detail, <[String; 8]>::default())?;
                }
                for surge in surges.found.iter().chain(&surges.left_out) {
                    row(&format!("{} to {}", surge.from, surge.until), "", <[String; 8]>::default())?;
                }
            }
        }
    }
    let bytes = writer.into_inner().map_err(::csv::IntoInnerError::into_error)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn tally(tally: &Tally, hits_error: u64) -> [String; 8] {
    let mean = tally.mean_ms.map(|mean| mean.to_string()).unwrap_or_default();
    [
        tally.hits.to_string(),
        tally.hits_share.to_string(),
        tally.bytes.to_string(),
        tally.bytes_share.to_string(),
        mean,
        hits_error.to_string(),
        String::new(),
        String::new(),
    ]
}

fn only_hits(hits: u64) -> [String; 8] {
    let mut rest = <[String; 8]>::default();
    let [first, ..] = &mut rest;
    *first = hits.to_string();
    rest
}

/// The text so that no spreadsheet takes it for a formula: a client chooses its user agent, and with it what an operator's
/// spreadsheet would compute or fetch.
pub(super) fn harmless(text: &str) -> Cow<'_, str> {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        Cow::Owned(format!("'{text}"))
    } else {
        Cow::Borrowed(text)
    }
}
