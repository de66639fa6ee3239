//! The flight contract as rules that a group keeps, whichever group it is.
//!
//! Each rule drives a `Subject` and says in words how it was broken. The tests of the flight table hold a small
//! group to them, the tests of `Group` the product's own, each with no fault and then with the fault that breaks
//! the rule. Time is tokio's, paused: a wait that would never end is cut off in virtual time and reported like
//! any other breach, so no rule hangs.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Waker};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::fault::Faults;
use crate::units::Key;

/// What the loader of a rule says: a value, or the number of an error.
pub(crate) type Loaded = Result<u64, u64>;

/// The loader of a rule.
pub(crate) type Load = Arc<dyn Fn(Key) -> Pin<Box<dyn Future<Output = Loaded> + Send>> + Send + Sync>;

/// How a get may fail, as far as the rules tell failures apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The loader's own error, by its number.
    Load(u64),
    /// The load ended without an outcome: it panicked.
    Abandoned,
    /// A limit was reached.
    Busy,
    /// The load took longer than it may.
    Deadline,
}

/// What a subject is opened with.
#[derive(Clone)]
pub(crate) struct Terms {
    pub(crate) faults: Faults,
    pub(crate) max_waiters: usize,
    pub(crate) max_loads: usize,
    pub(crate) load_deadline: Duration,
    pub(crate) load: Load,
}

/// A group that the rules can drive.
pub(crate) trait Subject: Clone + Send + Sync + 'static {
    fn open(terms: Terms) -> Self;
    fn get(&self, key: &str) -> impl Future<Output = Got> + Send;
    fn get_many(&self, keys: &[&str]) -> impl Future<Output = Vec<Got>> + Send;
    /// Stores a value, as the user's `set` does. Must be done at the first poll where the key is this node's own.
    fn set(&self, key: &str, value: u64) -> impl Future<Output = ()> + Send;
    fn waiters(&self) -> usize;
}

/// What a get of a subject gives.
pub(crate) type Got = Result<u64, Failure>;

/// Longer than any load deadline of a rule, so that only a hang reaches it.
const FOR_EVER: Duration = Duration::from_secs(3600);
const LOAD_DEADLINE: Duration = Duration::from_secs(10);
const A_SECOND: Duration = Duration::from_secs(1);

impl Terms {
    fn new(faults: Faults, load: Load) -> Self {
        Self { faults, max_waiters: 100_000, max_loads: 256, load_deadline: LOAD_DEADLINE, load }
    }
}

