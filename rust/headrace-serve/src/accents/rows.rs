//! `KServe`'s protocol v1 and `MLflow`'s `/invocations`: rows or columns in, `{"predictions": [...]}` out.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::cells::Column;
use super::{Object, array, found, from_columns, from_rows, object, of_input, read};
use crate::error::Refusal;
use crate::inputs::Inputs;
use crate::json::{self, write_text, write_values};
use crate::model::{Model, Output};
use crate::tensor::Tensor;

#[derive(Deserialize)]
struct Document<'a> {
    #[serde(borrow)]
    dataframe_split: Option<Object<Split<'a>>>,
    #[serde(borrow)]
    dataframe_records: Option<&'a RawValue>,
    #[serde(borrow)]
    instances: Option<&'a RawValue>,
    #[serde(borrow)]
    inputs: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Split<'a> {
    columns: Option<Vec<serde_json::Value>>,
    index: Option<Vec<serde::de::IgnoredAny>>,
    #[serde(borrow)]
    data: &'a RawValue,
}

/// A request to `:predict`.
pub fn v1(model: &Model, text: &str) -> Result<Inputs, Refusal> {
    let document: Document<'_> = object(text, "`instances` or `inputs`")?;
    match (document.instances, document.inputs) {
        (Some(rows), None) => instances(model, rows),
        (None, Some(columns)) => inputs(model, columns),
        _ => Err(Refusal::Bad("the body must have exactly one of `instances` and `inputs`".to_owned())),
    }
}

/// A request to `/invocations`.
pub fn mlflow(model: &Model, text: &str) -> Result<Inputs, Refusal> {
    let document: Document<'_> = object(text, "`dataframe_split`, `dataframe_records`, `instances` or `inputs`")?;
    let Document { dataframe_split, dataframe_records, instances: rows, inputs: columns } = document;
    match (dataframe_split, dataframe_records, rows, columns) {
        (Some(Object(frame)), None, None, None) => split(model, &frame),
        (None, Some(rows), None, None) => from_rows(model, &array(rows, "`dataframe_records`")?),
        (None, None, Some(rows), None) => instances(model, rows),
        (None, None, None, Some(columns)) => inputs(model, columns),
        _ => Err(Refusal::Bad(
            "the body must have exactly one of `dataframe_split`, `dataframe_records`, `instances` and `inputs`"
                .to_owned(),
        )),
    }
}

/// Whether a model has one input that takes whole rows of numbers.
fn takes_matrix(model: &Model) -> bool {
    model.ports().len() == 1
}

fn matrix(model: &Model, json: &RawValue) -> Result<Inputs, Refusal> {
    let Some(port) = model.ports().first() else { return Err(model.missing(0)) };
    let tensor = json::tensor(json.get(), port.kind).map_err(|what| of_input(&port.name, &what))?;
    model.tensors(vec![tensor])
}

/// Rows: objects of columns, or what an only input takes.
fn instances(model: &Model, rows: &RawValue) -> Result<Inputs, Refusal> {
    let values = array(rows, "`instances`")?;
    let objects = values.first().is_some_and(|row| row.get().starts_with('{'));
    if takes_matrix(model) && !objects {
        return matrix(model, rows);
    }
    if let Some((number, row)) = values.iter().enumerate().find(|(_, row)| !row.get().starts_with('{')) {
        let what = format!("row {number}: expected an object with a value a column, found {}", found(row));
        return Err(Refusal::Bad(what));
    }
    from_rows(model, &values)
}

/// Columns: an object of arrays, or what an only input takes.
fn inputs(model: &Model, json: &RawValue) -> Result<Inputs, Refusal> {
    if !json.get().starts_with('{') {
        if takes_matrix(model) {
            return matrix(model, json);
        }
        return Err(Refusal::Bad(format!("`inputs`: expected an object of columns, found {}", found(json))));
    }
    let columns: Columns<'_> = read(json.get())?;
    if !model.takes_rows() {
        return named_tensors(model, columns);
    }
    let columns = columns.0.into_iter().map(|(name, values)| {
        let values = array(values, &format!("the input '{}'", name.escape_debug()))?;
        Ok((name, Column::Raw(values)))
    });
    from_columns(model, columns.collect::<Result<_, Refusal>>()?, false)
}

fn named_tensors(model: &Model, columns: Columns<'_>) -> Result<Inputs, Refusal> {
    let mut tensors: Vec<Option<Tensor>> = model.inputs.iter().map(|_| None).collect();
    for (name, values) in columns.0 {
        let position = model.position(&name).ok_or_else(|| model.unknown(&name))?;
        let tensor = json::tensor(values.get(), model.ports()[position].kind).map_err(|what| of_input(&name, &what))?;
        if tensors[position].replace(tensor).is_some() {
            return Err(of_input(&name, "it is there twice"));
        }
    }
    if let Some(position) = tensors.iter().position(Option::is_none) {
        return Err(model.missing(position));
    }
    model.tensors(tensors.into_iter().flatten().collect())
}

