//! The operator's rules, as they are said and as they stand in the configuration.

use std::time::Duration;

use super::*;

const NOW: Timestamp = Timestamp::from_seconds(1_700_000_000);

fn rule(text: &str, seconds: u64) -> OwnRule {
    let (action, expires) = (Action::Refuse { status: 403 }, NOW + Duration::from_secs(seconds));
    OwnRule { id: RuleId(0), text: text.to_owned(), action, reason: None, since: NOW, expires, predicted: None }
}

#[test]
fn a_conjunction_is_put_in_force_until_it_ends() {
    let mut rules = OwnRules::default();
    let added = rules.add(rule("method = POST and path = \"/login\" and referer = none", 60), &AddressSet::default());
    // A referer is looked up by its origin.
    assert!(matches!(added, Err(OwnRuleError::Expression(_))), "{added:?}");
    let id = rules.add(rule("method = POST and path = \"/login\"", 60), &AddressSet::default()).expect("a rule");
    assert_eq!(id, RuleId(FIRST));
    assert_eq!(rules.for_gate()[0].conditions.len(), 2);
    assert_eq!(rules.expire(NOW + Duration::from_secs(59)), []);
    assert_eq!(rules.expire(NOW + Duration::from_secs(60)).len(), 1);
    assert!(rules.for_gate().is_empty());
}

#[test]
fn a_rule_of_before_keeps_its_number() {
    let (mut rules, never_ban) = (OwnRules::default(), AddressSet::default());
    let before = OwnRule { id: RuleId(FIRST + 4), ..rule("path = \"/x\"", 60) };
    assert_eq!(rules.take_up(before.clone(), &never_ban), Ok(RuleId(FIRST + 4)));
    assert_eq!(rules.add(rule("path = \"/y\"", 60), &never_ban), Ok(RuleId(FIRST + 5)));
    assert_eq!(rules.take_up(before, &never_ban), Ok(RuleId(FIRST + 6)), "another has it");
    let first = OwnRule { id: RuleId(FIRST), ..rule("path = \"/z\"", 60) };
    assert_eq!(rules.take_up(first, &never_ban), Ok(RuleId(FIRST)));
}

#[test]
fn a_rule_of_before_that_names_somebody_who_is_never_banned_now_is_kept() {
    let (mut rules, never) = (OwnRules::default(), never_ban("192.0.2.7/32"));
    let before = OwnRule { id: RuleId(FIRST + 4), ..rule("client-prefix = 192.0.2.0/24", 60) };
    assert_eq!(rules.take_up(before.clone(), &never), Ok(before.id));
    assert!(rules.for_gate().is_empty());
    assert_eq!(rules.said().iter().collect::<Vec<_>>(), [&before]);
    let status = &rules.status()[0];
    assert_eq!((status.stage, status.enforced), (Stage::Proposed, None));
    assert!(status.reason.ends_with("it is not in force: it names a client that is on the never-ban list"));
    assert_eq!(rules.retry(&AddressSet::default()).resumed, [before.id]);
    assert_eq!(rules.for_gate().len(), 1);
    // It ends with its time, in force or not.
    rules.retry(&never);
    assert_eq!(rules.expire(NOW + Duration::from_secs(60)), [before]);
}

#[test]
fn of_rules_of_before_no_more_are_in_force_than_there_may_be_and_none_is_lost() {
    let (mut rules, nobody) = (OwnRules::default(), AddressSet::default());
    for nth in 0..=OWN_RULES_MAX as u32 {
        let before = OwnRule { id: RuleId(FIRST + nth), ..rule(&format!("path = \"/{nth}\""), 60) };
        rules.take_up(before, &nobody).expect("a number");
    }
    assert_eq!((rules.for_gate().len(), rules.said().len()), (OWN_RULES_MAX, OWN_RULES_MAX + 1));
    assert_eq!(rules.retry(&nobody), Retried::default());
    rules.remove(RuleId(FIRST));
    assert_eq!(rules.retry(&nobody).resumed, [RuleId(FIRST + OWN_RULES_MAX as u32)]);
}

fn named(name: &str, text: &str) -> OwnRule {
    OwnRule { reason: Some(name.to_owned()), ..rule(text, 0) }
}

