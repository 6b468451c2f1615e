use super::*;

const NOW: Timestamp = Timestamp::from_seconds(1_700_000_000);

fn network(text: &str) -> IpNet {
    text.parse().expect("a network")
}

fn ban(text: &str, seconds: u64, cause: BanCause) -> Ban {
    let expires = NOW + Duration::from_secs(seconds);
    Ban { network: network(text), since: NOW, expires, cause, reason: None }
}

#[test]
fn an_ipv6_client_is_its_64_and_a_mapped_address_is_ipv4() {
    assert_eq!(ban_network(network("2001:db8:1:2:3:4:5:6/128")), network("2001:db8:1:2::/64"));
    assert_eq!(ban_network(network("2001:db8:1:2::/56")), network("2001:db8:1::/56"));
    assert_eq!(ban_network(network("::ffff:192.0.2.7/128")), network("192.0.2.7/32"));
}

#[test]
fn who_is_protected_is_not_banned_but_a_network_around_is() {
    let never_ban = AddressSet::new(["192.0.2.7/32", "2001:db8:7::1/128"].map(network));
    let mut bans = Bans::new(8);
    let protected = |text: &str| Err(BanError::Protected { entry: network(text) });
    let mut add = |text: &str| bans.add(ban(text, 60, BanCause::Operator), &never_ban);
    assert_eq!(add("192.0.2.7/32"), protected("192.0.2.7/32"));
    assert_eq!(add("::ffff:192.0.2.7/128"), protected("192.0.2.7/32"));
    assert_eq!(add("2001:db8:7::1/128"), protected("2001:db8:7::1/128"));
    assert_eq!(add("192.0.2.0/24"), Ok(true));
    assert_eq!(add("0.0.0.0/0"), Err(BanError::TooLarge { length: 0, least: 4 }));
    assert_eq!(bans.len(), 1);
}

#[test]
fn a_ban_is_only_made_longer_unless_the_operator_says_otherwise() {
    let (mut bans, never_ban) = (Bans::new(2), AddressSet::default());
    let rule = BanCause::Rule(RuleId(1));
    assert_eq!(bans.add(ban("192.0.2.7/32", 60, rule), &never_ban), Ok(true));
    assert_eq!(bans.add(ban("192.0.2.7/32", 30, rule), &never_ban), Ok(false));
    assert_eq!(bans.add(ban("192.0.2.7/32", 90, rule), &never_ban), Ok(true));
    assert_eq!(bans.add(ban("192.0.2.7/32", 30, BanCause::Operator), &never_ban), Ok(true));
    assert_eq!(bans.add(ban("192.0.2.7/32", 900, rule), &never_ban), Ok(false));
    assert_eq!(bans.add(ban("192.0.2.7/32", 20, BanCause::Import), &never_ban), Ok(false));
    assert_eq!(bans.add(ban("192.0.2.7/32", 900, BanCause::Import), &never_ban), Ok(true));
    assert_eq!(bans.add(ban("192.0.2.7/32", 30, BanCause::Operator), &never_ban), Ok(true));
    assert_eq!(bans.add(ban("192.0.2.8/32", 30, rule), &never_ban), Ok(true));
    assert_eq!(bans.add(ban("192.0.2.9/32", 30, rule), &never_ban), Err(BanError::Full { entries_max: 2 }));
}

#[test]
fn one_that_is_made_shorter_ends_sooner() {
    let mut bans = Bans::new(8);
    bans.add(ban("192.0.2.7/32", 60, BanCause::Operator), &AddressSet::default()).expect("room");
    let until = NOW + Duration::from_secs(10);
    assert_eq!(bans.shorten(network("192.0.2.7/32"), until).map(|ban| ban.expires), Some(until));
    bans.shorten(network("192.0.2.7/32"), NOW + Duration::from_secs(30));
    assert_eq!(bans.expire(until).len(), 1);
    assert_eq!(bans.shorten(network("192.0.2.8/32"), until), None);
}

