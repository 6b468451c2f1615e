//! pf of OpenBSD and FreeBSD: a table in which the smallest network that holds an address decides, and one rule, for an anchor.

use std::fmt::Write as _;

use super::networks::short;
use super::{Content, Kind, System};

pub(super) const SYSTEM: System = System {
    name: "pf",
    about: "a table and a rule, for an anchor of pf",
    title: "pf",
    file: "/etc/pf.seawall.conf",
    usage: &[
        "in /etc/pf.conf, before the rules that let web traffic in:",
        "  anchor seawall",
        "  load anchor seawall from \"/etc/pf.seawall.conf\"",
        "Addresses with an exclamation mark are exceptions within networks.",
    ],
    test: "pfctl -q -a seawall -f /etc/pf.seawall.conf",
    reload: "",
    bans_max: None,
    kind: Kind::Packets { expires: false, body },
};

fn body(content: &Content) -> String {
    let mut text = content.comment();
    // An empty table is written without braces. Writing to a string cannot fail; here and below.
    if content.bans.is_empty() {
        text += "\ntable <seawall> persist\n";
    } else {
        text += "\ntable <seawall> persist {\n";
        for ban in &content.bans {
            let _ = writeln!(text, "    {}", short(ban.network));
        }
        for never in content.exceptions() {
            let _ = writeln!(text, "    !{}", short(never));
        }
        text += "}\n";
    }
    let ports = content.port_list(", ");
    let _ = writeln!(text, "block drop in quick proto {{ tcp, udp }} from <seawall> to any port {{ {ports} }}");
    text
}
