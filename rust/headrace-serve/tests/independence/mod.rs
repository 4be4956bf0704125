use headrace_serve::engine::{Engine, Port};
use headrace_serve::independence::rows_are_independent;
use headrace_serve::probe::{probe, probes};
use headrace_serve::tensor::{Data, Kind, Tensor};

use crate::fake::{Fake, Runs, column, numbers};

/// Numbers of all inputs side by side, row after row, to an output of as many.
struct Graph<F> {
    ports: Vec<Port>,
    of: F,
}

impl<F: FnMut(&mut [Vec<f64>]) -> Result<(), String> + Send> Engine for Graph<F> {
    fn inputs(&self) -> &[Port] {
        &self.ports
    }

    fn outputs(&self) -> &[Port] {
        &self.ports
    }

    fn run(&mut self, inputs: &[Tensor]) -> Result<Vec<Tensor>, String> {
        let rows = inputs[0].rows();
        let mut table: Vec<Vec<f64>> = (0..rows)
            .map(|row| inputs.iter().flat_map(|input| as_numbers(&input.slice(row, row + 1).data)).collect())
            .collect();
        (self.of)(&mut table)?;
        let width = table[0].len();
        Ok(vec![Tensor { shape: vec![rows, width], data: Data::F64(table.concat()) }])
    }
}

fn as_numbers(data: &Data) -> Vec<f64> {
    #[expect(clippy::cast_precision_loss, reason = "they are small")]
    match data {
        Data::F32(values) => values.iter().copied().map(f64::from).collect(),
        Data::F64(values) => values.clone(),
        Data::I32(values) => values.iter().copied().map(f64::from).collect(),
        Data::I64(values) => values.iter().map(|value| *value as f64).collect(),
        Data::Bool(values) => values.iter().map(|value| f64::from(u8::from(*value))).collect(),
        Data::Text(values) => {
            values.iter().map(|text| text.bytes().fold(0.0, |sum, byte| sum * 31.0 + f64::from(byte))).collect()
        }
    }
}

/// Its name, whether it shows in numbers of some sizes only, and what it does to a column.
type Dependence = (&'static str, bool, fn(&mut [f64]));

/// What a column becomes, of which all rows are known.
fn dependences() -> Vec<Dependence> {
    fn mean(values: &[f64]) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "they are few")]
        let count = values.len() as f64;
        values.iter().sum::<f64>() / count
    }
    fn greatest(values: &[f64]) -> f64 {
        values.iter().copied().fold(f64::NEG_INFINITY, f64::max)
    }
    vec![
        ("less the mean", false, |values| {
            let mean = mean(values);
            for value in values {
                *value -= mean;
            }
        }),
        ("less the greatest", false, |values| {
            let most = greatest(values);
            for value in values {
                *value -= most;
            }
        }),
        ("whether it is the greatest", false, |values| {
            let most = greatest(values);
            let at = values.iter().position(|value| *value >= most).unwrap();
            (0..).zip(values).for_each(|(row, value)| *value = f64::from(u8::from(row == at)));
        }),
        ("sum so far", false, |values| {
            let mut sum = 0.0;
            for value in values {
                sum += *value;
                *value = sum;
            }
        }),
        ("sorted", false, |values| values.sort_by(f64::total_cmp)),
        ("over the greatest above 2", true, |values| {
            let most = greatest(values).max(2.0);
            for value in values {
                *value /= most;
            }
        }),
        ("less the mean above 300", true, |values| {
            let mean = Some(mean(values)).filter(|mean| *mean > 300.0).unwrap_or_default();
            for value in values {
                *value -= mean;
            }
        }),
        ("less the least below -5", true, |values| {
            let least = -greatest(&values.iter().map(|value| -value).collect::<Vec<_>>());
            let least = Some(least).filter(|least| *least < -5.0).unwrap_or_default();
            for value in values {
                *value -= least;
            }
        }),
    ]
}

fn ports(kinds: &[Kind], width: usize) -> Vec<Port> {
    let port = |(number, kind): (usize, &Kind)| Port {
        name: format!("x{number}"),
        kind: *kind,
        shape: vec![None, Some(width)],
    };
    kinds.iter().enumerate().map(port).collect()
}

