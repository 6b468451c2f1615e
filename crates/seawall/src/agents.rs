//! What a user agent says that it is: a browser, a crawler, a feed reader, a library.
//!
//! Crawlers, libraries and feed readers come from a list that others keep (`data/agents.tsv`, made by `cargo xtask agent-data`), and the
//! few that it lacks from another below; browsers, of which there are few as well, from the table there. What an agent says of itself is no proof of anything.

use std::sync::OnceLock;

use aho_corasick::{AhoCorasick, MatchKind};
use hashbrown::DefaultHashBuilder;
use std::hash::BuildHasher as _;

const LIST: &str = include_str!("../data/agents.tsv");

/// What the list lacks, in its form.
const ADDED: &str = "-\tfeed-reader\tfeedparser\tUniversalFeedParser/\n-\tfeed-reader\tfeedparser\tfeedparser/";

/// How much of a user agent is looked at, in bytes, as the guard's rules cut it.
const AGENT_BYTES_MAX: usize = seawall_engine::observation::attribute::VALUE_BYTES_MAX;

/// Browsers by a text that only they and what is built on them send; of several in one agent, the first of this table.
const BROWSERS: [(&str, &str); 32] = [
    ("MicroMessenger/", "WeChat"),
    ("FBAN/", "Facebook app"),
    ("FBAV/", "Facebook app"),
    ("Instagram ", "Instagram app"),
    ("EdgiOS/", "Edge"),
    ("EdgA/", "Edge"),
    ("Edg/", "Edge"),
    ("Edge/", "Edge"),
    ("OPR/", "Opera"),
    ("OPiOS/", "Opera"),
    ("Opera", "Opera"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("YaBrowser/", "Yandex Browser"),
    ("UCBrowser/", "UC Browser"),
    ("MQQBrowser/", "QQ Browser"),
    ("QQBrowser/", "QQ Browser"),
    ("HuaweiBrowser/", "Huawei Browser"),
    ("MiuiBrowser/", "Mi Browser"),
    ("Vivaldi/", "Vivaldi"),
    ("DuckDuckGo/", "DuckDuckGo"),
    ("Whale/", "Whale"),
    ("SeaMonkey/", "SeaMonkey"),
    ("PaleMoon/", "Pale Moon"),
    ("FxiOS/", "Firefox"),
    ("Firefox/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("Chromium/", "Chromium"),
    ("Chrome/", "Chrome"),
    ("MSIE ", "Internet Explorer"),
    ("Trident/", "Internet Explorer"),
    ("Safari/", "Safari"),
    ("AppleWebKit/", "WebKit app"),
];

/// Parts of the names that robots of no list give themselves.
const ROBOT_WORDS: [&str; 12] =
    ["bot/", "Bot/", "bot;", "Bot;", "bot ", "Bot ", "crawler", "Crawler", "spider", "Spider", "scraper", "Scraper"];

/// What kind of program it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AgentKind {
    /// People look at pages with it.
    Browser,
    /// As the list names it: `search-engine`, `ai-crawler`, `feed-reader`, `http-library`, ….
    Listed(&'static str),
    /// It calls itself a robot, and is in no list.
    Robot,
    /// Nothing is known of it.
    Unknown,
}

impl AgentKind {
    /// What it is called.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Browser => "browser",
            Self::Listed(tag) => tag,
            Self::Robot => "robot",
            Self::Unknown => "unknown",
        }
    }
}

/// A family of user agents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Family {
    /// Its name.
    pub name: &'static str,
    /// Its kind.
    pub kind: AgentKind,
}

/// Which family a user agent belongs to.
#[derive(Debug)]
pub struct Agents {
    automaton: AhoCorasick,
    /// Of each text of the automaton: its family, and where it must stand.
    texts: Vec<(u16, Place)>,
    families: Vec<Family>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Anywhere,
    Beginning,
    End,
}

/// The family of what is none of the others.
const UNKNOWN: u16 = 0;
/// The family of robots of no list.
const ROBOT: u16 = 1;

