//! What stands before the time stamp in the common log format: who asked, and whom.
//!
//! ```text
//! client identity user          client host user
//! host client identity user     client, proxy identity user
//! ```
//!
//! Clients write parts of it: the host that they ask for, the user that they say they are, also with spaces. Who could make one order
//! look like the other with `Host: 9.9.9.9`, or as the user `- x`, could have anybody taken for the client, and hide himself. So a line
//! is read in the order that the other lines of its log are in, which nobody can make: no client shortens a line that
//! begins with the host to three fields, and none has a name written where the server writes addresses. As long as they do not tell, a
//! line is read as it looks, and its client is no peer.

use super::fields::{address_with_port, last_forwarded};
use super::numbers::Numbers;
use super::{Reason, request_line, time};
use crate::address::ClientAddress;

/// What the lines of one log have told. Those within what others write around them, and those that stand by themselves, tell of their own
/// kind alone: a client that has a bare line look like the other kind, by the host that it asks for, changes nothing of how its like are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Layouts {
    pub(super) bare: Layout,
    pub(super) wrapped: Layout,
}

/// What is not said in the lines of one log, as far as they have told: the order of the fields before the time stamp, and what a number behind
/// the others is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Layout {
    /// Lines of three fields have come: the first is the client.
    client_first: bool,
    /// Lines have come in which an address follows a name: the second is the client.
    host_first: bool,
    /// Lines of three fields have come in which a host is second: whatever stands there is one, also `localhost`.
    host_second: bool,
    /// Lines of three fields have come that begin with a name: what stands first is not always what the server saw.
    has_names: bool,
    /// Lines have come that begin with a list of addresses: where a client stands first, a header named it.
    has_lists: bool,
    /// Lines have come behind whose fields a text in quotes stands that is no time: clients write it, as `X-Forwarded-For`.
    pub(super) further_begins_with_text: bool,
    /// What the whole numbers are that stand behind its lines.
    pub(super) numbers: Numbers,
}

/// What stands before the time stamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Parties<'a> {
    /// The host that was asked for, where the log has a field for it; empty for `-`.
    pub(super) host: Option<&'a [u8]>,
    pub(super) client: Option<ClientAddress>,
    /// The list of addresses in whose place others have a client.
    pub(super) forwarded_for: Option<&'a [u8]>,
    /// Whether the client is certain to be whom the server saw.
    pub(super) is_peer: bool,
}

/// In which order a line is, and whether that is certain.
enum Order {
    ClientFirst {
        is_certain: bool,
    },
    HostFirst {
        is_certain: bool,
    },
    /// Names and nothing else.
    Unknown,
}

