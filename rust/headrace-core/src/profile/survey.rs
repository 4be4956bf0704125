//! The first look at a reference: what bins are chosen from.

#![allow(clippy::inline_always, reason = "only what is inlined is compiled for the processor at hand")]

use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::{DataType, Schema, SchemaRef};
use fearless_simd::{Level, dispatch};

use super::batch::{Frozen, Layout, Threads, count_batch};
use super::binning::OrderedBins;
use super::count::{Damage, OFFSETS, null_weight};
use super::counts::{ColumnCounts, Counts, LaneCounts};
use super::dictionary;
use super::distinct::Distinct;
use super::features::{Features, MAX_DIMENSION, Vectors, each_vector, norm};
use super::moments::{Ruler, TILE};
use super::nominal::{Frequent, MAX_CATEGORIES, NominalBins};
use super::pairs;
use super::plan::{ColumnPlan, Lane, LaneBins, Pair, Part, Plan, Segments};
use super::problem::Problem;
use super::read::{Texts, family_of, is_text, numbers, readable_as};
use super::sample::Sample;
use super::short;
use super::text::{MAX_WORDS, each_text, measure};
use super::words::Filter;
use super::{Family, MAX_SEGMENTS, Options, Profile};
use crate::error::{Error, Result};

/// Surveys a reference, batch by batch.
#[derive(Debug)]
pub struct Survey {
    schema: SchemaRef,
    columns: Vec<ColumnSurvey>,
    options: Options,
    rows: u64,
}

#[derive(Debug)]
struct ColumnSurvey {
    name: String,
    /// Its number in the frame.
    index: usize,
    family: Family,
    distinct: Distinct,
    sample: Sample,
    seen: Seen,
    /// Rows without a text; of columns of texts only.
    nulls: u64,
}

/// A column, frozen.
struct Chosen {
    plan: ColumnPlan,
    sample: Vec<f64>,
    /// Its texts did not all fit into the survey, so the filter is still to be filled.
    remember: bool,
    /// The survey has counted it already.
    counts: Option<ColumnCounts>,
}

/// What a family needs beside a sample of numbers.
#[derive(Debug)]
enum Seen {
    Nothing,
    Texts(Frequent),
    Words { tokens: Sample, words: Frequent },
    Vectors(Vectors),
}

impl Survey {
    /// Of frames with this schema. Fails with a [`Problem`] if a column has no profile or cannot be what `options` say.
    pub fn new(schema: SchemaRef, options: Options) -> Result<Self> {
        let columns = chosen(&schema, &options)?;
        Ok(Self { schema, columns, options, rows: 0 })
    }

    /// Looks at the next rows.
    pub fn observe(&mut self, batch: &RecordBatch, threads: &mut Threads) -> Result<()> {
        same_schema(&self.schema, batch)?;
        self.rows += batch.num_rows() as u64;
        let values = batch.num_rows().saturating_mul(self.columns.len());
        threads.each(&mut self.columns, values, |_, column, _| {
            let array = batch.column(column.index);
            let outcome = column.observe(array);
            outcome.map_err(|reason| Error::DamagedColumn { column: column.name.clone(), reason })
        })
    }

    /// Freezes the bins. The reference is then counted on them, which needs its rows once more.
    pub fn freeze(self, threads: &mut Threads) -> Result<Recount> {
        let options = &self.options;
        let mut columns = Vec::with_capacity(self.columns.len());
        let mut samples = Vec::with_capacity(self.columns.len());
        let mut remembering = Vec::with_capacity(self.columns.len());
        let mut known = Vec::with_capacity(self.columns.len());
        let values = usize::try_from(self.rows).unwrap_or(usize::MAX).saturating_mul(self.columns.len());
        let mut freezing: Vec<_> = self.columns.into_iter().map(|column| (Some(column), None)).collect();
        threads.each(&mut freezing, values, |_, (column, frozen), _| {
            *frozen = column.take().map(ColumnSurvey::freeze);
            Ok(())
        })?;
        for Chosen { plan, sample, remember, counts } in freezing.into_iter().filter_map(|(_, frozen)| frozen) {
            columns.push(plan);
            samples.push(sample);
            remembering.push(remember);
            // The survey knows neither weights nor segments.
            known.push(counts.filter(|_| options.weight.is_none() && options.segments.is_none()));
        }
        let number = |name: &str| {
            let missing = || Problem::MissingColumn { column: name.to_owned() };
            columns.iter().position(|column| column.name == name).ok_or_else(missing)
        };
        let mut counted = Vec::new();
        for (first, second) in &options.pairs {
            let side = |name: &str| {
                let column = number(name)?;
                pairs::side(column, &columns[column], &samples[column])
            };
            counted.push(Pair { first: side(first)?, second: side(second)? });
        }
        let segments = options.segments.as_ref().map(|name| segments(&columns[number(name)?])).transpose()?;
        let weight = options.weight.clone();
        let layout = {
            let (weight, segments) = (weight.as_deref(), segments.as_ref());
            let frozen = Frozen { columns: &columns, weight, segments, pairs: &counted, known: &known };
            Layout::new(frozen, &self.schema, true)?
        };
        let none = Counts {
            columns: columns.iter().map(ColumnPlan::no_counts).collect(),
            pairs: counted.iter().map(|pair| vec![0; pair.cells()]).collect(),
            ..Counts::default()
        };
        let parts = segments.as_ref().map_or(0, |segments| segments.values.categories().len() + 1);
        Ok(Recount {
            plan: Plan { columns, weight, segments, pairs: counted, fingerprint: [0; 32] },
            remembering,
            known,
            layout,
            schema: self.schema,
            parts: vec![none.clone(); parts],
            whole: none,
            rows: self.rows,
        })
    }
}

