//! The API. Pages call it from the browser, at the port that was allocated to it; which pages may,
//! it learns from `CLIENT_PORTS`.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};

use crate::access_log;
use crate::shop::Shop;

/// How long it takes until one of the regular customers comes by.
const REGULARS_EVERY: Duration = Duration::from_secs(3);

struct Backend {
    opened: Instant,
    client_ports: Vec<u16>,
    shop: Mutex<Shop>,
}

impl Backend {
    fn now(&self) -> u64 {
        self.opened.elapsed().as_secs()
    }

    fn shop(&self) -> MutexGuard<'_, Shop> {
        // Nobody panics while holding it; a poisoned shop would still be a consistent one.
        self.shop.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The routes of the API, with the regular customers on their way.
pub(crate) fn routes() -> Router {
    let client_ports = std::env::var("CLIENT_PORTS").unwrap_or_default();
    let backend = Arc::new(Backend {
        opened: Instant::now(),
        client_ports: ports(&client_ports),
        shop: Mutex::new(Shop::open()),
    });
    tokio::spawn(regulars(Arc::clone(&backend)));
    Router::new()
        .route("/health", get(health))
        .route("/api/menu", get(menu))
        .route("/api/orders", get(orders))
        .route("/api/orders/{item}", post(order))
        .route("/api/stats", get(stats))
        .layer(from_fn_with_state(Arc::clone(&backend), allow_pages))
        .layer(from_fn_with_state(Arc::clone(&backend), count))
        .layer(from_fn(access_log::print_line))
        .with_state(backend)
}

async fn regulars(backend: Arc<Backend>) {
    let mut interval = tokio::time::interval(REGULARS_EVERY);
    loop {
        interval.tick().await;
        let now = backend.now();
        backend.shop().serve_a_regular(now);
    }
}

async fn health() -> Json<Value> {
    Json(json!({ "status": "ok" }))
}

async fn menu(State(backend): State<Arc<Backend>>) -> Json<Value> {
    Json(backend.shop().menu())
}

async fn orders(State(backend): State<Arc<Backend>>) -> Json<Value> {
    let now = backend.now();
    Json(backend.shop().orders(now))
}

async fn order(State(backend): State<Arc<Backend>>, Path(item): Path<String>) -> Response {
    let now = backend.now();
    match backend.shop().order(&item, "you", now) {
        Some(order) => (StatusCode::CREATED, Json(order)).into_response(),
        None => (StatusCode::NOT_FOUND, "we do not bake that\n").into_response(),
    }
}

async fn stats(State(backend): State<Arc<Backend>>) -> Json<Value> {
    let now = backend.now();
    let mut stats = backend.shop().stats(now);
    stats["pid"] = json!(std::process::id());
    Json(stats)
}

/// Counts every answer by its route.
async fn count(State(backend): State<Arc<Backend>>, request: Request, next: Next) -> Response {
    let label = format!("{} {}", request.method(), route_of(request.uri().path()));
    let response = next.run(request).await;
    let now = backend.now();
    backend
        .shop()
        .count(label, !response.status().is_success(), now);
    response
}

/// The route a path belongs to, so that a scan of made-up paths does not fill the table.
fn route_of(path: &str) -> &str {
    match path {
        "/health" | "/api/menu" | "/api/orders" | "/api/stats" => path,
        _ if path.starts_with("/api/orders/") => "/api/orders/{item}",
        _ => "elsewhere",
    }
}

/// Lets the pages of this stack, and no others, read the answers in a browser.
async fn allow_pages(
    State(backend): State<Arc<Backend>>,
    headers: HeaderMap,
    request: Request,
    next: Next,
) -> Response {
    let mut response = next.run(request).await;
    let answer = response.headers_mut();
    answer.insert(header::VARY, HeaderValue::from_static("Origin"));
    answer.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(origin) = headers.get(header::ORIGIN)
        && is_page_of_ours(origin, &backend.client_ports)
    {
        answer.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    }
    response
}

fn is_page_of_ours(origin: &HeaderValue, client_ports: &[u16]) -> bool {
    let host_and_port = origin
        .to_str()
        .ok()
        .and_then(|text| text.strip_prefix("http://"))
        .and_then(|text| text.rsplit_once(':'));
    host_and_port.is_some_and(|(host, port)| {
        ["localhost", "127.0.0.1"].contains(&host)
            && port.parse().is_ok_and(|port| client_ports.contains(&port))
    })
}

fn ports(text: &str) -> Vec<u16> {
    text.split(',')
        .filter_map(|port| port.trim().parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pages_of_this_stack_may_read_answers() {
        let client_ports = ports("8001, 8002");
        let allowed = |origin| is_page_of_ours(&HeaderValue::from_static(origin), &client_ports);
        assert!(allowed("http://localhost:8001"));
        assert!(allowed("http://127.0.0.1:8002"));
        assert!(!allowed("http://localhost:8003"));
        assert!(!allowed("http://evil.example:8001"));
        assert!(!allowed("null"));
    }

    #[test]
    fn unknown_paths_share_one_row_of_the_table() {
        assert_eq!(route_of("/api/orders/rye"), "/api/orders/{item}");
        assert_eq!(route_of("/wp-login.php"), "elsewhere");
    }
}
