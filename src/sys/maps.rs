//! Which memory of this process is a mapping of a PCI function, as the kernel shows it.

#![forbid(unsafe_code)]

use std::ffi::CStr;
use std::fs;

/// A range of addresses: where it starts, and how long it is.
pub type Range = (usize, usize);

/// The mappings of a function's resources through sysfs, as uio drivers make them.
pub fn of_pci_function(address: &CStr) -> Vec<Range> {
    let address = address.to_string_lossy();
    match fs::read("/proc/self/maps") {
        Ok(maps) => mappings_in(&maps, &address),
        Err(error) => {
            log::error!("{address}: its memory is not known: /proc/self/maps: {error}");
            vec![]
        }
    }
}

fn mappings_in(maps: &[u8], address: &str) -> Vec<Range> {
    let directory = format!("/{address}/resource");
    let lines = maps.split(|b| *b == b'\n').map(String::from_utf8_lossy);
    lines.filter(|line| line.contains(&directory)).filter_map(|line| range(&line)).collect()
}

/// The range at the beginning of a line: `7f0000000000-7f0000020000 rw-s ...`
fn range(line: &str) -> Option<Range> {
    let (start, end) = line.split_once(' ')?.0.split_once('-')?;
    let hex = |text| usize::from_str_radix(text, 16).ok();
    let (start, end) = (hex(start)?, hex(end)?);
    Some((start, end.checked_sub(start)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAPS: &[u8] = b"\
        55d0c0a00000-55d0c0a20000 r-xp 00000000 fe:00 1 /usr/bin/dpdk-testpmd\n\
        7f2000000000-7f2000020000 rw-s 00000000 00:15 2 \
        /sys/devices/pci0000:00/0000:00:05.0/resource0\n\
        7f2000020000-7f2000024000 rw-s 00000000 00:15 3 \
        /sys/devices/pci0000:00/0000:00:05.0/resource3 (deleted)\n\
        7f2000030000-7f2000040000 rw-s 00000000 00:15 4 \
        /sys/devices/pci0000:00/0000:00:06.0/resource0\n\
        7ffc00000000-7ffc00021000 rw-p 00000000 00:00 0 [stack]\n\
        0000:00:05.0/resource nonsense\n";

    #[test]
    fn mappings_of_one_function() {
        let expected = [(0x7f20_0000_0000, 0x20000), (0x7f20_0002_0000, 0x4000)];
        assert_eq!(mappings_in(MAPS, "0000:00:05.0"), expected);
        assert_eq!(mappings_in(MAPS, "0000:00:06.0"), [(0x7f20_0003_0000, 0x10000)]);
        assert_eq!(mappings_in(MAPS, "0000:00:07.0"), []);
    }
}
