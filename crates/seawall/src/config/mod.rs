//! The configuration: raw text to checked values.
//!
//! [`load`] and [`parse`] turn TOML into a [`Config`], in which nothing can be wrong any more, or into [`Problems`]: all of
//! them at once, each with file, line and column. `settings` declares every setting once; the reference page and the
//! commented example come from the same declarations. Nothing here opens a socket or writes a file.

mod address;
mod case;
mod checked;
mod consistency;
mod defaults;
mod edge;
mod host;
pub(crate) mod include;
mod json;
mod kind;
mod limit;
pub(crate) mod notify;
mod path;
mod problem;
pub(crate) mod quantity;
pub(crate) mod reference;
mod rule;
mod section;
mod settings;
mod upstream;

use std::collections::HashSet;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use toml::de::DeTable;

pub(crate) use checked::KERNEL_TABLE;
pub use checked::{
    ClientAddressSource, Config, Edge, EdgePlace, EdgeUse, HostPattern, Kernel, KernelUse, Limits, NetworkFiles,
    Notify, Origin, Policy, Privacy, Retention, SITES, Secret, Site, Trust, Upstream, UrlForm, WatchFormat, Way,
};
pub use defaults::Environment;
pub use problem::{Place, Problem, Problems};
pub use rule::ConfiguredRule;

use address::SocketAddress;
use host::Host;
use kind::{Text, shorten};
use problem::Lines;
use section::{Refusal, Report, Section};
use upstream::UpstreamUrl;

/// The largest file that is read. No configuration comes near it; a device or a log named by mistake does.
pub(crate) const FILE_BYTES_MAX: u64 = 1 << 20;

/// Reads the configuration file at `path`.
///
/// # Errors
/// Every problem of the file. That it cannot be read is one problem ([`Problems::is_unreadable`]).
pub fn load(path: &Path) -> Result<Config, Problems> {
    load_in(path, &Environment::of_process())
}

/// As [`load`], in given surroundings.
///
/// # Errors
/// Every problem of the file.
pub fn load_in(path: &Path, environment: &Environment) -> Result<Config, Problems> {
    let name = path.display().to_string();
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes))
        .map_err(|error| Problems::unreadable(&name, &error))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(Problems::about_file(&name, "the file is larger than 1 MiB, so it is no configuration".to_owned()));
    }
    match std::str::from_utf8(&bytes) {
        Ok(text) => parse_in(text, &name, environment),
        Err(error) => {
            let message = "the file is not UTF-8 from here on; save it as UTF-8".to_owned();
            let refusal = Refusal { offset: error.valid_up_to(), message, absence: false };
            Err(Problems::new(place(vec![refusal], &Lines::new(&bytes), &name))
                .unwrap_or_else(|| Problems::about_file(&name, error.to_string())))
        }
    }
}

/// Reads the configuration `text` of the file `file_name`, from whose folder relative paths are taken.
///
/// # Errors
/// Every problem of the text.
pub fn parse(text: &str, file_name: &str) -> Result<Config, Problems> {
    parse_in(text, file_name, &Environment::of_process())
}

/// As [`parse`], in given surroundings.
///
/// # Errors
/// Every problem of the text.
pub fn parse_in(text: &str, file_name: &str, environment: &Environment) -> Result<Config, Problems> {
    let folder = Path::new(file_name).parent().unwrap_or(Path::new(""));
    let (config, problems) = document(text, file_name, settings::WHY, |top| settings::read(top, environment, folder));
    Problems::new(problems).map_or(Ok(config), Err)
}

