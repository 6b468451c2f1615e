//! What is said of bans.

use std::process::ExitCode;
use std::time::Duration;

use ipnet::IpNet;
use seawall_engine::decision::{BanCause, ban_network};
use seawall_engine::units::Timestamp;

use super::{How, plural};
use crate::cli::Failure;
use crate::config::quantity;
use crate::enforcement::{BanView, Banned, Doubt, Doubtful, Unbanned, Withheld, Within, shown_network as shown};
use crate::show::text::escape;

/// Who or what made a ban.
pub(super) fn cause(cause: BanCause) -> String {
    match cause {
        BanCause::Rule(rule) => format!("goes on with what {rule} matches"),
        BanCause::Limit | BanCause::ProxiedLimit => "beyond a limit".to_owned(),
        BanCause::Operator => "banned by an operator".to_owned(),
        BanCause::Import => "imported".to_owned(),
        BanCause::Merged(Some(rule)) => {
            format!("merged to make room, of clients that go on with what {rule} matches")
        }
        BanCause::Merged(None) => "merged to make room, of clients beyond a limit".to_owned(),
    }
}

/// What became of a request, for people; `time` is for how long it is about.
pub(super) fn outcome(banned: &Banned, how: &How, time: &str) -> String {
    let mut text = String::new();
    let count = banned.networks.saturating_sub(banned.refused.len());
    if let Some(collateral) = banned.collateral {
        let (share, upper) = (100.0 * collateral.share, 100.0 * collateral.upper);
        let whence = if banned.clients == 0 { "there" } else { "the networks in it" };
        text += &format!(
            "{share:.2}% of the traffic served in calm times comes from {whence}, {upper:.2}% at most (95% confidence).\n"
        );
        if banned.clients > 0 {
            let count = banned.clients;
            text += &format!("How much comes from {count} single {} is not known.\n", plural(count, "client"));
        }
    } else if count > 1 {
        text += "What of the traffic served in calm times comes from there is not known.\n";
    }
    if how.dry_run && (count > 0 || banned.unknown_places.is_empty()) {
        let need = match banned.withheld {
            None => "",
            Some(Withheld::TooMuch) => ", with --anyway",
            Some(Withheld::Unknown) => ", with --anyway or --confirm",
        };
        text += &format!("Would ban {count} {} for {time}{need}.\n", plural(count, "network"));
    }
    if banned.added > 0 {
        text +=
            &format!("Banned {} {} for {time}, {}.\n", banned.added, plural(banned.added, "network"), place(banned));
    }
    if banned.unchanged > 0 {
        text += &format!("{} were banned for as long or longer already.\n", banned.unchanged);
    }
    for entry in &banned.spared {
        text += &format!("Within it {} stays free: it is {}.\n", shown(entry.network), entry.reason.words());
    }
    if let (Some(_), Some(time)) = (banned.confirm_until, how.confirm) {
        text += &format!("Say `seawall confirm` within {}, or it is undone.\n", quantity::show_duration(time));
    }
    text
}

/// Where the banned are kept away.
fn place(banned: &Banned) -> String {
    let of_kernel =
        banned.kernel_problem.as_ref().map(|why| format!("; kernel: not yet, because {}", escape(why.as_bytes())));
    match (banned.layers.is_empty(), of_kernel) {
        (true, None) => "nowhere now, and `seawall status` says why".to_owned(),
        (true, Some(of_kernel)) => format!("nowhere now{of_kernel}"),
        (false, of_kernel) => format!("in the {}{}", banned.layers.join(" and the "), of_kernel.unwrap_or_default()),
    }
}

/// Which networks are banned for what was typed, where they are others: a network may have been typed with an address within it, and of an
/// address of IPv6 it is the network around it.
pub(super) fn banned_as_others(typed: &[IpNet], banned: &Banned) -> String {
    if banned.added + banned.unchanged == 0 {
        return String::new();
    }
    let is_refused = |network: &IpNet| banned.refused.iter().any(|one| one.network == *network);
    let others = typed.iter().map(|typed| (typed, ban_network(*typed)));
    let others =
        others.filter(|(typed, network)| **typed != *network && !is_refused(network) && !is_refused(&typed.trunc()));
    others.map(|(typed, network)| format!("For {} that is {}.\n", shown(*typed), shown(network))).collect()
}

