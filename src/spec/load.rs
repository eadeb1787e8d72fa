//! Bytes to spec, and in between text to tree: the one file that names `saphyr-parser`.
//!
//! One pass of parser events. The tree keeps source text and places; aliases share their node and
//! are counted by arithmetic, so that a bomb costs nothing until its count is exceeded. Everything
//! that only one value is to blame for is collected; what breaks the whole text ends the pass.

use std::collections::HashMap;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Tag};

use super::find::Found;
use super::model::{EnvFileSpec, Loaded};
use super::position::CharIndex;
#[cfg(doc)]
use super::problem::Home;
use super::problem::{Problem, Report, Source, Span, in_order};

use super::syntax;
use super::texts::Texts;
use super::tree::{Kind, Mark, Node, Style};
use super::written::Written;
use super::{code, extent, merge_keys, visit};

/// How deep collections may nest.
pub(crate) const MAX_DEPTH: usize = 64;

/// How many nodes there may be once aliases are expanded.
pub(crate) const MAX_NODES: u64 = 2_000_000;

/// What a stack is read with: where `${VAR}` gets its value, and the files that it names.
///
/// It grows with the files that the file itself names, so those keys are read first. A text is
/// looked up by the file in which it stands, which has its [`Home`].
pub trait Scope {
    /// The value of a variable in a text of a file; `None` when it is unset.
    fn variable(&self, source: &Source, name: &str) -> Option<String>;

    /// The bytes of another file, by its path from the project directory; else why they cannot be read.
    fn read(&self, path: &Path) -> Result<Vec<u8>, String>;

    /// The file has said how its generated file is called; `None` where there is none.
    fn on_dotenv(&mut self, path: Option<&str>, problems: &mut Vec<Problem>);

    /// The files say how the project is called.
    fn on_name(&mut self, name: &str);

    /// A file has named an `env_file` for itself and for all of its services.
    fn on_env_file(&mut self, file: &EnvFileSpec, problems: &mut Vec<Problem>);

    /// A file of the realm `outer` includes another one, whose relative paths start at `dir`.
    /// Variables that `outer` does not have are those of `env_files`; without these, of the `.env` of
    /// the directory. Returns the number of the new realm.
    fn enter(
        &mut self,
        outer: usize,
        dir: &Path,
        env_files: Option<&[EnvFileSpec]>,
        problems: &mut Vec<Problem>,
    ) -> usize;
}

/// Reads a `stack.yaml` and what is merged over it, of which these are the bytes: as much of the spec
/// as can be read, and all that is wrong with it.
///
/// Every `${VAR}` is replaced here, once, by its value in `scope`. Never panics, and takes time in
/// proportion to the bytes and the expanded nodes, which are limited.
pub fn load(found: Found, texts: Vec<Vec<u8>>, scope: &mut dyn Scope) -> Loaded {
    let first = found.shown.clone();
    let mut problems = Vec::new();
    let mut variables = Vec::new();
    let mut whole = |whole: visit::Whole<'_, '_>| whole.read(&mut variables);
    let spec = visit::stack(
        &Texts::default(),
        found,
        texts,
        scope,
        &mut problems,
        &mut whole,
    );
    Loaded {
        spec,
        variables,
        problems: in_order(problems, &first),
    }
}

/// All files as one, as they were written; else what keeps them from being put together. Their values
/// are not judged.
pub fn written(
    found: Found,
    texts: Vec<Vec<u8>>,
    scope: &mut dyn Scope,
) -> (Option<Written>, Vec<Problem>) {
    let first = found.shown.clone();
    let mut problems = Vec::new();
    let dir = found.project_dir.clone();
    let mut whole = |whole: visit::Whole<'_, '_>| Written::of(whole.root, &dir);
    let written = visit::stack(
        &Texts::default(),
        found,
        texts,
        scope,
        &mut problems,
        &mut whole,
    );
    (written, in_order(problems, &first))
}

/// Reads a text into a tree; `None` when there is nothing in it but comments.
///
/// The error is one that ends the reading; what only one value is to blame for goes to `problems`.
pub(super) fn tree<'s>(
    source: &'s Arc<Source>,
    problems: &mut Vec<Problem>,
) -> Result<Option<Rc<Node<'s>>>, Problem> {
    let mut builder = Builder {
        source,
        index: CharIndex::new(&source.text),
        open: Vec::new(),
        anchors: HashMap::new(),
        expanded: 0,
        documents: 0,
        root: None,
        problems,
    };
    for event in Parser::new_from_str(&source.text) {
        let (event, span) = event.map_err(|error| builder.on_error(&error))?;
        let start = builder.index.byte(span.start.index());
        let end = builder.index.byte(span.end.index()).max(start);
        let at = Span::new(source, start..end);
        builder.on_event(event, &at)?;
    }
    Ok(builder.root)
}

