//! Sizes as Compose writes them: `10m`, `512k`, `1g`, `4096`; a unit is 1024 times the one before.

/// The units, the largest first.
const UNITS: [(char, u32); 4] = [('t', 40), ('g', 30), ('m', 20), ('k', 10)];

/// Parses a size in bytes: a whole number, and perhaps a unit in either case, to which `b` or `ib` may
/// be added. `None` for everything else, and for what is more than there can be.
pub fn parse(text: &str) -> Option<u64> {
    let text = text.to_ascii_lowercase();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let shift = match unit {
        "" | "b" => 0,
        unit => {
            let known = UNITS.iter().find(|(name, _)| unit.starts_with(*name))?;
            matches!(&unit[1..], "" | "b" | "ib").then_some(known.1)?
        }
    };
    number.parse::<u64>().ok()?.checked_mul(1 << shift)
}

/// Writes a size so that [`parse`] reads it back.
pub fn format(bytes: u64) -> String {
    let fits = |(_, shift): &&(char, u32)| bytes > 0 && bytes.is_multiple_of(1 << shift);
    match UNITS.iter().find(fits) {
        Some((unit, shift)) => format!("{}{unit}", bytes >> shift),
        None => bytes.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_compose_reads_them() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4096),
            ("7b", 7),
            ("10m", 10 << 20),
            ("512K", 512 << 10),
            ("1GiB", 1 << 30),
            ("2tb", 2 << 40),
        ] {
            assert_eq!(parse(text), Some(bytes), "{text}");
            assert_eq!(parse(&format(bytes)), Some(bytes), "{text}");
        }
        for bad in [
            "",
            "m",
            "-1",
            "1.5m",
            "10x",
            "10mm",
            "10 m",
            "99999999999999999999",
            "9999999999t",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
        assert_eq!(format(10 << 20), "10m");
        assert_eq!(format(1025), "1025");
    }
}
