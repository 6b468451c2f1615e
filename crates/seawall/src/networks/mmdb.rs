//! MaxMind DB files (`.mmdb`), as MaxMind, DB-IP, IPinfo and ip-location-db publish them.
//!
//! A file is read whole and turned into ranges once, so a look-up costs the same whoever the data is from, and a file that
//! is replaced while the guard runs changes nothing until a reload.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use maxminddb::{LookupResult, MaxMindDbError, Reader, WithinOptions};
use seawall_engine::network::{BuildError, CountryCode, NetworkTableBuilder};
use serde::Deserialize;

/// The largest file that is read: some times the largest database of cities there is.
const FILE_BYTES_MAX: u64 = 256 << 20;

/// How many records are looked at to learn whether a file tells what it was named for. Real ones tell it in nearly each.
const INSPECTED_MAX: usize = 10_000;

/// What a file is named for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// The country: `country.iso_code`, `country_code`, or `country` as text.
    Country,
    /// The autonomous system: `autonomous_system_number` or `asn`, and its name.
    Asn,
}

impl Content {
    const fn words(self) -> &'static str {
        match self {
            Self::Country => "country codes",
            Self::Asn => "numbers of autonomous systems",
        }
    }

    const fn example(self) -> &'static str {
        match self {
            Self::Country => "GeoLite2-Country.mmdb",
            Self::Asn => "GeoLite2-ASN.mmdb",
        }
    }
}

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
pub enum MmdbError {
    /// It cannot be read.
    #[error("failed to read {path:?}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is too large to be one.
    #[error("{path:?} is larger than 256 MiB, so it is no database of networks")]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// It has another format.
    #[error("{path:?} is no MaxMind DB (.mmdb): {source}")]
    Format {
        /// The file.
        path: PathBuf,
        /// What was found.
        source: MaxMindDbError,
    },
    /// It is one, but of something else.
    #[error("{path:?} is a database of type {database_type:?} without {}; name one such as {}", content.words(), content.example())]
    Content {
        /// The file.
        path: PathBuf,
        /// What it calls itself.
        database_type: String,
        /// What it was named for.
        content: Content,
    },
    /// It is damaged within.
    #[error("{path:?} is damaged: {source}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        source: MaxMindDbError,
    },
    /// There is more in it than a table holds.
    #[error("failed to make a table of {path:?}: {source}")]
    Build {
        /// The file.
        path: PathBuf,
        /// What was found.
        source: BuildError,
    },
}

/// A file that is in memory.
#[derive(Debug)]
pub struct Mmdb {
    path: PathBuf,
    reader: Reader<Vec<u8>>,
}

