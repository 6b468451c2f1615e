//! What is wrong not with one value but with several together, or with a value in this world.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::path::Path;

use ipnet::IpNet;
use toml::Spanned;

use super::checked::{HostPattern, Origin, Site, Upstream};
use super::host::covers;
use super::section::Section;
use crate::networks::mmdb::{Content, Mmdb};

/// The shortest IPv4 prefix of trusted proxies: 10.0.0.0/8 is the widest network that anyone has all of.
const PROXY_PREFIX_V4_MIN: u8 = 8;
/// The shortest IPv6 prefix of trusted proxies: fc00::/7 is all private addresses.
const PROXY_PREFIX_V6_MIN: u8 = 7;

/// A site with the places of what is compared with other sites.
pub(super) struct SiteFound {
    pub(super) site: Site,
    pub(super) name_place: Range<usize>,
    pub(super) hosts: Vec<Spanned<HostPattern>>,
    pub(super) upstream_place: Option<Range<usize>>,
}

/// Checks the top of the file as a whole; `sites` are `None` when what stands there is no table. Beside another server there need
/// be none.
pub(super) fn check(
    top: &mut Section<'_, '_>,
    listen: &[Spanned<SocketAddr>],
    admin: &Spanned<Option<SocketAddr>>,
    sites: Option<&[SiteFound]>,
    needs_sites: bool,
) {
    check_listeners(top, listen, admin);
    let Some(sites) = sites else { return };
    if sites.is_empty() && needs_sites {
        top.lacks(
            "no site is guarded; add [[site]] with hosts = [\"example.org\"] and upstream = \"http://127.0.0.1:3000\"",
        );
    }
    check_names(top, sites);
    check_hosts(top, sites);
    for found in sites {
        check_loop(top, found, listen, admin);
    }
}

/// Where SSH listens.
const SSH_PORT: u16 = 22;

/// Refuses to guard the port by which an operator would get in again.
pub(super) fn check_kernel_port(table: &mut Section<'_, '_>, port: &Spanned<u16>) {
    if *port.get_ref() == SSH_PORT {
        let message = "`ports` in [kernel]: 22 is the port of SSH, which is never closed to anybody; leave it out";
        table.report.refuse(&port.span(), message.to_owned());
    }
}

/// Refuses a folder of files that is none.
pub(super) fn check_folder(table: &mut Section<'_, '_>, place: &Range<usize>, folder: &Path) {
    let message = match std::fs::metadata(folder) {
        Ok(metadata) if metadata.is_dir() => return,
        Ok(_) => format!("`files`: {folder:?} is no folder; name the folder that holds the files"),
        Err(error) => format!("`files`: failed to look at the folder {folder:?}: {error}"),
    };
    table.report.refuse(place, message);
}

/// Refuses a file of networks that cannot be read or does not tell what it is named for.
pub(super) fn check_network_file(
    table: &mut Section<'_, '_>,
    place: &Range<usize>,
    key: &'static str,
    file: &Path,
    content: Content,
) {
    if let Err(error) = Mmdb::open(file).and_then(|mmdb| mmdb.inspect(content)) {
        table.report.refuse(place, format!("`{key}` in [networks]: {error}"));
    }
}

/// Refuses to trust more than any proxy has: whoever is trusted can claim any address.
pub(super) fn check_proxies(table: &mut Section<'_, '_>, network: &Spanned<IpNet>) {
    let length_min = match network.get_ref() {
        IpNet::V4(_) => PROXY_PREFIX_V4_MIN,
        IpNet::V6(_) => PROXY_PREFIX_V6_MIN,
    };
    if network.get_ref().prefix_len() < length_min {
        let message = format!(
            "`proxies` in [trust]: found {}, which is not a proxy's network but a good part of the internet: everyone in \
             it could claim any address; name your proxies, in networks of /{length_min} or longer",
            network.get_ref()
        );
        table.report.refuse(&network.span(), message);
    }
}

/// Refuses a never-ban list that holds everybody.
pub(super) fn check_never_ban(table: &mut Section<'_, '_>, network: &Spanned<IpNet>) {
    if network.get_ref().prefix_len() == 0 {
        let message = format!(
            "`never-ban` in [policy]: found {}, which is everybody; to enforce nothing, write enforce = \"never\"",
            network.get_ref()
        );
        table.report.refuse(&network.span(), message);
    }
}

