//! Which rules `seawall explain` advises, and of which it says why not.

use std::fs;

use super::{AGENTS, Log, common_agent, explained, json, office, run};

/// The lines of the file of rules that are no rules.
#[track_caller]
fn comments_of_rules(log: &str, rule: &str) -> String {
    let (output, folder) = run(log, &["--rules-out", "rules.txt"]);
    assert_eq!(output.status.code(), Some(0));
    let rules = fs::read_to_string(folder.path().join("rules.txt")).expect("a file of rules");
    assert!(rules.contains(rule), "{rules}");
    let is_comment = |line: &&str| line.is_empty() || line.starts_with('#');
    assert!(rules.lines().all(|line| is_comment(&line)), "{rules}");
    rules
}

#[test]
fn a_rule_that_is_not_advised_is_a_comment_in_the_file_of_rules() {
    let rules = comments_of_rules(&common_agent(), "# rule-1: user-agent");
    assert!(rules.contains("# not advised: it also hits"), "{rules}");
}

#[test]
fn people_of_one_office_are_a_crowd() {
    let found = json(&office());
    let surge = &found["surges"][0];
    assert_eq!(surge["verdict"], "crowd", "{surge:#}");
    assert_eq!(surge["rules"].as_array().map(Vec::len), Some(0), "{surge:#}");
    assert!(surge["advice"].to_string().contains("Ban nobody: one address with many user agents"), "{surge:#}");
}

/// A search engine that reads all pages in ten minutes.
fn crawled() -> String {
    let mut log = Log::ordinary();
    for number in 0..4800 {
        let (address, page) = (format!("203.0.113.{}", log.below(60)), format!("GET /blog/{}.html", log.below(40)));
        let agent = "Mozilla/5.0 (compatible; Searcher/2.1; +http://search.example/bot.html)";
        log.line(4000 + number / 8, &address, &page, 200, agent);
    }
    log.text()
}

#[test]
fn who_says_where_it_comes_from_is_looked_at_before_it_is_refused() {
    let found = json(&crawled());
    let advice = found["surges"][0]["advice"].to_string();
    assert!(advice.contains("Slow down what the rules match rather than refuse it"), "{advice}");
    assert!(advice.contains("check who it is first"), "{advice}");
    comments_of_rules(&crawled(), "# rule-1: user-agent");
}

/// Ten minutes of what each of 3,000 browsers asks once, answered so.
fn asked_once(request: impl Fn(usize) -> String, status: u16, referer: &str) -> String {
    let mut log = Log::ordinary();
    for number in 0..3_000 {
        let address = format!("{}.{}.{}.7", 20 + number % 180, number / 180 * 7, number % 250);
        let agent = AGENTS[log.below(5)];
        log.line_from(4000 + number as u32 / 5, &address, &request(number), status, referer, agent);
    }
    log.text()
}

#[test]
fn what_a_link_brings_is_looked_at_before_it_is_refused() {
    let link = asked_once(|_| "GET /blog/new.html".to_owned(), 503, "https://news.example/item");
    let rules = comments_of_rules(&link, "# rule-1: referer-origin = \"https://news.example\"");
    assert!(rules.contains("what a link brings to everybody"), "{rules}");
    let tagged = asked_once(|_| "GET /blog/new.html?utm_source=mail&utm_medium=email".to_owned(), 503, "-");
    let rules = comments_of_rules(&tagged, "# rule-1: query-keys = \"utm_source&utm_medium\"");
    assert!(rules.contains("what a link brings to everybody"), "{rules}");
}

#[test]
fn what_the_site_answers_by_query_is_not_refused_without_a_look() {
    let rules = comments_of_rules(
        &asked_once(|number| format!("GET /search?q={number}"), 200, "-"),
        "# rule-1: query-keys = \"q\"",
    );
    assert!(rules.contains("refuses that to everybody"), "{rules}");
}

#[test]
fn a_site_that_failed_tells_nothing_of_who_asked() {
    let failed = asked_once(|_| "GET /blog/new.html".to_owned(), 502, "-");
    let rules = comments_of_rules(&failed, "# rule-1: path = \"/blog/new.html\"");
    assert!(rules.contains("with errors of its own"), "{rules}");
}

/// A new version of a program that visitors of an hour ago have.
#[test]
fn visitors_who_were_there_before_are_not_refused_without_a_look() {
    let mut log = Log::ordinary();
    for number in 0..4_800 {
        let client = log.below(600);
        let address = format!("198.51.{}.{}", 100 + client / 250, client % 250);
        log.line(5600 + number / 8, &address, "GET /api/items", 200, "ShopApp/2.2");
    }
    let rules = comments_of_rules(&log.text(), "# rule-1: user-agent = \"ShopApp/2.2\"");
    assert!(rules.contains("most likely visitors"), "{rules}");
}

