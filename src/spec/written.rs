//! All files as one, as they were written: every value with its place, nothing replaced. For whoever
//! asks which file says what.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use indexmap::IndexMap;
use serde_json::{Map, Value};

use super::problem::{Location, Source, Span};
use super::tree::{Kind, Node, Style};
use crate::support::secret::{is_asked_for, mask_key};

/// All files as one.
#[derive(Debug)]
pub struct Written {
    /// As it would be written in one file.
    pub value: Value,
    /// Every text in it, in its order.
    pub lines: Vec<WrittenLine>,
}

/// A value, and where it stands.
#[derive(Debug)]
pub struct WrittenLine {
    /// Its keys, with dots between them: `services.web.command[0]`.
    pub path: String,
    /// What stands there.
    pub text: String,
    /// In which file.
    pub file: PathBuf,
    /// Where in it.
    pub location: Location,
}

impl Written {
    /// `dir` is the project directory, from which paths of other files are seen.
    pub(super) fn of(root: &Node<'_>, dir: &Path) -> Self {
        let mut writer = Writer {
            dir,
            keys: Vec::new(),
            lines: Vec::new(),
            places: Places::default(),
        };
        let value = writer.value(root, "", "");
        Self {
            value,
            lines: writer.lines,
        }
    }
}

struct Writer<'d> {
    dir: &'d Path,
    /// Those over what is written now.
    keys: Vec<String>,
    lines: Vec<WrittenLine>,
    places: Places,
}

impl Writer<'_> {
    /// The value of a key at a path.
    fn value(&mut self, node: &Node<'_>, path: &str, key: &str) -> Value {
        if node.under.is_some() {
            return self.layers(node, path);
        }
        match &node.kind {
            Kind::Scalar { text, style } => {
                let mut shown = mask_key(key, text);
                if is_path(&self.keys) {
                    shown = self.seen_from_here(&shown, node);
                }
                let is_masked = shown != *text;
                self.line(path, &shown, &node.span());
                if node.is_null() {
                    Value::Null
                } else if *style == Style::Plain && !node.is_tagged_string && !is_masked {
                    plain(text)
                } else {
                    shown.into()
                }
            }
            Kind::Sequence(items) => {
                let is_name = |name: &str| {
                    let mut chars = name.chars();
                    chars.all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c))
                };
                let mut before = "";
                let items = items.iter().enumerate();
                let items = items.map(|(place, item)| {
                    let path = format!("{path}[{place}]");
                    let text = item.text().unwrap_or_default();
                    // What follows `--password` is a secret.
                    let flag = std::mem::replace(&mut before, text);
                    let key = if is_asked_for(flag, text) { flag } else { key };
                    let pair = text.split_once('=').filter(|(name, _)| is_name(name));
                    match pair {
                        Some((name, text)) => {
                            let shown = format!("{name}={}", mask_key(name, text));
                            self.line(&path, &shown, &item.span());
                            shown.into()
                        }
                        None => self.value(item, &path, key),
                    }
                });
                items.collect()
            }
            Kind::Mapping(entries) => {
                let entries = entries.iter().filter_map(|entry| {
                    let key = entry.key.text()?;
                    self.keys.push(key.to_owned());
                    let mut value = self.value(&entry.value, &below(path, key), key);
                    self.keys.pop();
                    // Without one a service runs in the directory of its file.
                    if let (Value::Object(service), "services") = (&mut value, path)
                        && entry.key.source.home.dir != self.dir
                        && service.get("working_dir").is_none_or(Value::is_null)
                    {
                        let place = self.seen_from_here(".", &entry.key);
                        service.insert("working_dir".to_owned(), place.into());
                    }
                    Some((key.to_owned(), value))
                });
                Value::Object(entries.collect())
            }
        }
    }

    /// A list of `KEY=value` over a map, or the other way round: a map, unless only a list can say that a
    /// variable is the caller's.
    fn layers(&mut self, node: &Node<'_>, path: &str) -> Value {
        let (mut layers, mut at) = (vec![node], node);
        while let Some(under) = &at.under {
            layers.push(under);
            at = under;
        }
        let mut all: IndexMap<String, Item<'_>> = IndexMap::new();
        for layer in layers.iter().rev() {
            match &layer.kind {
                Kind::Scalar { .. } => {}
                Kind::Sequence(items) => {
                    for item in items {
                        let text = item.text().unwrap_or_default();
                        let (key, text) = match text.split_once('=') {
                            Some((key, text)) => (key, Some(text)),
                            None => (text, None),
                        };
                        all.insert(key.to_owned(), Item::Listed(text, item.span()));
                    }
                }
                Kind::Mapping(entries) => {
                    for entry in entries {
                        let key = entry.key.text().unwrap_or_default();
                        all.insert(key.to_owned(), Item::Mapped(&entry.value));
                    }
                }
            }
        }
        let is_dependencies = matches!(&*self.keys, [_, _, key] if key == "depends_on");
        let is_environment = matches!(&*self.keys, [key] | [_, _, key] if key == "environment");
        let is_removed = |item: &Item<'_>| matches!(item, Item::Mapped(node) if node.is_null());
        let is_listed = is_environment
            && all.values().any(|it| matches!(it, Item::Listed(None, _)))
            && !all.values().any(is_removed);
        let mut list = Vec::new();
        let entries = all.into_iter().map(|(key, item)| {
            let path = below(path, &key);
            self.keys.push(key.clone());
            let value = match item {
                Item::Mapped(node) => self.value(node, &path, &key),
                Item::Listed(Some(text), span) => {
                    let shown = mask_key(&key, text);
                    self.line(&path, &shown, &span);
                    shown.into()
                }
                Item::Listed(None, span) => {
                    self.line(&path, "", &span);
                    let started = [("condition".to_owned(), "service_started".into())];
                    match (is_dependencies, is_environment) {
                        (true, _) => Value::Object(Map::from_iter(started)),
                        // In a map nothing removes a key. Beside one that is removed this comes next to it.
                        (false, true) if !is_listed => format!("${{{key}}}").into(),
                        (false, _) => Value::Null,
                    }
                }
            };
            list.push(match &value {
                Value::Null => key.clone(),
                Value::String(text) => format!("{key}={text}"),
                other => format!("{key}={other}"),
            });
            self.keys.pop();
            (key, value)
        });
        let map = Value::Object(entries.collect());
        if is_listed { list.into() } else { map }
    }

    /// A path that stands in some file.
    fn seen_from_here(&self, text: &str, node: &Node<'_>) -> String {
        let place = &node.source.home.dir;
        // What begins with a variable may begin at the root.
        let is_known = !["/", "${", "$<"].iter().any(|it| text.starts_with(it));
        if *place == self.dir || node.is_null() || !is_known {
            return text.to_owned();
        }
        let place = place.strip_prefix(self.dir).unwrap_or(place).join(text);
        let path: PathBuf = place.components().collect();
        path.to_string_lossy().into_owned()
    }

    fn line(&mut self, path: &str, text: &str, span: &Span) {
        self.lines.push(WrittenLine {
            path: path.to_owned(),
            text: text.to_owned(),
            file: span.source.path.clone(),
            location: self.places.of(&span.source, span.start),
        });
    }
}

