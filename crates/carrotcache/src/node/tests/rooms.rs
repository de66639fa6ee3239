//! Many keys whose values have no room together: what is held meanwhile, who is left out, and who is not harmed by it.

use super::*;
use crate::room::Room;
use crate::units::ByteSize;

const LARGE: usize = 64 << 10;

/// Values as the origin gave them, how many are alive and how many were at most.
#[derive(Default)]
struct Alive {
    now: AtomicUsize,
    most: AtomicUsize,
}

/// The bytes of one.
struct Counted {
    bytes: Vec<u8>,
    alive: Arc<Alive>,
}

impl Counted {
    fn value(length: usize, alive: &Arc<Alive>) -> Loaded {
        let now = alive.now.fetch_add(1, Ordering::Relaxed) + 1;
        alive.most.fetch_max(now, Ordering::Relaxed);
        Loaded::new(Bytes::from_owner(Self { bytes: vec![b'v'; length], alive: alive.clone() }))
    }
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.alive.now.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An origin of values of the largest size, or of as many bytes as the key says.
fn large(alive: &Arc<Alive>) -> Arc<Origin> {
    let alive = alive.clone();
    Origin::new(move |key: Key, _| {
        let length = key.to_string().rsplit_once('/').map_or(LARGE, |(_, length)| length.parse().unwrap());
        let alive = alive.clone();
        async move {
            clock::sleep(Duration::from_millis(10)).await;
            Ok(Some(Counted::value(length, &alive)))
        }
    })
}

/// Nodes whose groups keep nothing that is large, so that whoever holds a value holds the origin's.
fn town(names: &[&'static str], list: &[&'static str]) -> Town {
    let limits = Limits { value: ByteSize::bytes(LARGE as u64), ..Limits::default() };
    Town::as_planned(names, &Plan { limits, ..Plan::of(list) })
}

fn keeping_little() -> Settings {
    Settings { capacity: ByteSize::kib(32), ..Settings::default() }
}

fn is_left_out<T: std::fmt::Debug>(got: &Result<T, GetError>) -> bool {
    matches!(got, Err(GetError::LeftOut { .. }))
}

fn some_keys(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("key {n}")).collect()
}

