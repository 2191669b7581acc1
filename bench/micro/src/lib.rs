//! The hot paths that no Python runs on, each as a piece of work that can be done again and again.
//!
//! Two programs do so: `benches/paths.rs` times them, `main.rs` does one as often as it is told, for valgrind to
//! count. What a path needs is made before, and none of it is timed.

#![forbid(unsafe_code)]

mod site;
mod wire;

use std::fmt;

/// One path.
pub struct Case {
    /// What it is called.
    pub name: &'static str,
    /// Goes it once.
    pub work: Box<dyn FnMut()>,
}

/// How a path is made ready.
type Prepare = fn() -> Case;

/// All of them.
const CASES: [(&str, Prepare); 12] = [
    ("codec_head", wire::codec_head),
    ("request_small", wire::request_small),
    ("request_7mb", wire::request_7mb),
    ("response_small", wire::response_small),
    ("response_7mb", wire::response_7mb),
    ("base64_decode_7mb", wire::base64_decode_7mb),
    ("base64_encode_7mb", wire::base64_encode_7mb),
    ("output_100k_lines", wire::output_100k_lines),
    ("output_over_limit", wire::output_over_limit),
    ("satisfied_names_300", site::names),
    ("satisfied_first_300", site::first_check),
    ("satisfied_again_300", site::check_again),
];

/// Their names.
pub fn names() -> Vec<&'static str> {
    CASES.iter().map(|(name, _)| *name).collect()
}

/// A path, ready to be gone.
pub fn case(name: &str) -> Option<Case> {
    CASES.iter().find(|(known, _)| *known == name).map(|(_, prepare)| prepare())
}

impl Case {
    fn new(name: &'static str, work: impl FnMut() + 'static) -> Self {
        Self { name, work: Box::new(work) }
    }
}

impl fmt::Debug for Case {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Case").field("name", &self.name).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_case_goes_by_its_own_name() {
        for name in names() {
            assert_eq!(case(name).unwrap().name, name);
        }
    }
}
