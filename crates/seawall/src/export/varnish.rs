//! Varnish 6 and later: lists of networks and a `vcl_recv`, which VCL joins with others of that name in the order in which they
//! come.

use super::vcl::{lists, refusals, rule};
use super::{Content, Kind, System};

pub(super) const SYSTEM: System = System {
    name: "varnish",
    about: "VCL that is included before your own `vcl_recv`",
    title: "Varnish",
    file: "/etc/varnish/seawall.vcl",
    usage: &[
        "in your VCL, right after `vcl 4.1;`: include \"/etc/varnish/seawall.vcl\";",
        "Behind what terminates TLS, let the PROXY protocol say who the client is.",
    ],
    test: "varnishreload",
    reload: "",
    bans_max: Some(1_000),
    kind: Kind::Web { rule, body },
};

fn body(content: &Content) -> String {
    let refusals = refusals(content, "return (synth(403, \"Forbidden\"));");
    format!("{}\n{}\nsub vcl_recv {{\n{refusals}}}\n", content.comment(), lists(content))
}
