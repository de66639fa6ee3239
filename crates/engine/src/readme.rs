//! README's example, run as a test of the documentation. Compiled for those tests alone.
#![doc = include_str!("../README.md")]
