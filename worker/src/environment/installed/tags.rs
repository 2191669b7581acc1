//! Whether a wheel is for an interpreter, by [the tags] it was built with.
//!
//! An image may hold packages that were copied from elsewhere; uv puts others in their place. Only tags that are
//! known to fit do: a musl or macOS interpreter's own are left for uv to judge.
//!
//! [the tags]: https://packaging.python.org/en/latest/specifications/platform-compatibility-tags/

use crate::interpreter::Markers;

/// Oldest minor version of Python 3 with the stable ABI.
const OLDEST_STABLE_ABI: u32 = 2;

/// Whether a tag such as `cp311-abi3-manylinux_2_17_x86_64` fits; each part may be several, joined by dots.
pub(super) fn fits(tag: &str, markers: &Markers) -> bool {
    let mut parts = tag.splitn(3, '-');
    let (Some(pythons), Some(abis), Some(platforms)) = (parts.next(), parts.next(), parts.next()) else {
        return false;
    };
    pythons.split('.').any(|python| {
        abis.split('.').any(|abi| {
            platforms.split('.').any(|platform| {
                python_fits(python, abi, platform, markers) && platform_fits(platform, markers)
            })
        })
    })
}

fn python_fits(python: &str, abi: &str, platform: &str, markers: &Markers) -> bool {
    let [3, minor, ..] = *markers.environment.python_version().version.release() else { return false };
    let number = |prefix: &str| -> Option<u64> { python.strip_prefix(prefix)?.parse().ok() };
    let own = format!("cp3{minor}");
    match abi {
        "none" => python == "py3" || python == own || number("py3").is_some_and(|number| number <= minor),
        "abi3" if platform != "any" => {
            number("cp3").is_some_and(|number| (u64::from(OLDEST_STABLE_ABI)..=minor).contains(&number))
        }
        abi => platform != "any" && python == own && abi == own,
    }
}

fn platform_fits(platform: &str, markers: &Markers) -> bool {
    let machine = markers.environment.platform_machine();
    if platform == "any" {
        return true;
    }
    if markers.environment.sys_platform() != "linux" {
        return false;
    }
    let Some(kind) = platform.strip_suffix(machine).and_then(|rest| rest.strip_suffix('_')) else {
        return false;
    };
    let needed = match kind {
        "linux" => return true,
        "manylinux1" => Some((2, 5)),
        "manylinux2010" => Some((2, 12)),
        "manylinux2014" => Some((2, 17)),
        kind => kind.strip_prefix("manylinux_").and_then(|version| {
            let (major, minor) = version.split_once('_')?;
            Some((major.parse().ok()?, minor.parse().ok()?))
        }),
    };
    needed
        .zip(markers.glibc)
        .is_some_and(|((major, minor), (own_major, own_minor))| major == own_major && minor <= own_minor)
}

#[cfg(test)]
mod tests {
    use super::super::tests::markers;
    use super::*;

    #[test]
    fn wheels_for_this_interpreter_fit() {
        let fitting = [
            "py3-none-any",
            "py2.py3-none-any",
            "py311-none-any",
            "py38-none-any",
            "cp311-none-any",
            "cp311-cp311-linux_x86_64",
            "cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64",
            "cp37-abi3-manylinux_2_28_x86_64",
            "py3-none-manylinux_2_36_x86_64",
        ];
        for tag in fitting {
            assert!(fits(tag, &markers()), "{tag}");
        }
    }

    #[test]
    fn wheels_for_others_do_not() {
        let foreign = [
            "",
            "py2-none-any",
            "py312-none-any",
            "cp310-none-any",
            "cp310-cp310-linux_x86_64",
            "cp312-abi3-linux_x86_64",
            "cp311-cp311t-linux_x86_64",
            "cp311-cp311-any",
            "cp311-cp311-linux_aarch64",
            "cp311-cp311-manylinux_2_39_x86_64",
            "cp311-cp311-musllinux_1_2_x86_64",
            "cp311-cp311-macosx_11_0_arm64",
            "pp311-pypy311_pp73-linux_x86_64",
        ];
        for tag in foreign {
            assert!(!fits(tag, &markers()), "{tag}");
        }
    }
}
