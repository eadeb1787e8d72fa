//! Several files, `include` and `extends`: one test for each rule of Compose.

mod extends;
mod include;
mod merge;

use super::*;
use crate::spec::Problem;
use crate::spec::model::{CommandSpec, ServiceSpec};
use crate::spec::template::Template;

/// The spec of files in which nothing is wrong.
#[track_caller]
fn good_files(main: &[&str], others: &[(&str, &str)]) -> StackSpec {
    let loaded = load_files(main, others);
    assert!(
        loaded.problems.is_empty(),
        "{main:?}\n{:#?}",
        loaded.problems
    );
    loaded.spec.expect("files without problems give a spec")
}

/// The service `web` of two files, of which this stands below `web:`.
#[track_caller]
fn web(base: &str, over: &str) -> ServiceSpec {
    let file = |keys: &str| {
        format!(
            "services:\n  web:\n    command: run\n    {}\n",
            keys.replace('\n', "\n    ")
        )
    };
    let over = file(over).replace("    command: run\n", "");
    let mut spec = good_files(&[&file(base), &over], &[]);
    spec.services
        .swap_remove("web")
        .expect("the service is there")
}

fn environment(service: &ServiceSpec) -> Vec<String> {
    let pair = |(key, value): (&String, &crate::spec::model::VariableSpec)| match &value.value {
        Some(value) => format!("{key}={}", value.as_literal().unwrap_or_default()),
        None => format!("{key}!"),
    };
    service.environment.iter().map(pair).collect()
}

fn words(service: &ServiceSpec) -> String {
    match &service.command {
        Some(CommandSpec::Line(line)) => line.as_literal().unwrap_or_default(),
        Some(CommandSpec::Words(words, _)) => {
            let words = words.iter().filter_map(Template::as_literal);
            words.collect::<Vec<_>>().join(" ")
        }
        None => "none".to_owned(),
    }
}

/// The codes of files, and where each stands.
fn places(main: &[&str], others: &[(&str, &str)]) -> Vec<(&'static str, String)> {
    let problems = load_files(main, others).problems.into_iter();
    problems
        .map(|problem| (problem.code, format!("{:?}", problem.labels[0].span)))
        .collect()
}

#[test]
fn a_bomb_of_files_or_services_ends_in_time() {
    // Every file includes the next one twice.
    let names: Vec<String> = (0..40).map(|number| format!("{number}.yaml")).collect();
    let texts: Vec<String> = (0..40)
        .map(|number| {
            format!(
                "include: [{0}.yaml, {0}.yaml]\nservices: {{ s{number}: {{ command: x }} }}",
                number + 1
            )
        })
        .collect();
    let files: Vec<_> = names
        .iter()
        .zip(&texts)
        .map(|(name, text)| (name.as_str(), text.as_str()))
        .collect();
    let loaded = load_files(
        &["include: 0.yaml\nservices: { web: { command: x } }"],
        &files,
    );
    assert!(loaded.problems.iter().any(Problem::is_error));
    // Every service extends one that is large.
    let large: Vec<String> = (0..5_000).map(|number| format!("K{number}: x")).collect();
    let many: Vec<String> = (0..2_000)
        .map(|number| format!("  s{number}: {{ extends: base, environment: {{ A: 1 }} }}\n"))
        .collect();
    let text = format!(
        "services:\n  base: {{ command: x, environment: {{ {} }} }}\n{}",
        large.join(", "),
        many.concat()
    );
    let found = load_text(text).problems;
    assert!(
        found
            .iter()
            .any(|problem| problem.code == crate::spec::code::TOO_MANY_NODES)
    );
    // A chain of services is followed as far as anybody makes one.
    let chain: Vec<String> = (1..5_000)
        .map(|number| format!("  s{number}: {{ extends: s{} }}\n", number + 1))
        .collect();
    let text = format!("services:\n{}  s5000: {{ command: x }}\n", chain.concat());
    assert!(codes(text).contains(&crate::spec::code::BAD_EXTENDS));
}
