//! The SQLite origin against files that another connection, or another program, writes meanwhile.

use std::future::Future;
use std::path::Path;
use std::pin::{Pin, pin};
use std::process::Command;
use std::task::{Context, Poll, Waker};

use rusqlite::Connection;
use tempfile::TempDir;

use super::*;

/// Longer than any test should take.
const LONG: Duration = Duration::from_secs(60);
const QUERY: &str = "select body from pages where id = ?1";
/// Ends at once, save for the key `forever`: there it counts for a minute or so, and gives another value.
const ENDLESS: &str = "with recursive n(x) as
    (select 1 union all select x + 1 from n where x < 3 or (?1 = 'forever' and x < 100000000))
    select max(x) from n";

/// A database in a directory of its own, and a connection that writes it.
struct Pages {
    dir: TempDir,
    writer: Connection,
}

impl Pages {
    fn new(journal_mode: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let writer = pages_in(&dir.path().join("app.db"), journal_mode, "first");
        Self { dir, writer }
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("app.db")
    }

    fn settings(&self, query: &str) -> SqliteSettings {
        SqliteSettings::new(self.file(), query.to_owned(), LONG)
    }

    fn open(&self) -> Sqlite {
        Sqlite::open(&self.settings(QUERY)).unwrap()
    }

    fn write(&self, body: &str) {
        self.writer.execute("update pages set body = ?1 where id = 'home'", [body]).unwrap();
    }
}

/// A new database at `file`, whose page `home` is `body`.
fn pages_in(file: &Path, journal_mode: &str, body: &str) -> Connection {
    let writer = Connection::open(file).unwrap();
    writer.pragma_update(None, "journal_mode", journal_mode).unwrap();
    writer.execute_batch("create table pages(id, body)").unwrap();
    writer.execute("insert into pages values ('home', ?1)", [body]).unwrap();
    writer
}

async fn home(sqlite: &Sqlite) -> String {
    text(sqlite.load(Key::from("home")).await.unwrap())
}

/// The line that a load of `home` fails with.
async fn failure(sqlite: &Sqlite) -> String {
    sqlite.load(Key::from("home")).await.unwrap_err().to_string()
}

fn text(value: Option<Bytes>) -> String {
    String::from_utf8(value.unwrap().to_vec()).unwrap()
}

/// Looks once whether the load has ended.
fn look<T>(load: Pin<&mut impl Future<Output = T>>) -> Poll<T> {
    load.poll(&mut Context::from_waker(Waker::noop()))
}

/// Begins a load of a file that is locked, and comes back when a thread waits for the lock.
fn begin_locked<T>(sqlite: &Sqlite, mut load: Pin<&mut impl Future<Output = T>>) {
    while sqlite.lock_waits() == 0 {
        assert!(look(load.as_mut()).is_pending(), "the load did not wait");
        std::thread::yield_now();
    }
}

/// The other program: runs SQL on a file, both given by the environment, when a test below starts it.
#[test]
#[ignore = "a program that other tests start"]
fn the_other_program() {
    if let (Ok(file), Ok(sql)) = (std::env::var("OTHER_FILE"), std::env::var("OTHER_SQL")) {
        Connection::open(file).unwrap().execute_batch(&sql).unwrap();
    }
}

fn run_the_other_program(file: &Path, sql: &str) {
    let done = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "origin::sqlite::tests::the_other_program", "--ignored"])
        .env("OTHER_FILE", file)
        .env("OTHER_SQL", sql)
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stdout));
    assert!(String::from_utf8_lossy(&done.stdout).contains("1 passed"));
}

#[tokio::test]
async fn the_value_is_the_first_column_of_the_first_row_as_bytes() {
    let pages = Pages::new("delete");
    let rows = "insert into pages values
        ('text', 'grüß'), ('blob', x'00ff'), ('integer', -42), ('real', 1.0), ('tenth', 0.1), ('huge', 1e300),
        ('null', null), ('empty', ''), ('twice', 'one'), ('twice', 'two'), (x'ff00', 'by blob')";
    pages.writer.execute_batch(rows).unwrap();
    let sqlite = pages.open();
    for (key, value) in [
        (&b"text"[..], Some("grüß".as_bytes())),
        (b"blob", Some(b"\x00\xff")),
        (b"integer", Some(b"-42")),
        (b"real", Some(b"1.0")),
        (b"tenth", Some(b"0.1")),
        (b"huge", Some(b"1e300")),
        (b"null", None),
        (b"empty", Some(b"")),
        (b"twice", Some(b"one")),
        (b"\xff\x00", Some(b"by blob")),
        (b"none", None),
    ] {
        let loaded = sqlite.load(Key::new(key)).await.unwrap();
        assert_eq!(loaded.as_deref(), value, "{}", Key::new(key));
    }
    assert_eq!(sqlite.loads(), 11);
}

