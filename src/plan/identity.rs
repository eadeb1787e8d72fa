//! What a project is called, and which copy of it this is.

use std::path::Path;

use super::code;
use crate::spec::model::StackSpec;
use crate::spec::problem::Problem;
use crate::support::hash::fnv1a;
use crate::support::name::ProjectName;

/// The id of an instance: the name, a dash and 16 hex digits of the directory's hash.
pub fn instance_id(project: &ProjectName, project_dir: &Path) -> String {
    let hash = fnv1a(project_dir.as_os_str().as_encoded_bytes());
    format!("{project}-{hash:016x}")
}

/// The project's name: what the caller said, else `name:`, else the directory's name.
///
/// A name from the file or the directory is made fit; one that the caller gave must be fit.
pub(super) fn project_name(
    asked: Option<&str>,
    spec: &StackSpec,
    problems: &mut Vec<Problem>,
) -> Option<ProjectName> {
    let problem = |message: String, hint: String| {
        Problem::without_place(code::PROJECT_NAME, message).hint(hint)
    };
    if let Some(asked) = asked {
        let name = ProjectName::new(asked);
        if let Err(error) = &name {
            let message = format!("`{asked}` is not a valid project name: {error}");
            let hint = match ProjectName::normalised(asked) {
                Some(name) => format!("use `{name}`: a to z, 0 to 9, `-` and `_`"),
                None => "use a to z, 0 to 9, `-` and `_`".to_owned(),
            };
            problems.push(problem(message, hint));
        }
        return name.ok();
    }
    let of_directory = || {
        let name = spec.project_dir.file_name()?.to_string_lossy();
        ProjectName::normalised(&name)
    };
    let name = spec.name.clone().or_else(of_directory);
    if name.is_none() {
        problems.push(problem(
            "no project name can be made of the directory's name".to_owned(),
            "give the project a name: `name: shop` at the top of the file, or `-p shop`".to_owned(),
        ));
    }
    name
}

/// Stands in for a name that there is none of, so that the rest is still checked.
pub(super) fn stand_in_name() -> ProjectName {
    ProjectName::new("project").expect("a plain word is a valid name")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_checkouts_of_one_name_are_two_instances() {
        let project = ProjectName::new("shop").unwrap();
        let one = instance_id(&project, Path::new("/a/shop"));
        assert_ne!(one, instance_id(&project, Path::new("/b/shop")));
        assert_eq!(one.len(), "shop-".len() + 16);
    }
}
