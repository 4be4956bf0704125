//! The characters of a Python `str`, taken out without leaving a copy of them in it.
#![allow(unsafe_code, reason = "functions of Python's C interface that pyo3 does not wrap")]

use std::ffi::CStr;
use std::ops::Range;

use headrace_core::text::Encoder;
use pyo3::prelude::*;
use pyo3::types::PyString;
use pyo3::{ffi, intern};

/// A text of more characters is encoded by Python: what is held at a time would be too much.
const MOST: usize = 1 << 16;

/// UTF-8 of texts that are not ASCII, one after the other.
pub(crate) struct Room<'py> {
    encoder: Encoder,
    is_ascii: Option<IsAscii<'py>>,
    points: Vec<u32>,
    bytes: Vec<u8>,
    end: usize,
}

impl<'py> Room<'py> {
    pub(crate) fn new(py: Python<'py>) -> Self {
        let (encoder, is_ascii) = (Encoder::default(), IsAscii::of_str(py));
        Self { encoder, is_ascii, points: Vec::new(), bytes: Vec::new(), end: 0 }
    }

    /// Forgets the texts.
    pub(crate) fn clear(&mut self) {
        self.end = 0;
    }

    /// The number of characters, whatever a class that is derived from `str` says of it.
    pub(crate) fn length(text: &Bound<'_, PyString>) -> PyResult<usize> {
        // SAFETY: it is a `str`.
        let length = unsafe { ffi::PyUnicode_GetLength(text.as_ptr()) };
        usize::try_from(length).map_err(|_| PyErr::fetch(text.py()))
    }

    pub(crate) fn is_ascii(&self, text: &Bound<'py, PyString>) -> PyResult<bool> {
        match &self.is_ascii {
            Some(is_ascii) => is_ascii.call(text),
            None => text.call_method0(intern!(text.py(), "isascii"))?.is_truthy(),
        }
    }

    /// Where the UTF-8 of a text of `length` characters now is. Nothing, if it has none (lone surrogates), or if it is
    /// long, or if characters have 16 bits here.
    pub(crate) fn take(&mut self, text: &Bound<'_, PyString>, length: usize) -> PyResult<Option<Range<usize>>> {
        if length > MOST || cfg!(windows) {
            return Ok(None);
        }
        if self.points.len() < length {
            self.points.resize(length.next_power_of_two(), 0);
        }
        let needed = self.end + Encoder::room(length);
        if self.bytes.len() < needed {
            self.bytes.resize(needed.next_power_of_two(), 0);
        }
        let Some(points) = self.points.get_mut(..length) else { return Ok(None) };
        // SAFETY: so many characters fit, each has the size of an u32, and any u32 may be written there.
        let copied =
            unsafe { ffi::PyUnicode_AsWideChar(text.as_ptr(), points.as_mut_ptr().cast(), length.cast_signed()) };
        if copied < 0 {
            return Err(PyErr::fetch(text.py()));
        }
        let Some(points) = points.get(..copied.cast_unsigned()) else { return Ok(None) };
        let Some(free) = self.bytes.get_mut(self.end..) else { return Ok(None) };
        Ok(self.encoder.encode(points, free).map(|written| {
            let start = self.end;
            self.end += written;
            start..self.end
        }))
    }

    pub(crate) fn bytes(&self, span: &Range<usize>) -> &[u8] {
        self.bytes.get(span.clone()).unwrap_or_default()
    }
}

/// `str.isascii` as the C function that it is: it reads one bit, and finding a method by its name takes far longer.
struct IsAscii<'py> {
    call: ffi::PyCFunction,
    py: Python<'py>,
}

impl<'py> IsAscii<'py> {
    /// If `str` has it as `CPython` does: a method without arguments.
    fn of_str(py: Python<'py>) -> Option<Self> {
        // SAFETY: the slot holds the methods of the type, ended by one without a name, for as long as Python runs;
        // which field of the union is used, the flags say.
        unsafe {
            let slot = ffi::PyType_GetSlot(&raw mut ffi::PyUnicode_Type, ffi::Py_tp_methods);
            let mut method = slot.cast::<ffi::PyMethodDef>();
            while !method.is_null() && !(*method).ml_name.is_null() {
                if CStr::from_ptr((*method).ml_name) == c"isascii" {
                    let plain = (*method).ml_flags == ffi::METH_NOARGS;
                    return plain.then_some(Self { call: (*method).ml_meth.PyCFunction, py });
                }
                method = method.add(1);
            }
        }
        None
    }

    fn call(&self, text: &Bound<'_, PyString>) -> PyResult<bool> {
        // SAFETY: a function of `str` without arguments is called with a `str`, and gives a new reference or raises.
        let answer = unsafe { Bound::from_owned_ptr_or_err(self.py, (self.call)(text.as_ptr(), std::ptr::null_mut())) };
        answer?.is_truthy()
    }
}
