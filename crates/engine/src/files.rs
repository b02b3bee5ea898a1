//! The data folder and its files, which belong to the owner alone.

use std::{fs, io, path::Path};

/// Makes a folder that only its owner can enter (mode 0700). A folder that exists keeps its mode,
/// because others may have a right to it: the files in it are private by themselves.
///
/// # Errors
/// The folder cannot be made.
pub fn private_folder(dir: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    if let Some(parent) = dir.parent().filter(|_| !dir.exists()) {
        fs::create_dir_all(parent)?;
    }
    builder.recursive(true).create(dir)
}

/// Opens or makes a file that only its owner can read and write (mode 0600). A file that others can
/// read is closed to them.
///
/// # Errors
/// The file cannot be made or written, or belongs to somebody else.
pub fn private_file(path: &Path) -> io::Result<fs::File> {
    let mut options = fs::File::options();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(path)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        if open_to_others(&file.metadata()?) {
            file.set_permissions(PermissionsExt::from_mode(0o600))?;
        }
    }
    Ok(file)
}

/// Whether anybody but the owner has a permission on a file or a folder.
#[cfg(unix)]
pub fn open_to_others(metadata: &fs::Metadata) -> bool {
    std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o077 != 0
}
