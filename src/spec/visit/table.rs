//! The mechanism of the table of keys: what a row is, how a map is read by it, and what is said of
//! every other key. The rows are in [`super::keys`].

use super::suggest::{list, nearest};
use super::{Field, Place, Reader};
use crate::spec::code;
use crate::spec::problem::{Problem, Report};
use crate::spec::tree::Node;

/// The keys of one kind of map, which is read into a `T`.
pub(super) struct Keys<T: 'static> {
    /// Where such a map stands, for messages: "in a service".
    pub(super) place: &'static str,
    /// Its path in the file, for the reference: `services.NAME`.
    pub(super) path: &'static str,
    /// The keys that work.
    pub(super) known: &'static [Key<T>],
    /// All others of which something is known.
    pub(super) others: &'static [Others],
}

/// A row: a key that works.
pub(super) struct Key<T: 'static> {
    pub(super) doc: KeyDoc,
    /// What people call it who come from elsewhere, separated by blanks.
    pub(super) also: &'static str,
    pub(super) read: Read<T>,
}

/// Reads a key's value into what its map becomes.
pub(super) type Read<T> = fn(&mut Reader<'_>, &mut T, &Field<'_, '_>);

/// A row: keys that do not work, for one reason and with one way out.
pub(super) struct Others {
    pub(super) state: State,
    /// Their names, separated by blanks.
    pub(super) names: &'static str,
    pub(super) hint: &'static str,
}

/// Why a key does not work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// It has its place in another map.
    Elsewhere,
    /// It is not built yet.
    Planned,
    /// Only a container can have it.
    NeedsContainer,
}

/// Declares the rows of one kind of map.
macro_rules! keys {
    (
        $(#[$doc:meta])*
        $table:ident: $target:ty, $place:literal, $path:literal;
        $($name:literal, $kind:literal, $example:literal, [$($also:literal)?], $text:literal => $read:expr;)*
        $(elsewhere $elsewhere_hint:literal: $elsewhere:literal;)*
        $(planned $planned_hint:literal: $planned:literal;)*
        $(container $container_hint:literal: $container:literal;)*
    ) => {
        $(#[$doc])*
        pub(in crate::spec::visit) static $table: Keys<$target> = Keys {
            place: $place,
            path: $path,
            known: &[$(Key {
                doc: KeyDoc {
                    name: $name,
                    kind: $kind,
                    example: $example,
                    doc: $text,
                },
                also: concat!($($also)?),
                read: $read,
            }),*],
            others: &[
                $(Others { state: State::Elsewhere, names: $elsewhere, hint: $elsewhere_hint },)*
                $(Others { state: State::Planned, names: $planned, hint: $planned_hint },)*
                $(Others {
                    state: State::NeedsContainer,
                    names: $container,
                    hint: $container_hint,
                },)*
            ],
        };
    };
}
pub(super) use keys;

/// A section of the reference: the keys of one kind of map.
#[derive(Debug)]
pub struct Section {
    /// Where such a map stands: `services.NAME.healthcheck`; empty at the top level.
    pub path: &'static str,
    /// The keys that work.
    pub keys: Vec<KeyDoc>,
    /// The keys that are not built yet.
    pub planned: Vec<&'static str>,
    /// The keys that only a container can have.
    pub container: Vec<&'static str>,
}

/// A key as the reference tells of it.
#[derive(Debug, Clone, Copy)]
pub struct KeyDoc {
    /// Its name.
    pub name: &'static str,
    /// What kind of value it has, in a word or two.
    pub kind: &'static str,
    /// A value as one writes it; the default, where there is one.
    pub example: &'static str,
    /// What it is for.
    pub doc: &'static str,
}

impl<T> Keys<T> {
    fn get(&self, name: &str) -> Option<&Key<T>> {
        self.known.iter().find(|key| key.doc.name == name)
    }

    /// Whether a key works.
    pub(super) fn knows(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    fn names(&self) -> impl ExactSizeIterator<Item = &'static str> {
        self.known.iter().map(|key| key.doc.name)
    }

    fn others_of(&self, state: State) -> impl Iterator<Item = &'static str> {
        let rows = self.others.iter().filter(move |row| row.state == state);
        rows.flat_map(|row| row.names.split_whitespace())
    }

    /// The key that a wrong one was meant to be.
    pub(super) fn suggest(&self, wrong: &str) -> Option<&'static str> {
        let is_also = |key: &&Key<T>| key.also.split_whitespace().any(|also| also == wrong);
        let also = self.known.iter().find(is_also).map(|key| key.doc.name);
        also.or_else(|| nearest(wrong, self.names()))
            .or_else(|| nearest(wrong, self.others_of(State::Planned)))
            .or_else(|| nearest(wrong, self.others_of(State::NeedsContainer)))
    }

    /// Its section of the reference.
    pub(super) fn section(&self) -> Section {
        Section {
            path: self.path,
            keys: self.known.iter().map(|key| key.doc).collect(),
            planned: self.others_of(State::Planned).collect(),
            container: self.others_of(State::NeedsContainer).collect(),
        }
    }
}

