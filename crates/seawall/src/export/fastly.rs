//! Fastly: lists of networks and a subroutine of custom VCL.

use super::vcl::{lists, refusals, rule};
use super::{Content, Kind, System};

pub(super) const SYSTEM: System = System {
    name: "fastly",
    about: "custom VCL with a subroutine that `vcl_recv` calls",
    title: "Fastly",
    file: "seawall.vcl",
    usage: &[
        "1. upload it as a further VCL file of the service, named seawall, and in your main VCL, before `sub vcl_recv`: include \"seawall\";",
        "2. as the first line of vcl_recv: call seawall_recv;",
    ],
    test: "",
    reload: "fastly vcl custom update --name seawall --content seawall.vcl --version latest --autoclone && fastly service-version activate --version latest",
    bans_max: None,
    kind: Kind::Web { rule, body },
};

/// With shielding, a request comes by two of Fastly's machines, and the second sees the first as the client.
const AT_THE_EDGE: &str = "    if (fastly.ff.visits_this_service > 0) {\n        return;\n    }\n";

fn body(content: &Content) -> String {
    let refusals = refusals(content, "error 403 \"Forbidden\";");
    format!("{}\n{}\nsub seawall_recv {{\n{AT_THE_EDGE}{refusals}}}\n", content.comment(), lists(content))
}