/// The numbers of what is shown, with what each has matched.
fn shown(rules: &OwnRules) -> Vec<(u32, u64)> {
    rules.status().iter().map(|status| (status.id.0, status.matched)).collect()
}

fn never_ban(network: &str) -> AddressSet {
    AddressSet::new([network.parse().expect("a network")])
}

#[test]
fn rules_of_the_configuration_last_as_long_as_they_stand_there() {
    let (mut rules, nobody, enforce) = (OwnRules::default(), AddressSet::default(), Enforce::OnExcess);
    let (first, second) = (named("a", "path = \"/a\""), named("b", "path = \"/b\""));
    assert_eq!(rules.configure(vec![first.clone(), second.clone()], &nobody, enforce), []);
    let said = rules.add(rule("path = \"/x\"", 60), &nobody).expect("room");
    assert_eq!(said, RuleId(FIRST));
    // They neither end by themselves nor are they kept or taken back as what was said is.
    assert_eq!(rules.expire(NOW + Duration::from_secs(59)), []);
    assert_eq!(rules.remove(RuleId(CONFIGURED_FIRST)), None);
    assert_eq!(rules.said().iter().map(|rule| rule.id).collect::<Vec<_>>(), [said]);
    assert_eq!(rules.status()[0].expires, None);
    for number in [CONFIGURED_FIRST, CONFIGURED_FIRST + 1] {
        rules.count(&RuleTraffic { matched: 7, ..RuleTraffic::none(RuleId(number)) });
    }
    // What has changed keeps its number and counts anew, what has not goes on.
    let changed = named("a", "path = \"/c\"");
    let gone = rules.configure(vec![changed, second.clone()], &nobody, enforce);
    assert_eq!(gone, [RuleId(CONFIGURED_FIRST)]);
    assert_eq!(shown(&rules), [(CONFIGURED_FIRST, 0), (CONFIGURED_FIRST + 1, 7), (FIRST, 0)]);
    // What comes back has what it had.
    assert_eq!(rules.configure(vec![first, second.clone()], &nobody, enforce), [RuleId(CONFIGURED_FIRST)]);
    assert_eq!(shown(&rules), [(CONFIGURED_FIRST, 7), (CONFIGURED_FIRST + 1, 7), (FIRST, 0)]);
    assert_eq!(rules.configure(vec![], &nobody, enforce).len(), 2);
    rules.configure(vec![named("n", "path = \"/n\""), second], &nobody, enforce);
    assert_eq!(shown(&rules), [(CONFIGURED_FIRST + 2, 0), (CONFIGURED_FIRST + 1, 7), (FIRST, 0)]);
}

#[test]
fn a_rule_of_the_configuration_that_names_somebody_protected_comes_in_force_once_it_does_not() {
    let (mut rules, enforce) = (OwnRules::default(), Enforce::OnExcess);
    let (protected, free) = (named("p", "client-prefix = 192.0.2.0/24"), named("f", "path = \"/f\""));
    let never = never_ban("192.0.2.7/32");
    assert_eq!(rules.configure(vec![protected.clone(), free.clone()], &never, enforce), []);
    let not_in_force = rules.not_in_force().map(|(rule, error)| (rule.reason.as_deref(), error));
    assert_eq!(not_in_force.collect::<Vec<_>>(), [(Some("p"), &OwnRuleError::Protected)]);
    assert_eq!(rules.for_gate().iter().map(|rule| rule.id.0).collect::<Vec<_>>(), [CONFIGURED_FIRST + 1]);
    let status = &rules.status()[0];
    assert_eq!((status.stage, status.enforced), (Stage::Proposed, None));
    assert!(status.reason.ends_with("p; it is not in force: it names a client that is on the never-ban list"));
    assert_eq!(rules.retry(&never), Retried::default());
    let id = RuleId(CONFIGURED_FIRST);
    assert_eq!(rules.retry(&AddressSet::default()), Retried { resumed: vec![id], ..Retried::default() });
    assert_eq!((rules.for_gate().len(), rules.not_in_force().count()), (2, 0));
    // One that is in force is looked at again when the list grows.
    assert_eq!(rules.retry(&never), Retried { suspended: vec![id], ..Retried::default() });
    assert_eq!(rules.for_gate().iter().map(|rule| rule.id.0).collect::<Vec<_>>(), [CONFIGURED_FIRST + 1]);
    rules.retry(&AddressSet::default());
    // So it does with the next configuration.
    rules.configure(vec![free.clone()], &never, enforce);
    rules.configure(vec![protected.clone(), free.clone()], &never, enforce);
    assert_eq!(rules.not_in_force().count(), 1);
    rules.configure(vec![protected, free], &AddressSet::default(), enforce);
    assert_eq!(rules.not_in_force().count(), 0);
}

