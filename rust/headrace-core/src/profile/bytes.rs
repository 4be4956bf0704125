//! Bytes, written and read: little-endian, lengths in front, nothing taken on trust.

/// Appends to a buffer.
#[derive(Debug, Default)]
pub(super) struct Writer {
    pub(super) bytes: Vec<u8>,
}

impl Writer {
    pub(super) fn byte(&mut self, value: u8) {
        self.bytes.push(value);
    }

    /// LEB128.
    pub(super) fn number(&mut self, value: impl Into<u128>) {
        let mut value: u128 = value.into();
        loop {
            #[allow(clippy::cast_possible_truncation, reason = "seven bits")]
            let low = (value & 0x7f) as u8;
            value >>= 7;
            self.bytes.push(if value == 0 { low } else { low | 0x80 });
            if value == 0 {
                return;
            }
        }
    }

    /// Zigzag: small ones of either sign are short.
    pub(super) fn signed(&mut self, value: i128) {
        self.number(((value << 1) ^ (value >> 127)).cast_unsigned());
    }

    pub(super) fn length(&mut self, value: usize) {
        self.number(value as u64);
    }

    pub(super) fn float(&mut self, value: f64) {
        self.bytes.extend_from_slice(&value.to_bits().to_le_bytes());
    }

    pub(super) fn text(&mut self, value: &[u8]) {
        self.length(value.len());
        self.bytes.extend_from_slice(value);
    }
}

/// Takes from the front of a slice. Whatever fails says where.
#[derive(Debug)]
pub(super) struct Source<'a> {
    all: usize,
    rest: &'a [u8],
}

pub(super) type Read<T> = Result<T, String>;

impl<'a> Source<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { all: bytes.len(), rest: bytes }
    }

    pub(super) fn wrong<T>(&self, what: &str) -> Read<T> {
        Err(format!("{what}, before byte {}", self.all - self.rest.len()))
    }

    pub(super) fn finished(&self) -> bool {
        self.rest.is_empty()
    }

    pub(super) fn take(&mut self, count: usize) -> Read<&'a [u8]> {
        let Some((taken, rest)) = self.rest.split_at_checked(count) else { return self.wrong("it ends too early") };
        self.rest = rest;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Read<[u8; N]> {
        let Some((taken, rest)) = self.rest.split_first_chunk::<N>() else { return self.wrong("it ends too early") };
        self.rest = rest;
        Ok(*taken)
    }

    pub(super) fn byte(&mut self) -> Read<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(super) fn wide(&mut self) -> Read<u128> {
        let mut value = 0_u128;
        for shift in (0..128).step_by(7) {
            let byte = self.byte()?;
            let part = u128::from(byte & 0x7f);
            if part << shift >> shift != part {
                break;
            }
            value |= part << shift;
            if byte < 0x80 {
                // One way to write a number: no zeros in front.
                return if byte == 0 && shift > 0 { self.wrong("a number is written too long") } else { Ok(value) };
            }
        }
        self.wrong("a number is too large")
    }

    pub(super) fn number(&mut self) -> Read<u64> {
        let value = self.wide()?;
        u64::try_from(value).or_else(|_| self.wrong("a number is too large"))
    }

    pub(super) fn signed(&mut self) -> Read<i128> {
        let value = self.wide()?;
        Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
    }

    /// A number of things of which each takes at least a byte, so that no more than what is there is ever allocated.
    pub(super) fn length(&mut self, most: usize) -> Read<usize> {
        let value = self.number()?;
        match usize::try_from(value) {
            Ok(value) if value <= most && value <= self.rest.len() => Ok(value),
            _ => self.wrong(&format!("there are {value} of something, expected at most {most}")),
        }
    }

    pub(super) fn float(&mut self) -> Read<f64> {
        Ok(f64::from_bits(u64::from_le_bytes(self.array()?)))
    }

    pub(super) fn finite(&mut self) -> Read<f64> {
        let value = self.float()?;
        if value.is_finite() && (value != 0.0 || value.is_sign_positive()) {
            Ok(value)
        } else {
            self.wrong("a number is not finite, or minus zero")
        }
    }

    pub(super) fn text(&mut self, most: usize) -> Read<&'a [u8]> {
        let length = self.length(most)?;
        self.take(length)
    }

    pub(super) fn name(&mut self) -> Read<String> {
        let bytes = self.text(1 << 20)?;
        String::from_utf8(bytes.to_vec()).or_else(|_| self.wrong("a name is not UTF-8"))
    }

    pub(super) fn list<T>(&mut self, most: usize, mut item: impl FnMut(&mut Self) -> Read<T>) -> Read<Vec<T>> {
        let length = self.length(most)?;
        let mut items = Vec::new();
        for _ in 0..length {
            items.push(item(self)?);
        }
        Ok(items)
    }
}