fn chosen(schema: &Schema, options: &Options) -> Result<Vec<ColumnSurvey>, Problem> {
    let find = |name: &str| {
        let found: Vec<_> = (0..schema.fields().len()).filter(|index| schema.field(*index).name() == name).collect();
        match found.as_slice() {
            [index] => Ok(*index),
            [] => Err(Problem::MissingColumn { column: name.to_owned() }),
            several => Err(Problem::DuplicateColumn { column: name.to_owned(), count: several.len() }),
        }
    };
    let names: Vec<&str> = match &options.columns {
        Some(names) => names.iter().map(String::as_str).collect(),
        None => schema.fields().iter().map(|field| field.name().as_str()).collect(),
    };
    let mentioned = options.families.iter().map(|(name, _)| name).chain(&options.segments);
    let paired = options.pairs.iter().flat_map(|(first, second)| [first, second]);
    if let Some(name) = mentioned.chain(paired).find(|name| !names.contains(&name.as_str())) {
        return Err(Problem::MissingColumn { column: name.clone() });
    }
    if let Some(name) = &options.weight {
        let data_type = schema.field(find(name)?).data_type();
        if !readable_as(data_type, Family::Number) {
            let reason = format!("weights are numbers, and the column has the Arrow type {data_type}");
            return Err(Problem::Role { column: name.clone(), reason });
        }
    }
    let profiled = names.into_iter().filter(|name| options.weight.as_deref() != Some(*name));
    profiled.map(|name| find(name).and_then(|index| column(schema, index, options))).collect()
}

fn column(schema: &Schema, index: usize, options: &Options) -> Result<ColumnSurvey, Problem> {
    let field = schema.field(index);
    let (name, found) = (field.name().clone(), field.data_type());
    let wanted = options.families.iter().find(|(column, _)| *column == name).map(|(_, family)| *family);
    let family = match wanted.or_else(|| family_of(found)) {
        None => return Err(Problem::NoProfile { column: name, found: found.clone() }),
        // A column without a type has only nulls.
        Some(_) if *found == DataType::Null => Family::Null,
        Some(family) if readable_as(found, family) => family,
        Some(family) => {
            let reason = format!("it is to be read as {family}, and has the Arrow type {found}");
            return Err(Problem::Role { column: name, reason });
        }
    };
    let seen = match family {
        Family::Category => Seen::Texts(Frequent::default()),
        Family::Text => Seen::Words { tokens: Sample::default(), words: Frequent::default() },
        Family::Embedding => Seen::Vectors(Vectors::default()),
        _ => Seen::Nothing,
    };
    Ok(ColumnSurvey { name, index, family, distinct: Distinct::default(), sample: Sample::default(), seen, nulls: 0 })
}

pub(super) fn same_schema(schema: &SchemaRef, batch: &RecordBatch) -> Result<()> {
    let (found, expected) = (batch.schema_ref(), schema);
    let same = found.fields().len() == expected.fields().len()
        && found
            .fields()
            .iter()
            .zip(expected.fields())
            .all(|(a, b)| a.name() == b.name() && a.data_type() == b.data_type());
    if same {
        return Ok(());
    }
    let text = |schema: &Schema| {
        let columns = schema.fields().iter().take(20).map(|field| format!("{:?} {}", field.name(), field.data_type()));
        columns.collect::<Vec<_>>().join(", ")
    };
    Err(Error::SchemaMismatch { found: text(found), expected: text(expected) })
}

