//! `seawall bans import` and `export`: lists of bans, and those of other programs.

use std::collections::HashSet;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use http::Method;
use ipnet::IpNet;
use seawall_engine::decision::{BAN_DURATION_MAX, BanCause};

use super::words::{outcome, refused};
use super::{How, Places, network, plural};
use crate::cli::Failure;
use crate::cli::guard::Guard;
use crate::cli::output::{print, print_json};
use crate::config::quantity;
use crate::enforcement::import::ipset::WhichSet;
use crate::enforcement::import::{Import, Imported, fail2ban, list};
use crate::enforcement::{BanRequest, BanView, Banned, NamedList};
use crate::export::{IPSET_TIMEOUT_MAX, ipset_halves, short};
use crate::host::clock::wall_clock;
use crate::show::text::escape;

/// The largest list that is read.
const LIST_BYTES_MAX: u64 = 256 * 1024 * 1024;

pub(super) fn import(file: &Path, sets: &[String], how: &How, guard: &Guard, json: bool) -> Result<ExitCode, Failure> {
    let import = read_and_tell(file, sets, json)?;
    let name = escape(file.to_string_lossy().as_bytes());
    let networks = import.networks.iter().map(|Imported { network, seconds }| (*network, *seconds)).collect();
    let nowhere = Places { country: Vec::new(), asn: Vec::new() };
    let request = BanRequest { source: Some(source(file, sets)), ..how.request(networks, &nowhere, BanCause::Import) };
    let banned: Banned = guard.ask_with("/v1/bans", &request)?;
    let refusals: HashSet<IpNet> = banned.refused.iter().map(|refused| refused.network).collect();
    let taken = import.networks.iter().filter(|one| !refusals.contains(&one.network));
    if json {
        print_json(&banned)?;
    } else {
        print(&outcome(&banned, how, &times(taken, how.duration)))?;
    }
    if banned.collateral.is_none() && banned.added > 1 {
        let sets: String = sets.iter().map(|set| format!(" --set {}", escape(set.as_bytes()))).collect();
        eprintln!(
            "seawall: {name}: whom of your visitors this keeps away is not known; `seawall bans remove --file {name}{sets}` takes it back"
        );
    }
    refused(&banned, how)
}

/// The networks of a file whose bans are to be taken back.
pub(super) fn named(file: &Path, sets: &[String], json: bool) -> Result<NamedList, Failure> {
    let networks = read_and_tell(file, sets, json)?.networks.into_iter().map(|one| one.network).collect();
    Ok(NamedList { source: source(file, sets), networks })
}

/// What the journal calls a file.
fn source(file: &Path, sets: &[String]) -> String {
    let name = if file == Path::new("-") { "standard input".into() } else { file.to_string_lossy() };
    if sets.is_empty() { name.into_owned() } else { format!("{name} ({})", sets.join(", ")) }
}

/// Reads whom a file bans, and tells what of it is passed over: where standard output is for JSON, on standard error.
fn read_and_tell(file: &Path, sets: &[String], json: bool) -> Result<Import, Failure> {
    let tell = |text: &str| {
        if !json {
            return print(text);
        }
        eprint!("seawall: {text}");
        Ok(())
    };
    let import = read_import(file, sets, "name those with --set NAME")?;
    let name = escape(file.to_string_lossy().as_bytes());
    for (line, why) in &import.unreadable {
        eprintln!("seawall: {name}:{line}: {why}");
    }
    let more = import.unreadable_count.saturating_sub(import.unreadable.len());
    if more > 0 {
        eprintln!("seawall: {name}: and {more} more that cannot be read");
    }
    if import.exempt > 0 {
        let count = import.exempt;
        tell(&format!("{count} {} (nomatch) left out, whom the file does not mean.\n", plural(count, "exception")))?;
    }
    if import.networks.is_empty() {
        let (ended, disabled) = (import.ended, import.disabled);
        let jails =
            if disabled > 0 { format!(", {disabled} are of jails that are not enabled") } else { String::new() };
        return Err(Failure::invalid(format!("{name} names nobody to ban ({ended} bans in it have ended{jails})")));
    }
    if import.disabled > 0 {
        let bans = plural(import.disabled, "ban");
        tell(&format!("{} {bans} of jails that are not enabled left out.\n", import.disabled))?;
    }
    if let Some(jails) = of_jails(&import) {
        tell(&jails)?;
    }
    if import.ended > 0 {
        let has = if import.ended == 1 { "has" } else { "have" };
        tell(&format!(
            "{} {has} ended and {} left out.\n",
            import.ended,
            if import.ended == 1 { "is" } else { "are" }
        ))?;
    }
    Ok(import)
}

/// Which jails of fail2ban the bans are of, and what becomes of them here.
fn of_jails(import: &Import) -> Option<String> {
    let jails: Vec<String> =
        import.jails.iter().map(|(jail, count)| format!("{} {count}", escape(jail.as_bytes()))).collect();
    (!jails.is_empty()).then(|| {
        format!(
            "Bans by jail: {}. Here they hold for the guarded ports only: what else fail2ban keeps them from, such as SSH, is open to them once \
             it stops.\n",
            jails.join(", ")
        )
    })
}

