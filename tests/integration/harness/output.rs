//! What a command left behind: exit code, stdout, stderr.

/// The end of a command.
#[derive(Debug, Clone)]
pub(crate) struct Output {
    /// What was run, for messages.
    pub(crate) command: String,
    /// Its exit code; 128 + N if signal N ended it.
    pub(crate) code: i32,
    /// Its standard output.
    pub(crate) stdout: String,
    /// Its standard error.
    pub(crate) stderr: String,
}

impl Output {
    /// Checks the exit code.
    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "exit code of {self}");
        self
    }

    /// Checks that it succeeded.
    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        self.expect(0)
    }

    /// Checks that the message on stderr names all of `parts`.
    #[track_caller]
    pub(crate) fn says(self, parts: &[&str]) -> Self {
        // Diagnostics are wrapped to the terminal's width; a break is not a difference.
        let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let stderr = words(&self.stderr);
        for part in parts {
            assert!(
                stderr.contains(&words(part)),
                "no `{part}` in stderr of {self}"
            );
        }
        self
    }
}

impl std::fmt::Display for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "`{}`, which ended with {}\n--- stdout\n{}--- stderr\n{}---",
            self.command, self.code, self.stdout, self.stderr
        )
    }
}
