//! Apache httpd 2.4: marks made by expressions, and one section that refuses what is marked.

use std::fmt::Write as _;

use seawall_engine::decision::expression::Expression;

use super::pattern::{Patterns, Reads};
use super::term::{Dialect, Field, Language, Leaf, lower, pattern_of};
use super::{Block, Content, Kind, System, Why};

pub(super) const SYSTEM: System = System {
    name: "apache",
    about: "marks and one section, for the server or a virtual host",
    title: "Apache",
    file: "/etc/apache2/conf-available/seawall.conf",
    usage: &[
        "a2enmod setenvif && a2enconf seawall, or in the server's configuration or a virtual host: Include /etc/apache2/conf-available/seawall.conf",
        "Behind a proxy, let mod_remoteip say who the client is.",
    ],
    test: "apachectl -t",
    reload: "apachectl graceful",
    bans_max: None,
    kind: Kind::Web { rule, body },
};

const PATTERNS: Patterns = Patterns { reads: Reads::Bytes };

const DIALECT: Dialect = Dialect {
    patterns: Some(PATTERNS),
    // An expression finds both empty.
    tells_missing: false,
    unseen: |_| None,
};

/// Parts of the request, cut as Seawall cuts them. The path is that of the request line, as it was sent: REQUEST_URI is decoded.
const PARTS: &str = r#"
SetEnvIfExpr "%{THE_REQUEST} =~ m#^[^\x20]*\x20+(?:[hH][tT][tT][pP][sS]?://[^/?\x20]*)?([^?\x20]{0,256})#" seawall_path=$1
SetEnvIfExpr "%{THE_REQUEST} =~ m#^[^\x20]*\x20+[^?\x20]*(\?[^\x20]{0,256})#" seawall_query=$1
SetEnvIfExpr "%{REQUEST_METHOD} =~ m#^(.{0,24})#" seawall_method=$1
SetEnvIfExpr "req('User-Agent') =~ m#^(.{0,256})#" seawall_user_agent=$1
SetEnvIfExpr "req('Referer') =~ m#^(.{0,256})#" seawall_referer=$1
"#;

/// Ends of the lines that mark by address: a line for each network would be slow to read for people, one for all for Apache.
const NETWORKS_IN_LINE: usize = 50;

fn rule(_: usize, expression: &Expression) -> Result<Block, Why> {
    let condition = Expressions.write(&lower(expression, &DIALECT)?)?;
    Ok(Block { before: String::new(), condition })
}

struct Expressions;

impl Language for Expressions {
    const AND: &'static str = " && ";
    const OR: &'static str = " || ";
    const NOT: &'static str = "!";

    fn leaf(&self, leaf: &Leaf) -> Result<String, Why> {
        match leaf {
            Leaf::Missing(field) | Leaf::Blank(field) => {
                let pattern = if *field == Field::Host { Patterns::no_host() } else { r"^\z" };
                Ok(found(*field, pattern))
            }
            Leaf::Text(field, tests) => Ok(found(*field, &pattern_of(*field, tests, PATTERNS)?)),
            Leaf::Client(networks) => {
                let networks: Vec<String> = networks.iter().map(|network| format!("-R '{network}'")).collect();
                Ok(format!("({})", networks.join(Self::OR)))
            }
        }
    }
}

/// Patterns hold none of `#`, quotes and `$`.
fn found(field: Field, pattern: &str) -> String {
    let source = match field {
        Field::Method => "reqenv('seawall_method')",
        Field::Path => "reqenv('seawall_path')",
        Field::Query => "reqenv('seawall_query')",
        Field::Host => "req('Host')",
        Field::UserAgent => "reqenv('seawall_user_agent')",
        Field::Referer => "reqenv('seawall_referer')",
        Field::Version => "%{SERVER_PROTOCOL}",
    };
    format!("({source} =~ m#{pattern}#)")
}

fn body(content: &Content) -> String {
    let mut text = content.comment();
    text += PARTS;
    for rule in &content.rules {
        // Writing to a string cannot fail; here and below.
        let _ = write!(text, "\n# {}: {}\n", rule.name, rule.text);
        let _ = writeln!(text, "SetEnvIfExpr \"{}\" seawall_refused={}", rule.block.condition, rule.name);
    }
    let mut mark = |networks: &[ipnet::IpNet], what: &str, mark: &str| {
        if !networks.is_empty() {
            let _ = write!(text, "\n# {what}\n");
        }
        for networks in networks.chunks(NETWORKS_IN_LINE) {
            let asked: Vec<String> = networks.iter().map(|network| format!("-R '{network}'")).collect();
            let _ = writeln!(text, "SetEnvIfExpr \"{}\" {mark}", asked.join(" || "));
        }
    };
    mark(&content.banned(), "Who is banned.", "seawall_refused=ban");
    // Last, so that it takes every mark away.
    mark(&content.never_ban, "Who is never refused.", "!seawall_refused");
    text += "\n<If \"reqenv('seawall_refused') != ''\">\n    Require all denied\n</If>\n";
    text
}
