//! Lines that a container runtime has split since they were long, put together again.
//!
//! CRI marks every part but the last with `P`. Docker's own files have no line break at the end of such a part, which fills a buffer of
//! 16 KiB. The systemd journal names how each line ended that is no line of its program's. What belongs together stands in lines of one
//! stream that follow each other; lines of the other may stand between them.

use std::time::Duration;

use super::{LINE_BYTES_MAX, envelope};
use crate::units::Timestamp;

/// What Docker hands to its log driver at once, in bytes: `defaultBufSize` of moby's `daemon/logger/copier.go`. Others write shorter texts
/// without a line break, each of which is a line.
const DOCKER_BUFFER_BYTES: usize = 16 * 1024;

/// What is written so long after a part of the same stream is not its rest: the program ended before it wrote that, and was started anew.
const PART_AGE_MAX: Duration = Duration::from_secs(60);

/// How many lines back a part is looked for whose rest has not come yet.
const LOOK_BACK_LINES: usize = 64;

/// How many streams of the journal may have a line at once whose rest has not come yet.
const JOURNAL_STREAMS: usize = 4;

/// Standard output and standard error of a container.
const CONTAINER_STREAMS: usize = 2;

/// Where a line of a runtime's came from.
#[derive(Clone, Copy)]
enum Source<'a> {
    /// 0 is standard output, 1 is standard error.
    Container(usize),
    /// What names the stream.
    Journal(&'a [u8]),
}

/// A line of a runtime's.
struct Fragment<'a> {
    source: Source<'a>,
    /// When it was written, where that is looked at.
    at: Option<Timestamp>,
    text: &'a [u8],
    /// Whether the line ends with it.
    is_last: bool,
}

impl<'a> Fragment<'a> {
    fn read(line: &'a [u8], buffer: &'a mut Vec<u8>) -> Option<Self> {
        if line.first() == Some(&b'{') {
            if let Some(entry) = envelope::journal(line, buffer) {
                let source = Source::Journal(entry.stream);
                return Some(Self { source, at: None, text: buffer, is_last: !entry.is_partial });
            }
            let docker = envelope::docker(line, buffer)?;
            let is_last = docker.text.ends_with(b"\n") || docker.text.len() < DOCKER_BUFFER_BYTES;
            return Some(Self { source: Source::Container(docker.stream), at: None, text: docker.text, is_last });
        }
        let entry = envelope::container_runtime(line)?;
        let (source, is_last) = (Source::Container(entry.stream), !entry.is_partial);
        Some(Self { source, at: entry.at, text: entry.text, is_last })
    }

    /// Which of the streams it belongs to; none of the journal's where it is a line by itself.
    fn place(&self, streams: &[Pending]) -> Option<usize> {
        match self.source {
            Source::Container(stream) => Some(stream),
            Source::Journal(name) => {
                let mut of_journal = (0..).zip(streams).skip(CONTAINER_STREAMS);
                let own = of_journal.clone().find(|(_, pending)| pending.is_there && pending.name == name);
                let unused = || of_journal.find(|(_, pending)| !pending.is_there);
                own.or_else(unused).map(|(place, _)| place).or_else(|| (!self.is_last).then_some(CONTAINER_STREAMS))
            }
        }
    }
}

/// What became of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// It is kept until the rest of it comes; or it is the rest of what was not kept.
    Part,
    /// It was the last part, and all of them are [`Split::whole`].
    Whole,
    /// It was the last part of a line that is longer than any may be.
    TooLong,
}

/// The parts of lines so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Split {
    streams: [Pending; CONTAINER_STREAMS + JOURNAL_STREAMS],
    /// For so many lines more what is the rest of a line is not known by the lines before it.
    unknown_lines: usize,
    whole: Vec<u8>,
    unescaped: Vec<u8>,
    /// Whether what was taken last goes on from a part.
    is_rest: bool,
}

/// The parts of one stream's line.
#[derive(Clone, Debug, Default)]
struct Pending {
    /// What names the stream, where it is one of the journal's.
    name: Vec<u8>,
    text: Vec<u8>,
    /// When the last of them was written, where that is looked at.
    at: Option<Timestamp>,
    is_there: bool,
    is_too_long: bool,
    /// Whether the line began in what was passed over, so that none of it is read: a client could have written what its rest holds.
    is_lost: bool,
}

