//! A column of a batch, made ready to give keys for any rows of it.

use std::ops::Range;
use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{BinaryViewType, StringViewType};
use arrow_array::{Array, ArrayRef, GenericListArray, GenericListViewArray, OffsetSizeTrait, UInt64Array};
use arrow_buffer::ArrowNativeType as _;
use arrow_schema::{DataType, Field};
use arrow_select::take::{TakeOptions, take};

use super::scheme::{ABSENT, Key, Role, Scheme};
use super::strings::{self, Fault};
use super::text::{self, Style};
use super::{Mode, Options, Problem, dictionary, number};
use crate::error::{Error, Result};

/// What a frame's columns are taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    /// Rows are dicts from column names to values.
    Named,
    /// Values are tokens, and names do not matter.
    Tokens,
    /// Every column is a category.
    Categories,
}

/// What the values of a column are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Absent,
    Strings,
    Written,
    Truth,
    Number,
}

#[derive(Debug)]
pub(super) struct Column<'a> {
    pub(super) name: &'a str,
    first_row: usize,
    reader: Reader,
    /// Whether its values are numbers, and not all 1 or -1.
    pub(super) has_values: bool,
}

#[derive(Debug)]
enum Reader {
    Plain(Plain),
    /// Keys, and values if it has any, of the dictionary.
    Gather {
        codes: ArrayRef,
        dictionary: Filled,
    },
    Lists {
        spans: Vec<Range<usize>>,
        items: Box<Reader>,
    },
}

#[derive(Debug)]
struct Plain {
    array: ArrayRef,
    kind: Kind,
    style: Style,
    scheme: Scheme,
}

/// Keys of some rows, and of numbers the values too.
#[derive(Debug, Default)]
pub(super) struct Filled {
    pub(super) keys: Vec<Key>,
    pub(super) values: Vec<f64>,
    /// Of lists: where the items of each row are.
    pub(super) spans: Option<Vec<Range<usize>>>,
}

impl Filled {
    fn clear(&mut self) {
        self.keys.clear();
        self.values.clear();
        self.spans = None;
    }
}

impl<'a> Column<'a> {
    /// `first_row` is the number of the batch's first row, for errors.
    pub(super) fn new(
        options: &Options,
        reading: Reading,
        name: &'a str,
        array: &ArrayRef,
        first_row: usize,
    ) -> Result<Self> {
        Self::make(&Maker { options, reading, name, lookup: true, bare: None }, name, array, first_row)
    }

    /// A column of tokens that gives hashes, not keys.
    pub(super) fn bare(
        options: &Options,
        name: &'a str,
        array: &ArrayRef,
        first_row: usize,
        seed: u32,
    ) -> Result<Self> {
        let maker = Maker { options, reading: Reading::Tokens, name, lookup: true, bare: Some(seed) };
        Self::make(&maker, name, array, first_row)
    }

    /// A column of which [`Column::each`] can be asked.
    pub(super) fn spelled(
        options: &Options,
        reading: Reading,
        name: &'a str,
        array: &ArrayRef,
        first_row: usize,
    ) -> Result<Self> {
        Self::make(&Maker { options, reading, name, lookup: false, bare: None }, name, array, first_row)
    }

    fn make(maker: &Maker<'_>, name: &'a str, array: &ArrayRef, first_row: usize) -> Result<Self> {
        let reader = maker.reader(array, false).map_err(|trouble| trouble.error(name, array, first_row))?;
        let has_values = reader.has_values();
        Ok(Self { name, first_row, reader, has_values })
    }

