//! What the worker is told about GPUs: which ones are its own, who sees which, and what its image needs.

use std::fmt;
use std::str::FromStr;

use super::{ConfigError, Variables};

/// The settings that concern GPUs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GpuConfig {
    /// `CUDA_VISIBLE_DEVICES`: the worker's own, as the variable names them
    pub visible: Option<Vec<String>>,
    /// `FARCALL_GPUS_PER_RUNNER`
    pub per_runner: GpusPerRunner,
    /// `FARCALL_EXPECT_GPU`: without one, this worker is of no use
    pub expected: bool,
    /// `CUDA_VERSION`: what the image is made for, if it says so
    pub image_cuda: Option<CudaVersion>,
}

/// How many GPUs a runner sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GpusPerRunner {
    /// One, where several calls run at a time and there are several; otherwise all.
    Auto,
    /// All of the worker's.
    All,
    /// So many.
    Number(usize),
}

/// A version of CUDA, such as 12.8. What comes after is the same for everybody who only runs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct CudaVersion {
    /// Programs and drivers of one major version work together.
    pub major: u32,
    /// The newer, the more there is.
    pub minor: u32,
}

impl FromStr for CudaVersion {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut numbers = text.trim().split('.');
        let major = numbers.next().unwrap_or_default().parse()?;
        Ok(Self { major, minor: numbers.next().map_or(Ok(0), str::parse)? })
    }
}

impl fmt::Display for CudaVersion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.major, self.minor)
    }
}

impl GpuConfig {
    pub(super) fn read<F: Fn(&str) -> Option<String>>(from: &Variables<F>) -> Result<Self, ConfigError> {
        let list = |text: String| text.split(',').map(|name| name.trim().to_owned()).collect();
        let per_runner = from.parse(
            "FARCALL_GPUS_PER_RUNNER",
            GpusPerRunner::Auto,
            "auto, all or a whole number above 0",
            |value| match value {
                "auto" => Some(GpusPerRunner::Auto),
                "all" => Some(GpusPerRunner::All),
                number => number.parse().ok().filter(|number| *number > 0).map(GpusPerRunner::Number),
            },
        )?;
        Ok(Self {
            visible: from.text("CUDA_VISIBLE_DEVICES").map(list),
            per_runner,
            expected: from.switch("FARCALL_EXPECT_GPU", false)?,
            // Set by whoever made the image, in whatever form: not ours to refuse.
            image_cuda: from.text("CUDA_VERSION").and_then(|version| version.parse().ok()),
        })
    }
}