/// Where bytes of texts stand for a reader. Whoever asks for every place must count nothing twice.
#[derive(Default)]
struct Places {
    /// By the address of the text.
    known: HashMap<*const Source, Known>,
    /// How many bytes were looked at for columns.
    #[cfg(test)]
    counted: usize,
}

/// What is known of a text.
struct Known {
    /// Where its lines start.
    starts: Vec<usize>,
    /// The byte that was asked for last, and its column from 0.
    last: (usize, usize),
}

impl Places {
    fn of(&mut self, source: &Source, at: usize) -> Location {
        let known = self.known.entry(source).or_insert_with(|| {
            let breaks = source.text.match_indices('\n').map(|(at, _)| at + 1);
            Known {
                starts: std::iter::once(0).chain(breaks).collect(),
                last: (0, 0),
            }
        });
        let line = known.starts.partition_point(|&start| start <= at);
        let start = known.starts[line - 1];
        // From the last one on where that is in the same line; layers may go back.
        let (from, column) = if (start..=at).contains(&known.last.0) {
            known.last
        } else {
            (start, 0)
        };
        #[cfg(test)]
        {
            self.counted += at - from;
        }
        let column = column + source.text[from..at].chars().count();
        known.last = (at, column);
        Location {
            line,
            column: column + 1,
        }
    }
}

/// An entry of a layer.
enum Item<'n> {
    Mapped(&'n Node<'n>),
    Listed(Option<&'n str>, Span),
}

/// Whether a path stands under these keys. In some maps they are the user's.
fn is_path(keys: &[String]) -> bool {
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    match &*keys {
        ["services", _, keys @ ..] => matches!(
            keys,
            ["working_dir" | "env_file" | "label_file" | "watch"]
                | ["env_file" | "label_file" | "watch", "path"]
                | ["develop", "watch"]
                | ["develop", "watch", "path"]
                | ["pre_start" | "post_start" | "pre_stop", "working_dir"]
        ),
        ["configs" | "secrets", _, "file"] | ["env_file"] | ["env_file", "path"] => true,
        _ => false,
    }
}

fn below(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}

/// A text without quotes, which may be a number or a flag.
fn plain(text: &str) -> Value {
    match text {
        "true" => true.into(),
        "false" => false.into(),
        _ => match text.parse::<i64>() {
            Ok(number) if number.to_string() == text => number.into(),
            Ok(_) | Err(_) => text.into(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_places_of_a_long_line_are_counted_once() {
        let text = format!("a: 1\nlist: [{}]\n", "ö, ".repeat(1000));
        let source = Source {
            path: PathBuf::new(),
            text,
            home: crate::spec::problem::Home::default(),
        };
        let mut places = Places::default();
        for (at, _) in source.text.match_indices('ö') {
            let location = places.of(&source, at);
            let before = &source.text[5..at];
            assert_eq!(
                (location.line, location.column),
                (2, before.chars().count() + 1)
            );
        }
        assert!(places.counted <= source.text.len(), "{}", places.counted);
        // Also back, and in another line.
        assert_eq!(places.of(&source, 12).column, 8);
        assert_eq!(places.of(&source, 3).line, 1);
    }
}
