//! Choosing a backend by weight: in turn ([`Wrr`]) or at random in constant time ([`alias_table`]).
//!
//! Bias: exact shares over speed. Integers only, so that the same weights give the same choices on every machine.
//! A [`Wrr`] is owned by whoever picks with it; the alias table is built here and read by the kernel.

mod alias;

pub use alias::{AliasColumn, alias_table};

/// Smooth weighted round robin (as in nginx): each pick adds every weight to its counter, takes the largest counter
/// (the first of equals) and subtracts the sum from it.
///
/// The sequence repeats after (sum of weights / their common divisor) picks, and every such window holds each index
/// exactly in proportion: with 90 and 10, any ten picks in a row are nine and one.
#[derive(Clone, Debug)]
pub struct Wrr {
    slots: Vec<Slot>,
    total: i128,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    weight: u64,
    current: i128,
}

impl Wrr {
    /// A rotation over `weights`, by index. Weights are relative and may be any `u64`.
    pub fn new(weights: impl IntoIterator<Item = u64>) -> Self {
        let slots: Vec<Slot> = weights.into_iter().map(|weight| Slot { weight, current: 0 }).collect();
        let total = slots.iter().map(|slot| i128::from(slot.weight)).sum();
        Wrr { slots, total }
    }

    /// The index of the next pick; `None` if there are no weights or all are zero. A zero weight is never picked.
    #[expect(
        clippy::should_implement_trait,
        reason = "a rotation has no end; an iterator would promise adaptors"
    )]
    pub fn next(&mut self) -> Option<usize> {
        let mut best: Option<(usize, i128)> = None;
        for (index, slot) in self.slots.iter_mut().enumerate().filter(|(_, slot)| slot.weight > 0) {
            slot.current += i128::from(slot.weight);
            if best.is_none_or(|(_, current)| slot.current > current) {
                best = Some((index, slot.current));
            }
        }
        let (index, _) = best?;
        if let Some(slot) = self.slots.get_mut(index) {
            slot.current -= self.total;
        }
        Some(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn counts(wrr: &mut Wrr, picks: usize, len: usize) -> Vec<usize> {
        let mut counts = vec![0; len];
        for _ in 0..picks {
            counts[wrr.next().unwrap()] += 1;
        }
        counts
    }

    #[test]
    fn ninety_and_ten_are_nine_and_one_of_any_ten() {
        let mut wrr = Wrr::new([90, 10]);
        let picks: Vec<_> = (0..1000).map(|_| wrr.next().unwrap()).collect();
        for window in picks.windows(10) {
            assert_eq!(window.iter().filter(|&&index| index == 1).count(), 1);
        }
    }

    #[test]
    fn nothing_to_pick_is_none() {
        assert_eq!(Wrr::new([]).next(), None);
        assert_eq!(Wrr::new([0, 0]).next(), None);
    }

    #[test]
    fn a_zero_weight_is_never_picked() {
        assert_eq!(counts(&mut Wrr::new([0, 3, 0]), 50, 3), [0, 50, 0]);
    }

    #[test]
    fn the_largest_weights_do_not_overflow() {
        assert_eq!(counts(&mut Wrr::new([u64::MAX, u64::MAX, 1]), 1000, 3), [500, 500, 0]);
    }

    proptest! {
        #[test]
        fn every_period_holds_each_index_exactly(weights in prop::collection::vec(0_u64..20, 1..8)) {
            let sum: u64 = weights.iter().sum();
            prop_assume!(sum > 0);
            let mut wrr = Wrr::new(weights.iter().copied());
            for _ in 0..3 {
                let seen = counts(&mut wrr, sum as usize, weights.len());
                prop_assert_eq!(seen, weights.iter().map(|&weight| weight as usize).collect::<Vec<_>>());
            }
        }
    }
}
