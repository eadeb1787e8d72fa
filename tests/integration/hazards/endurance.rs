//! What goes on for long.

use crate::harness::TestStack;

#[test]
fn a_hundred_restarts_cost_the_supervisor_neither_memory_nor_descriptors() {
    let stack = TestStack::new(
        "services: { it: { command: 'echo x; exit 1', restart_policy: { condition: any, delay: 10ms, max_delay: 10ms } } }",
    );
    stack.run(&["up", "-d"]).ok();
    let supervisor = stack.own_process("supervisor_pid");
    let after = |attempts: i64| {
        stack.wait_for("it", "many attempts", |it| it.attempt() >= attempts);
        (supervisor.memory("VmRSS"), supervisor.open_files().len())
    };
    let (memory, files) = after(30);
    let (later_memory, later_files) = after(130);
    // An attempt has two pipes, and somebody who asks a connection.
    assert!(later_files <= files + 6, "{later_files} after {files}");
    assert!(
        later_memory <= memory + 1024,
        "{later_memory} KiB after {memory} KiB"
    );
    stack.down();
}
