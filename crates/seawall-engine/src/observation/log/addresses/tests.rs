//! Texts with what is found in them, in braces.

use proptest::prelude::*;

use super::*;

/// The text with every address that was found in braces.
fn mark(text: &[u8]) -> String {
    let mut marked = Vec::new();
    let mut rest = 0;
    for found in addresses(text) {
        marked.extend_from_slice(&text[rest..found.range.start]);
        marked.push(b'{');
        marked.extend_from_slice(&text[found.range.clone()]);
        marked.push(b'}');
        rest = found.range.end;
    }
    marked.extend_from_slice(&text[rest..]);
    String::from_utf8_lossy(&marked).into_owned()
}

/// Each text is given with its addresses in braces.
#[track_caller]
fn check(texts: &[&str]) {
    for expected in texts {
        let text = expected.replace(['{', '}'], "");
        assert_eq!(mark(text.as_bytes()), *expected);
    }
}

#[test]
fn addresses_in_fields_and_messages() {
    check(&[
        "",
        ".",
        ":",
        "{192.0.2.1}",
        "{192.0.2.1} - - [17/May/2015:10:05:03 +0000] \"GET / HTTP/1.1\" 200 5 \"-\" \"-\" \"{203.0.113.7}, {2001:db8::1}\"",
        "client: {192.0.2.1}, server: a.example",
        "client: {2001:db8::1}, server: a.example",
        "ip:{192.0.2.1}",
        "ip:{2001:db8::1}",
        "source:{2001:db8::1}",
        "{192.0.2.1}:443 [{2001:db8::1}]:443 http://{192.0.2.1}/ //[{::1}]:2019",
        "the {192.0.2.1}. The {2001:db8::1}. The {2001:db8::1}: gone",
        "{192.0.2.0}/24 {2001:db8::}/32",
        "{192.0.2.1}-{192.0.2.9} {192.0.2.1},{192.0.2.2}",
        "e:{192.0.2.1}:{2001:db8::1}",
        "x={2001:db8::1}&y host_{192.0.2.1}_1",
        "{::ffff:192.0.2.1} {::ffff:c000:201} {2001:db8:1:2:3:4:192.0.2.1}",
        "{2001:db8:1:2:3:4:5:6} {2001:db8:1:2:3:4:5:6}:443 {2001:db8::1}:53332 {fe80::1}%eth0",
        "{2001:db8::1}:port",
        "{010.001.002.003}",
        "{1.2.3.4}.in-addr.arpa",
        "lookup?ip={192.0.2.1} /lookup/{192.0.2.1} http://a.example/{192.0.2.1}/",
        "HIER_DIRECT/{192.0.2.1} DIRECT/{192.0.2.1} localhost/{127.0.0.1}:8080 /{192.0.2.1}",
        "{00:11:22:33:44:55:66:77}",
        r"unknown/{192.0.2.20} Unknown/{192.0.2.20} a\/{192.0.2.4} zlib/{1.2.3.4} DESKTOP-1/{192.0.2.1} ip-10.internal/{10.0.0.1}",
        "{2001:db8::1}.443 {2001:db8::1}.53332: {2001:db8:1:2:3:4:192.0.2.1}.80 {::ffff:192.0.2.1}.443.",
    ]);
}

#[test]
fn addresses_behind_escapes() {
    check(&[
        "a%20{192.0.2.1}%2C{192.0.2.2}%2c%20{2001:db8::1}",
        r"\x22{192.0.2.1}\x22{2001:db8::1}\x22",
        r"\u0022{192.0.2.1}\u0022{2001:db8::1}\u0022",
        r"\n{192.0.2.1}\n{2001:db8::1}\b{192.0.2.1}\f{2001:db8::1}",
        r#""ip":"{192.0.2.1}","list":["{2001:db8::1}"]"#,
        "ip%3D{2001%3Adb8%3A%3A1} %5B{2001%3adb8%3a%3a1}%5D ip={%3A%3A1}&b",
        "time=10%3A05%3A03",
        "?ip={192%2E0%2E2%2E9}&b %20{192%2e0%2e2%2e9}, {192.0%2E2.9} ver%20=x {192%2E0%2E2%2E9}%3A443",
        "ip={%3A%3Affff%3A192%2E0%2E2%2E9}&b",
    ]);
    let found: Vec<_> = addresses(b"{2001%3Adb8%3A%3A1}").collect();
    assert!(found[0].is_percent_encoded);
    assert_eq!(found[0].address, ClientAddress::new("2001:db8::1".parse().expect("an address")));
}

