//! Walker's alias method with Vose's construction, in integers.

/// One column of an alias table, chosen uniformly; then one comparison decides between two indices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AliasColumn {
    /// The column's own index wins if a random `u32` is below this. `u32::MAX` means always (`alias` is then the
    /// column's own index, so that a plain comparison is right as well).
    pub threshold: u32,
    /// The index that wins otherwise.
    pub alias: usize,
}

/// The alias table of `weights`: as many columns as weights, column `i` with own index `i`. Empty if there are no
/// weights or all are zero.
///
/// Deterministic. The shares are those of the weights within 2^-31; an index of weight zero is never chosen.
pub fn alias_table(weights: &[u64]) -> Vec<AliasColumn> {
    let total: u128 = weights.iter().map(|&weight| u128::from(weight)).sum();
    if total == 0 {
        return Vec::new();
    }
    let count = weights.len() as u128;
    // A column holds `total`; index i has weight x count to place, so that the sum fills all columns exactly.
    let mut left: Vec<u128> = weights.iter().map(|&weight| u128::from(weight) * count).collect();
    let mut columns: Vec<AliasColumn> = (0..weights.len())
        .map(|alias| AliasColumn {
            threshold: u32::MAX,
            alias,
        })
        .collect();
    let (mut small, mut large): (Vec<usize>, Vec<usize>) = (0..weights.len())
        .rev()
        .partition(|&index| left.get(index).is_some_and(|&left| left < total));
    while let (Some(under), Some(&over)) = (small.pop(), large.last()) {
        let own = left.get(under).copied().unwrap_or_default();
        if let Some(column) = columns.get_mut(under) {
            *column = AliasColumn {
                threshold: share(own, total),
                alias: over,
            };
        }
        let Some(rest) = left.get_mut(over) else { break };
        *rest = rest.saturating_sub(total - own);
        if *rest < total {
            large.pop();
            small.push(over);
        }
    }
    columns
}

/// `own / total` of 2^32, rounded, and short of "always".
fn share(own: u128, total: u128) -> u32 {
    // Both lose the same low bits if the product would not fit (weights near 2^64 and very many of them).
    let excess = (128 - total.leading_zeros()).saturating_sub(94);
    let (own, total) = (own >> excess, total >> excess);
    u32::try_from(((own << 33) / total).div_ceil(2))
        .unwrap_or(u32::MAX)
        .min(u32::MAX - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The share of each index that the table gives, of 1.
    fn implied(columns: &[AliasColumn]) -> Vec<f64> {
        let mut shares = vec![0.0; columns.len()];
        for (index, column) in columns.iter().enumerate() {
            let own = if column.threshold == u32::MAX {
                1.0
            } else {
                f64::from(column.threshold) / 2_f64.powi(32)
            };
            shares[index] += own / columns.len() as f64;
            shares[column.alias] += (1.0 - own) / columns.len() as f64;
        }
        shares
    }

    #[test]
    fn all_zero_is_an_empty_table() {
        assert!(alias_table(&[]).is_empty());
        assert!(alias_table(&[0, 0]).is_empty());
    }

    #[test]
    fn one_weight_has_it_all() {
        assert_eq!(
            alias_table(&[7]),
            [AliasColumn {
                threshold: u32::MAX,
                alias: 0
            }]
        );
    }

    #[test]
    fn three_to_one_is_half_a_column() {
        let expected = [
            AliasColumn {
                threshold: u32::MAX,
                alias: 0,
            },
            AliasColumn {
                threshold: 1 << 31,
                alias: 0,
            },
        ];
        assert_eq!(alias_table(&[3, 1]), expected);
    }

    proptest! {
        #[test]
        fn the_implied_shares_are_the_weights(
            weights in prop::collection::vec(prop_oneof![Just(0), 0_u64..100, any::<u64>()], 1..40),
        ) {
            let total: f64 = weights.iter().map(|&weight| weight as f64).sum();
            let columns = alias_table(&weights);
            prop_assert_eq!(columns.is_empty(), total == 0.0);
            for (index, share) in implied(&columns).into_iter().enumerate() {
                let expected = weights[index] as f64 / total;
                prop_assert!((share - expected).abs() < 2_f64.powi(-31), "{} is {} not {}", index, share, expected);
                prop_assert!(weights[index] > 0 || share == 0.0);
            }
            prop_assert_eq!(alias_table(&weights), columns);
        }
    }
}