impl Agents {
    /// What is built in, made at the first call.
    pub fn built_in() -> &'static Self {
        static AGENTS: OnceLock<Agents> = OnceLock::new();
        AGENTS.get_or_init(Self::new)
    }

    fn new() -> Self {
        let mut families = vec![
            Family { name: "(unknown)", kind: AgentKind::Unknown },
            Family { name: "(other robots)", kind: AgentKind::Robot },
        ];
        let mut known = std::collections::HashMap::new();
        let mut number = |family: Family| -> u16 {
            *known.entry((family.name, family.kind)).or_insert_with(|| {
                families.push(family);
                u16::try_from(families.len() - 1).unwrap_or(UNKNOWN)
            })
        };
        let mut patterns: Vec<&str> = Vec::new();
        let mut texts = Vec::new();
        // Their numbers rise in the order in which they are preferred.
        for (text, name) in BROWSERS {
            patterns.push(text);
            texts.push((number(Family { name, kind: AgentKind::Browser }), Place::Anywhere));
        }
        for word in ROBOT_WORDS {
            patterns.push(word);
            texts.push((ROBOT, Place::Anywhere));
        }
        for line in LIST.lines().chain(ADDED.lines()).filter(|line| !line.starts_with('#')) {
            let mut fields = line.split('\t');
            let (Some(place), Some(tag), Some(name), Some(text)) =
                (fields.next(), fields.next(), fields.next(), fields.next())
            else {
                continue;
            };
            patterns.push(text);
            let place = match place {
                "^" => Place::Beginning,
                "$" => Place::End,
                _ => Place::Anywhere,
            };
            texts.push((number(Family { name, kind: AgentKind::Listed(tag) }), place));
        }
        let automaton = AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(patterns);
        // The list is built in and was read by a test; without it every agent is unknown.
        let automaton = automaton.unwrap_or_else(|_| AhoCorasick::new([""; 0]).unwrap_or_else(|_| unreachable!()));
        Self { automaton, texts, families }
    }

    /// The number of the family of a user agent.
    pub fn family_of(&self, agent: &[u8]) -> u16 {
        let agent = agent.get(..AGENT_BYTES_MAX).unwrap_or(agent);
        let mut browser: Option<usize> = None;
        let mut is_robot = false;
        for found in self.automaton.find_iter(agent) {
            let pattern = found.pattern().as_usize();
            let Some((family, place)) = self.texts.get(pattern) else { continue };
            if pattern < BROWSERS.len() {
                browser = Some(browser.map_or(pattern, |known| known.min(pattern)));
            } else if *family == ROBOT {
                is_robot = true;
            } else if match place {
                Place::Anywhere => true,
                Place::Beginning => found.start() == 0,
                Place::End => found.end() == agent.len(),
            } {
                return *family;
            }
        }
        if is_robot {
            return ROBOT;
        }
        browser.and_then(|pattern| self.texts.get(pattern)).map_or(UNKNOWN, |(family, _)| *family)
    }

    /// The family with this number.
    pub fn family(&self, number: u16) -> Family {
        let unknown = Family { name: "(unknown)", kind: AgentKind::Unknown };
        self.families.get(usize::from(number)).copied().unwrap_or(unknown)
    }
}

/// How many families are remembered.
const REMEMBERED: usize = 1 << 12;

/// Families of user agents that were asked for a short while ago: a log has the same few again and again.
#[derive(Debug)]
pub struct RecentAgents {
    agents: &'static Agents,
    hasher: DefaultHashBuilder,
    /// By the last bits of the agent's hash.
    remembered: Box<[(u64, u16)]>,
}

impl RecentAgents {
    /// Remembers nothing yet.
    pub fn new(agents: &'static Agents) -> Self {
        let remembered = vec![(0, UNKNOWN); REMEMBERED].into_boxed_slice();
        Self { agents, hasher: DefaultHashBuilder::default(), remembered }
    }

    /// The number of the family of a user agent.
    #[inline]
    pub fn family_of(&mut self, agent: &[u8]) -> u16 {
        let hash = self.hasher.hash_one(agent);
        let place = usize::try_from(hash % REMEMBERED as u64).unwrap_or_default();
        let Some(entry) = self.remembered.get_mut(place) else { return UNKNOWN };
        if entry.0 != hash {
            // The seed is new in each run: nobody can make two agents that have the same.
            *entry = (hash, self.agents.family_of(agent));
        }
        entry.1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(agent: &str, name: &str, kind: &str) {
        let agents = Agents::built_in();
        let family = agents.family(agents.family_of(agent.as_bytes()));
        assert_eq!((family.name, family.kind.as_str()), (name, kind), "{agent}");
        let mut recent = RecentAgents::new(agents);
        for _ in 0..2 {
            assert_eq!(agents.family(recent.family_of(agent.as_bytes())), family);
        }
    }

    #[test]
    fn browsers_are_told_from_what_they_are_built_on() {
        let webkit = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko)";
        check(&format!("{webkit} Chrome/126.0.0.0 Safari/537.36"), "Chrome", "browser");
        check(&format!("{webkit} Chrome/126.0.0.0 Safari/537.36 Edg/126.0.0.0"), "Edge", "browser");
        check(&format!("{webkit} Chrome/126.0.0.0 Safari/537.36 OPR/111.0.0.0"), "Opera", "browser");
        check("Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0", "Firefox", "browser");
        check(
            "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1",
            "Safari",
            "browser",
        );
        check("Mozilla/4.0 (compatible; MSIE 8.0; Windows NT 6.1)", "Internet Explorer", "browser");
    }

    #[test]
    fn crawlers_libraries_and_readers_are_listed() {
        check("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", "Googlebot", "search-engine");
        check(
            "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2; +https://openai.com/gptbot)",
            "GPTBot",
            "ai-crawler",
        );
        check("curl/8.9.1", "curl", "http-library");
        check("python-requests/2.32.3", "python-requests", "http-library");
        check("UniversalFeedParser/4.2-pre-314-svn +http://feedparser.org/", "feedparser", "feed-reader");
        check("Feedly/1.0 (+http://www.feedly.com/fetcher.html; like FeedFetcher-Google)", "Feedly", "feed-reader");
    }

    #[test]
    fn others_are_robots_or_unknown() {
        check("ExampleBot/1.0 (+https://bot.example)", "(other robots)", "robot");
        check("", "(unknown)", "unknown");
        check("-", "(unknown)", "unknown");
        check("\u{1}\u{ffff}<script>", "(unknown)", "unknown");
    }

    #[test]
    fn the_list_is_whole() {
        let agents = Agents::built_in();
        assert!(agents.families.len() > 1000 && agents.families.len() < usize::from(u16::MAX));
        let lines = LIST.lines().chain(ADDED.lines()).filter(|line| !line.starts_with('#')).count();
        assert_eq!(agents.texts.len(), lines + BROWSERS.len() + ROBOT_WORDS.len(), "every line has four fields");
        assert_eq!(agents.automaton.patterns_len(), agents.texts.len(), "the automaton could be made");
    }
}
