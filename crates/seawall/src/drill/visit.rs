//! What a client asks for during one visit: pages, what a browser loads with each, and the bytes that say so.
//!
//! Both the load and the history are made of these, so that what the guard has learnt is what then comes.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

use fastrand::Rng;

use super::agents::Agent;
use super::scenario::{Connection, Group, HttpVersion, Pattern, RequestOrder, RequestTemplate, Site};

/// One request, not yet written down.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    pub(crate) method: String,
    pub(crate) host: String,
    pub(crate) path: String,
    pub(crate) query: Option<String>,
    pub(crate) referer: Option<String>,
    body: Option<String>,
    pub(crate) version: HttpVersion,
    /// Whether it asks only for what has changed.
    pub(crate) conditional: bool,
}

/// A page and what is loaded with it.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    /// Time after the page before.
    pub(crate) think_time: Duration,
    pub(crate) page: Question,
    pub(crate) assets: Vec<Question>,
}

/// What a client remembers having loaded, as hashes of paths; bounded.
#[derive(Debug, Default)]
pub(crate) struct Cache(HashSet<u64>);

impl Cache {
    const ENTRIES_MAX: usize = 256;

    /// Remembers `path`; whether it was known.
    fn remember(&mut self, path: &str) -> bool {
        let mut hasher = DefaultHasher::new();
        path.hash(&mut hasher);
        let known = self.0.contains(&hasher.finish());
        if !known && self.0.len() < Self::ENTRIES_MAX {
            self.0.insert(hasher.finish());
        }
        known
    }
}

/// The pages of one visit.
pub(crate) fn pages(group: &Group, site: &Site, random: &mut Rng, cache: &mut Cache) -> Vec<Page> {
    let host = site.hosts.first().map_or("", String::as_str);
    let count = random.u32(group.pages_min..=group.pages_max);
    let mut pages: Vec<Page> = Vec::with_capacity(count as usize);
    for index in 0..count {
        let template = match group.request_order {
            RequestOrder::ByWeight => draw_template(&group.requests, random),
            RequestOrder::AsListed => group.requests.iter().cycle().nth(index as usize),
        };
        let Some(template) = template else { break };
        let mut think_time = if index == 0 { Duration::ZERO } else { draw_think_time(group, random) };
        let mut page = question(template, &template.path, host, random);
        page.conditional = random.f64() < template.conditional_share.0;
        // The second page of a visit was reached from the first.
        if let Some(earlier) = pages.last()
            && !template.assets.is_empty()
        {
            page.referer = Some(format!("https://{}{}", earlier.page.host, earlier.page.path));
        }
        let referer = format!("https://{}{}", page.host, page.path);
        let mut assets = Vec::with_capacity(template.assets.len());
        for pattern in &template.assets {
            let path = pattern.render(random);
            let known = cache.remember(&path);
            if known && random.f64() >= template.revalidate_share.0 {
                continue;
            }
            let (path, query) = split_query(path);
            assets.push(Question {
                method: "GET".to_owned(),
                host: page.host.clone(),
                path,
                query,
                referer: Some(referer.clone()),
                body: None,
                version: page.version,
                conditional: known,
            });
        }
        for method in &template.methods_before {
            let page = Question { method: method.clone(), ..page.clone() };
            pages.push(Page { think_time, page, assets: Vec::new() });
            think_time = draw_think_time(group, random);
        }
        pages.push(Page { think_time, page, assets });
    }
    pages
}

fn draw_think_time(group: &Group, random: &mut Rng) -> Duration {
    let (least, most) = (group.think_time_min.0, group.think_time_max.0);
    least + (most - least).mul_f64(random.f64())
}

fn draw_template<'t>(templates: &'t [RequestTemplate], random: &mut Rng) -> Option<&'t RequestTemplate> {
    let total: u32 = templates.iter().map(|template| template.weight).sum();
    let mut left = random.u32(0..total.max(1));
    for template in templates {
        if left < template.weight {
            return Some(template);
        }
        left -= template.weight;
    }
    None
}

