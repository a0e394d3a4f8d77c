//! Whose turn it is when images of both priorities wait.

/// Of so many tasks taken while both priorities wait, one is batch. An eighth keeps batch moving, and costs interactive
/// images at most a seventh of their wait; either may take all when the other has nothing.
pub const TURNS: u32 = 8;

/// Counts interactive tasks taken while batch waited.
#[derive(Debug, Default)]
pub(super) struct Turns {
    interactive: u32,
}

/// The place of a priority's line in a list of two.
pub(super) const INTERACTIVE: usize = 0;
pub(super) const BATCH: usize = 1;

impl Turns {
    /// Which line the next task comes from, given which have one; a list of one line has no turns.
    pub(super) fn next(&mut self, waits: impl Fn(usize) -> bool) -> Option<usize> {
        let (interactive, batch) = (waits(INTERACTIVE), waits(BATCH));
        let next = match (interactive, batch) {
            (true, true) if self.interactive >= TURNS - 1 => BATCH,
            (true, _) => INTERACTIVE,
            (false, true) => BATCH,
            (false, false) => return None,
        };
        // What was taken while batch had nothing is not held against anybody.
        self.interactive = if next == INTERACTIVE && batch { self.interactive + 1 } else { 0 };
        Some(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(mut left: [usize; 2], count: usize) -> String {
        let mut turns = Turns::default();
        let take = |_| {
            let line = turns.next(|line| left[line] > 0)?;
            left[line] -= 1;
            Some(if line == BATCH { 'b' } else { 'i' })
        };
        (0..count).map_while(take).collect()
    }

    #[test]
    fn one_in_eight_is_batch_while_both_wait() {
        let check = |left: [usize; 2], want: &str| assert_eq!(taken(left, 20), want, "{left:?}");
        check([100, 100], "iiiiiiibiiiiiiibiiii");
        check([3, 3], "iiibbb");
        check([0, 3], "bbb");
        check([9, 1], "iiiiiiibii");
        check([0, 0], "");
    }

    #[test]
    fn batch_that_comes_late_waits_for_its_turn_like_any_other() {
        let mut turns = Turns::default();
        for _ in 0..100 {
            assert_eq!(turns.next(|line| line == INTERACTIVE), Some(INTERACTIVE));
        }
        let taken = (0..8).map(|_| turns.next(|_| true).unwrap()).collect::<Vec<_>>();
        assert_eq!(taken, [0, 0, 0, 0, 0, 0, 0, 1]);
    }
}