impl ColumnSurvey {
    fn observe(&mut self, array: &ArrayRef) -> Result<(), Damage> {
        let (sample, distinct) = (&mut self.sample, &mut self.distinct);
        match &mut self.seen {
            _ if *array.data_type() == DataType::Null => {}
            Seen::Nothing => {
                let level = Level::new();
                numbers(array, &mut |_, tile| dispatch!(level, _simd => look(tile, sample, distinct)));
            }
            Seen::Texts(texts) => {
                self.nulls += null_weight(array, None);
                let mut start = 0;
                while start < array.len() {
                    let rows = texts.room().min(array.len() - start);
                    observe_texts(texts, &array.slice(start, rows))?;
                    texts.advance(rows);
                    start += rows;
                }
            }
            Seen::Words { tokens, words } => {
                let mut start = 0;
                while start < array.len() {
                    let rows = words.room().min(array.len() - start);
                    each_text(&array.slice(start, rows), |_, text| {
                        distinct.add(super::hashing::hash64(text));
                        let (length, count) = measure(text, |word| words.add(word, 1));
                        #[allow(clippy::cast_precision_loss, reason = "lengths")]
                        let (length, count) = (length as f64, count as f64);
                        sample.extend(&[length]);
                        tokens.extend(&[count]);
                    })?;
                    words.advance(rows);
                    start += rows;
                }
            }
            Seen::Vectors(vectors) => {
                let mut wrong = None;
                each_vector(array, |row, vector| {
                    let dimension = *vectors.dimension.get_or_insert(vector.len());
                    if dimension != vector.len() || dimension > MAX_DIMENSION {
                        wrong = wrong.or(Some((row, vector.len(), dimension)));
                        return;
                    }
                    let norm = norm(vector);
                    if norm.is_finite() {
                        sample.extend(&[norm]);
                        distinct.add_numbers(&[norm]);
                        vectors.push(vector);
                    }
                })?;
                if let Some((row, length, dimension)) = wrong {
                    return Err(format!(
                        "the vector of row {row} has {length} values, expected {dimension} as in the first row and at \
                         most {MAX_DIMENSION}"
                    ));
                }
            }
        }
        Ok(())
    }

    fn freeze(self) -> Chosen {
        let (sample, range) = self.sample.finish();
        let values =
            |part: Part| Lane::ordered(part, OrderedBins::from_sample(&sample, range), Ruler::from_sample(&sample));
        let (mut distinct, mut singletons, mut remember, mut counts) = (self.distinct, None, false, None);
        let lanes = match (self.family, self.seen) {
            (Family::Null, _) => {
                vec![Lane::nominal(Part::Value, NominalBins::new(std::iter::empty(), Filter::for_texts(0)))]
            }
            (Family::Boolean, _) => {
                let names: [&[u8]; 2] = [b"false", b"true"];
                vec![Lane::nominal(Part::Value, NominalBins::new(names.into_iter(), Filter::for_texts(0)))]
            }
            (Family::Date, _) => vec![values(Part::Value), Lane::weekday()],
            (Family::Datetime, _) => vec![values(Part::Value), Lane::weekday(), Lane::hour()],
            (_, Seen::Texts(texts)) => {
                let found = texts.finish(MAX_CATEGORIES);
                (distinct, remember) = (found.distinct, found.exact.is_none());
                if let Some(exact) = found.exact {
                    singletons = Some(exact.singletons);
                    let lanes = vec![LaneCounts::Nominal { cells: exact.cells }];
                    counts = Some(ColumnCounts { null: self.nulls, lanes });
                }
                vec![Lane::nominal(Part::Value, found.bins)]
            }
            (_, Seen::Words { tokens, words }) => {
                let (tokens, tokens_range) = tokens.finish();
                let found = words.finish(MAX_WORDS);
                remember = found.exact.is_none();
                let ruler = Ruler::from_sample(&tokens);
                let tokens = Lane::ordered(Part::Tokens, OrderedBins::from_sample(&tokens, tokens_range), ruler);
                vec![values(Part::Length), tokens, Lane::nominal(Part::Words, found.bins)]
            }
            (_, Seen::Vectors(vectors)) => {
                let features = Features::new(vectors.dimension.unwrap_or(0), vectors.bandwidth());
                vec![values(Part::Norm), Lane { part: Part::Features, bins: LaneBins::Features(features) }]
            }
            (_, Seen::Nothing) => vec![values(Part::Value)],
        };
        let plan = ColumnPlan { name: self.name, family: self.family, lanes, distinct, singletons };
        Chosen { plan, sample, remember, counts }
    }
}

#[inline(always)]
fn look(tile: &[f64], sample: &mut Sample, distinct: &mut Distinct) {
    let mut room = [0.0; TILE];
    let values = finite(tile, &mut room);
    sample.extend(values);
    distinct.add_numbers(values);
}