    /// Calls `each` with the bytes of every value and how often it stands there; of a number there are none.
    pub(super) fn each(&self, mut each: impl FnMut(Option<&[u8]>, u64)) -> Result<()> {
        let outcome = match &self.reader {
            Reader::Plain(plain) => plain.each(|_, value| each(value, 1)),
            Reader::Lists { spans, items } => {
                let mut times = vec![0; items.len()];
                spans.iter().flat_map(Clone::clone).for_each(|item: usize| times[item] += 1);
                match &**items {
                    Reader::Plain(plain) => {
                        let each = |item: usize, value: Option<&[u8]>| {
                            if times[item] > 0 {
                                each(value, times[item]);
                            }
                        };
                        plain.each(each).map_err(|fault| fault.at(|item| first_of(spans, item)))
                    }
                    _ => Ok(()),
                }
            }
            Reader::Gather { .. } => Ok(()),
        };
        outcome.map_err(|fault| Trouble::Fault(fault).error(self.name, &empty(), self.first_row))
    }

    /// Whether a row has at most one key.
    pub(super) fn is_flat(&self) -> bool {
        !matches!(self.reader, Reader::Lists { .. })
    }

    /// At most so many keys have these rows.
    pub(super) fn bound(&self, rows: Range<usize>) -> usize {
        match &self.reader {
            Reader::Lists { spans, .. } => spans[rows].iter().map(ExactSizeIterator::len).sum(),
            _ => rows.len(),
        }
    }

    /// The keys of these rows.
    pub(super) fn fill(&self, rows: Range<usize>, out: &mut Filled) -> Result<()> {
        out.clear();
        self.reader.fill(rows, out).map_err(|fault| Trouble::Fault(fault).error(self.name, &empty(), self.first_row))
    }
}

fn empty() -> ArrayRef {
    Arc::new(UInt64Array::from(Vec::<u64>::new()))
}

/// Whether columns of this type can be read so.
pub(super) fn check(options: &Options, reading: Reading, field: &Field) -> Result<()> {
    let listed = match field.data_type() {
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _)
            if reading != Reading::Categories =>
        {
            item.data_type()
        }
        other => other,
    };
    let plain = if let DataType::Dictionary(_, values) = listed { values } else { listed };
    match kind_of(options, reading, field.name(), plain) {
        Some(_) => Ok(()),
        None => Err(Problem::Type { column: field.name().clone(), data_type: field.data_type().clone() }.into()),
    }
}

/// How a column of this type is read.
fn kind_of(options: &Options, reading: Reading, name: &str, data_type: &DataType) -> Option<Kind> {
    let categorical = reading == Reading::Categories || options.categorical.contains(name);
    match data_type {
        DataType::Null => Some(Kind::Absent),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Some(Kind::Strings),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView if reading == Reading::Tokens => {
            Some(Kind::Strings)
        }
        _ if reading == Reading::Tokens => None,
        DataType::Boolean if categorical || options.mode == Mode::Spark => Some(Kind::Written),
        DataType::Boolean => Some(Kind::Truth),
        number if text::is_number(number) => Some(if categorical { Kind::Written } else { Kind::Number }),
        calendar if text::is_calendar(calendar) => Some(Kind::Written),
        _ => None,
    }
}

/// What hindered a column from being read.
enum Trouble {
    Fault(Fault),
    Type,
    TooMany { values: usize, row: usize },
}

impl From<Fault> for Trouble {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl Trouble {
    fn error(self, name: &str, array: &ArrayRef, first_row: usize) -> Error {
        let column = name.to_owned();
        match self {
            Self::Fault(Fault::NotUtf8 { row, byte }) => {
                Error::NotUtf8 { column: Some(column), row: first_row + row, byte }
            }
            Self::Fault(Fault::BeyondCalendar { row }) => {
                Problem::BeyondCalendar { column, row: first_row + row }.into()
            }
            Self::Fault(Fault::NullItem { row }) => Problem::NullItem { column, row: first_row + row }.into(),
            Self::Fault(Fault::Damaged(reason)) => Error::DamagedColumn { column, reason: reason.to_owned() },
            Self::Type => Problem::Type { column, data_type: array.data_type().clone() }.into(),
            Self::TooMany { values, row } => {
                Error::TooManyValues { values, column: Some(column), row: Some(first_row + row) }
            }
        }
    }
}

struct Maker<'a> {
    options: &'a Options,
    reading: Reading,
    name: &'a str,
    /// Whether the entries of a dictionary are hashed once, and found by their keys. Else they stand in every row.
    lookup: bool,
    /// The seed, if hashes are wanted and not keys.
    bare: Option<u32>,
}

