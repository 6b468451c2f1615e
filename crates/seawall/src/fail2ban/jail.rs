//! Reads how often is too often, and for how long: `maxretry`, `findtime` and `bantime` of a jail.

use std::path::Path;
use std::time::Duration;

use super::filter::{FilterError, PutIn, read_with_local};
use crate::config::quantity::show_duration;

/// The longest ban that a limit can say: a year.
const BAN_SECONDS_MAX: u64 = 366 * 86_400;

/// The numbers of a jail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Jail {
    /// How many are too many.
    pub retry_max: u32,
    /// In which time, in seconds.
    pub find_seconds: u64,
    /// For how long, in seconds; none for as long as a client needs.
    pub ban_seconds: Option<u64>,
}

/// What fail2ban takes where nothing is said, but for the length of bans.
impl Default for Jail {
    fn default() -> Self {
        Self { retry_max: 5, find_seconds: 600, ban_seconds: None }
    }
}

impl Jail {
    /// The jail of a filter in a file of jails and those that fail2ban reads over it: the section of its name, or the one that names it.
    ///
    /// # Errors
    /// When the file cannot be read, or a number in it is none.
    pub fn read(path: &Path, filter: &str) -> Result<Self, FilterError> {
        let sections = read_with_local(path)?;
        let put_in = PutIn { sections: &sections };
        let names_filter = |name: &str| {
            let named = sections.get(name).and_then(|values| values.get("filter")).and_then(|lines| lines.first());
            named.is_some_and(|(_, text)| text.split('[').next().unwrap_or_default().trim() == filter)
        };
        let mut jails: Vec<&str> = put_in.jails().into_iter().collect();
        jails.sort_unstable();
        let own = jails.iter().find(|name| **name == filter).or_else(|| jails.iter().find(|name| names_filter(name)));
        let value = |key: &str| {
            let of = |section: &str| {
                sections.get(section).and_then(|values| values.get(key)).and_then(|lines| lines.first())
            };
            own.and_then(|own| of(own)).or_else(|| of("DEFAULT"))
        };
        let content = |line: usize, reason: String| FilterError::Content { path: path.to_owned(), line, reason };
        let text = |key: &str| -> Result<Option<(usize, String)>, FilterError> {
            let Some((line, text)) = value(key) else { return Ok(None) };
            put_in.complete(text, 0).map(|text| Some((*line, text))).map_err(|reason| content(*line, reason))
        };
        let mut jail = Self::default();
        if let Some((line, text)) = text("maxretry")? {
            let number = text.trim().parse().ok().filter(|number| (1..=1_000_000).contains(number));
            jail.retry_max = number.ok_or_else(|| content(line, format!("maxretry = {text} is no number of tries")))?;
        }
        if let Some((line, text)) = text("findtime")? {
            let read = seconds(&text).and_then(|seconds| u64::try_from(seconds).ok());
            let read = read.filter(|seconds| (1..=7 * 86_400).contains(seconds));
            jail.find_seconds =
                read.ok_or_else(|| content(line, format!("findtime = {text} is no time of 1 s to a week")))?;
        }
        let grows =
            text("bantime.increment")?.is_some_and(|(_, text)| ["true", "yes", "1", "on"].contains(&text.trim()));
        if let Some((line, text)) = text("bantime")?.filter(|_| !grows) {
            let read = seconds(&text).ok_or_else(|| content(line, format!("bantime = {text} is no time")))?;
            // A negative one is for ever.
            jail.ban_seconds = Some(u64::try_from(read).unwrap_or(BAN_SECONDS_MAX).clamp(1, BAN_SECONDS_MAX));
        }
        Ok(jail)
    }

    /// The rate of the limit: there it is the last that is allowed, here the first that is not.
    pub(super) fn rate(&self) -> String {
        format!("{} in {}", self.retry_max - 1, show_duration(Duration::from_secs(self.find_seconds)))
    }

