//! What cores share without owning it: the queue and the waker of a mailbox, the flags of a zone table.
//!
//! Everything that is touched by more than one core takes its atomics from here. They are those of the standard
//! library and of crossbeam, or, with the feature `prove-threads`, those of a model checker that runs the same code
//! under chosen schedules of threads (`proofs`). I1. The model keeps each operation atomic and explores every order of
//! them that one memory order for all threads allows; orders that only weaker memory shows are not explored.

#[cfg(feature = "prove-threads")]
mod model;
#[cfg(all(test, feature = "prove-threads"))]
mod proofs;

#[cfg(not(feature = "prove-threads"))]
pub(crate) use atomic_waker::AtomicWaker;
#[cfg(not(feature = "prove-threads"))]
pub(crate) use crossbeam_queue::ArrayQueue;
#[cfg(not(feature = "prove-threads"))]
pub(crate) use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

#[cfg(feature = "prove-threads")]
pub(crate) use model::{ArrayQueue, AtomicWaker, seeded_race, step};
#[cfg(feature = "prove-threads")]
pub(crate) use shuttle::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// A mistake that a proof puts into the code, to show that it would be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Race {
    /// A sender wakes the receiver before its job is in the queue.
    WakeBeforePush,
    /// A receiver looks into the queue before it has said whom to wake.
    RegisterAfterLook,
    /// A released zone is not counted as free.
    ReleaseUncounted,
    /// A claim looks at the number of free zones and takes it down in two steps.
    ClaimInTwoSteps,
    /// Whether anybody reads is asked before the reference is raised, not by raising it.
    CountBeforeUpgrade,
    /// Space is reused though somebody may still read it.
    ReuseUnasked,
}

/// Whether a proof has put `mistake` into the code; never outside of proofs.
#[cfg(not(feature = "prove-threads"))]
#[inline(always)]
pub(crate) const fn seeded_race(_: Race) -> bool {
    false
}

/// A point where the model checker may switch threads, between operations that it does not see; otherwise nothing.
#[cfg(not(feature = "prove-threads"))]
#[inline(always)]
pub(crate) const fn step() {}
