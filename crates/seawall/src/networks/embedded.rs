//! The table that is built into the program. `cargo xtask ip-data` makes it; `crates/seawall/data/README.md` says of what.

use std::io::Read;
use std::sync::LazyLock;

use flate2::read::GzDecoder;
use seawall_engine::network::NetworkTable;

/// The table in the engine's binary form, packed with gzip, whose check sum notices damage.
pub(super) static PACKED: &[u8] = include_bytes!("../../data/networks.bin.gz");

/// The most bytes that are unpacked, some times what there are.
const UNPACKED_BYTES_MAX: u64 = 32 << 20;

static TABLE: LazyLock<NetworkTable> = LazyLock::new(read);

/// The table, unpacked at the first call.
pub(super) fn table() -> &'static NetworkTable {
    &TABLE
}

/// Unpacks the table. A program whose own bytes are damaged goes on without: every network is unknown, which refuses nobody.
pub(super) fn read() -> NetworkTable {
    // The file ends with the length of what is packed (RFC 1952): a buffer that grows would take twice as much.
    let length = PACKED.last_chunk().map_or(0, |length| u32::from_le_bytes(*length));
    let mut bytes = Vec::with_capacity(u64::from(length).min(UNPACKED_BYTES_MAX) as usize);
    let unpacked =
        GzDecoder::new(PACKED).take(UNPACKED_BYTES_MAX).read_to_end(&mut bytes).map_err(|error| error.to_string());
    let table = unpacked.and_then(|_| NetworkTable::decode(&bytes).map_err(|error| error.to_string()));
    table.unwrap_or_else(|error| {
        tracing::error!(%error, "failed to read the built-in table of networks; countries and systems are unknown");
        NetworkTable::default()
    })
}
