//! What is told beside a value, what memory alone may be asked, which keys and values are refused, and a node that leaves.

use super::*;
use crate::stats::FetchOutcome;
use crate::units::ByteSize;

/// Two nodes, and a key that the second owns.
fn two(settings: &Settings, origin: &Arc<Origin>) -> (Town, Vec<Group>, String) {
    let town = Town::of(&["a", "b"]);
    let groups = town.open(settings, origin);
    let key = key(&groups[0], &["b", "a"]);
    (town, groups, key)
}

async fn answer(group: &Group, key: &str, ask: Ask) -> Result<(Source, Arc<str>), GetError> {
    let answer = group.answer(key, ask).await?;
    assert_eq!(answer.value, &*value_of(key));
    assert!(!answer.stale);
    Ok((answer.source, answer.node))
}

#[tokio::test(start_paused = true)]
async fn an_answer_names_where_it_came_from_and_the_node_that_gave_it() {
    let (_town, groups, key) = two(&with_hot(Hot::Always), &Origin::prompt());
    let [a, b] = [&groups[0], &groups[1]];
    assert_eq!(answer(a, &key, Ask::default()).await.unwrap(), (Source::Origin, "b".into()));
    assert_eq!(answer(a, &key, Ask::default()).await.unwrap(), (Source::Mirror, "a".into()));
    assert_eq!(answer(b, &key, Ask::default()).await.unwrap(), (Source::Memory, "b".into()));
    a.remove(&key).await.unwrap();
    assert_eq!(answer(b, &key, Ask::default()).await.unwrap(), (Source::Origin, "b".into()));
    assert_eq!(answer(a, &key, Ask::default()).await.unwrap(), (Source::Owner, "b".into()));
}

