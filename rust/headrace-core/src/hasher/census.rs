//! Every feature of a frame, counted: how many share a column of the result, and which.
//!
//! Memory follows the number of distinct features.

use std::collections::{HashMap, HashSet};

use arrow_array::RecordBatch;
use arrow_schema::Schema;

use super::column::{Column, Reading};
use super::scheme::{Full, Key, Role, Scheme, column_of};
use super::{Hasher, Options};
use crate::error::Result;

/// The greatest power of two that is a number of columns, as a power.
const TOP_POWER: u32 = 30;

/// A feature and how often it stands in the frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Feature {
    /// Name of the frame's column.
    pub column: String,
    /// The category or token; none if the feature is a number.
    pub value: Option<String>,
    /// Column of the result.
    pub bucket: i32,
    /// Whether its values are counted with the opposite sign.
    pub negative: bool,
    /// In how many places it stands.
    pub count: u64,
}

/// Two features of one bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collision {
    /// The most frequent feature of the bucket.
    pub first: Feature,
    /// The second.
    pub second: Feature,
}

/// Every feature of a frame.
#[derive(Debug)]
pub struct Census {
    options: Options,
    names: Vec<String>,
    /// The most frequent first.
    features: Vec<Counted>,
    rows: usize,
}

#[derive(Debug)]
struct Counted {
    column: usize,
    value: Option<Box<[u8]>>,
    hash: Full,
    count: u64,
}

/// What the features of one bucket come to.
#[derive(Debug, Clone, Copy, Default)]
struct Bucket {
    features: u32,
    values: u64,
    largest: u64,
}

/// What is known about the collisions among some number of columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// Buckets with at least one feature.
    pub occupied: usize,
    /// Features that share their bucket.
    pub colliding: usize,
    /// Values in buckets that are shared.
    pub shared_values: u64,
    /// Values in shared buckets that are not of the bucket's most frequent feature.
    pub confused_values: u64,
}

pub(super) fn count(hasher: &Hasher, reading: Reading, schema: &Schema, batches: &[RecordBatch]) -> Result<Census> {
    let options = &hasher.options;
    hasher.check(reading, schema)?;
    let mut counts: Vec<HashMap<Box<[u8]>, u64>> = vec![HashMap::new(); schema.fields().len()];
    let mut numbers = vec![0; schema.fields().len()];
    let mut first_row = 0;
    for batch in batches {
        for (index, (field, array)) in schema.fields().iter().zip(batch.columns()).enumerate() {
            let column = Column::spelled(options, reading, field.name(), array, first_row)?;
            let (counts, number) = (&mut counts[index], &mut numbers[index]);
            column.each(|value, times| match value {
                None => *number += times,
                Some(value) => match counts.get_mut(value) {
                    Some(count) => *count += times,
                    None => {
                        counts.insert(value.into(), times);
                    }
                },
            })?;
        }
        first_row += batch.num_rows();
    }
    let mut features = Vec::new();
    for (column, field) in schema.fields().iter().enumerate() {
        let name = field.name().as_bytes();
        let category = match reading {
            Reading::Tokens => Scheme::new(options, &[], Role::Token),
            _ => Scheme::new(options, name, Role::Category),
        };
        for (value, count) in std::mem::take(&mut counts[column]) {
            features.push(Counted { column, hash: category.full(&value), value: Some(value), count });
        }
        if numbers[column] > 0 {
            let hash = Scheme::new(options, name, Role::Number).full(&[]);
            features.push(Counted { column, value: None, hash, count: numbers[column] });
        }
    }
    if reading == Reading::Tokens {
        features = joined(features);
    }
    features.sort_unstable_by(|a, b| b.count.cmp(&a.count).then(a.column.cmp(&b.column)).then(a.value.cmp(&b.value)));
    let names = schema.fields().iter().map(|field| field.name().clone()).collect();
    Ok(Census { options: options.clone(), names, features, rows: first_row })
}