#[test]
fn what_has_ended_goes_and_what_was_touched_is_told_once() {
    let (mut bans, never_ban) = (Bans::new(8), AddressSet::default());
    let rule = BanCause::Rule(RuleId(1));
    for (text, seconds) in [("192.0.2.7/32", 60), ("192.0.2.8/32", 60), ("192.0.2.9/32", 90)] {
        bans.add(ban(text, seconds, rule), &never_ban).expect("room");
    }
    // A longer one goes by its new end.
    bans.add(ban("192.0.2.8/32", 120, rule), &never_ban).expect("the same");
    assert_eq!(bans.take_changed().len(), 3);
    assert_eq!(bans.expire(NOW + Duration::from_secs(59)).len(), 0);
    assert!(bans.take_changed().is_empty());
    assert_eq!(bans.expire(NOW + Duration::from_secs(90)).len(), 2);
    assert_eq!(bans.take_changed(), ["192.0.2.7/32", "192.0.2.9/32"].map(network).into());
    assert_eq!(bans.add(ban("192.0.2.8/32", 120, rule), &never_ban), Ok(false));
    assert!(bans.take_changed().is_empty(), "nothing has changed");
    assert_eq!(bans.expire(NOW + Duration::from_secs(120)).len(), 1);
    assert!(bans.is_empty());
}

#[test]
fn the_gate_is_told_of_what_it_refuses_for_and_of_nothing_else() {
    let (mut bans, never_ban) = (Bans::new(8), AddressSet::default());
    let mut changed = |change: &dyn Fn(&mut Bans)| {
        change(&mut bans);
        bans.take_gate_changed()
    };
    let add = |text: &'static str, cause: BanCause| {
        let never_ban = &never_ban;
        move |bans: &mut Bans| drop(bans.add(ban(text, 60, cause), never_ban))
    };
    assert!(changed(&add("192.0.2.7/32", BanCause::Limit)));
    assert!(!changed(&add("192.0.2.7/32", BanCause::Limit)), "it was there");
    assert!(!changed(&add("192.0.2.8/32", BanCause::Rule(RuleId(1)))));
    assert!(!changed(&|bans| {
        bans.retain(|ban| ban.cause == BanCause::Limit);
    }));
    assert!(changed(&|bans| drop(bans.remove(network("192.0.2.7/32")))));
    assert!(changed(&add("192.0.2.9/32", BanCause::Operator)));
    assert!(changed(&|bans| {
        bans.shorten(network("192.0.2.9/32"), NOW + Duration::from_secs(9));
    }));
    assert!(
        !changed(&|bans| {
            bans.expire(NOW + Duration::from_secs(60));
        }),
        "it sees the end by itself"
    );
}

/// Enough to know who is served, none of whom is banned.
fn served() -> Innocent {
    let mut innocent = Innocent::new();
    innocent.serve(ClientAddress::new("203.0.113.7".parse().expect("an address")), 1_000.0);
    innocent
}

#[test]
fn what_an_operator_or_a_list_says_of_a_network_is_never_replaced_by_what_was_merged() {
    for cause in [BanCause::Operator, BanCause::Import] {
        let (mut bans, never_ban) = (Bans::new(16), AddressSet::default());
        // Merging the first two makes exactly these networks.
        for text in ["192.0.2.0/31", "192.0.2.0/30", "192.0.2.0/29"] {
            bans.add(ban(text, 7_200, cause), &never_ban).expect("room");
        }
        for host in 0..8 {
            bans.add(ban(&format!("192.0.2.{host}/32"), 60, BanCause::Limit), &never_ban).expect("room");
        }
        bans.make_room(&served(), 1.0, &never_ban, NOW);
        for text in ["192.0.2.0/31", "192.0.2.0/30", "192.0.2.0/29"] {
            let held = bans.get(network(text)).expect("it stays");
            assert_eq!((held.cause, held.expires), (cause, NOW + Duration::from_secs(7_200)), "{text}");
        }
        for host in 0..8 {
            let client = network(&format!("192.0.2.{host}/32"));
            let is_held = bans.iter().any(|ban| ban.cause != cause && ban.network.contains(&client));
            assert!(is_held, "{client} is banned for itself as well");
        }
    }
}

#[test]
fn a_full_table_has_room_for_the_operator() {
    let (mut bans, never_ban) = (Bans::new(128), AddressSet::default());
    let client = |number: u64| format!("10.0.0.{number}/32");
    for number in 0..126 {
        let cause = if number % 2 == 0 { BanCause::Import } else { BanCause::Limit };
        bans.add(ban(&client(number), 1_000 - number, cause), &never_ban).expect("room");
    }
    for cause in [BanCause::Import, BanCause::Limit, BanCause::Rule(RuleId(1))] {
        assert_eq!(bans.add(ban("192.0.2.1/32", 60, cause), &never_ban), Err(BanError::Full { entries_max: 126 }));
    }
    for text in ["192.0.2.1/32", "192.0.2.2/32"] {
        assert_eq!(bans.add(ban(text, 60, BanCause::Operator), &never_ban), Ok(true));
    }
    // Imports that end first give way, and nobody who need not.
    let gone: Vec<IpNet> = bans.make_way(2).iter().map(|ban| ban.network).collect();
    assert_eq!(gone, [network(&client(124)), network(&client(122))]);
    assert!(bans.make_way(2).is_empty());
    assert_eq!(bans.make_way(64 + 2).len(), 64);
    assert!(bans.iter().all(|ban| ban.cause != BanCause::Import || ban.expires > NOW + Duration::from_secs(1_000)));
    // Then what the guard made; what the operator said never does.
    bans.make_way(1_000);
    assert!(bans.iter().all(|ban| ban.cause == BanCause::Operator) && bans.len() == 2);
}

