//! Mailboxes between cores: bounded, lock-free, and they wake the receiver.
//!
//! A message is a job that runs on the receiving core with that core's own state. I1. A full mailbox refuses; the
//! sender waits and comes again ([`MAILBOX_WAIT_MS_MAX`](crate::limits::MAILBOX_WAIT_MS_MAX)). I2. Jobs of one sender
//! run in the order in which they were accepted. Works with the waker of any executor.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

use atomic_waker::AtomicWaker;
use crossbeam_queue::ArrayQueue;

use crate::handle::Core;
use crate::limits::MAILBOX_MESSAGES_MAX;
use crate::units::CoreId;

/// What is sent: run on the receiving core, must not block.
pub(crate) type Job = Box<dyn FnOnce(&Rc<Core>) + Send>;

/// Jobs taken in one turn before other tasks of the core get theirs.
const JOBS_PER_TURN: usize = 64;

/// The mailboxes of all cores.
pub(crate) struct Mesh {
    boxes: Vec<Mailbox>,
}

struct Mailbox {
    jobs: ArrayQueue<Job>,
    receiver: AtomicWaker,
}

impl Mesh {
    pub(crate) fn new(cores: u16) -> Mesh {
        let mailbox =
            |_| Mailbox { jobs: ArrayQueue::new(MAILBOX_MESSAGES_MAX), receiver: AtomicWaker::new() };
        Mesh { boxes: (0..cores).map(mailbox).collect() }
    }

    pub(crate) fn cores(&self) -> u16 {
        u16::try_from(self.boxes.len()).expect("made from a u16")
    }

    /// Hands `job` to `core`; gives it back when the mailbox is full.
    pub(crate) fn send(&self, core: CoreId, job: Job) -> Result<(), Job> {
        let mailbox = &self.boxes[usize::from(core.0)];
        mailbox.jobs.push(job)?;
        mailbox.receiver.wake();
        Ok(())
    }

    /// Runs the jobs sent to `core`, for ever.
    pub(crate) async fn receive(&self, core: &Rc<Core>) {
        let mailbox = &self.boxes[usize::from(core.id().0)];
        loop {
            let ran = poll_fn(|cx| {
                // Registered before the last look, so that a push in between wakes us.
                mailbox.receiver.register(cx.waker());
                let ran = (0..JOBS_PER_TURN).map_while(|_| mailbox.jobs.pop()).map(|job| job(core)).count();
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
