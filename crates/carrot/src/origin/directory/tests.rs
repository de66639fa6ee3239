//! The directory origin against keys that try to get out of it, and against a directory that changes meanwhile.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use rustix::fs::{CWD, Mode, mkfifoat};
use tempfile::TempDir;

use super::*;

const LIMIT: u64 = 1000;

/// A directory `public` with a file `good.txt` in it and another in `sub`, and beside it a file that nobody may see.
struct Public {
    outside: TempDir,
    origin: Directory,
}

impl Public {
    fn new() -> Self {
        let outside = tempfile::tempdir().unwrap();
        let root = outside.path().join("public");
        fs::create_dir_all(root.join("sub")).unwrap();
        fs::write(outside.path().join("secret"), "secret").unwrap();
        fs::write(root.join("good.txt"), "good").unwrap();
        fs::write(root.join("sub/good.txt"), "below").unwrap();
        let origin = Directory::new(root, ByteSize::bytes(LIMIT));
        Self { outside, origin }
    }

    fn root(&self) -> &Path {
        &self.origin.root.path
    }

    async fn load(&self, key: impl AsRef<[u8]>) -> Result<Option<Bytes>, OriginError> {
        self.origin.load(&Key::new(key.as_ref())).await
    }

    /// Each of these names nothing, and the good file beside is there all the same.
    async fn has_none_of(&self, keys: &[impl AsRef<[u8]>]) {
        for key in keys {
            let shown = key.as_ref().escape_ascii();
            assert_eq!(self.load(key).await.unwrap(), None, "{shown}");
            assert_eq!(self.load("good.txt").await.unwrap().as_deref(), Some(&b"good"[..]), "{shown}");
        }
    }

    async fn failure(&self, key: &str) -> String {
        carrotcache::with_causes(&self.load(key).await.unwrap_err())
    }
}

#[tokio::test]
async fn a_key_names_a_file_by_its_bytes() {
    let public = Public::new();
    let root = public.root();
    for name in [&b"a b+c%20.txt"[..], "grüß".as_bytes(), b"\xff\xfe", b"line\nend", b"~", b"a..b", b"c:d"]
    {
        fs::write(root.join(OsStr::from_bytes(name)), name).unwrap();
        assert_eq!(public.load(name).await.unwrap().as_deref(), Some(name), "{}", name.escape_ascii());
    }
    fs::write(root.join("empty"), "").unwrap();
    assert_eq!(public.load("empty").await.unwrap().as_deref(), Some(&b""[..]));
    assert_eq!(public.load("sub/good.txt").await.unwrap().as_deref(), Some(&b"below"[..]));
    assert_eq!(public.origin.loads(), 9);
}

#[tokio::test]
async fn no_spelling_of_a_key_leads_out_of_the_directory_or_to_what_is_hidden() {
    let public = Public::new();
    let root = public.root();
    fs::create_dir_all(root.join(".git")).unwrap();
    fs::create_dir_all(root.join("...")).unwrap();
    for hidden in [".env", ".git/config", "sub/.env", ".../good.txt", "back\\slash"] {
        fs::write(root.join(hidden), "hidden").unwrap();
    }
    let absolute = public.outside.path().join("secret").to_str().unwrap().to_owned();
    let inside = root.join("good.txt").to_str().unwrap().to_owned();
    let up = format!("{}good.txt", "../".repeat(1000));
    let long = "n".repeat(10_000);
    public
        .has_none_of(&[
            "none",
            "none/good.txt",
            "",
            ".",
            "..",
            "/",
            "//",
            "./good.txt",
            "../secret",
            "../public/good.txt",
            "sub/..",
            "sub/../good.txt",
            "sub/../../secret",
            "sub/./good.txt",
            "..//secret",
            "/good.txt",
            "//good.txt",
            "sub//good.txt",
            "good.txt/",
            "good.txt/.",
            "good.txt/x",
            "sub",
            "sub/",
            ".env",
            ".git/config",
            "sub/.env",
            ".../good.txt",
            "back\\slash",
            "..\\secret",
            "sub\\good.txt",
            "\0",
            "good.txt\0",
            "good\0.txt",
            "../secret\0.txt",
            "sub/\0",
            "\0/../secret",
            "%2e%2e/secret",
            "/etc/passwd",
            &absolute,
            &inside,
            &up,
            &long,
            &format!("sub/{long}"),
        ])
        .await;
    public.has_none_of(&[b"\xff", &b"\xc0\xae\xc0\xae/secret"[..], b"..\xc0\xafsecret"]).await;
}

