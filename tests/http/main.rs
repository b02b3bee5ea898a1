//! The server over real sockets, and the real program in processes of its own.

#![expect(unreachable_pub, reason = "a test program has no public surface")]

mod aimock;
mod asking;
mod bad_input;
mod cells;
mod dialects;
mod differential;
mod failures;
mod guard;
mod harness;
mod images;
mod llmock;
mod matrix;
mod mocks;
mod positions;
mod proxy;
mod recovery;
mod restart;
mod settings;
mod streams;
mod tools;
mod upstream;
mod vendors;
