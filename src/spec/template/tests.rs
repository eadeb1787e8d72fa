//! Tests of both grammars.

use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::spec::{Home, Source};

use crate::spec::scalar::Text;
use crate::spec::tree::{Kind, Mark, Node, Style};
use crate::support::protocol::Protocol;

/// Reads a text as if it stood in a file as it is, with a table of variables.
fn parsed(text: &str, kind: TemplateKind) -> (Template, Vec<Problem>) {
    let source = Arc::new(Source {
        path: PathBuf::from("t"),
        text: text.to_owned(),
        home: Home::default(),
    });
    let node = Rc::new(Node {
        source: &source,
        range: 0..text.len(),
        kind: Kind::Scalar {
            text: text.into(),
            style: Style::Block,
        },
        is_tagged_string: false,
        mark: Mark::None,
        has_marks: false,
        under: None,
        expanded: 1,
        height: 0,
    });
    let mut problems = Vec::new();
    let scalar = Text::of(&node).unwrap();
    let (template, _) = read(&scalar, kind, &variable, &mut problems);
    (template, problems)
}

fn variable(name: &str) -> Option<String> {
    match name {
        "SET" => Some("value".to_owned()),
        "EMPTY" => Some(String::new()),
        "EVIL" => Some("${SET}$<PORT>".to_owned()),
        _ => None,
    }
}

/// A placeholder is its own source in brackets.
struct Table;

impl Lookup for Table {
    fn placeholder(&self, _: &Placeholder, span: &Span) -> Result<String, Problem> {
        Ok(match span.text() {
            "$<SPACE>" => "a b".to_owned(),
            text => text[2..text.len() - 1].replace(['<', '>'], ""),
        })
    }
}

fn resolved(text: &str, kind: TemplateKind) -> String {
    let (template, problems) = parsed(text, kind);
    assert!(
        problems.iter().all(|problem| !problem.is_error()),
        "{text}: {problems:?}"
    );
    template.resolve(&Table, &mut Vec::new())
}

#[test]
fn plain_text_expands_variables_as_compose_does() {
    for (text, expected) in [
        ("a ${SET} b", "a value b"),
        (
            "${SET:-d}|${EMPTY:-d}|${EMPTY-d}|${NONE-d}|${NONE:-d}",
            "value|d||d|d",
        ),
        ("${SET:+a}|${EMPTY:+a}|${EMPTY+a}|${NONE+a}", "a||a|"),
        ("${NONE:-${EMPTY:-${SET}}}", "value"),
        ("${NONE:-a}b}", "ab}"),
        ("$$ $$SET $${SET} a$ $1 $( $", "$ $SET ${SET} a$ $1 $( $"),
        ("$SET", "$SET"),
        ("$$<PORT> $$$<PORT> $<PORT>", "$<PORT> $PORT PORT"),
        ("${EVIL}", "${SET}$<PORT>"),
        ("${NONE:-$<PORT>}", "PORT"),
        ("${NONE:-$$}", "$"),
        ("", ""),
    ] {
        assert_eq!(resolved(text, TemplateKind::Plain), expected, "{text}");
    }
}

#[test]
fn shell_text_belongs_to_the_shell() {
    for text in [
        "$HOME ${X:-y} $(date) $$ a$ $1 `x` ${}",
        "$$HOME",
        "$${X}",
        "${A/b/c}",
    ] {
        assert_eq!(resolved(text, TemplateKind::Shell), text);
    }
    assert_eq!(
        resolved("$$<PORT> $<PORT> $$$<PORT>", TemplateKind::Shell),
        "$<PORT> PORT $$PORT"
    );
    let (_, problems) = parsed("$$ $$HOME $${X} $$1", TemplateKind::Shell);
    assert_eq!(problems.len(), 2);
    let (template, _) = parsed("x $<SPACE>", TemplateKind::Shell);
    let mut problems = Vec::new();
    template.resolve(&Table, &mut problems);
    assert_eq!(problems[0].code, "stack::spec::unsafe_in_shell");
}

