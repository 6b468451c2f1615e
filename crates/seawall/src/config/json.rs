//! A configuration as JSON, for `seawall check --json`, and what differs between two, for the journal. What may be secret is in neither.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use seawall_engine::gate::Limit;
use seawall_engine::units::counted;
use serde_json::{Value, json};

use super::{ClientAddressSource, Config, ConfiguredRule, EdgeUse, HostPattern, KernelUse, Notify, Origin};

/// How many differences are told; a file that was written anew may differ in all.
const CHANGES_MAX: usize = 24;

/// How long a value is told, in characters.
const VALUE_CHARACTERS_MAX: usize = 160;

impl Config {
    /// All settings.
    pub(crate) fn to_json(&self) -> Value {
        let Self {
            listen,
            admin,
            state_directory,
            workers,
            sites,
            trust,
            limits,
            client_limits,
            client_limit_cases,
            rules,
            rule_cases,
            networks,
            policy,
            privacy,
            kernel,
            edge,
            record,
            notify,
            watch,
            watch_format,
        } = self;
        let edge = edge.as_ref().map(|edge| {
            json!({
                "provider": edge.place.provider(),
                "use": match edge.usage { EdgeUse::Propose => "propose", EdgeUse::On => "on" },
                "name": edge.name,
                "api": edge.api,
                "interval_seconds": edge.interval.as_secs_f64(),
                "verify_interval_seconds": edge.verify_interval.as_secs_f64(),
                "rules_max": edge.rules_max,
                "entries_max": edge.entries_max,
                "keep": edge.keep,
            })
        });
        let notify: Vec<Value> = notify
            .iter()
            .map(|notify| {
                let Notify { name, way, on, interval_min } = notify;
                json!({ "name": name, "to": way.to_string(), "on": on, "interval_seconds_min": interval_min.as_secs_f64() })
            })
            .collect();
        let sites: Vec<Value> = sites
            .iter()
            .map(|site| {
                let origin = match &site.origin {
                    Origin::Upstream(upstream) => json!({ "kind": "upstream", "upstream": upstream.to_string() }),
                    Origin::Clock => json!({ "kind": "clock" }),
                    Origin::Files { root } => json!({ "kind": "files", "root": root }),
                };
                let hosts: Vec<String> = site.hosts.iter().map(HostPattern::to_string).collect();
                json!({ "name": site.name, "hosts": hosts, "origin": origin })
            })
            .collect();
        let never_ban: Vec<_> = self.never_ban_set().networks().collect();
        json!({
            "listen": listen,
            "admin": admin,
            "state_directory": state_directory,
            "workers": workers,
            "sites": sites,
            "trust": {
                "proxies": trust.proxies,
                "client_address": match trust.client_address {
                    ClientAddressSource::XForwardedFor => "x-forwarded-for",
                    ClientAddressSource::Forwarded => "forwarded",
                    ClientAddressSource::CfConnectingIp => "cf-connecting-ip",
                    ClientAddressSource::FastlyClientIp => "fastly-client-ip",
                    ClientAddressSource::ProxyProtocol => "proxy-protocol",
                },
            },
            "limits": {
                "head_bytes_max": limits.head_bytes_max,
                "head_seconds_max": limits.head_time_max.as_secs_f64(),
                "idle_seconds_max": limits.idle_time_max.as_secs_f64(),
                "body_idle_seconds_max": limits.body_idle_time_max.as_secs_f64(),
                "connections_max": limits.connections_max,
                "connections_per_client_max": limits.connections_per_client_max,
                "client_requests_per_minute_max": limits.client_requests_per_minute_max,
                "upstream_connect_seconds_max": limits.upstream_connect_time_max.as_secs_f64(),
                "upstream_answer_seconds_max": limits.upstream_answer_time_max.as_secs_f64(),
                "upstream_idle_seconds_max": limits.upstream_idle_time_max.as_secs_f64(),
                "upstream_connections_max": limits.upstream_connections_max,
                "drain_seconds_max": limits.drain_time_max.as_secs_f64(),
            },
            "client_limits": client_limits.iter().map(limit_json).collect::<Vec<_>>(),
            "client_limit_cases": client_limit_cases,
            "rules": rules.iter().map(rule_json).collect::<Vec<_>>(),
            "rule_cases": rule_cases,
            "networks": { "country": networks.country, "asn": networks.asn },
            "policy": { "enforce": policy.enforce, "never_ban": never_ban },
            "privacy": { "key_retention_days": privacy.key_retention_days },
            "kernel": {
                "use": match kernel.usage { KernelUse::Auto => "auto", KernelUse::Never => "never" },
                "table": kernel.table,
                "ports": kernel.ports,
                "keep": kernel.keep,
                "entries_max": kernel.entries_max,
            },
            "edge": edge,
            "record": { "retention_days": record.days, "size_max": record.size_max },
            "notify": notify,
            "watch": watch.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "watch_format": watch_format.as_ref().map(|format| &format.text),
        })
    }

