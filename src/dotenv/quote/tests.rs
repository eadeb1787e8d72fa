use super::*;

fn quote(value: &str) -> Result<Quoted, QuoteError> {
    quote_after(0, value)
}

fn text(value: &str) -> String {
    quote(value).unwrap().text
}

#[test]
fn the_plainest_form_that_holds_the_value_is_taken() {
    for (value, written) in [
        ("", ""),
        ("8000", "8000"),
        (
            "postgres://u:p@127.0.0.1:5432/db?sslmode=disable",
            "postgres://u:p@127.0.0.1:5432/db?sslmode=disable",
        ),
        ("a*b?[c]{d}^!", "a*b?[c]{d}^!"),
        ("=x", "'=x'"),
        ("a b", "'a b'"),
        ("~/x", "'~/x'"),
        ("a#b", "'a#b'"),
        ("say \"hi\"", "'say \"hi\"'"),
        ("$HOME `x` \\n", "'$HOME `x` \\n'"),
        ("two\nlines", "'two\nlines'"),
        ("it's", "\"it's\""),
        ("it's \"it\"", "\"it's \\\"it\\\"\""),
        ("it's $5", "\"it's \\$5\""),
        ("C:\\", "\"C:\\\\\""),
        ("ü", "'ü'"),
    ] {
        assert_eq!(text(value), written, "{value:?}");
    }
}

#[test]
fn what_a_reader_would_run_or_lose_is_refused() {
    for (value, error) in [
        ("a\0b", QuoteError::Nul),
        ("a\rb", QuoteError::CarriageReturn),
        ("a\r\nb", QuoteError::CarriageReturn),
        ("$(id)", QuoteError::CommandSubstitution),
        ("it's `x`", QuoteError::Backtick),
        ("it's \"`x`\"", QuoteError::Backtick),
        ("`x`\\", QuoteError::Backtick),
    ] {
        assert_eq!(quote(value), Err(error), "{value:?}");
    }
}

#[test]
fn warnings_name_their_readers() {
    for (value, expected) in [
        ("plain", vec![]),
        ("a\nb", vec![QuoteWarning::Newline]),
        ("${A}", vec![QuoteWarning::BracedVariable]),
        ("$A", vec![QuoteWarning::BareVariable]),
        ("$", vec![]),
        ("it's \"x\"", vec![QuoteWarning::BothQuotes]),
        (
            "it's $",
            vec![QuoteWarning::BothQuotes, QuoteWarning::EscapedDollar],
        ),
        ("C:\\", vec![QuoteWarning::BackslashQuote]),
        (
            "\\'",
            vec![QuoteWarning::BothQuotes, QuoteWarning::BackslashQuote],
        ),
        ("\\\\host\\x", vec![QuoteWarning::DoubleBackslash]),
    ] {
        let quoted = quote(value).unwrap();
        assert_eq!(quoted.warnings, expected, "{value:?}");
        assert!(quoted.warnings.iter().all(|w| !w.readers().is_empty()));
    }
}

#[test]
fn the_length_of_the_whole_line_counts() {
    let long = |bytes: usize| "x".repeat(bytes - "K=".len());
    assert_eq!(line("K", &long(LONG_LINE - 1)).unwrap().warnings, []);
    assert_eq!(
        line("K", &long(LONG_LINE)).unwrap().warnings,
        [QuoteWarning::LongLine]
    );
    assert!(line("K", &long(MAX_LINE - 1)).is_ok());
    let error = line("K", &long(MAX_LINE)).unwrap_err();
    assert_eq!(error.code(), "stack::dotenv::too_long");
}

#[test]
fn only_keys_that_every_reader_accepts_are_written() {
    for good in ["A", "_", "API_PORT", "a1", "LD_PORT"] {
        assert!(line(good, "x").is_ok(), "{good}");
    }
    for bad in ["", "1A", "A-B", "A.B", "A B", "Ä", "A=", "A\n"] {
        assert_eq!(line(bad, "x").unwrap_err().code(), "stack::dotenv::key");
    }
    for obeyed in [
        "LD_PRELOAD",
        "LD_LIBRARY_PATH",
        "DYLD_X",
        "BASH_ENV",
        "ENV",
        "IFS",
    ] {
        assert_eq!(
            line(obeyed, "x").unwrap_err().code(),
            "stack::dotenv::obeyed_key"
        );
    }
}

#[test]
fn an_error_never_shows_the_value() {
    let error = line("TOKEN", "secret$(").unwrap_err();
    assert!(!format!("{error} {error:?} {}", error.hint()).contains("secret"));
}

#[test]
fn the_same_key_twice_is_refused() {
    let pair = |k: &str, v: &str| (k.to_owned(), v.to_owned());
    let error = lines(&[pair("A", "1"), pair("B", "2"), pair("A", "3")]).unwrap_err();
    assert_eq!(error.code(), "stack::dotenv::duplicate_key");
}