#[tokio::test]
async fn no_link_is_followed_wherever_it_leads() {
    let public = Public::new();
    let (root, outside) = (public.root(), public.outside.path());
    for (target, link) in [
        (outside.join("secret"), "out"),
        ("../secret".into(), "out-relative"),
        ("..".into(), "parent"),
        ("../..".into(), "further"),
        ("/".into(), "slash"),
        (".".into(), "here"),
        ("good.txt".into(), "in"),
        ("sub".into(), "in-directory"),
        ("../good.txt".into(), "sub/in"),
        ("itself".into(), "itself"),
        ("nowhere".into(), "dangling"),
        ("/dev/zero".into(), "zero"),
        ("/proc/self/root".into(), "magic"),
    ] {
        symlink(target, root.join(link)).unwrap();
    }
    public
        .has_none_of(&[
            "out",
            "out-relative",
            "parent",
            "parent/secret",
            "parent/public/good.txt",
            "further/etc/passwd",
            "slash/etc/passwd",
            "here",
            "here/good.txt",
            "here/here/sub/good.txt",
            "in",
            "in-directory",
            "in-directory/good.txt",
            "sub/in",
            "itself",
            "itself/good.txt",
            "dangling",
            "zero",
            "magic",
            "magic/etc/passwd",
        ])
        .await;
    // A second name of a file is no link: nothing tells which of the two was first.
    fs::hard_link(root.join("good.txt"), root.join("second.txt")).unwrap();
    assert_eq!(public.load("second.txt").await.unwrap().as_deref(), Some(&b"good"[..]));
}

#[tokio::test]
async fn what_is_no_regular_file_is_not_found_and_holds_nobody_up() {
    let public = Public::new();
    mkfifoat(CWD, public.root().join("pipe"), Mode::RWXU).unwrap();
    let _listener = UnixListener::bind(public.root().join("socket")).unwrap();
    public.has_none_of(&["pipe", "pipe/good.txt", "socket", "sub"]).await;
    let devices = Directory::new("/dev".into(), ByteSize::bytes(LIMIT));
    for device in ["null", "zero", "tty"] {
        assert_eq!(devices.load(&Key::from(device)).await.unwrap(), None, "{device}");
    }
}

#[test]
fn what_takes_the_place_of_a_file_after_a_look_at_it_is_neither_followed_nor_read_nor_waited_for() {
    let public = Public::new();
    let root = public.root();
    mkfifoat(CWD, root.join("pipe"), Mode::RWXU).unwrap();
    symlink("good.txt", root.join("in")).unwrap();
    symlink("../secret", root.join("out")).unwrap();
    let _listener = UnixListener::bind(root.join("socket")).unwrap();
    let directory = public.origin.root.open().unwrap();
    let open = |name: &str| open_file(&directory, OsStr::new(name));
    assert!(matches!(open("good.txt"), Ok(Some((_, 4)))));
    for name in ["pipe", "sub"] {
        assert!(matches!(open(name), Ok(None)), "{name}");
    }
    for name in ["in", "out", "socket"] {
        assert!(names_nothing(&open(name).unwrap_err()), "{name}");
    }
}

