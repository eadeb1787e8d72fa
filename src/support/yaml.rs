//! Writing YAML. The one file that names `serde_yaml`; what users wrote is read by
//! `spec::load` instead, which keeps positions and source text.

use serde::Serialize;

/// Renders `value` as a YAML document.
pub fn to_string(value: &impl Serialize) -> Result<String, serde_yaml::Error> {
    serde_yaml::to_string(value)
}
