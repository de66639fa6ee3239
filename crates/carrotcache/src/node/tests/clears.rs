//! `clear`: on every member, beside loads and fetches in the air, and with members that do not confirm.

use super::writes::{Gated, getting, two};
use super::*;
use crate::error::WriteError;

fn three(origin: &Arc<Origin>) -> (Town, Vec<Group>) {
    let town = Town::of(&["a", "b", "c"]);
    let groups = town.open(&with_hot(Hot::Always), origin);
    (town, groups)
}

#[tokio::test(start_paused = true)]
async fn after_a_clear_no_member_holds_anything_and_every_key_is_loaded_anew() {
    let origin = Origin::numbered();
    let (_town, groups) = three(&origin);
    let keys: Vec<String> = (0..30).map(|n| format!("key {n}")).collect();
    for group in &groups {
        for key in &keys {
            group.get(key).await.unwrap();
        }
    }
    assert!(groups.iter().all(|group| group.entries() == 30));
    groups[1].clear().await.unwrap();
    assert!(groups.iter().all(|group| group.entries() == 0));
    assert_eq!(origin.calls(), 30);
    for key in &keys {
        groups[2].get(key).await.unwrap();
    }
    assert_eq!(origin.calls(), 60);
}

#[tokio::test(start_paused = true)]
async fn other_groups_stay_as_they_are() {
    let origin = Origin::numbered();
    let (town, groups) = three(&origin);
    let pages = GroupName::new("pages").unwrap();
    let other = town.nodes[0].open(pages, with_hot(Hot::Always), origin.clone()).unwrap();
    let key = key(&other, &["a"]);
    other.set(&key, "630").await.unwrap();
    groups[0].clear().await.unwrap();
    assert_eq!(other.get(&key).await.unwrap(), "630");
}

#[tokio::test(start_paused = true)]
async fn a_load_that_a_clear_overtakes_serves_its_callers_and_is_not_kept() {
    for (asker, clearer) in [(1, 1), (1, 0), (0, 1), (0, 0)] {
        let gated = Gated::new();
        let (_town, groups, key) = two(&gated.origin);
        let early = getting(&groups[asker], &key).await;
        groups[clearer].clear().await.unwrap();
        // Who comes after the clear does not share the load from before it.
        let late = getting(&groups[asker], &key).await;
        assert_eq!(gated.origin.calls(), 2);
        gated.open(1);
        assert_eq!(early.await.unwrap().unwrap(), "1");
        assert!(groups.iter().all(|group| group.entries() == 0), "{asker} {clearer}");
        gated.open(1);
        assert_eq!(late.await.unwrap().unwrap(), "2");
        assert_eq!(groups[1].get(&key).await.unwrap(), "2");
        assert_eq!(groups[0].get(&key).await.unwrap(), "2");
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_member_fetched_from_one_that_had_not_forgotten_yet_is_forgotten_too() {
    let origin = Origin::numbered();
    let (town, groups) = three(&origin);
    let key = key(&groups[0], &["b"]);
    assert_eq!(groups[1].get(&key).await.unwrap(), "1");
    let gate = Arc::new(Semaphore::new(0));
    town.wires.set("b", Health::ClearsLate(gate.clone()));
    let clearing = tokio::spawn({
        let group = groups[2].clone();
        async move { group.clear().await }
    });
    settle().await;
    // Node a has forgotten, and b has not.
    assert_eq!(groups[0].get(&key).await.unwrap(), "1");
    assert_eq!(groups[0].entries(), 1);
    gate.add_permits(2);
    clearing.await.unwrap().unwrap();
    assert!(groups.iter().all(|group| group.entries() == 0));
    assert_eq!(groups[0].get(&key).await.unwrap(), "2");
}

#[tokio::test(start_paused = true)]
async fn members_that_do_not_confirm_are_named_and_the_others_have_forgotten() {
    for health in [
        Health::Down,
        Health::Breaks,
        Health::Hangs,
        Health::Says(Reply::Unsupported),
        Health::Says(Reply::BadRequest("the path is no group/key".into())),
    ] {
        let origin = Origin::numbered();
        let (town, groups) = three(&origin);
        for group in &groups {
            group.get("Tom").await.unwrap();
        }
        town.wires.set("b", health);
        match groups[0].clear().await {
            Err(WriteError::Unconfirmed { members, .. }) => assert_eq!(members, [Arc::from("b")]),
            other => panic!("{other:?}"),
        }
        assert_eq!(groups.iter().map(Group::entries).collect::<Vec<_>>(), [0, 1, 0]);
        // It is told once: a second round would prove nothing.
        let told = town.wires.asked("c").iter().filter(|what| matches!(what, Request::Clear { .. })).count();
        assert_eq!(told, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_member_without_the_group_has_nothing_to_forget() {
    let town = Town::of(&["a", "b"]);
    let group = open(&town.nodes[0], &with_hot(Hot::Off), &Origin::prompt());
    group.clear().await.unwrap();
    assert_eq!(town.wires.asked("b").len(), 2);
}

#[tokio::test(start_paused = true)]
async fn beside_peers_without_a_word_for_it_nothing_is_cleared() {
    let (town, groups) = three(&Origin::numbered());
    let key = key(&groups[0], &["a"]);
    groups[0].get(&key).await.unwrap();
    town.wires.gets_alone.store(true, Ordering::Relaxed);
    let refused = groups[0].clear().await.unwrap_err();
    assert_eq!(refused.to_string(), "member b knows no such write, by its dialect or its version");
    assert_eq!(groups[0].entries(), 1);
}
