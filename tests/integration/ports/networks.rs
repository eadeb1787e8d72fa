//! The same numbers in another network namespace.

use crate::harness::{TestStack, lacks};

const THREE: &str = "
services:
  one: { command: MISBEHAVE bind $<PORT:auto> --http }
  two: { command: MISBEHAVE bind $<PORT:auto> --http }
  three: { command: MISBEHAVE bind $<PORT:auto> --http }
";

#[track_caller]
fn expect_first_three(stack: &TestStack) {
    let ports = ["one", "two", "three"].map(|service| stack.port_of(service));
    assert_eq!(ports, [8000, 8001, 8002]);
    for port in ports {
        assert!(stack.get(port, "/").is_some());
    }
}

#[test]
fn another_network_gives_the_same_numbers_though_it_shares_the_ledger() {
    let (here, mut there) = (TestStack::new(THREE), TestStack::new(THREE));
    if here.world().network().identity().is_none() {
        lacks("network namespaces");
        return;
    }
    let state = here.world().path().join("state");
    there.set("XDG_STATE_HOME", &state.display().to_string());
    here.up_detached();
    there.up_detached();
    for stack in [&here, &there] {
        expect_first_three(stack);
    }
    here.down();
    // What one of them leaves does not move the other.
    there.down();
    there.up_detached();
    expect_first_three(&there);
    there.down();
}
