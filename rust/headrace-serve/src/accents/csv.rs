//! A table as text: RFC 4180 with a first line of names, as pandas writes it and `MLflow` reads it.

use csv::{ReaderBuilder, StringRecord};

use super::cells::{Cells, Column};
use super::{from_columns, of_input};
use crate::error::Refusal;
use crate::inputs::Inputs;
use crate::json;
use crate::model::Model;

/// Columns of a table, at most; it may have more than the model reads.
const COLUMNS: usize = 65_536;

/// What the cells of a column are read as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sort {
    Number,
    Boolean,
    Text,
}

impl Sort {
    fn of(datatype: &str) -> Self {
        match datatype {
            "BOOL" => Self::Boolean,
            "BYTES" => Self::Text,
            _ => Self::Number,
        }
    }

    /// Appends a cell; an empty one is missing, and what is not of the sort is a text, which is refused by its place.
    fn push(self, cells: &mut Cells, cell: &str) {
        let trimmed = cell.trim();
        match self {
            _ if cell.is_empty() => cells.missing(),
            Self::Number if is_number(trimmed) => cells.json(trimmed),
            Self::Number => match trimmed.parse::<f64>() {
                Ok(number) => cells.float(number),
                Err(_) => cells.text(cell),
            },
            Self::Boolean if trimmed.eq_ignore_ascii_case("true") => cells.json("true"),
            Self::Boolean if trimmed.eq_ignore_ascii_case("false") => cells.json("false"),
            Self::Boolean | Self::Text => cells.text(cell),
        }
    }
}

/// Whether a text is a number of JSON.
fn is_number(text: &str) -> bool {
    text.starts_with(|first: char| first == '-' || first.is_ascii_digit())
        && serde_json::from_str::<serde_json::Number>(text).is_ok()
}

/// A table as what is computed. Columns that the model does not read are ignored; where the model has one input of rows
/// of numbers, all of them in order are its row.
pub fn columns(model: &Model, body: &[u8]) -> Result<Inputs, Refusal> {
    let mut reader = ReaderBuilder::new().from_reader(body);
    let names = reader.headers().map_err(|error| wrong(&error))?.clone();
    check_names(&names)?;
    let single = match model.ports() {
        [port] => Some(port),
        _ => None,
    };
    let inputs: Vec<Option<Sort>> = match single {
        Some(port) => vec![Some(Sort::of(port.kind.datatype())); names.len()],
        None => names.iter().map(|name| model.position(name).map(|at| Sort::of(&model.inputs[at].datatype))).collect(),
    };
    let mut columns: Vec<Cells> = names.iter().map(|_| Cells::default()).collect();
    let (mut record, mut rows) = (StringRecord::new(), 0);
    while reader.read_record(&mut record).map_err(|error| wrong(&error))? {
        rows += 1;
        if rows > model.request_rows {
            break;
        }
        for ((sort, cells), cell) in inputs.iter().zip(&mut columns).zip(&record) {
            if let Some(sort) = sort {
                sort.push(cells, cell);
            }
        }
    }
    model.check_rows(rows)?;
    let columns = columns.into_iter().map(Column::Made);
    let Some(port) = single else {
        let read = names.iter().map(str::to_owned).zip(columns).zip(inputs).filter(|(_, sort)| sort.is_some());
        return from_columns(model, read.map(|(column, _)| column).collect(), false);
    };
    let columns: Vec<Column<'_>> = columns.collect();
    let nested = port.shape.len() > 1;
    let mut array = String::from("[");
    for row in 0..rows {
        array.push_str(match (row, nested) {
            (0, true) => "[",
            (0, false) => "",
            (_, true) => "],[",
            (_, false) => ",",
        });
        for (number, column) in columns.iter().enumerate() {
            if number > 0 {
                array.push(',');
            }
            array.push_str(column.get(row));
        }
    }
    array.push_str(if nested { "]]" } else { "]" });
    let tensor = json::tensor(&array, port.kind).map_err(|what| of_input(&port.name, &what))?;
    if !nested && tensor.data.len() != rows {
        let found = columns.len();
        return Err(of_input(&port.name, &format!("it takes one value a row, the table has {found} columns")));
    }
    model.tensors(vec![tensor])
}

/// The first line must be names: that of a table without names would be lost without a word.
fn check_names(names: &StringRecord) -> Result<(), Refusal> {
    if names.len() > COLUMNS {
        let found = names.len();
        return Err(Refusal::TooLarge(format!("the table has {found} columns, at most {COLUMNS} are read")));
    }
    // pandas' names of a frame without names.
    let counted = names.iter().enumerate().all(|(number, name)| name == number.to_string());
    if !counted && !names.is_empty() && names.iter().all(|name| name.trim().parse::<f64>().is_ok()) {
        let what = "the first line of the table has numbers only, expected the names of the columns";
        return Err(Refusal::Bad(what.to_owned()));
    }
    Ok(())
}

fn wrong(error: &csv::Error) -> Refusal {
    Refusal::Bad(format!("the body cannot be read as a table: {error}"))
}
