//! Rows that come value by value, as from objects of Python.

use super::scheme::{Role, Scheme, column_of, signed};
use super::text::{java_f32, java_f64};
use super::{Mode, Options, Value};
use crate::error::Result;
use crate::sparse::{Csr, offset};
use crate::value;

/// A value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Item<'a> {
    /// A category.
    Text(&'a str),
    /// A number.
    Number(f64),
    /// A float32, which is written in fewer digits where it is a category.
    Single(f32),
    /// A number of any size: its nearest float and its digits.
    Integer(f64, &'a str),
    /// A truth value.
    Truth(bool),
}

/// Takes rows value by value.
#[derive(Debug)]
pub struct Rows<'a, T> {
    options: &'a Options,
    merge: bool,
    made: Csr<T>,
    entries: Vec<(i32, T)>,
}

impl<'a, T: Value> Rows<'a, T> {
    pub(super) fn new(options: &'a Options, merge: bool) -> Self {
        let columns = options.columns.unsigned_abs() as usize;
        Self { options, merge, made: Csr::new(columns), entries: Vec::new() }
    }

    /// A value under a name (bytes that need not be UTF-8); zero is not hashed.
    pub fn push(&mut self, name: &[u8], item: Item<'_>) {
        let spark = self.options.mode == Mode::Spark;
        // A set of strings can be asked for one only.
        let categorical = !self.options.categorical.is_empty()
            && std::str::from_utf8(name).is_ok_and(|name| self.options.categorical.contains(name));
        match item {
            Item::Text(text) => self.category(name, text.as_bytes()),
            Item::Truth(truth) if categorical || spark => {
                self.category(name, if truth { b"true" } else { b"false" });
            }
            Item::Integer(_, digits) if categorical => self.category(name, digits.as_bytes()),
            Item::Number(number) if categorical => {
                let mut out = String::new();
                let write = if spark { java_f64 } else { value::write_f64 };
                write(&mut out, number);
                self.category(name, out.as_bytes());
            }
            Item::Single(number) if categorical => {
                let mut out = String::new();
                let write = if spark { java_f32 } else { value::write_f32 };
                write(&mut out, number);
                self.category(name, out.as_bytes());
            }
            Item::Number(number) | Item::Integer(number, _) => self.number(name, number),
            Item::Single(number) => self.number(name, f64::from(number)),
            Item::Truth(truth) => self.number(name, f64::from(truth)),
        }
    }

    /// A token: a feature without a name whose value is 1.
    pub fn token(&mut self, token: &[u8]) {
        let key = Scheme::new(self.options, &[], Role::Token).key(token);
        self.entries.push((column_of(key), T::one(key)));
    }

    /// Ends the row.
    pub fn end_row(&mut self) -> Result<()> {
        if self.merge {
            return self.made.push_row(&mut self.entries);
        }
        for (column, value) in self.entries.drain(..) {
            self.made.indices.push(column);
            self.made.data.push(value);
        }
        self.made.indptr.push(offset(self.made.data.len())?);
        Ok(())
    }

    /// Number of rows that have ended.
    #[must_use]
    pub fn count(&self) -> usize {
        self.made.rows()
    }

    /// All rows.
    #[must_use]
    pub fn finish(self) -> Csr<T> {
        self.made
    }

    fn category(&mut self, name: &[u8], value: &[u8]) {
        let key = Scheme::new(self.options, name, Role::Category).key(value);
        self.entries.push((column_of(key), T::one(key)));
    }

    fn number(&mut self, name: &[u8], number: f64) {
        if number != 0.0 || self.options.mode == Mode::Spark {
            let key = Scheme::new(self.options, name, Role::Number).key(&[]);
            self.entries.push((column_of(key), T::of(signed(number, key))));
        }
    }
}
