//! The example of typed rows: what it prints, to the last line.

use crate::process::Process;

const PRINTED: [&str; 8] = [
    r#"Order { number: 7, customer: "Tom", cents: 2590, parcel: None }"#,
    "after 1001 gets the database was asked 1 time",
    r#"Order { number: 8, customer: "Sam", cents: 450, parcel: Some("RR 123") }"#,
    "order 7 is served for 5 minutes",
    "order 8 is served for 1440 minutes",
    r#"Order { number: 7, customer: "Tom", cents: 2590, parcel: Some("RR 124") }"#,
    "group orders has no key 9",
    "in all the database was asked 4 times",
];

#[test]
fn rows_are_typed_with_times_of_their_own_and_the_database_is_asked_once_for_each_state_of_a_row() {
    let ended = Process::start("typed_rows", &[]).end();
    assert!(ended.success, "{}", ended.errors);
    assert_eq!(ended.lines, PRINTED);
}
