//! Shadows: what is compared, and that what they cannot keep up with is dropped and counted.

use std::sync::Arc;
use std::time::Duration;

use headrace_serve::catalogue::{Catalogue, Endpoint, Share};
use headrace_serve::engine::Engine;
use headrace_serve::inputs::Inputs;
use headrace_serve::model::{Model, Output, Place};
use headrace_serve::scheduler::Limits;
use headrace_serve::shadow::{Difference, Shadows};
use headrace_serve::shares::Shares;
use headrace_serve::tensor::{Data, Tensor};

use crate::fake::{Fake, Runs, column};

fn output(name: &str, data: Data) -> Output {
    Output { name: Arc::from(name), tensor: Tensor { shape: vec![data.len()], data } }
}

fn texts(values: &[&str]) -> Data {
    Data::Text(values.iter().map(|text| (*text).to_owned()).collect())
}

fn line(text: &str, name: &str) -> String {
    let found = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
    found.rsplit(' ').next().unwrap_or_default().to_owned()
}

fn model(catalogue: &Catalogue, version: &str) -> Arc<Model> {
    let mut engines: Vec<Box<dyn Engine>> = vec![Box::new(Fake::new(&Runs::default()))];
    let limits = Limits {
        batch_rows: 8,
        queue_rows: 8,
        queue_bytes: 800,
        queue_time: Duration::from_secs(1),
        delay: Duration::ZERO,
    };
    let place = Place { limits, request_rows: 100, shares: Shares::new(1) };
    let model = Model::new("m", version, &mut engines, None, &place, catalogue.metrics("m", version)).unwrap();
    catalogue.count(&model);
    Arc::new(model)
}

#[test]
fn a_row_differs_if_any_of_its_outputs_does() {
    let catalogue = Catalogue::default();
    let shadow = model(&catalogue, "2");
    let difference: &Difference = &shadow.metrics.shadow;
    difference.begin();
    let nan = f64::NAN;
    let answered =
        [output("label", texts(&["a", "b", "c", "d"])), output("score", Data::F64(vec![1.0, 2.0, nan, 1e9]))];
    let given = [
        output("score", Data::F64(vec![1.0 + 1e-9, 2.5, nan, 1e9 + 1.0])),
        output("label", texts(&["a", "b", "c", "e"])),
    ];
    difference.compare(&answered, &given);
    let text = catalogue.text();
    assert_eq!(line(&text, "headrace_shadow_rows_total{"), "4");
    // The second by its number, the fourth by its label: the difference of its number is small beside it.
    assert_eq!(line(&text, "headrace_shadow_different_rows_total{"), "2");
    assert_eq!(line(&text, "headrace_shadow_difference_max{"), "1");
    assert_eq!(line(&text, "headrace_shadow_difference_count{"), "3");
    difference.compare(&answered, &given[..1]);
    assert_eq!(line(&catalogue.text(), "headrace_shadow_different_rows_total{"), "6");
}

#[test]
fn what_does_not_fit_is_dropped_and_counted() {
    let catalogue = Catalogue::default();
    let (served, shadow) = (model(&catalogue, "1"), model(&catalogue, "2"));
    let inputs = Inputs::from(vec![column(vec![1.0])]);
    assert!(Shadows::kept(&served, &inputs).is_none());
    let share = Share { model: Arc::clone(&served), weight: 1 };
    assert!(catalogue.offer(Endpoint::new("m", vec![share], vec![Arc::clone(&shadow)], "key").unwrap()));
    let (shadows, _nobody_computes) = Shadows::new(1);
    for _ in 0..300 {
        let kept = Shadows::kept(&served, &inputs).unwrap();
        shadows.offer(0, &served, &kept, &[output("x", Data::F64(vec![2.0]))]);
    }
    assert_eq!(line(&catalogue.text(), "headrace_shadow_dropped_total{"), "44");
    // One that is larger than all that may wait.
    let (shadows, _nobody_computes) = Shadows::new(1);
    let large = Inputs::from(vec![column(vec![0.0; 9 << 20])]);
    shadows.offer(0, &served, &large, &[]);
    assert_eq!(line(&catalogue.text(), "headrace_shadow_dropped_total{"), "45");
    // Closed, nothing is shadowed any more, and nobody holds anybody.
    catalogue.close();
    assert!(Shadows::kept(&served, &inputs).is_none());
}
