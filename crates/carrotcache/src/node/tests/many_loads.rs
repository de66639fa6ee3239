//! A loader that loads many keys by one call: what it is given, and what becomes of a call that goes wrong.

use super::*;
use crate::loader::LoadedMany;
use crate::units::ByteSize;

type Call = BoxFuture<'static, LoadedMany>;

/// A loader that loads many by what `say` makes of the keys and of the number of the call, from 1 on; and one key too.
struct Bulk<S> {
    say: S,
    /// The keys of each call, in its order.
    calls: Mutex<Vec<Vec<String>>>,
}

impl<S: Fn(Vec<Key>, usize) -> Call + Send + Sync + 'static> Bulk<S> {
    fn new(say: S) -> Arc<Self> {
        Arc::new(Self { say, calls: Mutex::default() })
    }

    fn calls(&self) -> Vec<Vec<String>> {
        self.calls.lock().unwrap().clone()
    }

    fn note(&self, keys: &[Key]) -> usize {
        let mut calls = self.calls.lock().unwrap();
        calls.push(keys.iter().map(Key::to_string).collect());
        calls.len()
    }
}

impl<S: Fn(Vec<Key>, usize) -> Call + Send + Sync + 'static> Loader for Bulk<S> {
    fn load(&self, key: Key) -> BoxFuture<'static, Result<Option<Loaded>, BoxError>> {
        let call = self.note(std::slice::from_ref(&key));
        let loading = (self.say)(vec![key], call);
        Box::pin(async move { loading.await?.pop().unwrap_or(Ok(None)) })
    }

    fn load_many(&self, keys: &[Key]) -> Option<Call> {
        let call = self.note(keys);
        Some((self.say)(keys.to_vec(), call))
    }
}

fn found(keys: &[Key]) -> LoadedMany {
    Ok(keys.iter().map(|key| Ok(Some(Loaded::from(value_of(&key.to_string()))))).collect())
}

/// One that has each key's own value after a while.
fn able() -> Arc<Bulk<impl Fn(Vec<Key>, usize) -> Call + Send + Sync + 'static>> {
    Bulk::new(|keys: Vec<Key>, _| -> Call {
        Box::pin(async move {
            clock::sleep(Duration::from_millis(50)).await;
            found(&keys)
        })
    })
}

fn open_with(node: &Node, settings: Settings, loader: Arc<dyn Loader>) -> Group {
    node.open(scores(), settings, loader).unwrap()
}

fn lines(got: &[Result<Value, GetError>]) -> Vec<String> {
    let line = |got: &Result<Value, GetError>| match got {
        Ok(value) => String::from_utf8_lossy(value).into_owned(),
        Err(error) => with_causes(error),
    };
    got.iter().map(line).collect()
}

#[tokio::test(start_paused = true)]
async fn what_is_missing_is_loaded_by_one_call_and_kept() {
    let loader = able();
    let town = Town::of(&["a"]);
    let group = open_with(&town.nodes[0], Settings::default(), loader.clone());
    group.get("Tom").await.unwrap();
    let keys = ["Jack", "Tom", "Sam", "Jack"];
    assert_eq!(lines(&group.get_many(&keys).await), keys.map(value_of));
    assert_eq!(lines(&group.get_many(&keys).await), keys.map(value_of));
    assert_eq!(loader.calls(), [vec!["Tom"], vec!["Jack", "Sam"]]);
    let stats = group.stats();
    assert_eq!((stats.loads.total(), stats.load_seconds.count), (3, 2));
}

#[tokio::test(start_paused = true)]
async fn the_owner_loads_by_one_call_what_another_node_asks_it_for() {
    let loader = able();
    let town = Town::of(&["a", "b"]);
    let groups: Vec<_> =
        town.nodes.iter().map(|node| open_with(node, Settings::default(), loader.clone())).collect();
    let mut theirs: Vec<_> = keys(&groups[0], &["b"]).take(20).collect();
    assert!(groups[0].get_many(&theirs).await.iter().all(Result::is_ok));
    let mut calls = loader.calls();
    calls.iter_mut().for_each(|call| call.sort());
    theirs.sort();
    assert_eq!(calls, [theirs]);
}

