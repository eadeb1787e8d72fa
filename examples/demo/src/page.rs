//! The two pages: HTML, style and script embedded in the binary, nothing from any network.
//!
//! A page is told one thing by its server: where the backend is. Everything else it asks the
//! backend for, from the browser.

use axum::http::{HeaderValue, header};
use axum::middleware::from_fn;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Map, Value, json};

use crate::access_log;

const STYLE: &str = include_str!("../assets/style.css");
const UI: &str = include_str!("../assets/ui.html");
const ADMIN: &str = include_str!("../assets/admin.html");

/// The customers' page.
pub(crate) fn ui() -> Result<Router, String> {
    Ok(page(UI, &backend_url()?))
}

/// The dashboard, with what it was given in its environment.
pub(crate) fn admin() -> Result<Router, String> {
    Ok(page(ADMIN, &backend_url()?).route("/environment", get(async || Json(environment()))))
}

fn backend_url() -> Result<String, String> {
    std::env::var("BACKEND_URL")
        .map(|url| url.trim_end_matches('/').to_owned())
        .map_err(|_| "BACKEND_URL is not set: it says where the backend is".to_owned())
}

fn page(html: &str, backend_url: &str) -> Router {
    let html = render(html, backend_url);
    Router::new()
        .route(
            "/",
            get(async move || no_store(Html(html.clone()).into_response())),
        )
        .route("/health", get(async || Json(json!({ "status": "ok" }))))
        .layer(from_fn(access_log::print_line))
}

/// Puts the style and the backend's address into a page.
fn render(html: &str, backend_url: &str) -> String {
    // A script ends at the first `</`, wherever it stands, hence the escape.
    let url = json!(backend_url).to_string().replace('<', "\\u003c");
    html.replace("/*STYLE*/", STYLE)
        .replace("\"BACKEND_URL\"", &url)
}

/// Ports move between runs; a browser must not show a page of yesterday.
fn no_store(mut response: Response) -> Response {
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// What `stack` put into the environment: ports, addresses, its own marks. Nothing else leaves.
fn environment() -> Value {
    let mut keys: Vec<(String, String)> = std::env::vars()
        .filter(|(key, _)| is_from_stack(key))
        .collect();
    keys.sort();
    let map: Map<String, Value> = keys
        .into_iter()
        .map(|(key, value)| (key, json!(value)))
        .collect();
    Value::Object(map)
}

fn is_from_stack(key: &str) -> bool {
    key == "PORT"
        || key == "BACKEND_URL"
        || ["BACKEND", "UI", "ADMIN"]
            .iter()
            .any(|service| key == format!("{service}_PORT"))
        || ["PROJECT", "INSTANCE", "RUN", "SERVICE", "REPLICA"]
            .iter()
            .any(|mark| key == format!("STACK_{mark}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_self_contained_and_know_the_backend() {
        for html in [UI, ADMIN] {
            let page = render(html, "http://localhost:8000");
            assert!(page.contains("const BACKEND = \"http://localhost:8000\";"));
            assert!(page.contains("--accent"), "the style is missing");
            assert!(!page.contains("/*STYLE*/"));
            for attribute in ["src=\"http", "href=\"http", "@import", "url(http"] {
                assert!(!page.contains(attribute), "{attribute}");
            }
        }
    }

    #[test]
    fn an_address_cannot_end_the_script() {
        assert!(!render(UI, "</script>x").contains("</script>x"));
    }

    #[test]
    fn secrets_of_the_caller_stay_inside() {
        assert!(is_from_stack("STACK_INSTANCE"));
        assert!(is_from_stack("UI_PORT"));
        assert!(!is_from_stack("AWS_SECRET_ACCESS_KEY"));
        assert!(!is_from_stack("STACK_FILE"));
    }
}
