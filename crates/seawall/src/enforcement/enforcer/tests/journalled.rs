//! What of orders, and of what becomes of bans by themselves, stands in the journal.

use super::*;
use crate::enforcement::{BanView, Entry, NamedList, Reason, Then};

fn list(source: &str, networks: &[&str]) -> NamedList {
    NamedList { source: source.to_owned(), networks: networks.iter().map(|text| network(text)).collect() }
}

fn line(action: Action, text: &str) -> (Action, String) {
    (action, text.to_owned())
}

#[test]
fn a_list_is_taken_back_by_its_file_with_merged_neighbours_and_bans_of_before_stay() {
    let mut set = Set::new(100);
    set.ask(asked(&["203.0.113.200", "203.0.112.7"], BanCause::Operator, 600, None));
    set.ask(asked(&["198.51.0.1"], BanCause::Import, 600, None));
    let larger = Ban { network: network("192.0.0.0/16"), ..ban("::/0", set.now, BanCause::Operator) };
    set.enforcer.take(larger);
    let zone = list(
        "lists/cn.zone",
        &["198.51.100.0/25", "198.51.100.128/25", "203.0.113.0/26", "192.0.2.0/24", "2001:db8::7/128"],
    );
    let request = BanRequest {
        networks: zone.networks.iter().map(|network| (*network, None)).collect(),
        countries: vec![],
        systems: vec![],
        seconds: 600,
        reason: Some("a flood".to_owned()),
        cause: BanCause::Import,
        source: Some(zone.source.clone()),
        confirm_seconds: None,
        dry_run: false,
        anyway: true,
    };
    set.inbox.journalled();
    assert_eq!(set.ask(|done| Order::Ban(request, done)).added, 4);
    assert_eq!(set.inbox.journalled(), [line(Action::Ban, "4 of 4 networks of lists/cn.zone for 10m: a flood")]);
    let request = UnbanRequest { list: Some(zone), ..UnbanRequest::default() };
    let unbanned = set.ask(|done| Order::Unban(request, done));
    assert_eq!(unbanned.removed, 4);
    assert_eq!(set.inbox.journalled(), [line(Action::Unban, "4 bans of lists/cn.zone")]);
    let left: Vec<String> = set.enforcer.bans.iter().map(|ban| ban.network.to_string()).collect();
    assert_eq!(left, ["192.0.0.0/16", "198.51.0.1/32", "203.0.112.7/32", "203.0.113.200/32"]);
}

#[test]
fn of_a_few_typed_addresses_the_journal_says_whose() {
    let mut set = Set::new(100);
    let hosts: Vec<String> = (1..=9).map(|host| format!("203.0.113.{host}")).collect();
    let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
    // A line of its own has the address, under the key of the day, and so nothing of it in its text.
    set.ask(asked(&hosts[..2], BanCause::Operator, 600, None));
    assert_eq!(set.inbox.journalled(), [line(Action::Ban, " for 10m"), line(Action::Ban, " for 10m")]);
    set.ask(asked(&hosts[2..], BanCause::Operator, 600, None));
    assert_eq!(set.inbox.journalled().len(), 7);
    set.ask(unban(&hosts[..2]));
    assert_eq!(set.inbox.journalled(), [line(Action::Unban, ""), line(Action::Unban, "")]);
    set.ask(asked(&hosts[..2], BanCause::Operator, 600, None));
    set.inbox.journalled();
    set.ask(unban(&hosts));
    assert_eq!(set.inbox.journalled(), [line(Action::Unban, "9 bans")]);
    set.ask(asked(&hosts, BanCause::Operator, 600, None));
    assert_eq!(set.inbox.journalled(), [line(Action::Ban, "9 of 9 networks for 10m")]);
}

#[test]
fn a_ban_that_waits_to_be_confirmed_is_marked() {
    let mut set = Set::new(100);
    set.ask(asked(&["203.0.113.1"], BanCause::Operator, 600, None));
    set.inbox.journalled();
    set.now = set.now + seconds(1);
    set.ask(asked(&["203.0.113.1"], BanCause::Operator, 6_000, Some(60)));
    set.ask(asked(&["203.0.113.2"], BanCause::Operator, 6_000, Some(90)));
    let waits = |text: &str| line(Action::Ban, &format!(" for 100m (to be confirmed within {text})"));
    assert_eq!(set.inbox.journalled(), [waits("1m"), waits("90s")]);
    let marks = |set: &mut Set| {
        let views = set.ask(|done| Order::List(false, done));
        let left = |at: Option<Timestamp>, view: &BanView| at.map(|at| at.since(view.since).as_secs());
        let mark = |view: &BanView| (left(view.confirm_until, view), left(view.unconfirmed_expires, view));
        views.iter().map(mark).collect::<Vec<_>>()
    };
    assert_eq!(marks(&mut set), [(Some(60), Some(599)), (Some(90), None)]);
    set.enforcer.publish_status(set.now);
    let status = set.enforcer.parts.status.load_full();
    assert_eq!(status.unconfirmed, 2);
    assert!(status.confirm_until.is_some());
    assert_eq!(set.ask(Order::Confirm).changes, 2);
    assert_eq!(marks(&mut set), [(None, None), (None, None)]);
    assert_eq!(set.enforcer.parts.status.load().confirm_until, None, "whoever is told may look at once");
}

