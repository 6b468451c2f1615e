//! The pictures of the clock: which pixels show a time, and which bytes show those pixels.
//!
//! Pure: the same times always give the same bytes. Nothing here knows a socket, a viewer or the present time.
//!
//! The image is an endless GIF of two colours. Its first picture is whole; each one after it covers only the rectangle that
//! changed and leaves the rest standing (disposal 1), which is about 46 bytes, of which 20 are the format's own.
//! A viewer that missed a second is shown a whole picture again, which needs nothing of what came before.

use std::sync::LazyLock;

use seawall_engine::units::Timestamp;
use weezl::BitOrder;
use weezl::encode::Encoder;

/// Width of the image, in pixels.
pub const WIDTH: usize = 132;

/// Height of the image, in pixels.
pub const HEIGHT: usize = 28;

/// How long the change of one second is shown, in hundredths of a second.
pub const CHANGE_DELAY: u8 = 100;

/// How long a whole picture is shown at least, in hundredths of a second; it stays until the change after it comes.
///
/// Browsers count a second from when they show a picture to when they show the next, so a viewer that came late in a second
/// and was given a whole one for its first picture would stay behind by as much for ever. Chromium 156 was up to 0.95 s behind
/// so, and with this no more than could be measured. Browsers take a delay below 2 for a mistake, and wait for ten.
pub const WHOLE_DELAY: u8 = 2;

/// Ends the image. Sent when no more pictures will follow.
pub const TRAILER: &[u8] = b";";

/// A time of day in UTC, to the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeOfDay {
    /// Seconds since midnight, 0 to 86,399.
    seconds: u32,
}

impl From<Timestamp> for TimeOfDay {
    fn from(moment: Timestamp) -> Self {
        // The remainder is below 86,400, so it always fits.
        Self { seconds: (moment.as_seconds() % 86_400) as u32 }
    }
}

impl TimeOfDay {
    /// The six digits of `HH:MM:SS`, from the left.
    fn digits(self) -> [usize; 6] {
        let (hours, minutes, seconds) = (self.seconds / 3_600, self.seconds / 60 % 60, self.seconds % 60);
        [hours / 10, hours % 10, minutes / 10, minutes % 10, seconds / 10, seconds % 10].map(|digit| digit as usize)
    }
}

/// What comes before the first picture: signature, screen descriptor, the two colours, and that the animation loops for
/// ever.
pub fn preamble() -> Vec<u8> {
    let mut bytes = Vec::with_capacity(38);
    bytes.extend_from_slice(b"GIF89a");
    bytes.extend_from_slice(&(WIDTH as u16).to_le_bytes());
    bytes.extend_from_slice(&(HEIGHT as u16).to_le_bytes());
    // A global table of two colours, one bit each; background colour 0; square pixels.
    bytes.extend_from_slice(&[0x80, 0, 0]);
    bytes.extend_from_slice(&BACKGROUND);
    bytes.extend_from_slice(&FOREGROUND);
    // The loop count: 0 for ever. Without it some viewers stop at the first pause.
    bytes.extend_from_slice(b"\x21\xff\x0bNETSCAPE2.0\x03\x01\x00\x00\x00");
    bytes
}

/// A whole picture of `time`, which needs no picture before it.
pub fn whole(time: TimeOfDay) -> Vec<u8> {
    encode(&render(time), Rectangle { left: 0, top: 0, width: WIDTH, height: HEIGHT }, WHOLE_DELAY)
}

/// The part of the picture that differs between `before`, which the viewer is being shown, and `after`.
pub fn change(before: TimeOfDay, after: TimeOfDay) -> Vec<u8> {
    let shown = render(before);
    let wanted = render(after);
    encode(&wanted, Rectangle::around_difference(&shown, &wanted), CHANGE_DELAY)
}

/// The picture of `time`, row by row from the top: 0 for the background, 1 for the foreground.
fn render(time: TimeOfDay) -> Bitmap {
    let mut bitmap = FACE.clone();
    for (digit, left) in time.digits().into_iter().zip(DIGITS_LEFT) {
        if let Some(glyph) = DIGITS.get(digit) {
            draw(&mut bitmap, glyph, left, DIGITS_TOP);
        }
    }
    bitmap
}

type Bitmap = Vec<u8>;

