//! A hint for a name that is not known.

/// The nearest known names, or the first few of all.
pub(super) fn hint(name: &str, known: &[String]) -> String {
    if known.is_empty() {
        return "The frame has no columns at all.".to_owned();
    }
    let quoted = |name: &String| format!("'{}'", name.escape_debug());
    let wanted: Vec<char> = name.chars().take(LONGEST).collect();
    let limit = wanted.len() / 3;
    let mut close: Vec<(usize, &String)> = known
        .iter()
        .take(MOST)
        .map(|name| (distance(&wanted, &name.chars().take(LONGEST).collect::<Vec<_>>()), name))
        .filter(|(distance, _)| *distance <= limit)
        .collect();
    close.sort_by_key(|(distance, _)| *distance);
    if close.is_empty() {
        let some: Vec<String> = known.iter().take(10).map(quoted).collect();
        let more = if known.len() > 10 { format!(" and {} more", known.len() - 10) } else { String::new() };
        return format!("Known: {}{more}.", some.join(", "));
    }
    let names: Vec<String> = close.iter().take(3).map(|(_, name)| quoted(name)).collect();
    format!("Did you mean {}?", names.join(" or "))
}

/// Names beyond are compared by their beginning, and frames with more columns by their first: a hint is worth no minute.
const LONGEST: usize = 64;
const MOST: usize = 10_000;

/// Levenshtein's: how many characters to insert, delete or replace.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(!x.eq_ignore_ascii_case(y));
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_names() {
        let known = ["ciity", "age", "ok"].map(str::to_owned);
        assert_eq!(hint("city", &known), "Did you mean 'ciity'?");
        assert_eq!(hint("Ok", &known), "Did you mean 'ok'?");
        assert_eq!(hint("weight", &known), "Known: 'ciity', 'age', 'ok'.");
        assert_eq!(hint("x", &[]), "The frame has no columns at all.");
    }
}
