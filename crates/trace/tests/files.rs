//! Files of every format, whole ones and those that are wrong in one place, read as a caller reads them.

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::fs;
use std::io::{Read, Write};
use std::path::PathBuf;

use carrot_trace::{Fault, MAX_LINE_BYTES, Place, Request, Trace, TraceError};
use proptest::prelude::*;
use tempfile::TempDir;

/// A file of this name that is gone after the test.
fn file(name: &str, bytes: &[u8]) -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(name);
    fs::write(&path, bytes).unwrap();
    (directory, path)
}

fn read(name: &str, bytes: &[u8]) -> Result<Trace, TraceError> {
    let (_directory, path) = file(name, bytes);
    Trace::read(&path, &mut |_, _| {})
}

fn pairs(trace: &Trace) -> Vec<(u32, u32)> {
    trace.requests.iter().map(|request| (request.key, request.size)).collect()
}

fn records(requests: &[(u64, u32)]) -> Vec<u8> {
    requests.iter().flat_map(|(key, size)| [&key.to_le_bytes()[..], &size.to_le_bytes()].concat()).collect()
}

fn packed(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 3).unwrap()
}

fn fails(name: &str, bytes: &[u8], place: Place, fault: &str) {
    let error = read(name, bytes).unwrap_err();
    assert_eq!((error.place, error.fault.to_string().as_str()), (place, fault), "{name}");
    assert!(error.to_string().contains(name), "{error}");
}

const fn line(line: u64, column: usize) -> Place {
    Place::Line { line, column }
}

#[test]
fn records_are_read_packed_and_unpacked_and_keep_the_first_size_of_a_key() {
    let bytes = records(&[(0, 5), (1, 7), (0, 9), (2, 1)]);
    for (name, bytes) in [("a.trace", bytes.clone()), ("a.trace.zst", packed(&bytes))] {
        let trace = read(name, &bytes).unwrap();
        assert_eq!(pairs(&trace), [(0, 5), (1, 7), (0, 5), (2, 1)]);
        assert_eq!((trace.name.as_str(), trace.unique, trace.unique_bytes, trace.sized), ("a", 3, 13, true));
        assert_eq!((trace.key_len(0), trace.key_len(2)), (8, 8));
    }
    assert!(!read("a.trace", &records(&[(0, 1), (1, 1)])).unwrap().sized);
}

#[test]
fn many_records_are_as_they_were_written_and_the_progress_ends_at_the_whole() {
    let requests: Vec<(u64, u32)> = (0..100_000).map(|n| (n / 2, 3)).collect();
    let (_directory, path) = file("a.trace.zst", &packed(&records(&requests)));
    let (mut last, mut calls) = ((0, 0), 0);
    let trace = Trace::read(&path, &mut |read, of| {
        assert!(read >= last.0 && read <= of);
        (last, calls) = ((read, of), calls + 1);
    })
    .unwrap();
    assert_eq!(trace.requests.len(), 100_000);
    assert_eq!(trace.requests[99_999], Request { key: 49_999, size: 3 });
    let len = fs::metadata(&path).unwrap().len();
    assert!(last == (len, len) && calls > 5, "{last:?} {calls}");
}

#[test]
fn a_file_that_ends_within_a_record_is_no_trace() {
    let mut bytes = records(&[(0, 1), (1, 1), (2, 1)]);
    bytes.pop();
    let said = "the last record is cut off: 11 of its 12 bytes are there";
    fails("a.trace", &bytes, Place::Byte(24), said);
    fails("a.trace.zst", &packed(&bytes), Place::Unpacked(24), said);
    fails("a.trace", &bytes[..5], Place::Byte(0), "the last record is cut off: 5 of its 12 bytes are there");
}

#[test]
fn a_stream_that_is_cut_off_or_damaged_is_no_trace_however_much_of_it_can_be_read() {
    let requests: Vec<(u64, u32)> = (0..50_000).map(|n| (n, n as u32 % 1000 + 1)).collect();
    let whole = packed(&records(&requests));
    for len in [1, 4, whole.len() / 2, whole.len() - 1] {
        let error = read("a.trace.zst", &whole[..len]).unwrap_err();
        assert!(matches!(error.fault, Fault::CutOff), "{len}: {error}");
        assert_eq!(error.place, Place::Byte(len as u64), "{error}");
    }
    for bytes in [&b"no zstd at all"[..], &[&whole[..], b"garbage"].concat()] {
        let error = read("a.trace.zst", bytes).unwrap_err();
        assert!(matches!(error.fault, Fault::Damaged(_)), "{error}");
    }
    // What another writer appended is a stream of its own.
    let twice = [packed(&records(&[(0, 1)])), packed(&records(&[(1, 1)]))].concat();
    assert_eq!(read("a.trace.zst", &twice).unwrap().unique, 2);
}

