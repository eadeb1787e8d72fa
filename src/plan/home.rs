//! Where an instance keeps what is its own: directories, sockets, secrets, and the files of its
//! services.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::spec::model::{FileKind, StackSpec, Thing};
use crate::support::hash::fnv1a;
use crate::support::name::{PortName, ProjectName, ServiceName};

/// The longest path of a socket, in bytes: `sun_path` holds 108, with the final NUL.
const MAX_SOCKET_PATH: usize = 107;

/// The places of an instance, and its secrets.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Home {
    /// Its own directory.
    pub dir: PathBuf,
    /// Where sockets may be whose paths would be too long there: directories of this user alone.
    pub sockets: Vec<PathBuf>,
    /// The generated secrets that there are, by their [names](secret_names).
    pub secrets: BTreeMap<String, String>,
}

/// What the generated secrets of a stack are called as files.
pub fn secret_names(spec: &StackSpec) -> impl Iterator<Item = String> {
    spec.services.values().flat_map(|service| {
        let things = service.things.iter();
        let secrets = things.filter(|(_, it)| it.thing == Thing::Secret);
        secrets.map(|(name, _)| secret_name(&service.name, name))
    })
}

fn secret_name(service: &ServiceName, name: &PortName) -> String {
    format!("{service}.{name}")
}

impl Home {
    /// Where a project usually has it, for all that is said before that is known.
    pub(super) fn usual(project: &ProjectName, project_dir: &Path) -> Self {
        Self {
            dir: project_dir.join(".stack").join(project.as_str()),
            ..Self::default()
        }
    }

    /// The file of a config or secret for a service.
    pub(super) fn file(&self, kind: FileKind, service: &ServiceName, name: &str) -> PathBuf {
        self.dir
            .join(kind.key())
            .join(service.to_string())
            .join(name)
    }

    /// A directory or socket of a replica; the first one's stays the same however many there are.
    pub(super) fn place(
        &self,
        is_socket: bool,
        (service, replica): (&ServiceName, u32),
        name: &PortName,
    ) -> PathBuf {
        let name = match replica {
            1 => name.to_string(),
            // No name has a dot in it.
            replica => format!("{name}.{replica}"),
        };
        let kind = if is_socket { "sockets" } else { "dirs" };
        let own = self.dir.join(kind).join(service.to_string()).join(&name);
        if !is_socket {
            return own;
        }
        self.fitting(own)
    }

    /// The socket on which a replica says how it is.
    pub(super) fn notify(&self, service: &ServiceName, replica: u32) -> PathBuf {
        let dir = self.dir.join("notify").join(service.to_string());
        self.fitting(dir.join(replica.to_string()))
    }

    /// A path for a socket that fits, its own if that does.
    fn fitting(&self, own: PathBuf) -> PathBuf {
        let fits = |path: &PathBuf| path.as_os_str().as_bytes().len() <= MAX_SOCKET_PATH;
        if fits(&own) {
            return own;
        }
        // One directory for each service, as it belongs to the service's user.
        let of_service = fnv1a(own.parent().unwrap_or(&own).as_os_str().as_bytes());
        let name = own.file_name().unwrap_or_default();
        let elsewhere = self.sockets.iter();
        let mut elsewhere = elsewhere.map(|dir| dir.join(format!("{of_service:016x}")).join(name));
        elsewhere.find(fits).unwrap_or(own)
    }

    /// A generated secret, if there is one.
    pub(super) fn secret(&self, service: &ServiceName, name: &PortName) -> Option<&str> {
        let secret = self.secrets.get(&secret_name(service, name))?;
        Some(secret.as_str())
    }
}
