//! Hot keys: which fetched values are mirrored, for how long, and in how much memory.

use super::*;
use crate::stats::Region;
use crate::units::ByteSize;

/// Two nodes, and a key that the second owns.
fn two(settings: &Settings, origin: &Arc<Origin>) -> (Town, Vec<Group>, String) {
    let town = Town::of(&["a", "b"]);
    let groups = town.open(settings, origin);
    let key = key(&groups[0], &["b", "a"]);
    (town, groups, key)
}

async fn source(group: &Group, key: &str) -> Source {
    group.answer(key, Ask::default()).await.unwrap().source
}

#[tokio::test(start_paused = true)]
async fn a_key_fetched_a_hundred_times_in_a_minute_is_mirrored() {
    let (town, groups, key) = two(&Settings::default(), &Origin::prompt());
    assert_eq!(source(&groups[0], &key).await, Source::Origin);
    for _ in 2..=100 {
        assert_eq!(groups[0].stats().mirrors, 0);
        assert_eq!(source(&groups[0], &key).await, Source::Owner);
    }
    assert_eq!((groups[0].stats().mirrors, town.gets_of("b")), (1, 100));
    assert_eq!(source(&groups[0], &key).await, Source::Mirror);
    assert_eq!(town.gets_of("b"), 100);
}

#[tokio::test(start_paused = true)]
async fn ninety_nine_fetches_in_a_minute_and_as_many_in_a_later_one_do_not_make_a_key_hot() {
    let (town, groups, key) = two(&Settings::default(), &Origin::prompt());
    for _ in 0..3 {
        for _ in 0..99 {
            assert_ne!(source(&groups[0], &key).await, Source::Mirror);
        }
        town.pass(2 * A_MINUTE);
    }
    assert_eq!((groups[0].stats().mirrors, town.gets_of("b")), (0, 3 * 99));
}

#[tokio::test(start_paused = true)]
async fn callers_that_share_one_fetch_show_how_hot_the_key_is() {
    let (town, groups, key) = two(&Settings::default(), &Origin::taking(A_SECOND));
    let callers: Vec<_> = (0..500)
        .map(|_| {
            let (group, key) = (groups[0].clone(), key.clone());
            tokio::spawn(async move { group.get(key).await })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap().unwrap();
    }
    assert_eq!((groups[0].stats().mirrors, town.gets_of("b")), (1, 1));
    assert_eq!(source(&groups[0], &key).await, Source::Mirror);
}

#[tokio::test(start_paused = true)]
async fn always_mirrors_the_first_fetch_and_off_none() {
    let (_town, groups, key) = two(&with_hot(Hot::Always), &Origin::prompt());
    assert_eq!(source(&groups[0], &key).await, Source::Origin);
    assert_eq!(source(&groups[0], &key).await, Source::Mirror);

    let (_town, groups, key) = two(&with_hot(Hot::Off), &Origin::prompt());
    assert_eq!(source(&groups[0], &key).await, Source::Origin);
    for _ in 0..200 {
        assert_eq!(source(&groups[0], &key).await, Source::Owner);
    }
}

#[tokio::test(start_paused = true)]
async fn a_mirror_lives_for_a_minute() {
    let (town, groups, key) = two(&with_hot(Hot::Always), &Origin::prompt());
    source(&groups[0], &key).await;
    town.pass(A_MINUTE - Duration::from_millis(1));
    assert_eq!(source(&groups[0], &key).await, Source::Mirror);
    town.pass(Duration::from_millis(1));
    assert_eq!(source(&groups[0], &key).await, Source::Owner);
}

#[tokio::test(start_paused = true)]
async fn a_mirror_does_not_outlive_what_is_left_of_its_ttl() {
    let settings = Settings { ttl: Some(Duration::from_secs(10)), ..with_hot(Hot::Always) };
    let origin = Origin::prompt();
    let (town, groups, key) = two(&settings, &origin);
    assert_eq!(source(&groups[1], &key).await, Source::Origin);
    town.pass(Duration::from_secs(9));
    assert_eq!(source(&groups[0], &key).await, Source::Owner);
    town.pass(Duration::from_millis(999));
    assert_eq!(source(&groups[0], &key).await, Source::Mirror);
    town.pass(Duration::from_millis(1));
    assert_eq!((source(&groups[0], &key).await, origin.calls()), (Source::Origin, 2));
}

#[tokio::test(start_paused = true)]
async fn mirrors_weigh_at_most_an_eighth_of_the_capacity_and_leave_owned_entries_alone() {
    let settings = Settings { capacity: ByteSize::kib(64), ..with_hot(Hot::Always) };
    let origin = Origin::new(|_, _| async { Ok(Some(Loaded::from(vec![b'x'; 100]))) });
    let (_town, groups, _) = two(&settings, &origin);
    let own: Vec<_> = keys(&groups[0], &["a"]).take(50).collect();
    for key in &own {
        groups[0].get(key).await.unwrap();
    }
    let owned = groups[0].stats().weight_bytes.get(Region::Owned);
    for key in keys(&groups[0], &["b"]).take(1000) {
        groups[0].get(key).await.unwrap();
        let weight = groups[0].stats().weight_bytes;
        assert!(weight.get(Region::Mirrors) <= 8 << 10);
        assert_eq!(weight.get(Region::Owned), owned);
    }
    let mirrors = groups[0].stats().weight_bytes.get(Region::Mirrors);
    assert!(mirrors > 7 << 10, "{mirrors} bytes: the share is used");
    for key in &own {
        assert_eq!(source(&groups[0], key).await, Source::Memory);
    }
}

#[tokio::test(start_paused = true)]
async fn a_group_without_capacity_keeps_nothing_and_still_answers() {
    let settings = Settings { capacity: ByteSize::bytes(0), ..with_hot(Hot::Always) };
    let origin = Origin::prompt();
    let (_town, groups, key) = two(&settings, &origin);
    for loads in 1..=3 {
        for group in &groups {
            assert_eq!(group.get(&key).await.unwrap(), &*value_of(&key));
        }
        assert_eq!(origin.calls(), 2 * loads);
    }
    groups[0].set(&key, "8").await.unwrap();
    assert_eq!(groups[1].get(&key).await.unwrap(), &*value_of(&key));
    assert!(groups.iter().all(|group| group.stats().weight_bytes.total() == 0));
}

#[tokio::test(start_paused = true)]
async fn the_owner_says_how_often_it_is_asked_for_a_key() {
    let (town, _groups, key) = two(&Settings::default(), &Origin::prompt());
    let get = || {
        let key = Key::from(key.as_str());
        town.nodes[1].answer(Request::Get { group: scores(), key, stand_in: false, cached_only: false })
    };
    for asked in 1..=120 {
        let Reply::Found(found) = get().await else { panic!("not found") };
        let expected = f64::from(asked) / 60.0;
        assert!((found.minute_qps.unwrap() - expected).abs() < 1e-9);
    }
}