/// A new version of a program that comes to users who were not there before: `others` of those who were have another one.
fn released(others: u32, agent: &str) -> String {
    let mut log = Log::ordinary();
    for number in 0..others {
        let address = format!("198.51.110.{}", number % 20);
        log.line(number * 7000 / others.max(1), &address, "GET /api/items", 200, "ShopApp/4.1.9 (build 77)");
    }
    for number in 0..4_800 {
        let address = format!("{}.{}.{}.7", 20 + number % 180, number / 180 * 7, number % 250);
        log.line(5600 + number / 8, &address, "GET /api/items", 200, agent);
    }
    log.text()
}

#[test]
fn a_new_version_of_an_ordinary_program_is_looked_at_before_it_is_refused() {
    let rule = "# rule-1: user-agent = \"ShopApp/4.2.0 (build 80)\"";
    let rules = comments_of_rules(&released(600, "ShopApp/4.2.0 (build 80)"), rule);
    assert!(rules.contains("326 requests outside surges with user-agent-word = \"ShopApp\""), "{rules}");
    // Of another program, and where few have others.
    for (others, agent) in [(600, "StoreApp/4.2.0"), (40, "ShopApp/4.2.0 (build 80)")] {
        let advice = explained(&released(others, agent), &format!("user-agent = \"{agent}\""))["advice"].to_string();
        assert!(advice.contains("Refuse what the rules match"), "{advice}");
    }
}

#[test]
fn the_share_of_clients_that_a_rule_hits_is_told_beside_that_of_requests() {
    let mut log = Log::ordinary();
    // One in fifty of 400 visitors once asks for what a flood asks for, with the agent that it has.
    for client in 0..8 {
        let address = format!("198.51.{}.{}", 100 + client * 50 / 250, client * 50 % 250);
        log.line(10 + client as u32 * 70, &address, "GET /blog/latest", 200, "QuickFetch/1.0");
    }
    for number in 0..4_800 {
        let address = format!("{}.{}.{}.7", 20 + number % 180, number / 180 * 7, number % 250);
        log.line(5600 + number / 8, &address, "GET /blog/latest", 200, "QuickFetch/1.0");
    }
    let log = log.text();
    let found = json(&log);
    let rule = &found["surges"][0]["rules"][0];
    assert_eq!(rule["outside_clients"], 8, "{found:#}");
    let share = rule["outside_clients_share"].as_f64().expect("a number");
    assert!((share - 8.0 / 400.0).abs() < 0.002, "{rule:#}");
    assert!(rule["outside_share"].as_f64() < Some(0.002), "{rule:#}");
    let shown = run(&log, &[]).0.stdout;
    let shown = String::from_utf8_lossy(&shown).replace('\n', " ");
    let shown = shown.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(shown.contains(&format!("sent by {:.2}% of the clients outside surges", share * 100.0)), "{shown}");
}

/// On a site whose visitors come from one page to the next.
#[test]
fn what_every_browser_sends_without_a_link_is_looked_at_before_it_is_refused() {
    let mut log = Log::ordinary();
    for (number, (_, line)) in log.lines.iter_mut().enumerate() {
        if number % 20 > 0 && !line.contains("FeedReader") {
            *line = line.replace(" 4000 \"-\"", " 4000 \"https://example.org/\"");
        }
    }
    for number in 0..1500 {
        let address = format!("{}.{}.{}.7", 20 + number % 180, number / 180 * 7, number % 250);
        let agent = AGENTS[log.below(5)];
        log.line(4000 + number / 3, &address, "GET /blog/7.html", 200, agent);
    }
    let rules = comments_of_rules(&log.text(), "# rule-1: referer-origin = none and path = \"/blog/7.html\"");
    assert!(rules.contains("names nobody: what any browser may send"), "{rules}");
}

#[test]
fn advice_names_returning_clients_and_live_pages() {
    let mut log = Log::ordinary();
    for number in 0..6000_u32 {
        let address = format!("{}.{}.{}.7", 20 + number % 180, number / 180 * 7, number % 250);
        log.line(
            600 + number / 20,
            &address,
            "GET /blog/7.html",
            200,
            &format!("{} x{}", AGENTS[number as usize % 5], number * 977),
        );
    }
    let found = json(&log.text());
    let surge = &found["surges"][0];
    let advice = surge["advice"].as_str().expect("a text");
    assert!(advice.contains("of returning clients"), "{surge:#}");
    assert!(!advice.contains("next to nobody"), "{advice}");
    assert!(surge["rules"][0]["outside_returning"].as_u64().is_some_and(|count| count > 0), "{surge:#}");
    let (share, upper) = (&surge["rules"][0]["collateral"], &surge["rules"][0]["collateral_upper"]);
    assert!(share.as_f64() > Some(0.0) && share.as_f64() < upper.as_f64(), "{surge:#}");
    assert_eq!(share, &surge["rules"][0]["outside_share"]);
}