#[test]
fn each_mistake_is_reported_and_stepped_over() {
    for (text, count) in [
        ("${} ${a/b} ${SET}", 2),
        ("${", 1),
        ("${A", 1),
        ("${A:-${B:-x}", 1),
        ("$<", 1),
        ("$<PORT $<PORT:x> $<PORT>", 2),
        (
            "$<PORT:auto:> $<PORT:0> $<PORT:auto:9-8> $<PORT:auto:1:2>",
            4,
        ),
        ("$<a/b.PORT> $<a.b-c> $<.PORT> $<a.>", 4),
        ("$<PORT:auto/sctp> $<D:file> $<PORT:auto/> $<PORT:/udp>", 4),
        (&"${A:-".repeat(100), 1),
    ] {
        let (_, mut problems) = parsed(text, TemplateKind::Plain);
        problems.retain(Problem::is_error);
        assert_eq!(problems.len(), count, "{text}: {problems:?}");
        assert!(problems.iter().all(|problem| problem.hint.is_some()));
    }
}

#[test]
fn every_form_of_placeholder_is_read() {
    let port = |name| PortName::new(name).unwrap();
    let service = |name| ServiceName::new(name).unwrap();
    for (text, expected) in [
        (
            "PORT:auto",
            Placeholder::Declare(port("PORT"), PortWant::Auto, Protocol::Tcp),
        ),
        (
            "PORT:auto/tcp",
            Placeholder::Declare(port("PORT"), PortWant::Auto, Protocol::Tcp),
        ),
        (
            "DNS:auto/udp",
            Placeholder::Declare(port("DNS"), PortWant::Auto, Protocol::Udp),
        ),
        (
            "DNS:auto:5353/tcp+udp",
            Placeholder::Declare(port("DNS"), PortWant::Prefer(5353), Protocol::Both),
        ),
        (
            "DNS:53/udp+tcp",
            Placeholder::Declare(port("DNS"), PortWant::Fixed(53), Protocol::Both),
        ),
        (
            "P:auto:5173",
            Placeholder::Declare(port("P"), PortWant::Prefer(5173), Protocol::Tcp),
        ),
        (
            "P:8080",
            Placeholder::Declare(port("P"), PortWant::Fixed(8080), Protocol::Tcp),
        ),
        ("PORT", Placeholder::Own(port("PORT"))),
        (
            "skin-ai.api.PORT",
            Placeholder::Other(service("skin-ai.api"), port("PORT")),
        ),
        ("project.name", Placeholder::Word(Word::ProjectName)),
        ("project.dir", Placeholder::Word(Word::ProjectDir)),
        ("instance", Placeholder::Word(Word::Instance)),
        ("service", Placeholder::Word(Word::Service)),
        ("replica", Placeholder::Word(Word::Replica)),
    ] {
        let (template, problems) = parsed(&format!("$<{text}>"), TemplateKind::Shell);
        assert!(problems.is_empty(), "{text}: {problems:?}");
        let Piece::Placeholder(found, _) = &template.pieces[0] else {
            panic!("{text}: {template:?}");
        };
        assert_eq!(*found, expected, "{text}");
    }
}

proptest! {
    #[test]
    fn parsing_never_panics(text in "(\\PC|[$<>{}:?+\\-./\\n]|\\$<|\\$\\{){0,40}") {
        for kind in [TemplateKind::Plain, TemplateKind::Shell] {
            let (template, _) = parsed(&text, kind);
            template.resolve(&Table, &mut Vec::new());
        }
    }

    #[test]
    fn escaped_text_comes_out_as_it_was(text in "(\\PC|[$<>{}\\n]){0,40}") {
        let escaped = text.replace('$', "$$");
        prop_assert_eq!(resolved(&escaped, TemplateKind::Plain), text);
    }

    #[test]
    fn text_without_placeholders_reaches_the_shell_unchanged(text in "(\\PC|[${}\\n]){0,40}") {
        prop_assume!(!text.contains("$<"));
        prop_assert_eq!(resolved(&text, TemplateKind::Shell), text);
    }
}
