//! The words that a shell does not look up in `PATH`.

/// Whether some POSIX shell takes a first word for a keyword, a builtin or a modifier of its own.
///
/// Quoting takes the special meaning from a keyword, but not from a builtin; both go to the shell.
pub(super) fn is_shell_word(word: &str) -> bool {
    [RESERVED, SPECIAL, REGULAR, COMMON]
        .iter()
        .any(|words| words.split_whitespace().any(|it| it == word))
}

/// Reserved words: of POSIX, then those of bash, ksh and zsh.
const RESERVED: &str = "
    ! case do done elif else esac fi for if in then until while { }
    [[ ]] function namespace select time coproc
    - end foreach nocorrect noglob repeat";

/// POSIX special builtins.
const SPECIAL: &str = "
    . : break continue eval exec exit export readonly return set shift times trap unset";

/// POSIX builtins that are not looked up in `PATH`, and the utilities that every shell builds in.
const REGULAR: &str = "
    alias bg cd command false fc fg getopts hash jobs kill newgrp pwd read true type ulimit umask
    unalias wait
    [ echo printf test";

/// What bash, dash, ksh, mksh and busybox add. Programs that a shell builds in only to be faster,
/// and that behave the same (`cat`, `sleep`), are not here: nobody can tell.
const COMMON: &str = "
    autoload bind builtin caller chdir compgen complete compopt declare dirs disown emulate enable
    float functions global help hist history histcmd integer let limit local login logout mapfile
    nameref popd print pushd r readarray redirect rehash setopt shopt source stop suspend typeset
    unlimit unsetopt whence";