impl Layout {
    /// Reads the fields before a time stamp, and learns from them.
    #[inline]
    pub(super) fn read<'a>(&mut self, before: &'a [u8]) -> Result<Parties<'a>, Reason> {
        let mut fields = before.split(|byte| *byte == b' ').filter(|field| !field.is_empty());
        let (Some(first), Some(second), Some(third)) = (fields.next(), fields.next(), fields.next()) else {
            return Err(Reason::TooFewFields);
        };
        // No host ends like this but one that a client made up.
        if first.ends_with(b",") && !self.begins_with_hosts() {
            return self.behind_list(before);
        }
        let client = address_with_port(first);
        if fields.next().is_none() {
            self.client_first = true;
            self.host_second |= second != b"-" && has_point(second);
            if client.is_none() && memchr::memchr(b',', first).is_some() {
                self.has_lists = true;
                return Ok(self.forwarded(first, second));
            }
            self.has_names |= client.is_none() && is_name(first);
            return Ok(self.client_first(client, second, true));
        }
        self.longer(before, [first, second, third], client, fields.next().is_some())
    }

    /// Whether a host, whatever it looks like, stands first in each line.
    pub(super) fn begins_with_hosts(self) -> bool {
        self.host_first && !self.client_first
    }

    /// Reads a line of four fields or more.
    fn longer<'a>(
        &mut self,
        before: &'a [u8],
        [first, second, third]: [&'a [u8]; 3],
        client: Option<ClientAddress>,
        is_longer: bool,
    ) -> Result<Parties<'a>, Reason> {
        let client_second = address_with_port(second);
        match self.order(first, third, client.is_some(), client_second.is_some()) {
            Order::ClientFirst { is_certain } => Ok(self.client_first(client, second, is_certain)),
            Order::HostFirst { is_certain } if is_longer => {
                Ok(self.behind_host(before, first, client_second, is_certain))
            }
            Order::HostFirst { is_certain } => {
                let is_peer = is_certain && client_second.is_some() && !self.has_names;
                Ok(Parties { host: Some(host(first)), client: client_second, forwarded_for: None, is_peer })
            }
            Order::Unknown => Ok(Parties { host: None, client: None, forwarded_for: None, is_peer: false }),
        }
    }

    /// The order of a line of four fields or more.
    fn order(&mut self, first: &[u8], third: &[u8], is_address: bool, is_address_second: bool) -> Order {
        if !is_address && is_address_second && first != b"-" {
            // What others write before a line: when, and maybe which machine.
            if !self.begins_with_hosts() && time::iso(first).is_some() {
                return Order::Unknown;
            }
            self.host_first = true;
            return Order::HostFirst { is_certain: true };
        }
        match (self.client_first, self.host_first) {
            (true, false) => Order::ClientFirst { is_certain: true },
            (false, true) => Order::HostFirst { is_certain: true },
            _ if is_address_second => Order::HostFirst { is_certain: false },
            _ if is_address => Order::ClientFirst { is_certain: false },
            // The identity is `-` in practice.
            _ if third == b"-" => Order::HostFirst { is_certain: false },
            _ => Order::Unknown,
        }
    }

    /// lighttpd has the host in place of the identity, which nobody asks for any more.
    #[inline]
    fn client_first<'a>(self, client: Option<ClientAddress>, second: &'a [u8], is_certain: bool) -> Parties<'a> {
        let is_host = second != b"-" && (self.host_second || has_point(second));
        let is_peer = is_certain && client.is_some() && !self.has_names && !self.has_lists;
        Parties { host: is_host.then(|| request_line::without_port(second)), client, forwarded_for: None, is_peer }
    }

    /// `client, proxy, proxy`, as `X-Forwarded-For` came: of several, the client of the last proxy is the last.
    fn behind_list<'a>(&mut self, before: &'a [u8]) -> Result<Parties<'a>, Reason> {
        self.has_lists = true;
        let before = before.trim_ascii_start();
        let mut end = 0;
        for field in before.split(|byte| *byte == b' ') {
            end += field.len();
            if !field.is_empty() && !field.ends_with(b",") {
                break;
            }
            end += 1;
        }
        let (list, after) = before.split_at_checked(end).unwrap_or((before, b""));
        let mut fields = after.split(|byte| *byte == b' ').filter(|field| !field.is_empty());
        let (Some(second), Some(_)) = (fields.next(), fields.next()) else { return Err(Reason::TooFewFields) };
        Ok(self.forwarded(list, second))
    }

    fn forwarded<'a>(self, list: &'a [u8], second: &'a [u8]) -> Parties<'a> {
        Parties { forwarded_for: Some(list), ..self.client_first(last_forwarded(list), second, false) }
    }

    /// A host or a user holds spaces. The client is an address that a `-` follows, and then a user. Where there are several, one was
    /// made up by a client.
    fn behind_host<'a>(
        self,
        before: &'a [u8],
        first: &'a [u8],
        second: Option<ClientAddress>,
        is_certain: bool,
    ) -> Parties<'a> {
        let before = before.trim_ascii_start();
        let mut found = None;
        let mut at = 0;
        for field in before.split(|byte| *byte == b' ') {
            let (start, end) = (at, at + field.len());
            at = end + 1;
            let Some(client) = address_with_port(field).filter(|_| start > 0) else { continue };
            let mut after = before[end..].split(|byte| *byte == b' ').filter(|field| !field.is_empty());
            if after.next() != Some(b"-") || after.next().is_none() {
                continue;
            }
            if let Some((client, asked)) = found {
                return Parties { host: Some(asked), client: Some(client), forwarded_for: None, is_peer: false };
            }
            found = Some((client, host(before[..start].trim_ascii_end())));
        }
        match found {
            Some((client, host)) => {
                let is_peer = is_certain && !self.has_names;
                Parties { host: Some(host), client: Some(client), forwarded_for: None, is_peer }
            }
            None => Parties { host: Some(host(first)), client: second, forwarded_for: None, is_peer: false },
        }
    }
}

/// Whether a field in place of the identity is a host.
fn has_point(field: &[u8]) -> bool {
    memchr::memchr(b'.', field).is_some()
}

fn host(field: &[u8]) -> &[u8] {
    if field == b"-" { &field[..0] } else { request_line::without_port(field) }
}

