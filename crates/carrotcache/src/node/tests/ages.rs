//! Ages and times to live: relative on the wire, exact at their ends, and right between clocks that agree on nothing.

use super::*;

/// Two nodes with clocks of their own, and a key that the second owns.
fn two_clocks(settings: &Settings, origin: &Arc<Origin>) -> (Town, Vec<Group>, String) {
    let names = ["a", "b"];
    let town = Town::with(names.iter().map(|name| (*name, Plan::of(&names))).collect());
    let groups = town.open(settings, origin);
    let key = key(&groups[0], &["b", "a"]);
    (town, groups, key)
}

/// A node that is alone, with a group of this ttl.
fn alone(ttl: Option<Duration>, origin: &Arc<Origin>) -> (Town, Group) {
    let town = Town::of(&["a"]);
    let group = open(&town.nodes[0], &Settings { ttl, ..Settings::default() }, origin);
    (town, group)
}

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

async fn answer(group: &Group, key: &str) -> Answer {
    group.answer(key, Ask::default()).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn an_age_is_counted_from_the_load_also_by_a_clock_that_has_not_run_as_long() {
    let (town, groups, key) = two_clocks(&with_hot(Hot::Always), &Origin::prompt());
    let [a, b] = [0, 1].map(|n| town.nodes[n].around.clock.clone());
    for ahead in [secs(0), secs(1_000_000)] {
        b.advance(ahead);
        groups[1].remove(&key).await.unwrap();
        assert_eq!(answer(&groups[1], &key).await.age, secs(0));
        b.advance(secs(30));
        assert_eq!(answer(&groups[1], &key).await.age, secs(30));
        let fetched = answer(&groups[0], &key).await;
        assert_eq!((fetched.source, fetched.age), (Source::Owner, secs(30)));
        a.advance(secs(5));
        let mirrored = answer(&groups[0], &key).await;
        assert_eq!((mirrored.source, mirrored.age), (Source::Mirror, secs(35)));
        a.advance(A_MINUTE);
    }
}

#[tokio::test(start_paused = true)]
async fn an_age_and_a_ttl_beyond_all_reckoning_are_borne() {
    let (town, groups, key) = two_clocks(&with_hot(Hot::Always), &Origin::prompt());
    let found = Found {
        value: Bytes::from_static(b"630").into(),
        ttl: Some(Duration::MAX),
        age: Duration::MAX,
        loaded: false,
        node: "".into(),
        minute_qps: None,
        view: None,
    };
    town.wires.set("b", Health::Says(Reply::Found(found)));
    assert_eq!(answer(&groups[0], &key).await.node, "b".into(), "a row that cannot say is spoken for");
    town.pass(secs(1));
    let mirrored = answer(&groups[0], &key).await;
    assert_eq!(mirrored.source, Source::Mirror);
    assert!(mirrored.age > secs(1 << 40));
    assert_eq!(mirrored.ttl, Some(secs(59)));
}

#[tokio::test(start_paused = true)]
async fn settings_and_wishes_beyond_all_reckoning_mean_without_end() {
    let town = Town::of(&["a", "b"]);
    let settings = Settings { ttl: Some(Duration::MAX), load_deadline: Duration::MAX, ..Settings::default() };
    let groups = town.open(&settings, &Origin::prompt());
    for ranked in [["a", "b"], ["b", "a"]] {
        let key = key(&groups[0], &ranked);
        assert_eq!(groups[0].get(&key).await.unwrap(), &*value_of(&key));
        let patient = Ask::default().within(Duration::MAX).cached_only();
        assert_eq!(groups[0].answer(&key, patient).await.unwrap().value, &*value_of(&key));
        groups[0].set(&key, Loaded::from("8").ttl(Duration::MAX)).await.unwrap();
        assert_eq!(groups[0].get(&key).await.unwrap(), "8");
    }
}

#[tokio::test(start_paused = true)]
async fn a_value_is_served_until_just_before_its_ttl_ends() {
    let origin = Origin::numbered();
    let (town, group) = alone(Some(secs(10)), &origin);
    for load in ["1", "2", "3"] {
        assert_eq!(answer(&group, "Tom").await.source, Source::Origin);
        town.pass(secs(10) - Duration::from_millis(1));
        let last = answer(&group, "Tom").await;
        assert_eq!((last.value, last.source), (Bytes::from(load).into(), Source::Memory));
        assert_eq!((last.age, last.ttl), (Duration::from_millis(9_999), Some(Duration::from_millis(1))));
        town.pass(Duration::from_millis(1));
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_left_of_a_ttl_travels_and_not_a_moment_of_some_clock() {
    let settings = Settings { ttl: Some(secs(10)), ..with_hot(Hot::Always) };
    let origin = Origin::prompt();
    let (town, groups, key) = two_clocks(&settings, &origin);
    let [a, b] = [0, 1].map(|n| town.nodes[n].around.clock.clone());
    a.advance(secs(1_000));
    answer(&groups[1], &key).await;
    b.advance(secs(3));
    assert_eq!(answer(&groups[0], &key).await.ttl, Some(secs(7)));
    a.advance(secs(2));
    assert_eq!(answer(&groups[0], &key).await.ttl, Some(secs(5)));
    a.advance(secs(5));
    assert_eq!(answer(&groups[0], &key).await.source, Source::Owner);
    assert_eq!(origin.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_ttl_of_a_value_goes_before_that_of_its_group() {
    let ttls = [(None, secs(5)), (Some(secs(1)), secs(5)), (Some(secs(60)), secs(5))];
    for (of_group, of_value) in ttls {
        let origin =
            Origin::new(move |_, call| async move { Ok(Some(Loaded::from(call.to_string()).ttl(of_value))) });
        let (town, group) = alone(of_group, &origin);
        assert_eq!(answer(&group, "Tom").await.ttl, Some(of_value));
        town.pass(secs(5) - Duration::from_millis(1));
        assert_eq!(group.get("Tom").await.unwrap(), "1");
        town.pass(Duration::from_millis(1));
        assert_eq!(group.get("Tom").await.unwrap(), "2");
        group.set("Tom", Loaded::from("set").ttl(secs(2))).await.unwrap();
        town.pass(secs(2) - Duration::from_millis(1));
        assert_eq!(group.get("Tom").await.unwrap(), "set");
        town.pass(Duration::from_millis(1));
        assert_eq!(group.get("Tom").await.unwrap(), "3");
    }
}

#[tokio::test(start_paused = true)]
async fn a_value_without_time_to_live_is_handed_on_and_kept_nowhere() {
    let origin =
        Origin::new(|_, call| async move { Ok(Some(Loaded::from(call.to_string()).ttl(Duration::ZERO))) });
    let (_town, groups, key) = two_clocks(&with_hot(Hot::Always), &origin);
    for load in ["1", "2", "3"] {
        assert_eq!(groups[0].get(&key).await.unwrap(), load);
    }
    assert!(groups.iter().all(|group| group.stats().weight_bytes.total() == 0));
}

#[tokio::test(start_paused = true)]
async fn a_value_without_a_ttl_is_kept_without_end() {
    let origin = Origin::numbered();
    let (town, group) = alone(None, &origin);
    assert_eq!(answer(&group, "Tom").await.ttl, None);
    town.pass(secs(100 * 365 * 86_400));
    let old = answer(&group, "Tom").await;
    assert_eq!((old.source, old.age), (Source::Memory, secs(100 * 365 * 86_400)));
}

#[tokio::test(start_paused = true)]
async fn the_time_that_a_reply_took_comes_off_the_ttl_of_a_mirror_and_onto_the_age_of_what_was_in_memory() {
    let (town, groups, key) = two_clocks(&with_hot(Hot::Always), &Origin::prompt());
    let a = town.nodes[0].around.clock.clone();
    let mut found = Found {
        value: Bytes::from_static(b"630").into(),
        ttl: Some(secs(6)),
        age: secs(1),
        loaded: false,
        node: "b".into(),
        minute_qps: None,
        view: None,
    };
    found.travelled(secs(5));
    assert_eq!((found.ttl, found.age), (Some(secs(1)), secs(6)));
    town.wires.set("b", Health::Says(Reply::Found(found)));
    assert_eq!(answer(&groups[0], &key).await.ttl, Some(secs(1)));
    a.advance(Duration::from_millis(999));
    assert_eq!(answer(&groups[0], &key).await.source, Source::Mirror);
    a.advance(Duration::from_millis(1));
    assert_eq!(answer(&groups[0], &key).await.source, Source::Owner, "its time was up");
}
