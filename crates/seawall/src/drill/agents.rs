//! The programs that ask for pages: families of real user agents with the headers that each sends, in its order.
//!
//! A client keeps its agent for the whole drill. Version numbers and devices vary as they do in the wild.

use fastrand::Rng;

use super::scenario::{Group, Pattern};

/// What a client is, drawn once.
#[derive(Clone, Debug)]
pub(crate) struct Agent {
    /// The `User-Agent`; `None` sends none.
    pub(crate) user_agent: Option<String>,
    /// The head lines after `Host`, except the user agent, each with its line end; `before` the user agent's line.
    before: String,
    after: String,
}

impl Agent {
    /// Draws the agent of a client of this group.
    pub(crate) fn draw(group: &Group, random: &mut Rng) -> Self {
        if let Some(pattern) = random.choice(&group.user_agents) {
            let user_agent = pattern.render(random);
            return Self::new((!user_agent.is_empty()).then_some(user_agent), Style::Plain, "", random);
        }
        let kinds = group.agents.as_deref().and_then(family).unwrap_or_default();
        let total: u32 = kinds.iter().map(|kind| kind.weight).sum();
        let mut left = random.u32(0..total.max(1));
        for kind in kinds {
            if left < kind.weight {
                // The table below is tested to hold only good patterns.
                let user_agent = Pattern::parse(kind.user_agent).map(|pattern| pattern.render(random)).ok();
                return Self::new(user_agent, kind.style, kind.languages, random);
            }
            left -= kind.weight;
        }
        Self::new(None, Style::Plain, "", random)
    }

    fn new(user_agent: Option<String>, style: Style, languages: &str, random: &mut Rng) -> Self {
        let options: Vec<&str> = languages.split('|').collect();
        let language = random.choice(&options).copied().unwrap_or_default();
        let (before, after) = match style {
            Style::Plain => (String::new(), "Accept: */*\r\n".to_owned()),
            Style::Chromium => (
                "Upgrade-Insecure-Requests: 1\r\n".to_owned(),
                format!(
                    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8\r\n\
                     Accept-Encoding: gzip, deflate, br\r\nAccept-Language: {language}\r\n"
                ),
            ),
            Style::Firefox => (
                String::new(),
                format!(
                    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n\
                     Accept-Language: {language}\r\nAccept-Encoding: gzip, deflate, br\r\nDNT: 1\r\n"
                ),
            ),
            Style::Safari => (
                "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n".to_owned(),
                format!("Accept-Language: {language}\r\nAccept-Encoding: gzip, deflate, br\r\n"),
            ),
            Style::Picture => (
                String::new(),
                format!(
                    "Accept: image/webp,image/apng,image/*,*/*;q=0.8\r\nAccept-Encoding: gzip, deflate\r\n\
                     Accept-Language: {language}\r\n"
                ),
            ),
            Style::Crawler => (
                "Accept: text/html,application/xhtml+xml,*/*;q=0.8\r\nFrom: crawler@bots.example\r\n".to_owned(),
                "Accept-Encoding: gzip, deflate\r\n".to_owned(),
            ),
            Style::FeedReader => (
                String::new(),
                "Accept: application/atom+xml, application/rss+xml, application/xml;q=0.8, */*;q=0.1\r\n\
                 Accept-Encoding: gzip\r\n"
                    .to_owned(),
            ),
        };
        Self { user_agent, before, after }
    }

    /// Writes the head lines that the agent sends of itself.
    pub(crate) fn write_head_lines(&self, head: &mut String) {
        head.push_str(&self.before);
        if let Some(user_agent) = &self.user_agent {
            head.push_str("User-Agent: ");
            head.push_str(user_agent);
            head.push_str("\r\n");
        }
        head.push_str(&self.after);
    }
}

/// Which headers, in which order.
#[derive(Clone, Copy)]
enum Style {
    Plain,
    Chromium,
    Firefox,
    Safari,
    Picture,
    Crawler,
    FeedReader,
}

