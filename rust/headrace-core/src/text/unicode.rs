//! What the generated table says, as functions: Python's reading of characters.

use super::table::{BLOCKS, INDEX, RECORDS, STRIPPED_CODES, STRIPPED_STARTS, STRIPPED_TEXT};

pub(super) use super::table::UNICODE_VERSION;

const WORD: u8 = 1;
const SPACE: u8 = 1 << 1;
const MARK: u8 = 1 << 2;
const IGNORABLE: u8 = 1 << 3;
const CASED: u8 = 1 << 4;
const STRIPPED: u8 = 1 << 5;

const CAPITAL_SIGMA: char = 'Σ';

/// What is known of a character.
#[derive(Clone, Copy)]
pub(super) struct Class {
    flags: u8,
    lower: i32,
}

/// Looks a character up.
#[inline]
pub(super) fn class(character: char) -> Class {
    let code = character as usize;
    let block = &BLOCKS[usize::from(INDEX[code >> 7])];
    let (flags, lower) = RECORDS[usize::from(block[code & 127])];
    Class { flags, lower }
}

impl Class {
    /// `\w` of Python's `re`.
    #[inline]
    pub(super) fn is_word(self) -> bool {
        self.flags & WORD != 0
    }

    /// `\s` of Python's `re`, which is what `str.split` splits at.
    #[inline]
    pub(super) fn is_space(self) -> bool {
        self.flags & SPACE != 0
    }

    /// A mark: general category M.
    #[inline]
    pub(super) fn is_mark(self) -> bool {
        self.flags & MARK != 0
    }
}

/// Appends `text` as Python's `str.lower` writes it.
pub(super) fn push_lower(text: &str, out: &mut String) {
    for (at, character) in text.char_indices() {
        if character.is_ascii() {
            out.push(character.to_ascii_lowercase());
            continue;
        }
        match character {
            // The two places where a lower case is not one other character.
            '\u{130}' => out.push_str("i\u{307}"),
            CAPITAL_SIGMA => out.push(if is_final_sigma(text, at) { 'ς' } else { 'σ' }),
            _ => out.push(lower_of(character)),
        }
    }
}

#[inline]
fn lower_of(character: char) -> char {
    let code = (character as u32).wrapping_add_signed(class(character).lower);
    char::from_u32(code).unwrap_or(character)
}

/// Whether the capital sigma at byte `at` ends a word: a cased letter before it, none behind it, looking through what
/// is ignorable (Unicode's condition `Final_Sigma`).
fn is_final_sigma(text: &str, at: usize) -> bool {
    let before = text[..at].chars().rev().map(class).find(|class| class.flags & IGNORABLE == 0);
    let behind = text[at + CAPITAL_SIGMA.len_utf8()..].chars().map(class).find(|class| class.flags & IGNORABLE == 0);
    let is_cased = |class: Class| class.flags & CASED != 0;
    before.is_some_and(is_cased) && !behind.is_some_and(is_cased)
}

/// Appends the compatibility decomposition (NFKD) of `text` without combining characters, and with `ascii` without
/// anything that is not ASCII. Taking combining characters away makes their canonical order irrelevant.
pub(super) fn push_stripped(text: &str, ascii: bool, out: &mut String) {
    for character in text.chars() {
        if character.is_ascii() {
            out.push(character);
        } else if let Some(parts) = stripped(character) {
            if ascii {
                out.extend(parts.chars().filter(char::is_ascii));
            } else {
                out.push_str(parts);
            }
        } else if !ascii {
            push_jamo_or(character, out);
        }
    }
}

fn stripped(character: char) -> Option<&'static str> {
    if class(character).flags & STRIPPED == 0 {
        return None;
    }
    let at = STRIPPED_CODES.binary_search(&(character as u32)).ok()?;
    STRIPPED_TEXT.get(usize::from(STRIPPED_STARTS[at])..usize::from(STRIPPED_STARTS[at + 1]))
}

/// Hangul syllables decompose by arithmetic (Unicode, section 3.12).
fn push_jamo_or(character: char, out: &mut String) {
    const SYLLABLES: u32 = 0xAC00;
    const TRAILING: u32 = 28;
    const VOWELS: u32 = 21;
    let index = (character as u32).wrapping_sub(SYLLABLES);
    if index >= 19 * VOWELS * TRAILING {
        out.push(character);
        return;
    }
    let leading = 0x1100 + index / (VOWELS * TRAILING);
    let vowel = 0x1161 + index / TRAILING % VOWELS;
    let trailing = (!index.is_multiple_of(TRAILING)).then_some(0x11A7 + index % TRAILING);
    out.extend([Some(leading), Some(vowel), trailing].into_iter().flatten().filter_map(char::from_u32));
}
