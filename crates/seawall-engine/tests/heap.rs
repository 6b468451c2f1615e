//! What the engine takes of the heap, as the allocator counts it: bounded whoever comes, and nothing for a request.

#[path = "../benches/flooded/mod.rs"]
mod flooded;
#[expect(dead_code, reason = "the judging of many requests is a bench's")]
#[path = "../benches/judging/mod.rs"]
mod judging;

use flooded::Flooded;
use judging::{LAST_RULE, LIMITED, ORDINARY};

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

const MEBIBYTE: usize = 1 << 20;

/// Without a harness: the allocator counts for the whole process, and there is no other thread in this one.
fn main() {
    let _profiler = dhat::Profiler::builder().testing().build();
    for clients in [1_000, 200_000] {
        // The most is of the process's whole life, so each begins where the last has left nothing.
        let before = dhat::HeapStats::get().curr_bytes;
        let mut flooded = Flooded::new();
        flooded.know(clients);
        assert!(flooded.flood(clients) > 0, "a rule is in force");
        let stats = dhat::HeapStats::get();
        let (most, stated) = (stats.max_bytes - before, flooded.stated_bytes());
        println!("{clients} clients: {most} bytes at most, {stated} stated");
        assert!(most < 32 * MEBIBYTE, "{most} bytes of heap at most");
        assert!(stats.curr_bytes - before <= stated, "no more is kept than is stated");

        // Only now: the first line that is printed has a buffer made.
        let blocks = dhat::HeapStats::get().total_blocks;
        for number in 0..10_000 {
            for request in [&ORDINARY, &LAST_RULE, &LIMITED] {
                flooded.pass(request, number);
            }
        }
        let allocated = dhat::HeapStats::get().total_blocks - blocks;
        assert_eq!(allocated, 0, "30,000 requests of one moment");
    }
    println!("heap: an incident stays within the bound, and a request allocates nothing");
}
