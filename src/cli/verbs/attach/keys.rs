//! The keys that detach: found in what is typed, however it is cut into reads.

/// What detaches unless something else is said: Ctrl-P Ctrl-Q.
pub(crate) const USUAL: &str = "ctrl-p,ctrl-q";

/// Finds the keys.
#[derive(Debug)]
pub(super) struct Detacher {
    keys: Vec<u8>,
    /// What may be the beginning of them.
    held: Vec<u8>,
}

impl Detacher {
    pub(super) fn new(keys: Vec<u8>) -> Self {
        let held = Vec::new();
        Self { keys, held }
    }

    /// The last one of the keys.
    pub(super) fn last(&self) -> u8 {
        self.keys.last().copied().unwrap_or_default()
    }

    /// Takes what was typed: what of it goes to the service, and whether the keys were among it. What
    /// comes behind them goes nowhere.
    pub(super) fn take(&mut self, typed: &[u8]) -> (Vec<u8>, bool) {
        let mut passed = Vec::with_capacity(typed.len());
        for &key in typed {
            self.held.push(key);
            if self.held == self.keys {
                return (passed, true);
            }
            while !self.keys.starts_with(&self.held) {
                passed.push(self.held.remove(0));
            }
        }
        (passed, false)
    }
}

/// Reads keys as Docker writes them: `ctrl-p,ctrl-q`, letters stand for themselves.
pub(crate) fn parse(text: &str) -> Result<Vec<u8>, String> {
    let key = |name: &str| match name.as_bytes() {
        [key] => Some(*key),
        _ => match name.strip_prefix("ctrl-")?.as_bytes() {
            // As a terminal makes them: the letter without its upper bits.
            [key @ (b'a'..=b'z' | b'@' | b'[' | b'\\' | b']' | b'^' | b'_')] => Some(key & 0x1f),
            _ => None,
        },
    };
    let keys = text.split(',').map(|name| {
        key(name)
            .ok_or_else(|| format!("`{name}` is not a key: write a letter, or `ctrl-` and one"))
    });
    keys.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detacher() -> Detacher {
        Detacher::new(parse(USUAL).unwrap())
    }

    #[test]
    fn the_keys_are_found_in_one_read_and_over_several() {
        assert_eq!(detacher().take(b"ab\x10\x11cd"), (b"ab".to_vec(), true));
        let mut split = detacher();
        assert_eq!(split.take(b"ab\x10"), (b"ab".to_vec(), false));
        assert_eq!(split.take(b""), (Vec::new(), false));
        assert_eq!(split.take(b"\x11"), (Vec::new(), true));
    }

    #[test]
    fn what_only_begins_like_them_goes_through() {
        let mut typed = detacher();
        assert_eq!(typed.take(b"\x10"), (Vec::new(), false));
        assert_eq!(typed.take(b"x\x11"), (b"\x10x\x11".to_vec(), false));
        assert_eq!(typed.take(b"\x10\x10"), (b"\x10".to_vec(), false));
        assert_eq!(typed.take(b"\x11"), (Vec::new(), true));
        let mut repeated = Detacher::new(parse("a,a,b").unwrap());
        assert_eq!(repeated.take(b"aaab"), (b"a".to_vec(), true));
    }

    #[test]
    fn keys_are_written_as_docker_has_them() {
        assert_eq!(parse("ctrl-p,ctrl-q"), Ok(vec![16, 17]));
        assert_eq!(parse("ctrl-],x"), Ok(vec![29, b'x']));
        for wrong in ["", "ctrl-", "ctrl-pp", "meta-x", "a,,b", "ctrl-p,"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
