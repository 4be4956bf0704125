//! Typed columns: the first axis is the rows. How requests are joined to a batch, and a batch split into answers.

/// What the values are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// 32-bit floats.
    F32,
    /// 64-bit floats.
    F64,
    /// 32-bit whole numbers.
    I32,
    /// 64-bit whole numbers.
    I64,
    /// True or false.
    Bool,
    /// Text.
    Text,
}

impl Kind {
    /// As the Open Inference Protocol calls it.
    #[must_use]
    pub fn datatype(self) -> &'static str {
        match self {
            Self::F32 => "FP32",
            Self::F64 => "FP64",
            Self::I32 => "INT32",
            Self::I64 => "INT64",
            Self::Bool => "BOOL",
            Self::Text => "BYTES",
        }
    }

    /// Bytes of a value; a text has a length of its own besides.
    #[must_use]
    pub fn size(self) -> usize {
        match self {
            Self::Bool => 1,
            Self::F32 | Self::I32 | Self::Text => 4,
            Self::F64 | Self::I64 => 8,
        }
    }
}

/// Values, row after row.
#[derive(Debug, Clone, PartialEq)]
pub enum Data {
    /// See [`Kind::F32`].
    F32(Vec<f32>),
    /// See [`Kind::F64`].
    F64(Vec<f64>),
    /// See [`Kind::I32`].
    I32(Vec<i32>),
    /// See [`Kind::I64`].
    I64(Vec<i64>),
    /// See [`Kind::Bool`].
    Bool(Vec<bool>),
    /// See [`Kind::Text`].
    Text(Vec<String>),
}

/// The same code for each kind of values.
#[macro_export]
#[doc(hidden)]
macro_rules! each_kind {
    ($data:expr, $values:ident => $done:expr) => {
        match $data {
            $crate::tensor::Data::F32($values) => $done,
            $crate::tensor::Data::F64($values) => $done,
            $crate::tensor::Data::I32($values) => $done,
            $crate::tensor::Data::I64($values) => $done,
            $crate::tensor::Data::Bool($values) => $done,
            $crate::tensor::Data::Text($values) => $done,
        }
    };
}

impl Data {
    /// Nothing yet.
    #[must_use]
    pub fn empty(kind: Kind) -> Self {
        match kind {
            Kind::F32 => Self::F32(Vec::new()),
            Kind::F64 => Self::F64(Vec::new()),
            Kind::I32 => Self::I32(Vec::new()),
            Kind::I64 => Self::I64(Vec::new()),
            Kind::Bool => Self::Bool(Vec::new()),
            Kind::Text => Self::Text(Vec::new()),
        }
    }

    /// What the values are.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::F32(_) => Kind::F32,
            Self::F64(_) => Kind::F64,
            Self::I32(_) => Kind::I32,
            Self::I64(_) => Kind::I64,
            Self::Bool(_) => Kind::Bool,
            Self::Text(_) => Kind::Text,
        }
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        each_kind!(self, values => values.len())
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// About how much memory they take.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Self::F32(values) => values.len() * 4,
            Self::F64(values) => values.len() * 8,
            Self::I32(values) => values.len() * 4,
            Self::I64(values) => values.len() * 8,
            Self::Bool(values) => values.len(),
            Self::Text(values) => values.iter().map(|text| text.len() + size_of::<String>()).sum(),
        }
    }

    /// A part of them.
    #[must_use]
    pub fn slice(&self, start: usize, end: usize) -> Self {
        match self {
            Self::F32(values) => Self::F32(values[start..end].to_vec()),
            Self::F64(values) => Self::F64(values[start..end].to_vec()),
            Self::I32(values) => Self::I32(values[start..end].to_vec()),
            Self::I64(values) => Self::I64(values[start..end].to_vec()),
            Self::Bool(values) => Self::Bool(values[start..end].to_vec()),
            Self::Text(values) => Self::Text(values[start..end].to_vec()),
        }
    }

    /// Appends others of the same kind; whether they were.
    fn append(&mut self, other: &Self) -> bool {
        match (self, other) {
            (Self::F32(all), Self::F32(more)) => all.extend_from_slice(more),
            (Self::F64(all), Self::F64(more)) => all.extend_from_slice(more),
            (Self::I32(all), Self::I32(more)) => all.extend_from_slice(more),
            (Self::I64(all), Self::I64(more)) => all.extend_from_slice(more),
            (Self::Bool(all), Self::Bool(more)) => all.extend_from_slice(more),
            (Self::Text(all), Self::Text(more)) => all.extend_from_slice(more),
            _ => return false,
        }
        true
    }
}

/// Values and their shape; the first axis is the rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    /// Lengths of the axes.
    pub shape: Vec<usize>,
    /// As many values as the shape says, row after row.
    pub data: Data,
}

impl Tensor {
    /// Length of the first axis; 1 for a scalar.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.shape.first().copied().unwrap_or(1)
    }

    /// Values of a row.
    #[must_use]
    pub fn width(&self) -> usize {
        self.shape.iter().skip(1).product()
    }

    /// Some of the rows.
    #[must_use]
    pub fn slice(&self, start: usize, end: usize) -> Self {
        let width = self.width();
        let mut shape = self.shape.clone();
        if let Some(rows) = shape.first_mut() {
            *rows = end - start;
        }
        Self { shape, data: self.data.slice(start * width, end * width) }
    }
}

/// The rows of several requests as one; `None` if they differ in more than the number of rows.
#[must_use]
pub fn join(requests: &[&[Tensor]]) -> Option<Vec<Tensor>> {
    let (first, rest) = requests.split_first()?;
    let mut joined = first.to_vec();
    for request in rest {
        if request.len() != joined.len() {
            return None;
        }
        for (all, more) in joined.iter_mut().zip(*request) {
            if all.shape.get(1..) != more.shape.get(1..) || !all.data.append(&more.data) {
                return None;
            }
            *all.shape.first_mut()? += more.rows();
        }
    }
    Some(joined)
}

/// The answer to a batch as answers to requests of `rows` rows; `None` if it has not that many rows.
#[must_use]
pub fn split(outputs: &[Tensor], rows: &[usize]) -> Option<Vec<Vec<Tensor>>> {
    let total: usize = rows.iter().sum();
    if outputs.iter().any(|output| output.shape.is_empty() || output.rows() != total) {
        return None;
    }
    let mut start = 0;
    let mut parts = Vec::with_capacity(rows.len());
    for count in rows {
        parts.push(outputs.iter().map(|output| output.slice(start, start + count)).collect());
        start += count;
    }
    Some(parts)
}
