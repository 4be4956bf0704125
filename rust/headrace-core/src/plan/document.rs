//! What a feature plan is, format 2: the schema of its JSON document. `python/headrace/compute/plan/document.py` has the
//! same for Python, and says what each step computes.

use serde::Deserialize;
use serde::de::value::MapDeserializer;
use serde_json::{Map, Value};

use super::json::{invalid, kind};
use super::types::ColumnType;
use crate::error::{Error, Result};

/// The format that is read and written.
pub(super) const FORMAT: u64 = 2;

/// What a document may say. `choices` and `config` are for people.
const KEYS: [&str; 9] =
    ["format", "inputs", "transforms", "steps", "target", "unread", "choices", "config", "fingerprint"];

/// The part of a document that is executed.
#[derive(Debug)]
pub(super) struct Document<'a> {
    pub(super) inputs: Vec<InputColumn>,
    /// What Python gives before the steps are executed.
    pub(super) given: Vec<InputColumn>,
    pub(super) steps: Vec<Step<'a>>,
    /// Columns of the training rows that are not read; plans of before 0030 do not say.
    pub(super) unread: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct InputColumn {
    pub(super) name: String,
    #[serde(rename = "type")]
    pub(super) type_name: String,
    #[serde(rename = "nullable")]
    _nullable: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Transform {
    #[serde(rename = "use")]
    _use: String,
    #[serde(rename = "distribution")]
    _distribution: Option<String>,
    #[serde(rename = "version")]
    _version: Option<String>,
    #[serde(default, rename = "source")]
    _source: Option<String>,
    #[serde(rename = "config")]
    _config: Map<String, Value>,
    reads: Vec<InputColumn>,
    gives: Vec<InputColumn>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Target {
    #[serde(rename = "name")]
    _name: String,
    #[serde(rename = "type")]
    type_name: String,
    task: Task,
    classes: Vec<Value>,
    #[serde(default, rename = "dictionary")]
    _dictionary: bool,
    #[serde(default, rename = "categories")]
    _categories: Option<Vec<String>>,
}

#[derive(Debug, Deserialize, PartialEq, Eq, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum Task {
    Binary,
    Multiclass,
    Regression,
}

/// (x - center) / scale.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Scaling {
    pub(super) center: f64,
    pub(super) scale: f64,
}

