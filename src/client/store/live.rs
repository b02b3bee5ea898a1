//! The running answer of the page, and the listeners of the page as a whole.
//!
//! - `follower`: which run is followed, and what happens at its end
//! - `driver`: the task that follows it and owns the connection, the timers and the fold
//! - `drawing`: when new content is shown
//! - `absence`: how much arrived while the reader was away
//!
//! On the server, nothing is followed.

#[cfg(feature = "hydrate")]
mod absence;
#[cfg(not(feature = "hydrate"))]
mod absent;
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
