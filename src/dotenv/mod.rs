//! THE .env FILE: quote, fence, read, write.
