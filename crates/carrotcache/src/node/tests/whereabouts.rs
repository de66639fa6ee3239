//! Looking for a key over the whole cluster: who is asked, what is told, and that nothing changes by it.

use super::*;
use crate::policy::Policy;
use crate::stats::{EvictionCause, Region};
use crate::units::ByteSize;
use crate::whereabouts::AtMember;

/// Rank, name, and what is told.
fn told(at: &AtMember) -> (Option<usize>, &str, String) {
    let held = match &at.held {
        Ok(Some(holding)) => format!("{} {}", holding.region.as_str(), holding.value_bytes),
        Ok(None) => "nothing".to_owned(),
        Err(error) => error.to_string(),
    };
    (at.rank, &at.member.name, held)
}

async fn look(group: &Group, key: &str) -> Vec<AtMember> {
    group.whereabouts(key).await.unwrap().members
}

/// Whether that node holds anything of the key.
async fn is_held_at(group: &Group, key: &str, name: &str) -> bool {
    let members = look(group, key).await;
    let at = members.iter().find(|at| *at.member.name == *name).unwrap();
    at.held.as_ref().unwrap().is_some()
}

#[tokio::test(start_paused = true)]
async fn each_member_says_what_it_holds_by_rank_and_then_in_the_views_order() {
    let town = Town::of(&["a", "b", "c", "d", "e"]);
    let groups = town.open(&with_hot(Hot::Always), &Origin::prompt());
    let key = key(&groups[0], &["d", "b"]);
    let ttl = Some(Duration::from_secs(90));
    groups[1].set(&key, Loaded { value: "630".into(), ttl }).await.unwrap();
    groups[0].get(&key).await.unwrap();
    town.pass(Duration::from_secs(20));
    for (looking, group) in ["a", "b", "c", "d", "e"].iter().zip(&groups) {
        let members = look(group, &key).await;
        let [owner, stand_in, ..] = &members[..] else { panic!("{members:?}") };
        assert_eq!(told(owner), (Some(0), "d", "owned 3".to_owned()));
        assert_eq!(told(stand_in), (Some(1), "b", "nothing".to_owned()));
        let ranks: Vec<_> = members.iter().map(|at| at.rank).collect();
        assert_eq!(ranks, [Some(0), Some(1), Some(2), None, None]);
        assert!(members[3].member.name < members[4].member.name);
        let selves: Vec<_> = members.iter().filter(|at| at.is_self).map(|at| &*at.member.name).collect();
        assert_eq!(selves, [*looking]);
        for at in &members {
            let Ok(Some(holding)) = &at.held else { continue };
            // The mirror's minute is shorter than the owner's ttl.
            let left = if holding.region == Region::Owned { 70 } else { 40 };
            assert_eq!(
                (holding.age, holding.ttl),
                (Duration::from_secs(20), Some(Duration::from_secs(left)))
            );
            assert!((3..300).contains(&holding.weight_bytes), "{holding:?}");
        }
        let holders: Vec<_> = members.iter().filter(|at| matches!(at.held, Ok(Some(_)))).collect();
        assert_eq!(holders.len(), 2);
        assert!(holders.iter().any(|at| told(at).1 == "a" && told(at).2 == "mirrors 3"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_member_that_cannot_say_costs_a_second_at_most_and_the_others_are_told_all_the_same() {
    let town = Town::of(&["a", "b", "c", "d", "e", "f", "g"]);
    let groups = town.open(&Settings::default(), &Origin::prompt());
    let key = key(&groups[0], &["a"]);
    groups[0].get(&key).await.unwrap();
    for (name, health) in [
        ("b", Health::Down),
        ("c", Health::Hangs),
        ("d", Health::Says(Reply::Unsupported)),
        ("e", Health::Says(Reply::NoGroup)),
        ("f", Health::Breaks),
    ] {
        town.wires.set(name, health);
    }
    let began = tokio::time::Instant::now();
    let members = look(&groups[0], &key).await;
    assert_eq!(began.elapsed(), A_SECOND, "all were asked at once");
    for (name, said) in [
        ("a", "owned"),
        ("b", "cannot connect: nobody listens"),
        ("c", "no reply within 1s"),
        ("d", "refused: unsupported"),
        ("e", "refused: no such group"),
        ("f", "broken reply: no byte of a reply"),
        ("g", "nothing"),
    ] {
        let at = members.iter().find(|at| *at.member.name == *name).unwrap();
        assert!(told(at).2.starts_with(said), "{name}: {at:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn looking_changes_no_number_no_rate_and_no_peers_health() {
    let town = Town::of(&["a", "b", "c"]);
    let groups = town.open(&Settings::default(), &Origin::prompt());
    let key = key(&groups[0], &["b", "c"]);
    groups[1].get(&key).await.unwrap();
    town.wires.set("c", Health::Down);
    let numbers = || {
        let numbers = |node: &Arc<Node>| format!("{:?} {:?}", node.stats(), node.peers());
        town.nodes.iter().map(numbers).collect::<Vec<_>>()
    };
    let before = numbers();
    for _ in 0..200 {
        for group in &groups {
            look(group, &key).await;
        }
    }
    assert_eq!(numbers(), before);
    assert_eq!(town.wires.asked("b").len(), 400, "each looked at its peers, and the owner at its own memory");
    // The first request that counts, at the owner; and for the one who fetches the key is as cold as ever.
    assert!((groups[1].minute_qps(key.as_bytes()) * 60.0 - 1.0).abs() < 1e-9);
    let answer = groups[0].answer(&key, Ask::default()).await.unwrap();
    assert_eq!((answer.source, groups[0].stats().mirrors), (Source::Owner, 0));
}

#[tokio::test(start_paused = true)]
async fn an_entry_that_is_looked_at_is_evicted_as_if_nobody_had() {
    let town = Town::of(&["a"]);
    let settings = Settings { capacity: ByteSize::bytes(1000), policy: Policy::Lru, ..Settings::default() };
    let group = open(&town.nodes[0], &settings, &Origin::prompt());
    let evicted = || group.stats().evictions.get(EvictionCause::Room);
    let mut next = 0;
    let mut set_one = async || {
        group.set(format!("key {next}"), "630").await.unwrap();
        next += 1;
    };
    while evicted() == 0 {
        set_one().await;
    }
    // The oldest has gone for the last one's room; now `key 1` is the oldest.
    assert!(!is_held_at(&group, "key 0", "a").await && is_held_at(&group, "key 1", "a").await);
    set_one().await;
    assert!(!is_held_at(&group, "key 1", "a").await, "it was looked at, and has gone all the same");
    group.get("key 2").await.unwrap();
    set_one().await;
    assert!(is_held_at(&group, "key 2", "a").await, "it was used, so the next one went");
    assert!(!is_held_at(&group, "key 3", "a").await);
}

#[tokio::test(start_paused = true)]
async fn an_entry_past_its_ttl_is_not_held() {
    let town = Town::of(&["a"]);
    let settings = Settings { ttl: Some(A_MINUTE), ..Settings::default() };
    let group = open(&town.nodes[0], &settings, &Origin::prompt());
    group.get("Tom").await.unwrap();
    assert!(is_held_at(&group, "Tom", "a").await);
    town.pass(A_MINUTE);
    assert!(!is_held_at(&group, "Tom", "a").await);
    assert!(matches!(group.whereabouts("").await, Err(KeyError::Empty)));
}

#[tokio::test(start_paused = true)]
async fn a_group_that_is_not_open_is_no_group() {
    let town = Town::of(&["a"]);
    let held = Request::Held { group: scores(), key: Key::from("Tom") };
    assert!(matches!(town.nodes[0].answer(held).await, Reply::NoGroup));
}