impl Pending {
    /// Whether the rest of its line can no longer come in what was written at `at`.
    fn is_given_up(&self, at: Option<Timestamp>) -> bool {
        let age = self.at.zip(at).map(|(last, at)| at.since(last));
        self.is_there && !self.is_lost && age.is_some_and(|age| age > PART_AGE_MAX)
    }

    /// Parts that are not read, whatever follows.
    fn lost(&mut self) {
        self.text.clear();
        (self.is_there, self.is_too_long, self.is_lost) = (true, false, true);
    }
}

impl Split {
    /// Takes a part of a line. None when it is a line by itself.
    pub(super) fn take(&mut self, line: &[u8]) -> Option<Taken> {
        self.is_rest = false;
        let is_waiting = self.is_waiting();
        let may_be_part = match line {
            [b'{', ..] => is_waiting || line.len() >= DOCKER_BUFFER_BYTES,
            // Of all others only a time stands first.
            _ => line.get(4) == Some(&b'-'),
        };
        let fragment = if may_be_part { Fragment::read(line, &mut self.unescaped) } else { None };
        if self.unknown_lines > 0 {
            // What is not in lines of a runtime's is in lines by themselves.
            self.unknown_lines = if fragment.is_some() { self.unknown_lines - 1 } else { 0 };
            if self.unknown_lines == 0 {
                self.streams
                    .iter_mut()
                    .filter(|pending| pending.is_lost)
                    .for_each(|pending| *pending = Pending::default());
            }
        }
        let fragment = fragment?;
        let pending = fragment.place(&self.streams).and_then(|place| self.streams.get_mut(place))?;
        if pending.is_given_up(fragment.at) {
            *pending = Pending::default();
        }
        if fragment.is_last && !pending.is_there {
            return None;
        }
        pending.at = fragment.at;
        if let Source::Journal(name) = fragment.source
            && pending.name != name
        {
            *pending = Pending { name: name.to_vec(), ..Pending::default() };
        }
        self.is_rest = pending.is_there;
        pending.is_there = true;
        if pending.text.len() + fragment.text.len() > LINE_BYTES_MAX {
            // The rest of it is no line either: a client could have written what it holds.
            pending.is_too_long = true;
            pending.text.clear();
        } else if !pending.is_too_long && !pending.is_lost {
            pending.text.extend_from_slice(fragment.text);
        }
        if !fragment.is_last {
            return Some(Taken::Part);
        }
        pending.is_there = false;
        if std::mem::take(&mut pending.is_lost) {
            *pending = Pending::default();
            return Some(Taken::Part);
        }
        self.whole.clear();
        std::mem::swap(&mut self.whole, &mut pending.text);
        Some(if std::mem::take(&mut pending.is_too_long) { Taken::TooLong } else { Taken::Whole })
    }

    /// Notes a line that is not read, so that what is the rest of it is not either.
    pub(super) fn pass_over(&mut self, line: &[u8]) {
        if self.take(line) == Some(Taken::Part)
            && let Some(fragment) = Fragment::read(line, &mut self.unescaped)
            && !fragment.is_last
            && let Some(pending) = fragment.place(&self.streams).and_then(|place| self.streams.get_mut(place))
        {
            pending.lost();
        }
    }

    /// Notes that lines were passed over of which nothing is known: the next of each stream may be the rest of one.
    pub(super) fn pass_over_unknown(&mut self) {
        self.unknown_lines = LOOK_BACK_LINES;
        // In the journal one stream in many may have a part before: to wait for the next line of each would lose more than that.
        self.streams.iter_mut().take(CONTAINER_STREAMS).for_each(Pending::lost);
    }

    /// Whether what was taken last does not begin a line.
    pub(super) fn is_rest(&self) -> bool {
        self.is_rest
    }

    /// Whether a line goes on from the parts so far, and if so whether these are kept.
    pub(super) fn goes_on(&mut self, line: &[u8]) -> Option<bool> {
        if !self.is_waiting() {
            return None;
        }
        let place = Fragment::read(line, &mut self.unescaped)?.place(&self.streams)?;
        self.streams.get(place).filter(|pending| pending.is_there).map(|pending| !pending.is_lost)
    }

    fn is_waiting(&self) -> bool {
        self.streams.iter().any(|pending| pending.is_there)
    }

    /// The line whose last part was taken.
    pub(super) fn whole(&self) -> &[u8] {
        self.whole.trim_ascii_end()
    }
}

