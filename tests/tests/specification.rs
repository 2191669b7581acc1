//! What SPECIFICATION.md names exists: the tests, the sections of the bench's pages, the counted paths.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// The rows of the tables: number, the cells between, what holds the promise.
fn promises(text: &str) -> Vec<(String, String)> {
    let rows = text.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"));
    let cells = rows.map(|row| row.split(" | ").map(str::trim).collect::<Vec<_>>());
    cells
        .filter(|cells| cells[0].ends_with(|last: char| last.is_ascii_digit()))
        .map(|cells| (cells[0].to_owned(), cells[cells.len() - 1].to_owned()))
        .collect()
}

/// What stands between two marks: `code`, *sections*.
fn marked(text: &str, mark: char) -> Vec<&str> {
    text.split(mark).skip(1).step_by(2).collect()
}

fn read(path: &str) -> String {
    fs::read_to_string(e2e::repository().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn has_test(named: &str) -> bool {
    let Some((file, name)) = named.split_once("::") else { return false };
    let path = if file.contains('/') { file.to_owned() } else { format!("tests/tests/{file}") };
    Path::new(&path).extension().is_some_and(|ending| ending == "rs")
        && read(&path).contains(&format!("fn {name}("))
}

#[test]
fn each_promise_has_a_number_of_its_own_in_order() {
    let promises = promises(&read("SPECIFICATION.md"));
    let numbers: Vec<_> = promises.iter().map(|(number, _)| number.as_str()).collect();
    let (mut last, mut seen) = ("", BTreeSet::new());
    for number in &numbers {
        let (letter, count) = number.split_at(1);
        let expected = if last == letter { seen.len() + 1 } else { 1 };
        if last != letter {
            seen.clear();
        }
        assert_eq!(count, expected.to_string(), "{number} is out of order");
        assert!(seen.insert(*number), "{number} is there twice");
        last = letter;
    }
    assert!(numbers.len() > 50, "the tables are not read: {numbers:?}");
}

#[test]
fn what_holds_a_promise_exists() {
    let pages = [read("bench/RESULTS.md"), read("bench/GROWTH.md")].concat();
    let sections: BTreeSet<_> = pages.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    let counts: serde_json::Value = serde_json::from_str(&read("bench/instructions.json")).unwrap();
    for (number, held_by) in promises(&read("SPECIFICATION.md")) {
        let held_by = held_by.replace("**not proven**", "not proven");
        let code = marked(&held_by, '`');
        let tests: Vec<_> = code.iter().filter(|text| text.contains("::")).collect();
        let paths = code.iter().filter(|text| text.contains('_') && !text.contains("::"));
        let named = marked(&held_by, '*');
        for test in &tests {
            assert!(has_test(test), "{number}: there is no test `{test}`");
        }
        for path in paths.clone() {
            assert!(counts.get(path).is_some(), "{number}: `{path}` is not counted");
        }
        for section in &named {
            assert!(sections.contains(section), "{number}: there is no section *{section}*");
        }
        let is_held = !tests.is_empty() || !named.is_empty() || paths.count() > 0;
        assert!(
            is_held || held_by.contains("not proven"),
            "{number}: nothing holds it, and it does not say so"
        );
    }
}
