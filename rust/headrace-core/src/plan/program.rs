//! From a document to what is executed: every reference is resolved, every table built, and whatever contradicts itself is
//! refused.

use hashbrown::{HashMap, HashSet};

use super::clock::Clock;
use super::document::{self, Document, Part, Step, column_type};
use super::json::invalid;
use super::keys::{Coder, Coding};
use super::number::{Finish, Scaling, Shaping, round};
use super::read::Input;
use super::types::{ColumnType, Family};
use super::vocabulary::Vocabulary;
use super::zone::Zone;
use crate::error::{Error, Result};
use crate::murmur::Prefix;
use crate::text::{self, Vectorizer};

/// Outputs of a plan, at most.
pub(super) const MOST_OUTPUTS: usize = 1 << 20;
/// Codes, sizes and buckets, at most: every whole number up to here is a float32.
const MOST_CODES: usize = 1 << 24;

/// A plan that can be executed.
#[derive(Debug)]
pub(super) struct Program {
    pub(super) inputs: Vec<Input>,
    pub(super) outputs: Vec<String>,
    pub(super) coders: Vec<Coder>,
    pub(super) clocks: Vec<Clock>,
    pub(super) ops: Vec<Op>,
    /// Number of outputs that have a value in every row.
    pub(super) dense: usize,
}

/// A step. `column` is the first of its outputs.
#[derive(Debug)]
pub(super) struct Op {
    pub(super) column: usize,
    /// Number of outputs.
    pub(super) width: usize,
    /// First of its columns of scratch space, for those that have a value in every row.
    pub(super) slot: usize,
    pub(super) kernel: Kernel,
}

#[derive(Debug)]
pub(super) enum Kernel {
    Number {
        input: usize,
        shaping: Shaping,
        indicator: bool,
    },
    Boolean {
        input: usize,
        missing: f32,
    },
    Bins {
        input: usize,
        edges: Vec<f64>,
        finish: Finish,
    },
    /// Values by code: of each output one a code.
    Table {
        coder: usize,
        tables: Vec<Vec<f32>>,
    },
    /// Bucket numbers.
    Bucket {
        coder: usize,
        missing: f32,
    },
    TimePart {
        clock: usize,
        part: usize,
        finish: Finish,
    },
    TimeCycle {
        clock: usize,
        part: usize,
        first: i32,
        table: Vec<f32>,
        missing: f32,
    },
    Seconds {
        input: usize,
        finish: Finish,
    },
    Difference {
        inputs: (usize, usize),
        finish: Finish,
    },
    /// One at the position of a code.
    OneHot {
        coder: usize,
        positions: Vec<u32>,
    },
    /// One or minus one at a hash.
    Hash {
        coder: usize,
        signed: bool,
    },
    /// Hashed tokens.
    Text {
        input: usize,
        vectorizer: Box<Vectorizer>,
    },
}

/// No position.
pub(super) const NOWHERE: u32 = u32::MAX;

impl Kernel {
    /// Whether it has few values other than zero.
    pub(super) fn is_sparse(&self) -> bool {
        matches!(self, Self::OneHot { .. } | Self::Hash { .. } | Self::Text { .. })
    }
}

/// Columns and prefix of a key that is hashed, and into how many.
type HashKey = (Vec<usize>, String, u32);

struct Builder<'a> {
    inputs: Vec<Input>,
    by_name: HashMap<String, usize>,
    outputs: Vec<String>,
    coders: Vec<Option<Coder>>,
    /// Texts that some step looks up, by the columns of the key.
    vocabularies: HashMap<Vec<usize>, (usize, HashMap<&'a str, u32>)>,
    hashes: HashMap<HashKey, usize>,
    clocks: Vec<Clock>,
    clock_of: HashMap<(usize, Option<String>), usize>,
    ops: Vec<Op>,
    dense: usize,
}

/// Checks a document and builds its program.
pub(super) fn build(document: &Document<'_>) -> Result<Program> {
    let mut builder = Builder {
        inputs: Vec::new(),
        by_name: HashMap::new(),
        outputs: Vec::new(),
        coders: Vec::new(),
        vocabularies: HashMap::new(),
        hashes: HashMap::new(),
        clocks: Vec::new(),
        clock_of: HashMap::new(),
        ops: Vec::new(),
        dense: 0,
    };
    for column in document.inputs.iter().chain(&document.given) {
        builder.input(column)?;
    }
    // The texts that are looked up have to be known before the tables that are as long as they are many.
    for step in &document.steps {
        builder.collect_texts(step)?;
    }
    for step in &document.steps {
        builder.step(step)?;
    }
    let program = builder.finish();
    let mut seen = HashSet::new();
    let twice = program.outputs.iter().find(|name| !seen.insert(name.as_str())).map(|name| quoted(name));
    drop(seen);
    twice.map_or(Ok(program), |twice| Err(invalid(format!("the output {twice} is there twice"))))
}

