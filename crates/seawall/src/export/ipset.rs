//! ipset: two sets for `ipset restore`, which are filled beside the ones in use and then take their place.

use std::fmt::Write as _;

use ipnet::IpNet;

use super::networks::short;
use super::{Content, Kind, System};

pub(super) const SYSTEM: System = System {
    name: "ipset",
    about: "the sets `seawall4` and `seawall6`, for `ipset restore`",
    title: "ipset",
    file: "/etc/ipset.d/seawall",
    usage: &[
        "1. ipset -exist restore -file /etc/ipset.d/seawall",
        "2. once, before the ports of containers are translated, with TCP and with UDP (HTTP/3):",
        "   iptables -t raw -I PREROUTING -p tcp -m multiport --dports PORTS -m set --match-set seawall4 src -j DROP",
        "   iptables -t raw -I PREROUTING -p udp -m multiport --dports PORTS -m set --match-set seawall4 src -j DROP",
        "   ip6tables -t raw -I PREROUTING -p tcp -m multiport --dports PORTS -m set --match-set seawall6 src -j DROP",
        "   ip6tables -t raw -I PREROUTING -p udp -m multiport --dports PORTS -m set --match-set seawall6 src -j DROP",
        "The smallest network that holds an address decides; one marked `nomatch` is not in the set.",
    ],
    test: "",
    reload: "ipset -exist restore -file /etc/ipset.d/seawall",
    bans_max: None,
    kind: Kind::Packets { expires: true, body },
};

/// The longest timeout of a set, in seconds: nearly 25 days.
pub(crate) const TIMEOUT_MAX: u64 = 2_147_483;

/// The size that a set has at least.
const ENTRIES: usize = 65_536;

fn body(content: &Content) -> String {
    let mut text = content.comment();
    for (set, family, is_v4) in [("seawall4", "inet", true), ("seawall6", "inet6", false)] {
        let is_of = |network: IpNet| network.addr().is_ipv4() == is_v4;
        let bans: Vec<_> = content.bans.iter().filter(|ban| is_of(ban.network)).collect();
        let size = (2 * bans.len()).max(ENTRIES);
        // Writing to a string cannot fail; here and below.
        for name in [set, &format!("{set}_new")] {
            let _ = writeln!(text, "create {name} hash:net family {family} maxelem {size} timeout 0 -exist");
        }
        let _ = writeln!(text, "flush {set}_new");
        for ban in bans {
            let seconds = content.seconds(ban).map_or(0, |seconds| seconds.min(TIMEOUT_MAX));
            for network in halves(ban.network) {
                let _ = writeln!(text, "add {set}_new {} timeout {seconds} -exist", short(network));
            }
        }
        for never in content.exceptions().filter(|never| is_of(*never)) {
            let _ = writeln!(text, "add {set}_new {} timeout 0 nomatch -exist", short(never));
        }
        let _ = writeln!(text, "swap {set} {set}_new\ndestroy {set}_new");
    }
    text
}

/// A network, but that of everybody as its two halves: sets do not take it.
pub(crate) fn halves(network: IpNet) -> Vec<IpNet> {
    match network.prefix_len() {
        0 => network.subnets(1).into_iter().flatten().collect(),
        _ => vec![network],
    }
}
