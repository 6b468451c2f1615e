//! Reads the inputs request by request: in order, or several blocks at once.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;

use seawall_engine::decision::expression::List;
use seawall_engine::observation::log::{self, Encoding, Fields, FormatChoice, Reader, Reason, recognise};
use seawall_engine::observation::{Observation, Outcome, Refusal};

use super::filter::{Filter, Judgement};
use super::inputs::Inputs;
use super::progress::Progress;
use super::table::Count;
use crate::networks::Networks;
use crate::source::follow::rotated::set_and_age;
use crate::source::follow::{Block, Blocks, Input, InputError, Line, LineBreak, lines};

/// Blocks that wait for each thread.
const BLOCKS_WAITING: usize = 2;

/// The logs that a command reads.
#[derive(Clone, Copy)]
pub struct Logs<'a> {
    /// The files, in the order in which they are read; `-` for standard input.
    pub paths: &'a [PathBuf],
    /// Their format, when it is not to be recognised.
    pub format: Option<&'a FormatChoice>,
    /// The hosts that are the operator's, where it is known: a request that names another is for somebody else.
    pub own_hosts: Option<&'a List>,
    /// What says where clients are; without it no request has a country or a system.
    pub networks: Option<&'a Networks>,
    /// Which requests are looked at, when not all are.
    pub filter: Option<&'a Filter>,
}

impl<'a> Logs<'a> {
    /// All requests of these files, without the networks of clients.
    pub fn new(paths: &'a [PathBuf], format: Option<&'a FormatChoice>) -> Self {
        Self { paths, format, own_hosts: None, networks: None, filter: None }
    }
}

/// A request of a log.
pub(in crate::show) struct LogRequest<'a> {
    /// What the line says, with what the log escaped undone.
    pub(in crate::show) observation: &'a Observation<'a>,
    /// What the line has a place for.
    pub(in crate::show) fields: Fields,
    /// Whether the line says how long the request took.
    pub(in crate::show) is_timed: bool,
    /// The line, byte for byte, and how it ended. One that was split is whole, without what the container runtime wrote around its parts.
    pub(in crate::show) line: &'a [u8],
    pub(in crate::show) line_break: LineBreak,
    /// Which of the inputs it is in, and its number there, from 1.
    pub(in crate::show) input: usize,
    pub(in crate::show) number: u64,
}

impl LogRequest<'_> {
    /// What the request counts.
    #[inline]
    pub(in crate::show) fn count(&self) -> Count {
        let cost = &self.observation.cost;
        let micros =
            if self.is_timed { u64::try_from(cost.connection_time.as_micros()).unwrap_or(u64::MAX) } else { 0 };
        Count { hits: 1, bytes: cost.bytes, timed: u64::from(self.is_timed), micros }
    }
}

