//! Nothing hangs, nothing panics, and every limit is an error.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::{codes, load_text};
use crate::spec::code;
use crate::spec::text::MAX_BYTES;

/// Generous for a debug build on a busy machine; a quadratic reader needs minutes.
const SOON: Duration = Duration::from_secs(20);

fn quickly<T>(work: impl FnOnce() -> T) -> T {
    let began = Instant::now();
    let outcome = work();
    assert!(began.elapsed() < SOON, "took {:?}", began.elapsed());
    outcome
}

const SERVICE: &str = "services: {a: {command: x}}\n";

#[test]
fn an_alias_bomb_costs_nothing() {
    let mut text = "x-0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..60 {
        let below = format!("*a{}, ", level - 1).repeat(10);
        let _ = writeln!(text, "x-{level}: &a{level} [{below}]");
    }
    text.push_str(SERVICE);
    assert_eq!(quickly(|| codes(text)), [code::TOO_MANY_NODES]);
}

#[test]
fn merges_of_merges_are_counted_too() {
    let mut text = String::from("x-0: &a0 {k: v}\n");
    for level in 1..40 {
        let below = level - 1;
        let _ = writeln!(
            text,
            "x-{level}: &a{level} {{<<: [*a{below}, *a{below}], k{level}: v}}"
        );
    }
    text.push_str(SERVICE);
    assert_eq!(quickly(|| codes(text)), [code::TOO_MANY_NODES]);
}

#[test]
fn four_hundred_kilobytes_of_brackets_are_refused_at_once() {
    for opening in ["[", "{", "- ", "[{", "? ", "{a: "] {
        let text = opening.repeat(400_000 / opening.len());
        assert_eq!(quickly(|| codes(text)), [code::TOO_DEEP], "{opening}");
    }
    let mut indented = String::new();
    for level in 0..900 {
        let _ = writeln!(indented, "{}k:", " ".repeat(level));
    }
    assert_eq!(quickly(|| codes(indented)), [code::TOO_DEEP]);
}

#[test]
fn sixty_four_levels_are_allowed_and_one_more_is_not() {
    let nested = |levels: usize| {
        // The map of the file itself is a level.
        let levels = levels - 1;
        format!(
            "x-a: {}{}\n{SERVICE}",
            "[".repeat(levels),
            "]".repeat(levels)
        )
    };
    assert_eq!(codes(nested(64)), [""; 0]);
    assert_eq!(codes(nested(65)), [code::TOO_DEEP]);
    let through_alias = |levels: usize| {
        let half = "[".repeat(32);
        let other = "]".repeat(32);
        let rest = levels - 33;
        format!(
            "x-a: &a {half}{other}\nx-b: {}*a{}\n{SERVICE}",
            "[".repeat(rest),
            "]".repeat(rest)
        )
    };
    assert_eq!(codes(through_alias(64)), [""; 0]);
    assert_eq!(codes(through_alias(65)), [code::TOO_DEEP]);
}

#[test]
fn ten_megabytes_are_read_in_linear_time() {
    let mut text = String::from("services:\n");
    while text.len() < 10 << 20 {
        let number = text.len();
        let _ = writeln!(
            text,
            "  s{number}:\n    command: [é, \"$<PORT:auto>\", '{}']\n",
            "日本".repeat(50)
        );
    }
    let loaded = quickly(|| load_text(text));
    assert!(loaded.problems.is_empty());
    assert!(loaded.spec.is_some_and(|spec| spec.services.len() > 1_000));
}

#[test]
fn a_megabyte_of_mistakes_is_read_in_linear_time() {
    for piece in [
        "${",
        "$<",
        "${}",
        "${A:-",
        "$<PORT:auto",
        "$$",
        "${A:-${",
        "$A",
    ] {
        let text = format!(
            "services:\n  a:\n    command: [x, \"{}\"]\n",
            piece.repeat((1 << 20) / piece.len())
        );
        quickly(|| load_text(text));
    }
    let text = format!(
        "services:\n  a:\n    command: x\n{}",
        "    k: v\n".repeat(100_000)
    );
    assert!(quickly(|| load_text(text)).problems.len() <= 1_000);
}