#[tokio::test(start_paused = true)]
async fn a_thousand_callers_of_one_or_of_sixteen_have_each_of_64_keys_loaded_once() {
    let loader = able();
    let town = Town::of(&["a", "b", "c"]);
    let groups: Vec<_> =
        town.nodes.iter().map(|node| open_with(node, Settings::default(), loader.clone())).collect();
    let call = |n: usize| {
        let group = groups[n % 3].clone();
        tokio::spawn(async move {
            let keys: Vec<_> = (0..16).map(|at| format!("key {}", (n * 5 + at * 3) % 64)).collect();
            let got = if n.is_multiple_of(2) {
                vec![group.get(&keys[0]).await]
            } else {
                group.get_many(&keys).await
            };
            let expected: Vec<_> = keys[..got.len()].iter().map(|key| value_of(key)).collect();
            assert_eq!(lines(&got), expected);
        })
    };
    for caller in (0..1000).map(call).collect::<Vec<_>>() {
        caller.await.unwrap();
    }
    let mut loaded = loader.calls().concat();
    loaded.sort();
    let mut all: Vec<_> = (0..64).map(|n| format!("key {n}")).collect();
    all.sort();
    assert_eq!(loaded, all);
}

#[tokio::test(start_paused = true)]
async fn a_key_that_fails_or_is_not_there_spoils_no_other_of_its_call() {
    let loader = Bulk::new(|_, _| -> Call {
        let large = Loaded::from("x".repeat(101));
        let said = vec![
            Ok(Some(Loaded::from("630"))),
            Ok(None),
            Err("no such table".into()),
            Ok(Some(large)),
            Ok(Some(Loaded::from("589"))),
        ];
        Box::pin(async move { Ok(said) })
    });
    let limits = Limits { value: ByteSize::bytes(100), ..Limits::default() };
    let town = Town::as_planned(&["a"], &Plan { limits, ..Plan::of(&["a"]) });
    let group = open_with(&town.nodes[0], Settings::default(), loader);
    let got = group.get_many(&["Tom", "none", "bad", "large", "Jack"]).await;
    assert_eq!(
        lines(&got),
        [
            "630",
            "group scores has no key none",
            "loading bad for group scores failed: no such table",
            "value of 101 bytes for large in group scores is over the limit of 100",
            "589",
        ]
    );
    assert_eq!(group.stats().loads.total(), 5);
}

