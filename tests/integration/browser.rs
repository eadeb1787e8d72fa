//! The demonstration in a real browser: the root `stack.yaml` as it is, up to what a person sees.

use std::path::Path;
use std::process::Command;

use crate::harness::{TestStack, Up, World, require};

/// The root `stack.yaml` in a directory of its own, with the demo where the file looks for it.
fn demonstration() -> TestStack {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let yaml = fs_err::read_to_string(root.join("stack.yaml")).expect("it is in the repository");
    // The build is cargo's business and was done for this very test run; the rest is the file's.
    let build = "cargo build --release --bin stack-demo";
    assert!(yaml.contains(build), "the root stack.yaml has changed");
    let stack = TestStack::new(&yaml.replace(build, "test -x target/release/stack-demo"));
    let binary = crate::harness::binary().with_file_name("stack-demo");
    assert!(
        binary.exists(),
        "`cargo build --bin stack-demo` builds {}",
        binary.display()
    );
    let release = stack.path("target/release");
    fs_err::create_dir_all(&release).expect("the directory is writable");
    std::os::unix::fs::symlink(binary, release.join("stack-demo")).expect("it is new");
    stack
}

/// What a browser makes of a page, after its scripts have run for some (virtual) seconds.
#[track_caller]
fn dom_of(world: &World, url: &str) -> String {
    let profile = tempfile::tempdir().expect("the temporary directory is writable");
    let mut command = Command::new("chromium");
    command
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--disable-dev-shm-usage",
            "--virtual-time-budget=5000",
            "--dump-dom",
        ])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(url);
    let browser = Up::start(world, command);
    world.add_helper(browser.pid());
    browser.wait().ok().stdout
}

#[test]
fn both_pages_show_what_the_backend_says() {
    if !require("chromium") {
        return;
    }
    let stack = demonstration();
    stack.run(&["up", "--wait"]).ok();
    let [backend, ui, admin] = ["backend", "ui", "admin"].map(|service| stack.port_of(service));
    let shop = dom_of(stack.world(), &format!("http://localhost:{ui}/"));
    for part in [
        "Sourdough",
        "Cinnamon knot",
        "badge up",
        &format!("http://localhost:{backend}"),
    ] {
        assert!(shop.contains(part), "no `{part}` in the shop:\n{shop}");
    }
    let office = dom_of(stack.world(), &format!("http://localhost:{admin}/"));
    for part in [
        "GET /api/menu",
        "backend is healthy",
        "STACK_INSTANCE",
        "bakery-",
        &format!("<code>{admin}</code>"),
    ] {
        assert!(
            office.contains(part),
            "no `{part}` in the office:\n{office}"
        );
    }
    stack.down();
}

#[test]
fn the_backend_counts_what_it_is_asked() {
    let stack = demonstration();
    stack.run(&["up", "--wait"]).ok();
    let backend = stack.port_of("backend");
    let (status, menu) = stack.get(backend, "/api/menu").expect("an answer");
    assert_eq!(status, 200);
    assert!(menu.contains("sourdough"), "{menu}");
    let (_, stats) = stack.get(backend, "/api/stats").expect("an answer");
    assert!(stats.contains("GET /api/menu"), "{stats}");
    stack.down();
}
