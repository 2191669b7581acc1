//! Environments on a volume that workers share: one archive each, so that a cold worker gets one by reading a
//! single file from beginning to end, however many files it holds.
//!
//! An archive (`<key>.tar.zst`) is written beside its place and renamed into it, so that nobody ever sees half of
//! one, and it is never changed. Its checksums are verified when it is read: a damaged one is removed, and what it
//! held is built again. When all of them take too much space, those that were not read for longest go.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tempfile::NamedTempFile;
use tracing::{debug, warn};

/// Beginning of the names of archives that are being written.
const UNFINISHED: &str = ".writing-";

/// An unfinished archive that was not written to for so long was left by a worker that is gone.
const ABANDONED: Duration = Duration::from_hours(1);

/// zstd's own default: of numpy's 64 MB it leaves 17 and takes 0.3 s for it; unpacking is equally fast at any level.
const LEVEL: i32 = 3;

/// Threads that compress: more would be felt by the calls that run meanwhile.
const THREADS: u32 = 2;

/// Read and write in pieces of this size: network file systems like them large.
const BLOCK: usize = 1 << 20;

/// The archives of a volume.
#[derive(Debug, Clone)]
pub struct Volume {
    directory: PathBuf,
    most_bytes: u64,
}

/// Why an archive could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    /// It could not be written.
    #[error("cannot write `{}`", path.display())]
    Write {
        /// The archive.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// It is larger than all archives together may be.
    #[error(
        "the archive of {bytes} bytes is larger than all of them may be\nhint: FARCALL_VOLUME_GB gives them more"
    )]
    TooLarge {
        /// Its size.
        bytes: u64,
    },
    /// It is there, but could not be read, or not unpacked.
    #[error("cannot unpack `{}`", path.display())]
    Read {
        /// The archive.
        path: PathBuf,
        /// The system's reason, or what is wrong with it.
        #[source]
        source: io::Error,
    },
}

impl Volume {
    /// The archives in `directory`, which need not exist yet, of at most `most_bytes` together.
    pub fn new(directory: PathBuf, most_bytes: u64) -> Self {
        Self { directory, most_bytes }
    }

    /// Keeps the environment in `source` as the archive of `key`, unless there is one. Takes a while. Returns how
    /// many bytes the archive has, `None` if it was there.
    pub fn save(&self, key: &str, source: &Path) -> Result<Option<u64>, VolumeError> {
        let path = self.path(key);
        if path.exists() {
            return Ok(None);
        }
        let unwritable = |source| VolumeError::Write { path: path.clone(), source };
        fs::create_dir_all(&self.directory).map_err(unwritable)?;
        self.remove_abandoned();
        let file =
            tempfile::Builder::new().prefix(UNFINISHED).tempfile_in(&self.directory).map_err(unwritable)?;
        let bytes = pack(source, file.as_file()).map_err(unwritable)?;
        if bytes > self.most_bytes {
            return Err(VolumeError::TooLarge { bytes });
        }
        self.make_room(bytes);
        publish(file, &path).map_err(unwritable)?;
        Ok(Some(bytes))
    }

    /// Unpacks the archive of `key` into the empty directory `target`. Returns whether there was one. After an
    /// error, what is in `target` is not to be used; a damaged archive is gone then.
    pub fn load(&self, key: &str, target: &Path) -> Result<bool, VolumeError> {
        let path = self.path(key);
        let file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            opened => opened.map_err(|source| VolumeError::Read { path: path.clone(), source })?,
        };
        match unpack(&file, target) {
            Ok(()) => {
                let _ = file.set_modified(SystemTime::now()); // when it was last wanted; a volume may be read-only
                Ok(true)
            }
            Err(source) => {
                if !is_of_this_machine(&source) {
                    let removed = fs::remove_file(&path);
                    warn!(path = %path.display(), removed = removed.is_ok(), "an archive on the volume is damaged");
                }
                Err(VolumeError::Read { path, source })
            }
        }
    }

    fn path(&self, key: &str) -> PathBuf {
        self.directory.join(format!("{key}.tar.zst"))
    }

    /// Removes archives until one of `bytes` has its place. Another worker may remove the same: no matter.
    fn make_room(&self, bytes: u64) {
        let mut archives: Vec<_> = self.entries(|name| !name.starts_with(UNFINISHED)).collect();
        archives.sort_by_key(|(_, _, used)| *used);
        let mut total: u64 = archives.iter().map(|(_, length, _)| length).sum();
        for (path, length, _) in archives {
            if total.saturating_add(bytes) <= self.most_bytes {
                break;
            }
            debug!(path = %path.display(), "archive removed from the volume: least recently used of too many bytes");
            let _ = fs::remove_file(path);
            total -= length;
        }
    }

    fn remove_abandoned(&self) {
        let is_old = |written: SystemTime| written.elapsed().is_ok_and(|age| age > ABANDONED);
        let unfinished = self.entries(|name| name.starts_with(UNFINISHED));
        for (path, ..) in unfinished.filter(|(_, _, written)| is_old(*written)) {
            let _ = fs::remove_file(path);
        }
    }

    /// Path, length and time of change of the files whose name fits.
    fn entries(&self, fits: impl Fn(&str) -> bool) -> impl Iterator<Item = (PathBuf, u64, SystemTime)> {
        let entries = fs::read_dir(&self.directory).into_iter().flatten().flatten();
        entries.filter_map(move |entry| {
            let name = entry.file_name();
            let metadata = entry
                .metadata()
                .ok()
                .filter(|metadata| metadata.is_file() && fits(&name.to_string_lossy()))?;
            Some((entry.path(), metadata.len(), metadata.modified().ok()?))
        })
    }
}

/// Writes the archive of a directory. Returns its length.
fn pack(source: &Path, file: &File) -> io::Result<u64> {
    let mut encoder = zstd::Encoder::new(BufWriter::with_capacity(BLOCK, file), LEVEL)?;
    encoder.include_checksum(true)?;
    encoder.multithread(THREADS)?;
    let mut archive = tar::Builder::new(encoder);
    archive.follow_symlinks(false); // the interpreter is one
    archive.append_dir_all("", source)?;
    archive.into_inner()?.finish()?.flush()?;
    file.sync_all()?;
    Ok(file.metadata()?.len())
}

fn unpack(file: &File, target: &Path) -> io::Result<()> {
    let mut decoder = zstd::Decoder::new(BufReader::with_capacity(BLOCK, file))?;
    let mut archive = tar::Archive::new(&mut decoder);
    // Python takes byte code for up to date by the source's time.
    archive.set_preserve_mtime(true);
    archive.set_preserve_permissions(true);
    archive.unpack(target)?;
    // The checksum comes after the last file.
    io::copy(&mut decoder.by_ref(), &mut io::sink()).map(|_| ())
}

fn publish(file: NamedTempFile, path: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;

    // Temporary files are their owner's; workers may run as different users.
    fs::set_permissions(file.path(), fs::Permissions::from_mode(0o644))?;
    file.persist(path).map(|_| ()).map_err(|error| error.error)
}

/// Whether an error is about the place to unpack to, not about the archive.
fn is_of_this_machine(error: &io::Error) -> bool {
    use io::ErrorKind::{
        PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StaleNetworkFileHandle, StorageFull,
    };

    let kinds = [PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StaleNetworkFileHandle, StorageFull];
    kinds.contains(&error.kind())
}

#[cfg(test)]
mod tests;