impl Maker<'_> {
    fn reader(&self, array: &ArrayRef, inside: bool) -> Result<Reader, Trouble> {
        match array.data_type() {
            DataType::Dictionary(_, values) => {
                kind_of(self.options, self.reading, self.name, values).ok_or(Trouble::Type)?;
                let dictionary = array.as_any_dictionary();
                let mut filled = Filled::default();
                // Most of it may not be used here, as with categories that many frames share; and what is wrong with an
                // entry that nobody uses is no matter. What is looked up row by row can be read row by row.
                let shared = dictionary.values().len() / 2 > array.len();
                if !self.lookup
                    || shared
                    || self.plain(dictionary.values())?.fill(0..dictionary.values().len(), &mut filled).is_err()
                {
                    let checked = TakeOptions { check_bounds: true };
                    let taken = take(dictionary.values(), dictionary.keys(), Some(checked));
                    return self.plain(&taken.map_err(|_| Fault::Damaged("a key points outside its dictionary"))?);
                }
                Ok(Reader::Gather { codes: dictionary.keys().slice(0, array.len()), dictionary: filled })
            }
            _ if inside || self.reading == Reading::Categories => self.plain(array),
            DataType::List(_) => self.lists(offset_spans(array.as_list::<i32>())?, array.as_list::<i32>().values()),
            DataType::LargeList(_) => {
                self.lists(offset_spans(array.as_list::<i64>())?, array.as_list::<i64>().values())
            }
            DataType::ListView(_) => self.list_views(array.as_list_view::<i32>()),
            DataType::LargeListView(_) => self.list_views(array.as_list_view::<i64>()),
            DataType::FixedSizeList(..) => {
                let lists = array.as_fixed_size_list();
                let length = lists.value_length().as_usize();
                let span = |row| if lists.is_null(row) { 0..0 } else { row * length..(row + 1) * length };
                self.lists((0..lists.len()).map(span).collect(), lists.values())
            }
            _ => self.plain(array),
        }
    }

    fn plain(&self, array: &ArrayRef) -> Result<Reader, Trouble> {
        let kind = kind_of(self.options, self.reading, self.name, array.data_type()).ok_or(Trouble::Type)?;
        let role = match (self.reading, kind) {
            (Reading::Tokens, _) => Role::Token,
            (_, Kind::Truth | Kind::Number) => Role::Number,
            _ => Role::Category,
        };
        let name = if role == Role::Token { &[] } else { self.name.as_bytes() };
        let style = if self.options.mode == Mode::Spark { Style::Java } else { Style::Canonical };
        let scheme = self.bare.map_or_else(|| Scheme::new(self.options, name, role), Scheme::bare);
        Ok(Reader::Plain(Plain { array: Arc::clone(array), kind, style, scheme }))
    }

    fn lists(&self, spans: Vec<Range<usize>>, items: &ArrayRef) -> Result<Reader, Trouble> {
        if spans.iter().any(|span| span.end > items.len()) {
            return Err(Fault::Damaged("a list ends outside its items").into());
        }
        // A row says by a null that it has no value; an item that is none says nothing that could be meant.
        if let Some(nulls) = items.logical_nulls().filter(|nulls| nulls.null_count() > 0)
            && let Some(row) = spans.iter().position(|span| span.clone().any(|item| nulls.is_null(item)))
        {
            return Err(Fault::NullItem { row }.into());
        }
        Ok(Reader::Lists { spans, items: Box::new(self.reader(items, true)?) })
    }

    /// Items that lie in any order, and perhaps more than once, are laid out in the order of the rows first.
    fn list_views<O: OffsetSizeTrait>(&self, lists: &GenericListViewArray<O>) -> Result<Reader, Trouble> {
        let outside = || Fault::Damaged("a list ends outside its items");
        let (mut spans, mut total) = (Vec::with_capacity(lists.len()), 0);
        let mut shown = Vec::with_capacity(lists.len());
        for row in 0..lists.len() {
            let begin: usize = total;
            if lists.is_valid(row) {
                let start = lists.value_offsets()[row].to_usize().ok_or_else(outside)?;
                let length = lists.value_sizes()[row].to_usize().ok_or_else(outside)?;
                let end = start.checked_add(length).filter(|end| *end <= lists.values().len()).ok_or_else(outside)?;
                shown.push(start as u64..end as u64);
                total = total.saturating_add(length);
            }
            spans.push(begin..total);
        }
        // Lists may show the same items over and over: a small frame can have more values than memory holds.
        if let Some(row) = spans.iter().position(|span| i32::try_from(span.end).is_err()) {
            return Err(Trouble::TooMany { values: total, row });
        }
        let order: Vec<u64> = shown.into_iter().flatten().collect();
        let items = take(lists.values(), &UInt64Array::from(order), None).map_err(|_| outside())?;
        self.lists(spans, &items)
    }
}