#[test]
fn a_ban_that_ends_since_its_client_is_protected_now_has_a_line() {
    let mut set = Set::new(100);
    set.ask(asked(&["203.0.113.77", "203.0.113.78"], BanCause::Operator, 600, None));
    set.ask(asked(&["203.0.113.79"], BanCause::Operator, 600, Some(60)));
    set.inbox.journalled();
    let protected = |why: &str| line(Action::Unban, &format!(", which is on the never-ban list now: {why}"));
    let operator = Order::Operator("203.0.113.77".parse().expect("an address"));
    set.obey(operator);
    assert_eq!(set.inbox.journalled(), [protected("where an operator is logged in from")]);
    assert!(!set.refuses("203.0.113.77") && set.refuses("203.0.113.78"));
    set.obey(Order::Operator("203.0.113.79".parse().expect("an address")));
    assert_eq!(set.inbox.journalled().len(), 1);
    assert_eq!(set.ask(Order::Confirm).changes, 0, "nothing waits any more");
    // The same of those that do not come back with a start.
    let now = set.now;
    let hosts = (1..=9).map(|host| ban(&format!("198.51.100.{host}/32"), now, BanCause::Import));
    set.inbox.journalled();
    let entries = hosts.clone().map(|ban| Entry { network: ban.network, reason: Reason::Configured }).collect();
    let never_ban = Configured { entries, loopback: false };
    set.obey(Order::Configure { never_ban, ports: vec![], then: Then(Box::new(|_| {})) });
    set.obey(Order::TakeUp(hosts.clone().take(1).collect()));
    assert_eq!(set.inbox.journalled(), [protected("named by never-ban in the configuration")]);
    set.obey(Order::TakeUp(hosts.collect()));
    let text = "9 bans of networks that are on the never-ban list now";
    assert_eq!(set.inbox.journalled(), [line(Action::Unban, text)]);
}

#[test]
fn why_a_ban_was_taken_back_and_by_which_pseudonym_stands_in_the_journal() {
    let mut set = Set::new(100);
    let hosts = ["203.0.113.1/32", "203.0.113.2/32", "203.0.113.3/32"];
    for host in hosts {
        assert!(set.enforcer.take(ban(host, set.now, BanCause::Limit)));
    }
    let views = set.ask(|done| Order::List(false, done));
    let unban = |set: &mut Set, names: &[&str], reason: &str| {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        let request = UnbanRequest { names, reason: Some(reason.to_owned()), ..UnbanRequest::default() };
        set.inbox.journalled();
        set.ask(|done| Order::Unban(request, done));
        set.inbox.journalled()
    };
    let pseudonym = views[1].network.as_str();
    assert!(views[1].is_pseudonym, "{pseudonym}");
    let said = unban(&mut set, &[pseudonym, "203.0.113.1", "nobody"], "a mis\u{1b}take");
    assert_eq!(said, [line(Action::Unban, ": a mistake"), line(Action::Unban, &format!("{pseudonym}: a mistake"))]);
    assert_eq!(unban(&mut set, &[], "over"), [line(Action::Unban, "all, 1 ban: over")]);
}

#[test]
fn whose_bans_were_not_confirmed_is_said_of_a_few() {
    let mut set = Set::new(100);
    let hosts: Vec<String> = (1..=9).map(|host| format!("203.0.113.{host}")).collect();
    let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
    let undone = |set: &mut Set, hosts: &[&str]| {
        set.ask(asked(hosts, BanCause::Operator, 600, Some(5)));
        set.inbox.journalled();
        set.enforcer.undo_unconfirmed(set.now + seconds(5));
        set.inbox.journalled()
    };
    let one = line(Action::Undo, " was not confirmed in time");
    assert_eq!(undone(&mut set, &hosts[..2]), [one.clone(), one]);
    assert_eq!(undone(&mut set, &hosts), [line(Action::Undo, "9 bans not confirmed in time")]);
}