impl Mmdb {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// If it cannot be read, is larger than 256 MiB, or is no MaxMind DB.
    pub fn open(path: &Path) -> Result<Self, MmdbError> {
        let path = path.to_owned();
        let mut bytes = Vec::new();
        match File::open(&path).and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)) {
            Err(source) => Err(MmdbError::Read { path, source }),
            Ok(_) if bytes.len() as u64 > FILE_BYTES_MAX => Err(MmdbError::TooLarge { path }),
            Ok(_) => match Reader::from_source(bytes) {
                Ok(reader) => Ok(Self { path, reader }),
                Err(source) => Err(MmdbError::Format { path, source }),
            },
        }
    }

    /// When it was made, in seconds since 1970.
    pub fn build_epoch(&self) -> u64 {
        self.reader.metadata().build_epoch
    }

    /// Its name and what it calls itself.
    pub fn describe(&self) -> String {
        format!("{} ({})", self.path.display(), self.reader.metadata().database_type.escape_debug())
    }

    /// Looks at the first records for `content`; sees at once that a file of something else was named, without reading all.
    ///
    /// # Errors
    /// If there is none, or the file is damaged.
    pub fn inspect(&self, content: Content) -> Result<(), MmdbError> {
        for result in self.results()?.take(INSPECTED_MAX) {
            let result = result.map_err(|source| self.damaged(source))?;
            // A record of another shape has none.
            let record: Option<Record<'_>> = result.decode().unwrap_or_default();
            let found = record.is_some_and(|record| match content {
                Content::Country => record.country().is_some(),
                Content::Asn => record.asn().is_some(),
            });
            if found {
                return Ok(());
            }
        }
        Err(self.lacks(content))
    }

    /// Adds all networks of the file to `builder`. A country that is none, such as `EU`, counts as unknown.
    ///
    /// # Errors
    /// If the file tells nothing of the kind, is damaged, or holds more than a table does.
    pub fn add_to(&self, builder: &mut NetworkTableBuilder, content: Content) -> Result<(), MmdbError> {
        // Many networks share a record, which is decoded once.
        let mut known: HashMap<Option<usize>, Value> = HashMap::new();
        let mut empty = true;
        for result in self.results()? {
            let result = result.map_err(|source| self.damaged(source))?;
            let value = match known.get(&result.offset()) {
                Some(value) => *value,
                None => {
                    let value = self.read(&result, content, builder)?;
                    known.insert(result.offset(), value);
                    value
                }
            };
            let network = result.network().map_err(|source| self.damaged(source))?;
            let (first, last) = (network.network(), network.broadcast());
            match value {
                Value::Nothing => continue,
                Value::Country(country) => builder.add_country(first, last, country),
                Value::Asn(asn) => builder.add_system(first, last, asn),
            }
            .map_err(|source| self.too_much(source))?;
            empty = false;
        }
        if empty { Err(self.lacks(content)) } else { Ok(()) }
    }

    fn read(
        &self,
        result: &LookupResult<'_, Vec<u8>>,
        content: Content,
        builder: &mut NetworkTableBuilder,
    ) -> Result<Value, MmdbError> {
        let record: Option<Record<'_>> = result.decode().map_err(|source| self.damaged(source))?;
        let Some(record) = record else { return Ok(Value::Nothing) };
        match content {
            Content::Country => Ok(record.country().map_or(Value::Nothing, Value::Country)),
            Content::Asn => {
                let Some(asn) = record.asn() else { return Ok(Value::Nothing) };
                if let Some(name) = record.name() {
                    builder.name_system(asn, name).map_err(|source| self.too_much(source))?;
                }
                Ok(Value::Asn(asn))
            }
        }
    }

    fn results(&self) -> Result<impl Iterator<Item = Result<LookupResult<'_, Vec<u8>>, MaxMindDbError>>, MmdbError> {
        self.reader.networks(WithinOptions::default()).map_err(|source| self.damaged(source))
    }

    fn damaged(&self, source: MaxMindDbError) -> MmdbError {
        MmdbError::Damaged { path: self.path.clone(), source }
    }

    fn too_much(&self, source: BuildError) -> MmdbError {
        MmdbError::Build { path: self.path.clone(), source }
    }

    fn lacks(&self, content: Content) -> MmdbError {
        let database_type = self.reader.metadata().database_type.clone();
        MmdbError::Content { path: self.path.clone(), database_type, content }
    }
}

/// What a record tells, of what was asked for.
#[derive(Clone, Copy)]
enum Value {
    Nothing,
    Country(CountryCode),
    Asn(u32),
}

/// What the publishers call what we look for; all else in a record is passed over.
#[derive(Deserialize)]
struct Record<'a> {
    #[serde(borrow)]
    country: Option<Country<'a>>,
    country_code: Option<&'a str>,
    autonomous_system_number: Option<u32>,
    autonomous_system_organization: Option<&'a str>,
    #[serde(borrow)]
    asn: Option<Asn<'a>>,
    as_name: Option<&'a str>,
}

/// MaxMind and DB-IP have a record, IPinfo a text.
#[derive(Deserialize)]
#[serde(untagged)]
enum Country<'a> {
    Record { iso_code: Option<&'a str> },
    Text(&'a str),
}

/// A number, or `AS64496` as IPinfo writes it.
#[derive(Deserialize)]
#[serde(untagged)]
enum Asn<'a> {
    Number(u32),
    Text(&'a str),
}

impl Record<'_> {
    fn country(&self) -> Option<CountryCode> {
        let in_country = match self.country {
            Some(Country::Record { iso_code }) => iso_code,
            Some(Country::Text(text)) => Some(text),
            None => None,
        };
        self.country_code.or(in_country)?.parse().ok()
    }

    fn asn(&self) -> Option<u32> {
        let asn = self.autonomous_system_number.or_else(|| match self.asn.as_ref()? {
            Asn::Number(number) => Some(*number),
            Asn::Text(text) => text.trim_start_matches("AS").parse().ok(),
        });
        asn.filter(|asn| *asn != 0)
    }

    fn name(&self) -> Option<&str> {
        self.autonomous_system_organization.or(self.as_name)
    }
}
