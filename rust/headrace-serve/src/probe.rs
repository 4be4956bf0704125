//! Rows that are made up, to try a model of which nothing but its inputs is known.

use crate::engine::Port;
use crate::tensor::{Data, Kind, Tensor};

/// Rows with which is tried whether a model's rows are independent.
const PROBES: usize = 5;
/// Values that are made up for this, at most; a model that takes more is not tried.
const PROBE_VALUES: usize = 1_000_000;

/// About how large the values of each row are.
type Sizes = [f64; PROBES];

const MIXED: Sizes = [0.0, 1e3, -1e6, 1.0, 30.0];
const LARGE: Sizes = [1e3, 1e6, 50.0, 1e4, 7.0];
const LOW: Sizes = [-7.0, -1e4, -1e3, -50.0, -1e6];

/// What numbers and texts are like.
#[derive(Debug, Clone, Copy)]
struct Style {
    /// `None`: -2 to 2.
    floats: Option<Sizes>,
    wholes: Wholes,
}

#[derive(Debug, Clone, Copy)]
enum Wholes {
    /// So many from 0 on: what stands for a category, or a place in a table, must not be large.
    Few(u64),
    Sized(Sizes),
}

/// The first is taken well by most models. In the others what many rows have in common (a mean, the greatest) passes
/// thresholds.
const STYLES: [Style; 6] = [
    Style { floats: None, wholes: Wholes::Few(2) },
    Style { floats: Some(MIXED), wholes: Wholes::Few(3) },
    Style { floats: Some(LARGE), wholes: Wholes::Few(2) },
    Style { floats: Some(LOW), wholes: Wholes::Few(10) },
    Style { floats: None, wholes: Wholes::Sized(MIXED) },
    Style { floats: None, wholes: Wholes::Sized(LARGE) },
];
/// How many of them differ where all inputs are floats.
const OF_FLOATS: usize = 4;
const TEXTS: [&str; 10] = ["0", "1", "2", "yes", "no", "a", "B", "", "female", "x y"];
/// What a row adds to the number of a category: rows differ whatever their width, and so do every second of them.
const STEPS: [u64; PROBES] = [0, 1, 3, 2, 4];

/// A few rows for inputs of which nothing but the type is known; `None` where that would be too many values.
#[must_use]
pub fn probe(inputs: &[Port]) -> Option<Vec<Tensor>> {
    styled(inputs, STYLES[0])
}

/// The same several times, of other sizes; the first is that of [`probe`]. Empty where that would be too many values.
#[must_use]
pub fn probes(inputs: &[Port]) -> Vec<Vec<Tensor>> {
    let floats = inputs.iter().all(|port| matches!(port.kind, Kind::F32 | Kind::F64));
    let styles = if floats { &STYLES[..OF_FLOATS] } else { &STYLES[..] };
    styles.iter().map_while(|style| styled(inputs, *style)).collect()
}

fn styled(inputs: &[Port], style: Style) -> Option<Vec<Tensor>> {
    let mut left = PROBE_VALUES;
    let mut one = |(seed, port): (u64, &Port)| {
        let shape = probe_shape(port);
        let count = shape.iter().try_fold(1_usize, |count, length| count.checked_mul(*length))?;
        left = left.checked_sub(count)?;
        Some(made_up(port.kind, style, shape, count, seed))
    };
    (0..).zip(inputs).map(&mut one).collect()
}

fn probe_shape(port: &Port) -> Vec<usize> {
    let mut shape: Vec<usize> = port.shape.iter().map(|length| length.unwrap_or(1)).collect();
    if let (Some(rows), Some(None)) = (shape.first_mut(), port.shape.first()) {
        *rows = PROBES;
    }
    shape
}

fn made_up(kind: Kind, style: Style, shape: Vec<usize>, count: usize, seed: u64) -> Tensor {
    let width = shape.iter().skip(1).product::<usize>().max(1);
    let row = |index: usize| index / width % PROBES;
    let fraction = |index: usize| {
        let high = mixed(seed << 32 | index as u64) >> 32;
        u32::try_from(high).map_or(0.0, f64::from) / f64::from(u32::MAX)
    };
    let scaled = |index: usize, sizes: Sizes| sizes[row(index)] * (0.5 + fraction(index));
    let number = |index: usize| match style.floats {
        None => fraction(index) * 4.0 - 2.0,
        Some(sizes) => scaled(index, sizes),
    };
    let few = |index: usize, many: u64| {
        let number = (mixed(seed << 32 | (index % width) as u64) % many + STEPS[row(index)]) % many;
        i32::try_from(number).unwrap_or_default()
    };
    #[expect(clippy::cast_possible_truncation, reason = "any number will do")]
    let whole = |index: usize| match style.wholes {
        Wholes::Few(many) => few(index, many),
        Wholes::Sized(sizes) => scaled(index, sizes) as i32,
    };
    let texts = match style.wholes {
        Wholes::Few(many) => many,
        Wholes::Sized(_) => TEXTS.len() as u64,
    };
    let text = |index: usize| usize::try_from(few(index, texts)).map_or("", |number| TEXTS[number]).to_owned();
    let all = 0..count;
    let data = match kind {
        #[expect(clippy::cast_possible_truncation, reason = "any number will do")]
        Kind::F32 => Data::F32(all.map(|index| number(index) as f32).collect()),
        Kind::F64 => Data::F64(all.map(number).collect()),
        Kind::I32 => Data::I32(all.map(whole).collect()),
        Kind::I64 => Data::I64(all.map(|index| i64::from(whole(index))).collect()),
        Kind::Bool => Data::Bool(all.map(|index| few(index, 2) == 0).collect()),
        Kind::Text => Data::Text(all.map(text).collect()),
    };
    Tensor { shape, data }
}

/// A number that says nothing of the one that it is made of (the finish of `SplitMix64`).
fn mixed(number: u64) -> u64 {
    let mut number = number.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    number = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    number = (number ^ (number >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    number ^ (number >> 31)
}
