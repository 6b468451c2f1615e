//! The values of a request as fixed-size keyed hashes, and the texts behind the hashes that are in use.
//!
//! A row of the sample holds 40 numbers instead of strings, so its size does not depend on what a client sends. The
//! texts live beside, in tables of fixed size in which the value that was used longest ago makes room: a flood of
//! random values pushes out only other rare values, never one that is seen every few seconds, and only such a one can
//! become part of a rule. The hashes are keyed, so nobody outside can aim for a collision.

use std::net::IpAddr;
use std::ops::Range;

use memchr::memmem;
use siphasher::sip::SipHasher13;

use crate::address::ClientAddress;
use crate::decision::{Condition, Wanted};
use crate::observation::attribute::{Attribute, USER_AGENT_WORDS_MAX, VALUE_BYTES_MAX, cut, each_value};
use crate::observation::{Request, Version};

use super::recent::Row;

/// The hash of a value; [`UNUSED`], [`ABSENT`] and [`PRESENT`] are no hashes.
pub(crate) type ValueHash = u32;

/// An empty place in the set of a set-valued attribute.
pub(crate) const UNUSED: ValueHash = 0;

/// A single-valued attribute that the request does not have.
pub(crate) const ABSENT: ValueHash = 1;

/// Beside the value of an attribute of which a rule may ask that there be any: what senders make up anew for each request has
/// nothing else in common.
pub(crate) const PRESENT: ValueHash = 2;

/// One value of one attribute: what rules are mined from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Item {
    pub(crate) attribute: Attribute,
    pub(crate) hash: ValueHash,
}

/// Every value of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Marks([ValueHash; Self::COUNT]);

impl Default for Marks {
    fn default() -> Self {
        Self([UNUSED; Self::COUNT])
    }
}

impl Marks {
    /// How many places there are.
    pub(crate) const COUNT: usize = 20 + USER_AGENT_WORDS_MAX;

    /// The attribute of each place.
    const ATTRIBUTES: [Attribute; Self::COUNT] = {
        let mut attributes = [Attribute::UserAgent; Self::COUNT];
        let mut number = 0;
        while number < Attribute::COUNT {
            let attribute = Attribute::ALL[number];
            let places = Self::places(attribute);
            let mut place = places.start;
            while place < places.end {
                attributes[place] = attribute;
                place += 1;
            }
            number += 1;
        }
        attributes
    };

    /// Where the values of an attribute are. A new attribute gets its places here.
    pub(crate) const fn places(attribute: Attribute) -> Range<usize> {
        match attribute {
            Attribute::UserAgent => 0..1,
            Attribute::RefererOrigin => 1..2,
            Attribute::QueryKeys => 2..4,
            Attribute::Path => 4..5,
            Attribute::Extension => 5..6,
            Attribute::Host => 6..7,
            Attribute::Method => 7..8,
            Attribute::Version => 8..9,
            Attribute::PathPrefix => 9..12,
            Attribute::ClientPrefix => 12..15,
            Attribute::PathTemplate => 15..16,
            Attribute::HeaderOrder => 16..17,
            Attribute::Ja4 => 17..18,
            Attribute::Country => 18..19,
            Attribute::Asn => 19..20,
            Attribute::UserAgentWord => 20..Self::COUNT,
        }
    }

    /// The values of `attribute`; unused places are [`UNUSED`] and come last.
    pub(crate) fn of(&self, attribute: Attribute) -> &[ValueHash] {
        &self.0[Self::places(attribute)]
    }

    pub(crate) fn of_mut(&mut self, attribute: Attribute) -> &mut [ValueHash] {
        &mut self.0[Self::places(attribute)]
    }

    /// The value of a single-valued attribute.
    pub(crate) fn one(&self, attribute: Attribute) -> ValueHash {
        self.0[Self::places(attribute).start]
    }

    /// Sets the one value of an attribute, and beside it that there is one, where a rule may ask for that.
    pub(crate) fn set(&mut self, attribute: Attribute, hash: ValueHash) {
        if let [value, further @ ..] = self.of_mut(attribute) {
            *value = hash;
            if hash > PRESENT
                && let [presence] = further
                && Wanted::may_be_anything(attribute)
            {
                *presence = PRESENT;
            }
        }
    }