/// The exit code of a request of which some may have been refused.
pub(super) fn refused(banned: &Banned, how: &How) -> Result<ExitCode, Failure> {
    let withheld = banned.withheld.filter(|_| !how.dry_run).map(|withheld| match withheld {
        Withheld::TooMuch => "nobody was banned: that keeps away more than 1% of the visitors; --anyway does it".to_owned(),
        Withheld::Unknown => format!(
            "nobody was banned: {}; --confirm 60s does it and undoes it unless you say `seawall confirm`, --anyway does it for good",
            banned.doubtful.as_ref().map_or_else(|| "whom it keeps away is not known".to_owned(), doubt)
        ),
    });
    let unknown = (!banned.unknown_places.is_empty())
        .then(|| format!("no network of {} is known", banned.unknown_places.join(", ")));
    let reasons =
        banned.refused.iter().take(10).map(|one| format!("{} is not banned: {}", shown(one.network), one.reason));
    let more = banned.refused.len().saturating_sub(10);
    let more = (more > 0).then(|| format!("and {more} more"));
    let lines: Vec<String> = withheld.into_iter().chain(unknown).chain(reasons).chain(more).collect();
    if lines.is_empty() { Ok(ExitCode::SUCCESS) } else { Err(Failure::negative(lines.join("\n"))) }
}

/// Of what a request is doubtful.
fn doubt(Doubtful { doubt, first, count }: &Doubtful) -> String {
    let first = first.as_deref().unwrap_or_default();
    let of = if *count > 1 { format!(" (the first of {count} such)") } else { String::new() };
    match doubt {
        Doubt::Private => format!("{first}{of} is private, and your own people may come from there"),
        Doubt::TooLarge => format!("{first}{of} is larger than the networks of any one holder (a /8, of IPv6 a /19)"),
        Doubt::TooMany => "the networks of this list are more than an eighth of all addresses".to_owned(),
        Doubt::Wide => format!(
            "{first}{of} is more than a client's own network (a /24, of IPv6 a /48), and whom it keeps away is not known, since too little \
             was served yet"
        ),
        Doubt::Long => {
            format!("these are {count} networks at once, more than 64, and whom they keep away is not known")
        }
        Doubt::Place => format!("whom {first} would keep away is not known, since too little was served yet"),
    }
}

/// What was taken back.
pub(super) fn taken_back(unbanned: &Unbanned) -> String {
    let freed: Vec<String> = unbanned.freed.iter().map(|name| escape(name.as_bytes())).collect();
    let bans = (unbanned.removed > 0 || freed.is_empty())
        .then(|| format!("Took back {} {}.\n", unbanned.removed, plural(unbanned.removed, "ban")));
    let freed = (!freed.is_empty()).then(|| format!("A limit no longer refuses {}.\n", freed.join(", ")));
    bans.into_iter().chain(freed).collect()
}

