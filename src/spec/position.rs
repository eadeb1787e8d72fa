//! From the parser's character indices to byte offsets.

/// How many characters lie between two checkpoints.
const STRIDE: usize = 128;

/// Maps the index of a character to its byte offset, in constant time for each question.
///
/// The parser counts characters; spans count bytes. A table of checkpoints costs one pass over the
/// text, and each lookup walks at most [`STRIDE`] characters, so that a whole file stays linear
/// whatever the order of the questions. Text that is all ASCII needs no table.
pub(super) struct CharIndex<'s> {
    text: &'s str,
    /// The byte offset of every [`STRIDE`]th character; empty when characters are bytes.
    checkpoints: Vec<usize>,
}

impl<'s> CharIndex<'s> {
    pub(super) fn new(text: &'s str) -> Self {
        let checkpoints = if text.is_ascii() {
            Vec::new()
        } else {
            text.char_indices()
                .step_by(STRIDE)
                .map(|(offset, _)| offset)
                .collect()
        };
        Self { text, checkpoints }
    }

    /// The byte offset of a character; past the end, the length of the text.
    pub(super) fn byte(&self, character: usize) -> usize {
        if self.checkpoints.is_empty() {
            return character.min(self.text.len());
        }
        let Some(&start) = self.checkpoints.get(character / STRIDE) else {
            return self.text.len();
        };
        self.text[start..]
            .char_indices()
            .nth(character % STRIDE)
            .map_or(self.text.len(), |(offset, _)| start + offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_become_bytes_in_any_order() {
        let text = "aé日🦀".repeat(200);
        let index = CharIndex::new(&text);
        let all: Vec<_> = text.char_indices().collect();
        for (character, &(byte, _)) in all.iter().enumerate().rev() {
            assert_eq!(index.byte(character), byte);
        }
        assert_eq!(index.byte(800), text.len());
        assert_eq!(index.byte(usize::MAX), text.len());
        assert_eq!(CharIndex::new("abc").byte(9), 3);
        assert_eq!(CharIndex::new("").byte(0), 0);
    }
}