/// A deep sea blue.
const BACKGROUND: [u8; 3] = [0x0e, 0x2a, 0x3b];

/// A warm white; 13.6 to 1 against the background.
const FOREGROUND: [u8; 3] = [0xf7, 0xf3, 0xe8];

/// The smallest code size that the format has: pixels of two bits, though ours need one.
const CODE_SIZE: u8 = 2;

/// The face is 111 pixels wide: six digits of 9 at a pitch of 12, a colon after every second one, a gap, and `UTC`.
const DIGITS_LEFT: [usize; 6] = [10, 22, 41, 53, 72, 84];
const COLONS_LEFT: [usize; 2] = [34, 65];
const ZONE_LEFT: [usize; 3] = [100, 108, 115];
const DIGITS_TOP: usize = 6;
const ZONE_TOP: usize = 13;
const DIGIT_HEIGHT: usize = 16;

/// What is the same in every picture: the colons and the zone.
static FACE: LazyLock<Bitmap> = LazyLock::new(|| {
    let mut bitmap = vec![0; WIDTH * HEIGHT];
    for left in COLONS_LEFT {
        draw(&mut bitmap, &COLON, left, DIGITS_TOP);
    }
    for (glyph, left) in [&LETTER_U, &LETTER_T, &LETTER_C].into_iter().zip(ZONE_LEFT) {
        draw(&mut bitmap, glyph, left, ZONE_TOP);
    }
    bitmap
});

