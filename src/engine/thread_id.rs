//! Which thread this is, also while its thread-local data is being destroyed.

use crate::sys::fork;

/// A thread among those that live now, or did when this process was forked.
#[derive(Clone, Copy, Debug)]
pub struct ThreadId {
    mark: usize,
    forks: u32,
}

impl ThreadId {
    /// The calling thread.
    pub fn current() -> Self {
        // Constant and without a destructor, so it can be read to the very end of the thread.
        thread_local!(static MARK: u8 = const { 0 });
        let mark = MARK.with(|mark| std::ptr::from_ref(mark) as usize);
        Self { mark, forks: fork::count() }
    }

    /// Whether it is the calling thread. The one that forked goes on in the child.
    pub fn is_here(self) -> bool {
        self.mark == Self::current().mark
    }

    /// Whether it is another thread of this process: of a parent's only the one that forked is here.
    pub fn is_elsewhere(self) -> bool {
        self.forks == fork::count() && !self.is_here()
    }
}
