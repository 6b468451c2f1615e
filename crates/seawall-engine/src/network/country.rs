//! Country codes: those that ISO 3166-1 assigns, and nothing that merely looks like one.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The codes of two letters that ISO 3166-1 assigns, sorted, and `XK`, which it leaves to users and which all databases of
/// addresses use for Kosovo. Source: the ISO Online Browsing Platform, 249 officially assigned codes.
const CODES: &[u8] = b"\
    ADAEAFAGAIALAMAOAQARASATAUAWAXAZBABBBDBEBFBGBHBIBJBLBMBNBOBQBRBSBTBVBWBYBZCACCCDCFCGCHCICKCLCMCNCOCRCUCVCWCXCYCZ\
    DEDJDKDMDODZECEEEGEHERESETFIFJFKFMFOFRGAGBGDGEGFGGGHGIGLGMGNGPGQGRGSGTGUGWGYHKHMHNHRHTHUIDIEILIMINIOIQIRISIT\
    JEJMJOJPKEKGKHKIKMKNKPKRKWKYKZLALBLCLILKLRLSLTLULVLYMAMCMDMEMFMGMHMKMLMMMNMOMPMQMRMSMTMUMVMWMXMYMZ\
    NANCNENFNGNINLNONPNRNUNZOMPAPEPFPGPHPKPLPMPNPRPSPTPWPYQARERORSRURWSASBSCSDSESGSHSISJSKSLSMSNSOSRSSSTSVSXSYSZ\
    TCTDTFTGTHTJTKTLTMTNTOTRTTTVTWTZUAUGUMUSUYUZVAVCVEVGVIVNVUWFWSXKYEYTZAZMZW";

/// What people write in place of a code, and the code that they mean.
const MISTAKEN: &[(&str, &str)] = &[
    ("CHN", "CN"),
    ("CS", "RS"),
    ("DD", "DE"),
    ("DEU", "DE"),
    ("EL", "GR"),
    ("EN", "GB"),
    ("ESP", "ES"),
    ("FRA", "FR"),
    ("GBR", "GB"),
    ("GER", "DE"),
    ("IND", "IN"),
    ("JA", "JP"),
    ("PRC", "CN"),
    ("RUS", "RU"),
    ("SU", "RU"),
    ("TP", "TL"),
    ("UK", "GB"),
    ("USA", "US"),
    ("YU", "RS"),
    ("ZR", "CD"),
];

/// A country or territory by its code of two letters (ISO 3166-1 alpha-2), such as `DE`. Read in either case, shown in
/// capitals.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CountryCode([u8; 2]);

impl CountryCode {
    /// The code of these two capitals, if it is assigned.
    pub fn from_letters(letters: [u8; 2]) -> Option<Self> {
        let (codes, _) = CODES.as_chunks::<2>();
        codes.binary_search(&letters).is_ok().then_some(Self(letters))
    }

    /// The place of the code among all, sorted; there are fewer than 255.
    pub(super) fn place(self) -> u8 {
        CODES.as_chunks::<2>().0.binary_search(&self.0).map_or(u8::MAX, |place| place as u8)
    }

    /// The code at this place among all, sorted.
    pub(super) fn at(place: u8) -> Option<Self> {
        CODES.as_chunks::<2>().0.get(usize::from(place)).map(|letters| Self(*letters))
    }

    /// The two capitals.
    pub const fn letters(self) -> [u8; 2] {
        self.0
    }

    /// The code as text.
    pub fn as_str(&self) -> &str {
        // Only capitals of ASCII are ever in a code.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// Every code that there is, sorted.
    pub fn all() -> impl Iterator<Item = Self> {
        CODES.as_chunks::<2>().0.iter().map(|letters| Self(*letters))
    }
}

impl fmt::Display for CountryCode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

impl fmt::Debug for CountryCode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl FromStr for CountryCode {
    type Err = CountryCodeError;

    fn from_str(text: &str) -> Result<Self, CountryCodeError> {
        let capitals = text.to_ascii_uppercase();
        let letters = <[u8; 2]>::try_from(capitals.as_bytes()).ok();
        letters.and_then(Self::from_letters).ok_or_else(|| {
            let meant = MISTAKEN.iter().find(|(mistaken, _)| *mistaken == capitals).map(|(_, code)| *code);
            CountryCodeError { found: text.chars().take(CountryCodeError::CHARACTERS_MAX).collect(), meant }
        })
    }
}

impl TryFrom<String> for CountryCode {
    type Error = CountryCodeError;

    fn try_from(text: String) -> Result<Self, CountryCodeError> {
        text.parse()
    }
}

impl From<CountryCode> for String {
    fn from(code: CountryCode) -> Self {
        code.as_str().to_owned()
    }
}

/// A text that is no country code.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("found {found:?}, which is no country code; {}", advice(*meant))]
pub struct CountryCodeError {
    found: String,
    meant: Option<&'static str>,
}

impl CountryCodeError {
    /// How much of a text the error repeats.
    const CHARACTERS_MAX: usize = 20;

    /// The code that was probably meant.
    pub fn meant(&self) -> Option<CountryCode> {
        self.meant?.parse().ok()
    }
}

fn advice(meant: Option<&str>) -> String {
    match meant {
        Some(code) => format!("write {code:?}"),
        None => "write two letters of ISO 3166-1, such as \"DE\", \"GB\" or \"US\"".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_complete_sorted_and_without_repetition() {
        let codes: Vec<CountryCode> = CountryCode::all().collect();
        // 249 of ISO 3166-1 and XK.
        assert_eq!(codes.len(), 250);
        assert!(codes.is_sorted_by(|left, right| left < right));
        assert!(CODES.as_chunks::<2>().1.is_empty());
        for code in codes {
            assert_eq!(code.to_string().parse(), Ok(code));
        }
    }

    #[test]
    fn codes_are_read_in_either_case() {
        assert_eq!("de".parse::<CountryCode>().map(|code| code.to_string()), Ok("DE".to_owned()));
        assert_eq!(serde_json::to_string(&CountryCode(*b"FR")).expect("JSON"), "\"FR\"");
        assert_eq!(serde_json::from_str::<CountryCode>("\"fr\"").expect("a code"), CountryCode(*b"FR"));
    }

    #[test]
    fn what_is_no_code_is_told_what_is() {
        let check = |text: &str, expected: &str| {
            let error = text.parse::<CountryCode>().expect_err("no code");
            assert_eq!(error.to_string(), expected);
        };
        check("UK", "found \"UK\", which is no country code; write \"GB\"");
        check("usa", "found \"usa\", which is no country code; write \"US\"");
        let general = "which is no country code; write two letters of ISO 3166-1, such as \"DE\", \"GB\" or \"US\"";
        check("EU", &format!("found \"EU\", {general}"));
        check("", &format!("found \"\", {general}"));
        check("Ü", &format!("found \"Ü\", {general}"));
        check(&"\u{1b}x".repeat(50), &format!("found \"{}\", {general}", "\\u{1b}x".repeat(10)));
        for (mistaken, code) in MISTAKEN {
            let error = mistaken.parse::<CountryCode>().expect_err("no code");
            assert_eq!(error.meant().map(|code| code.to_string()).as_deref(), Some(*code));
        }
    }
}
