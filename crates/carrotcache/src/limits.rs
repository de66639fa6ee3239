//! Every limit of a node, with its default. Nothing in a node is unbounded.

use std::time::Duration;

use crate::memory::Memory;
use crate::units::ByteSize;

/// What a node allows itself and its peers.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// What all groups of the node may hold together, values on their way included, past which the answer is busy.
    /// Default: none, so that each group has its own capacity and values on their way are bounded by the limits below.
    pub memory: Memory,
    /// The longest key. At most 16 KiB, since keys travel in a request's target.
    pub key: ByteSize,
    /// The largest value that is served, stored, or taken from a peer.
    pub value: ByteSize,
    /// Connections open at once on the peer port; further ones wait in the listen queue.
    pub connections: usize,
    /// Requests from peers under way at once; past it the answer is busy.
    pub in_flight: usize,
    /// The same on one connection of frames, on which what memory answers at once is not counted.
    pub in_flight_per_connection: usize,
    /// What the bodies of those requests may hold together until they are done; past it the answer is busy. One body
    /// with the largest value has room whatever this says. They are charged to [`Limits::memory`] as well, and take a
    /// quarter of it at most. As much again may be held by answers to peers that are longer than a frame and wait to be
    /// sent, and by what waits to be sent to other nodes; all that the node's ports hold is three quarters at most.
    pub bodies: ByteSize,
    /// Connections of HTTP that this node keeps to one peer, each with one request at a time.
    pub connections_per_peer: usize,
    /// Callers that may wait for one of those connections, or for answers on one of frames; past it the peer counts as
    /// busy. One of frames that leaves more requests than this unanswered after they were cancelled is cut.
    pub waiting_per_peer: usize,
    /// To connect to a peer.
    pub connect_timeout: Duration,
    /// For a peer to confirm a set or a remove, which waits for no load there.
    pub write_timeout: Duration,
    /// For a new connection to send its first byte, and for a request's header to be whole.
    pub header_timeout: Duration,
    /// For a connection between two requests.
    pub idle_timeout: Duration,
}

impl Limits {
    /// The longest that [`Limits::key`] may be.
    pub const KEY_MAX: ByteSize = ByteSize::kib(16);

    /// Keys that one call may ask for.
    pub const KEYS_MAX: usize = 16_384;

    /// What the keys of one request between nodes may take, by the body that carries them. Whoever asks for more asks
    /// several times.
    pub const KEYS_BODY: ByteSize = ByteSize::kib(64);
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory: Memory::default(),
            key: ByteSize::kib(4),
            value: ByteSize::mib(8),
            connections: 10_000,
            in_flight: 10_000,
            // Half of all, so that one peer leaves room to the others.
            in_flight_per_connection: 5_000,
            // 32 of the largest values: a body is held for a moment, and a node's memory is meant for its groups.
            bodies: ByteSize::mib(256),
            // One request at a time each: enough for 64 concurrent fetches, few enough to stay open.
            connections_per_peer: 64,
            waiting_per_peer: 10_000,
            connect_timeout: Duration::from_millis(500),
            // The way there, at ten times what a connect may take: 8 MiB need less than a second at 100 Mbit/s.
            write_timeout: Duration::from_secs(5),
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(90),
        }
    }
}