/// A token is the same feature in whichever column it stands: the first is named.
fn joined(features: Vec<Counted>) -> Vec<Counted> {
    let mut places: HashMap<Option<Box<[u8]>>, usize> = HashMap::new();
    let mut made: Vec<Counted> = Vec::new();
    for feature in features {
        if let Some(&place) = places.get(&feature.value) {
            made[place].count += feature.count;
        } else {
            places.insert(feature.value.clone(), made.len());
            made.push(feature);
        }
    }
    made
}

impl Census {
    /// Rows of the frame.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of distinct features.
    #[must_use]
    pub fn features(&self) -> usize {
        self.features.len()
    }

    /// Values that are hashed: one for each feature of each row.
    #[must_use]
    pub fn values(&self) -> u64 {
        self.features.iter().map(|feature| feature.count).sum()
    }

    /// The collisions that there are.
    #[must_use]
    pub fn load(&self) -> Load {
        self.load_among(self.options.columns)
    }

    /// The collisions that there would be among `columns` columns.
    #[must_use]
    pub fn load_among(&self, columns: i32) -> Load {
        let mut buckets: HashMap<i32, Bucket> = HashMap::with_capacity(self.features.len());
        for feature in &self.features {
            let bucket = buckets.entry(column_of(self.key(feature, columns))).or_default();
            bucket.features += 1;
            bucket.values += feature.count;
            bucket.largest = bucket.largest.max(feature.count);
        }
        let shared = || buckets.values().filter(|bucket| bucket.features > 1);
        Load {
            occupied: buckets.len(),
            colliding: shared().map(|bucket| bucket.features as usize).sum(),
            shared_values: shared().map(|bucket| bucket.values).sum(),
            confused_values: shared().map(|bucket| bucket.values - bucket.largest).sum(),
        }
    }

    /// The smallest power of two of columns with which at most `share` of the values are confused, if there is one.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "a share")]
    pub fn suggested_columns(&self, share: f64) -> Option<i32> {
        let allowed = self.values() as f64 * share;
        let fits = |power: u32| self.load_among(1 << power).confused_values as f64 <= allowed;
        if !fits(TOP_POWER) {
            return None;
        }
        // With twice the columns, what was apart stays apart.
        let (mut low, mut high) = (0, TOP_POWER);
        while low < high {
            let middle = u32::midpoint(low, high);
            if fits(middle) { high = middle } else { low = middle + 1 }
        }
        Some(1 << low)
    }

    /// The pairs of features of one bucket whose less frequent one is most frequent.
    #[must_use]
    pub fn worst(&self, limit: usize) -> Vec<Collision> {
        let mut firsts: HashMap<i32, &Counted> = HashMap::new();
        let mut seconds = HashSet::new();
        let mut found = Vec::new();
        // The most frequent come first, so the second of a bucket is known when it comes.
        for feature in &self.features {
            if found.len() == limit {
                break;
            }
            let bucket = column_of(self.key(feature, self.options.columns));
            match firsts.get(&bucket) {
                None => {
                    firsts.insert(bucket, feature);
                }
                Some(first) => {
                    if seconds.insert(bucket) {
                        found.push(Collision { first: self.shown(first), second: self.shown(feature) });
                    }
                }
            }
        }
        found
    }

    /// The most frequent features of each bucket, at most `top` of one and `limit` of all, the most frequent first.
    #[must_use]
    pub fn inverse(&self, top: usize, limit: usize) -> Vec<Feature> {
        let mut taken: HashMap<i32, usize> = HashMap::new();
        let mut made = Vec::new();
        for feature in &self.features {
            if made.len() == limit {
                break;
            }
            let taken = taken.entry(column_of(self.key(feature, self.options.columns))).or_default();
            if *taken < top {
                *taken += 1;
                made.push(self.shown(feature));
            }
        }
        made
    }

    fn key(&self, feature: &Counted, columns: i32) -> Key {
        Scheme::key_among(&self.options, feature.hash, columns)
    }

    fn shown(&self, feature: &Counted) -> Feature {
        let key = self.key(feature, self.options.columns);
        Feature {
            column: self.names.get(feature.column).cloned().unwrap_or_default(),
            value: feature.value.as_deref().map(|bytes| String::from_utf8_lossy(bytes).into_owned()),
            bucket: column_of(key),
            negative: key & 1 == 1,
            count: feature.count,
        }
    }
}
