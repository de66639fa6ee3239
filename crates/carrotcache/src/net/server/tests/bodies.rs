//! Bodies of several peers at once: what they may hold together, and when it is given back.

use super::*;

/// What bodies may hold in these tests: the least there is, one of the largest value.
const MOST: usize = (256 << 10) + (64 << 10);

const BUSY: &[u8] = b"busy: values of 327680 bytes together are on their way\n";

const REMOVE_KEYS: &str = "/_groupcache/scores/_remove-keys/";

/// A node of groupcache-go's dialect that begins each write with a word to `began`, and ends it at one from `go`.
struct Slow {
    port: Serving,
    stats: Arc<NodeStats>,
    began: Arc<Notify>,
    go: Arc<Notify>,
}

impl Slow {
    async fn start() -> Self {
        let (began, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (begin, wait) = (began.clone(), go.clone());
        let answer: Answer = Arc::new(move |_| {
            let (begin, wait) = (begin.clone(), wait.clone());
            Box::pin(async move {
                begin.notify_one();
                wait.notified().await;
                Reply::Done
            })
        });
        let limits = Limits { bodies: ByteSize::bytes(1), ..limits() };
        let terms = terms(Dialect::GroupcacheGo, &limits);
        let stats = terms.stats.clone();
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap(), (&limits).into()).await.unwrap();
        Self { port: serve(listener, answer, terms), stats, began, go }
    }

    /// A client whose request has arrived whole and is not done.
    async fn with_one_under_way(&self, request: Vec<u8>) -> Raw {
        let mut client = Raw::connect(self.port.address()).await;
        client.send_all(&request).await;
        self.began.notified().await;
        client
    }
}

fn request(method: &str, target: &str, length: usize, body: &[u8]) -> Vec<u8> {
    let head = format!("{method} {target} HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n");
    [head.as_bytes(), body].concat()
}

fn put(body: &[u8]) -> Vec<u8> {
    request("PUT", "/_groupcache/scores/Tom", body.len(), body)
}

/// Of so many bytes, value and all.
fn set(length: usize) -> Vec<u8> {
    let mut body = b"\x12\x03Tom\x1a".to_vec();
    prost::encoding::encode_varint((length - body.len() - 3) as u64, &mut body);
    body.resize(length, b'v');
    body
}

fn remove_keys(length: usize) -> Vec<u8> {
    let mut body = br#"{"keys":["a"]}"#.to_vec();
    body.resize(length, b' ');
    request("POST", REMOVE_KEYS, length, &body)
}

#[tokio::test]
async fn past_what_bodies_may_hold_together_the_answer_is_busy_until_one_is_done() {
    for first in [put(&set(200 << 10)), remove_keys(200 << 10)] {
        let node = Slow::start().await;
        let mut first = node.with_one_under_way(first).await;
        let mut second = Raw::connect(node.port.address()).await;
        for request in [put(&set(200 << 10)), remove_keys(MOST)] {
            // It is heard out, so that its connection is as good as before.
            let seen = second.ask(&request).await.unwrap();
            assert_eq!((seen.status, &*seen.body), (503, BUSY));
        }
        assert_eq!(node.stats.refusals.snapshot().get(Refusal::InFlight), 2);
        for round in 0..2 {
            node.go.notify_one();
            let done = if round == 0 { first.response().await } else { second.response().await };
            assert_eq!(done.unwrap().status, 200);
            if round == 0 {
                second.send_all(&put(&set(200 << 10))).await;
                node.began.notified().await;
            }
        }
    }
}

#[tokio::test]
async fn a_body_of_the_largest_value_has_room_however_little_there_is() {
    let node = Slow::start().await;
    let mut client = node.with_one_under_way(remove_keys(MOST)).await;
    node.go.notify_one();
    assert_eq!(client.response().await.unwrap().status, 200);
    assert_eq!(client.ask(remove_keys(MOST + 1)).await.unwrap().status, 413);
}

#[tokio::test]
async fn who_announces_a_body_and_sends_nothing_keeps_nobody_out() {
    let node = Slow::start().await;
    let mut silent = Vec::new();
    for _ in 0..3 {
        let mut client = Raw::connect(node.port.address()).await;
        client.send_all(&request("PUT", "/_groupcache/scores/Tom", MOST, b"")).await;
        silent.push(client);
    }
    let mut client = node.with_one_under_way(put(&set(200 << 10))).await;
    node.go.notify_one();
    assert_eq!(client.response().await.unwrap().status, 200);
}

#[tokio::test]
async fn a_peer_that_goes_away_gives_back_what_its_body_held() {
    let node = Slow::start().await;
    drop(node.with_one_under_way(put(&set(200 << 10))).await);
    let mut other = Raw::connect(node.port.address()).await;
    // Until the node has seen that it is gone there is no room.
    let request = remove_keys(MOST);
    loop {
        other.send_all(&request).await;
        tokio::select! {
            () = node.began.notified() => break,
            seen = other.response() => assert_eq!(&*seen.unwrap().body, BUSY),
        }
    }
    node.go.notify_one();
    assert_eq!(other.response().await.unwrap().status, 200);
}