#[test]
fn a_stream_that_wants_a_window_of_gigabytes_is_refused() {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(30).unwrap();
    let chunk = records(&vec![(0, 1); 100_000]);
    encoder.write_all(&chunk).unwrap();
    let bytes = encoder.finish().unwrap();
    let error = read("a.trace.zst", &bytes).unwrap_err();
    assert!(matches!(error.fault, Fault::Damaged(_)), "{error}");
}

#[test]
fn records_of_another_width_are_noticed() {
    let keys_alone: Vec<u8> = (0..12_u64).flat_map(u64::to_le_bytes).collect();
    let said = "key 8589934592 is not the next new one, 1: these are not records of 12 bytes with dense keys";
    fails("a.trace", &keys_alone, Place::Byte(12), said);
    let wide: Vec<u8> = (0..12_u64).flat_map(|n| [n.to_le_bytes(), 7_u64.to_le_bytes()].concat()).collect();
    assert!(matches!(read("a.trace", &wide).unwrap_err().fault, Fault::Sparse { next: 1, .. }));
    let narrow: Vec<u8> = (0..12_u32).flat_map(|n| [n.to_le_bytes(), 7_u32.to_le_bytes()].concat()).collect();
    let error = read("a.trace", &narrow).unwrap_err();
    assert!(matches!(error.fault, Fault::Sparse { next: 0, .. }), "{error}");
}

#[test]
fn a_record_with_a_size_of_nothing_or_of_all_ones_is_an_error_with_its_offset() {
    fails("a.trace", &records(&[(0, 3), (1, 0)]), Place::Byte(12), "a size of 0");
    let said = "a size of 4294967295: sizes are below 4 GiB";
    fails("a.trace", &records(&[(0, 3), (1, 2), (0, u32::MAX)]), Place::Byte(24), said);
    let bytes = packed(&records(&[(0, 3), (5, 1)]));
    let said = "key 5 is not the next new one, 1: these are not records of 12 bytes with dense keys";
    fails("a.trace.zst", &bytes, Place::Unpacked(12), said);
}

#[test]
fn a_text_has_a_key_a_line_or_columns() {
    let text = "/b\n/a\n\n/b\r\n";
    for name in ["a.keys", "a.txt", "access.log", "a"] {
        let trace = read(name, text.as_bytes()).unwrap();
        assert_eq!(pairs(&trace), [(0, 1), (1, 1), (0, 1)], "{name}");
        assert!(!trace.sized);
    }
    for (name, text) in [
        ("a.csv", "/b,5\n\"/a,\"\"1\"\"\",7\n/b,6\n"),
        ("a.csv", "\u{feff}time,size,key\n1,5,/b\n2,7,/a\n3,6,/b"),
        ("a.csv", "Key, Size ,host\n/b,5,x\n/a,7,y\n/b,6,z\n"),
        ("a.tsv", "/b\t5\t2024-01-01\n/a,1\t7\t\n/b\t6\t\n"),
        ("a.txt", "/b 5\n /a   7\n/b 6 \n"),
        ("a.log", "size key\n5 /b\n7 /a\n6 /b\n"),
        ("a", "/b,5\n/a,7\n/b,6\n"),
    ] {
        for (name, bytes) in
            [(name.to_owned(), text.as_bytes().to_vec()), (format!("{name}.zst"), packed(text.as_bytes()))]
        {
            let trace = read(&name, &bytes).unwrap();
            assert_eq!(pairs(&trace), [(0, 5), (1, 7), (0, 5)], "{name}: {text}");
            assert_eq!((trace.sized, trace.unique_bytes, trace.key_len(0)), (true, 12, 2));
        }
    }
    let trace = read("a.keys", b"key\na b,c\n\"\nkey\n\xff\n").unwrap();
    assert_eq!((pairs(&trace), trace.key_len(1)), (vec![(0, 1), (1, 1), (2, 1), (0, 1), (3, 1)], 5));
}