impl Reader<'_> {
    /// Reads the keys of a map into `target`; anything but a map has no keys. Returns those that
    /// are there.
    pub(super) fn read<'n, 't, T>(
        &mut self,
        keys: &Keys<T>,
        target: &mut T,
        node: &'n Node<'t>,
    ) -> Vec<Field<'n, 't>> {
        let fields = self.own_fields(node);
        for field in &fields {
            self.read_key(keys, target, field);
        }
        fields
    }

    /// As [`Self::read`], where nothing but a map or nothing at all can stand.
    pub(super) fn read_map<'n, 't, T>(
        &mut self,
        keys: &Keys<T>,
        target: &mut T,
        field: &Field<'n, 't>,
        hint: &str,
    ) -> Vec<Field<'n, 't>> {
        if self.is_map_or_nothing(field, hint) {
            self.read(keys, target, field.value)
        } else {
            Vec::new()
        }
    }

    pub(super) fn read_key<T>(&mut self, keys: &Keys<T>, target: &mut T, field: &Field<'_, '_>) {
        match keys.get(field.name) {
            Some(key) => (key.read)(self, target, field),
            // What nobody will see need not be worked out.
            None if self.is_full() => {}
            None => {
                let problem = self.refusal(keys, field);
                self.report(problem);
            }
        }
    }

    /// The problem with a key that does not work.
    fn refusal<T>(&self, keys: &Keys<T>, field: &Field<'_, '_>) -> Problem {
        let (name, span) = (field.name, field.key.span());
        let mut others = keys.others.iter();
        if let Some(row) = others.find(|row| row.names.split_whitespace().any(|it| it == name)) {
            let (code, message) = match (row.state, &self.place) {
                (State::Elsewhere, _) => (
                    code::UNKNOWN_KEY,
                    format!("`{name}` does not belong {}", keys.place),
                ),
                (State::Planned, _) => (
                    code::NOT_SUPPORTED_YET,
                    format!("`{name}` is not supported yet"),
                ),
                (State::NeedsContainer, Place::Service { name: service, .. }) => (
                    code::NEEDS_CONTAINER,
                    format!("`{name}` needs a container: service `{service}` runs as a process"),
                ),
                (State::NeedsContainer, Place::Stack(_) | Place::Nowhere(_)) => (
                    code::NEEDS_CONTAINER,
                    format!("`{name}` needs a container, and every service here is a process"),
                ),
            };
            return Problem::error(code, message, &span).hint(row.hint);
        }
        let message = format!("unknown key `{name}` {}", keys.place);
        let problem = Problem::error(code::UNKNOWN_KEY, message, &span);
        match keys.suggest(name) {
            Some(meant) => problem
                .label(format!("did you mean `{meant}`?"))
                .hint(format!(
                    "write `{meant}`, or `x-{name}` for a key of your own"
                )),
            None => problem.hint(format!(
                "the keys are {}; keys of your own start with `x-`",
                list(keys.names())
            )),
        }
    }
}
