//! Country codes: those that ISO 3166-1 assigns, and nothing that merely looks like one.

use std::fmt;
use std::num::NonZeroU8;
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
///
/// It is kept as its place among all codes, sorted, counted from 1: in one byte, and so is its absence.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CountryCode(NonZeroU8);

impl CountryCode {
    /// The code of these two capitals, if it is assigned.
    pub fn from_letters(letters: [u8; 2]) -> Option<Self> {
        // There are fewer than 255.
        let place = CODES.as_chunks::<2>().0.binary_search(&letters).ok()?;
        NonZeroU8::new(place as u8 + 1).map(Self)
    }

    /// The place of the code among all, sorted, counted from 1. At most 250.
    pub(super) const fn place(self) -> NonZeroU8 {
        self.0
    }

    /// The code in this place, counted from 1.
    #[inline]
    pub(super) fn at(place: u8) -> Option<Self> {
        NonZeroU8::new(place).filter(|place| usize::from(place.get()) <= CODES.len() / 2).map(Self)
    }

    /// The two capitals.
    pub fn letters(self) -> [u8; 2] {
        CODES.as_chunks::<2>().0.get(usize::from(self.0.get()) - 1).copied().unwrap_or_default()
    }

    /// The code as text.
    pub fn as_str(self) -> &'static str {
        let end = 2 * usize::from(self.0.get());
        // Only capitals of ASCII are among the codes.
        CODES.get(end - 2..end).and_then(|code| std::str::from_utf8(code).ok()).unwrap_or_default()
    }

    /// Every code that there is, sorted.
    pub fn all() -> impl Iterator<Item = Self> {
        (1..=u8::MAX).map_while(Self::at)
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
        let code = CountryCode::from_letters(*b"FR").expect("a code");
        assert_eq!(serde_json::to_string(&code).expect("JSON"), "\"FR\"");
        assert_eq!(serde_json::from_str::<CountryCode>("\"fr\"").expect("a code"), code);
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
