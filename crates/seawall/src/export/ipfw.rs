//! ipfw of FreeBSD: a table in which the smallest network that holds an address decides, and two rules.

use std::fmt::Write as _;

use super::{Content, Kind, System};

pub(super) const SYSTEM: System = System {
    name: "ipfw",
    about: "the table `seawall` and the rules 400, for FreeBSD's `ipfw`",
    title: "ipfw",
    file: "/usr/local/etc/seawall.ipfw",
    usage: &[
        "ipfw -q /usr/local/etc/seawall.ipfw",
        "The rules 400 have to come before those of yours that let web traffic in; it needs FreeBSD 12 or later.",
        "Networks with the value 1 are refused, those with 0 are exceptions within them.",
    ],
    test: "",
    reload: "ipfw -q /usr/local/etc/seawall.ipfw",
    bans_max: None,
    kind: Kind::Packets { expires: false, body },
};

fn body(content: &Content) -> String {
    let mut text = content.comment();
    text += "\ntable seawall create type addr missing or-flush\n";
    // Writing to a string cannot fail.
    for ban in &content.bans {
        let _ = writeln!(text, "table seawall add {} 1", ban.network);
    }
    for never in content.exceptions() {
        let _ = writeln!(text, "table seawall add {never} 0");
    }
    let ports = content.port_list(",");
    let _ = writeln!(text, "delete 400");
    // HTTP/3 comes over UDP. Both rules have the number, and one deletion takes both.
    for protocol in ["tcp", "udp"] {
        let _ = writeln!(text, "add 400 deny {protocol} from table(seawall,1) to me {ports} in");
    }
    text
}
