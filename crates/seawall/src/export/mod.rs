//! Rules and bans in the languages of other systems: one complete file that each of them includes or loads as it is.
//!
//! Owns the registry of systems ([`SYSTEMS`]; to add one: a file here, and its line there), and what all files have in common: the head,
//! the list of what could not be said, and who is never refused. It never says a rule wider or narrower than it is: what a
//! system cannot ask for exactly is left out and listed, with the reason.
//!
//! The files in the order in which a rule meets them: `term` puts it into tests on parts of a request, `pattern` makes regular
//! expressions of those, then comes the file of the system. `vcl` is what Varnish and Fastly share, `networks` what packet filters do.

mod apache;
mod caddy;
mod cloudflare;
mod fastly;
mod haproxy;
mod head;
mod ipfw;
mod ipset;
mod networks;
mod nftables;
mod nginx;
mod pattern;
mod pf;
mod term;
mod traefik;
mod varnish;
mod vcl;

#[cfg(test)]
mod tests;

use std::time::Duration;

use ipnet::IpNet;
use seawall_engine::decision::expression::Expression;
use seawall_engine::units::Timestamp;

pub(crate) use ipset::{TIMEOUT_MAX as IPSET_TIMEOUT_MAX, halves as ipset_halves};
pub use networks::{Ban, of_client};
pub(crate) use networks::{carve, short};

/// Every system, in the order in which they are listed.
pub const SYSTEMS: [&System; 12] = [
    &nginx::SYSTEM,
    &apache::SYSTEM,
    &haproxy::SYSTEM,
    &caddy::SYSTEM,
    &varnish::SYSTEM,
    &traefik::SYSTEM,
    &nftables::SYSTEM,
    &ipset::SYSTEM,
    &ipfw::SYSTEM,
    &pf::SYSTEM,
    &cloudflare::SYSTEM,
    &fastly::SYSTEM,
];

/// Those in whose language the edge is told rules.
pub(crate) const CLOUDFLARE: &System = &cloudflare::SYSTEM;
pub(crate) const FASTLY: &System = &fastly::SYSTEM;

/// Why a rule cannot be said: a sentence without its beginning and end, in ASCII.
type Why = String;

/// A system that refuses by files of its own.
#[derive(Debug)]
pub struct System {
    /// What it is called on the command line.
    pub name: &'static str,
    /// What the file is, for `--help`.
    pub about: &'static str,
    /// What it is called by people.
    title: &'static str,
    /// Where the file is put, as an example.
    file: &'static str,
    /// How it is taken into use, in lines, in which `PORTS` stands for those on which is dropped.
    usage: &'static [&'static str],
    /// The command that says whether the file can be used, or takes it into use whole or not at all; empty where there is none.
    test: &'static str,
    /// The command that takes a new file into use after that; empty where there is nothing to do.
    reload: &'static str,
    /// The most bans that it takes in a time that is borne; no limit where it takes as many as there can be.
    bans_max: Option<usize>,
    kind: Kind,
}

/// What it is that a system reads.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// Requests: it can say rules.
    Web {
        /// Writes a rule; the number is its own in this file, from 1.
        rule: fn(usize, &Expression) -> Result<Block, Why>,
        /// Writes the file, but for its head.
        body: fn(&Content) -> String,
    },
    /// Packets: of rules it can say those about networks alone.
    Packets {
        /// Whether what it is given ends by itself.
        expires: bool,
        /// Writes the file, but for its head.
        body: fn(&Content) -> String,
    },
}

/// A rule in the language of a system.
#[derive(Debug, Default)]
struct Block {
    /// What has to stand before the condition, in lines.
    before: String,
    /// What holds of the requests that the rule meets.
    condition: String,
}

/// What is to be written.
#[derive(Clone, Debug, Default)]
pub struct Material {
    /// Rules.
    pub rules: Vec<Candidate>,
    /// Bans.
    pub bans: Vec<Ban>,
    /// What is left out since it waits to be confirmed: nothing here takes it back when the guard does.
    pub waiting: Vec<String>,
    /// Who is never refused.
    pub never_ban: Vec<IpNet>,
    /// The moment.
    pub made: Timestamp,
    /// The ports on which packet filters drop.
    pub ports: Vec<u16>,
    /// The command that makes the file anew, but for where it writes it and what it is tested with.
    pub command: String,
    /// Where the file is written, if that is known: a path that needs no quotes.
    pub file: Option<String>,
    /// What it is tested with, in place of the system's own test: without single quotes.
    pub test: Option<String>,
}

/// A rule that may be written.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// What it is called: letters, digits, hyphens and underscores.
    pub name: String,
    /// What it asks.
    pub expression: Expression,
    /// When it ends, if it does.
    pub expires: Option<Timestamp>,
    /// Why it is not to be written whatever the system, if so.
    pub obstacle: Option<String>,
}

/// What a system has to write.
#[derive(Debug)]
struct Content {
    rules: Vec<Said>,
    /// Disjoint from who is never refused, but for networks that hold some of these.
    bans: Vec<Ban>,
    never_ban: Vec<IpNet>,
    made: Timestamp,
    ports: Vec<u16>,
    /// The lines of the head, without the marks of a comment.
    head: Vec<String>,
}

/// A rule that is said.
#[derive(Debug)]
struct Said {
    name: String,
    /// The rule as rules are written, fit for a comment.
    text: String,
    block: Block,
    expires: Option<Timestamp>,
}

