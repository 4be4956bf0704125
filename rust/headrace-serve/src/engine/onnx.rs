//! ONNX Runtime, loaded from the shared library of the `onnxruntime` wheel.

use std::borrow::Cow;
use std::fmt;
use std::path::Path;
use std::sync::{Mutex, OnceLock, PoisonError};

use ort::environment::Environment;
use ort::session::builder::SessionBuilder;
use ort::session::{Session, SessionInputValue, SessionInputs};
use ort::value::{DynValue, Outlet, Shape, Tensor as OrtTensor, TensorElementType, TensorRef, ValueType};

use super::{Engine, Port};
use crate::error::StartError;
use crate::tensor::{Data, Kind, Tensor};

/// The library once loaded. ONNX Runtime has one environment a process, which must outlive every session; it is never
/// taken down, because other threads may still hold sessions when the process ends.
static RUNTIME: OnceLock<Runtime> = OnceLock::new();
/// One thread at a time loads it.
static LOADING: Mutex<()> = Mutex::new(());

/// ONNX Runtime, loaded.
#[derive(Clone)]
pub struct Runtime(Environment);

impl fmt::Debug for Runtime {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Runtime")
    }
}

impl Runtime {
    /// Loads the shared library at `path`, unless one was loaded before by this process.
    pub fn load(path: &Path) -> Result<Self, StartError> {
        let _guard = LOADING.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(runtime) = RUNTIME.get() {
            return Ok(runtime.clone());
        }
        let failed = |reason: String| StartError::Runtime { reason };
        let environment = ort::init_from(path)
            .map_err(|error| failed(error.to_string()))?
            .with_name("headrace")
            .with_telemetry(false)
            .build()
            .map_err(|error| failed(line(&error)))?;
        // Each error comes back, and is told to who asked; clients must not be able to fill a log with them.
        environment.set_log_level(ort::logging::LogLevel::Fatal);
        Ok(RUNTIME.get_or_init(|| Self(environment)).clone())
    }

    /// A session of the model, on one thread that does not spin while it waits.
    pub fn session(&self, model: &[u8]) -> Result<OnnxEngine, StartError> {
        let failed = |reason: String| StartError::Model { reason };
        let mut builder =
            self.builder().map_err(|error| failed(format!("ONNX Runtime gave no session: {}", line(&error))))?;
        let session = builder
            .commit_from_memory(model)
            .map_err(|error| failed(format!("ONNX Runtime cannot load the model: {}", line(&error))))?;
        let inputs = ports(session.inputs(), "input")?;
        let outputs = ports(session.outputs(), "output")?;
        Ok(OnnxEngine { session, inputs, outputs })
    }

    fn builder(&self) -> ort::Result<SessionBuilder> {
        // Batches differ in their number of rows, so a memory pattern of one would be thrown away at the next.
        Ok(Session::builder(&self.0)?
            .with_intra_threads(1)?
            .with_inter_threads(1)?
            .with_intra_op_spinning(false)?
            .with_memory_pattern(false)?)
    }
}

/// A session.
pub struct OnnxEngine {
    session: Session,
    inputs: Vec<Port>,
    outputs: Vec<Port>,
}

impl fmt::Debug for OnnxEngine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { inputs, outputs, .. } = self;
        formatter.debug_struct("OnnxEngine").field("inputs", inputs).field("outputs", outputs).finish_non_exhaustive()
    }
}

impl Engine for OnnxEngine {
    fn inputs(&self) -> &[Port] {
        &self.inputs
    }

    fn outputs(&self) -> &[Port] {
        &self.outputs
    }

    fn run(&mut self, inputs: &[Tensor]) -> Result<Vec<Tensor>, String> {
        let mut values: Vec<(Cow<'_, str>, SessionInputValue<'_>)> = Vec::with_capacity(inputs.len());
        for (port, tensor) in self.inputs.iter().zip(inputs) {
            values.push((Cow::Borrowed(&port.name), value(tensor).map_err(|error| line(&error))?));
        }
        let outputs = self.session.run(SessionInputs::<0>::ValueMap(values)).map_err(|error| line(&error))?;
        outputs.iter().zip(&self.outputs).map(|((_, value), port)| tensor(&value, port)).collect()
    }
}