/// pandas' `orient="split"`.
fn split(model: &Model, frame: &Split<'_>) -> Result<Inputs, Refusal> {
    let rows = array(frame.data, "`dataframe_split.data`")?;
    if let Some(index) = frame.index.as_ref().filter(|index| index.len() != rows.len()) {
        let (found, expected) = (index.len(), rows.len());
        return Err(Refusal::Bad(format!(
            "`dataframe_split.index` has {found} values, `dataframe_split.data` has {expected} rows"
        )));
    }
    if takes_matrix(model) {
        for (number, row) in rows.iter().enumerate() {
            // A value that is no array is a row of one, as in a data frame.
            let width = if row.get().starts_with('[') { array(row, "")?.len() } else { 1 };
            if let Some(columns) = frame.columns.as_ref().filter(|columns| columns.len() != width) {
                return Err(uneven(number, width, columns.len()));
            }
        }
        return matrix(model, frame.data);
    }
    let Some(names) = &frame.columns else {
        return Err(Refusal::Bad("`dataframe_split` has no `columns`".to_owned()));
    };
    let names = names.iter().map(|name| name.as_str().map_or_else(|| name.to_string(), str::to_owned));
    let mut columns: Vec<(String, Vec<&RawValue>)> = names.map(|name| (name, Vec::new())).collect();
    for (number, row) in rows.into_iter().enumerate() {
        let values = array(row, &format!("row {number} of `dataframe_split.data`"))?;
        if values.len() != columns.len() {
            return Err(uneven(number, values.len(), columns.len()));
        }
        for ((_, column), value) in columns.iter_mut().zip(values) {
            column.push(value);
        }
    }
    from_columns(model, columns.into_iter().map(|(name, values)| (name, Column::Raw(values))).collect(), false)
}

fn uneven(row: usize, found: usize, expected: usize) -> Refusal {
    Refusal::Bad(format!("row {row} has {found} values, there are {expected} columns"))
}

/// An object as pairs, in order; a key that is there twice stays so.
pub(super) struct Columns<'a>(pub(super) Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Columns<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs<'a>(std::marker::PhantomData<&'a ()>);
        impl<'de: 'a, 'a> serde::de::Visitor<'de> for Pairs<'a> {
            type Value = Columns<'a>;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("an object of columns")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut items: A) -> Result<Columns<'a>, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = items.next_entry::<String, &'a RawValue>()? {
                    pairs.push(pair);
                }
                Ok(Columns(pairs))
            }
        }
        deserializer.deserialize_map(Pairs(std::marker::PhantomData))
    }
}

/// `{"predictions": [...]}`: a value a row where there is one output, else an object.
#[must_use]
pub fn answer(outputs: &[Output]) -> Vec<u8> {
    let rows = outputs.first().map_or(0, |output| output.tensor.rows());
    let mut out = Vec::with_capacity(64 + rows * 24 * outputs.len());
    out.extend_from_slice(b"{\"predictions\":[");
    for row in 0..rows {
        if row > 0 {
            out.push(b',');
        }
        if let [single] = outputs {
            write_row(&mut out, &single.tensor, row);
            continue;
        }
        for (index, output) in outputs.iter().enumerate() {
            out.push(if index == 0 { b'{' } else { b',' });
            write_text(&mut out, &output.name);
            out.push(b':');
            write_row(&mut out, &output.tensor, row);
        }
        out.push(b'}');
    }
    out.extend_from_slice(b"]}");
    out
}

/// The values of a row: one as it is, several nested as the shape says.
fn write_row(out: &mut Vec<u8>, tensor: &Tensor, row: usize) {
    if row >= tensor.rows() {
        // An output that has no row for each row of the request.
        out.extend_from_slice(b"null");
        return;
    }
    let width = tensor.width();
    let shape = tensor.shape.get(1..).unwrap_or_default();
    write_nested(out, tensor, shape, row * width);
}

fn write_nested(out: &mut Vec<u8>, tensor: &Tensor, shape: &[usize], start: usize) {
    match shape {
        [] => write_values(out, &tensor.data, start, start + 1),
        [length] => {
            out.push(b'[');
            write_values(out, &tensor.data, start, start + length);
            out.push(b']');
        }
        [length, inner @ ..] => {
            let size: usize = inner.iter().product();
            out.push(b'[');
            for index in 0..*length {
                if index > 0 {
                    out.push(b',');
                }
                write_nested(out, tensor, inner, start + index * size);
            }
            out.push(b']');
        }
    }
}
