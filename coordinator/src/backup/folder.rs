//! Folders and files of a backup: filled beside their place, copied with their permissions, synced, summed.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use super::BackupError;

/// A folder that is being filled, and goes away unless it is put into its place.
pub(super) struct Fresh {
    pub(super) path: PathBuf,
}

impl Fresh {
    /// A folder beside the one that it will be, which must be empty or not there. For its owner only: it holds keys.
    pub(super) fn beside(place: &Path) -> Result<Self, BackupError> {
        let is_empty = match fs::read_dir(place) {
            Ok(mut entries) => entries.next().is_none(),
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        };
        let Some(name) = place.file_name().filter(|_| is_empty) else {
            return Err(BackupError::NotEmpty(place.to_owned()));
        };
        let name = format!(".{}.{:08x}", name.to_string_lossy(), rand::random::<u32>());
        let path = place.with_file_name(name);
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            fs::create_dir_all(parent).map_err(|source| BackupError::File { path: parent.to_owned(), source })?;
        }
        let made = fs::DirBuilder::new().mode(0o700).create(&path);
        made.map_err(|source| BackupError::File { path: path.clone(), source })?;
        Ok(Self { path })
    }

    pub(super) fn into_place(self, place: &Path) -> Result<(), BackupError> {
        let fail = |source| BackupError::File { path: place.to_owned(), source };
        sync_folders(&self.path)?;
        fs::rename(&self.path, place).map_err(fail)?;
        let parent = place.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(parent).and_then(|folder| folder.sync_all()).map_err(fail)
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.path));
    }
}

/// Copies a folder's files, if it is there. One that goes away meanwhile is left out.
pub(super) fn copy_folder(from: &Path, to: &Path) -> Result<(), BackupError> {
    let fail = |source| BackupError::File { path: from.to_owned(), source };
    let entries = match fs::read_dir(from) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(fail(source)),
    };
    for entry in entries {
        let path = entry.map_err(fail)?.path();
        let (Some(name), true) = (path.file_name(), path.is_file()) else { continue };
        // What is just being written is not in force yet.
        if path.extension().is_some_and(|ending| ending == "new") {
            continue;
        }
        match copy_file(&path, &to.join(name)) {
            Err(BackupError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
            copied => copied?,
        }
    }
    Ok(())
}

/// Copies a file with its permissions, and syncs it.
pub(super) fn copy_file(from: &Path, to: &Path) -> Result<(), BackupError> {
    let fail = |path: &Path| {
        let path = path.to_owned();
        move |source| BackupError::File { path, source }
    };
    let content = File::open(from).and_then(|file| Ok((file.metadata()?.permissions().mode(), file)));
    let (mode, mut content) = content.map_err(fail(from))?;
    if let Some(parent) = to.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(parent).map_err(fail(parent))?;
    }
    let mut copy = File::create(to).map_err(fail(to))?;
    copy.set_permissions(fs::Permissions::from_mode(mode)).map_err(fail(to))?;
    io::copy(&mut content, &mut copy).and_then(|_| copy.sync_all()).map_err(fail(to))
}

fn sync_folders(root: &Path) -> Result<(), BackupError> {
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        let fail = |source| BackupError::File { path: folder.clone(), source };
        for entry in fs::read_dir(&folder).map_err(fail)? {
            folders.extend(Some(entry.map_err(fail)?.path()).filter(|path| path.is_dir()));
        }
        File::open(&folder).and_then(|opened| opened.sync_all()).map_err(fail)?;
    }
    Ok(())
}

/// Size and CRC-32C of a file.
pub(super) fn sum(path: &Path) -> Result<(u64, u32), BackupError> {
    let fail = |source| BackupError::File { path: path.to_owned(), source };
    let mut file = File::open(path).map_err(fail)?;
    let (mut bytes, mut crc, mut buffer) = (0_u64, 0, vec![0; 1 << 20]);
    loop {
        match file.read(&mut buffer).map_err(fail)? {
            0 => return Ok((bytes, crc)),
            read => {
                bytes += u64::try_from(read).unwrap_or_default();
                crc = crc32c::crc32c_append(crc, &buffer[..read]);
            }
        }
    }
}
