//! Peers that keep to no rule, or are none to ask.

use super::*;

#[tokio::test]
async fn a_peer_of_another_cluster_is_asked_neither_in_frames_nor_over_http() {
    let peer = Played::start().await;
    let (transport, _) = transport(limits());
    for answer in [
        &b"HTTP/1.1 101 Switching Protocols\r\nupgrade: carrot-frames/1\r\nx-carrot-cluster: test\r\n\r\n"[..],
        b"HTTP/1.1 421 Misdirected Request\r\nx-carrot-outcome: other_cluster\r\nx-carrot-cluster: test\r\n\r\n",
    ] {
        let asking = ask(&transport, &peer, get("k"));
        // The first and the next connection: there was none of HTTP between them.
        let (mut stream, head) = peer.answer(answer).await;
        assert!(head.starts_with("GET /_carrot/frames HTTP/1.1\r\n"), "{head}");
        assert!(head.contains("\r\nx-carrot-cluster: prod\r\n"), "{head}");
        match asking.await.unwrap() {
            Err(error @ PeerError::OtherCluster(_)) => {
                assert!(error.is_unreachable());
                assert_eq!(error.to_string(), "it is of another cluster, \"test\"");
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(stream.read(&mut [0]).await.unwrap(), 0, "nothing is asked on it");
    }
}