    /// What is different in this one from one of before, each setting with both values, for people. Of lists of networks only how many
    /// have come and gone: the journal, where this is kept, holds no addresses.
    pub(crate) fn changes_since(&self, before: &Self) -> String {
        let (old, new) = (before.to_json(), self.to_json());
        let (old, new) = (flat(&old), flat(&new));
        let names = old.keys().chain(new.keys().filter(|name| !old.contains_key(*name)));
        let mut changes: Vec<String> = names
            .filter_map(|name| match (old.get(name), new.get(name)) {
                (Some(old), Some(new)) if old == new => None,
                (Some(old), Some(new)) => Some(match networks_changed(old, new) {
                    Some(changed) => format!("{name}: {changed}"),
                    None => format!("{name}: {} -> {}", shown(old), shown(new)),
                }),
                // A list of which each item is told by itself.
                (Some(list), None) | (None, Some(list)) if list.as_array().is_some_and(Vec::is_empty) => None,
                (Some(old), None) => Some(format!("{name} gone, was {}", shown(old))),
                (None, Some(new)) => Some(format!("{name} new: {}", shown(new))),
                (None, None) => None,
            })
            .collect();
        if changes.is_empty() {
            let text = if self == before { "nothing has changed" } else { "a value that may be secret has changed" };
            changes.push(text.to_owned());
        }
        if let Some(more @ 1..) = changes.len().checked_sub(CHANGES_MAX) {
            changes.truncate(CHANGES_MAX);
            changes.push(format!("{more} more"));
        }
        changes.join("; ")
    }
}

/// Every setting by its name, with the sections and names that it is in before it.
fn flat(settings: &Value) -> BTreeMap<String, &Value> {
    let mut all = BTreeMap::new();
    flatten("", settings, &mut all);
    all
}

fn flatten<'a>(name: &str, value: &'a Value, all: &mut BTreeMap<String, &'a Value>) {
    let below = |key: &str| if name.is_empty() { key.to_owned() } else { format!("{name}.{key}") };
    match value {
        Value::Object(settings) => settings.iter().for_each(|(key, value)| flatten(&below(key), value, all)),
        // Sites, rules and the like are told apart by their names, wherever they stand.
        Value::Array(items) if items.iter().any(|item| item["name"].is_string()) => {
            for item in items {
                let name = below(item["name"].as_str().unwrap_or_default());
                let settings = item.as_object().into_iter().flatten().filter(|(key, _)| *key != "name");
                settings.for_each(|(key, value)| flatten(&format!("{name}.{key}"), value, all));
            }
        }
        _ => {
            all.insert(name.to_owned(), value);
        }
    }
}

/// The networks of a list, if it is one of nothing else.
fn networks(value: &Value) -> Option<BTreeSet<IpNet>> {
    let network = |item: &Value| {
        let text = item.as_str()?;
        text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
    };
    value.as_array()?.iter().map(network).collect()
}

/// How many networks a list has more and less, where both are lists of such.
fn networks_changed(old: &Value, new: &Value) -> Option<String> {
    let (old, new) = (networks(old)?, networks(new)?);
    let come = counted(new.difference(&old).count() as u64, "network");
    Some(format!("{come} new, {} gone", old.difference(&new).count()))
}

fn shown(value: &Value) -> String {
    if let Some(networks) = networks(value).filter(|networks| !networks.is_empty()) {
        return counted(networks.len() as u64, "network");
    }
    let text = value.to_string();
    match text.char_indices().nth(VALUE_CHARACTERS_MAX) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

fn limit_json(limit: &Limit) -> Value {
    json!({
        "name": &*limit.name,
        "rule": limit.rule_text(),
        "requests": limit.requests,
        "period_seconds": limit.period.as_secs_f64(),
        "key": limit.key,
        "action": limit.action,
        "for_seconds": limit.length.map(|length| length.as_secs_f64()),
        "spare": limit.spares,
    })
}

fn rule_json(rule: &ConfiguredRule) -> Value {
    json!({ "name": rule.name, "rule": rule.text, "action": rule.action })
}

#[cfg(test)]
mod tests {
    use super::super::parse;

    #[test]
    fn what_has_changed_is_told_with_both_values() {
        let site = |text: &str| {
            let text = format!("{text}\n[[site]]\nhosts = [\"example.org\"]\nupstream = \"http://127.0.0.1:9\"\n");
            parse(&text, "test.toml").expect("a configuration")
        };
        let before = site("[policy]\nenforce = \"never\"");
        assert_eq!(before.changes_since(&before), "nothing has changed");
        let after = site(
            "[policy]\nnever-ban = [\"192.0.2.0/24\"]\n[limits]\nconnections-max = 77\n\
             [[rule]]\nname = \"probes\"\nrule = 'path = \"/x\"'\n[[rule.test]]\npath = \"/x\"\nmatches = true",
        );
        insta::assert_snapshot!(after.changes_since(&before).replace("; ", "\n"));
        insta::assert_snapshot!(before.changes_since(&after).replace("; ", "\n"));
    }
}
