//! One readable line on stdout for every request.

use std::time::{Duration, Instant};

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;

/// Prints the request and its answer: `GET /api/menu 200 in 0.2 ms`.
pub(crate) async fn print_line(request: Request, next: Next) -> Response {
    let began = Instant::now();
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let response = next.run(request).await;
    println!(
        "{method} {path} {} in {}",
        response.status().as_u16(),
        millis(began.elapsed())
    );
    response
}

fn millis(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1_000.0)
}
