//! Text for people: suggestions, plurals, lists.

/// The candidate that `word` was most likely meant to be, if any is near enough.
///
/// Near is a Damerau-Levenshtein distance of at most a third of the word's length, and at least 1,
/// so that `comand` finds `command` and `x` finds nothing. A candidate with a number behind it, as
/// `web-2` is to `web`, is nearest of all: so the replicas of a service are shown.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (word.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| {
            let distance = match replica_of(word, candidate) {
                Some(_) => 0,
                None => {
                    strsim::damerau_levenshtein(&word.to_lowercase(), &candidate.to_lowercase())
                }
            };
            (distance, candidate)
        })
        .filter(|&(distance, _)| distance <= limit)
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, candidate)| candidate)
}

/// The number in the name of a replica of `service`, as replicas are shown: 2 for `web-2` and `web`.
pub fn replica_of(word: &str, service: &str) -> Option<u32> {
    let number = word.strip_prefix(service)?.strip_prefix('-')?;
    let is_number = !number.starts_with('0') && number.bytes().all(|byte| byte.is_ascii_digit());
    number.parse().ok().filter(|_| is_number)
}

/// The hint about a service that there is not, where `near` is the [`nearest`] one.
pub fn meant_service(word: &str, near: &str) -> String {
    match replica_of(word, near) {
        Some(_) => format!("`{word}` names a replica of `{near}`: write `{near}`"),
        None => format!("did you mean `{near}`?"),
    }
}

/// The length of the variable name, `[A-Za-z_][A-Za-z0-9_]*`, at the start of a text; 0 if there is none.
pub fn name_length(text: &str) -> usize {
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        return 0;
    }
    text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .unwrap_or(text.len())
}

/// Whether a text is the name of a variable.
pub fn is_variable(text: &str) -> bool {
    !text.is_empty() && name_length(text) == text.len()
}

/// `1 port`, `2 ports`.
pub fn count(number: usize, noun: &str) -> String {
    count_of(number, noun, &format!("{noun}s"))
}

/// `1 process`, `2 processes`: for nouns whose plural is not a mere `s`.
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

    #[test]
    fn a_replica_is_taken_for_its_service_and_not_for_a_name_like_its_own() {
        let services = ["web-a", "web", "we-2", "web-2-3"];
        assert_eq!(nearest("web-2", services), Some("web"));
        assert_eq!(nearest("web-2-3-1", services), Some("web-2-3"));
        for (word, expected) in [
            ("web-2", Some(2)),
            ("web-10", Some(10)),
            ("web-0", None),
            ("web-02", None),
            ("web-+2", None),
            ("web-", None),
            ("web2", None),
            ("web", None),
        ] {
            assert_eq!(replica_of(word, "web"), expected, "{word}");
        }
        let hint = "`web-2` names a replica of `web`: write `web`";
        assert_eq!(meant_service("web-2", "web"), hint);
        assert_eq!(meant_service("wbe", "web"), "did you mean `web`?");
    }
}