fn question(template: &RequestTemplate, path: &Pattern, host: &str, random: &mut Rng) -> Question {
    let (path, query) = split_query(path.render(random));
    Question {
        method: template.method.clone(),
        host: template.host.as_ref().map_or_else(|| host.to_owned(), |pattern| pattern.render(random)),
        path,
        query: template.query.as_ref().map(|pattern| pattern.render(random)).or(query),
        referer: template.referer.as_ref().map(|pattern| pattern.render(random)).filter(|text| !text.is_empty()),
        body: template.body.as_ref().map(|pattern| pattern.render(random)),
        version: template.version,
        conditional: false,
    }
}

fn split_query(path: String) -> (String, Option<String>) {
    match path.split_once('?') {
        Some((path, query)) => (path.to_owned(), Some(query.to_owned())),
        None => (path, None),
    }
}

impl Question {
    /// The bytes of the request.
    pub(crate) fn to_bytes(&self, agent: &Agent, connection: Connection) -> Vec<u8> {
        let version = match self.version {
            HttpVersion::Http10 => "HTTP/1.0",
            HttpVersion::Http11 => "HTTP/1.1",
        };
        let mut head = String::with_capacity(640);
        let Self { method, host, path, .. } = self;
        head.extend([method, " ", path]);
        if let Some(query) = &self.query {
            head.extend(["?", query]);
        }
        head.extend([" ", version, "\r\nHost: ", host, "\r\n"]);
        match (connection, self.version) {
            (Connection::OneRequest, _) => head.push_str("Connection: close\r\n"),
            (Connection::KeepAlive, HttpVersion::Http10) => head.push_str("Connection: keep-alive\r\n"),
            (Connection::KeepAlive, HttpVersion::Http11) => {}
        }
        agent.write_head_lines(&mut head);
        if let Some(referer) = &self.referer {
            head.extend(["Referer: ", referer, "\r\n"]);
        }
        if self.conditional {
            head.push_str("If-None-Match: \"d1\"\r\n");
        }
        if self.body.is_some() || self.method == "POST" || self.method == "PUT" {
            let body = self.body.as_deref().unwrap_or_default();
            head.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
        } else {
            head.push_str("\r\n");
        }
        head.into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::super::scenario;
    use super::*;

    const FOLLOWER: &str = r#"
name = "follower"
incident = "a reader that looks before it fetches"
duration = "10s"
onset = "1s"
[site]
hosts = ["site.example"]
[[group]]
name = "followers"
label = "unwanted"
clients = 1
arrivals = { kind = "constant", rate = 1 }
user-agents = ["follower"]
request-order = "as-listed"
pages-min = 3
pages-max = 3
think-time-min = "200ms"
think-time-max = "600ms"
[[group.request]]
path = "/feed"
[[group.request]]
methods-before = ["HEAD", "HEAD"]
path = "/{hex:8}"
"#;

    #[test]
    fn requests_as_listed_come_in_order_and_methods_before_ask_for_the_same() {
        let scenario = scenario::parse(FOLLOWER, "follower.toml").expect("a good scenario");
        let group = scenario.groups.first().expect("the group");
        let pages = pages(group, &scenario.site, &mut Rng::with_seed(1), &mut Cache::default());
        let asked: Vec<_> = pages.iter().map(|page| (page.page.method.as_str(), page.page.path.as_str())).collect();
        let article = asked.get(1).expect("an article").1;
        let expected = [("GET", "/feed"), ("HEAD", article), ("HEAD", article), ("GET", article), ("GET", "/feed")];
        assert_eq!(asked, expected);
        for (place, page) in pages.iter().enumerate() {
            assert_eq!(page.think_time.is_zero(), place == 0, "each takes its time but the first");
        }
    }
}
