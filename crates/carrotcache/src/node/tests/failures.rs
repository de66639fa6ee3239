//! Peers that are down, hang, refuse, break, or count other members: who is asked next, and what is never done twice.

use super::*;
use crate::dropped_ttl::tests::Warnings;
use crate::peers::PeerState;
use crate::stats::FetchOutcome;

/// Three nodes that agree, and a key that `b` owns and `c` stands in for.
fn three(origin: &Arc<Origin>) -> (Town, Vec<Group>, String) {
    let town = Town::of(&["a", "b", "c"]);
    let groups = town.open(&Settings::default(), origin);
    let key = key(&groups[0], &["b", "c"]);
    (town, groups, key)
}

fn is_stand_in(what: &Request) -> bool {
    matches!(what, Request::Get { stand_in: true, .. })
}

async fn from(group: &Group, key: &str) -> (Source, Arc<str>) {
    let answer = group.answer(key, Ask::default()).await.unwrap();
    assert_eq!(answer.value, &*value_of(key));
    (answer.source, answer.node)
}

#[tokio::test(start_paused = true)]
async fn an_owner_that_is_down_is_replaced_by_its_stand_in_which_keeps_the_value_for_a_minute() {
    for health in [Health::Down, Health::Breaks] {
        let origin = Origin::prompt();
        let (town, groups, key) = three(&origin);
        town.wires.set("b", health);
        assert_eq!(from(&groups[0], &key).await, (Source::Origin, "c".into()));
        assert_eq!(town.wires.asked("c").iter().filter(|what| is_stand_in(what)).count(), 1);
        assert_eq!(groups[0].stats().stand_ins, 1);

        town.pass(A_MINUTE - Duration::from_millis(1));
        assert_eq!(from(&groups[0], &key).await, (Source::Owner, "c".into()));
        assert_eq!(from(&groups[2], &key).await, (Source::Mirror, "c".into()));
        assert_eq!(origin.calls(), 1);
        town.pass(Duration::from_millis(1));
        assert_eq!(from(&groups[0], &key).await, (Source::Origin, "c".into()));
        assert_eq!(origin.calls(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_itself_the_stand_in_keeps_the_value_for_a_minute() {
    let origin = Origin::prompt();
    let (town, groups, key) = three(&origin);
    town.wires.set("b", Health::Down);
    assert_eq!(from(&groups[2], &key).await, (Source::Origin, "c".into()));
    town.pass(A_MINUTE - Duration::from_millis(1));
    assert_eq!(from(&groups[2], &key).await, (Source::Mirror, "c".into()));
    town.pass(Duration::from_millis(1));
    assert_eq!(from(&groups[2], &key).await, (Source::Origin, "c".into()));
}

#[tokio::test(start_paused = true)]
async fn a_flight_that_has_left_its_line_ends_when_its_caller_would_have_given_up() {
    let ends: [fn() -> Sent; 2] =
        [|| Sent::Unseen, || Sent::Answered(Err(PeerError::Broken("no byte of a reply".into())))];
    for end in ends {
        let (town, groups, key) = three(&Origin::prompt());
        *town.wires.line.lock().unwrap() = Some(Arc::new(Ends(end)));
        // Whoever is asked next.
        town.wires.set("b", Health::Stuck);
        town.wires.set("c", Health::Stuck);
        let began = clock::now();
        let landed = clock::timeout(A_MINUTE, groups[0].get(&key)).await.expect("he has no other timer");
        assert!(matches!(landed, Err(GetError::Deadline { .. })), "{landed:?}");
        assert_eq!(clock::now() - began, groups[0].patience(None));
    }
}

/// A line that tells on this thread how each request ended, and soon: so.
struct Ends(fn() -> Sent);

impl Line for Ends {
    fn send(&self, _: &Request, _: Instant, _: Instant, then: Then) -> bool {
        let sent = self.0();
        tokio::spawn(async move { then(sent, clock::now()) });
        true
    }
}

#[tokio::test(start_paused = true)]
async fn with_owner_and_stand_in_down_a_node_loads_by_itself_and_keeps_nothing() {
    let origin = Origin::prompt();
    let (town, groups, key) = three(&origin);
    town.wires.set("b", Health::Down);
    town.wires.set("c", Health::Down);
    for loads in 1..=3 {
        assert_eq!(from(&groups[0], &key).await, (Source::Origin, "a".into()));
        assert_eq!(origin.calls(), loads);
    }
    assert_eq!(groups[0].stats().weight_bytes.total(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_owner_without_the_group_is_replaced_and_counts_as_alive() {
    let origin = Origin::prompt();
    let town = Town::of(&["a", "b", "c"]);
    let [a, _] = [0, 2].map(|n| open(&town.nodes[n], &Settings::default(), &origin));
    for key in keys(&a, &["b", "c"]).take(10) {
        assert_eq!(from(&a, &key).await, (Source::Origin, "c".into()));
    }
    assert_eq!(town.gets_of("b"), 10, "it is never left alone");
    assert_eq!(a.stats().fetches.get(FetchOutcome::NoGroup), 10);
    assert_eq!(town.nodes[1].stats().refusals.get(Refusal::NoGroup), 10);
}

#[tokio::test(start_paused = true)]
async fn what_an_owner_refuses_is_passed_on_and_asked_of_nobody_else() {
    let refusals = [
        (Reply::NotFound, "group scores has no key KEY"),
        (Reply::LoadFailed("no luck".into()), "loading KEY for group scores failed: at b: no luck"),
        (Reply::Busy("max_loads of 1".into()), "busy: max_loads of 1 (at b)"),
        (Reply::Deadline, "owner b gave no value of KEY in group scores within 10s"),
        (Reply::TooLarge("a lot".into()), "owner b refused KEY: too large: a lot"),
        (Reply::BadRequest("what?".into()), "owner b refused KEY: bad request: what?"),
        (Reply::Unsupported, "owner b refused KEY: unsupported"),
        (Reply::Done, "owner b refused KEY: done"),
    ];
    for (refusal, told) in refusals {
        let origin = Origin::prompt();
        let (town, groups, key) = three(&origin);
        town.wires.set("b", Health::Says(refusal));
        let error = groups[0].get(&key).await.unwrap_err();
        assert_eq!(with_causes(&error), told.replace("KEY", &key));
        assert_eq!((town.gets_of("b"), town.gets_of("c"), origin.calls()), (1, 0, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_load_that_fails_at_the_owner_is_loaded_nowhere_else() {
    let failing = Origin::new(|_, _| async { Err("no luck".into()) });
    let empty = Origin::new(|_, _| async { Ok(None) });
    let hanging = Origin::new(|_, _| std::future::pending());
    for (origin, outcome) in [
        (failing, FetchOutcome::LoadFailed),
        (empty, FetchOutcome::NotFound),
        (hanging, FetchOutcome::Deadline),
    ] {
        let (_town, groups, key) = three(&origin);
        assert!(groups[0].get(&key).await.is_err());
        assert_eq!(origin.calls(), 1);
        let fetches = groups[0].stats().fetches;
        assert_eq!((fetches.get(outcome), fetches.total()), (1, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn an_owner_that_hangs_costs_a_deadline_and_no_second_load() {
    let origin = Origin::prompt();
    let (town, groups, key) = three(&origin);
    town.wires.set("b", Health::Hangs);
    let began = clock::now();
    let error = groups[0].get(&key).await.unwrap_err();
    let told = format!("owner b gave no value of {key} in group scores within 11s");
    assert_eq!(error.to_string(), told);
    assert_eq!(clock::now() - began, groups[0].shared.settings.fetch_deadline());
    assert_eq!((town.gets_of("b"), town.gets_of("c"), origin.calls()), (1, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_is_slow_but_says_that_it_lives_is_asked_as_ever() {
    let origin = Origin::prompt();
    let (town, groups, _) = three(&origin);
    town.wires.set("b", Health::Toils);
    for (n, key) in keys(&groups[0], &["b", "c"]).take(5).enumerate() {
        let error = groups[0].get(&key).await.unwrap_err();
        assert!(matches!(error, GetError::Deadline { .. }), "{error:?}");
        settle().await;
        assert_eq!((town.gets_of("b"), town.gets_of("c"), origin.calls()), (n + 1, 0, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_is_silent_and_does_not_say_that_it_lives_rests() {
    let origin = Origin::prompt();
    let (town, groups, _) = three(&origin);
    town.wires.set("b", Health::Hangs);
    let keys: Vec<String> = keys(&groups[0], &["b", "c"]).take(3).collect();
    groups[0].get(&keys[0]).await.unwrap_err();
    clock::sleep(2 * A_SECOND).await;
    for key in &keys[1..] {
        assert_eq!(from(&groups[0], key).await, (Source::Origin, "c".into()));
    }
    assert_eq!(town.gets_of("b"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_silent_peer_costs_no_second_caller_the_deadline_and_is_asked_again_once_it_says_that_it_lives() {
    let origin = Origin::prompt();
    let (town, groups, _) = three(&origin);
    let mut keys = keys(&groups[0], &["b", "c"]);
    let asked_for_a_sign = || town.wires.asked("b").iter().filter(|what| matches!(what, Request::Id)).count();
    town.wires.set("b", Health::Hangs);
    groups[0].get(keys.next().unwrap()).await.unwrap_err();
    for signs in 1..=4 {
        clock::sleep(2 * A_SECOND).await;
        assert_eq!(asked_for_a_sign(), signs);
        let rest = town.nodes[0].peers()[1].asked.clone().unwrap().state;
        assert_eq!(rest, PeerState::Resting { wait: Duration::from_millis(250 << signs) });
        town.pass(10 * A_SECOND);
        for key in keys.by_ref().take(3) {
            let began = clock::now();
            assert_eq!(from(&groups[0], &key).await, (Source::Origin, "c".into()));
            assert_eq!(clock::now(), began);
        }
    }
    settle().await;
    town.wires.set("b", Health::Toils);
    clock::sleep(2 * A_SECOND).await;
    town.pass(10 * A_SECOND);
    from(&groups[0], &keys.next().unwrap()).await;
    settle().await;
    town.wires.set("b", Health::Up);
    assert_eq!(from(&groups[0], &keys.next().unwrap()).await, (Source::Origin, "b".into()));
    assert_eq!((town.gets_of("b"), asked_for_a_sign()), (2, 6));
}

#[tokio::test(start_paused = true)]
async fn a_trial_whose_caller_goes_away_does_not_keep_a_living_peer_unasked() {
    let origin = Origin::prompt();
    let (town, groups, _) = three(&origin);
    let keys: Vec<String> = keys(&groups[0], &["b", "c"]).take(6).collect();
    town.wires.set("b", Health::Down);
    for key in &keys[..3] {
        groups[0].get(key).await.unwrap();
    }
    town.pass(A_SECOND);
    town.wires.set("b", Health::Toils);
    let hasty = Ask::default().cached_only().within(Duration::from_millis(10));
    groups[0].answer(&keys[3], hasty).await.unwrap_err();
    town.wires.set("b", Health::Up);
    assert_eq!(from(&groups[0], &keys[4]).await, (Source::Origin, "b".into()));
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_failed_three_times_rests_and_is_tried_again() {
    let origin = Origin::prompt();
    let (town, groups, _) = three(&origin);
    let mut keys = keys(&groups[0], &["b", "c"]);
    let mut asked_after_a_get = async || {
        from(&groups[0], &keys.next().unwrap()).await;
        town.gets_of("b")
    };
    town.wires.set("b", Health::Down);
    for asked in [1, 2, 3, 3, 3] {
        assert_eq!(asked_after_a_get().await, asked);
    }
    town.pass(Duration::from_millis(499));
    assert_eq!(asked_after_a_get().await, 3);
    town.pass(Duration::from_millis(1));
    for asked in [4, 4] {
        assert_eq!(asked_after_a_get().await, asked, "one trial, and the next rest is longer");
    }
    town.wires.set("b", Health::Up);
    town.pass(A_SECOND);
    for asked in [5, 6, 7] {
        assert_eq!(asked_after_a_get().await, asked, "it is back");
    }
}

#[tokio::test(start_paused = true)]
async fn callers_of_memory_in_haste_do_not_give_a_slow_peer_a_rest() {
    let origin = Origin::prompt();
    let (town, groups, key) = three(&origin);
    town.wires.set("b", Health::Hangs);
    let ask = Ask::default().cached_only().within(Duration::from_millis(10));
    for _ in 0..5 {
        let error = groups[0].answer(&key, ask).await.unwrap_err();
        assert!(matches!(error, GetError::Deadline { .. }), "{error:?}");
    }
    town.wires.set("b", Health::Up);
    assert_eq!(from(&groups[0], &key).await, (Source::Origin, "b".into()));
    assert_eq!(groups[0].stats().fetches.get(FetchOutcome::Deadline), 5);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_peers_ask_for_a_key_it_does_not_own_loads_it_and_keeps_nothing() {
    let origin = Origin::prompt();
    let (town, groups, key) = three(&origin);
    let get = |stand_in| {
        let key = Key::from(key.as_str());
        town.nodes[0].answer(Request::Get { group: scores(), key, stand_in, cached_only: false })
    };
    for loads in 1..=3 {
        let Reply::Found(found) = get(false).await else { panic!("not found") };
        assert_eq!((&*found.value, &*found.node, found.loaded), (value_of(&key).as_bytes(), "a", true));
        assert_eq!(origin.calls(), loads);
    }
    assert_eq!(groups[0].stats().weight_bytes.total(), 0);
    assert_eq!((town.gets_of("b"), town.gets_of("c")), (0, 0), "what a peer asks causes no request");
    assert!(matches!(get(true).await, Reply::Found(found) if found.loaded));
    assert!(matches!(get(true).await, Reply::Found(found) if !found.loaded));
    assert_eq!(origin.calls(), 4);
}

/// Two nodes that know one of them by two names, so that each holds the other for the owner of some keys: as in
/// mailgun/groupcache #72, where such a key hung for ever. (Lists that differ by a whole member make no such keys.)
fn at_odds(origin: &Arc<Origin>) -> (Town, Vec<Group>, Vec<String>) {
    let plans = vec![("a", Plan::of(&["a", "b"])), ("b", Plan::of(&["a", "bee=b"]))];
    let town = Town::with(plans);
    let groups = town.open(&Settings::default(), origin);
    let there: std::collections::HashSet<_> = keys(&groups[1], &["a"]).collect();
    let disputed: Vec<_> = keys(&groups[0], &["b"]).filter(|key| there.contains(key)).take(10).collect();
    assert_eq!(disputed.len(), 10);
    (town, groups, disputed)
}

#[tokio::test(start_paused = true)]
async fn two_lists_that_disagree_never_hang_a_key() {
    let origin = Origin::taking(Duration::from_millis(50));
    let (_town, groups, disputed) = at_odds(&origin);
    let began = clock::now();
    for key in &disputed {
        let ask = |n: usize| {
            let (group, key) = (groups[n % 2].clone(), key.clone());
            tokio::spawn(async move { group.get(key).await })
        };
        for caller in (0..100).map(ask).collect::<Vec<_>>() {
            assert_eq!(caller.await.unwrap().unwrap(), &*value_of(key));
        }
    }
    assert!(clock::now() - began < A_SECOND, "each key is loaded at once, on both nodes at most");
    assert_eq!(origin.calls(), 2 * disputed.len());
}

#[tokio::test(start_paused = true)]
async fn a_list_that_disagrees_is_counted_each_time_and_asked_for_once() {
    let origin = Origin::prompt();
    let (town, groups, disputed) = at_odds(&origin);
    for key in &disputed {
        groups[0].get(key).await.unwrap();
        settle().await;
    }
    assert_eq!(town.nodes[0].stats().view_mismatches, 10);
    assert_eq!(town.nodes[1].stats().view_mismatches, 0, "who is asked learns nothing of the asking view");
    let members = |name| town.wires.asked(name).iter().filter(|w| matches!(w, Request::Members)).count();
    assert_eq!((members("a"), members("b")), (0, 1));
    let Reply::Members(names) = town.nodes[1].answer(Request::Members).await else { panic!("no list") };
    assert_eq!(names, ["a".into(), "bee".into()]);
}

#[tokio::test(start_paused = true)]
async fn a_peer_with_another_list_is_told_from_one_that_places_the_same_members_otherwise() {
    for (list, kind, said) in [
        (&["a", "b", "d"][..], PlacementKind::Slots, "a peer counts other members than this node: "),
        (&["a", "b"], PlacementKind::Ring, "a peer counts the same members and places keys otherwise, "),
    ] {
        let (warnings, _for_this_thread) = Warnings::heard();
        let town = Town::of(&["a", "b"]);
        let groups = town.open(&Settings::default(), &Origin::prompt());
        let theirs = View::new(list.iter().map(|name| member(name)).collect(), Some("b"), kind).unwrap();
        town.nodes[1].around.views.replace(theirs);
        for key in keys(&groups[0], &["b"]).take(3) {
            groups[0].get(key).await.unwrap();
        }
        settle().await;
        let warnings = warnings.take();
        assert!(matches!(&warnings[..], [line] if line.starts_with(said)), "{warnings:?}");
    }
}