fn offset_spans<O: OffsetSizeTrait>(lists: &GenericListArray<O>) -> Result<Vec<Range<usize>>, Trouble> {
    let damaged = || Trouble::Fault(Fault::Damaged("a list ends before it starts"));
    let pairs = lists.value_offsets().windows(2).enumerate();
    pairs
        .map(|(row, pair)| {
            if lists.is_null(row) {
                return Ok(0..0);
            }
            let (start, end) = (pair[0].to_usize().ok_or_else(damaged)?, pair[1].to_usize().ok_or_else(damaged)?);
            if start <= end { Ok(start..end) } else { Err(damaged()) }
        })
        .collect()
}

impl Reader {
    fn len(&self) -> usize {
        match self {
            Self::Plain(plain) => plain.array.len(),
            Self::Gather { codes, .. } => codes.len(),
            Self::Lists { spans, .. } => spans.len(),
        }
    }

    fn has_values(&self) -> bool {
        match self {
            Self::Plain(plain) => plain.kind == Kind::Number,
            Self::Gather { dictionary, .. } => !dictionary.values.is_empty(),
            Self::Lists { items, .. } => items.has_values(),
        }
    }

    fn fill(&self, rows: Range<usize>, out: &mut Filled) -> Result<(), Fault> {
        match self {
            Self::Plain(plain) => plain.fill(rows, out),
            Self::Gather { codes, dictionary } => dictionary::gather(codes, rows, dictionary, out),
            Self::Lists { spans, items } => {
                let spans = &spans[rows.clone()];
                let used = spans.iter().filter(|span| !span.is_empty());
                let begin = used.clone().map(|span| span.start).min().unwrap_or(0);
                let end = used.map(|span| span.end).max().unwrap_or(0);
                items.fill(begin..end, out).map_err(|fault| fault.at(|item| first_of(spans, item) + rows.start))?;
                let within = |span: &Range<usize>| {
                    if span.is_empty() { 0..0 } else { span.start - begin..span.end - begin }
                };
                out.spans = Some(spans.iter().map(within).collect());
                Ok(())
            }
        }
    }
}

/// The row whose list has this item.
fn first_of(spans: &[Range<usize>], item: usize) -> usize {
    spans.iter().position(|span| span.contains(&item)).unwrap_or(0)
}