/// What a get of two keys gives whose first call `goes`, and that a second call works.
async fn a_call_that<F>(goes: impl Fn() -> F + Send + Sync + 'static) -> Vec<String>
where
    F: Future<Output = LoadedMany> + Send + 'static,
{
    let loader = Bulk::new(move |keys: Vec<Key>, call| -> Call {
        let going = (call == 1).then(&goes);
        Box::pin(async move { if let Some(going) = going { going.await } else { found(&keys) } })
    });
    let town = Town::of(&["a"]);
    let group = open_with(&town.nodes[0], Settings { max_loads: 1, ..Settings::default() }, loader.clone());
    let keys = ["Tom", "Jack"];
    let (many, joined) = tokio::join!(group.get_many(&keys), group.get("Jack"));
    assert_eq!(
        with_causes(joined.as_ref().unwrap_err()),
        lines(&many)[1],
        "who joined one of them is told the same"
    );
    assert_eq!((group.flying(), loader.calls().len()), (0, 1));
    assert_eq!(lines(&group.get_many(&keys).await), keys.map(value_of));
    lines(&many)
}

#[tokio::test(start_paused = true)]
async fn a_call_that_fails_is_an_error_of_each_of_its_keys() {
    let told = a_call_that(|| async { Err("the database is away".into()) }).await;
    assert_eq!(
        told,
        ["Tom", "Jack"].map(|key| format!("loading {key} for group scores failed: the database is away"))
    );
}

#[tokio::test(start_paused = true)]
async fn a_call_that_panics_is_an_error_of_each_of_its_keys() {
    let why = "failed: the loader panicked: as planned";
    let told = a_call_that(|| async { panic!("as planned") }).await;
    assert_eq!(told, ["Tom", "Jack"].map(|key| format!("loading {key} for group scores {why}")));
    let told = a_call_that(|| -> std::future::Ready<LoadedMany> { panic!("as planned") }).await;
    assert_eq!(told, ["Tom", "Jack"].map(|key| format!("loading {key} for group scores {why}")));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_hangs_is_an_error_of_each_of_its_keys_at_the_deadline() {
    let told = a_call_that(std::future::pending).await;
    assert_eq!(told, ["Tom", "Jack"].map(|key| format!("no value of {key} in group scores within 10s")));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_answers_more_or_fewer_keys_than_it_was_asked_for_is_an_error_of_each_of_its_keys() {
    for answers in [0, 1, 3] {
        let told = a_call_that(move || async move { Ok((0..answers).map(|_| Ok(None)).collect()) }).await;
        let why = format!("the loader gave {answers} answers to 2 keys");
        assert_eq!(told, ["Tom", "Jack"].map(|key| format!("loading {key} for group scores failed: {why}")));
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_waits_for_its_turn_as_a_load_does_and_each_of_its_keys_is_busy_where_that_does_not_come() {
    let loader = Bulk::new(|keys: Vec<Key>, call| -> Call {
        Box::pin(async move {
            clock::sleep(if call == 1 { A_SECOND * 9 } else { A_SECOND }).await;
            found(&keys)
        })
    });
    let town = Town::of(&["a"]);
    let group = open_with(&town.nodes[0], Settings { max_loads: 1, ..Settings::default() }, loader);
    let first = tokio::spawn({
        let group = group.clone();
        async move { group.get_many(&["a", "b"]).await }
    });
    settle().await;
    let second = group.get_many(&["c", "d", "e"]).await;
    assert_eq!(lines(&second), ["busy: max_loads of 1 is reached"; 3]);
    assert_eq!(group.stats().refusals.get(Refusal::Loads), 3);
    assert!(first.await.unwrap().iter().all(Result::is_ok));
}

#[tokio::test(start_paused = true)]
async fn a_key_that_was_removed_while_its_call_was_up_is_not_kept_and_the_others_are() {
    let loader = able();
    let town = Town::of(&["a"]);
    let group = open_with(&town.nodes[0], Settings::default(), loader.clone());
    let asking = tokio::spawn({
        let group = group.clone();
        async move { group.get_many(&["Tom", "Jack"]).await }
    });
    settle().await;
    group.remove("Tom").await.unwrap();
    assert!(asking.await.unwrap().iter().all(Result::is_ok));
    assert!(group.held(b"Tom").is_none() && group.held(b"Jack").is_some());
}

#[tokio::test(start_paused = true)]
async fn the_values_of_a_call_are_charged_and_those_without_room_are_busy() {
    let loader = Bulk::new(|keys: Vec<Key>, _| -> Call {
        let loaded = keys.iter().map(|_| Ok(Some(Loaded::from(vec![b'x'; 40 << 10]).ttl(Duration::ZERO))));
        let loaded: Vec<_> = loaded.collect();
        Box::pin(async move { Ok(loaded) })
    });
    let memory = crate::memory::Memory::new(ByteSize::kib(100));
    let limits = Limits { memory: memory.clone(), ..Limits::default() };
    let town = Town::as_planned(&["a"], &Plan { limits, ..Plan::of(&["a"]) });
    let group = open_with(&town.nodes[0], Settings::default(), loader);
    let got = group.get_many(&["a", "b", "c"]).await;
    assert!(matches!(got[..], [Ok(_), Ok(_), Err(GetError::Busy { .. })]), "{got:?}");
    assert_eq!(memory.snapshot().unwrap().used_bytes, 80 << 10);
    drop(got);
    settle().await;
    assert_eq!(memory.snapshot().unwrap().used_bytes, 0);
}
