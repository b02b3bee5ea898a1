//! The server over real sockets, and the real program in processes of its own.

#![expect(unreachable_pub, reason = "a test program has no public surface")]

/// A recorded answer of a vendor, as the engine's own tests read it.
macro_rules! fixture {
    ($path:literal) => {
        include_str!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/crates/engine/tests/fixtures/",
            $path
        ))
    };
}

mod aimock;
mod asking;
mod bad_input;
mod base_path;
mod bounds;
mod cells;
mod chains;
mod connections;
mod dialects;
mod differential;
mod failures;
mod foreign;
mod guard;
mod harness;
mod history;
mod images;
mod kills;
mod langchain;
mod llmock;
mod log;
mod matrix;
mod methods;
mod mocks;
mod nginx;
mod operations;
mod pages;
mod positions;
mod proxy;
mod recovery;
mod restart;
mod settings;
mod socket;
mod streams;
mod terminal;
mod tls;
mod tools;
mod upstream;
mod vendors;
mod years;
