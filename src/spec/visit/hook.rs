//! `pre_start`, `post_start` and `pre_stop`: a command, or a list of them.

use indexmap::IndexMap;

use super::keys::HOOK;
use super::{Field, Reader};
use crate::spec::code;
use crate::spec::model::{CommandSpec, HookSpec, HookTime};
use crate::spec::problem::Report;
use crate::spec::template::Template;
use crate::spec::tree::Kind;

const COMMANDS_HINT: &str = "for several commands write each as a map, `- command: npm ci`; for one, \
                             one item for each word";

impl Reader<'_> {
    /// The hooks of one time. A list of texts is one command, as everywhere; any other list has a hook
    /// in each item.
    pub(super) fn hooks(&mut self, time: HookTime, field: &Field<'_, '_>) -> Vec<HookSpec> {
        let Kind::Sequence(items) = &field.value.kind else {
            return self.hook(time, field).into_iter().collect();
        };
        if field.value.is_list_of_texts() {
            return self.hook(time, field).into_iter().collect();
        }
        let hooks = items.iter().filter_map(|item| {
            let value = &**item;
            self.hook(time, &Field { value, ..*field })
        });
        hooks.collect()
    }

    /// One hook; nothing where there is none, or nothing of it can be used.
    fn hook(&mut self, time: HookTime, field: &Field<'_, '_>) -> Option<HookSpec> {
        let mut hook = HookSpec {
            time,
            command: None,
            environment: IndexMap::new(),
            working_dir: None,
            user: None,
            timeout: None,
        };
        let before = self.problems.len();
        if let Kind::Mapping(_) = field.value.kind {
            self.read(&HOOK, &mut hook, field.value);
        } else if field.value.is_null() {
            return None;
        } else {
            hook.command = self.command(field);
        }
        let first = hook.command.as_ref().and_then(CommandSpec::first_word);
        let text = first.filter(|word| !word.is_broken && !word.had_variable);
        let text = text.and_then(Template::as_literal);
        let is_nothing =
            first.is_none() || text.as_ref().is_some_and(|text| text.trim().is_empty());
        if is_nothing && self.problems.len() == before {
            let message = format!("a hook of `{}` has no `command`", field.name);
            let hint = format!("say what it runs: `{}: npm run build`", field.name);
            self.error(code::EMPTY_COMMAND, &field.span(), message, hint);
        }
        if let (Some(CommandSpec::Words(words, _)), Some(text)) = (&hook.command, text)
            && text.contains(' ')
            && !text.contains('/')
        {
            let message = format!("the whole of `{text}` is taken for the name of a program");
            self.warning(code::ONE_WORD, &words[0].span, message, COMMANDS_HINT);
        }
        hook.command.is_some().then_some(hook)
    }
}
