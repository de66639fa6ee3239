//! The flight contract, held by the product's own group: each rule with no fault, and with the fault that breaks it.

use super::*;
use crate::fault::Fault;
use crate::flight::rules::{self, Failure, Got, Subject, Terms};

/// A group on a node that is alone.
#[derive(Clone)]
struct Near {
    group: Group,
    _node: Arc<Node>,
}

/// A group as a node sees it that owns no key of it.
#[derive(Clone)]
struct Far {
    group: Group,
    _nodes: Vec<Arc<Node>>,
}

impl Subject for Near {
    fn open(terms: Terms) -> Self {
        let plan = Plan { faults: terms.faults, ..Plan::of(&["a"]) };
        let town = Town::as_planned(&["a"], &plan);
        let group = open(&town.nodes[0], &settings(&terms), &origin(terms));
        Self { group, _node: town.nodes[0].clone() }
    }

    async fn get(&self, key: &str) -> Got {
        got(self.group.get(key).await)
    }

    async fn get_many(&self, keys: &[&str]) -> Vec<Got> {
        self.group.get_many(keys).await.into_iter().map(got).collect()
    }

    async fn set(&self, key: &str, value: u64) {
        self.group.set(key, value.to_string()).await.unwrap();
    }

    fn waiters(&self) -> usize {
        waiters(&self.group)
    }
}

impl Subject for Far {
    fn open(terms: Terms) -> Self {
        let plan = Plan { faults: terms.faults, ..Plan::of(&["b"]) };
        let town = Town::as_planned(&["a", "b"], &plan);
        let groups = town.open(&settings(&terms), &origin(terms));
        Self { group: groups[0].clone(), _nodes: town.nodes }
    }

    async fn get(&self, key: &str) -> Got {
        got(self.group.get(key).await)
    }

    async fn get_many(&self, keys: &[&str]) -> Vec<Got> {
        self.group.get_many(keys).await.into_iter().map(got).collect()
    }

    async fn set(&self, key: &str, value: u64) {
        self.group.set(key, value.to_string()).await.unwrap();
    }

    fn waiters(&self) -> usize {
        waiters(&self.group)
    }
}

fn settings(terms: &Terms) -> Settings {
    Settings {
        max_waiters: terms.max_waiters,
        max_loads: terms.max_loads,
        load_deadline: terms.load_deadline,
        ..Settings::default()
    }
}

fn origin(terms: Terms) -> Arc<Origin> {
    Origin::new(move |key, _| {
        let loading = (terms.load)(key);
        async move {
            match loading.await {
                Ok(value) => Ok(Some(Loaded::from(value.to_string()))),
                Err(number) => Err(format!("failure {number}").into()),
            }
        }
    })
}

/// What a get gave, in the rules' words; a cause may have come over a wire, so it is known by its text.
fn got(got: Result<Value, GetError>) -> Got {
    let error = match got {
        Ok(value) => return Ok(std::str::from_utf8(&value).unwrap().parse().unwrap()),
        Err(error) => error,
    };
    match &error {
        GetError::Busy { .. } => Err(Failure::Busy),
        GetError::Deadline { .. } => Err(Failure::Deadline),
        GetError::Load { .. } => {
            let line = with_causes(&error);
            match line.rsplit_once("failure ") {
                Some((_, number)) => Err(Failure::Load(number.parse().unwrap())),
                None if line.contains("panicked") || line.contains("ended before") => Err(Failure::Abandoned),
                None => panic!("{line}"),
            }
        }
        other => panic!("{other:?}"),
    }
}

fn waiters(group: &Group) -> usize {
    group.shared.fetches.waiters() + group.shared.loads.waiters()
}

/// Asserts that the rule holds with no fault, and that the fault breaks it in just the way that is expected.
async fn kept_unless(fault: Fault, rule: impl AsyncFn(Faults) -> Result<(), String>, breach: &str) {
    assert_eq!(rule(Faults::none()).await, Ok(()));
    assert_eq!(rule(Faults::with(fault)).await, Err(breach.to_owned()), "with {fault:?}");
}

/// A loader whose future panics where no catch of ours stands: when it is dropped at its deadline.
async fn a_panic_outside_the_loader_frees_its_key(faults: Faults) -> Result<(), String> {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("as planned");
        }
    }
    let load: rules::Load = Arc::new(|key| {
        Box::pin(async move {
            if *key.as_bytes() == *b"bad" {
                let _bomb = Bomb;
                std::future::pending::<()>().await;
            }
            Ok(7)
        })
    });
    let terms = Terms { faults, max_waiters: 100, max_loads: 16, load_deadline: A_SECOND, load };
    let subject = Near::open(terms);
    let told = [subject.get("bad").await, subject.get("good").await];
    if told == [Err(Failure::Abandoned), Ok(7)] && subject.group.flying() == 0 {
        return Ok(());
    }
    Err(format!("callers were told {told:?}"))
}

