//! Text for people: suggestions, plurals, lists.

/// The candidate that `word` was most likely meant to be, if any is near enough.
///
/// Near is a Damerau-Levenshtein distance of at most a third of the word's length, and at least 1,
/// so that `comand` finds `command` and `x` finds nothing.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (word.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| {
            let distance =
                strsim::damerau_levenshtein(&word.to_lowercase(), &candidate.to_lowercase());
            (distance, candidate)
        })
        .filter(|&(distance, _)| distance <= limit)
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, candidate)| candidate)
}

/// `1 port`, `2 ports`.
pub fn count(number: usize, noun: &str) -> String {
    if number == 1 {
        format!("1 {noun}")
    } else {
        format!("{number} {noun}s")
    }
}

/// `1 process`, `2 processes`: for nouns whose plural is no mere `s`.
pub fn count_of(number: usize, one: &str, many: &str) -> String {
    if number == 1 {
        format!("1 {one}")
    } else {
        format!("{number} {many}")
    }
}

/// An error with everything that caused it: `cannot be written: no space left`.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // Some libraries repeat their source in their own text.
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    without_number(&text).to_owned()
}

/// The reason of an input or output error in words: `No such file or directory`.
pub fn io_reason(error: &std::io::Error) -> String {
    without_number(&error.to_string()).to_owned()
}

/// Without the number that `std` puts behind the system's words, of which it tells nothing new.
fn without_number(text: &str) -> &str {
    let head = text
        .strip_suffix(')')
        .and_then(|text| text.rsplit_once(" (os error "));
    match head {
        Some((words, number)) if number.bytes().all(|byte| byte.is_ascii_digit()) => words,
        Some(_) | None => text,
    }
}

/// The items with commas between them: `a, b, c`.
pub fn list<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    items
        .into_iter()
        .map(|item| item.to_string())
        .collect::<Vec<_>>()
        .join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_systems_words_stand_without_its_number() {
        let error = std::io::Error::from_raw_os_error(2);
        assert_eq!(io_reason(&error), "No such file or directory");
        assert_eq!(chain(&error), "No such file or directory");
        assert_eq!(without_number("x (os error y)"), "x (os error y)");
    }

    #[test]
    fn suggests_near_words_only() {
        let keys = ["command", "depends_on", "restart"];
        assert_eq!(nearest("comand", keys), Some("command"));
        assert_eq!(nearest("depend_on", keys), Some("depends_on"));
        assert_eq!(nearest("RESTRAT", keys), Some("restart"));
        assert_eq!(nearest("x", keys), None);
        assert_eq!(nearest("volumes", keys), None);
    }
}
