//! What kind of network an autonomous system is, told from its name.
//!
//! Names are what operators call themselves in the registries, so this is a hint for people and for evidence and never a
//! proof: a company of many trades has one name, and most names say nothing.

use std::fmt;
use std::ops::Range;
use std::sync::LazyLock;

use aho_corasick::AhoCorasick;
use serde::{Deserialize, Serialize};

/// What kind of network an autonomous system is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NetworkKind {
    /// Where people connect from: telephone, cable, fibre and mobile companies, small internet providers.
    Access,
    /// Where servers stand: hosting, clouds, data centres.
    Hosting,
    /// What delivers other people's sites.
    Cdn,
    /// Universities, schools, and the research networks between them.
    Education,
    /// The name does not say.
    #[default]
    Unknown,
}

impl NetworkKind {
    /// The kind in one word, lower case.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Access => "access",
            Self::Hosting => "hosting",
            Self::Cdn => "cdn",
            Self::Education => "education",
            Self::Unknown => "unknown",
        }
    }

    /// The kind of a system of this name.
    ///
    /// The lists are asked in order and the first that knows a word decides: the most special first, since "Huawei Cloud
    /// Service data center" is a cloud of a telephone company's supplier, and "University Telecom" serves a university.
    pub fn of_name(name: &str) -> Self {
        let name = name.to_lowercase();
        let (searcher, marks) = &*SEARCHER;
        let found = searcher.find_overlapping_iter(&name).filter_map(|found| {
            let mark = marks.get(found.pattern().as_usize())?;
            (!mark.whole_word || is_whole_word(&name, found.range())).then_some(mark.list)
        });
        found.min().and_then(|list| LISTS.get(list)).map_or(Self::Unknown, |(kind, _)| *kind)
    }
}

impl fmt::Display for NetworkKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

/// What the name of a kind of network has in it, in lower case.
struct Marks {
    /// Whole words.
    words: &'static [&'static str],
    /// Parts, wherever they stand: long enough that no other word has them, or of several words.
    parts: &'static [&'static str],
}

const LISTS: &[(NetworkKind, Marks)] = &[
    (NetworkKind::Cdn, CDN),
    (NetworkKind::Hosting, HOSTING),
    (NetworkKind::Education, EDUCATION),
    (NetworkKind::Access, ACCESS),
];

/// The networks that deliver for others are few and known by name. Datacamp is CDN77, Bunnyway is bunny.net.
const CDN: Marks = Marks {
    words: &[
        "akamai",
        "bunnyway",
        "cachefly",
        "cdn",
        "cdn77",
        "cdnetworks",
        "cdnvideo",
        "cloudflare",
        "datacamp",
        "edgecast",
        "edgio",
        "fastly",
        "imperva",
        "incapsula",
        "limelight",
        "qrator",
        "stackpath",
    ],
    parts: &["g-core", "content delivery"],
};

/// Words of the trade, and the large ones whose names have none of them. Constant is Vultr, Oracle and Microsoft are here
/// for their clouds.
const HOSTING: Marks = Marks {
    words: &[
        "alibaba",
        "amazon",
        "aruba",
        "aws",
        "azure",
        "choopa",
        "cloud",
        "cloudvps",
        "clouds",
        "colo",
        "colocation",
        "contabo",
        "datacenter",
        "datacenters",
        "datacentre",
        "dedicated",
        "digitalocean",
        "dreamhost",
        "equinix",
        "gandi",
        "godaddy",
        "google",
        "hetzner",
        "host",
        "hosteurope",
        "hostinger",
        "hostwinds",
        "hosts",
        "infomaniak",
        "ionos",
        "leaseweb",
        "linode",
        "m247",
        "microsoft",
        "namecheap",
        "netcup",
        "oracle",
        "ovh",
        "packethub",
        "psychz",
        "rackspace",
        "scaleway",
        "selectel",
        "server",
        "servers",
        "serverius",
        "strato",
        "tencent",
        "timeweb",
        "ucloud",
        "vps",
        "vultr",
        "worldstream",
    ],
    parts: &["constant company", "data center", "data centre", "data-center", "hosting", "ip volume"],
};

/// Universities in the languages that most systems are named in, and the research networks that connect them.
const EDUCATION: Marks = Marks {
    words: &[
        "academic",
        "academy",
        "academia",
        "belnet",
        "campus",
        "canarie",
        "college",
        "education",
        "educational",
        "forschungsnetz",
        "forschungsnetzes",
        "garr",
        "internet2",
        "janet",
        "jisc",
        "politecnico",
        "renater",
        "school",
        "schools",
        "universiti",
    ],
    parts: &["hochschule", "institute of technology", "universid", "universit"],
};

