//! Writing YAML. The one file that names `serde_yaml`; what users wrote is read by
//! `spec::load` instead, which keeps positions and source text.

use serde::Serialize;

/// Renders `value` as a YAML document.
pub fn to_string(value: &impl Serialize) -> Result<String, serde_yaml::Error> {
    serde_yaml::to_string(value)
}

#[cfg(test)]
pub(crate) use serde_yaml::Value;

/// Reads a YAML document, for tests that compare our reader with another.
#[cfg(test)]
pub(crate) fn from_str(text: &str) -> Result<Value, serde_yaml::Error> {
    serde_yaml::from_str(text)
}