#[test]
fn a_query_of_the_wrong_shape_is_refused_before_it_is_asked() {
    let pages = Pages::new("delete");
    for (query, line) in [
        ("select body from pages", "query refused: it has 0 parameters and needs exactly one"),
        ("select body from pages where id in (?1, ?2)", "query refused: it has 2 parameters"),
        ("select body from pages where id = ?2", "query refused: it has 2 parameters"),
        ("delete from pages where id = ?1", "query refused: it writes"),
        ("delete from pages where id = ?1 returning body", "query refused: it writes"),
        ("insert into pages values (?1, 1)", "query refused: it writes"),
        ("pragma journal_mode = wal", "query refused: it writes"),
        ("begin", "query refused: it gives no column"),
        ("attach ?1 as other", "query refused: it gives no column"),
        ("", "query refused: it gives no column"),
        ("-- nothing", "query refused: it gives no column"),
        ("select ?1; select 2", "query refused: it holds more than one statement"),
        ("select ?1; drop table pages", "query refused: it holds more than one statement"),
        ("selec ?1", "query refused: near \"selec\": syntax error, at byte 0"),
        ("select body from pages where id = ?1 and", "query refused: incomplete input"),
        ("select 'body from pages where id = ?1", "query refused: unrecognized token: \"'body from pages"),
    ] {
        let refusal = Sqlite::open(&pages.settings(query)).unwrap_err().to_string();
        assert!(refusal.starts_with(line), "{query}: {refusal}");
        assert_eq!(refusal.lines().count(), 1, "{refusal}");
    }
    for query in ["select ?1;", "select ?1 -- a remark", "select body from pages where id = :key"] {
        assert!(Sqlite::open(&pages.settings(query)).is_ok(), "{query}");
    }
}

#[tokio::test]
async fn what_may_come_right_is_tried_by_each_load_until_it_is() {
    let pages = Pages::new("delete");
    let path = |name: &str| pages.dir.path().join(name);
    let sqlite = Sqlite::open(&SqliteSettings { file: path("late.db"), ..pages.settings(QUERY) }).unwrap();
    let probe = async || sqlite.probe().await.unwrap_err().to_string();
    let missing = format!("no such file: {}", path("late.db").display());
    assert_eq!((failure(&sqlite).await, probe().await), (missing.clone(), missing));
    assert!(!path("late.db").exists(), "a read-only open makes no file");

    std::fs::create_dir(path("late.db")).unwrap();
    let line = format!("{} is not a file", path("late.db").display());
    assert_eq!((failure(&sqlite).await, probe().await), (line.clone(), line));
    std::fs::remove_dir(path("late.db")).unwrap();

    std::fs::write(path("late.db"), "no database, but long enough for a header".repeat(100)).unwrap();
    let line = failure(&sqlite).await;
    assert!(line.ends_with("late.db: file is not a database"), "{line}");
    assert_eq!(probe().await, line);

    std::fs::write(path("late.db"), "").unwrap();
    let line = "query refused: no such table: pages".to_owned();
    assert_eq!((failure(&sqlite).await, probe().await), (line.clone(), line));

    drop(pages_in(&path("late.db"), "delete", "at last"));
    sqlite.probe().await.unwrap();
    // Each of the four threads has to notice.
    for _ in 0..16 {
        assert_eq!(home(&sqlite).await, "at last");
    }
    assert_eq!(sqlite.loads(), 20, "a probe is no load");
}

#[tokio::test]
async fn a_query_that_proves_wrong_when_the_file_comes_fails_its_loads_with_what_is_wrong() {
    let pages = Pages::new("delete");
    let file = pages.dir.path().join("late.db");
    for (query, line) in [
        ("select body from pages", "query refused: it has 0 parameters and needs exactly one"),
        ("delete from pages where id = ?1 returning body", "query refused: it writes"),
        ("select ?1; select 2", "query refused: it holds more than one statement"),
        ("selec ?1", "query refused: near \"selec\": syntax error"),
    ] {
        let sqlite = Sqlite::open(&SqliteSettings { file: file.clone(), ..pages.settings(query) }).unwrap();
        std::fs::copy(pages.file(), &file).unwrap();
        for _ in 0..5 {
            let said = failure(&sqlite).await;
            assert!(said.starts_with(line), "{query}: {said}");
        }
        assert!(sqlite.probe().await.unwrap_err().to_string().starts_with(line));
        std::fs::remove_file(&file).unwrap();
    }
}

