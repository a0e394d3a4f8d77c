//! Who has a port: looked up in /proc, for the error that names it.

use std::{fs, path::Path};

/// `PID 4242 (dunlin)`, when the kernel lets us see it.
pub(super) fn owner(port: u16) -> Option<String> {
    let inode = ["/proc/net/tcp", "/proc/net/tcp6"]
        .into_iter()
        .find_map(|table| listening_inode(&fs::read_to_string(table).ok()?, port))?;
    let link = format!("socket:[{inode}]");
    fs::read_dir("/proc").ok()?.flatten().find_map(|process| {
        let id: u32 = process.file_name().to_str()?.parse().ok()?;
        let has_it = fs::read_dir(process.path().join("fd")).ok()?.flatten().any(|descriptor| {
            fs::read_link(descriptor.path()).is_ok_and(|target| target == Path::new(&link))
        });
        let name = || fs::read_to_string(process.path().join("comm")).ok();
        has_it.then(|| format!("PID {id} ({})", name().as_deref().map_or("?", str::trim)))
    })
}

/// The socket inode of the line that listens (state 0A) on `port`.
fn listening_inode(table: &str, port: u16) -> Option<u64> {
    table.lines().skip(1).find_map(|line| {
        let mut columns = line.split_whitespace();
        let local = columns.nth(1)?;
        let state = columns.nth(1)?;
        let (_, local_port) = local.rsplit_once(':')?;
        let listens = state == "0A" && u16::from_str_radix(local_port, 16).ok()? == port;
        // After the state: tx:rx, tr:when, retransmits, uid, timeout, inode.
        if listens { columns.nth(5)?.parse().ok() } else { None }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_listener_is_found() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let owner = owner(listener.local_addr().unwrap().port()).unwrap();
        assert!(owner.starts_with(&format!("PID {} (", std::process::id())), "{owner}");
    }
}
