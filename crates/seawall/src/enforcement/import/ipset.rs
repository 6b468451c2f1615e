//! What `ipset restore` would make of a file: its sets, and whom each of them holds.
//!
//! The lines are carried out in turn, since a file may fill one set and swap it for another, as those of `seawall export` do.

use std::collections::BTreeMap;

use ipnet::IpNet;
use ipnet::IpNet::V4;

use super::list::networks;
use super::{Import, Imported, NETWORKS_MAX};
use crate::export::carve;
use crate::show::text::escape;

/// Names that an error lists.
const NAMED_MAX: usize = 20;

/// Why it is not known whom of a file to ban.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum WhichSet {
    /// Some of its sets may hold those who are to be let in.
    #[error("it holds several sets, {}, and whom to ban is in some of them only", list(.0))]
    Several(Vec<String>),
    /// The set that was named is not in it.
    #[error("it holds no networks in a set '{}', but {}", escape(.0.as_bytes()), list(.1))]
    Missing(String, Vec<String>),
}

/// The sets of a file, as far as it was read.
#[derive(Debug, Default)]
pub(super) struct Sets {
    sets: BTreeMap<String, Set>,
    /// Entries that were added.
    added: usize,
}

/// One set.
#[derive(Debug, Default)]
struct Set {
    /// What it makes of an address.
    mask: Mask,
    /// What each network is, the outer ones before those in them.
    entries: BTreeMap<IpNet, Entry>,
    /// What of it cannot be read.
    import: Import,
}

/// What a network in a set is.
#[derive(Clone, Copy, Debug)]
struct Entry {
    /// For how long it is in it; none for good.
    seconds: Option<u64>,
    /// Whether whoever is in it is not in the set, though in a wider network of it.
    is_exempt: bool,
}

/// What a set makes of the networks that are added.
#[derive(Debug, Default)]
enum Mask {
    /// Nothing.
    #[default]
    None,
    /// Networks of this length.
    Length(u8),
    /// What cannot be said as networks.
    Other(String),
    /// It holds other sets.
    Sets,
}

impl Sets {
    /// Carries out a line; says whether it is one of an ipset file.
    pub(super) fn follow(&mut self, number: usize, line: &str) -> bool {
        let line = without_comment(line);
        let mut words =
            line.split_ascii_whitespace().filter(|word| !matches!(*word, "-exist" | "-!" | "-quiet" | "-q"));
        let (Some(command), name) = (words.next(), words.next()) else { return false };
        let name = name.unwrap_or_default();
        match command {
            "COMMIT" => {}
            "create" | "-N" | "--create" => {
                // One that is there stays as it is.
                self.sets.entry(name.to_owned()).or_insert_with(|| Set::of(words));
            }
            "add" | "-A" | "--add" => self.add(number, name, words),
            "del" | "-D" | "--del" => {
                let set = self.sets.entry(name.to_owned()).or_default();
                for network in set.networks(words.next().unwrap_or_default()).unwrap_or_default() {
                    set.entries.remove(&network);
                }
            }
            "flush" | "-F" | "--flush" => self.each(name, |set| set.entries.clear()),
            "destroy" | "-X" | "--destroy" if name.is_empty() => self.sets.clear(),
            "destroy" | "-X" | "--destroy" => drop(self.sets.remove(name)),
            "swap" | "-W" | "--swap" => {
                let other = words.next().unwrap_or_default();
                let (one, two) = (self.sets.remove(name), self.sets.remove(other));
                self.sets.extend(one.map(|set| (other.to_owned(), set)));
                self.sets.extend(two.map(|set| (name.to_owned(), set)));
            }
            "rename" | "-E" | "--rename" => {
                let set = self.sets.remove(name);
                self.sets.extend(set.map(|set| (words.next().unwrap_or_default().to_owned(), set)));
            }
            _ => return false,
        }
        true
    }

    /// Whether no more are taken in.
    pub(super) const fn is_full(&self) -> bool {
        self.added >= NETWORKS_MAX
    }

    fn each(&mut self, name: &str, change: impl Fn(&mut Set)) {
        self.sets.iter_mut().filter(|(one, _)| name.is_empty() || *one == name).for_each(|(_, set)| change(set));
    }

