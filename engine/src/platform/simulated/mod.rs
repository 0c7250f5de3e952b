//! The whole engine on one thread and in memory: tasks, time and drives that a seed decides.
//!
//! Tests make a [`Simulator`] and a [`SimulatedDrive`] on a [`Medium`], run the engine on them, and look at the medium
//! afterwards. Nothing of the engine knows that it is not on real cores.

mod machine;
mod drive;
mod random;

pub use drive::{Faults, Happened, Loss, Medium, Rates, SimulatedDrive};
pub use machine::{Simulator, Stopped};
pub use random::Random;
