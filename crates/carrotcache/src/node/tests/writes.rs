//! `set` and `remove`: at the owner, through another node, and while a load or a fetch of the key is in the air.

use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::*;
use crate::error::WriteError;
use crate::units::ByteSize;

/// An origin whose loads wait at a gate, with the number of each call as its value.
pub(super) struct Gated {
    pub(super) origin: Arc<Origin>,
    gate: Arc<Semaphore>,
}

impl Gated {
    pub(super) fn new() -> Self {
        let gate = Arc::new(Semaphore::new(0));
        let held = gate.clone();
        let origin = Origin::new(move |_, call| {
            let held = held.clone();
            async move {
                held.acquire().await.unwrap().forget();
                Ok(Some(Loaded::from(call.to_string())))
            }
        });
        Self { origin, gate }
    }

    /// Lets this many loads end.
    pub(super) fn open(&self, loads: usize) {
        self.gate.add_permits(loads);
    }
}

/// Two nodes that mirror all they fetch, and a key that the second owns.
pub(super) fn two(origin: &Arc<Origin>) -> (Town, Vec<Group>, String) {
    let town = Town::of(&["a", "b"]);
    let groups = town.open(&with_hot(Hot::Always), origin);
    let key = key(&groups[0], &["b", "a"]);
    (town, groups, key)
}

/// A get that is under way, as far as it gets by itself.
pub(super) async fn getting(group: &Group, key: &str) -> JoinHandle<Result<Value, GetError>> {
    let (group, key) = (group.clone(), key.to_owned());
    let get = tokio::spawn(async move { group.get(key).await });
    settle().await;
    get
}

pub(super) async fn source(group: &Group, key: &str) -> Source {
    group.answer(key, Ask::default()).await.unwrap().source
}

