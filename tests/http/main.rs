//! The server over real sockets, and the real program in processes of its own.

mod bad_input;
mod failures;
mod guard;
mod harness;
mod restart;
mod streams;
