//! What a benchmark found: one figure, ours beside our peers', with what it is to reach. It judges nothing but that.

use std::fmt::Write as _;

use serde::Serialize;

/// The name of our own series; it comes first in every figure.
pub(crate) const OURS: &str = "Seawall";

/// One figure.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Figure {
    /// What was measured.
    pub(crate) what: String,
    /// In what unit.
    pub(crate) unit: &'static str,
    /// What it is to reach.
    pub(crate) goal: Goal,
    /// Each contender's values; ours first.
    pub(crate) series: Vec<Series>,
    /// What one must know to read it.
    pub(crate) notes: Vec<String>,
}

/// The values of one contender, one for each repetition.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) values: Vec<f64>,
}

/// What a figure is to reach.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Goal {
    /// At most this.
    AtMost(f64),
    /// At least this.
    AtLeast(f64),
    /// At most what this contender needs.
    AtMostThatOf(&'static str),
    /// At least what this contender does.
    AtLeastThatOf(&'static str),
    /// Only to be known.
    None,
}

impl Series {
    /// The middle value; the mean of the two middle ones when their number is even.
    pub(crate) fn median(&self) -> f64 {
        let values = self.ordered();
        let middle = values.len() / 2;
        let upper = values.get(middle).copied().unwrap_or(f64::NAN);
        match values.len() % 2 {
            1 => upper,
            _ => values.get(middle.wrapping_sub(1)).map_or(f64::NAN, |lower| (lower + upper) / 2.0),
        }
    }

    fn ordered(&self) -> Vec<f64> {
        let mut values = self.values.clone();
        values.sort_by(f64::total_cmp);
        values
    }
}

impl Figure {
    /// Whether the goal is reached; `None` where there is none, or the peer that it names was not measured.
    pub(crate) fn is_reached(&self) -> Option<bool> {
        let ours = self.series.first()?.median();
        let of = |name: &str| self.series.iter().find(|series| series.name == name).map(Series::median);
        match self.goal {
            Goal::AtMost(bound) => Some(ours <= bound),
            Goal::AtLeast(bound) => Some(ours >= bound),
            Goal::AtMostThatOf(name) => of(name).map(|theirs| ours <= theirs),
            Goal::AtLeastThatOf(name) => of(name).map(|theirs| ours >= theirs),
            Goal::None => None,
        }
    }

    fn verdict(&self) -> &'static str {
        match self.is_reached() {
            Some(true) => "reached",
            Some(false) => "**missed**",
            None => "",
        }
    }

    fn goal_text(&self) -> String {
        match self.goal {
            Goal::AtMost(bound) => format!("≤ {}", number(bound)),
            Goal::AtLeast(bound) => format!("≥ {}", number(bound)),
            Goal::AtMostThatOf(name) => format!("≤ {name}"),
            Goal::AtLeastThatOf(name) => format!("≥ {name}"),
            Goal::None => String::new(),
        }
    }

    /// The figure with every contender, in Markdown.
    pub(crate) fn markdown(&self) -> String {
        let mut text = format!("### {} ({})\n\n", self.what, self.unit);
        let goal = self.goal_text();
        if !goal.is_empty() {
            let _ = writeln!(text, "Goal: {goal}: {}\n", self.verdict());
        }
        text.push_str(
            "| | median | min | max | repetitions | Seawall ÷ it |\n| --- | ---: | ---: | ---: | ---: | ---: |\n",
        );
        let ours = self.series.first().map_or(f64::NAN, Series::median);
        for (place, series) in self.series.iter().enumerate() {
            let values = series.ordered();
            let (min, max) = (values.first().copied(), values.last().copied());
            let shown = |value: Option<f64>| value.map_or("–".to_owned(), number);
            let ratio = if place == 0 { String::new() } else { format!("{:.2}", ours / series.median()) };
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} | {} | {ratio} |",
                series.name,
                number(series.median()),
                shown(min),
                shown(max),
                values.len()
            );
        }
        for note in &self.notes {
            let _ = write!(text, "\n{note}\n");
        }
        text
    }
}

/// All medians on one screen, in Markdown.
pub(crate) fn overview(figures: &[Figure]) -> String {
    let mut peers: Vec<&str> = Vec::new();
    for name in figures.iter().flat_map(|figure| figure.series.iter().skip(1)).map(|series| series.name.as_str()) {
        if !peers.contains(&name) {
            peers.push(name);
        }
    }
    let columns: String = peers.iter().map(|peer| format!(" {peer} |")).collect();
    let mut text = format!("| what | unit | {OURS} |{columns} goal | |\n");
    let _ = writeln!(text, "| --- | --- | ---: |{} --- | --- |", " ---: |".repeat(peers.len()));
    for figure in figures {
        let median = |name: &str| {
            let series = figure.series.iter().find(|series| series.name == name);
            series.map_or("–".to_owned(), |series| number(series.median()))
        };
        let theirs: String = peers.iter().map(|peer| format!(" {} |", median(peer))).collect();
        let _ = writeln!(
            text,
            "| {} | {} | {} |{theirs} {} | {} |",
            figure.what,
            figure.unit,
            figure.series.first().map_or("–".to_owned(), |series| number(series.median())),
            figure.goal_text(),
            figure.verdict()
        );
    }
    text
}

/// A number with as many digits as mean something.
fn number(value: f64) -> String {
    match value.abs() {
        large if large >= 1_000.0 => {
            let digits = format!("{value:.0}");
            let (sign, digits) = digits.strip_prefix('-').map_or(("", digits.as_str()), |digits| ("-", digits));
            let mut grouped = String::from(sign);
            for (place, digit) in digits.chars().enumerate() {
                if place > 0 && (digits.len() - place) % 3 == 0 {
                    grouped.push(',');
                }
                grouped.push(digit);
            }
            grouped
        }
        whole if whole.fract() == 0.0 => format!("{value:.0}"),
        middle if middle >= 100.0 => format!("{value:.0}"),
        small if small >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(name: &str, values: &[f64]) -> Series {
        Series { name: name.to_owned(), values: values.to_vec() }
    }

    #[test]
    fn medians_do_not_depend_on_order() {
        assert_eq!(series("a", &[3.0, 1.0, 2.0]).median(), 2.0);
        assert_eq!(series("a", &[4.0, 1.0, 2.0, 3.0]).median(), 2.5);
        assert!(series("a", &[]).median().is_nan());
    }

    #[test]
    fn a_goal_is_reached_by_medians_and_lost_openly() {
        let mut figure = Figure {
            what: "time".to_owned(),
            unit: "µs",
            goal: Goal::AtMostThatOf("nginx"),
            series: vec![series(OURS, &[9.0, 1.0, 2.0]), series("nginx", &[2.5, 2.5, 0.1])],
            notes: vec![],
        };
        assert_eq!(figure.is_reached(), Some(true));
        figure.goal = Goal::AtLeastThatOf("nginx");
        assert_eq!(figure.is_reached(), Some(false));
        assert!(figure.markdown().contains("**missed**"));
        figure.goal = Goal::AtMostThatOf("HAProxy");
        assert_eq!(figure.is_reached(), None);
    }

    #[test]
    fn numbers_are_shown_with_the_digits_that_mean_something() {
        for (value, expected) in [
            (0.0, "0"),
            (1.234, "1.23"),
            (23.45, "23.4"),
            (456.7, "457"),
            (1_234_567.8, "1,234,568"),
            (-1_500.0, "-1,500"),
            (16.0, "16"),
        ] {
            assert_eq!(number(value), expected);
        }
    }
}
