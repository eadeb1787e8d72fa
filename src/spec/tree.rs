//! The file as a tree: every node with its source text, its style and its place.
//!
//! `load` builds it, `merge` makes one of several, `visit` reads it. Nodes that aliases repeat are
//! shared, so that a file that expands to a million nodes costs what it costs to write it down.

use std::borrow::Cow;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

use super::problem::{Source, Span};

/// How a scalar was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// Without quotes.
    Plain,
    /// `'…'`.
    SingleQuoted,
    /// `"…"`.
    DoubleQuoted,
    /// `|` or `>`.
    Block,
}

/// What a tag says about a value and that of the same key in earlier files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    /// No tag: they are merged.
    None,
    /// `!reset`: neither of them counts.
    Reset,
    /// `!override`: only this one counts.
    Override,
}

/// A value of the file.
#[derive(Debug, Clone)]
pub(super) struct Node<'s> {
    /// The text in which it stands: with several files each node knows its own.
    pub(super) source: &'s Arc<Source>,
    /// The bytes of a scalar's text, quotes included; of a collection, those of its first line.
    pub(super) range: Range<usize>,
    /// What it is.
    pub(super) kind: Kind<'s>,
    /// Whether a tag says that it is a string, which `null` then is too.
    pub(super) is_tagged_string: bool,
    /// Its own tag for merging.
    pub(super) mark: Mark,
    /// Whether it or anything in it has such a tag.
    pub(super) has_marks: bool,
    /// The value of an earlier file over which this one is laid key by key, where the two could not
    /// become one: one of them is a list of `KEY=value`.
    pub(super) under: Option<Rc<Self>>,
    /// How many nodes it stands for once aliases are expanded, itself included.
    pub(super) expanded: u64,
    /// How many levels of collections it has, 0 for a scalar.
    pub(super) height: usize,
}

/// The three kinds of value.
#[derive(Debug, Clone)]
pub(super) enum Kind<'s> {
    /// A text.
    Scalar {
        /// The text after unescaping and folding, otherwise as written.
        text: Cow<'s, str>,
        /// How it was written.
        style: Style,
    },
    /// A list.
    Sequence(Vec<Rc<Node<'s>>>),
    /// A map, merge keys already applied.
    Mapping(Vec<Entry<'s>>),
}

/// A key with its value.
#[derive(Debug, Clone)]
pub(super) struct Entry<'s> {
    /// The key.
    pub(super) key: Rc<Node<'s>>,
    /// The value.
    pub(super) value: Rc<Node<'s>>,
}

impl<'s> Node<'s> {
    /// The value of a key, if it is a map that has it.
    pub(super) fn get(&self, key: &str) -> Option<&Rc<Self>> {
        self.entry(key).map(|entry| &entry.value)
    }

    /// A key with its value, if it is a map that has it.
    pub(super) fn entry(&self, key: &str) -> Option<&Entry<'s>> {
        let mut entries = self.entries().iter();
        entries.find(|entry| entry.key.text() == Some(key))
    }

    /// The entries of a map; anything else has none.
    pub(super) fn entries(&self) -> &[Entry<'s>] {
        match &self.kind {
            Kind::Mapping(entries) => entries,
            Kind::Scalar { .. } | Kind::Sequence(_) => &[],
        }
    }

    /// The same with other contents, of which the measures are taken again.
    pub(super) fn with(&self, kind: Kind<'s>) -> Rc<Self> {
        let mut node = self.clone_head();
        let children: Vec<&Rc<Self>> = match &kind {
            Kind::Scalar { .. } => Vec::new(),
            Kind::Sequence(items) => items.iter().collect(),
            Kind::Mapping(entries) => entries.iter().map(|entry| &entry.value).collect(),
        };
        let (keys, level) = match &kind {
            Kind::Scalar { .. } => (0, 0),
            Kind::Sequence(_) => (0, 1),
            Kind::Mapping(entries) => (entries.len() as u64, 1),
        };
        node.expanded = 1 + keys + children.iter().map(|child| child.expanded).sum::<u64>();
        node.height = level + children.iter().map(|child| child.height).max().unwrap_or(0);
        node.has_marks = node.mark != Mark::None || children.iter().any(|child| child.has_marks);
        node.kind = kind;
        Rc::new(node)
    }

    /// Everything but its contents.
    fn clone_head(&self) -> Self {
        Self {
            source: self.source,
            range: self.range.clone(),
            kind: Kind::Sequence(Vec::new()),
            is_tagged_string: self.is_tagged_string,
            mark: self.mark,
            has_marks: self.has_marks,
            under: self.under.clone(),
            expanded: 1,
            height: 0,
        }
    }

    /// Where it stands.
    pub(super) fn span(&self) -> Span {
        Span::new(self.source, self.range.clone())
    }

    /// The text of a scalar.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Scalar { text, .. } => Some(text),
            Kind::Sequence(_) | Kind::Mapping(_) => None,
        }
    }

    /// Whether it is nothing: an empty value, `~` or `null`, without quotes.
    pub(super) fn is_null(&self) -> bool {
        match &self.kind {
            Kind::Scalar { text, style } => {
                *style == Style::Plain
                    && !self.is_tagged_string
                    && matches!(text.as_ref(), "" | "~" | "null" | "Null" | "NULL")
            }
            Kind::Sequence(_) | Kind::Mapping(_) => false,
        }
    }

    /// The items of a list, or the one value that stands for a list of itself; none for nothing.
    pub(super) fn items(&self) -> Vec<&Self> {
        match &self.kind {
            Kind::Sequence(items) => items.iter().map(AsRef::as_ref).collect(),
            Kind::Scalar { .. } if self.is_null() => Vec::new(),
            Kind::Scalar { .. } | Kind::Mapping(_) => vec![self],
        }
    }

    /// Whether it is a list of nothing but texts: the words of a command.
    pub(super) fn is_list_of_texts(&self) -> bool {
        let is_text = |item: &Rc<Self>| matches!(item.kind, Kind::Scalar { .. });
        match &self.kind {
            Kind::Sequence(items) => items.iter().all(is_text),
            Kind::Scalar { .. } | Kind::Mapping(_) => false,
        }
    }

    /// What to call it in a message.
    pub(super) fn describe(&self) -> &'static str {
        match &self.kind {
            Kind::Scalar { .. } if self.is_null() => "nothing",
            Kind::Scalar { .. } => "a text",
            Kind::Sequence(_) => "a list",
            Kind::Mapping(_) => "a map",
        }
    }
}
