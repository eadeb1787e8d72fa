//! Suggestions that stay cheap whatever the file holds.

use crate::support::text;

/// Longer words, in bytes, are not taken for misspelt names; a distance costs the product of the lengths.
const MAX_WORD: usize = 64;

/// More candidates than that are not compared, so that a file of mistakes is not quadratic.
const MAX_CANDIDATES: usize = 256;

/// How many names a list in a hint shows.
const SHOWN: usize = 16;

/// The candidate that a word was most likely meant to be.
pub(super) fn nearest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    if word.len() > MAX_WORD {
        return None;
    }
    text::nearest(word, candidates.into_iter().take(MAX_CANDIDATES))
}

/// The names as a list for a hint, not longer than one reads.
pub(super) fn list<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> String {
    let more = names.len().saturating_sub(SHOWN);
    let mut shown: Vec<String> = names.take(SHOWN).map(|name| format!("`{name}`")).collect();
    if more > 0 {
        shown.push(format!("and {more} more"));
    }
    text::list(shown)
}