fn draw(bitmap: &mut Bitmap, glyph: &[&str], left: usize, top: usize) {
    for (row, line) in glyph.iter().enumerate() {
        for (column, mark) in line.bytes().enumerate() {
            bitmap[(top + row) * WIDTH + left + column] = u8::from(mark == b'#');
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rectangle {
    left: usize,
    top: usize,
    width: usize,
    height: usize,
}

impl Rectangle {
    /// The smallest rectangle that holds every pixel in which the two differ; one pixel when they are the same, since the
    /// format has no picture without any.
    fn around_difference(before: &Bitmap, after: &Bitmap) -> Self {
        let (mut left, mut right, mut top, mut bottom) = (WIDTH, 0, HEIGHT, 0);
        for (position, _) in before.iter().zip(after).enumerate().filter(|(_, (old, new))| old != new) {
            let (row, column) = (position / WIDTH, position % WIDTH);
            left = left.min(column);
            right = right.max(column);
            top = top.min(row);
            bottom = bottom.max(row);
        }
        if left > right {
            return Self { left: 0, top: 0, width: 1, height: 1 };
        }
        Self { left, top, width: right - left + 1, height: bottom - top + 1 }
    }
}

/// The image block for one rectangle of the picture, with its delay before it and its terminator after it.
fn encode(bitmap: &Bitmap, rectangle: Rectangle, delay: u8) -> Vec<u8> {
    let Rectangle { left, top, width, height } = rectangle;
    let pixels: Vec<u8> =
        bitmap.chunks(WIDTH).skip(top).take(height).flat_map(|row| &row[left..left + width]).copied().collect();
    let data =
        Encoder::new(BitOrder::Lsb, CODE_SIZE).encode(&pixels).expect("every pixel is 0 or 1, which 2 bits hold");

    let mut bytes = Vec::with_capacity(data.len() + 32);
    // Disposal 1: leave this picture standing. No transparent colour; measured over an hour it saves nothing here.
    bytes.extend_from_slice(&[0x21, 0xf9, 0x04, 1 << 2, delay, 0, 0, 0]);
    bytes.push(0x2c);
    for side in [left, top, width, height] {
        bytes.extend_from_slice(&(side as u16).to_le_bytes());
    }
    bytes.extend_from_slice(&[0, CODE_SIZE]);
    for block in data.chunks(255) {
        bytes.push(block.len() as u8);
        bytes.extend_from_slice(block);
    }
    bytes.push(0);
    bytes
}

const COLON: [&str; DIGIT_HEIGHT] =
    ["..", "..", "..", "..", "##", "##", "..", "..", "..", "..", "##", "##", "..", "..", "..", ".."];

const LETTER_U: [&str; 9] = ["#....#", "#....#", "#....#", "#....#", "#....#", "#....#", "#....#", "#....#", ".####."];
const LETTER_T: [&str; 9] = ["#####", "..#..", "..#..", "..#..", "..#..", "..#..", "..#..", "..#..", "..#.."];
const LETTER_C: [&str; 9] = [".####.", "#....#", "#.....", "#.....", "#.....", "#.....", "#.....", "#....#", ".####."];

/// Strokes of two pixels with long straight stems: such rows repeat, and what repeats compresses.
const DIGITS: [[&str; DIGIT_HEIGHT]; 10] = [
    [
        "..#####..",
        ".#######.",
        "##.....##",
        "##.....##",
        "##.....##",
        "##.....##",
        "##.....##",
        "##.....##",
        "##.....##",
        "##.....##",
        "##.....##",
        "##.....##",
        "##.....##",
        "##.....##",
        ".#######.",
        "..#####..",
    ],
    [
        "....##...",
        "...###...",
        "..####...",
        "....##...",
        "....##...",
        "....##...",
        "....##...",
        "....##...",
        "....##...",
        "....##...",
        "....##...",
        "....##...",
        "....##...",
        "....##...",
        "..######.",
        "..######.",
    ],
    [
        "..#####..",
        ".#######.",
        "##.....##",
        ".......##",
        ".......##",
        ".......##",
        ".......##",
        "......##.",
        ".....##..",
        "....##...",
        "...##....",
        "..##.....",
        ".##......",
        "##.......",
        "#########",
        "#########",
    ],
    [
        "..#####..",
        ".#######.",
        "##.....##",
        ".......##",
        ".......##",
        ".......##",
        ".......##",
        "...#####.",
        "...#####.",
        ".......##",
        ".......##",
        ".......##",
        ".......##",
        "##.....##",
        ".#######.",
        "..#####..",
    ],
    [
        "##.....##",
        "##.....##",
        "##.....##",
        "##.....##",
        "##.....##",
        "##.....##",
        "##.....##",
        "##.....##",
        "#########",
        ".########",
        ".......##",
        ".......##",
        ".......##",
        ".......##",
        ".......##",
        ".......##",
    ],
    [
        "#########",
        "#########",
        "##.......",
        "##.......",
        "##.......",
        "##.......",
        "########.",
        "#########",
        ".......##",
        ".......##",
        ".......##",
        ".......##",
        ".......##",
        "##.....##",
        ".#######.",
        "..#####..",
    ],
    [
        "..#####..",
        ".#######.",
        "##.......",
        "##.......",
        "##.......",
        "##.......",
        "########.",
        "#########",
        "##.....##",
        "##.....##",
        "##.....##",
        "##.....##",
        "##.....##",
        "##.....##",
        ".#######.",
        "..#####..",
    ],
    [
        "#########",
        "#########",
        ".......##",
        ".......##",
        ".......##",
        "......##.",
        "......##.",
        ".....##..",
        ".....##..",
        "....##...",
        "....##...",
        "...##....",
        "...##....",
        "...##....",
        "...##....",
        "...##....",
    ],
    [
        "..#####..",
        ".#######.",
        "##.....##",
        "##.....##",
        "##.....##",
        "##.....##",
        "##.....##",
        ".#######.",
        ".#######.",
        "##.....##",
        "##.....##",
        "##.....##",
        "##.....##",
        "##.....##",
        ".#######.",
        "..#####..",
    ],
    [
        "..#####..",
        ".#######.",
        "##.....##",
        "##.....##",
        "##.....##",
        "##.....##",
        "##.....##",
        "##.....##",
        "#########",
        ".########",
        ".......##",
        ".......##",
        ".......##",
        ".......##",
        ".#######.",
        "..#####..",
    ],
];

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hours: u32, minutes: u32, seconds: u32) -> TimeOfDay {
        TimeOfDay { seconds: hours * 3_600 + minutes * 60 + seconds }
    }

    /// What an independent decoder shows after each picture of the stream, with the delay of each.
    fn decode(stream: &[u8]) -> Vec<(Bitmap, u16)> {
        let mut options = gif::DecodeOptions::new();
        options.set_color_output(gif::ColorOutput::Indexed);
        options.check_frame_consistency(true);
        let mut decoder = options.read_info(stream).expect("a GIF begins here");
        assert_eq!((decoder.width(), decoder.height()), (WIDTH as u16, HEIGHT as u16));
        assert_eq!(decoder.global_palette(), Some([BACKGROUND, FOREGROUND].concat().as_slice()));
        assert_eq!(decoder.repeat(), gif::Repeat::Infinite);
        let mut canvas = vec![9; WIDTH * HEIGHT];
        let mut shown = Vec::new();
        while let Some(picture) = decoder.read_next_frame().expect("every picture is whole") {
            assert_eq!(picture.dispose, gif::DisposalMethod::Keep);
            assert_eq!(picture.transparent, None);
            for (row, line) in picture.buffer.chunks(usize::from(picture.width)).enumerate() {
                let start = (usize::from(picture.top) + row) * WIDTH + usize::from(picture.left);
                canvas[start..start + line.len()].copy_from_slice(line);
            }
            shown.push((canvas.clone(), picture.delay));
        }
        shown
    }

    /// Streams the times one after the other, the first whole and the rest as changes, and compares every picture.
    fn check(times: &[TimeOfDay]) {
        let mut stream = preamble();
        stream.extend(whole(times[0]));
        for pair in times.windows(2) {
            stream.extend(change(pair[0], pair[1]));
        }
        stream.extend_from_slice(TRAILER);
        let shown = decode(&stream);
        assert_eq!(shown.len(), times.len());
        for (position, (&time, (canvas, delay))) in times.iter().zip(shown).enumerate() {
            assert_eq!(canvas, render(time), "at {time:?}");
            assert_eq!(delay, u16::from(if position == 0 { WHOLE_DELAY } else { CHANGE_DELAY }));
        }
    }

    #[test]
    fn an_independent_decoder_sees_every_second_of_an_hour_and_its_end() {
        let start = at(8, 59, 58).seconds;
        check(&(start..start + 3_606).map(|seconds| TimeOfDay { seconds }).collect::<Vec<_>>());
    }

    #[test]
    fn every_digit_changes_at_once_and_the_day_begins_anew() {
        check(&[at(9, 59, 58), at(9, 59, 59), at(10, 0, 0), at(10, 0, 1)]);
        check(&[at(23, 59, 58), at(23, 59, 59), at(0, 0, 0), at(0, 0, 1)]);
    }

    #[test]
    fn a_clock_that_is_set_changes_to_any_time_and_to_the_same() {
        check(&[at(12, 0, 0), at(3, 45, 17), at(3, 45, 17), at(3, 45, 16)]);
    }

    #[test]
    fn a_viewer_that_missed_seconds_is_right_after_a_whole_picture() {
        let mut stream = [preamble(), whole(at(9, 59, 57)), change(at(9, 59, 57), at(9, 59, 58))].concat();
        stream.extend(whole(at(10, 0, 31)));
        stream.extend(change(at(10, 0, 31), at(10, 0, 32)));
        stream.extend_from_slice(TRAILER);
        let shown: Vec<Bitmap> = decode(&stream).into_iter().map(|(canvas, _)| canvas).collect();
        assert_eq!(shown, [at(9, 59, 57), at(9, 59, 58), at(10, 0, 31), at(10, 0, 32)].map(render));
    }

    #[test]
    fn the_moment_gives_the_time_of_day() {
        assert_eq!(TimeOfDay::from(Timestamp::from_seconds(86_400 * 20_000 + 3_661)), at(1, 1, 1));
        assert_eq!(at(23, 59, 8).digits(), [2, 3, 5, 9, 0, 8]);
    }

    #[test]
    fn a_frame_costs_47_bytes_in_the_mean_over_every_hour() {
        for hour in 0..24 {
            let start = at(hour, 0, 0).seconds;
            let bytes: usize = (start..start + 3_600)
                .map(|seconds| change(TimeOfDay { seconds }, TimeOfDay { seconds: (seconds + 1) % 86_400 }).len())
                .sum();
            let mean = bytes as f64 / 3_600.0;
            assert!(mean <= 47.0, "{mean} bytes in the mean in hour {hour}");
        }
    }

    #[test]
    fn no_two_digits_look_alike_and_every_glyph_is_a_full_rectangle() {
        for (digit, glyph) in DIGITS.iter().enumerate() {
            assert!(glyph.iter().all(|line| line.len() == 9), "digit {digit}");
            assert!(DIGITS[..digit].iter().all(|other| other != glyph), "digit {digit}");
        }
    }
}