    /// The length of a ban, where it is said.
    pub(super) fn time(&self) -> Option<String> {
        self.ban_seconds.map(|seconds| show_duration(Duration::from_secs(seconds)))
    }
}

/// `600`, `10m`, `1d 12h`, `-1`.
fn seconds(text: &str) -> Option<i64> {
    let mut sum = 0_i64;
    for word in text.split_whitespace() {
        let digits =
            word.len() - word.trim_start_matches(|letter: char| letter.is_ascii_digit() || letter == '-').len();
        let number: i64 = word.get(..digits)?.parse().ok()?;
        let unit = match word.get(digits..)? {
            "" | "s" | "sec" | "seconds" => 1,
            "m" | "min" | "minutes" => 60,
            "h" | "hour" | "hours" => 3_600,
            "d" | "day" | "days" => 86_400,
            "w" | "week" | "weeks" => 604_800,
            "mo" | "month" | "months" => 2_629_746,
            "y" | "year" | "years" => 31_556_952,
            _ => return None,
        };
        sum = sum.checked_add(number.checked_mul(unit)?)?;
    }
    (!text.trim().is_empty()).then_some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jail(text: &str, filter: &str) -> Result<Jail, String> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("jail.conf");
        std::fs::write(&path, text).expect("written");
        Jail::read(&path, filter).map_err(|error| error.to_string())
    }

    #[test]
    fn a_jail_takes_what_it_says_and_else_what_holds_for_all() {
        let text = "[DEFAULT]\nbantime = 10m\nfindtime = 1h\nmaxretry = 5\n\n[nginx-botsearch]\nmaxretry = 2 ; few\n\
                    [mine]\nfilter = other[mode=x]\nbantime = 1d 12h\n[ever]\nbantime = -1\n";
        let of = |filter: &str| jail(text, filter).expect("a jail");
        assert_eq!(of("nginx-botsearch"), Jail { retry_max: 2, find_seconds: 3_600, ban_seconds: Some(600) });
        assert_eq!(of("other"), Jail { retry_max: 5, find_seconds: 3_600, ban_seconds: Some(129_600) });
        assert_eq!(of("ever").ban_seconds, Some(BAN_SECONDS_MAX));
        assert_eq!(of("unknown").retry_max, 5);
        assert_eq!(of("nginx-botsearch").rate(), "1 in 1h");
        let grown = jail("[DEFAULT]\nbantime = 1h\nbantime.increment = true\n", "a").expect("a jail");
        assert_eq!((grown.ban_seconds, grown.time()), (None, None));
    }

    #[test]
    fn what_users_say_over_the_file_that_came_with_fail2ban_holds() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("written");
        let path = folder.path().join("jail.conf");
        let retries = || Jail::read(&path, "web").map(|jail| jail.retry_max).expect("a jail");
        write("jail.conf", "[DEFAULT]\nmaxretry = 5\n[web]\n");
        assert_eq!(retries(), 5);
        std::fs::create_dir(folder.path().join("jail.d")).expect("a folder");
        for (name, expected) in [("jail.d/b.conf", 6), ("jail.local", 7), ("jail.d/a.local", 8), ("jail.d/b.local", 9)]
        {
            write(name, &format!("[web]\nmaxretry = {expected}\n"));
            assert_eq!(retries(), expected, "{name}");
        }
        write("jail.d/a.conf", "[web]\nmaxretry = 3\n");
        write("jail.d/c.off", "[web]\nmaxretry = 4\n");
        assert_eq!(retries(), 9);
        assert_eq!(Jail::read(&folder.path().join("jail.local"), "web").map(|jail| jail.retry_max).expect("one"), 7);
    }

    #[test]
    fn what_is_no_number_is_named_with_its_line() {
        let error = jail("[DEFAULT]\nfindtime = soon\n", "a").expect_err("no time");
        assert!(error.contains("jail.conf:2: findtime = soon"), "{error}");
        assert!(jail("[DEFAULT]\nmaxretry = 0\n", "a").is_err());
    }
}