#[tokio::test]
async fn a_file_that_is_locked_at_start_is_read_when_it_is_free() {
    let pages = Pages::new("delete");
    pages.writer.execute_batch("begin exclusive").unwrap();
    let sqlite = pages.open();
    assert_eq!(sqlite.lock_waits(), 1, "the start has waited for it, a while");
    let mut load = pin!(home(&sqlite));
    while sqlite.lock_waits() < 2 {
        assert!(look(load.as_mut()).is_pending(), "the load did not wait");
        std::thread::yield_now();
    }
    pages.writer.execute_batch("rollback").unwrap();
    assert_eq!(load.await, "first");
}

#[tokio::test]
async fn names_that_mean_something_to_sqlite_are_files_all_the_same() {
    for name in [":memory:", "file:app.db?mode=memory"] {
        let pages = Pages::new("delete");
        let file = pages.dir.path().join(name);
        pages.writer.execute("vacuum into ?1", [format!("{}/copy", pages.dir.path().display())]).unwrap();
        std::fs::rename(pages.dir.path().join("copy"), &file).unwrap();
        let sqlite = Sqlite::open(&SqliteSettings { file, ..pages.settings(QUERY) }).unwrap();
        assert_eq!(home(&sqlite).await, "first", "{name}");
    }
}

#[tokio::test]
async fn what_another_program_commits_is_seen_by_the_next_load() {
    for journal_mode in ["delete", "wal"] {
        let Pages { dir, writer } = Pages::new(journal_mode);
        // With its last writer gone, a WAL database has no -wal and -shm files left.
        drop(writer);
        let file = dir.path().join("app.db");
        let sqlite = Sqlite::open(&SqliteSettings::new(file.clone(), QUERY.to_owned(), LONG)).unwrap();
        assert_eq!(home(&sqlite).await, "first", "{journal_mode}");
        for body in ["second", "third"] {
            run_the_other_program(&file, &format!("update pages set body = '{body}'"));
            assert_eq!(home(&sqlite).await, body, "{journal_mode}");
        }
    }
}

#[tokio::test]
async fn a_writer_in_the_midst_of_its_transaction_does_not_hold_up_a_load_in_wal_mode() {
    let pages = Pages::new("wal");
    let sqlite = pages.open();
    pages.writer.execute_batch("begin immediate; update pages set body = 'second'").unwrap();
    assert_eq!(home(&sqlite).await, "first");
    assert_eq!(sqlite.lock_waits(), 0);
    pages.writer.execute_batch("commit").unwrap();
    assert_eq!(home(&sqlite).await, "second");
}

#[tokio::test]
async fn a_load_waits_for_a_writer_that_has_locked_the_file() {
    let pages = Pages::new("delete");
    let sqlite = pages.open();
    pages.writer.execute_batch("begin exclusive; update pages set body = 'second'").unwrap();
    let mut load = pin!(home(&sqlite));
    begin_locked(&sqlite, load.as_mut());
    pages.writer.execute_batch("commit").unwrap();
    assert_eq!(load.await, "second");
}

#[tokio::test]
async fn a_load_that_finds_the_file_locked_until_its_deadline_says_so() {
    let pages = Pages::new("delete");
    let deadline = Duration::from_millis(50);
    let sqlite = Sqlite::open(&SqliteSettings { deadline, ..pages.settings(QUERY) }).unwrap();
    pages.writer.execute_batch("begin exclusive").unwrap();
    let failure = sqlite.load(Key::from("home")).await.unwrap_err();
    assert!(matches!(failure, OriginError::Locked { waited } if waited == deadline), "{failure}");
    pages.writer.execute_batch("rollback").unwrap();
    assert_eq!(text(reload(&sqlite).await), "first");
}

/// Loads `home`, as often as a deadline too short for a busy machine strikes.
async fn reload(sqlite: &Sqlite) -> Option<Bytes> {
    loop {
        match sqlite.load(Key::from("home")).await {
            Err(OriginError::Deadline { .. } | OriginError::Locked { .. }) => {}
            other => return other.unwrap(),
        }
    }
}

