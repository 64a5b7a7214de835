//! Which thread this is, also while its thread-local data is being destroyed.

/// A thread among those that live now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThreadId(usize);

impl ThreadId {
    /// The calling thread.
    pub fn current() -> Self {
        // Constant and without a destructor, so it can be read to the very end of the thread.
        thread_local!(static MARK: u8 = const { 0 });
        MARK.with(|mark| Self(std::ptr::from_ref(mark) as usize))
    }
}
