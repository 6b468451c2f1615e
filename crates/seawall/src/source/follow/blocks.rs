//! Cuts an input into blocks of whole lines, which can be read apart from each other; of a line that a container runtime split the parts
//! are in one block. A line that fills a block is counted and passed over, never held.

use std::io::{self, Read};
use std::sync::Arc;

use seawall_engine::observation::log::{names_columns, unfinished_line};

use super::lines::BEGINNING_BYTES;

/// How many bytes a block holds: many lines of the greatest length, so that what is left over is little, and few enough to stay in
/// a cache.
pub(super) const BLOCK_BYTES: usize = 512 * 1024;

/// Begins a line that says which fields the lines after it have (W3C extended), and perhaps lines of others: a log may begin with
/// what a client sent.
const DIRECTIVE: &[u8] = b"#Fields";

/// Begins a line that says of which day those are that name none.
const DAY: &[u8] = b"#Date";

/// Some lines of an input, one after the other.
#[derive(Debug, Default)]
pub struct Block {
    /// The lines with their breaks; only the last of an input may lack its own. Of a line too long for a block, its beginning.
    pub text: Vec<u8>,
    /// The number of the first of them in the input, from 1.
    pub first_line: u64,
    /// The length of the one line, in bytes, when it is too long for a block.
    pub too_long: Option<u64>,
    /// The last directive before this block, which says how its lines are to be read; see [`last_directive`].
    pub directive: Option<Arc<[u8]>>,
    /// Lines of what this input goes on from, whose rest the block may begin with; see [`Blocks::goes_on_from`]. They are not counted again.
    pub before: Option<Vec<u8>>,
    /// Whether it may begin with the rest of a line whose first part is in none or another block, since it is too long for one.
    pub has_gap_before: bool,
}

/// The blocks of an input.
pub struct Blocks<R> {
    input: R,
    /// What was read beyond the last line break.
    rest: Vec<u8>,
    ended: bool,
    lines: u64,
    directive: Option<Arc<[u8]>>,
    before: Option<Vec<u8>>,
    unfinished: Vec<u8>,
    has_gap: bool,
    /// Why the input could not be read any further, until somebody was told.
    failure: Option<io::Error>,
}

impl<R: Read> Blocks<R> {
    /// The blocks of `input`.
    pub fn new(input: R) -> Self {
        Self {
            input,
            rest: Vec::new(),
            ended: false,
            lines: 0,
            directive: None,
            before: None,
            unfinished: Vec::new(),
            has_gap: false,
            failure: None,
        }
    }

    /// Says what another input left unfinished of which this is the continuation.
    pub fn goes_on_from(&mut self, unfinished: Vec<u8>) {
        self.before = Some(unfinished).filter(|unfinished| !unfinished.is_empty());
    }

    /// The last lines of an input that has ended, from the first part of a line on whose rest is not in it; empty where there is none.
    pub fn into_unfinished(self) -> Vec<u8> {
        self.unfinished
    }

    /// How many lines were given.
    pub fn lines(&self) -> u64 {
        self.lines
    }

    /// Fills `block` with the next lines, and says whether there were any.
    ///
    /// # Errors
    /// What the input says. The whole lines that had come before are given first.
    pub fn next(&mut self, block: &mut Block) -> io::Result<bool> {
        block.too_long = None;
        (block.before, block.has_gap_before) = (self.before.take(), std::mem::take(&mut self.has_gap));
        block.directive.clone_from(&self.directive);
        block.first_line = self.lines + 1;
        // What the block held before stays where it will be written over: clearing it would mean zeroing all of it again.
        let text = &mut block.text;
        text.resize(text.len().max(self.rest.len()), 0);
        text.get_mut(..self.rest.len()).unwrap_or_default().copy_from_slice(&self.rest);
        let start = self.rest.len();
        self.rest.clear();
        if self.failure.is_none() {
            self.failure = self.fill(text, start).err();
        } else {
            text.truncate(start);
        }
        if !self.ended {
            let whole = memchr::memrchr(b'\n', &block.text).map_or(0, |last| last + 1);
            if whole == 0 && self.failure.is_none() {
                return self.pass_over(block);
            }
            // The parts of a line that a container runtime split stay together, unless they fill the block.
            let unfinished = block.text.get(..whole).and_then(unfinished_line);
            self.has_gap = unfinished == Some(0);
            let whole = unfinished.filter(|at| *at > 0).filter(|_| self.failure.is_none()).unwrap_or(whole);
            // Of a line that cannot be read to its end nothing is given.
            if self.failure.is_none() {
                self.rest.extend_from_slice(block.text.get(whole..).unwrap_or_default());
            }
            block.text.truncate(whole);
        }
        if block.text.is_empty() {
            return self.failure.take().map_or(Ok(false), Err);
        }
        if self.ended {
            let unfinished = unfinished_line(&block.text).and_then(|at| block.text.get(at..));
            self.unfinished = unfinished.map(<[u8]>::to_vec).unwrap_or_default();
        }
        self.lines += memchr::memchr_iter(b'\n', &block.text).count() as u64;
        self.lines += u64::from(!block.text.ends_with(b"\n"));
        self.find_directive(&block.text);
        Ok(true)
    }