#[tokio::test(start_paused = true)]
async fn a_panicking_load_frees_its_key() {
    let near = rules::a_panicking_load_frees_its_key::<Near>;
    assert_eq!(near(Faults::none()).await, Ok(()));
    // The loader's own panic is caught before it can reach the guard.
    assert_eq!(near(Faults::with(Fault::GuardNotDropped)).await, Ok(()));
    assert_eq!(rules::a_panicking_load_frees_its_key::<Far>(Faults::none()).await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_panic_that_no_catch_sees_frees_its_key() {
    kept_unless(
        Fault::GuardNotDropped,
        a_panic_outside_the_loader_frees_its_key,
        "callers were told [Err(Deadline), Ok(7)]",
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_hanging_load_ends_at_its_deadline() {
    assert_eq!(rules::a_hanging_load_ends_at_its_deadline::<Near>(Faults::none()).await, Ok(()));
    assert_eq!(rules::a_hanging_load_ends_at_its_deadline::<Far>(Faults::none()).await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_leaves_strands_no_one() {
    let breach = "those who stayed got [Err(Abandoned), Err(Abandoned), Err(Abandoned)]";
    kept_unless(Fault::LeaderRunsInCaller, rules::a_caller_that_leaves_strands_no_one::<Near>, breach).await;
    kept_unless(Fault::LeaderRunsInCaller, rules::a_caller_that_leaves_strands_no_one::<Far>, breach).await;
}

#[tokio::test(start_paused = true)]
async fn the_errand_looks_again_before_it_loads() {
    kept_unless(
        Fault::NoSecondLookup,
        rules::the_errand_looks_again::<Near>,
        "1 loads of a stored value, which gave Ok(7)",
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_shared_by_all_who_wait() {
    kept_unless(Fault::ErrorPerWaiter, rules::a_failure_is_shared::<Near>, "10 loads for one failure").await;
    kept_unless(Fault::ErrorPerWaiter, rules::a_failure_is_shared::<Far>, "10 loads for one failure").await;
}

#[tokio::test(start_paused = true)]
async fn waiters_are_capped() {
    kept_unless(Fault::NoCap, rules::waiters_are_capped::<Near>, "10 callers wait where 4 may").await;
    assert_eq!(rules::waiters_are_capped::<Far>(Faults::none()).await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn loads_are_capped() {
    let breach = "10000 loads at once where 16 may run";
    kept_unless(Fault::NoCap, rules::loads_are_capped::<Near>, breach).await;
    kept_unless(Fault::NoCap, rules::loads_are_capped::<Far>, breach).await;
}

#[tokio::test(start_paused = true)]
async fn one_and_many_share_their_flights() {
    assert_eq!(rules::one_and_many_share_their_flights::<Near>(Faults::none()).await, Ok(()));
    assert_eq!(rules::one_and_many_share_their_flights::<Far>(Faults::none()).await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn of_many_a_panicking_load_spoils_no_other() {
    assert_eq!(rules::of_many_a_panicking_load_spoils_no_other::<Near>(Faults::none()).await, Ok(()));
    assert_eq!(rules::of_many_a_panicking_load_spoils_no_other::<Far>(Faults::none()).await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_caller_of_many_that_leaves_strands_no_one() {
    let breach = "those who stayed got [Err(Abandoned), Err(Abandoned), Err(Abandoned)]";
    let near = rules::a_caller_of_many_that_leaves_strands_no_one::<Near>;
    assert_eq!(near(Faults::none()).await, Ok(()));
    // Where the loader takes one key at a time each has an errand of its own, which that of many sends off.
    assert_eq!(near(Faults::with(Fault::LeaderRunsInCaller)).await, Ok(()));
    let far = rules::a_caller_of_many_that_leaves_strands_no_one::<Far>;
    kept_unless(Fault::LeaderRunsInCaller, far, breach).await;
}

#[tokio::test(start_paused = true)]
async fn waiters_for_many_are_capped() {
    let breach = "the caller got [Ok(7), Ok(7), Ok(7), Ok(7)]";
    kept_unless(Fault::NoCap, rules::waiters_for_many_are_capped::<Near>, breach).await;
    kept_unless(Fault::NoCap, rules::waiters_for_many_are_capped::<Far>, breach).await;
}
