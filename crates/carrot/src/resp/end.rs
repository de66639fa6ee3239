//! How a connection ends.

/// Why a connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The client went away, or asked for it.
    Gone,
    /// What the client sent is no request, or more than is taken of one.
    Refused,
    /// The client let a deadline pass.
    Overdue,
    /// The node stops.
    Stopped,
}
