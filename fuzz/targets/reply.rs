//! Responses of peers over HTTP/1.1: read alike however they are cut on the way.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| carrotcache::net::fuzzing::read_response(bytes));