fn check_listeners(top: &mut Section<'_, '_>, listen: &[Spanned<SocketAddr>], admin: &Spanned<Option<SocketAddr>>) {
    for (index, address) in listen.iter().enumerate() {
        let earlier = listen.iter().take(index).find(|earlier| collide(*earlier.get_ref(), *address.get_ref()));
        if let Some(earlier) = earlier {
            let message = match (earlier.get_ref(), address.get_ref()) {
                (earlier, address) if earlier == address => format!("`listen`: {address} is named twice"),
                (earlier, address) => {
                    format!("`listen`: {address} cannot be had beside {earlier}, which holds it; keep one")
                }
            };
            top.report.refuse(&address.span(), message);
        }
    }
    if let Some(admin_address) = admin.get_ref()
        && let Some(taken) = listen.iter().find(|address| collide(*address.get_ref(), *admin_address))
    {
        // A file that says nothing of the status page is told where the collision comes from.
        let place = if admin.span().is_empty() { taken.span() } else { admin.span() };
        let message = format!(
            "`admin`: the status page is on {admin_address}, where visitors are served ({}); give it another port, or \
             write admin = \"off\"",
            taken.get_ref()
        );
        top.report.refuse(&place, message);
    }
}

/// Whether two sockets cannot listen on both. Port 0 is a free port, another each time.
pub(super) fn collide(left: SocketAddr, right: SocketAddr) -> bool {
    let (left_ip, right_ip) = (left.ip(), right.ip());
    let same_family = left_ip.is_ipv4() == right_ip.is_ipv4();
    let same_ip = left_ip == right_ip || same_family && (left_ip.is_unspecified() || right_ip.is_unspecified());
    left.port() == right.port() && left.port() != 0 && same_ip
}

fn check_names(top: &mut Section<'_, '_>, sites: &[SiteFound]) {
    let mut seen = HashSet::new();
    for found in sites {
        let name = found.site.name.as_str();
        // A site without hosts and name has its own problem.
        if !name.is_empty() && !seen.insert(name) {
            let message = format!("two sites have the name {name:?}; give each a name of its own");
            top.report.refuse(&found.name_place, message);
        }
    }
}

/// Refuses hosts that an earlier site takes away: the site would wait for requests that never come.
fn check_hosts(top: &mut Section<'_, '_>, sites: &[SiteFound]) {
    for (index, found) in sites.iter().enumerate() {
        for (number, host) in found.hosts.iter().enumerate() {
            let pattern = host.get_ref();
            if found.hosts.iter().take(number).any(|earlier| earlier.get_ref() == pattern) {
                top.report.refuse(&host.span(), format!("`hosts` in [[site]]: \"{pattern}\" is named twice"));
                continue;
            }
            let taken = sites.iter().take(index).find_map(|earlier| {
                let by = earlier.hosts.iter().find(|by| covers(by.get_ref(), pattern))?;
                Some((&earlier.site.name, by.get_ref()))
            });
            let Some((name, by)) = taken else { continue };
            let message = if by == pattern {
                format!(
                    "`hosts` in [[site]]: \"{pattern}\" is already a host of the site {name:?}; a host has one site"
                )
            } else {
                format!(
                    "`hosts` in [[site]]: \"{pattern}\" is never reached, since the site {name:?} before it takes \
                     \"{by}\"; put this site first"
                )
            };
            top.report.refuse(&host.span(), message);
        }
    }
}

/// Refuses an upstream that is the guard itself.
fn check_loop(
    top: &mut Section<'_, '_>,
    found: &SiteFound,
    listen: &[Spanned<SocketAddr>],
    admin: &Spanned<Option<SocketAddr>>,
) {
    let Origin::Upstream(upstream) = &found.site.origin else { return };
    let Some(place) = &found.upstream_place else { return };
    let own = listen.iter().map(|address| *address.get_ref()).chain(*admin.get_ref());
    if let Some(message) = forwards_to_itself(upstream, own) {
        top.report.refuse(place, format!("`upstream` in [[site]]: {message}"));
    }
}

/// What is wrong if `upstream` is one of the guard's own listeners.
pub(super) fn forwards_to_itself(upstream: &Upstream, own: impl IntoIterator<Item = SocketAddr>) -> Option<String> {
    let Upstream::Http { host, port } = upstream else { return None };
    let ip = if host == "localhost" { IpAddr::from([127, 0, 0, 1]) } else { host.parse().ok()? };
    let address = SocketAddr::new(ip, *port);
    // An upstream elsewhere may well have the port of a wildcard listener here; one on loopback cannot.
    let mut own = own.into_iter().filter(|own| own.ip() == ip || own.ip().is_unspecified() && ip.is_loopback());
    let own = own.find(|own| collide(*own, address))?;
    Some(format!("{address} is the guard itself, which listens on {own}; name the server behind it"))
}