const KINDS: [Kind; 6] = [Kind::F32, Kind::F64, Kind::I32, Kind::I64, Kind::Bool, Kind::Text];

#[test]
fn rows_that_depend_on_their_mates_are_found_out_whatever_their_type_and_width() {
    for kind in KINDS {
        for width in 1..=12 {
            for (name, of_size, of) in dependences() {
                if of_size && matches!(kind, Kind::Bool | Kind::Text) {
                    continue;
                }
                let of = move |table: &mut [Vec<f64>]| {
                    for place in 0..width {
                        let mut values: Vec<f64> = table.iter().map(|row| row[place]).collect();
                        of(&mut values);
                        table.iter_mut().zip(values).for_each(|(row, value)| row[place] = value);
                    }
                    Ok(())
                };
                let ports = ports(&[kind], width);
                let found = probes(&ports);
                assert!(!rows_are_independent(&mut Graph { ports, of }, &found), "{name}, {kind:?}, {width} wide");
            }
        }
    }
}

#[test]
fn one_column_that_depends_on_its_mates_is_found_beside_others() {
    for kind in KINDS {
        let ports = ports(&[Kind::F32, kind, Kind::I64], 3);
        let of = |table: &mut [Vec<f64>]| {
            let most = table.iter().map(|row| row[4]).fold(f64::NEG_INFINITY, f64::max);
            for row in table {
                row[4] -= most;
            }
            Ok(())
        };
        let found = probes(&ports);
        assert!(!rows_are_independent(&mut Graph { ports, of }, &found), "{kind:?}");
    }
}

#[test]
fn rows_that_do_not_are_batched_though_large_numbers_are_refused() {
    for kind in KINDS {
        for width in 1..=12 {
            let ports = ports(&[kind, Kind::I64], width);
            let of = move |table: &mut [Vec<f64>]| {
                // A place in a table of two.
                if table.iter().flat_map(|row| &row[width..]).any(|place| !(0.0..=1.0).contains(place)) {
                    return Err("out of range".to_owned());
                }
                table.iter_mut().flatten().for_each(|value| *value = (*value / 3.0).tanh());
                Ok(())
            };
            let found = probes(&ports);
            assert!(rows_are_independent(&mut Graph { ports, of }, &found), "{kind:?}, {width} wide");
        }
    }
}

#[test]
fn no_two_rows_are_alike_and_they_come_in_several_sizes() {
    for kind in KINDS {
        for width in [1, 3, 6, 9, 9973] {
            for rows in probes(&ports(&[kind], width)) {
                let row = |number: usize| rows[0].slice(number, number + 1);
                assert!((1..rows[0].rows()).any(|number| row(number) != row(0)), "{kind:?}, {width} wide");
            }
        }
    }
    let sizes = probes(&ports(&[Kind::F64], 2));
    let all: Vec<f64> = sizes.iter().flat_map(|rows| as_numbers(&rows[0].data)).collect();
    for wanted in [|value: f64| value > 1e6, |value| value < -1e6, |value| value == 0.0, |value: f64| value.abs() < 2.0]
    {
        assert!(all.iter().copied().any(wanted));
    }
    assert_eq!(Some(&sizes[0]), probe(&ports(&[Kind::F64], 2)).as_ref());
}

#[test]
fn rows_that_the_model_never_takes_are_not_known_to_be_independent() {
    let mut fake = Fake::new(&Runs::default());
    assert!(rows_are_independent(&mut fake, &[vec![column(vec![1.0, 2.0, 3.0])]]));
    assert!(!rows_are_independent(&mut fake, &[vec![column(vec![-1.0])]]));
    assert!(!rows_are_independent(&mut fake, &[]));
    // It takes each, but not all of them.
    let ports = ports(&[Kind::F64], 1);
    let of = |table: &mut [Vec<f64>]| if table.len() > 1 { Err("one at a time".to_owned()) } else { Ok(()) };
    let found = [vec![column(vec![1.0, 2.0])]];
    assert!(!rows_are_independent(&mut Graph { ports, of }, &found));
    assert_eq!(numbers(&found[0][0]), [1.0, 2.0]);
}
