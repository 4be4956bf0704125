//! A column of single values, each as the JSON that it would be.

use std::fmt::Write as _;

use serde_json::value::RawValue;

/// A column, whatever it came in.
#[derive(Debug)]
pub enum Column<'a> {
    /// As it stands in a JSON body.
    Raw(Vec<&'a RawValue>),
    /// Made from something else.
    Made(Cells),
}

impl Column<'_> {
    /// How many values.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Raw(values) => values.len(),
            Self::Made(cells) => cells.ends.len(),
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A value as JSON.
    #[must_use]
    pub fn get(&self, row: usize) -> &str {
        match self {
            Self::Raw(values) => values[row].get(),
            Self::Made(cells) => cells.get(row),
        }
    }

    /// All of them as an array.
    #[must_use]
    pub fn array(&self) -> String {
        let mut array = String::with_capacity((0..self.len()).map(|row| self.get(row).len() + 1).sum::<usize>() + 2);
        array.push('[');
        for row in 0..self.len() {
            if row > 0 {
                array.push(',');
            }
            array.push_str(self.get(row));
        }
        array.push(']');
        array
    }
}

/// Values one after the other in one text.
#[derive(Debug, Default)]
pub struct Cells {
    text: String,
    ends: Vec<usize>,
}

impl Cells {
    /// With room for so many.
    #[must_use]
    pub fn with_capacity(rows: usize) -> Self {
        Self { text: String::with_capacity(rows.saturating_mul(8)), ends: Vec::with_capacity(rows) }
    }

    fn get(&self, row: usize) -> &str {
        let start = row.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.text[start..self.ends[row]]
    }

    /// Appends what is missing.
    pub fn missing(&mut self) {
        self.json("null");
    }

    /// Appends what is JSON already.
    pub fn json(&mut self, json: &str) {
        self.text.push_str(json);
        self.ends.push(self.text.len());
    }

    /// Appends a whole number, or true or false.
    pub fn whole(&mut self, value: impl std::fmt::Display) {
        // Writing to memory cannot fail.
        let _ = write!(self.text, "{value}");
        self.ends.push(self.text.len());
    }

    /// Appends a float; one that is no number is missing.
    pub fn float(&mut self, value: f64) {
        if value.is_nan() {
            return self.missing();
        }
        if value.is_infinite() {
            return self.json(if value > 0.0 { "\"Infinity\"" } else { "\"-Infinity\"" });
        }
        let _ = write!(self.text, "{value:?}");
        self.ends.push(self.text.len());
    }

    /// Appends a text.
    pub fn text(&mut self, value: &str) {
        let _ = write!(self.text, "{}", serde_json::Value::from(value));
        self.ends.push(self.text.len());
    }
}
