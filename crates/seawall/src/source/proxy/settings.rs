//! What the workers need of the configuration, compiled once for each reload and then shared unchanged.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use seawall_engine::address::AddressSet;
use seawall_engine::decision::Enforce;
use seawall_engine::gate::{Limit, LimitAction, LimitKey};

use crate::config::{ClientAddressSource, Config, HostPattern, Limits, Origin, Upstream};
use crate::networks::Networks;
use crate::networks::mmdb::MmdbError;
use crate::origin::files::{Files, FilesError};

/// What the workers need of the configuration.
pub struct Settings {
    exact: HashMap<Box<[u8]>, usize>,
    below: Vec<(Box<[u8]>, usize)>,
    any: Option<usize>,
    sites: Vec<Destination>,
    names: Vec<Arc<str>>,
    /// The proxies whose word is believed.
    pub trusted: AddressSet,
    /// How they say who the client is.
    pub client_address: ClientAddressSource,
    /// Bounds on connections.
    pub limits: Limits,
    /// Connections in all, derived from the open-files limit where the configuration leaves it open.
    pub connections_max: usize,
    /// The addresses that nothing is ever done to.
    pub never_ban: AddressSet,
    /// How many requests each client may send at all.
    requests_limit: Option<Limit>,
    /// The limits that each client has for itself.
    client_limits: Vec<Limit>,
    /// Which country and autonomous system a client belongs to.
    pub networks: Networks,
}

/// Why a configuration that is valid cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A folder that is to be served cannot be.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// A file of networks cannot be read.
    #[error(transparent)]
    Networks(#[from] MmdbError),
}

/// Where the requests for a site go.
#[derive(Clone)]
pub enum Destination {
    /// To another server.
    Upstream(Arc<Upstream>),
    /// To the built-in clock.
    Clock,
    /// To a folder.
    Files(Files),
}

impl Settings {
    /// Compiles a configuration. `connections_max` is used where it names none.
    ///
    /// # Errors
    /// When a folder that is to be served cannot be opened, or a file of networks cannot be read.
    pub fn new(config: &Config, connections_max: usize) -> Result<Self, SettingsError> {
        let mut settings = Self {
            exact: HashMap::new(),
            below: Vec::new(),
            any: None,
            sites: Vec::new(),
            names: config.sites.iter().map(|site| site.name.as_str().into()).collect(),
            trusted: AddressSet::new(config.trust.proxies.iter().copied()),
            client_address: config.trust.client_address,
            limits: config.limits.clone(),
            connections_max: config.limits.connections_max.unwrap_or(connections_max),
            never_ban: config.never_ban_set(),
            requests_limit: config.limits.client_requests_per_minute_max.map(requests_limit),
            client_limits: config.client_limits.clone(),
            networks: Networks::load(&config.networks)?,
        };
        for (index, site) in config.sites.iter().enumerate() {
            settings.sites.push(match &site.origin {
                Origin::Upstream(upstream) => Destination::Upstream(settings.shared(upstream)),
                Origin::Clock => Destination::Clock,
                Origin::Files { root } => Destination::Files(Files::open(root)?),
            });
            for host in &site.hosts {
                match host {
                    HostPattern::Exact(name) => {
                        settings.exact.entry(name.as_bytes().into()).or_insert(index);
                    }
                    HostPattern::Below(suffix) => settings.below.push((suffix.as_bytes().into(), index)),
                    HostPattern::Any => {
                        settings.any.get_or_insert(index);
                    }
                }
            }
        }
        Ok(settings)
    }

    /// The limits for the gate. Where nothing is to be enforced those of `[[limit]]` only say whom they would have met; a bound on what
    /// one client may send is none of that.
    pub fn limits_in_force(&self, enforce: Enforce) -> Vec<Limit> {
        let said = |limit: &Limit| if enforce == Enforce::Never { limit.dry() } else { limit.clone() };
        self.requests_limit.iter().cloned().chain(self.client_limits.iter().map(said)).collect()
    }

    /// Lets limits that were there before go on counting where they were.
    pub fn go_on_from(&mut self, before: &Self) {
        for limit in self.requests_limit.iter_mut().chain(&mut self.client_limits) {
            before.requests_limit.iter().chain(&before.client_limits).for_each(|before| limit.go_on_from(before));
        }
    }

    /// One and the same for all sites behind one upstream, since its connections are limited together.
    fn shared(&self, upstream: &Upstream) -> Arc<Upstream> {
        let known = self.sites.iter().find_map(|site| match site {
            Destination::Upstream(known) if **known == *upstream => Some(Arc::clone(known)),
            _ => None,
        });
        known.unwrap_or_else(|| Arc::new(upstream.clone()))
    }

    /// Where a request for `host` goes; `None` when the host is none of ours. An exact name goes before `*.name`, that
    /// before `*`.
    pub fn destination(&self, host: &[u8]) -> Option<&Destination> {
        self.sites.get(self.index(host)?)
    }

    /// The name of the site that answers to `host`; `None` when the host is none of ours.
    pub fn site_of(&self, host: &[u8]) -> Option<&Arc<str>> {
        self.names.get(self.index(host)?)
    }

    /// The sites by name, and where their requests go.
    pub fn sites(&self) -> impl Iterator<Item = (&str, &Destination)> {
        self.names.iter().map(AsRef::as_ref).zip(&self.sites)
    }

    /// Whether a site has this upstream.
    pub fn uses(&self, upstream: &Upstream) -> bool {
        self.sites.iter().any(|site| matches!(site, Destination::Upstream(used) if **used == *upstream))
    }

    fn index(&self, host: &[u8]) -> Option<usize> {
        let below = || self.below.iter().find(|(suffix, _)| host.len() > suffix.len() && host.ends_with(suffix));
        self.exact.get(host).or_else(|| below().map(|(_, index)| index)).or(self.any.as_ref()).copied()
    }
}

fn requests_limit(requests: u32) -> Limit {
    Limit {
        name: "client-requests-per-minute-max".into(),
        rule: None,
        requests,
        period: Duration::from_secs(60),
        key: LimitKey::Client,
        action: LimitAction::Limit,
        length: None,
        spares: false,
        counts: Arc::default(),
    }
}
