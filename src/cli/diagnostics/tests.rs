//! How problems are drawn. Every mistake of the fixtures as it is drawn: [`fixtures`].

mod fixtures;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;
use crate::spec::testing::load_text;
use crate::spec::{Home, Source, Span};

/// The report without colour.
fn plain(problems: &[Problem]) -> String {
    render(problems, Palette::MONOCHROME, 100)
}

#[test]
fn a_problem_at_the_end_of_a_large_file_is_drawn_at_once() {
    let mut text = "# padding line of some length, over and over again\n".repeat(200_000);
    let start = text.len();
    text.push_str("wrong: 1\n");
    let source = Arc::new(Source {
        path: PathBuf::from("stack.yaml"),
        text,
        home: Home::default(),
    });
    let span = Span {
        source,
        start,
        end: start + 5,
    };
    let began = Instant::now();
    let report = plain(&[Problem::error("stack::x", "no", &span)]);
    assert!(report.contains("[stack.yaml:200001:1]"), "{report}");
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_long_line_is_cut_around_the_label_and_keeps_its_column() {
    let text = format!("é{}wrong{}", "a".repeat(5_000), "b".repeat(5_000));
    let start = text.find("wrong").unwrap();
    let source = Arc::new(Source {
        path: PathBuf::from("stack.yaml"),
        text,
        home: Home::default(),
    });
    let span = Span {
        source,
        start,
        end: start + 5,
    };
    let report = plain(&[Problem::error("stack::x", "no", &span)]);
    assert!(report.contains("[stack.yaml:1:5002]"), "{report}");
    assert!(
        report.lines().all(|line| line.chars().count() < 400),
        "{report}"
    );
}

#[test]
fn distant_labels_are_both_drawn() {
    let text = format!("first: 1\n{}second: 2\n", "x: y\n".repeat(1_000));
    let second = text.find("second").unwrap();
    let source = Arc::new(Source {
        path: PathBuf::from("stack.yaml"),
        text,
        home: Home::default(),
    });
    let at = |start| Span {
        source: Arc::clone(&source),
        start,
        end: start + 5,
    };
    let problem = Problem::error("stack::x", "twice", &at(second))
        .label("again here")
        .also(&at(0), "first here");
    let report = plain(&[problem]);
    assert!(report.contains("again here") && report.contains("first here"));
    assert!(report.contains("stack.yaml:1002:1"), "{report}");
    assert!(report.lines().count() < 20, "{report}");
}

#[test]
fn labels_in_two_files_are_both_drawn() {
    let source = |path: &str, text: &str| {
        Arc::new(Source {
            path: PathBuf::from(path),
            text: text.to_owned(),
            home: Home::default(),
        })
    };
    let (base, over) = (
        source("stack.yaml", "a: 1\nweb: x\n"),
        source("more.yaml", "web: y\n"),
    );
    let problem = Problem::error("stack::x", "no", &Span::new(&over, 0..3))
        .label("again here")
        .also(&Span::new(&base, 5..8), "first here");
    let report = plain(&[problem]);
    insta::assert_snapshot!(report);
}

#[test]
fn what_a_file_holds_cannot_reach_the_terminal() {
    let loaded = load_text("\u{1b}[2J\u{202e}servics\t: \u{9b}31m\r\n");
    let report = plain(&loaded.problems);
    let harmful = report
        .chars()
        .find(|&c| c != '\n' && excerpt::is_harmful(c));
    assert_eq!(harmful, None, "{report:?}");
    assert!(!report.contains('\t'));
}

#[test]
fn colour_is_used_only_when_asked_for() {
    let loaded = load_text(b"services:\n".to_vec());
    assert!(render(&loaded.problems, Palette::COLORED, 100).contains('\u{1b}'));
    assert!(!plain(&loaded.problems).contains('\u{1b}'));
}

#[test]
fn the_last_line_counts_problems_and_warnings() {
    let last = |text: &str| {
        let report = plain(&load_text(text).problems);
        report.lines().last().unwrap_or_default().to_owned()
    };
    let service = "services: {a: {command: x}}\n";
    assert_eq!(
        last(&format!("version: 1\n{service}")),
        "  hint: remove the line",
        "warnings need no count"
    );
    assert_eq!(
        last(&format!("version: 1\nfoo: 1\nbar: 2\n{service}")),
        "2 problems and 1 warning in stack.yaml; nothing was started"
    );
}

#[test]
fn what_has_no_place_in_a_file_reads_like_every_other_message() {
    let problem = Problem {
        severity: Severity::Error,
        code: "stack::spec::no_file",
        message: "there is no file".to_owned(),
        labels: Vec::new(),
        hint: Some("write one:\n\nservices:".to_owned()),
    };
    assert_eq!(
        plain(&[problem]),
        "error: there is no file (stack::spec::no_file)\nhint: write one:\n\n  services:\n"
    );
}

proptest::proptest! {
    #[test]
    fn drawing_never_panics(
        text in "(\\PC|[\\n\\t\\r]){0,60}",
        fill in 0usize..600,
        places in prop::collection::vec(0usize..700, 4),
    ) {
        // Long lines, too.
        let text = format!("{}{text}", "é".repeat(fill));
        let floor = |at: usize| (0..=at.min(text.len())).rev().find(|&at| text.is_char_boundary(at));
        let places: Vec<usize> = places.into_iter().filter_map(floor).collect();
        let source = Arc::new(Source { path: PathBuf::from("f"), text, home: Home::default() });
        let span = |a: usize, b: usize| Span::new(&source, a.min(b)..a.max(b));
        let problem = Problem::error("stack::x", "no", &span(places[0], places[1])).label("here");
        plain(&[problem.also(&span(places[2], places[3]), "there")]);
    }
}
