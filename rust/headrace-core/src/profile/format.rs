//! The bytes of profiles and windows, version 1.
//!
//! `"headrace"`, a byte `P` (profile) or `W` (window), the version as `u16`, the content, and the first 16 bytes of SHA-256 over
//! all that. A profile's content is its plan and the reference's counts; a window's is the SHA-256 of the plan, and counts.
//! There is one way to write anything, so equal profiles have equal bytes. A plan is:
//!
//! - columns: name, family, number of different values (4096 registers of `HyperLogLog`: their number and, unless they are
//!   all zero, six bits each), texts that are there once (plus one, or 0 where not known), lanes: part, shape, bins
//! - the name of the column of weights, or an empty list; the column of segments with family and values, or an empty list;
//!   pairs: for both sides the column's number and the coarse bin of each cell
//!
//! Numbers of things, counts and lengths are LEB128; sums are zigzag LEB128; floats are IEEE 754 in eight bytes.

use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::binning::{Cut, MAX_ATOMS, MAX_CUTS, OrderedBins};
use super::bytes::{Read, Source, Writer};
use super::counts::{ColumnCounts, Counts, LaneCounts};
use super::distinct::{Distinct, REGISTERS};
use super::features::{Features, MAX_DIMENSION};
use super::key::Key;
use super::moments::{Ruler, Sums};
use super::nominal::{MAX_CATEGORIES, NominalBins};
use super::plan::{ColumnPlan, Lane, LaneBins, Pair, Part, Plan, Segments, Side};
use super::problem::Problem;
use super::words::{Filter, MAX_FILTER_WORDS};
use super::{FEATURES, Family, MAX_SEGMENTS, Profile, Window};
use crate::error::Result;

const MAGIC: &[u8; 8] = b"headrace";
/// Whoever changes what the bytes mean, the hash of texts included, raises this number.
pub const FORMAT_VERSION: u16 = 2;
const HEAD: usize = MAGIC.len() + 3;
const CHECK: usize = 16;
/// Columns of a profile, and the most bytes of frequencies of embeddings that reading one may make.
const MAX_COLUMNS: usize = 1 << 20;
const MAX_FREQUENCIES: usize = 1 << 24;

const PROFILE: (u8, &str) = (b'P', "profile");
const WINDOW: (u8, &str) = (b'W', "window");

impl Profile {
    /// As bytes; equal profiles have equal ones.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut writer = head(PROFILE.0);
        put_plan(&mut writer, &self.plan);
        put_all_counts(&mut writer, &self.whole, &self.parts);
        sealed(writer)
    }

    /// Fails with [`Problem::Bytes`] or [`Problem::Newer`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let mut source = Source::new(opened(bytes, PROFILE)?);
        let read = |source: &mut Source<'_>| {
            let mut plan = take_plan(source)?;
            plan.fingerprint = fingerprint(&plan);
            let (whole, parts) = take_all_counts(source, &plan)?;
            let extremes = plan.columns.iter().zip(&whole.columns).all(|(plan, counts)| no_unseen(plan, counts));
            if !extremes {
                return source.wrong("the reference has values that it calls unseen");
            }
            Ok(Self { plan: Arc::new(plan), whole, parts })
        };
        Ok(whole(&mut source, read, PROFILE.1)?)
    }
}

/// A reference has no unseen values.
fn no_unseen(plan: &ColumnPlan, counts: &ColumnCounts) -> bool {
    plan.lanes.iter().zip(&counts.lanes).all(|(_, lane)| match lane {
        LaneCounts::Nominal { cells } => cells.last().is_none_or(|unseen| *unseen == 0),
        _ => true,
    })
}

impl Window {
    /// As bytes; equal windows have equal ones. The bins are not among them.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut writer = head(WINDOW.0);
        writer.bytes.extend_from_slice(&self.plan.fingerprint);
        put_all_counts(&mut writer, &self.whole, &self.parts);
        sealed(writer)
    }

    /// A window of this reference. Fails with [`Problem::Bytes`], [`Problem::Newer`] or [`Problem::OtherReference`].
    pub fn from_bytes(bytes: &[u8], reference: &Profile) -> Result<Self> {
        let mut source = Source::new(opened(bytes, WINDOW)?);
        let plan = &reference.plan;
        if source.array::<32>().is_ok_and(|fingerprint| fingerprint != plan.fingerprint) {
            return Err(Problem::OtherReference.into());
        }
        let read = |source: &mut Source<'_>| {
            let (whole, parts) = take_all_counts(source, plan)?;
            Ok(Self { plan: Arc::clone(plan), whole, parts })
        };
        Ok(whole(&mut source, read, WINDOW.1)?)
    }
}

