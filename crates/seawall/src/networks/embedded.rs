//! The table that is built into the program. `cargo xtask ip-data` makes it; `crates/seawall/data/README.md` says of what.

use std::sync::LazyLock;

use seawall_engine::network::NetworkTable;

/// The table in the engine's binary form, packed with zstd, with its check sum, which notices damage.
pub(super) static PACKED: &[u8] = include_bytes!("../../data/networks.bin.zst");

/// The most bytes that are unpacked, some times what there are.
const UNPACKED_BYTES_MAX: u64 = 32 << 20;

static TABLE: LazyLock<NetworkTable> = LazyLock::new(read);

/// The table, unpacked at the first call.
pub(super) fn table() -> &'static NetworkTable {
    &TABLE
}

/// Unpacks the table. A program whose own bytes are damaged goes on without: every network is unknown, which refuses nobody.
pub(super) fn read() -> NetworkTable {
    // The frame says how much there is: a buffer that grows would take twice as much.
    let length = zstd::zstd_safe::get_frame_content_size(PACKED).ok().flatten().unwrap_or(0);
    let unpacked = zstd::bulk::decompress(PACKED, length.min(UNPACKED_BYTES_MAX) as usize);
    let unpacked = unpacked.map_err(|error| error.to_string());
    let table = unpacked.and_then(|bytes| NetworkTable::decode(&bytes).map_err(|error| error.to_string()));
    table.unwrap_or_else(|error| {
        tracing::error!(%error, "failed to read the built-in table of networks; countries and systems are unknown");
        NetworkTable::default()
    })
}