    /// Reads behind the first `start` bytes until the block is full or the input ends.
    fn fill(&mut self, text: &mut Vec<u8>, start: usize) -> io::Result<()> {
        text.resize(BLOCK_BYTES, 0);
        let mut end = start;
        let result = loop {
            let Some(room) = text.get_mut(end..).filter(|room| !room.is_empty()) else { break Ok(()) };
            match self.input.read(room) {
                Ok(0) => {
                    self.ended = true;
                    break Ok(());
                }
                Ok(read) => end += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => break Err(error),
            }
        };
        text.truncate(end);
        result
    }

    /// Reads on to the end of a line that fills the whole block, of which the block keeps the beginning.
    fn pass_over(&mut self, block: &mut Block) -> io::Result<bool> {
        let mut length = block.text.len() as u64;
        let mut more = Vec::new();
        block.text.truncate(BEGINNING_BYTES);
        self.has_gap = unfinished_line(&[&block.text[..], b"\n"].concat()).is_some();
        loop {
            let failure = self.fill(&mut more, 0);
            let line_break = memchr::memchr(b'\n', &more);
            length += line_break.unwrap_or(more.len()) as u64;
            if let Some(at) = line_break {
                self.rest.extend_from_slice(more.get(at + 1..).unwrap_or_default());
                failure?;
                break;
            }
            failure?;
            if self.ended {
                break;
            }
        }
        block.too_long = Some(length);
        self.lines += 1;
        Ok(true)
    }

    fn find_directive(&mut self, text: &[u8]) {
        if let Some(line) = last_directive(text) {
            self.directive = Some(line.into());
        }
    }
}

