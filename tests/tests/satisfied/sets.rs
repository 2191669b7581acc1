//! Sets of requirements for the packages of `Base`.

/// Sets that are generated.
const GENERATED: usize = 260;

/// Packages that are not installed, two of them because nothing asks for the extra that requires them.
const ABSENT: [&str; 3] = ["tomli", "babel", "not-there"];

/// Extras, by the package that has them; the last of each it does not have.
const EXTRAS: [(&str, &[&str]); 7] = [
    ("requests", &["socks", "use-chardet-on-py3", "nonsense"]),
    ("httpx", &["http2", "socks", "nonsense"]),
    ("jinja2", &["i18n", "nonsense"]),
    ("pydantic", &["email", "nonsense"]),
    ("urllib3", &["socks", "h2", "nonsense"]),
    ("importlib-metadata", &["perf", "testing", "nonsense"]),
    ("bundle", &["a", "b", "all", "nonsense"]),
];

/// Markers that hold on every Linux with a supported Python.
const TRUE: [&str; 5] = [
    "python_version >= '3.8'",
    "sys_platform == 'linux' and implementation_name == 'cpython'",
    "python_full_version > '3.10.0' or os_name == 'nt'",
    "(platform_system != 'Darwin' and platform_machine != 'none') or python_version < '3'",
    "'linux' in sys_platform",
];

/// Markers that hold on none.
const FALSE: [&str; 4] = [
    "python_version < '3'",
    "sys_platform == 'win32'",
    "platform_system == 'Darwin' or os_name == 'nt'",
    "python_version not in '3.10 3.11 3.12 3.13 3.14' and sys_platform == 'none'",
];

/// Sets that somebody thought of.
pub(crate) fn by_hand() -> Vec<Vec<String>> {
    const SETS: &[&[&str]] = &[
        &["requests"],
        &["Requests", "NumPy", "Jinja2"],
        &["requests>=2,<3", "numpy<2", "packaging"],
        &["requests[socks]"],
        &["requests[socks,nonsense]"],
        &["requests[use_chardet_on_py3]"],
        &["numpy>=2"],
        &["numpy>=1,<2", "numpy!=1.26.3"],
        &["numpy<2", "numpy>=2"],
        &["numpy~=1.26"],
        &["numpy~=1.26.0"],
        &["numpy~=1.25.0"],
        &["numpy===1.26.4"],
        &["numpy===1.26.4.0"],
        &["numpy==1.26.4.0"],
        &["numpy==1.26.*"],
        &["numpy==1.26.4.0.*"],
        &["numpy==1.26.4.1.*"],
        &["packaging==24.0.0.*"],
        &["packaging==24.0.1.*"],
        &["packaging==24.*"],
        &["packaging==24"],
        &["packaging!=24.*"],
        &["packaging>=24.0.dev0"],
        &["packaging>24.0a1"],
        &["packaging<24.0.post1"],
        &["packaging<=24"],
        &["pytest"],
        &["pytest>=7"],
        &["pytest>=8"],
        &["pytest>=8.0.0rc1"],
        &["pytest<8"],
        &["pytest<8.0.0"],
        &["pytest<=8.0.0"],
        &["pytest<8.0.0rc3"],
        &["pytest==8.0.0rc2"],
        &["pytest==8.0.*"],
        &["pytest~=8.0.0rc1"],
        &["pytest!=8.0.0"],
        &["local-build"],
        &["local.build==1.0"],
        &["local_build==1.0+cu118"],
        &["local_build==1.0+cpu"],
        &["local_build===1.0"],
        &["local_build>1.0"],
        &["local_build>=1.0"],
        &["local_build<=1.0"],
        &["local_build!=1.0"],
        &["local_build==1.*"],
        &["bundle[a]"],
        &["bundle[all]"],
        &["bundle[b]"],
        &["bundle[all,b]"],
        &["marked", "from-url"],
        &["from-url>=2"],
        &["broken"],
        &["unclear"],
        &["later"],
        &["linked"],
        &["editable"],
        &["foreign"],
        &["twice"],
        &["twice==1.0"],
        &["old"],
        &["old>=2"],
        &["docopt"],
        &["docopt", "httpx[socks]"],
        &["not-there; python_version < '3'"],
        &["not-there; python_version < '3'", "numpy; sys_platform == 'win32'"],
        &["requests @ https://localhost/requests-2.31.0-py3-none-any.whl"],
        &["typing_extensions", "annotated.types", "pydantic-core"],
        &["pydantic_core>=2.18.3"],
        &["idna!=1!3"],
        &["idna<1!0"],
        &["certifi>=2017.4.17"],
    ];
    SETS.iter().map(|set| set.iter().map(|text| (*text).to_owned()).collect()).collect()
}

/// Sets of one to three requirements, for names and versions that are installed: the same ones every time.
pub(crate) fn generated(versions: &[(String, String)]) -> Vec<Vec<String>> {
    let mut dice = Dice(0x5eed);
    (0..GENERATED).map(|_| (0..=dice.roll(3)).map(|_| requirement(&mut dice, versions)).collect()).collect()
}

fn requirement(dice: &mut Dice, versions: &[(String, String)]) -> String {
    if dice.roll(16) == 0 {
        return format!("{}{}", dice.pick(&ABSENT), marker(dice));
    }
    let (name, version) = &versions[dice.roll(versions.len())];
    let extras = match EXTRAS.iter().find(|(package, _)| package == name) {
        Some((_, extras)) if dice.roll(2) == 0 => format!("[{}]", dice.pick(extras)),
        _ => String::new(),
    };
    format!("{name}{extras}{}{}", specifiers(dice, version), marker(dice))
}

fn marker(dice: &mut Dice) -> String {
    match dice.roll(8) {
        0..2 => format!(" ; {}", dice.pick(&TRUE)),
        2 => format!(" ; {}", dice.pick(&FALSE)),
        _ => String::new(),
    }
}

fn specifiers(dice: &mut Dice, version: &str) -> String {
    let public = version.split('+').next().unwrap();
    let numbers: Vec<u64> = public.split('.').map_while(|number| number.parse().ok()).collect();
    let major = numbers[0];
    let minor = numbers.get(1).copied().unwrap_or(0);
    let (next, previous) = (major + 1, major.saturating_sub(1));
    let admitting = [
        String::new(),
        format!("=={version}"),
        format!("==={version}"),
        format!(">={public}"),
        format!("<={public}"),
        format!(">={major},<{next}"),
        format!("=={major}.*"),
        format!("~={major}.{minor}"),
        format!("!={major}.9999"),
        format!(">{previous}.0.dev1"),
    ];
    let refusing = [
        format!(">{public}"),
        format!("<{public}"),
        format!("!={public}"),
        format!("<{major}"),
        format!("=={next}.*"),
        format!("!={major}.*"),
        format!("=={public}+other"),
        format!("~={next}.0"),
        format!("=={major}.{minor}.9999.*"),
        format!(">={major}.{minor}.9999"),
    ];
    if dice.roll(5) == 0 { dice.pick(&refusing).clone() } else { dice.pick(&admitting).clone() }
}

/// Numbers that look random (a 64-bit linear congruential generator with Knuth's constants).
struct Dice(u64);

impl Dice {
    /// One below `sides`.
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % sides
    }

    fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.roll(choices.len())]
    }
}
