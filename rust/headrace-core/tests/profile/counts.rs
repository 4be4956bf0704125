//! Counts against brute force.
#![allow(clippy::float_cmp, clippy::cast_precision_loss, reason = "bins and moments are compared as they are")]

use headrace_core::profile::{Bin, BinnedColumn, Kind, Profile};
use proptest::prelude::*;

use super::{Row, batch, counted, fit, number, options, rows};

fn holds(bin: &Bin, last: bool, after_atom: Option<f64>, value: f64) -> bool {
    match bin {
        Bin::Below(min) => value < *min,
        Bin::Above(max) => value > *max,
        Bin::Atom(atom) => value == *atom,
        Bin::Interval { low, high } => {
            value >= *low && after_atom.is_none_or(|atom| value != atom) && (value < *high || last && value == *high)
        }
        _ => false,
    }
}

/// How often each bin has a value, by its definition.
fn expected(column: &BinnedColumn, values: &[f64]) -> Vec<u64> {
    let count = column.bins.len();
    (0..count)
        .map(|index| {
            let bin = &column.bins[index];
            // The last interval is that before `Above`, or the only bin.
            let last = matches!(column.bins.get(index + 1), Some(Bin::Above(_)) | None);
            let after_atom = match (index.checked_sub(1).map(|before| &column.bins[before]), bin) {
                (Some(Bin::Atom(atom)), _) => Some(*atom),
                _ => None,
            };
            values.iter().filter(|value| value.is_finite() && holds(bin, last, after_atom, **value)).count() as u64
        })
        .collect()
}