impl<'a> Builder<'a> {
    fn input(&mut self, column: &document::InputColumn) -> Result<()> {
        let kind = column_type(column)?;
        if self.by_name.insert(column.name.clone(), self.inputs.len()).is_some() {
            return Err(invalid(format!("the input {} is there twice", quoted(&column.name))));
        }
        self.inputs.push(Input { name: column.name.clone(), kind });
        Ok(())
    }

    fn finish(mut self) -> Program {
        for (inputs, (coder, texts)) in self.vocabularies {
            let mut ordered = vec![""; texts.len()];
            for (text, position) in texts {
                ordered[position as usize] = text;
            }
            let key = if let [input] = inputs.as_slice() { Some(&self.inputs[*input].kind) } else { None };
            let coding = Coding::Vocabulary(Vocabulary::new(&ordered, key));
            let inputs = inputs.iter().map(|input| (*input, self.inputs[*input].kind.clone())).collect();
            self.coders[coder] = Some(Coder { inputs, coding });
        }
        let coders = self.coders.into_iter().flatten().collect();
        Program {
            inputs: self.inputs,
            outputs: self.outputs,
            coders,
            clocks: self.clocks,
            ops: self.ops,
            dense: self.dense,
        }
    }

    /// The input `name` that the step for `output` reads, which must be of one of these families.
    fn read(&self, name: &str, output: &str, families: &[Family]) -> Result<usize> {
        let Some(input) = self.by_name.get(name) else {
            return Err(invalid(format!("the step for {} reads {}, which is no input", quoted(output), quoted(name))));
        };
        let kind = &self.inputs[*input].kind;
        if kind.family != Family::Null && !families.contains(&kind.family) {
            return Err(invalid(format!(
                "the step for {} cannot read {}, whose type is {}",
                quoted(output),
                quoted(name),
                kind.name
            )));
        }
        Ok(*input)
    }

    fn read_key(&self, names: &[String], output: &str) -> Result<Vec<usize>> {
        if names.is_empty() {
            return Err(invalid(format!("the `inputs` of the step for {} are none", quoted(output))));
        }
        names.iter().map(|name| self.read(name, output, &KEYS)).collect()
    }

    fn collect_texts(&mut self, step: &'a Step<'a>) -> Result<()> {
        let (inputs, output, texts): (_, _, Vec<&str>) = match step {
            Step::Category(step) => (&step.inputs, &step.output, step.vocabulary.clone()),
            Step::OneHot(step) => (&step.inputs, &step.output, step.vocabulary.clone()),
            Step::Frequency(step) => (&step.inputs, &step.output, step.counts.iter().map(|(text, _)| *text).collect()),
            Step::Target(step) => {
                let Some(output) = step.outputs.first() else {
                    return Err(invalid("a target step has no outputs"));
                };
                (&step.inputs, output, step.encodings.iter().map(|(text, _)| *text).collect())
            }
            _ => return Ok(()),
        };
        let distinct: HashSet<&str> = texts.iter().copied().collect();
        if distinct.len() != texts.len() {
            let what = match step {
                Step::Frequency(_) => "the counts of",
                Step::Target(_) => "the encodings of",
                _ => "the vocabulary of",
            };
            let whose = quoted(output);
            return Err(invalid(match step {
                Step::Category(_) => format!("the vocabulary of {whose} is not one code a text"),
                _ => format!("{what} {whose} name a text twice"),
            }));
        }
        let key = self.read_key(inputs, output)?;
        let coder = self.coders.len();
        let (_, known) = self.vocabularies.entry(key).or_insert_with(|| {
            self.coders.push(None);
            (coder, HashMap::new())
        });
        for text in texts {
            let next = u32::try_from(known.len()).unwrap_or(u32::MAX);
            known.entry(text).or_insert(next);
        }
        if known.len() + 2 > MOST_CODES {
            return Err(invalid(format!("the steps of {} look up more than {MOST_CODES} texts", quoted(output))));
        }
        Ok(())
    }

