//! Several random files: whatever they are merged, included and extended to, what is shown of that as one
//! file means the same, and every problem stands in a file.

use proptest::prelude::*;

use super::show::{service, text};
use super::*;
use crate::plan::views::written;
use crate::support::yaml;

/// What a later file may say of a service. `TEXT` is any text, in quotes.
const OVER: [&str; 24] = [
    "command: [y, TEXT]",
    "command: null",
    "entrypoint: [e]",
    "environment: {A: TEXT, Z: '1'}",
    "environment: [Z=1, SET]",
    "environment: {A: !reset null}",
    "environment: !override {Y: TEXT}",
    "labels: {l: TEXT, n: o}",
    "labels: [l=over]",
    "labels: !reset null",
    "healthcheck: {retries: 7}",
    "healthcheck: {tcp: 'localhost:1'}",
    "healthcheck: !reset null",
    "logging: {max-file: 2}",
    "restart: on-failure:9",
    "depends_on: [b]",
    "depends_on: {b: {condition: service_started, restart: true}}",
    "replicas: 2",
    "stop_signal: QUIT",
    "working_dir: TEXT",
    "success_exit_codes: [7]",
    "pre_start: [[x, TEXT]]",
    "env_file: some.env",
    "expose: ['1']",
];

/// How a service comes about that has no command of its own.
const EXTENDS: [&str; 4] = [
    "extends: a",
    "extends: {file: base/base.yaml, service: base}",
    "extends: {file: part/part.yaml, service: c}",
    "command: z",
];

const INCLUDES: [&str; 4] = [
    "",
    "include: [part/part.yaml]\n",
    "include: [{path: part/part.yaml, project_directory: .}]\n",
    "include: [{path: [part/part.yaml, part/over.yaml]}]\n",
];

/// Keys of a service, each at most once.
fn keys() -> impl Strategy<Value = String> {
    let some = proptest::sample::subsequence(OVER.to_vec(), 0..5);
    (some, text()).prop_map(|(some, text)| {
        let text = serde_json::to_string(&text).unwrap();
        let mut known = Vec::new();
        let mut said = Vec::new();
        for line in some {
            let (key, _) = line.split_once(':').unwrap();
            if !known.contains(&key) {
                known.push(key);
                said.push(line.replace("TEXT", &text));
            }
        }
        said.join(", ")
    })
}

type Files = [(&'static str, String); 6];

/// The files of a project. Of one in eight a piece is missing, so that there is something wrong.
fn files() -> impl Strategy<Value = Files> {
    let services = proptest::collection::vec(service(), 4);
    let over = proptest::collection::vec(keys(), 4);
    let kinds = (
        proptest::sample::select(INCLUDES.to_vec()),
        proptest::sample::select(EXTENDS.to_vec()),
        proptest::option::weighted(0.125, any::<proptest::sample::Index>()),
    );
    (services, over, kinds).prop_map(|(services, over, (include, extends, cut))| {
        let [a, b, c, base] = <[String; 4]>::try_from(services).unwrap();
        let [over_a, over_b, over_c, over_d] = <[String; 4]>::try_from(over).unwrap();
        let extended = [extends, &over_d]
            .map(str::to_owned)
            .into_iter()
            .filter(|it| !it.is_empty())
            .collect::<Vec<_>>();
        // A key twice is one mistake too many.
        let extended = if extends.starts_with("command") && over_d.contains("command:") {
            over_d.clone()
        } else {
            extended.join(", ")
        };
        let mut files = [
            (
                "stack.yaml",
                format!("{include}services: {{a: {{{a}}}, b: {{{b}}}, d: {{{extended}}}}}\n"),
            ),
            (
                "over.yaml",
                format!("services: {{a: {{{over_a}}}, b: {{labels: {{x: y}}}}}}\n"),
            ),
            (
                "third.yaml",
                format!("services: {{b: {{{}}}}}\n", over_b.replace("[b]", "[a]")),
            ),
            ("part/part.yaml", format!("services: {{c: {{{c}}}}}\n")),
            (
                "part/over.yaml",
                format!(
                    "services: {{c: {{{}}}}}\n",
                    over_c.replace("b: {condition", "c: {condition")
                ),
            ),
            (
                "base/base.yaml",
                format!("services: {{base: {{{base}}}}}\n"),
            ),
        ];
        if let Some(cut) = cut {
            let which = cut.index(files.len());
            let text = &mut files[which].1;
            let at = (0..text.len())
                .rev()
                .find(|at| text.is_char_boundary(*at) && at * 2 < text.len());
            text.truncate(at.unwrap_or(0));
        }
        files
    })
}

fn project(files: &Files) -> Project {
    let mut project = Project::new(&files[0].1).caller(&[("SET", "v $<PORT> ${x} $$ '\"")]);
    for (name, text) in &files[1..] {
        project = project.file(name, text);
    }
    for directory in ["", "part/", "base/"] {
        project = project.file(&format!("{directory}some.env"), "FROM=file\n");
    }
    project.files = files[..3].iter().map(|(name, _)| name.into()).collect();
    project
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn several_files_mean_what_is_shown_of_them_as_one(files in files()) {
        let project = project(&files);
        let texts = files.iter().map(|(name, text)| format!("# {name}\n{text}"));
        let all: String = texts.collect();
        let (draft, problems) = project.draft();
        for problem in &problems {
            for label in &problem.labels {
                // Each place is one of a file, and no half of a character.
                prop_assert!(label.span.location().line > 0, "{}", label.span.text());
            }
        }
        let is_good = problems.iter().all(|problem| !problem.is_error());
        let Some(draft) = draft.filter(|_| is_good) else {
            prop_assert!(!problems.is_empty(), "{all}");
            return Ok(());
        };
        let shown = yaml::to_string(&draft.show(None)).unwrap();
        let (as_written, _) = written(project.sources());
        let as_written = yaml::to_string(&as_written.unwrap().value).unwrap();
        let mut again = Project { files: Vec::new(), ..project };
        // Whether a path that begins with a variable begins at the root is not known before it is replaced.
        let is_unknown = |text: &str| ["${", "$<"].iter().any(|it| text.contains(&format!("working_dir: \"{it}")));
        let as_written = (!files[3..].iter().any(|(_, text)| is_unknown(text))).then_some(as_written);
        for text in [Some(shown), as_written].into_iter().flatten() {
            again.yaml = text.clone();
            let (after, problems) = again.draft();
            let errors: Vec<_> = problems.iter().filter(|it| it.is_error()).collect();
            prop_assert!(errors.is_empty(), "{all}\n{text}\n{errors:#?}");
            let after = after.unwrap();
            prop_assert_eq!(after.fingerprint(), draft.fingerprint(), "{}\n{}", all, text);
        }
    }
}