/// Whether a field is a name: not what is left of an address whose line was cut in two, and not what nginx writes for a client on a
/// unix socket.
fn is_name(field: &[u8]) -> bool {
    let has = |wanted: fn(&u8) -> bool| field.iter().any(wanted);
    let is_cut_address = !has(|byte| !byte.is_ascii_hexdigit() && !matches!(byte, b'.' | b':'))
        && (memchr::memchr(b'.', field).is_none() || memchr::memchr(b':', field).is_some());
    has(u8::is_ascii_alphabetic) && !is_cut_address && !field.starts_with(b"unix:")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Host, client and whether it is a peer, of what stands before the time stamp of the last of some lines.
    fn read(lines: &[&str]) -> String {
        let mut layout = Layout::default();
        let mut parties = None;
        for line in lines {
            parties = Some(layout.read(line.as_bytes()).expect("enough fields"));
        }
        let Parties { host, client, forwarded_for, is_peer } = parties.expect("a line");
        let text = |text: &[u8]| String::from_utf8_lossy(text).into_owned();
        let host = host.map_or("no host".to_owned(), text);
        let forwarded = forwarded_for.map_or(String::new(), |list| format!(", forwarded {}", text(list)));
        let client = client.map_or("nobody".to_owned(), |client| client.ip().to_string());
        format!("{host}, {client}{forwarded}{}", if is_peer { ", peer" } else { "" })
    }

    #[track_caller]
    fn check(lines: &[&str], expected: &str) {
        assert_eq!(read(lines), expected, "{lines:?}");
    }

    const PLAIN: &str = "192.0.2.1 - -";
    const HOST_FIRST: &str = "www.example 192.0.2.1 - -";
    const HOST_SECOND: &str = "192.0.2.1 www.example -";

    #[test]
    fn each_order_is_read_and_its_client_is_a_peer() {
        check(&[PLAIN], "no host, 192.0.2.1, peer");
        check(&["192.0.2.1:5555 - -"], "no host, 192.0.2.1, peer");
        check(&["[2001:db8::1]:5555 - -"], "no host, 2001:db8::1, peer");
        check(&[HOST_SECOND], "www.example, 192.0.2.1, peer");
        check(&["192.0.2.1 192.0.2.80:8080 -"], "192.0.2.80, 192.0.2.1, peer");
        check(&["192.0.2.1 localhost -"], "no host, 192.0.2.1, peer");
        check(&[HOST_SECOND, "192.0.2.1 localhost -"], "localhost, 192.0.2.1, peer");
        check(&[HOST_SECOND, "192.0.2.1 - -"], "no host, 192.0.2.1, peer");
        check(&[HOST_FIRST], "www.example, 192.0.2.1, peer");
        check(&["www.example:443 2001:db8::1 - frank"], "www.example, 2001:db8::1, peer");
        check(&["- - -"], "no host, nobody");
        check(&["www.example - - -"], "www.example, nobody");
        // Within a line of syslog.
        check(&["2015-05-17T10:05:03Z 192.0.2.9 nginx: 192.0.2.1 - -"], "no host, nobody");
        check(&["2015-05-17T10:05:03Z 192.0.2.9 nginx: 192.0.2.1 - -", PLAIN], "no host, 192.0.2.1, peer");
        check(&["2015-05-17T10:05:03Z 192.0.2.1 - -"], "no host, nobody");
        // Where hosts come first it is one.
        check(&[HOST_FIRST, "2015-05-17T10:05:03Z 192.0.2.1 - -"], "2015-05-17T10:05:03Z, 192.0.2.1, peer");
    }

    #[test]
    fn a_host_that_is_an_address_is_nobody() {
        check(&[HOST_FIRST, "9.9.9.9 192.0.2.1 - -"], "9.9.9.9, 192.0.2.1, peer");
        check(&[HOST_FIRST, "9.9.9.9:80 192.0.2.1 - a b"], "9.9.9.9, 192.0.2.1, peer");
        check(&[HOST_FIRST, "[2001:db8::9] 192.0.2.1 - -"], "[2001:db8::9], 192.0.2.1, peer");
        // The addresses were taken out of the log.
        check(&["www.example - - -", "9.9.9.9 - - -"], "no host, 9.9.9.9");
        check(&[HOST_FIRST, "9.9.9.9 - - -"], "9.9.9.9, nobody");
        check(&["www.example - -", "9.9.9.9 - -"], "no host, 9.9.9.9");
        check(&["www.example - -", "a 9.9.9.9 - -"], "a, 9.9.9.9");
        // Nobody knows the log yet.
        check(&["9.9.9.9 192.0.2.1 - -"], "9.9.9.9, 192.0.2.1");
        // It holds both.
        check(&[PLAIN, HOST_FIRST, "9.9.9.9 192.0.2.1 - -"], "9.9.9.9, 192.0.2.1");
        check(&[PLAIN, HOST_FIRST, HOST_FIRST], "www.example, 192.0.2.1, peer");
    }

    #[test]
    fn hosts_and_users_with_spaces_name_nobody_and_hide_nobody() {
        check(&[PLAIN, "192.0.2.1 - 9.9.9.9 x"], "no host, 192.0.2.1, peer");
        check(&[PLAIN, "192.0.2.1 - - x"], "no host, 192.0.2.1, peer");
        check(&[PLAIN, "192.0.2.1 - - 9.9.9.9 - x"], "no host, 192.0.2.1, peer");
        check(&[HOST_SECOND, "192.0.2.1 9.9.9.9 - x"], "9.9.9.9, 192.0.2.1, peer");
        check(&[HOST_SECOND, "192.0.2.1 a 9.9.9.9 - x"], "a, 192.0.2.1, peer");
        check(&["- www.example.org -", "- 9.9.9.9 - x"], "9.9.9.9, nobody");
        check(&[HOST_FIRST, "a 9.9.9.9 192.0.2.1 - -"], "a 9.9.9.9, 192.0.2.1, peer");
        check(&[HOST_FIRST, "9.9.9.9 8.8.8.8 192.0.2.1 - -"], "9.9.9.9 8.8.8.8, 192.0.2.1, peer");
        check(&[HOST_FIRST, "9.9.9.9 - x 192.0.2.1 - -"], "9.9.9.9 - x, 192.0.2.1, peer");
        check(&[HOST_FIRST, "www.example 192.0.2.1 - 9.9.9.9 x"], "www.example, 192.0.2.1, peer");
        // The host `a 9.9.9.9 -`, or the user `192.0.2.1 - -`.
        check(&[HOST_FIRST, "a 9.9.9.9 - 192.0.2.1 - -"], "a, 9.9.9.9");
        check(&[HOST_FIRST, "a 192.0.2.1 identity b c"], "a, 192.0.2.1");
    }

    #[test]
    fn a_list_in_the_place_of_the_client_is_whom_a_header_named() {
        let list = "192.0.2.1, 10.0.0.1 - -";
        check(&[list], "no host, 10.0.0.1, forwarded 192.0.2.1, 10.0.0.1");
        check(
            &["a, [2001:db8::1]:80,  10.0.0.1:5555 www.example x"],
            "www.example, 10.0.0.1, forwarded a, [2001:db8::1]:80,  10.0.0.1:5555",
        );
        check(&["192.0.2.1,10.0.0.1 - -"], "no host, 10.0.0.1, forwarded 192.0.2.1,10.0.0.1");
        check(&["192.0.2.1, unknown - -"], "no host, nobody, forwarded 192.0.2.1, unknown");
        // Then one that stands alone came by the same header.
        check(&[list, PLAIN], "no host, 192.0.2.1");
        check(&["192.0.2.1,10.0.0.1 - -", PLAIN], "no host, 192.0.2.1");
        // A host that looks like it changes nothing.
        check(&[HOST_FIRST, "9.9.9.9, 192.0.2.1 - -"], "9.9.9.9,, 192.0.2.1, peer");
        check(&["9.9.9.9, 192.0.2.1 - -", HOST_FIRST], "www.example, 192.0.2.1, peer");
        check(&[HOST_FIRST, PLAIN, list], "no host, 10.0.0.1, forwarded 192.0.2.1, 10.0.0.1");
        let mut layout = Layout::default();
        for short in ["192.0.2.1, - -", "192.0.2.1, 10.0.0.1 -", "a, b, c,", ", , ,"] {
            assert_eq!(layout.read(short.as_bytes()), Err(Reason::TooFewFields), "{short}");
        }
    }

    #[test]
    fn names_in_the_place_of_clients_are_told_from_the_rest_of_a_cut_line() {
        for name in ["www.example", "localhost", "cafe.de", "www.example:80", "dead.beef"] {
            check(&[&format!("{name} - -"), PLAIN], "no host, 192.0.2.1");
        }
        for rest in [".1", "2.0.2.1", "beef", "db8::1", "-", "unix:", ":ffff:1.2.3.4"] {
            check(&[&format!("{rest} - -"), PLAIN], "no host, 192.0.2.1, peer");
        }
    }
}
