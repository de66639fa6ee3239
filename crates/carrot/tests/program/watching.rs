//! `carrot stat` as it is watched: again and again until it is interrupted, with nothing but text where nobody looks.

use std::io::{BufRead, BufReader};
use std::process::Child;

use rustix::process::{Pid, Signal, kill_process};

use crate::awaiting::eventually;
use crate::command::Shell;
use crate::scripted::Scripted;

/// What a node tells that has just been started.
const TOLD: &str = r#"{"node":"a","version":"0.1.0","uptime_seconds":12.5,"dialect":"native","placement":"slots",
"view":"a1b2c3d4e5f60718","groups":[{"group":"scores","gets":3,"hits":{"memory":2,"mirror":0},"stale":0,"shares":0,
"fetches":{"found":0},"loads":{"found":1},"stand_ins":0,"mirrors":0,"evictions":{"room":0,"expired":0},
"refusals":{"key":0},"weight_bytes":{"owned":88,"mirrors":0},"capacity_bytes":67108864,"flights":0,"waiters":0,
"hit_seconds":{"count":2,"sum":0.00001,"buckets":[[0.00001,2]]},
"fetch_seconds":{"count":0,"sum":0.0,"buckets":[[0.0005,0]]},
"load_seconds":{"count":1,"sum":0.02,"buckets":[[0.025,0],[0.05,1]]}}],
"peers":[{"member":"http://127.0.0.1:8001","self":true,"share":1.0}],
"refusals":{},"view_mismatches":0,"listeners":[]}"#;

const SHOWN: &str = "\
node a, carrot 0.1.0, up 12 s, native, slots, view a1b2c3d4e5f60718

group   over   gets   /s  memory  mirror  shared  fetched  loaded  loads  saved
scores  start     3  0.2   66.7%      0%      0%       0%   33.3%      1      2

group   over   hit p50     p99  fetch p50  p99  load p50      p99
scores  start   <10 µs  <10 µs          -    -   37.5 ms  49.8 ms

group   over   evicted  expired  weight  capacity   full  mirrors
scores  start        0        0    88 B    64 MiB  <0.1%      0 B

member                 share  state      over  requests  /s  p50  p99
http://127.0.0.1:8001   100%  this node
";

fn told() -> Scripted {
    Scripted::with_body("200 OK", "Content-Type: application/json\r\n", TOLD.as_bytes())
}

/// The lines of a command that goes on, as they come.
fn lines(child: &mut Child) -> impl Iterator<Item = String> + use<> {
    BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap)
}

#[test]
fn one_shot_is_the_table_and_json_is_the_nodes_own() {
    let node = told();
    let shell = Shell::watching(node.address);
    assert_eq!(shell.run(&["stat", "-1"]).text(), SHOWN);
    assert_eq!(shell.run(&["stat", "--once", "--json"]).text(), format!("{TOLD}\n"));
    let url = format!("http://{}", node.address);
    assert_eq!(Shell::default().run(&["stat", "-1", "--admin", &url]).text(), SHOWN);
    assert!(node.heads().iter().all(|head| head.starts_with("GET /admin/stats HTTP/1.1\r\n")));
}

#[test]
fn a_watched_node_is_shown_block_by_block_until_the_interrupt_which_is_no_failure() {
    let node = told();
    let mut child = Shell::watching(node.address).command(&["stat", "--interval", "5ms"]).spawn().unwrap();
    let mut lines = lines(&mut child);
    let shown: Vec<String> = lines.by_ref().take(3 * (SHOWN.lines().count() + 1)).collect();
    // Not a terminal: neither cleared nor coloured. The node told nothing new, so nothing came in between.
    assert_eq!(shown.join("\n") + "\n", format!("{SHOWN}\n").repeat(3));
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    // Read on, so that it is the interrupt that ends it.
    lines.for_each(drop);
    let status = eventually("it ends", || child.try_wait().unwrap());
    let errors = std::io::read_to_string(child.stderr.take().unwrap()).unwrap();
    assert_eq!((status.code(), &*errors), (Some(0), ""));
}

#[test]
fn json_is_told_again_and_again_too_until_nobody_reads_it() {
    let node = told();
    let shell = Shell::watching(node.address);
    let mut child = shell.command(&["stat", "--json", "--interval", "5ms"]).spawn().unwrap();
    let shown: Vec<String> = lines(&mut child).take(2 * TOLD.lines().count()).collect();
    assert_eq!(shown.join("\n") + "\n", format!("{TOLD}\n").repeat(2));
    // The reader went with the iterator.
    let status = eventually("it ends", || child.try_wait().unwrap());
    let errors = std::io::read_to_string(child.stderr.take().unwrap()).unwrap();
    assert_eq!((status.code(), &*errors), (Some(0), ""));
}