/// What is given every request.
pub(in crate::show) trait Visitor {
    /// Takes a request; the reading ends when it breaks off.
    fn visit(&mut self, request: &LogRequest<'_>) -> ControlFlow<()>;

    /// Whether the lines of a block are read, which comes next.
    fn wants(&mut self, _: &Block) -> bool {
        true
    }
}

impl<F: FnMut(&LogRequest<'_>) -> ControlFlow<()>> Visitor for F {
    fn visit(&mut self, request: &LogRequest<'_>) -> ControlFlow<()> {
        self(request)
    }
}

/// A visitor of which several can share the work.
pub(in crate::show) trait Collector: Visitor + Send {
    /// Takes over what others of its kind have collected.
    fn merge(&mut self, others: Vec<Self>)
    where
        Self: Sized;
}

/// Gives every request of every input that the filter lets through to `visitor`, in order, until that breaks off, and counts in
/// `inputs` what was read and what was not. An input that cannot be read, or not whole, does not keep the others out: it is given
/// to `failed` at once, and named in `inputs`.
pub(in crate::show) fn read_inputs(
    inputs: &mut Inputs,
    logs: &Logs<'_>,
    progress: &mut Progress,
    visitor: impl Visitor,
    failed: impl FnMut(&InputError),
) {
    let mut part = Part::new(logs, visitor);
    read_blocks(inputs, logs, progress, failed, &mut part);
    inputs.merge(part.inputs);
}

/// The same, with a thread for each of the collectors, which share the blocks: each takes its turn. What all of them have
/// collected is in the first in the end.
pub(in crate::show) fn read_parallel<C: Collector>(
    inputs: &mut Inputs,
    logs: &Logs<'_>,
    progress: &mut Progress,
    mut collectors: Vec<C>,
    failed: impl FnMut(&InputError),
) -> Option<C> {
    if collectors.len() < 2 {
        let mut collector = collectors.pop()?;
        read_inputs(inputs, logs, progress, |request: &LogRequest<'_>| collector.visit(request), failed);
        return Some(collector);
    }
    let parts = thread::scope(|scope| {
        let (used, unused) = channel();
        let (senders, threads): (Vec<_>, Vec<_>) = collectors
            .into_iter()
            .map(|collector| {
                let (sender, work) = sync_channel(BLOCKS_WAITING);
                let used = used.clone();
                (sender, scope.spawn(move || work_off(Part::new(logs, collector), &work, &used)))
            })
            .unzip();
        let mut turns = Turns { threads: senders, next: 0, unused };
        read_blocks(inputs, logs, progress, failed, &mut turns);
        drop(turns);
        // A thread that panicked has said so; what the others have is worth as little as a report with a hole in it.
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect::<Vec<_>>()
    });
    let mut collected = Vec::new();
    for part in parts {
        inputs.merge(part.inputs);
        collected.push(part.visitor);
    }
    let mut first = collected.swap_remove(0);
    first.merge(collected);
    Some(first)
}

/// What a thread is given.
enum Work {
    /// A new input begins; `None` for one that is not read.
    Input(Option<Box<Reader>>),
    Block(Block),
}

/// What the blocks of every input are given to.
trait Taker {
    /// A new input begins; there is no reader for one that is not read.
    fn begin(&mut self, reader: Option<Reader>);
    /// Takes a block, and leaves another in its place, whose content does not matter.
    fn take(&mut self, block: &mut Block) -> ControlFlow<()>;
}

/// Threads that take turns.
struct Turns {
    threads: Vec<SyncSender<Work>>,
    next: usize,
    /// Blocks that threads are done with.
    unused: Receiver<Block>,
}

impl Taker for Turns {
    fn begin(&mut self, reader: Option<Reader>) {
        for thread in &self.threads {
            // A thread that has gone is found when it is joined.
            let _ = thread.send(Work::Input(reader.clone().map(Box::new)));
        }
    }

    fn take(&mut self, block: &mut Block) -> ControlFlow<()> {
        let empty = self.unused.try_recv().unwrap_or_default();
        let thread = self.threads.get(self.next);
        let sent = thread.map(|thread| thread.send(Work::Block(std::mem::replace(block, empty))));
        self.next = (self.next + 1) % self.threads.len().max(1);
        if matches!(sent, Some(Ok(()))) { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }
}

/// What a thread does.
fn work_off<'a, V: Visitor>(mut part: Part<'a, V>, work: &Receiver<Work>, used: &Sender<Block>) -> Part<'a, V> {
    for work in work {
        match work {
            Work::Input(reader) => part.begin(reader.map(|reader| *reader)),
            Work::Block(mut block) => {
                let flow = part.take(&mut block);
                // Nobody needs it any more at the end.
                let _ = used.send(block);
                if flow.is_break() {
                    break;
                }
            }
        }
    }
    part
}

/// Opens every input and gives its blocks to `taker`, until that breaks off.
fn read_blocks(
    inputs: &mut Inputs,
    logs: &Logs<'_>,
    progress: &mut Progress,
    mut failed: impl FnMut(&InputError),
    taker: &mut impl Taker,
) {
    let (mut last, mut unfinished): (Option<&PathBuf>, _) = (None, Vec::new());
    for path in logs.paths {
        inputs.begin(path.to_string_lossy().into_owned());
        if !last.replace(path).is_some_and(|last| is_next(last, path)) {
            unfinished.clear();
        }
        let opened = Input::open(path).inspect_err(|_| taker.begin(None));
        let read = opened.and_then(|input| read_input(inputs, input, logs.format, progress, taker, &mut unfinished));
        match read {
            Ok(ControlFlow::Continue(())) => {}
            Ok(ControlFlow::Break(())) => break,
            Err(error) => {
                if let Some(input) = inputs.present() {
                    input.error = Some(error.to_string());
                }
                progress.suspend(|| failed(&error));
            }
        }
    }
    progress.finish();
}

/// Whether a log was rotated from one of these files to the other.
fn is_next(last: &Path, path: &Path) -> bool {
    let ((last, last_age), (log, age)) = (set_and_age(last), set_and_age(path));
    last == log && last_age < age
}

/// Reads an input that goes on from what another left `unfinished`, and leaves there what it leaves itself.
fn read_input(
    inputs: &mut Inputs,
    input: Input,
    format: Option<&FormatChoice>,
    progress: &mut Progress,
    taker: &mut impl Taker,
    unfinished: &mut Vec<u8>,
) -> Result<ControlFlow<()>, InputError> {
    let compression = input.compression();
    let name = input.name().to_owned();
    progress.begin(&name, input.size(), input.consumed());
    let mut blocks = Blocks::new(input);
    blocks.goes_on_from(std::mem::take(unfinished));
    let mut block = Block::default();
    let first = blocks.next(&mut block);
    let is_recognised = format.is_none() && block.too_long.is_none() && first.is_ok();
    let recognition = if is_recognised { recognise(lines_of(&block)) } else { None };
    if let Some(input) = inputs.present() {
        input.name.clone_from(&name);
        input.compression = Some(compression);
        input.recognition = recognition;
        input.is_given = format.is_some();
    }
    let mut reader = format.map_or_else(Reader::default, |format| Reader::of(format.clone()));
    recognition.iter().for_each(|recognition| reader.know(recognition));
    // Every thread would see other lines: what is read must not depend on how many there are.
    reader.settle_numbers(lines_of(&block));
    taker.begin(Some(reader));
    let mut filled = first;
    loop {
        match filled {
            Ok(true) => {}
            Ok(false) => {
                *unfinished = blocks.into_unfinished();
                return Ok(ControlFlow::Continue(()));
            }
            Err(error) => return Err(InputError::while_reading(&name, compression, blocks.lines(), error)),
        }
        if taker.take(&mut block).is_break() {
            return Ok(ControlFlow::Break(()));
        }
        progress.update();
        filled = blocks.next(&mut block);
    }
}

/// The lines of a block, for recognition.
fn lines_of(block: &Block) -> impl Iterator<Item = &[u8]> {
    lines(block).map(|(line, _)| match line {
        Line::Whole(text) => text,
        Line::TooLong { beginning, .. } => beginning,
    })
}

/// What one thread reads: all blocks, or some.
struct Part<'a, V> {
    logs: Logs<'a>,
    inputs: Inputs,
    reader: Reader,
    /// The directive that the reader knows.
    directive: Option<Arc<[u8]>>,
    restored: Vec<u8>,
    visitor: V,
}

