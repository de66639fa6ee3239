//! Both fronts of a node that has a password, and the names under which operators call it, asked over real sockets.
//!
//! The client blocks the test's own thread; the node runs on the runtime's others.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};

use serde_json::{Value, json};

use super::*;
use crate::origin::{Allowance, OriginSettings, table};

const PASSWORD: &str = "open sesame";
/// `:open sesame`, and the same of a user.
const BASIC: [&str; 2] = ["Basic Om9wZW4gc2VzYW1l", "Basic b3BzOm9wZW4gc2VzYW1l"];

/// A node with the group `scores`, in which Tom has 630.
async fn start(password: Option<&str>, hosts: &[&str]) -> RunningNode {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let allowed = Allowance {
        load_deadline: Duration::from_secs(10),
        max_loads: 10,
        ttl: None,
        value_max: ByteSize::mib(1),
    };
    let origin = Origin::open(OriginSettings::Table(table::parse("Tom=630").unwrap()), allowed).unwrap();
    let plan = NodePlan {
        name: Some("a".to_owned()),
        url: Some("http://node-a.example:8001".to_owned()),
        peer: any,
        http: any,
        resp: Some(RespPlan { address: any, default_group: None, password: password.map(Secret::new) }),
        admin: any,
        cluster: None,
        peers: Vec::new(),
        dialect: Dialect::Native,
        placement: None,
        limits: Limits::default(),
        drain: Duration::from_secs(10),
        password: password.map(Secret::new),
        hosts: hosts.iter().map(|&host| host.to_owned()).collect(),
        groups: vec![GroupPlan {
            name: GroupName::new("scores").unwrap(),
            capacity: ByteSize::mib(1),
            ttl: None,
            load_deadline: allowed.load_deadline,
            max_loads: allowed.max_loads,
            max_waiters: 10,
            hot: Hot::default(),
            policy: Policy::default(),
            origin: Arc::new(origin),
            slowed: Duration::ZERO,
        }],
    };
    RunningNode::start(plan, &[]).await.unwrap()
}

/// A kept-alive connection.
struct Client(BufReader<TcpStream>);

/// A response: its status, its head in lower case, its body.
struct Seen {
    status: u16,
    head: String,
    body: String,
}

impl Client {
    fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        Self(BufReader::new(stream))
    }

    /// One exchange. `lines` are those of the header, `Host` included, each with its line end.
    fn ask(&mut self, method: &str, target: &str, lines: &str) -> Seen {
        let request = format!("{method} {target} HTTP/1.1\r\n{lines}\r\n");
        self.0.get_mut().write_all(request.as_bytes()).unwrap();
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(self.0.read_line(&mut head).unwrap() > 0, "the connection ended after {head:?}");
        }
        let head = head.to_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
        self.0.read_exact(&mut body).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Seen { status, head, body: String::from_utf8(body).unwrap() }
    }

    /// Whether the other side closes without another word.
    fn is_closed(&mut self) -> bool {
        matches!(self.0.read(&mut [0]), Ok(0))
    }
}

/// A get on a connection of its own, with that `Authorization`, if any.
fn get(address: SocketAddr, target: &str, offer: Option<&str>) -> Seen {
    let offer = offer.map_or_else(String::new, |offer| format!("Authorization: {offer}\r\n"));
    Client::connect(address).ask("GET", target, &format!("Host: localhost\r\n{offer}"))
}

