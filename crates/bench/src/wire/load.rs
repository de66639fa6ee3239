//! The clients of the bench, ours and others', and the nodes that they ask.

pub(crate) mod gets;
pub(crate) mod node;
pub(crate) mod pipes;
pub(crate) mod redis_benchmark;
pub(crate) mod told;
pub(crate) mod wrk;