#[test]
fn what_is_wrong_in_a_text_is_named_with_line_and_column() {
    let said = "a size of 4294967296: sizes are below 4 GiB";
    fails("a.csv", b"/a,5\n/b,4294967296\n", line(2, 4), said);
    fails("a.csv", "key,size\n\n/ä,5\n/ü,0\n".as_bytes(), line(4, 4), "a size of 0");
    fails("a.tsv", b"/a\t5\n/b\t-\n", line(2, 4), "\"-\" is not a size in bytes");
    fails("a.csv", b"/a,5\n/b,\n", line(2, 4), "\"\" is not a size in bytes");
    fails("a.csv", b"/a,5\n/b,1e3\n", line(2, 4), "\"1e3\" is not a size in bytes");
    fails("a.csv", b"/a,5\n/b,5,5\n", line(2, 1), "the first line has 2 columns, this one 3");
    fails("a.csv", b"/a,5\n,5\n", line(2, 1), "an empty key");
    fails(
        "a.csv",
        b"/a,5\n\"/b,5\n/a,5\n",
        line(2, 1),
        "the quote that opens here is not closed on its line",
    );
    fails("a.csv", b"key,size,key\n", line(1, 10), "a second column is named key");
    let error = read("access.log", b"127.0.0.1 - - \"GET / HTTP/1.1\" 200 5\n").unwrap_err();
    assert!(error.to_string().contains("8 columns without a line that names them"), "{error}");
}

#[test]
fn what_holds_no_request_cannot_be_read_or_never_ends_its_line_is_an_error() {
    for (name, bytes) in [("a.trace", &b""[..]), ("a.csv", b"key,size\n"), ("a.keys", b"\n\r\n")] {
        fails(name, bytes, Place::File, "holds no request");
    }
    fails("a.txt.zst", &packed(b""), Place::File, "holds no request");
    let directory = tempfile::tempdir().unwrap();
    for path in [directory.path().to_owned(), directory.path().join("none.csv")] {
        let error = Trace::read(&path, &mut |_, _| {}).unwrap_err();
        assert!(matches!(error.fault, Fault::Read(_)), "{error}");
    }
    // 16 MiB of one letter, in a file of a kilobyte or two.
    let bytes = zstd::encode_all(std::io::repeat(b'a').take(1 << 24), 1).unwrap();
    fails("a.keys.zst", &bytes, line(1, 1), &format!("a line of more than {MAX_LINE_BYTES} bytes"));
    let longest = [&vec![b'a'; MAX_LINE_BYTES][..], b"\r\nb"].concat();
    let trace = read("a.keys", &longest).unwrap();
    assert_eq!((trace.unique, trace.key_len(0), trace.key_len(1)), (2, 65535, 1));
    let longer = [&vec![b'a'; MAX_LINE_BYTES + 1][..], b"\nb"].concat();
    fails("a.keys", &longer, line(1, 1), &format!("a line of more than {MAX_LINE_BYTES} bytes"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn whatever_is_in_a_file_it_is_a_whole_trace_or_an_error(
        name in prop::sample::select(vec!["a.trace", "a.trace.zst", "a.keys", "a.csv", "a.tsv.zst", "a.log"]),
        packs in any::<bool>(),
        bytes in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..400),
            prop::collection::vec(prop::sample::select(b"key,size 01\t\"\r\n\n".to_vec()), 0..200),
            prop::collection::vec((0_u64..4, 0_u32..4), 0..30).prop_map(|requests| records(&requests)),
        ],
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = if packs { packed(&bytes) } else { bytes };
        if cut.index(4) == 0 && !bytes.is_empty() {
            bytes.truncate(cut.index(bytes.len()));
        }
        if let Ok(trace) = read(name, &bytes) {
            let mut next = 0;
            let mut sizes = Vec::new();
            for request in &trace.requests {
                prop_assert!(request.key <= next && request.size >= 1);
                if request.key == next {
                    next += 1;
                    sizes.push(request.size);
                }
                prop_assert_eq!(sizes[request.key as usize], request.size);
            }
            prop_assert!(next >= 1);
            prop_assert_eq!(u64::from(next), trace.unique);
            prop_assert_eq!(sizes.iter().map(|&size| u64::from(size)).sum::<u64>(), trace.unique_bytes);
        }
    }
}
