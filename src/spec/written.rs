//! All files as one, as they were written: every value with its place, no variable replaced. For whoever
//! asks which file says what, and to be loaded again: what is relative to the directory of another file
//! is seen from that of the project.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use indexmap::IndexMap;
use serde_json::{Map, Value};

use super::problem::{Location, Source, Span};
use super::tree::{Kind, Node, Style};

/// Hides what must not be shown: the value of a key.
pub(super) type Mask = fn(key: &str, text: &str) -> String;

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
    pub(super) fn of(root: &Node<'_>, project_dir: &Path, mask: Mask) -> Self {
        let mut writer = Writer {
            mask,
            project_dir,
            keys: Vec::new(),
            lines: Vec::new(),
            starts: HashMap::new(),
        };
        let value = writer.value(root, "", "");
        Self {
            value,
            lines: writer.lines,
        }
    }
}

struct Writer<'p> {
    mask: Mask,
    project_dir: &'p Path,
    /// The keys of the value that is being written.
    keys: Vec<String>,
    lines: Vec<WrittenLine>,
    /// Where the lines of each text start: whoever asks for every place must not count them each time.
    starts: HashMap<*const Source, Vec<usize>>,
}

impl Writer<'_> {
    /// The value of a key at a path.
    fn value(&mut self, node: &Node<'_>, path: &str, key: &str) -> Value {
        if node.under.is_some() {
            return self.layers(node, path);
        }
        match &node.kind {
            Kind::Scalar { text, style } => {
                let shown = (self.mask)(key, text);
                let is_masked = shown != *text;
                let shown = self.seen_from_here(shown, &node.span());
                let is_masked = is_masked || shown != *text;
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
                let items = items.iter().enumerate();
                let items = items.map(|(place, item)| {
                    let path = format!("{path}[{place}]");
                    match item.text().and_then(|text| text.split_once('=')) {
                        Some((name, text)) => {
                            let shown = format!("{name}={}", (self.mask)(name, text));
                            self.line(&path, &shown, &item.span());
                            shown.into()
                        }
                        None => self.value(item, &path, key),
                    }
                });
                items.collect()
            }
            Kind::Mapping(entries) => {
                let mut all = Map::new();
                for entry in entries {
                    let Some(key) = entry.key.text() else {
                        continue;
                    };
                    self.keys.push(key.to_owned());
                    let path = below(path, key);
                    let mut value = self.value(&entry.value, &path, key);
                    self.add_directory(&entry.key.span(), &path, &mut value);
                    self.keys.pop();
                    all.insert(key.to_owned(), value);
                }
                Value::Object(all)
            }
        }
    }

    /// Where the texts of a file are relative to, seen from the project directory; nothing where that is
    /// the same.
    fn place(&self, span: &Span) -> Option<PathBuf> {
        let dir = span.dir();
        let below = dir.strip_prefix(self.project_dir).unwrap_or(dir);
        (dir != self.project_dir && !dir.as_os_str().is_empty()).then(|| below.to_path_buf())
    }

    /// A path that stands in another directory's file as it is seen from the project directory. What begins
    /// with a variable or a placeholder may be absolute, and stays.
    fn seen_from_here(&self, text: String, span: &Span) -> String {
        let keys: Vec<&str> = self.keys.iter().map(String::as_str).collect();
        let is_path = matches!(
            keys.as_slice(),
            ["services", _, "working_dir" | "env_file" | "label_file"]
                | ["services", _, "env_file" | "label_file" | "watch", "path"]
                | ["services", _, "develop", "watch", "path"]
                | ["configs" | "secrets", _, "file"]
                | ["env_file"]
                | ["env_file", "path"]
        );
        match self.place(span).filter(|_| is_path) {
            Some(place) if !text.is_empty() && !text.starts_with('$') => {
                place.join(text).display().to_string()
            }
            Some(_) | None => text,
        }
    }

    /// A service without a `working_dir` runs in the directory of its file.
    fn add_directory(&mut self, span: &Span, path: &str, service: &mut Value) {
        let is_service = matches!(self.keys.as_slice(), [first, _] if first == "services");
        let place = self.place(span).filter(|_| is_service);
        if let (Some(place), Value::Object(entries)) = (place, service)
            && !entries.contains_key("working_dir")
        {
            let shown = place.display().to_string();
            self.line(&below(path, "working_dir"), &shown, span);
            entries.insert("working_dir".to_owned(), shown.into());
        }
    }

    /// A list of `KEY=value` over a map, or the other way round: a map.
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
        let is_dependencies = path.ends_with(".depends_on");
        let entries = all.into_iter().map(|(key, item)| {
            let path = below(path, &key);
            let value = match item {
                Item::Mapped(node) => self.value(node, &path, &key),
                Item::Listed(Some(text), span) => {
                    let shown = (self.mask)(&key, text);
                    self.line(&path, &shown, &span);
                    shown.into()
                }
                Item::Listed(None, span) => {
                    self.line(&path, "", &span);
                    let started = [("condition".to_owned(), "service_started".into())];
                    let long = || Value::Object(Map::from_iter(started));
                    if is_dependencies { long() } else { Value::Null }
                }
            };
            (key, value)
        });
        Value::Object(entries.collect())
    }

    fn line(&mut self, path: &str, text: &str, span: &Span) {
        let source = &*span.source;
        let starts = self.starts.entry(source).or_insert_with(|| {
            let breaks = source.text.match_indices('\n').map(|(at, _)| at + 1);
            std::iter::once(0).chain(breaks).collect()
        });
        let line = starts.partition_point(|&start| start <= span.start);
        let start = starts[line - 1];
        self.lines.push(WrittenLine {
            path: path.to_owned(),
            text: text.to_owned(),
            file: source.path.clone(),
            location: Location {
                line,
                column: source.text[start..span.start].chars().count() + 1,
            },
        });
    }
}

/// An entry of a layer.
enum Item<'n> {
    Mapped(&'n Node<'n>),
    Listed(Option<&'n str>, Span),
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