    /// Whether the request has this value.
    pub(crate) fn has(&self, item: Item) -> bool {
        self.of(item.attribute).contains(&item.hash)
    }

    /// Whether the request has all of these values.
    pub(crate) fn has_all(&self, items: &[Item]) -> bool {
        items.iter().all(|item| self.has(*item))
    }

    /// What each place holds.
    pub(crate) const fn hashes(&self) -> &[ValueHash; Self::COUNT] {
        &self.0
    }

    /// Every value, in the order of the places: the quickest way through them.
    pub(crate) fn placed(&self) -> impl Iterator<Item = Item> + '_ {
        let places = self.0.iter().zip(Self::ATTRIBUTES);
        places.filter(|(hash, _)| **hash != UNUSED).map(|(hash, attribute)| Item { attribute, hash: *hash })
    }

    /// Every value, in the order of [`Attribute::ALL`].
    pub(crate) fn items(&self) -> impl Iterator<Item = Item> + '_ {
        Attribute::ALL.into_iter().flat_map(|attribute| {
            let used = self.of(attribute).iter().filter(|hash| **hash != UNUSED);
            used.map(move |hash| Item { attribute, hash: *hash })
        })
    }
}

/// The keys of the hashes. Those of values are kept with the saved baseline, since its rows mean nothing without them;
/// those of clients and their networks never are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Keys {
    pub(crate) values: [u64; 2],
    clients: [u64; 2],
}

impl Keys {
    pub(crate) fn new(seed: u64) -> Self {
        let derive = |what: u64| SipHasher13::new_with_keys(seed, what).hash(b"seawall detection");
        Self { values: [derive(1), derive(2)], clients: [derive(3), derive(4)] }
    }

    /// The hash of a value.
    pub(crate) fn value(&self, attribute: Attribute, value: Option<&[u8]>) -> ValueHash {
        let Some(value) = value else { return ABSENT };
        fold(SipHasher13::new_with_keys(self.values[0] ^ attribute as u64, self.values[1]).hash(value))
    }

    /// The hash of a client; never zero.
    pub(crate) fn client(&self, client: ClientAddress) -> u32 {
        fold(SipHasher13::new_with_keys(self.clients[0], self.clients[1]).hash(&client.client_key().to_le_bytes()))
    }

    /// What a condition asks for, as [`Marks`] have it.
    pub(crate) fn asked(&self, condition: &Condition) -> ValueHash {
        match &condition.wanted {
            Wanted::Nothing => ABSENT,
            Wanted::Value(value) => self.value(condition.attribute, Some(value)),
            Wanted::Anything => PRESENT,
        }
    }

    fn network(&self, client: ClientAddress, length: u8) -> ValueHash {
        let bits = match client.prefix(length).network() {
            IpAddr::V4(network) => u128::from(network.to_bits()),
            IpAddr::V6(network) => network.to_bits(),
        };
        let mut bytes = [0; 18];
        bytes[..16].copy_from_slice(&bits.to_le_bytes());
        bytes[16] = length;
        bytes[17] = u8::from(client.ip().is_ipv4());
        fold(SipHasher13::new_with_keys(self.clients[0] ^ 1, self.clients[1]).hash(&bytes))
    }
}

/// 32 bits that are none of [`UNUSED`], [`ABSENT`] and [`PRESENT`].
const fn fold(hash: u64) -> u32 {
    let folded = (hash ^ (hash >> 32)) as u32;
    if folded <= PRESENT { folded + 3 } else { folded }
}

/// The lengths of the networks of an address, as [`crate::observation::attribute::client_prefixes`] has them.
const fn network_lengths(client: ClientAddress) -> &'static [u8] {
    match client.ip() {
        IpAddr::V4(_) => &[32, 24, 16],
        IpAddr::V6(_) => &[64, 48],
    }
}

/// The attributes whose texts are kept; the others are parts of these and are read off them again.
const KEPT: [(Attribute, usize); 10] = [
    (Attribute::UserAgent, 4096),
    (Attribute::Path, 4096),
    (Attribute::RefererOrigin, 2048),
    (Attribute::QueryKeys, 1024),
    (Attribute::Host, 1024),
    (Attribute::Method, 64),
    (Attribute::HeaderOrder, 512),
    (Attribute::Ja4, 256),
    (Attribute::Country, 256),
    (Attribute::Asn, 512),
];

