//! What a project is called, and which copy of it this is.

use std::path::Path;

use super::code;
use super::variables::Variables;
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
    variables: &Variables,
    problems: &mut Vec<Problem>,
) -> Option<ProjectName> {
    if let Some(asked) = asked {
        return match ProjectName::new(asked) {
            Ok(name) => Some(name),
            Err(error) => {
                let mut problem = Problem::without_place(
                    code::PROJECT_NAME,
                    format!("`{asked}` is no project name: {error}"),
                );
                problem.hint = Some(match ProjectName::normalised(asked) {
                    Some(name) => format!("use `{name}`: a to z, 0 to 9, `-` and `_`"),
                    None => "use a to z, 0 to 9, `-` and `_`".to_owned(),
                });
                problems.push(problem);
                None
            }
        };
    }
    if let Some(template) = &spec.name {
        let before = problems.len();
        let text = variables.resolve(&template.value, problems);
        let name = ProjectName::normalised(&text);
        // A text that could not be made has its problem already.
        let is_told =
            template.value.holds_placeholder() || problems[before..].iter().any(Problem::is_error);
        if name.is_none() && !is_told {
            problems.push(
                Problem::error(
                    code::PROJECT_NAME,
                    format!("`{text}` is no project name"),
                    &template.span,
                )
                .hint("use a to z, 0 to 9, `-` and `_`, with a letter or digit first"),
            );
        }
        return name;
    }
    let name = spec.directory_name();
    if name.is_none() {
        problems.push(
            Problem::without_place(
                code::PROJECT_NAME,
                "no project name can be made of the directory's name",
            )
            .hint("give the project a name: `name: shop` at the top of the file, or `-p shop`"),
        );
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