/// The last line of `text` that names the columns of those that follow it, without its break; behind the line before it where that
/// names their day.
pub fn last_directive(text: &[u8]) -> Option<&[u8]> {
    // Most logs have none, which is known soonest from the front: only that search is vectorised.
    memchr::memmem::find(text, DIRECTIVE)?;
    let finder = memchr::memmem::FinderRev::new(DIRECTIVE);
    let mut before = text;
    while let Some(at) = finder.rfind(before) {
        if at == 0 || text.get(at - 1) == Some(&b'\n') {
            let line = text.get(at..).unwrap_or_default().split(|byte| *byte == b'\n').next().unwrap_or_default();
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if names_columns(line) {
                let before = text.get(..at.saturating_sub(1)).unwrap_or_default();
                let start = memchr::memrchr(b'\n', before).map_or(0, |last| last + 1);
                let has_day = before.get(start..).is_some_and(|line| line.starts_with(DAY));
                return text.get(if has_day { start } else { at }..at + line.len());
            }
        }
        before = text.get(..at).unwrap_or_default();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::lines::{Line, lines};
    use super::*;
    use crate::source::follow::trickle::Trickle;
    use seawall_engine::observation::log::LINE_BYTES_MAX;

    /// A line as its number, length and first bytes.
    type Found = (u64, u64, Vec<u8>);

    fn read(input: impl Read) -> (Vec<Found>, Option<io::Error>) {
        let (mut blocks, mut block, mut found) = (Blocks::new(input), Block::default(), Vec::new());
        loop {
            match blocks.next(&mut block) {
                Ok(false) => break,
                Err(error) => return (found, Some(error)),
                Ok(true) => {}
            }
            assert!(block.text.len() <= BLOCK_BYTES);
            for (number, (line, _)) in (block.first_line..).zip(lines(&block)) {
                let (length, text) = match line {
                    Line::Whole(text) => (text.len() as u64, text),
                    Line::TooLong { beginning, length } => (length, beginning),
                };
                found.push((number, length, text.get(..8).unwrap_or(text).to_vec()));
            }
        }
        assert_eq!(blocks.lines(), found.len() as u64);
        (found, None)
    }

    fn check(content: &[u8], expected: &[(u64, &[u8])]) {
        let expected: Vec<_> =
            (1..).zip(expected).map(|(number, (length, text))| (number, *length, text.to_vec())).collect();
        for at_once in [1, 7, 4096, usize::MAX] {
            // One byte at a time through megabytes would only be slow.
            if content.len() <= 1_000_000 || at_once >= 4096 {
                assert_eq!(read(Trickle(content, at_once)).0, expected, "{at_once} bytes at once");
            }
        }
    }

    #[test]
    fn line_breaks_of_both_kinds_and_none_at_the_end() {
        check(b"", &[]);
        check(b"\n", &[(0, b"")]);
        check(b"a\nb\r\n\nc", &[(1, b"a"), (1, b"b"), (0, b""), (1, b"c")]);
        check(b"a\0b\xFF\n\r\n", &[(4, b"a\0b\xFF"), (0, b"")]);
    }

    #[test]
    fn lines_too_long_are_measured_and_passed_over() {
        for length in [LINE_BYTES_MAX, LINE_BYTES_MAX + 1, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, 10_000_000] {
            let long = vec![b'x'; length];
            let expected = (length as u64, b"xxxxxxxx".as_slice());
            check(&long, &[expected]);
            check(&[b"before\n", &long[..], b"\nafter"].concat(), &[(6, b"before"), expected, (5, b"after")]);
        }
    }

    #[test]
    fn many_blocks_are_the_whole_input() {
        let content: Vec<u8> = (0..300_000).flat_map(|number| format!("line {number}\n").into_bytes()).collect();
        let (found, error) = read(content.as_slice());
        assert!(error.is_none() && found.len() == 300_000);
        assert!((1..).zip(&found).all(|(number, (line, length, _))| {
            *line == number && *length == format!("line {}", number - 1).len() as u64
        }));
    }

    #[test]
    fn parts_of_a_line_are_in_one_block() {
        let lines =
            ["P one", "P two", "F three"].map(|text| format!("2025-12-31T17:37:40Z stdout {text} {:9000}\n", ""));
        let content = lines.concat().repeat(200);
        let (mut blocks, mut block, mut count) = (Blocks::new(content.as_bytes()), Block::default(), 0);
        while blocks.next(&mut block).expect("memory can be read") {
            assert_eq!(block.first_line, count + 1);
            let (parts, rests) = [" P ", " F "].map(|mark| memchr::memmem::find_iter(&block.text, mark).count()).into();
            assert_eq!(parts, 2 * rests, "in the block from line {}", block.first_line);
            count += (parts + rests) as u64;
        }
        assert_eq!(count, 600);
        // What never ends is cut all the same.
        let endless = lines[0].repeat(200);
        let (found, error) = read(endless.as_bytes());
        assert!(error.is_none() && found.len() == 200);
    }

    #[test]
    fn each_block_knows_the_directive_before_it() {
        let filling = "2024-06-01 12:00:00\n".repeat(BLOCK_BYTES / 20);
        let one = "#Date: 2024-06-01 00:00:00\n#Fields: date time cs-uri-stem";
        let three = "#Fields: date time cs-uri-stem sc-status";
        let forged = "#Fields: 192.0.2.1 - - [17/May/2015:10:05:03 +0000] \"GET / HTTP/1.1\" 200 5";
        let content = format!("{one}\r\n{filling}no {three}\n{three}\n{forged}\n{filling}{filling}");
        let (mut blocks, mut block, mut found) = (Blocks::new(content.as_bytes()), Block::default(), Vec::new());
        while blocks.next(&mut block).expect("memory can be read") {
            found.push(block.directive.as_deref().map(|line| String::from_utf8_lossy(line).into_owned()));
        }
        assert_eq!(found[0], None);
        assert_eq!(found[1].as_deref(), Some(one));
        assert_eq!(found.last().and_then(Option::as_deref), Some(three));
    }

    #[test]
    fn what_came_before_a_failure_is_given_first() {
        struct Failing;
        impl Read for Failing {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("no more"))
            }
        }
        let (found, error) = read(b"one\ntwo\nhalf".chain(Failing));
        assert_eq!(found.len(), 2);
        assert_eq!(error.map(|error| error.to_string()).as_deref(), Some("no more"));
    }
}