impl<'a, V> Part<'a, V> {
    fn new(logs: &Logs<'a>, visitor: V) -> Self {
        let (inputs, reader) = (Inputs::default(), Reader::default());
        Self { logs: *logs, inputs, reader, directive: None, restored: Vec::new(), visitor }
    }
}

impl<V: Visitor> Taker for Part<'_, V> {
    fn begin(&mut self, reader: Option<Reader>) {
        self.inputs.begin(String::new());
        self.reader = reader.unwrap_or_default();
        self.directive = None;
    }

    fn take(&mut self, block: &mut Block) -> ControlFlow<()> {
        let Self { logs, inputs, reader, directive, restored, visitor } = self;
        if !visitor.wants(block) {
            return ControlFlow::Continue(());
        }
        if *directive != block.directive {
            directive.clone_from(&block.directive);
            for line in directive.as_deref().unwrap_or_default().split(|byte| *byte == b'\n') {
                // It is no request, and is counted where it stands.
                let _ = reader.read(line.strip_suffix(b"\r").unwrap_or(line));
            }
        }
        block.before.iter().for_each(|before| reader.go_on_from(before));
        if block.has_gap_before {
            reader.pass_over_unknown();
        }
        let input = inputs.inputs.len().saturating_sub(1);
        for (number, (line, line_break)) in (block.first_line..).zip(lines(block)) {
            let text = match line {
                Line::Whole(text) => text,
                Line::TooLong { beginning, length } => {
                    inputs.add_unread(Reason::TooLong, number, length, beginning);
                    continue;
                }
            };
            // An entry is large, and so is an observation: both stay where they are.
            let mut result = reader.read(text);
            let entry = match &mut result {
                Ok(entry) => entry,
                Err(reason) => {
                    inputs.add_unread(*reason, number, text.len() as u64, text);
                    continue;
                }
            };
            inputs.add_read(entry.format);
            if entry.is_duration_unreadable {
                inputs.add_unread_duration(number);
            }
            if entry.has_unknown_number {
                inputs.add_unknown_number();
            }
            let fields = entry.fields();
            let mut unescaped;
            let observation = if entry.encoding == Encoding::Plain {
                &mut entry.observation
            } else {
                let request = log::restore(&entry.observation.request, entry.encoding, restored);
                unescaped = Observation { request, ..entry.observation };
                &mut unescaped
            };
            let host = observation.request.host;
            if !host.is_empty() && logs.own_hosts.is_some_and(|own| !own.contains(host)) {
                observation.outcome = Outcome::Refused(Refusal::Misdirected);
            }
            if let Some(networks) = logs.networks {
                networks.locate(observation.client, &mut observation.request);
            }
            let request = LogRequest {
                observation,
                fields,
                is_timed: entry.is_timed,
                line: entry.joined.unwrap_or(text),
                line_break,
                input,
                number,
            };
            if let Some(filter) = logs.filter {
                match filter.judge(&request) {
                    Judgement::Meets => {}
                    Judgement::Differs => {
                        inputs.left_out += 1;
                        continue;
                    }
                    Judgement::Unrecorded(attributes) => {
                        inputs.not_judged += 1;
                        inputs.unrecorded.extend(attributes);
                        continue;
                    }
                }
            }
            inputs.add(request.observation.at, request.count());
            visitor.visit(&request)?;
        }
        ControlFlow::Continue(())
    }
}
