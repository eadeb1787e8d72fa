//! What services print: captured byte for byte, kept in files, handed to whoever watches.

mod block;

pub use block::LogBlock;
