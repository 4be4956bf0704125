//! Columns that a plan knows: those that it reads, and those that were there when it was fitted.

use hashbrown::HashSet;

use super::document::Document;
use super::row::keys_of;
use crate::error::{Error, Result};

/// Their names.
#[derive(Debug)]
pub(super) struct Known {
    inputs: Vec<Box<str>>,
    /// All of them; a document that does not say which were there knows every name.
    names: Option<HashSet<Box<str>>>,
}

impl Known {
    pub(super) fn of(document: &Document<'_>) -> Self {
        let boxed = |name: &String| Box::from(name.as_str());
        let inputs: Vec<Box<str>> = document.inputs.iter().map(|column| boxed(&column.name)).collect();
        let names = document.unread.as_ref().map(|unread| {
            let given = document.given.iter().map(|column| boxed(&column.name));
            inputs.iter().cloned().chain(given).chain(unread.iter().map(boxed)).collect()
        });
        Self { inputs, names }
    }

    /// Fails with [`Error::ExtraColumn`] for the first name that is not known; but where a column that is read is not
    /// there, whoever reads it has more to say.
    pub(super) fn check(&self, names: &[&str]) -> Result<()> {
        let Some(known) = &self.names else { return Ok(()) };
        // A NUL comes as a noncharacter: see `read`.
        let is_known = |name: &str| {
            known.contains(name) || name.contains('\u{fffe}') && known.contains(name.replace('\u{fffe}', "\0").as_str())
        };
        let Some(extra) = names.iter().find(|name| !is_known(name)) else { return Ok(()) };
        let found: HashSet<&str> = names.iter().copied().collect();
        if self.inputs.iter().any(|input| !found.contains(&**input) && !input.contains('\0')) {
            return Ok(());
        }
        Err(Error::ExtraColumn { column: (*extra).to_owned() })
    }

    /// The same for the keys of a row of JSON; what is no such row is for its reader to refuse.
    pub(super) fn check_row(&self, json: &[u8]) -> Result<()> {
        let keys = keys_of(json);
        self.check(&keys.iter().map(String::as_str).collect::<Vec<_>>())
    }
}
