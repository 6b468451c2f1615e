//! nftables: a table of its own, beside the guard's, in one transaction.

use std::fmt::Write as _;

use ipnet::IpNet;

use super::networks::{Ban, disjoint, short};
use super::{Content, Kind, System};

pub(super) const SYSTEM: System = System {
    name: "nftables",
    about: "the table `inet seawall_export`, for `nft -f`",
    title: "nftables",
    file: "/etc/nftables.d/seawall.nft",
    usage: &[
        "nft -f /etc/nftables.d/seawall.nft",
        "It replaces its own table and touches no other, so no table of a guard on this machine either.",
        "To take it out: nft delete table inet seawall_export",
    ],
    test: "nft -f /etc/nftables.d/seawall.nft",
    reload: "",
    bans_max: None,
    kind: Kind::Packets { expires: true, body },
};

/// The table. A guard's is `seawall`: it would take one of that name for its own, and repair it.
const TABLE: &str = "inet seawall_export";

fn body(content: &Content) -> String {
    let mut text = content.comment();
    // Deleting what is not there would be an error.
    let _ = write!(text, "\ntable {TABLE}\ndelete table {TABLE}\n\ntable {TABLE} {{\n");
    let bans = disjoint(&content.bans);
    for (family, kind) in [(4, "ipv4_addr"), (6, "ipv6_addr")] {
        let is_of = |network: IpNet| network.addr().is_ipv4() == (family == 4);
        let never = content.never_ban.iter().filter(|never| is_of(**never)).map(|never| short(*never));
        set(&mut text, &format!("never{family}"), kind, "interval", &never.collect::<Vec<_>>());
        let bans = bans.iter().filter(|ban| is_of(ban.network)).map(|ban| element(content, ban));
        set(&mut text, &format!("banned{family}"), kind, "interval, timeout", &bans.collect::<Vec<_>>());
    }
    let ports = content.port_list(", ");
    // Before connection tracking and before the ports of containers are translated.
    let _ = write!(
        text,
        "    chain refuse {{\n        type filter hook prerouting priority raw; policy accept;\n        \
         ip saddr @never4 accept\n        ip6 saddr @never6 accept\n        \
         # Of a packet in pieces only the first has ports.\n        \
         ip frag-off & 0x1fff != 0 accept\n        frag frag-off != 0 accept\n        \
         meta l4proto {{ tcp, udp }} th dport {{ {ports} }} ip saddr @banned4 counter drop\n        \
         meta l4proto {{ tcp, udp }} th dport {{ {ports} }} ip6 saddr @banned6 counter drop\n    }}\n}}\n"
    );
    text
}

fn element(content: &Content, ban: &Ban) -> String {
    match content.seconds(ban) {
        Some(seconds) => format!("{} timeout {seconds}s", short(ban.network)),
        None => short(ban.network),
    }
}

fn set(text: &mut String, name: &str, kind: &str, flags: &str, elements: &[String]) {
    // Writing to a string cannot fail; here and above.
    let _ = write!(text, "    set {name} {{\n        type {kind}\n        flags {flags}\n");
    if !elements.is_empty() {
        let _ = writeln!(text, "        elements = {{\n            {}\n        }}", elements.join(",\n            "));
    }
    text.push_str("    }\n");
}
