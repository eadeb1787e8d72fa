//! Tests of both grammars.