/// One agent of a family.
pub(crate) struct Kind {
    /// How often it is met, beside the others of its family.
    weight: u32,
    user_agent: &'static str,
    style: Style,
    /// `Accept-Language`, one of these between bars.
    languages: &'static str,
}

const fn kind(weight: u32, user_agent: &'static str, style: Style, languages: &'static str) -> Kind {
    Kind { weight, user_agent, style, languages }
}

/// The agents of a family.
pub(crate) fn family(name: &str) -> Option<&'static [Kind]> {
    FAMILIES.iter().find(|(family, _)| *family == name).map(|(_, kinds)| *kinds)
}

/// The names of all families, for messages.
pub(crate) fn family_names() -> String {
    let names: Vec<_> = FAMILIES.iter().map(|(name, _)| format!("\"{name}\"")).collect();
    names.join(", ")
}

const FAMILIES: &[(&str, &[Kind])] = &[
    ("browsers", BROWSERS),
    ("feed-readers", FEED_READERS),
    ("crawlers", CRAWLERS),
    ("tools", TOOLS),
    ("wechat", WECHAT),
    ("monitors", MONITORS),
];

const LANGUAGES: &str = "en-US,en;q=0.9|en-GB,en;q=0.8|de-DE,de;q=0.9,en;q=0.6|fr-FR,fr;q=0.9,en;q=0.5|sv-SE,sv;q=0.8,en;q=0.6|es-ES,es;q=0.9|ja-JP,ja;q=0.9,en;q=0.4|zh-CN,zh;q=0.9,en;q=0.3|pt-BR,pt;q=0.9,en;q=0.5|ru-RU,ru;q=0.9,en;q=0.3|it-IT,it;q=0.9|nl-NL,nl;q=0.9,en;q=0.7|pl-PL,pl;q=0.9,en;q=0.5|ko-KR,ko;q=0.9";

const CHINESE: &str = "zh-CN,zh-CN;q=0.9,en-US;q=0.8|zh-CN,zh;q=0.9|zh-CN,en-US;q=0.8";

