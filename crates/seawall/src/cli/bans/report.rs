//! `seawall bans report`: who was banned how often, by the guard or by fail2ban.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use crate::cli::guard::Guard;
use crate::cli::{Failure, journal};
use crate::config::NetworkFiles;
use crate::enforcement::import::fail2ban::{self, BansMade};
use crate::host::clock::wall_clock;
use crate::networks::Networks;
use crate::privacy::{Day, KeyStore, Labels, RETENTION_DAYS_MAX};
use crate::show::ban_report::BanReport;
use crate::show::text::escape;

pub(super) fn report(
    file: Option<&Path>,
    top: usize,
    show_addresses: bool,
    guard: &Guard,
) -> Result<BanReport, Failure> {
    let networks = Networks::load(&NetworkFiles::default()).map_err(Failure::machine)?;
    let today = Day::of(wall_clock());
    let (mut keyless, mut key) = (0, None);
    let made = match file {
        None => {
            let reader = journal::open(guard.state())?;
            // Which keys are there decides of whom it can be told; none is made or deleted here.
            let keys = KeyStore::open(guard.state(), RETENTION_DAYS_MAX).map_err(Failure::machine)?;
            key = keys.kept(today).map_err(Failure::machine)?;
            let made = reader.bans_made(keys, wall_clock()).map_err(Failure::machine)?;
            keyless = made.keyless;
            BansMade { bans: made.bans, ..BansMade::default() }
        }
        Some(path) => {
            let shown = escape(path.to_string_lossy().as_bytes());
            let failed = |error: std::io::Error| Failure::machine(format!("failed to read {shown}: {error}"));
            let made = if path == Path::new("-") {
                fail2ban::read_log(std::io::stdin().lock()).map_err(failed)?
            } else {
                fail2ban::read_log(BufReader::new(File::open(path).map_err(failed)?)).map_err(failed)?
            };
            if made.is_foreign() {
                return Err(Failure::invalid(format!(
                    "no line of {shown} is fail2ban's, of {} in it; give a fail2ban.log, with lines as `2024-05-17 12:34:56,789 fail2ban.actions \
                     [77]: NOTICE  [sshd] Ban 192.0.2.1`; one that is compressed has to be unpacked first, as with zcat",
                    made.unreadable
                )));
            }
            made
        }
    };
    let BansMade { bans, unreadable, first_unreadable, .. } = made;
    // What cannot be read may be an address all the same.
    let first_unreadable = first_unreadable.map(|(line, text)| {
        if show_addresses { format!("line {line}: {}", escape(text.as_bytes())) } else { format!("line {line}") }
    });
    let labels = if show_addresses {
        None
    } else {
        // Those of `bans list`, where the guard has made a key today; of what others have banned only this run knows them.
        let of_run = || KeyStore::open(guard.state(), 0).and_then(|keys| keys.key(today, today));
        Some(Labels::new(&key.map_or_else(of_run, Ok).map_err(Failure::machine)?))
    };
    let report = BanReport::new(bans, top, &networks, labels.as_ref());
    Ok(BanReport { keyless, unreadable, first_unreadable, ..report })
}
