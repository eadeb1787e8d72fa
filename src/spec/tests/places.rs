//! Everything is reported where it stands, whatever YAML makes of the text.

use super::{good, load_text};
use crate::spec::Span;
use crate::spec::model::CommandSpec;
use crate::spec::template::Piece;

/// The placeholders in the command of the service `a`, as (line, column, source).
fn places(text: &str) -> Vec<(usize, usize, String)> {
    let spec = good(text);
    let mut places = Vec::new();
    match &spec.services["a"].command {
        Some(CommandSpec::Line(line)) => collect(&line.pieces, &mut places),
        Some(CommandSpec::Words(words, _)) => {
            for word in words {
                collect(&word.pieces, &mut places);
            }
        }
        None => {}
    }
    places
}

fn collect(pieces: &[Piece], places: &mut Vec<(usize, usize, String)>) {
    fn place(span: &Span) -> (usize, usize, String) {
        let at = span.location();
        (at.line, at.column, span.text().to_owned())
    }
    for piece in pieces {
        match piece {
            Piece::Text(_) | Piece::Secret(_) => {}
            Piece::Placeholder(_, span) => places.push(place(span)),
        }
    }
}

fn at(line: usize, column: usize, text: &str) -> (usize, usize, String) {
    (line, column, text.to_owned())
}

#[test]
fn every_style_of_scalar_keeps_its_places() {
    let cases = [
        ("x é $<P:auto>", vec![at(3, 18, "$<P:auto>")]),
        ("'it''s $<P:auto>' # c $<X>", vec![at(3, 21, "$<P:auto>")]),
        (
            r#""\t\u00e9\x41\"\
      \ $<P:auto> \x24<P>""#,
            vec![at(4, 9, "$<P:auto>"), at(4, 19, "\\x24<P>")],
        ),
        (
            "one\n      two $<P:auto>\n\n      $<P>",
            vec![at(4, 11, "$<P:auto>"), at(6, 7, "$<P>")],
        ),
        (
            "\"one\n\n      two $<P:auto>\n      \\\n      $<P>\"",
            vec![at(5, 11, "$<P:auto>"), at(7, 7, "$<P>")],
        ),
        (
            ">\n      fold\n      $<P:auto>\n        more $<P>\n\n      é $<P>\n",
            vec![at(5, 7, "$<P:auto>"), at(6, 14, "$<P>"), at(8, 9, "$<P>")],
        ),
        (
            "|2-\n\n        | $<P:auto>\n      $<P>\n\n",
            vec![at(5, 11, "$<P:auto>"), at(6, 7, "$<P>")],
        ),
        (
            "&anchor !!str |\n      | $<P:auto>\n      $<P>\n",
            vec![at(4, 9, "$<P:auto>"), at(5, 7, "$<P>")],
        ),
        (
            "&anchor # why $<X>\n      '$<P:auto>'",
            vec![at(4, 8, "$<P:auto>")],
        ),
        (
            "[\"é$$ $<P:auto>\", '${V:-x$<P>}', $W]",
            vec![at(3, 20, "$<P:auto>"), at(3, 39, "$<P>")],
        ),
    ];
    for (command, expected) in cases {
        let text = format!("services:\n  a:\n    command: {command}\n");
        assert_eq!(places(&text), expected, "{text}");
        // Line breaks of other systems change nothing, nor does a byte order mark.
        let windows = text.replace('\n', "\r\n");
        assert_eq!(places(&windows), expected, "{windows:?}");
        assert_eq!(places(&format!("\u{feff}{text}")), expected);
    }
}

#[test]
fn text_of_any_script_before_a_value_moves_nothing() {
    let text = "\
# é日本🦀
x-é: &日本 'é''é' # é🦀
x-f: [é, # 🦀
  \"é\\u00e9\" , 日本] # é
x-b: | # é日
  é日本
  🦀
# 🦀
services: # é
  a: # 🦀🦀
    command: é日本🦀 $<P:auto>
";
    assert_eq!(places(text), [at(11, 19, "$<P:auto>")], "{text}");
}

#[test]
fn an_item_of_a_list_form_is_cut_at_its_own_place() {
    let spec = good(
        "services:\n  a:\n    command: x\n    environment:\n      - \"É=\\t$<P:auto>\"\n"
            .replace('É', "E")
            .as_str(),
    );
    let variable = &spec.services["a"].environment["E"];
    assert_eq!(variable.key_span.text(), "E");
    let value = variable.value.as_ref().unwrap();
    assert_eq!(value.span.text(), "\\t$<P:auto>\"");
    let Piece::Placeholder(_, span) = &value.pieces[1] else {
        panic!("{value:?}");
    };
    assert_eq!(span.text(), "$<P:auto>");
}

#[test]
fn problems_come_in_the_order_of_the_file() {
    let text = "services:\n  a:\n    command: $<P>\n    comand: x\nfoo: 1\nversion: 1\n";
    let lines: Vec<usize> = load_text(text)
        .problems
        .iter()
        .map(|problem| problem.labels[0].span.location().line)
        .collect();
    assert_eq!(lines, [3, 4, 5, 6]);
}

#[test]
fn a_tab_is_named_at_its_place() {
    for text in [
        "services:\n\ta:\n",
        "services:\n  a:\n  \tcommand: x\n",
        "services:\n  a:\n    command:\t- x\n",
    ] {
        let problem = &load_text(text).problems[0];
        assert!(problem.message.contains("tab"), "{text:?}: {problem:?}");
        assert_eq!(problem.labels[0].span.text(), "\t", "{text:?}");
    }
    // Tabs that YAML allows.
    good("services:\t# here\n  a:\n    command:\t[x,\t\"y\"]\t\n");
}

#[test]
fn anchors_serve_several_services_with_a_port_each() {
    let spec = good(
        "x-c: &c\n  command: x $<PORT:auto>\nservices:\n  a: *c\n  b:\n    <<: *c\n    \
         environment: {A: $<a.PORT>}\n",
    );
    for service in spec.services.values() {
        assert_eq!(service.ports["PORT"].span.location().line, 2);
    }
}