#[test]
fn suggestions_do_not_make_a_file_of_mistakes_quadratic() {
    let mut text = String::from("services:\n");
    for number in 0..20_000 {
        let _ = writeln!(text, "  s{number}: {{command: x $<s{number}x.PORT>}}");
    }
    quickly(|| load_text(text));
    let mut text = String::from("services:\n  a:\n");
    for number in 0..20_000 {
        let _ = writeln!(text, "    comand{number}: x");
    }
    let _ = writeln!(text, "    {}: x", "k".repeat(1_000_000));
    quickly(|| load_text(text));
}

#[test]
fn a_file_over_the_limit_is_refused() {
    let codes = codes(vec![b'#'; MAX_BYTES + 1]);
    assert_eq!(codes, [code::TOO_LARGE]);
}

#[test]
fn nothing_at_all_is_an_empty_file() {
    for text in [
        "",
        "\u{feff}",
        "\n\n",
        "# only this\n",
        "---\n",
        "---\n...\n",
        "~\n",
        "null",
    ] {
        assert_eq!(codes(text), [code::EMPTY_FILE], "{text:?}");
    }
    for text in ["[]", "x", "'null'", "- a"] {
        assert_eq!(codes(text), [code::WRONG_TYPE], "{text:?}");
    }
}

#[test]
fn utf16_is_recognised() {
    let loaded = load_text(vec![0xff, 0xfe, b's', 0, b'e', 0]);
    let hint = loaded.problems[0].hint.as_deref();
    assert_eq!(hint, Some("the file looks like UTF-16; save it as UTF-8"));
}

const VALID: &str = "\
name: shop
x-base: &base
  restart: on-failure
  environment: {A: '1', B: \"two\\n\"}
services:
  db:
    <<: [*base]
    command: [postgres, \"$<PORT:auto>\", \"${X:-${Y:?no}}\"]
    healthcheck: {test: pg_isready -p $<PORT>, interval: 5s}
  web:
    command: >
      vite --port $<PORT:auto:5173>
      $<db.PORT> $<db.PORTS>
    depends_on: {db: {condition: service_healthy}}
";

/// That what is said of [`VALID`] with some wounds points at whole characters: at which byte, how many
/// are taken away, and what comes in their place.
fn check_wounded(wounds: &[(usize, usize, &str)]) {
    let mut text = VALID.to_owned();
    for &(at, removed, inserted) in wounds {
        let floor = |at: usize| {
            (0..=at.min(text.len()))
                .rev()
                .find(|&at| text.is_char_boundary(at))
                .unwrap_or(0)
        };
        let range = floor(at)..floor(at + removed);
        text.replace_range(range, inserted);
    }
    for problem in load_text(text).problems {
        for label in problem.labels {
            let text = &label.span.source.text;
            assert!(
                text.get(label.span.start..label.span.end).is_some(),
                "{}",
                problem.code
            );
        }
    }
}

#[test]
fn a_tab_behind_a_long_character_is_shown_whole() {
    check_wounded(&[(6, 0, "\u{1ee49}"), (15, 0, "\t")]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn arbitrary_text_never_panics(text in "(\\PC|[\\n\\t\\r:\\[\\]{}&*!|>'\"#$<?-]){0,80}") {
        load_text(text);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
        load_text(bytes);
    }

    #[test]
    fn a_valid_file_with_wounds_never_panics(
        wounds in proptest::collection::vec((0usize..VALID.len(), 0usize..4, "\\PC{0,3}|[\\n\\t$<>{}&*\"'|]"), 1..6)
    ) {
        let wounds: Vec<_> = wounds.iter().map(|(at, removed, text)| (*at, *removed, text.as_str())).collect();
        check_wounded(&wounds);
    }
}
