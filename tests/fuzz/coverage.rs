//! How much of the code executions reach, told by the program itself: a toolchain without LLVM's tools
//! is enough. Built without counters, nothing is ever reached.

/// The places that were reached so far.
pub struct Coverage {
    reached: Vec<bool>,
    regions: usize,
}

impl Coverage {
    pub fn new() -> Self {
        let mut coverage = Self { reached: vec![false; counters::read().len()], regions: 0 };
        // What measuring itself reaches does not count.
        coverage.reaches_more(|_| (), &[]);
        coverage.regions = 0;
        coverage
    }

    /// Runs a target, no other thread running: whether this input reaches what no other one has.
    pub fn reaches_more(&mut self, target: fn(&[u8]), input: &[u8]) -> bool {
        counters::reset();
        target(input);
        let counts = counters::read();
        let before = self.regions;
        for (at, count) in counts.into_iter().enumerate() {
            if count > 0 && !self.reached[at] {
                self.reached[at] = true;
                self.regions += 1;
            }
        }
        self.regions > before
    }

    /// How many places of the target were reached.
    pub fn regions(&self) -> usize {
        self.regions
    }
}

/// The counters of `-C instrument-coverage`: they are in this program, and LLVM's runtime, which the
/// compiler links in, says where.
#[cfg(fuzz_coverage)]
mod counters {
    unsafe extern "C" {
        fn __llvm_profile_begin_counters() -> *const u64;
        fn __llvm_profile_end_counters() -> *const u64;
        fn __llvm_profile_counter_entry_size() -> usize;
        fn __llvm_profile_reset_counters();
    }

    pub fn reset() {
        // SAFETY: no other thread runs instrumented code.
        unsafe { __llvm_profile_reset_counters() };
    }

    /// A copy: a reference to what the code under it changes would not do.
    pub fn read() -> Vec<u64> {
        // SAFETY: LLVM's own bounds of a section of numbers of the size that it tells; copied while no
        // other thread runs instrumented code.
        unsafe {
            assert_eq!(__llvm_profile_counter_entry_size(), size_of::<u64>());
            let begin = __llvm_profile_begin_counters();
            let length = usize::try_from(__llvm_profile_end_counters().offset_from(begin)).unwrap();
            let mut counts = vec![0; length];
            begin.copy_to_nonoverlapping(counts.as_mut_ptr(), length);
            counts
        }
    }
}

#[cfg(not(fuzz_coverage))]
mod counters {
    pub fn reset() {}

    pub fn read() -> Vec<u64> {
        vec![]
    }
}
