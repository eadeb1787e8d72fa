//! A health check as it was understood.

use indexmap::IndexMap;
use serde::Serialize;

use super::secret::mask;
use super::view::{Scalar, View};
use super::{ShownCommand, time};
use crate::plan::model::{HealthPlan, ProbePlan};
use crate::spec::model::{HealthcheckSpec, HttpProbeSpec, ProbeSpec};

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct ShownHealth {
    #[serde(skip_serializing_if = "Option::is_none")]
    test: Option<ShownCommand>,
    #[serde(skip_serializing_if = "Option::is_none")]
    http: Option<ShownHttp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tcp: Option<String>,
    interval: Scalar,
    timeout: Scalar,
    retries: Scalar,
    start_period: Scalar,
    start_interval: Scalar,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct ShownHttp {
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    port: Option<Scalar>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    status: Vec<Scalar>,
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    headers: IndexMap<String, String>,
}

/// A health check with its plan.
pub(super) fn show_health(
    spec: &HealthcheckSpec,
    plan: &HealthPlan,
    view: &View<'_>,
) -> ShownHealth {
    let setting = |setting, settled| view.setting(setting, || time(settled));
    let mut shown = ShownHealth {
        test: None,
        http: None,
        tcp: None,
        interval: setting(spec.interval.as_ref(), plan.interval),
        timeout: setting(spec.timeout.as_ref(), plan.timeout),
        retries: view.setting(spec.retries.as_ref(), || Scalar::number(plan.retries)),
        start_period: setting(spec.start_period.as_ref(), plan.start_period),
        start_interval: setting(spec.start_interval.as_ref(), plan.start_interval),
    };
    match &spec.probe {
        ProbeSpec::Shell(line) => shown.test = Some(show_test(view.text(line))),
        ProbeSpec::Command(words, _) => {
            let kind = std::iter::once("CMD".to_owned());
            let words = kind.chain(view.texts(words)).collect();
            shown.test = Some(ShownCommand::Words(words));
        }
        ProbeSpec::Tcp(target) => shown.tcp = Some(view.text(target)),
        ProbeSpec::Http(http) => shown.http = Some(show_http(http, &plan.probe, view)),
    }
    shown
}

/// A shell line as the test of a health check. As a mere text some would mean something else.
fn show_test(line: String) -> ShownCommand {
    if line == "NONE" || line.trim().is_empty() {
        ShownCommand::Words(vec!["CMD-SHELL".to_owned(), line])
    } else {
        ShownCommand::Line(line)
    }
}

fn show_http(http: &HttpProbeSpec, plan: &ProbePlan, view: &View<'_>) -> ShownHttp {
    let status = |(low, high): (u16, u16)| {
        if low == high {
            Scalar::number(low)
        } else {
            Scalar::Text(format!("{low}-{high}"))
        }
    };
    let path = view.text(&http.path);
    // Once the number stands in the command, the declaration that gives a check its port is gone,
    // and what is shown must load again.
    let implied = match plan {
        ProbePlan::Http(plan) if view.has_own_numbers() && path.starts_with('/') => {
            Some(Scalar::number(plan.port))
        }
        ProbePlan::Http(_) | ProbePlan::Command(_) | ProbePlan::Tcp { .. } => None,
    };
    ShownHttp {
        path,
        port: view.given(http.port.as_ref(), Scalar::number).or(implied),
        status: http
            .status
            .iter()
            .filter_map(|it| view.given(Some(it), status))
            .collect(),
        headers: http
            .headers
            .iter()
            .map(|(name, value)| (name.clone(), mask(name, value, view.text(value))))
            .collect(),
    }
}
