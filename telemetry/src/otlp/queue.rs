//! What waits to be pushed. Who pushes it in never waits: when it is full, what is new is dropped and counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::mpsc;

#[derive(Debug)]
pub struct Queue<T> {
    sender: mpsc::Sender<T>,
    dropped: Arc<AtomicU64>,
}

// Not derived: T need not be Clone.
impl<T> Clone for Queue<T> {
    fn clone(&self) -> Self {
        Queue { sender: self.sender.clone(), dropped: self.dropped.clone() }
    }
}

impl<T> Queue<T> {
    pub fn new(room: usize) -> (Self, mpsc::Receiver<T>) {
        let (sender, receiver) = mpsc::channel(room);
        (Queue { sender, dropped: Arc::default() }, receiver)
    }

    pub fn push(&self, item: T) {
        if self.sender.try_send(item).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}
