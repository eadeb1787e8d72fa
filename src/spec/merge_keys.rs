//! `<<`: the merge key of YAML 1.1, which Compose files live on.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use super::code;
use super::problem::{Problem, Report};

use super::tree::{Entry, Kind, Node, Style};

/// Makes the entries of a map out of its keys and values in turn: duplicate keys are reported and
/// dropped, `<<` is replaced by what it brings in.
///
/// Keys that are written out win over merged ones wherever they stand; of several merged maps the
/// first wins. Keys are compared by their text alone, since that is how they are read.
pub(super) fn entries<'s>(items: &[Rc<Node<'s>>], problems: &mut Vec<Problem>) -> Vec<Entry<'s>> {
    let mut first: HashMap<&str, &Node<'s>> = HashMap::new();
    let mut written = Vec::new();
    let mut has_merge = false;
    for pair in items.chunks_exact(2) {
        let (key, value) = (&pair[0], &pair[1]);
        if let Some(text) = key.text() {
            if let Some(&earlier) = first.get(text) {
                let mut problem =
                    Problem::twice(&format!("key `{text}`"), &key.span(), &earlier.span());
                if is_merge(key) {
                    problem.hint =
                        Some("merge several maps with a list: `<<: [*a, *b]`".to_owned());
                }
                problems.report(problem);
                continue;
            }
            first.insert(text, key);
        }
        has_merge |= is_merge(key);
        written.push(Entry {
            key: Rc::clone(key),
            value: Rc::clone(value),
        });
    }
    if !has_merge {
        return written;
    }

    let mut taken: HashSet<String> = first.keys().map(|&key| key.to_owned()).collect();
    let mut merged = Vec::with_capacity(written.len());
    for entry in written {
        if !is_merge(&entry.key) {
            merged.push(entry);
            continue;
        }
        let Some(sources) = maps(&entry.value) else {
            problems.error(
                code::BAD_MERGE,
                &entry.key.span(),
                format!("`<<` merges maps, and this is {}", entry.value.describe()),
                "give it an alias of a map, `<<: *name`, or a list of them",
            );
            continue;
        };
        for brought_in in sources.into_iter().flatten() {
            let is_new = match brought_in.key.text() {
                Some(text) => taken.insert(text.to_owned()),
                None => true,
            };
            if is_new {
                merged.push(brought_in.clone());
            }
        }
    }
    merged
}

fn is_merge(key: &Node<'_>) -> bool {
    matches!(
        &key.kind,
        Kind::Scalar { text, style: Style::Plain } if text == "<<" && !key.is_tagged_string
    )
}

/// The maps that a `<<` names, if it names only maps.
fn maps<'n, 's>(value: &'n Node<'s>) -> Option<Vec<&'n [Entry<'s>]>> {
    match &value.kind {
        Kind::Mapping(entries) => Some(vec![entries]),
        Kind::Sequence(items) => items
            .iter()
            .map(|item| match &item.kind {
                Kind::Mapping(entries) => Some(entries.as_slice()),
                Kind::Scalar { .. } | Kind::Sequence(_) => None,
            })
            .collect(),
        Kind::Scalar { .. } => None,
    }
}
