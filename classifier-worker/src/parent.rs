//! The process that started this one: when it closes our standard input, or ends, we stop.

use std::{
    io::{Read as _, stdin},
    thread,
};

use platform::{Error, Result};
use tokio_util::sync::CancellationToken;

/// Sets both tokens when standard input ends. Its thread ends then, or with the process.
pub(crate) fn watch(stop: CancellationToken, orphaned: CancellationToken) -> Result<()> {
    // A thread of its own: tokio's would hold up the end of the runtime until something is read.
    let body = move || {
        let mut buffer = [0; 64];
        loop {
            match stdin().lock().read(&mut buffer) {
                Ok(1..) => {}
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Ok(0) | Err(_) => break,
            }
        }
        tracing::info!("standard input closed, stopping");
        orphaned.cancel();
        stop.cancel();
    };
    thread::Builder::new()
        .name("parent".to_owned())
        .spawn(body)
        .map_err(|error| Error::internal(error).context("watch the parent"))?;
    Ok(())
}
