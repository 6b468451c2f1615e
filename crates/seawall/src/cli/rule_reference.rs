//! The page about rules: a text with the table of attributes put in, which is made from their descriptions.

use std::fmt::Write as _;

use seawall_engine::decision::expression::descriptions;

const TEXT: &str = include_str!("rule_reference.md");

/// `docs/rules.md`
pub(crate) fn page() -> String {
    TEXT.replace("{attributes}\n", &table())
}

fn table() -> String {
    let mut table = String::from("| attribute | what it is | operators | example |\n| --- | --- | --- | --- |\n");
    for description in descriptions() {
        let alias = description.alias.map_or(String::new(), |alias| format!(", `{alias}`"));
        let marks = match (description.is_set, description.is_evidence) {
            (true, _) => " (several values)",
            (false, true) => " (*filters only*)",
            (false, false) => "",
        };
        let operators: Vec<String> =
            description.operators.split(", ").map(|operator| format!("`{operator}`")).collect();
        // Writing to a string cannot fail.
        let _ = writeln!(
            table,
            "| `{}`{alias} | {}{marks} | {} | `{}` |",
            description.name,
            description.meaning,
            operators.join(" "),
            description.example
        );
    }
    table
}

#[cfg(test)]
mod tests {
    use seawall_engine::decision::expression::{Use, read_file};

    use super::*;
    use crate::config::Config;

    /// What stands in the blocks of this kind.
    fn blocks(page: &str, kind: &str) -> Vec<String> {
        let fence = format!("```{kind}\n");
        page.split(&fence).skip(1).filter_map(|block| block.split("```").next()).map(str::to_owned).collect()
    }

    #[test]
    fn every_example_can_be_read() {
        let (page, lists) = (page(), Config::default().lists());
        for (kind, usage, count) in [("rules", Use::Rule, 2), ("filters", Use::Filter, 1)] {
            let blocks = blocks(&page, kind);
            assert_eq!(blocks.len(), count, "{kind}");
            for block in blocks {
                let rules = read_file(block.as_bytes(), usage, &lists);
                assert!(rules.as_ref().is_ok_and(|rules| rules.len() >= 3), "{block}: {rules:?}");
            }
        }
        let conditions = page.lines().skip_while(|line| !line.starts_with("| condition")).skip(2);
        for line in conditions.take_while(|line| line.starts_with('|')) {
            let first = line.split(" | ").next().unwrap_or_default();
            for condition in first.split('`').skip(1).step_by(2) {
                assert!(read_file(condition.as_bytes(), Use::Rule, &lists).is_ok(), "{condition}");
            }
        }
    }

    #[test]
    fn the_table_is_in_the_page() {
        let page = page();
        assert!(!page.contains("{attributes}"));
        assert!(page.contains("\n| `client-prefix`, `client` | "), "{page}");
        assert!(page.contains("(*filters only*)") && page.contains("(several values)"));
    }
}
