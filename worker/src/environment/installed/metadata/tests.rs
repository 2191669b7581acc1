use super::*;

const TEXT: &str = "Metadata-Version: 2.1\nName: Requests\nVersion: 2.31.0\nLicense: one\n        Name: other\n\
    Requires-Python: >=3.7\nRequires-Dist: urllib3<3,>=1.21.1\nrequires-dist: PySocks!=1.5.7,\n  >=1.5.6 ; extra \
    == 'socks'\nProvides-Extra: socks\n\nName: the description\nRequires-Dist: nothing\n";

fn required(text: &str) -> Required {
    Required { text: text.to_owned(), parsed: OnceLock::new() }
}

fn read(text: &str) -> Metadata {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    Metadata::read(file.path()).unwrap()
}

#[test]
fn headers_are_read_up_to_the_description() {
    for text in [TEXT.to_owned(), TEXT.replace('\n', "\r\n")] {
        let metadata = read(&text);
        assert_eq!((metadata.name.as_str(), metadata.version.as_str()), ("Requests", "2.31.0"));
        assert_eq!(metadata.requires_python.as_deref(), Some(">=3.7"));
        let requires: Vec<_> = metadata.requires.iter().map(Required::text).collect();
        assert_eq!(requires, ["urllib3<3,>=1.21.1", "PySocks!=1.5.7, >=1.5.6 ; extra == 'socks'"]);
        assert!(metadata.requires.iter().all(|required| required.named().is_some()));
    }
}

#[test]
fn headers_of_any_length_end_at_the_first_empty_line() {
    for length in (BLOCK - 64..BLOCK + 64).chain([5 * BLOCK]) {
        let licence = "x".repeat(length);
        let metadata = read(&format!("Name: a\nLicense: {licence}\nRequires-Dist: b\n\nRequires-Dist: c\n"));
        assert_eq!(metadata.requires.len(), 1, "{length}");
    }
}

#[test]
fn requirements_of_other_extras_are_left_alone() {
    let socks = ["socks".parse().unwrap()];
    let cases = [
        ("b", false, false),
        ("b ; extra == 'socks'", true, false),
        ("b ; extra == \"SOCKS\"", true, false),
        ("b ; (python_version < '3') and extra == 'tests'", true, true),
        ("b ; extra == 'tests' and (sys_platform == 'linux')", true, true),
        ("b ; python_version < '3' or extra == 'tests'", false, false),
        ("b ; (python_version<'3')or(extra == 'tests')", false, false),
        ("b ; extra != 'tests'", false, false),
        ("b ; os_name == \" and extra == 'tests' and \"", false, false),
        ("b @ https://host/a;extra == 'tests'", false, false),
    ];
    for (text, without, with_socks) in cases {
        let required = required(text);
        assert_eq!(required.is_for_other_extras(&[]), without, "{text}");
        assert_eq!(required.is_for_other_extras(&socks), with_socks, "{text}");
    }
}

#[test]
fn requirements_that_leave_doubt_are_not_understood() {
    let doubtful = [
        "b >= nonsense".to_owned(),
        "b (>=1.0".to_owned(),
        "b>=1.0,".to_owned(),
        "b ; python_version == 'new'".to_owned(),
        "b ; 'a' > 'b'".to_owned(),
        format!("b ; {}python_version > '3'{}", "(".repeat(40), ")".repeat(40)),
        format!("b ; {}", vec!["extra == 'x'"; 40].join(" or ")),
        format!("b ; sys_platform == '{}'", "x".repeat(MAX_LENGTH)),
    ];
    for text in doubtful {
        assert!(required(&text).named().is_none(), "{text}");
    }
    for text in ["b (>=1.0)", "b ; os.name == 'posix'", "B_c[x] ~= 1.2 ; extra == 'x'"] {
        assert!(required(text).named().is_some(), "{text}");
    }
}