fn unauthorized(node: &RunningNode) -> u64 {
    node.cluster.stats().refusals.get(carrotcache::Refusal::Unauthorized)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn without_the_password_nothing_is_told_but_health() {
    let node = start(Some(PASSWORD), &[]).await;
    let (data, admin) = (node.data.address(), node.admin.address());
    let asked = [
        (data, "/v1/scores/Tom"),
        (data, "/v1/nope/Tom"),
        (data, "/v1/scores/%zz"),
        (data, "/api?key=Tom"),
        (data, "/owner/scores/Tom"),
        (data, "/livez"),
        (admin, "/metrics"),
        (admin, "/admin/stats"),
        (admin, "/admin/other"),
        (admin, "/nope"),
    ];
    for (address, target) in asked {
        for offer in [None, Some("Bearer sesame"), Some("Basic Om9wZW4=")] {
            let seen = get(address, target, offer);
            assert_eq!(seen.status, 401, "{target}");
            assert!(seen.head.contains("\r\nwww-authenticate: basic realm=\"carrot\"\r\n"), "{}", seen.head);
            assert!(seen.body.contains("Bearer PASSWORD"), "{}", seen.body);
        }
    }
    assert_eq!(unauthorized(&node), 3 * asked.len() as u64);
    let stats = node.cluster.stats();
    assert_eq!(
        (stats.groups[0].gets, stats.refusals.total()),
        (0, unauthorized(&node)),
        "nothing was looked at"
    );
    for target in ["/livez", "/readyz"] {
        assert_eq!(get(admin, target, None).status, 200, "{target}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_client_of_v1_is_told_in_json_and_one_of_the_api_in_a_line() {
    let node = start(Some(PASSWORD), &[]).await;
    let v1 = get(node.data.address(), "/v1/scores/Tom", None);
    let told: Value = serde_json::from_str(&v1.body).unwrap();
    assert_eq!(told["error"], json!("unauthorized"));
    let api = get(node.data.address(), "/api?key=Tom", None);
    assert_eq!(api.body, format!("{}\n", crate::auth::Denied::MESSAGE));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn with_the_password_everything_is_answered_as_ever() {
    let node = start(Some(PASSWORD), &[]).await;
    let bearer = format!("Bearer {PASSWORD}");
    for offer in [&*bearer, BASIC[0], BASIC[1]] {
        for (target, status) in [
            ("/v1/scores/Tom", 200),
            ("/api?key=Tom", 200),
            ("/owner/scores/Tom", 200),
            ("/v1/scores/Tim", 404),
            ("/nope", 404),
        ] {
            assert_eq!(get(node.data.address(), target, Some(offer)).status, status, "{target}");
        }
        for (target, status) in [("/metrics", 200), ("/admin/stats", 200), ("/admin/other", 404)] {
            assert_eq!(get(node.admin.address(), target, Some(offer)).status, status, "{target}");
        }
    }
    assert_eq!(unauthorized(&node), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_write_without_the_password_changes_nothing() {
    let node = start(Some(PASSWORD), &[]).await;
    let bearer = format!("Bearer {PASSWORD}");
    assert_eq!(get(node.data.address(), "/v1/scores/Tom", Some(&bearer)).body, "630");
    for method in ["PUT", "DELETE"] {
        let mut client = Client::connect(node.data.address());
        let seen = client.ask(method, "/v1/scores/Tom", "Host: a\r\nContent-Length: 0\r\n");
        assert_eq!(seen.status, 401, "{method}");
    }
    let again = get(node.data.address(), "/v1/scores/Tom", Some(&bearer));
    assert!(again.body == "630" && again.head.contains("\r\nx-cache: hit; source=memory"), "{}", again.head);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_connection_is_closed_after_eight_wrong_tries_on_either_front() {
    let node = start(Some(PASSWORD), &[]).await;
    for (address, target) in [(node.data.address(), "/v1/scores/Tom"), (node.admin.address(), "/admin/stats")]
    {
        let mut client = Client::connect(address);
        for n in 1..=8 {
            let wrong = format!("Host: localhost\r\nAuthorization: Bearer guess {n}\r\n");
            let seen = client.ask("GET", target, &wrong);
            assert_eq!((seen.status, seen.head.contains("\r\nconnection: close\r\n")), (401, n == 8), "{n}");
        }
        assert!(client.is_closed());
        assert_eq!(get(address, target, Some(BASIC[0])).status, 200, "another connection is let in");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn under_a_foreign_name_nobody_is_even_asked_for_the_password() {
    let node = start(Some(PASSWORD), &["ops.example"]).await;
    let mut client = Client::connect(node.admin.address());
    for (host, status) in
        [("evil.example", 403), ("ops.example", 401), ("node-a.example:9990", 401), ("127.0.0.1:9990", 401)]
    {
        let seen = client.ask("GET", "/metrics", &format!("Host: {host}\r\n"));
        assert_eq!(seen.status, status, "{host}");
        assert_eq!(seen.head.contains("www-authenticate"), status == 401, "{host}");
    }
    let health = client.ask("GET", "/livez", "Host: evil.example\r\n");
    assert_eq!(health.status, 403);
    // Values are asked for under any name: there the password alone decides.
    let data = Client::connect(node.data.address()).ask("GET", "/v1/scores/Tom", "Host: evil.example\r\n");
    assert_eq!(data.status, 401);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_node_without_a_password_asks_nobody_for_one() {
    let node = start(None, &[]).await;
    assert_eq!(get(node.data.address(), "/v1/scores/Tom", None).status, 200);
    assert_eq!(get(node.admin.address(), "/admin/stats", Some("Bearer whatever")).status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn hits_are_timed_at_the_data_front_and_nothing_else_is() {
    let node = start(None, &[]).await;
    let hits = || {
        let page = get(node.admin.address(), "/admin/stats", None).body;
        let page: Value = serde_json::from_str(&page).unwrap();
        page["groups"][0]["hit_seconds"]["count"].as_u64().unwrap()
    };
    get(node.data.address(), "/v1/scores/Tom", None);
    get(node.data.address(), "/v1/scores/Tim", None);
    assert_eq!(hits(), 0, "a load and a key that is not there");
    get(node.data.address(), "/v1/scores/Tom", None);
    get(node.data.address(), "/api?key=Tom", None);
    get(node.data.address(), "/owner/scores/Tom", None);
    assert_eq!(hits(), 2);
}
