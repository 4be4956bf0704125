//! How a detector is written down: little-endian numbers between a head and a checksum.
//!
//! `HRDT`, version (1 byte), method (1 byte), numbers, the first 8 bytes of the SHA-256 of all that. Whatever comes back
//! is checked before it is used: bytes may have been cut, changed, or written by a newer version.

use sha2::{Digest as _, Sha256};

use super::Problem;
use crate::Result;

const MAGIC: &[u8; 4] = b"HRDT";
const VERSION: u8 = 1;
const HEAD: usize = MAGIC.len() + 2;
const SUM: usize = 8;

/// Why bytes are no detector.
pub(super) fn refuse<T>(reason: impl Into<String>) -> Result<T> {
    Err(Problem::State { reason: reason.into() }.into())
}

#[derive(Debug)]
pub(super) struct Writer(Vec<u8>);

impl Writer {
    pub(super) fn new(method: u8) -> Self {
        let mut bytes = MAGIC.to_vec();
        bytes.extend([VERSION, method]);
        Self(bytes)
    }

    pub(super) fn flag(&mut self, value: bool) {
        self.0.push(u8::from(value));
    }

    pub(super) fn byte(&mut self, value: u8) {
        self.0.push(value);
    }

    pub(super) fn word(&mut self, value: u32) {
        self.0.extend(value.to_le_bytes());
    }

    pub(super) fn count(&mut self, value: u64) {
        self.0.extend(value.to_le_bytes());
    }

    pub(super) fn size(&mut self, value: usize) {
        self.count(value as u64);
    }

    pub(super) fn number(&mut self, value: f64) {
        self.0.extend(value.to_le_bytes());
    }

    pub(super) fn numbers<'a>(&mut self, values: impl IntoIterator<Item = &'a f64>) {
        values.into_iter().for_each(|&value| self.number(value));
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        let sum = Sha256::digest(&self.0);
        self.0.extend(&sum[..SUM]);
        self.0
    }
}

#[derive(Debug)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// The method, and what follows it. The checksum is right when this returns.
    pub(super) fn open(bytes: &'a [u8]) -> Result<(u8, Self)> {
        if !bytes.starts_with(MAGIC) || bytes.len() < HEAD + SUM {
            return refuse("they do not begin as one");
        }
        let version = bytes[MAGIC.len()];
        if version != VERSION {
            return refuse(format!("their format has version {version}, and this version of headrace reads {VERSION}"));
        }
        let (body, sum) = bytes.split_at(bytes.len() - SUM);
        if Sha256::digest(body)[..SUM] != *sum {
            return refuse("their checksum does not match: they were cut or changed");
        }
        Ok((bytes[HEAD - 1], Self { rest: &body[HEAD..] }))
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N]> {
        let Some((taken, rest)) = self.rest.split_first_chunk::<N>() else {
            return refuse("they end too early");
        };
        self.rest = rest;
        Ok(*taken)
    }

    pub(super) fn byte(&mut self) -> Result<u8> {
        Ok(self.take::<1>()?[0])
    }

    pub(super) fn flag(&mut self) -> Result<bool> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            other => refuse(format!("a flag in them is {other}")),
        }
    }

    pub(super) fn word(&mut self) -> Result<u32> {
        self.take().map(u32::from_le_bytes)
    }

    pub(super) fn count(&mut self) -> Result<u64> {
        self.take().map(u64::from_le_bytes)
    }

    /// A length of at most `limit`.
    pub(super) fn size(&mut self, limit: usize) -> Result<usize> {
        let found = self.count()?;
        match usize::try_from(found) {
            Ok(size) if size <= limit => Ok(size),
            _ => refuse(format!("a length in them is {found}, expected at most {limit}")),
        }
    }

    /// A number that is not NaN.
    pub(super) fn number(&mut self) -> Result<f64> {
        let found = self.take().map(f64::from_le_bytes)?;
        if found.is_nan() { refuse("a number in them is NaN") } else { Ok(found) }
    }

    pub(super) fn numbers(&mut self, count: usize) -> Result<Vec<f64>> {
        if self.rest.len() / size_of::<f64>() < count {
            return refuse("they end too early");
        }
        (0..count).map(|_| self.number()).collect()
    }

    pub(super) fn finish(self) -> Result<()> {
        if self.rest.is_empty() { Ok(()) } else { refuse(format!("{} bytes follow their end", self.rest.len())) }
    }
}