/// For how long those of a file are banned: what it says of each, and `duration` where it says nothing.
fn times<'a>(networks: impl Iterator<Item = &'a Imported>, duration: Duration) -> String {
    let (mut shortest, mut longest, mut own, mut endless) = (Duration::MAX, Duration::ZERO, 0_u64, 0_u64);
    for one in networks {
        let Some(seconds) = one.seconds else {
            endless += 1;
            continue;
        };
        let time = Duration::from_secs(seconds).min(BAN_DURATION_MAX);
        (shortest, longest, own) = (shortest.min(time), longest.max(time), own + 1);
    }
    let (shortest, longest) = (quantity::show_duration(shortest), quantity::show_duration(longest));
    let of_file = if shortest == longest { shortest } else { format!("{shortest} to {longest}") };
    let duration = quantity::show_duration(duration);
    match (own, endless) {
        (0, _) => format!("{duration} (--for; the file names no end)"),
        (_, 0) => of_file,
        (_, endless) => {
            format!("{of_file}, and {duration} (--for) the {endless} of which the file names no end")
        }
    }
}

/// Reads whom a file of another program bans. When it is not clear which of its sets is meant, the error ends with `how`.
pub(in crate::cli) fn read_import(file: &Path, sets: &[String], how: &str) -> Result<Import, Failure> {
    let name = escape(file.to_string_lossy().as_bytes());
    let failed = |error: &dyn std::fmt::Display| Failure::machine(format!("failed to read {name}: {error}"));
    let mut bytes = Vec::new();
    if file == Path::new("-") {
        std::io::stdin().lock().take(LIST_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|error| failed(&error))?;
    } else {
        let mut opened = File::open(file).map_err(|error| failed(&error))?;
        let mut beginning = [0; 16];
        let length = opened.read(&mut beginning).map_err(|error| failed(&error))?;
        if fail2ban::is_database(beginning.get(..length).unwrap_or_default()) {
            return fail2ban::read_database(file, wall_clock()).map_err(|error| {
                Failure::invalid(format!("{name} is a database, but none of fail2ban's that can be read: {error}"))
            });
        }
        bytes.extend_from_slice(beginning.get(..length).unwrap_or_default());
        opened.take(LIST_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|error| failed(&error))?;
    }
    if bytes.len() as u64 > LIST_BYTES_MAX {
        return Err(Failure::invalid(format!("{name} is larger than 256 MiB, so it is no list of bans")));
    }
    list::read(&String::from_utf8_lossy(&bytes), sets).map_err(|error| {
        let how = if matches!(error, WhichSet::Several(_)) { format!("; {how}") } else { String::new() };
        Failure::invalid(format!("{name}: {error}{how}"))
    })
}

pub(super) fn export(guard: &Guard) -> Result<(), Failure> {
    let bans: Vec<BanView> = guard.ask(Method::GET, "/v1/bans?addresses=true")?;
    let now = wall_clock();
    let mut text = format!("# {} bans of seawall; `ipset restore` and `seawall bans import` read this\n", bans.len());
    let seconds = |ban: &BanView| ban.expires.since(now).as_secs().max(1);
    let longer = bans.iter().filter(|ban| seconds(ban) > IPSET_TIMEOUT_MAX).count();
    if longer > 0 {
        text +=
            &format!("# {longer} of them last longer than the {IPSET_TIMEOUT_MAX} s that a set can hold somebody\n");
    }
    for (set, family) in [("seawall4", "inet"), ("seawall6", "inet6")] {
        let is_v4 = family == "inet";
        text += &format!("create {set} hash:net family {family} maxelem 1000000 timeout 0 -exist\n");
        for ban in bans.iter().filter(|ban| ban.network.contains('.') == is_v4) {
            let seconds = seconds(ban).min(IPSET_TIMEOUT_MAX);
            for network in ipset_halves(network(&ban.network).map_err(Failure::no_guard)?) {
                text += &format!("add {set} {} timeout {seconds} -exist\n", short(network));
            }
        }
    }
    print(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_times_of_a_list_are_its_own() {
        for (seconds, expected) in [
            (&[Some(30)][..], "30s"),
            (&[Some(30), Some(3_600), Some(60)], "30s to 1h"),
            (&[Some(30), None, None], "30s, and 2h (--for) the 2 of which the file names no end"),
            (&[None], "2h (--for; the file names no end)"),
            (&[Some(u64::MAX)], "8784h"),
        ] {
            let network = "192.0.2.7/32".parse().expect("a network");
            let networks: Vec<_> = seconds.iter().map(|seconds| Imported { network, seconds: *seconds }).collect();
            assert_eq!(times(networks.iter(), Duration::from_secs(7_200)), expected);
        }
    }
}
