//! `healthcheck`: exactly one way to ask, and when.

use std::rc::Rc;

use indexmap::IndexMap;

use super::keys::{HEALTHCHECK, HTTP};
use super::values::parse_pattern;
use super::{Field, Reader};
use crate::spec::code;
use crate::spec::model::{
    Answerer, HealthTimes, HealthcheckSpec, HttpProbeSpec, ProbeSpec, Setting,
};
use crate::spec::problem::{Problem, Report, Span};
use crate::spec::template::{Piece, Template, TemplateKind};
use crate::spec::tree::{Kind, Node};
use crate::support::port_range::parse_port;

const TEST_FORMS: &str = "write a shell line, `[CMD, program, argument]`, `[CMD-SHELL, line]` or \
                          `NONE`";

/// A health check while it is read.
#[derive(Default)]
pub(super) struct Check {
    /// The ways to ask, each with its key; `NONE` is nothing to ask.
    probes: Vec<(Span, Option<ProbeSpec>)>,
    pub(super) is_disabled: bool,
    pub(super) times: HealthTimes,
    pub(super) listener: Option<Setting<Answerer>>,
}

impl Check {
    pub(super) fn add(&mut self, field: &Field<'_, '_>, probe: Option<ProbeSpec>) {
        self.probes.push((field.key.span(), probe));
    }
}

impl Reader<'_> {
    pub(super) fn healthcheck(&mut self, field: &Field<'_, '_>) -> Option<HealthcheckSpec> {
        let mut check = Check::default();
        let before = self.problems.len();
        let hint = "write `healthcheck: {test: …}` or `{http: /health}`";
        self.read_map(&HEALTHCHECK, &mut check, field, hint);
        if let [(first, _), (second, _), ..] = check.probes.as_slice() {
            self.report(
                Problem::error(
                    code::BAD_HEALTHCHECK,
                    "a health check asks in exactly one way",
                    second,
                )
                .label("another way")
                .also(first, "one way")
                .hint("keep one of `test`, `http`, `tcp`, `log` and `notify`"),
            );
        }
        let is_reported = self.problems.len() > before;
        if check.probes.is_empty() && !check.is_disabled && !is_reported {
            self.error(
                code::BAD_HEALTHCHECK,
                &field.key.span(),
                "this health check asks nothing",
                "give it one of `test`, `http`, `tcp`, `log` and `notify`, or `disable: true`",
            );
        }
        let probe = check.probes.into_iter().next()?.1;
        Some(HealthcheckSpec {
            probe: probe.filter(|_| !check.is_disabled)?,
            times: check.times,
            listener: check.listener,
        })
    }

    /// `test:`; nothing for `NONE`.
    pub(super) fn test(&mut self, field: &Field<'_, '_>) -> Option<ProbeSpec> {
        let span = field.span();
        Some(match &field.value.kind {
            Kind::Scalar { text, .. } if text == "NONE" => return None,
            Kind::Scalar { text, .. } if text.trim().is_empty() || field.value.is_null() => {
                self.bad_test(&span, "this `test` has no command")
            }
            Kind::Scalar { .. } => self.shell_test(field.value),
            Kind::Sequence(items) => return self.test_list(items, &span),
            Kind::Mapping(_) => {
                self.wrong_type("a text or a list", field, TEST_FORMS);
                stand_in()
            }
        })
    }

    fn test_list(&mut self, items: &[Rc<Node<'_>>], span: &Span) -> Option<ProbeSpec> {
        let kind = items.first().and_then(|first| first.text());
        Some(match (kind, items) {
            (Some("NONE"), [_]) => return None,
            (Some("CMD"), [_, words @ ..]) if !words.is_empty() => {
                ProbeSpec::Command(self.words("test", words))
            }
            (Some("CMD-SHELL"), [_, line]) => self.shell_test(line),
            (Some("CMD-SHELL"), [_, _, _, ..]) => {
                self.bad_test(span, "`CMD-SHELL` takes one line, in quotes")
            }
            (Some("CMD" | "CMD-SHELL"), _) | (_, []) => {
                self.bad_test(span, "this `test` has no command")
            }
            (Some("NONE"), _) => self.bad_test(span, "`NONE` takes nothing after it"),
            (Some(_) | None, [first, ..]) => self.bad_test(
                &first.span(),
                "a `test` list starts with `CMD`, `CMD-SHELL` or `NONE`",
            ),
        })
    }

    fn shell_test(&mut self, line: &Node<'_>) -> ProbeSpec {
        match self.template("`test`", line, TemplateKind::Shell) {
            Some(line) => ProbeSpec::Shell(line),
            None => stand_in(),
        }
    }

    fn bad_test(&mut self, span: &Span, message: &str) -> ProbeSpec {
        self.error(code::BAD_HEALTHCHECK, span, message, TEST_FORMS);
        stand_in()
    }

    pub(super) fn http(&mut self, field: &Field<'_, '_>) -> ProbeSpec {
        let mut http = HttpProbeSpec {
            path: Template::literal("/", field.key.span()),
            port: None,
            status: Vec::new(),
            headers: IndexMap::new(),
        };
        if matches!(field.value.kind, Kind::Mapping(_)) {
            self.read(&HTTP, &mut http, field.value);
        } else if let Some(path) = self.http_path(field) {
            http.path = path;
        }
        ProbeSpec::Http(http)
    }

    /// A path or a URL; where its beginning is written out, it is checked.
    pub(super) fn http_path(&mut self, field: &Field<'_, '_>) -> Option<Template> {
        let template = self.text(field)?;
        let Some(Piece::Text(start)) = template.pieces.first() else {
            return Some(template);
        };
        let is_good = start.starts_with('/') || start.starts_with("http://");
        if is_good || template.had_variable || template.is_broken {
            return Some(template);
        }
        if start.starts_with("https://") {
            self.error(
                code::NOT_SUPPORTED_YET,
                &template.span,
                "an `https` check is not supported yet",
                "use `test: curl -fsk https://…`, or check a plain `http` port",
            );
        } else {
            self.error(
                code::BAD_HEALTHCHECK,
                &template.span,
                "an `http` check needs a path or a URL",
                "write `/health`, or `http://127.0.0.1:$<PORT>/health`",
            );
        }
        None
    }

    pub(super) fn log(&mut self, field: &Field<'_, '_>) -> ProbeSpec {
        let pattern = self.filled(field, TemplateKind::Pattern);
        let pattern = pattern.map(|pattern| self.settle(pattern, parse_pattern));
        pattern.map_or_else(stand_in, ProbeSpec::Log)
    }

    pub(super) fn tcp(&mut self, field: &Field<'_, '_>) -> ProbeSpec {
        let Some(address) = self.text(field) else {
            return stand_in();
        };
        let is_port =
            |text: String| parse_port(text.rsplit(':').next().unwrap_or_default()).is_ok();
        let is_good = address.had_variable || address.as_literal().is_none_or(is_port);
        if !is_good && !address.is_broken {
            self.error(
                code::BAD_PORT,
                &address.span,
                "a `tcp` check needs a port, or a host and a port",
                "write `tcp: $<PORT>`, `tcp: 5432` or `tcp: 127.0.0.1:5432`",
            );
            return stand_in();
        }
        ProbeSpec::Tcp(address)
    }
}

/// Stands in for a check that was reported, so that nobody is told that there is none.
fn stand_in() -> ProbeSpec {
    ProbeSpec::Command(Vec::new())
}
