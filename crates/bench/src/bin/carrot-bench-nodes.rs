//! The bench, with the allocator that `carrot` has: for the nodes that it starts, and for their clients.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use mimalloc::MiMalloc;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    carrot_bench::main()
}
