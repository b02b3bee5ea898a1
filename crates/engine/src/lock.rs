//! One process for each data folder. The log has one writer, and a second process would close the
//! running answers of the first one as if that had died.

use crate::files::{private_file, private_folder};
use headwater_protocol::{Error, ErrorCode};
use std::{
    fs::{File, TryLockError},
    io::{Read, Seek, Write},
    path::Path,
};

/// The lock on a data folder, held while this value lives. The system releases it even after `kill -9`.
#[derive(Debug)]
pub struct Lock(File);

/// Who uses the folder.
#[derive(Debug)]
pub enum Holder {
    /// This process, from now on.
    Us(Lock),
    /// Another process. The text is its address, `http://…`, empty while it starts.
    Other(String),
}

/// Locks the folder if no other process uses it.
///
/// # Errors
/// `storage` if the folder cannot be made or written.
pub fn take(data: &Path) -> Result<Holder, Error> {
    let path = data.join("headwater.lock");
    let fail = |why: &dyn std::fmt::Display| {
        Error::new(
            ErrorCode::Storage,
            format!(
                "Cannot write in the data folder {}: {why}. Choose another folder with --data or \
                 HEADWATER_DATA.",
                data.display()
            ),
        )
    };
    private_folder(data).map_err(|why| fail(&why))?;
    let mut file = private_file(&path).map_err(|why| fail(&why))?;
    match file.try_lock() {
        Ok(()) => Ok(Holder::Us(Lock(file))),
        Err(TryLockError::WouldBlock) => {
            let mut address = String::new();
            // The address is only a hint.
            let _ = file.read_to_string(&mut address);
            Ok(Holder::Other(address.trim().to_owned()))
        }
        Err(TryLockError::Error(why)) => Err(fail(&why)),
    }
}

/// The error for a folder that another process uses.
pub fn in_use(data: &Path, address: &str) -> Error {
    let at = match address {
        "" => String::new(),
        address => format!(" (at {address})"),
    };
    Error::new(
        ErrorCode::Storage,
        format!(
            "Another Headwater uses the data folder {} already{at}. Stop it, or choose another \
             folder with --data.",
            data.display()
        ),
    )
}

impl Lock {
    /// Writes the address of this process into the lock file, for other processes.
    pub fn publish(&self, address: &str) {
        let mut file = &self.0;
        let written = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| file.write_all(address.as_bytes()));
        if let Err(why) = written {
            tracing::warn!(%why, "the address could not be noted; `ask` will not find this server");
        }
    }
}