/// The texts behind the hashes in use.
#[derive(Clone, Debug)]
pub(crate) struct Texts {
    tables: [Table; KEPT.len()],
    /// The words of each user agent in the first table, so that they are hashed once and not with every request.
    words: Vec<[ValueHash; USER_AGENT_WORDS_MAX]>,
}

impl Texts {
    pub(crate) fn new() -> Self {
        Self {
            tables: KEPT.map(|(_, capacity)| Table::new(capacity)),
            words: vec![[UNUSED; USER_AGENT_WORDS_MAX]; KEPT[0].1],
        }
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.tables.iter().map(Table::memory_bytes).sum::<usize>() + size_of_val(self.words.as_slice())
    }

    /// Hashes everything that a request has, and keeps the texts. `second` is the time of use. Allocates nothing.
    pub(crate) fn marks(
        &mut self,
        keys: &Keys,
        request: &Request<'_>,
        client: Option<ClientAddress>,
        second: u32,
    ) -> Marks {
        let mut marks = Marks::default();
        for attribute in Attribute::ALL {
            match attribute {
                Attribute::UserAgentWord => continue,
                Attribute::ClientPrefix => {
                    if let Some(client) = client {
                        let places = marks.of_mut(attribute).iter_mut();
                        for (place, length) in places.zip(network_lengths(client)) {
                            *place = keys.network(client, *length);
                        }
                    }
                    continue;
                }
                _ => {}
            }
            let kept = KEPT.iter().position(|(kept, _)| *kept == attribute);
            let mut places = marks.of_mut(attribute).iter_mut();
            let mut agent = None;
            let may_be_anything = Wanted::may_be_anything(attribute);
            each_value(attribute, request, client, |value| {
                let hash = keys.value(attribute, value);
                if let Some(place) = places.next() {
                    *place = hash;
                }
                if may_be_anything
                    && value.is_some()
                    && let Some(place) = places.next()
                {
                    *place = PRESENT;
                }
                if let (Some(kept), Some(value)) = (kept, value) {
                    let (at, new) = self.tables[kept].keep(hash, value, second);
                    if attribute == Attribute::UserAgent {
                        agent = Some((at, new));
                    }
                }
            });
            if let Some((at, new)) = agent {
                if new {
                    let mut words = [UNUSED; USER_AGENT_WORDS_MAX];
                    let mut places = words.iter_mut();
                    let agent = cut(request.user_agent.unwrap_or_default());
                    let holds_link = memmem::find(agent, b"://").is_some();
                    each_value(Attribute::UserAgentWord, request, client, |word| {
                        // A program that is called after the protocol does not say by that where it comes from: Go-http-client/1.1.
                        let is_name = !holds_link && matches!(word, Some(b"http" | b"https"));
                        if !is_name && let Some(place) = places.next() {
                            *place = keys.value(Attribute::UserAgentWord, word);
                        }
                    });
                    self.words[at] = words;
                }
                marks.of_mut(Attribute::UserAgentWord).copy_from_slice(&self.words[at]);
            }
        }
        marks
    }