#[tokio::test(start_paused = true)]
async fn what_is_held_for_one_call_is_its_room_and_what_is_on_its_way() {
    let (alive, town) = (Arc::<Alive>::default(), town(&["a"], &["a"]));
    let origin = large(&alive);
    let group = &town.open(&keeping_little(), &origin)[0];
    let room = Room::new(ByteSize::bytes(3 * LARGE as u64));
    let got = group.answer_many_in(&some_keys(500), Ask::default(), &room).await;
    assert_eq!(got.iter().filter(|got| got.is_ok()).count(), 3);
    assert!(got.iter().all(|got| got.is_ok() || is_left_out(got)));
    // Nobody wants the others: none is begun but those that had their turn before there was no room.
    settle().await;
    clock::sleep(A_SECOND).await;
    assert!((4..=32).contains(&origin.calls()), "{} loads", origin.calls());
    let most = alive.most.load(Ordering::Relaxed);
    assert!((4..=20).contains(&most), "{most} were held");
    drop(got);
    assert_eq!((alive.now.load(Ordering::Relaxed), group.stats().flights), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn keys_that_hang_keep_no_others_waiting() {
    let town = Town::of(&["a"]);
    let origin = Origin::new(|key: Key, _| async move {
        if key.to_string().contains("hang") {
            std::future::pending::<()>().await;
        }
        Ok(Some(Loaded::new(Bytes::from_static(b"v"))))
    });
    let group = &town.open(&Settings::default(), &origin)[0];
    let keys: Vec<String> = (0..100).map(|n| format!("hang {n}")).chain(some_keys(1000)).collect();
    let ask = Ask { deadline: Some(A_SECOND), ..Ask::default() };
    let got = group.answer_many(&keys, ask).await;
    for (key, got) in keys.iter().zip(got) {
        assert_eq!(got.is_ok(), !key.contains("hang"), "{key}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_owner_holds_no_more_for_the_many_keys_of_another_node() {
    let (alive, town) = (Arc::<Alive>::default(), town(&["a", "b"], &["b"]));
    let origin = large(&alive);
    let groups = town.open(&keeping_little(), &origin);
    let keys = some_keys(500).iter().map(|key| Key::from(&**key)).collect();
    let what = Request::GetMany { group: scores(), keys, stand_in: false, cached_only: false };
    let Reply::Many(replies) = town.nodes[1].answer(what).await else { panic!("no answers") };
    let found = replies.iter().filter(|reply| matches!(reply, Reply::Found(_))).count();
    let left_out = replies.iter().filter(|reply| matches!(reply, Reply::LeftOut)).count();
    assert_eq!((found, left_out), (1, 499));
    let most = alive.most.load(Ordering::Relaxed);
    assert!((2..=18).contains(&most), "{most} were held");
    drop(replies);
    // And for who asks it: no more rounds than somebody waits for.
    let room = Room::new(ByteSize::bytes(2 * LARGE as u64));
    let got = groups[0].answer_many_in(&some_keys(500), Ask::default(), &room).await;
    assert_eq!(got.iter().filter(|got| got.is_ok()).count(), 2);
    clock::sleep(A_MINUTE).await;
    let rounds = town.wires.asked("b").len();
    assert!(rounds <= 4, "{rounds} rounds");
}

#[tokio::test(start_paused = true)]
async fn who_shares_the_load_of_a_key_that_is_left_out_gets_its_value() {
    let (alive, town) = (Arc::<Alive>::default(), town(&["a"], &["a"]));
    let group = town.open(&keeping_little(), &large(&alive)).remove(0);
    let many = tokio::spawn({
        let group = group.clone();
        async move {
            let room = Room::new(ByteSize::bytes(LARGE as u64));
            group.answer_many_in(&some_keys(100), Ask::default(), &room).await
        }
    });
    settle().await;
    // Its turn is far off yet.
    let shared = group.get("key 99").await.unwrap();
    let got = many.await.unwrap();
    assert_eq!((shared.len(), is_left_out(&got[99])), (LARGE, true));
    assert_eq!(group.stats().shares, 1);
}

#[tokio::test(start_paused = true)]
async fn small_values_open_lanes_and_large_ones_close_them() {
    let (alive, town) = (Arc::<Alive>::default(), town(&["a"], &["a"]));
    let most_of = async |keys: Vec<String>| {
        let origin = large(&alive);
        let settings = Settings { max_loads: 64, ..keeping_little() };
        let group =
            town.nodes[0].open(format!("of{}", keys.len()).parse().unwrap(), settings, origin.clone());
        let room = Room::new(ByteSize::gib(1));
        let got = group.unwrap().answer_many_in(&keys, Ask::default(), &room).await;
        assert!(got.iter().all(Result::is_ok), "{got:?}");
        origin.most()
    };
    assert_eq!(most_of(some_keys(200)).await, 16);
    assert_eq!(most_of((0..1000).map(|n| format!("{n}/7")).collect()).await, 64);
    // From one kind to the other: what is on its way then lands, and no more than a few go on.
    let mixed = (0..400).map(|n| format!("{n}/{}", if n < 100 { 7 } else { LARGE })).collect();
    assert_eq!(most_of(mixed).await, 64);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_slow_keeps_no_value_of_another_from_being_told_or_let_go() {
    let alive = Arc::<Alive>::default();
    let slow = {
        let alive = alive.clone();
        Origin::new(move |key: Key, _| {
            let alive = alive.clone();
            async move {
                if key.to_string() == "key 0" {
                    std::future::pending::<()>().await;
                }
                Ok(Some(Counted::value(LARGE, &alive)))
            }
        })
    };
    let town = town(&["a"], &["a"]);
    let group = &town.open(&keeping_little(), &slow)[0];
    let room = Room::new(ByteSize::bytes(20 * LARGE as u64));
    let ask = Ask::default().within(A_SECOND);
    let got = group.answer_many_in(&some_keys(15), ask, &room).await;
    assert!(matches!(got[0], Err(GetError::Deadline { .. })), "{:?}", got[0]);
    assert!(got[1..].iter().all(Result::is_ok));
    drop(got);
    // Where there is no room, it is waited for no longer.
    let got = group.answer_many_in(&some_keys(300), Ask::default(), &Room::new(ByteSize::bytes(1))).await;
    assert!(got.iter().all(is_left_out));
    assert!(alive.most.load(Ordering::Relaxed) <= 32);
}

#[tokio::test(start_paused = true)]
async fn what_memory_holds_takes_its_room_too() {
    let town = Town::of(&["a"]);
    let group = &town.open(&Settings::default(), &Origin::prompt())[0];
    let keys = some_keys(4);
    group.get_many(&keys[..3]).await;
    let room = Room::new(ByteSize::bytes(2 * value_of("key 0").len() as u64));
    let got = group.answer_many_in(&keys, Ask::default(), &room).await;
    assert_eq!(got.iter().map(is_left_out).collect::<Vec<_>>(), [false, false, true, true]);
}