fn row(number: Option<f64>) -> Row {
    Row { number, integer: None, flag: None, text: None, weight: 1.0 }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn every_number_is_in_its_bin(
        reference in prop::collection::vec(number(), 0..600), live in prop::collection::vec(number(), 0..2000),
    ) {
        let rows = |values: &[f64]| values.iter().map(|value| row(Some(*value))).collect::<Vec<_>>();
        let profile = fit(&batch(&rows(&reference), 0), &[], &options(false), 1);
        let window = counted(&profile, &batch(&rows(&live), 0), &[], 1);
        let column = &profile.binned(&window).unwrap()[0];
        prop_assert_eq!(&column.reference, &expected(column, &reference));
        prop_assert_eq!(&column.live, &expected(column, &live));
        let special = |is: fn(f64) -> bool| {
            let count = |values: &[f64]| values.iter().filter(|value| is(**value)).count() as u64;
            (count(&reference), count(&live))
        };
        prop_assert_eq!(column.special.nan, special(f64::is_nan));
        prop_assert_eq!(column.special.pos_inf, special(|value| value == f64::INFINITY));
        prop_assert_eq!(column.special.neg_inf, special(|value| value == f64::NEG_INFINITY));
        let finite: Vec<f64> = reference.iter().copied().filter(|value| value.is_finite()).collect();
        prop_assert_eq!(column.moments.0.min, finite.iter().copied().min_by(f64::total_cmp).map(|value| value + 0.0));
        prop_assert_eq!(column.moments.0.max, finite.iter().copied().max_by(f64::total_cmp).map(|value| value + 0.0));
    }

    #[test]
    fn continuous_numbers_of_any_spread_are_in_their_bins(
        units in prop::collection::vec(-1.0..1.0_f64, 300..700), spread in 0.0..40.0_f64, wide in 1.0..1.5_f64,
    ) {
        // Few values are there twice, so there are no atoms; from nearly uniform to very skewed.
        let reference: Vec<f64> = units.iter().map(|unit| unit.signum() * (unit.abs() * spread).exp_m1()).collect();
        let rows = |values: &[f64]| values.iter().map(|value| row(Some(*value))).collect::<Vec<_>>();
        let profile = fit(&batch(&rows(&reference), 0), &[], &options(false), 1);
        let mut live: Vec<f64> = reference.iter().map(|value| value * wide).collect();
        for bin in &profile.binned(&profile.window()).unwrap()[0].bins {
            if let Bin::Interval { low, high } = bin {
                live.extend([low.next_down(), *low, low.next_up(), high.next_down(), *high, high.next_up()]);
            }
        }
        let column = &profile.binned(&counted(&profile, &batch(&rows(&live), 0), &[], 1)).unwrap()[0];
        prop_assert_eq!(&column.reference, &expected(column, &reference));
        prop_assert_eq!(&column.live, &expected(column, &live));
        let read = Profile::from_bytes(&profile.to_bytes()).unwrap();
        prop_assert_eq!(&profile.binned(&counted(&read, &batch(&rows(&live), 0), &[], 1)).unwrap()[0], column);
    }

    #[test]
    fn moments_are_those_of_the_values(values in prop::collection::vec(-1000.0..1000.0_f64, 1..3000)) {
        let rows: Vec<_> = values.iter().map(|value| row(Some(*value))).collect();
        let profile = fit(&batch(&rows, 0), &[], &options(false), 1);
        let column = &profile.binned(&counted(&profile, &batch(&rows, 0), &[], 1)).unwrap()[0];
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let m2 = values.iter().map(|value| (value - mean) * (value - mean)).sum::<f64>();
        let scale = values.iter().map(|value| value.abs()).fold(0.0, f64::max) / 65_536.0;
        for moments in [column.moments.0, column.moments.1] {
            prop_assert_eq!(moments.n, n);
            prop_assert!((moments.mean - mean).abs() <= scale, "{} {}", moments.mean, mean);
            prop_assert!((moments.m2 - m2).abs() <= 2.0 * scale * (m2 * n).sqrt() + n * scale * scale, "{} {}", moments.m2, m2);
        }
    }

    #[test]
    fn every_category_is_counted(reference in rows(300), live in rows(300), layout in 0..3_usize) {
        let profile = fit(&batch(&reference, 0), &[], &options(false), 1);
        let window = counted(&profile, &batch(&live, layout), &[], 1);
        let binned = profile.binned(&window).unwrap();
        let column = &binned[3];
        prop_assert_eq!(column.kind, Kind::Nominal);
        let count = |rows: &[Row], text: &str| rows.iter().filter(|row| row.text.as_deref() == Some(text)).count() as u64;
        for (index, bin) in column.bins.iter().enumerate() {
            if let Bin::Category(name) = bin {
                prop_assert_eq!(column.reference[index], count(&reference, name));
                prop_assert_eq!(column.live[index], count(&live, name));
            }
        }
        let unseen = live.iter().filter(|row| {
            row.text.as_deref().is_some_and(|text| count(&reference, text) == 0)
        }).count() as u64;
        prop_assert_eq!(*column.live.last().unwrap(), unseen);
        prop_assert_eq!(*column.reference.last().unwrap(), 0);
        prop_assert_eq!(column.special.null, (
            reference.iter().filter(|row| row.text.is_none()).count() as u64,
            live.iter().filter(|row| row.text.is_none()).count() as u64,
        ));
        let flags = &binned[2];
        prop_assert_eq!(&flags.live[..2], &[
            live.iter().filter(|row| row.flag == Some(false)).count() as u64,
            live.iter().filter(|row| row.flag == Some(true)).count() as u64,
        ]);
    }

    #[test]
    fn segments_and_pairs_add_up(reference in rows(300), live in rows(300)) {
        let profile = fit(&batch(&reference, 0), &[], &options(false), 1);
        let window = counted(&profile, &batch(&live, 0), &[], 1);
        let whole = profile.binned(&window).unwrap();
        let parts = profile.binned_segments(&window).unwrap();
        for (index, column) in whole.iter().enumerate() {
            for bin in 0..column.bins.len() {
                let sum: u64 = parts.iter().map(|(_, columns)| columns[index].live[bin]).sum();
                prop_assert_eq!(sum, column.live[bin]);
            }
        }
        for (name, columns) in &parts {
            let inside = |row: &&Row| match name {
                Some(name) => row.text.as_ref() == Some(name),
                None => !parts.iter().any(|(other, _)| other.is_some() && *other == row.text),
            };
            let flags = live.iter().filter(inside).filter(|row| row.flag == Some(true)).count() as u64;
            prop_assert_eq!(columns[2].live[1], flags);
        }
        for pair in &whole[4..] {
            prop_assert_eq!(pair.live.iter().sum::<u64>(), live.len() as u64);
            prop_assert_eq!(pair.reference.iter().sum::<u64>(), reference.len() as u64);
        }
    }

    #[test]
    fn weights_are_multiples(reference in rows(100), live in prop::collection::vec((super::row(), 0..5_usize), 0..100)) {
        // A row of weight k is k rows of weight 1.
        let once: Vec<Row> = live.iter().map(|(row, k)| Row { weight: *k as f64, ..row.clone() }).collect();
        let often: Vec<Row> = live
            .iter()
            .flat_map(|(row, k)| std::iter::repeat_n(Row { weight: 1.0, ..row.clone() }, *k))
            .collect();
        let profile = fit(&batch(&reference, 0), &[], &options(true), 1);
        let a = profile.binned(&counted(&profile, &batch(&once, 1), &[], 1)).unwrap();
        let b = profile.binned(&counted(&profile, &batch(&often, 2), &[], 1)).unwrap();
        for (x, y) in a.iter().zip(&b) {
            prop_assert_eq!(&x.live, &y.live);
            prop_assert_eq!(x.moments.1, y.moments.1);
            prop_assert_eq!(x.special, y.special);
        }
        let total: f64 = once.iter().map(|row| row.weight).sum();
        let squares: f64 = once.iter().map(|row| row.weight * row.weight).sum();
        let effective = a[0].weighted.unwrap().effective.1;
        let expected = if squares > 0.0 { total * total / squares } else { 0.0 };
        prop_assert!((effective - expected).abs() <= 1e-9 * effective);
    }
}
