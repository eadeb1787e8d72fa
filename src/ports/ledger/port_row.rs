//! A port under its name, as short as it can be written: every start of a stack reads and writes
//! those of all others.

use std::fmt;

use serde::de::{Error, SeqAccess, Visitor};
use serde::ser::SerializeSeq;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::ports::request::PortKey;
use crate::support::protocol::Protocol;

/// In the file `["api","PORT",8000]`, where it matters with the number of the replica and the
/// protocol behind: `["dns","PORT",8053,2,"udp"]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PortRow {
    pub(crate) key: PortKey,
    pub(crate) protocol: Protocol,
    pub(crate) port: u16,
}

impl Serialize for PortRow {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let is_plain = self.key.replica == 1 && self.protocol.is_tcp();
        let mut row = serializer.serialize_seq(Some(if is_plain { 3 } else { 5 }))?;
        row.serialize_element(&self.key.service)?;
        row.serialize_element(&self.key.name)?;
        row.serialize_element(&self.port)?;
        if !is_plain {
            row.serialize_element(&self.key.replica)?;
            row.serialize_element(&self.protocol)?;
        }
        row.end()
    }
}

impl<'de> Deserialize<'de> for PortRow {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(RowVisitor)
    }
}

struct RowVisitor;

impl<'de> Visitor<'de> for RowVisitor {
    type Value = PortRow;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a service, a name, and a port")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut row: A) -> Result<PortRow, A::Error> {
        let missing = |index| A::Error::invalid_length(index, &self);
        let service = row.next_element()?.ok_or_else(|| missing(0))?;
        let name = row.next_element()?.ok_or_else(|| missing(1))?;
        let port = row.next_element()?.ok_or_else(|| missing(2))?;
        let replica = row.next_element()?.unwrap_or(1);
        let protocol = row.next_element()?.unwrap_or_default();
        Ok(PortRow {
            key: PortKey {
                service,
                replica,
                name,
            },
            protocol,
            port,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::testing::key;

    #[test]
    fn a_row_says_only_what_is_not_plain() {
        let plain = PortRow {
            key: key("api"),
            protocol: Protocol::Tcp,
            port: 8000,
        };
        let mut second = plain.clone();
        second.key.replica = 2;
        let udp = PortRow {
            protocol: Protocol::Udp,
            ..plain.clone()
        };
        for (row, text) in [
            (plain, r#"["api","PORT",8000]"#),
            (second, r#"["api","PORT",8000,2,"tcp"]"#),
            (udp, r#"["api","PORT",8000,1,"udp"]"#),
        ] {
            assert_eq!(serde_json::to_string(&row).unwrap(), text);
            assert_eq!(serde_json::from_str::<PortRow>(text).unwrap(), row);
        }
        for text in ["[]", r#"["api","PORT"]"#, r#"["api","PORT",70000]"#, "{}"] {
            assert!(serde_json::from_str::<PortRow>(text).is_err(), "{text}");
        }
    }
}
