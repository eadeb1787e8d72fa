//! The texts of all files of a stack: each stays where it is while more are added, since trees borrow
//! from it.

use std::cell::OnceCell;
use std::sync::Arc;

use super::problem::Source;

/// Texts, in a chain of which every link is written once.
#[derive(Default)]
pub(super) struct Texts(OnceCell<Box<Link>>);

struct Link {
    source: Arc<Source>,
    next: Texts,
}

impl Texts {
    /// Keeps a text.
    pub(super) fn keep(&self, source: Arc<Source>) -> &Arc<Source> {
        let mut at = self;
        while let Some(link) = at.0.get() {
            at = &link.next;
        }
        let link = at.0.get_or_init(|| {
            let next = Self::default();
            Box::new(Link { source, next })
        });
        &link.source
    }
}
