//! What tells people from programs in a single request: whether it is for a static file, only looks, calls itself a browser, or says where
//! it comes from.

use super::values::{Item, Keys, Marks, ValueHash};
use crate::observation::attribute::Attribute;
use crate::observation::static_file;

/// What the addresses have in common that programs give in their agents (`+https://www.example.org/bot.html`).
pub(super) const WORDS_OF_ADDRESSES: [&str; 8] = ["http", "https", "www", "com", "org", "net", "htm", "html"];

/// Hashes of the values that tell people from programs.
#[derive(Clone, Debug)]
pub(crate) struct Marked {
    static_extensions: Vec<ValueHash>,
    get: ValueHash,
    head: ValueHash,
    pub(crate) post: ValueHash,
    https: ValueHash,
    http: ValueHash,
    /// Words of the address that many agents give, which say nothing about the sender.
    of_addresses: [ValueHash; WORDS_OF_ADDRESSES.len()],
    mozilla: ValueHash,
}

impl Marked {
    pub(crate) fn new(keys: &Keys) -> Self {
        let extension = |extension: &[u8]| keys.value(Attribute::Extension, Some(extension));
        let mut static_extensions: Vec<ValueHash> = static_file::EXTENSIONS.into_iter().map(extension).collect();
        static_extensions.sort_unstable();
        let method = |method: &[u8]| keys.value(Attribute::Method, Some(method));
        let word = |word: &[u8]| keys.value(Attribute::UserAgentWord, Some(word));
        Self {
            static_extensions,
            get: method(b"GET"),
            head: method(b"HEAD"),
            post: method(b"POST"),
            https: word(b"https"),
            http: word(b"http"),
            of_addresses: WORDS_OF_ADDRESSES.map(|part| word(part.as_bytes())),
            mozilla: word(b"Mozilla"),
        }
    }

    /// Whether this is the extension of a static file.
    pub(crate) fn is_static(&self, extension: ValueHash) -> bool {
        self.static_extensions.binary_search(&extension).is_ok()
    }

    /// Whether this is asked as people ask who look at something.
    pub(crate) fn is_looking(&self, marks: &Marks) -> bool {
        [self.get, self.head].contains(&marks.one(Attribute::Method))
    }

    /// Whether a value is a word that agents of every kind have, since it is a part of any address: no rule may name it.
    pub(crate) fn is_of_address(&self, item: Item) -> bool {
        item.attribute == Attribute::UserAgentWord && self.of_addresses.contains(&item.hash)
    }

    /// Whether the agent says where it comes from.
    pub(crate) fn is_named(&self, marks: &Marks) -> bool {
        let words = marks.of(Attribute::UserAgentWord);
        words.contains(&self.https) || words.contains(&self.http)
    }

    /// Whether the agent calls itself a browser.
    pub(crate) fn claims_browser(&self, marks: &Marks) -> bool {
        marks.of(Attribute::UserAgentWord).contains(&self.mozilla)
    }
}

#[cfg(test)]
mod tests {
    use super::super::values::Texts;
    use super::*;
    use crate::observation::Request;

    #[test]
    fn only_a_link_says_where_a_program_comes_from() {
        let (keys, mut texts) = (Keys::new(1), Texts::new());
        let marked = Marked::new(&keys);
        let mut is_named = |agent: &'static str| {
            let request = Request { user_agent: Some(agent.as_bytes()), ..Request::default() };
            marked.is_named(&texts.marks(&keys, &request, None, 1))
        };
        assert!(is_named("Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)"));
        assert!(is_named("Go-http-client/1.1 (+https://example.org/bot)"));
        assert!(!is_named("Go-http-client/1.1"));
        assert!(!is_named("Mozilla/5.0 (X11; Linux x86_64)"));
    }
}
