//! Many keys in one request, against a peer port of ours.

use super::*;

fn many(group: &str, keys: &[&[u8]]) -> Request {
    let keys = keys.iter().map(|key| Key::new(key)).collect();
    Request::GetMany { group: GroupName::new(group).unwrap(), keys, stand_in: false, cached_only: true }
}

#[tokio::test]
async fn many_answers_come_over_as_they_were_given_each_in_its_place() {
    let why = || Arc::from("why, oh why");
    let replies = vec![
        Reply::Found(family::bare(Bytes::from_static(b"\0\xff"), Some(0.5))),
        Reply::NotFound,
        Reply::LeftOut,
        Reply::Found(family::bare(Bytes::new(), None)),
        Reply::LoadFailed(why()),
        Reply::Busy(why()),
        Reply::Deadline,
        Reply::NoGroup,
    ];
    let given = Reply::Many(replies);
    let reply = given.clone();
    let port = port(&limits(), move |_| reply.clone()).await;
    let transport = HttpTransport::new(Dialect::Native, limits());
    let back = transport.ask(&member(port.address()), many("scores", &[&b"k"[..]; 8]), soon()).await.unwrap();
    assert_eq!(told(&back), told(&given));
    let Reply::Many(back) = back else { panic!("many were asked for") };
    assert!(matches!(&back[0], Reply::Found(found) if &*found.value == b"\0\xff"));
}

#[tokio::test]
async fn what_befalls_the_whole_request_comes_over_as_for_one_key() {
    let why = || Arc::from("why, oh why");
    for given in [Reply::NoGroup, Reply::Busy(why()), Reply::TooLarge(why()), Reply::BadRequest(why())] {
        let reply = given.clone();
        let port = port(&limits(), move |_| reply.clone()).await;
        let transport = HttpTransport::new(Dialect::Native, limits());
        let back = transport.ask(&member(port.address()), many("scores", &[b"k"]), soon()).await.unwrap();
        assert_eq!(told(&back), told(&given));
    }
}

#[tokio::test]
async fn a_request_for_many_keys_comes_over_as_it_was_made_also_of_a_group_that_is_named_like_a_path() {
    let heard = Arc::new(Mutex::new(String::new()));
    let hears = heard.clone();
    let port = port(&limits(), move |request| {
        *hears.lock().unwrap() = format!("{request:?}");
        Reply::Many(Vec::new())
    })
    .await;
    let transport = HttpTransport::new(Dialect::Native, limits());
    for group in ["scores", "id", "members", "a.b-c_D9", ".x", "..."] {
        let what = many(group, &[b"Tom", b"", b"\0\xff/%2F", b"Tom"]);
        let back = transport.ask(&member(port.address()), what.clone(), soon()).await.unwrap();
        assert!(matches!(back, Reply::Many(back) if back.is_empty()));
        assert_eq!(*heard.lock().unwrap(), format!("{what:?}"));
    }
    assert_eq!(port.stats().accepted, 1, "one connection serves one caller");
}

#[tokio::test]
async fn a_reply_may_be_as_large_as_one_value_and_what_is_said_of_each_key_and_no_larger() {
    let found = |length: usize| Reply::Found(family::bare(vec![b'v'; length].into(), None));
    let large = limits().value.as_u64() as usize;
    for (replies, is_taken) in [
        (vec![found(large - 1000), Reply::LoadFailed("x".repeat(256).into())], true),
        ([vec![found(large)], vec![Reply::LoadFailed("x".repeat(256).into()); 999]].concat(), true),
        (vec![found(large + 1)], false),
        (vec![found(large), found(large)], false),
    ] {
        let (keys, reply) = (vec![&b"k"[..]; replies.len()], Reply::Many(replies));
        let port = port(&limits(), move |_| reply.clone()).await;
        let transport = HttpTransport::new(Dialect::Native, limits());
        let back = transport.ask(&member(port.address()), many("scores", &keys), soon()).await;
        match back {
            Ok(Reply::Many(back)) => assert!(is_taken && back.len() == keys.len()),
            other => assert!(!is_taken && matches!(other, Err(PeerError::Broken(_))), "{other:?}"),
        }
    }
}

#[tokio::test]
async fn no_row_of_the_family_is_asked_for_many_keys() {
    for dialect in Dialect::ALL.iter().filter(|dialect| dialect.is_family()) {
        let port = port_of(*dialect, &limits(), |what| panic!("{what:?} was sent")).await;
        let transport = HttpTransport::new(*dialect, limits());
        assert!(!transport.can_say(&many("scores", &[b"Tom"])));
        let back = transport.ask(&member(port.address()), many("scores", &[b"Tom"]), soon()).await.unwrap();
        assert!(matches!(back, Reply::Unsupported), "{dialect}");
        assert_eq!(port.stats().accepted, 0);
    }
}
