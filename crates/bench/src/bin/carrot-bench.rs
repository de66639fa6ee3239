//! The bench, with the system's allocator, whose bytes can be counted.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use carrot_bench::alloc::Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() -> ExitCode {
    carrot_bench::main()
}
