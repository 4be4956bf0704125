//! What is read of an ONNX file beside ONNX Runtime: the messages and tag numbers of `onnx.proto`, and no more of them
//! than a graph of trees has.

use prost::Message;

#[derive(Clone, PartialEq, Message)]
pub(super) struct Model {
    #[prost(message, optional, tag = "7")]
    pub(super) graph: Option<Graph>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Graph {
    #[prost(message, repeated, tag = "1")]
    pub(super) node: Vec<Node>,
    #[prost(message, repeated, tag = "5")]
    pub(super) initializer: Vec<Constant>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Node {
    #[prost(string, repeated, tag = "1")]
    pub(super) input: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    pub(super) output: Vec<String>,
    #[prost(string, tag = "4")]
    pub(super) op_type: String,
    #[prost(message, repeated, tag = "5")]
    pub(super) attribute: Vec<Attribute>,
    #[prost(string, tag = "7")]
    pub(super) domain: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Attribute {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(int64, tag = "3")]
    pub(super) i: i64,
    #[prost(bytes = "vec", tag = "4")]
    pub(super) s: Vec<u8>,
    #[prost(message, optional, tag = "5")]
    pub(super) t: Option<Constant>,
    #[prost(float, repeated, tag = "7")]
    pub(super) floats: Vec<f32>,
    #[prost(int64, repeated, tag = "8")]
    pub(super) ints: Vec<i64>,
    #[prost(bytes = "vec", repeated, tag = "9")]
    pub(super) strings: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Constant {
    #[prost(int64, repeated, tag = "1")]
    pub(super) dims: Vec<i64>,
    #[prost(int32, tag = "2")]
    pub(super) data_type: i32,
    #[prost(float, repeated, tag = "4")]
    pub(super) float_data: Vec<f32>,
    #[prost(int32, repeated, tag = "5")]
    pub(super) int32_data: Vec<i32>,
    #[prost(int64, repeated, tag = "7")]
    pub(super) int64_data: Vec<i64>,
    #[prost(string, tag = "8")]
    pub(super) name: String,
    #[prost(bytes = "vec", tag = "9")]
    pub(super) raw_data: Vec<u8>,
    #[prost(double, repeated, tag = "10")]
    pub(super) double_data: Vec<f64>,
    #[prost(int32, tag = "14")]
    pub(super) data_location: i32,
}

/// `TensorProto.DataType`.
pub(super) const FLOAT: i32 = 1;
const UINT8: i32 = 2;
pub(super) const DOUBLE: i32 = 11;

impl Constant {
    /// Its values as float64; `None` where they are no floats, not in the file, or not as many as its shape says.
    pub(super) fn reals(&self) -> Option<Vec<f64>> {
        let values: Vec<f64> = match self.data_type {
            FLOAT if self.raw_data.is_empty() => self.float_data.iter().copied().map(f64::from).collect(),
            FLOAT => chunks(&self.raw_data)?.map(|bytes| f64::from(f32::from_le_bytes(bytes))).collect(),
            DOUBLE if self.raw_data.is_empty() => self.double_data.clone(),
            DOUBLE => chunks(&self.raw_data)?.map(f64::from_le_bytes).collect(),
            _ => return None,
        };
        self.whole(values)
    }

    /// Its values as bytes.
    pub(super) fn bytes(&self) -> Option<Vec<u8>> {
        let values = match self.data_type {
            UINT8 if self.raw_data.is_empty() => {
                self.int32_data.iter().map(|value| u8::try_from(*value).ok()).collect::<Option<_>>()?
            }
            UINT8 => self.raw_data.clone(),
            _ => return None,
        };
        self.whole(values)
    }

    fn whole<T>(&self, values: Vec<T>) -> Option<Vec<T>> {
        let mut lengths = self.dims.iter().map(|length| usize::try_from(*length).ok());
        let count = lengths.try_fold(1_usize, |count, length| count.checked_mul(length?))?;
        (self.data_location == 0 && values.len() == count).then_some(values)
    }
}

fn chunks<const N: usize>(bytes: &[u8]) -> Option<impl Iterator<Item = [u8; N]>> {
    let (whole, rest) = bytes.as_chunks::<N>();
    rest.is_empty().then(|| whole.iter().copied())
}