const BROWSERS: &[Kind] = &[
    kind(
        24,
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{int:76-80}.0.{int:3809-3987}.{int:87-163} Safari/537.36",
        Style::Chromium,
        LANGUAGES,
    ),
    kind(
        8,
        "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_{int:13-15}_{int:0-6}) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{int:76-80}.0.{int:3809-3987}.{int:87-163} Safari/537.36",
        Style::Chromium,
        LANGUAGES,
    ),
    kind(
        5,
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{int:76-80}.0.{int:3809-3987}.{int:87-163} Safari/537.36",
        Style::Chromium,
        LANGUAGES,
    ),
    kind(
        4,
        "Mozilla/5.0 (Windows NT 6.1; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{int:70-80}.0.{int:3538-3987}.{int:77-163} Safari/537.36",
        Style::Chromium,
        LANGUAGES,
    ),
    kind(
        3,
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/80.0.3987.{int:87-149} Safari/537.36 Edg/80.0.361.{int:48-69}",
        Style::Chromium,
        LANGUAGES,
    ),
    kind(
        2,
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/64.0.3282.140 Safari/537.36 Edge/18.{int:17763-18363}",
        Style::Chromium,
        LANGUAGES,
    ),
    kind(
        2,
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/79.0.3945.{int:79-130} Safari/537.36 OPR/66.0.3515.{int:27-103}",
        Style::Chromium,
        LANGUAGES,
    ),
    kind(
        10,
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:{int:68-74}.0) Gecko/20100101 Firefox/{int:68-74}.0",
        Style::Firefox,
        LANGUAGES,
    ),
    kind(
        7,
        "Mozilla/5.0 (X11; Linux x86_64; rv:{int:68-74}.0) Gecko/20100101 Firefox/{int:68-74}.0",
        Style::Firefox,
        LANGUAGES,
    ),
    kind(
        3,
        "Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:{int:68-74}.0) Gecko/20100101 Firefox/{int:68-74}.0",
        Style::Firefox,
        LANGUAGES,
    ),
    kind(
        3,
        "Mozilla/5.0 (Macintosh; Intel Mac OS X 10.{int:12-15}; rv:{int:68-74}.0) Gecko/20100101 Firefox/{int:68-74}.0",
        Style::Firefox,
        LANGUAGES,
    ),
    kind(
        7,
        "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_{int:13-15}_{int:0-6}) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/13.{int:0-1} Safari/605.1.15",
        Style::Safari,
        LANGUAGES,
    ),
    kind(
        9,
        "Mozilla/5.0 (iPhone; CPU iPhone OS 13_{int:0-3}_{int:0-3} like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/13.0.{int:1-5} Mobile/15E148 Safari/604.1",
        Style::Safari,
        LANGUAGES,
    ),
    kind(
        3,
        "Mozilla/5.0 (iPad; CPU OS 12_{int:1-4} like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/12.1.2 Mobile/15E148 Safari/604.1",
        Style::Safari,
        LANGUAGES,
    ),
    kind(
        9,
        "Mozilla/5.0 (Linux; Android {int:8-10}; {choice:SM-G960F|SM-G973F|SM-A505FN|Pixel 3|Pixel 3a|MI 9|ONEPLUS A6003|Moto G (5)}) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/80.0.3987.{int:87-149} Mobile Safari/537.36",
        Style::Chromium,
        LANGUAGES,
    ),
    kind(
        2,
        "Mozilla/5.0 (Linux; Android {int:8-9}; SAMSUNG SM-G95{int:0-5}F) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/10.{int:1-2} Chrome/71.0.3578.99 Mobile Safari/537.36",
        Style::Chromium,
        LANGUAGES,
    ),
    kind(1, "Mozilla/5.0 (Windows NT 6.1; WOW64; Trident/7.0; rv:11.0) like Gecko", Style::Safari, LANGUAGES),
    kind(
        1,
        "Mozilla/5.0 (Windows NT 10.0; WOW64; Trident/7.0; .NET4.0C; .NET4.0E; rv:11.0) like Gecko",
        Style::Safari,
        LANGUAGES,
    ),
    kind(
        1,
        "Mozilla/5.0 (Linux; Android 9; COL-L29 Build/HUAWEICOL-L29; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/66.0.3359.126 MQQBrowser/6.2 TBS/0449{int:10-90} Mobile Safari/537.36 MMWEBID/{int:1000-9999} MicroMessenger/7.0.{int:4-9}.1420(0x2700043A) Process/tools NetType/WIFI Language/zh_CN",
        Style::Chromium,
        CHINESE,
    ),
    kind(1, "Lynx/2.9.0dev.{int:1-5} libwww-FM/2.14 SSL-MM/1.4.1 GNUTLS/3.6.11", Style::Plain, ""),
];

const FEED_READERS: &[Kind] = &[
    kind(
        6,
        "Feedly/1.0 (+http://www.feedly.com/fetcher.html; {int:1-400} subscribers; like FeedFetcher-Google)",
        Style::FeedReader,
        "",
    ),
    kind(4, "Feedbin feed-id:{int:1000-99999} - {int:1-50} subscribers", Style::FeedReader, ""),
    kind(3, "NewsBlur Feed Fetcher - {int:1-90} subscribers - http://www.newsblur.com", Style::FeedReader, ""),
    kind(4, "Tiny Tiny RSS/{int:17-20}.{int:1-12} (http://tt-rss.org/)", Style::FeedReader, ""),
    kind(3, "Mozilla/5.0 (compatible; Miniflux/2.0.{int:10-20}; +https://miniflux.app)", Style::FeedReader, ""),
    kind(3, "NextCloud-News/1.0", Style::FeedReader, ""),
    kind(2, "newsboat/2.1{int:3-9} (Linux x86_64)", Style::FeedReader, ""),
    kind(2, "FreshRSS/1.1{int:4-6}.{int:0-3} (Linux; https://freshrss.org)", Style::FeedReader, ""),
    kind(2, "NetNewsWire (RSS Reader; https://ranchero.com/netnewswire/)", Style::FeedReader, ""),
];