    fn add<'a>(&mut self, number: usize, name: &str, mut words: impl Iterator<Item = &'a str> + Clone) {
        let set = self.sets.entry(name.to_owned()).or_default();
        let entry = words.next().unwrap_or_default();
        if matches!(set.mask, Mask::Sets) {
            return;
        }
        // Entries of some kinds of set name a port or an interface behind the address: they are about more than an address.
        match set.networks(entry) {
            Ok(networks) => {
                let timeout = words.clone().zip(words.clone().skip(1)).find(|(word, _)| *word == "timeout");
                // A timeout of 0 means for good.
                let seconds = timeout.and_then(|(_, seconds)| seconds.parse().ok()).filter(|seconds| *seconds > 0);
                let is_exempt = words.any(|word| word == "nomatch");
                self.added += networks.len();
                set.entries.extend(networks.into_iter().map(|network| (network, Entry { seconds, is_exempt })));
            }
            Err(why) => set.import.refuse(number, why),
        }
    }

    /// Takes in whom these sets hold, or the only set that there is, where none is named. One of IPv4 and one of IPv6 of the same name but
    /// for that count as one.
    pub(super) fn take(mut self, wanted: &[String], import: &mut Import) -> Result<(), WhichSet> {
        self.sets.retain(|_, set| !set.entries.is_empty() || set.import.unreadable_count > 0);
        let names = || self.sets.keys().cloned().collect::<Vec<_>>();
        if wanted.is_empty() && self.sets.len() > 1 && !self.are_pair() {
            return Err(WhichSet::Several(names()));
        }
        if let Some(missing) = wanted.iter().find(|name| !self.sets.contains_key(*name)) {
            return Err(WhichSet::Missing(missing.clone(), names()));
        }
        for (_, set) in self.sets.into_iter().filter(|(name, _)| wanted.is_empty() || wanted.contains(name)) {
            set.take(import);
        }
        Ok(())
    }

    fn are_pair(&self) -> bool {
        let sets: Vec<_> = self.sets.iter().collect();
        let [(one, of_one), (other, of_other)] = sets.as_slice() else { return false };
        let plain = |name: &str| name.replace(['4', '6'], "");
        let has = |set: &Set, is_v4| set.entries.keys().any(|network| matches!(network, V4(_)) == is_v4);
        plain(one) == plain(other) && ![true, false].iter().any(|is_v4| has(of_one, *is_v4) && has(of_other, *is_v4))
    }
}

impl Set {
    /// A set of this kind, with these options.
    fn of<'a>(mut words: impl Iterator<Item = &'a str>) -> Self {
        let mut set = Self::default();
        if words.next().is_some_and(|kind| kind.starts_with("list:") || kind == "setlist") {
            set.mask = Mask::Sets;
            return set;
        }
        while let Some(word) = words.next() {
            if matches!(word, "netmask" | "--netmask" | "bitmask") {
                set.mask = Mask::of(words.next().unwrap_or_default());
            }
        }
        set
    }

    /// What it makes of an entry.
    fn networks(&self, entry: &str) -> Result<Vec<IpNet>, String> {
        let shown = || escape(entry.chars().take(60).collect::<String>().as_bytes());
        let found = networks(entry).ok_or_else(|| format!("'{}' is no address, network or range", shown()))?;
        match &self.mask {
            Mask::None | Mask::Sets => Ok(found),
            Mask::Length(length) => {
                let widened = |network: IpNet| IpNet::new(network.addr(), *length).map_or(network, |wide| wide.trunc());
                let wide = |network: IpNet| if network.prefix_len() > *length { widened(network) } else { network };
                Ok(found.into_iter().map(wide).collect())
            }
            Mask::Other(mask) => Err(format!("'{}' is compared under '{mask}', which is no network", shown())),
        }
    }

    /// Adds whom it holds. As for the kernel, of the networks that hold an address the smallest decides.
    fn take(self, import: &mut Import) {
        for (network, entry) in &self.entries {
            if entry.is_exempt {
                import.exempt += 1;
                continue;
            }
            if import.networks.len() >= NETWORKS_MAX {
                import.refuse(0, format!("with its exceptions it holds more than {NETWORKS_MAX} networks"));
                break;
            }
            let within = self.entries.range(network..).take_while(|(inner, _)| network.contains(*inner));
            let holes: Vec<IpNet> = within.filter(|(_, inner)| inner.is_exempt).map(|(hole, _)| *hole).collect();
            let seconds = entry.seconds;
            carve(*network, &holes, &mut |network| import.networks.push(Imported { network, seconds }));
        }
        let quoted = self.import.unreadable.len();
        self.import.unreadable.into_iter().for_each(|(line, why)| import.refuse(line, why));
        import.unreadable_count += self.import.unreadable_count - quoted;
    }
}

impl Mask {
    /// A mask as ipset writes it: a length, or an address.
    fn of(text: &str) -> Self {
        if let Ok(length) = text.parse() {
            return Self::Length(length);
        }
        let length = text.parse().ok().and_then(|mask| ipnet::ip_mask_to_prefix(mask).ok());
        length.map_or_else(|| Self::Other(escape(text.as_bytes())), Self::Length)
    }
}

/// A line without what somebody remarked on its entry, which may hold any word.
fn without_comment(line: &str) -> String {
    let (before, comment) = line.split_once(" comment \"").unwrap_or((line, ""));
    let after = comment.split_once('"').map_or("", |(_, after)| after);
    format!("{before} {after}").split('#').next().unwrap_or_default().to_owned()
}