/// A loader that counts its calls and gives what `say` makes of each call's number, from 1 on.
fn counting<F>(say: impl Fn(usize) -> F + Send + Sync + 'static) -> (Load, Arc<AtomicUsize>)
where
    F: Future<Output = Loaded> + Send + 'static,
{
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    (Arc::new(move |_| Box::pin(say(counted.fetch_add(1, Ordering::Relaxed) + 1))), calls)
}

/// Starts `n` gets of one key, each in its own task, none of which waits for ever.
fn callers<S: Subject>(subject: &S, n: usize) -> Vec<JoinHandle<Option<Got>>> {
    let call = |_| {
        let subject = subject.clone();
        tokio::spawn(async move { timeout(FOR_EVER, subject.get("Tom")).await.ok() })
    };
    (0..n).map(call).collect()
}

/// What each caller got; `Err` if one of them hung or panicked.
async fn all(callers: Vec<JoinHandle<Option<Got>>>) -> Result<Vec<Got>, String> {
    let mut got = Vec::with_capacity(callers.len());
    for caller in callers {
        let answer = caller.await.map_err(|_| "a caller was torn down by the load's panic")?;
        got.push(answer.ok_or("a caller waited for ever")?);
    }
    Ok(got)
}

fn demand(kept: bool, breach: impl FnOnce() -> String) -> Result<(), String> {
    if kept { Ok(()) } else { Err(breach()) }
}

/// A load that panics frees its key: those who waited are told, and the next get loads anew.
///
/// Broken by `GuardNotDropped`.
pub(crate) async fn a_panicking_load_frees_its_key<S: Subject>(faults: Faults) -> Result<(), String> {
    let (load, _) = counting(|call| async move {
        sleep(A_SECOND).await;
        assert!(call > 1, "the loader's panic, as planned");
        Ok(7)
    });
    let subject = S::open(Terms::new(faults, load));
    let told = all(callers(&subject, 3)).await?;
    demand(told.iter().all(|got| *got == Err(Failure::Abandoned)), || format!("waiters were told {told:?}"))?;
    let next = all(callers(&subject, 1)).await?;
    demand(next == [Ok(7)], || format!("the next get gave {next:?}"))
}

/// A load that hangs ends at its deadline, for all who wait, and frees its key.
///
/// Broken by no fault of ours: the deadline is the errand's own, not the table's.
pub(crate) async fn a_hanging_load_ends_at_its_deadline<S: Subject>(faults: Faults) -> Result<(), String> {
    let (load, _) =
        counting(|call| async move { if call == 1 { std::future::pending().await } else { Ok(7) } });
    let subject = S::open(Terms::new(faults, load));
    let told = all(callers(&subject, 3)).await?;
    demand(told.iter().all(|got| *got == Err(Failure::Deadline)), || format!("waiters were told {told:?}"))?;
    let next = all(callers(&subject, 1)).await?;
    demand(next == [Ok(7)], || format!("the next get gave {next:?}"))
}

/// A caller that leaves, even the one who began the flight, strands no one and costs no second load.
///
/// Broken by `LeaderRunsInCaller`.
pub(crate) async fn a_caller_that_leaves_strands_no_one<S: Subject>(faults: Faults) -> Result<(), String> {
    let (load, calls) = counting(|_| async {
        sleep(A_SECOND).await;
        Ok(7)
    });
    let subject = S::open(Terms::new(faults, load));
    let mut leader = Box::pin(subject.get("Tom"));
    // The leader begins the flight, the others join it, and then he goes.
    demand(poll_once(leader.as_mut()).is_none(), || "the leader did not wait".into())?;
    let waiters = callers(&subject, 3);
    sleep(A_SECOND / 2).await;
    drop(leader);
    let got = all(waiters).await?;
    demand(got.iter().all(|got| *got == Ok(7)), || format!("those who stayed got {got:?}"))?;
    let loads = calls.load(Ordering::Relaxed);
    demand(loads == 1, || format!("{loads} loads"))?;
    demand(subject.waiters() == 0, || format!("{} waiters are counted for ever", subject.waiters()))
}

/// What was stored between a caller's lookup and his flight's take-off is found, not loaded again.
///
/// Broken by `NoSecondLookup`.
pub(crate) async fn the_errand_looks_again<S: Subject>(faults: Faults) -> Result<(), String> {
    let (load, calls) = counting(|_| async { Ok(7) });
    let subject = S::open(Terms::new(faults, load));
    // The first poll looks, finds nothing and spawns the errand, which cannot run before we await something.
    let mut get = Box::pin(subject.get("Tom"));
    demand(poll_once(get.as_mut()).is_none(), || "the get did not wait".into())?;
    let mut set = Box::pin(subject.set("Tom", 8));
    demand(poll_once(set.as_mut()).is_some(), || "the set did not end at its first poll".into())?;
    let got = timeout(FOR_EVER, get).await.map_err(|_| "the get waited for ever")?;
    let loads = calls.load(Ordering::Relaxed);
    demand(loads == 0, || format!("{loads} loads of a stored value, which gave {got:?}"))?;
    demand(got == Ok(8), || format!("the get gave {got:?}"))
}

/// A load that fails is told to all who wait, as one and the same error, and none of them loads again.
///
/// Broken by `ErrorPerWaiter`.
pub(crate) async fn a_failure_is_shared<S: Subject>(faults: Faults) -> Result<(), String> {
    let (load, calls) = counting(|call| async move {
        sleep(A_SECOND).await;
        Err(call as u64)
    });
    let subject = S::open(Terms::new(faults, load));
    let told = all(callers(&subject, 10)).await?;
    let loads = calls.load(Ordering::Relaxed);
    demand(loads == 1, || format!("{loads} loads for one failure"))?;
    demand(told.iter().all(|got| *got == Err(Failure::Load(1))), || format!("waiters were told {told:?}"))
}

/// No more than `max_waiters` wait; those past it are told so at once; and the places come back.
///
/// Broken by `NoCap`.
pub(crate) async fn waiters_are_capped<S: Subject>(faults: Faults) -> Result<(), String> {
    const MAX: usize = 4;
    let (load, _) = counting(|_| async {
        sleep(A_SECOND).await;
        Ok(7)
    });
    let subject = S::open(Terms { max_waiters: MAX, ..Terms::new(faults, load) });
    let gets = callers(&subject, 10);
    sleep(A_SECOND / 2).await;
    let waiting = subject.waiters();
    demand(waiting <= MAX, || format!("{waiting} callers wait where {MAX} may"))?;
    let got = all(gets).await?;
    let served = got.iter().filter(|got| **got == Ok(7)).count();
    let busy = got.iter().filter(|got| **got == Err(Failure::Busy)).count();
    demand((served, busy) == (MAX, 10 - MAX), || format!("{served} served, {busy} told that it is busy"))?;
    demand(subject.waiters() == 0, || format!("{} waiters are counted for ever", subject.waiters()))
}

/// 10,000 cold keys at once: never more than `max_loads` in the loader, and every caller gets a value or `Busy`.
///
/// Broken by `NoCap`.
pub(crate) async fn loads_are_capped<S: Subject>(faults: Faults) -> Result<(), String> {
    const MAX: usize = 16;
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let most_seen = Arc::clone(&most);
    let (load, _) = counting(move |_| {
        let (running, most) = (Arc::clone(&running), Arc::clone(&most));
        async move {
            most.fetch_max(running.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
            sleep(Duration::from_millis(1)).await;
            running.fetch_sub(1, Ordering::Relaxed);
            Ok(7)
        }
    });
    let subject = S::open(Terms { max_loads: MAX, ..Terms::new(faults, load) });
    let get = |n: usize| {
        let subject = subject.clone();
        tokio::spawn(async move { timeout(FOR_EVER, subject.get(&n.to_string())).await.ok() })
    };
    let got = all((0..10_000).map(get).collect()).await?;
    let most = most_seen.load(Ordering::Relaxed);
    demand(most <= MAX, || format!("{most} loads at once where {MAX} may run"))?;
    let odd = got.iter().find(|got| !matches!(got, Ok(7) | Err(Failure::Busy)));
    demand(odd.is_none(), || format!("a caller got {odd:?}"))?;
    let served = got.iter().filter(|got| got.is_ok()).count();
    demand(served >= MAX, || format!("only {served} callers were served"))
}

/// Half of the callers want one of a few cold keys, half want them all, in another order each and one of them twice:
/// each key is loaded once, and everybody gets every value.
///
/// Broken by no fault of ours: whoever claims many keys claims each as if it were alone.
pub(crate) async fn one_and_many_share_their_flights<S: Subject>(faults: Faults) -> Result<(), String> {
    const KEYS: [&str; 8] = ["0", "1", "2", "3", "4", "5", "6", "7"];
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let load: Load = Arc::new(move |key| {
        counted.fetch_add(1, Ordering::Relaxed);
        Box::pin(async move {
            sleep(A_SECOND).await;
            Ok(key.to_str().unwrap_or_default().parse().unwrap_or(99))
        })
    });
    let subject = S::open(Terms::new(faults, load));
    let call = |n: usize| {
        let subject = subject.clone();
        tokio::spawn(async move {
            let mut keys = KEYS.to_vec();
            keys.rotate_left(n % KEYS.len());
            keys.push(KEYS[0]);
            let got = if n.is_multiple_of(2) {
                keys.truncate(1);
                vec![timeout(FOR_EVER, subject.get(keys[0])).await.ok()?]
            } else {
                timeout(FOR_EVER, subject.get_many(&keys)).await.ok()?
            };
            let right = keys.iter().map(|key| Ok(key.parse().unwrap_or(98))).collect::<Vec<Got>>();
            Some(if got == right { Ok(0) } else { Err(Failure::Load(n as u64)) })
        })
    };
    let told = all((0..100).map(call).collect()).await?;
    demand(told.iter().all(|told| *told == Ok(0)), || {
        format!("some got what they had not asked for: {told:?}")
    })?;
    let loads = calls.load(Ordering::Relaxed);
    demand(loads == KEYS.len(), || format!("{loads} loads of {} keys", KEYS.len()))?;
    demand(subject.waiters() == 0, || format!("{} waiters are counted for ever", subject.waiters()))
}

/// Of many keys one whose load panics spoils no other, and all are free again.
///
/// Broken by `GuardNotDropped`, where the panic reaches the guard.
pub(crate) async fn of_many_a_panicking_load_spoils_no_other<S: Subject>(
    faults: Faults,
) -> Result<(), String> {
    let load: Load = Arc::new(|key| {
        Box::pin(async move {
            sleep(A_SECOND).await;
            assert!(key != Key::from("bad"), "the loader's panic, as planned");
            Ok(7)
        })
    });
    let subject = S::open(Terms::new(faults, load));
    let told = timeout(FOR_EVER, subject.get_many(&["a", "bad", "b"])).await;
    let told = told.map_err(|_| "a caller waited for ever")?;
    demand(told == [Ok(7), Err(Failure::Abandoned), Ok(7)], || format!("the caller was told {told:?}"))?;
    demand(subject.waiters() == 0, || format!("{} waiters are counted for ever", subject.waiters()))?;
    let next = timeout(FOR_EVER, subject.get("bad")).await;
    demand(next == Ok(Err(Failure::Abandoned)), || format!("the next get gave {next:?}"))
}

/// A caller of many keys who leaves strands none of those who share his flights, and costs no second load.
///
/// Broken by `LeaderRunsInCaller`.
pub(crate) async fn a_caller_of_many_that_leaves_strands_no_one<S: Subject>(
    faults: Faults,
) -> Result<(), String> {
    let (load, calls) = counting(|_| async {
        sleep(A_SECOND).await;
        Ok(7)
    });
    let subject = S::open(Terms::new(faults, load));
    let mut leader = Box::pin(subject.get_many(&["Jack", "Tom", "Sam"]));
    demand(poll_once(leader.as_mut()).is_none(), || "the leader did not wait".into())?;
    let waiters = callers(&subject, 3);
    sleep(A_SECOND / 2).await;
    drop(leader);
    let got = all(waiters).await?;
    demand(got.iter().all(|got| *got == Ok(7)), || format!("those who stayed got {got:?}"))?;
    let loads = calls.load(Ordering::Relaxed);
    demand(loads == 3, || format!("{loads} loads of three keys"))?;
    demand(subject.waiters() == 0, || format!("{} waiters are counted for ever", subject.waiters()))
}

/// Of many keys as many wait as may; those past it are told so at once.
///
/// Broken by `NoCap`.
pub(crate) async fn waiters_for_many_are_capped<S: Subject>(faults: Faults) -> Result<(), String> {
    let (load, _) = counting(|_| async {
        sleep(A_SECOND).await;
        Ok(7)
    });
    let subject = S::open(Terms { max_waiters: 2, ..Terms::new(faults, load) });
    let got = timeout(FOR_EVER, subject.get_many(&["a", "b", "c", "a"])).await;
    let got = got.map_err(|_| "a caller waited for ever")?;
    let (served, busy) = (Ok(7), Err(Failure::Busy));
    demand(got == [served.clone(), served, busy.clone(), busy], || format!("the caller got {got:?}"))?;
    demand(subject.waiters() == 0, || format!("{} waiters are counted for ever", subject.waiters()))
}

/// Polls without a waker: for what a caller does before he first waits.
fn poll_once<F: Future>(future: Pin<&mut F>) -> Option<F::Output> {
    match future.poll(&mut Context::from_waker(Waker::noop())) {
        std::task::Poll::Ready(output) => Some(output),
        std::task::Poll::Pending => None,
    }
}