#[tokio::test]
async fn nothing_is_held_between_loads_so_that_a_wal_can_be_checkpointed_to_its_end() {
    let pages = Pages::new("wal");
    let sqlite = Sqlite::open(&SqliteSettings { threads: 1, ..pages.settings(QUERY) }).unwrap();
    // Two rows: the statement is left in the midst of its result.
    pages.writer.execute_batch("insert into pages values ('home', 'another')").unwrap();
    assert_eq!(home(&sqlite).await, "first");
    pages.write("second");
    let busy: i64 = pages.writer.query_row("pragma wal_checkpoint(truncate)", [], |row| row.get(0)).unwrap();
    assert_eq!(busy, 0, "a reader is in the way");
    assert_eq!(std::fs::metadata(pages.dir.path().join("app.db-wal")).unwrap().len(), 0);
}

#[tokio::test]
async fn a_wal_database_is_read_wherever_its_wal_can_be_made_and_fails_with_advice_elsewhere() {
    let Pages { dir, writer } = Pages::new("wal");
    drop(writer);
    let file = dir.path().join("app.db");
    assert!(!dir.path().join("app.db-wal").exists());
    let settings = SqliteSettings::new(file, QUERY.to_owned(), LONG);
    let mut permissions = std::fs::metadata(dir.path()).unwrap().permissions();
    permissions.set_readonly(true);
    std::fs::set_permissions(dir.path(), permissions).unwrap();
    // Root, and systems without such permissions, may write all the same.
    let writable = std::fs::write(dir.path().join("probe"), "").is_ok();
    let sqlite = Sqlite::open(&settings).unwrap();
    match sqlite.load(Key::from("home")).await {
        Ok(value) => {
            assert!(writable);
            assert_eq!(text(value), "first");
        }
        Err(refusal) => {
            assert!(!writable, "{refusal}");
            assert!(
                refusal.to_string().contains("in WAL mode it needs its -wal and -shm files"),
                "{refusal}"
            );
        }
    }
}

#[tokio::test]
async fn a_query_without_end_is_ended_at_its_deadline_and_frees_its_thread() {
    let pages = Pages::new("delete");
    let deadline = Duration::from_millis(50);
    let settings = SqliteSettings { threads: 1, deadline, ..pages.settings(ENDLESS) };
    let sqlite = Sqlite::open(&settings).unwrap();
    let failure = sqlite.load(Key::from("forever")).await.unwrap_err();
    assert!(matches!(failure, OriginError::Deadline { waited } if waited == deadline), "{failure}");
    assert_eq!(text(reload(&sqlite).await), "3");
}

#[tokio::test]
async fn a_full_queue_refuses_at_once_and_says_how_long_it_is() {
    let pages = Pages::new("delete");
    let settings = SqliteSettings { threads: 1, queue: 1, ..pages.settings(ENDLESS) };
    let sqlite = Sqlite::open(&settings).unwrap();
    let mut first = pin!(sqlite.load(Key::from("forever")));
    assert!(look(first.as_mut()).is_pending());
    // The thread has taken the first once there is room for the second.
    let mut second = loop {
        let mut load = Box::pin(sqlite.load(Key::from("forever")));
        if look(load.as_mut()).is_pending() {
            break load;
        }
        std::thread::yield_now();
    };
    let failure = sqlite.load(Key::from("home")).await.unwrap_err();
    assert!(matches!(failure, OriginError::Busy { waiting: 1 }), "{failure}");
    sqlite.bell.close();
    assert!(matches!(first.await, Err(OriginError::Closing)));
    assert!(matches!(second.as_mut().await, Err(OriginError::Closing)));
}

#[tokio::test]
async fn a_queue_of_any_length_takes_memory_only_for_what_waits_in_it() {
    let pages = Pages::new("delete");
    let sqlite = Sqlite::open(&SqliteSettings { queue: usize::MAX, ..pages.settings(QUERY) }).unwrap();
    assert_eq!(home(&sqlite).await, "first");
}

#[tokio::test]
async fn a_caller_that_goes_away_leaves_its_thread_to_the_next() {
    let pages = Pages::new("delete");
    let sqlite = Sqlite::open(&SqliteSettings { threads: 1, ..pages.settings(QUERY) }).unwrap();
    pages.writer.execute_batch("begin exclusive").unwrap();
    begin_locked(&sqlite, pin!(sqlite.load(Key::from("home"))));
    pages.writer.execute_batch("rollback").unwrap();
    assert_eq!(home(&sqlite).await, "first");
}

