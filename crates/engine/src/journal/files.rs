//! The files of a journal.

use crate::files::{private_file, private_folder};
use std::{
    fmt::Debug,
    fs,
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

/// The end of the files' names.
const EXTENSION: &str = "journal";

/// How much of a file is overwritten in one write.
static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];

/// A folder of numbered files. There is one, [`Folder`], and tests have one that fails.
pub trait Files: Debug + Send + Sync {
    /// The numbers of the files, in order.
    ///
    /// # Errors
    /// The folder cannot be read.
    fn list(&self) -> io::Result<Vec<u64>>;

    /// Opens a file to read, and tells its length.
    ///
    /// # Errors
    /// The file cannot be read.
    fn open(&self, number: u64) -> io::Result<(Box<dyn Read>, u64)>;

    /// Makes an empty file. One that has the number is emptied.
    ///
    /// # Errors
    /// The file cannot be made.
    fn create(&self, number: u64) -> io::Result<Arc<dyn File>>;

    /// Removes a file; with `erase`, its bytes are overwritten before.
    ///
    /// # Errors
    /// The file cannot be written or removed. It is no error if it is not there.
    fn remove(&self, number: u64, erase: bool) -> io::Result<()>;

    /// Makes sure that files which were made or removed are so after a power cut as well.
    ///
    /// # Errors
    /// The folder cannot be synced.
    fn sync(&self) -> io::Result<()>;
}

/// A file that grows at its end.
pub trait File: Debug + Send + Sync {
    /// Writes at the end, and returns how many bytes were written.
    ///
    /// # Errors
    /// Nothing was written.
    fn append(&self, bytes: &[u8]) -> io::Result<usize>;

    /// Cuts the file to this length.
    ///
    /// # Errors
    /// The file is as long as it was.
    fn truncate(&self, len: u64) -> io::Result<()>;

    /// Makes sure that what was written is there after a power cut as well
    /// ([`fdatasync`](https://man7.org/linux/man-pages/man2/fdatasync.2.html)).
    ///
    /// # Errors
    /// Nothing that was written since the last success is certain, even if a later call succeeds.
    fn sync(&self) -> io::Result<()>;
}

/// A folder of the file system that only its owner can enter.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// Makes the folder if it is not there.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn new(path: PathBuf) -> io::Result<Self> {
        private_folder(&path)?;
        Ok(Self(path))
    }

    /// A folder to read only. It need not be there.
    pub fn to_read(path: PathBuf) -> Self {
        Self(path)
    }

    fn path(&self, number: u64) -> PathBuf {
        self.0.join(format!("{number:010}.{EXTENSION}"))
    }
}

impl Files for Folder {
    fn list(&self) -> io::Result<Vec<u64>> {
        let entries = match fs::read_dir(&self.0) {
            Err(why) if why.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut numbers = Vec::new();
        for entry in entries {
            // Files of others are none of ours.
            numbers.extend(number_of(&entry?.path()));
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    fn open(&self, number: u64) -> io::Result<(Box<dyn Read>, u64)> {
        let file = fs::File::open(self.path(number))?;
        let len = file.metadata()?.len();
        Ok((
            Box::new(io::BufReader::with_capacity(256 * 1024, file)),
            len,
        ))
    }

    fn create(&self, number: u64) -> io::Result<Arc<dyn File>> {
        let path = self.path(number);
        // Made with the right permissions, then opened so that every write goes to the end.
        private_file(&path)?.set_len(0)?;
        Ok(Arc::new(fs::File::options().append(true).open(path)?))
    }

    fn remove(&self, number: u64, erase: bool) -> io::Result<()> {
        let path = self.path(number);
        let removed = match erase {
            true => overwrite(&path).and_then(|()| fs::remove_file(&path)),
            false => fs::remove_file(&path),
        };
        match removed {
            Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }

    fn sync(&self) -> io::Result<()> {
        // Only Unix can sync a folder, and only there it is needed.
        match cfg!(unix) {
            true => fs::File::open(&self.0)?.sync_all(),
            false => Ok(()),
        }
    }
}

impl File for fs::File {
    fn append(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut file = self;
        file.write(bytes)
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}

fn number_of(path: &Path) -> Option<u64> {
    let name = path.file_stem()?.to_str()?;
    let ours = path.extension()? == EXTENSION && name.len() >= 10;
    ours.then(|| name.parse().ok()).flatten()
}

fn overwrite(path: &Path) -> io::Result<()> {
    let mut file = fs::File::options().write(true).open(path)?;
    let mut rest = file.seek(SeekFrom::End(0))?;
    file.rewind()?;
    while rest > 0 {
        let length = rest.min(ZEROS.len() as u64);
        file.write_all(&ZEROS[..length as usize])?;
        rest -= length;
    }
    file.sync_data()
}
