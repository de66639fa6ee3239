//! Changes that depend on what is cached: other ends, sets under a condition, removes that are counted; by the owner,
//! through another node, beside loads, and at once.

use super::writes::{Gated, getting, source, two};
use super::*;
use crate::error::WriteError;
use crate::message::{ExpireIf, Life, SetIf};
use crate::units::ByteSize;

const SHORT: Duration = Duration::from_secs(10);
const LONG: Duration = Duration::from_secs(1000);

fn with_ttl(ttl: Option<Duration>) -> Settings {
    Settings { ttl, ..with_hot(Hot::Always) }
}

/// Two nodes, and a key that the second owns.
fn of_ttl(ttl: Option<Duration>) -> (Town, Vec<Group>, String) {
    let town = Town::of(&["a", "b"]);
    let groups = town.open(&with_ttl(ttl), &Origin::numbered());
    let key = key(&groups[0], &["b", "a"]);
    (town, groups, key)
}

/// How much longer the owner will serve it; `None`: it holds nothing.
async fn left(group: &Group, key: &str) -> Option<Option<Duration>> {
    group.holding(key).await.unwrap().map(|held| held.ttl)
}

#[tokio::test(start_paused = true)]
async fn an_entry_ends_when_it_is_told_to_wherever_that_is_said() {
    for teller in [0, 1] {
        let (town, groups, key) = of_ttl(Some(A_MINUTE));
        let group = &groups[teller];
        assert!(!group.expire(&key, Life::Of(SHORT), ExpireIf::Always).await.unwrap(), "nothing is there");
        assert_eq!(groups[1].get(&key).await.unwrap(), "1");
        assert!(group.expire(&key, Life::Of(SHORT), ExpireIf::Always).await.unwrap());
        assert_eq!(left(&groups[0], &key).await, Some(Some(SHORT)));
        town.pass(SHORT - Duration::from_millis(1));
        assert_eq!(groups[1].get(&key).await.unwrap(), "1");
        town.pass(Duration::from_millis(1));
        assert_eq!(left(&groups[0], &key).await, None);
        assert_eq!(groups[1].get(&key).await.unwrap(), "2");
    }
}

#[tokio::test(start_paused = true)]
async fn an_end_can_be_later_than_the_groups_and_taken_back_to_it() {
    let (town, groups, key) = of_ttl(Some(A_MINUTE));
    groups[0].get(&key).await.unwrap();
    assert!(groups[0].expire(&key, Life::Of(LONG), ExpireIf::Always).await.unwrap());
    town.pass(A_MINUTE);
    assert_eq!(left(&groups[0], &key).await, Some(Some(LONG - A_MINUTE)));
    for life in [Life::OfGroup, Life::Kept] {
        groups[0].expire(&key, Life::Of(LONG), ExpireIf::Always).await.unwrap();
        assert!(groups[0].expire(&key, life, ExpireIf::Ending).await.unwrap());
        assert_eq!(left(&groups[0], &key).await, Some(Some(A_MINUTE)), "{life:?}");
    }
    assert_eq!(groups[1].get(&key).await.unwrap(), "1");
}

#[tokio::test(start_paused = true)]
async fn in_a_group_without_ttl_an_entry_gets_an_end_and_loses_it() {
    let (_town, groups, key) = of_ttl(None);
    groups[0].get(&key).await.unwrap();
    let expire = |life, only| groups[0].expire(&key, life, only);
    assert!(!expire(Life::OfGroup, ExpireIf::Ending).await.unwrap());
    assert!(!expire(Life::Of(SHORT), ExpireIf::Later).await.unwrap());
    assert!(expire(Life::Of(LONG), ExpireIf::Endless).await.unwrap());
    assert!(!expire(Life::Of(SHORT), ExpireIf::Endless).await.unwrap());
    assert!(!expire(Life::Of(SHORT), ExpireIf::Later).await.unwrap());
    assert!(expire(Life::Of(SHORT), ExpireIf::Sooner).await.unwrap());
    assert_eq!(left(&groups[0], &key).await, Some(Some(SHORT)));
    assert!(expire(Life::OfGroup, ExpireIf::Ending).await.unwrap());
    assert_eq!(left(&groups[0], &key).await, Some(None));
}