#[test]
fn when_it_fills_clients_are_merged_and_the_operators_bans_stay() {
    let (mut bans, never_ban) = (Bans::new(64), AddressSet::default());
    bans.add(ban("198.51.100.1/32", 60, BanCause::Operator), &never_ban).expect("room");
    for host in 0..62 {
        bans.add(ban(&format!("192.0.2.{host}/32"), 60 + host, BanCause::Rule(RuleId(1))), &never_ban).expect("room");
    }
    assert!(bans.is_tight());
    assert!(bans.make_room(&Innocent::new(), 1.0, &never_ban, NOW).networks.is_empty(), "nobody knows who is served");
    assert_eq!(bans.len(), 63);
    let merged = bans.make_room(&served(), 0.0, &never_ban, NOW);
    assert!(!merged.networks.is_empty());
    assert!(bans.len() <= 32, "{}", bans.len());
    assert!(bans.get(network("198.51.100.1/32")).is_some());
    for host in 0..62 {
        let client = network(&format!("192.0.2.{host}/32"));
        let ban = bans.iter().find(|ban| ban.network.contains(&client)).expect("still banned");
        assert!(ban.expires >= NOW + Duration::from_secs(60 + host));
    }
}

#[test]
fn what_different_rules_and_limits_made_is_not_merged_and_nothing_lasts_longer_for_it() {
    let (mut bans, never_ban) = (Bans::new(64), AddressSet::default());
    let limit =
        |name: &str, text: &str, seconds: u64| Ban { reason: Some(name.into()), ..ban(text, seconds, BanCause::Limit) };
    for host in 0..15 {
        let client = |of: u32| format!("192.0.2.{}/32", 4 * host + of);
        for made in [
            ban(&client(0), 240, BanCause::Rule(RuleId(1))),
            ban(&client(1), 240, BanCause::Rule(RuleId(2))),
            limit("pages: 10 in 10s", &client(2), 600),
            limit("logins: 5 in 1m", &client(3), 86_400),
        ] {
            bans.add(made, &never_ban).expect("room");
        }
    }
    let merged = bans.make_room(&served(), 0.0, &never_ban, NOW);
    assert!(merged.networks.len() >= 4, "{merged:?}");
    for ban in bans.iter().filter(|ban| matches!(ban.cause, BanCause::Merged(_))) {
        let lasting = match (ban.cause.rule(), ban.reason.as_deref()) {
            (Some(RuleId(1 | 2)), None) => 240,
            (None, Some("pages: 10 in 10s")) => 600,
            (None, Some("logins: 5 in 1m")) => 86_400,
            other => panic!("{other:?}"),
        };
        assert_eq!(ban.expires, NOW + Duration::from_secs(lasting), "{ban:?}");
    }
    // Merged once more, each goes on as what it is.
    bans.make_room(&served(), 0.0, &never_ban, NOW);
    bans.retain(|ban| ban.cause.rule() != Some(RuleId(1)));
    let is_banned = |host: u32| {
        let client = network(&format!("192.0.2.{host}/32"));
        bans.iter().any(|ban| ban.cause.rule() == Some(RuleId(2)) && ban.network.contains(&client))
    };
    assert!((0..15).all(|host| is_banned(4 * host + 1)));
}

#[test]
fn a_merged_ban_is_read_as_it_was_written_before_it_knew_its_rule() {
    let read = |text: &str| serde_json::from_str::<BanCause>(text).expect("a cause");
    assert_eq!(read(r#"{"kind":"merged"}"#), BanCause::Merged(None));
    for cause in [BanCause::Merged(None), BanCause::Merged(Some(RuleId(3)))] {
        assert_eq!(read(&serde_json::to_string(&cause).expect("text")), cause);
    }
}
