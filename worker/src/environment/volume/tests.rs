use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;

/// A directory like an environment, with `bytes` that do not compress.
fn environment(bytes: usize) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let programs = directory.path().join("bin");
    fs::create_dir(&programs).unwrap();
    symlink("/usr/bin/python3", programs.join("python")).unwrap();
    fs::write(programs.join("tool"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(programs.join("tool"), fs::Permissions::from_mode(0o755)).unwrap();
    let mut state = 1_u64;
    let noise = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    });
    let module = directory.path().join("module.py");
    fs::write(&module, noise.take(bytes).collect::<Vec<_>>()).unwrap();
    let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    File::options().write(true).open(module).unwrap().set_modified(long_ago).unwrap();
    directory
}

#[test]
fn what_is_kept_comes_back_as_it_was() {
    let (volume, target) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let source = environment(100_000);
    let volume = Volume::new(volume.path().join("deep/er"), 1 << 30);
    assert!(!volume.load("k", target.path()).unwrap());
    assert!(volume.save("k", source.path()).unwrap().is_some_and(|bytes| bytes > 100_000));
    assert_eq!(volume.save("k", source.path()).unwrap(), None, "it is there");
    assert!(volume.load("k", target.path()).unwrap());
    let read = |directory: &Path| fs::read(directory.join("module.py")).unwrap();
    assert_eq!(read(target.path()), read(source.path()));
    let time = |directory: &Path| fs::metadata(directory.join("module.py")).unwrap().modified().unwrap();
    assert_eq!(time(target.path()), time(source.path()));
    assert_eq!(fs::read_link(target.path().join("bin/python")).unwrap(), Path::new("/usr/bin/python3"));
    let mode = fs::metadata(target.path().join("bin/tool")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o755);
}

#[test]
fn an_archive_that_is_damaged_anywhere_is_refused_and_removed() {
    let source = environment(3_000_000);
    let directory = tempfile::tempdir().unwrap();
    let volume = Volume::new(directory.path().to_owned(), 1 << 30);
    volume.save("k", source.path()).unwrap();
    let whole = fs::read(volume.path("k")).unwrap();
    let flipped = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        bytes
    };
    let cut = |at: usize| whole[..at].to_vec();
    let length = whole.len();
    let damages = [
        Vec::new(),
        cut(length / 2),
        cut(length - 1),
        flipped(0),
        flipped(length / 3),
        flipped(length / 2),
        flipped(length - 1), // in the checksum itself
    ];
    for (number, damaged) in damages.into_iter().enumerate() {
        fs::write(volume.path("k"), damaged).unwrap();
        let target = tempfile::tempdir().unwrap();
        volume.load("k", target.path()).expect_err(&format!("damage {number} is not noticed"));
        assert!(!volume.path("k").exists(), "damage {number}");
    }
}

#[test]
fn the_longest_unread_goes_when_there_is_no_room() {
    let source = environment(100_000);
    let directory = tempfile::tempdir().unwrap();
    let volume = Volume::new(directory.path().to_owned(), 250_000);
    let age = |key: &str, seconds: u64| {
        let time = SystemTime::now() - Duration::from_secs(seconds);
        File::options().write(true).open(volume.path(key)).unwrap().set_modified(time).unwrap();
    };
    for (key, seconds) in [("one", 300), ("two", 200)] {
        volume.save(key, source.path()).unwrap();
        age(key, seconds);
    }
    let target = tempfile::tempdir().unwrap();
    volume.load("one", target.path()).unwrap();
    volume.save("three", source.path()).unwrap();
    assert!(volume.path("one").exists() && !volume.path("two").exists() && volume.path("three").exists());
    let small = Volume::new(directory.path().to_owned(), 1000);
    let error = small.save("four", source.path()).unwrap_err();
    assert!(matches!(error, VolumeError::TooLarge { bytes } if bytes > 1000));
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2, "nothing unfinished is left");
}

#[test]
fn what_a_killed_worker_left_unfinished_is_removed_after_an_hour() {
    let source = environment(10);
    let directory = tempfile::tempdir().unwrap();
    let volume = Volume::new(directory.path().to_owned(), 1 << 30);
    for (name, hours) in [("old", 2), ("new", 0)] {
        let file = File::create(directory.path().join(format!("{UNFINISHED}{name}"))).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_hours(hours)).unwrap();
    }
    volume.save("k", source.path()).unwrap();
    let exists = |name: &str| directory.path().join(format!("{UNFINISHED}{name}")).exists();
    assert!(!exists("old") && exists("new"), "another worker may be writing it");
}
