//! Whether a version is one of those that are wanted, where every tool agrees that it is.

use pep508_rs::pep440_rs::{Operator, Version, VersionSpecifier, VersionSpecifiers};

/// Whether all of `specifiers` admit `version`. Prereleases that are installed count, as they do to uv.
pub(super) fn admit(specifiers: &VersionSpecifiers, version: &Version) -> bool {
    specifiers.iter().all(|specifier| specifier.contains(version) && has_prefix(specifier, version))
}

/// Whether the numbers before `.*` are all there: `contains` stops where the version does, and takes `1.2` for
/// `==1.2.3.*`.
fn has_prefix(specifier: &VersionSpecifier, version: &Version) -> bool {
    if *specifier.operator() != Operator::EqualStar {
        return true;
    }
    let numbers = version.release().iter().copied().chain(std::iter::repeat(0));
    specifier.version().release().iter().zip(numbers).all(|(wanted, number)| *wanted == number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_the_standard_says() {
        let cases = [
            ("", "2.0rc1", true),
            (">=2,<3", "2.31.0", true),
            (">=2,<3", "3.0", false),
            ("<3", "3.0rc1", false),
            ("==1.0", "1.0.0", true),
            ("==1.0", "1.0+cu118", true),
            ("==1.0+cu118", "1.0", false),
            ("==1.0+cu118", "1.0+cu118", true),
            (">1.0", "1.0+cu118", false),
            (">1.0", "1.0.post1", false),
            ("===1.0", "1.0", true),
            ("===1.0", "1.0.0", false),
            ("==1.2.*", "1.2.9", true),
            ("==1.2.0.*", "1.2", true),
            ("==1.2.3.*", "1.2", false),
            ("!=1.2.*", "1.2.9", false),
            ("~=1.4.2", "1.4.9", true),
            ("~=1.4.2", "1.5", false),
            ("~=1.4", "1.9", true),
            ("~=1.4.2", "1", false),
            ("==1!1.0", "1.0", false),
        ];
        for (specifiers, version, expected) in cases {
            let admitted = admit(&specifiers.parse().unwrap(), &version.parse().unwrap());
            assert_eq!(admitted, expected, "{version} for {specifiers:?}");
        }
    }
}
