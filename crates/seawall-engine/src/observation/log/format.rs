//! The names of the known formats, and what each records.

use std::fmt;

/// The format of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// Apache's `combined` and nginx's default: common, then referer and user agent. Further fields may follow.
    Combined,
    /// The common log format (CLF). Further fields may follow.
    Common,
    /// Combined behind the virtual host, as Apache's `vhost_combined`.
    VhostCombined,
    /// Common behind the virtual host.
    VhostCommon,
    /// One JSON object a line, as nginx writes with `escape=json`.
    Json,
    /// Caddy's JSON.
    Caddy,
    /// Traefik's JSON; its other format is combined with further fields.
    Traefik,
    /// Envoy's, as text or JSON.
    Envoy,
    /// HAProxy's HTTP log.
    Haproxy,
    /// Nginx Proxy Manager's.
    ProxyManager,
    /// W3C extended: IIS, CloudFront.
    W3c,
    /// Amazon's application and classic load balancers.
    AwsLoadBalancer,
    /// Amazon S3's server access log.
    AwsS3,
    /// Squid's own.
    Squid,
    /// As a format string describes.
    Custom,
}

/// Which attributes of a request a format has room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fields {
    /// The virtual host.
    pub host: bool,
    /// The `User-Agent` header.
    pub user_agent: bool,
    /// The `Referer` header.
    pub referer: bool,
    /// The status of the answer,
    pub status: bool,
    /// and how many bytes it had.
    pub bytes: bool,
}

impl Format {
    /// Every format.
    pub const ALL: [Self; 15] = [
        Self::Combined,
        Self::Common,
        Self::VhostCombined,
        Self::VhostCommon,
        Self::Json,
        Self::Caddy,
        Self::Traefik,
        Self::Envoy,
        Self::Haproxy,
        Self::ProxyManager,
        Self::W3c,
        Self::AwsLoadBalancer,
        Self::AwsS3,
        Self::Squid,
        Self::Custom,
    ];

    /// The name in reports, options and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Combined => "combined",
            Self::Common => "common",
            Self::VhostCombined => "vhost-combined",
            Self::VhostCommon => "vhost-common",
            Self::Json => "json",
            Self::Caddy => "caddy",
            Self::Traefik => "traefik",
            Self::Envoy => "envoy",
            Self::Haproxy => "haproxy",
            Self::ProxyManager => "nginx-proxy-manager",
            Self::W3c => "w3c",
            Self::AwsLoadBalancer => "aws-load-balancer",
            Self::AwsS3 => "aws-s3",
            Self::Squid => "squid",
            Self::Custom => "custom",
        }
    }

    /// Which attributes it records.
    pub const fn fields(self) -> Fields {
        let (host, user_agent, referer) = match self {
            Self::Combined => (false, true, true),
            Self::Common => (false, false, false),
            Self::VhostCommon => (true, false, false),
            // HAProxy's log has the headers that somebody told it to keep, and names none.
            Self::Haproxy => (false, true, false),
            Self::Squid => (true, false, false),
            Self::Envoy | Self::AwsLoadBalancer => (true, true, false),
            Self::VhostCombined
            | Self::Json
            | Self::Caddy
            | Self::Traefik
            | Self::ProxyManager
            | Self::W3c
            | Self::AwsS3
            | Self::Custom => (true, true, true),
        };
        Fields { host, user_agent, referer, status: true, bytes: true }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}