const CRAWLERS: &[Kind] = &[
    kind(8, "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", Style::Crawler, ""),
    kind(2, "Googlebot-Image/1.0", Style::Crawler, ""),
    kind(5, "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)", Style::Crawler, ""),
    kind(3, "Mozilla/5.0 (compatible; YandexBot/3.0; +http://yandex.com/bots)", Style::Crawler, ""),
    kind(2, "Mozilla/5.0 (compatible; AhrefsBot/6.1; +http://ahrefs.com/robot/)", Style::Crawler, ""),
    kind(2, "Mozilla/5.0 (compatible; MJ12bot/v1.4.8; http://mj12bot.com/)", Style::Crawler, ""),
    kind(1, "Mozilla/5.0 (compatible; Baiduspider/2.0; +http://www.baidu.com/search/spider.html)", Style::Crawler, ""),
    kind(1, "DuckDuckBot/1.0; (+http://duckduckgo.com/duckduckbot.html)", Style::Crawler, ""),
];

const TOOLS: &[Kind] = &[
    kind(20, "curl/7.{int:29-69}.{int:0-1}", Style::Plain, ""),
    kind(6, "Wget/1.{int:14-20} (linux-gnu)", Style::Plain, ""),
    kind(3, "libcurl-agent/1.0", Style::Plain, ""),
    kind(3, "python-requests/2.{int:18-23}.0", Style::Plain, ""),
    kind(2, "Go-http-client/1.1", Style::Plain, ""),
    kind(2, "GuzzleHttp/6.{int:3-5}.{int:1-3} curl/7.{int:47-68}.0 PHP/7.{int:1-4}.{int:0-33}", Style::Plain, ""),
    kind(
        2,
        "Mozilla/5.0 (Windows NT; Windows NT 10.0; en-US) WindowsPowerShell/5.1.{int:14393-18362}.{int:100-999}",
        Style::Plain,
        "",
    ),
    kind(1, "Homebrew/2.2.{int:0-11} (Macintosh; Intel Mac OS X 10.15.{int:0-4}) curl/7.64.1", Style::Plain, ""),
    kind(1, "Java/1.8.0_{int:151-242}", Style::Plain, ""),
    kind(1, "okhttp/3.{int:8-14}.{int:0-2}", Style::Plain, ""),
];

