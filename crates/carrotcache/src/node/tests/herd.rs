//! Many callers at once: one load for one key, never more loads than allowed, and no caller left behind.

use super::*;

const CALLERS: usize = 10_000;

/// What this many callers get who ask at once, each node its share of them.
async fn ask_at_once(groups: &[Group], callers: usize, key: impl Fn(usize) -> String) -> Vec<Got> {
    let ask = |n: usize| {
        let (group, key) = (groups[n % groups.len()].clone(), key(n));
        tokio::spawn(async move { group.get(key).await })
    };
    let callers: Vec<_> = (0..callers).map(ask).collect();
    let mut got = Vec::new();
    for caller in callers {
        got.push(caller.await.unwrap());
    }
    got
}

type Got = Result<Value, GetError>;

/// Ten thousand callers of one key, whose first load `fails`; gives what they got, and demands that none waits longer
/// than a load may take and that the next get on each node works.
async fn a_herd_whose_load<F>(fails: impl Fn() -> F + Send + Sync + 'static) -> Vec<GetError>
where
    F: Future<Output = Result<Option<Loaded>, BoxError>> + Send + 'static,
{
    let origin = Origin::new(move |_, call| {
        let failing = fails();
        async move { if call == 1 { failing.await } else { Ok(Some(Loaded::from("630"))) } }
    });
    let town = Town::of(&["a", "b", "c"]);
    let groups = town.open(&Settings::default(), &origin);
    let began = clock::now();
    let got = ask_at_once(&groups, CALLERS, |_| "Tom".to_owned()).await;
    assert!(clock::now() - began <= groups[0].shared.settings.fetch_deadline());
    assert_eq!(origin.calls(), 1);
    for group in &groups {
        assert_eq!(group.get("Tom").await.unwrap(), "630");
    }
    assert_eq!(origin.calls(), 2);
    assert!(town.nodes.iter().all(|node| node.stats().groups[0].flights == 0));
    got.into_iter().map(|got| got.unwrap_err()).collect()
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_callers_of_one_cold_key_on_three_nodes_cost_one_load() {
    let origin = Origin::taking(Duration::from_millis(50));
    let groups = Town::of(&["a", "b", "c"]);
    let opened = groups.open(&Settings::default(), &origin);
    let got = ask_at_once(&opened, CALLERS, |_| "Tom".to_owned()).await;
    assert!(got.iter().all(|got| *got.as_ref().unwrap() == "value of Tom"));
    assert_eq!(origin.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn when_the_loader_panics_every_caller_of_the_herd_is_told_and_the_next_get_works() {
    let told = a_herd_whose_load(|| async {
        clock::sleep(Duration::from_millis(50)).await;
        panic!("as planned")
    })
    .await;
    for error in told {
        assert!(matches!(error, GetError::Load { .. }), "{error:?}");
        let line = with_causes(&error);
        assert!(line.ends_with("the loader panicked: as planned"), "{line}");
    }
}

#[tokio::test(start_paused = true)]
async fn when_the_loader_hangs_every_caller_of_the_herd_is_told_in_time_and_the_next_get_works() {
    let told = a_herd_whose_load(std::future::pending).await;
    assert!(told.iter().all(|error| matches!(error, GetError::Deadline { .. })), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn when_the_loader_fails_every_caller_of_the_herd_is_told_why_and_the_next_get_works() {
    let told = a_herd_whose_load(|| async {
        clock::sleep(Duration::from_millis(50)).await;
        Err("the database is away".into())
    })
    .await;
    for error in told {
        assert!(matches!(error, GetError::Load { .. }), "{error:?}");
        let line = with_causes(&error);
        assert!(line.ends_with("the database is away"), "{line}");
    }
}

#[tokio::test(start_paused = true)]
async fn of_ten_thousand_cold_keys_no_more_are_loaded_at_once_than_may_be() {
    let origin = Origin::taking(Duration::from_millis(1));
    let town = Town::of(&["a"]);
    let groups = town.open(&Settings { max_loads: 16, ..Settings::default() }, &origin);
    let got = ask_at_once(&groups, CALLERS, |n| n.to_string()).await;
    for (n, got) in got.into_iter().enumerate() {
        assert_eq!(got.unwrap(), &*value_of(&n.to_string()));
    }
    assert_eq!((origin.most(), origin.calls()), (16, CALLERS));
}

#[tokio::test(start_paused = true)]
async fn callers_whose_turn_to_load_does_not_come_in_half_the_deadline_are_told_that_it_is_busy() {
    let origin = Origin::taking(Duration::from_millis(100));
    let town = Town::of(&["a"]);
    let groups = town.open(&Settings { max_loads: 16, ..Settings::default() }, &origin);
    let got = ask_at_once(&groups, CALLERS, |n| n.to_string()).await;
    let served = got.iter().filter(|got| got.is_ok()).count();
    let busy = got.iter().filter(|got| matches!(got, Err(GetError::Busy { .. }))).count();
    assert_eq!(served + busy, CALLERS);
    // Sixteen at a time, and fifty or fifty-one times a tenth of a second fit into five seconds.
    assert!((16 * 50..=16 * 51).contains(&served), "{served}");
    assert_eq!((origin.most(), origin.calls()), (16, served));
}

#[tokio::test(start_paused = true)]
async fn cold_keys_of_all_nodes_are_loaded_by_their_owners_each_within_its_own_limit() {
    let town = Town::of(&["a", "b", "c"]);
    let settings = Settings { max_loads: 16, ..Settings::default() };
    let origins = [(); 3].map(|()| Origin::taking(Duration::from_millis(100)));
    let groups: Vec<_> =
        town.nodes.iter().zip(&origins).map(|(node, origin)| open(node, &settings, origin)).collect();
    let got = ask_at_once(&groups, CALLERS, |n| n.to_string()).await;
    for (n, got) in got.iter().enumerate() {
        match got {
            Ok(value) => assert_eq!(*value, &*value_of(&n.to_string())),
            Err(error) => assert!(matches!(error, GetError::Busy { .. }), "{error:?}"),
        }
    }
    let served = got.iter().filter(|got| got.is_ok()).count();
    assert_eq!(origins.iter().map(|origin| origin.calls()).sum::<usize>(), served);
    assert!(origins.iter().all(|origin| origin.most() == 16));
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_away_strands_no_one_and_its_value_is_kept() {
    for ranked in [["a", "b"], ["b", "a"]] {
        let origin = Origin::taking(A_SECOND);
        let town = Town::of(&["a", "b"]);
        let groups = town.open(&Settings::default(), &origin);
        let key = key(&groups[0], &ranked);
        let leader = tokio::spawn({
            let (group, key) = (groups[0].clone(), key.clone());
            async move { group.get(key).await }
        });
        settle().await;
        let waiter = tokio::spawn({
            let (group, key) = (groups[0].clone(), key.clone());
            async move { group.get(key).await }
        });
        settle().await;
        leader.abort();
        assert!(leader.await.unwrap_err().is_cancelled());
        assert_eq!(waiter.await.unwrap().unwrap(), &*value_of(&key));
        assert_eq!(groups[0].get(&key).await.unwrap(), &*value_of(&key));
        assert_eq!(origin.calls(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_value_whose_only_caller_went_away_is_kept_all_the_same() {
    let origin = Origin::taking(A_SECOND);
    let town = Town::of(&["a", "b"]);
    let groups = town.open(&Settings::default(), &origin);
    let key = key(&groups[0], &["b", "a"]);
    assert!(clock::timeout(A_SECOND / 2, groups[0].get(&key)).await.is_err());
    clock::sleep(A_SECOND).await;
    assert_eq!(groups[0].get(&key).await.unwrap(), &*value_of(&key));
    assert_eq!(origin.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_fetch_looks_once_more_into_memory_before_it_asks() {
    let town = Town::of(&["a", "b"]);
    let groups = town.open(&Settings::default(), &Origin::prompt());
    let key = key(&groups[0], &["b", "a"]);
    let mut get = Box::pin(groups[0].answer(&key, Ask::default()));
    // The first poll looks, finds nothing and begins the flight, whose task cannot run before we await something.
    let first = std::future::poll_fn(|context| std::task::Poll::Ready(get.as_mut().poll(context))).await;
    assert!(first.is_pending());
    let arrival = crate::store::Arrival {
        value: Bytes::from_static(b"mirrored meanwhile"),
        age: Duration::ZERO,
        ttl: None,
        region: crate::stats::Region::Mirrors,
    };
    assert!(groups[0].shared.store.keep(key.as_bytes(), arrival, || true).1);
    let answer = get.await.unwrap();
    assert_eq!(
        (answer.value, answer.source),
        (Value::from(Bytes::from("mirrored meanwhile")), Source::Mirror)
    );
    assert_eq!(town.gets_of("b"), 0);
}

#[tokio::test(start_paused = true)]
async fn all_who_wait_for_a_failed_load_get_the_very_same_error() {
    let origin = Origin::new(|_, _| async {
        clock::sleep(A_SECOND).await;
        Err("the database is away".into())
    });
    for ranked in [["a", "b"], ["b", "a"]] {
        let town = Town::of(&["a", "b"]);
        let groups = town.open(&Settings::default(), &origin);
        let key = key(&groups[0], &ranked);
        let calls = origin.calls();
        let got = ask_at_once(&groups[..1], 10, |_| key.clone()).await;
        let causes: Vec<_> = got
            .into_iter()
            .map(|got| match got {
                Err(GetError::Load { source, .. }) => source,
                other => panic!("{other:?}"),
            })
            .collect();
        assert!(causes.iter().all(|cause| Arc::ptr_eq(cause, &causes[0])));
        assert_eq!(origin.calls() - calls, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn callers_past_the_limit_on_waiters_are_told_so_at_once() {
    for ranked in [["a", "b"], ["b", "a"]] {
        let origin = Origin::taking(A_SECOND);
        let town = Town::of(&["a", "b"]);
        let groups = town.open(&Settings { max_waiters: 4, ..Settings::default() }, &origin);
        let key = key(&groups[0], &ranked);
        let got = ask_at_once(&groups[..1], 10, |_| key.clone()).await;
        assert_eq!(got.iter().filter(|got| got.is_ok()).count(), 4);
        let busy = got.into_iter().filter_map(Result::err).map(|error| error.to_string());
        assert_eq!(busy.collect::<Vec<_>>(), ["busy: max_waiters of 4 is reached"; 6]);
        assert_eq!(groups[0].stats().refusals.get(Refusal::Waiters), 6);
        assert_eq!(origin.calls(), 1);
    }
}
