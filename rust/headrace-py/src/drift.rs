//! Binding of `headrace_core::drift`.
#![allow(clippy::needless_pass_by_value, reason = "arguments come from Python by value")]

use headrace_core::drift::samples::{Extremes, Method, Outcome, Samples};
use headrace_core::drift::{self, ColumnDrift, Correction, Measure, Part, Settings, Verdict, counts, kolmogorov};
use headrace_core::profile::{Bin, BinnedColumn, Kind, Moments, Special};
use numpy::{PyReadonlyArray1, PyUntypedArrayMethods as _};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use crate::error::{data_error, raise};
use crate::profile::{Profile, Window};

/// What the functions on raw samples state bounds and detectable sizes for.
const ALPHA: f64 = 0.05;
const POWER: f64 = 0.8;

/// `(statistic, p-value or None, exact)` of two samples of numbers.
#[pyfunction]
#[pyo3(signature = (statistic, reference, live, *, method = "auto", threads = 1))]
pub(crate) fn drift_samples(
    py: Python<'_>,
    statistic: &str,
    reference: PyReadonlyArray1<'_, f64>,
    live: PyReadonlyArray1<'_, f64>,
    method: &str,
    threads: usize,
) -> PyResult<(f64, Option<f64>, bool)> {
    let method = match method {
        "auto" => Method::Auto,
        "exact" => Method::Exact,
        "asymptotic" => Method::Asymptotic,
        _ => return Err(unknown(py, "method", method, "auto, exact or asymptotic")),
    };
    let whole = |outcome: Outcome| Ok((outcome.statistic, Some(outcome.pvalue), outcome.exact));
    let distance = |value: headrace_core::Result<f64>| value.map(|value| (value, None, true));
    let (reference, live) = (reference.as_slice()?, live.as_slice()?);
    let sorted = || Samples::new(reference, live, threads);
    let extremes = || Extremes::new(reference, live, threads);
    let answer = || match statistic {
        "ks" => whole(extremes()?.kolmogorov_smirnov(method)),
        "kuiper" => whole(extremes()?.kuiper(method)),
        "cramer_von_mises" => whole(sorted()?.cramer_von_mises(method)),
        "wasserstein" => distance(sorted()?.wasserstein()),
        _ => distance(sorted()?.energy()),
    };
    if !["ks", "kuiper", "cramer_von_mises", "wasserstein", "energy"].contains(&statistic) {
        return Err(unknown(py, "statistic", statistic, "a name that headrace.drift uses"));
    }
    py.detach(answer).map_err(|error| raise(py, &error))
}

/// One-sided bounds of the true Kolmogorov-Smirnov distance, and the distance that is seen, at 95 % and power 80 %.
#[pyfunction]
pub(crate) fn drift_ks_bounds(statistic: f64, n: u64, m: u64) -> (f64, f64, f64) {
    kolmogorov::kolmogorov_bounds(statistic, n, m, ALPHA, POWER)
}

/// `(value, p-value or None, detectable or None)` of two rows of counts.
#[pyfunction]
#[pyo3(signature = (statistic, reference, live, *, least_expected = 5.0, base = 2.0))]
pub(crate) fn drift_counts(
    py: Python<'_>,
    statistic: &str,
    reference: PyReadonlyArray1<'_, u64>,
    live: PyReadonlyArray1<'_, u64>,
    least_expected: f64,
    base: f64,
) -> PyResult<(f64, Option<f64>, Option<f64>)> {
    if reference.len() != live.len() {
        let message = format!("the reference has {} categories and live has {}", reference.len(), live.len());
        return Err(data_error(py, &message, None, Some("Count both over the same categories.")));
    }
    let (reference, live) = (reference.as_slice()?, live.as_slice()?);
    let shares = |counts: &[u64]| -> (Vec<f64>, f64) { (counts::shares(counts), counts::total(counts)) };
    let test = |likelihood| {
        let test = counts::homogeneity(reference, live, least_expected, likelihood);
        (test.statistic, Some(test.pvalue), Some(test.detectable(ALPHA, POWER)))
    };
    let ((p, n), (q, m)) = (shares(reference), shares(live));
    let value = match statistic {
        "chi2" => return Ok(py.detach(|| test(false))),
        "g" => return Ok(py.detach(|| test(true))),
        "total_variation" => counts::total_variation(&p, &q),
        "l_infinity" => counts::l_infinity(&p, &q),
        "hellinger" => counts::hellinger(&p, &q),
        "jensen_shannon" => counts::jensen_shannon(&p, &q, base),
        "psi" => counts::psi(&p, &q, n, m),
        _ => return Err(unknown(py, "statistic", statistic, "a name that headrace.drift uses")),
    };
    Ok((value, None, None))
}

