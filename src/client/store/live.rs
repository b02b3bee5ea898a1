//! The running answer of the page, and what the page as a whole listens to.
//!
//! - `follower`: which run is followed, and what happens at its end
//! - `driver`: the task that follows it; it owns the connection, the timers and the fold
//! - `connection`: the stream, and the time by which it must have said something
//! - `drawing`: when what has come is shown
//! - `absence`: how much came while nobody could see it
//!
//! On the server nothing is followed.

#[cfg(feature = "hydrate")]
mod absence;
#[cfg(not(feature = "hydrate"))]
mod absent;
#[cfg(feature = "hydrate")]
mod connection;
#[cfg(feature = "hydrate")]
mod drawing;
#[cfg(feature = "hydrate")]
mod driver;
#[cfg(feature = "hydrate")]
mod follower;

#[cfg(not(feature = "hydrate"))]
pub(super) use absent::{Live, follow, listen};
#[cfg(feature = "hydrate")]
pub(super) use follower::{Live, follow, listen};
