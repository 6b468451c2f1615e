//! The order of a request's headers, which is a mark of the program that wrote them: people change the user agent of a
//! tool, hardly ever the order in which its HTTP library writes headers.

use super::attribute::VALUE_BYTES_MAX;

/// Headers that come and go between the requests of one program, or that a proxy on the way adds: they say nothing about
/// who sends.
const PASSING: [&[u8]; 18] = [
    b"authorization",
    b"cache-control",
    b"cdn-loop",
    b"cookie",
    b"expect",
    b"fastly-client-ip",
    b"forwarded",
    b"origin",
    b"pragma",
    b"priority",
    b"purpose",
    b"range",
    b"referer",
    b"transfer-encoding",
    b"true-client-ip",
    b"upgrade",
    b"upgrade-insecure-requests",
    b"via",
];

/// The same, by how their names begin.
const PASSING_PREFIXES: [&[u8]; 6] = [b"cf-", b"content-", b"if-", b"sec-fetch-", b"sec-websocket-", b"x-"];

/// The names of the headers that a program always sends, in lower case and in the order sent, with a blank between them:
/// `host user-agent accept`.
#[derive(Clone, Copy, Debug)]
pub struct HeaderOrder {
    bytes: [u8; VALUE_BYTES_MAX],
    length: usize,
}

impl Default for HeaderOrder {
    fn default() -> Self {
        Self { bytes: [0; VALUE_BYTES_MAX], length: 0 }
    }
}

impl HeaderOrder {
    /// Takes the next header. What no longer fits is left out.
    #[inline]
    pub fn push(&mut self, name: &[u8]) {
        if is_passing(name) {
            return;
        }
        let start = if self.length == 0 { 0 } else { self.length + 1 };
        let Some(free) = self.bytes.get_mut(start..start + name.len()) else { return };
        free.copy_from_slice(name);
        free.make_ascii_lowercase();
        if start > 0 {
            self.bytes[self.length] = b' ';
        }
        self.length = start + name.len();
    }

    /// The text so far.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

fn is_passing(name: &[u8]) -> bool {
    let begins = |prefix: &&[u8]| name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
    // The first letter tells most names apart.
    match name.first().map(u8::to_ascii_lowercase) {
        Some(first @ (b'a' | b'c' | b'e' | b'f' | b'i' | b'o' | b'p' | b'r' | b's' | b't' | b'u' | b'v' | b'x')) => {
            PASSING.iter().filter(|passing| passing[0] == first).any(|passing| name.eq_ignore_ascii_case(passing))
                || PASSING_PREFIXES.iter().filter(|prefix| prefix[0] == first).any(begins)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(names: &[&str]) -> String {
        let mut order = HeaderOrder::default();
        names.iter().for_each(|name| order.push(name.as_bytes()));
        String::from_utf8(order.as_bytes().to_vec()).expect("names are ASCII")
    }

    #[test]
    fn what_comes_and_goes_is_left_out() {
        let first = order(&["Host", "User-Agent", "Accept", "Accept-Encoding", "Connection"]);
        let later = order(&[
            "host",
            "x-forwarded-for",
            "user-agent",
            "accept",
            "referer",
            "accept-encoding",
            "cookie",
            "if-none-match",
            "sec-fetch-site",
            "connection",
        ]);
        assert_eq!(first, "host user-agent accept accept-encoding connection");
        assert_eq!(first, later);
        assert_ne!(first, order(&["User-Agent", "Host", "Accept", "Accept-Encoding", "Connection"]));
    }

    #[test]
    fn any_names_fit() {
        assert_eq!(order(&[]), "");
        assert_eq!(order(&["cookie", "te"]), "te");
        let long = "a".repeat(300);
        assert_eq!(order(&["host", &long, "te"]), "host te");
        let many: Vec<String> = (0..200).map(|number| format!("name-{number}")).collect();
        let names: Vec<&str> = many.iter().map(String::as_str).collect();
        assert!(order(&names).len() <= VALUE_BYTES_MAX);
    }
}