/// Where in a text of whole lines the first part of a line stands whose rest is not in it: who cuts a log into texts that are read apart
/// from each other cuts there.
pub fn unfinished_line(text: &[u8]) -> Option<usize> {
    let (mut is_ended, mut buffer) = ([false; 2], Vec::new());
    let (mut end, mut found) = (text.len(), None);
    for _ in 0..LOOK_BACK_LINES {
        let line = text.get(..end).and_then(|text| text.strip_suffix(b"\n"))?;
        let start = memchr::memrchr(b'\n', line).map_or(0, |at| at + 1);
        let Some(fragment) = Fragment::read(line.get(start..)?, &mut buffer) else { break };
        let stream = match fragment.source {
            Source::Container(stream) => stream,
            Source::Journal(_) => 0,
        };
        if let Some(is_ended) = is_ended.get_mut(stream) {
            *is_ended |= fragment.is_last;
            if !*is_ended {
                found = Some(start);
            }
        }
        if is_ended == [true; 2] || start == 0 {
            break;
        }
        end = start;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cri(stream: &str, mark: &str, text: &str) -> String {
        format!("2025-12-31T17:37:40.493035218+01:00 {stream} {mark} {text}")
    }

    fn docker(stream: &str, text: &str) -> String {
        format!(r#"{{"log":"{text}","stream":"{stream}","time":"2025-12-31T17:37:40Z"}}"#)
    }

    /// What becomes of the lines: each that is whole, `.` for a part, `>` for one too long and `-` for what is none of both.
    fn take(lines: &[String]) -> Vec<String> {
        let mut split = Split::default();
        let taken = |line: &String| match split.take(line.as_bytes()) {
            None => "-".to_owned(),
            Some(Taken::Part) => ".".to_owned(),
            Some(Taken::TooLong) => ">".to_owned(),
            Some(Taken::Whole) => String::from_utf8_lossy(split.whole()).into_owned(),
        };
        lines.iter().map(taken).collect()
    }

    #[test]
    fn parts_of_a_stream_are_put_together() {
        let lines = [
            cri("stdout", "F", "by itself"),
            cri("stdout", "P", "one"),
            cri("stderr", "P", "other "),
            cri("stdout", "P", " of "),
            cri("stderr", "F", "stream"),
            "neither".to_owned(),
            cri("stdout", "F", "three"),
            cri("stdout", "F", "by itself"),
        ];
        assert_eq!(take(&lines), ["-", ".", ".", ".", "other stream", "-", "one of three", "-"]);
    }

    /// As of a container that was killed while it wrote, and started anew.
    #[test]
    fn what_is_written_long_after_a_part_is_not_its_rest() {
        let later = |line: String, clock: &str| line.replace("17:37:40", clock);
        let lines = [
            cri("stdout", "P", "one"),
            later(cri("stdout", "F", " of two"), "17:38:39"),
            cri("stdout", "P", "one"),
            later(cri("stdout", "F", "by itself"), "17:39:00"),
            cri("stdout", "P", "one"),
            later(cri("stdout", "P", "one"), "17:39:00"),
            later(cri("stdout", "F", " of two"), "17:39:01"),
        ];
        assert_eq!(take(&lines), [".", "one of two", ".", "-", ".", ".", "one of two"]);
    }

    #[test]
    fn a_text_of_docker_is_a_part_only_where_it_fills_the_buffer() {
        let full = "x".repeat(DOCKER_BUFFER_BYTES);
        let lines = [
            docker("stdout", "without a break"),
            docker("stdout", &full),
            docker("stderr", r"between\n"),
            docker("stdout", r"rest\r\n"),
            docker("stdout", &format!(r"{full}\n")),
            docker("stdout", &full),
            docker("stdout", &full),
            docker("stdout", "end"),
        ];
        let [first, second] = [format!("{full}rest"), format!("{full}{full}end")];
        assert_eq!(take(&lines), ["-", ".", "-", &first, "-", ".", ".", &second]);
    }

    #[test]
    fn what_the_journal_cut_is_put_together_by_stream() {
        let entry = |stream: &str, text: &str, end: &str| {
            format!(r#"{{"__CURSOR":"s=1","MESSAGE":"{text}","_STREAM_ID":"{stream}"{end}}}"#)
        };
        let cut = r#","_LINE_BREAK":"line-max""#;
        let full = "x".repeat(48 * 1024);
        let lines = [
            entry("a", &full, cut),
            entry("b", "by itself", ""),
            entry("b", &full, cut),
            entry("a", " of a", ""),
            entry("c", "by itself", r#","_LINE_BREAK":"eof""#),
            entry("b", &full, cut),
            entry("b", "forged", ""),
            entry("a", "by itself", ""),
        ];
        assert_eq!(take(&lines), [".", "-", ".", &format!("{full} of a"), "-", ".", ">", "-"]);
        // More at once than are kept: the first is given up.
        let mut lines: Vec<_> = (0..=JOURNAL_STREAMS).map(|stream| entry(&stream.to_string(), &full, cut)).collect();
        lines.push(entry("1", " end", ""));
        assert_eq!(take(&lines)[JOURNAL_STREAMS + 1], format!("{full} end"));
    }

    #[test]
    fn a_line_that_never_ends_is_bounded_and_nothing_of_it_is_a_line() {
        let part = "x".repeat(16 * 1024);
        let mut lines = vec![cri("stdout", "P", &part); 1_000];
        lines.push(cri("stdout", "F", "rest"));
        lines.push(cri("stdout", "P", "a "));
        lines.push(cri("stdout", "F", "line"));
        let mut split = Split::default();
        for line in &lines {
            split.take(line.as_bytes());
            assert!(split.streams.iter().all(|pending| pending.text.capacity() <= 2 * LINE_BYTES_MAX));
        }
        assert_eq!(take(&lines)[999..], [".", ">", ".", "a line"]);
    }

    #[test]
    fn the_rest_of_a_line_that_was_passed_over_is_not_read() {
        let (part, last) = (cri("stdout", "P", "one"), cri("stdout", "F", "forged"));
        let is_part = |split: &mut Split, line: &str| split.take(line.as_bytes()) == Some(Taken::Part);
        let mut split = Split::default();
        split.pass_over(part.as_bytes());
        assert!(is_part(&mut split, &part) && is_part(&mut split, &last) && !is_part(&mut split, &last));
        // The last part was passed over: what was kept belongs to nothing that follows.
        assert!(is_part(&mut split, &part));
        split.pass_over(last.as_bytes());
        assert_eq!(split.take(last.as_bytes()), None);
        split.pass_over(last.as_bytes());
        split.pass_over(b"bare");
        assert_eq!(split.take(last.as_bytes()), None);

        split.pass_over_unknown();
        assert!(is_part(&mut split, &last) && !is_part(&mut split, &last));
        split.pass_over_unknown();
        assert!(is_part(&mut split, &part) && is_part(&mut split, &last) && !is_part(&mut split, &last));
        split.pass_over_unknown();
        assert!(
            is_part(&mut split, &docker("stdout", r"forged\n")) && !is_part(&mut split, &docker("stdout", r"line\n"))
        );
        // Where no runtime writes nothing is missing, and of a stream that says nothing for long nothing is expected.
        split.pass_over_unknown();
        assert_eq!((split.take(b"bare"), split.take(last.as_bytes())), (None, None));
        split.pass_over_unknown();
        assert!(is_part(&mut split, &last));
        for _ in 0..LOOK_BACK_LINES {
            assert_eq!(split.take(last.as_bytes()), None);
        }
        assert!(split.streams.iter().all(|pending| !pending.is_there));
    }

    #[test]
    fn what_has_no_end_yet_is_found() {
        let full = docker("stdout", &"x".repeat(DOCKER_BUFFER_BYTES));
        let text = |lines: &[&str]| lines.iter().map(|line| format!("{line}\n")).collect::<String>();
        let (part, last) = (cri("stdout", "P", "one"), cri("stdout", "F", "two"));
        let (other, other_last) = (cri("stderr", "P", "one"), cri("stderr", "F", "two"));
        for (lines, line) in [
            (&[][..], None),
            (&["bare"], None),
            (&[&part, &last], None),
            (&[&last, &part], Some(1)),
            (&[&last, &part, &part], Some(1)),
            (&[&part, &last, &part, &other_last], Some(2)),
            (&[&other, &part, &last, &part, &last], Some(0)),
            (&[&other, &last, &part, &other_last], Some(2)),
            (&["bare", &part, "bare"], None),
            (&["bare", &full, &docker("stderr", r"x\n")], Some(1)),
            (&["bare", &full, &docker("stdout", r"x\n")], None),
        ] {
            let expected = line.map(|line| text(&lines[..line]).len());
            assert_eq!(unfinished_line(text(lines).as_bytes()), expected, "{lines:?}");
        }
        assert_eq!(unfinished_line(format!("{part}\nhalf a li").as_bytes()), None);
    }
}
