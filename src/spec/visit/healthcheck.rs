//! `healthcheck`: exactly one way to ask, and when.

use super::keys::{HEALTHCHECK, HTTP};
use super::{Field, Reader, values};
use crate::spec::code;
use crate::spec::model::{HealthcheckSpec, HttpProbeSpec, ProbeSpec};
use crate::spec::problem::{Problem, Span};
use crate::spec::template::{Piece, Template, TemplateKind};
use crate::spec::tree::{Kind, Node};
use crate::support::port_range::parse_port;

const TEST_FORMS: &str = "write a shell line, `[CMD, program, argument]`, `[CMD-SHELL, line]` or \
                          `NONE`";

/// What a `healthcheck` key asks for.
enum Probe {
    /// A check.
    Some(Box<ProbeSpec>),
    /// `NONE`: no check.
    None,
    /// Something that was reported already.
    Wrong,
}

impl Probe {
    fn some(probe: ProbeSpec) -> Self {
        Self::Some(Box::new(probe))
    }
}

impl Reader<'_> {
    pub(super) fn healthcheck(&mut self, field: &Field<'_, '_>) -> Option<HealthcheckSpec> {
        let mut probes: Vec<(Span, Probe)> = Vec::new();
        let mut is_disabled = false;
        let mut has_unbuilt_probe = false;
        let (mut interval, mut timeout, mut retries) = (None, None, None);
        let (mut start_period, mut start_interval) = (None, None);
        let before = self.problems.len();
        for entry in self.map(field, "write `healthcheck: {test: …}` or `{http: /health}`") {
            match entry.name {
                "test" => {
                    let probe = self.test(&entry);
                    probes.push((self.span(entry.key), probe));
                }
                "http" => {
                    let probe = self.http(&entry);
                    probes.push((self.span(entry.key), probe));
                }
                "tcp" => {
                    let probe = self.tcp(&entry);
                    probes.push((self.span(entry.key), probe));
                }
                "disable" => is_disabled = self.flag(&entry).unwrap_or(false),
                "interval" => interval = self.setting(&entry, values::parse_duration),
                "timeout" => timeout = self.setting(&entry, values::parse_duration),
                "retries" => retries = self.setting(&entry, values::parse_count),
                "start_period" => start_period = self.setting(&entry, values::parse_duration),
                "start_interval" => start_interval = self.setting(&entry, values::parse_duration),
                name if name.starts_with("x-") => {}
                name => {
                    has_unbuilt_probe |= matches!(name, "log" | "notify");
                    self.refuse_key(&HEALTHCHECK, entry.key, None);
                }
            }
        }
        if let [(first, _), (second, _), ..] = probes.as_slice() {
            self.problems.push(
                Problem::error(
                    code::BAD_HEALTHCHECK,
                    "a health check asks in exactly one way",
                    second,
                )
                .label("another way")
                .also(first, "one way")
                .hint("keep one of `test`, `http` and `tcp`"),
            );
        }
        let is_reported = has_unbuilt_probe || self.problems.len() > before;
        match probes.into_iter().next() {
            _ if is_disabled => None,
            Some((_, Probe::Some(probe))) => Some(HealthcheckSpec {
                span: self.span(field.key),
                probe: *probe,
                interval,
                timeout,
                retries,
                start_period,
                start_interval,
            }),
            Some((_, Probe::None | Probe::Wrong)) => None,
            None => {
                if !is_reported {
                    let span = self.span(field.key);
                    self.problems.push(
                        Problem::error(
                            code::BAD_HEALTHCHECK,
                            "a health check that asks nothing",
                            &span,
                        )
                        .hint("give it one of `test`, `http` and `tcp`, or `disable: true`"),
                    );
                }
                None
            }
        }
    }

    fn test(&mut self, field: &Field<'_, '_>) -> Probe {
        match &field.value.kind {
            Kind::Scalar { text, .. } if text == "NONE" => Probe::None,
            Kind::Scalar { text, .. } if text.trim().is_empty() || field.value.is_null() => {
                self.bad_test(&field_span(self, field), "a `test` without a command");
                Probe::Wrong
            }
            Kind::Scalar { .. } => self
                .template("`test`", field.value, TemplateKind::Shell)
                .map_or(Probe::Wrong, |line| Probe::some(ProbeSpec::Shell(line))),
            Kind::Sequence(items) => {
                let items: Vec<&Node<'_>> = items.iter().map(AsRef::as_ref).collect();
                self.test_list(field, &items)
            }
            Kind::Mapping(_) => {
                self.wrong_type("`test`", "a text or a list", field, TEST_FORMS);
                Probe::Wrong
            }
        }
    }

    fn test_list(&mut self, field: &Field<'_, '_>, items: &[&Node<'_>]) -> Probe {
        let span = self.span(field.value);
        let kind = items.first().and_then(|first| first.text());
        match (kind, items) {
            (Some("NONE"), [_]) => Probe::None,
            (Some("CMD"), [_, _, ..]) => {
                let words = self.words("test", &items[1..]);
                Probe::some(ProbeSpec::Command(words, span))
            }
            (Some("CMD-SHELL"), [_, line]) => self
                .template("`test`", line, TemplateKind::Shell)
                .map_or(Probe::Wrong, |line| Probe::some(ProbeSpec::Shell(line))),
            (Some("CMD-SHELL"), [_, _, _, ..]) => {
                self.bad_test(&span, "`CMD-SHELL` takes one line, in quotes");
                Probe::Wrong
            }
            (Some("CMD" | "CMD-SHELL"), _) | (_, []) => {
                self.bad_test(&span, "a `test` without a command");
                Probe::Wrong
            }
            (Some("NONE"), _) => {
                self.bad_test(&span, "`NONE` takes nothing after it");
                Probe::Wrong
            }
            (Some(_) | None, _) => {
                let first = self.span(items.first().copied().unwrap_or(field.value));
                self.bad_test(
                    &first,
                    "a `test` list starts with `CMD`, `CMD-SHELL` or `NONE`",
                );
                Probe::Wrong
            }
        }
    }

    fn bad_test(&mut self, span: &Span, message: &str) {
        self.problems
            .push(Problem::error(code::BAD_HEALTHCHECK, message, span).hint(TEST_FORMS));
    }

    fn http(&mut self, field: &Field<'_, '_>) -> Probe {
        if !matches!(field.value.kind, Kind::Mapping(_)) {
            let Some(path) = self.http_path(field) else {
                return Probe::Wrong;
            };
            return Probe::some(ProbeSpec::Http(HttpProbeSpec {
                path,
                port: None,
                status: Vec::new(),
                headers: indexmap::IndexMap::new(),
            }));
        }
        let mut path = None;
        let mut is_path_given = false;
        let mut port = None;
        let mut status = Vec::new();
        let mut headers = indexmap::IndexMap::new();
        for entry in self.own_fields(field.value) {
            match entry.name {
                "path" => {
                    is_path_given = true;
                    path = self.http_path(&entry);
                }
                "port" => port = self.setting(&entry, values::parse_port),
                "status" => {
                    for item in entry.value.items() {
                        status.extend(self.setting_of("`status`", item, values::parse_status));
                    }
                }
                "headers" => headers = self.texts(&entry),
                _ => self.refuse_key(&HTTP, entry.key, None),
            }
        }
        if !is_path_given {
            let span = self.span(field.key);
            path = Some(Template::literal("/", span, TemplateKind::Plain));
        }
        match path {
            Some(path) => Probe::some(ProbeSpec::Http(HttpProbeSpec {
                path,
                port,
                status,
                headers,
            })),
            None => Probe::Wrong,
        }
    }

    /// A path or a URL; where its beginning is written out, it is checked.
    fn http_path(&mut self, field: &Field<'_, '_>) -> Option<Template> {
        let template = self.filled_template(field, TemplateKind::Plain)?;
        let start = match template.pieces.first() {
            Some(Piece::Text(text)) => text.as_str(),
            Some(Piece::BareVariable(..)) | None => "",
            Some(Piece::Variable(_) | Piece::Placeholder(..)) => return Some(template),
        };
        if start.starts_with('/') || start.starts_with("http://") {
            return Some(template);
        }
        let problem = if start.starts_with("https://") {
            Problem::error(
                code::NOT_SUPPORTED_YET,
                "an `https` check is not supported yet",
                &template.span,
            )
            .hint("use `test: curl -fsk https://…`, or check a plain `http` port")
        } else {
            Problem::error(
                code::BAD_HEALTHCHECK,
                "an `http` check needs a path or a URL",
                &template.span,
            )
            .hint("write `/health`, or `http://127.0.0.1:$<PORT>/health`")
        };
        self.problems.push(problem);
        None
    }

    fn tcp(&mut self, field: &Field<'_, '_>) -> Probe {
        let Some(address) = self.filled_template(field, TemplateKind::Plain) else {
            return Probe::Wrong;
        };
        let is_good = address.as_literal().is_none_or(|text| {
            let port = text
                .rsplit_once(':')
                .map_or(text.as_str(), |(_, port)| port);
            parse_port(port).is_ok()
        });
        if !is_good {
            self.problems.push(
                Problem::error(
                    code::BAD_PORT,
                    "a `tcp` check needs a port, or a host and a port",
                    &address.span,
                )
                .hint("write `tcp: $<PORT>`, `tcp: 5432` or `tcp: 127.0.0.1:5432`"),
            );
            return Probe::Wrong;
        }
        Probe::some(ProbeSpec::Tcp(address))
    }
}

/// The value if it has a text to underline, else the key.
fn field_span(reader: &Reader<'_>, field: &Field<'_, '_>) -> Span {
    if field.value.range.is_empty() {
        reader.span(field.key)
    } else {
        reader.span(field.value)
    }
}
