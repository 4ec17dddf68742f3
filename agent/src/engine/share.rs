//! How a bounded thing is shared out among those who want it.
//!
//! Bias: always room for the next. A plain cap per pod either adds up to more than there is, or is too small for the one
//! pod that needs much while nobody else does. So a pod may take as much as its cap says and, beyond that, no more than a
//! set proportion of what is still free (dynamic thresholds, Choudhury and Hahne, 1998). With a share of 50 % one
//! greedy pod gets half, two get a third each, n get 1/(n+1) each, and as much is left for who comes next. Pure: numbers
//! in, an answer out; who counts is `account`.

/// A bound on something, for one pod and for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cap {
    /// Most of it in all.
    pub all: usize,
    /// Most of it for one pod.
    pub pod: usize,
    /// How much of it one pod may have that is alone in wanting it, in percent; 1 to 100.
    pub share: usize,
}

impl Cap {
    /// The part of it that one of `cores` cores gives out by itself.
    pub fn of_core(self, cores: usize) -> Cap {
        Cap {
            all: self.all.div_ceil(cores.max(1)),
            pod: self.pod.div_ceil(cores.max(1)),
            share: self.share,
        }
    }

    /// True if a pod that has `own` of the `used` may take one more.
    pub fn fits(&self, own: usize, used: usize) -> bool {
        self.room(own, used) > 0 || own == 0 && used < self.all && self.pod > 0
    }

    /// How much more a pod may take that has `own` of the `used`.
    pub fn room(&self, own: usize, used: usize) -> usize {
        let free = self.all.saturating_sub(used);
        let share = self.share.clamp(1, 100);
        // The largest x with own + x <= share / (100 - share) * (free - x).
        let fair = (share as u128 * free as u128).saturating_sub((100 - share) as u128 * own as u128) / 100;
        usize::try_from(fair)
            .unwrap_or(usize::MAX)
            .min(free)
            .min(self.pod.saturating_sub(own))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pods that take as much as they get, in turn; what each has in the end.
    fn greedy(cap: Cap, pods: usize) -> Vec<usize> {
        let mut own = vec![0; pods];
        loop {
            let before: usize = own.iter().sum();
            for pod in 0..pods {
                let used = own.iter().sum();
                if cap.fits(own[pod], used) {
                    own[pod] += 1;
                }
            }
            if own.iter().sum::<usize>() == before {
                return own;
            }
        }
    }

    #[test]
    fn one_greedy_pod_gets_its_share_and_n_leave_as_much_for_the_next() {
        let cap = Cap {
            all: 1200,
            pod: 1200,
            share: 50,
        };
        for pods in 1..6 {
            for own in greedy(cap, pods) {
                let fair = 1200 / (pods + 1);
                assert!(own.abs_diff(fair) <= 1, "{own} of one among {pods}, not {fair}");
            }
        }
    }

    #[test]
    fn nobody_gets_more_than_its_cap_nor_all_more_than_theirs() {
        let cap = Cap {
            all: 100,
            pod: 10,
            share: 100,
        };
        assert_eq!(greedy(cap, 3), [10, 10, 10]);
        assert_eq!(greedy(cap, 20).iter().sum::<usize>(), 100);
        assert_eq!(cap.room(0, 100), 0);
        assert!(!cap.fits(0, 100));
    }

    #[test]
    fn the_last_piece_is_for_who_has_none() {
        let cap = Cap {
            all: 3,
            pod: 3,
            share: 50,
        };
        assert!(cap.fits(0, 2));
        assert!(!cap.fits(1, 2));
    }

    #[test]
    fn what_was_given_as_room_leaves_the_proportion_whole() {
        let cap = Cap {
            all: 1 << 28,
            pod: 1 << 28,
            share: 25,
        };
        let room = cap.room(0, 0);
        assert_eq!(room, 1 << 26, "alone it gets its share");
        assert_eq!(cap.room(room, room), 0);
        assert!(cap.room(0, room) > 0);
    }
}
