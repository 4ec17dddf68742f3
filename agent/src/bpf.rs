//! The kernel's side of the agent: programs, maps and links, and what is read back from them.
//!
//! Bias: everything is pinned, so that what is decided in the kernel goes on when the agent is gone; nothing is put in
//! force before the tables it needs are filled. One task (the publisher) owns the tables; counters and origins may be
//! read from anywhere.

mod destroy;
mod events;
mod links;
mod load;
mod maps;
pub mod mount;
pub mod netns;
mod origin;
mod stats;
pub mod sys;

pub use destroy::{Ended, Fate, Socket, Sweep};
pub use events::Events;
pub use links::{CGROUP_HOOKS, Links};
pub use load::{LoadError, Options, Programs, Sizes, has_packet_cookie, load, try_load, uninstall};
pub use maps::{ApplyError, Tables};
pub use origin::Origins;
pub use stats::{Stats, VerdictCount};
