//! What the generated table says, as functions: Python's reading of characters.

use super::table::{BLOCKS, INDEX, RECORDS, STRIPPED_CODES, STRIPPED_STARTS, STRIPPED_TEXT};

pub(super) use super::table::UNICODE_VERSION;

const WORD: u8 = 1;
const SPACE: u8 = 1 << 1;
const MARK: u8 = 1 << 2;
const IGNORABLE: u8 = 1 << 3;
const CASED: u8 = 1 << 4;
const STRIPPED: u8 = 1 << 5;

/// The one character whose lower case depends on its place.
pub(super) const CAPITAL_SIGMA: u32 = 'Σ' as u32;
const FINAL_SIGMA: u32 = 'ς' as u32;
/// The one character whose lower case is two.
pub(super) const CAPITAL_DOTTED_I: u32 = 0x130;

/// What is known of a character.
#[derive(Clone, Copy)]
pub(super) struct Class {
    flags: u8,
    lower: i32,
}

/// Looks a character up.
#[inline]
pub(super) fn class(character: char) -> Class {
    class_of(character as u32)
}

/// Looks a code point up.
#[inline]
pub(super) fn class_of(code: u32) -> Class {
    let code = code as usize;
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

    /// Whether its lower case is itself, [`CAPITAL_DOTTED_I`] aside.
    #[inline]
    pub(super) fn is_lower(self) -> bool {
        self.lower == 0
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
        } else if character as u32 == CAPITAL_DOTTED_I {
            out.push_str("i\u{307}");
        } else {
            let lower = lower_of(text, at, character as u32, class(character));
            out.push(char::from_u32(lower).unwrap_or(character));
        }
    }
}

/// The lower case of the character at byte `at` of `text`, where it is one character.
#[inline]
pub(super) fn lower_of(text: &str, at: usize, code: u32, class: Class) -> u32 {
    if code == CAPITAL_SIGMA && is_final_sigma(text, at) { FINAL_SIGMA } else { code.wrapping_add_signed(class.lower) }
}

/// Whether the capital sigma at byte `at` ends a word: a cased letter before it, none behind it, looking through what
/// is ignorable (Unicode's condition `Final_Sigma`).
fn is_final_sigma(text: &str, at: usize) -> bool {
    let before = text[..at].chars().rev().map(class).find(|class| class.flags & IGNORABLE == 0);
    let behind = text
        .get(at + 'Σ'.len_utf8()..)
        .unwrap_or_default()
        .chars()
        .map(class)
        .find(|class| class.flags & IGNORABLE == 0);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lower_case_is_as_much_a_word_as_its_character() {
        for character in ('\0'..=char::MAX).filter(|character| *character != '\u{130}') {
            let lower = class_of((character as u32).wrapping_add_signed(class(character).lower));
            let itself = class(character);
            assert_eq!((lower.is_word(), lower.is_mark()), (itself.is_word(), itself.is_mark()), "{character:?}");
        }
    }
}