#[derive(Debug)]
pub(super) enum Step<'a> {
    Number(NumberStep),
    Boolean(BooleanStep),
    Bins(BinsStep),
    Category(CategoryStep<'a>),
    OneHot(OneHotStep<'a>),
    Frequency(FrequencyStep<'a>),
    Target(TargetStep<'a>),
    Bucket(BucketStep),
    Hash(HashStep),
    Text(TextStep),
    TimePart(TimePartStep),
    TimeCycle(TimeCycleStep),
    Seconds(SecondsStep),
    Difference(DifferenceStep),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NumberStep {
    pub(super) input: String,
    pub(super) output: String,
    #[serde(default)]
    pub(super) impute: Option<f64>,
    #[serde(default)]
    pub(super) indicator: Option<String>,
    #[serde(default)]
    pub(super) clip: Option<(Option<f64>, Option<f64>)>,
    #[serde(default)]
    pub(super) log: bool,
    #[serde(default)]
    pub(super) scaling: Option<Scaling>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BooleanStep {
    pub(super) input: String,
    pub(super) output: String,
    #[serde(default)]
    pub(super) impute: Option<f64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BinsStep {
    pub(super) input: String,
    pub(super) output: String,
    pub(super) edges: Vec<f64>,
    #[serde(default)]
    pub(super) scaling: Option<Scaling>,
    #[serde(default)]
    pub(super) impute: Option<f64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CategoryStep<'a> {
    pub(super) inputs: Vec<String>,
    pub(super) output: String,
    #[serde(borrow)]
    pub(super) vocabulary: Vec<&'a str>,
    pub(super) missing: u32,
    pub(super) unseen: u32,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OneHotStep<'a> {
    pub(super) inputs: Vec<String>,
    pub(super) output: String,
    #[serde(borrow)]
    pub(super) vocabulary: Vec<&'a str>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FrequencyStep<'a> {
    pub(super) inputs: Vec<String>,
    pub(super) output: String,
    #[serde(borrow)]
    pub(super) counts: Vec<(&'a str, u64)>,
    pub(super) rows: u64,
    #[serde(default)]
    pub(super) scaling: Option<Scaling>,
    #[serde(default)]
    pub(super) impute: Option<f64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TargetStep<'a> {
    pub(super) inputs: Vec<String>,
    pub(super) outputs: Vec<String>,
    #[serde(borrow)]
    pub(super) encodings: Vec<(&'a str, Vec<f64>)>,
    pub(super) missing: Vec<f64>,
    pub(super) unseen: Vec<f64>,
    #[serde(default)]
    pub(super) scaling: Option<Vec<Scaling>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BucketStep {
    pub(super) inputs: Vec<String>,
    pub(super) output: String,
    pub(super) prefix: String,
    pub(super) buckets: u32,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HashStep {
    pub(super) inputs: Vec<String>,
    pub(super) output: String,
    pub(super) prefix: String,
    pub(super) size: u32,
    pub(super) signed: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TextStep {
    pub(super) input: String,
    pub(super) output: String,
    pub(super) size: u32,
    pub(super) analyzer: Analyzer,
    pub(super) ngrams: (u32, u32),
    pub(super) lowercase: bool,
    pub(super) strip_accents: Option<Accents>,
    pub(super) stop_words: Vec<String>,
    pub(super) signed: bool,
    pub(super) norm: Option<Norm>,
    pub(super) binary: bool,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Analyzer {
    Word,
    Char,
    CharWb,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Accents {
    Ascii,
    Unicode,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Norm {
    L1,
    L2,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TimePartStep {
    pub(super) input: String,
    pub(super) output: String,
    pub(super) part: Part,
    pub(super) time_zone: Option<String>,
    #[serde(default)]
    pub(super) scaling: Option<Scaling>,
    #[serde(default)]
    pub(super) impute: Option<f64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TimeCycleStep {
    pub(super) input: String,
    pub(super) output: String,
    pub(super) part: Part,
    pub(super) time_zone: Option<String>,
    #[serde(rename = "wave")]
    _wave: Wave,
    pub(super) first: i32,
    pub(super) table: Vec<f64>,
    #[serde(default)]
    pub(super) impute: Option<f64>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Wave {
    Sin,
    Cos,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SecondsStep {
    pub(super) input: String,
    pub(super) output: String,
    #[serde(default)]
    pub(super) scaling: Option<Scaling>,
    #[serde(default)]
    pub(super) impute: Option<f64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DifferenceStep {
    pub(super) inputs: (String, String),
    pub(super) output: String,
    #[serde(default)]
    pub(super) scaling: Option<Scaling>,
    #[serde(default)]
    pub(super) impute: Option<f64>,
}

/// A field of the calendar or the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Part {
    Year,
    Quarter,
    Month,
    Week,
    Day,
    DayOfYear,
    DayOfWeek,
    Hour,
    Minute,
    Second,
    Days,
}

impl Part {
    /// First value and number of values, of those that come round.
    pub(super) fn cycle(self) -> Option<(i32, usize)> {
        Some(match self {
            Self::Quarter => (1, 4),
            Self::Month => (1, 12),
            Self::Week => (1, 53),
            Self::Day => (1, 31),
            Self::DayOfYear => (1, 366),
            Self::DayOfWeek => (1, 7),
            Self::Hour => (0, 24),
            Self::Minute | Self::Second => (0, 60),
            Self::Year | Self::Days => return None,
        })
    }

    /// Whether it is read off a clock.
    pub(super) fn of_clock(self) -> bool {
        matches!(self, Self::Hour | Self::Minute | Self::Second)
    }
}

impl<'a> Document<'a> {
    /// Whatever can be said without looking at one part beside another.
    pub(super) fn read(document: &'a Map<String, Value>) -> Result<Self> {
        check_format(document)?;
        for key in document.keys() {
            if !KEYS.contains(&key.as_str()) {
                return Err(invalid(format!("{}: no such key is known", key.escape_debug())));
            }
        }
        let transforms: Vec<Transform> = list(document, "transforms", of_value)?;
        check_target(of_value("target", required(document, "target")?)?)?;
        for transform in &transforms {
            for column in &transform.reads {
                column_type(column)?;
            }
        }
        Ok(Self {
            inputs: list(document, "inputs", of_value)?,
            given: transforms.into_iter().flat_map(|transform| transform.gives).collect(),
            steps: list(document, "steps", step)?,
            unread: names(document, "unread")?,
        })
    }
}

pub(super) fn column_type(column: &InputColumn) -> Result<ColumnType> {
    ColumnType::parse(&column.type_name).ok_or_else(|| {
        invalid(format!(
            "the input '{}' has the unknown type '{}'",
            column.name.escape_debug(),
            column.type_name.escape_debug()
        ))
    })
}

fn check_format(document: &Map<String, Value>) -> Result<()> {
    let format = required(document, "format")?;
    match format.as_u64() {
        Some(FORMAT) => Ok(()),
        Some(found) if found < FORMAT => Err(Error::OldPlan { found, reads: FORMAT }),
        Some(found) if found > FORMAT => Err(Error::NewerPlan { found: found.to_string(), reads: FORMAT }),
        _ => Err(invalid(format!("format: expected {FORMAT}, found {format}"))),
    }
}

fn check_target(target: Target) -> Result<()> {
    if ColumnType::parse(&target.type_name).is_none() {
        return Err(invalid(format!("the target has the unknown type '{}'", target.type_name.escape_debug())));
    }
    let mut classes: Vec<String> = Vec::new();
    for class in target.classes {
        if class.is_null() || class.is_array() || class.is_object() {
            return Err(invalid(format!("target.classes: a class is {}", kind(&class))));
        }
        classes.push(class.to_string());
    }
    let count = classes.len();
    classes.sort_unstable();
    classes.dedup();
    if classes.len() != count || (target.task == Task::Regression) != classes.is_empty() {
        return Err(invalid("the classes of the target do not fit its task"));
    }
    Ok(())
}

fn required<'a>(document: &'a Map<String, Value>, key: &str) -> Result<&'a Value> {
    document.get(key).ok_or_else(|| invalid(format!("{key}: it is missing")))
}

fn list<'a, T>(
    document: &'a Map<String, Value>,
    key: &str,
    read: impl Fn(&str, &'a Value) -> Result<T>,
) -> Result<Vec<T>> {
    let value = required(document, key)?;
    let items = value.as_array().ok_or_else(|| invalid(format!("{key}: expected an array, found {}", kind(value))))?;
    items.iter().enumerate().map(|(index, item)| read(&format!("{key}.{index}"), item)).collect()
}

/// Names, if the key is there and not null.
fn names(document: &Map<String, Value>, key: &str) -> Result<Option<Vec<String>>> {
    let value = document.get(key).unwrap_or(&Value::Null);
    Option::<Vec<String>>::deserialize(value).map_err(|error| invalid(format!("{key}: {error}")))
}

fn object<'a>(place: &str, value: &'a Value) -> Result<&'a Map<String, Value>> {
    value.as_object().ok_or_else(|| invalid(format!("{place}: expected an object, found {}", kind(value))))
}

fn of_value<'a, T: Deserialize<'a>>(place: &str, value: &'a Value) -> Result<T> {
    object(place, value)?;
    T::deserialize(value).map_err(|error| invalid(format!("{place}: {error}")))
}

/// What is said beside `op`. Nothing is copied: a step may hold a vocabulary of millions.
fn rest<'a, T: Deserialize<'a>>(place: &str, step: &'a Map<String, Value>) -> Result<T> {
    let entries = step.iter().filter(|(key, _)| *key != "op").map(|(key, value)| (key.as_str(), value));
    T::deserialize(MapDeserializer::new(entries))
        .map_err(|error: serde_json::Error| invalid(format!("{place}: {error}")))
}

fn step<'a>(place: &str, value: &'a Value) -> Result<Step<'a>> {
    let step = object(place, value)?;
    let Some(Value::String(op)) = step.get("op") else {
        return Err(invalid(format!("{place}: it does not say which `op` it is")));
    };
    Ok(match op.as_str() {
        "number" => Step::Number(rest(place, step)?),
        "boolean" => Step::Boolean(rest(place, step)?),
        "bins" => Step::Bins(rest(place, step)?),
        "category" => Step::Category(rest(place, step)?),
        "one_hot" => Step::OneHot(rest(place, step)?),
        "frequency" => Step::Frequency(rest(place, step)?),
        "target" => Step::Target(rest(place, step)?),
        "bucket" => Step::Bucket(rest(place, step)?),
        "text" => Step::Text(rest(place, step)?),
        "hash" => Step::Hash(rest(place, step)?),
        "time_part" => Step::TimePart(rest(place, step)?),
        "time_cycle" => Step::TimeCycle(rest(place, step)?),
        "seconds" => Step::Seconds(rest(place, step)?),
        "difference" => Step::Difference(rest(place, step)?),
        other => {
            return Err(invalid(format!("{place}: there is no op '{}'", other.escape_debug())));
        }
    })
}
