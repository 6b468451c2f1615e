//! Is it many people? The score of a rule cannot tell a crowd from a flood, so this stands before any enforcement.
//!
//! A crowd is a link on a big site, a picture passed on, a post that a thousand federated servers preview. It asks with
//! GET, its agents and networks are many, each client asks for little, and browsers that came for a page fetch what the
//! page needs. Whoever sends one page request from each address and never fetches a style sheet is no browser. A single
//! static file has nothing to fetch: browsers that ask for it and nothing else are a crowd, to be held cheaply.
//!
//! An error here to one side bans people, to the other it lets a flood be shed instead of refused. What cannot be told
//! is therefore a crowd.

use std::time::Duration;

use rustc_hash::FxHashMap;

use crate::observation::attribute::Attribute;
use crate::units::Timestamp;

use super::mining::ROWS_MAX;
use super::recent::Sampled;
use super::statistics::effective_kinds;
use super::values::{ABSENT, Item, Keys, ValueHash};

/// What the crowd test says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Crowd {
    /// Many people; with why, for the explanation.
    Yes(&'static str),
    /// No crowd.
    No,
    /// Too few clients, or too little time for a browser to have gone on.
    TooEarly,
}

/// Methods of people who look at something: nearly all of a crowd's.
const LOOKING_SHARE: f64 = 0.95;

/// As diverse as this many equally common agents, and networks of 256 addresses.
const KINDS_MIN: f64 = 6.0;

/// No crowd has one agent on more clients than this.
const AGENT_SHARE_MAX: f64 = 0.5;

/// Clients that must be seen before anything is said for a crowd.
const CLIENTS_MIN: usize = 12;

/// People's browsers fetch a page and its parts; a client that asks for more is no reader.
const REQUESTS_PER_CLIENT_MAX: f64 = 20.0;

/// Nobody crowds in front of errors.
const ERROR_SHARE_MAX: f64 = 0.5;

/// One kind of target when this share of the requests is for it.
const STATIC_SHARE: f64 = 0.8;

/// A file that is passed on has this share of the requests; the parts of many pages have not.
const TARGET_SHARE: f64 = 0.5;

/// How long a browser may take from the page to its first asset. The median of the web is below 1 s; on a pressed
/// server it is longer, but a third of the clients suffices.
const ASSET_DELAY: Duration = Duration::from_millis(1500);

/// Clients that had the time to fetch an asset, before their share says anything.
const FOLLOWERS_MIN: usize = 8;

/// The share of page clients that fetch assets in a crowd; the rest has them in its cache.
const FOLLOWING_SHARE: f64 = 0.3;

/// A site of which fewer requests than this are for assets has no pages with parts.
const ASSET_SHARE_MIN: f64 = 0.05;

/// Programs that say where they come from (`Mastodon/1.5.0; +https://instance.example`).
const NAMED_SHARE: f64 = 0.5;

/// The extensions of files that are fetched by themselves or as parts of pages, and lead to nothing more.
const STATIC_EXTENSIONS: [&[u8]; 40] = [
    b"css",
    b"js",
    b"mjs",
    b"map",
    b"json",
    b"xml",
    b"rss",
    b"atom",
    b"txt",
    b"ico",
    b"svg",
    b"gif",
    b"png",
    b"jpg",
    b"jpeg",
    b"webp",
    b"avif",
    b"bmp",
    b"woff",
    b"woff2",
    b"ttf",
    b"otf",
    b"eot",
    b"mp3",
    b"mp4",
    b"webm",
    b"ogg",
    b"opus",
    b"m4a",
    b"wav",
    b"pdf",
    b"zip",
    b"gz",
    b"xz",
    b"bz2",
    b"pem",
    b"crt",
    b"iso",
    b"webmanifest",
    b"wasm",
];

/// Hashes of the values that tell people from programs.
#[derive(Clone, Debug)]
pub(crate) struct Marked {
    static_extensions: Vec<ValueHash>,
    get: ValueHash,
    head: ValueHash,
    pub(crate) post: ValueHash,
    https: ValueHash,
    http: ValueHash,
}

impl Marked {
    pub(crate) fn new(keys: &Keys) -> Self {
        let extension = |extension: &[u8]| keys.value(Attribute::Extension, Some(extension));
        let mut static_extensions: Vec<ValueHash> = STATIC_EXTENSIONS.into_iter().map(extension).collect();
        static_extensions.sort_unstable();
        let method = |method: &[u8]| keys.value(Attribute::Method, Some(method));
        let word = |word: &[u8]| keys.value(Attribute::UserAgentWord, Some(word));
        Self {
            static_extensions,
            get: method(b"GET"),
            head: method(b"HEAD"),
            post: method(b"POST"),
            https: word(b"https"),
            http: word(b"http"),
        }
    }

    /// Whether this is the extension of a static file.
    pub(crate) fn is_static(&self, extension: ValueHash) -> bool {
        self.static_extensions.binary_search(&extension).is_ok()
    }
}

/// What ordinary traffic is like, for comparison.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ordinary {
    /// The share of requests for static files.
    pub(crate) asset_share: f64,
    /// How diverse the networks of ordinary clients are; `None` when they are not known.
    pub(crate) networks: Option<f64>,
}

/// What one client did.
#[derive(Debug, Default)]
struct Visitor {
    agent: ValueHash,
    network: ValueHash,
    requests: f64,
    /// When it first asked for a page of those looked at.
    page: Option<Timestamp>,
    fetched_asset: bool,
}

