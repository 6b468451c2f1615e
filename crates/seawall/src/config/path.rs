//! Paths and names as people write them.

use std::path::PathBuf;

use seawall_engine::observation::log::FormatChoice;

use super::checked::WatchFormat;
use super::kind::Text;
use crate::source::watch::place::Place as LogPlace;

/// A path of the file system.
pub(super) struct FilePath;

impl Text for FilePath {
    type Value = PathBuf;
    const NAME: &'static str = "path";
    const EXAMPLE: &'static str = "\"/var/www/html\"";

    fn parse(&self, text: &str) -> Result<PathBuf, String> {
        if text.is_empty() {
            return Err(format!("which is no path; write, for example, {}", Self::EXAMPLE));
        }
        if text.contains('\0') {
            return Err("but a path cannot hold a NUL".to_owned());
        }
        if text == "~" || text.starts_with("~/") {
            return Err("but only a shell knows what ~ is; write the path in full".to_owned());
        }
        Ok(PathBuf::from(text))
    }

    fn show_text(&self, value: &PathBuf) -> String {
        value.display().to_string()
    }
}

/// A log to be watched.
pub(super) struct LogSource;

impl Text for LogSource {
    type Value = LogPlace;
    const NAME: &'static str = "log";
    const EXAMPLE: &'static str = "\"/var/log/nginx/access.log\"";

    fn parse(&self, text: &str) -> Result<LogPlace, String> {
        if text.is_empty() {
            return Err(format!("which is no log; write, for example, {}", Self::EXAMPLE));
        }
        text.parse().map_err(|reason: String| format!("which cannot be watched: {reason}"))
    }

    fn show_text(&self, value: &LogPlace) -> String {
        match value {
            LogPlace::Input => "-".to_owned(),
            place => place.to_string(),
        }
    }
}

/// The format of logs.
pub(super) struct LogFormat;

impl Text for LogFormat {
    type Value = WatchFormat;
    const NAME: &'static str = "format of logs";
    const EXAMPLE: &'static str = "\"combined\"";

    fn parse(&self, text: &str) -> Result<WatchFormat, String> {
        match text.parse::<FormatChoice>() {
            Ok(choice) => Ok(WatchFormat { text: text.to_owned(), choice }),
            Err(error) => Err(format!("which cannot be used: {error}")),
        }
    }

    fn show_text(&self, value: &WatchFormat) -> String {
        value.text.clone()
    }
}

/// What a site is called.
pub(super) struct SiteName;

impl SiteName {
    const CHARACTERS_MAX: usize = 64;
}

impl Text for SiteName {
    type Value = String;
    const NAME: &'static str = "name";
    const EXAMPLE: &'static str = "\"example\"";

    fn parse(&self, text: &str) -> Result<String, String> {
        if text.trim().is_empty() {
            return Err(format!("which is no name; write, for example, {}, or leave the key out", Self::EXAMPLE));
        }
        if text.chars().count() > Self::CHARACTERS_MAX {
            return Err(format!("which is longer than {} characters", Self::CHARACTERS_MAX));
        }
        // The name is printed on terminals and in pages.
        if text.chars().any(char::is_control) {
            return Err("but a name cannot hold control characters".to_owned());
        }
        Ok(text.to_owned())
    }

    fn show_text(&self, value: &String) -> String {
        value.clone()
    }
}

/// What a table of nftables is called.
pub(super) struct TableName;

impl TableName {
    /// The kernel's limit is 255; a number is put behind the name of a second guard.
    const CHARACTERS_MAX: usize = 64;
}

impl Text for TableName {
    type Value = String;
    const NAME: &'static str = "name of a table";
    const EXAMPLE: &'static str = "\"seawall\"";

    fn parse(&self, text: &str) -> Result<String, String> {
        let is_letter = text.starts_with(|first: char| first.is_ascii_lowercase());
        let is_plain =
            |character: char| character.is_ascii_lowercase() || character.is_ascii_digit() || "_-".contains(character);
        if is_letter && text.chars().all(is_plain) && text.len() <= Self::CHARACTERS_MAX {
            return Ok(text.to_owned());
        }
        Err(format!(
            "which is no name of a table; write a lower-case letter and up to {} of a-z, 0-9, _ and -, such as {}",
            Self::CHARACTERS_MAX - 1,
            Self::EXAMPLE
        ))
    }

    fn show_text(&self, value: &String) -> String {
        value.clone()
    }
}