fn unknown(py: Python<'_>, what: &str, found: &str, expected: &str) -> PyErr {
    data_error(py, &format!("{what} is '{}', expected {expected}", found.escape_debug()), None, None)
}

/// A column's counts as Python says them: each bin is `(tag, low, high, category)`.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(crate) struct Counted {
    name: String,
    ordered: bool,
    bins: Vec<(String, f64, f64, String)>,
    reference: Vec<u64>,
    live: Vec<u64>,
    null: (u64, u64),
    nan: (u64, u64),
    pos_inf: (u64, u64),
    neg_inf: (u64, u64),
    moments: ((f64, f64, f64), (f64, f64, f64)),
}

impl Counted {
    fn column(self) -> BinnedColumn {
        let bin = |(tag, low, high, category): (String, f64, f64, String)| match tag.as_str() {
            "below" => Bin::Below(low),
            "atom" => Bin::Atom(low),
            "interval" => Bin::Interval { low, high },
            "above" => Bin::Above(low),
            "other" => Bin::Other,
            "unseen" => Bin::Unseen,
            _ => Bin::Category(category),
        };
        let moments = |(n, mean, m2)| Moments { n, mean, m2, min: None, max: None };
        BinnedColumn {
            name: self.name,
            kind: if self.ordered { Kind::Ordered } else { Kind::Nominal },
            bins: self.bins.into_iter().map(bin).collect(),
            reference: self.reference,
            live: self.live,
            special: Special { null: self.null, nan: self.nan, pos_inf: self.pos_inf, neg_inf: self.neg_inf },
            moments: (moments(self.moments.0), moments(self.moments.1)),
            weighted: None,
            singletons: None,
            overlooked: 0.0,
        }
    }
}

/// What is asked, as Python says it.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(crate) struct Asked {
    delta: f64,
    deltas: std::collections::BTreeMap<String, f64>,
    delta_rate: f64,
    alpha: f64,
    power: f64,
    draws: usize,
    any_dependence: bool,
    threads: usize,
}

impl Asked {
    fn settings(&self) -> Settings {
        let Self { delta, delta_rate, alpha, power, draws, .. } = *self;
        Settings { delta, delta_rate, alpha, power, draws }
    }
}

/// A dict a column of a profile: its statistics, its parts and its verdict among the others.
#[pyfunction]
#[pyo3(signature = (reference, live, asked, *, segment = None, columns = None, without = Vec::new()))]
pub(crate) fn drift_compare<'py>(
    py: Python<'py>,
    reference: &Profile,
    live: &Window,
    asked: Asked,
    segment: Option<usize>,
    columns: Option<Vec<String>>,
    without: Vec<String>,
) -> PyResult<Bound<'py, PyList>> {
    let live = live.window().clone();
    let wanted = |name: &str| {
        !without.iter().any(|other| other == name)
            && columns.as_ref().is_none_or(|columns| columns.iter().any(|column| is_of(name, column)))
    };
    let answers = py.detach(|| {
        let (mut columns, mut embedded) = match segment {
            None => (reference.profile.binned(&live)?, reference.profile.embedded(&live)?),
            Some(number) => {
                let segments = reference.profile.binned_segments(&live)?;
                (segments.into_iter().nth(number).map(|(_, columns)| columns).unwrap_or_default(), Vec::new())
            }
        };
        columns.retain(|column| wanted(&column.name));
        embedded.retain(|column| wanted(&column.name));
        drift::compare(&columns, &embedded, &asked.settings(), &asked.deltas, asked.threads)
    });
    answered(py, &answers.map_err(|error| raise(py, &error))?, &asked)
}