#[tokio::test]
async fn a_query_is_ended_when_its_caller_goes_away() {
    let pages = Pages::new("delete");
    let sqlite = Sqlite::open(&SqliteSettings { threads: 1, queue: 1, ..pages.settings(ENDLESS) }).unwrap();
    let mut endless = Box::pin(sqlite.load(Key::from("forever")));
    assert!(look(endless.as_mut()).is_pending());
    // Behind the first, which its thread has most likely begun. Either way it would be a minute until this one's turn.
    let mut next = loop {
        let mut load = Box::pin(sqlite.load(Key::from("home")));
        if look(load.as_mut()).is_pending() {
            break load;
        }
        std::thread::yield_now();
    };
    drop(endless);
    let deadline = Duration::from_secs(20);
    let loaded = tokio::time::timeout(deadline, next.as_mut()).await.expect("the query runs on");
    assert_eq!(text(loaded.unwrap()), "3");
}

#[test]
fn dropping_the_origin_ends_its_queries_and_its_threads() {
    let pages = Pages::new("delete");
    let sqlite = pages.open();
    pages.writer.execute_batch("begin exclusive").unwrap();
    begin_locked(&sqlite, pin!(sqlite.load(Key::from("home"))));
    // A thread waits for a lock that is never given up, with most of a minute to its deadline.
    let bell = Arc::downgrade(&sqlite.bell);
    drop(sqlite);
    assert_eq!(bell.strong_count(), 0, "a thread still has its alarm");
}

#[test]
fn a_thread_that_a_file_system_holds_is_left_behind_when_the_origin_is_dropped() {
    let pages = Pages::new("delete");
    let sqlite = pages.open();
    // As a read that does not come back.
    let (release, held) = channel::<()>();
    let (begin, began) = channel();
    sqlite
        .send(Box::new(move |_| {
            begin.send(()).unwrap();
            let _ = held.recv();
        }))
        .unwrap();
    began.recv().unwrap();
    let bell = Arc::downgrade(&sqlite.bell);
    drop(sqlite);
    assert!(bell.strong_count() > 0, "the drop has waited for the thread that is held");
    drop(release);
    while bell.strong_count() > 0 {
        std::thread::yield_now();
    }
}

#[tokio::test]
async fn a_file_that_is_replaced_is_read_anew_by_the_next_load() {
    let pages = Pages::new("delete");
    let sqlite = pages.open();
    assert_eq!(home(&sqlite).await, "first");
    drop(pages_in(&pages.dir.path().join("new.db"), "delete", "replaced"));
    std::fs::rename(pages.dir.path().join("new.db"), pages.file()).unwrap();
    // Each of the four threads has to notice.
    for _ in 0..16 {
        assert_eq!(home(&sqlite).await, "replaced");
    }
}

#[tokio::test]
async fn a_file_that_is_gone_fails_its_loads_until_it_is_back() {
    let pages = Pages::new("delete");
    let sqlite = pages.open();
    std::fs::rename(pages.file(), pages.dir.path().join("away.db")).unwrap();
    let failure = sqlite.load(Key::from("home")).await.unwrap_err();
    assert!(matches!(failure, OriginError::Open(OpenError::Missing(_))), "{failure}");
    std::fs::rename(pages.dir.path().join("away.db"), pages.file()).unwrap();
    assert_eq!(home(&sqlite).await, "first");
}

#[tokio::test]
async fn a_schema_that_changes_under_the_query_fails_loads_only_while_it_does_not_fit() {
    let pages = Pages::new("wal");
    let sqlite = Sqlite::open(&SqliteSettings { threads: 1, ..pages.settings(QUERY) }).unwrap();
    assert_eq!(home(&sqlite).await, "first");
    pages.writer.execute_batch("alter table pages rename column body to content").unwrap();
    let failed = failure(&sqlite).await;
    assert!(failed.contains("no such column: body"), "{failed}");
    let failure = sqlite.load(Key::from("home")).await.unwrap_err();
    assert!(matches!(failure, OriginError::Open(OpenError::Query(_))), "{failure}");
    pages.writer.execute_batch("alter table pages rename column content to body").unwrap();
    assert_eq!(home(&sqlite).await, "first");
}