const WECHAT: &[Kind] = &[
    kind(
        8,
        "Mozilla/5.0 (Linux; Android {choice:8.1.0|7.1.1|9|8.0.0|6.0.1}; {choice:V1818A Build/OPM1.171019.026|V1816A Build/OPM1.171019.011|V1813BA Build/OPM1.171019.026|vivo X21A Build/OPM1.171019.011|vivo Y85A Build/OPM1.171019.011|vivo X9 Build/NMF26F|vivo Y67 Build/MRA58K}; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/66.0.3359.126 MQQBrowser/6.2 TBS/0446{int:11-91} Mobile Safari/537.36 MMWEBID/{int:10-9999} MicroMessenger/7.0.{int:3-4}.1{int:360-420}(0x270004{hex:2}) Process/tools NetType/{choice:WIFI|WIFI|4G|4G|3G} Language/zh_CN",
        Style::Picture,
        CHINESE,
    ),
    kind(
        7,
        "Mozilla/5.0 (Linux; Android {choice:5.1|5.1.1|7.1.1|8.1.0}; {choice:OPPO A59s Build/LMY47I|OPPO R11 Build/NMF26X|OPPO R9s Build/MMB29M|PBAM00 Build/OPM1.171019.026|PBEM00 Build/PKQ1.190519.001|OPPO A57 Build/MMB29M|PACM00 Build/O11019}; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/66.0.3359.126 MQQBrowser/6.2 TBS/0447{int:0-9}4 Mobile Safari/537.36 MMWEBID/{int:10-9999} MicroMessenger/7.0.{int:3-4}.1{int:360-420}(0x270004{hex:2}) Process/tools NetType/{choice:WIFI|WIFI|4G|4G|3G} Language/zh_CN",
        Style::Picture,
        CHINESE,
    ),
    kind(
        7,
        "Mozilla/5.0 (Linux; Android {choice:9|8.0.0|8.1.0}; {choice:LYA-AL00 Build/HUAWEILYA-AL00L|EML-AL00 Build/HUAWEIEML-AL00|BKL-AL20 Build/HUAWEIBKL-AL20|COR-AL10 Build/HUAWEICOR-AL10|JSN-AL00a Build/HONORJSN-AL00a|STF-AL00 Build/HUAWEISTF-AL00|PAR-AL00 Build/HUAWEIPAR-AL00}; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/66.0.3359.126 MQQBrowser/6.2 TBS/0446{int:11-91} Mobile Safari/537.36 MMWEBID/{int:10-9999} MicroMessenger/7.0.4.1420(0x2700043{hex:1}) Process/tools NetType/{choice:WIFI|4G} Language/zh_CN",
        Style::Picture,
        CHINESE,
    ),
    kind(
        4,
        "Mozilla/5.0 (Linux; Android {choice:8.1.0|9|7.0}; {choice:MI 8 Build/PKQ1.180729.001|Redmi Note 5 Build/OPM1.171019.011|MI 6 Build/PKQ1.190118.001|Redmi 6 Build/O11019|MI MAX 3 Build/OPM1.171019.019}; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/66.0.3359.126 MQQBrowser/6.2 TBS/0446{int:11-91} Mobile Safari/537.36 MMWEBID/{int:10-9999} MicroMessenger/7.0.4.1420(0x2700043{hex:1}) Process/{choice:tools|appbrand0} NetType/{choice:WIFI|4G} Language/zh_CN",
        Style::Picture,
        CHINESE,
    ),
    kind(
        6,
        "Mozilla/5.0 (iPhone; CPU iPhone OS {choice:12_1_4|12_2|12_1_2|11_4_1|12_3|10_3_3} like Mac OS X) AppleWebKit/{choice:605.1.15|605.1.15|603.3.8} (KHTML, like Gecko) Mobile/{choice:16D57|15E148|16D40|15G77|14G60} MicroMessenger/7.0.{int:2-4}(0x17000{int:221-428}) NetType/{choice:WIFI|4G} Language/zh_CN",
        Style::Picture,
        CHINESE,
    ),
    kind(
        3,
        "Mozilla/5.0 (Linux; U; Android {choice:8.1.0|7.1.1|9}; zh-cn; {choice:V1818A Build/OPM1.171019.026|OPPO R11s Build/NMF26X|MI 8 Build/PKQ1.180729.001}) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/66.0.3359.126 MQQBrowser/9.{int:1-2} Mobile Safari/537.36",
        Style::Picture,
        CHINESE,
    ),
];

const MONITORS: &[Kind] = &[
    kind(3, "Mozilla/5.0+(compatible; UptimeRobot/2.0; http://www.uptimerobot.com/)", Style::Plain, ""),
    kind(2, "Pingdom.com_bot_version_1.4_(http://www.pingdom.com/)", Style::Plain, ""),
    kind(1, "check_http/v2.2.1 (nagios-plugins 2.2.1)", Style::Plain, ""),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_agent_is_a_good_pattern_and_fits_a_head() {
        for (name, kinds) in FAMILIES {
            assert!(kinds.iter().map(|kind| kind.weight).sum::<u32>() > 0, "{name}");
            for kind in *kinds {
                let user_agent = Pattern::parse(kind.user_agent).expect(kind.user_agent).render(&mut Rng::with_seed(3));
                assert!(user_agent.is_ascii() && !user_agent.contains(['{', '}']), "{user_agent}");
                let mut head = String::new();
                Agent::new(Some(user_agent), kind.style, kind.languages, &mut Rng::with_seed(1))
                    .write_head_lines(&mut head);
                assert!(head.lines().all(|line| line.contains(": ")) && head.ends_with("\r\n"), "{head}");
            }
        }
    }
}