/// Whether `name` is the column, or derived from it: `departed (hour)` is of `departed`.
fn is_of(name: &str, column: &str) -> bool {
    name.strip_prefix(column).is_some_and(|rest| rest.is_empty() || (rest.starts_with(" (") && rest.ends_with(')')))
}

/// As `drift_compare`, for counts that are there already.
#[pyfunction]
pub(crate) fn drift_compare_counts(py: Python<'_>, columns: Vec<Counted>, asked: Asked) -> PyResult<Bound<'_, PyList>> {
    let columns: Vec<BinnedColumn> = columns.into_iter().map(Counted::column).collect();
    let answers = py
        .detach(|| drift::compare(&columns, &[], &asked.settings(), &asked.deltas, asked.threads))
        .map_err(|error| raise(py, &error))?;
    answered(py, &answers, &asked)
}

fn answered<'py>(py: Python<'py>, columns: &[ColumnDrift], asked: &Asked) -> PyResult<Bound<'py, PyList>> {
    let correction = if asked.any_dependence { Correction::BenjaminiYekutieli } else { Correction::BenjaminiHochberg };
    let list = PyList::empty(py);
    for (column, (verdict, adjusted)) in columns.iter().zip(drift::judge(columns, &asked.settings(), correction)) {
        let answer = PyDict::new(py);
        answer.set_item("name", &column.name)?;
        answer.set_item(
            "kind",
            match column.kind {
                Some(Kind::Ordered) => "ordered",
                Some(Kind::Nominal) => "nominal",
                None => "embedding",
            },
        )?;
        answer.set_item("rows", column.rows)?;
        answer.set_item("values", column.values)?;
        answer.set_item("pvalue", column.unchanged)?;
        answer.set_item("pvalue_delta", column.irrelevant)?;
        answer.set_item("pvalue_adjusted", adjusted)?;
        answer.set_item(
            "verdict",
            match verdict {
                Verdict::Drift => "drift",
                Verdict::NoDrift => "no drift",
                Verdict::NotEnoughData => "not enough data",
            },
        )?;
        answer.set_item("leading", drift::leading(column).map(|part| part.name))?;
        answer
            .set_item("measures", column.measures.iter().map(|one| measure(py, one)).collect::<PyResult<Vec<_>>>()?)?;
        answer.set_item("parts", column.parts.iter().map(|one| part(py, one)).collect::<PyResult<Vec<_>>>()?)?;
        list.append(answer)?;
    }
    Ok(list)
}

fn measure<'py>(py: Python<'py>, measure: &Measure) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("name", measure.name)?;
    dict.set_item("value", measure.value)?;
    dict.set_item("bound", measure.bound)?;
    dict.set_item("pvalue", measure.pvalue)?;
    dict.set_item("low", measure.interval.map(|interval| interval.0))?;
    dict.set_item("high", measure.interval.map(|interval| interval.1))?;
    dict.set_item("detectable", measure.detectable)?;
    dict.set_item("method", measure.method)?;
    Ok(dict)
}

fn part<'py>(py: Python<'py>, part: &Part) -> PyResult<Bound<'py, PyDict>> {
    let dict = PyDict::new(py);
    dict.set_item("name", part.name)?;
    dict.set_item("size", part.size)?;
    dict.set_item("low", part.low)?;
    dict.set_item("high", part.high)?;
    dict.set_item("delta", part.delta)?;
    dict.set_item("pvalue", part.pvalue)?;
    dict.set_item("detectable", part.detectable)?;
    Ok(dict)
}