    /// The coder of a key, and a table as long as its codes: `value` of each text, and of what is missing and unseen.
    fn table<T: Clone>(
        &self,
        key: &[usize],
        entries: impl Iterator<Item = (&'a str, T)>,
        missing: T,
        unseen: T,
    ) -> Result<(usize, Vec<T>)> {
        let (coder, known) = self.vocabularies.get(key).ok_or_else(|| invalid("a vocabulary is missing"))?;
        let mut table = vec![unseen; known.len() + 2];
        table[known.len()] = missing;
        for (text, value) in entries {
            if let Some(position) = known.get(text) {
                table[*position as usize] = value;
            }
        }
        Ok((*coder, table))
    }

    fn hash(&mut self, inputs: &[String], output: &str, prefix: &str, (what, size): (&str, u32)) -> Result<usize> {
        if size == 0 || size as usize > MOST_CODES {
            return Err(invalid(format!("the {what} of {} is {size}, expected 1 to {MOST_CODES}", quoted(output))));
        }
        let key = self.read_key(inputs, output)?;
        let next = self.coders.len();
        let coder = *self.hashes.entry((key.clone(), prefix.to_owned(), size)).or_insert(next);
        if coder == next {
            let inputs = key.iter().map(|input| (*input, self.inputs[*input].kind.clone())).collect();
            let coding = Coding::Hash { prefix: Prefix::new(prefix.as_bytes(), 0), size };
            self.coders.push(Some(Coder { inputs, coding }));
        }
        Ok(coder)
    }

    fn clock(&mut self, input: &str, output: &str, part: Part, zone: Option<&str>) -> Result<(usize, usize)> {
        let input = self.read(input, output, &[Family::Date, Family::Datetime, Family::Time])?;
        let kind = &self.inputs[input].kind;
        let suits = match kind.family {
            Family::Date => !part.of_clock(),
            Family::Time => part.of_clock(),
            _ => true,
        };
        if !suits {
            return Err(invalid(format!("the step for {} asks a {} for what it has not", quoted(output), kind.name)));
        }
        if kind.family != Family::Null && kind.zoned != zone.is_some() {
            let which = if kind.zoned { "no time zone in which to read" } else { "a time zone, and none has" };
            return Err(invalid(format!("the step for {} has {which} {}", quoted(output), quoted(&kind.name))));
        }
        let parsed = match zone {
            None => None,
            Some(name) => Some(Zone::parse(name).ok_or_else(|| {
                invalid(format!("the step for {} has the unknown time zone {}", quoted(output), quoted(name)))
            })?),
        };
        let time_of_day = kind.family == Family::Time;
        let next = self.clocks.len();
        let clock = *self.clock_of.entry((input, zone.map(str::to_owned))).or_insert(next);
        if clock == next {
            self.clocks.push(Clock { input, zone: parsed, time_of_day, parts: Vec::new() });
        }
        let parts = &mut self.clocks[clock].parts;
        let part = parts.iter().position(|known| *known == part).unwrap_or_else(|| {
            parts.push(part);
            parts.len() - 1
        });
        Ok((clock, part))
    }

    fn push(&mut self, names: impl IntoIterator<Item = String>, kernel: Kernel) -> Result<()> {
        let column = self.outputs.len();
        for name in names {
            if self.outputs.len() == MOST_OUTPUTS {
                return Err(invalid(format!("it has more than {MOST_OUTPUTS} outputs")));
            }
            self.outputs.push(name);
        }
        let width = self.outputs.len() - column;
        let slot = self.dense;
        if !kernel.is_sparse() {
            self.dense += width;
        }
        self.ops.push(Op { column, width, slot, kernel });
        Ok(())
    }

    fn step(&mut self, step: &'a Step<'a>) -> Result<()> {
        match step {
            Step::Number(step) => self.number(step),
            Step::Boolean(step) => {
                let input = self.read(&step.input, &step.output, &[Family::Boolean])?;
                let missing = Finish::new(step.impute, None).missing;
                self.push([step.output.clone()], Kernel::Boolean { input, missing })
            }
            Step::Bins(step) => {
                let input = self.read(&step.input, &step.output, &[Family::Integer, Family::Float])?;
                if step.edges.windows(2).any(|pair| pair[0] >= pair[1]) {
                    return Err(invalid(format!("the edges of {} do not ascend", quoted(&step.output))));
                }
                let finish = Finish::new(step.impute, scaling(step.scaling, &step.output)?);
                self.push([step.output.clone()], Kernel::Bins { input, edges: step.edges.clone(), finish })
            }
            Step::Category(step) => self.category(step),
            Step::OneHot(step) => {
                let key = self.read_key(&step.inputs, &step.output)?;
                let texts = step.vocabulary.iter().copied();
                let (coder, positions) = self.table(&key, texts.zip(0..), NOWHERE, NOWHERE)?;
                let names = step.vocabulary.iter().map(|text| format!("{}={text}", step.output));
                self.push(names, Kernel::OneHot { coder, positions })
            }
            Step::Frequency(step) => self.frequency(step),
            Step::Target(step) => self.target(step),
            Step::Bucket(step) => {
                let coder = self.hash(&step.inputs, &step.output, &step.prefix, ("number of buckets", step.buckets))?;
                self.push([step.output.clone()], Kernel::Bucket { coder, missing: code(step.buckets) })
            }
            Step::Hash(step) => {
                let coder = self.hash(&step.inputs, &step.output, &step.prefix, ("size", step.size))?;
                let names = (0..step.size).map(|index| format!("{}.{index}", step.output));
                self.push(names, Kernel::Hash { coder, signed: step.signed })
            }
            Step::Text(step) => self.text(step),
            Step::TimePart(step) => {
                let (clock, part) = self.clock(&step.input, &step.output, step.part, step.time_zone.as_deref())?;
                let finish = Finish::new(step.impute, scaling(step.scaling, &step.output)?);
                self.push([step.output.clone()], Kernel::TimePart { clock, part, finish })
            }
            Step::TimeCycle(step) => {
                let (clock, part) = self.clock(&step.input, &step.output, step.part, step.time_zone.as_deref())?;
                if step.part.cycle() != Some((step.first, step.table.len())) {
                    return Err(invalid(format!("the table of {} is not one value a position", quoted(&step.output))));
                }
                let table = step.table.iter().map(|value| round(value + 0.0)).collect();
                let missing = Finish::new(step.impute, None).missing;
                self.push([step.output.clone()], Kernel::TimeCycle { clock, part, first: step.first, table, missing })
            }
            Step::Seconds(step) => {
                let input = self.read(&step.input, &step.output, &[Family::Duration])?;
                let finish = Finish::new(step.impute, scaling(step.scaling, &step.output)?);
                self.push([step.output.clone()], Kernel::Seconds { input, finish })
            }
            Step::Difference(step) => self.difference(step),
        }
    }

    fn number(&mut self, step: &document::NumberStep) -> Result<()> {
        let input = self.read(&step.input, &step.output, &[Family::Integer, Family::Float])?;
        let clip = match step.clip {
            None => None,
            Some((None, None)) => {
                return Err(invalid(format!("the clip of {} has neither bound", quoted(&step.output))));
            }
            Some((low, high)) => {
                let (low, high) = (low.unwrap_or(f64::NEG_INFINITY) + 0.0, high.unwrap_or(f64::INFINITY) + 0.0);
                if low > high {
                    return Err(invalid(format!("the clip of {} ends before it begins", quoted(&step.output))));
                }
                Some((low, high))
            }
        };
        let impute = step.impute.map(|value| value + 0.0);
        let shaping = Shaping { impute, clip, log: step.log, scaling: scaling(step.scaling, &step.output)? };
        let names = std::iter::once(step.output.clone()).chain(step.indicator.clone());
        self.push(names, Kernel::Number { input, shaping, indicator: step.indicator.is_some() })
    }

    fn category(&mut self, step: &'a document::CategoryStep<'a>) -> Result<()> {
        let size = step.vocabulary.len();
        if (step.missing as usize, step.unseen as usize) != (size, size + 1) {
            return Err(invalid(format!("the vocabulary of {} is not one code a text", quoted(&step.output))));
        }
        let key = self.read_key(&step.inputs, &step.output)?;
        let texts = step.vocabulary.iter().copied().zip((0..step.missing).map(code));
        let (coder, table) = self.table(&key, texts, code(step.missing), code(step.unseen))?;
        self.push([step.output.clone()], Kernel::Table { coder, tables: vec![table] })
    }

    fn frequency(&mut self, step: &'a document::FrequencyStep<'a>) -> Result<()> {
        if step.rows == 0 || step.counts.iter().any(|(_, count)| *count > step.rows) {
            return Err(invalid(format!("the counts of {} are more than its rows", quoted(&step.output))));
        }
        let key = self.read_key(&step.inputs, &step.output)?;
        let finish = Finish::new(step.impute, scaling(step.scaling, &step.output)?);
        #[expect(clippy::cast_precision_loss, reason = "as the document says: in float64")]
        let share = |count: u64| finish.apply(count as f64 / step.rows as f64);
        let shares = step.counts.iter().map(|(text, count)| (*text, share(*count)));
        let (coder, table) = self.table(&key, shares, finish.missing, share(0))?;
        self.push([step.output.clone()], Kernel::Table { coder, tables: vec![table] })
    }

    fn target(&mut self, step: &'a document::TargetStep<'a>) -> Result<()> {
        let output = step.outputs.first().map(String::as_str).unwrap_or_default();
        let width = step.outputs.len();
        let fits = step.missing.len() == width
            && step.unseen.len() == width
            && step.encodings.iter().all(|(_, values)| values.len() == width)
            && step.scaling.as_ref().is_none_or(|scaling| scaling.len() == width);
        if !fits {
            return Err(invalid(format!("the encodings of {} are not one number an output", quoted(output))));
        }
        let key = self.read_key(&step.inputs, output)?;
        let mut tables = Vec::with_capacity(width);
        let mut coder = 0;
        for index in 0..width {
            let scaling = scaling(step.scaling.as_ref().map(|scaling| scaling[index]), output)?;
            let finish = Finish::new(None, scaling);
            let shape = |value: f64| finish.apply(value + 0.0);
            let means = step.encodings.iter().map(|(text, values)| (*text, shape(values[index])));
            let (found, table) = self.table(&key, means, shape(step.missing[index]), shape(step.unseen[index]))?;
            coder = found;
            tables.push(table);
        }
        self.push(step.outputs.iter().cloned(), Kernel::Table { coder, tables })
    }

    fn text(&mut self, step: &document::TextStep) -> Result<()> {
        let input = self.read(&step.input, &step.output, &[Family::String])?;
        let size = i32::try_from(step.size).ok().filter(|size| (1..=1 << 20).contains(size));
        let Some(columns) = size else {
            return Err(invalid(format!("the size of {} is {}, expected 1 to 2^20", quoted(&step.output), step.size)));
        };
        let options = text::Options {
            columns,
            analyzer: match step.analyzer {
                document::Analyzer::Word => text::Analyzer::Word,
                document::Analyzer::Char => text::Analyzer::Char,
                document::Analyzer::CharWb => text::Analyzer::CharWithinWords,
            },
            lowercase: step.lowercase,
            accents: step.strip_accents.map(|accents| match accents {
                document::Accents::Ascii => text::Accents::Ascii,
                document::Accents::Unicode => text::Accents::Unicode,
            }),
            ngrams: (step.ngrams.0 as usize, step.ngrams.1 as usize),
            stop_words: step.stop_words.clone(),
            signed: step.signed,
            binary: step.binary,
            norm: step.norm.map(|norm| match norm {
                document::Norm::L1 => text::Norm::L1,
                document::Norm::L2 => text::Norm::L2,
            }),
            keep_marks: false,
        };
        let vectorizer = Vectorizer::new(options)
            .map_err(|error| invalid(format!("the step for {}: {error}", quoted(&step.output))))?;
        let names = (0..step.size).map(|index| format!("{}.{index}", step.output));
        self.push(names, Kernel::Text { input, vectorizer: Box::new(vectorizer) })
    }

    fn difference(&mut self, step: &document::DifferenceStep) -> Result<()> {
        let families = [Family::Date, Family::Datetime, Family::Time];
        let inputs =
            (self.read(&step.inputs.0, &step.output, &families)?, self.read(&step.inputs.1, &step.output, &families)?);
        let (a, b) = (&self.inputs[inputs.0].kind, &self.inputs[inputs.1].kind);
        let null = a.family == Family::Null || b.family == Family::Null;
        let alike = |a: &ColumnType, b: &ColumnType| (a.family == Family::Time) == (b.family == Family::Time);
        if !null && (!alike(a, b) || a.zoned != b.zoned) {
            return Err(invalid(format!(
                "the step for {} cannot take {} from {}",
                quoted(&step.output),
                b.name,
                a.name
            )));
        }
        let finish = Finish::new(step.impute, scaling(step.scaling, &step.output)?);
        self.push([step.output.clone()], Kernel::Difference { inputs, finish })
    }
}

/// What can be a key.
const KEYS: [Family; 7] =
    [Family::Integer, Family::Float, Family::Boolean, Family::String, Family::Date, Family::Datetime, Family::Time];

fn scaling(scaling: Option<document::Scaling>, output: &str) -> Result<Option<Scaling>> {
    scaling
        .map(|scaling| {
            Scaling::new(scaling).ok_or_else(|| invalid(format!("the scale of {} is not above zero", quoted(output))))
        })
        .transpose()
}

#[expect(clippy::cast_precision_loss, reason = "at most 2^24")]
fn code(code: u32) -> f32 {
    code as f32
}

fn quoted(name: &str) -> String {
    format!("'{}'", name.escape_debug())
}

/// Whether so many columns may stand in one matrix.
pub(super) fn check_width(columns: usize) -> Result<()> {
    const MOST: usize = 1 << 16;
    if columns > MOST { Err(Error::TooWide { columns, most: MOST }) } else { Ok(()) }
}