#[test]
fn where_nothing_is_enforced_rules_of_the_configuration_are_counted() {
    let (mut rules, nobody) = (OwnRules::default(), AddressSet::default());
    let configured = vec![named("a", "path = \"/a\"")];
    rules.configure(configured.clone(), &nobody, Enforce::Never);
    let shown = |rules: &OwnRules| (rules.for_gate()[0].stage, rules.status()[0].stage);
    assert_eq!(shown(&rules), (Stage::Shadow, Stage::Proposed));
    assert_eq!(rules.configure(configured.clone(), &nobody, Enforce::UnderStress), []);
    assert_eq!(shown(&rules), (Stage::Enforced, Stage::Enforced));
    // Whom it has had dropped is free.
    assert_eq!(rules.configure(configured, &nobody, Enforce::Never), [RuleId(CONFIGURED_FIRST)]);
}

#[test]
fn what_is_said_and_what_is_configured_have_places_of_their_own() {
    let (mut rules, nobody) = (OwnRules::default(), AddressSet::default());
    for nth in 0..OWN_RULES_MAX {
        rules.add(rule(&format!("path = \"/{nth}\""), 60), &nobody).expect("room");
    }
    let configured = (0..CONFIGURED_RULES_MAX).map(|nth| named(&format!("c{nth}"), "path = \"/c\"")).collect();
    rules.configure(configured, &nobody, Enforce::OnExcess);
    assert_eq!((rules.for_gate().len(), rules.not_in_force().count()), (OWN_RULES_MAX + CONFIGURED_RULES_MAX, 0));
}

#[test]
fn a_name_has_its_number_for_good() {
    let (mut rules, nobody) = (OwnRules::default(), AddressSet::default());
    let numbers = |rules: &OwnRules| rules.status().iter().map(|status| status.id.0).collect::<Vec<_>>();
    let configured = |names: &[&str]| names.iter().map(|name| named(name, "path = \"/a\"")).collect::<Vec<_>>();
    rules.configure(configured(&["a", "b"]), &nobody, Enforce::OnExcess);
    let kept: RuleNames = serde_json::from_str(&serde_json::to_string(rules.names()).expect("JSON")).expect("names");
    let mut begun = OwnRules::default();
    begun.take_up_names(kept.clone());
    begun.configure(configured(&["c", "b"]), &nobody, Enforce::OnExcess);
    assert_eq!(numbers(&begun), [CONFIGURED_FIRST + 2, CONFIGURED_FIRST + 1]);
    // Where they are known only later, they are set right then.
    let mut late = OwnRules::default();
    late.configure(configured(&["c", "b"]), &nobody, Enforce::OnExcess);
    assert_eq!(numbers(&late), [CONFIGURED_FIRST, CONFIGURED_FIRST + 1]);
    late.take_up_names(kept);
    assert_eq!(numbers(&late), numbers(&begun));
    // The oldest that is not in use goes first, and its number is given to nobody else.
    for nth in 0..100 {
        begun.configure(configured(&["b", &format!("x{nth}")]), &nobody, Enforce::OnExcess);
    }
    assert_eq!(
        (begun.names().iter().count(), numbers(&begun)),
        (64, vec![CONFIGURED_FIRST + 1, CONFIGURED_FIRST + 102])
    );
    // One that stays is in use also where it stands behind those that come.
    for nth in 0..100 {
        begun.configure(configured(&[&format!("y{nth}"), "b"]), &nobody, Enforce::OnExcess);
    }
    assert!(begun.names().iter().any(|named| (named.name.as_str(), named.id.0) == ("b", CONFIGURED_FIRST + 1)));
    begun.configure(configured(&["a"]), &nobody, Enforce::OnExcess);
    assert_eq!(numbers(&begun), [CONFIGURED_FIRST + 203]);
}

