//! Logs that another server writes: what they are read from, and how they are split into lines. What a line says is the
//! engine's business.

mod blocks;
mod input;
mod lines;
mod pieces;
pub mod rotated;

#[cfg(test)]
mod trickle;

pub use blocks::{Block, Blocks, last_directive};
pub use input::{Compression, Input, InputError, MAGIC_BYTES_MAX};
pub use lines::{Line, LineBreak, lines};
pub use pieces::{Piece, Pieces};
