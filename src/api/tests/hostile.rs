//! Clients that are broken, slow, too many, or somebody else.