fn head(kind: u8) -> Writer {
    let mut writer = Writer::default();
    writer.bytes.extend_from_slice(MAGIC);
    writer.byte(kind);
    writer.bytes.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
    writer
}

fn sealed(mut writer: Writer) -> Vec<u8> {
    let check = Sha256::digest(&writer.bytes);
    writer.bytes.extend_from_slice(&check[..CHECK]);
    writer.bytes
}

/// The content between head and check.
fn opened<'a>(bytes: &'a [u8], (kind, what): (u8, &'static str)) -> Result<&'a [u8], Problem> {
    let wrong = |reason: &str| Problem::Bytes { what, reason: reason.to_owned() };
    let Some((head, _)) = bytes.split_first_chunk::<HEAD>() else { return Err(wrong("it is too short")) };
    let [magic @ .., found, low, high] = head;
    if magic != MAGIC {
        return Err(wrong("it does not begin as one"));
    }
    if *found != kind {
        return Err(wrong(if *found == WINDOW.0 { "it is a window" } else { "it is something else" }));
    }
    let version = u16::from_le_bytes([*low, *high]);
    if version > FORMAT_VERSION {
        return Err(Problem::Newer { what, found: version, known: FORMAT_VERSION });
    }
    let Some((content, check)) = bytes.split_last_chunk::<CHECK>().filter(|(content, _)| content.len() >= HEAD) else {
        return Err(wrong("it is too short"));
    };
    // Distinct values were hashed otherwise before: what is counted now could not be added to that.
    if version == 1 {
        return Err(wrong("it is of the format 1, which this version no longer reads: fit it anew"));
    }
    if version == 0 || Sha256::digest(content)[..CHECK] != check[..] {
        return Err(wrong("its checksum does not match"));
    }
    Ok(&content[HEAD..])
}

fn whole<T>(
    source: &mut Source<'_>,
    read: impl FnOnce(&mut Source<'_>) -> Read<T>,
    what: &'static str,
) -> Result<T, Problem> {
    let value = read(source).map_err(|reason| Problem::Bytes { what, reason })?;
    if source.finished() {
        Ok(value)
    } else {
        Err(Problem::Bytes { what, reason: "it goes on behind its end".to_owned() })
    }
}

// --- the plan --------------------------------------------------------------------------------------------------------

pub(super) fn fingerprint(plan: &Plan) -> [u8; 32] {
    let mut writer = Writer::default();
    put_plan(&mut writer, plan);
    Sha256::digest(&writer.bytes).into()
}

fn put_plan(writer: &mut Writer, plan: &Plan) {
    writer.length(plan.columns.len());
    for column in &plan.columns {
        put_column(writer, column);
    }
    writer.length(usize::from(plan.weight.is_some()));
    if let Some(weight) = &plan.weight {
        writer.text(weight.as_bytes());
    }
    writer.length(usize::from(plan.segments.is_some()));
    if let Some(segments) = &plan.segments {
        writer.text(segments.column.as_bytes());
        writer.byte(segments.family.code());
        put_nominal(writer, &segments.values);
    }
    writer.length(plan.pairs.len());
    for side in plan.pairs.iter().flat_map(|pair| [&pair.first, &pair.second]) {
        writer.length(side.column);
        writer.text(&side.coarse);
    }
}

fn take_plan(source: &mut Source<'_>) -> Read<Plan> {
    let mut frequencies = 0;
    let columns = source.list(MAX_COLUMNS, |source| take_column(source, &mut frequencies))?;
    let mut names: Vec<_> = columns.iter().map(|column| column.name.as_str()).collect();
    names.sort_unstable();
    if names.windows(2).any(|pair| pair[0] == pair[1]) {
        return source.wrong("a column is there twice");
    }
    let weight = source.list(1, Source::name)?.pop();
    let segments = source.list(1, |source| {
        let column = source.name()?;
        let family = take_family(source)?;
        let values = take_nominal(source, MAX_SEGMENTS)?;
        Ok(Segments { column, family, values })
    })?;
    let pairs = source.list(MAX_COLUMNS, |source| {
        Ok(Pair { first: take_side(source, &columns)?, second: take_side(source, &columns)? })
    })?;
    Ok(Plan { columns, weight, segments: segments.into_iter().next(), pairs, fingerprint: [0; 32] })
}

fn put_column(writer: &mut Writer, column: &ColumnPlan) {
    writer.text(column.name.as_bytes());
    writer.byte(column.family.code());
    let registers = column.distinct.registers();
    let empty = registers.iter().all(|rank| *rank == 0);
    writer.byte(u8::from(!empty));
    if !empty {
        for [a, b, c, d] in registers.as_chunks::<4>().0 {
            let word = u32::from(*a) | u32::from(*b) << 6 | u32::from(*c) << 12 | u32::from(*d) << 18;
            writer.bytes.extend_from_slice(&word.to_le_bytes()[..3]);
        }
    }
    writer.number(column.singletons.map_or(0, |count| u128::from(count) + 1));
    writer.length(column.lanes.len());
    for lane in &column.lanes {
        writer.byte(u8::try_from(Part::ALL.iter().position(|part| *part == lane.part).unwrap_or(0)).unwrap_or(0));
        match &lane.bins {
            LaneBins::Ordered(bins, ruler) => {
                writer.byte(0);
                put_ordered(writer, bins, *ruler);
            }
            LaneBins::Nominal(bins) => {
                writer.byte(1);
                put_nominal(writer, bins);
            }
            LaneBins::Features(features) => {
                writer.byte(2);
                let (dimension, bandwidth) = features.parts();
                writer.length(dimension);
                writer.float(bandwidth);
            }
        }
    }
}

fn take_column(source: &mut Source<'_>, frequencies: &mut usize) -> Read<ColumnPlan> {
    let name = source.name()?;
    let family = take_family(source)?;
    let distinct = match source.byte()? {
        0 => Distinct::default(),
        1 => take_registers(source)?,
        _ => return source.wrong("there is more than one count of different values"),
    };
    let singletons = source.number()?.checked_sub(1);
    let lanes = source.list(3, |source| {
        let part = Part::ALL.get(usize::from(source.byte()?)).copied();
        let Some(part) = part else { return source.wrong("a part of a column has an unknown number") };
        let bins = match source.byte()? {
            0 => take_ordered(source)?,
            1 => LaneBins::Nominal(take_nominal(source, MAX_CATEGORIES)?),
            2 => LaneBins::Features(take_features(source, frequencies)?),
            _ => return source.wrong("bins have an unknown shape"),
        };
        Ok(Lane { part, bins })
    })?;
    let shape: Vec<_> = lanes.iter().map(|lane| (lane.part, lane.bins.shape())).collect();
    if shape != family.shape() {
        return source.wrong("a column's bins are not those of its family");
    }
    Ok(ColumnPlan { name, family, lanes, distinct, singletons })
}

fn take_registers(source: &mut Source<'_>) -> Read<Distinct> {
    let packed = source.take(REGISTERS / 4 * 3)?;
    let mut registers = Vec::with_capacity(REGISTERS);
    for [a, b, c] in packed.as_chunks::<3>().0 {
        let word = u32::from_le_bytes([*a, *b, *c, 0]);
        registers.extend([0, 6, 12, 18].map(|shift| (word >> shift & 0x3f).to_le_bytes()[0]));
    }
    match Distinct::from_registers(&registers) {
        Some(distinct) if registers.iter().any(|rank| *rank > 0) => Ok(distinct),
        _ => source.wrong("the count of different values is impossible"),
    }
}

fn take_family(source: &mut Source<'_>) -> Read<Family> {
    let code = source.byte()?;
    Family::ALL.get(usize::from(code)).copied().map_or_else(|| source.wrong("a column has an unknown family"), Ok)
}

fn put_ordered(writer: &mut Writer, bins: &OrderedBins, ruler: Ruler) {
    let (center, exponent) = ruler.parts();
    writer.float(center);
    writer.bytes.extend_from_slice(&exponent.to_le_bytes());
    writer.byte(u8::from(bins.range().is_some()));
    if let Some((min, max)) = bins.range() {
        writer.float(min);
        writer.float(max);
    }
    match bins.key() {
        Key::Affine { low, scale } => {
            writer.byte(0);
            writer.float(low);
            writer.float(scale);
        }
        Key::Log { center, linear, shift } => {
            writer.byte(u8::try_from(shift).unwrap_or(63) + 1);
            writer.float(center);
            writer.float(linear);
        }
    }
    writer.length(bins.cuts().len());
    for cut in bins.cuts() {
        writer.byte(u8::from(cut.atom));
        writer.float(cut.at);
    }
}

fn take_ordered(source: &mut Source<'_>) -> Read<LaneBins> {
    let center = source.float()?;
    let exponent = i16::from_le_bytes(source.array()?);
    let Some(ruler) = Ruler::from_parts(center, exponent) else { return source.wrong("a scale is impossible") };
    let range = match source.byte()? {
        0 => None,
        1 => Some((source.finite()?, source.finite()?)),
        _ => return source.wrong("there is more than one range"),
    };
    let shift = source.byte()?;
    let (first, second) = (source.float()?, source.float()?);
    // Whatever the numbers are, keys do not decrease, and bins do not depend on them.
    let key = match shift.checked_sub(1) {
        None if first.is_finite() && second.is_finite() && second >= 0.0 => Key::Affine { low: first, scale: second },
        Some(shift @ ..64) if first.is_finite() && second.is_normal() && second > 0.0 => {
            Key::Log { center: first, linear: second, shift: shift.into() }
        }
        _ => return source.wrong("a key into the bins is impossible"),
    };
    let cuts = source.list(MAX_CUTS, |source| {
        let atom = source.byte()?;
        if atom > 1 {
            return source.wrong("an edge is of an unknown kind");
        }
        Ok(Cut { at: source.finite()?, atom: atom == 1 })
    })?;
    let ascending = cuts.windows(2).all(|pair| pair[0].at < pair[1].at);
    let few = cuts.iter().filter(|cut| cut.atom).count() <= MAX_ATOMS;
    let inside = match (range, cuts.first(), cuts.last()) {
        (Some((min, max)), Some(first), Some(last)) => {
            (first.at > min || first.atom && first.at >= min) && last.at <= max
        }
        (Some((min, max)), ..) => min <= max,
        (None, first, _) => first.is_none(),
    };
    if !(ascending && few && inside) {
        return source.wrong("edges do not ascend within their range");
    }
    Ok(LaneBins::Ordered(OrderedBins::new(range, cuts, key), ruler))
}

fn put_nominal(writer: &mut Writer, bins: &NominalBins) {
    writer.length(bins.categories().len());
    for name in bins.categories().iter() {
        writer.text(name);
    }
    let words = bins.filter().words();
    writer.length(words.len());
    for word in words {
        writer.bytes.extend_from_slice(&word.to_le_bytes());
    }
}

fn take_nominal(source: &mut Source<'_>, most: usize) -> Read<NominalBins> {
    let names = source.list(most, |source| source.text(1 << 10))?;
    let words = source.list(MAX_FILTER_WORDS, |source| Ok(u64::from_le_bytes(source.array()?)))?;
    let Some(filter) = Filter::from_words(words) else { return source.wrong("a filter has an impossible size") };
    let bins = NominalBins::new(names.iter().copied(), filter);
    if bins.categories().len() != names.len() {
        return source.wrong("a category is there twice");
    }
    Ok(bins)
}

fn take_features(source: &mut Source<'_>, frequencies: &mut usize) -> Read<Features> {
    let dimension = usize::try_from(source.number()?).unwrap_or(usize::MAX);
    let bandwidth = source.float()?;
    *frequencies = frequencies.saturating_add(dimension.saturating_mul(FEATURES));
    if dimension > MAX_DIMENSION || *frequencies > MAX_FREQUENCIES || !bandwidth.is_normal() || bandwidth < 0.0 {
        return source.wrong("an embedding's dimension or bandwidth is impossible");
    }
    Ok(Features::new(dimension, bandwidth))
}

fn take_side(source: &mut Source<'_>, columns: &[ColumnPlan]) -> Read<Side> {
    let column = usize::try_from(source.number()?).unwrap_or(usize::MAX);
    let coarse = source.text(1 << 12)?.to_vec();
    let cells = columns.get(column).and_then(|plan| plan.lanes.first()).map(|lane| match &lane.bins {
        LaneBins::Ordered(bins, _) => bins.cells(),
        LaneBins::Nominal(bins) => bins.cells(),
        LaneBins::Features(_) => 0,
    });
    if coarse.is_empty() || cells != Some(coarse.len()) || coarse.iter().any(|bin| *bin > 32) {
        return source.wrong("a pair's bins are not those of its columns");
    }
    Ok(Side { column, coarse })
}

// --- counts ----------------------------------------------------------------------------------------------------------

fn put_all_counts(writer: &mut Writer, whole: &Counts, parts: &[Counts]) {
    put_counts(writer, whole);
    for part in parts {
        put_counts(writer, part);
    }
}

fn take_all_counts(source: &mut Source<'_>, plan: &Plan) -> Read<(Counts, Vec<Counts>)> {
    let whole = take_counts(source, plan)?;
    let mut parts = Vec::new();
    for _ in 0..plan.parts() {
        parts.push(take_counts(source, plan)?);
    }
    Ok((whole, parts))
}

fn put_counts(writer: &mut Writer, counts: &Counts) {
    writer.number(counts.rows);
    writer.number(counts.weight);
    writer.number(counts.squares);
    for column in &counts.columns {
        writer.number(column.null);
        for lane in &column.lanes {
            match lane {
                LaneCounts::Ordered { cells, sums } => {
                    put_cells(writer, cells);
                    writer.signed(sums.sum);
                    writer.number(sums.low);
                    writer.number(sums.high);
                }
                LaneCounts::Nominal { cells } => put_cells(writer, cells),
                LaneCounts::Features { weight, sums } => {
                    writer.number(*weight);
                    for sum in sums {
                        writer.signed(*sum);
                    }
                }
            }
        }
    }
    for cells in &counts.pairs {
        put_cells(writer, cells);
    }
}

fn put_cells(writer: &mut Writer, cells: &[u64]) {
    for cell in cells {
        writer.number(*cell);
    }
}

fn take_counts(source: &mut Source<'_>, plan: &Plan) -> Read<Counts> {
    let rows = source.number()?;
    let weight = source.number()?;
    let squares = source.wide()?;
    let mut columns = Vec::new();
    for column in &plan.columns {
        columns.push(take_column_counts(source, column, weight)?);
    }
    let mut pairs = Vec::new();
    for pair in &plan.pairs {
        let cells = take_cells(source, pair.cells())?;
        if total(&cells) != Some(weight) {
            return source.wrong("the counts of a pair do not add up to the rows");
        }
        pairs.push(cells);
    }
    Ok(Counts { rows, weight, squares, columns, pairs })
}

fn take_column_counts(source: &mut Source<'_>, plan: &ColumnPlan, weight: u64) -> Read<ColumnCounts> {
    let null = source.number()?;
    let mut lanes = Vec::new();
    for lane in &plan.lanes {
        let all_rows = !matches!(lane.part, Part::Words | Part::Weekday | Part::Hour);
        lanes.push(match &lane.bins {
            LaneBins::Ordered(bins, _) => {
                let cells = take_cells(source, bins.cells())?;
                let sums = Sums { sum: source.signed()?, low: source.wide()?, high: source.wide()? };
                LaneCounts::Ordered { cells, sums }
            }
            LaneBins::Nominal(bins) => LaneCounts::Nominal { cells: take_cells(source, bins.cells())? },
            LaneBins::Features(_) => {
                let weight = source.number()?;
                let mut sums = Vec::new();
                for _ in 0..FEATURES {
                    sums.push(source.signed()?);
                }
                LaneCounts::Features { weight, sums }
            }
        });
        if let Some(LaneCounts::Ordered { cells, .. } | LaneCounts::Nominal { cells }) = lanes.last() {
            let sum = total(cells);
            if sum.is_none() || all_rows && sum.and_then(|sum| sum.checked_add(null)) != Some(weight) {
                return source.wrong("the counts of a column do not add up to the rows");
            }
        }
    }
    Ok(ColumnCounts { null, lanes })
}

fn take_cells(source: &mut Source<'_>, count: usize) -> Read<Vec<u64>> {
    let mut cells = Vec::new();
    for _ in 0..count {
        cells.push(source.number()?);
    }
    Ok(cells)
}

fn total(cells: &[u64]) -> Option<u64> {
    cells.iter().try_fold(0_u64, |sum, cell| sum.checked_add(*cell))
}