/// Whether the requests that have all of `items` come from a crowd; with no items, all of them. `rows` is everything
/// since the onset, `now` the present.
pub(crate) fn crowd<'a>(
    items: &[Item],
    rows: impl Iterator<Item = Sampled<'a>> + Clone,
    now: Timestamp,
    marked: &Marked,
    ordinary: Ordinary,
) -> Crowd {
    let mut visitors: FxHashMap<u32, Visitor> = FxHashMap::default();
    // Of more rows than these, every second, third, … client is looked at, with all that it did.
    let every = (rows.clone().count() / ROWS_MAX) as u32 + 1;
    let rows = rows.filter(|sampled| sampled.row.client_hash.is_multiple_of(every));
    let (mut requests, mut looking, mut statics, mut named) = (0.0, 0.0, 0.0, 0.0);
    let (mut answered, mut errors) = (0.0, 0.0);
    let mut unknown = 0_u32;
    let mut targets: FxHashMap<ValueHash, f64> = FxHashMap::default();
    for sampled in rows {
        let marks = &sampled.row.marks;
        let is_static = marked.is_static(marks.one(Attribute::Extension));
        let matches = marks.has_all(items);
        let factor = f64::from(sampled.factor);
        if matches && sampled.row.status > 0 {
            answered += factor;
            let status = sampled.row.status;
            if (400..500).contains(&status) && status != 429 {
                errors += factor;
            }
        }
        if sampled.row.requests() <= 0.0 {
            continue;
        }
        let client = match sampled.row.client_hash {
            // Without addresses each request is taken for a client of its own.
            0 => {
                unknown += 1;
                unknown
            }
            known => known,
        };
        if !matches {
            if is_static && let Some(visitor) = visitors.get_mut(&client) {
                visitor.fetched_asset = true;
            } else if is_static {
                visitors.entry(client).or_default().fetched_asset = true;
            }
            continue;
        }
        let weight = f64::from(sampled.row.requests()) * factor;
        let method = marks.one(Attribute::Method);
        requests += weight;
        looking += if method == marked.get || method == marked.head { weight } else { 0.0 };
        statics += if is_static { weight } else { 0.0 };
        *targets.entry(marks.one(Attribute::Path)).or_default() += weight;
        let words = marks.of(Attribute::UserAgentWord);
        named += if words.contains(&marked.https) || words.contains(&marked.http) { weight } else { 0.0 };
        let visitor = visitors.entry(client).or_default();
        visitor.agent = marks.one(Attribute::UserAgent);
        visitor.network = marks.of(Attribute::ClientPrefix).get(1).copied().unwrap_or_default();
        visitor.requests += weight;
        visitor.fetched_asset |= is_static;
        if !is_static {
            let first = visitor.page.get_or_insert(sampled.at);
            *first = (*first).min(sampled.at);
        }
    }
    visitors.retain(|_, visitor| visitor.requests > 0.0);
    let clients = visitors.len();
    if clients == 0 {
        return Crowd::TooEarly;
    }
    if looking < LOOKING_SHARE * requests
        || requests / clients as f64 > REQUESTS_PER_CLIENT_MAX
        || (answered >= CLIENTS_MIN as f64 && errors > ERROR_SHARE_MAX * answered)
    {
        return Crowd::No;
    }
    let agents = tally(visitors.values().map(|visitor| visitor.agent).filter(|agent| *agent != ABSENT));
    let networks = tally(visitors.values().map(|visitor| visitor.network));
    let (agent_kinds, network_kinds) =
        (effective_kinds(agents.values().copied()), effective_kinds(networks.values().copied()));
    let top_agent = agents.values().copied().fold(0.0, f64::max) / clients as f64;
    let networks_min = ordinary.networks.map_or(KINDS_MIN, |networks| KINDS_MIN.min(networks / 2.0));
    let addresses_known = unknown < clients as u32 / 2;
    let diverse =
        agent_kinds >= KINDS_MIN && top_agent <= AGENT_SHARE_MAX && (!addresses_known || network_kinds >= networks_min);
    if clients < CLIENTS_MIN {
        // A handful of clients that look alike is no crowd; a handful that does not may become one.
        let alike = top_agent > AGENT_SHARE_MAX || agents.is_empty() || requests / clients as f64 > 5.0;
        return if alike { Crowd::No } else { Crowd::TooEarly };
    }
    if !diverse {
        return Crowd::No;
    }
    if !addresses_known {
        return Crowd::Yes("agents are many, and without addresses nobody can tell more");
    }
    let target = targets.values().copied().fold(0.0, f64::max);
    if statics >= STATIC_SHARE * requests && target >= TARGET_SHARE * requests {
        return Crowd::Yes("many different clients ask for a static file and little else");
    }
    if named >= NAMED_SHARE * requests && target >= TARGET_SHARE * requests {
        return Crowd::Yes("many servers that say who they are look at one page");
    }
    if ordinary.asset_share < ASSET_SHARE_MIN {
        return Crowd::Yes(
            "many different clients, and the site has no parts of pages by which browsers could be told",
        );
    }
    let followers = visitors.values().filter(|visitor| visitor.page.is_some_and(|page| now.since(page) >= ASSET_DELAY));
    let (followers, following) =
        followers.fold((0, 0), |(all, following), visitor| (all + 1, following + usize::from(visitor.fetched_asset)));
    if followers < FOLLOWERS_MIN {
        return Crowd::TooEarly;
    }
    if following as f64 >= FOLLOWING_SHARE * followers as f64 {
        return Crowd::Yes("many different clients load pages and then what the pages need");
    }
    Crowd::No
}

fn tally(values: impl Iterator<Item = ValueHash>) -> FxHashMap<ValueHash, f64> {
    let mut counts = FxHashMap::default();
    values.for_each(|value| *counts.entry(value).or_default() += 1.0);
    counts
}