    /// A value as a condition, read off the first of these rows that has it; `None` when its text is no longer known.
    pub(crate) fn condition<'a>(
        &self,
        keys: &Keys,
        item: Item,
        rows: impl Iterator<Item = &'a Row>,
    ) -> Option<Condition> {
        match item.hash {
            ABSENT => return Some(Condition::absent(item.attribute)),
            PRESENT => return Some(Condition::present(item.attribute)),
            _ => {}
        }
        let mut having = rows.filter(|row| row.marks.has(item));
        let text = having.find_map(|row| self.text(keys, item, &row.marks, row.client))?;
        Some(Condition::new(item.attribute, &text))
    }

    /// The text behind a hash of an attribute whose texts are kept; `None` when it has made room for others meanwhile.
    pub(crate) fn kept(&self, attribute: Attribute, hash: ValueHash) -> Option<&[u8]> {
        let index = KEPT.iter().position(|(kept, _)| *kept == attribute)?;
        self.tables[index].text(hash)
    }

    /// The text of `item`, read off a request that has it; `None` when the text has made room for others meanwhile.
    pub(crate) fn text(
        &self,
        keys: &Keys,
        item: Item,
        marks: &Marks,
        client: Option<ClientAddress>,
    ) -> Option<Box<[u8]>> {
        let kept = |attribute| self.kept(attribute, marks.one(attribute));
        if item.attribute == Attribute::ClientPrefix {
            let at = marks.of(item.attribute).iter().position(|hash| *hash == item.hash)?;
            let text = crate::observation::attribute::client_prefixes(client?).nth(at)?;
            return Some(text.as_bytes().into());
        }
        if item.attribute == Attribute::Version {
            return VERSIONS
                .into_iter()
                .map(|version| version.as_str().as_bytes())
                .find(|text| keys.value(item.attribute, Some(text)) == item.hash)
                .map(Into::into);
        }
        let request = Request {
            method: kept(Attribute::Method).unwrap_or_default(),
            host: kept(Attribute::Host).unwrap_or_default(),
            path: kept(Attribute::Path).unwrap_or_default(),
            query: kept(Attribute::QueryKeys),
            version: Version::default(),
            user_agent: kept(Attribute::UserAgent),
            referer: kept(Attribute::RefererOrigin),
            header_order: kept(Attribute::HeaderOrder),
            ja4: kept(Attribute::Ja4),
            country: kept(Attribute::Country).and_then(|country| country.try_into().ok()),
            asn: kept(Attribute::Asn).and_then(|asn| std::str::from_utf8(asn).ok()?.parse().ok()),
        };
        let mut found = None;
        each_value(item.attribute, &request, None, |value| {
            if value.is_some() && keys.value(item.attribute, value) == item.hash {
                found = value.map(Into::into);
            }
        });
        found
    }
}

const VERSIONS: [Version; 5] = [Version::Http09, Version::Http10, Version::Http11, Version::Http2, Version::Http3];

/// How many texts share a set; within one, the text used longest ago makes room.
const WAYS: usize = 4;

/// One table of texts, set-associative.
#[derive(Clone, Debug)]
struct Table {
    tags: Vec<[Tag; WAYS]>,
    texts: Vec<Text>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Tag {
    hash: ValueHash,
    used: u32,
}

#[derive(Clone, Debug)]
struct Text {
    length: u16,
    bytes: [u8; VALUE_BYTES_MAX],
}

impl Table {
    /// `capacity` is a power of two.
    fn new(capacity: usize) -> Self {
        Self {
            tags: vec![[Tag::default(); WAYS]; capacity / WAYS],
            texts: vec![Text { length: 0, bytes: [0; VALUE_BYTES_MAX] }; capacity],
        }
    }

    fn memory_bytes(&self) -> usize {
        size_of_val(self.tags.as_slice()) + size_of_val(self.texts.as_slice())
    }

    const fn set(&self, hash: ValueHash) -> usize {
        hash as usize & (self.tags.len() - 1)
    }

    /// Keeps a text; says where, and whether it was not there before.
    fn keep(&mut self, hash: ValueHash, value: &[u8], second: u32) -> (usize, bool) {
        let set = self.set(hash);
        let tags = &mut self.tags[set];
        let mut oldest = 0;
        for way in 0..WAYS {
            if tags[way].hash == hash {
                tags[way].used = second;
                return (set * WAYS + way, false);
            }
            if tags[way].used < tags[oldest].used {
                oldest = way;
            }
        }
        tags[oldest] = Tag { hash, used: second };
        let at = set * WAYS + oldest;
        let value = &value[..value.len().min(VALUE_BYTES_MAX)];
        let text = &mut self.texts[at];
        text.length = value.len() as u16;
        text.bytes[..value.len()].copy_from_slice(value);
        (at, true)
    }