#[test]
fn what_cannot_be_put_in_force_is_refused() {
    let mut rules = OwnRules::default();
    let never_ban = AddressSet::new(["192.0.2.7/32".parse().expect("a network")]);
    let mut add = |text: &str| rules.add(rule(text, 60), &never_ban);
    for (text, expected) in [
        ("method = GET or method = POST", None),
        ("path != \"/\"", Some(1)),
        ("host = \"a.example\" and path contains \"x\"", Some(24)),
        ("host = \"a.example\" and not (method = GET or method = POST)", None),
    ] {
        match add(text) {
            Err(OwnRuleError::Shape { part, column }) => {
                assert!(expected.is_none() || column == expected, "{text}: {part} at {column:?}");
            }
            other => panic!("{text}: {other:?}"),
        }
    }
    assert!(add("path = / and query-keys != none").is_ok(), "any value can be looked up too");
    let many = ["method = GET"; CONDITIONS_MAX + 1].join(" and ");
    assert_eq!(add(&many), Err(OwnRuleError::TooManyConditions { found: CONDITIONS_MAX + 1 }));
    let wrong = add("method = GET and pth = \"/x\"").expect_err("no such attribute");
    assert!(wrong.to_string().starts_with("column 18: there is no attribute `pth`"), "{wrong}");
    assert!(matches!(add("nonsense"), Err(OwnRuleError::Expression(_))));
    assert_eq!(add("client-prefix = 192.0.2.0/24"), Err(OwnRuleError::Protected));
    for _ in 1..OWN_RULES_MAX {
        add("method = POST").expect("room");
    }
    assert_eq!(add("method = POST"), Err(OwnRuleError::Full));
}

#[test]
fn a_rule_that_is_said_never_has_a_number_of_the_configurations() {
    let (mut rules, never_ban) = (OwnRules::default(), AddressSet::default());
    let last = OwnRule { id: RuleId(CONFIGURED_FIRST - 1), ..rule("path = \"/x\"", 60) };
    assert_eq!(rules.take_up(last, &never_ban), Ok(RuleId(CONFIGURED_FIRST - 1)));
    assert_eq!(rules.add(rule("path = \"/y\"", 60), &never_ban), Ok(RuleId(FIRST)));
    assert_eq!(rules.add(rule("path = \"/z\"", 60), &never_ban), Ok(RuleId(FIRST + 1)));
}

#[test]
fn a_rule_that_is_said_again_is_known_and_lasts_for_longer() {
    let (mut rules, nobody) = (OwnRules::default(), AddressSet::default());
    let text = "method = POST and path = \"/login\"";
    let id = rules.add(OwnRule { reason: Some("guessing".to_owned()), ..rule(text, 60) }, &nobody).expect("a rule");
    let same =
        |rules: &OwnRules, text: &str, action| rules.same(&OwnRules::read(text, &nobody).expect("a rule"), action);
    let refuse = Action::Refuse { status: 403 };
    assert_eq!(same(&rules, "path = \"/login\" and method = POST", refuse), Some(id));
    assert_eq!(same(&rules, text, Action::Drop), None);
    assert_eq!(same(&rules, "path = \"/login\"", refuse), None);
    let after = |seconds: u64| NOW + Duration::from_secs(seconds);
    for (expires, reason, expected) in [
        (after(30), None, (after(60), "guessing")),
        (after(90), Some("still\n"), (after(90), "still")),
        (after(1 << 40), None, (NOW + BAN_DURATION_MAX, "still")),
    ] {
        rules.renew(id, expires, reason);
        let said = &rules.said()[0];
        assert_eq!((said.expires, said.reason.as_deref()), (expected.0, Some(expected.1)));
    }
    // One that is not in force is said anew.
    rules.add(rule("client-prefix = 192.0.2.0/24", 60), &nobody).expect("a rule");
    rules.retry(&never_ban("192.0.2.7/32"));
    assert_eq!(same(&rules, "client-prefix = 192.0.2.0/24", refuse), None);
}