/// A rule that is not said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsaid {
    /// What it is called.
    pub name: String,
    /// The rule as rules are written, cut where it is long.
    pub text: String,
    /// Why, to complete "not said, since …".
    pub why: String,
}

/// A file.
#[derive(Clone, Debug)]
pub struct Written {
    /// What it holds.
    pub text: String,
    /// How many rules it says.
    pub rules: usize,
    /// How many bans.
    pub bans: usize,
    /// How many more there are than the system takes.
    pub too_many: usize,
    /// What it does not say.
    pub unsaid: Vec<Unsaid>,
}

/// The system of this name.
pub fn system(name: &str) -> Option<&'static System> {
    SYSTEMS.into_iter().find(|system| system.name == name)
}

impl System {
    /// Writes rules and bans as one file.
    pub fn write(&self, material: &Material) -> Written {
        let (mut rules, mut unsaid) = (Vec::new(), Vec::new());
        let mut bans = material.bans.clone();
        for candidate in &material.rules {
            let text = head::comment(&candidate.expression.to_string());
            let (name, expires) = (candidate.name.clone(), candidate.expires);
            let block = match (&candidate.obstacle, self.kind) {
                (Some(obstacle), _) => Err(obstacle.clone()),
                (None, Kind::Web { rule, .. }) => rule(rules.len() + 1, &candidate.expression),
                (None, Kind::Packets { .. }) => networks::of_rule(&candidate.expression).map(|networks| {
                    bans.extend(networks.into_iter().map(|network| Ban { network, expires }));
                    Block::default()
                }),
            };
            match block {
                Ok(block) => rules.push(Said { name, text, block, expires }),
                Err(why) => unsaid.push(Unsaid { name, text, why: head::comment(&why) }),
            }
        }
        let never_ban = networks::distinct(&material.never_ban);
        let (mut bans, spared) = networks::bans(&bans, &never_ban, material.made);
        let too_many = self.bans_max.map_or(0, |most| networks::keep_longest(&mut bans, most));
        let (rule_count, ban_count) = (rules.len(), bans.len());
        let mut content =
            Content { rules, bans, never_ban, made: material.made, ports: material.ports.clone(), head: Vec::new() };
        content.head = head::lines(self, &content, &unsaid, (spared, too_many), material);
        let (Kind::Web { body, .. } | Kind::Packets { body, .. }) = self.kind;
        Written { text: body(&content), rules: rule_count, bans: ban_count, too_many, unsaid }
    }

    /// What holds of the requests that a rule meets, for whoever writes the rest himself and has no place for anything before it.
    ///
    /// # Errors
    /// Why it cannot be said exactly.
    pub(crate) fn condition(&self, expression: &Expression) -> Result<String, Why> {
        let Kind::Web { rule, .. } = self.kind else { return Err("packets have no requests".to_owned()) };
        match rule(1, expression)? {
            Block { before, condition } if before.is_empty() => Ok(condition),
            Block { .. } => Err("a network in a rule would need an access list of its own".to_owned()),
        }
    }

    /// Whether it can say exactly this.
    pub(crate) fn says(&self, expression: &Expression) -> bool {
        match self.kind {
            Kind::Web { rule, .. } => rule(1, expression).is_ok(),
            Kind::Packets { .. } => networks::of_rule(expression).is_ok(),
        }
    }

    /// The command line that writes the file of a running guard, found by these options, and takes it into use.
    pub(crate) fn renewal(&self, options: &str) -> String {
        self.renewal_by(&format!("seawall export {}{options}", self.name), self.file, None)
    }

    /// The same by this command, for the file there; with another test than the system's own.
    fn renewal_by(&self, command: &str, file: &str, test: Option<&str>) -> String {
        // What is said of the file where it is by default holds of it where it is.
        let placed = |text: &str| text.replace(self.file, file);
        let mut line = format!("{command} --output {file}");
        if let Some(test) = test.map(str::to_owned).or_else(|| (!self.test.is_empty()).then(|| placed(self.test))) {
            line += &format!(" --test '{test}'");
        }
        if !self.reload.is_empty() {
            line += &format!(" && {}", placed(self.reload));
        }
        line
    }

    const fn expires(&self) -> bool {
        matches!(self.kind, Kind::Packets { expires: true, .. })
    }
}

impl Content {
    /// The head as a comment of the languages in which `#` begins one.
    fn comment(&self) -> String {
        let line = |line: &String| if line.is_empty() { "#\n".to_owned() } else { format!("# {line}\n") };
        self.head.iter().map(line).collect()
    }

    /// For how many seconds from now a ban still lasts; none when it has no end.
    fn seconds(&self, ban: &Ban) -> Option<u64> {
        ban.expires.map(|expires| expires.since(self.made).max(Duration::from_secs(1)).as_secs())
    }

    /// The networks that are banned.
    fn banned(&self) -> Vec<IpNet> {
        self.bans.iter().map(|ban| ban.network).collect()
    }

    /// Who is never refused although he is in a banned network.
    fn exceptions(&self) -> impl Iterator<Item = IpNet> {
        self.never_ban.iter().copied().filter(|never| self.bans.iter().any(|ban| ban.network.contains(never)))
    }

    /// The ports, joined by commas.
    fn port_list(&self, comma: &str) -> String {
        self.ports.iter().map(ToString::to_string).collect::<Vec<_>>().join(comma)
    }
}
