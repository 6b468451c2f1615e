//! What the second reading of a log notes of each block, so that the third need not read those in which there is nothing for it.
//!
//! A block without a request of any surge tells the third reading no more than how many requests it has, unless a rule, or what foretells
//! a surge, matches one of them. What they ask for stands in the line of whoever meets it, so that a search for a few texts tells the blocks
//! in which that may be; most floods have something that hardly anybody else sends.

use std::ops::Range;

use memchr::memmem::Finder;
use seawall_engine::detection::explain::{Trace, Zone};
use seawall_engine::observation::Observation;

use crate::source::follow::Block;

/// Blocks that are noted: half a terabyte of them.
const BLOCKS_MAX: usize = 1 << 20;

/// More texts are no faster searched than lines are read.
const TEXTS_MAX: usize = 8;

/// What is shorter stands in every block.
const TEXT_BYTES_MIN: usize = 4;

/// What is known of one block.
#[derive(Clone, Debug)]
struct Outline {
    /// By these it is known again: a log that goes on growing has more in its last block.
    first_line: u64,
    bytes: usize,
    /// Requests outside of all surges, and not beside one.
    outside: u64,
    /// Whether it has a request of a surge.
    is_within: bool,
    /// Whether what its requests say stands in its lines as it was sent.
    is_literal: bool,
}

impl Outline {
    fn is_of(&self, block: &Block) -> bool {
        (self.first_line, self.bytes) == (block.first_line, block.text.len())
    }
}

/// What is known of the blocks of a log, in the order in which they are read.
#[derive(Debug, Default)]
pub(super) struct Outlines {
    blocks: Vec<Outline>,
    present: Option<Outline>,
    /// Where the text of the present one is.
    addresses: Range<usize>,
}

impl Outlines {
    /// Begins a block.
    pub(super) fn begin(&mut self, block: &Block) {
        if self.blocks.len() < BLOCKS_MAX {
            self.blocks.extend(self.present.take());
        }
        let text = block.text.as_ptr_range();
        self.addresses = text.start.addr()..text.end.addr();
        let (first_line, bytes) = (block.first_line, block.text.len());
        self.present = Some(Outline { first_line, bytes, outside: 0, is_within: false, is_literal: true });
    }

    /// Notes a request of the present block.
    pub(super) fn note(&mut self, observation: &Observation<'_>, zone: Zone) {
        let Some(block) = &mut self.present else { return };
        block.outside += u64::from(zone == Zone::Outside);
        block.is_within |= matches!(zone, Zone::Within(_));
        // What was escaped, or put together from several lines, stands elsewhere.
        let request = &observation.request;
        let texts = [Some(request.path), request.query, request.user_agent, request.referer];
        let mut texts = texts.into_iter().flatten().filter(|text| !text.is_empty());
        block.is_literal &= texts.all(|text| self.addresses.contains(&text.as_ptr().addr()));
    }

    /// To pass over blocks in another reading of the same log, for this trace.
    pub(super) fn passing(mut self, trace: &Trace) -> Passing {
        self.blocks.extend(self.present);
        let mut texts = trace.literals().unwrap_or_default();
        texts.sort_unstable();
        texts.dedup();
        let is_fast = !texts.is_empty() && texts.len() <= TEXTS_MAX;
        let is_telling = texts.iter().all(|text| text.len() >= TEXT_BYTES_MIN);
        let blocks = if is_fast && is_telling { self.blocks } else { Vec::new() };
        let finders = texts.into_iter().map(|text| Finder::new(text).into_owned()).collect();
        Passing { blocks: blocks.into_iter(), finders }
    }
}

/// Which blocks of a log need not be read.
#[derive(Debug)]
pub(super) struct Passing {
    blocks: std::vec::IntoIter<Outline>,
    finders: Vec<Finder<'static>>,
}

impl Passing {
    /// How many requests outside of surges the next block has, when it has nothing else that matters.
    pub(super) fn pass(&mut self, block: &Block) -> Option<u64> {
        let outline = self.blocks.next().filter(|outline| outline.is_of(block))?;
        let is_searched = !outline.is_within && outline.is_literal;
        let matters = || self.finders.iter().any(|finder| finder.find(&block.text).is_some());
        (is_searched && !matters()).then_some(outline.outside)
    }
}

#[cfg(test)]
mod tests {
    use seawall_engine::observation::log::{Encoding, Reader, restore};

    use super::*;
    use crate::source::follow::{Line, lines};

    const PLAIN: &str = r#"192.0.2.1 - - [17/May/2025:10:00:00 +0000] "GET /page HTTP/1.1" 200 5 "-" "Mozilla/5.0""#;
    const MEANT: &str = r#"192.0.2.2 - - [17/May/2025:10:00:00 +0000] "GET /page HTTP/1.1" 200 5 "-" "Surge/1.0""#;
    const ESCAPED: &str = r#"192.0.2.2 - - [17/May/2025:10:00:00 +0000] "GET /page HTTP/1.1" 200 5 "-" "Surg\x65/1.0""#;

    fn block(first_line: u64, text: &[&str]) -> Block {
        Block { first_line, text: (text.join("\n") + "\n").into_bytes(), ..Block::default() }
    }

    /// What is passed over of these blocks, of which `zone` says when they are, in a search for the agent that is meant.
    fn passed(zone: Zone, read: &[Block], again: &[Block]) -> Vec<Option<u64>> {
        let mut outlines = Outlines::default();
        let (mut reader, mut restored) = (Reader::default(), Vec::new());
        for block in read {
            outlines.begin(block);
            for (line, _) in lines(block) {
                let Line::Whole(line) = line else { continue };
                let entry = reader.read(line).expect("a line of a log");
                let mut observation = entry.observation;
                if entry.encoding != Encoding::Plain {
                    observation.request = restore(&observation.request, entry.encoding, &mut restored);
                }
                outlines.note(&observation, zone);
            }
        }
        outlines.blocks.extend(outlines.present);
        let mut passing = Passing { blocks: outlines.blocks.into_iter(), finders: vec![Finder::new("Surge/1.0")] };
        again.iter().map(|block| passing.pass(block)).collect()
    }

    #[test]
    fn blocks_with_nothing_that_is_meant_are_passed_over() {
        let blocks =
            || [block(1, &[PLAIN, PLAIN]), block(3, &[PLAIN, MEANT]), block(5, &[PLAIN]), block(6, &[ESCAPED])];
        assert_eq!(passed(Zone::Outside, &blocks(), &blocks()), [Some(2), None, Some(1), None]);
        // What is beside a surge counts for nothing, and what is in one for much.
        assert_eq!(passed(Zone::Beside, &blocks(), &blocks()), [Some(0), None, Some(0), None]);
        assert_eq!(passed(Zone::Within(0), &blocks(), &blocks()), [None; 4]);
    }

    #[test]
    fn a_log_that_changed_meanwhile_is_read() {
        let read = [block(1, &[PLAIN]), block(2, &[PLAIN])];
        assert_eq!(passed(Zone::Outside, &read, &[block(1, &[PLAIN]), block(2, &[PLAIN, PLAIN])]), [Some(1), None]);
        // One input less, or one more.
        assert_eq!(passed(Zone::Outside, &read, &[block(2, &[PLAIN]), block(4, &[PLAIN])]), [None, None]);
        assert_eq!(passed(Zone::Outside, &read[..1], &read), [Some(1), None]);
    }
}