/// Names for an error.
fn list(names: &[String]) -> String {
    let mut shown: Vec<String> = names.iter().take(NAMED_MAX).map(|name| escape(name.as_bytes())).collect();
    if names.len() > NAMED_MAX {
        shown.push(format!("{} more", names.len() - NAMED_MAX));
    }
    if shown.is_empty() { "none".to_owned() } else { shown.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::super::list::read;
    use super::*;

    /// The networks of these sets, and for how long, in one line.
    #[track_caller]
    fn check(text: &str, wanted: &[&str], expected: &str) {
        let wanted: Vec<String> = wanted.iter().map(|name| (*name).to_owned()).collect();
        let found = match read(text, &wanted) {
            Err(error) => error.to_string(),
            Ok(import) => {
                let shown = |one: &Imported| match one.seconds {
                    Some(seconds) => format!("{} {seconds}s", one.network),
                    None => one.network.to_string(),
                };
                import.networks.iter().map(shown).collect::<Vec<_>>().join(", ")
            }
        };
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn exceptions_are_nobody_to_ban() {
        check("add nets 10.1.2.3 timeout 0 nomatch\nadd nets 10.9.0.0/16", &[], "10.9.0.0/16");
        let text = "add nets 10.0.0.0/30 timeout 9\nadd nets 10.0.0.1 nomatch\n";
        check(text, &[], "10.0.0.0/32 9s, 10.0.0.2/31 9s");
        assert_eq!(read(text, &[]).expect("a set").exempt, 1);
        // The smallest network that holds an address decides.
        let inner = format!("{text}add nets 10.0.0.0/31 nomatch\nadd nets 10.0.0.0\n");
        check(&inner, &[], "10.0.0.2/31 9s, 10.0.0.0/32");
        check("add nets 10.0.0.0/8\nadd nets 10.0.0.0/8 nomatch -exist", &[], "");
        check("add bad 192.0.2.1 comment \"no # nomatch timeout 7\" timeout 5", &[], "192.0.2.1/32 5s");
    }

    #[test]
    fn a_set_of_networks_holds_more_than_its_addresses() {
        let create = |option: &str| format!("create bad hash:ip family inet {option}\nadd bad 192.0.2.0\n");
        check(&create("netmask 24"), &[], "192.0.2.0/24");
        check(&create("bitmask 255.255.255.0"), &[], "192.0.2.0/24");
        check(&create("bitmask 255.0.255.0"), &[], "");
        assert_eq!(read(&create("bitmask 255.0.255.0"), &[]).expect("a set").unreadable_count, 1);
        check("-N bad iphash --netmask 24\n-A bad 192.0.2.0\nCOMMIT\n", &[], "192.0.2.0/24");
        check("create bad hash:net\nadd bad 192.0.2.0/25\n", &[], "192.0.2.0/25");
    }

    #[test]
    fn of_several_sets_those_to_ban_are_named() {
        let text = "create allow hash:ip\ncreate bad hash:ip\ncreate none hash:ip\ncreate all list:set\nadd all bad\n\
                    add allow 192.0.2.1\nadd bad 192.0.2.2\nadd bad nobody\n";
        check(text, &[], "it holds several sets, allow, bad, and whom to ban is in some of them only");
        check(text, &["bad"], "192.0.2.2/32");
        check(text, &["bad", "allow"], "192.0.2.1/32, 192.0.2.2/32");
        check(text, &["worse"], "it holds no networks in a set 'worse', but allow, bad");
        assert_eq!(read(text, &["allow".to_owned()]).expect("a set").unreadable_count, 0);
        assert_eq!(read(text, &["bad".to_owned()]).expect("a set").unreadable.first().map(|(line, _)| *line), Some(8));
        check("add f2b-sshd 192.0.2.1\nadd f2b-sshd6 2001:db8::1", &[], "192.0.2.1/32, 2001:db8::1/128");
        check(
            "add a4 192.0.2.1\nadd a6 192.0.2.2",
            &[],
            "it holds several sets, a4, a6, and whom to ban is in some of them only",
        );
        check(
            "add allow4 192.0.2.1\nadd bad6 2001:db8::1",
            &[],
            "it holds several sets, allow4, bad6, and whom to ban is in some of them only",
        );
        check("192.0.2.1\nadd bad 192.0.2.2", &[], "192.0.2.1/32, 192.0.2.2/32");
    }

    #[test]
    fn sets_are_swapped_emptied_and_renamed() {
        let text = "create a hash:ip -exist\ncreate a_new hash:ip\nflush a_new\nadd a 192.0.2.1\nadd a_new 192.0.2.2 -exist\n\
                    swap a a_new\ndestroy a_new\n";
        check(text, &["a"], "192.0.2.2/32");
        check(&format!("{text}rename a b"), &["b"], "192.0.2.2/32");
        check(&format!("{text}add a 192.0.2.3\ndel a 192.0.2.2"), &[], "192.0.2.3/32");
        check(&format!("{text}flush"), &[], "");
    }
}
