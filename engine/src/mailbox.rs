//! Mailboxes between cores: bounded, lock-free, and they wake the receiver.
//!
//! A message is a job that runs on the receiving core with that core's own state. I1. A full mailbox refuses; the
//! sender waits and comes again ([`MAILBOX_WAIT_MS_MAX`](crate::limits::MAILBOX_WAIT_MS_MAX)). I2. Jobs of one sender
//! run in the order in which they were accepted. I3. A job that was accepted is run without another one being sent:
//! the job is in the queue before the receiver is woken, and the receiver has said whom to wake before it looks.
//! Works with the waker of any executor. `sync::proofs` runs it under a model checker.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

use crate::limits::MAILBOX_MESSAGES_MAX;
use crate::sync::{ArrayQueue, AtomicWaker, Race, seeded_race};
use crate::units::CoreId;

/// What is sent: run on the receiving core with its state `C`, must not block.
pub(crate) type Job<C> = Box<dyn FnOnce(&Rc<C>) + Send>;

/// Jobs taken in one turn before other tasks of the core get theirs.
const JOBS_PER_TURN: usize = 64;

/// The mailboxes of all cores.
pub(crate) struct Mesh<C> {
    boxes: Vec<Mailbox<Job<C>>>,
}

/// One core's queue of messages from anywhere.
pub(crate) struct Mailbox<M> {
    messages: ArrayQueue<M>,
    receiver: AtomicWaker,
}

impl<C> Mesh<C> {
    pub(crate) fn new(cores: u16) -> Mesh<C> {
        Mesh { boxes: (0..cores).map(|_| Mailbox::new(MAILBOX_MESSAGES_MAX)).collect() }
    }

    pub(crate) fn cores(&self) -> u16 {
        u16::try_from(self.boxes.len()).expect("made from a u16")
    }

    /// Hands `job` to `core`; gives it back when the mailbox is full.
    pub(crate) fn send(&self, core: CoreId, job: Job<C>) -> Result<(), Job<C>> {
        self.boxes[usize::from(core.0)].send(job)
    }

    /// Jobs that wait for `core`.
    pub(crate) fn waiting(&self, core: CoreId) -> usize {
        self.boxes[usize::from(core.0)].messages.len()
    }

    /// Runs the jobs sent to core `id` with its state `core`, for ever.
    pub(crate) async fn receive(&self, id: CoreId, core: &Rc<C>) {
        self.boxes[usize::from(id.0)].receive(|job| job(core)).await;
    }
}

impl<M> Mailbox<M> {
    pub(crate) fn new(messages_max: usize) -> Mailbox<M> {
        Mailbox { messages: ArrayQueue::new(messages_max), receiver: AtomicWaker::new() }
    }

    /// Queues `message` and wakes the receiver; gives it back when the mailbox is full.
    pub(crate) fn send(&self, message: M) -> Result<(), M> {
        if seeded_race(Race::WakeBeforePush) {
            self.receiver.wake();
            return self.messages.push(message);
        }
        self.messages.push(message)?;
        self.receiver.wake();
        Ok(())
    }

    /// Runs `run` on every message, for ever. One receiver at a time.
    pub(crate) async fn receive(&self, mut run: impl FnMut(M)) {
        loop {
            let ran = poll_fn(|cx| {
                let mut look = || (0..JOBS_PER_TURN).map_while(|_| self.messages.pop()).map(&mut run).count();
                let ran = if seeded_race(Race::RegisterAfterLook) {
                    let ran = look();
                    self.receiver.register(cx.waker());
                    ran
                } else {
                    // Registered before the last look, so that a push in between wakes us.
                    self.receiver.register(cx.waker());
                    look()
                };
                if ran > 0 { Poll::Ready(ran) } else { Poll::Pending }
            })
            .await;
            if ran == JOBS_PER_TURN {
                yield_once().await;
            }
        }
    }
}

/// Lets the core's other tasks run.
async fn yield_once() {
    let mut yielded = false;
    poll_fn(|cx| {
        if yielded {
            return Poll::Ready(());
        }
        yielded = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
