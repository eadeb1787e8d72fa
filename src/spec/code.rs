//! The stable codes of everything that can be wrong with a `stack.yaml`.
//!
//! One list, so that a test can hold a bad example against each of them.

use crate::support::codes::codes;

codes! {
    /// No `stack.yaml` here or above, or the one that was named does not exist.
    NO_FILE = "stack::spec::no_file";
    /// The file is there and cannot be read.
    UNREADABLE = "stack::spec::unreadable";
    /// More than [`super::text::MAX_BYTES`].
    TOO_LARGE = "stack::spec::too_large";
    /// Bytes that are not UTF-8.
    INVALID_UTF8 = "stack::spec::invalid_utf8";
    /// A NUL, in the text or by an escape.
    NUL = "stack::spec::nul";
    /// Nothing but comments and blanks.
    EMPTY_FILE = "stack::spec::empty_file";
    /// A second YAML document.
    SECOND_DOCUMENT = "stack::spec::second_document";
    /// Text that is not valid YAML.
    SYNTAX = "stack::spec::syntax";
    /// Nested deeper than [`super::load::MAX_DEPTH`].
    TOO_DEEP = "stack::spec::too_deep";
    /// More nodes than [`super::load::MAX_NODES`] once aliases are expanded.
    TOO_MANY_NODES = "stack::spec::too_many_nodes";
    /// A tag that means nothing here.
    UNKNOWN_TAG = "stack::spec::unknown_tag";
    /// A key twice in one map.
    DUPLICATE_KEY = "stack::spec::duplicate_key";
    /// `<<` with something that cannot be merged.
    BAD_MERGE = "stack::spec::bad_merge";
    /// `include` of a file that cannot be read, that includes the file in which it stands, or that has
    /// what only the including file can have.
    BAD_INCLUDE = "stack::spec::bad_include";
    /// `extends` of what is not there, or of a service that extends this one.
    BAD_EXTENDS = "stack::spec::bad_extends";
    /// A file of the Haskell tool of the same name.
    OTHER_TOOL = "stack::spec::other_tool";
    /// A map where a list belongs, and the like.
    WRONG_TYPE = "stack::spec::wrong_type";
    /// A key that does not exist.
    UNKNOWN_KEY = "stack::spec::unknown_key";
    /// A key that is not built yet.
    NOT_SUPPORTED_YET = "stack::spec::not_supported_yet";
    /// A Compose key that only a container can have.
    NEEDS_CONTAINER = "stack::spec::needs_container";
    /// No `services:`, or an empty one.
    NO_SERVICES = "stack::spec::no_services";
    /// A service without anything below it.
    EMPTY_SERVICE = "stack::spec::empty_service";
    /// A service with neither `command` nor `entrypoint`.
    NO_COMMAND = "stack::spec::no_command";
    /// A command without a word.
    EMPTY_COMMAND = "stack::spec::empty_command";
    /// Warning: a list of one word with blanks in it.
    ONE_WORD = "stack::spec::one_word";
    /// A name that is not valid.
    BAD_NAME = "stack::spec::bad_name";
    /// An environment key that is not valid.
    BAD_KEY = "stack::spec::bad_key";
    /// A duration, number, signal or other typed text that cannot be read.
    BAD_VALUE = "stack::spec::bad_value";
    /// A port or a range of ports that is not valid.
    BAD_PORT = "stack::spec::bad_port";
    /// A health check that asks nothing, asks in two ways, or in an unknown way.
    BAD_HEALTHCHECK = "stack::spec::bad_healthcheck";
    /// A `watch` that does not say what to do, or says it in two ways.
    BAD_WATCH = "stack::spec::bad_watch";
    /// A `schedule` that says nothing, or in two ways.
    BAD_SCHEDULE = "stack::spec::bad_schedule";
    /// `restart` and `restart_policy.condition` that disagree.
    CONFLICTING_RESTART = "stack::spec::conflicting_restart";
    /// `${…}` that cannot be read.
    BAD_VARIABLE = "stack::spec::bad_variable";
    /// `$<…>` that cannot be read.
    BAD_PLACEHOLDER = "stack::spec::bad_placeholder";
    /// Warning: `${PORT:auto}` or `<PORT:auto>`, where a placeholder was meant.
    PLACEHOLDER_TYPO = "stack::spec::placeholder_typo";
    /// `$<…>` where a placeholder cannot stand.
    MISPLACED_PLACEHOLDER = "stack::spec::misplaced_placeholder";
    /// Warning: `handoff` of a service that has no port.
    HANDOFF_WITHOUT_PORTS = "stack::spec::handoff_without_ports";
    /// One port declared in two ways in one service.
    CONFLICTING_PORTS = "stack::spec::conflicting_ports";
    /// `$<name.PORT>` of a service that does not exist.
    UNKNOWN_SERVICE = "stack::spec::unknown_service";
    /// `$<configs.NAME>`, or a config or secret of a service, that does not exist.
    UNKNOWN_FILE = "stack::spec::unknown_file";
    /// A config or secret without content, with two, or with one that cannot be read.
    BAD_FILE = "stack::spec::bad_file";
    /// A port that its service does not declare.
    UNKNOWN_PORT = "stack::spec::unknown_port";
    /// Warning: `version:` does nothing.
    VERSION_IGNORED = "stack::spec::version_ignored";
    /// Warning: a key that does nothing here.
    NO_EFFECT = "stack::spec::no_effect";
    /// Warning: `$$NAME` in shell text is the shell's pid.
    SHELL_DOLLAR = "stack::spec::shell_dollar";
    /// Warning: `$NAME` where only `${NAME}` is expanded, and there is such a variable.
    BARE_VARIABLE = "stack::spec::bare_variable";
    /// Warning: `${NAME}` without a value.
    UNSET_VARIABLE = "stack::spec::unset_variable";
    /// `${NAME:?…}` without a value.
    REQUIRED_VARIABLE = "stack::spec::required_variable";
    /// Warning: a value that `stack config` had masked.
    MASKED_VALUE = "stack::spec::masked_value";
    /// A placeholder's value that a shell would read as syntax.
    UNSAFE_IN_SHELL = "stack::spec::unsafe_in_shell";
}
