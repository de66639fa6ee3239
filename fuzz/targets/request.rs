//! Requests over HTTP/1.1: cut off where they end, however much has come behind them.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| carrotcache::net::fuzzing::read_request(bytes));