    fn text(&self, hash: ValueHash) -> Option<&[u8]> {
        let set = self.set(hash);
        let way = self.tags[set].iter().position(|tag| tag.hash == hash && hash > PRESENT)?;
        let text = &self.texts[set * WAYS + way];
        text.bytes.get(..usize::from(text.length))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> Request<'static> {
        Request {
            method: b"GET",
            host: b"example.org",
            path: b"/wiki/2019/Front.html",
            query: Some(b"action=edit&id=7"),
            version: Version::Http10,
            user_agent: Some(b"Friendica 'Giant Rhubarb' 2019.05-1310; https://a.example"),
            referer: None,
            header_order: Some(b"host user-agent accept"),
            ja4: Some(b"t13d1516h2_8daaf6152771_b186095e22b6"),
            country: Some(*b"DE"),
            asn: Some(3320),
        }
    }

    fn client(text: &str) -> Option<ClientAddress> {
        Some(ClientAddress::new(text.parse().expect("a test address")))
    }

    #[test]
    fn every_value_reads_back_as_the_gate_will_match_it() {
        let (keys, mut texts) = (Keys::new(1), Texts::new());
        for from in [client("192.0.2.7"), client("2001:db8::1"), None] {
            let marks = texts.marks(&keys, &request(), from, 1);
            let mut count = 0;
            for item in marks.items().filter(|item| item.hash > PRESENT) {
                let text = texts.text(&keys, item, &marks, from).expect("a text just kept");
                let mut has = false;
                each_value(item.attribute, &request(), from, |value| has |= value == Some(&*text));
                assert!(has, "{item:?}");
                count += 1;
            }
            assert!(count >= 18);
            assert_eq!(marks.one(Attribute::RefererOrigin), ABSENT);
        }
    }

    #[test]
    fn that_there_is_any_query_is_a_value_of_its_own() {
        let (keys, mut texts) = (Keys::new(1), Texts::new());
        let any = Condition::present(Attribute::QueryKeys);
        let item = Item { attribute: Attribute::QueryKeys, hash: keys.asked(&any) };
        let with = texts.marks(&keys, &request(), None, 1);
        let without = texts.marks(&keys, &Request { query: None, ..request() }, None, 1);
        assert!(with.has(item) && !without.has(item));
        assert_eq!(texts.condition(&keys, item, std::iter::empty()), Some(any));
        // As a saved baseline is read again.
        for marks in [with, without] {
            let mut restored = Marks::default();
            restored.set(Attribute::QueryKeys, marks.one(Attribute::QueryKeys));
            assert_eq!(restored.of(Attribute::QueryKeys), marks.of(Attribute::QueryKeys));
        }
    }

    #[test]
    fn a_network_is_the_same_for_all_its_clients_and_no_others() {
        let (keys, mut texts) = (Keys::new(1), Texts::new());
        let mut networks = |from: &str| {
            let marks = texts.marks(&keys, &request(), client(from), 1);
            marks.of(Attribute::ClientPrefix).to_vec()
        };
        let (first, second, third) = (networks("192.0.2.7"), networks("192.0.2.8"), networks("192.0.3.7"));
        assert_eq!(first[1..], second[1..]);
        assert_ne!(first[0], second[0]);
        assert_ne!(first[1], third[1]);
        assert_eq!(first[2], third[2]);
        assert_eq!(networks("2001:db8:1:2::1"), networks("2001:db8:1:2:ffff::1"));
        assert_eq!(networks("2001:db8:1:2::1")[1], networks("2001:db8:1:3::1")[1]);
        assert_ne!(networks("2001:db8:1:2::1")[0], networks("2001:db8:1:3::1")[0]);
    }

    #[test]
    fn a_flood_of_random_values_does_not_push_out_a_common_one() {
        let (keys, mut texts) = (Keys::new(1), Texts::new());
        let before = texts.memory_bytes();
        let common = texts.marks(&keys, &request(), None, 0);
        for number in 0..100_000_u32 {
            let path = format!("/{number}");
            let request = Request { path: path.as_bytes(), user_agent: Some(path.as_bytes()), ..Request::default() };
            texts.marks(&keys, &request, None, number / 1000);
            if number % 500 == 0 {
                texts.marks(&keys, &self::request(), None, number / 1000);
            }
        }
        let agent = Item { attribute: Attribute::UserAgent, hash: common.one(Attribute::UserAgent) };
        assert_eq!(texts.text(&keys, agent, &common, None).as_deref(), request().user_agent);
        assert_eq!(texts.memory_bytes(), before);
    }
}