/// The finite values of a tile; in `room` if there are others.
#[inline(always)]
fn finite<'a>(tile: &'a [f64], room: &'a mut [f64; TILE]) -> &'a [f64] {
    // A sum of products with zero is zero unless one of them is not finite.
    let mut zeros = [0.0; 8];
    let (eights, rest) = tile.as_chunks::<8>();
    for eight in eights {
        for (zero, value) in zeros.iter_mut().zip(eight) {
            *zero += value * 0.0;
        }
    }
    if zeros.iter().chain(rest.iter()).all(|value| value.is_finite()) {
        return tile;
    }
    let mut kept = 0;
    for &value in tile {
        room[kept.min(TILE - 1)] = value;
        kept += usize::from(value.is_finite());
    }
    &room[..kept]
}

fn observe_texts(texts: &mut Frequent, array: &ArrayRef) -> Result<(), Damage> {
    // A dictionary that is much larger than the rows is not walked through for them.
    if let Some((keys, values)) = dictionary::parts(array)
        && values.len() / 4 <= array.len()
    {
        let words = Texts::of(values);
        for (number, count) in dictionary::key_counts(keys, values.len())?.into_iter().enumerate() {
            if count > 0 && values.is_valid(number) {
                texts.add(words.get(number).ok_or(OFFSETS)?, count);
            }
        }
        return Ok(());
    }
    if dictionary::parts(array).is_none() {
        return short::each_count(array, |text, count| texts.add(text, count));
    }
    each_text(array, |_, text| texts.add(text, 1))
}

fn segments(column: &ColumnPlan) -> Result<Segments, Problem> {
    let Some(Lane { bins: LaneBins::Nominal(bins), part: Part::Value }) = column.lanes.first() else {
        let reason = format!("segments are the values of a category, and the column is read as {}", column.family);
        return Err(Problem::Role { column: column.name.clone(), reason });
    };
    let values = NominalBins::new(bins.categories().iter().take(MAX_SEGMENTS), Filter::for_texts(0));
    Ok(Segments { column: column.name.clone(), family: column.family, values })
}

/// Counts the reference on its frozen bins, batch by batch.
pub struct Recount {
    plan: Plan,
    /// Columns whose texts did not all fit into the survey.
    remembering: Vec<bool>,
    /// What the survey has counted already.
    known: Vec<Option<ColumnCounts>>,
    layout: Layout,
    schema: SchemaRef,
    whole: Counts,
    parts: Vec<Counts>,
    rows: u64,
}

impl std::fmt::Debug for Recount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recount").field("rows", &self.whole.rows).finish_non_exhaustive()
    }
}

impl Recount {
    /// Counts the next rows; they are the survey's.
    pub fn observe(&mut self, batch: &RecordBatch, threads: &mut Threads) -> Result<()> {
        same_schema(&self.schema, batch)?;
        for (plan, _) in self.plan.columns.iter_mut().zip(&self.remembering).filter(|(_, remember)| **remember) {
            let Ok(index) = self.schema.index_of(&plan.name) else { continue };
            let remembered = remember(plan, batch.column(index));
            remembered.map_err(|reason| Error::DamagedColumn { column: plan.name.clone(), reason })?;
        }
        let plan = &self.plan;
        let frozen = Frozen {
            columns: &plan.columns,
            weight: plan.weight.as_deref(),
            segments: plan.segments.as_ref(),
            pairs: &plan.pairs,
            known: &self.known,
        };
        count_batch(frozen, &self.layout, batch, &mut self.whole, &mut self.parts, threads)
    }

    /// The profile. Fails with [`Problem::RowsChanged`] if the two readings differ in their number of rows.
    pub fn finish(mut self) -> Result<Profile> {
        if self.rows != self.whole.rows {
            return Err(Problem::RowsChanged { first: self.rows, second: self.whole.rows }.into());
        }
        for (counts, known) in self.whole.columns.iter_mut().zip(&mut self.known) {
            if let Some(known) = known.take() {
                *counts = known;
            }
        }
        for counts in std::iter::once(&mut self.whole).chain(&mut self.parts) {
            // A reference has seen what it has.
            for lane in counts.columns.iter_mut().flat_map(|column| &mut column.lanes) {
                if let LaneCounts::Nominal { cells } = lane
                    && let [.., other, unseen] = cells.as_mut_slice()
                {
                    *other += std::mem::take(unseen);
                }
            }
        }
        Ok(Profile::assemble(self.plan, self.whole, self.parts))
    }
}

fn remember(plan: &mut ColumnPlan, array: &ArrayRef) -> Result<(), Damage> {
    let text = plan.family == Family::Text;
    let Some(Lane { bins: LaneBins::Nominal(bins), .. }) = plan.lanes.last_mut() else { return Ok(()) };
    if is_text(array.data_type()) {
        each_text(array, |_, value| {
            if text {
                measure(value, |word| bins.remember(word));
            } else {
                bins.remember(value);
            }
        })
    } else {
        let texts = Texts::of(array);
        for row in (0..array.len()).filter(|row| array.is_valid(*row)) {
            bins.remember(texts.get(row).ok_or(OFFSETS)?);
        }
        Ok(())
    }
}
