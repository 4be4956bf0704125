//! Requests joined and split again.

use headrace_serve::tensor::{Data, Kind, Tensor, join, split};
use proptest::prelude::*;

fn tensor(rows: usize, width: usize, first: i64) -> Tensor {
    let values = (first..).take(rows * width).collect();
    Tensor { shape: vec![rows, width], data: Data::I64(values) }
}

proptest! {
    #[test]
    fn what_is_joined_is_split_again(rows in prop::collection::vec(0..5_usize, 1..8), width in 0..4_usize) {
        let requests: Vec<Vec<Tensor>> =
            rows.iter().zip(0..).map(|(rows, first)| vec![tensor(*rows, width, first), tensor(*rows, 1, -first)]).collect();
        let borrowed: Vec<&[Tensor]> = requests.iter().map(Vec::as_slice).collect();
        let joined = join(&borrowed).unwrap();
        prop_assert_eq!(joined[0].rows(), rows.iter().sum::<usize>());
        prop_assert_eq!(split(&joined, &rows).unwrap(), requests);
    }
}

#[test]
fn what_differs_in_more_than_rows_is_not_joined() {
    let (narrow, wide) = ([tensor(1, 1, 0)], [tensor(1, 2, 0)]);
    let other = [Tensor { shape: vec![1, 1], data: Data::F32(vec![0.0]) }];
    assert_eq!(join(&[&narrow, &wide]), None);
    assert_eq!(join(&[&narrow, &other]), None);
    assert_eq!(join(&[&narrow, &[]]), None);
    assert_eq!(split(&[tensor(3, 1, 0)], &[1, 1]), None);
    assert_eq!(split(&[Tensor { shape: vec![], data: Data::I64(vec![1]) }], &[1]), None);
    assert!(Data::empty(Kind::Text).is_empty());
}