/// A collection whose end has not come yet.
struct Open<'s> {
    start: usize,
    anchor: usize,
    is_mapping: bool,
    mark: Mark,
    /// Its items so far; of a map the keys and values in turn.
    items: Vec<Rc<Node<'s>>>,
}

struct Builder<'s, 'p> {
    source: &'s Arc<Source>,
    index: CharIndex<'s>,
    open: Vec<Open<'s>>,
    /// Finished nodes by the number that the parser gave their anchor.
    anchors: HashMap<usize, Rc<Node<'s>>>,
    /// How many nodes there are so far, aliases expanded.
    expanded: u64,
    documents: usize,
    root: Option<Rc<Node<'s>>>,
    problems: &'p mut Vec<Problem>,
}

type Step = Result<(), Problem>;

/// What a tag says about a value.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tagged {
    Nothing,
    /// It is a text.
    Text,
    /// How it is merged.
    Merge(Mark),
}

impl Tagged {
    fn mark(self) -> Mark {
        match self {
            Self::Merge(mark) => mark,
            Self::Nothing | Self::Text => Mark::None,
        }
    }
}

impl<'s> Builder<'s, '_> {
    fn on_event(&mut self, event: Event<'s>, at: &Span) -> Step {
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
            Event::DocumentStart(_) => {
                self.documents += 1;
                if self.documents == 1 {
                    return Ok(());
                }
                let message = "a second YAML document begins here";
                let hint = "one file holds one stack: remove this `---` and what follows it";
                Err(Problem::error(code::SECOND_DOCUMENT, message, at).hint(hint))
            }
            Event::Alias(anchor) => self.on_alias(anchor, at),
            Event::Scalar(text, style, anchor, tag) => {
                let has_properties = anchor != 0 || tag.is_some();
                let tagged = self.check_tag(tag.as_deref(), "scalar", at);
                let style = match style {
                    ScalarStyle::Plain => Style::Plain,
                    ScalarStyle::SingleQuoted => Style::SingleQuoted,
                    ScalarStyle::DoubleQuoted => Style::DoubleQuoted,
                    ScalarStyle::Literal | ScalarStyle::Folded => Style::Block,
                };
                let within = extent::of_scalar(at.text(), style, has_properties);
                let range = at.start + within.start..at.start + within.end;
                if text.contains('\0') {
                    let span = Span::new(self.source, range.clone());
                    let message = "a NUL character in a value";
                    let hint = "no argument or environment variable can hold one";
                    self.problems.error(code::NUL, &span, message, hint);
                }
                let node = Node {
                    source: self.source,
                    range,
                    kind: Kind::Scalar { text, style },
                    is_tagged_string: tagged == Tagged::Text,
                    mark: tagged.mark(),
                    has_marks: tagged.mark() != Mark::None,
                    under: None,
                    expanded: 1,
                    height: 0,
                };
                self.count(1, at)?;
                self.add(Rc::new(node), anchor);
                Ok(())
            }
            Event::SequenceStart(anchor, tag) => {
                let mark = self.check_tag(tag.as_deref(), "sequence", at).mark();
                self.enter(anchor, false, mark, at)
            }
            Event::MappingStart(anchor, tag) => {
                let mark = self.check_tag(tag.as_deref(), "mapping", at).mark();
                self.enter(anchor, true, mark, at)
            }
            Event::SequenceEnd | Event::MappingEnd => {
                self.leave(at.end);
                Ok(())
            }
        }
    }

    fn on_alias(&mut self, anchor: usize, at: &Span) -> Step {
        let Some(node) = self.anchors.get(&anchor).map(Rc::clone) else {
            let name = at.text();
            let message = format!("the alias `{name}` stands inside the value that it names");
            let hint = "a value cannot contain itself";
            return Err(Problem::error(code::SYNTAX, message, at).hint(hint));
        };
        self.count(node.expanded, at)?;
        check_depth(self.open.len() + node.height, at)?;
        self.add(node, 0);
        Ok(())
    }

    fn enter(&mut self, anchor: usize, is_mapping: bool, mark: Mark, at: &Span) -> Step {
        self.count(1, at)?;
        check_depth(self.open.len() + 1, at)?;
        self.open.push(Open {
            start: at.start,
            anchor,
            is_mapping,
            mark,
            items: Vec::new(),
        });
        Ok(())
    }

    fn leave(&mut self, end: usize) {
        let Some(open) = self.open.pop() else {
            return;
        };
        let sum: u64 = open.items.iter().map(|item| item.expanded).sum();
        let height = open.items.iter().map(|item| item.height).max().unwrap_or(0);
        let has_marks = open.items.iter().any(|item| item.has_marks);
        let kind = if open.is_mapping {
            Kind::Mapping(merge_keys::entries(&open.items, self.problems))
        } else {
            Kind::Sequence(open.items)
        };
        // A whole block underlined says nothing; its first line does.
        let text = &self.source.text[open.start..end.max(open.start)];
        let line = text.find(['\n', '\r']).unwrap_or(text.len());
        let node = Node {
            source: self.source,
            range: open.start..open.start + text[..line].trim_end().len(),
            kind,
            is_tagged_string: false,
            mark: open.mark,
            has_marks: has_marks || open.mark != Mark::None,
            under: None,
            expanded: sum + 1,
            height: height + 1,
        };
        self.add(Rc::new(node), open.anchor);
    }

    fn add(&mut self, node: Rc<Node<'s>>, anchor: usize) {
        if anchor != 0 {
            self.anchors.insert(anchor, Rc::clone(&node));
        }
        match self.open.last_mut() {
            Some(open) => open.items.push(node),
            None => self.root = Some(node),
        }
    }

    fn count(&mut self, nodes: u64, at: &Span) -> Step {
        self.expanded = self.expanded.saturating_add(nodes);
        if self.expanded <= MAX_NODES {
            return Ok(());
        }
        let message = format!("more than {MAX_NODES} values once aliases are expanded");
        Err(Problem::error(code::TOO_MANY_NODES, message, at)
            .label("the limit is passed here")
            .hint("use fewer aliases of aliases"))
    }

    /// What a tag says; one that means nothing here is reported.
    fn check_tag(&mut self, tag: Option<&Tag>, kind: &str, at: &Span) -> Tagged {
        let Some(tag) = tag else {
            return Tagged::Nothing;
        };
        let core = tag.is_yaml_core_schema().then_some(tag.suffix.as_str());
        let is_bare = tag.handle.is_empty() && tag.suffix == "!";
        match (core, kind) {
            (Some("str"), "scalar") => return Tagged::Text,
            (Some("int" | "float" | "bool" | "null"), "scalar")
            | (Some("map"), "mapping")
            | (Some("seq"), "sequence") => return Tagged::Nothing,
            _ if is_bare && kind == "scalar" => return Tagged::Text,
            _ if is_bare => return Tagged::Nothing,
            _ => {}
        }
        match (tag.handle.as_str(), tag.suffix.as_str()) {
            ("!", "reset") => return Tagged::Merge(Mark::Reset),
            ("!", "override") => return Tagged::Merge(Mark::Override),
            _ => {}
        }
        let raw = at.text();
        let from = raw.find('!').unwrap_or(0);
        let length = word_length(&raw[from..]);
        let start = at.start + from;
        let span = Span::new(self.source, start..start + length);
        let written = span.text();
        let message = format!("the tag `{written}` means nothing here");
        let hint = "remove it; a text that starts with `!` needs quotes";
        self.problems.error(code::UNKNOWN_TAG, &span, message, hint);
        Tagged::Nothing
    }

    fn on_error(&self, error: &ScanError) -> Problem {
        let at = self.index.byte(error.marker().index());
        if error.info() == "recursion limit exceeded" {
            // The parser's own limit (255) comes first where it must look ahead for a `:`.
            return too_deep(&Span::new(self.source, at..at));
        }
        syntax::problem(self.source, error.info(), at)
    }
}

/// The length of an alias or a tag at the start of a text.
pub(super) fn word_length(text: &str) -> usize {
    text.find(|c: char| c.is_whitespace() || ",[]{}".contains(c))
        .unwrap_or(text.len())
}

fn check_depth(depth: usize, at: &Span) -> Step {
    if depth <= MAX_DEPTH {
        return Ok(());
    }
    Err(too_deep(at))
}

fn too_deep(at: &Span) -> Problem {
    let message = format!("nested more than {MAX_DEPTH} levels deep");
    Problem::error(code::TOO_DEEP, message, at).hint("is a bracket or a brace not closed?")
}
