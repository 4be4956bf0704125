//! Sorting many short rows at once: a sorting network whose wires are columns, so that each step is the same for all
//! rows and the processor does several of them in one instruction.

/// The steps that sort `wires` numbers (merge exchange: Knuth, The Art of Computer Programming, 5.2.2, algorithm M).
pub(super) fn steps(wires: usize) -> Vec<(usize, usize)> {
    let mut steps = Vec::new();
    let top = wires.next_power_of_two() / 2;
    let mut p = top;
    while p > 0 {
        let (mut q, mut r, mut d) = (top, 0, p);
        loop {
            steps.extend((0..wires.saturating_sub(d)).filter(|i| i & p == r).map(|i| (i, i + d)));
            if q == p {
                break;
            }
            d = q - p;
            q /= 2;
            r = p;
        }
        p /= 2;
    }
    steps
}

/// Sorts what stands beside each other in the columns, which have one length.
#[inline(always)]
#[allow(clippy::inline_always, reason = "part of what is compiled for several processors")]
pub(super) fn sort(columns: &mut [Vec<u32>], steps: &[(usize, usize)]) {
    for &(low, high) in steps {
        // `low` is left of `high` in every step.
        let (left, right) = columns.split_at_mut(high);
        if let (Some(left), Some(right)) = (left.get_mut(low), right.first_mut()) {
            for (a, b) in left.iter_mut().zip(right) {
                (*a, *b) = ((*a).min(*b), (*a).max(*b));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A network sorts everything if it sorts all zeros and ones.
    #[test]
    fn sorts_zeros_and_ones() {
        for wires in 1..=14_usize {
            let rows = 1_usize << wires;
            let mut columns: Vec<Vec<u32>> =
                (0..wires).map(|wire| (0..rows).map(|row| u32::from(row >> wire & 1 == 1)).collect()).collect();
            sort(&mut columns, &steps(wires));
            assert!((0..rows).all(|row| columns.windows(2).all(|pair| pair[0][row] <= pair[1][row])), "{wires} wires");
        }
    }

    proptest! {
        #[test]
        fn sorts(rows in (1_usize..40).prop_flat_map(|width| {
            proptest::collection::vec(proptest::collection::vec(any::<u32>(), width), 1..5)
        })) {
            let width = rows[0].len();
            let mut columns: Vec<Vec<u32>> =
                (0..width).map(|column| rows.iter().map(|row| row[column]).collect()).collect();
            sort(&mut columns, &steps(width));
            for (number, row) in rows.iter().enumerate() {
                let mut expected = row.clone();
                expected.sort_unstable();
                prop_assert_eq!(columns.iter().map(|column| column[number]).collect::<Vec<_>>(), expected);
            }
        }
    }
}