#[tokio::test]
async fn a_file_over_the_limit_is_an_error_that_says_its_size_and_the_next_is_read() {
    let public = Public::new();
    fs::write(public.root().join("full"), vec![7; 1000]).unwrap();
    assert_eq!(public.load("full").await.unwrap().unwrap().len(), 1000);
    fs::write(public.root().join("over"), vec![7; 1001]).unwrap();
    assert_eq!(public.failure("over").await, "the file of 1001 bytes is over the limit of 1000");
    // Nobody has room for this one: its length alone is looked at.
    let huge = fs::File::create(public.root().join("huge")).unwrap();
    huge.set_len(1 << 40).unwrap();
    assert_eq!(public.failure("huge").await, "the file of 1099511627776 bytes is over the limit of 1000");
    assert_eq!(public.load("good.txt").await.unwrap().as_deref(), Some(&b"good"[..]));
}

/// Grows faster than it is read.
struct Growing {
    read: u64,
}

impl Read for Growing {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.read += buffer.len() as u64;
        assert!(self.read <= 4 * LIMIT, "it is read on and on");
        buffer.fill(7);
        Ok(buffer.len())
    }
}

#[test]
fn a_file_that_grows_while_it_is_read_is_read_to_the_limit_and_not_beyond() {
    for length in [0, 10, LIMIT] {
        let failure = content(Growing { read: 0 }, length, LIMIT).unwrap_err().to_string();
        assert_eq!(failure, "the file of 1001 bytes is over the limit of 1000");
    }
    // One that was truncated meanwhile, or has grown by a little, is what was read of it.
    assert_eq!(content(&b"short"[..], 900, LIMIT).unwrap(), "short");
    assert_eq!(content(&b"longer"[..], 2, LIMIT).unwrap(), "longer");
    assert_eq!(content(&[7; 1000][..], 2, LIMIT).unwrap().len(), 1000);
}

/// Ends what another thread does, also when an assertion fails.
struct Ending<'a>(&'a AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

#[test]
fn a_file_that_is_replaced_by_a_rename_is_read_whole_old_or_new() {
    let public = Public::new();
    let (root, replacing) = (public.root(), AtomicBool::new(true));
    let bodies = [vec![b'a'; 900], vec![b'b'; 500]];
    fs::write(root.join("page"), &bodies[0]).unwrap();
    std::thread::scope(|scope| {
        let _end = Ending(&replacing);
        scope.spawn(|| {
            for body in bodies.iter().cycle().take_while(|_| replacing.load(Ordering::Relaxed)) {
                fs::write(root.join("new"), body).unwrap();
                fs::rename(root.join("new"), root.join("page")).unwrap();
            }
        });
        let reader = Root { path: root.to_owned(), limit: LIMIT };
        for _ in 0..2000 {
            let read = reader.read(b"page").unwrap().unwrap();
            assert!(bodies.iter().any(|body| read == body), "{} bytes of {:?}", read.len(), read.first());
        }
    });
}

#[tokio::test]
async fn a_root_that_is_not_there_fails_every_key_until_it_is() {
    let public = Public::new();
    let away = public.outside.path().join("away");
    fs::rename(public.root(), &away).unwrap();
    let line = format!("no such directory: {}", public.root().display());
    for key in ["good.txt", "none", "../secret", ".env"] {
        assert_eq!(public.failure(key).await, line);
    }
    assert_eq!(public.origin.probe().await.unwrap_err().to_string(), line);
    fs::write(public.root(), "a file").unwrap();
    let line = format!("{} is not a directory", public.root().display());
    assert_eq!(public.failure("good.txt").await, line);
    assert_eq!(public.origin.probe().await.unwrap_err().to_string(), line);
    fs::remove_file(public.root()).unwrap();
    fs::rename(&away, public.root()).unwrap();
    public.origin.probe().await.unwrap();
    assert_eq!(public.load("good.txt").await.unwrap().as_deref(), Some(&b"good"[..]));
    assert_eq!(public.origin.loads(), 6, "a probe is no load");
}

