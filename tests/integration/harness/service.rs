//! A row of `stack ps --format json`.

use serde_json::Value;

/// What `stack` says of a service. Read by hand rather than into the library's own types, so that a
/// change of the documented form does not go unseen.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Service(Value);

impl From<Value> for Service {
    /// A service of an event, which has the form of a row.
    fn from(row: Value) -> Self {
        Self(row)
    }
}

impl Service {
    /// All rows of the table.
    #[track_caller]
    pub(crate) fn all(json: &str) -> Vec<Self> {
        let table: Value = serde_json::from_str(json)
            .unwrap_or_else(|error| panic!("ps prints no JSON: {error}\n{json}"));
        let rows = table.as_array().expect("ps prints an array");
        rows.iter().cloned().map(Self).collect()
    }

    /// A text of the row; empty where there is none.
    fn text(&self, key: &str) -> &str {
        self.0[key].as_str().unwrap_or_default()
    }

    #[track_caller]
    fn number(&self, key: &str) -> i64 {
        self.0[key]
            .as_i64()
            .unwrap_or_else(|| panic!("no number `{key}` in {}", self.0))
    }

    /// Its name.
    pub(crate) fn name(&self) -> &str {
        self.text("service")
    }

    /// Which replica of it this is, from 1.
    #[track_caller]
    pub(crate) fn replica(&self) -> i64 {
        self.number("replica")
    }

    /// The word for the step of its life.
    pub(crate) fn phase(&self) -> &str {
        self.text("phase")
    }

    /// Why it is where it is.
    pub(crate) fn reason(&self) -> String {
        self.0["reason"].to_string()
    }

    /// The same, to be looked into.
    pub(crate) fn reason_data(&self) -> &Value {
        &self.0["reason"]
    }

    /// Its main process.
    pub(crate) fn pid(&self) -> Option<i32> {
        self.0["pid"].as_i64().and_then(|pid| pid.try_into().ok())
    }

    /// How long it took to become ready, in milliseconds.
    pub(crate) fn ready_after(&self) -> Option<i64> {
        Some(self.0["ready_at"].as_i64()? - self.0["started_at"].as_i64()?)
    }

    /// The code with which it ended.
    pub(crate) fn exit_code(&self) -> Option<i64> {
        self.0["exit"]["code"].as_i64()
    }

    /// The signal that ended it.
    pub(crate) fn exit_signal(&self) -> Option<i64> {
        self.0["exit"]["signal"].as_i64()
    }

    /// How often it was executed.
    #[track_caller]
    pub(crate) fn attempt(&self) -> i64 {
        self.number("attempt")
    }

    /// How many failures in a row there were.
    #[track_caller]
    pub(crate) fn failures(&self) -> i64 {
        self.number("failures")
    }

    /// What is known of its first port: `held`, `listening`, `stolen`, …
    pub(crate) fn port_state(&self) -> &str {
        self.0["ports"][0]["state"].as_str().unwrap_or_default()
    }

    /// The first port's whole entry.
    pub(crate) fn port_entry(&self) -> &Value {
        &self.0["ports"][0]
    }
}

/// A condition for a wait: that the phase is this one.
pub(crate) fn phase_is(phase: &str) -> impl Fn(&Service) -> bool + '_ {
    move |service| service.phase() == phase
}
