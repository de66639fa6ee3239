//! Many keys in one call: order, duplicates and errors, as few requests as there are owners, and one load for each key.

use proptest::prelude::*;
use tokio::runtime::Builder;

use super::*;
use crate::error::KeyError;
use crate::units::ByteSize;

/// What `name` was asked for in requests of many keys, each request's keys sorted.
fn batches_of(town: &Town, name: &str) -> Vec<Vec<String>> {
    let keys = |what| match what {
        Request::GetMany { keys, .. } => Some(keys.iter().map(Key::to_string).collect::<Vec<_>>()),
        _ => None,
    };
    let mut batches: Vec<_> = town.wires.asked(name).into_iter().filter_map(keys).collect();
    batches.iter_mut().for_each(|batch| batch.sort());
    batches
}

fn values(got: &[Result<Value, GetError>]) -> Vec<String> {
    got.iter().map(|got| String::from_utf8_lossy(got.as_ref().unwrap()).into_owned()).collect()
}

fn values_of(keys: &[String]) -> Vec<String> {
    keys.iter().map(|key| value_of(key)).collect()
}

/// 1000 callers over the same 64 cold keys, half of them for one key, half for sixteen.
async fn a_thousand_callers(names: &[&'static str]) {
    let origin = Origin::taking(Duration::from_millis(50));
    let town = Town::of(names);
    let groups = town.open(&Settings::default(), &origin);
    let call = |n: usize| {
        let group = groups[n % groups.len()].clone();
        tokio::spawn(async move {
            let keys: Vec<_> = (0..16).map(|at| format!("key {}", (n * 5 + at * 3) % 64)).collect();
            if n.is_multiple_of(2) {
                assert_eq!(group.get(&keys[0]).await.unwrap(), &*value_of(&keys[0]));
            } else {
                assert_eq!(values(&group.get_many(&keys).await), values_of(&keys));
            }
        })
    };
    for caller in (0..1000).map(call).collect::<Vec<_>>() {
        caller.await.unwrap();
    }
    assert_eq!(origin.calls(), 64);
    assert!(town.nodes.iter().all(|node| node.stats().groups[0].flights == 0));
}

#[tokio::test(start_paused = true)]
async fn a_thousand_callers_of_one_or_of_sixteen_of_64_cold_keys_cost_64_loads() {
    a_thousand_callers(&["a"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_thousand_callers_on_three_nodes_of_one_or_of_sixteen_of_64_cold_keys_cost_64_loads() {
    a_thousand_callers(&["a", "b", "c"]).await;
}

#[tokio::test(start_paused = true)]
async fn each_owner_is_asked_once_for_all_of_its_keys_that_are_missing() {
    let town = Town::of(&["a", "b", "c"]);
    let groups = town.open(&Settings::default(), &Origin::prompt());
    let keys: Vec<_> = (0..300).map(|n| format!("key {n}")).collect();
    assert_eq!(values(&groups[0].get_many(&keys).await), values_of(&keys));
    let (b, c) = (batches_of(&town, "b"), batches_of(&town, "c"));
    assert_eq!((b.len(), c.len(), town.gets_of("b") + town.gets_of("c")), (1, 1, 0));
    assert!(b[0].len() > 50 && c[0].len() > 50, "each owns about a third");
    assert!(b[0].iter().all(|key| !c[0].contains(key)));
}

#[tokio::test(start_paused = true)]
async fn what_is_here_is_not_asked_for_and_a_key_that_is_missing_alone_goes_by_a_plain_get() {
    let origin = Origin::prompt();
    let town = Town::of(&["a", "b"]);
    let groups = town.open(&with_hot(Hot::Always), &origin);
    let theirs: Vec<_> = keys(&groups[0], &["b"]).take(3).collect();
    let ours: Vec<_> = keys(&groups[0], &["a"]).take(2).collect();
    groups[0].get_many(&[&theirs[..2], &ours].concat()).await;
    assert_eq!((batches_of(&town, "b").len(), town.gets_of("b"), origin.calls()), (1, 0, 4));
    // Mirrored and owned, all are here now but one.
    let all = [theirs, ours].concat();
    let got = groups[0].answer_many(&all, Ask::default()).await;
    let sources: Vec<_> = got.iter().map(|got| got.as_ref().unwrap().source).collect();
    assert_eq!(sources, [Source::Mirror, Source::Mirror, Source::Origin, Source::Memory, Source::Memory]);
    assert_eq!((batches_of(&town, "b").len(), town.gets_of("b"), origin.calls()), (1, 1, 5));
}

#[tokio::test(start_paused = true)]
async fn keys_that_fill_more_than_one_request_are_asked_for_in_several() {
    let limits = Limits { key: Limits::KEY_MAX, ..Limits::default() };
    // All keys are b's.
    let town = Town::as_planned(&["a", "b"], &Plan { limits, ..Plan::of(&["b"]) });
    let groups = town.open(&Settings::default(), &Origin::prompt());
    let keys: Vec<_> = (0..10).map(|n| format!("{n}{}", "x".repeat(16_000))).collect();
    // A key is shown by its beginning.
    let expected: Vec<_> = keys.iter().map(|key| value_of(&Key::from(&**key).to_string())).collect();
    assert_eq!(values(&groups[0].get_many(&keys).await), expected);
    let sizes: Vec<_> = batches_of(&town, "b").iter().map(Vec::len).collect();
    assert_eq!((sizes, town.gets_of("b")), (vec![4, 4, 2], 0));
}

#[tokio::test(start_paused = true)]
async fn more_keys_than_a_call_may_ask_for_are_each_refused_by_the_limit_and_nothing_is_asked() {
    let origin = Origin::prompt();
    let town = Town::of(&["a", "b"]);
    let groups = town.open(&Settings::default(), &origin);
    let keys: Vec<_> = (0..=Limits::KEYS_MAX).map(|n| n.to_string()).collect();
    let got = groups[0].get_many(&keys).await;
    assert_eq!(got.len(), 16_385);
    for got in got {
        let Err(GetError::Key(error @ KeyError::TooMany { .. })) = got else { panic!("{got:?}") };
        assert_eq!(error.to_string(), "16385 keys in one call are over the limit of 16384");
    }
    assert_eq!(groups[0].stats().refusals.get(Refusal::Key), 1);
    assert_eq!((origin.calls(), groups[0].stats().gets), (0, 0));
    assert_eq!(groups[0].get_many(&keys[1..]).await.iter().filter(|got| got.is_ok()).count(), 16_384);
    // A peer that asks for more is told the same.
    let keys = keys.iter().map(|key| Key::from(&**key)).collect();
    let what = Request::GetMany { group: scores(), keys, stand_in: false, cached_only: false };
    assert!(matches!(town.nodes[1].answer(what).await, Reply::TooLarge(_)));
}

#[tokio::test(start_paused = true)]
async fn no_keys_are_no_answers() {
    let town = Town::of(&["a", "b"]);
    let groups = town.open(&Settings::default(), &Origin::prompt());
    assert!(groups[0].get_many::<&str>(&[]).await.is_empty());
    assert_eq!(groups[0].stats().gets, 0);
}

#[tokio::test(start_paused = true)]
async fn the_keys_of_a_dead_owner_go_to_their_stand_ins_together_and_are_kept_there() {
    let origin = Origin::prompt();
    let town = Town::of(&["a", "b", "c"]);
    let groups = town.open(&Settings::default(), &origin);
    town.wires.set("b", Health::Down);
    let at_c: Vec<_> = keys(&groups[0], &["b", "c"]).take(5).collect();
    let at_a: Vec<_> = keys(&groups[0], &["b", "a"]).take(5).collect();
    let all = [at_a, at_c.clone()].concat();
    assert_eq!(values(&groups[0].get_many(&all).await), values_of(&all));
    assert_eq!((origin.calls(), town.gets_of("c")), (10, 0));
    let mut expected = at_c.clone();
    expected.sort();
    assert_eq!(batches_of(&town, "c"), [expected]);
    assert_eq!(groups[0].stats().stand_ins, 10);
    // Both stand-ins have kept what they loaded.
    assert_eq!(values(&groups[0].get_many(&all).await), values_of(&all));
    assert_eq!(values(&groups[2].get_many(&at_c).await), values_of(&at_c));
    assert_eq!(origin.calls(), 10);
}

#[tokio::test(start_paused = true)]
async fn where_owner_and_stand_in_are_dead_the_keys_are_loaded_here() {
    let origin = Origin::prompt();
    let town = Town::of(&["a", "b", "c"]);
    let groups = town.open(&Settings::default(), &origin);
    town.wires.set("b", Health::Down);
    town.wires.set("c", Health::Breaks);
    let keys: Vec<_> = (0..60).map(|n| format!("key {n}")).collect();
    assert_eq!(values(&groups[0].get_many(&keys).await), values_of(&keys));
    assert_eq!(origin.calls(), 60);
}

#[tokio::test(start_paused = true)]
async fn a_peer_without_the_question_is_asked_for_one_key_after_the_other_a_few_at_a_time() {
    for older in [false, true] {
        let origin = Origin::taking(Duration::from_millis(10));
        let town = Town::of(&["a", "b"]);
        let groups = town.open(&Settings::default(), &origin);
        if older {
            // It reads the path as one that names no entry.
            town.wires.set("b", Health::KnowsOneKey);
        } else {
            town.wires.gets_alone.store(true, Ordering::Relaxed);
        }
        let theirs: Vec<_> = keys(&groups[0], &["b"]).take(100).collect();
        assert_eq!(values(&groups[0].get_many(&theirs).await), values_of(&theirs));
        assert_eq!((town.gets_of("b"), origin.calls(), origin.most()), (100, 100, 16));
        assert_eq!(batches_of(&town, "b").len(), usize::from(older));
        let asked = groups[0].shared.around.peers.asked(&member("b"));
        assert_eq!(asked.requests, 100 + u64::from(older), "what there are no words for is not asked");
        assert_eq!(groups[0].stats().fetches.total(), 100);
    }
}

#[tokio::test(start_paused = true)]
async fn a_reply_of_another_number_of_answers_is_none_and_the_stand_in_is_asked() {
    for replies in [0, 1, 3] {
        let origin = Origin::prompt();
        let town = Town::of(&["a", "b"]);
        let groups = town.open(&Settings::default(), &origin);
        town.wires.set("b", Health::Says(Reply::Many(vec![Reply::NotFound; replies])));
        let theirs: Vec<_> = keys(&groups[0], &["b"]).take(2).collect();
        assert_eq!(values(&groups[0].get_many(&theirs).await), values_of(&theirs));
        assert_eq!(groups[0].stats().fetches.get(crate::stats::FetchOutcome::Unreachable), 2);
    }
    // Nothing but keys left out would never end.
    let town = Town::of(&["a", "b"]);
    let groups = town.open(&Settings::default(), &Origin::prompt());
    town.wires.set("b", Health::Says(Reply::Many(vec![Reply::LeftOut; 2])));
    let theirs: Vec<_> = keys(&groups[0], &["b"]).take(2).collect();
    assert_eq!(values(&groups[0].get_many(&theirs).await), values_of(&theirs));
}

#[tokio::test(start_paused = true)]
async fn values_that_no_answer_can_hold_together_come_in_several_and_cost_one_load_each() {
    let origin = Origin::new(|key, _| async move { Ok(Some(Loaded::from(key.to_string().repeat(8)))) });
    let limits = Limits { value: ByteSize::bytes(100), ..Limits::default() };
    let town = Town::as_planned(&["a", "b"], &Plan { limits, ..Plan::of(&["a", "b"]) });
    let groups = town.open(&Settings::default(), &origin);
    let theirs: Vec<_> = keys(&groups[0], &["b"]).filter(|key| key.len() == 6).take(9).collect();
    // Two of 48 bytes each; from memory, and loaded for it.
    groups[1].get_many(&theirs[..4]).await;
    let before = (groups[1].stats().gets, origin.calls());
    let expected: Vec<_> = theirs.iter().map(|key| key.repeat(8)).collect();
    assert_eq!(values(&groups[0].get_many(&theirs).await), expected);
    assert_eq!((before, origin.calls()), ((4, 4), 9));
    let sizes: Vec<_> = batches_of(&town, "b").iter().map(Vec::len).collect();
    assert_eq!((sizes[0], sizes[1], sizes[2]), (9, 7, 5));
    assert_eq!(groups[0].stats().fetches.get(crate::stats::FetchOutcome::Found), 9);
}

#[tokio::test(start_paused = true)]
async fn each_key_is_counted_as_one_get_would_be() {
    let town = Town::of(&["a", "b"]);
    let groups = town.open(&Settings::default(), &Origin::taking(A_SECOND));
    let ours: Vec<_> = keys(&groups[0], &["a"]).take(3).collect();
    let theirs: Vec<_> = keys(&groups[0], &["b"]).take(3).collect();
    groups[0].get_many(&ours[..1]).await;
    // One hit; of ours two loads and one share; of theirs three fetches; and one key that no node takes.
    let mut asked = [ours.clone(), theirs.clone()].concat();
    asked.extend([ours[1].clone(), String::new()]);
    let got = groups[0].get_many(&asked).await;
    assert!(matches!(got[7], Err(GetError::Key(KeyError::Empty))));
    let here = groups[0].stats();
    assert_eq!((here.gets, here.hits.total(), here.shares), (8, 1, 1));
    assert_eq!((here.loads.total(), here.fetches.total(), here.refusals.get(Refusal::Key)), (3, 3, 1));
    let there = groups[1].stats();
    assert_eq!((there.gets, there.hits.total(), there.loads.total(), there.shares), (3, 0, 3, 0));
}

#[tokio::test(start_paused = true)]
async fn at_the_deadline_those_that_have_landed_are_told_and_the_others_go_on() {
    let origin = Origin::new(|key, _| async move {
        clock::sleep(if key == Key::from("slow") { A_SECOND * 5 } else { A_SECOND }).await;
        Ok(Some(Loaded::from(value_of(&key.to_string()))))
    });
    let town = Town::of(&["a"]);
    let groups = town.open(&Settings::default(), &origin);
    let got = groups[0].answer_many(&["slow", "Tom"], Ask::default().within(A_SECOND * 2)).await;
    assert!(matches!(&got[0], Err(GetError::Deadline { waited, .. }) if *waited == A_SECOND * 2), "{got:?}");
    assert_eq!(got[1].as_ref().unwrap().value, "value of Tom");
    assert_eq!(groups[0].get("slow").await.unwrap(), "value of slow");
    assert_eq!(origin.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn memory_alone_is_asked_here_and_at_the_owners_and_nothing_is_loaded() {
    let origin = Origin::prompt();
    let town = Town::of(&["a", "b", "c"]);
    let groups = town.open(&Settings::default(), &origin);
    let all: Vec<_> = (0..30).map(|n| format!("key {n}")).collect();
    groups[1].get_many(&all[..10]).await;
    let asked = town.wires.asked("b").len();
    let got = groups[0].answer_many(&all, Ask::default().cached_only()).await;
    for (key, got) in all.iter().zip(&got).take(10) {
        assert_eq!(got.as_ref().unwrap().value, &*value_of(key));
    }
    assert!(got[10..].iter().all(|got| matches!(got, Err(GetError::NotCached { .. }))), "{got:?}");
    assert_eq!((origin.calls(), town.wires.asked("b").len() - asked), (10, 1));
    // An owner that is away holds nothing that could be had, and one that cannot be asked so neither.
    town.wires.set("b", Health::Down);
    town.wires.set("c", Health::Says(Reply::Unsupported));
    let got = groups[0].answer_many(&all[10..], Ask::default().cached_only()).await;
    assert!(got.iter().all(|got| matches!(got, Err(GetError::NotCached { .. }))), "{got:?}");
    town.wires.set("b", Health::Hangs);
    let theirs: Vec<_> = keys(&groups[0], &["b"]).take(2).collect();
    let got = groups[0].answer_many(&theirs, Ask::default().cached_only()).await;
    assert!(got.iter().all(|got| matches!(got, Err(GetError::Deadline { .. } | GetError::NotCached { .. }))));
}

#[tokio::test(start_paused = true)]
async fn a_node_that_leaves_answers_from_memory_and_refuses_the_rest() {
    let town = Town::of(&["a", "b"]);
    let groups = town.open(&Settings::default(), &Origin::prompt());
    let ours: Vec<_> = keys(&groups[0], &["a"]).take(3).collect();
    let theirs: Vec<_> = keys(&groups[0], &["b"]).take(2).collect();
    let first = ours[0].clone();
    groups[0].get(&first).await.unwrap();
    town.nodes[0].start_leaving();
    let got = groups[0].get_many(&[ours, theirs].concat()).await;
    assert_eq!(*got[0].as_ref().unwrap(), &*value_of(&first));
    assert!(got[1..].iter().all(|got| matches!(got, Err(GetError::Leaving))), "{got:?}");
}

/// What a key is to the origin of the model: its last letter decides.
fn modelled(key: &str) -> Result<String, &'static str> {
    match key.as_bytes() {
        [] => Err("key is required"),
        [.., b'n'] => Err("has no key"),
        [.., b'f'] => Err("failed"),
        [.., b'l'] => Err("over the limit"),
        _ => Ok(value_of(key)),
    }
}

fn model_origin() -> Arc<Origin> {
    Origin::new(|key, _| async move {
        clock::sleep(Duration::from_millis(key.as_bytes().len() as u64)).await;
        match modelled(&key.to_string()) {
            Ok(value) => Ok(Some(Loaded::from(value))),
            Err("has no key") => Ok(None),
            Err(why) => Err(why.into()),
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// Whatever is asked, and in whatever order, each key is answered as it would be alone.
    #[test]
    fn every_key_is_answered_in_its_place_as_it_would_be_alone(
        calls in prop::collection::vec((0..3usize, prop::collection::vec("|[a-c]{1,2}[vnf]|x{120}l", 0..40)), 1..6),
        down in prop::option::of(1..3usize),
    ) {
        let runtime = Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let limits = Limits { key: ByteSize::bytes(100), ..Limits::default() };
            let town = Town::as_planned(&["a", "b", "c"], &Plan { limits, ..Plan::of(&["a", "b", "c"]) });
            let groups = town.open(&Settings::default(), &model_origin());
            if let Some(down) = down {
                town.wires.set(["a", "b", "c"][down], Health::Down);
            }
            for (at, keys) in calls {
                let got = groups[at].get_many(&keys).await;
                prop_assert_eq!(got.len(), keys.len());
                for (key, got) in keys.iter().zip(got) {
                    match (modelled(key), got) {
                        (Ok(value), Ok(got)) => prop_assert_eq!(&*got, value.as_bytes()),
                        (Err(why), Err(error)) => {
                            let line = with_causes(&error);
                            prop_assert!(line.contains(why), "{key:?}: {line}");
                        }
                        (expected, got) => prop_assert!(false, "{key:?}: {expected:?}, {got:?}"),
                    }
                }
            }
            prop_assert!(groups.iter().all(|group| group.flying() == 0));
            Ok(())
        })?;
    }
}

#[tokio::test(start_paused = true)]
async fn hits_are_those_of_each_key_alone_and_counted_as_they_are() {
    let town = Town::of(&["a", "b", "c"]);
    let groups = town.open(&Settings::default(), &Origin::prompt());
    let keys: Vec<_> = (0..100).map(|n| format!("key {}", n % 90)).chain([String::new()]).collect();
    assert!(groups[0].hits(&keys).iter().take(100).all(|found| *found == Ok(None)));
    groups[0].get_many(&keys[..50]).await;
    let gets = || (0..3).map(|node| town.nodes[node].stats().groups[0].gets).collect::<Vec<_>>();
    for (node, group) in groups.iter().enumerate() {
        let before = gets();
        let alone: Vec<_> = keys.iter().map(|key| group.hit(key)).collect();
        let between = gets();
        assert_eq!(group.hits(&keys), alone);
        assert_eq!(alone.last(), Some(&Err(KeyError::Empty)));
        let found = alone.iter().filter(|found| matches!(found, Ok(Some(_)))).count() as u64;
        assert!(found > 5, "each owns about a third");
        assert_eq!((between[node] - before[node], gets()[node] - between[node]), (found, found));
    }
}

#[tokio::test(start_paused = true)]
async fn a_value_that_was_mirrored_since_its_key_was_looked_for_is_not_fetched_again() {
    let town = Town::of(&["a", "b"]);
    let group = &town.open(&with_hot(Hot::Always), &Origin::prompt())[0];
    let keys: Vec<String> = keys(group, &["b", "a"]).take(2).collect();
    let mirrored = group.shared.store.mirrored();
    // Looked for, and not found; then another caller's fetch lands, before this one takes off.
    assert!(keys.iter().all(|key| group.hit(key).unwrap().is_none()));
    assert_eq!(group.get(&keys[0]).await.unwrap(), &*value_of(&keys[0]));
    assert_ne!(group.shared.store.mirrored(), mirrored);
    let asked = town.gets_of("b");
    let claims = group.shared.fetches.claim_many(&keys);
    for errand in group.fetch_errands(claims.led, mirrored) {
        errand.await;
    }
    for (key, mut wait) in keys.iter().zip(claims.waits) {
        let landed = group.landing(wait.flown().await).unwrap();
        assert_eq!(
            (landed.source == Source::Mirror, &*landed.value),
            (*key == keys[0], value_of(key).as_bytes())
        );
    }
    assert_eq!(town.gets_of("b"), asked + 1, "the other key alone");
}