#[tokio::test]
async fn a_root_that_is_replaced_is_read_anew_and_may_be_a_link() {
    let public = Public::new();
    assert_eq!(public.load("good.txt").await.unwrap().as_deref(), Some(&b"good"[..]));
    let path = |name: &str| public.outside.path().join(name);
    for release in ["one", "two"] {
        fs::create_dir(path(release)).unwrap();
        fs::write(path(release).join("good.txt"), release).unwrap();
    }
    fs::rename(public.root(), path("away")).unwrap();
    fs::rename(path("one"), public.root()).unwrap();
    assert_eq!(public.load("good.txt").await.unwrap().as_deref(), Some(&b"one"[..]));
    fs::rename(public.root(), path("one")).unwrap();
    for release in ["one", "two"] {
        symlink(release, path("link")).unwrap();
        fs::rename(path("link"), public.root()).unwrap();
        assert_eq!(public.load("good.txt").await.unwrap().as_deref(), Some(release.as_bytes()));
    }
}

#[tokio::test]
async fn a_file_or_a_directory_that_we_may_not_read_is_an_error_and_not_an_absence() {
    let public = Public::new();
    let root = public.root();
    fs::create_dir(root.join("closed")).unwrap();
    fs::write(root.join("closed/file"), "x").unwrap();
    fs::write(root.join("unreadable"), "x").unwrap();
    for name in ["closed", "unreadable"] {
        fs::set_permissions(root.join(name), fs::Permissions::from_mode(0o000)).unwrap();
    }
    // Root may read all the same.
    let readable = fs::read(root.join("unreadable")).is_ok();
    for key in ["closed/file", "unreadable"] {
        match public.load(key).await {
            Ok(found) => assert!(readable && found.as_deref() == Some(b"x"), "{key}: {found:?}"),
            Err(failure) => {
                assert!(!readable, "{failure}");
                let line = carrotcache::with_causes(&failure);
                assert!(line.starts_with("the file cannot be read: Permission denied"), "{line}");
            }
        }
    }
    fs::set_permissions(root.join("closed"), fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn failures_that_say_that_there_is_nothing_are_told_from_those_that_may_pass() {
    let failure = |errno: Errno| io::Error::from_raw_os_error(errno.raw_os_error());
    for errno in [Errno::NOENT, Errno::NOTDIR, Errno::LOOP, Errno::NAMETOOLONG, Errno::NXIO, Errno::ILSEQ] {
        assert!(names_nothing(&failure(errno)), "{errno}");
    }
    for errno in [Errno::ACCESS, Errno::PERM, Errno::IO, Errno::MFILE, Errno::NFILE, Errno::STALE] {
        assert!(!names_nothing(&failure(errno)), "{errno}");
    }
    assert!(!names_nothing(&io::Error::other("of no number")));
}

#[tokio::test]
async fn reads_that_hang_hold_their_places_and_no_more_of_the_runtime() {
    let public = Public::new();
    let (release, held) = std::sync::mpsc::channel::<()>();
    let held = Arc::new(std::sync::Mutex::new(held));
    let hang = || {
        let held = Arc::clone(&held);
        public.origin.on_a_thread(move |_| {
            // Until the sender is gone, as a file system hangs until its server is back.
            let _ = held.lock().unwrap().recv();
            Ok(())
        })
    };
    let mut hanging: Vec<_> = (0..READS).map(|_| Box::pin(hang())).collect();
    for read in &mut hanging {
        assert!(is_pending(read.as_mut()));
    }
    assert_eq!(public.origin.reads.available_permits(), 0);
    let mut next = Box::pin(public.load("good.txt"));
    assert!(is_pending(next.as_mut()));
    // Those who asked are gone, and the places are taken all the same.
    drop(hanging);
    assert!(is_pending(next.as_mut()));
    assert_eq!(public.origin.reads.available_permits(), 0);
    tokio::task::spawn_blocking(|| ()).await.unwrap();
    drop(release);
    assert_eq!(next.await.unwrap().as_deref(), Some(&b"good"[..]));
}

/// Looks once whether a future has still to be waited for.
fn is_pending<F: Future>(future: std::pin::Pin<&mut F>) -> bool {
    future.poll(&mut std::task::Context::from_waker(std::task::Waker::noop())).is_pending()
}