/// Words of the trade in the languages that most systems are named in, and the large ones whose names have none of them.
const ACCESS: Marks = Marks {
    words: &[
        "airtel",
        "bell",
        "bharat",
        "bt",
        "cable",
        "cablevision",
        "cellular",
        "centurylink",
        "charter",
        "chinanet",
        "claro",
        "comcast",
        "cox",
        "etisalat",
        "fastweb",
        "fiber",
        "fibra",
        "fibre",
        "frontier",
        "gsm",
        "isp",
        "itissalat",
        "jio",
        "kddi",
        "kpn",
        "mobile",
        "mobil",
        "mobinil",
        "movistar",
        "mts",
        "optus",
        "orange",
        "powercomm",
        "proximus",
        "provedor",
        "rogers",
        "singtel",
        "sfr",
        "sky",
        "softbank",
        "spectrum",
        "starlink",
        "swisscom",
        "tele2",
        "telenor",
        "telia",
        "telstra",
        "telus",
        "telmex",
        "tim",
        "uninet",
        "unicom",
        "verizon",
        "viettel",
        "virgin",
        "vivo",
        "vnpt",
        "vodafone",
        "wifi",
        "windstream",
        "wireless",
        "wisp",
    ],
    parts: &[
        "acesso",
        "at&t",
        "banda larga",
        "broadband",
        "fibernet",
        "free sas",
        "internet service",
        "sanchar nigam",
        "telecom",
        "telefon",
        "telefón",
        "telekom",
        "telephone",
        "télécom",
        "turkcell",
    ],
};

/// A mark, by the place of its list and how it must stand.
struct Mark {
    list: usize,
    whole_word: bool,
}

/// All marks in one automaton, since a table of the whole internet has 90,000 names to tell.
static SEARCHER: LazyLock<(AhoCorasick, Vec<Mark>)> = LazyLock::new(|| {
    let (mut texts, mut marks): (Vec<&str>, Vec<Mark>) = (Vec::new(), Vec::new());
    for (list, (_, of_list)) in LISTS.iter().enumerate() {
        for (list_texts, whole_word) in [(of_list.words, true), (of_list.parts, false)] {
            texts.extend(list_texts);
            marks.extend(list_texts.iter().map(|_| Mark { list, whole_word }));
        }
    }
    (AhoCorasick::new(texts).expect("an automaton of a few hundred short texts"), marks)
});

/// Whether neither a letter nor a digit stands beside this part of `name`.
fn is_whole_word(name: &str, part: Range<usize>) -> bool {
    let before = name.get(..part.start).and_then(|before| before.chars().next_back());
    let after = name.get(part.end..).and_then(|after| after.chars().next());
    ![before, after].into_iter().flatten().any(char::is_alphanumeric)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_the_kind() {
        let check = |kind: NetworkKind, names: &[&str]| {
            for name in names {
                assert_eq!(NetworkKind::of_name(name), kind, "{name}");
            }
        };
        check(
            NetworkKind::Cdn,
            &["Cloudflare, Inc.", "Akamai International B.V.", "Fastly, Inc.", "Datacamp Limited", "G-Core Labs S.A."],
        );
        check(
            NetworkKind::Hosting,
            &[
                "Amazon.com, Inc.",
                "Google LLC",
                "Hetzner Online GmbH",
                "OVH SAS",
                "DigitalOcean, LLC",
                "The Constant Company, LLC",
                "Shenzhen Tencent Computer Systems Company Limited",
                "Huawei Cloud Service data center",
                "IONOS SE",
                "LeaseWeb Netherlands B.V.",
            ],
        );
        check(
            NetworkKind::Access,
            &[
                "Deutsche Telekom AG",
                "Comcast Cable Communications, LLC",
                "AT&T Enterprises, LLC",
                "T-Mobile USA, Inc.",
                "China Mobile",
                "Claro NXT Telecomunicacoes Ltda",
                "CHINA UNICOM China169 Backbone",
                "Turk Telekomunikasyon Anonim Sirketi",
                "Free SAS",
            ],
        );
        check(
            NetworkKind::Education,
            &[
                "Massachusetts Institute of Technology",
                "University of California, San Diego",
                "Verein zur Foerderung eines Deutschen Forschungsnetzes e.V.",
                "Universidad Nacional Autonoma de Mexico",
            ],
        );
    }

    #[test]
    fn what_a_name_does_not_say_is_unknown() {
        // Words count whole: a hostel hosts nobody's servers, and a timber company is not TIM.
        for name in ["", "Apple Inc.", "Ford Motor Company", "Hostel Union", "Timber Trading", "ØÆ ß İ"] {
            assert_eq!(NetworkKind::of_name(name), NetworkKind::Unknown, "{name}");
        }
    }

    #[test]
    fn every_mark_is_lower_case_and_decides() {
        for (kind, marks) in LISTS {
            for mark in marks.words.iter().chain(marks.parts) {
                assert_eq!(*mark, mark.to_lowercase());
                assert_eq!(NetworkKind::of_name(&mark.to_uppercase()), *kind, "{mark}");
            }
        }
    }
}
