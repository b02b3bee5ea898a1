//! The server over real sockets, and the real program in processes of its own.

#![expect(unreachable_pub, reason = "a test program has no public surface")]

mod bad_input;
mod failures;
mod guard;
mod harness;
mod recovery;
mod restart;
mod settings;
mod streams;