#[tokio::test(start_paused = true)]
async fn memory_alone_can_be_asked_here_and_at_the_owner_and_nothing_is_loaded() {
    let origin = Origin::prompt();
    let (town, groups, key) = two(&with_hot(Hot::Always), &origin);
    let cached = Ask::default().cached_only();
    for group in &groups {
        let refused = answer(group, &key, cached).await;
        assert!(matches!(refused, Err(GetError::NotCached { .. })), "{refused:?}");
    }
    assert_eq!(origin.calls(), 0);
    groups[1].get(&key).await.unwrap();
    assert_eq!(answer(&groups[1], &key, cached).await.unwrap(), (Source::Memory, "b".into()));
    assert_eq!(answer(&groups[0], &key, cached).await.unwrap(), (Source::Owner, "b".into()));
    groups[0].get(&key).await.unwrap();
    assert_eq!(answer(&groups[0], &key, cached).await.unwrap(), (Source::Mirror, "a".into()));
    let fetches = groups[0].stats().fetches;
    assert_eq!((fetches.get(FetchOutcome::NotCached), fetches.get(FetchOutcome::Found)), (1, 2));

    town.pass(A_MINUTE);
    for health in [Health::Down, Health::Says(Reply::NoGroup), Health::Says(Reply::Unsupported)] {
        town.wires.set("b", health);
        let refused = answer(&groups[0], &key, cached).await;
        assert!(matches!(refused, Err(GetError::NotCached { .. })), "{refused:?}");
    }
    assert_eq!(origin.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_caller_in_haste_is_told_in_time_and_the_load_still_lands() {
    for ranked in [["a", "b"], ["b", "a"]] {
        let origin = Origin::taking(A_SECOND);
        let (_town, groups, _) = two(&Settings::default(), &origin);
        let key = key(&groups[0], &ranked);
        let began = clock::now();
        let in_haste = answer(&groups[0], &key, Ask::default().within(A_SECOND / 10)).await;
        assert!(
            matches!(in_haste, Err(GetError::Deadline { waited, .. }) if waited == A_SECOND / 10),
            "{in_haste:?}"
        );
        assert_eq!(clock::now() - began, A_SECOND / 10);
        clock::sleep(A_SECOND).await;
        let cached = answer(&groups[0], &key, Ask::default().cached_only()).await.unwrap();
        assert_eq!((cached.1, origin.calls()), (ranked[0].into(), 1));
    }
}

#[tokio::test(start_paused = true)]
async fn an_empty_key_and_one_over_the_limit_are_refused_everywhere() {
    let limits = Limits { key: ByteSize::bytes(4), ..Limits::default() };
    let town = Town::as_planned(&["a", "b"], &Plan { limits, ..Plan::of(&["a", "b"]) });
    let origin = Origin::prompt();
    let groups = town.open(&Settings::default(), &origin);
    let refused = [
        ("", "key is required", "bad request: key is required"),
        (
            "12345",
            "key of 5 bytes is over the limit of 4",
            "too large: key of 5 bytes is over the limit of 4",
        ),
    ];
    for (key, told, replied) in refused {
        let by_get = groups[0].get(key).await.unwrap_err().to_string();
        let by_answer = groups[0].answer(key, Ask::default()).await.unwrap_err().to_string();
        let by_set = groups[0].set(key, "630").await.unwrap_err().to_string();
        let by_remove = groups[0].remove(key).await.unwrap_err().to_string();
        assert_eq!([by_get, by_answer, by_set, by_remove], [told; 4]);
        let (group, key) = (scores(), Key::from(key));
        let get =
            Request::Get { group: group.clone(), key: key.clone(), stand_in: false, cached_only: false };
        let set =
            Request::Set { group: group.clone(), key: key.clone(), value: Bytes::from("630"), ttl: None };
        for what in [get, set, Request::Remove { group, key }] {
            assert_eq!(town.nodes[0].answer(what).await.to_string(), replied);
        }
    }
    let stats = groups[0].stats();
    assert_eq!((stats.refusals.get(Refusal::Key), stats.gets), (14, 0));
    assert_eq!(groups[0].get("1234").await.unwrap(), "value of 1234");
    assert_eq!(origin.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_loaded_value_over_the_limit_is_an_error_that_names_its_size_and_is_not_stored() {
    let limits = Limits { value: ByteSize::bytes(10), ..Limits::default() };
    let town = Town::as_planned(&["a", "b"], &Plan { limits, ..Plan::of(&["a", "b"]) });
    let origin = Origin::new(|_, call| async move {
        Ok(Some(Loaded::from(if call % 2 == 1 { "eleven byte" } else { "ten bytes!" })))
    });
    let groups = town.open(&Settings::default(), &origin);
    let key = key(&groups[0], &["b", "a"]);
    let size = "of 11 bytes for KEY in group scores is over the limit of 10".replace("KEY", &key);

    let told = groups[1].get(&key).await.unwrap_err();
    assert!(matches!(told, GetError::TooLarge { length: 11, limit: 10, .. }), "{told:?}");
    assert_eq!(told.to_string(), format!("value {size}"));
    assert_eq!(groups[1].stats().weight_bytes.total(), 0);
    assert_eq!(groups[1].get(&key).await.unwrap(), "ten bytes!");

    groups[1].remove(&key).await.unwrap();
    let told = with_causes(&groups[0].get(&key).await.unwrap_err());
    assert!(told.ends_with(&size), "the owner's caller learns the size too: {told}");
    assert_eq!(groups[0].get(&key).await.unwrap(), "ten bytes!");
}

#[tokio::test(start_paused = true)]
async fn a_peers_value_over_the_limit_is_neither_served_nor_stored() {
    let plan = |value| Plan {
        limits: Limits { value: ByteSize::bytes(value), ..Limits::default() },
        ..Plan::of(&["a", "b"])
    };
    let town = Town::with(vec![("a", plan(10)), ("b", plan(1000))]);
    let groups = town
        .open(&with_hot(Hot::Always), &Origin::new(|_, _| async { Ok(Some(Loaded::from("eleven byte"))) }));
    let key = key(&groups[0], &["b", "a"]);
    for ask in [Ask::default(), Ask::default().cached_only()] {
        let told = groups[0].answer(&key, ask).await.unwrap_err();
        assert!(matches!(told, GetError::TooLarge { length: 11, limit: 10, .. }), "{told:?}");
    }
    let stats = groups[0].stats();
    assert_eq!((stats.fetches.get(FetchOutcome::TooLarge), stats.fetches.total()), (2, 2));
    assert_eq!((stats.mirrors, stats.weight_bytes.total()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_leaving_node_answers_from_memory_and_begins_no_flight() {
    let origin = Origin::prompt();
    let (town, groups, theirs) = two(&with_hot(Hot::Always), &origin);
    let mut own = keys(&groups[0], &["a", "b"]);
    let [kept, cold] = [(); 2].map(|()| own.next().unwrap());
    groups[0].get(&kept).await.unwrap();
    groups[0].get(&theirs).await.unwrap();
    town.nodes[0].start_leaving();
    assert_eq!(answer(&groups[0], &kept, Ask::default()).await.unwrap().0, Source::Memory);
    assert_eq!(answer(&groups[0], &theirs, Ask::default()).await.unwrap().0, Source::Mirror);
    let cold_there = keys(&groups[0], &["b"]).nth(1).unwrap();
    for key in [&cold, &cold_there] {
        assert!(matches!(groups[0].get(key).await, Err(GetError::Leaving)));
    }
    assert_eq!(groups[0].stats().refusals.get(Refusal::Leaving), 2);
    assert_eq!(origin.calls(), 2);
    // Who asks it as the owner gets what it remembers, and for the rest goes to the stand-in.
    assert_eq!(answer(&groups[1], &kept, Ask::default()).await.unwrap(), (Source::Owner, "a".into()));
    assert_eq!(answer(&groups[1], &cold, Ask::default()).await.unwrap(), (Source::Origin, "b".into()));
}

#[tokio::test(start_paused = true)]
async fn a_leaving_node_waits_for_the_flights_that_are_in_the_air() {
    let origin = Origin::taking(A_SECOND);
    let (town, groups, _) = two(&Settings::default(), &origin);
    for (group, ranked) in [(&groups[0], ["a", "b"]), (&groups[1], ["a", "b"]), (&groups[0], ["b", "a"])] {
        // Whose key it is and who asks for it: each of them has the leaving node take part.
        let key = keys(group, &ranked).nth(origin.calls()).unwrap();
        let (caller, asked) = (group.clone(), key.clone());
        let get = tokio::spawn(async move { caller.get(asked).await });
        settle().await;
        assert!(town.nodes[0].stats().groups[0].flights > 0);
        town.nodes[0].start_leaving();
        let began = clock::now();
        town.nodes[0].landed().await;
        let waited = clock::now() - began;
        assert!((A_SECOND / 2..2 * A_SECOND).contains(&waited), "{waited:?}");
        assert_eq!(town.nodes[0].stats().groups[0].flights, 0);
        assert_eq!(get.await.unwrap().unwrap(), &*value_of(&key));
        town.nodes[0].around.leaving.store(false, Ordering::Relaxed);
    }
}

#[tokio::test(start_paused = true)]
async fn a_group_is_opened_once_and_keeps_what_it_has() {
    let (town, groups, key) = two(&Settings::default(), &Origin::prompt());
    groups[1].get(&key).await.unwrap();
    let again = town.nodes[1].open(scores(), Settings::default(), Origin::numbered());
    assert!(matches!(again, Err(OpenError::Exists(name)) if name == scores()));
    assert_eq!(answer(&groups[0], &key, Ask::default()).await.unwrap(), (Source::Owner, "b".into()));
}