/// Reads a document with `read`, and says every problem of it.
fn document<T>(
    text: &str,
    file_name: &str,
    why: &'static str,
    read: impl FnOnce(&mut Section<'_, '_>) -> T,
) -> (T, Vec<Problem>) {
    let (document, syntax_errors) = DeTable::parse_recoverable(text);
    let mut report = Report::of(text);
    let top = Section::top(&mut report, why, Some(document.get_ref()));
    let value = top.read(read);
    let elsewhere = std::mem::take(&mut report.elsewhere);

    let mut refusals: Vec<Refusal> = syntax_errors
        .iter()
        .map(|error| {
            let span = error.span().unwrap_or(text.len()..text.len());
            // A URL without quotes may hold a password, which is not repeated.
            let found = text.get(span.clone()).filter(|found| !found.is_empty() && !found.contains('@'));
            let found = found.map(|found| format!("found {}, ", shorten(found))).unwrap_or_default();
            Refusal {
                offset: span.start,
                message: format!("not valid TOML: {found}{}", error.message()),
                absence: false,
            }
        })
        .collect();
    let lines = Lines::new(text.as_bytes());
    let line_of = |refusal: &Refusal| lines.line(refusal.offset);
    // What follows the first error of a line is mostly its consequence.
    refusals.sort_by_key(|refusal| refusal.offset);
    refusals.dedup_by_key(|refusal| line_of(refusal));
    let broken_lines: HashSet<usize> = refusals.iter().map(line_of).collect();
    // Where the TOML itself is broken, what seems to be absent may stand there, and what was read from a broken line is
    // a guess; all other problems count.
    let sound =
        |refusal: &Refusal| broken_lines.is_empty() || !refusal.absence && !broken_lines.contains(&line_of(refusal));
    refusals.extend(report.into_refusals().into_iter().filter(sound));
    refusals.sort_by_key(|refusal| refusal.offset);
    let mut problems = place(refusals, &lines, file_name);
    problems.extend(elsewhere);
    (value, problems)
}

/// What can be said on the command line in place of a file.
#[derive(Clone, Debug, Default)]
pub struct CommandLine {
    /// `--to`: the upstream; without it the built-in clock is guarded.
    pub to: Option<String>,
    /// `--host`: the hosts that the site answers to; none for any.
    pub hosts: Vec<String>,
    /// `--listen`: where visitors are served; none for the default.
    pub listen: Vec<String>,
    /// `--admin`: where the status page is, or `off`; none for the default.
    pub admin: Option<String>,
}

impl Config {
    /// One site, as said on the command line; all else is as without a file.
    ///
    /// # Errors
    /// Every problem, each with the option that it is about.
    pub fn from_command_line(line: &CommandLine) -> Result<Self, Problems> {
        let mut problems = Vec::new();
        let mut config = Self::default();
        for site in &mut config.sites {
            let hosts = read_options("--host", &Host, &line.hosts, &mut problems);
            if !hosts.is_empty() {
                site.hosts = hosts;
            }
            if let Some(upstream) = read_options("--to", &UpstreamUrl, line.to.as_slice(), &mut problems).pop() {
                site.name = site.hosts.first().map_or_else(String::new, HostPattern::to_string);
                site.origin = Origin::Upstream(upstream);
            }
        }
        let listen = read_options("--listen", &SocketAddress, &line.listen, &mut problems);
        if !listen.is_empty() {
            config.listen = listen;
        }
        match line.admin.as_deref() {
            None => {}
            Some("off") => config.admin = None,
            Some(_) => {
                config.admin = read_options("--admin", &SocketAddress, line.admin.as_slice(), &mut problems).pop();
            }
        }
        if let Some(admin) =
            config.admin.filter(|admin| config.listen.iter().any(|own| consistency::collide(*own, *admin)))
        {
            let message =
                format!("the status page is on {admin}; choose another port, or another for the page with --admin");
            problems.push(Problem { place: Place::Option { name: "--listen" }, message });
        }
        for site in &config.sites {
            let Origin::Upstream(upstream) = &site.origin else { continue };
            let own = config.listen.iter().copied().chain(config.admin);
            if let Some(message) = consistency::forwards_to_itself(upstream, own) {
                problems.push(Problem { place: Place::Option { name: "--to" }, message });
            }
        }
        Problems::new(problems).map_or(Ok(config), Err)
    }
}

/// What `texts`, the values of the option `name`, are read into.
fn read_options<T: Text>(name: &'static str, kind: &T, texts: &[String], problems: &mut Vec<Problem>) -> Vec<T::Value> {
    let mut values = Vec::new();
    for text in texts {
        match kind.parse(text) {
            Ok(value) => values.push(value),
            Err(message) => {
                let message = format!("found {}, {message}", kind.show_given(text));
                problems.push(Problem { place: Place::Option { name }, message });
            }
        }
    }
    values
}

/// The problems that the refusals are.
fn place(refusals: Vec<Refusal>, lines: &Lines<'_>, file_name: &str) -> Vec<Problem> {
    let mut problems: Vec<Problem> = refusals
        .into_iter()
        .map(|refusal| {
            let (line, column) = lines.position(refusal.offset);
            Problem { place: Place::Character { name: file_name.to_owned(), line, column }, message: refusal.message }
        })
        .collect();
    problems.dedup();
    problems
}
