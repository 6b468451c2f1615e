//! What a site is told of who asks.

use std::io::Write as _;

use seawall_engine::address::ClientAddress;

/// What of a request's word about its client is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Belief {
    /// Nothing: the peer is no trusted proxy.
    Nothing,
    /// What every proxy says.
    Forwarded,
    /// That, and the header in which this kind of proxy names the client.
    ForwardedAnd(&'static str),
}

/// Who a request comes from, as far as the guard knows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Claims {
    /// What the request itself says of it.
    pub(super) belief: Belief,
    /// Whom it comes from.
    pub(super) client: Option<ClientAddress>,
    /// The TCP peer.
    pub(super) peer: ClientAddress,
}

impl Claims {
    /// Writes the value of X-Forwarded-For: after what trusted proxies have said of it, if they are believed, whoever the
    /// guard takes for the client or its proxy. `before` are the values of that header as they came.
    pub(super) fn write_forwarded_for<'a>(&self, before: impl Iterator<Item = &'a [u8]>, text: &mut Vec<u8>) {
        let last = if self.belief != Belief::Nothing {
            let start = text.len();
            for value in before.filter(|value| is_visible(value)) {
                text.extend_from_slice(value);
                text.extend_from_slice(b", ");
            }
            if text.len() == start
                && let Some(client) = self.client
            {
                write_address(client, text);
                text.extend_from_slice(b", ");
            }
            self.peer
        } else {
            self.client.unwrap_or(self.peer)
        };
        write_address(last, text);
    }
}

fn is_visible(value: &[u8]) -> bool {
    value.iter().all(|byte| matches!(byte, b' '..=b'~' | b'\t'))
}

fn write_address(address: ClientAddress, text: &mut Vec<u8>) {
    // Writing to memory does not fail.
    let _ = write!(text, "{}", address.ip());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chain_is_that_of_those_who_are_believed() {
        let address = |text: &str| ClientAddress::new(text.parse().expect("an address"));
        let (client, peer) = (address("192.0.2.1"), address("2001:db8::1"));
        for (is_believed, client, before, expected) in [
            (false, Some(client), &["203.0.113.9"][..], "192.0.2.1"),
            (false, None, &[], "2001:db8::1"),
            (true, Some(client), &["203.0.113.9", "192.0.2.1"], "203.0.113.9, 192.0.2.1, 2001:db8::1"),
            (true, Some(client), &["\u{fc}"], "192.0.2.1, 2001:db8::1"),
            (true, None, &[], "2001:db8::1"),
        ] {
            let mut text = Vec::new();
            let belief = if is_believed { Belief::Forwarded } else { Belief::Nothing };
            let claims = Claims { belief, client, peer };
            claims.write_forwarded_for(before.iter().map(|value| value.as_bytes()), &mut text);
            assert_eq!(String::from_utf8_lossy(&text), expected);
        }
    }
}
