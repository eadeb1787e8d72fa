//! Links and other things that a cloned repository brings where `stack` keeps its files.

use std::os::unix::fs::symlink;

use fs_err as fs;

use crate::harness::TestStack;

const ONE: &str = "services: { it: { command: MISBEHAVE spam 100 } }";

#[test]
fn nothing_is_written_through_a_link_to_a_file() {
    for name in [
        ".gitignore",
        "shop/lock",
        "shop/leases",
        "shop/last.json",
        "shop/supervisor.log",
        "shop/logs/it.log",
        "shop/logs/it.idx.0",
    ] {
        for verb in [["down"].as_slice(), &["up", "-d"], &["up"]] {
            let stack = TestStack::new(ONE);
            fs::create_dir_all(stack.path(".stack/shop/logs")).expect("it is ours");
            stack.write("precious", "precious\n");
            symlink(stack.path("precious"), stack.path(".stack").join(name)).expect("it is ours");
            stack.run(verb);
            stack.run(&["down"]);
            stack.world().wait_until_nothing_is_left();
            assert_eq!(stack.read("precious"), "precious\n", "{name}, {verb:?}");
        }
    }
}

#[test]
fn a_link_to_another_directory_is_named_and_not_followed() {
    for name in [".stack", ".stack/shop", ".stack/shop/logs"] {
        let stack = TestStack::new(ONE);
        fs::create_dir(stack.path("elsewhere")).expect("it is ours");
        let link = stack.path(name);
        fs::create_dir_all(link.parent().expect("it has one")).expect("it is ours");
        symlink(stack.path("elsewhere"), &link).expect("it is ours");
        let output = stack.run(&["up", "-d"]).expect(1);
        assert!(output.stderr.contains("is a symbolic link"), "{output}");
        let left = fs::read_dir(stack.path("elsewhere")).expect("it is there");
        assert_eq!(left.count(), 0, "{name}");
    }
}

#[test]
fn a_lock_that_is_a_fifo_keeps_nobody_waiting() {
    let stack = TestStack::new(ONE);
    fs::create_dir_all(stack.path(".stack/shop")).expect("it is ours");
    let path = stack.path(".stack/shop/lock");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).expect("it is ours");
    for verb in [["ps"].as_slice(), &["down"], &["up", "-d"]] {
        stack.run(verb);
    }
    stack.world().wait_until_nothing_is_left();
}

#[test]
fn no_fifo_among_the_files_of_a_stack_keeps_anybody_waiting() {
    for name in ["leases", "last.json", "logs/it.log", "logs/it.idx.0"] {
        let stack = TestStack::new(ONE);
        fs::create_dir_all(stack.path(".stack/shop/logs")).expect("it is ours");
        let path = stack.path(".stack/shop").join(name);
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).expect("it is ours");
        for verb in [
            ["ps"].as_slice(),
            &["env"],
            &["logs"],
            &["up", "-d"],
            &["logs"],
        ] {
            stack.run(verb);
        }
        stack.run(&["down"]);
        stack.world().wait_until_nothing_is_left();
    }
}

#[test]
fn a_log_that_leads_elsewhere_shows_nothing_of_that() {
    for is_symbolic in [true, false] {
        let stack = TestStack::new(ONE);
        fs::create_dir_all(stack.path(".stack/shop/logs")).expect("it is ours");
        stack.write("elsewhere", "the secret of somebody else\n");
        let (target, link) = (
            stack.path("elsewhere"),
            stack.path(".stack/shop/logs/it.log"),
        );
        if is_symbolic {
            symlink(&target, &link).expect("it is ours");
        } else {
            fs::hard_link(&target, &link).expect("it is ours");
        }
        let output = stack.run(&["logs"]);
        assert!(!output.stdout.contains("secret"), "{output}");
    }
}