#[tokio::test(start_paused = true)]
async fn a_load_that_a_remove_overtakes_serves_its_callers_and_is_not_kept() {
    // Who calls get, who calls remove: the owner or the other node.
    for (asker, remover) in [(1, 1), (1, 0), (0, 1), (0, 0)] {
        let gated = Gated::new();
        let (_town, groups, key) = two(&gated.origin);
        let early = getting(&groups[asker], &key).await;
        groups[remover].remove(&key).await.unwrap();
        gated.open(1);
        assert_eq!(early.await.unwrap().unwrap(), "1");
        gated.open(1);
        assert_eq!(groups[1].get(&key).await.unwrap(), "2", "{asker} {remover}");
        assert_eq!(source(&groups[1], &key).await, Source::Memory);
        assert_eq!(gated.origin.calls(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_get_that_comes_after_the_remove_does_not_share_the_load_from_before_it() {
    let gated = Gated::new();
    let (_town, groups, key) = two(&gated.origin);
    let early = getting(&groups[0], &key).await;
    groups[0].remove(&key).await.unwrap();
    let late = getting(&groups[0], &key).await;
    assert_eq!(gated.origin.calls(), 2);
    gated.open(2);
    assert_eq!(early.await.unwrap().unwrap(), "1");
    assert_eq!(late.await.unwrap().unwrap(), "2");
    assert_eq!(groups[1].get(&key).await.unwrap(), "2");
}

#[tokio::test(start_paused = true)]
async fn a_fetch_that_a_remove_overtakes_is_not_mirrored() {
    let gated = Gated::new();
    let (_town, groups, key) = two(&gated.origin);
    let early = getting(&groups[0], &key).await;
    groups[0].remove(&key).await.unwrap();
    gated.open(1);
    assert_eq!(early.await.unwrap().unwrap(), "1");
    assert_eq!(groups[0].stats().mirrors, 0);
    gated.open(1);
    assert_eq!(groups[0].get(&key).await.unwrap(), "2");
    assert_eq!(source(&groups[0], &key).await, Source::Mirror);
}

#[tokio::test(start_paused = true)]
async fn a_set_wins_over_a_load_that_was_in_the_air() {
    for (asker, setter) in [(1, 1), (1, 0), (0, 1), (0, 0)] {
        let gated = Gated::new();
        let (_town, groups, key) = two(&gated.origin);
        let early = getting(&groups[asker], &key).await;
        groups[setter].set(&key, "set").await.unwrap();
        gated.open(1);
        assert_eq!(early.await.unwrap().unwrap(), "1");
        assert_eq!(groups[1].get(&key).await.unwrap(), "set");
        assert_eq!(gated.origin.calls(), 1);
    }
}

/// On threads of their own: while one sets, which takes a moment for a value of this size, the other keeps a flight of
/// the key in the air, whose load ends after the set.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_set_wins_over_every_load_that_began_before_it_returned() {
    let value = Bytes::from(vec![b'x'; 4 << 20]);
    for _ in 0..20 {
        let gated = Gated::new();
        let town = Town::of(&["a"]);
        let group = open(&town.nodes[0], &Settings::default(), &gated.origin);
        let setting = tokio::spawn({
            let (group, value) = (group.clone(), value.clone());
            async move { group.set("Tom", value).await }
        });
        while !setting.is_finished() {
            let in_haste = group.answer("Tom", Ask::default().within(Duration::ZERO)).await;
            assert!(matches!(in_haste, Ok(_) | Err(GetError::Deadline { .. })), "{in_haste:?}");
        }
        setting.await.unwrap().unwrap();
        // More than there are: a flight that has just begun may not have come to its load.
        gated.open(100);
        town.nodes[0].landed().await;
        assert_eq!(group.get("Tom").await.unwrap().len(), value.len());
    }
}

#[tokio::test(start_paused = true)]
async fn writes_through_another_node_change_the_owner_and_drop_the_writers_own_mirror() {
    let (town, groups, key) = two(&Origin::numbered());
    assert_eq!(groups[0].get(&key).await.unwrap(), "1");
    assert_eq!(source(&groups[0], &key).await, Source::Mirror);

    groups[0].set(&key, "set").await.unwrap();
    assert!(matches!(&town.wires.asked("b")[1], Request::Set { ttl: None, .. }));
    let answer = groups[0].answer(&key, Ask::default()).await.unwrap();
    assert_eq!((answer.value, answer.source), (Bytes::from("set").into(), Source::Owner));

    groups[0].remove(&key).await.unwrap();
    assert!(matches!(&town.wires.asked("b")[3], Request::Remove { .. }));
    let answer = groups[0].answer(&key, Ask::default()).await.unwrap();
    assert_eq!((answer.value, answer.source), (Bytes::from("2").into(), Source::Origin));
}

#[tokio::test(start_paused = true)]
async fn a_mirror_elsewhere_lives_on_after_a_write_for_a_minute_at_most() {
    let town = Town::of(&["a", "b", "c"]);
    let groups = town.open(&with_hot(Hot::Always), &Origin::numbered());
    let key = key(&groups[0], &["b"]);
    assert_eq!(groups[2].get(&key).await.unwrap(), "1");
    groups[0].remove(&key).await.unwrap();
    assert_eq!(groups[2].get(&key).await.unwrap(), "1");
    assert_eq!(groups[0].get(&key).await.unwrap(), "2");
    town.pass(A_MINUTE);
    assert_eq!(groups[2].get(&key).await.unwrap(), "2");
}

#[tokio::test(start_paused = true)]
async fn removing_what_is_not_cached_is_no_error() {
    let (_town, groups, key) = two(&Origin::numbered());
    for group in &groups {
        group.remove(&key).await.unwrap();
        group.remove(&key).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_that_the_owner_did_not_confirm_says_so_and_drops_the_own_copy() {
    for health in [Health::Down, Health::Breaks, Health::Loses, Health::Hangs] {
        let (town, groups, key) = two(&Origin::numbered());
        groups[0].get(&key).await.unwrap();
        town.wires.set("b", health.clone());
        for refused in [groups[0].remove(&key).await, groups[0].set(&key, "set").await] {
            assert!(
                matches!(&refused, Err(WriteError::Unconfirmed { members, .. }) if **members == ["b".into()]),
                "{refused:?}"
            );
        }
        town.wires.set("b", Health::Up);
        let value = if matches!(health, Health::Loses) { "set" } else { "1" };
        let answer = groups[0].answer(&key, Ask::default()).await.unwrap();
        assert_eq!((answer.value, answer.source), (Bytes::from(value).into(), Source::Owner));
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_for_which_there_is_no_room_on_the_way_is_busy_and_was_not_sent() {
    let (town, groups, key) = two(&Origin::numbered());
    groups[0].get(&key).await.unwrap();
    town.wires.set("b", Health::Full);
    for refused in [groups[0].remove(&key).await, groups[0].set(&key, "set").await] {
        let Err(WriteError::Busy { limit }) = refused else { panic!("{refused:?}") };
        assert_eq!(&*limit, "7 requests in flight to that peer (b)");
    }
    town.wires.set("b", Health::Up);
    assert_eq!(groups[0].get(&key).await.unwrap(), "1");
}

#[tokio::test(start_paused = true)]
async fn a_write_that_the_owner_refuses_is_told_so() {
    let refusals = [
        (Reply::Unsupported, "member b knows no such write, by its dialect or its version"),
        (Reply::NoGroup, "owner b refused: no such group"),
        (Reply::Busy("in flight".into()), "owner b refused: busy: in flight"),
        (Reply::TooLarge("a lot".into()), "owner b refused: too large: a lot"),
    ];
    for (reply, told) in refusals {
        let (town, groups, key) = two(&Origin::numbered());
        groups[0].get(&key).await.unwrap();
        town.wires.set("b", Health::Says(reply));
        for refused in [groups[0].remove(&key).await, groups[0].set(&key, "set").await] {
            assert_eq!(refused.unwrap_err().to_string(), told);
        }
        town.wires.set("b", Health::Up);
        assert_eq!(source(&groups[0], &key).await, Source::Owner, "its own copy is gone");
    }
}

#[tokio::test(start_paused = true)]
async fn a_value_over_the_limit_is_not_set_by_anyone() {
    let limits = Limits { value: ByteSize::bytes(10), ..Limits::default() };
    let town = Town::as_planned(&["a", "b"], &Plan { limits, ..Plan::of(&["a", "b"]) });
    let groups = town.open(&Settings::default(), &Origin::numbered());
    let key = key(&groups[0], &["b", "a"]);
    groups[0].set(&key, "ten bytes!").await.unwrap();
    for group in &groups {
        let refused = group.set(&key, "eleven byte").await;
        assert!(matches!(refused, Err(WriteError::TooLarge { length: 11, limit: 10 })), "{refused:?}");
        assert_eq!(group.stats().refusals.get(Refusal::Value), 1);
    }
    let set = Request::Set {
        group: scores(),
        key: Key::from(key.as_str()),
        value: Bytes::from_static(b"eleven byte"),
        ttl: None,
    };
    let reply = town.nodes[1].answer(set).await;
    assert_eq!(reply.to_string(), "too large: value of 11 bytes is over the limit of 10");
    assert_eq!(groups[1].stats().refusals.get(Refusal::Value), 2);
    assert_eq!(groups[1].get(&key).await.unwrap(), "ten bytes!");
}

#[tokio::test(start_paused = true)]
async fn a_set_without_time_to_live_leaves_nothing_behind() {
    let (_town, groups, key) = two(&Origin::numbered());
    for group in &groups {
        groups[1].set(&key, "set").await.unwrap();
        group.set(&key, Loaded::from("gone").ttl(Duration::ZERO)).await.unwrap();
        assert_eq!(groups[1].stats().weight_bytes.total(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_is_not_the_owner_by_its_own_list_forgets_and_refuses_a_write() {
    let clock = Clock::manual();
    let of = |list: &[&'static str]| Plan { clock: clock.clone(), ..Plan::of(list) };
    let town =
        Town::with(vec![("a", of(&["a", "b"])), ("b", of(&["a", "b", "c"])), ("c", of(&["a", "b", "c"]))]);
    let groups = town.open(&Settings::default(), &Origin::numbered());
    // b's by a's list, c's by the others'.
    let is_cs = |key: &String| {
        let view = groups[1].shared.around.views.current();
        matches!(view.place(groups[1].shared.seed, key.as_bytes()).owner(), Owner::Remote(m) if &*m.name == "c")
    };
    let key = keys(&groups[0], &["b"]).find(is_cs).unwrap();
    let error = groups[0].set(&key, "set").await.unwrap_err();
    assert!(matches!(&error, WriteError::Refused { owner, .. } if &**owner == "b"), "{error:?}");
    let error = groups[0].remove(&key).await.unwrap_err();
    assert!(matches!(error, WriteError::Refused { .. }), "{error:?}");
    settle().await;
    assert_eq!(town.nodes[0].stats().view_mismatches, 2);
    let members = town.wires.asked("b").iter().filter(|what| matches!(what, Request::Members)).count();
    assert_eq!(members, 1, "how the lists differ is asked once");
    // And nothing of it comes back when b takes the list by which it is the owner.
    let view = View::new(vec![member("a"), member("b")], Some("b"), PlacementKind::Slots).unwrap();
    town.nodes[1].around.views.replace(view);
    assert_eq!(groups[1].get(&key).await.unwrap(), "1");
}
