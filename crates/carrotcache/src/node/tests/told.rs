//! Writes where peers leave it to the writer to tell every member, and the ttl that other peers drop.

use super::*;
use crate::dropped_ttl::tests::{Warnings, line};
use crate::error::{WriteError, with_causes};

const NEWER: Customs = Customs { tell_all: true, drops_ttl: None };

/// Nodes that tell all, mirror all they fetch, and have loaders of numbers; and a key that `b` owns.
fn town(names: &[&'static str]) -> (Town, Vec<Group>, String) {
    let town = Town::of(names);
    *town.wires.customs.lock().unwrap() = Some(NEWER);
    let groups = town.open(&with_hot(Hot::Always), &Origin::numbered());
    let key = key(&groups[0], &["b"]);
    (town, groups, key)
}

/// What the members were asked to write so far, and in which order.
fn told(town: &Town) -> Vec<String> {
    let asked = town.wires.asked.lock().unwrap();
    let told = asked.iter().filter_map(|(to, what)| match what {
        Request::Set { .. } => Some(format!("set {to}")),
        Request::Remove { .. } => Some(format!("remove {to}")),
        _ => None,
    });
    told.collect()
}

fn unconfirmed(written: Result<(), WriteError>) -> (Vec<String>, String) {
    match written.unwrap_err() {
        ref error @ WriteError::Unconfirmed { ref members, .. } => {
            (members.iter().map(ToString::to_string).collect(), with_causes(error))
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn the_owner_is_told_first_and_every_other_member_is_told_to_remove() {
    // The writer: the owner, or another node.
    for (writer, set, remove) in [
        (0, vec!["set b", "remove c", "remove d"], vec!["remove b", "remove c", "remove d"]),
        (1, vec!["remove a", "remove c", "remove d"], vec!["remove a", "remove c", "remove d"]),
    ] {
        let (town, groups, key) = town(&["a", "b", "c", "d"]);
        groups[writer].set(&key, "set").await.unwrap();
        assert_eq!(told(&town), set);
        groups[writer].remove(&key).await.unwrap();
        assert_eq!(told(&town)[set.len()..], remove);
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_write_no_member_serves_what_was_there_before() {
    for writer in 0..3 {
        let (_town, groups, key) = town(&["a", "b", "c"]);
        for group in &groups {
            assert_eq!(group.get(&key).await.unwrap(), "1");
        }
        groups[writer].set(&key, "set").await.unwrap();
        for group in &groups {
            assert_eq!(group.get(&key).await.unwrap(), "set", "{writer}");
        }
        groups[writer].remove(&key).await.unwrap();
        for group in &groups {
            assert_eq!(group.get(&key).await.unwrap(), "2", "{writer}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_fetch_under_way_at_a_third_node_does_not_mirror_what_a_write_overtook() {
    let (town, groups, key) = town(&["a", "b", "c"]);
    town.wires.set("b", Health::Hangs);
    let early = tokio::spawn({
        let (group, key) = (groups[2].clone(), key.clone());
        async move { group.get(key).await }
    });
    settle().await;
    town.wires.set("b", Health::Up);
    groups[0].remove(&key).await.unwrap();
    assert!(early.await.unwrap().is_err());
    assert_eq!(groups[2].get(&key).await.unwrap(), "1");
}

#[tokio::test(start_paused = true)]
async fn a_member_that_does_not_confirm_is_named_and_all_others_are_told_all_the_same() {
    for (health, cause) in [
        (Health::Down, "cannot connect: nobody listens"),
        (Health::Hangs, "no reply within 5s"),
        (Health::Loses, "broken reply: the reply was lost"),
        (Health::Says(Reply::Busy("full".into())), "it answered: busy: full"),
        (Health::Says(Reply::Unsupported), "it answered: unsupported"),
    ] {
        for writer in [0, 1] {
            let (town, groups, key) = town(&["a", "b", "c", "d"]);
            for group in &groups {
                group.get(&key).await.unwrap();
            }
            town.wires.set("c", health.clone());
            let (members, line) = unconfirmed(groups[writer].set(&key, "set").await);
            assert_eq!((members, line), (vec!["c".to_owned()], format!("c did not confirm: {cause}")));
            for done in [0, 1, 3] {
                assert_eq!(groups[done].get(&key).await.unwrap(), "set");
            }
            let (members, _) = unconfirmed(groups[writer].remove(&key).await);
            assert_eq!(members, ["c"]);
            assert_eq!(groups[3].get(&key).await.unwrap(), "2");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_member_that_hangs_holds_up_one_write_and_rests_then() {
    let (town, groups, key) = town(&["a", "b", "c", "d"]);
    town.wires.set("c", Health::Hangs);
    let mut waits = Vec::new();
    for _ in 0..3 {
        let began = clock::now();
        let (members, _) = unconfirmed(groups[0].set(&key, "set").await);
        assert_eq!(members, ["c"]);
        waits.push(clock::now() - began);
        // For the question whether it lives.
        clock::sleep(2 * A_SECOND).await;
    }
    assert_eq!(waits, [Limits::default().write_timeout, Duration::ZERO, Duration::ZERO]);
}

#[tokio::test(start_paused = true)]
async fn an_owner_that_does_not_confirm_keeps_nobody_from_being_told() {
    let (town, groups, key) = town(&["a", "b", "c", "d"]);
    town.wires.set("b", Health::Down);
    town.wires.set("d", Health::Breaks);
    let (members, line) = unconfirmed(groups[0].remove(&key).await);
    assert_eq!(members, ["b", "d"]);
    assert_eq!(line, "b, d did not confirm: cannot connect: nobody listens");
    assert_eq!(told(&town), ["remove b", "remove c", "remove d"]);

    town.wires.set("b", Health::Says(Reply::TooLarge("a lot".into())));
    let refused = groups[0].set(&key, "set").await.unwrap_err();
    assert_eq!(refused.to_string(), "owner b refused: too large: a lot");
    assert_eq!(told(&town)[3..], ["set b", "remove c", "remove d"]);
}

#[tokio::test(start_paused = true)]
async fn a_member_without_the_group_or_with_another_list_holds_no_copy() {
    for reply in [Reply::NoGroup, Reply::NotOwner] {
        let (town, groups, key) = town(&["a", "b", "c"]);
        town.wires.set("c", Health::Says(reply));
        groups[0].set(&key, "set").await.unwrap();
        groups[1].remove(&key).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_large_cluster_is_told_in_turn_and_to_the_last() {
    let mut names: Vec<&'static str> = vec!["a", "b"];
    names.extend((0..200).map(|n| &*format!("member {n}").leak()));
    let plan = Plan::of(&names);
    let town = Town::with(vec![("a", plan.clone()), ("b", plan)]);
    *town.wires.customs.lock().unwrap() = Some(NEWER);
    for name in &names[2..] {
        town.wires.set(name, Health::Says(Reply::Done));
    }
    let groups = town.open(&Settings::default(), &Origin::numbered());
    let key = key(&groups[0], &["a"]);
    groups[0].remove(&key).await.unwrap();
    let mut told = told(&town);
    told.sort();
    let mut all: Vec<_> = names[1..].iter().map(|name| format!("remove {name}")).collect();
    all.sort();
    assert_eq!(told, all);
}

#[tokio::test(start_paused = true)]
async fn beside_native_peers_the_owner_alone_is_told() {
    let town = Town::of(&["a", "b", "c"]);
    let groups = town.open(&Settings::default(), &Origin::numbered());
    let key = key(&groups[0], &["b"]);
    for group in &groups {
        group.set(&key, "set").await.unwrap();
        group.remove(&key).await.unwrap();
    }
    assert_eq!(told(&town), ["set b", "remove b", "set b", "remove b"]);
}

#[tokio::test(start_paused = true)]
async fn an_owner_that_knows_no_ttl_of_the_groups_is_told_it_with_the_value() {
    for (customs, sent) in [(Customs::NATIVE, None), (NEWER, Some(A_MINUTE))] {
        let town = Town::of(&["a", "b"]);
        *town.wires.customs.lock().unwrap() = Some(customs);
        let settings = Settings { ttl: Some(A_MINUTE), ..Settings::default() };
        let groups = town.open(&settings, &Origin::numbered());
        let key = key(&groups[0], &["b"]);
        groups[0].set(&key, "set").await.unwrap();
        groups[0].set(&key, Loaded::from("set").ttl(A_SECOND)).await.unwrap();
        let ttls = town.wires.asked("b").into_iter().map(|what| match what {
            Request::Set { ttl, .. } => ttl,
            other => panic!("{other:?}"),
        });
        assert_eq!(ttls.collect::<Vec<_>>(), [sent, Some(A_SECOND)]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_group_with_a_ttl_beside_peers_that_drop_it_is_warned_of_once() {
    let older = Customs { tell_all: false, drops_ttl: Some("golang") };
    let with_ttl = || Settings { ttl: Some(A_MINUTE), ..Settings::default() };
    for (names, customs, settings, said) in [
        (&["a", "b"][..], older, with_ttl(), true),
        (&["a", "b"], older, Settings::default(), false),
        (&["a", "b"], NEWER, with_ttl(), false),
        (&["a", "b"], Customs::NATIVE, with_ttl(), false),
        // Nobody is beside it.
        (&["a"], older, with_ttl(), false),
    ] {
        let (warnings, _for_this_thread) = Warnings::heard();
        let town = Town::of(names);
        *town.wires.customs.lock().unwrap() = Some(customs);
        let node = &town.nodes[0];
        for name in ["one", "two"] {
            node.open(GroupName::new(name).unwrap(), settings.clone(), Origin::numbered()).unwrap();
        }
        assert_eq!(warnings.take(), Vec::from_iter(said.then(|| line("golang"))));
        // The peer port's is the same warning.
        node.around.peers.dropped_ttl().warn("golang");
        assert_eq!(warnings.take().len(), usize::from(!said));
    }
}
