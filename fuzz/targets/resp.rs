//! Bytes of a Redis client: read in whatever pieces they come, they are the same requests and the same refusal, and
//! what is a request is read again as it was from the array that says it.
#![no_main]
#![allow(dead_code, reason = "the front uses more of its parser")]

use libfuzzer_sys::fuzz_target;

/// The front's own files.
#[path = "../../crates/carrot/src/resp"]
mod resp {
    pub mod integer;
    pub mod request;
}

use resp::request::{BadRequest, Bounds, Parser};

/// The longest string; shorter than an input may be, so that it is met.
const BULK: i64 = 1000;

type Requests = (Vec<Vec<Vec<u8>>>, Option<BadRequest>);

/// All requests in the bytes, which come in pieces that end where `cuts` says.
fn requests(bytes: &[u8], cuts: impl Iterator<Item = usize>, bounds: Bounds) -> Requests {
    let (mut parser, mut start, mut requests) = (Parser::default(), 0, Vec::new());
    for end in cuts.chain([bytes.len()]) {
        loop {
            let come = &bytes[start..end];
            match parser.read(come, bounds) {
                Ok(None) => break,
                Ok(Some(length)) => {
                    assert!(0 < length && length <= come.len(), "{length} of {}", come.len());
                    let words = parser.words(&come[..length]);
                    let copy = words.to_request();
                    assert!(words.from(0).eq(copy.words().from(0)));
                    requests.push(words.from(0).map(<[u8]>::to_vec).collect());
                    start += length;
                }
                Err(bad) => return (requests, Some(bad)),
            }
        }
    }
    (requests, None)
}

fn array(words: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        bytes.extend_from_slice(word);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

fuzz_target!(|bytes: &[u8]| {
    let [step, bytes @ ..] = bytes else { return };
    let bounds = Bounds { bulk: BULK, is_stranger: step & 1 != 0 };
    let together = requests(bytes, std::iter::empty(), bounds);
    let step = usize::from(step >> 1).max(1);
    let pieces = requests(bytes, (step..bytes.len()).step_by(step), bounds);
    assert_eq!(together, pieces, "in pieces of {step}");
    let friend = Bounds { bulk: i64::MAX, is_stranger: false };
    for request in together.0.into_iter().filter(|request| !request.is_empty()) {
        let again = requests(&array(&request), std::iter::empty(), friend);
        assert_eq!(again, (vec![request], None));
    }
});