#[test]
fn what_only_looks_like_an_address() {
    check(&[
        "Chrome/71.0.35.78 Mozilla/5.0+(X11)+Chrome/71.0.35.78 (Chrome/71.0.35.78) %20Chrome/71.0.35.78",
        r"Chrome\/71.0.35.78 Firefox/2.0.0.14 1.2.3%2E4%2E5 1%2E2%2E3%2E4%2E5 1%2E2%2E3 a%2E1%2E2 256%2E1%2E1%2E1",
        "rv:1.9.2.13) rv:1.9.1.1pre) ?ver=5.4.0.1 ?v=1.2.3.4 Version 1.2.3.4",
        "v1.2.3.4 1.2.3.4.5 1.3.6.1.4.1 1.2.3 256.1.1.1 1.1.1.256 1.2.3.4000 0001.2.3.4",
        "17/May/2015:10:05:03 10:05:03 10:05:03.250 2024-05-01T12:00:01+02:00",
        "SSL routines::no shared cipher",
        "SSL_do_handshake() failed (SSL: error:0A0000C1:SSL routines::no shared cipher)",
        "LWP::Simple B::Deparse std::dec a::before abc::def ::",
        "[::]:80 0::0",
        "00:11:22:33:44:55 AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD",
        "routines::1 a1::b2c3g",
    ]);
}

#[test]
fn the_addresses_are_those_that_are_written() {
    let read = |text: &str| addresses(text.as_bytes()).map(|found| found.address).collect::<Vec<_>>();
    let address = |text: &str| ClientAddress::new(text.parse().expect("an address"));
    assert_eq!(read("192.0.2.1 ::ffff:192.0.2.1"), [address("192.0.2.1"); 2]);
    assert_eq!(read("2001:db8::1 2001:0DB8:0::1"), [address("2001:db8::1"); 2]);
    assert_eq!(read("010.001.002.003"), [address("10.1.2.3")]);
}

fn any_address() -> impl Strategy<Value = std::net::IpAddr> {
    // Not the unspecified address, which is nobody's.
    let v6 = any::<[u16; 8]>().prop_map(|groups| {
        std::net::IpAddr::from([groups[0] | 0x2000, groups[1], 0, 0, groups[4], 0, groups[6], groups[7]])
    });
    prop_oneof![any::<[u8; 4]>().prop_map(std::net::IpAddr::from), v6]
}

proptest! {
    /// Whatever stands around it, apart from it, an address is found whole.
    #[test]
    fn every_address_is_found(address in any_address(), before in "[ \"\\[(,;=]", after in "[ \"\\]),;&]") {
        let text = format!("word{before}{address}{after}word");
        let found: Vec<_> = addresses(text.as_bytes()).collect();
        prop_assert_eq!(found.len(), 1, "{}", text);
        prop_assert_eq!(found[0].address, ClientAddress::new(address));
        prop_assert_eq!(&text[found[0].range.clone()], address.to_string());
    }

    /// Texts of nothing but what addresses are made of do no harm, and what is found is in order.
    #[test]
    fn what_is_found_is_in_order(text in "[0-9a-f:.%3A\\\\x/ ]{0,200}") {
        let mut rest = 0;
        for found in addresses(text.as_bytes()) {
            prop_assert!(found.range.start >= rest && found.range.end <= text.len() && !found.range.is_empty());
            rest = found.range.end;
        }
    }

    /// What is decided about an address does not hang on what stands far from it.
    #[test]
    fn only_what_is_near_decides(near in "[0-9a-f:.%/ xv]{0,60}", far in "[0-9a-z:./ ]{0,80}") {
        let padding = " ".repeat(CONTEXT_BYTES);
        let alone: Vec<_> = addresses(near.as_bytes()).map(|found| found.range).collect();
        let text = format!("{far}{padding}{near}{padding}{far}");
        let (from, to) = (far.len() + padding.len(), far.len() + padding.len() + near.len());
        let within = addresses(text.as_bytes()).map(|found| found.range).filter(|range| range.start >= from && range.end <= to);
        let within: Vec<_> = within.map(|range| range.start - from..range.end - from).collect();
        prop_assert_eq!(within, alone);
    }
}
