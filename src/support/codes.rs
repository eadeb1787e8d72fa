//! A room's list of diagnostic codes, so that a test can hold a bad example against each of them.

/// Declares constants of codes, and for tests `ALL` with every one of them.
macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $code:literal;)*) => {
        $($(#[$doc])* pub(crate) const $name: &str = $code;)*

        /// Every code of this room.
        #[cfg(test)]
        pub(crate) const ALL: &[&str] = &[$($code),*];
    };
}

pub(crate) use codes;
