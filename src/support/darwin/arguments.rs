//! Reads the memory that `KERN_PROCARGS2` copies out of a process.
//!
//! A count, the path of the program, padding of zeroes, then as many strings as the count says (the
//! arguments), then the environment, then what the kernel tells the loader. Every string ends with
//! a zero; the environment ends at an empty one.

/// The arguments and the environment of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Memory {
    pub(super) arguments: Vec<Vec<u8>>,
    pub(super) environment: Vec<Vec<u8>>,
}

/// `None` where the memory is shorter than its count says, which a process can bring about.
pub(super) fn read(bytes: &[u8]) -> Option<Memory> {
    let (count, rest) = bytes.split_first_chunk::<4>()?;
    let count = usize::try_from(i32::from_ne_bytes(*count)).ok()?;
    let path_end = rest.iter().position(|&byte| byte == 0)?;
    let padding = rest[path_end..].iter().position(|&byte| byte != 0)?;
    let mut strings = rest[path_end + padding..].split(|&byte| byte == 0);
    // Not with the count as a capacity: it is a number out of somebody else's memory.
    let arguments: Vec<Vec<u8>> = strings.by_ref().take(count).map(<[u8]>::to_vec).collect();
    if arguments.len() < count {
        return None;
    }
    let environment = strings
        .take_while(|entry| !entry.is_empty())
        .map(<[u8]>::to_vec)
        .collect();
    Some(Memory {
        arguments,
        environment,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(count: i32, rest: &[u8]) -> Vec<u8> {
        [&count.to_ne_bytes()[..], rest].concat()
    }

    #[test]
    fn arguments_and_environment_are_told_apart_by_the_count() {
        let bytes = memory(
            3,
            b"/bin/server\0\0\0\0\0server\0\0--port=1\0A=1\0STACK_INSTANCE=x\0\0executable_path=/x\0",
        );
        let read = read(&bytes).unwrap();
        assert_eq!(read.arguments, [&b"server"[..], b"", b"--port=1"]);
        assert_eq!(read.environment, [&b"A=1"[..], b"STACK_INSTANCE=x"]);
    }

    #[test]
    fn an_environment_that_the_kernel_leaves_out_is_empty() {
        let read = read(&memory(1, b"/bin/sh\0\0sh\0\0")).unwrap();
        assert_eq!(read.arguments, [b"sh"]);
        assert!(read.environment.is_empty());
    }

    #[test]
    fn memory_that_is_cut_is_not_read_beyond_its_end() {
        let whole = memory(2, b"/bin/a\0\0a\0b\0E=1\0\0");
        for length in 0..whole.len() {
            if let Some(read) = read(&whole[..length]) {
                assert_eq!(read.arguments.len(), 2, "{length}");
            }
        }
        assert_eq!(read(&memory(i32::MAX, b"/bin/a\0\0a\0")), None);
        assert_eq!(read(&memory(-1, b"/bin/a\0\0a\0")), None);
    }
}