impl Plain {
    /// Calls `each` with every row that has a value, and its bytes if it is no number.
    fn each(&self, mut each: impl FnMut(usize, Option<&[u8]>)) -> Result<(), Fault> {
        let array = &self.array;
        match self.kind {
            Kind::Strings => {
                let each = |row: usize, bytes: &[u8]| each(row, Some(bytes));
                match array.data_type() {
                    DataType::Utf8 => strings::each_offset(array.as_string::<i32>(), true, each),
                    DataType::LargeUtf8 => strings::each_offset(array.as_string::<i64>(), true, each),
                    DataType::Utf8View => strings::each_viewed(array.as_byte_view::<StringViewType>(), true, each),
                    DataType::Binary => strings::each_offset(array.as_binary::<i32>(), false, each),
                    DataType::LargeBinary => strings::each_offset(array.as_binary::<i64>(), false, each),
                    _ => strings::each_viewed(array.as_byte_view::<BinaryViewType>(), false, each),
                }
            }
            Kind::Written => text::write_each(array, self.style, |row, text| each(row, Some(text.as_bytes())))
                .map_err(|beyond| Fault::BeyondCalendar { row: beyond.row }),
            Kind::Absent | Kind::Truth | Kind::Number => {
                let mut filled = Filled::default();
                self.fill(0..array.len(), &mut filled)?;
                filled.keys.iter().enumerate().filter(|(_, key)| **key != ABSENT).for_each(|(row, _)| each(row, None));
                Ok(())
            }
        }
    }

    fn fill(&self, rows: Range<usize>, out: &mut Filled) -> Result<(), Fault> {
        match self.kind {
            Kind::Absent => out.keys.resize(rows.len(), ABSENT),
            Kind::Strings => self.strings(rows, &mut out.keys)?,
            Kind::Written => {
                out.keys.resize(rows.len(), ABSENT);
                let keys = &mut out.keys;
                let block = self.array.slice(rows.start, rows.len());
                let each = |row: usize, text: &str| keys[row] = self.scheme.key(text.as_bytes());
                text::write_each(&block, self.style, each)
                    .map_err(|beyond| Fault::BeyondCalendar { row: rows.start + beyond.row })?;
            }
            Kind::Truth => {
                let key = self.scheme.key(&[]);
                let (values, nulls) = (self.array.as_boolean(), self.array.nulls());
                out.keys.extend(rows.map(|row| {
                    let holds = values.values().value(row) && nulls.is_none_or(|nulls| nulls.is_valid(row));
                    if holds { key } else { ABSENT }
                }));
            }
            Kind::Number => {
                let key = self.scheme.key(&[]);
                number::read(&self.array, rows.clone(), &mut out.values);
                let nulls = self.array.nulls();
                // Spark keeps zeros; scikit-learn does not hash them.
                let keeps = self.style == Style::Java;
                let of = |(value, row): (&f64, usize)| {
                    let there = (keeps || *value != 0.0) && nulls.is_none_or(|nulls| nulls.is_valid(row));
                    if there { key } else { ABSENT }
                };
                out.keys.extend(out.values.iter().zip(rows).map(of));
            }
        }
        Ok(())
    }

    fn strings(&self, rows: Range<usize>, out: &mut Vec<Key>) -> Result<(), Fault> {
        let (array, scheme) = (&self.array, &self.scheme);
        match array.data_type() {
            DataType::Utf8 => strings::offset(array.as_string::<i32>(), rows, scheme, true, out),
            DataType::LargeUtf8 => strings::offset(array.as_string::<i64>(), rows, scheme, true, out),
            DataType::Utf8View => strings::viewed(array.as_byte_view::<StringViewType>(), rows, scheme, true, out),
            DataType::Binary => strings::offset(array.as_binary::<i32>(), rows, scheme, false, out),
            DataType::LargeBinary => strings::offset(array.as_binary::<i64>(), rows, scheme, false, out),
            _ => strings::viewed(array.as_byte_view::<BinaryViewType>(), rows, scheme, false, out),
        }
    }
}