/// What a session takes: the buffer itself where it can be lent, a copy where it cannot.
fn value(tensor: &Tensor) -> ort::Result<SessionInputValue<'_>> {
    let shape = tensor.shape.as_slice();
    if tensor.data.is_empty() {
        // A buffer without values has no address that could be lent.
        return Ok(match &tensor.data {
            Data::F32(_) => OrtTensor::<f32>::new(&allocator(), shape)?.into(),
            Data::F64(_) => OrtTensor::<f64>::new(&allocator(), shape)?.into(),
            Data::I32(_) => OrtTensor::<i32>::new(&allocator(), shape)?.into(),
            Data::I64(_) => OrtTensor::<i64>::new(&allocator(), shape)?.into(),
            Data::Bool(_) => OrtTensor::<bool>::new(&allocator(), shape)?.into(),
            Data::Text(texts) => OrtTensor::from_string_array((shape, texts.as_slice()))?.into(),
        });
    }
    Ok(match &tensor.data {
        Data::F32(values) => TensorRef::from_array_view((shape, values.as_slice()))?.into(),
        Data::F64(values) => TensorRef::from_array_view((shape, values.as_slice()))?.into(),
        Data::I32(values) => TensorRef::from_array_view((shape, values.as_slice()))?.into(),
        Data::I64(values) => TensorRef::from_array_view((shape, values.as_slice()))?.into(),
        Data::Bool(values) => TensorRef::from_array_view((shape, values.as_slice()))?.into(),
        Data::Text(texts) => OrtTensor::from_string_array((shape, texts.as_slice()))?.into(),
    })
}

fn allocator() -> ort::memory::Allocator {
    ort::memory::Allocator::default()
}

fn tensor(value: &DynValue, port: &Port) -> Result<Tensor, String> {
    let failed = |error: ort::Error| line(&error);
    let (shape, data) = match port.kind {
        Kind::F32 => value.try_extract_tensor::<f32>().map(|(shape, data)| (shape, Data::F32(data.to_vec()))),
        Kind::F64 => value.try_extract_tensor::<f64>().map(|(shape, data)| (shape, Data::F64(data.to_vec()))),
        Kind::I32 => value.try_extract_tensor::<i32>().map(|(shape, data)| (shape, Data::I32(data.to_vec()))),
        Kind::I64 => value.try_extract_tensor::<i64>().map(|(shape, data)| (shape, Data::I64(data.to_vec()))),
        Kind::Bool => value.try_extract_tensor::<bool>().map(|(shape, data)| (shape, Data::Bool(data.to_vec()))),
        Kind::Text => value.try_extract_strings().map(|(shape, data)| (shape, Data::Text(data))),
    }
    .map_err(failed)?;
    let shape = shape.iter().map(|length| usize::try_from(*length).unwrap_or(0)).collect();
    Ok(Tensor { shape, data })
}

fn ports(outlets: &[Outlet], what: &str) -> Result<Vec<Port>, StartError> {
    outlets.iter().map(|outlet| port(outlet, what)).collect()
}

fn port(outlet: &Outlet, what: &str) -> Result<Port, StartError> {
    let failed = |found: &dyn fmt::Display, hint: &'static str| StartError::Unfit {
        reason: format!(
            "the model's {what} '{}' is {found}; tensors of float32, float64, int32, int64, bool and string can be served",
            outlet.name().escape_debug()
        ),
        hint,
    };
    let ValueType::Tensor { ty, shape, .. } = outlet.dtype() else {
        return Err(failed(
            &"not a tensor",
            "Convert the model without ZipMap (skl2onnx: options={'zipmap': False}), or leave that output out.",
        ));
    };
    let kind = match ty {
        TensorElementType::Float32 => Kind::F32,
        TensorElementType::Float64 => Kind::F64,
        TensorElementType::Int32 => Kind::I32,
        TensorElementType::Int64 => Kind::I64,
        TensorElementType::Bool => Kind::Bool,
        TensorElementType::String => Kind::Text,
        other => {
            let hint = "Put a Cast into the graph beside it, from or to one of these types.";
            return Err(failed(&format!("a tensor of {other}"), hint));
        }
    };
    Ok(Port { name: outlet.name().to_owned(), kind, shape: lengths(shape) })
}

fn lengths(shape: &Shape) -> Vec<Option<usize>> {
    shape.iter().map(|length| usize::try_from(*length).ok()).collect()
}

/// The first line of an error; ONNX Runtime's can have many.
fn line(error: &impl fmt::Display) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}