#[tokio::test(start_paused = true)]
async fn what_has_no_time_left_is_gone_and_its_age_is_not_changed_by_another_end() {
    let (town, groups, key) = of_ttl(None);
    groups[0].get(&key).await.unwrap();
    town.pass(A_SECOND);
    groups[0].expire(&key, Life::Of(LONG), ExpireIf::Always).await.unwrap();
    let held = groups[0].holding(&key).await.unwrap().unwrap();
    assert_eq!((held.age, held.value_bytes), (A_SECOND, 1));
    assert!(!groups[0].expire(&key, Life::Of(Duration::ZERO), ExpireIf::Later).await.unwrap());
    assert!(groups[0].expire(&key, Life::Of(Duration::ZERO), ExpireIf::Always).await.unwrap());
    assert_eq!(left(&groups[0], &key).await, None);
    assert!(!groups[0].expire(&key, Life::Of(Duration::ZERO), ExpireIf::Always).await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn what_this_node_mirrored_is_gone_when_the_end_is_another() {
    let (_town, groups, key) = of_ttl(Some(A_MINUTE));
    groups[0].get(&key).await.unwrap();
    assert_eq!(source(&groups[0], &key).await, Source::Mirror);
    // Nothing is changed, and the mirror stays.
    assert!(!groups[0].expire(&key, Life::Of(SHORT), ExpireIf::Endless).await.unwrap());
    assert_eq!(source(&groups[0], &key).await, Source::Mirror);
    groups[0].expire(&key, Life::Of(SHORT), ExpireIf::Always).await.unwrap();
    let answer = groups[0].answer(&key, Ask::default()).await.unwrap();
    assert_eq!((answer.source, answer.ttl), (Source::Owner, Some(SHORT)));
}

#[tokio::test(start_paused = true)]
async fn a_load_in_the_air_is_no_entry_and_lives_as_long_as_it_would_have() {
    for teller in [0, 1] {
        let gated = Gated::new();
        let town = Town::of(&["a", "b"]);
        let groups = town.open(&with_ttl(Some(A_MINUTE)), &gated.origin);
        let key = key(&groups[0], &["b", "a"]);
        let early = getting(&groups[1], &key).await;
        let group = &groups[teller];
        assert!(!group.expire(&key, Life::Of(SHORT), ExpireIf::Always).await.unwrap());
        assert!(!group.set_if(&key, "set", Life::OfGroup, SetIf::Present).await.unwrap());
        assert!(!group.remove_held(&key).await.unwrap());
        gated.open(1);
        assert_eq!(early.await.unwrap().unwrap(), "1");
        // The remove has overtaken it, so it is not kept; the others alone would have let it be.
        assert_eq!(left(&groups[0], &key).await, None);
        let late = getting(&groups[1], &key).await;
        assert!(!group.expire(&key, Life::Of(SHORT), ExpireIf::Always).await.unwrap());
        gated.open(1);
        assert_eq!(late.await.unwrap().unwrap(), "2");
        assert_eq!(left(&groups[0], &key).await, Some(Some(A_MINUTE)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_set_where_nothing_may_be_wins_over_a_load_in_the_air() {
    for setter in [0, 1] {
        let gated = Gated::new();
        let (_town, groups, key) = two(&gated.origin);
        let early = getting(&groups[1], &key).await;
        assert!(groups[setter].set_if(&key, "set", Life::OfGroup, SetIf::Absent).await.unwrap());
        gated.open(1);
        assert_eq!(early.await.unwrap().unwrap(), "1");
        assert_eq!(groups[1].get(&key).await.unwrap(), "set");
        assert_eq!(gated.origin.calls(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_set_under_a_condition_does_nothing_where_it_does_not_hold() {
    for setter in [0, 1] {
        let (_town, groups, key) = of_ttl(Some(A_MINUTE));
        let set = |value: &'static str, life, only| groups[setter].set_if(&key, value, life, only);
        assert!(!set("1", Life::OfGroup, SetIf::Present).await.unwrap());
        assert_eq!(left(&groups[0], &key).await, None);
        assert!(set("2", Life::Of(SHORT), SetIf::Absent).await.unwrap());
        assert!(!set("3", Life::OfGroup, SetIf::Absent).await.unwrap());
        assert_eq!(groups[1].get(&key).await.unwrap(), "2");
        assert!(set("4", Life::Kept, SetIf::Present).await.unwrap());
        assert_eq!(left(&groups[0], &key).await, Some(Some(SHORT)));
        assert!(set("5", Life::OfGroup, SetIf::Always).await.unwrap());
        assert_eq!(left(&groups[0], &key).await, Some(Some(A_MINUTE)));
        assert_eq!(groups[0].get(&key).await.unwrap(), "5");
        // It is over before it began.
        assert!(!set("6", Life::Of(Duration::ZERO), SetIf::Absent).await.unwrap());
        assert_eq!(groups[1].get(&key).await.unwrap(), "5");
        assert!(set("7", Life::Of(Duration::ZERO), SetIf::Present).await.unwrap());
        assert_eq!(left(&groups[0], &key).await, None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_value_over_the_limit_is_refused_and_one_too_heavy_to_keep_leaves_nothing() {
    let plan = Plan { limits: Limits { value: ByteSize::kib(8), ..Limits::default() }, ..Plan::of(&["a"]) };
    let town = Town::as_planned(&["a"], &plan);
    let settings = Settings { capacity: ByteSize::kib(16), ..with_ttl(None) };
    let groups = town.open(&settings, &Origin::numbered());
    groups[0].get("Tom").await.unwrap();
    let set = |length| groups[0].set_if("Tom", vec![1; length], Life::OfGroup, SetIf::Present);
    assert!(matches!(set(8193).await, Err(WriteError::TooLarge { length: 8193, limit: 8192 })));
    assert_eq!(left(&groups[0], "Tom").await, Some(None));
    assert!(set(8192).await.unwrap());
    assert_eq!(left(&groups[0], "Tom").await, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_who_set_what_must_not_be_there_one_is_told_that_it_did() {
    let (_town, groups, key) = of_ttl(None);
    for round in 0..50 {
        let mut callers = tokio::task::JoinSet::new();
        for n in 0..8 {
            let (group, key) = (groups[n % 2].clone(), key.clone());
            callers.spawn(async move {
                let value = format!("{round} {n}");
                let is_set = group.set_if(&key, value.clone(), Life::OfGroup, SetIf::Absent).await.unwrap();
                is_set.then_some(value)
            });
        }
        let set: Vec<String> = callers.join_all().await.into_iter().flatten().collect();
        assert_eq!(set.len(), 1, "{set:?}");
        assert_eq!(groups[1].get(&key).await.unwrap(), set[0].as_str());
        let mut removers = tokio::task::JoinSet::new();
        for _ in 0..4 {
            let (group, key) = (groups[1].clone(), key.clone());
            removers.spawn(async move { group.remove_held(&key).await.unwrap() });
        }
        let removed = removers.join_all().await.into_iter().filter(|removed| *removed).count();
        assert_eq!(removed, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_is_not_the_owner_by_its_own_list_changes_nothing() {
    // By a's list b owns some keys; b alone counts c, and gives it some of them.
    let plans = vec![("a", Plan::of(&["a", "b"])), ("b", Plan::of(&["a", "b", "c"]))];
    let town = Town::with(plans);
    let groups = town.open(&with_ttl(None), &Origin::numbered());
    let disputed: Vec<String> =
        keys(&groups[0], &["b"]).filter(|key| !groups[1].is_local(key.as_bytes())).take(3).collect();
    for key in disputed {
        for told in [
            groups[0].expire(&key, Life::Of(SHORT), ExpireIf::Always).await,
            groups[0].set_if(&key, "set", Life::OfGroup, SetIf::Always).await,
            groups[0].remove_held(&key).await,
        ] {
            let refused = told.unwrap_err();
            assert_eq!(refused.to_string(), "owner b refused: not the owner by its own list");
        }
        assert_eq!(groups[1].held(key.as_bytes()), None);
    }
}

#[tokio::test(start_paused = true)]
async fn an_owner_that_does_not_confirm_or_is_too_old_is_named() {
    for (health, expected) in [
        (Health::Down, "b did not confirm"),
        (Health::Loses, "b did not confirm"),
        (Health::Says(Reply::Unsupported), "member b knows no such write, by its dialect or its version"),
        (Health::Says(Reply::NoGroup), "owner b refused: no such group"),
    ] {
        let (town, groups, key) = of_ttl(None);
        groups[0].get(&key).await.unwrap();
        town.wires.set("b", health);
        let told = groups[0].expire(&key, Life::Of(SHORT), ExpireIf::Always).await;
        assert_eq!(told.unwrap_err().to_string(), expected);
        assert_eq!(groups[0].held(key.as_bytes()), None, "what was mirrored here is gone");
    }
}

#[tokio::test(start_paused = true)]
async fn beside_a_peer_that_cannot_say_what_it_held_a_remove_counts_what_was_here() {
    let (town, groups, key) = of_ttl(None);
    groups[0].get(&key).await.unwrap();
    // It removes, and knows of no changes.
    town.wires.set("b", Health::KnowsNoChange);
    assert!(groups[0].remove_held(&key).await.unwrap());
    assert_eq!(groups[1].held(key.as_bytes()), None);
    groups[1].get(&key).await.unwrap();
    assert!(!groups[0].remove_held(&key).await.unwrap());
    assert_eq!(groups[1].held(key.as_bytes()), None);
}