/// Of whom there was no ban to take back, and with whom he is banned all the same; none when there were all.
pub(super) fn not_banned(unbanned: &Unbanned, now: Timestamp) -> Option<String> {
    let is_within = |name: &String| unbanned.within.iter().any(|within| within.name == *name);
    let nowhere: Vec<String> =
        unbanned.unknown.iter().filter(|name| !is_within(name)).map(|name| escape(name.as_bytes())).collect();
    let mut lines = Vec::new();
    if !nowhere.is_empty() {
        lines.push(format!(
            "there is no ban of {} (`seawall bans list` shows them all); who was dropped for going on after refusals is free",
            nowhere.join(", ")
        ));
    }
    for Within { name, around } in &unbanned.within {
        let left = |ban: &BanView| quantity::show_duration(Duration::from_secs(ban.expires.since(now).as_secs()));
        let ban = |ban: &BanView| format!("{} ({}, {} left)", ban.network, cause(ban.cause), left(ban));
        let bans: Vec<String> = around.iter().map(ban).collect();
        let networks: Vec<&str> = around.iter().map(|ban| ban.network.as_str()).collect();
        lines.push(format!(
            "there is no ban of {} alone, which is in {}; `seawall bans remove {}` frees all of it",
            escape(name.as_bytes()),
            bans.join(" and "),
            networks.join(" ")
        ));
    }
    if unbanned.left > 0 {
        lines.push(format!("{} more were not looked at: a panic or the end of the guard came first", unbanned.left));
    }
    (!lines.is_empty()).then(|| lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use seawall_engine::decision::Collateral;

    use super::*;
    use crate::enforcement::Unbannable;

    fn how(dry_run: bool) -> How {
        How { duration: Duration::from_secs(60), reason: None, confirm: None, dry_run, anyway: false }
    }

    fn network(text: &str) -> IpNet {
        text.parse().expect("a network")
    }

    #[test]
    fn what_is_not_known_of_single_clients_is_said_beside_the_share_of_the_networks() {
        let how = how(true);
        let collateral = Collateral { share: 0.001, upper: 0.004 };
        let said = |clients| {
            let banned = Banned { networks: 9, clients, collateral: Some(collateral), ..Banned::default() };
            outcome(&banned, &how, "1m")
        };
        let networks = "0.10% of the traffic served in calm times comes from there, 0.40% at most (95% confidence).\n";
        assert!(said(0).starts_with(networks), "{}", said(0));
        assert!(said(8).starts_with(&networks.replace("there", "the networks in it")), "{}", said(8));
        assert!(said(8).contains("How much comes from 8 single clients is not known.\n"), "{}", said(8));
    }

    #[test]
    fn where_the_banned_are_kept_away_is_said_and_why_not_in_the_kernel() {
        let said = |layers: &[&str], problem: Option<&str>| {
            let layers = layers.iter().map(|layer| (*layer).to_owned()).collect();
            let banned = Banned {
                added: 1,
                networks: 1,
                layers,
                kernel_problem: problem.map(str::to_owned),
                ..Banned::default()
            };
            outcome(&banned, &how(false), "1h")
        };
        assert_eq!(said(&["proxy", "kernel"], None), "Banned 1 network for 1h, in the proxy and the kernel.\n");
        assert_eq!(
            said(&["proxy"], Some("nft failed")),
            "Banned 1 network for 1h, in the proxy; kernel: not yet, because nft failed.\n"
        );
        assert_eq!(
            said(&[], Some("there is no nft")),
            "Banned 1 network for 1h, nowhere now; kernel: not yet, because there is no nft.\n"
        );
        assert_eq!(said(&[], None), "Banned 1 network for 1h, nowhere now, and `seawall status` says why.\n");
    }

    #[test]
    fn of_what_is_withheld_the_one_reason_that_applies_is_said() {
        let said = |doubt: Doubt, first: Option<&str>, count: usize| {
            let doubtful = Some(Doubtful { doubt, first: first.map(str::to_owned), count });
            let banned = Banned { withheld: Some(Withheld::Unknown), doubtful, ..Banned::default() };
            refused(&banned, &how(false)).expect_err("it is withheld").to_string()
        };
        let texts = [
            said(Doubt::Private, Some("10.1.2.3"), 1),
            said(Doubt::TooLarge, Some("8.0.0.0/7"), 3),
            said(Doubt::TooMany, None, 40),
            said(Doubt::Wide, Some("203.0.112.0/22"), 1),
            said(Doubt::Long, None, 65),
            said(Doubt::Place, Some("AS13335"), 1),
        ];
        insta::assert_snapshot!(texts.join("\n"), @r"
        nobody was banned: 10.1.2.3 is private, and your own people may come from there; --confirm 60s does it and undoes it unless you say `seawall confirm`, --anyway does it for good
        nobody was banned: 8.0.0.0/7 (the first of 3 such) is larger than the networks of any one holder (a /8, of IPv6 a /19); --confirm 60s does it and undoes it unless you say `seawall confirm`, --anyway does it for good
        nobody was banned: the networks of this list are more than an eighth of all addresses; --confirm 60s does it and undoes it unless you say `seawall confirm`, --anyway does it for good
        nobody was banned: 203.0.112.0/22 is more than a client's own network (a /24, of IPv6 a /48), and whom it keeps away is not known, since too little was served yet; --confirm 60s does it and undoes it unless you say `seawall confirm`, --anyway does it for good
        nobody was banned: these are 65 networks at once, more than 64, and whom they keep away is not known; --confirm 60s does it and undoes it unless you say `seawall confirm`, --anyway does it for good
        nobody was banned: whom AS13335 would keep away is not known, since too little was served yet; --confirm 60s does it and undoes it unless you say `seawall confirm`, --anyway does it for good
        ");
        let unknown = Banned { unknown_places: vec!["AS999999999".to_owned()], ..Banned::default() };
        assert_eq!(
            refused(&unknown, &how(false)).expect_err("there is none").to_string(),
            "no network of AS999999999 is known"
        );
        assert_eq!(outcome(&unknown, &how(true), "1h"), "");
        let why = "a /0 is too large a network to ban; the largest is a /4".to_owned();
        let too_large = Banned {
            networks: 1,
            refused: vec![Unbannable { network: network("0.0.0.0/0"), reason: why }],
            ..Banned::default()
        };
        let said = refused(&too_large, &how(false)).expect_err("it is refused").to_string();
        assert_eq!(said, "0.0.0.0/0 is not banned: a /0 is too large a network to ban; the largest is a /4");
    }

    #[test]
    fn whoever_types_an_address_within_a_network_is_told_which_network_is_banned() {
        let typed =
            ["203.0.113.7/24", "198.51.100.0/24", "192.0.2.7/32", "2001:db8:1:2::7/128", "10.0.0.7/8"].map(network);
        let banned = Banned {
            added: 4,
            refused: vec![Unbannable { network: network("10.0.0.0/8"), reason: String::new() }],
            ..Banned::default()
        };
        let said = "For 203.0.113.7/24 that is 203.0.113.0/24.\nFor 2001:db8:1:2::7 that is 2001:db8:1:2::/64.\n";
        assert_eq!(banned_as_others(&typed, &banned), said);
        assert_eq!(banned_as_others(&typed, &Banned::default()), "");
    }

    #[test]
    fn of_whom_is_banned_with_others_it_is_said_what_frees_him() {
        let now = Timestamp::from_seconds(1_700_000_000);
        let merged = BanView {
            network: "network-9f03ab70/28".to_owned(),
            is_pseudonym: true,
            since: now,
            expires: now + Duration::from_secs(240),
            cause: BanCause::Merged(None),
            reason: None,
            country: None,
            confirm_until: None,
            unconfirmed_expires: None,
        };
        let within = vec![Within { name: "203.0.113.7".to_owned(), around: vec![merged] }];
        let unknown = vec!["203.0.113.7".to_owned(), "x\u{1b}".to_owned()];
        let freed = Unbanned { freed: vec!["203.0.113.9".to_owned()], ..Unbanned::default() };
        assert_eq!(taken_back(&freed), "A limit no longer refuses 203.0.113.9.\n");
        assert_eq!(
            taken_back(&Unbanned { removed: 1, ..freed }),
            "Took back 1 ban.\nA limit no longer refuses 203.0.113.9.\n"
        );
        assert_eq!(taken_back(&Unbanned::default()), "Took back 0 bans.\n");
        let said = not_banned(&Unbanned { unknown, within, left: 3, ..Unbanned::default() }, now);
        insta::assert_snapshot!(said.expect("something to say"), @r"
        there is no ban of x\x1b (`seawall bans list` shows them all); who was dropped for going on after refusals is free
        there is no ban of 203.0.113.7 alone, which is in network-9f03ab70/28 (merged to make room, of clients beyond a limit, 4m left); `seawall bans remove network-9f03ab70/28` frees all of it
        3 more were not looked at: a panic or the end of the guard came first
        ");
        assert_eq!(not_banned(&Unbanned { removed: 2, ..Unbanned::default() }, now), None);
    }
}
